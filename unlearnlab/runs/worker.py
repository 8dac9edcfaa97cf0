"""The worker: one thread for each device, each running one item of the queue at a time.

UI and CLI submit requests here (stop, pause, ask) and read progress from the store. The engine
yields events; only its thread decides how a run ended, so that every run has exactly one ending
and stopping cannot race with the last step.
"""

import logging
import os
import secrets
import subprocess
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from unlearnlab.data.background import GivenUp
from unlearnlab.runs.devices import (
    ANY,
    ActiveItem,
    Holder,
    Queue,
    QueueItem,
    assign_devices,
    elsewhere,
)
from unlearnlab.runs.engine_api import (
    EndTraining,
    Engine,
    EnginePool,
    Export,
    Job,
    Override,
    PromptRequest,
    Question,
    RunFailed,
    as_pool,
    listed,
)
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    CutShort,
    Ending,
    Event,
    Exported,
    ExportFailed,
    Failed,
    Finished,
    Paused,
    PhaseBegan,
    Resumed,
    Revision,
    StageBegan,
    Started,
    Stopped,
)
from unlearnlab.runs.records import PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.store import Busy, Full, Store, StoreError
from unlearnlab.spec.run import PreviewSpec, RunSpec, adjustable, adjusted
from unlearnlab.spec.trace import TraceSpec

_LOG = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Seconds between attempts to write into a locked database, or onto a full disk."""

_LOCKED_S = 600.0
"""How long a run waits for a locked database, in seconds; then it fails."""

_FULL_S = 30.0
"""How long an ending waits for room on a full disk, in seconds; then it is lost."""

_LEAVING_S = 10.0
"""How long an ending waits once the worker is being closed, in seconds."""

AT_ONCE = 8
"""Events that are written onto a full disk before the database's log is emptied."""

MOST_HELD = 20_000
"""Most events that a run holds back while the disk is full; beyond, it fails."""

_GLANCE_S = 0.2
"""Polling interval of `Worker.wait` for runs of other processes, in seconds."""

STOPPED = "it was cancelled before it was complete, and no partial file is left"
"""Failure message for a model export that the user cancelled."""


_Done = TypeVar("_Done")


# ---- the thread of a device ----------------------------------------------------------------------


class DeviceThread:
    """Runs the queue's items for one device."""

    def __init__(
        self, store: Store, queue: Queue, device: str, engine_of: Callable[[str], Engine]
    ) -> None:
        self.device = device
        self._store = store
        self._queue = queue
        self._engine_of = engine_of
        self._made: Engine | None = None
        self._held_s = 0.0
        """Seconds for which the active run was paused."""
        self._cut: CutShort | None = None
        """Where the user ended the training of the active run."""
        self._unwritten: deque[tuple[Event, float]] = deque()
        """Events of the active run that wait for room on a full disk, with their Unix times."""
        self._tried = 0.0
        """Monotonic time of the last attempt to write them."""

    def work(self) -> None:
        """Run items until the worker is closed, then refuse the remaining requests."""
        while active := self._queue.take(self.device):
            if active.item.request is None:
                self._run(active)
            else:
                self._reply(active, active.item.request)
            self._queue.done(active)
        while item := self._queue.pop_request():
            assert item.request is not None, "queued runs are left to the next worker"
            why = "the program was closed before it could answer"
            self._insist(item.run_id, item.request.failed(why))

    def _engine(self) -> Engine:
        """Return the device's engine, created on first use, which may fail."""
        if self._made is None:
            self._made = self._engine_of(self.device)
        return self._made

    def _run(self, active: ActiveItem) -> None:
        ending = self._ending(active)
        if problem := self._release():
            ending = Failed(seconds=ending.seconds, problem=problem)
        if lost := self._flush(active):
            earlier = f"; before that: {ending.problem}" if isinstance(ending, Failed) else ""
            ending = Failed(seconds=ending.seconds, problem=f"{lost}{earlier}")
        self._insist(active.item.run_id, ending)

    def _ending(self, active: ActiveItem) -> Ending:
        """Carry out a run and return its ending."""
        began, self._held_s, self._cut = time.monotonic(), 0.0, None
        run_id = active.item.run_id
        try:
            row = self._patiently(active, lambda: self._store.job(run_id))
            engine = self._engine()
            job = None
            if isinstance(row, RunRecord):
                job = Job(run_id, row.spec, self._store.folder(run_id), anew=bool(row.repeats))
            device = engine.device_name(row.spec.model.device)
            started = Started(versions=engine.versions, device=device, code=revision())
            self._keep(active, started)
            if job:
                events = engine.unlearn(job)
            elif isinstance(row, TraceRecord):
                events = engine.trace(row.spec)
            else:
                assert isinstance(row, PreviewRecord), "the third kind of job"
                events = engine.preview(row.spec)
            completed = self._drain(events, job, active)
        except Exception as error:  # Top of the thread: nobody above could report it.
            problem, advice = _explained(error)
            return Failed(seconds=self._worked_s(began), problem=problem, advice=advice)
        seconds = self._worked_s(began)
        if not completed:
            return Stopped(seconds=seconds)
        if (cut := self._cut) is None:
            return Finished(seconds=seconds)
        return Finished(seconds=seconds, stopped_at=cut.step, planned=cut.planned)

    def _worked_s(self, began: float) -> float:
        """Return the seconds since `began`, pauses excluded."""
        return time.monotonic() - began - self._held_s

    def _drain(
        self, events: Generator[Event | None, None, None], job: Job | None, active: ActiveItem
    ) -> bool:
        """Store the engine's events, and return whether it finished."""
        with closing(events):
            for event in events:
                if event is not None:
                    self._keep(active, event)
                    with self._queue.changed:  # Remember the phase in training.
                        if isinstance(event, StageBegan):
                            active.present = None
                        elif isinstance(event, CutShort):
                            self._cut = event
                        elif isinstance(event, PhaseBegan) and job:
                            active.present = event.phase, job.spec.phases[event.phase]
                if not self._serve_requests(job, active):
                    return False
        return True

    def _serve_requests(self, job: Job | None, active: ActiveItem) -> bool:
        """Answer prompts, apply overrides and pauses; return whether the run continues."""
        held, since = False, time.monotonic()
        while True:
            request = self._queue.next_request(active, held=held)
            if isinstance(request, PromptRequest):
                assert job, "only runs answer prompts"
                self._keep(active, self._answer(job, request))
            elif isinstance(request, EndTraining):
                assert job, "only runs train"
                self._end_training(job)
            elif isinstance(request, Override):
                assert job, "only runs have phases"
                self._keep(active, self._override(job, active, request))
            elif request == "hold":
                self._keep(active, Paused())
                held, since = True, time.monotonic()
            else:
                if held:
                    self._held_s += time.monotonic() - since
                if held and request == "go on":
                    self._keep(active, Resumed())
                return request == "go on"

    def _reply(self, active: ActiveItem, request: PromptRequest | Export) -> None:
        """Serve a request for a run that is not active."""
        item = active.item
        try:
            spec, folder = self._store.spec(item.run_id), self._store.folder(item.run_id)
        except StoreError as error:
            answer = request.failed(str(error))
        else:
            job = Job(item.run_id, spec, folder)
            if isinstance(request, PromptRequest):
                answer = self._answer(job, request)
            else:
                answer = self._export(job, active, request)
            if problem := self._release():
                answer = request.failed(problem)
        self._insist(item.run_id, answer)

    def _answer(self, job: Job, ask: PromptRequest) -> Asked | AskFailed:
        try:
            return self._engine().ask(job, ask)
        except Exception as error:  # Top of the thread; the run itself continues.
            return ask.failed(_explained(error)[0])

    def _export(self, job: Job, active: ActiveItem, request: Export) -> Exported | ExportFailed:
        """Write a run's merged model, unless it is cancelled."""

        def report(done: int, total: int) -> None:
            if not self._queue.report_share(active, done / max(1, total)):
                raise GivenUp

        try:
            return self._engine().export(job, request, report)
        except GivenUp:
            return request.failed(STOPPED)
        except Exception as error:  # Top of the thread; the run itself continues.
            return request.failed(_explained(error)[0])

    def _end_training(self, job: Job) -> None:
        try:
            self._engine().end_training(job)
        except ValueError as error:  # It has just ended by itself: scoring follows in any case.
            _LOG.info("run %s: %s", job.run_id, error)

    def _override(self, job: Job, active: ActiveItem, request: Override) -> Adjusted | AdjustFailed:
        number, changes = request.phase, request.changes
        if active.present is None or active.present[0] != number:
            late = f"phase {number + 1} had ended before it could be changed"
            return AdjustFailed(changes=changes, problem=late)
        try:
            made = self._engine().adjust(job, request)
        except Exception as error:  # Top of the thread; the run itself continues.
            return AdjustFailed(changes=changes, problem=_explained(error)[0])
        with self._queue.changed:
            active.present = number, adjusted(active.present[1], changes)
        return made

    def _release(self) -> str:
        """Release the device's memory, and return what went wrong, if anything."""
        try:
            if self._made is not None:
                self._made.release()
        except Exception as error:  # Top of the thread.
            return f"the device could not be freed: {_explained(error)[0]}"
        return ""

    def _patiently(
        self, active: ActiveItem, operate: Callable[[], _Done], *, finally_: bool = False
    ) -> _Done:
        """Use the store for the active run; while it is locked, wait, for minutes.

        Raises:
            Busy: It stayed locked, or the run is to stop and this is not `finally_` done.
        """
        began = time.monotonic()
        while True:
            try:
                done = operate()
            except Busy as error:
                self._tell_trouble(active, error)
                with self._queue.changed:
                    patience = _LEAVING_S if self._queue.closing else _LOCKED_S
                    if time.monotonic() - began > patience or (active.stop and not finally_):
                        raise
                    self._queue.changed.wait(_RETRY_S)
            else:
                return done

    def _keep(self, active: ActiveItem, event: Event) -> None:
        """Store an event of the active run; while the disk is full, hold it back and go on.

        Raises:
            StoreError: It cannot be stored, or too many are held back.
        """
        self._unwritten.append((event, time.time()))
        if len(self._unwritten) > 1 and time.monotonic() - self._tried < _RETRY_S:
            return
        try:
            self._write_held(active)
        except Full as error:
            self._tell_trouble(active, error)
            if len(self._unwritten) > MOST_HELD:
                raise
        except Busy:
            if not active.stop:
                raise

    def _write_held(self, active: ActiveItem, *, finally_: bool = False) -> None:
        self._tried = time.monotonic()
        while self._unwritten:
            event, at = self._unwritten[0]
            write = partial(self._store.append, active.item.run_id, event, at=at)
            self._patiently(active, write, finally_=finally_)
            self._unwritten.popleft()
            if finally_ and len(self._unwritten) % AT_ONCE == 0:
                self._store.make_room(ending=False)  # Else the log outgrows the reserve.
        self._tell_trouble(active, None)

    def _flush(self, active: ActiveItem) -> str:
        """Write the events that were held back, with reserved room if need be.

        Returns:
            What was lost and why; empty if nothing was.
        """
        if not self._unwritten:
            return ""
        room, before = True, 0
        while True:
            try:
                self._write_held(active, finally_=True)
            except StoreError as error:
                left = len(self._unwritten)
                # The rest of the reserve is for the ending.
                room = isinstance(error, Full) and (left != before or room)
                if not room:
                    lost = f"{left} of its last events could not be kept: {error}"
                    break
                room, before = self._store.make_room(ending=False), left
            else:
                return ""
        self._unwritten.clear()
        return lost

    def _tell_trouble(self, active: ActiveItem, error: StoreError | None) -> None:
        """Note, once, that the active run waits to be written, or that it waits no more."""
        told = "" if error is None else str(error)
        if told == active.trouble:
            return
        with self._queue.changed:
            active.trouble = told
            self._queue.changed.notify_all()
        if told:
            _LOG.warning("run %s waits to be written: %s", active.item.run_id, told)

    def _insist(self, run_id: str, event: Event) -> None:
        """Store an event that must not get lost, for minutes; if that fails, `Worker.lost` tells.

        An ending that finds a full disk takes the room that the store keeps for it.
        """
        began, told = time.monotonic(), ""
        while True:
            try:
                self._store.append(run_id, event)
                return
            except StoreError as error:
                problem, passes = error, isinstance(error, Busy | Full)
            if isinstance(problem, Full) and self._store.make_room(ending=True):
                continue
            waited = time.monotonic() - began
            with self._queue.changed:
                patience = _FULL_S if isinstance(problem, Full) else _LOCKED_S
                patience = min(patience, _LEAVING_S) if self._queue.closing else patience
                if not passes or waited > patience:  # The run counts as interrupted.
                    level = logging.INFO if self._queue.closing and not passes else logging.WARNING
                    _LOG.log(level, "run %s is not written: %s", run_id, problem)
                    self._queue.lost[run_id] = str(problem)
                    self._queue.changed.notify_all()
                    return
                if str(problem) != told:
                    told = str(problem)
                    _LOG.warning("run %s waits to be written: %s", run_id, told)
                self._queue.changed.wait(_RETRY_S)


def _explained(error: Exception) -> tuple[str, str]:
    """Return the problem and the advice of an error, as strings.

    The exception itself must not be kept: its traceback keeps the frames alive, and they the model.
    """
    if isinstance(error, RunFailed):
        return storable(error.problem), storable(error.advice)
    if isinstance(error, ValueError):
        return storable(str(error)), ""
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = place.filename.replace("\\", "/").rsplit("/", 1)[-1]
    return storable(f"{type(error).__name__}: {error} ({file}, line {place.lineno})"), ""


def storable(text: str) -> str:
    """Replace what is not a character, such as half a surrogate pair: SQLite rejects it."""
    return text.encode(errors="replace").decode()


# ---- the worker ----------------------------------------------------------------------------------


class NotRunning(ValueError):
    """This worker does not own the run, or the run is not in a state that allows the request."""


class WorkerClosed(NotRunning):
    """The worker is closed and takes no more work."""


@dataclass(frozen=True, slots=True)
class Running:
    """An active run, trace or preview."""

    run_id: str
    paused: bool = False
    """Whether it is paused, or will be at its next batch."""
    stopping: bool = False
    """Whether it ends at its next batch."""
    ends_training: bool = False
    """Whether its training ends at the next step, and scoring follows."""
    trouble: str = ""
    """Why its events wait to be written: a locked database, or a full disk; empty otherwise."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Snapshot of the worker."""

    running: tuple[Running, ...] = ()
    """At most one per device, the oldest first."""
    queue: tuple[str, ...] = ()
    """Queued runs, traces and previews, the next one first."""
    exports: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """Progress of model exports by run, 0 to 1; None if it waits."""
    devices: tuple[str, ...] = ()
    """Devices that work side by side; empty until the first job arrives."""
    kept: tuple[str, ...] = ()
    """Devices in use or waited for."""
    blocked: tuple[tuple[str, Holder], ...] = ()
    """Run ids that wait for a device of another process, and that process."""
    elsewhere: tuple[Holder, ...] = ()
    """Other processes that use devices of this machine."""

    @property
    def live(self) -> str | None:
        """Return the oldest active run, trace or preview, if any."""
        return self.running[0].run_id if self.running else None

    @property
    def owned(self) -> tuple[str, ...]:
        """Return the ids of all active and queued runs, traces and previews."""
        return (*(one.run_id for one in self.running), *self.queue)

    def job(self, run_id: str) -> Running | None:
        """Return an active run, trace or preview by id, if any."""
        return next((one for one in self.running if one.run_id == run_id), None)

    def holder(self, run_id: str) -> Holder | None:
        """Return the process whose device a run waits for, if any."""
        return next((holder for blocked, holder in self.blocked if blocked == run_id), None)

    def would_wait(self, device: str = "auto") -> bool:
        """Return whether another run with this `model.device` would have to wait."""
        if not self.devices:
            return bool(self.owned)
        (place,), _ = assign_devices([device], self.devices, self.kept)
        return not place


class Worker:
    """Runs queued jobs in order and answers prompts in between.

    Whatever needs an open worker raises `WorkerClosed`; whatever takes the id of a run raises
    `UnknownRun` if there is no such run, and `NotRunning` if its state does not allow the request.
    """

    def __init__(self, store: Store, engines: Engine | EnginePool) -> None:
        """Start the worker.

        Args:
            store: The store of the runs.
            engines: One engine per device, or a single one that runs everything in turn. No device
                is used while another process of the machine uses it.
        """
        self._store = store
        self._queue = Queue()
        self._engines = as_pool(engines)
        self._threads: list[threading.Thread] = []
        self._begin(self._work)

    def _begin(self, work: Callable[[], None]) -> None:
        # A daemon thread: a step that takes minutes must not keep the program from exiting.
        thread = threading.Thread(target=work, name="unlearnlab-worker", daemon=True)
        self._threads.append(thread)
        thread.start()

    def state(self) -> WorkerState:
        """Return a snapshot of the worker."""
        queue = self._queue
        others = elsewhere({name: device for device, name in queue.locks.items()})
        with queue.changed:
            exports: dict[str, float | None] = {
                active.item.run_id: round(active.share, 2)
                for active in queue.active
                if isinstance(active.item.request, Export)
            }
            asked = [item.run_id for item in queue.requests if isinstance(item.request, Export)]
            kept = queue.assign_devices()[1] if queue.devices else ()
            return WorkerState(
                running=tuple(
                    Running(x.item.run_id, x.hold, x.stop, x.ends_training, x.trouble)
                    for x in queue.runs()
                ),
                queue=tuple(item.run_id for item in queue.pending),
                exports=dict.fromkeys(asked) | exports,
                devices=queue.devices,
                kept=tuple(sorted(kept)),
                blocked=tuple(queue.blocked().items()),
                elsewhere=others,
            )

    def submit(
        self,
        spec: RunSpec | TraceSpec | PreviewSpec,
        *,
        name: str = "",
        sweep: str = "",
        repeats: str = "",
    ) -> str:
        """Queue a run, a trace or a preview and return its id immediately; see `Store.create`."""
        with self._queue.changed:
            self._must_be_open()
            run_id = self._store.create(spec, name=storable(name), sweep=sweep, repeats=repeats)
            self._queue.pending.append(QueueItem(run_id, spec.model.device))
            self._queue.changed.notify_all()
        return run_id

    def move(self, run_id: str, to: int) -> None:
        """Move a queued run to another position, 0-based; one past the end is the last."""
        with self._queue.changed:
            item = self._waiting(run_id)
            if item is None:
                raise NotRunning(f"run {run_id} is not queued here: only queued runs can be moved")
            self._queue.pending.remove(item)
            self._queue.pending.insert(max(0, to), item)
            self._queue.changed.notify_all()

    def adopt(self, run_ids: Sequence[str]) -> list[str]:
        """Queue runs that were still queued when their program ended, and return their ids.

        Runs that started, ended, or belong to a live program are skipped: an interrupted run is
        repeated by submitting its spec again. Runs before an unknown one are adopted.
        """
        adopted: list[str] = []
        with self._queue.changed:
            self._must_be_open()
            for run_id in run_ids:
                known = self._waiting(run_id) or self._queue.run(run_id)
                if not known and self._store.adopt(run_id):
                    device = self._store.job(run_id).spec.model.device
                    self._queue.pending.append(QueueItem(run_id, device))
                    adopted.append(run_id)
            self._queue.changed.notify_all()
        return adopted

    def stop(self, run_id: str) -> None:
        """Stop a run at its next batch, or remove it from the queue; ended runs stay unchanged.

        A run that an ended program left in its queue is stopped as well, but not one that another
        program runs or was killed in.
        """
        with self._queue.changed:
            if item := self._waiting(run_id):
                self._store.append(run_id, Stopped(seconds=0))
                self._queue.pending.remove(item)
            elif active := self._queue.run(run_id):
                active.stop = True
            elif self._store.job(run_id).ending is None:
                if not self._store.adopt(run_id):
                    raise NotRunning(
                        f"run {run_id} is not running here: stop it where it was started"
                    )
                self._store.append(run_id, Stopped(seconds=0))
            self._queue.changed.notify_all()

    def stop_and_score(self, run_id: str) -> None:
        """End the training of a run at its next step, and let it go on with saving and scoring.

        A paused run is resumed. A model that the run keeps under a name is kept as it is then.

        Raises:
            NotRunning: The run is not training here.
        """
        with self._queue.changed:
            active = self._must_run(run_id, "can be scored as it is")
            if active.present is None:
                raise NotRunning(f"run {run_id} is not training now: stop it instead")
            if not active.ends_training:
                active.ends_training, active.hold = True, False
                active.changes.append(EndTraining())
            self._queue.changed.notify_all()

    def pause(self, run_id: str) -> None:
        """Pause an active run at its next batch."""
        self._set_hold(run_id, True)

    def resume(self, run_id: str) -> None:
        """Resume a paused run."""
        self._set_hold(run_id, False)

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> None:
        """Change settings of the phase in training, from the next batch on.

        Answered by an event `Adjusted` or `AdjustFailed` of the run, which may be paused.

        Args:
            run_id: The run.
            changes: New values by dotted path in the phase, see `spec.run.adjusted`.

        Raises:
            SpecError: A path cannot be changed, or a value is wrong.
        """
        with self._queue.changed:
            active = self._must_run(run_id, "can change")
            if active.present is None:
                raise NotRunning(f"run {run_id} is not training now: change it while it does")
            number, phase = active.present
            valid = adjustable(adjusted(phase, changes))
            active.changes.append(Override(number, {path: valid[path] for path in changes}))
            self._queue.changed.notify_all()

    def ask(
        self,
        run_id: str,
        prompt: str,
        questions: Sequence[Question] = (),
        step: int | None = None,
    ) -> str:
        """Ask both models of a run to answer a prompt, or a list of prompts.

        An active run answers at its next batch, also while it is paused; other runs as soon as
        their device is free, before the next queued run.

        Args:
            run_id: The run.
            prompt: The prompt, or a list of them as `listed` reads it.
            questions: The list, if it is not read from the prompt.
            step: Step of the snapshot that answers; None for the unlearned model as it is.

        Returns:
            The `ask_id` of the run's event `Asked` or `AskFailed` with the answer.

        Raises:
            ValueError: The prompt is empty.
        """
        if not prompt.strip():
            raise ValueError("prompt: it is empty: write a few words to ask")
        device = self._store.row(run_id).spec.model.device
        prompt = storable(prompt)
        asked = tuple(Question(*map(storable, one)) for one in questions) or listed(prompt)
        ask = PromptRequest(secrets.token_hex(6), prompt, asked, step)
        with self._queue.changed:
            self._must_be_open()
            self._queue.requests.append(QueueItem(run_id, device, ask))
            self._queue.changed.notify_all()
        return ask.ask_id

    def export(self, run_id: str, export: Export) -> None:
        """Write the merged model of an ended run, as soon as its device is free.

        Answered by an event `Exported` or `ExportFailed` of the run. A second request while one
        waits is ignored.
        """
        row = self._store.row(run_id)
        if row.ending is None and row.alive:
            raise NotRunning(f"run {run_id} has not ended: export its model when it has")
        queue = self._queue
        with queue.changed:
            self._must_be_open()
            known = (*queue.requests, *(active.item for active in queue.active))
            if not any(t.run_id == run_id and isinstance(t.request, Export) for t in known):
                queue.requests.append(QueueItem(run_id, row.spec.model.device, export))
                queue.changed.notify_all()

    def stop_export(self, run_id: str) -> None:
        """Cancel the export of a run's merged model, active or waiting; no partial file is left.

        Answered by an event `ExportFailed` of the run, unless the model is complete by then.
        """
        queue = self._queue
        with queue.changed:
            for item in list(queue.requests):
                if item.run_id == run_id and isinstance(item.request, Export):
                    self._store.append(run_id, item.request.failed(STOPPED))
                    queue.requests.remove(item)
            if active := queue.export(run_id):
                active.stop = True
            queue.changed.notify_all()

    def wait(self, run_id: str, timeout_s: float | None = None) -> Ending | None:
        """Wait for a run to end, here or in another process, and return its ending.

        None after the timeout, or if it cannot end: its process died, this worker was closed
        before it started, or its ending was lost.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            row = self._store.job(run_id)
            late = deadline is not None and time.monotonic() >= deadline
            if row.ending is not None or late or not row.alive or self.lost(run_id):
                return row.ending
            with self._queue.changed:
                if self._queue.closing and self._waiting(run_id):
                    return None
                self._queue.changed.wait(_GLANCE_S)

    def lost(self, run_id: str) -> str:
        """Say why the ending of a run could not be stored; empty if it was, or is not due yet."""
        with self._queue.changed:
            return self._queue.lost.get(run_id, "")

    def close(self, timeout_s: float) -> bool:
        """Stop the active runs, end the threads, and return whether they ended in time.

        Runs of threads that did not end count as interrupted once the program exits. Queued runs
        stay queued: see `adopt`.
        """
        with self._queue.changed:
            self._queue.closing = True
            for active in self._queue.active:
                active.stop = True
            self._queue.changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def give_up(self) -> None:
        """Write an ending for each run that did not stop in time: the program leaves it behind."""
        for active in self._queue.runs():
            run_id = active.item.run_id
            try:
                events = self._store.events(run_id)
                seconds = max(0.0, time.time() - events[0].at) if events else 0.0
                self._store.append(run_id, Stopped(seconds=seconds))
            except StoreError as error:  # It has just ended by itself, or counts as interrupted.
                _LOG.info("run %s: %s", run_id, error)

    def _waiting(self, run_id: str) -> QueueItem | None:
        return next((item for item in self._queue.pending if item.run_id == run_id), None)

    def _must_be_open(self) -> None:
        if self._queue.closing:
            raise WorkerClosed("the worker is closed: start the program again")

    def _must_run(self, run_id: str, doing: str) -> ActiveItem:
        if active := self._queue.run(run_id):
            return active
        raise NotRunning(f"run {run_id} is not running: only a running one {doing}")

    def _set_hold(self, run_id: str, hold: bool) -> None:
        with self._queue.changed:
            self._must_run(run_id, "can be paused").hold = hold
            self._queue.changed.notify_all()

    def _work(self) -> None:
        """Wait for the first job, then start a thread per device; this one serves the first."""
        revision()  # Read now: by the first job, the files may differ from the code in memory.
        devices = self._found() if self._queue.wait_for_work() else (ANY,)
        first, *further = (
            DeviceThread(self._store, self._queue, device, self._engines.of) for device in devices
        )
        locks = {device: self._engines.lock(device) for device in devices}
        with self._queue.changed:
            self._queue.devices, self._queue.locks = devices, locks
            for thread in further:
                self._begin(thread.work)
        first.work()

    def _found(self) -> tuple[str, ...]:
        try:
            return tuple(self._engines.devices()) or (ANY,)
        except Exception as error:  # The engine will raise it again, and the run reports it.
            _LOG.warning("the devices of this machine cannot be listed: %s", error)
            return (ANY,)


# ---- the version of the running code -------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]

_GIT_S = 2.0
"""Timeout for git, in seconds: a run starts without a revision rather than late."""


@cache
def revision() -> Revision | None:
    """Return the commit of the code and whether it was modified, as of the first call."""
    return revision_of(ROOT)


def revision_of(root: Path) -> Revision | None:
    """Return the revision of a repository by its top folder.

    None if the folder is not one, or if git is missing or takes too long.
    """
    if not (root / ".git").exists():
        return None
    # A git hook may have set variables that point to another repository.
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--")
    try:
        done = subprocess.run(
            (*command, "unlearnlab", "assets", "app.py"),
            cwd=root,
            env=others,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    head = "# branch.oid "
    commits = [line.removeprefix(head) for line in lines if line.startswith(head)]
    if not commits or commits[0] == "(initial)":
        return None
    return Revision(commit=commits[0], dirty=any(not line.startswith("#") for line in lines))
