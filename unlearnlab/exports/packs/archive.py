"""A zip from anywhere: nothing in it is read before its names, sizes and kinds are found sound."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from unlearnlab.data.files import size
from unlearnlab.exports.packs.format import (
    ENTRIES,
    FOLDER,
    MEMBER,
    RATIO,
    SWELLS,
    TEXT_BYTES,
    WEIGHTS,
    PackError,
)

_END, _END_BYTES = b"PK\x05\x06", 22
_END64, _END64_BYTES = b"PK\x06\x06", 56
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
"""The records that end a zip, and tell how large its directory is."""

_ENTRY_BYTES = 256
"""Of the directory for each file, at most."""

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
"""What Python's zipfile raises when a zip is not what it says."""


class Archive:
    """The files of a zip, all of them of kinds that a pack holds."""

    def __init__(self, opened: zipfile.ZipFile, found: Mapping[str, zipfile.ZipInfo]) -> None:
        self._zip = opened
        self._found = found

    @property
    def sizes(self) -> Mapping[str, int]:
        """Map the name of each file to its bytes once unpacked."""
        return {name: info.file_size for name, info in self._found.items()}

    def read(self, name: str) -> bytes:
        """Read a file of JSON.

        Raises:
            PackError: There is none, or it is damaged.
        """
        if name not in self._found:
            raise PackError(f"{name} is missing: the pack is not whole")
        try:
            return self._zip.read(self._found[name])
        except _BROKEN as error:
            raise _damaged(name, error) from error

    def copy(self, name: str, target: Path) -> None:
        """Unpack a file.

        Raises:
            PackError: It is damaged.
            OSError: It cannot be written.
        """
        with target.open("xb") as out:
            for part in self._parts(name):
                out.write(part)

    def _parts(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(self._found[name]) as source:
                while part := source.read(1 << 20):
                    yield part
        except _BROKEN as error:
            raise _damaged(name, error) from error


def _damaged(name: str, error: BaseException) -> PackError:
    return PackError(f"{name} cannot be unpacked ({error}): the file is damaged, fetch it again")


@contextmanager
def opened(path: Path) -> Generator[Archive]:
    """Open a zip.

    Raises:
        PackError: It is none, or holds what a pack does not.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            _check_directory(file)
            archive = stack.enter_context(zipfile.ZipFile(file))
            found = _sound(archive, path.stat().st_size)
        except (zipfile.BadZipFile, OSError) as error:
            raise PackError(f"{path.name} cannot be read as a pack: {_reason(error)}") from error
        yield Archive(archive, found)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _check_directory(file: IO[bytes]) -> None:
    """Look at the size of the directory before zipfile reads it all into memory.

    Only zips without a comment pass, and large ones only where the record of their directory lies
    right before its locator: some versions of zipfile read it there, others where the locator
    points, and this must have read the same.
    """
    end = file.seek(0, os.SEEK_END)
    record = end - _END_BYTES - _LOCATOR_BYTES - _END64_BYTES
    file.seek(max(0, record))
    tail = file.read()
    last = tail[-_END_BYTES:]
    if len(last) < _END_BYTES or last[:4] != _END or last[-2:] != b"\0\0":
        raise PackError("this is no zip, or none as `pack` writes it")
    directory = int(struct.unpack_from("<L", last, 12)[0])
    locator = tail[-_END_BYTES - _LOCATOR_BYTES : -_END_BYTES]
    if locator.startswith(_LOCATOR):
        place = int(struct.unpack_from("<Q", locator, 8)[0])
        if not tail.startswith(_END64) or place != record:
            raise PackError("this is no zip as `pack` writes it: its directory is elsewhere")
        directory = max(directory % 0xFFFFFFFF, int(struct.unpack_from("<Q", tail, 40)[0]))
    if directory > ENTRIES * _ENTRY_BYTES:
        raise PackError(f"the zip holds more files than a pack may, which is {ENTRIES}")
    file.seek(0)


def _sound(archive: zipfile.ZipFile, packed: int) -> Mapping[str, zipfile.ZipInfo]:
    """Look at every entry; folders are left out.

    Args:
        archive: The zip.
        packed: Its bytes.
    """
    entries = archive.infolist()
    if len(entries) > ENTRIES:
        raise PackError(f"the zip holds {len(entries)} files: a pack has at most {ENTRIES}")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in entries:
        name = info.orig_filename
        if info.is_dir() and not info.file_size and FOLDER.fullmatch(name):
            continue
        if problem := _problem(info):
            raise PackError(f"{name[:120]!r} {problem}")
        if name in found:
            raise PackError(f"{name!r} is in the zip twice")
        found[name] = info
    if (total := sum(info.file_size for info in found.values())) > max(SWELLS, RATIO * packed):
        raise PackError(f"the zip would swell from {size(packed)} to {size(total)}: no pack does")
    return found


def _problem(info: zipfile.ZipInfo) -> str:
    """Say why an entry must not be unpacked; empty if it may."""
    if not MEMBER.fullmatch(info.orig_filename) or info.filename != info.orig_filename:
        return "does not belong in a pack: it holds JSON and safetensors under names of its own"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device: a pack holds plain files"
    if info.flag_bits & 1:
        return "is encrypted: a pack is not"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that packs are not"
    if info.file_size > max(SWELLS, RATIO * info.compress_size):
        return f"would swell from {size(info.compress_size)} to {size(info.file_size)}"
    if info.file_size > TEXT_BYTES and not info.filename.endswith(WEIGHTS):
        return f"has {size(info.file_size)} of text: {size(TEXT_BYTES)} is the most"
    return ""
