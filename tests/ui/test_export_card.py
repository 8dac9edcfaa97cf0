"""What the card offers to export, and what a click gets: on a real store and worker."""

import base64
import io
import threading
import zipfile

import pytest

from tests.fakes import FakeLab, stage, whole_run
from unlearnlab.data.files import remove
from unlearnlab.exports.kinds import WHATS
from unlearnlab.exports.packs.reading import read_pack
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.answer_filters import Look
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import export_card
from unlearnlab.ui.run.panel import draw


@pytest.fixture
def lab():
    return FakeLab()


@pytest.fixture
def program(tmp_path, lab):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, lab)
        yield Program(store, worker, {})
        worker.close(5)


def finished(program, name="Ada's run"):
    run_id = program.worker.submit(RunSpec(), name=name)
    assert program.worker.wait(run_id, 20)
    return run_id


def shown(program, run_id):
    return draw(program, run_id, Look()).takeaway


def taken(program, run_id, what, **more):
    return export_card.press_export(program, {"run": run_id, "what": what, **more})


def written(program):
    while program.worker.state().exporting:
        threading.Event().wait(0.01)


def test_without_a_run_there_is_nothing_to_take(program):
    assert shown(program, "") == {"run": ""}


def test_a_finished_run_offers_everything(program):
    now = shown(program, finished(program))
    assert now["ended"]
    assert [item["what"] for item in now["items"]] == [*WHATS, "pack", "bare-pack"]
    assert not any(item["missing"] for item in now["items"])
    assert now["model"] == {"state": "none", "told": ""}


def test_a_live_run_offers_nothing_yet(program, lab):
    gate = threading.Event()

    def held(job):
        while not gate.wait(0.01):
            yield None
        yield from whole_run(job)

    lab.script = held
    run_id = program.worker.submit(RunSpec())
    now = shown(program, run_id)
    assert (now["ended"], now["items"]) == (False, [])
    assert "has not ended" in taken(program, run_id, "report")["problem"]
    gate.set()
    assert program.worker.wait(run_id, 20)
    assert shown(program, run_id)["ended"]


def without_weights(job):
    yield stage("loading")


def test_what_a_run_has_not_got_says_why(program, lab):
    lab.script = without_weights
    run_id = finished(program)
    missing = {item["what"]: item["missing"] for item in shown(program, run_id)["items"]}
    assert {what for what in missing if missing[what]} == {"model", "delta", "answers", "scores"}
    assert "left no weights" in taken(program, run_id, "delta")["problem"]
    assert "left no weights" in taken(program, run_id, "model", action="folder")["problem"]


@pytest.mark.parametrize("what", [one for one in WHATS if one != "model"])
def test_a_click_gets_a_file_called_by_the_run(program, what):
    run_id = finished(program)
    found = taken(program, run_id, what)
    assert found["name"].startswith(f"{run_id}-")
    assert "Ada" not in found["name"]
    assert base64.b64decode(found["data"])


def test_the_report_is_masked_as_the_reader_wants(program):
    run_id = finished(program, name="")
    hidden, open_ = (
        base64.b64decode(taken(program, run_id, "report", masked=masked)["data"]).decode()
        for masked in (True, False)
    )
    assert "Ada" not in hidden
    assert "Ada" in open_


def test_the_model_is_written_as_a_job_and_then_told_with_its_place(program):
    run_id = finished(program)
    assert taken(program, run_id, "model", action="folder") == {"note": "Requested."}
    written(program)
    now = shown(program, run_id)["model"]
    assert now["state"] == "there"
    assert now["small"]
    found = taken(program, run_id, "model")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(found["data"]))) as archive:
        assert f"{run_id}-model/README.md" in archive.namelist()
    assert found["name"] == f"{run_id}-model.zip"
    assert now["path"].endswith(f"runs/{run_id}/exports/{run_id}-model")


def test_the_written_model_goes_into_the_form_with_the_settings_of_its_run(program):
    run_id = program.worker.submit(RunSpec(seed=7))
    assert program.worker.wait(run_id, 20)
    taken(program, run_id, "model", action="folder")
    written(program)
    form = export_card.merged_form(program, run_id)
    assert form.values["model.name"] == shown(program, run_id)["model"]["path"]
    assert int(form.values["seed"]) == 7


def test_the_page_tells_that_the_model_is_being_written_and_draws_again_afterwards(program, lab):
    gate = threading.Event()
    first = finished(program)

    def held(job):
        while not gate.wait(0.01):
            yield None

    lab.script = held
    second = program.worker.submit(RunSpec())
    while program.worker.state().live != second:
        threading.Event().wait(0.01)
    taken(program, first, "model", action="folder")
    before = draw(program, first, Look())
    assert before.takeaway["model"] == {
        "state": "busy",
        "told": "Waits until the device is free.",
    }
    gate.set()
    written(program)
    after = draw(program, first, Look())
    assert after.live["turn"] != before.live["turn"]
    assert after.takeaway["model"]["state"] == "there"


def test_a_model_that_could_not_be_written_says_why_until_it_is(program, lab, monkeypatch):
    run_id = finished(program)
    with monkeypatch.context() as patch:

        def full(job, export, report):
            raise ValueError("not enough room on the disk")

        patch.setattr(lab, "export", full)
        taken(program, run_id, "model", action="folder")
        written(program)
        now = shown(program, run_id)["model"]
        assert now == {"state": "failed", "told": "Not written: not enough room on the disk"}
    taken(program, run_id, "model", action="folder")
    written(program)
    assert shown(program, run_id)["model"]["state"] == "there"


def test_a_folder_that_was_taken_away_is_offered_again(program):
    run_id = finished(program)
    taken(program, run_id, "model", action="folder")
    written(program)
    remove(program.store.folder(run_id) / "exports")
    assert shown(program, run_id)["model"]["state"] == "none"
    assert "not there any more" in taken(program, run_id, "model")["problem"]


def test_what_is_too_large_for_the_page_is_told_by_its_place(program, monkeypatch):
    run_id = finished(program)
    monkeypatch.setattr(export_card, "LARGEST", 3)
    told = taken(program, run_id, "delta")["problem"]
    assert "66 bytes are too much for a download" in told
    assert str(program.store.folder(run_id)) in told


@pytest.mark.parametrize(
    "asked",
    [None, "x", {}, {"run": "r", "what": "all"}, {"run": "x" * 200, "what": "spec"}],
)
def test_a_strange_wish_gets_a_sentence(program, asked):
    assert "reload" in export_card.press_export(program, asked)["problem"]


def test_an_unknown_run_gets_a_sentence(program):
    assert "unknown run" in taken(program, "nobody", "spec")["problem"]


def test_a_run_is_taken_away_as_a_pack_with_or_without_its_answers(program, tmp_path, monkeypatch):
    run_id = finished(program)
    for what, personal in (("pack", True), ("bare-pack", False)):
        answer = taken(program, run_id, what)
        assert answer["name"] == f"{run_id}-{what}.zip"
        path = tmp_path / answer["name"]
        path.write_bytes(base64.b64decode(answer["data"]))
        (run,) = read_pack(path)
        assert (run.run_id, bool(run.evidence)) == (run_id, personal)
    monkeypatch.setattr(export_card, "LARGEST", 3)
    assert f"pack {run_id} --out FILE.zip" in taken(program, run_id, "pack")["problem"]
