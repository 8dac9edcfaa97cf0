"""Lock files that give a device to one process of the machine at a time.

The operating system releases a lock when its process ends, also if it is killed. A note beside each
lock names its holder for messages; it has no effect on locking.
"""

import functools
import json
import logging
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import psutil
from annotated_types import MaxLen
from filelock import FileLock, Timeout
from platformdirs import user_state_path
from pydantic import TypeAdapter, ValidationError

_LOG = logging.getLogger(__name__)

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

    @property
    def lives(self) -> bool:
        """Whether the process is alive: a killed process leaves its note behind."""
        try:
            process = psutil.Process(self.pid)
            # Processes may read slightly different start times after the clock was adjusted.
            same = abs(process.create_time() - self.born) < 2
            return same and process.status() != psutil.STATUS_ZOMBIE
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
        self._locks: list[FileLock] = []

    def add(self, lock: FileLock) -> None:
        """Add a lock."""
        self._locks.append(lock)

    def release(self) -> None:
        """Release the devices; further calls have no effect."""
        while self._locks:
            lock = self._locks.pop()
            with suppress(
                OSError
            ):  # Before releasing the lock: afterwards the note may be another holder's.
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
    held.add(lock)
    with suppress(OSError):  # The lock holds without its note, such as on a full disk.
        _write(_note(path), Holder(device, *_me(), program(), run, time.time()))


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
    *better, last = _folders()
    for path in better:
        with suppress(OSError):
            return _made(path)
    return _made(last)


def _folders() -> Sequence[Path]:
    if named := os.environ.get(FOLDER):
        return (Path(named),)
    # The machines of a cluster may share a home folder, but not their devices.
    state = user_state_path("unlearnlab", appauthor=False) / "locks" / file_name(platform.node())
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return state, Path(tempfile.gettempdir()) / f"unlearnlab-locks-{user}"


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


def _me() -> tuple[int, float]:
    pid = os.getpid()
    return pid, _born(pid)


def _note(lock: Path) -> Path:
    return lock.with_suffix(".json")


def _write(path: Path, holder: Holder) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    os.replace(part, path)


_HOLDER = TypeAdapter(Holder)


def _read(path: Path) -> Holder | None:
    """Read a note; none if it is missing or invalid, or if its process has ended."""
    try:
        holder = _HOLDER.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return holder if holder.lives else None
