"""What the page shows of runs that cannot be read, and of runs that wait to be written."""

import pytest

from tests.runs.test_store import database
from tests.ui.conftest import finished
from unlearnlab.runs.worker import Running, WorkerState
from unlearnlab.ui.compare.listing import change, listing
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.run.live import poll, status
from unlearnlab.ui.run.runs_list import past_runs


@pytest.fixture
def runs(program):
    """A sound run, and one whose spec is damaged and whose name is hostile."""
    good, bad = finished(program, name="Sound"), finished(program, name="<b onload=x>")
    with database(program.store.home) as db:
        db.execute("UPDATE runs SET spec = '[' WHERE id = ?", (bad,))
    return good, bad


def test_a_damaged_run_is_listed_with_what_can_be_done(program, runs):
    good, bad = runs
    html = past_runs(program, good, "")
    assert "Sound" in html
    assert "This run cannot be read" in html
    assert f"export {bad} --what raw" in html
    assert "<b onload" not in html
    assert "cannot be read" not in past_runs(program, good, "Sound")


def test_the_other_tabs_go_on_without_it_and_it_can_be_deleted(program, runs):
    good, bad = runs
    cached = CachedRuns(program.store)
    assert [run.run_id for run in cached.all()] == [good]
    assert listing(cached, {})["found"] == 1
    assert "cannot be read" in poll(program, {"run": bad})["problem"]
    assert change(program.store, {"action": "delete", "runs": [bad]}) == {}
    assert program.store.damaged() == []


def test_what_cannot_be_read_of_a_run_is_told_beside_its_status(program, runs):
    good, _ = runs
    with database(program.store.home) as db:
        db.execute("UPDATE runs SET tags = '[' WHERE id = ?", (good,))
    run = program.runs.shown(good)
    told = status(run, run.view(WorkerState()), WorkerState())
    assert any("its tags cannot be read" in fact for fact in told["facts"])
    assert "its tags cannot be read" in past_runs(program, good, "")


def test_a_run_that_waits_to_be_written_says_so(program):
    run = program.runs.shown(finished(program))
    state = WorkerState((Running(run.row.run_id, trouble="the database is locked"),))
    detail = status(run, run.view(state), state)["detail"]
    assert detail == "waits to be written: the database is locked"
