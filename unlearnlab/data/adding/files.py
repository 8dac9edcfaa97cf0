"""What kind a file really is, and its text: before anything in it is taken for data.

The content decides, the name only has to agree: a Parquet file called `.csv` is refused with its
right name, and a pickle is refused unread.
"""

import codecs
import zipfile
from collections.abc import Mapping
from pathlib import Path

from unlearnlab.data.adding.checks import Finding, Offender, excerpt, finding

MAX_BYTES = 1 << 28
"""Bytes of one file: 256 MiB."""

TEXT_KINDS: Mapping[str, tuple[str, ...]] = {
    "JSON": (".jsonl", ".json", ".ndjson"),
    "CSV": (".csv",),
    "TSV": (".tsv", ".tab"),
}

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")

SIGNATURES: Mapping[bytes, str] = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"{\\rtf": "an RTF document",
    b"\x7fELF": "a program",
}
"""How files of other kinds begin."""

PARQUET = b"PAR1"

ACCEPTED = "give JSONL, a JSON array, CSV, TSV or Parquet"


class SourceError(ValueError):
    """Something cannot be read or kept: which file or name, why, and what to do."""


def kind_of(path: Path) -> str:
    """Tell what a file is by its content: JSON, CSV, TSV or Parquet.

    Raises:
        SourceError: It is something else, or its name says so.
    """
    _refuse_place(path)
    with path.open("rb") as file:
        head = file.read(1024)
    suffix = path.suffix.lower()
    if found := _foreign(path, head):
        raise SourceError(f"{path.name}: {found}: {ACCEPTED}")
    if head.startswith(PARQUET):
        if suffix not in (".parquet", ".pq"):
            raise SourceError(
                f"{path.name}: a Parquet file under a false name: call it {path.stem}.parquet"
            )
        return "Parquet"
    if suffix in (".parquet", ".pq"):
        raise SourceError(f"{path.name}: no Parquet file, whatever its name says: {ACCEPTED}")
    for kind, suffixes in TEXT_KINDS.items():
        if suffix in suffixes:
            return kind
    raise SourceError(f"{path.name}: a name ending in {suffix or 'nothing'}: {ACCEPTED}")


def _refuse_place(path: Path) -> None:
    """Refuse what is no readable file of a size that one can work with."""
    if path.suffix.lower() in PICKLES:
        raise SourceError(f"{path.name}: a pickle can run code, so it is not opened: {ACCEPTED}")
    if path.is_dir():
        raise SourceError(f"{path.name}: a folder where a file is expected: name a file in it")
    if path.exists() and not path.is_file():
        raise SourceError(f"{path.name}: a device or a pipe where a file is expected")
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        why = _UNREADABLE.get(type(error), f"cannot be read: {error.strerror}")
        raise SourceError(f"{path.name}: {why}") from error
    if not size:
        raise SourceError(f"{path.name}: the file is empty: was it saved?")
    if size > MAX_BYTES:
        raise SourceError(
            f"{path.name}: {size / 2**20:,.0f} MiB, more than {MAX_BYTES >> 20} MiB: take a part"
        )


_UNREADABLE: Mapping[type[OSError], str] = {
    FileNotFoundError: "there is no such file: check the path",
    PermissionError: "permission denied: let this program's user read it",
}


def _foreign(path: Path, head: bytes) -> str:
    """Name a file's kind if it is none that has rows; empty if it may have."""
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a pickle by its content, which can run code"
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        return "a web page: was a login or an error page saved in place of the data?"
    if begin.startswith(b"<?xml"):
        return "an XML document"
    return ""


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged ZIP archive"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook: save the sheet as CSV UTF-8"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch pickle, which can run code"
    if any(name.startswith("word/") for name in names):
        return "a Word document"
    return "a ZIP archive: unpack it"


def text_of(path: Path, split: str) -> tuple[str, list[Finding]]:
    """Decode a file: UTF-8, or what its byte-order mark says. Lines in neither are findings.

    Raises:
        SourceError: It is no text, or none that can be told.
    """
    data = path.read_bytes()
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")
    try:
        if marked:
            return data.decode(marked), []
        _refuse_binary(path, data)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if marked:
            raise SourceError(
                f"{path.name}: broken {marked.upper()} at byte {error.start}: save it as UTF-8"
            ) from error
        return _mixed(data, split)
    # Some programs on a Mac still end lines as it did long ago.
    return text if "\n" in text else text.replace("\r", "\n"), []


def _refuse_binary(path: Path, data: bytes) -> None:
    if b"\0" not in data:
        return
    even, odd = data[::2].count(0), data[1::2].count(0)
    if max(even, odd) > len(data) // 8 and min(even, odd) < len(data) // 32:
        raise SourceError(
            f"{path.name}: looks like UTF-16 without a byte-order mark: save it as UTF-8"
        )
    raise SourceError(f"{path.name}: binary, not text: {ACCEPTED}")


_MARKS: Mapping[bytes, str] = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def _mixed(data: bytes, split: str) -> tuple[str, list[Finding]]:
    texts: list[str] = []
    bad: list[Offender] = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            texts.append(line.decode("latin-1"))
            bad.append(Offender(split, number, "", excerpt(texts[-1])))
    message = "{count} lines are not UTF-8, most likely Windows-1252 or Latin-1: save it as UTF-8"
    return "\n".join(texts), [finding("mixed encodings", "error", message, bad)]
