"""Which item may use which device: the worker's queue, and lock files between processes.

Pending items start in order, as soon as their device is free. An item may overtake one that waits
for other devices, but not one that waits for the same device. The operating system releases a lock
when its process ends, also if it is killed. A note beside each lock names its holder for messages;
it has no effect on locking.
"""

import functools
import json
import logging
import os
import platform
import re
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import psutil
from annotated_types import MaxLen
from filelock import FileLock, Timeout
from platformdirs import user_state_path
from pydantic import TypeAdapter, ValidationError

from unlearnlab.runs.engine_api import ALL, EndTraining, Export, Override, PromptRequest
from unlearnlab.spec.run import Phase

_LOG = logging.getLogger(__name__)

# ---- locks between processes ---------------------------------------------------------------------

FOLDER = "UNLEARNLAB_LOCKS"
"""Environment variable for the folder of the locks; for tests."""

POLL_S = 0.5
"""Polling interval while waiting for a device, in seconds."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a device."""

    device: Annotated[str, MaxLen(100)]
    """Its value in `model.device`."""
    pid: int = 0
    """Process id; 0 if unknown."""
    born: float = 0.0
    """Start time of the process, to tell it from a later one with the same pid. Unix time."""
    program: Annotated[str, MaxLen(100)] = ""
    """Such as app.py, or unlearnlab run."""
    run: Annotated[str, MaxLen(100)] = ""
    """Id of the run, trace or preview; empty if there is none."""
    since: float = 0.0
    """Unix time."""

    @property
    def who(self) -> str:
        """Return a description of the process."""
        if not self.pid:
            return "another process"
        about = ", ".join(filter(None, (self.program, self.run and f"run {self.run}")))
        return f"process {self.pid} ({about})" if about else f"process {self.pid}"


def process_lives(pid: int, born: float) -> bool:
    """Return whether a process is alive; its start time tells it from later ones with its pid."""
    try:
        process = psutil.Process(pid)
        # Processes may read slightly different start times after the clock was adjusted.
        return abs(process.create_time() - born) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


class InUse(Exception):
    """Another process holds a device."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.device} is in use by {holder.who}")
        self.holder = holder


class Held:
    """Locks that are held until `release`, or until the process ends."""

    def __init__(self) -> None:
        self.locks: list[FileLock] = []

    def release(self) -> None:
        """Release the devices; further calls have no effect."""
        while self.locks:
            lock = self.locks.pop()
            # Removed before the lock is released: afterwards the note may be another holder's.
            with suppress(OSError):
                _note(Path(lock.lock_file)).unlink(missing_ok=True)
            lock.release()


def take(devices: Mapping[str, str], *, run: str = "") -> Held:
    """Lock all of these devices, or none.

    It never waits while holding a lock, so processes that need several devices cannot deadlock. If
    no lock file can be created, nothing is locked and a warning is logged.

    Args:
        devices: Display names by machine-wide name; an empty machine-wide name is not locked.
        run: Id of the run, trace or preview that needs them.

    Raises:
        InUse: One of them is locked already, by another process or by this one.
    """
    held = Held()
    try:
        for name in sorted(filter(None, devices)):
            _lock(held, name, devices[name], run)
    except OSError as error:
        _LOG.warning(
            "devices are not locked against other processes: %s; name a folder in %s", error, FOLDER
        )
    except InUse:
        held.release()
        raise
    return held


def _lock(held: Held, name: str, device: str, run: str) -> None:
    path = folder() / f"{file_name(name)}.lock"
    # Not thread-local: another thread may release the lock.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise InUse(replace(_read(_note(path)) or Holder(device), device=device)) from None
    held.locks.append(lock)
    with suppress(OSError):  # The lock holds without its note, such as on a full disk.
        pid = os.getpid()
        holder = Holder(device, pid, _born(pid), program(), run, time.time())
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        os.replace(part, _note(path))


def holders() -> dict[str, Holder]:
    """Return the known holders of this machine's devices, by `file_name`."""
    with suppress(OSError):
        notes = {path.stem: _read(path) for path in sorted(folder().glob("*.json"))}
        return {name: holder for name, holder in notes.items() if holder}
    return {}


def elsewhere(devices: Mapping[str, str]) -> tuple[Holder, ...]:
    """Return the other processes that hold devices of this machine.

    Args:
        devices: The devices to look at, as for `take`; if empty, all of them.
    """
    mine = {file_name(name): device for name, device in devices.items() if name}
    return tuple(
        replace(holder, device=mine.get(name, holder.device))
        for name, holder in holders().items()
        if holder.pid != os.getpid() and (name in mine or not mine)
    )


def file_name(name: str) -> str:
    """Return a device name as a valid file name."""
    return re.sub(r"[^\w.-]", "-", name)


def folder() -> Path:
    """Return the folder of the locks, one per user and machine, creating it if necessary.

    Raises:
        OSError: It cannot be created.
    """
    if named := os.environ.get(FOLDER):
        return _made(Path(named))
    # The machines of a cluster may share a home folder, but not their devices.
    state = user_state_path("unlearnlab", appauthor=False) / "locks" / file_name(platform.node())
    with suppress(OSError):
        return _made(state)
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return _made(Path(tempfile.gettempdir()) / f"unlearnlab-locks-{user}")


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written")
    return path


def program() -> str:
    """Return the command that started this program, such as app.py or unlearnlab run."""
    path = Path(sys.argv[0] if sys.argv else "")
    if path.name == "__main__.py":
        path = path.parent
    command = sys.argv[1:2] if path.stem == "unlearnlab" else []
    return " ".join((path.name, *command))[:100]


@functools.cache
def _born(pid: int) -> float:
    return psutil.Process(pid).create_time()


def _note(lock: Path) -> Path:
    return lock.with_suffix(".json")


_HOLDER = TypeAdapter(Holder)


def _read(path: Path) -> Holder | None:
    """Read a note; none if it is missing or invalid, or if a killed process left it behind."""
    try:
        holder = _HOLDER.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return holder if process_lives(holder.pid, holder.born) else None


# ---- the queue of this process -------------------------------------------------------------------

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
    changes: deque[Override | EndTraining] = field(default_factory=deque[Override | EndTraining])
    ends_training: bool = False
    """Whether the user ended its training, and it goes on with scoring."""
    trouble: str = ""
    """Why its events wait to be written; empty if they do not."""


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
        self.lost: dict[str, str] = {}
        """Why the ending of a run could not be stored, by its id."""

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
        # Devices found in use a while ago are tried again.
        now = time.monotonic()
        old = [one for one, (_, at) in self._others.items() if now - at >= POLL_S]
        for one in old:
            del self._others[one]
        if old:
            self.changed.notify_all()
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

    def _next(self, device: str) -> tuple[QueueItem, tuple[str, ...]] | None:
        """Return the item that the thread of this device may start, and all devices it needs."""
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
    ) -> PromptRequest | Override | EndTraining | Literal["stop", "hold", "go on"]:
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
