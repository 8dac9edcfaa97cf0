"""Checks of rows: each finding has its count, its first rows and what to do about it.

Near-duplicates are found exactly, without comparing all pairs. A text is the set of its runs of
three words. Two sets that share a given part of themselves share one of their first few elements in
any common order (prefix filtering: Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007), so rare
elements come first and only texts that share one are compared.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.data.datasets import Row

Severity = Literal["error", "warning"]

SHOWN = 20
"""Rows listed per finding."""

EXCERPT = 60
"""Longest excerpt, in characters."""

TOKEN_CHARS = 4
"""Approximate characters per token of English text, used where there is no tokenizer."""

RUN = 3
"""Consecutive words that make one element of a text's set."""

SHARE = 0.8
"""Share of common elements from which two texts count as near-duplicates."""

FEWEST = 8
"""Elements below which a text is too short to be looked for inside a document."""


class SourceError(ValueError):
    """Data cannot be read or saved. The message names the file, the reason and what to do."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One row that a finding lists."""

    split: str
    """Set and fold, such as `forget_train`."""
    line: int
    """Line of the row in its file, from 1."""
    id: str
    """Id from the file, else the generated one."""
    excerpt: str
    """Beginning of the text. It is personal data: show it only on demand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, however many rows have it."""

    kind: str
    severity: Severity
    """An error keeps the data from being added; a warning does not."""
    message: str
    count: int
    rows: tuple[Offender, ...] = ()
    """The first `SHOWN` rows."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row with its set and line."""

    split: str
    line: int
    row: Row

    @property
    def text(self) -> str:
        """Input and output as one text."""
        return f"{self.row.input} {self.row.output}"

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that a model reads for this row."""
        return (self.text, *(f"{self.row.input} {other}" for other in self.row.alternatives))


def excerpt(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text[: 4 * EXCERPT].split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def finding(
    kind: str, severity: Severity, message: str, rows: Sequence[Offender | Placed]
) -> Finding:
    """Make a finding from all rows that have the problem.

    Args:
        kind: Short name of the problem.
        severity: Whether it keeps the data from being added.
        message: Text in the plural; `{count}` becomes the number of rows, and a count of 1 turns
            the text into the singular.
        rows: All of them; the first `SHOWN` are listed.
    """
    text = message.format(count=f"{len(rows):,}")
    if len(rows) == 1:
        for many, one in _SINGULAR.items():
            text = text.replace(many, one)
    shown = (
        Offender(row.split, row.line, row.row.id, excerpt(row.row.input))
        if isinstance(row, Placed)
        else row
        for row in rows[:SHOWN]
    )
    return Finding(kind, severity, text, len(rows), tuple(shown))


_SINGULAR: Mapping[str, str] = {
    "1 rows are ": "1 row is ",
    "1 rows have ": "1 row has ",
    "1 rows do ": "1 row does ",
    "1 rows repeat ": "1 row repeats ",
    "1 rows list ": "1 row lists ",
    "1 forget rows are ": "1 forget row is ",
    "1 lines are not JSON objects": "1 line is not a JSON object",
    "1 lines are ": "1 line is ",
    "1 lines have ": "1 line has ",
    "them": "it",
}


def drop_duplicates(rows: Sequence[Placed]) -> tuple[list[Placed], list[Finding]]:
    """Keep the first of the rows of a set with equal texts, and report the others."""
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
    """Check rows against each other and against the membership attack's non-members.

    Args:
        rows: Rows of all sets and folds.
        nonmembers: Documents that the model was not trained on.
    """
    forget = [one for one in rows if one.split.startswith("forget")]
    retain = [one for one in rows if one.split.startswith("retain")]
    kept = {(one.row.input, one.row.output) for one in retain}
    both = [one for one in forget if (one.row.input, one.row.output) in kept]
    same = {one.row.id for one in both}
    others = [one for one in forget if one.row.id not in same]
    near = set(near_duplicates([one.text for one in others], [one.text for one in retain]))
    seen = set(contained([one.text for one in forget], nonmembers))
    return [
        *_repeated_ids(rows),
        *_conflicting_answers(rows),
        *_alternatives(rows),
        *_if_any(
            "in forget and retain",
            "error",
            "{count} forget rows are in the retain set as well: remove them from one of the two",
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
            "{count} forget rows are in the non-members, which the membership attack treats as "
            "unseen: remove them there",
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
    message = "{count} rows have the id of another row: make ids unique, or leave the column out"
    return _if_any("repeated id", "error", message, again)


def _conflicting_answers(rows: Sequence[Placed]) -> list[Finding]:
    first: dict[tuple[str, str], str] = {}
    others: list[Placed] = []
    for one in rows:
        answer = first.setdefault((one.split, one.row.input), one.row.output)
        if one.row.kind == "qa" and answer != one.row.output:
            others.append(one)
    message = (
        "{count} rows repeat the question of an earlier row of the same set, with another answer: "
        "keep one of the answers"
    )
    return _if_any("another answer", "warning", message, others)


def _alternatives(rows: Sequence[Placed]) -> list[Finding]:
    """Find rows whose truth ratio is undefined or meaningless."""
    pairs = [(one, one.row.paraphrased_answer, one.row.perturbed_answer) for one in rows]
    return [
        *_if_any(
            "no truth ratio",
            "warning",
            "{count} rows have only one of 'paraphrased_answer' and 'perturbed_answer', a list of "
            "texts: no truth ratio is computed for them",
            [one for one, right, wrong in pairs if bool(right) != bool(wrong)],
        ),
        *_if_any(
            "right answer among the wrong",
            "warning",
            "{count} rows list the right answer in 'perturbed_answer': remove it there, or truth "
            "ratios mean little",
            [one for one, right, wrong in pairs if {right, one.row.output} & set(wrong)],
        ),
    ]


def too_long(
    rows: Sequence[Placed], *, context: int, tokens: Callable[[str], int] | None = None
) -> Finding | None:
    """Find rows that exceed a model's context.

    Args:
        rows: Rows to check.
        context: The model's context, in tokens.
        tokens: Counts the tokens of a text; without it, a token counts as 4 characters.
    """
    count = tokens or (lambda text: len(text) // TOKEN_CHARS)
    long = [one for one in rows if max(map(count, one.texts)) > context]
    how = "" if tokens else f", at {TOKEN_CHARS} characters per token"
    message = (
        f"{{count}} rows do not fit a context of {context:,} tokens{how}: shorten them, or choose "
        "a model with a longer context"
    )
    found = _if_any("longer than the context", "warning", message, long)
    return found[0] if found else None


def _if_any(kind: str, severity: Severity, message: str, rows: Iterable[Placed]) -> list[Finding]:
    found = list(rows)
    return [finding(kind, severity, message, found)] if found else []


# Near-duplicates

# A character of a script without spaces is a word of its own.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")

_BUCKETS = 1 << 20


def near_duplicates(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the index of each of `ours` that is nearly the same as one of `theirs`.

    Nearly the same: a Jaccard index of at least `SHARE`, ignoring case and punctuation.
    """
    return _pairs(ours, theirs, whole=True)


def contained(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the index of each of `ours` that one of `theirs` contains to a share of `SHARE`.

    Texts of fewer than `FEWEST` elements are never yielded.
    """
    return _pairs(ours, theirs, whole=False)


def _pairs(ours: Sequence[str], theirs: Sequence[str], *, whole: bool) -> Iterator[int]:
    if not ours or not theirs:
        return
    rare_first = _Order((*ours, *theirs))
    index: dict[int, list[int]] = {}
    for place, text in enumerate(theirs):
        for element in rare_first.head(text) if whole else _elements(text):
            index.setdefault(element, []).append(place)
    for place, text in enumerate(ours):
        elements = _elements(text)
        if not whole and len(elements) < FEWEST:
            continue
        near = {other for element in rare_first.head(text) for other in index.get(element, ())}
        shares = (_share(elements, _elements(theirs[other]), whole=whole) for other in near)
        if any(share >= SHARE for share in shares):
            yield place


class _Order:
    """A common order of elements, rare ones first."""

    def __init__(self, texts: Sequence[str]) -> None:
        # Elements that share a bucket make the order a little worse, never the result wrong.
        self._counts = array("I", bytes(4 * _BUCKETS))
        for text in texts:
            for element in _elements(text):
                self._counts[element % _BUCKETS] += 1

    def head(self, text: str) -> list[int]:
        """Return the elements of which any near-duplicate has at least one."""
        elements = sorted(_elements(text), key=lambda one: (self._counts[one % _BUCKETS], one))
        return elements[: len(elements) - math.ceil(SHARE * len(elements)) + 1]


def _elements(text: str) -> set[int]:
    words = _WORD.findall(text.casefold())
    if len(words) < RUN:
        return {hash(tuple(words))} if words else set()
    return {hash(run) for run in zip(words, words[1:], words[2:], strict=False)}


def _share(ours: set[int], theirs: set[int], *, whole: bool) -> float:
    common = len(ours & theirs)
    return common / (len(ours) + len(theirs) - common if whole else len(ours))
