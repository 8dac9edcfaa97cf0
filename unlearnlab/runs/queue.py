"""Shared, lock-protected state of the worker: pending and active items.

Pending items start in order, as soon as their device is free. An item may overtake one that waits
for other devices, but not one that waits for the same device.
"""

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from unlearnlab.runs.device_lock import POLL_S, Held, Holder, InUse, take
from unlearnlab.runs.engine_api import ALL, Export, Override, PromptRequest
from unlearnlab.spec.run import Phase

ANY = ""
"""Device of an engine that runs all items."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A job or a request, for one device."""

    run_id: str
    device: str
    """The value of `model.device` in its spec."""
    request: PromptRequest | Export | None = None
    """Request for the run's result; none if the item is the run itself."""


@dataclass(frozen=True, slots=True)
class PhaseOverride:
    """A request to change settings of the phase that an active run trains."""

    number: int
    """Number of the phase, 0-based."""
    override: Override


@dataclass(slots=True, eq=False)
class ActiveItem:
    """An item that a device works on, and the requests it has received."""

    item: QueueItem
    devices: tuple[str, ...]
    """Devices that it occupies."""
    held: Held
    """Locks of the devices against other processes."""
    hold: bool = False
    stop: bool = False
    present: tuple[int, Phase] | None = None
    """Number and settings of the phase in training; none outside training."""
    share: float = 0.0
    """Progress of a model export, 0 to 1."""
    changes: deque[PhaseOverride] = field(default_factory=deque[PhaseOverride])


class Queue:
    """Pending and active items, guarded by `changed`, which is notified of every change."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.pending: list[QueueItem] = []
        """Queued runs, traces and previews."""
        self.requests: list[QueueItem] = []
        """Requests for the results of runs."""
        self.active: list[ActiveItem] = []
        self.devices: tuple[str, ...] = ()
        """Empty until the first job arrives."""
        self.locks: Mapping[str, str] = {}
        """Machine-wide name of each device."""
        self._others: dict[str, tuple[Holder, float]] = {}
        """Devices in use by other processes, with the monotonic time of that finding."""
        self.closing = False

    def wait_for_work(self) -> bool:
        """Wait until there is an item; return False if the worker was closed first."""
        with self.changed:
            while not (self.closing or self.pending or self.requests):
                self.changed.wait()
            return not self.closing

    def take(self, device: str) -> ActiveItem | None:
        """Wait for the next item of a device; none once the worker is closed."""
        with self.changed:
            while not self.closing:
                if active := self._start_next(device):
                    return active
                # Other processes send no notification when they release a device.
                self.changed.wait(POLL_S if self._others and self.waiting() else None)
            return None

    def _start_next(self, device: str) -> ActiveItem | None:
        self._forget_old_findings()
        while found := self._next(device):
            item, place = found
            try:
                held = take({self.locks.get(one, ""): one for one in place}, run=item.run_id)
            except InUse as taken:
                # The next attempt picks another device, or waits for this one.
                self._others[taken.holder.device] = taken.holder, time.monotonic()
                self.changed.notify_all()
                continue
            (self.pending if item.request is None else self.requests).remove(item)
            self.active.append(active := ActiveItem(item, place, held))
            self.changed.notify_all()
            return active
        return None

    def _forget_old_findings(self) -> None:
        """Forget devices found in use a while ago, so that they are tried again."""
        now = time.monotonic()
        old = [device for device, (_, at) in self._others.items() if now - at >= POLL_S]
        for device in old:
            del self._others[device]
        if old:
            self.changed.notify_all()

    def _next(self, device: str) -> tuple[QueueItem, tuple[str, ...]] | None:
        found = zip(self.waiting(), self.assign_devices()[0], strict=True)
        # An item on several devices runs on the thread of the first.
        return next(((item, place) for item, place in found if place[:1] == (device,)), None)

    def assign_devices(self) -> tuple[list[tuple[str, ...]], set[str]]:
        """Assign devices to the waiting items: see the function of this name."""
        busy = {device for active in self.active for device in active.devices}
        wanted = [item.device for item in self.waiting()]
        return assign_devices(wanted, self.devices, busy | self._others.keys())

    def blocked(self) -> dict[str, Holder]:
        """Return the process that each blocked run waits for, by run id."""
        found: dict[str, Holder] = {}
        for item in self.waiting() if self._others else ():
            for device in chain(*candidate_devices(item.device, self.devices)):
                if device in self._others:
                    found.setdefault(item.run_id, self._others[device][0])
        return found

    def waiting(self) -> list[QueueItem]:
        """Return the items that may start, in order: requests first.

        Requests for a queued or active run are left out: the run itself answers them.
        """
        items = (*self.pending, *(active.item for active in self.runs()))
        unfinished = {item.run_id for item in items}
        return [item for item in self.requests if item.run_id not in unfinished] + self.pending

    def runs(self) -> list[ActiveItem]:
        """Return the active runs, traces and previews, the oldest first."""
        runs = [active for active in self.active if active.item.request is None]
        return sorted(runs, key=lambda active: active.item.run_id)

    def run(self, run_id: str) -> ActiveItem | None:
        """Return the active run, trace or preview with this id, if any."""
        return next((active for active in self.runs() if active.item.run_id == run_id), None)

    def export(self, run_id: str) -> ActiveItem | None:
        """Return the active export of a run's merged model, if any."""
        exports = (active for active in self.active if isinstance(active.item.request, Export))
        return next((active for active in exports if active.item.run_id == run_id), None)

    def report_share(self, active: ActiveItem, share: float) -> bool:
        """Store the progress of an export, and return whether it should continue."""
        with self.changed:
            active.share = share
            return not (active.stop or self.closing)

    def done(self, active: ActiveItem) -> None:
        """Release the devices of an item."""
        with self.changed:
            active.held.release()
            self.active.remove(active)
            self.changed.notify_all()

    def pop_request(self) -> QueueItem | None:
        """Remove and return a request that will not be answered any more, if any."""
        with self.changed:
            return self.requests.pop(0) if self.requests else None

    def next_request(
        self, active: ActiveItem, *, held: bool
    ) -> PromptRequest | PhaseOverride | Literal["stop", "hold", "go on"]:
        """Return the next request for an active run; while the run is held, wait for one."""
        with self.changed:
            while not active.stop:
                if active.changes:
                    return active.changes.popleft()
                for item in self.requests:
                    request = item.request
                    if item.run_id == active.item.run_id and isinstance(request, PromptRequest):
                        self.requests.remove(item)
                        return request
                if not active.hold:
                    return "go on"
                if not held:
                    return "hold"
                self.changed.wait()
            return "stop"


def candidate_devices(request: str, devices: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the device sets that a job may use, the best first.

    A missing device maps to the first one, whose engine refuses the job with a message.

    Args:
        request: The value of `model.device`; auto is any accelerator, if there is one.
        devices: Devices that can work side by side, accelerators first; at least one.
    """
    gpus = tuple(device for device in devices if device.startswith("cuda"))
    if request == "auto":
        return [(device,) for device in devices if device != "cpu"] or [(devices[0],)]
    if request == ALL and gpus:
        return [gpus]
    named = (device for device in devices if device and device.startswith(request))
    return [(next(named, devices[0]),)]


def assign_devices(
    wanted: Sequence[str], devices: Sequence[str], busy: Collection[str]
) -> tuple[list[tuple[str, ...]], set[str]]:
    """Assign free devices to waiting jobs, in order.

    Args:
        wanted: The value of `model.device` of each job, in order.
        devices: Devices that can work side by side, accelerators first.
        busy: Devices in use.

    Returns:
        The devices of each job, empty if it has to wait; and all devices that are then in use or
        waited for.
    """
    found: list[tuple[str, ...]] = []
    kept = set(busy)
    for request in wanted:
        options = candidate_devices(request, devices)
        place = next((option for option in options if kept.isdisjoint(option)), ())
        kept.update(place or chain(*options))
        found.append(place)
    return found, kept
