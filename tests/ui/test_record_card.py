"""The card of a run's record, and what its button and the upload of a pack do."""

import re
import shutil

import pytest

from tests.exports.packs import pack_of
from tests.fakes import FakeLab, some_evidence
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.events import Evaluated, Loaded, Stopped
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.ui.kit.answer_filters import Look
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.run.panel import draw, past_runs


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
def program(tmp_path):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, Forgetful())
        yield Program(store, worker, {})
        worker.close(5)


def finished(program, spec=None):
    run_id = program.worker.submit(spec or RunSpec(), name="A run")
    program.worker.wait(run_id, 10)
    return run_id


def card(program, run_id):
    return draw(program, run_id, Look()).record


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
        if getattr(stored.event, "when", "") != "after" and stored.event.kind != "finished":
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
    panel = draw(program, run_id, Look())
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
    assert draw(program, run_id, Look()).masked
    assert not draw(program, finished(program), Look()).masked
