"""The thread of one device: it carries out one task after another with a lab of its own.

The engine yields what happened; the bench alone says how a run ended, so that every run has
exactly one ending and no race between stop and the last step.
"""

import logging
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from typing import overload

from unlearnlab.data.background import GivenUp
from unlearnlab.runs.code_version import revision
from unlearnlab.runs.engine_api import Ask, Export, Job, Lab, PreviewJob, RunFailed, TraceJob
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
from unlearnlab.runs.queue import Agenda, Change, Live
from unlearnlab.runs.records import PreviewRow, TraceRow
from unlearnlab.runs.store import Store, StoreError
from unlearnlab.spec.run import adjusted

_LOG = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Between attempts to write an ending into a database that somebody else holds."""


STOPPED = "it was stopped before it was whole, and nothing of it is left"
"""Why a model was not written that nobody wished any more."""


class Bench:
    """Does what the agenda gives to its device."""

    def __init__(
        self, store: Store, agenda: Agenda, device: str, lab_of: Callable[[str], Lab]
    ) -> None:
        self.device = device
        self._store = store
        self._agenda = agenda
        self._lab_of = lab_of
        self._made: Lab | None = None
        self._held_s = 0.0
        """Seconds for which the live run was on hold."""

    def work(self) -> None:
        """Do one task after another until the worker is closed, then refuse what is left."""
        while live := self._agenda.take(self.device):
            if live.task.wish is None:
                self._run(live)
            else:
                self._reply(live, live.task.wish)
            self._agenda.done(live)
        self.refuse()

    def refuse(self) -> None:
        """Refuse the wishes that nobody will do any more."""
        while task := self._agenda.left():
            assert task.wish is not None, "runs that wait are left to the next worker"
            told = "the program was closed before it could answer"
            self._insist(task.run_id, refused(task.wish, told))

    def _lab(self) -> Lab:
        """Return the device's lab, made when it is first needed: that may fail."""
        if self._made is None:
            self._made = self._lab_of(self.device)
        return self._made

    def _run(self, live: Live) -> None:
        ending = self._ending(live)
        if problem := self._release():
            ending = Failed(seconds=ending.seconds, problem=problem)
        self._insist(live.task.run_id, ending)

    def _ending(self, live: Live) -> Ending:
        """Carry a run out and say how it ended."""
        began, self._held_s = time.monotonic(), 0.0
        try:
            job, lab = self._job(live.task.run_id), self._lab()
            device = lab.device_name(job.spec.model.device)
            started = Started(versions=lab.versions, device=device, code=revision())
            self._store.append(job.run_id, started)
            completed = self._drain(job, live)
        except Exception as error:  # The edge of the thread: nobody above could report it.
            problem, advice = _explained(error)
            return Failed(seconds=self._worked_s(began), problem=problem, advice=advice)
        seconds = self._worked_s(began)
        return Finished(seconds=seconds) if completed else Stopped(seconds=seconds)

    def _job(self, run_id: str) -> Job | TraceJob | PreviewJob:
        row = self._store.job(run_id)
        if isinstance(row, TraceRow):
            return TraceJob(run_id, row.spec)
        if isinstance(row, PreviewRow):
            return PreviewJob(run_id, row.spec)
        return Job(run_id, row.spec, self._store.folder(run_id), anew=bool(row.repeats))

    def _worked_s(self, began: float) -> float:
        """Return the seconds since `began`, those on hold left out."""
        return time.monotonic() - began - self._held_s

    def _drain(self, job: Job | TraceJob | PreviewJob, live: Live) -> bool:
        """Store what the engine yields, and tell whether it came to its end."""
        with closing(self._begin(job)) as events:
            for event in events:
                if event is not None:
                    self._store.append(job.run_id, event)
                    self._follow(job, live, event)
                if not self._goes_on(job, live):
                    return False
        return True

    def _begin(self, job: Job | TraceJob | PreviewJob) -> Generator[Event | None, None, None]:
        if isinstance(job, TraceJob):
            return self._lab().trace(job)
        return self._lab().preview(job) if isinstance(job, PreviewJob) else self._lab().unlearn(job)

    def _follow(self, job: Job | TraceJob | PreviewJob, live: Live, event: Event) -> None:
        """Know which phase is trained."""
        with self._agenda.changed:
            if isinstance(event, StageBegan):
                live.present = None
            elif isinstance(event, PhaseBegan) and isinstance(job, Job):
                live.present = event.phase, job.spec.phases[event.phase]

    def _goes_on(self, job: Job | TraceJob | PreviewJob, live: Live) -> bool:
        """Answer prompts, change or hold the run if that is wished, and tell whether it goes on."""
        held, since = False, time.monotonic()
        while True:
            wish = self._agenda.wish(live, held=held)
            if isinstance(wish, Ask):
                assert isinstance(job, Job), "only runs are asked"
                self._store.append(job.run_id, self._answer(job, wish))
            elif isinstance(wish, Change):
                assert isinstance(job, Job), "only runs are changed"
                self._store.append(job.run_id, self._change(job, live, wish))
            elif wish == "hold":
                self._store.append(job.run_id, Paused())
                held, since = True, time.monotonic()
            else:
                if held:
                    self._held_s += time.monotonic() - since
                if held and wish == "go on":
                    self._store.append(job.run_id, Resumed())
                return wish == "go on"

    def _reply(self, live: Live, wish: Ask | Export) -> None:
        """Do what is wished of a run that is not live."""
        task = live.task
        try:
            spec, folder = self._store.spec(task.run_id), self._store.folder(task.run_id)
        except StoreError as error:
            answer = refused(wish, str(error))
        else:
            job = Job(task.run_id, spec, folder)
            answer = self._answer(job, wish) if isinstance(wish, Ask) else self._write(job, live)
            if problem := self._release():
                answer = refused(wish, problem)
        self._insist(task.run_id, answer)

    def _answer(self, job: Job, ask: Ask) -> Asked | AskFailed:
        try:
            return self._lab().ask(job, ask)
        except Exception as error:  # The edge of the thread; the run itself goes on.
            return refused(ask, _explained(error)[0])

    def _write(self, job: Job, live: Live) -> Exported | ExportFailed:
        """Write a run's merged model, until nobody wishes it any more."""
        wish = live.task.wish
        assert isinstance(wish, Export)

        def report(done: int, total: int) -> None:
            if not self._agenda.written(live, done / max(1, total)):
                raise GivenUp

        try:
            return self._lab().export(job, wish, report)
        except GivenUp:
            return refused(wish, STOPPED)
        except Exception as error:  # The edge of the thread; the run itself goes on.
            return refused(wish, _explained(error)[0])

    def _change(self, job: Job, live: Live, change: Change) -> Adjusted | AdjustFailed:
        number, changes = change.number, change.wish.changes
        if live.present is None or live.present[0] != number:
            late = f"phase {number + 1} had ended before it could be changed"
            return AdjustFailed(changes=changes, problem=late)
        try:
            made = self._lab().adjust(job, change.wish)
        except Exception as error:  # The edge of the thread; the run itself goes on.
            return AdjustFailed(changes=changes, problem=_explained(error)[0])
        with self._agenda.changed:
            live.present = number, adjusted(live.present[1], changes)
        return made

    def _release(self) -> str:
        """Free the device, and return what went wrong in that, if anything."""
        try:
            if self._made is not None:
                self._made.release()
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
                trouble = error
            with self._agenda.changed:
                if self._agenda.closing:  # The store may be closed: the run counts as interrupted.
                    _LOG.info("run %s is not written: %s", run_id, trouble)
                    return
                _LOG.warning("run %s waits to be written: %s", run_id, trouble)
                self._agenda.changed.wait(_RETRY_S)


@overload
def refused(ask: Ask, problem: str) -> AskFailed: ...


@overload
def refused(ask: Export, problem: str) -> ExportFailed: ...


def refused(ask: Ask | Export, problem: str) -> AskFailed | ExportFailed:
    """Say that a wish about a run's result could not be done."""
    if isinstance(ask, Export):
        return ExportFailed(name=ask.folder.name, problem=problem)
    return AskFailed(ask_id=ask.ask_id, prompt=ask.prompt, problem=problem)


def _explained(error: Exception) -> tuple[str, str]:
    """Say what went wrong and what to change, in strings.

    The exception itself must not be kept: its traceback holds the frames, and they the model.
    """
    if isinstance(error, RunFailed):
        return storable(error.problem), storable(error.advice)
    if isinstance(error, ValueError):
        return storable(str(error)), ""
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = place.filename.replace("\\", "/").rsplit("/", 1)[-1]
    return storable(f"{type(error).__name__}: {error} ({file}, line {place.lineno})"), ""


def storable(text: str) -> str:
    """Replace what is no character, such as half a surrogate pair: no database takes it."""
    return text.encode(errors="replace").decode()
