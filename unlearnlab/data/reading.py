"""What a user gives becomes tables of cells: a file, typed facts, or the sets of a folder.

A file's content decides what it is, and its extension must agree: a Parquet file called `.csv` is
refused with its right name, and a pickle is refused unread. Each row keeps its line, so that every
finding can name it. Text formats are therefore read here and not by `datasets`, which knows no
lines, turns 1.50 into 1.5 and takes a missing key for null; Parquet goes through `datasets`.
"""

import codecs
import csv
import json
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from unlearnlab.data.checks import SHOWN, Finding, Offender, SourceError, excerpt, summarize
from unlearnlab.data.datasets import FOLDS, SPLITS, is_object
from unlearnlab.data.files import open_regular, read_regular

MAX_BYTES = 1 << 28
"""Largest file, in bytes: 256 MiB."""

MAX_ROWS = 100_000
"""Most rows of one file: two sets of as many are read and checked in half a minute and 0.6 GB."""

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
"""First bytes of file formats that hold no rows."""

PARQUET = b"PAR1"

ACCEPTED = "give JSONL, a JSON array, CSV, TSV or Parquet"

SUFFIXES = ("jsonl", "parquet", "json", "csv", "tsv")
"""Extensions of a set in a folder, preferred first: a line of text can be named."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file."""

    name: str
    """Name of the file."""
    split: str
    """Set and fold that findings name, such as `forget_train`."""
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    """Cells by column; a cell is text, None, or a value that is neither."""
    lines: tuple[int, ...]
    """Line on which each row begins, from 1; for Parquet, the row's number."""
    findings: tuple[Finding, ...] = field(default=())

    @classmethod
    def of(
        cls,
        name: str,
        split: str,
        columns: Iterable[str],
        rows: Sequence[tuple[int, Mapping[str, Any]]],
        findings: Sequence[Finding] = (),
    ) -> "Table":
        """Make a table of rows with their lines."""
        lines = tuple(line for line, _ in rows)
        cells = tuple(row for _, row in rows)
        return cls(name, split, tuple(columns), cells, lines, tuple(findings))


def read_table(path: Path, split: str = "") -> Table:
    """Read a file of rows.

    Args:
        path: JSONL, a JSON array, CSV, TSV or Parquet.
        split: Set and fold that findings name, such as `forget_train`.

    Raises:
        SourceError: The file cannot be read at all.
    """
    try:
        kind = _kind(path)
        if kind == "Parquet":
            return _parquet(path, split)
        text, findings = text_of(path, split)
        if kind == "JSON":
            table = _json_table(path, text, split)
        else:
            table = _csv_table(path, text, split, tabs=kind == "TSV")
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be read: {error.strerror}") from error
    return replace(table, findings=(*findings, *table.findings))


# Files


def _kind(path: Path) -> str:
    """Return a file's format by its content: JSON, CSV, TSV or Parquet.

    Raises:
        SourceError: It cannot be opened, has another format, or an extension that does not match.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise SourceError(f"{path.name}: a pickle can run code, so it is not opened: {ACCEPTED}")
    try:
        with open_regular(path) as file:
            head, size = file.read(1024), os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise SourceError(f"{excerpt(path.name)}: there is no such file: check the path") from error
    except PermissionError as error:
        raise SourceError(f"{path.name}: {_DENIED}") from error
    if not size:
        raise SourceError(f"{path.name}: the file is empty: was it saved?")
    if size > MAX_BYTES:
        raise SourceError(
            f"{path.name}: {size / 2**20:,.0f} MiB, more than {MAX_BYTES >> 20} MiB: {_TAKE_A_PART}"
        )
    if found := _foreign(path, head):
        raise SourceError(f"{path.name}: {found}: {ACCEPTED}")
    if head.startswith(PARQUET):
        if suffix not in (".parquet", ".pq"):
            raise SourceError(
                f"{path.name}: a Parquet file with another extension: rename it to "
                f"{path.stem}.parquet"
            )
        return "Parquet"
    if suffix in (".parquet", ".pq"):
        raise SourceError(f"{path.name}: not a Parquet file, despite its extension: {ACCEPTED}")
    for kind, suffixes in TEXT_KINDS.items():
        if suffix in suffixes:
            return kind
    raise SourceError(f"{path.name}: unsupported extension {suffix or '(none)'}: {ACCEPTED}")


_DENIED = "permission denied: make it readable for the user that runs unlearnlab"

_TAKE_A_PART = "give a part of it"


def _foreign(path: Path, head: bytes) -> str:
    """Name the format of a file that cannot hold rows; empty if it may hold them."""
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
    return "an XML document" if begin.startswith(b"<?xml") else ""


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


_MARKS: Mapping[bytes, str] = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def text_of(path: Path, split: str) -> tuple[str, list[Finding]]:
    """Decode a file as UTF-8 or as its byte-order mark says; undecodable lines are findings.

    Raises:
        SourceError: It is binary, or in an encoding that cannot be determined.
    """
    data = read_regular(path, MAX_BYTES)
    if marked := next((name for mark, name in _MARKS.items() if data.startswith(mark)), ""):
        try:
            return data.decode(marked), []
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path.name}: broken {marked.upper()} at byte {error.start}: save it as UTF-8"
            ) from error
    if b"\0" in data:
        even, odd = data[::2].count(0), data[1::2].count(0)
        if max(even, odd) > len(data) // 8 and min(even, odd) < len(data) // 32:
            raise SourceError(
                f"{path.name}: looks like UTF-16 without a byte-order mark: save it as UTF-8"
            )
        raise SourceError(f"{path.name}: binary, not text: {ACCEPTED}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        texts: list[str] = []
        bad: list[Offender] = []
        for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
            try:
                texts.append(line.decode())
            except UnicodeDecodeError:
                texts.append(line.decode("latin-1"))
                bad.append(Offender(split, number, "", excerpt(texts[-1])))
        message = (
            "{count} lines are not UTF-8, most likely Windows-1252 or Latin-1: save it as UTF-8"
        )
        return "\n".join(texts), summarize("mixed encodings", "error", message, bad)
    # Old Mac programs end lines with a carriage return alone.
    return text if "\n" in text else text.replace("\r", "\n"), []


def _first_line(text: str) -> str:
    """Return the first line that is not blank, without leading white space."""
    begin = re.search(r"\S", text)
    return next(_lines(text, begin.start() if begin else len(text)), "")


def _lines(text: str, begin: int = 0) -> Iterator[str]:
    """Yield lines with their ends, without a copy of the whole text."""
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _bounded(rows: Iterator[Any], path: Path) -> Iterator[Any]:
    for count, row in enumerate(rows):
        if count == MAX_ROWS:
            raise _too_many(path)
        yield row


def _too_many(path: Path) -> SourceError:
    return SourceError(f"{path.name}: more than {MAX_ROWS:,} rows in one file: {_TAKE_A_PART}")


def _refuse_repeated(path: Path, columns: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(columns).items() if count > 1 and name.strip()]
    if repeated:
        raise SourceError(
            f"{path.name}: two columns are called {excerpt(repeated[0])!r}: rename one"
        )


# JSON

_Numbered = tuple[int, Any]
"""A line, and its value: an object, or whatever stands there instead."""


def _json_table(path: Path, text: str, split: str) -> Table:
    good: list[tuple[int, Mapping[str, Any]]] = []
    bad: list[Offender] = []
    for line, value in _bounded(_json_rows(path, text), path):
        if is_object(value):
            good.append((line, value))
        else:
            bad.append(Offender(split, line, "", ""))
    if not good:
        where = f"line {bad[0].line} is not a JSON object" if bad else "it has no rows"
        raise SourceError(f"{path.name}: {where}: give one object with input and output per line")
    message = "{count} lines are not JSON objects: fix or remove them"
    columns = dict.fromkeys(name for _, row in good for name in row)
    return Table.of(
        path.name, split, columns, good, summarize("broken line", "error", message, bad)
    )


def _json_rows(path: Path, text: str) -> Iterator[_Numbered]:
    first = _first_line(text)
    if first.startswith("["):
        return _array(path, text)
    if not first.startswith("{"):
        raise SourceError(
            f"{path.name}: not JSON, despite its extension: the first line begins with neither "
            "{ nor [; rename a comma-separated table to .csv"
        )
    if is_object(whole := _decoded(first)) and not _by_column(whole):
        return _each_line(text)
    if is_object(whole := _decoded(text)):
        if not _by_column(whole):
            raise SourceError(
                f"{path.name}: one object, not rows: give one object per line, or an array of them"
            )
        return _transposed(whole)
    return _each_line(text)


def _each_line(text: str) -> Iterator[_Numbered]:
    for number, line in enumerate(_lines(text), 1):
        if line.strip():
            yield number, _decoded(line)


def _array(path: Path, text: str) -> Iterator[_Numbered]:
    """Read an array element by element, so that each has its line."""
    at, line = text.index("[") + 1, 1
    line += text.count("\n", 0, at)
    while True:
        end = at
        while end < len(text) and text[end] in " \t\r\n,":
            end += 1
        line += text.count("\n", at, end)
        if text[end : end + 1] == "]":
            return
        try:
            value, at = _DECODER.raw_decode(text, end)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{path.name}: the array is cut off or not JSON at line {line}: save it again"
            ) from error
        yield line, value
        line += text.count("\n", end, at)


def _by_column(found: Mapping[str, Any]) -> bool:
    """Recognise the default layout of pandas: an object per column, with cells by row."""
    cells: list[Any] = list(found.values())
    if not cells or not all(isinstance(column, dict) for column in cells):
        return False
    return all(column.keys() == cells[0].keys() for column in cells)


def _transposed(columns: Mapping[str, Any]) -> Iterator[_Numbered]:
    first = next(iter(columns.values()))
    for number, row in enumerate(first, 1):
        yield number, {name: cells[row] for name, cells in columns.items()}


def _decoded(text: str) -> Any:
    """Decode one JSON value; return a `ValueError` if it is invalid."""
    try:
        return _DECODER.decode(text.strip())
    except RecursionError:
        return ValueError("nested too deeply")
    except ValueError as error:
        return error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


_nothing: Callable[[str], None] = lambda _: None  # noqa: E731

# Numbers stay as they are written; NaN, which pandas writes for an empty cell, becomes None.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_nothing
)


# CSV and TSV


def _csv_table(path: Path, text: str, split: str, *, tabs: bool) -> Table:
    first = _first_line(text)
    if first.startswith(("{", "[")):
        raise SourceError(
            f"{path.name}: JSON with another extension: rename it to {path.stem}.jsonl"
        )
    separator = "\t" if tabs else max(",;\t", key=first.count)
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    uneven: list[Offender] = []
    numbered = _bounded(_csv_rows(path, reader, uneven), path)
    _, header = next(numbered, (0, None))
    if header is None:
        raise SourceError(f"{path.name}: it has no rows: the first line must name the columns")
    header = [name.strip("\ufeff") for name in header]
    _refuse_repeated(path, header)
    good: list[tuple[int, Mapping[str, Any]]] = []
    for line, cells in numbered:
        if len(cells) == len(header):
            good.append((line, dict(zip(header, cells, strict=True))))
        else:
            uneven.append(Offender(split, line, "", excerpt(separator.join(cells))))
    if not good and not uneven:
        raise SourceError(f"{path.name}: it has no rows below the column names")
    message = (
        f"{{count}} rows do not have {len(header)} cells: put quotes around text that contains "
        "the separator"
    )
    return Table.of(
        path.name, split, header, good, summarize("wrong number of cells", "error", message, uneven)
    )


def _csv_rows(
    path: Path, reader: Any, uneven: Sequence[Offender]
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not blank, with the line on which each begins.

    Raises:
        SourceError: A quote is left open; `uneven` are the rows found bad until then.
    """
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        lines = ", ".join(str(one.line) for one in uneven[:SHOWN])
        also = f" Another number of cells than the first line: line {lines}." if lines else ""
        raise SourceError(
            f"{path.name}: the row that begins at line {begin} cannot be read ({error}): "
            f"is a quote left open?{also}"
        ) from error


# Parquet


def _parquet(path: Path, split: str) -> Table:
    """Read a Parquet file with `datasets`, once its metadata show that it fits."""
    # Loaded late: that takes half a second.
    library: Any = import_module("datasets")
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            meta, schema = file.metadata, file.schema_arrow
        if meta.num_rows > MAX_ROWS:
            raise _too_many(path)
        sizes = (meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
        if sum(sizes) > MAX_BYTES:
            raise SourceError(
                f"{path.name}: more than {MAX_BYTES >> 20} MiB unpacked: {_TAKE_A_PART}"
            )
        _refuse_repeated(path, schema.names)
        if not meta.num_rows:
            raise SourceError(f"{path.name}: it has no rows")
        # `datasets` has no type for maps. Without metadata it finds no pictures or sounds, which it
        # would decode or fetch.
        known = arrow.schema([one for one in schema if "map<" not in str(one.type)])
        with TemporaryDirectory(prefix="unlearnlab-") as folder:
            # The library takes * and [ in a path for patterns and :: for an address, and it copies
            # what it reads into its cache.
            plain = Path(folder) / "rows.parquet"
            try:
                plain.symlink_to(path.absolute())
            except OSError:  # Windows asks for a privilege.
                shutil.copyfile(path, plain)
            found = library.Dataset.from_parquet(
                str(plain),
                features=library.Features.from_arrow_schema(known),
                columns=known.names,
                batch_size=MAX_ROWS,
                cache_dir=folder,
                keep_in_memory=True,
            )
            rows: list[dict[str, Any]] = found.with_format("arrow")[:].to_pylist()
    except SourceError:
        raise
    except (
        arrow.ArrowException,
        library.exceptions.DatasetsError,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        raise SourceError(
            f"{path.name}: a truncated or damaged Parquet file: copy or download it again"
        ) from error
    return Table.of(path.name, split, known.names, list(enumerate(rows, 1)))


# Typed facts

# The separator that is least likely to be part of a question comes first.
_SEPARATORS = tuple(map(re.compile, (r"\t+", r"\|", r"->|=>|→", r"(?<=\?)\s+", r"\s=\s")))


def typed_table(text: str, split: str) -> Table:
    """Read typed lines as rows of `input` and `output`.

    Args:
        text: One fact per line: question and answer, separated by a tab, `|`, `->`, or `=` between
            spaces, else by the question mark. Blank lines are skipped.
        split: Set and fold that findings name, such as `forget_train`.

    Raises:
        SourceError: There is no line.
    """
    good: list[tuple[int, Mapping[str, Any]]] = []
    bad: list[Offender] = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = (one.split(line.strip(), maxsplit=1) for one in _SEPARATORS)
        question, *answer = next((found for found in parts if len(found) > 1), [line])
        if question.strip() and answer and answer[0].strip():
            good.append((number, {"input": question.strip(), "output": answer[0].strip()}))
        elif line.strip():
            bad.append(Offender(split, number, "", excerpt(line)))
    if not good and not bad:
        raise SourceError("nothing was typed: write a question and its answer on each line")
    message = "{count} lines have no answer: put a | between question and answer"
    return Table.of(
        "typed", split, ("input", "output"), good, summarize("no answer", "error", message, bad)
    )


# Folders


def find_sets(folder: Path) -> Mapping[str, tuple[Path, ...]]:
    """Find the sets of a folder: in the task's layouts, LUME's, or this program's own.

    Returns:
        Files by set and fold, such as `forget_train`; several if the set is in parts.

    Raises:
        SourceError: It is not a folder, cannot be read, or has no forget set.
    """
    if not folder.is_dir():
        why = "not a folder" if folder.exists() else "there is no such folder"
        raise SourceError(f"{folder.name}: {why}: give one with forget and retain files")
    try:
        inside = [one for one in sorted(folder.iterdir()) if one.is_dir()]
        bases = (folder, folder / "data", *inside)
        return next(found for base in bases if "forget_train" in (found := _sets(base)))
    except PermissionError as error:
        raise SourceError(f"{folder.name}: {_DENIED}") from error
    except StopIteration:
        raise SourceError(
            f"{folder.name}: no forget set in this folder: it needs forget.jsonl or "
            "forget_train.jsonl (or .parquet), at the top or in data/"
        ) from None


def _sets(base: Path) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for split in SPLITS:
        for fold in FOLDS:
            places = [(base, f"{split}_{fold}"), (base / fold, split)]
            if fold == "train":
                places += [(base, split), (base / split, split), (base / split, f"{split}_train")]
            for place, stem in places:
                if files := _files(place, stem):
                    found[f"{split}_{fold}"] = files
                    break
    return found


def _files(place: Path, stem: str) -> tuple[Path, ...]:
    """Return the files of one set: a single one, or all its numbered parts."""
    if not place.is_dir():
        return ()
    for suffix in SUFFIXES:
        if (single := place / f"{stem}.{suffix}").exists():
            return (single,)
        parts = sorted(place.glob(f"{stem}-*-of-*.{suffix}"))
        if parts:
            count = re.search(r"-of-0*(\d+)\.", parts[0].name)
            if count and int(count[1]) != len(parts):
                raise SourceError(
                    f"{parts[0].name}: {len(parts)} of {count[1]} parts are here: "
                    "download the others as well"
                )
            return tuple(parts)
    return ()


def read_documents(path: Path) -> tuple[str, ...]:
    """Read documents of the membership attack.

    Raises:
        SourceError: The file cannot be read, or a line has no text.
    """
    table = read_table(path)
    if table.findings:
        raise SourceError(f"{path.name}: {table.findings[0].message}")
    texts = tuple(row.get("document") for row in table.rows)
    bad = next((n for n, text in enumerate(texts) if not isinstance(text, str) or not text), None)
    if bad is not None:
        raise SourceError(
            f"{path.name}: line {table.lines[bad]} has no text under 'document': add it"
        )
    return tuple(str(text) for text in texts)


def read_questions(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read a utility test in MMLU's layout; empty if there is no such file.

    Raises:
        SourceError: It has another layout.
    """
    if not path.is_file():
        return ()
    table = read_table(path)
    needed = {"question", "subject", "choices", "answer"}
    if table.findings or not all(needed <= row.keys() for row in table.rows):
        raise SourceError(
            f"{path.name}: each line needs question, subject, choices and answer: fix it, or "
            "remove the file"
        )
    for line, row in zip(table.lines, table.rows, strict=True):
        options: Any = row["choices"]
        answer = str(row["answer"])
        count = len(cast("list[object]", options)) if isinstance(options, list) else 0
        if answer not in map(str, range(count)):
            raise SourceError(
                f"{path.name}: line {line}: the answer {excerpt(answer)!r} is not the place of "
                "one of its choices, counted from 0: write it so"
            )
    # The reader leaves numbers as text.
    return tuple({**row, "answer": int(row["answer"])} for row in table.rows)
