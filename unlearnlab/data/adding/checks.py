"""What may be wrong with data: each finding with its count, its first rows and the way out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.data.adding.overlaps import alike, contained
from unlearnlab.data.datasets import Row

Severity = Literal["error", "warning"]

SHOWN = 20
"""Offending rows of a finding that are kept."""

EXCERPT = 60
"""Longest excerpt, in characters."""

TOKEN_CHARS = 4
"""Characters of a token of English text, roughly; for when there is no tokenizer to ask."""


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


@dataclass(frozen=True, slots=True)
class Placed:
    """A row, and where it stands."""

    split: str
    line: int
    row: Row

    @property
    def text(self) -> str:
        """The whole of it, as a document has it."""
        return f"{self.row.input} {self.row.output}"

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that a model reads of it."""
        return (self.text, *(f"{self.row.input} {other}" for other in self.row.alternatives))

    @property
    def offender(self) -> Offender:
        """The row as a finding shows it."""
        return Offender(self.split, self.line, self.row.id, excerpt(self.row.input))


def excerpt(text: str) -> str:
    """Cut a text to its beginning, on one line."""
    line = " ".join(text[: 4 * EXCERPT].split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def finding(
    kind: str, severity: Severity, message: str, rows: Sequence[Offender | Placed]
) -> Finding:
    """Make a finding of all its rows: `{count}` in the message becomes their number.

    "{count} rows are" is written as one row is, if there is one.
    """
    text = message.format(count=f"{len(rows):,}")
    if len(rows) == 1:
        for many, one in _SINGULAR.items():
            text = text.replace(many, one)
    shown = (row.offender if isinstance(row, Placed) else row for row in rows[:SHOWN])
    return Finding(kind, severity, text, len(rows), tuple(shown))


_SINGULAR: Mapping[str, str] = {
    "1 rows are ": "1 row is ",
    "1 rows have ": "1 row has ",
    "1 rows do ": "1 row does ",
    "1 rows ask what an earlier row ": "1 row asks what an earlier row ",
    ", and answer otherwise": ", and answers otherwise",
    "1 rows stand ": "1 row stands ",
    "1 rows repeat ": "1 row repeats ",
    "1 rows say ": "1 row says ",
    "1 rows ": "1 row ",
    "1 forget rows are ": "1 forget row is ",
    "1 forget rows ": "1 forget row ",
    "1 lines are ": "1 line is ",
    "1 lines have ": "1 line has ",
    "them": "it",
}


def without_doubles(rows: Sequence[Placed]) -> tuple[list[Placed], list[Finding]]:
    """Keep the first of rows with equal texts in one set, and tell which were left out."""
    kept: dict[tuple[str, str, str], Placed] = {}
    doubles: list[Placed] = []
    for one in rows:
        key = (one.split, one.row.input, one.row.output)
        if key in kept:
            doubles.append(one)
        else:
            kept[key] = one
    message = "{count} rows repeat an earlier row of the same set: only the first is kept"
    return list(kept.values()), _if_any("duplicate", "warning", message, doubles)


def check(rows: Sequence[Placed], nonmembers: Sequence[str]) -> list[Finding]:
    """Check rows that could be read against each other and against the attack's non-members.

    Args:
        rows: Of all sets and folds.
        nonmembers: Documents that the model is said never to have seen.
    """
    forget = [one for one in rows if one.split.startswith("forget")]
    retain = [one for one in rows if one.split.startswith("retain")]
    kept = {(one.row.input, one.row.output) for one in retain}
    both = [one for one in forget if (one.row.input, one.row.output) in kept]
    same = {one.row.id for one in both}
    others = [one for one in forget if one.row.id not in same]
    near = set(alike([one.text for one in others], [one.text for one in retain]))
    seen = set(contained([one.text for one in forget], nonmembers))
    return [
        *_repeated_ids(rows),
        *_answered_otherwise(rows),
        *_alternatives(rows),
        *_if_any(
            "in forget and retain",
            "error",
            "{count} forget rows are in the retain set as well: take them out of one of the two",
            both,
        ),
        *_if_any(
            "near-duplicate",
            "warning",
            "{count} forget rows are nearly the same as a retain row: forgetting one works against "
            "retaining the other",
            [one for index, one in enumerate(others) if index in near],
        ),
        *_if_any(
            "among the non-members",
            "warning",
            "{count} forget rows are among the non-members, which the attack takes for unseen: "
            "take them out there",
            [one for index, one in enumerate(forget) if index in seen],
        ),
    ]


def _repeated_ids(rows: Sequence[Placed]) -> list[Finding]:
    first: set[str] = set()
    again = []
    for one in rows:
        if one.row.id in first:
            again.append(one)
        first.add(one.row.id)
    message = "{count} rows have an id that another row has: make it their own, or leave ids out"
    return _if_any("repeated id", "error", message, again)


def _answered_otherwise(rows: Sequence[Placed]) -> list[Finding]:
    """Find questions that an earlier row of the set answers in another way."""
    first: dict[tuple[str, str], str] = {}
    others: list[Placed] = []
    for one in rows:
        answer = first.setdefault((one.split, one.row.input), one.row.output)
        if one.row.kind == "qa" and answer != one.row.output:
            others.append(one)
    message = (
        "{count} rows ask what an earlier row of the same set asks, and answer otherwise: keep one "
        "of the answers"
    )
    return _if_any("another answer", "warning", message, others)


def _alternatives(rows: Sequence[Placed]) -> list[Finding]:
    """Find rows whose truth ratio cannot be taken, or says nothing."""
    pairs = [(one, one.row.paraphrased_answer, one.row.perturbed_answer) for one in rows]
    return [
        *_if_any(
            "no truth ratio",
            "warning",
            "{count} rows have only one of 'paraphrased_answer' and 'perturbed_answer', a list of "
            "texts: no truth ratio is taken on them",
            [one for one, right, wrong in pairs if bool(right) != bool(wrong)],
        ),
        *_if_any(
            "right answer among the wrong",
            "warning",
            "{count} rows have the right answer among the wrong ones of 'perturbed_answer': take "
            "it out there, or truth ratios say little",
            [one for one, right, wrong in pairs if {right, one.row.output} & set(wrong)],
        ),
    ]


def too_long(
    rows: Sequence[Placed], *, context: int, tokens: Callable[[str], int] | None = None
) -> Finding | None:
    """Find rows that a model's context cannot hold.

    Args:
        rows: Any.
        context: Tokens that the model can take.
        tokens: Counts a text's; without it, a token counts as 4 characters.
    """
    count = tokens or (lambda text: len(text) // TOKEN_CHARS)
    long = [one for one in rows if max(map(count, one.texts)) > context]
    how = "" if tokens else f", at {TOKEN_CHARS} characters a token"
    message = (
        f"{{count}} rows do not fit a context of {context:,} tokens{how}: shorten them, or choose "
        "a model with a longer one"
    )
    found = _if_any("longer than the context", "warning", message, long)
    return found[0] if found else None


def _if_any(kind: str, severity: Severity, message: str, rows: Iterable[Placed]) -> list[Finding]:
    found = list(rows)
    return [finding(kind, severity, message, found)] if found else []
