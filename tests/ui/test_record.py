"""The cards of what a run leaves: its record and reproductions, packs, and exports."""

import base64
import io
import re
import shutil
import threading
import zipfile

import pytest

from tests.exports.packs import pack_of
from tests.fakes import FakeLab, some_evidence, stage, whole_run
from tests.ui.conftest import finished, panel_of
from unlearnlab.data.files import remove
from unlearnlab.exports.kinds import WHATS
from unlearnlab.exports.pack_file import read_pack
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.events import Evaluated, Loaded, Stopped
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.ui.run import handlers, record
from unlearnlab.ui.run.runs_list import past_runs


class Forgetful(FakeLab):
    """Forgets nothing from its second run on; its data are those that are here."""

    def unlearn(self, job):
        again = any(line.startswith("unlearn") for line in self.log)
        for event in super().unlearn(job):
            if isinstance(event, Loaded):
                event = event.model_copy(update={"data": fingerprint(DataSpec())})
            if again and isinstance(event, Evaluated) and event.when == "after":
                found = some_evidence()
                event = event.model_copy(update={"scores": scores(found), "evidence": found})
            yield event


@pytest.fixture
def lab():
    return Forgetful()


def card(program, run_id):
    return panel_of(program, run_id).record


def test_a_run_tells_its_record_and_offers_to_repeat_it(program):
    run_id = finished(program)
    shown = card(program, run_id)
    for told in ("cpu, 2 threads", "2 rows for each optimizer step", "torch 0", "Code"):
        assert told in shown
    assert f'data-event="reproduce" data-run="{run_id}"' in shown
    assert "data-confirm" not in shown
    assert card(program, "") == ""


def test_a_reproduction_is_compared_with_the_first_run(program):
    first = finished(program)
    again, message = handlers.press_reproduce(program, first, first)
    program.worker.wait(again, 10)
    assert not message.problems
    assert program.store.row(again).repeats == first
    shown = card(program, again)
    assert "It does not agree" in shown
    assert "differ by more than noise" in shown
    assert re.search(r"Final, after</th>.*differs", shown)
    assert f'data-event="open" data-run="{first}"' in shown
    assert f'data-run="{again}"' in card(program, first), "each leads to the other"
    assert f"repeats {first}" in past_runs(program, first, "")


def test_a_reproduction_that_was_stopped_has_no_result(program):
    first = finished(program)
    store = program.store
    again = store.create(RunSpec(), repeats=first)
    for stored in store.events(first):
        left_out = stored.event.kind in ("saved", "finished")
        if getattr(stored.event, "when", "") != "after" and not left_out:
            store.append(again, stored.event)
    store.append(again, Stopped(seconds=1))
    shown = card(program, again)
    assert "It has no result" in shown
    assert "not measured" in shown
    assert "does not agree" not in shown
    assert "differ" not in shown


def test_what_will_differ_is_told_before_and_asks_twice(program, tmp_path):
    run_id = pack_of(tmp_path / "other", tmp_path / "x.zip")  # On rows called "d".
    handlers.press_unpack(program, str(tmp_path / "x.zip"))
    shown = card(program, run_id)
    assert "not what they were in the run" in shown
    assert "data-confirm" in shown


def test_what_cannot_be_repeated_says_so(program):
    run_id = finished(program, RunSpec(data=DataSpec(source="gone")))
    assert "Data: unknown dataset" in card(program, run_id)
    shown, message = handlers.press_reproduce(program, run_id, run_id)
    assert shown == run_id
    assert "unknown dataset" in message.problems[0].message
    _, message = handlers.press_reproduce(program, "", "nobody")
    assert "unknown run" in message.problems[0].message


def test_a_run_whose_fold_is_gone_or_damaged_says_so(program, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"title": "Mine", "source": "own", "personal": true}')
    run_id = finished(program, RunSpec(data=DataSpec(source="mine", fold="validation")))
    assert "Data: Mine has no validation fold: it has none." in card(program, run_id)
    (folder / "forget_validation.jsonl").write_text("{")
    assert "Data: Mine cannot be read: " in card(program, run_id)


def test_a_pack_that_is_sent_is_taken_in_and_its_copy_removed(program, tmp_path):
    run_id = pack_of(tmp_path / "other", tmp_path / "demo.zip")
    shutil.copy(tmp_path / "demo.zip", tmp_path / "sent.zip")
    shown, message = handlers.press_unpack(program, str(tmp_path / "sent.zip"))
    assert (shown, message.note) == (run_id, "A run: imported")
    assert not (tmp_path / "sent.zip").exists()
    panel = panel_of(program, run_id)
    assert "from sent.zip" in past_runs(program, run_id, "")
    assert "from sent.zip" in panel.record
    shutil.copy(tmp_path / "demo.zip", tmp_path / "sent.zip")
    assert "already here" in handlers.press_unpack(program, str(tmp_path / "sent.zip"))[1].note
    (tmp_path / "no.zip").write_text("nothing")
    shown, message = handlers.press_unpack(program, str(tmp_path / "no.zip"))
    assert shown == ""
    assert "no zip" in message.problems[0].message


def test_answers_of_a_strange_run_are_masked(program, tmp_path):
    spec = RunSpec(data=DataSpec(source="somebody"))
    run_id = pack_of(tmp_path / "other", tmp_path / "x.zip", spec=spec)
    handlers.press_unpack(program, str(tmp_path / "x.zip"))
    assert panel_of(program, run_id).masked
    assert not panel_of(program, finished(program)).masked


def shown(program, run_id):
    return panel_of(program, run_id).export


def items(program, run_id):
    """Map each kind of export to why there is none; empty where there is."""
    html = shown(program, run_id)["items"]
    buttons = re.findall(r'data-what="([\w-]+)".*?<span>(.*?)</span>', html)
    return {what: told if told.startswith("None: ") else "" for what, told in buttons}


def model(program, run_id):
    """Return the state of the merged model, and what is said of it."""
    html = shown(program, run_id)["model"]
    (found,) = re.findall(r'data-state="(\w+)".*<span role="status">(.*?)</span>', html) or [
        ("", "")
    ]
    return found


def path_of(program, run_id):
    return re.findall("<code>(.*)</code>", shown(program, run_id)["model"])[0]


def taken(program, run_id, what, **more):
    return record.press_export(program, {"run": run_id, "what": what, **more})


def written(program):
    while program.worker.state().exports:
        threading.Event().wait(0.01)


def test_without_a_run_there_is_nothing_to_take(program):
    assert shown(program, "") == {"run": ""}


def test_a_finished_run_offers_everything(program):
    now = shown(program, finished(program))
    assert now["ended"]
    assert items(program, now["run"]) == dict.fromkeys([*WHATS, "pack", "bare-pack"], "")
    assert now["model"] == ""


def test_a_live_run_offers_nothing_yet(program, lab):
    gate = threading.Event()

    def held(job):
        while not gate.wait(0.01):
            yield None
        yield from whole_run(job)

    lab.script = held
    run_id = program.worker.submit(RunSpec())
    now = shown(program, run_id)
    assert (now["ended"], now["items"]) == (False, "")
    assert "has not ended" in taken(program, run_id, "report")["problem"]
    gate.set()
    assert program.worker.wait(run_id, 20)
    assert shown(program, run_id)["ended"]


def without_weights(job):
    yield stage("loading")


def test_what_a_run_has_not_got_says_why(program, lab):
    lab.script = without_weights
    run_id = finished(program)
    missing = items(program, run_id)
    assert {what for what in missing if missing[what]} == {
        *("model", "delta", "answers", "scores", "curves", "says")
    }
    assert "left no weights" in taken(program, run_id, "delta")["problem"]
    assert "left no weights" in taken(program, run_id, "model", action="folder")["problem"]


@pytest.mark.parametrize("what", [one for one in WHATS if one != "model"])
def test_a_click_gets_a_file_called_by_the_run(program, what):
    run_id = finished(program, name="Ada's run")
    found = taken(program, run_id, what)
    assert found["name"].startswith(f"{run_id}-")
    assert "Ada" not in found["name"]
    assert base64.b64decode(found["data"])


def test_the_report_is_masked_as_the_reader_wants(program):
    run_id = finished(program)
    hidden, open_ = (
        base64.b64decode(taken(program, run_id, "report", masked=masked)["data"]).decode()
        for masked in (True, False)
    )
    assert "Ada" not in hidden
    assert "Ada" in open_


def test_the_model_is_written_as_a_job_and_then_told_with_its_place(program):
    run_id = finished(program)
    asked = taken(program, run_id, "model", action="folder")["model"]
    assert 'data-state="busy"' in asked
    assert "Requested." in asked
    written(program)
    assert model(program, run_id)[0] == "there"
    found = taken(program, run_id, "model")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(found["data"]))) as archive:
        assert f"{run_id}-model/README.md" in archive.namelist()
    assert found["name"] == f"{run_id}-model.zip"
    assert path_of(program, run_id).endswith(f"runs/{run_id}/exports/{run_id}-model")


def test_the_written_model_goes_into_the_form_with_the_settings_of_its_run(program):
    run_id = program.worker.submit(RunSpec(seed=7))
    assert program.worker.wait(run_id, 20)
    taken(program, run_id, "model", action="folder")
    written(program)
    form = record.merged_form(program, run_id)
    assert form.draft["values"]["model.name"] == path_of(program, run_id)
    assert int(form.draft["values"]["seed"]) == 7


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
    before = panel_of(program, first)
    assert model(program, first) == ("busy", "Waits until the device is free.")
    gate.set()
    written(program)
    after = panel_of(program, first)
    assert after.live["turn"] != before.live["turn"]
    assert model(program, first)[0] == "there"


def test_a_model_that_could_not_be_written_says_why_until_it_is(program, lab, monkeypatch):
    run_id = finished(program)
    with monkeypatch.context() as patch:

        def full(job, export, report):
            raise ValueError("not enough room on the disk")

        patch.setattr(lab, "export", full)
        taken(program, run_id, "model", action="folder")
        written(program)
        told = "Not written: not enough room on the disk"
        assert model(program, run_id) == ("failed", told)
    taken(program, run_id, "model", action="folder")
    written(program)
    assert model(program, run_id)[0] == "there"


def test_a_folder_that_was_taken_away_is_offered_again(program):
    run_id = finished(program)
    taken(program, run_id, "model", action="folder")
    written(program)
    remove(program.store.folder(run_id) / "exports")
    assert model(program, run_id) == ("", "")
    assert "not there any more" in taken(program, run_id, "model")["problem"]


def test_what_is_too_large_for_the_page_is_told_by_its_place(program, monkeypatch):
    run_id = finished(program)
    monkeypatch.setattr(record, "LARGEST", 3)
    told = taken(program, run_id, "delta")["problem"]
    assert "66 bytes is too large to download" in told
    assert str(program.store.folder(run_id)) in told


def test_a_run_is_taken_away_as_a_pack_with_or_without_its_answers(program, tmp_path, monkeypatch):
    run_id = finished(program)
    for what, personal in (("pack", True), ("bare-pack", False)):
        answer = taken(program, run_id, what)
        assert answer["name"] == f"{run_id}-{what}.zip"
        path = tmp_path / answer["name"]
        path.write_bytes(base64.b64decode(answer["data"]))
        (run,) = read_pack(path)
        assert (run.run_id, bool(run.evidence)) == (run_id, personal)
    monkeypatch.setattr(record, "LARGEST", 3)
    assert f"pack {run_id} --out FILE.zip" in taken(program, run_id, "pack")["problem"]
