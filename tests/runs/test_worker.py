import gc
import math
import sqlite3
import subprocess
import sys
import threading
import time
import weakref

import pytest

from tests.fakes import FakeLab, evaluated, stage, stepped, whole_run
from tests.outside import other_process
from unlearnlab.runs import device_lock as locks
from unlearnlab.runs.code_version import revision
from unlearnlab.runs.engine_api import EnginePool, Export, RunFailed
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    Failed,
    Finished,
    PhaseBegan,
    Stopped,
)
from unlearnlab.runs.store import Store, UnknownRun
from unlearnlab.runs.worker import NotRunning, Running, Worker, WorkerState
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import Phase, RunSpec, SpecError
from unlearnlab.spec.trace import TraceSpec

PATIENCE_S = 20
"""A deadlock fails a test after this long; nothing waits for it otherwise."""


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "home") as store:
        yield store


@pytest.fixture
def employ(store):
    """Make workers that are closed when the test ends."""
    workers = []

    def make(lab):
        workers.append(Worker(store, lab))
        return workers[-1]

    yield make
    assert all(worker.close(PATIENCE_S) for worker in workers)


class Gate:
    """A place in a script where the worker's thread waits for the test."""

    def __init__(self):
        self._reached, self._opened = threading.Event(), threading.Event()

    def wait(self):
        self._reached.set()
        assert self._opened.wait(PATIENCE_S)

    def reached(self):
        assert self._reached.wait(PATIENCE_S)

    def open(self):
        self._opened.set()


def gated(gate):
    """Return a script that stops at a gate before it takes step 1."""

    def script(job):
        yield stage("training")
        gate.wait()
        for step in range(1, 4):
            yield None
            yield stepped(step)

    return script


def endless(job):
    yield stage("training")
    while True:
        time.sleep(0.001)
        yield None


def kinds(store, run_id):
    return [stored.event.kind for stored in store.events(run_id)]


def until(condition):
    """Wait until what another thread does has come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def answers(store, run_id):
    events = [stored.event for stored in store.events(run_id)]
    return [event for event in events if isinstance(event, Asked | AskFailed)]


def test_a_run_is_its_facts_between_started_and_one_ending(store, employ):
    lab = FakeLab()
    worker = employ(lab)
    run_id = worker.submit(RunSpec(), name="first")
    ending = worker.wait(run_id, PATIENCE_S)
    assert isinstance(ending, Finished)
    assert ending.seconds > 0
    seen = kinds(store, run_id)
    assert seen[0] == "started"
    assert seen[-1] == "finished"
    assert seen.count("step_logged") == 3
    assert store.row(run_id).name == "first"
    assert store.row(run_id).after == evaluated("after").scores
    assert list(store.artefacts(run_id)) == ["delta.safetensors"]
    assert lab.log == [f"unlearn {run_id}", "release"]


def test_the_state_of_the_code_is_looked_at_before_any_run_is_asked_for(employ):
    revision.cache_clear()
    employ(FakeLab())
    until(lambda: revision.cache_info().currsize)


def test_runs_are_carried_out_one_at_a_time_in_the_order_they_came(store, employ):
    gate = Gate()
    lab = FakeLab(gated(gate))
    worker = employ(lab)
    first, second, third = (worker.submit(RunSpec(seed=n)) for n in range(3))
    gate.reached()
    assert worker.state().running == (Running(first),)
    assert worker.state().queue == (second, third)
    gate.open()
    for run_id in (third, second, first):
        assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
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
    run_id = worker.submit(RunSpec())
    assert isinstance(worker.wait(run_id, PATIENCE_S), Stopped)
    assert kinds(store, run_id)[-1] == "stopped"


def test_a_stopped_run_closes_its_generator_before_the_device_is_freed(store, employ):
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
    run_id = worker.submit(RunSpec())
    worker.wait(run_id, PATIENCE_S)
    assert lab.log == [f"unlearn {run_id}", "undone", "release"]


def test_a_queued_run_can_be_stopped_and_never_begins(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    gate.reached()
    worker.stop(queued)
    assert worker.state().queue == ()
    assert worker.wait(queued, PATIENCE_S) == Stopped(seconds=0)
    gate.open()
    assert isinstance(worker.wait(live, PATIENCE_S), Finished)
    assert kinds(store, queued) == ["stopped"]


def test_stopping_twice_or_after_the_end_changes_nothing(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    worker.stop(run_id)
    worker.stop(run_id)
    worker.wait(run_id, PATIENCE_S)
    worker.stop(run_id)
    assert kinds(store, run_id).count("stopped") == 1


def test_a_run_is_held_answers_meanwhile_and_goes_on(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
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
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    seen = kinds(store, run_id)
    assert seen[seen.index("asked") :] == ["asked", "resumed", *["step_logged"] * 3, "finished"]


def test_time_on_hold_is_no_time_of_the_run(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    until(lambda: worker.state().live == run_id)
    worker.pause(run_id)
    until(lambda: "paused" in kinds(store, run_id))
    began = time.monotonic()
    time.sleep(0.5)
    held = time.monotonic() - began
    worker.resume(run_id)
    worker.stop(run_id)
    ending = worker.wait(run_id, PATIENCE_S)
    assert ending.seconds < store.events(run_id)[-1].at - store.events(run_id)[0].at - 0.9 * held


def test_a_held_run_can_be_stopped(store, employ):
    worker = employ(FakeLab(endless))
    run_id = worker.submit(RunSpec())
    until(lambda: worker.state().live == run_id)
    worker.pause(run_id)
    until(lambda: "paused" in kinds(store, run_id))
    worker.stop(run_id)
    assert isinstance(worker.wait(run_id, PATIENCE_S), Stopped)
    assert kinds(store, run_id)[-2:] == ["paused", "stopped"]


def test_the_wish_to_hold_a_run_does_not_outlive_it(store, employ):
    def script(job):
        if not store.runs()[1:]:
            worker.pause(job.run_id)
            worker.stop(job.run_id)
        yield None

    worker = employ(FakeLab(script))
    worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Finished)


def test_a_prompt_to_the_live_run_is_answered_at_its_next_batch(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    first, second = worker.ask(run_id, "one"), worker.ask(run_id, "two")
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    assert [answer.ask_id for answer in answers(store, run_id)] == [first, second]
    seen = kinds(store, run_id)
    assert seen.index("asked") < seen.index("step_logged")


def test_a_prompt_to_a_finished_run_is_answered_before_the_next_run(store, employ):
    lab = FakeLab()
    worker = employ(lab)
    done = worker.submit(RunSpec())
    worker.wait(done, PATIENCE_S)
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


def test_a_prompt_to_a_queued_run_waits_until_it_is_live(store, employ):
    gate = Gate()
    lab = FakeLab(gated(gate))
    worker = employ(lab)
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    gate.reached()
    worker.ask(queued, "hello")
    gate.open()
    worker.wait(queued, PATIENCE_S)
    assert lab.log[:3] == [f"unlearn {live}", "release", f"unlearn {queued}"]
    seen = kinds(store, queued)
    assert seen.index("started") < seen.index("asked") < seen.index("finished")


def test_a_prompt_that_fails_is_answered_with_the_reason_and_the_run_goes_on(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    ask_id = worker.ask(run_id, "x" * 2000)
    gate.open()
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    (answer,) = answers(store, run_id)
    assert answer.ask_id == ask_id
    assert answer.problem == "the prompt is too long: 2000 characters, at most 1000"


def test_a_prompt_that_fails_between_runs_leaves_the_worker_at_work(store, employ):
    worker = employ(FakeLab())
    run_id = worker.submit(RunSpec())
    worker.wait(run_id, PATIENCE_S)
    worker.ask(run_id, "x" * 2000)
    until(lambda: answers(store, run_id))
    assert isinstance(answers(store, run_id)[0], AskFailed)
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Finished)


def training(gate):
    """Return a script that stops at a gate in its only phase."""

    def script(job):
        yield stage("training")
        yield began(0, of=1)
        gate.wait()
        yield None
        yield stage("saving")

    return script


def began(phase, *, of):
    return PhaseBegan(
        phase=phase, step=phase, steps=1, total_steps=of, trainable=7, effective_batch=2
    )


def changes(store, run_id):
    events = [stored.event for stored in store.events(run_id)]
    return [event for event in events if isinstance(event, Adjusted | AdjustFailed)]


def test_a_change_is_made_at_the_next_batch_and_recorded_with_its_values(store, employ):
    gate = Gate()
    worker = employ(FakeLab(training(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    worker.adjust(run_id, {"learning_rate": "1e-4", "method.retain_weight": 3})
    gate.open()
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    expected = {"learning_rate": 1e-4, "method.retain_weight": 3.0}
    assert changes(store, run_id) == [Adjusted(step=1, phase=0, changes=expected)]


def test_a_held_run_is_changed_while_it_is_held(store, employ):
    gate = Gate()
    worker = employ(FakeLab(training(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    worker.pause(run_id)
    gate.open()
    until(lambda: "paused" in kinds(store, run_id))
    worker.adjust(run_id, {"learning_rate": 1e-4})
    until(lambda: changes(store, run_id))
    worker.resume(run_id)
    worker.wait(run_id, PATIENCE_S)
    seen = kinds(store, run_id)
    assert seen.index("paused") < seen.index("adjusted") < seen.index("resumed")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("learning_rate", "fast", "learning_rate: must be a number, not 'fast'"),
        ("learning_rate", 0, "learning_rate: must be greater than 0, not 0"),
        ("method.retain_weight", -1, "method.retain_weight: must be at least 0, not -1"),
        ("method.beta", 1, "method.beta: while it runs, only learning_rate, method.forget_weight"),
        ("epochs", 3, "epochs: while it runs, only learning_rate"),
    ],
)
def test_a_wrong_change_is_refused_at_once_by_its_path(store, employ, path, value, told):
    gate = Gate()
    worker = employ(FakeLab(training(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    with pytest.raises(SpecError) as refused:
        worker.adjust(run_id, {path: value})
    assert str(refused.value).startswith(told)
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    assert changes(store, run_id) == []


def test_only_the_live_run_can_be_changed_and_only_while_it_trains(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    gate.reached()
    with pytest.raises(NotRunning, match="only a running one"):
        worker.adjust(queued, {"learning_rate": 1e-4})
    with pytest.raises(NotRunning, match="is not training now"):
        worker.adjust(live, {"learning_rate": 1e-4})
    gate.open()
    worker.wait(queued, PATIENCE_S)
    with pytest.raises(NotRunning):
        worker.adjust(live, {"learning_rate": 1e-4})


def test_a_change_that_the_lab_refuses_is_told_and_the_run_goes_on(store, employ):
    gate = Gate()
    worker = employ(FakeLab(training(gate)))
    run_id = worker.submit(RunSpec())
    gate.reached()
    worker.adjust(run_id, {"learning_rate": 0.5})
    gate.open()
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    (failed,) = changes(store, run_id)
    assert failed.problem == "learning_rate: this lab takes everything but 0.5"


def test_a_change_meant_for_a_phase_that_has_ended_leaves_the_next_one_alone(store, employ):
    def script(job):
        yield stage("training")
        yield began(0, of=2)
        gate.wait()
        yield began(1, of=2)

    gate = Gate()
    lab = FakeLab(script)
    worker = employ(lab)
    run_id = worker.submit(RunSpec(phases=(Phase(), Phase())))
    gate.reached()
    worker.adjust(run_id, {"learning_rate": 1e-4})
    gate.open()
    worker.wait(run_id, PATIENCE_S)
    (failed,) = changes(store, run_id)
    assert failed.problem == "phase 1 had ended before it could be changed"
    assert f"adjust {run_id}" not in lab.log


@pytest.mark.parametrize("prompt", ["<script>alert(1)</script>", "nul \0", "half a pair \ud83d"])
def test_any_text_is_a_prompt(store, employ, prompt):
    worker = employ(FakeLab())
    run_id = worker.submit(RunSpec())
    worker.wait(run_id, PATIENCE_S)
    worker.ask(run_id, prompt)
    until(lambda: answers(store, run_id))
    assert answers(store, run_id)[0].prompt == prompt.replace("\ud83d", "?")


def test_an_empty_prompt_is_refused(store, employ):
    worker = employ(FakeLab())
    run_id = worker.submit(RunSpec())
    for prompt in ("", "  \n"):
        with pytest.raises(ValueError, match="prompt: it is empty"):
            worker.ask(run_id, prompt)


def failing(error):
    def script(job):
        yield stage("training")
        raise error

    return script


def test_a_failed_run_tells_the_problem_and_the_next_one_is_carried_out(store, employ):
    lab = FakeLab(failing(RunFailed("the forget loss became nan at step 3", "lower the rate")))
    worker = employ(lab)
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert isinstance(ending, Failed)
    assert ending.problem == "the forget loss became nan at step 3"
    assert ending.advice == "lower the rate"
    assert lab.log[-1] == "release"
    lab.script = whole_run
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Finished)


def test_a_users_mistake_is_told_in_its_own_words(store, employ):
    worker = employ(FakeLab(failing(ValueError("phases.0: the forget set has no rows"))))
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert ending.problem == "phases.0: the forget set has no rows"


def test_a_fault_of_the_program_is_told_with_its_kind_and_place(store, employ):
    worker = employ(FakeLab(failing(KeyError("terms"))))
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert ending.problem.startswith("KeyError: 'terms' (test_worker.py, line ")


def test_text_that_no_database_takes_ends_no_worker(store, employ):
    def script(job):
        raise OSError("no file \udcff")
        yield

    worker = employ(FakeLab(script))
    ending = worker.wait(worker.submit(RunSpec(), name="\udcff"), PATIENCE_S)
    assert "no file ?" in ending.problem
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Failed)


def test_a_failure_before_the_first_fact_is_an_ending_too(store, employ):
    class Headless(FakeLab):
        @property
        def versions(self):
            raise OSError("no libraries")

    worker = employ(Headless())
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert ending.problem.startswith("OSError: no libraries")


def test_a_failure_while_a_stopped_run_is_undone_is_told(store, employ):
    def script(job):
        try:
            worker.stop(job.run_id)
            yield None
        finally:
            raise RunFailed("the weights could not be put back")

    worker = employ(FakeLab(script))
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert isinstance(ending, Failed)
    assert ending.problem == "the weights could not be put back"


def test_a_device_that_cannot_be_freed_fails_the_run_and_not_the_worker(store, employ):
    class Stuck(FakeLab):
        def release(self):
            raise RuntimeError("device lost")

    worker = employ(Stuck())
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert ending.problem.startswith("the device could not be freed: RuntimeError: device lost")
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Failed)


def test_no_exception_keeps_the_model_when_the_device_is_freed(store, employ):
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
        worker = employ(Watched(script))
        worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    finally:
        gc.enable()
    assert alive == [False]


def test_only_the_live_run_can_be_held(store, employ):
    worker = employ(FakeLab())
    run_id = worker.submit(RunSpec())
    worker.wait(run_id, PATIENCE_S)
    until(lambda: worker.state().live is None)
    for wish in (worker.pause, worker.resume):
        with pytest.raises(NotRunning, match=f"run {run_id} is not running"):
            wish(run_id)


def test_unknown_runs_are_refused(store, employ):
    worker = employ(FakeLab())
    for wish in (worker.stop, worker.wait, lambda run_id: worker.ask(run_id, "hello")):
        with pytest.raises(UnknownRun, match="unknown run 'x'"):
            wish("x")


def test_two_workers_share_a_store_and_keep_to_their_own_runs(store, employ):
    one, other = employ(FakeLab(endless)), employ(FakeLab())
    run_id = one.submit(RunSpec())
    until(lambda: kinds(store, run_id))
    assert isinstance(other.wait(other.submit(RunSpec()), PATIENCE_S), Finished)
    assert len(store.runs()) == 2
    with pytest.raises(NotRunning, match="stop it where it was started"):
        other.stop(run_id)
    assert other.wait(run_id, timeout_s=0.01) is None
    one.stop(run_id)
    assert isinstance(other.wait(run_id, PATIENCE_S), Stopped)


def test_closing_stops_what_runs_and_leaves_what_waits_without_an_ending(store, employ):
    worker = employ(FakeLab(endless))
    live, queued = worker.submit(RunSpec()), worker.submit(RunSpec())
    until(lambda: worker.state().live == live)
    assert worker.close(PATIENCE_S)
    assert isinstance(store.row(live).ending, Stopped)
    assert store.row(queued).ending is None
    assert worker.wait(queued) is None, "it will not end here, so nobody waits"
    for wish in (lambda: worker.submit(RunSpec()), lambda: worker.adopt([queued])):
        with pytest.raises(NotRunning, match="the worker is closed"):
            wish()


def test_what_waited_when_the_worker_closed_is_taken_over_by_the_next_one(store, employ):
    first = employ(FakeLab(endless))
    live, *waiting = (first.submit(RunSpec(seed=n)) for n in range(4))
    until(lambda: first.state().live == live)
    first.stop(waiting[0])
    assert first.close(PATIENCE_S)
    gate = Gate()
    second = employ(FakeLab(gated(gate)))
    busy, given_up = second.submit(RunSpec()), store.create(RunSpec())
    gate.reached()
    second.stop(given_up)
    assert store.row(given_up).ending == Stopped(seconds=0), "what is not taken over can be ended"
    assert second.adopt([live, waiting[2], *waiting]) == [waiting[2], waiting[1]]
    assert second.adopt([busy, *waiting]) == []
    assert second.state().queue == (waiting[2], waiting[1])
    gate.open()
    assert isinstance(second.wait(waiting[1], PATIENCE_S), Finished)
    assert isinstance(second.wait(waiting[2], PATIENCE_S), Finished)
    with pytest.raises(UnknownRun):
        second.adopt(["x"])


def test_waiting_runs_change_places(store, employ):
    gate = Gate()
    lab = FakeLab(gated(gate))
    worker = employ(lab)
    live, a, b, c = (worker.submit(RunSpec(seed=n)) for n in range(4))
    gate.reached()
    for run_id, to, queue in [(c, 0, (c, a, b)), (c, 1, (a, c, b)), (a, 9, (c, b, a))]:
        worker.move(run_id, to)
        assert worker.state().queue == queue
    with pytest.raises(NotRunning, match=f"run {live} is not queued here"):
        worker.move(live, 0)
    gate.open()
    assert isinstance(worker.wait(a, PATIENCE_S), Finished)
    assert [line for line in lab.log if line.startswith("unlearn")] == [
        f"unlearn {run_id}" for run_id in (live, c, b, a)
    ]


def test_closing_refuses_prompts_that_were_not_answered(store, employ):
    gate = Gate()
    lab = FakeLab(gated(gate))
    worker = employ(lab)
    other, live = store.create(RunSpec()), worker.submit(RunSpec())
    gate.reached()
    ask_id = worker.ask(other, "hello")
    assert not worker.close(timeout_s=0)
    gate.open()
    assert worker.close(PATIENCE_S)
    assert isinstance(store.row(live).ending, Stopped)
    assert answers(store, other)[0].ask_id == ask_id
    assert "closed" in answers(store, other)[0].problem


def test_a_run_that_is_still_busy_is_not_waited_for_when_closing(store, employ):
    gate = Gate()
    worker = employ(FakeLab(gated(gate)))
    worker.submit(RunSpec())
    gate.reached()
    assert not worker.close(timeout_s=0.01)
    gate.open()


def test_an_ending_waits_for_a_database_that_somebody_else_holds(tmp_path):
    gate = Gate()

    def script(job):
        yield None
        gate.wait()

    with Store(tmp_path, patience_s=0.01) as store:
        worker = Worker(store, FakeLab(script))
        run_id = worker.submit(RunSpec())
        gate.reached()
        holder = sqlite3.connect(tmp_path / "unlearnlab.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        gate.open()
        assert worker.wait(run_id, timeout_s=0.1) is None
        assert worker.state().live == run_id
        holder.execute("ROLLBACK")
        holder.close()
        assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
        assert worker.close(PATIENCE_S)


def test_the_numbers_of_a_diverged_run_reach_the_reader(store, employ):
    def script(job):
        yield stepped(1, loss=math.inf)

    worker = employ(FakeLab(script))
    run_id = worker.submit(RunSpec())
    worker.wait(run_id, PATIENCE_S)
    assert store.events(run_id)[1].event.terms["forget"] == math.inf


def test_a_run_killed_with_its_process_is_interrupted_and_a_new_one_works(store, employ):
    code = """
import sys, time
from pathlib import Path
from tests.fakes import FakeLab, stepped
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.runs.store import Store

def script(job):
    for step in range(1, 10_000):
        yield stepped(step)
        time.sleep(0.01)

worker = Worker(Store(Path(sys.argv[1])), FakeLab(script))
print(worker.submit(RunSpec()), worker.submit(RunSpec()), flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(store.home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    live, queued = process.stdout.readline().split()
    until(lambda: "step_logged" in kinds(store, live))
    process.kill()
    process.communicate()
    for run_id, began in ((live, True), (queued, False)):
        row = store.row(run_id)
        assert (row.alive, row.began, row.ending) == (False, began, None)
    steps = [stored.event for stored in store.events(live)][1:]
    assert [event.step for event in steps] == list(range(1, len(steps) + 1))
    worker = employ(FakeLab())
    assert worker.wait(live) is None, "it will never end, so nobody waits"
    store.delete([queued])
    assert worker.adopt([queued]) == [], "what was deleted stays away"
    store.restore([queued])
    assert worker.adopt([live, queued]) == [queued], "what never began can begin here"
    assert isinstance(worker.wait(queued, PATIENCE_S), Finished)
    assert store.row(queued).alive
    assert isinstance(worker.wait(worker.submit(RunSpec()), PATIENCE_S), Finished)
    assert worker.ask(live, "hello")
    until(lambda: answers(store, live))


def test_the_log_holds_no_prompts(tmp_path, caplog):
    secret = "the name of the person"
    with Store(tmp_path, patience_s=0.01) as store:
        worker = Worker(store, FakeLab())
        run_id = worker.submit(RunSpec())
        worker.wait(run_id, PATIENCE_S)
        holder = sqlite3.connect(tmp_path / "unlearnlab.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        worker.ask(run_id, secret)
        until(lambda: caplog.records)
        holder.execute("ROLLBACK")
        holder.close()
        until(lambda: answers(store, run_id))
        assert worker.close(PATIENCE_S)
    assert "waits to be written" in caplog.text
    assert secret not in caplog.text


def test_a_trace_is_queued_among_runs_and_ends_as_they_do(store, employ):
    gate = Gate()
    lab = FakeLab(gated(gate))
    worker = employ(lab)
    run_id, trace_id = worker.submit(RunSpec()), worker.submit(TraceSpec())
    gate.reached()
    assert worker.state().queue == (trace_id,)
    gate.open()
    assert isinstance(worker.wait(trace_id, PATIENCE_S), Finished)
    seen = kinds(store, trace_id)
    assert seen == ["started", "stage_began", "progressed", "progressed", "traced", "finished"]
    assert lab.log == [f"unlearn {run_id}", "release", f"trace {trace_id}", "release"]


def test_a_trace_can_be_stopped_and_taken_from_the_queue(store, employ):
    worker = employ(FakeLab(endless))
    run_id, trace_id = worker.submit(RunSpec()), worker.submit(TraceSpec())
    worker.stop(trace_id)
    assert isinstance(worker.wait(trace_id, PATIENCE_S), Stopped)
    worker.stop(run_id)
    assert isinstance(worker.wait(run_id, PATIENCE_S), Stopped)


def test_a_trace_that_fails_says_why_and_the_next_job_runs(store, employ):
    class Puzzled(FakeLab):
        def trace(self, job):
            yield stage("tracing")
            raise ValueError("the model does not know this answer")

    worker = employ(Puzzled())
    trace_id, run_id = worker.submit(TraceSpec()), worker.submit(RunSpec())
    ending = worker.wait(trace_id, PATIENCE_S)
    assert ending.problem == "the model does not know this answer"
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)


def test_a_preview_is_queued_among_runs_and_ends_as_they_do(store, employ):
    lab = FakeLab()
    worker = employ(lab)
    preview_id = worker.submit(PreviewSpec(source="embedded", rows=("a",)))
    assert isinstance(worker.wait(preview_id, PATIENCE_S), Finished)
    assert kinds(store, preview_id) == [
        "started",
        "stage_began",
        "progressed",
        "previewed",
        "finished",
    ]
    assert lab.log == [f"preview {preview_id}", "release"]


def test_a_trace_answers_no_prompt(store, employ):
    worker = employ(FakeLab())
    trace_id = worker.submit(TraceSpec())
    with pytest.raises(UnknownRun):
        worker.ask(trace_id, "Who?")


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
    worker.pause(second)
    until(lambda: "paused" in kinds(store, second))
    assert worker.state().running == (Running(first), Running(second, paused=True))
    worker.stop(first)
    assert isinstance(worker.wait(first, PATIENCE_S), Stopped)
    until(lambda: running(worker) == [second, third])
    assert "resumed" not in kinds(store, second), "stopping one leaves the other"
    assert store.row(second).ending is None
    until(lambda: labs["cuda:0"].log == [f"unlearn {first}", "release", f"unlearn {third}"])
    assert labs["cuda:1"].log == [f"unlearn {second}"]
    assert labs["cpu"].log == []


def test_a_run_for_all_gpus_has_them_alone(store, gpus):
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


def test_it_is_known_whether_a_further_run_would_wait(store, gpus):
    worker, _ = gpus(endless)
    assert not worker.state().would_wait(), "nothing goes on"
    worker.submit(on("cuda:0"))
    until(lambda: worker.state().running)
    state = worker.state()
    assert [state.would_wait(d) for d in ("auto", "cuda:0", "all", "cpu")] == [
        False,
        True,
        True,
        False,
    ]
    assert WorkerState(queue=("r",)).would_wait(), "devices are not known before the first job"


def test_a_prompt_and_an_export_take_the_device_of_their_run(store, gpus, tmp_path):
    worker, labs = gpus(whole_run)
    done = worker.submit(on("cuda:1"))
    worker.wait(done, PATIENCE_S)
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

    def script(job):
        yield from training(gates[job.spec.seed])(job)

    worker, _ = gpus(script)
    first, second = (worker.submit(RunSpec(seed=n)) for n in range(2))
    for gate in gates.values():
        gate.reached()
    worker.adjust(second, {"learning_rate": 1e-4})
    worker.ask(first, "hello")
    for gate in gates.values():
        gate.open()
    for run_id in (first, second):
        assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    assert (len(answers(store, first)), changes(store, first)) == (1, [])
    assert (answers(store, second), len(changes(store, second))) == ([], 1)


def test_closing_stops_the_runs_of_all_devices(store, gpus):
    worker, _ = gpus(endless)
    runs = [worker.submit(RunSpec(seed=n)) for n in range(3)]
    until(lambda: running(worker) == runs[:2])
    assert worker.close(PATIENCE_S)
    assert [type(store.row(run_id).ending) for run_id in runs] == [Stopped, Stopped, type(None)]


def test_devices_that_cannot_be_listed_fail_the_run_with_the_reason(store, employ):
    def broken(*_):
        raise ImportError("torch is not installed")

    worker = employ(EnginePool(broken, broken))
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert ending.problem.startswith("ImportError: torch is not installed")
    ending = worker.wait(worker.submit(RunSpec()), PATIENCE_S)
    assert isinstance(ending, Failed), "the worker goes on"


@pytest.fixture
def on_cpu(employ):
    """Make a worker of the CPU that other processes use too: it and its lab."""

    def make(script=whole_run):
        lab = FakeLab(script)
        return employ(EnginePool(lambda: ("cpu",), lambda _: lab)), lab

    return make


def test_a_run_waits_while_another_process_uses_its_device_and_then_goes_on(store, on_cpu):
    worker, lab = on_cpu()
    with other_process("cpu", run="theirs") as process:
        first, second = (worker.submit(RunSpec(seed=n)) for n in range(2))
        until(lambda: worker.state().blocked)
        state = worker.state()
        assert (state.running, state.queue) == ((), (first, second))
        holder = state.holder(first)
        assert (holder.device, holder.pid, holder.run) == ("cpu", process.pid, "theirs")
        assert (state.holder(second), state.elsewhere) == (holder, (holder,))
        assert kinds(store, first) == [], "it has not begun"
        worker.move(second, 0)
        process.kill()
        for run_id in (first, second):
            assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
    assert lab.log[0] == f"unlearn {second}"
    until(lambda: worker.state() == WorkerState(devices=("cpu",)))


def test_a_run_that_waits_for_another_process_can_be_stopped(store, on_cpu):
    worker, lab = on_cpu()
    with other_process("cpu"):
        run_id = worker.submit(RunSpec())
        until(lambda: worker.state().holder(run_id))
        worker.stop(run_id)
        assert worker.wait(run_id, PATIENCE_S) == Stopped(seconds=0)
        assert kinds(store, run_id) == ["stopped"]
    assert lab.log == []


def test_closing_leaves_a_run_that_waits_for_another_process_to_the_next_program(store, on_cpu):
    worker, _ = on_cpu()
    with other_process("cpu"):
        run_id = worker.submit(RunSpec())
        until(lambda: worker.state().holder(run_id))
        assert worker.close(PATIENCE_S)
        assert store.row(run_id).ending is None


def test_a_device_is_held_from_the_start_of_a_run_to_its_end_also_on_pause(store, on_cpu):
    worker, lab = on_cpu(endless)
    assert locks.holders() == {}, "a worker that does nothing holds nothing"
    run_id = worker.submit(RunSpec())
    until(lambda: worker.state().live == run_id)
    worker.pause(run_id)
    until(lambda: "paused" in kinds(store, run_id))
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
    with other_process("cuda:0") as process:
        every = worker.submit(on("all"))
        until(lambda: worker.state().holder(every))
        worker.stop(every)
        first = worker.submit(RunSpec())
        until(lambda: running(worker) == [first])
        assert sorted(locks.holders()) == ["cuda-0", "cuda-1"]
        every = worker.submit(on("all"))
        worker.stop(first)
        until(lambda: not running(worker))
        process.kill()
        until(lambda: running(worker) == [every])
        assert {holder.run for holder in locks.holders().values()} == {every}


def test_workers_of_two_processes_with_homes_of_their_own_take_turns(store, on_cpu, tmp_path):
    code = """
import sys, time
from pathlib import Path
from tests.fakes import FakeLab, stepped
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.runs.store import Store

def script(job):
    for step in range(1, 10_000):
        yield stepped(step)
        time.sleep(0.01)

worker = Worker(Store(Path(sys.argv[1])), EnginePool(lambda: ("cpu",), lambda _: FakeLab(script)))
run_id = worker.submit(RunSpec())
while worker.state().live != run_id:
    time.sleep(0.01)
print(run_id, flush=True)
sys.stdin.read()
worker.close(10)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "other home")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        theirs = process.stdout.readline().strip()
        worker, _ = on_cpu()
        run_id = worker.submit(RunSpec())
        until(lambda: worker.state().holder(run_id))
        assert worker.state().holder(run_id).run == theirs
        process.communicate("")
    assert isinstance(worker.wait(run_id, PATIENCE_S), Finished)
