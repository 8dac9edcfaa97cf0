"""What is wrong with files of the official script, told by file, column and row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal["forget", "retain", "mia", "mmlu"]
"""What a fault keeps from being scored, or is about."""

NAMED = 5
"""Rows of a fault that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or one thing worth knowing, in the files."""

    part: Part
    what: str
    """A sentence without its full stop."""
    file: str = ""
    """Relative to the folder."""
    column: str = ""
    rows: tuple[int, ...] = ()
    """Counted from 1 at the first row under the header; a row may span several lines."""
    blocks: bool = True
    """Whether the part has no score because of it; else it is only noted."""

    def __str__(self) -> str:
        """Write file, column and rows before what was found."""
        places = [self.file, f"column {self.column}" if self.column else "", _rows(self.rows)]
        place = ", ".join(one for one in places if one)
        return f"{place}: {self.what}" if place else self.what


def _rows(rows: Sequence[int]) -> str:
    if not rows:
        return ""
    named = ", ".join(str(row) for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {named}{more}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row was read."""

    file: str
    row: int
    """From 1."""


def by_file(places: Iterable[Place]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Group rows by the file that they stand in."""
    rows: dict[str, list[int]] = {}
    for place in places:
        rows.setdefault(place.file, []).append(place.row)
    yield from ((file, tuple(found)) for file, found in rows.items())
