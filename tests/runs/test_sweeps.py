import pytest

from tests.fakes import FakeLab, stage, whole_run
from tests.runs.waiting import PATIENCE_S, Gate, until
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Finished, Stopped
from unlearnlab.runs.store import UnknownSweep
from unlearnlab.runs.sweeps import Sweeping
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import ModelSpec, RunSpec
from unlearnlab.spec.sweep import ListAxis, SeedAxis, SweepSpec

THREE = SweepSpec(base=RunSpec(), axes=(SeedAxis(count=3),))


@pytest.fixture
def sweeping(store, employ):
    """Make a worker whose lab follows a script, and the sweeps that run on it."""

    def make(script=whole_run):
        worker = employ(FakeLab(script))
        return worker, Sweeping(store, worker)

    return make


def through(worker, sweeps, sweep_id):
    """Wait for all runs of a sweep, and return the status of each of its points."""
    for one in sweeps.status(sweep_id).points:
        if one.row:
            worker.wait(one.row.run_id, PATIENCE_S)
    return [one.status for one in sweeps.status(sweep_id).points]


def gated(gate):
    def script(job):
        yield stage("training")
        gate.wait()
        yield from whole_run(job)

    return script


def fails_at(*seeds):
    def script(job):
        yield stage("training")
        if job.spec.seed in seeds:
            raise RunFailed("the loss is not finite")
        yield from whole_run(job)

    return script


def test_a_sweep_queues_its_runs_as_one_group_and_they_finish(store, sweeping):
    worker, sweeps = sweeping()
    sweep_id = sweeps.start(THREE, name="Seeds")
    assert through(worker, sweeps, sweep_id) == ["finished"] * 3
    assert [(row.name, row.sweep) for row in reversed(store.runs())] == [
        (f"Seeds: seed {n}", sweep_id) for n in range(3)
    ]
    assert store.sweeps.row(sweep_id).spec == THREE
    assert sweeps.status(sweep_id).seconds_left == 0


def test_what_is_finished_is_not_repeated_whoever_carried_it_out(store, sweeping):
    worker, sweeps = sweeping()
    worker.wait(worker.submit(RunSpec(seed=1)), PATIENCE_S)
    sweep_id = sweeps.start(THREE, name="Seeds")
    through(worker, sweeps, sweep_id)
    assert sorted(row.spec.seed for row in store.runs()) == [0, 1, 2]
    assert sweeps.start(THREE, name="Seeds") == sweep_id, "the same sweep goes on"
    assert len(store.runs()) == 3


def test_a_failing_run_never_stops_the_rest_and_is_tried_again_only_when_asked(store, sweeping):
    worker, sweeps = sweeping(fails_at(1))
    sweep_id = sweeps.start(THREE, name="Seeds")
    assert through(worker, sweeps, sweep_id) == ["finished", "failed", "finished"]
    assert sweeps.go_on(sweep_id) == 0
    assert sweeps.go_on(sweep_id, failed=True) == 1
    assert len(store.runs()) == 4


def test_cancelling_takes_what_waits_and_going_on_brings_it_back(store, sweeping):
    gate = Gate()
    worker, sweeps = sweeping(gated(gate))
    sweep_id = sweeps.start(THREE, name="Seeds")
    until(lambda: store.runs()[-1].began)
    assert sweeps.cancel(sweep_id) == 2
    assert sweeps.status(sweep_id).counts == {"running": 1, "stopped": 2}
    assert sweeps.go_on(sweep_id) == 2
    gate.open()
    assert through(worker, sweeps, sweep_id) == ["finished"] * 3


def test_values_are_added_while_it_goes(store, sweeping):
    gate = Gate()
    worker, sweeps = sweeping(gated(gate))
    epochs = ListAxis(path="phases.0.epochs", texts=("1", "2"))
    sweep_id = sweeps.start(SweepSpec(base=RunSpec(), axes=(epochs,)), name="Epochs")
    assert sweeps.add(sweep_id, 0, "2, 3") == 1
    with pytest.raises(SpecError, match="at least 1"):
        sweeps.add(sweep_id, 0, "0")
    gate.open()
    assert through(worker, sweeps, sweep_id) == ["finished"] * 3


def test_after_a_restart_a_sweep_goes_on_and_repeats_nothing(store, sweeping):
    gate = Gate()
    first, sweeps = sweeping(gated(gate))
    sweep_id = sweeps.start(THREE, name="Seeds")
    gate.open()
    oldest = store.runs()[-1].run_id
    assert isinstance(first.wait(oldest, PATIENCE_S), Finished)
    first.close(PATIENCE_S)
    waited = {row.run_id for row in store.runs() if row.ending is None}
    second, sweeps = sweeping()
    assert sweeps.start(THREE, name="Seeds") == sweep_id
    assert through(second, sweeps, sweep_id) == ["finished"] * 3
    assert all(isinstance(store.row(run_id).ending, Finished) for run_id in waited)
    begun = [row for row in store.runs() if not isinstance(row.ending, Stopped)]
    assert len(begun) == 3


def test_a_sweep_whose_model_is_not_here_queues_nothing(store, sweeping):
    _, sweeps = sweeping()
    missing = RunSpec(model=ModelSpec(name="olmo-7b"))
    with pytest.raises(SpecError, match="olmo-7b cannot run here"):
        sweeps.start(SweepSpec(base=missing, axes=(SeedAxis(count=2),)), name="No")
    with pytest.raises(UnknownSweep, match="unknown sweep 'x'"):
        sweeps.go_on("x")
    assert store.runs() == [] == store.sweeps.rows()


def test_a_second_list_of_many_sweeps_parses_nothing_anew(store):
    for seed in range(300):
        spec = SweepSpec(base=RunSpec(seed=seed), axes=(SeedAxis(count=2),))
        store.sweeps.create(spec, name="")
    first, second = store.sweeps.rows(), store.sweeps.rows()
    assert len(first) == 300
    assert all(a.spec is b.spec for a, b in zip(first, second, strict=True))
