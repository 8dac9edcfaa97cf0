"""One file as a table of cells, each row with the line that it begins on."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from unlearnlab.data.adding.checks import Finding, Offender, excerpt, finding
from unlearnlab.data.adding.files import MAX_BYTES, SourceError, kind_of, text_of

MAX_ROWS = 100_000
"""Rows of one file: two sets of as many are read and checked in half a minute and 0.6 GB."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    """Cells by column: text, nothing, or what is neither."""
    lines: tuple[int, ...]
    """Where each row begins in the file, from 1; in Parquet, its number."""
    findings: tuple[Finding, ...] = field(default=())


def read_table(path: Path, split: str = "") -> Table:
    """Read a file of rows.

    Args:
        path: JSONL, a JSON array, CSV, TSV or Parquet.
        split: What the findings call it, such as `forget_train`.

    Raises:
        SourceError: It cannot be read at all.
    """
    kind = kind_of(path)
    try:
        if kind == "Parquet":
            return _parquet(path)
        text, findings = text_of(path, split)
        if kind == "JSON":
            rows = list(_bounded(_json_rows(path, text), path))
            table = _json_table(path, rows, split)
        else:
            table = _csv_table(path, text, split, tabs=kind == "TSV")
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be read: {error.strerror}") from error
    return Table(table.columns, table.rows, table.lines, (*findings, *table.findings))


def _bounded(rows: Iterator[Any], path: Path) -> Iterator[Any]:
    for count, row in enumerate(rows):
        if count == MAX_ROWS:
            raise SourceError(_too_many(path))
        yield row


def _too_many(path: Path) -> str:
    return (
        f"{path.name}: more than {MAX_ROWS:,} rows, which is far beyond what one run can work "
        "through: take a part"
    )


def _first_line(text: str) -> str:
    """Return the first line with anything in it, without the white space before it."""
    begin = re.search(r"\S", text)
    return next(_lines(text, begin.start() if begin else len(text)), "")


def _lines(text: str, begin: int = 0) -> Iterator[str]:
    """Yield lines with their ends, and no copy of all of them at once."""
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        yield text[begin:end]
        begin = end


# JSON

_Placed = tuple[int, Any]
"""A line, and what stands there: an object, or why it is none."""


def _json_rows(path: Path, text: str) -> Iterator[_Placed]:
    first = _first_line(text)
    if first.startswith("["):
        return _array(path, text)
    if not first.startswith("{"):
        raise SourceError(
            f"{path.name}: no JSON, whatever its name says: the first line begins with neither "
            "{ nor [; call a table with commas .csv"
        )
    if isinstance(whole := _decoded(first), dict) and not _by_column(whole):
        return _each_line(text)
    if isinstance(whole := _decoded(text), dict):
        if not _by_column(whole):
            raise SourceError(
                f"{path.name}: one object, no rows: give one object per line, or an array of them"
            )
        return _turned(whole)
    return _each_line(text)


def _each_line(text: str) -> Iterator[_Placed]:
    for number, line in enumerate(_lines(text), 1):
        if line.strip():
            yield number, _decoded(line)


def _array(path: Path, text: str) -> Iterator[_Placed]:
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
                f"{path.name}: the array breaks off or is no JSON at line {line}: save it again"
            ) from error
        yield line, value
        line += text.count("\n", end, at)


def _by_column(found: Mapping[str, Any]) -> bool:
    """Tell the layout that pandas writes by default: cells by row within each column."""
    cells: list[Any] = list(found.values())
    if not cells or not all(isinstance(column, dict) for column in cells):
        return False
    return all(column.keys() == cells[0].keys() for column in cells)


def _turned(columns: Mapping[str, Any]) -> Iterator[_Placed]:
    first = next(iter(columns.values()))
    for number, row in enumerate(first, 1):
        yield number, {name: cells[row] for name, cells in columns.items()}


def _decoded(text: str) -> Any:
    """Decode one JSON value; a `ValueError` in its place if it is none."""
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

# Numbers stay as they are written; NaN, which pandas writes for an empty cell, is none.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_nothing
)


def _json_table(path: Path, rows: Sequence[_Placed], split: str) -> Table:
    good = [(line, row) for line, row in rows if isinstance(row, dict)]
    bad = [(line, row) for line, row in rows if not isinstance(row, dict)]
    if not good:
        where = f"line {bad[0][0]} is no JSON object" if bad else "it has no rows"
        raise SourceError(f"{path.name}: {where}: give one object with input and output per line")
    findings = []
    if bad:
        message = "{count} lines are no JSON object: mend or remove them"
        offenders = [Offender(split, line, "", "") for line, _ in bad]
        findings = [finding("broken line", "error", message, offenders)]
    columns = tuple(dict.fromkeys(name for _, row in good for name in row))
    lines = tuple(line for line, _ in good)
    return Table(columns, tuple(row for _, row in good), lines, tuple(findings))


# CSV and TSV


def _csv_table(path: Path, text: str, split: str, *, tabs: bool) -> Table:
    first = _first_line(text)
    if first.startswith(("{", "[")):
        raise SourceError(f"{path.name}: JSON under a false name: call it {path.stem}.jsonl")
    separator = "\t" if tabs else max(",;\t", key=first.count)
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    placed = _bounded(_csv_rows(path, reader), path)
    _, header = next(placed, (0, None))
    if header is None:
        raise SourceError(f"{path.name}: it has no rows: the first line names the columns")
    header = [name.strip("\ufeff") for name in header]
    refuse_doubles(path, header)
    rows: list[Mapping[str, Any]] = []
    lines: list[int] = []
    bad: list[Offender] = []
    for line, cells in placed:
        if len(cells) == len(header):
            rows.append(dict(zip(header, cells, strict=True)))
            lines.append(line)
        else:
            bad.append(Offender(split, line, "", excerpt(separator.join(cells))))
    if not rows and not bad:
        raise SourceError(f"{path.name}: it has no rows below the names of its columns")
    findings = []
    if bad:
        message = f"{{count}} rows do not have {len(header)} cells: quote text with a separator"
        findings = [finding("wrong number of cells", "error", message, bad)]
    return Table(tuple(header), tuple(rows), tuple(lines), tuple(findings))


def _csv_rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{path.name}: the row that begins at line {begin} cannot be read ({error}): "
            "is a quote left open?"
        ) from error


def refuse_doubles(path: Path, names: Sequence[str]) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        SourceError: It has them.
    """
    doubles = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if doubles:
        raise SourceError(
            f"{path.name}: two columns are called {excerpt(doubles[0])!r}: rename one"
        )


# Parquet


def _parquet(path: Path) -> Table:
    try:
        with parquet.ParquetFile(path) as file:
            _refuse_size(path, file.metadata)
            refuse_doubles(path, file.schema_arrow.names)
            columns = tuple(file.schema_arrow.names)
            rows = file.read().to_pylist()
    except SourceError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise SourceError(
            f"{path.name}: a truncated or damaged Parquet file: copy or download it again"
        ) from error
    if not rows:
        raise SourceError(f"{path.name}: it has no rows")
    return Table(columns, tuple(rows), tuple(range(1, len(rows) + 1)))


def _refuse_size(path: Path, meta: Any) -> None:
    if meta.num_rows > MAX_ROWS:
        raise SourceError(_too_many(path))
    groups = range(meta.num_row_groups)
    if sum(meta.row_group(group).total_byte_size for group in groups) > MAX_BYTES:
        raise SourceError(f"{path.name}: more than {MAX_BYTES >> 20} MiB unpacked: take a part")
