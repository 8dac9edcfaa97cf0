"""Writing what is taken away: into a folder, or into one file for a browser."""

import io
import zipfile
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from unlearnlab.data.files import bytes_of, check_room, copy_whole, whole_folder, write_whole
from unlearnlab.exports.kinds import Content


def write(found: Mapping[str, Content], out: Path) -> list[Path]:
    """Write files into a folder, each as a whole or not at all, and a sub-folder likewise.

    Names carry the run's id, so what has one already is an earlier copy and is replaced.

    Args:
        found: What to write, by path in the folder.
        out: The folder. It is made.

    Returns:
        The files and sub-folders.

    Raises:
        NoRoom: The disk has too little space.
        OSError: The folder cannot be written.
    """
    check_room(out, total(found))
    written: list[Path] = []
    for top, paths in groupby(found, key=lambda path: path.split("/")[0]):
        members = list(paths)
        if members == [top]:
            _put(found[top], out / top)
        else:
            with whole_folder(out / top) as part:
                for path in members:
                    _put(found[path], part / path.partition("/")[2])
        written.append(out / top)
    return written


def packed(found: Mapping[str, Content]) -> tuple[str, bytes]:
    """Put files into one: itself if there is one, else an archive called as their folder."""
    if len(found) == 1:
        ((name, content),) = found.items()
        return name, _read(content)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        for path, content in found.items():
            into.writestr(path, _read(content))
    return f"{next(iter(found)).split('/')[0]}.zip", archive.getvalue()


def in_folder(folder: Path) -> Mapping[str, Content]:
    """Map the files of a folder, by path from where it lies."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder.parent).as_posix(): path for path in paths}


def total(found: Mapping[str, Content]) -> int:
    """Count the bytes of files."""
    return sum(_size(content) for content in found.values())


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else bytes_of(content)


def _read(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _put(content: Content, target: Path) -> None:
    if isinstance(content, bytes):
        write_whole(target, content)
    else:
        copy_whole(content, target)
