"""Tables read as the official script reads them: by pandas, with its idea of what is missing.

pandas takes an empty cell for missing, and NA, None, null and nan too; the script then compares
the text "nan". A column of digits alone becomes numbers and loses leading zeros. What was scored
officially was scored that way, so the same reader is used here.
"""

import difflib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from unlearnlab.metrics.official.findings import Finding, Part, Place, by_file


def _pandas() -> Any:
    # A second to import, which no other command should wait for.
    return import_module("pandas")


@dataclass(frozen=True, slots=True)
class Table:
    """All parts of one table, one below the other."""

    columns: dict[str, list[Any]]
    places: tuple[Place, ...]
    """Of each row."""
    faults: tuple[Finding, ...]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.places)


def missing(value: Any) -> bool:
    """Tell whether pandas read a cell as missing."""
    return value is None or value != value


def read(folder: Path, pattern: str, needed: Sequence[str], part: Part) -> Table:
    """Read every file of a pattern that has the columns needed.

    Args:
        folder: Of the script's output.
        pattern: Of the files, relative to it; one a process of the script.
        needed: Columns without which a file cannot be scored.
        part: What the files are for.
    """
    frames: list[Any] = []
    places: list[Place] = []
    faults: list[Finding] = []
    paths = sorted(folder.glob(pattern))
    if not paths:
        faults.append(Finding(part, f"no file {pattern} in {folder}"))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        frame, fault = _read_part(path, name, needed, part)
        if fault:
            faults.append(fault)
        else:
            frames.append(frame)
            places += [Place(name, i + 1) for i in range(len(frame))]
    if frames and not places:
        faults.append(Finding(part, f"{pattern} has no rows"))
    whole = _pandas().concat(frames, ignore_index=True) if frames else None
    columns = {} if whole is None else {str(name): whole[name].tolist() for name in whole.columns}
    return Table(columns, tuple(places), tuple(faults))


def _read_part(
    path: Path, name: str, needed: Sequence[str], part: Part
) -> tuple[Any, Finding | None]:
    try:
        frame = _frame(path)
    except OSError as error:
        return None, Finding(part, f"cannot be read: {error.strerror}", name)
    except UnicodeDecodeError as error:
        return None, Finding(part, f"is not UTF-8: byte {error.start} cannot be read", name)
    except ValueError as error:
        # pandas' own errors, of empty and of torn files, are ValueErrors.
        return None, Finding(part, f"is not a table: {str(error).strip()}", name)
    if frame.columns.has_duplicates:
        return None, Finding(part, "two columns have the same name", name)
    if not isinstance(frame.index, _pandas().RangeIndex):
        return None, Finding(part, "rows have more cells than the header has columns", name)
    return frame, _lacking(list(frame.columns), needed, name, part)


def _frame(path: Path) -> Any:
    with warnings.catch_warnings():
        # "mixed types": numbers among texts, which the script met as well.
        warnings.simplefilter("ignore")
        return _pandas().read_csv(path)


def _lacking(there: Sequence[str], needed: Sequence[str], name: str, part: Part) -> Finding | None:
    lacking = [column for column in needed if column not in there]
    if not lacking:
        return None
    near = difflib.get_close_matches(lacking[0], there, n=1)
    guess = f" Is it {near[0]!r}?" if near else ""
    listed = ", ".join(map(str, there))
    return Finding(part, f"is missing. The file has: {listed}.{guess}", name, ", ".join(lacking))


def numbers(
    table: Table, column: str, part: Part, *, blocks: bool
) -> tuple[list[float], tuple[Finding, ...]]:
    """Read a column of numbers, with what is wrong in it.

    Args:
        table: Of the files.
        column: Its name; a column that is not there holds no number at all.
        part: What the numbers are for.
        blocks: Whether one that is no number keeps the part from being scored.

    Returns:
        One float a row, nan where there is none, and the faults.
    """
    values = [_number(value) for value in table.columns.get(column, [])]
    raw = table.columns.get(column, [])
    kinds: dict[str, list[Place]] = {}
    for place, value, cell in zip(table.places, values, raw, strict=False):
        if not math.isfinite(value):
            kinds.setdefault(_said(value, cell), []).append(place)
    faults = tuple(
        Finding(part, what, file, column, rows, blocks)
        for what, places in kinds.items()
        for file, rows in by_file(places)
    )
    return values, faults


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _said(value: float, cell: Any) -> str:
    if missing(cell):
        return "holds no loss (nan, or empty)"
    return "the loss is infinite" if math.isinf(value) else f"{str(cell)[:40]!r} is not a number"
