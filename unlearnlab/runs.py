"""The worker: one background thread that owns the device and does one thing at a time.

The engine yields what happened; the worker alone says how a run ended, so that every run has
exactly one ending and no race between stop and the last step. Pages and terminals come and go:
they leave wishes here (stop, pause, a prompt) and read the facts from the store.
"""

import logging
import secrets
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from unlearnlab.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    Ending,
    Event,
    Exported,
    ExportFailed,
    Failed,
    Finished,
    Paused,
    PhaseBegan,
    Resumed,
    StageBegan,
    Started,
    Stopped,
)
from unlearnlab.jobs import Adjustment, Ask, Export, Job, Lab, PreviewJob, RunFailed, TraceJob
from unlearnlab.previews import PreviewSpec
from unlearnlab.spec import Phase, RunSpec, adjustable, adjusted
from unlearnlab.store import Store, StoreError
from unlearnlab.trace_spec import TraceSpec

_LOG = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Between attempts to write an ending into a database that somebody else holds."""

_GLANCE_S = 0.2
"""How often `wait` looks for the ending of a run that another process carries out."""


class NotRunning(ValueError):
    """The run is not in this worker's hands, or not in the state that the wish needs."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the worker is busy with at one moment."""

    live: str | None
    """The run or trace that is being carried out."""
    paused: bool
    """Whether the live run is held, or will be at its next batch."""
    stopping: bool
    """Whether the live run ends at its next batch."""
    queue: tuple[str, ...]
    """Runs and traces that wait, the next one first."""
    exporting: tuple[str, ...] = ()
    """Runs whose merged model is being written, or waits to be."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A wish to change the phase that the live run trains."""

    number: int
    """The phase it was meant for, 0-based."""
    wish: Adjustment


class Worker:
    """Carries out runs and traces in the order they came and answers prompts in between."""

    def __init__(self, store: Store, lab: Lab) -> None:
        self._store = store
        self._lab = lab
        self._changed = threading.Condition()
        """Guards all that follows, and is notified whenever any of it changes."""
        self._queue: deque[str] = deque()
        self._asks: deque[tuple[str, Ask | Export]] = deque()
        """Wishes about a run's result."""
        self._writing: str | None = None
        """The run whose merged model is being written."""
        self._changes: deque[_Change] = deque()
        """For the live run."""
        self._live: str | None = None
        self._present: tuple[int, Phase] | None = None
        """Number and values of the phase that the live run trains; none while it does not."""
        self._hold = False
        self._stop = False
        self._closing = False
        self._held_s = 0.0
        """Seconds for which the live run was on hold. The thread's own."""
        # A daemon: a step that takes minutes must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name="unlearnlab-worker", daemon=True)
        self._thread.start()

    def state(self) -> WorkerState:
        """Return what the worker is busy with."""
        with self._changed:
            exporting = [run_id for run_id, wish in self._asks if isinstance(wish, Export)]
            if self._writing is not None:
                exporting.insert(0, self._writing)
            queue = tuple(self._queue)
            return WorkerState(self._live, self._hold, self._stop, queue, tuple(exporting))

    def submit(
        self, spec: RunSpec | TraceSpec | PreviewSpec, *, name: str = "", sweep: str = ""
    ) -> str:
        """Queue a run, a trace or a preview and return its id at once.

        Args:
            spec: What is asked for.
            name: How a list calls it; may be empty.
            sweep: Id of the sweep that it is part of; empty if of none.
        """
        with self._changed:
            self._must_be_open()
            run_id = self._store.create(spec, name=_storable(name), sweep=sweep)
            self._queue.append(run_id)
            self._changed.notify_all()
        return run_id

    def move(self, run_id: str, to: int) -> None:
        """Give a waiting run another place in the queue, 0-based; one past the end is the last.

        Raises:
            NotRunning: It does not wait here.
        """
        with self._changed:
            if run_id not in self._queue:
                raise NotRunning(f"run {run_id} does not wait here: only waiting runs can be moved")
            self._queue.remove(run_id)
            self._queue.insert(max(0, to), run_id)
            self._changed.notify_all()

    def adopt(self, run_ids: Sequence[str]) -> list[str]:
        """Queue runs that waited when the program they were queued in ended, in the order given.

        Those that began, that ended, or whose program lives are left as they are: what began and
        was interrupted is carried out again by submitting its spec anew.

        Returns:
            Those that were taken over, under the ids that they have.

        Raises:
            UnknownRun: There is no such run. The ones before it have been taken over.
        """
        taken: list[str] = []
        with self._changed:
            self._must_be_open()
            for run_id in run_ids:
                if run_id not in (self._live, *self._queue) and self._store.adopt(run_id):
                    self._queue.append(run_id)
                    taken.append(run_id)
            self._changed.notify_all()
        return taken

    def stop(self, run_id: str) -> None:
        """End a run at its next batch, or take it from the queue. One that has ended stays so.

        Raises:
            NotRunning: The run was never in this worker's hands, and has no ending.
            UnknownRun: There is no such run.
        """
        with self._changed:
            if run_id in self._queue:
                self._store.append(run_id, Stopped(seconds=0))
                self._queue.remove(run_id)
            elif run_id == self._live:
                self._stop = True
            elif self._store.job(run_id).ending is None:
                raise NotRunning(f"run {run_id} is not running here: stop it where it was started")
            self._changed.notify_all()

    def pause(self, run_id: str) -> None:
        """Hold the live run at its next batch.

        Raises:
            NotRunning: It is not the live run.
        """
        self._set_hold(run_id, True)

    def resume(self, run_id: str) -> None:
        """Let the live run go on.

        Raises:
            NotRunning: It is not the live run.
        """
        self._set_hold(run_id, False)

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> None:
        """Change values of the phase that the live run trains, from its next batch on.

        `Adjusted` or `AdjustFailed` arrives among the run's events.

        Args:
            run_id: The live run; it may be on hold.
            changes: New values by dotted path in the phase, see `spec.adjusted`.

        Raises:
            NotRunning: It is not the live run, or it is not training now.
            SpecError: A path cannot be changed, or a value is wrong.
        """
        with self._changed:
            if run_id != self._live:
                raise NotRunning(f"run {run_id} is not running: only the running one can change")
            if self._present is None:
                raise NotRunning(f"run {run_id} is not training now: change it while it does")
            number, phase = self._present
            valid = adjustable(adjusted(phase, changes))
            wish = Adjustment({path: valid[path] for path in changes})
            self._changes.append(_Change(number, wish))
            self._changed.notify_all()

    def ask(self, run_id: str, prompt: str) -> str:
        """Have both models of a run answer a prompt.

        The live run answers at its next batch, also while it is held; the others as soon as the
        device is free, before the next run of the queue.

        Returns:
            The id under which `Asked` or `AskFailed` arrives among the run's events.

        Raises:
            ValueError: The prompt is empty.
            UnknownRun: There is no such run.
        """
        if not prompt.strip():
            raise ValueError("prompt: it is empty: write a few words for both models")
        self._store.row(run_id)
        ask = Ask(ask_id=secrets.token_hex(6), prompt=_storable(prompt))
        with self._changed:
            self._must_be_open()
            self._asks.append((run_id, ask))
            self._changed.notify_all()
        return ask.ask_id

    def export(self, run_id: str, export: Export) -> None:
        """Have the merged model of an ended run written, as soon as the device is free.

        `Exported` or `ExportFailed` arrives among the run's events. What is asked for twice is
        done once.

        Raises:
            NotRunning: The run has not ended.
            UnknownRun: There is no such run.
        """
        row = self._store.row(run_id)
        if row.ending is None and row.alive:
            raise NotRunning(f"run {run_id} has not ended: take its model away then")
        with self._changed:
            self._must_be_open()
            waiting = (wish for of, wish in self._asks if of == run_id)
            if self._writing != run_id and not any(isinstance(one, Export) for one in waiting):
                self._asks.append((run_id, export))
                self._changed.notify_all()

    def wait(self, run_id: str, timeout_s: float | None = None) -> Ending | None:
        """Wait for a run to end, here or in another process.

        Returns:
            Its ending; none if the time is up, or if it will not end: its process died, or this
            worker was closed before it began.

        Raises:
            UnknownRun: There is no such run.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            row = self._store.job(run_id)
            late = deadline is not None and time.monotonic() >= deadline
            if row.ending is not None or late or not row.alive:
                return row.ending
            with self._changed:
                if self._closing and run_id in self._queue:
                    return None
                self._changed.wait(_GLANCE_S)

    def close(self, timeout_s: float) -> bool:
        """Stop the live run and end the thread. What waits has no ending: see `adopt`.

        Returns:
            Whether it ended in time. If not, its runs will count as interrupted once the program
            has ended.
        """
        with self._changed:
            self._closing = self._stop = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _must_be_open(self) -> None:
        if self._closing:
            raise NotRunning("the worker is closed: start the program again")

    def _set_hold(self, run_id: str, hold: bool) -> None:
        with self._changed:
            if run_id != self._live:
                raise NotRunning(f"run {run_id} is not running: only the running one can be held")
            self._hold = hold
            self._changed.notify_all()

    def _work(self) -> None:
        """Do one thing after another until the worker is closed. All below is this thread's."""
        while (task := self._next()) is not None:
            if isinstance(task, str):
                self._run(task)
            else:
                self._reply(*task)
        for run_id, ask in self._asks:
            self._insist(run_id, _refused(ask, "the program was closed before it could answer"))

    def _next(self) -> str | tuple[str, Ask | Export] | None:
        with self._changed:
            while not (self._closing or self._asks or self._queue):
                self._changed.wait()
            if self._closing:
                return None
            for item in self._asks:
                if item[0] not in self._queue:  # A run that waits answers once it is live.
                    self._asks.remove(item)
                    self._writing = item[0] if isinstance(item[1], Export) else None
                    return item
            self._fresh()
            self._live = self._queue.popleft()
            return self._live

    def _fresh(self) -> None:
        """Forget what was wished of the last live run. To be called under the lock."""
        self._hold = self._stop = False
        self._present = None
        self._changes.clear()

    def _run(self, run_id: str) -> None:
        ending = self._ending(run_id)
        if problem := self._release():
            ending = Failed(seconds=ending.seconds, problem=problem)
        self._insist(run_id, ending)
        with self._changed:
            self._live = None
            self._fresh()
            self._changed.notify_all()

    def _ending(self, run_id: str) -> Ending:
        """Carry a run out and say how it ended."""
        began, self._held_s = time.monotonic(), 0.0
        try:
            job = self._job(run_id)
            device = self._lab.device_name(job.spec.model.device)
            started = Started(versions=self._lab.versions, device=device)
            self._store.append(run_id, started)
            completed = self._drain(job)
        except Exception as error:  # The edge of the thread: nobody above could report it.
            problem, advice = _explained(error)
            return Failed(seconds=self._worked_s(began), problem=problem, advice=advice)
        seconds = self._worked_s(began)
        return Finished(seconds=seconds) if completed else Stopped(seconds=seconds)

    def _job(self, run_id: str) -> Job | TraceJob | PreviewJob:
        spec = self._store.job(run_id).spec
        if isinstance(spec, TraceSpec):
            return TraceJob(run_id, spec)
        if isinstance(spec, PreviewSpec):
            return PreviewJob(run_id, spec)
        return Job(run_id, spec, self._store.folder(run_id))

    def _worked_s(self, began: float) -> float:
        """Return the seconds since `began`, those on hold left out."""
        return time.monotonic() - began - self._held_s

    def _drain(self, job: Job | TraceJob | PreviewJob) -> bool:
        """Store what the engine yields, and tell whether it came to its end."""
        with closing(self._begin(job)) as events:
            for event in events:
                if event is not None:
                    self._store.append(job.run_id, event)
                    self._follow(job, event)
                if not self._goes_on(job):
                    return False
        return True

    def _begin(self, job: Job | TraceJob | PreviewJob) -> Generator[Event | None, None, None]:
        if isinstance(job, TraceJob):
            return self._lab.trace(job)
        return self._lab.preview(job) if isinstance(job, PreviewJob) else self._lab.unlearn(job)

    def _follow(self, job: Job | TraceJob | PreviewJob, event: Event) -> None:
        """Know which phase is trained."""
        with self._changed:
            if isinstance(event, StageBegan):
                self._present = None
            elif isinstance(event, PhaseBegan) and isinstance(job, Job):
                self._present = event.phase, job.spec.phases[event.phase]

    def _goes_on(self, job: Job | TraceJob | PreviewJob) -> bool:
        """Answer prompts, change or hold the run if that is wished, and tell whether it goes on."""
        held, since = False, time.monotonic()
        while True:
            wish = self._wish(job.run_id, held=held)
            if isinstance(wish, Ask):
                assert isinstance(job, Job), "only runs are asked"
                self._store.append(job.run_id, self._answer(job, wish))
            elif isinstance(wish, _Change):
                assert isinstance(job, Job), "only runs are changed"
                self._store.append(job.run_id, self._change(job, wish))
            elif wish == "hold":
                self._store.append(job.run_id, Paused())
                held, since = True, time.monotonic()
            else:
                if held:
                    self._held_s += time.monotonic() - since
                if held and wish == "go on":
                    self._store.append(job.run_id, Resumed())
                return wish == "go on"

    def _wish(self, run_id: str, *, held: bool) -> Ask | _Change | Literal["stop", "hold", "go on"]:
        """Return what is wished of the live run; while it is held, wait for something new."""
        with self._changed:
            while not self._stop:
                if self._changes:
                    return self._changes.popleft()
                for item in self._asks:
                    if item[0] == run_id and isinstance(item[1], Ask):
                        self._asks.remove(item)
                        return item[1]
                if not self._hold:
                    return "go on"
                if not held:
                    return "hold"
                self._changed.wait()
            return "stop"

    def _reply(self, run_id: str, ask: Ask | Export) -> None:
        """Do what is wished of a run that is not live."""
        try:
            job = Job(run_id, self._store.spec(run_id), self._store.folder(run_id))
        except StoreError as error:
            answer = _refused(ask, str(error))
        else:
            answer = self._answer(job, ask)
            if problem := self._release():
                answer = _refused(ask, problem)
        self._insist(run_id, answer)
        with self._changed:
            self._writing = None

    def _answer(self, job: Job, ask: Ask | Export) -> Asked | AskFailed | Exported | ExportFailed:
        try:
            if isinstance(ask, Export):
                return self._lab.export(job, ask)
            return self._lab.ask(job, ask)
        except Exception as error:  # The edge of the thread; the run itself goes on.
            return _refused(ask, _explained(error)[0])

    def _change(self, job: Job, change: _Change) -> Adjusted | AdjustFailed:
        number, changes = change.number, change.wish.changes
        if self._present is None or self._present[0] != number:
            late = f"phase {number + 1} had ended before it could be changed"
            return AdjustFailed(changes=changes, problem=late)
        try:
            made = self._lab.adjust(job, change.wish)
        except Exception as error:  # The edge of the thread; the run itself goes on.
            return AdjustFailed(changes=changes, problem=_explained(error)[0])
        with self._changed:
            self._present = number, adjusted(self._present[1], changes)
        return made

    def _release(self) -> str:
        """Free the device, and return what went wrong in that, if anything."""
        try:
            self._lab.release()
        except Exception as error:  # The edge of the thread.
            return f"the device could not be freed: {_explained(error)[0]}"
        return ""

    def _insist(self, run_id: str, event: Event) -> None:
        """Write an event that must not get lost, however long the database is held by others."""
        while True:
            try:
                self._store.append(run_id, event)
                return
            except StoreError as error:
                _LOG.warning("run %s waits to be written: %s", run_id, error)
            with self._changed:
                if self._closing:
                    return
                self._changed.wait(_RETRY_S)


def _refused(ask: Ask | Export, problem: str) -> AskFailed | ExportFailed:
    if isinstance(ask, Export):
        return ExportFailed(name=ask.folder.name, problem=problem)
    return AskFailed(ask_id=ask.ask_id, prompt=ask.prompt, problem=problem)


def _explained(error: Exception) -> tuple[str, str]:
    """Say what went wrong and what to change, in strings.

    The exception itself must not be kept: its traceback holds the frames, and they the model.
    """
    if isinstance(error, RunFailed):
        return _storable(error.problem), _storable(error.advice)
    if isinstance(error, ValueError):
        return _storable(str(error)), ""
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = place.filename.replace("\\", "/").rsplit("/", 1)[-1]
    return _storable(f"{type(error).__name__}: {error} ({file}, line {place.lineno})"), ""


def _storable(text: str) -> str:
    """Replace what is no character, such as half a surrogate pair: no database takes it."""
    return text.encode(errors="replace").decode()
