"""The merged model as a job: asked for, waited for, told among the run's events."""

import threading

import pytest

from tests.exports.results import run_of
from tests.fakes import FakeLab, stage, whole_run
from unlearnlab.data.files import whole_folder
from unlearnlab.runs.engine_api import Export
from unlearnlab.runs.events import Exported, ExportFailed
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import NotRunning, Worker
from unlearnlab.spec.run import RunSpec


def wish(tmp_path):
    return Export(tmp_path / "out" / "model", {"README.md": "card"})


def answered(store, worker, run_id):
    """Wait for the answer to a wish and return it."""
    while worker.state().exports:
        threading.Event().wait(0.01)
    (found,) = advance(RunProgress(), store.events(run_id)).exports
    return found


def test_a_model_is_written_after_the_run_and_told_among_its_events(tmp_path):
    with run_of(tmp_path / "home") as (store, worker, run_id):
        worker.export(run_id, wish(tmp_path))
        assert answered(store, worker, run_id) == Exported(name="model", megabytes=0.1)
        assert (tmp_path / "out" / "model" / "README.md").read_text() == "card"


def without_weights(job):
    yield stage("loading")


def test_a_model_that_cannot_be_written_is_told_with_its_reason(tmp_path):
    with run_of(tmp_path / "home", script=without_weights) as (store, worker, run_id):
        worker.export(run_id, wish(tmp_path))
        failed = answered(store, worker, run_id)
        assert failed == ExportFailed(name="model", problem="this run left no weights")


def test_a_model_waits_for_the_run_that_has_the_device(tmp_path):
    gate, lab = threading.Event(), FakeLab()
    with run_of(tmp_path / "home", lab=lab) as (store, worker, first):

        def held(job):
            while not gate.wait(0.01):
                yield None
            yield from whole_run(job)

        lab.script = held
        second = worker.submit(RunSpec())
        while worker.state().live != second:
            threading.Event().wait(0.01)
        worker.export(first, wish(tmp_path))
        worker.export(first, wish(tmp_path))
        assert worker.state().exports == {first: None}
        with pytest.raises(NotRunning, match="has not ended"):
            worker.export(second, wish(tmp_path))
        gate.set()
        assert worker.wait(second, 20)
        assert answered(store, worker, first) == Exported(name="model", megabytes=0.1)
    assert lab.log.count(f"export {first}") == 1


def test_a_model_that_still_waits_when_the_program_ends_is_told(tmp_path):
    gate, lab = threading.Event(), FakeLab()
    with Store(tmp_path / "home") as store:
        worker = Worker(store, lab)
        first = worker.submit(RunSpec())
        assert worker.wait(first, 20)

        def held(job):
            gate.set()
            while True:
                threading.Event().wait(0.01)
                yield None

        lab.script = held
        worker.submit(RunSpec())
        assert gate.wait(20)
        worker.export(first, wish(tmp_path))
        assert worker.close(20)
        (found,) = advance(RunProgress(), store.events(first)).exports
        assert isinstance(found, ExportFailed)
        assert "closed" in found.problem


def test_a_model_that_is_being_written_tells_how_far_it_is_and_can_be_stopped(tmp_path):
    half, go_on = threading.Event(), threading.Event()

    class Patient(FakeLab):
        def export(self, job, export, report=None):
            assert report is not None
            with whole_folder(export.folder) as part:
                (part / "model.safetensors").write_bytes(b"half")
                report(1, 2)
                half.set()
                assert go_on.wait(20)
                report(2, 2)
            raise AssertionError("nobody wishes it any more")

    with Store(tmp_path / "home") as store:
        worker = Worker(store, Patient())
        first, second = worker.submit(RunSpec()), worker.submit(RunSpec())
        assert worker.wait(second, 20)
        worker.export(first, wish(tmp_path))
        assert half.wait(20)
        worker.export(second, wish(tmp_path))
        state = worker.state()
        assert state.exports == {first: 0.5, second: None}
        worker.stop_export(second)
        worker.stop_export(first)
        worker.stop_export("strange")
        go_on.set()
        for run_id in (first, second):
            found = answered(store, worker, run_id)
            assert isinstance(found, ExportFailed)
            assert "it was cancelled" in found.problem
        assert not list(tmp_path.glob("model*"))
        worker.close(5)
