"""What may be wrong with data: each finding with its count, its first rows and the way out."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Offender:
    """One row that a finding is about."""

    split: str
    """Set and fold, such as `forget_train`."""
    line: int
    """Where it stands in its file, from 1."""
    id: str
    """Its id as the file or, where that gives none, the program named it."""
    excerpt: str
    """The beginning of its text: personal, so shown only where it is asked for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, however many rows it concerns."""

    kind: str
    severity: Severity
    """An error keeps the data from being added; a warning does not."""
    message: str
    count: int
    rows: tuple[Offender, ...] = ()
    """The first of them."""
