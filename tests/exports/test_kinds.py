"""What a run has, how its files are called, and how they are written."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from tests.exports.results import result_of, run_of
from tests.fakes import DELTA, stage, whole_run
from unlearnlab.exports.kinds import (
    KINDS,
    WHATS,
    NothingThere,
    check_there,
    files,
    packed,
    portable_base,
    write,
)
from unlearnlab.exports.model import card, model_export
from unlearnlab.exports.result import compared, result
from unlearnlab.metrics.scores import row_score, scores
from unlearnlab.models import catalog
from unlearnlab.runs.events import Saved
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.form.notes import model_note


def without_weights(job):
    yield stage("loading")


def with_an_adapter(job):
    yield from whole_run(job)
    folder = job.folder / "adapter"
    folder.mkdir()
    save_file({}, folder / "adapter_model.safetensors")
    config = {"base_model_name_or_path": "/home/somebody/model", "peft_type": "LORA", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (job.folder / "delta.safetensors").unlink()
    yield Saved(name="adapter/adapter_model.safetensors", megabytes=0.1)


def has(result):
    return {what for what in WHATS if not KINDS[what].missing(result)}


def test_every_kind_has_its_title_and_sentence():
    assert list(KINDS) == [what for what in KINDS if KINDS[what].title and KINDS[what].about]
    assert set(KINDS) == set(WHATS)


def test_a_finished_run_has_everything(tmp_path):
    assert has(result_of(tmp_path)) == set(WHATS)


def test_a_run_that_broke_off_has_what_does_not_need_weights_or_scores(tmp_path):
    result = result_of(tmp_path, script=without_weights)
    assert has(result) == {"report", "spec", "command", "script"}
    with pytest.raises(NothingThere, match="changed weights: this run left no weights"):
        files(result, "delta", masked=True)
    with pytest.raises(NothingThere, match="answers: no model was scored"):
        check_there(result, "answers")


def test_names_carry_the_runs_id_and_nothing_else(tmp_path):
    result = result_of(tmp_path, name="Ada Brock's secret")
    for what in (one for one in WHATS if one != "model"):
        for path in files(result, what, masked=True):
            assert path.startswith(f"{result.run_id}-")
            assert "Ada" not in path


def test_an_adapter_is_taken_with_its_settings_but_not_with_the_place_of_its_model(tmp_path):
    result = result_of(tmp_path / "home", script=with_an_adapter)
    (folder,) = write(files(result, "delta", masked=True), tmp_path / "out")
    assert folder.name == f"{result.run_id}-adapter"
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "tiny-olmo", "peft_type": "LORA", "r": 4}
    for path in folder.iterdir():
        assert b"/home/somebody" not in path.read_bytes(), path.name
        assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_an_exported_adapter_is_a_model_that_is_known_as_our_own(tmp_path):
    result = result_of(tmp_path / "home", script=with_an_adapter)
    (folder,) = write(files(result, "delta", masked=True), tmp_path / "out")
    known = catalog.model(str(folder))
    assert known.base == catalog.model("tiny-olmo")
    assert known.unavailable_reason == ""
    assert known.made["run"] == result.run_id
    assert "Made by unlearnlab from tiny-olmo with the data embedded" in model_note(str(folder))


@pytest.mark.parametrize(
    ("known", "named"),
    [
        (catalog.ModelInfo("tiny-olmo", "", None), "tiny-olmo"),
        (catalog.ModelInfo("olmo-1b", "", None, "org/weights"), "org/weights"),
        (catalog.ModelInfo("mine", "", None, place=Path("/home/somebody/mine")), "../mine"),
    ],
)
def test_the_base_of_an_adapter_is_named_as_it_is_found_elsewhere(known, named):
    assert portable_base(known) == named


def test_scores_have_the_official_scripts_keys_and_the_runs_own_values(tmp_path):
    result = result_of(tmp_path)
    found = files(result, "scores", masked=True)
    assert list(found) == [
        f"{result.run_id}-scores/{name}.json" for name in ("original", "unlearned")
    ]
    unlearned = json.loads(found[f"{result.run_id}-scores/unlearned.json"])
    rows = [  # The fake's scores are not those of its texts.
        one.model_copy(update={"score": row_score(one.kind, one.expected, one.generated)})
        for one in result.after.answers
    ]
    after = scores(result.after.model_copy(update={"answers": tuple(rows)}))
    assert unlearned["harmonic-mean-task-aggregate"] == pytest.approx(after.task_aggregate)
    assert unlearned["aggregated-terms"] == pytest.approx(list(after.terms.values()))
    assert unlearned["mia_loss_acc"] == pytest.approx(after.mia_auc)
    assert unlearned["mia_final_score"] == pytest.approx(after.mia_score)
    assert "mmlu_average" not in unlearned, "the quiz is none"
    assert unlearned["aggregate-score"] is None
    assert unlearned["unlearnlab"]["aggregate_score_needs"] == "needs MMLU"
    assert "not asked in this run" in unlearned["unlearnlab"]["problems"][-1]


def test_files_are_written_again_over_an_earlier_copy(tmp_path):
    result = result_of(tmp_path / "home")
    kinds = ("answers", "spec")
    found = dict(pair for what in kinds for pair in files(result, what, masked=True).items())
    first = write(found, tmp_path / "out")
    (first[0] / "stray").write_text("")
    assert write(found, tmp_path / "out") == first
    assert not (first[0] / "stray").exists()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{result.run_id}-answers", f"{result.run_id}-spec.json"}


def test_several_files_travel_as_one_archive(tmp_path):
    result = result_of(tmp_path)
    name, content = packed(files(result, "answers", masked=True))
    assert name == f"{result.run_id}-answers.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert f"{result.run_id}-answers/unlearned/forget_0.csv" in archive.namelist()
    assert packed(files(result, "delta", masked=True))[1] == DELTA


def test_the_model_is_asked_for_with_its_card_and_replaces_only_its_own(tmp_path):
    result = result_of(tmp_path / "home")
    wish = model_export(result, tmp_path)
    assert wish.folder == tmp_path / f"{result.run_id}-model"
    assert wish.texts == {"README.md": card(result)}
    assert not wish.replace
    wish.folder.mkdir()
    (wish.folder / "README.md").write_text("Somebody else's.")
    assert not model_export(result, tmp_path).replace
    (wish.folder / "README.md").write_text(card(result), encoding="utf-8")
    assert model_export(result, tmp_path).replace


def test_a_run_is_known_by_its_own_folder_of_files(tmp_path):
    with run_of(tmp_path) as (store, _, run_id):
        assert set(store.artefacts(run_id)) == {"delta.safetensors"}


def test_a_run_that_only_scored_has_its_scores_and_nothing_that_was_trained(tmp_path):
    with run_of(tmp_path, RunSpec().scoring) as (store, _, run_id):
        run, beside = result(store, run_id), compared(store, [run_id])
    missing = {what for what, kind in KINDS.items() if kind.missing(run)}
    assert missing == {"model", "delta", "script", "curves", "says"}
    assert "only scored" in KINDS["script"].missing(run)
    page = files(run, "report", masked=False)[f"{run.run_id}-report.html"].decode()
    assert "No verdict" not in page
    assert "before" not in page.partition("<h2>Settings")[0].partition("</style>")[2]
    assert beside.original is None
    assert beside.evidence[run_id] == run.before
