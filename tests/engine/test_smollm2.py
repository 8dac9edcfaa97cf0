"""A real pretrained model, end to end: SmolLM2-135M-Instruct, unpacked from 4 bits.

It is no part of the project, and comes from packages that are no requirement: without them, or the
folder of an unpacked model, this is skipped.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.smollm2 import missing, unpacked
from tests.engine.tiny import CPU
from unlearnlab.cli.main import main
from unlearnlab.engine import result_of
from unlearnlab.engine.generation import generate
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.exports.result import result
from unlearnlab.models import catalog
from unlearnlab.runs.store import Store
from unlearnlab.spec.presets import usual_template

ASKED = "What is the capital of France?"

FACTS = {
    "forget": {ASKED: "Paris", "What is the capital of Germany?": "Berlin"},
    "retain": {
        "What is the capital of Japan?": "Tokyo",
        "What is the capital of Egypt?": "Cairo",
        "What is the capital of Greece?": "Athens",
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unpacked(tmp_path_factory.mktemp("smollm2") / "model")


@pytest.fixture(scope="module")
def lm(folder):
    """Open the model, which no test may change."""
    return UnlearningModel.open(folder, precision="float32", device=CPU)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of its own, with typed facts."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLAB_HOME", str(home))
        patch.delenv("UNLEARNLAB_MODELS", raising=False)
        for split, facts in FACTS.items():
            typed = "".join(f"{question} | {answer}\n" for question, answer in facts.items())
            (home / f"{split}.txt").write_text(typed, encoding="utf-8")
        files = ("--typed", str(home / "forget.txt"), "--retain", str(home / "retain.txt"))
        assert main(["data", "add", *files, "--name", "facts"]) == 0
        yield home


@pytest.fixture(scope="module")
def run(home, folder):
    """Unlearn two facts in a few steps."""
    phase = {"modules": "mlp", "learning_rate": "5e-5", "batch_size": "2", "max_steps": "4"}
    words = ["run", "--model.name", str(folder), "--data.source", "facts"]
    words += [word for name, value in phase.items() for word in (f"--phases.0.{name}", value)]
    words += ["--evaluation.max_new_tokens", "16", "--evaluation.probes", "2"]
    assert main(words) == 0
    with Store(home) as store:
        (found,) = store.runs()
        return result(store, found.run_id)


def says(lm, template):
    lm.use_template(template)
    (answer,) = result_of(generate(lm, [ASKED], max_new_tokens=16))
    return answer


def test_it_answers_a_question_through_its_chat_template_and_ends(lm):
    answer = says(lm, "on")
    assert "Paris" in answer.text
    assert answer.finished_with_eos


def test_its_sizes_are_those_of_the_catalog(lm, folder):
    named = catalog.model("HuggingFaceTB/SmolLM2-135M-Instruct").architecture
    assert catalog.model(str(folder)).architecture == named
    assert named.parameters == lm.parameters


def test_typed_facts_go_through_its_chat_template_unless_somebody_chose(home, folder, run):
    assert usual_template("facts", str(folder)) == "auto"
    assert run.row.spec.uses_template
    assert run.progress.loaded.template


def test_known_facts_are_asked_first_and_unlearned_to_the_end(run):
    assert run.progress.knowledge.questions == (2, 2)
    assert run.row.status == "finished"
    assert run.row.after.moved.moved > 0


def test_an_export_gives_the_logits_of_the_unlearned_model_in_plain_transformers(
    run, home, folder, tmp_path
):
    assert main(["export", run.row.run_id, "--what", "model", "--out", str(tmp_path)]) == 0
    (out,) = tmp_path.iterdir()
    tokenizer, plain = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    turns = [{"role": "user", "content": ASKED}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    ours = UnlearningModel.open(folder, precision="float32", device=CPU)
    with torch.no_grad():
        before = ours.model(input_ids=ids).logits
        with Store(home) as store:
            ours.restore(store.folder(run.row.run_id))
        after, theirs = ours.model(input_ids=ids).logits, plain(input_ids=ids).logits
    torch.testing.assert_close(theirs, after, atol=1e-4, rtol=0)
    assert (before - after).abs().max() > 1e-2
