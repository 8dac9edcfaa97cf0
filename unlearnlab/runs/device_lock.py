"""One process of a machine on a device at a time: lock files, and who holds them.

The system frees a lock when its process ends, also when that is killed. Beside each lock lies a
note of its holder, for people to read: it decides nothing.
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
"""Names the folder of the locks in the environment; for tests."""

POLL_S = 0.5
"""How often whoever waits for a device looks whether it is free."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses a device."""

    device: Annotated[str, MaxLen(100)]
    """As `model.device` names it."""
    pid: int = 0
    """0 if it is not known which process it is."""
    born: float = 0.0
    """When the process was born: tells it from a later one with the same number. Unix time."""
    program: Annotated[str, MaxLen(100)] = ""
    """Such as app.py, or unlearnlab run."""
    run: Annotated[str, MaxLen(100)] = ""
    """Id of the run, trace or preview; empty if there is none."""
    since: float = 0.0
    """Unix time."""

    @property
    def who(self) -> str:
        """Name the process in words."""
        if not self.pid:
            return "another process"
        about = ", ".join(filter(None, (self.program, self.run and f"run {self.run}")))
        return f"process {self.pid} ({about})" if about else f"process {self.pid}"

    @property
    def lives(self) -> bool:
        """Whether the process still lives: the note of a killed one stays behind."""
        try:
            process = psutil.Process(self.pid)
            # Two processes may read one birth a little differently when the clock was set.
            same = abs(process.create_time() - self.born) < 2
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ValueError, OverflowError):
            return False


class InUse(Exception):
    """Another process uses a device."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.device} is in use by {holder.who}")
        self.holder = holder


class Held:
    """Locks that are held until `release`, or until the process ends."""

    def __init__(self) -> None:
        self._locks: list[FileLock] = []

    def add(self, lock: FileLock) -> None:
        """Take charge of one more lock."""
        self._locks.append(lock)

    def release(self) -> None:
        """Free the devices; once is enough."""
        while self._locks:
            lock = self._locks.pop()
            with suppress(OSError):  # Before the lock goes: afterwards it is somebody else's.
                _note(Path(lock.lock_file)).unlink(missing_ok=True)
            lock.release()


def take(devices: Mapping[str, str], *, run: str = "") -> Held:
    """Lock devices: all of them, or none.

    Nothing is held while something is waited for, so processes that want several never block each
    other. Where no lock file can be made, nothing is locked and a warning is logged.

    Args:
        devices: What to call each in messages, by its name among all processes of the machine; an
            empty name is locked by nobody.
        run: What they are used for: the id of a run, a trace or a preview.

    Raises:
        InUse: Another process holds one of them, or another part of this one.
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
    # Not bound to a thread: a lock may be freed by another than took it.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise InUse(replace(_read(_note(path)) or Holder(device), device=device)) from None
    held.add(lock)
    with suppress(OSError):  # A full disk keeps nobody from the device.
        _write(_note(path), Holder(device, *_me(), program(), run, time.time()))


def holders() -> dict[str, Holder]:
    """Return who uses the devices of this machine, by `file_name`, as far as it is known."""
    with suppress(OSError):
        notes = {path.stem: _read(path) for path in sorted(folder().glob("*.json"))}
        return {name: holder for name, holder in notes.items() if holder}
    return {}


def elsewhere(devices: Mapping[str, str]) -> tuple[Holder, ...]:
    """List who else uses devices of this machine.

    Args:
        devices: Those that matter, as `take` has them; if there are none, all do.
    """
    mine = {file_name(name): device for name, device in devices.items() if name}
    return tuple(
        replace(holder, device=mine.get(name, holder.device))
        for name, holder in holders().items()
        if holder.pid != os.getpid() and (name in mine or not mine)
    )


def file_name(name: str) -> str:
    """Write the name of a device as a file can be called."""
    return re.sub(r"[^\w.-]", "-", name)


def folder() -> Path:
    """Return the folder of the locks, which is made: one for each user and machine.

    Raises:
        OSError: It cannot be made.
    """
    *better, last = _folders()
    for path in better:
        with suppress(OSError):
            return _made(path)
    return _made(last)


def _folders() -> Sequence[Path]:
    if named := os.environ.get(FOLDER):
        return (Path(named),)
    # A home folder may be shared by the machines of a cluster: their devices are not.
    state = user_state_path("unlearnlab", appauthor=False) / "locks" / file_name(platform.node())
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return state, Path(tempfile.gettempdir()) / f"unlearnlab-locks-{user}"


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written")
    return path


def program() -> str:
    """Name this program as whoever started it knows it, such as app.py or unlearnlab run."""
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
    """Read a note; none if there is none that makes sense, or if its process has ended."""
    try:
        holder = _HOLDER.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return holder if holder.lives else None
