import gc
import subprocess
import sys
import time
import weakref

import pytest

from tests.fakes import FakeLab, evaluated, phase_began, stage, stepped, whole_run
from tests.outside import other_process
from tests.runs.waiting import PATIENCE_S, Gate, locked, until
from unlearnlab.runs import devices as locks
from unlearnlab.runs import worker as module
from unlearnlab.runs.engine_api import EnginePool, Export, RunFailed, listed
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    CutShort,
    Failed,
    Finished,
    Revision,
    Started,
    Stopped,
    read_event,
)
from unlearnlab.runs.store import Store, UnknownRun
from unlearnlab.runs.worker import NotRunning, Running, Worker, WorkerState, revision, revision_of
from unlearnlab.spec.run import Phase, PreviewSpec, RunSpec, SpecError
from unlearnlab.spec.trace import TraceSpec
from unlearnlab.views.words import code_text


@pytest.fixture
def begin(employ):
    """Start a run that waits at a gate: return its worker, its lab, the gate and its id."""

    def start(script, spec=RunSpec()):  # noqa: B008  (a spec cannot be changed)
        gate = Gate()
        lab = FakeLab(script(gate))
        worker = employ(lab)
        run_id = worker.submit(spec)
        gate.reached()
        return worker, lab, gate, run_id

    return start


def gated(gate):
    """Return a script that stops at a gate before it takes step 1."""

    def script(job):
        yield stage("training")
        gate.wait()
        for step in range(1, 4):
            yield None
            yield stepped(step)

    return script


def training(gate):
    """Return a script that stops at a gate in its only phase."""

    def script(job):
        yield stage("training")
        yield phase_began(1)
        gate.wait()
        yield None
        yield stage("saving")

    return script


def cut(gate, lab):
    """Return a script that stops at a gate in its training, and ends it if it was asked to."""

    def script(job):
        yield stage("training")
        yield phase_began(40)
        yield stepped(1)
        gate.wait()
        yield None
        if job.run_id in lab.ended:
            yield CutShort(step=1, planned=40)
        yield stage("scoring after")
        yield evaluated("after", key=job.run_id)

    return script


def endless(job):
    yield stage("training")
    while True:
        time.sleep(0.001)
        yield None


def failing(error):
    def script(job):
        yield stage("training")
        raise error

    return script


def carried_out(worker, spec=RunSpec(), **more):  # noqa: B008
    """Carry out a run, and return its id and its ending."""
    run_id = worker.submit(spec, **more)
    return run_id, worker.wait(run_id, PATIENCE_S)


def finish(worker, *run_ids):
    for run_id in run_ids:
        assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)


def paused(worker, store, run_id):
    """Pause a run, and wait until it is."""
    until(lambda: worker.state().job(run_id))
    worker.pause(run_id)
    until(lambda: "paused" in kinds(store, run_id))


def kinds(store, run_id):
    return [stored.event.kind for stored in store.events(run_id)]


def of_type(store, run_id, types):
    events = [stored.event for stored in store.events(run_id)]
    return [event for event in events if isinstance(event, types)]


def answers(store, run_id):
    return of_type(store, run_id, Asked | AskFailed)


def changes(store, run_id):
    return of_type(store, run_id, Adjusted | AdjustFailed)


# ---- runs and their endings


def test_a_run_is_its_facts_between_started_and_one_ending(store, employ):
    lab = FakeLab()
    run_id, ending = carried_out(employ(lab), name="first")
    assert isinstance(ending, Finished)
    assert ending.seconds > 0
    seen = kinds(store, run_id)
    assert (seen[0], seen[-1], seen.count("step_logged")) == ("started", "finished", 3)
    assert store.row(run_id).name == "first"
    assert store.row(run_id).after == evaluated("after").scores
    assert list(store.artefacts(run_id)) == ["delta.safetensors"]
    assert lab.log == [f"unlearn {run_id}", "release"]


def test_runs_are_carried_out_one_at_a_time_in_the_order_they_came(begin):
    worker, lab, gate, first = begin(gated)
    second, third = (worker.submit(RunSpec(seed=n)) for n in range(2))
    assert worker.state().running == (Running(first),)
    assert worker.state().queue == (second, third)
    gate.open()
    finish(worker, third, second, first)
    until(lambda: worker.state() == WorkerState(devices=("",)))
    runs = [f"unlearn {run_id}" for run_id in (first, second, third)]
    assert lab.log == [line for run in runs for line in (run, "release")]


@pytest.mark.parametrize("items", range(19))
def test_stop_ends_a_run_in_whatever_stage_it_is(store, employ, items):
    def script(job):
        for number, event in enumerate(whole_run(job)):
            if number == items:
                worker.stop(job.run_id)
                assert worker.state().running == (Running(job.run_id, stopping=True),)
            yield event

    worker = employ(FakeLab(script))
    run_id, ending = carried_out(worker)
    assert isinstance(ending, Stopped)
    assert kinds(store, run_id)[-1] == "stopped"


def test_a_stopped_run_closes_its_generator_before_the_device_is_freed(employ):
    lab = FakeLab()

    def script(job):
        try:
            yield stage("training")
            worker.stop(job.run_id)
            yield None
        finally:
            lab.log.append("undone")

    lab.script = script
    worker = employ(lab)
    run_id, _ = carried_out(worker)
    assert lab.log == [f"unlearn {run_id}", "undone", "release"]


def test_a_queued_run_can_be_stopped_and_never_begins(store, begin):
    worker, _, gate, live = begin(gated)
    queued = worker.submit(RunSpec())
    worker.stop(queued)
    assert worker.state().queue == ()
    assert worker.wait(queued, PATIENCE_S) == Stopped(seconds=0)
    gate.open()
    finish(worker, live)
    assert kinds(store, queued) == ["stopped"]


def test_stopping_twice_or_after_the_end_changes_nothing(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    worker.stop(run_id)
    worker.stop(run_id)
    worker.wait(run_id, PATIENCE_S)
    worker.stop(run_id)
    assert kinds(store, run_id).count("stopped") == 1


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RunFailed("the forget loss became nan", "lower the rate"), "the forget loss became nan"),
        (
            ValueError("phases.0: the set has no rows"),
            "phases.0: the set has no rows",
        ),
        (KeyError("terms"), "KeyError: 'terms' (test_worker.py, line "),
        (OSError("no file \udcff"), "OSError: no file ? (test_worker.py"),
    ],
)
def test_a_failed_run_tells_the_problem_and_the_next_one_is_carried_out(employ, error, problem):
    """A user's mistake in its own words, a fault of the program with its kind and place."""
    lab = FakeLab(failing(error))
    worker = employ(lab)
    _, ending = carried_out(worker, name="a name that no database takes: \udcff")
    assert isinstance(ending, Failed)
    assert ending.problem.startswith(problem)
    assert ending.advice == getattr(error, "advice", "")
    assert lab.log[-1] == "release"
    lab.script = whole_run
    assert isinstance(carried_out(worker)[1], Finished)


def test_a_failure_before_the_first_fact_is_an_ending_too(employ):
    class Headless(FakeLab):
        @property
        def versions(self):
            raise OSError("no libraries")

    assert carried_out(employ(Headless()))[1].problem.startswith("OSError: no libraries")


def test_a_failure_while_a_stopped_run_is_undone_is_told(employ):
    def script(job):
        try:
            worker.stop(job.run_id)
            yield None
        finally:
            raise RunFailed("the weights could not be put back")

    worker = employ(FakeLab(script))
    _, ending = carried_out(worker)
    assert isinstance(ending, Failed)
    assert ending.problem == "the weights could not be put back"


def test_a_device_that_cannot_be_freed_fails_the_run_and_not_the_worker(employ):
    class Stuck(FakeLab):
        def release(self):
            raise RuntimeError("device lost")

    worker = employ(Stuck())
    for _ in range(2):
        problem = carried_out(worker)[1].problem
        assert problem.startswith("the device could not be freed: RuntimeError: device lost")


def test_no_exception_keeps_the_model_when_the_device_is_freed(employ):
    class Model:
        pass

    class Watched(FakeLab):
        def release(self):
            super().release()
            alive.append(model() is not None)

    def script(job):
        nonlocal model
        held = Model()
        model = weakref.ref(held)
        yield None
        raise MemoryError("no room for", held)

    model = lambda: None  # noqa: E731
    alive = []
    gc.disable()
    try:
        carried_out(employ(Watched(script)))
    finally:
        gc.enable()
    assert alive == [False]


def test_unknown_runs_are_refused(employ):
    worker = employ(FakeLab())
    trace_id = worker.submit(TraceSpec())
    for request in (worker.stop, worker.wait, lambda run_id: worker.ask(run_id, "hello")):
        with pytest.raises(UnknownRun, match="unknown run 'x'"):
            request("x")
    with pytest.raises(UnknownRun):
        worker.ask(trace_id, "a trace answers no prompt")


# ---- pauses


def test_a_run_is_held_answers_meanwhile_and_goes_on(store, begin):
    worker, _, gate, run_id = begin(gated)
    worker.pause(run_id)
    assert worker.state().running == (Running(run_id, paused=True),)
    gate.open()
    until(lambda: "paused" in kinds(store, run_id))
    ask_id = worker.ask(run_id, "Who is Ada?")
    until(lambda: answers(store, run_id))
    assert kinds(store, run_id)[-2:] == ["paused", "asked"]
    answer = answers(store, run_id)[0]
    assert (answer.ask_id, answer.original) == (ask_id, "WHO IS ADA?")
    worker.resume(run_id)
    finish(worker, run_id)
    seen = kinds(store, run_id)
    assert seen[seen.index("asked") :] == ["asked", "resumed", *["step_logged"] * 3, "finished"]


def test_time_on_hold_is_no_time_of_the_run(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    paused(worker, store, run_id)
    since = time.monotonic()
    time.sleep(0.5)
    held = time.monotonic() - since
    worker.resume(run_id)
    worker.stop(run_id)
    ending = worker.wait(run_id, PATIENCE_S)
    assert ending.seconds < store.events(run_id)[-1].at - store.events(run_id)[0].at - 0.9 * held


def test_a_held_run_can_be_stopped(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    paused(worker, store, run_id)
    worker.stop(run_id)
    assert isinstance(worker.wait(run_id, PATIENCE_S), Stopped)
    assert kinds(store, run_id)[-2:] == ["paused", "stopped"]


def test_the_request_to_hold_a_run_does_not_outlive_it(store, employ):
    def script(job):
        if not store.runs()[1:]:
            worker.pause(job.run_id)
            worker.stop(job.run_id)
        yield None

    worker = employ(FakeLab(script))
    carried_out(worker)
    assert isinstance(carried_out(worker)[1], Finished)


def test_only_the_live_run_can_be_held(employ):
    worker = employ(FakeLab())
    run_id, _ = carried_out(worker)
    until(lambda: worker.state().live is None)
    for request in (worker.pause, worker.resume):
        with pytest.raises(NotRunning, match=f"run {run_id} is not running"):
            request(run_id)


# ---- prompts


def test_a_prompt_to_the_live_run_is_answered_at_its_next_batch(store, begin):
    worker, _, gate, run_id = begin(gated)
    asked = [worker.ask(run_id, prompt) for prompt in ("one", "two")]
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    assert [answer.ask_id for answer in answers(store, run_id)] == asked
    seen = kinds(store, run_id)
    assert seen.index("asked") < seen.index("step_logged")


def test_a_prompt_to_a_finished_run_is_answered_before_the_next_run(store, employ):
    lab = FakeLab()
    worker = employ(lab)
    done, _ = carried_out(worker)
    gate = Gate()
    lab.script = gated(gate)
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    gate.reached()
    worker.ask(done, "hello")
    gate.open()
    worker.wait(queued, PATIENCE_S)
    until(lambda: lab.log[-1] == "release")
    between = [f"unlearn {live}", "release", f"ask {done}", "release", f"unlearn {queued}"]
    assert lab.log[2:7] == between
    assert answers(store, done)[0].unlearned == "olleh"


def test_a_prompt_to_a_queued_run_waits_until_it_is_live(store, begin):
    worker, lab, gate, live = begin(gated)
    queued = worker.submit(RunSpec())
    worker.ask(queued, "hello")
    gate.open()
    worker.wait(queued, PATIENCE_S)
    assert lab.log[:3] == [f"unlearn {live}", "release", f"unlearn {queued}"]
    seen = kinds(store, queued)
    assert seen.index("started") < seen.index("asked") < seen.index("finished")


def test_a_prompt_that_fails_is_answered_with_the_reason_and_the_run_goes_on(store, begin):
    worker, _, gate, run_id = begin(gated)
    ask_id = worker.ask(run_id, "x" * 2000)
    gate.open()
    finish(worker, run_id)
    (answer,) = answers(store, run_id)
    assert answer.ask_id == ask_id
    assert answer.problem == "the prompt is too long: 2000 characters, at most 1000"
    worker.ask(run_id, "x" * 2000)
    until(lambda: len(answers(store, run_id)) == 2)
    assert isinstance(answers(store, run_id)[1], AskFailed)
    assert isinstance(carried_out(worker)[1], Finished), "a failure between runs ends no worker"


@pytest.mark.parametrize("prompt", ["<script>alert(1)</script>", "nul \0", "half a pair \ud83d"])
def test_any_text_but_an_empty_one_is_a_prompt(store, employ, prompt):
    worker = employ(FakeLab())
    run_id, _ = carried_out(worker)
    worker.ask(run_id, prompt)
    until(lambda: answers(store, run_id))
    assert answers(store, run_id)[0].prompt == prompt.replace("\ud83d", "?")
    for empty in ("", "  \n"):
        with pytest.raises(ValueError, match="prompt: it is empty"):
            worker.ask(run_id, empty)


def test_the_log_holds_no_prompts(tmp_path, caplog):
    secret = "the name of the person"
    with Store(tmp_path, patience_s=0.01) as store:
        worker = Worker(store, FakeLab())
        run_id, _ = carried_out(worker)
        with locked(tmp_path):
            worker.ask(run_id, secret)
            until(lambda: caplog.records)
        until(lambda: answers(store, run_id))
        assert worker.close(PATIENCE_S)
    assert "waits to be written" in caplog.text
    assert secret not in caplog.text


# ---- changed settings


def test_a_change_is_made_at_the_next_batch_and_recorded_with_its_values(store, begin):
    worker, _, gate, run_id = begin(training)
    worker.adjust(run_id, {"learning_rate": "1e-4", "method.retain_weight": 3})
    gate.open()
    finish(worker, run_id)
    expected = {"learning_rate": 1e-4, "method.retain_weight": 3.0}
    assert changes(store, run_id) == [Adjusted(step=1, phase=0, changes=expected)]


def test_a_held_run_is_changed_while_it_is_held(store, begin):
    worker, _, gate, run_id = begin(training)
    worker.pause(run_id)
    gate.open()
    until(lambda: "paused" in kinds(store, run_id))
    worker.adjust(run_id, {"learning_rate": 1e-4})
    until(lambda: changes(store, run_id))
    worker.resume(run_id)
    worker.wait(run_id, PATIENCE_S)
    seen = kinds(store, run_id)
    assert seen.index("paused") < seen.index("adjusted") < seen.index("resumed")


def test_a_wrong_change_is_refused_at_once_by_its_path(store, begin):
    worker, _, gate, run_id = begin(training)
    for path, value, told in (
        ("learning_rate", "fast", "learning_rate: must be a number, not 'fast'"),
        ("learning_rate", 0, "learning_rate: must be greater than 0, not 0"),
        ("method.retain_weight", -1, "method.retain_weight: must be at least 0, not -1"),
        ("method.beta", 1, "method.beta: while it runs, only learning_rate, method.forget_weight"),
        ("epochs", 3, "epochs: while it runs, only learning_rate"),
    ):
        with pytest.raises(SpecError) as refused:
            worker.adjust(run_id, {path: value})
        assert str(refused.value).startswith(told)
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    assert changes(store, run_id) == []


def test_only_the_live_run_can_be_changed_and_only_while_it_trains(begin):
    worker, _, gate, live = begin(gated)
    queued = worker.submit(RunSpec())
    with pytest.raises(NotRunning, match="only a running one"):
        worker.adjust(queued, {"learning_rate": 1e-4})
    with pytest.raises(NotRunning, match="is not training now"):
        worker.adjust(live, {"learning_rate": 1e-4})
    gate.open()
    worker.wait(queued, PATIENCE_S)
    with pytest.raises(NotRunning):
        worker.adjust(live, {"learning_rate": 1e-4})


def test_a_change_that_the_lab_refuses_is_told_and_the_run_goes_on(store, begin):
    worker, _, gate, run_id = begin(training)
    worker.adjust(run_id, {"learning_rate": 0.5})
    gate.open()
    finish(worker, run_id)
    (failed,) = changes(store, run_id)
    assert failed.problem == "learning_rate: this lab takes everything but 0.5"


def test_a_change_meant_for_a_phase_that_has_ended_leaves_the_next_one_alone(store, begin):
    def two_phases(gate):
        def script(job):
            yield stage("training")
            yield phase_began(1, total=2)
            gate.wait()
            yield phase_began(1, phase=1, step=1, total=2)

        return script

    worker, lab, gate, run_id = begin(two_phases, RunSpec(phases=(Phase(), Phase())))
    worker.adjust(run_id, {"learning_rate": 1e-4})
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    (failed,) = changes(store, run_id)
    assert failed.problem == "phase 1 had ended before it could be changed"
    assert f"adjust {run_id}" not in lab.log


# ---- several workers, closing, crashes


def test_two_workers_share_a_store_and_keep_to_their_own_runs(store, employ):
    one, other = employ(FakeLab(endless)), employ(FakeLab())
    run_id = one.submit(RunSpec())
    until(lambda: kinds(store, run_id))
    assert isinstance(carried_out(other)[1], Finished)
    assert len(store.runs()) == 2
    with pytest.raises(NotRunning, match="stop it where it was started"):
        other.stop(run_id)
    assert other.wait(run_id, timeout_s=0.01) is None
    one.stop(run_id)
    assert isinstance(other.wait(run_id, PATIENCE_S), Stopped)


def test_training_can_be_ended_and_the_run_is_scored_and_marked(store, employ):
    gate, lab = Gate(), FakeLab()
    lab.script = cut(gate, lab)
    worker = employ(lab)
    run_id = worker.submit(RunSpec())
    gate.reached()
    worker.stop_and_score(run_id)
    worker.stop_and_score(run_id)
    assert worker.state().running == (Running(run_id, ends_training=True),)
    gate.open()
    ending = worker.wait(run_id, PATIENCE_S)
    assert ending == Finished(seconds=ending.seconds, stopped_at=1, planned=40)
    assert lab.log.count(f"end {run_id}") == 1
    row = store.row(run_id)
    assert row.after is not None
    assert row.ending == ending


def test_a_paused_run_whose_training_is_ended_goes_on(employ):
    gate, lab = Gate(), FakeLab()
    lab.script = cut(gate, lab)
    worker = employ(lab)
    run_id = worker.submit(RunSpec())
    gate.reached()
    worker.pause(run_id)
    gate.open()
    worker.stop_and_score(run_id)
    assert worker.wait(run_id, PATIENCE_S).stopped_at == 1


def test_only_a_run_in_training_can_be_scored_as_it_is(begin):
    worker, _, gate, run_id = begin(gated)
    with pytest.raises(NotRunning, match="not training now: stop it instead"):
        worker.stop_and_score(run_id)
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    with pytest.raises(NotRunning, match="is not running"):
        worker.stop_and_score(run_id)


def test_closing_stops_what_runs_and_leaves_what_waits_without_an_ending(store, employ):
    worker = employ(FakeLab(endless))
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    until(lambda: worker.state().live == live)
    assert worker.close(PATIENCE_S)
    assert isinstance(store.row(live).ending, Stopped)
    assert store.row(queued).ending is None
    assert worker.wait(queued) is None, "it will not end here, so nobody waits"
    for request in (lambda: worker.submit(RunSpec()), lambda: worker.adopt([queued])):
        with pytest.raises(NotRunning, match="the worker is closed"):
            request()


def test_what_waited_when_the_worker_closed_is_taken_over_by_the_next_one(store, employ, begin):
    first = employ(FakeLab(endless))
    live, *waiting = (first.submit(RunSpec(seed=n)) for n in range(4))
    until(lambda: first.state().live == live)
    first.stop(waiting[0])
    assert first.close(PATIENCE_S)
    second, _, gate, busy = begin(gated)
    given_up = store.create(RunSpec())
    second.stop(given_up)
    assert store.row(given_up).ending == Stopped(seconds=0), "what is not taken over can be ended"
    assert second.adopt([live, waiting[2], *waiting]) == [waiting[2], waiting[1]]
    assert second.adopt([busy, *waiting]) == []
    assert second.state().queue == (waiting[2], waiting[1])
    gate.open()
    finish(second, waiting[1], waiting[2])
    with pytest.raises(UnknownRun):
        second.adopt(["x"])


def test_waiting_runs_change_places(begin):
    worker, lab, gate, live = begin(gated)
    a, b, c = (worker.submit(RunSpec(seed=n)) for n in range(3))
    for run_id, to, queue in [(c, 0, (c, a, b)), (c, 1, (a, c, b)), (a, 9, (c, b, a))]:
        worker.move(run_id, to)
        assert worker.state().queue == queue
    with pytest.raises(NotRunning, match=f"run {live} is not queued here"):
        worker.move(live, 0)
    gate.open()
    finish(worker, a)
    carried = [line for line in lab.log if line.startswith("unlearn")]
    assert carried == [f"unlearn {run_id}" for run_id in (live, c, b, a)]


def test_closing_refuses_prompts_and_does_not_wait_for_a_run_that_is_busy(store, begin):
    worker, _, gate, live = begin(gated)
    other = store.create(RunSpec())
    ask_id = worker.ask(other, "hello")
    assert not worker.close(timeout_s=0.01)
    gate.open()
    assert worker.close(PATIENCE_S)
    assert isinstance(store.row(live).ending, Stopped)
    assert answers(store, other)[0].ask_id == ask_id
    assert "closed" in answers(store, other)[0].problem


def test_an_ending_waits_for_a_database_that_somebody_else_holds(tmp_path):
    gate = Gate()

    def script(job):
        yield None
        gate.wait()

    with Store(tmp_path, patience_s=0.01) as store:
        worker = Worker(store, FakeLab(script))
        run_id = worker.submit(RunSpec())
        gate.reached()
        with locked(tmp_path):
            gate.open()
            assert worker.wait(run_id, timeout_s=0.1) is None
            assert worker.state().live == run_id
        finish(worker, run_id)
        assert worker.close(PATIENCE_S)


STEPS = """
import sys, time
from pathlib import Path
from tests.fakes import FakeLab, stepped
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec

def script(job):
    for step in range(1, 10_000):
        yield stepped(step)
        time.sleep(0.01)

worker = Worker(Store(Path(sys.argv[1])), EnginePool(lambda: ("cpu",), lambda _: FakeLab(script)))
"""


def process(code, home):
    """Start a process with a worker whose runs take steps, on a home."""
    command = [sys.executable, "-c", STEPS + code, str(home)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def test_a_run_killed_with_its_process_is_interrupted_and_a_new_one_works(store, employ):
    code = "print(*(worker.submit(RunSpec()) for _ in range(2)), flush=True); sys.stdin.read()"
    killed = process(code, store.home)
    live, queued = killed.stdout.readline().split()
    until(lambda: "step_logged" in kinds(store, live))
    killed.kill()
    killed.communicate()
    for run_id, started in ((live, True), (queued, False)):
        row = store.row(run_id)
        assert (row.alive, row.began, row.ending) == (False, started, None)
    steps = [stored.event for stored in store.events(live)][1:]
    assert [event.step for event in steps] == list(range(1, len(steps) + 1))
    worker = employ(FakeLab())
    assert worker.wait(live) is None, "it will never end, so nobody waits"
    store.delete([queued])
    assert worker.adopt([queued]) == [], "what was deleted stays away"
    store.restore([queued])
    assert worker.adopt([live, queued]) == [queued], "what never began can begin here"
    finish(worker, queued)
    assert store.row(queued).alive
    assert isinstance(carried_out(worker)[1], Finished)
    assert worker.ask(live, "hello")
    until(lambda: answers(store, live))


# ---- traces and previews


@pytest.mark.parametrize(
    ("spec", "name", "facts"),
    [
        (TraceSpec(), "trace", ["progressed", "progressed", "traced"]),
        (
            PreviewSpec(source="embedded", rows=("a",)),
            "preview",
            ["progressed", "progressed", "previewed"],
        ),
    ],
)
def test_a_trace_or_preview_is_queued_among_runs_and_ends_as_they_do(
    store, begin, spec, name, facts
):
    worker, lab, gate, run_id = begin(gated)
    job_id = worker.submit(spec)
    assert worker.state().queue == (job_id,)
    gate.open()
    finish(worker, job_id)
    assert kinds(store, job_id) == ["started", "stage_began", *facts, "finished"]
    assert lab.log == [f"unlearn {run_id}", "release", name, "release"]


def test_a_trace_can_be_stopped_and_taken_from_the_queue(employ):
    worker = employ(FakeLab(endless))
    run_id, trace_id = worker.submit(RunSpec()), worker.submit(TraceSpec())
    for each in (trace_id, run_id):
        worker.stop(each)
        assert isinstance(worker.wait(each, PATIENCE_S), Stopped)


def test_a_trace_that_fails_says_why_and_the_next_job_runs(employ):
    class Puzzled(FakeLab):
        def trace(self, spec):
            yield stage("tracing")
            raise ValueError("the model does not know this answer")

    worker = employ(Puzzled())
    trace_id, run_id = worker.submit(TraceSpec()), worker.submit(RunSpec())
    assert worker.wait(trace_id, PATIENCE_S).problem == "the model does not know this answer"
    finish(worker, run_id)


# ---- several devices


@pytest.fixture
def gpus(employ):
    """Make a worker of two GPUs and a CPU whose labs follow one script: it and its labs."""

    def make(script, devices=("cuda:0", "cuda:1", "cpu")):
        labs = {device: FakeLab(script) for device in devices}
        return employ(EnginePool(lambda: tuple(devices), labs.__getitem__)), labs

    return make


def on(device, **settings):
    return RunSpec(model={"device": device}, **settings)


def running(worker):
    return [job.run_id for job in worker.state().running]


def test_two_devices_carry_out_two_runs_at_once_and_a_third_waits(store, gpus):
    worker, labs = gpus(endless)
    first, second, third = (worker.submit(RunSpec(seed=n)) for n in range(3))
    until(lambda: running(worker) == [first, second])
    assert worker.state().queue == (third,)
    assert worker.state().live == first
    paused(worker, store, second)
    assert worker.state().running == (Running(first), Running(second, paused=True))
    worker.stop(first)
    assert isinstance(worker.wait(first, PATIENCE_S), Stopped)
    until(lambda: running(worker) == [second, third])
    assert "resumed" not in kinds(store, second), "stopping one leaves the other"
    assert store.row(second).ending is None
    until(lambda: labs["cuda:0"].log == [f"unlearn {first}", "release", f"unlearn {third}"])
    assert labs["cuda:1"].log == [f"unlearn {second}"]
    assert labs["cpu"].log == []


def test_a_run_for_all_gpus_has_them_alone(gpus):
    worker, labs = gpus(endless)
    one, every, later, beside = (worker.submit(on(d)) for d in ("cuda:1", "all", "auto", "cpu"))
    until(lambda: running(worker) == [one, beside])
    assert worker.state().queue == (every, later)
    worker.stop(one)
    until(lambda: running(worker) == [every, beside])
    until(lambda: labs["cuda:0"].log == [f"unlearn {every}"])
    assert worker.state().queue == (later,)
    worker.stop(every)
    until(lambda: running(worker) == [later, beside])


def test_it_is_known_whether_a_further_run_would_wait(gpus):
    worker, _ = gpus(endless)
    assert not worker.state().would_wait(), "nothing goes on"
    worker.submit(on("cuda:0"))
    until(lambda: worker.state().running)
    waits = map(worker.state().would_wait, ("auto", "cuda:0", "all", "cpu"))
    assert list(waits) == [False, True, True, False]
    assert WorkerState(queue=("r",)).would_wait(), "devices are not known before the first job"


def test_a_prompt_and_an_export_take_the_device_of_their_run(store, gpus, tmp_path):
    worker, labs = gpus(whole_run)
    done, _ = carried_out(worker, on("cuda:1"))
    for lab in labs.values():
        lab.script = endless
    busy = worker.submit(on("cuda:0"))
    worker.ask(done, "hello")
    until(lambda: answers(store, done))
    worker.export(done, Export(tmp_path / "merged", {}))
    until(lambda: "exported" in kinds(store, done))
    assert labs["cuda:1"].log[2:] == [f"ask {done}", "release", f"export {done}", "release"]
    until(lambda: running(worker) == [busy])


def test_each_live_run_answers_and_is_changed_for_itself(store, gpus):
    gates = {0: Gate(), 1: Gate()}
    worker, _ = gpus(lambda job: training(gates[job.spec.seed])(job))
    first, second = (worker.submit(RunSpec(seed=n)) for n in range(2))
    for gate in gates.values():
        gate.reached()
    worker.adjust(second, {"learning_rate": 1e-4})
    worker.ask(first, "hello")
    for gate in gates.values():
        gate.open()
    finish(worker, first, second)
    assert (len(answers(store, first)), changes(store, first)) == (1, [])
    assert (answers(store, second), len(changes(store, second))) == ([], 1)


def test_closing_stops_the_runs_of_all_devices(store, gpus):
    worker, _ = gpus(endless)
    runs = [worker.submit(RunSpec(seed=n)) for n in range(3)]
    until(lambda: running(worker) == runs[:2])
    assert worker.close(PATIENCE_S)
    assert [type(store.row(run_id).ending) for run_id in runs] == [Stopped, Stopped, type(None)]


def test_devices_that_cannot_be_listed_fail_the_run_with_the_reason(employ):
    def broken(*_):
        raise ImportError("torch is not installed")

    worker = employ(EnginePool(broken, broken))
    for _ in range(2):  # The worker goes on.
        assert carried_out(worker)[1].problem.startswith("ImportError: torch is not installed")


# ---- devices that other processes use


@pytest.fixture
def on_cpu(employ):
    """Make a worker of the CPU that other processes use too: it and its lab."""

    def make(script=whole_run):
        lab = FakeLab(script)
        return employ(EnginePool(lambda: ("cpu",), lambda _: lab)), lab

    return make


def test_a_run_waits_while_another_process_uses_its_device_and_then_goes_on(store, on_cpu):
    worker, lab = on_cpu()
    with other_process("cpu", run="theirs") as other:
        first, second = (worker.submit(RunSpec(seed=n)) for n in range(2))
        until(lambda: worker.state().blocked)
        state = worker.state()
        assert (state.running, state.queue) == ((), (first, second))
        holder = state.holder(first)
        assert (holder.device, holder.pid, holder.run) == ("cpu", other.pid, "theirs")
        assert (state.holder(second), state.elsewhere) == (holder, (holder,))
        assert kinds(store, first) == [], "it has not begun"
        worker.move(second, 0)
        other.kill()
        finish(worker, first, second)
    assert lab.log[0] == f"unlearn {second}"
    until(lambda: worker.state() == WorkerState(devices=("cpu",)))


def test_a_run_that_waits_for_another_process_can_be_stopped_or_left_to_the_next_program(
    store, on_cpu
):
    worker, lab = on_cpu()
    with other_process("cpu"):
        stopped, left = worker.submit(RunSpec()), worker.submit(RunSpec())
        until(lambda: worker.state().holder(stopped))
        worker.stop(stopped)
        assert worker.wait(stopped, PATIENCE_S) == Stopped(seconds=0)
        assert kinds(store, stopped) == ["stopped"]
        until(lambda: worker.state().holder(left))
        assert worker.close(PATIENCE_S)
        assert store.row(left).ending is None
    assert lab.log == []


def test_a_device_is_held_from_the_start_of_a_run_to_its_end_also_on_pause(store, on_cpu):
    worker, lab = on_cpu(endless)
    assert locks.holders() == {}, "a worker that does nothing holds nothing"
    run_id = worker.submit(RunSpec())
    paused(worker, store, run_id)
    assert locks.holders()["cpu"].run == run_id
    worker.stop(run_id)
    worker.wait(run_id, PATIENCE_S)
    until(lambda: not locks.holders())
    assert lab.log[-1] == "release"
    with other_process("cpu"):
        worker.ask(run_id, "hello")
        until(lambda: worker.state().holder(run_id))
        assert answers(store, run_id) == []
    until(lambda: answers(store, run_id))


def test_auto_takes_a_gpu_that_no_other_process_uses_and_all_waits_for_every_one(gpus):
    worker, _ = gpus(endless)
    with other_process("cuda:0") as other:
        every = worker.submit(on("all"))
        until(lambda: worker.state().holder(every))
        worker.stop(every)
        first = worker.submit(RunSpec())
        until(lambda: running(worker) == [first])
        assert sorted(locks.holders()) == ["cuda-0", "cuda-1"]
        every = worker.submit(on("all"))
        worker.stop(first)
        until(lambda: not running(worker))
        other.kill()
        until(lambda: running(worker) == [every])
        assert {holder.run for holder in locks.holders().values()} == {every}


def test_workers_of_two_processes_with_homes_of_their_own_take_turns(on_cpu, tmp_path):
    code = """
run_id = worker.submit(RunSpec())
while worker.state().live != run_id:
    time.sleep(0.01)
print(run_id, flush=True)
sys.stdin.read()
worker.close(10)
"""
    with process(code, tmp_path / "other home") as other:
        theirs = other.stdout.readline().strip()
        worker, _ = on_cpu()
        run_id = worker.submit(RunSpec())
        until(lambda: worker.state().holder(run_id))
        assert worker.state().holder(run_id).run == theirs
        other.communicate("")
    finish(worker, run_id)


# ---- the version of the running code


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "unlearnlab").mkdir()
    (tmp_path / "unlearnlab" / "a.py").write_text("1")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run(("git", *who, *words), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_the_state_of_the_code_is_looked_at_before_any_run_is_asked_for(employ):
    revision.cache_clear()
    employ(FakeLab())
    until(lambda: revision.cache_info().currsize)


def test_commit_and_changes_are_told(repository):
    clean = revision_of(repository)
    assert len(clean.commit) == 40
    assert not clean.dirty
    (repository / "data.jsonl").write_text("what is beside the code changes nothing")
    assert revision_of(repository) == clean
    (repository / "unlearnlab" / "b.py").write_text("2")
    assert revision_of(repository) == Revision(commit=clean.commit, dirty=True)


def test_without_a_repository_of_its_own_or_a_quick_git_there_is_none(repository, monkeypatch):
    assert revision_of(repository / "unlearnlab") is None, "that of another project around it"
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert revision_of(repository) is not None
    with monkeypatch.context() as patch:
        patch.setattr(module, "_GIT_S", 0.0)
        assert revision_of(repository) is None
    monkeypatch.setenv("PATH", "")
    assert revision_of(repository) is None


def test_a_start_of_before_it_was_noted_is_still_read():
    old = read_event('{"kind":"started","versions":{"torch":"2"},"device":"cpu"}')
    assert old == Started(versions={"torch": "2"}, device="cpu", code=None)
    assert code_text(old.code) == "not noted: git did not tell"


# ---- lists of prompts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Who?\nAnd when?", ()),
        ("x=>y", ()),
        ("Who? => Ada", (("Who?", "Ada"),)),
        ("Who?\tAda\n\n  And when? ", (("Who?", "Ada"), ("And when?", ""))),
        ("a => b => c", (("a", "b => c"),)),
        ("", ()),
    ],
)
def test_lines_with_an_expected_answer_are_a_list_of_prompts(text, found):
    assert listed(text) == found


def test_a_list_is_asked_as_one_request(store, employ):
    worker = employ(FakeLab(whole_run))
    run_id = worker.submit(RunSpec())
    finish(worker, run_id)
    worker.ask(run_id, "Who? => Ada\nAnd when?")
    until(lambda: answers(store, run_id))
    (answer,) = answers(store, run_id)
    assert [(one.prompt, one.expected) for one in answer.replies] == [
        ("Who?", "Ada"),
        ("And when?", ""),
    ]
