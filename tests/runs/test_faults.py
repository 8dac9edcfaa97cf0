"""Faults that pass, and those that do not: a locked database, a full disk, two programs at once."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from tests.cli.conftest import ROOT
from tests.fakes import FakeLab, stepped
from tests.runs.waiting import PATIENCE_S, Gate, locked, until
from unlearnlab.runs import worker as worker_module
from unlearnlab.runs.events import Failed, Finished, StepLogged, Stopped
from unlearnlab.runs.store import Full, Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec


def steps(gate, count=5):
    def script(job):
        gate.wait()
        for step in range(1, count + 1):
            yield stepped(step)

    return script


@contextmanager
def training(home, gate, count=5):
    """Run a training whose steps wait at a gate, with a store that has little patience."""
    with Store(home, patience_s=0.01) as store:
        worker = Worker(store, FakeLab(steps(gate, count)))
        run_id = worker.submit(RunSpec())
        gate.reached()
        yield store, worker, run_id
        assert worker.close(PATIENCE_S)


def test_a_step_waits_for_a_database_that_another_program_holds_and_says_so(tmp_path):
    gate = Gate()
    with training(tmp_path, gate) as (store, worker, run_id):
        with locked(tmp_path):
            gate.open()
            until(lambda: worker.state().job(run_id).trouble)
            assert "locked by another program" in worker.state().job(run_id).trouble
        assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
        told = [one.event.step for one in store.events(run_id) if isinstance(one.event, StepLogged)]
        assert told == [1, 2, 3, 4, 5]


def test_a_run_that_waits_for_the_database_can_be_stopped(tmp_path):
    gate = Gate()
    with training(tmp_path, gate) as (_, worker, run_id):
        with locked(tmp_path):
            gate.open()
            until(lambda: worker.state().job(run_id).trouble)
            worker.stop(run_id)
        assert isinstance(worker.wait(run_id, PATIENCE_S), Stopped)


def test_a_database_that_stays_locked_fails_the_run_after_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "_LOCKED_S", 0.0)
    gate = Gate()
    with training(tmp_path, gate) as (store, worker, run_id):
        with locked(tmp_path):
            gate.open()
            until(lambda: worker.lost(run_id) or worker.state().live is None)
        assert store.row(run_id).ending is None or isinstance(store.row(run_id).ending, Failed)


# ---- a full disk

SMALL = """
import sys
from pathlib import Path
from tests.runs.test_faults import on_a_small_disk
on_a_small_disk(Path(sys.argv[1]))
"""


def on_a_small_disk(home):
    """Train on a disk that fills up, in a namespace where it can be mounted."""
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(home)], check=True)
    gate = Gate()
    with Store(home, patience_s=0.1) as store:
        worker = Worker(store, FakeLab(steps(gate, 50)))
        run_id = worker.submit(RunSpec())
        gate.reached()
        with (home / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(os.urandom(4096))
        gate.open()
        ending = worker.wait(run_id, 60)
        logged = sum(isinstance(one.event, StepLogged) for one in store.events(run_id))
        sys.stdout.write(f"{type(ending).__name__} {logged} {ending} {worker.lost(run_id)}")
        worker.close(5)


def may_mount():
    command = ["unshare", "-rm", "true"]
    return shutil.which("unshare") and subprocess.run(command, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs a namespace with a disk of its own")
def test_a_run_on_a_full_disk_keeps_its_events_in_the_reserve_and_ends(tmp_path):
    command = ["unshare", "-rm", sys.executable, "-c", SMALL, str(tmp_path / "disk")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split()[:2] == ["Finished", "50"], done.stdout + done.stderr
    assert done.stderr.count("disk is full") == 1, "it is told once"


# ---- endings that cannot be stored


def test_an_ending_that_can_never_be_stored_is_told_and_the_worker_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "_LOCKED_S", 0.0)
    gate = Gate()
    with training(tmp_path, gate, count=0) as (_, worker, run_id):
        with locked(tmp_path):
            gate.open()
            assert worker.wait(run_id, PATIENCE_S) is None
            assert "locked by another program" in worker.lost(run_id)
        other = worker.submit(RunSpec(seed=1))
        assert isinstance(worker.wait(other, PATIENCE_S), Finished)


def test_the_reserve_is_given_up_in_two_parts_and_made_again(tmp_path):
    reserve = tmp_path / "unlearnlab.reserve"
    with Store(tmp_path) as store:
        whole = reserve.stat().st_size
        assert store.make_room(ending=False)
        assert 0 < reserve.stat().st_size < whole
        assert not store.make_room(ending=False)
        assert store.make_room(ending=True)
        assert reserve.stat().st_size == 0
        assert not store.make_room(ending=True)
    with Store(tmp_path):
        assert reserve.stat().st_size == whole


def test_a_full_disk_has_an_error_of_its_own(tmp_path):
    with Store(tmp_path) as store:
        run_id = store.create(RunSpec())
        with pytest.raises(Full, match="the disk is full"):
            outgrow(store, run_id)


def outgrow(store, run_id):
    """Write more than a database may hold that must not grow."""
    with store._database.writing() as db:
        db.execute("PRAGMA max_page_count = 1")
        for step in range(10_000):
            query = "INSERT INTO events VALUES (?, ?, 0, 'paused', ?)"
            db.execute(query, (run_id, step, "x" * 1000))


# ---- two programs on one home

BOTH = """
import sys
from pathlib import Path
from tests.fakes import FakeLab, whole_run
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec

with Store(Path(sys.argv[1])) as store:
    worker = Worker(store, FakeLab(whole_run))
    ids = [worker.submit(RunSpec(seed=seed)) for seed in range(5)]
    store.update(ids[0], tags=["mine"])
    assert all(worker.wait(one, 60) for one in ids)
    store.delete(ids[1:2])
    worker.close(10)
print(*ids)
"""


def test_programs_that_share_a_home_lose_nothing_of_each_other(tmp_path):
    command = [sys.executable, "-c", BOTH, str(tmp_path)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ids = [one.communicate(timeout=120)[0].split() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    with Store(tmp_path) as store:
        there = {row.run_id: row for row in store.runs()}
        assert set(there) == {run for own in ids for run in (own[0], *own[2:])}
        assert {row.status for row in there.values()} == {"finished"}
        assert all(there[own[0]].tags == ("mine",) for own in ids)
        lengths = {len(store.events(run)) for run in there}
        assert len(lengths) == 1, "no event is lost or doubled"
