"""The worker thread of one device: it runs items of the queue with its own engine.

The engine yields events; only the thread decides how a run ended, so that every run has exactly one
ending and stopping cannot race with the last step.
"""

import logging
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from typing import overload

from unlearnlab.data.background import GivenUp
from unlearnlab.runs.code_version import revision
from unlearnlab.runs.engine_api import (
    Engine,
    Export,
    Job,
    PreviewJob,
    PromptRequest,
    RunFailed,
    TraceJob,
)
from unlearnlab.runs.events import (
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
from unlearnlab.runs.queue import ActiveItem, PhaseOverride, Queue
from unlearnlab.runs.records import PreviewRecord, TraceRecord
from unlearnlab.runs.store import Store, StoreError
from unlearnlab.spec.run import adjusted

_LOG = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Seconds between attempts to write an ending into a locked database."""

STOPPED = "it was cancelled before it was complete, and no partial file is left"
"""Failure message for a model export that the user cancelled."""


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

    def work(self) -> None:
        """Run items until the worker is closed, then refuse the remaining requests."""
        while active := self._queue.take(self.device):
            if active.item.request is None:
                self._run(active)
            else:
                self._reply(active, active.item.request)
            self._queue.done(active)
        self.refuse()

    def refuse(self) -> None:
        """Refuse the requests that will not be answered any more."""
        while item := self._queue.pop_request():
            assert item.request is not None, "queued runs are left to the next worker"
            why = "the program was closed before it could answer"
            self._insist(item.run_id, refused(item.request, why))

    def _engine(self) -> Engine:
        """Return the device's engine, created on first use, which may fail."""
        if self._made is None:
            self._made = self._engine_of(self.device)
        return self._made

    def _run(self, active: ActiveItem) -> None:
        ending = self._ending(active)
        if problem := self._release():
            ending = Failed(seconds=ending.seconds, problem=problem)
        self._insist(active.item.run_id, ending)

    def _ending(self, active: ActiveItem) -> Ending:
        """Carry out a run and return its ending."""
        began, self._held_s = time.monotonic(), 0.0
        try:
            job, engine = self._job(active.item.run_id), self._engine()
            device = engine.device_name(job.spec.model.device)
            started = Started(versions=engine.versions, device=device, code=revision())
            self._store.append(job.run_id, started)
            completed = self._drain(job, active)
        except Exception as error:  # Top of the thread: nobody above could report it.
            problem, advice = _explained(error)
            return Failed(seconds=self._worked_s(began), problem=problem, advice=advice)
        seconds = self._worked_s(began)
        return Finished(seconds=seconds) if completed else Stopped(seconds=seconds)

    def _job(self, run_id: str) -> Job | TraceJob | PreviewJob:
        row = self._store.job(run_id)
        if isinstance(row, TraceRecord):
            return TraceJob(run_id, row.spec)
        if isinstance(row, PreviewRecord):
            return PreviewJob(run_id, row.spec)
        return Job(run_id, row.spec, self._store.folder(run_id), anew=bool(row.repeats))

    def _worked_s(self, began: float) -> float:
        """Return the seconds since `began`, pauses excluded."""
        return time.monotonic() - began - self._held_s

    def _drain(self, job: Job | TraceJob | PreviewJob, active: ActiveItem) -> bool:
        """Store the engine's events, and return whether it finished."""
        with closing(self._begin(job)) as events:
            for event in events:
                if event is not None:
                    self._store.append(job.run_id, event)
                    self._track_phase(job, active, event)
                if not self._serve_requests(job, active):
                    return False
        return True

    def _begin(self, job: Job | TraceJob | PreviewJob) -> Generator[Event | None, None, None]:
        if isinstance(job, TraceJob):
            return self._engine().trace(job)
        if isinstance(job, PreviewJob):
            return self._engine().preview(job)
        return self._engine().unlearn(job)

    def _track_phase(
        self, job: Job | TraceJob | PreviewJob, active: ActiveItem, event: Event
    ) -> None:
        """Remember the phase in training."""
        with self._queue.changed:
            if isinstance(event, StageBegan):
                active.present = None
            elif isinstance(event, PhaseBegan) and isinstance(job, Job):
                active.present = event.phase, job.spec.phases[event.phase]

    def _serve_requests(self, job: Job | TraceJob | PreviewJob, active: ActiveItem) -> bool:
        """Answer prompts, apply overrides and pauses; return whether the run continues."""
        held, since = False, time.monotonic()
        while True:
            request = self._queue.next_request(active, held=held)
            if isinstance(request, PromptRequest):
                assert isinstance(job, Job), "only runs answer prompts"
                self._store.append(job.run_id, self._answer(job, request))
            elif isinstance(request, PhaseOverride):
                assert isinstance(job, Job), "only runs have phases"
                self._store.append(job.run_id, self._override(job, active, request))
            elif request == "hold":
                self._store.append(job.run_id, Paused())
                held, since = True, time.monotonic()
            else:
                if held:
                    self._held_s += time.monotonic() - since
                if held and request == "go on":
                    self._store.append(job.run_id, Resumed())
                return request == "go on"

    def _reply(self, active: ActiveItem, request: PromptRequest | Export) -> None:
        """Serve a request for a run that is not active."""
        item = active.item
        try:
            spec, folder = self._store.spec(item.run_id), self._store.folder(item.run_id)
        except StoreError as error:
            answer = refused(request, str(error))
        else:
            job = Job(item.run_id, spec, folder)
            if isinstance(request, PromptRequest):
                answer = self._answer(job, request)
            else:
                answer = self._export(job, active, request)
            if problem := self._release():
                answer = refused(request, problem)
        self._insist(item.run_id, answer)

    def _answer(self, job: Job, ask: PromptRequest) -> Asked | AskFailed:
        try:
            return self._engine().ask(job, ask)
        except Exception as error:  # Top of the thread; the run itself continues.
            return refused(ask, _explained(error)[0])

    def _export(self, job: Job, active: ActiveItem, request: Export) -> Exported | ExportFailed:
        """Write a run's merged model, unless it is cancelled."""

        def report(done: int, total: int) -> None:
            if not self._queue.report_share(active, done / max(1, total)):
                raise GivenUp

        try:
            return self._engine().export(job, request, report)
        except GivenUp:
            return refused(request, STOPPED)
        except Exception as error:  # Top of the thread; the run itself continues.
            return refused(request, _explained(error)[0])

    def _override(
        self, job: Job, active: ActiveItem, request: PhaseOverride
    ) -> Adjusted | AdjustFailed:
        number, changes = request.number, request.override.changes
        if active.present is None or active.present[0] != number:
            late = f"phase {number + 1} had ended before it could be changed"
            return AdjustFailed(changes=changes, problem=late)
        try:
            made = self._engine().adjust(job, request.override)
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

    def _insist(self, run_id: str, event: Event) -> None:
        """Store an event that must not get lost, however long the database is locked."""
        while True:
            try:
                self._store.append(run_id, event)
                return
            except StoreError as error:
                problem = error
            with self._queue.changed:
                if self._queue.closing:  # The store may be closed: the run counts as interrupted.
                    _LOG.info("run %s is not written: %s", run_id, problem)
                    return
                _LOG.warning("run %s waits to be written: %s", run_id, problem)
                self._queue.changed.wait(_RETRY_S)


@overload
def refused(request: PromptRequest, problem: str) -> AskFailed: ...


@overload
def refused(request: Export, problem: str) -> ExportFailed: ...


def refused(request: PromptRequest | Export, problem: str) -> AskFailed | ExportFailed:
    """Return the event that reports a failed request."""
    if isinstance(request, Export):
        return ExportFailed(name=request.folder.name, problem=problem)
    return AskFailed(ask_id=request.ask_id, prompt=request.prompt, problem=problem)


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
