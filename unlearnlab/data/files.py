"""Where files lie, and atomic writes with a check of the free disk space.

Files are written to a neighbour called `NAME.part`, which then replaces the target in one step. A
leftover of an earlier attempt is overwritten.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

_PACKAGE = Path(__file__).resolve().parent.parent

ASSETS = next(f for f in (_PACKAGE / "assets", _PACKAGE.parent / "assets") if f.is_dir())
"""Files that come with the program: presets, the embedded model, styles and scripts. They are in an
installed package, and beside the package in a clone."""

DOCS = next(f for f in (_PACKAGE / "docs", _PACKAGE.parent / "docs") if f.is_dir())
"""The documentation, in Markdown: found as the assets are."""

EMBEDDED = ASSETS / "tiny-olmo"
"""The embedded model: `original/`, `retrained/` and `data/`."""


HOME = "UNLEARNLAB_HOME"
"""Environment variable that names the home folder."""


def home(override: str | Path | None = None) -> Path:
    """Return the home folder, which holds the store, datasets, models and downloads.

    It is `override`, else `UNLEARNLAB_HOME`, else the user's data folder.
    """
    chosen = override or os.environ.get(HOME)
    if chosen:
        return expanded(Path(chosen)).absolute()
    return platformdirs.user_data_path("unlearnlab", appauthor=False)


def expanded(path: Path) -> Path:
    """Expand a leading `~` or `~user`; the name of nobody stays as it is."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


@contextmanager
def at_home(override: str | Path | None) -> Generator[None]:
    """Use another home folder in the whole process until the block ends.

    Args:
        override: The folder; None changes nothing.
    """
    before = os.environ.get(HOME)
    os.environ.update({HOME: str(home(override))} if override else {})
    try:
        yield
    finally:
        os.environ.pop(HOME, None)
        os.environ.update({HOME: before} if before is not None else {})


PART = ".part"
"""Ends the names of what is being written."""


def _any_path(_path: str) -> str:
    return ""


_refuses = _any_path


def ask_before_naming(refuses: Callable[[str], str]) -> None:
    """Ask about each path that `path_refused` gets from now on.

    Args:
        refuses: Says why a path may not be named by whoever is being served; empty if it may.
    """
    global _refuses
    _refuses = refuses


def path_refused(path: str) -> str:
    """Say why a typed path may not be used; empty if it may. The command line may name any."""
    return _refuses(path)


SPARE = 64 * 10**6
"""Bytes that must stay free after a write: a full disk harms every other program."""


class NoRoom(ValueError):
    """The disk has too little free space for the write."""


class Taken(ValueError):
    """The target exists and must not be overwritten."""


def check_room(where: Path, needed: int) -> None:
    """Check that `needed` bytes fit on the disk of a folder, which need not exist yet.

    Raises:
        NoRoom: They do not fit.
    """
    there = next(folder for folder in (where, *where.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed + SPARE > free:
        raise NoRoom(
            f"not enough room on the disk of {where}: {size(needed)} are needed and "
            f"{size(SPARE)} must stay free, but only {size(free)} are free: make room, or choose "
            "another folder"
        )


def check_free(target: Path) -> None:
    """Check that a new file or folder replaces nothing but an empty folder.

    Raises:
        Taken: The target exists.
    """
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise Taken(f"{target} is there already: move it away, or choose another path")


FOLDER = "a folder where a file is expected: name a file in it"
"""Said of a folder in the place of a file."""


def open_regular(path: Path, limit: int | None = None) -> BinaryIO:
    """Open a file that a user named, for reading: never a device, a pipe, or more than expected.

    Args:
        path: The file.
        limit: Most bytes that it may have; None for a file that is read piece by piece.

    Raises:
        OSError: It is missing, no regular file, too large, or may not be read. Its `strerror` says
            why.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            folder = stat.S_ISDIR(found.st_mode)
            what = FOLDER if folder else "a device or a pipe, no file"
            raise OSError(errno.EINVAL, what, str(path))
        # What becomes a pipe in between must not be waited for.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except ValueError as error:
        raise OSError(errno.EINVAL, "no path can have such characters") from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or (limit is not None and found.st_size > limit):
        file.close()
        told = f"it has {size(found.st_size)}, and at most {size(limit or 0)} are read"
        raise OSError(errno.EFBIG, told, str(path))
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Read a file that a user named, as `open_regular` opens it.

    Raises:
        OSError: It cannot be read, or is not what is expected.
    """
    with open_regular(path, limit) as file:
        return file.read(limit)


TEXT_LIMIT = 1 << 26
"""Most bytes of a file of settings or notes that a user names: 64 MiB."""


@contextmanager
def whole_folder(target: Path) -> Generator[Path]:
    """Provide a folder to write into, which becomes `target` if the block succeeds.

    An existing `target` stays until then, and is replaced: see `check_free`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    part.mkdir()
    try:
        yield part
        remove(target)
        os.replace(part, target)
    except BaseException:
        remove(part)
        raise


@contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """Provide the path of a file to write, which becomes `target` if the block succeeds.

    Raises:
        OSError: It cannot be written, or the target is a device, a pipe or a folder.
    """
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "no file, so it is not replaced", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    try:
        yield part
        os.replace(part, target)
    except BaseException:
        remove(part)
        raise


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, replacing an existing one.

    Raises:
        NoRoom: The disk is too full.
    """
    check_room(target.parent, len(content))
    with whole_file(target) as part:
        part.write_bytes(content)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or a folder, replacing an existing one.

    Raises:
        NoRoom: The disk is too full.
    """
    check_room(target.parent, bytes_of(source))
    if not source.is_dir():
        with whole_file(target) as part:
            shutil.copyfile(source, part)
        return
    with whole_folder(target) as part:
        shutil.copytree(source, part, dirs_exist_ok=True)


def restrict(path: Path) -> None:
    """Close a file or folder of ours to everybody but its owner, as far as that is for us to do.

    A folder of another user, or one that all users share, such as /tmp, stays as it is.
    """
    found = path.stat()
    wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
    shared = found.st_mode & stat.S_ISVTX
    if os.name == "nt" or shared or found.st_uid != os.geteuid():
        return
    if found.st_mode & 0o077:
        path.chmod(wanted)


def bytes_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def size(count: int) -> str:
    """Format a number of bytes with a decimal unit."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _part(target: Path) -> Path:
    """Return the path that `target` is written to, without leftovers of an earlier attempt."""
    part = target.with_name(f"{target.name}{PART}")
    remove(part)
    return part
