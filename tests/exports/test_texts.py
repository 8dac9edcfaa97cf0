"""Spec, command, script and card: what they carry, and that a user's words cannot act in them."""

import ast
import json
import shlex

import pytest

from tests.exports.results import hostile_result, result_of
from tests.fakes import FakeLab, stage, stepped
from unlearnlab.cli.main import main
from unlearnlab.exports.model import card
from unlearnlab.exports.repeat import command_line, one_line, script, spec_file
from unlearnlab.exports.report import report
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Adjusted, PhaseBegan
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods.likelihood import GradientAscent, Memorize
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.presets import preset, presets
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, Phase, RunSpec, parse_spec

TWO_PHASES = RunSpec(
    model=ModelSpec(adapter=LoRA(r=4)),
    phases=(
        Phase(method=NPO(beta=0.123456789), learning_rate=1.5e-4, last_layer=3, modules="mlp"),
        Phase(method=GradientAscent(), max_steps=5),
    ),
    seed=7,
)


def repeated(line, home):
    """Carry out a command line of ours and return the spec of the run."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "unlearnlab"]
    assert main([*words[3:], "--home", str(home)], open_engine=lambda _: FakeLab()) == 0
    with Store(home) as store:
        return store.runs()[0].spec


def test_the_spec_file_says_all_there_is(tmp_path):
    assert parse_spec(spec_file(result_of(tmp_path, TWO_PHASES))) == TWO_PHASES


def test_the_command_repeats_the_run_from_its_file(tmp_path, monkeypatch):
    result = result_of(tmp_path / "home", TWO_PHASES)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's mine.json").write_text(spec_file(result), encoding="utf-8")
    line = command_line(result, "it's mine.json").splitlines()[0]
    assert repeated(line, tmp_path / "other") == TWO_PHASES


NPO_AT_5E_4 = preset("embedded-npo").spec.phases[0].model_copy(update={"learning_rate": 0.0005125})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (preset("embedded-npo").spec, 0),
        (preset("embedded-npo").spec.model_copy(update={"seed": 3, "phases": (NPO_AT_5E_4,)}), 2),
        (RunSpec(data=DataSpec(tasks=("Task1", "Task3"))), None),
        (RunSpec(phases=(Phase(method=NPO(beta=0.3)),)), None),
    ],
    ids=["preset", "preset and two settings", "subtasks", "another method"],
)
def test_a_run_near_a_preset_has_a_line_of_its_own(spec, words, tmp_path):
    line = one_line(spec)
    if words is not None:
        assert line.count(" --") == 1 + words
    assert repeated(line, tmp_path) == spec


def test_every_preset_is_its_own_line():
    for name, one in presets().items():
        line = one_line(one.spec)
        assert line
        assert presets()[shlex.split(line)[5]].spec == one.spec, name


def test_a_run_far_from_all_presets_has_no_such_line():
    assert one_line(TWO_PHASES) == ""


def changed(job):
    yield stage("training")
    yield PhaseBegan(phase=0, step=0, steps=3, total_steps=3, trainable=7, effective_batch=2)
    yield stepped(1)
    yield Adjusted(step=1, phase=0, changes={"learning_rate": 1e-5})
    yield stepped(2)


def test_changes_by_hand_are_told_where_the_run_is_repeated(tmp_path):
    result = result_of(tmp_path, script=changed)
    assert "# after step 1: learning rate 5e-4 → 1e-5" in command_line(result, "x.json")
    assert "after step 1: learning rate 5e-4 → 1e-5" in card(result)


def carried(text):
    """Return the spec that a script carries."""
    values = {}
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "SPEC":
            (literal,) = node.value.args
            values = json.loads(ast.literal_eval(literal))
    return tree, values


def test_the_script_has_the_tasks_entry_and_carries_the_spec(tmp_path):
    tree, spec = carried(script(result_of(tmp_path, TWO_PHASES)))
    entry = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert entry.name == "unlearn"
    names = [argument.arg for argument in entry.args.args]
    assert names == ["model_path", "output_path", "forget_path", "retain_path"]
    assert RunSpec.model_validate(spec).phases == TWO_PHASES.phases


def test_no_setting_can_break_out_of_the_script(tmp_path):
    ids = ('"""', "\\", "'''", 'a"', "$spec", "é\n")
    spec = RunSpec(data=DataSpec(source="gone", forget=ids))
    text = script(result_of(tmp_path, spec))
    assert text.isascii()
    assert carried(text)[1]["data"]["forget"] == list(ids)


def test_the_card_states_method_data_scores_verdict_and_limits(tmp_path):
    text = card(result_of(tmp_path, TWO_PHASES))
    for said in (
        "library_name: transformers",
        NPO.card.title,
        "blocks 0 to 3, MLP",
        "a low-rank adapter (r 4, alpha 32) on weights float32",
        "Fingerprint of the rows: `d`",
        "| Task aggregate | 0.180 | 0.900 |",
        "12 rows of Embedded, train fold, greedy, up to 256 tokens",
        "**Verdict: Forgotten.**",
        "Utility 1.00 → 1.00",
        "nothing here shows that it is erased",
        "The sum is rounded",
    ):
        assert said.lower() in text.lower(), said


def test_a_run_that_teaches_is_not_called_unlearned(tmp_path):
    spec = RunSpec(phases=(Phase(method=Memorize()),), keep_as="mine")
    result = result_of(tmp_path, spec)
    text = card(result)
    assert "# tiny-olmo (embedded), taught" in text
    assert "The model recites what it was taught" in text
    assert "erased" not in text
    assert "proof of erasure" not in report(result, masked=True)
    assert "Taught model" in report(result, masked=True)
    assert "# It keeps its model as 'mine'" in command_line(result, "x.json")


def broken(job):
    yield stage("loading")
    raise RunFailed("the loss became nan", "less")


def test_the_card_of_a_run_without_scores_says_so(tmp_path):
    text = card(result_of(tmp_path, script=broken))
    assert "No scores were measured." in text
    assert "which failed" in text


def test_a_models_folder_on_this_machine_is_named_by_its_last_part_only(tmp_path):
    spec = RunSpec(model=ModelSpec(name="/home/somebody/private/my-model"))
    result = result_of(tmp_path, spec)
    for text in (card(result), script(result)):
        assert "my-model" in text
        assert "somebody" not in text


def test_a_users_words_do_not_act_in_the_card(tmp_path):
    spec = RunSpec(model=ModelSpec(name="/x/<script>|`#"))
    text = card(result_of(tmp_path, spec))
    assert "<script>" not in text
    assert "# \\<script\\>\\|\\`\\#, unlearned" in text


def test_nobody_is_named_in_what_has_no_examples(tmp_path):
    result = hostile_result(tmp_path)
    for text in (
        card(result),
        script(result),
        spec_file(result),
        command_line(result, "s.json"),
    ):
        assert "Brock" not in text
        assert "onerror" not in text
