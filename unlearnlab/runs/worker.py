"""The worker: a thread for each device, each of which does one thing at a time.

Pages and terminals come and go: they leave wishes here (stop, pause, a prompt) and read the facts
from the store. What waits and what goes on is in `agenda`; how it is carried out, in `benches`.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.runs.code_version import revision
from unlearnlab.runs.device_lock import Holder, elsewhere
from unlearnlab.runs.device_thread import STOPPED, Bench, refused, storable
from unlearnlab.runs.engine_api import Adjustment, Ask, Export, Lab, Labs, as_labs
from unlearnlab.runs.events import Ending, Stopped
from unlearnlab.runs.queue import ANY, Agenda, Change, Live, Task, placed
from unlearnlab.runs.store import Store
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import RunSpec, adjustable, adjusted
from unlearnlab.spec.trace import TraceSpec

_LOG = logging.getLogger(__name__)

_GLANCE_S = 0.2
"""How often `wait` looks for the ending of a run that another process carries out."""


class NotRunning(ValueError):
    """The run is not in this worker's hands, or not in the state that the wish needs."""


@dataclass(frozen=True, slots=True)
class Running:
    """A run, a trace or a preview that is being carried out."""

    run_id: str
    paused: bool = False
    """Whether it is held, or will be at its next batch."""
    stopping: bool = False
    """Whether it ends at its next batch."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the worker is busy with at one moment."""

    running: tuple[Running, ...] = ()
    """On each device at most one; those asked for first in front."""
    queue: tuple[str, ...] = ()
    """Runs, traces and previews that wait, the next one first."""
    exporting: tuple[str, ...] = ()
    """Runs whose merged model is being written, or waits to be."""
    writing: tuple[str, ...] = ()
    """Those of them whose model is being written."""
    shares: tuple[float, ...] = ()
    """How much of each of those is written, 0 to 1."""
    devices: tuple[str, ...] = ()
    """Those that work side by side; none before the first job has come."""
    kept: tuple[str, ...] = ()
    """Those of them that are at work or waited for."""
    blocked: tuple[tuple[str, Holder], ...] = ()
    """What waits for another process to free a device, by id, and that process."""
    elsewhere: tuple[Holder, ...] = ()
    """Other processes that use devices of this machine."""

    @property
    def live(self) -> str | None:
        """Return the run, trace or preview that goes on; of several, the one asked for first."""
        return self.running[0].run_id if self.running else None

    @property
    def mine(self) -> tuple[str, ...]:
        """Return all that this worker carries out or is going to."""
        return (*(one.run_id for one in self.running), *self.queue)

    def job(self, run_id: str) -> Running | None:
        """Return how a run goes on; none if it does not."""
        return next((one for one in self.running if one.run_id == run_id), None)

    def holder(self, run_id: str) -> Holder | None:
        """Return the other process whose device a run waits for; none if it does not."""
        return next((holder for blocked, holder in self.blocked if blocked == run_id), None)

    def waits(self, device: str = "auto") -> bool:
        """Tell whether a further run for a device, as `model.device` names it, would wait."""
        if not self.devices:
            return bool(self.mine)
        (place,), _ = placed([device], self.devices, self.kept)
        return not place


class Worker:
    """Carries out runs and traces in the order they came and answers prompts in between."""

    def __init__(self, store: Store, labs: Lab | Labs) -> None:
        """Begin to work.

        Args:
            store: Where runs are kept.
            labs: One lab for each device; a single one does everything, one thing at a time. No
                device is used while another process of the machine uses it.
        """
        self._store = store
        self._agenda = Agenda()
        self._labs = as_labs(labs)
        self._threads: list[threading.Thread] = []
        self._begin(self._work)

    def _begin(self, work: Callable[[], None]) -> None:
        # A daemon: a step that takes minutes must not keep the program from ending.
        thread = threading.Thread(target=work, name="unlearnlab-worker", daemon=True)
        self._threads.append(thread)
        thread.start()

    def state(self) -> WorkerState:
        """Return what the worker is busy with."""
        agenda = self._agenda
        others = elsewhere({name: device for device, name in agenda.locks.items()})
        with agenda.changed:
            writes = [x for x in agenda.live if isinstance(x.task.wish, Export)]
            writing = [x.task.run_id for x in writes]
            asked = [task.run_id for task in agenda.asks if isinstance(task.wish, Export)]
            kept = agenda.placed()[1] if agenda.devices else ()
            return WorkerState(
                running=tuple(Running(x.task.run_id, x.hold, x.stop) for x in agenda.runs()),
                queue=tuple(task.run_id for task in agenda.queue),
                exporting=(*writing, *asked),
                writing=tuple(writing),
                shares=tuple(round(x.share, 2) for x in writes),
                devices=agenda.devices,
                kept=tuple(sorted(kept)),
                blocked=tuple(agenda.blocked().items()),
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
        """Queue a run, a trace or a preview and return its id at once.

        Args:
            spec: What is asked for.
            name: How a list calls it; may be empty.
            sweep: Id of the sweep that it is part of; empty if of none.
            repeats: Id of the run whose record it repeats; empty if of none.
        """
        with self._agenda.changed:
            self._must_be_open()
            called = storable(name)
            run_id = self._store.create(spec, name=called, sweep=sweep, repeats=repeats)
            self._agenda.queue.append(Task(run_id, spec.model.device))
            self._agenda.changed.notify_all()
        return run_id

    def move(self, run_id: str, to: int) -> None:
        """Give a waiting run another place in the queue, 0-based; one past the end is the last.

        Raises:
            NotRunning: It does not wait here.
        """
        with self._agenda.changed:
            task = self._waiting(run_id)
            if task is None:
                raise NotRunning(f"run {run_id} does not wait here: only waiting runs can be moved")
            self._agenda.queue.remove(task)
            self._agenda.queue.insert(max(0, to), task)
            self._agenda.changed.notify_all()

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
        with self._agenda.changed:
            self._must_be_open()
            for run_id in run_ids:
                known = self._waiting(run_id) or self._agenda.run(run_id)
                if not known and self._store.adopt(run_id):
                    device = self._store.job(run_id).spec.model.device
                    self._agenda.queue.append(Task(run_id, device))
                    taken.append(run_id)
            self._agenda.changed.notify_all()
        return taken

    def stop(self, run_id: str) -> None:
        """End a run at its next batch, or take it from the queue. One that has ended stays so.

        What a program that has ended left waiting is ended as well.

        Raises:
            NotRunning: Another program carries it out, or was killed while it did.
            UnknownRun: There is no such run.
        """
        with self._agenda.changed:
            if task := self._waiting(run_id):
                self._store.append(run_id, Stopped(seconds=0))
                self._agenda.queue.remove(task)
            elif live := self._agenda.run(run_id):
                live.stop = True
            elif self._store.job(run_id).ending is None:
                if not self._store.adopt(run_id):
                    told = f"run {run_id} is not running here: stop it where it was started"
                    raise NotRunning(told)
                self._store.append(run_id, Stopped(seconds=0))
            self._agenda.changed.notify_all()

    def pause(self, run_id: str) -> None:
        """Hold a live run at its next batch.

        Raises:
            NotRunning: It is not live.
        """
        self._set_hold(run_id, True)

    def resume(self, run_id: str) -> None:
        """Let a live run go on.

        Raises:
            NotRunning: It is not live.
        """
        self._set_hold(run_id, False)

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> None:
        """Change values of the phase that a live run trains, from its next batch on.

        `Adjusted` or `AdjustFailed` arrives among the run's events.

        Args:
            run_id: A live run; it may be on hold.
            changes: New values by dotted path in the phase, see `spec.adjusted`.

        Raises:
            NotRunning: It is not live, or it is not training now.
            SpecError: A path cannot be changed, or a value is wrong.
        """
        with self._agenda.changed:
            live = self._must_run(run_id, "can change")
            if live.present is None:
                raise NotRunning(f"run {run_id} is not training now: change it while it does")
            number, phase = live.present
            valid = adjustable(adjusted(phase, changes))
            wish = Adjustment({path: valid[path] for path in changes})
            live.changes.append(Change(number, wish))
            self._agenda.changed.notify_all()

    def ask(self, run_id: str, prompt: str) -> str:
        """Have both models of a run answer a prompt.

        A live run answers at its next batch, also while it is held; the others as soon as their
        device is free, before the next run of the queue.

        Returns:
            The id under which `Asked` or `AskFailed` arrives among the run's events.

        Raises:
            ValueError: The prompt is empty.
            UnknownRun: There is no such run.
        """
        if not prompt.strip():
            raise ValueError("prompt: it is empty: write a few words to ask")
        device = self._store.row(run_id).spec.model.device
        ask = Ask(ask_id=secrets.token_hex(6), prompt=storable(prompt))
        with self._agenda.changed:
            self._must_be_open()
            self._agenda.asks.append(Task(run_id, device, ask))
            self._agenda.changed.notify_all()
        return ask.ask_id

    def export(self, run_id: str, export: Export) -> None:
        """Have the merged model of an ended run written, as soon as its device is free.

        `Exported` or `ExportFailed` arrives among the run's events. What is asked for twice is
        done once.

        Raises:
            NotRunning: The run has not ended.
            UnknownRun: There is no such run.
        """
        row = self._store.row(run_id)
        if row.ending is None and row.alive:
            raise NotRunning(f"run {run_id} has not ended: take its model away then")
        agenda = self._agenda
        with agenda.changed:
            self._must_be_open()
            known = (*agenda.asks, *(live.task for live in agenda.live))
            if not any(t.run_id == run_id and isinstance(t.wish, Export) for t in known):
                agenda.asks.append(Task(run_id, row.spec.model.device, export))
                agenda.changed.notify_all()

    def stop_export(self, run_id: str) -> None:
        """Give the writing of a run's merged model up, or do not begin it: nothing of it is left.

        `ExportFailed` arrives among the run's events, unless the model is whole by then.
        """
        agenda = self._agenda
        with agenda.changed:
            for task in list(agenda.asks):
                if task.run_id == run_id and isinstance(task.wish, Export):
                    self._store.append(run_id, refused(task.wish, STOPPED))
                    agenda.asks.remove(task)
            if live := agenda.export(run_id):
                live.stop = True
            agenda.changed.notify_all()

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
            with self._agenda.changed:
                if self._agenda.closing and self._waiting(run_id):
                    return None
                self._agenda.changed.wait(_GLANCE_S)

    def close(self, timeout_s: float) -> bool:
        """Stop the live runs and end the threads. What waits has no ending: see `adopt`.

        Returns:
            Whether they ended in time. If not, their runs will count as interrupted once the
            program has ended.
        """
        with self._agenda.changed:
            self._agenda.closing = True
            for live in self._agenda.live:
                live.stop = True
            self._agenda.changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _waiting(self, run_id: str) -> Task | None:
        return next((task for task in self._agenda.queue if task.run_id == run_id), None)

    def _must_be_open(self) -> None:
        if self._agenda.closing:
            raise NotRunning("the worker is closed: start the program again")

    def _must_run(self, run_id: str, wish: str) -> Live:
        if live := self._agenda.run(run_id):
            return live
        raise NotRunning(f"run {run_id} is not running: only a running one {wish}")

    def _set_hold(self, run_id: str, hold: bool) -> None:
        with self._agenda.changed:
            self._must_run(run_id, "can be held").hold = hold
            self._agenda.changed.notify_all()

    def _work(self) -> None:
        """Wait for the first job, then give each device its thread; this one is the first's."""
        revision()  # Asked for now: by the first job, the files may be others than those in memory.
        devices = self._found() if self._agenda.awaited() else (ANY,)
        first, *further = (
            Bench(self._store, self._agenda, device, self._labs.of) for device in devices
        )
        locks = {device: self._labs.lock(device) for device in devices}
        with self._agenda.changed:
            self._agenda.devices, self._agenda.locks = devices, locks
            for bench in further:
                self._begin(bench.work)
        first.work()

    def _found(self) -> tuple[str, ...]:
        try:
            return tuple(self._labs.devices()) or (ANY,)
        except Exception as error:  # The lab meets it again, and the run tells it.
            _LOG.warning("the devices of this machine cannot be listed: %s", error)
            return (ANY,)
