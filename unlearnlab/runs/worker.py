"""The worker: one thread for each device, each running one item at a time.

UI and CLI submit requests here (stop, pause, ask) and read progress from the store. `queue` holds
the pending and active items; `device_thread` runs them.
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
from unlearnlab.runs.device_thread import STOPPED, DeviceThread, refused, storable
from unlearnlab.runs.engine_api import Engine, EnginePool, Export, Override, PromptRequest, as_pool
from unlearnlab.runs.events import Ending, Stopped
from unlearnlab.runs.queue import ANY, ActiveItem, PhaseOverride, Queue, QueueItem, assign_devices
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import PreviewSpec, RunSpec, adjustable, adjusted
from unlearnlab.spec.trace import TraceSpec

_LOG = logging.getLogger(__name__)

_GLANCE_S = 0.2
"""Polling interval of `wait` for runs of other processes, in seconds."""


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


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Snapshot of the worker."""

    running: tuple[Running, ...] = ()
    """At most one per device, the oldest first."""
    queue: tuple[str, ...] = ()
    """Queued runs, traces and previews, the next one first."""
    exporting: tuple[str, ...] = ()
    """Runs whose merged model is being exported or waits for it."""
    writing: tuple[str, ...] = ()
    """Runs whose merged model is being exported now."""
    shares: tuple[float, ...] = ()
    """Progress of each export in `writing`, 0 to 1."""
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
    """Runs queued jobs in order and answers prompts in between."""

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
            writes = [x for x in queue.active if isinstance(x.item.request, Export)]
            writing = [x.item.run_id for x in writes]
            asked = [item.run_id for item in queue.requests if isinstance(item.request, Export)]
            kept = queue.assign_devices()[1] if queue.devices else ()
            return WorkerState(
                running=tuple(Running(x.item.run_id, x.hold, x.stop) for x in queue.runs()),
                queue=tuple(item.run_id for item in queue.pending),
                exporting=(*writing, *asked),
                writing=tuple(writing),
                shares=tuple(round(x.share, 2) for x in writes),
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
        """Queue a run, a trace or a preview and return its id immediately.

        Args:
            spec: What to carry out.
            name: Display name; may be empty.
            sweep: Id of the sweep that it belongs to, if any.
            repeats: Id of the run that it reproduces, if any.

        Raises:
            WorkerClosed: The worker is closed.
        """
        with self._queue.changed:
            self._must_be_open()
            run_id = self._store.create(spec, name=storable(name), sweep=sweep, repeats=repeats)
            self._queue.pending.append(QueueItem(run_id, spec.model.device))
            self._queue.changed.notify_all()
        return run_id

    def move(self, run_id: str, to: int) -> None:
        """Move a queued run to another position, 0-based; one past the end is the last.

        Raises:
            NotRunning: It is not queued here.
        """
        with self._queue.changed:
            item = self._waiting(run_id)
            if item is None:
                raise NotRunning(f"run {run_id} is not queued here: only queued runs can be moved")
            self._queue.pending.remove(item)
            self._queue.pending.insert(max(0, to), item)
            self._queue.changed.notify_all()

    def adopt(self, run_ids: Sequence[str]) -> list[str]:
        """Queue runs that were still queued when their program ended, in the given order.

        Runs that started, ended, or belong to a live program are skipped: an interrupted run is
        repeated by submitting its spec again.

        Returns:
            Ids of the adopted runs.

        Raises:
            UnknownRun: There is no such run. The ones before it are adopted.
            WorkerClosed: The worker is closed.
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

        A run that an ended program left in its queue is stopped as well.

        Raises:
            NotRunning: Another program runs it, or was killed while it did.
            UnknownRun: There is no such run.
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

    def pause(self, run_id: str) -> None:
        """Pause an active run at its next batch.

        Raises:
            NotRunning: It is not active.
        """
        self._set_hold(run_id, True)

    def resume(self, run_id: str) -> None:
        """Resume a paused run.

        Raises:
            NotRunning: It is not active.
        """
        self._set_hold(run_id, False)

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> None:
        """Change settings of the phase in training, from the next batch on.

        Answered by an event `Adjusted` or `AdjustFailed` of the run.

        Args:
            run_id: An active run; it may be paused.
            changes: New values by dotted path in the phase, see `spec.run.adjusted`.

        Raises:
            NotRunning: It is not active, or it is not training now.
            SpecError: A path cannot be changed, or a value is wrong.
        """
        with self._queue.changed:
            active = self._must_run(run_id, "can change")
            if active.present is None:
                raise NotRunning(f"run {run_id} is not training now: change it while it does")
            number, phase = active.present
            valid = adjustable(adjusted(phase, changes))
            override = Override({path: valid[path] for path in changes})
            active.changes.append(PhaseOverride(number, override))
            self._queue.changed.notify_all()

    def ask(self, run_id: str, prompt: str) -> str:
        """Ask both models of a run to answer a prompt.

        An active run answers at its next batch, also while it is paused; other runs as soon as
        their device is free, before the next queued run.

        Returns:
            The `ask_id` of the run's event `Asked` or `AskFailed` with the answer.

        Raises:
            ValueError: The prompt is empty.
            WorkerClosed: The worker is closed.
            UnknownRun: There is no such run.
        """
        if not prompt.strip():
            raise ValueError("prompt: it is empty: write a few words to ask")
        device = self._store.row(run_id).spec.model.device
        ask = PromptRequest(ask_id=secrets.token_hex(6), prompt=storable(prompt))
        with self._queue.changed:
            self._must_be_open()
            self._queue.requests.append(QueueItem(run_id, device, ask))
            self._queue.changed.notify_all()
        return ask.ask_id

    def export(self, run_id: str, export: Export) -> None:
        """Write the merged model of an ended run, as soon as its device is free.

        Answered by an event `Exported` or `ExportFailed` of the run. A second request while one
        waits is ignored.

        Raises:
            NotRunning: The run has not ended.
            WorkerClosed: The worker is closed.
            UnknownRun: There is no such run.
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
                    self._store.append(run_id, refused(item.request, STOPPED))
                    queue.requests.remove(item)
            if active := queue.export(run_id):
                active.stop = True
            queue.changed.notify_all()

    def wait(self, run_id: str, timeout_s: float | None = None) -> Ending | None:
        """Wait for a run to end, here or in another process.

        Returns:
            Its ending; none after the timeout, or if it cannot end: its process died, or this
            worker was closed before it started.

        Raises:
            UnknownRun: There is no such run.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            row = self._store.job(run_id)
            late = deadline is not None and time.monotonic() >= deadline
            if row.ending is not None or late or not row.alive:
                return row.ending
            with self._queue.changed:
                if self._queue.closing and self._waiting(run_id):
                    return None
                self._queue.changed.wait(_GLANCE_S)

    def close(self, timeout_s: float) -> bool:
        """Stop the active runs and end the threads. Queued runs stay queued: see `adopt`.

        Returns:
            Whether the threads ended in time. If not, their runs count as interrupted once the
            program exits.
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
