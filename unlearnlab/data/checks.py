"""Checks of rows: each finding has its count, its first rows and what to do about it.

Near-duplicates are found exactly, without comparing all pairs. A text is the set of its runs of
three words. Two sets that share a given part of themselves share one of their first few elements in
any common order (prefix filtering: Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007), so rare
elements come first and only texts that share one are compared.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def excerpt(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text[: 4 * EXCERPT].split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def summarize(
    kind: str, severity: Severity, message: str, rows: Sequence[Offender | Placed]
) -> list[Finding]:
    """Make one finding of the rows that have a problem; none without rows.

    Args:
        kind: Short name of the problem.
        severity: Whether it keeps the data from being added.
        message: Text in the plural; `{count}` becomes the number of rows, and a count of 1 turns
            the text into the singular.
        rows: All of them; the first `SHOWN` are listed.
    """
    if not rows:
        return []
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
    return [Finding(kind, severity, text, len(rows), tuple(shown))]


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
    kept, repeats = _first_and_repeats(rows, lambda one: (one.split, one.row.input, one.row.output))
    message = "{count} rows repeat an earlier row of the same set: only the first is kept"
    return kept, summarize("duplicate", "warning", message, repeats)


def _first_and_repeats(
    rows: Sequence[Placed], key: Callable[[Placed], object]
) -> tuple[list[Placed], list[Placed]]:
    """Split rows into the first with each key, and the others."""
    seen: set[object] = set()
    first: list[Placed] = []
    repeats: list[Placed] = []
    for one in rows:
        (repeats if key(one) in seen else first).append(one)
        seen.add(key(one))
    return first, repeats


def check(rows: Sequence[Placed], nonmembers: Sequence[str]) -> list[Finding]:
    """Check rows against each other and against the membership attack's non-members.

    Args:
        rows: Rows of all sets and folds.
        nonmembers: Documents that the model was not trained on.
    """
    _, same_id = _first_and_repeats(rows, lambda one: one.row.id)
    answers: dict[tuple[str, str], str] = {}
    conflicting = [
        one
        for one in rows
        if answers.setdefault((one.split, one.row.input), one.row.output) != one.row.output
        and one.row.kind == "qa"
    ]
    forget = [one for one in rows if one.split.startswith("forget")]
    retain = [one for one in rows if one.split.startswith("retain")]
    kept = {(one.row.input, one.row.output) for one in retain}
    both = [one for one in forget if (one.row.input, one.row.output) in kept]
    same = {one.row.id for one in both}
    others = [one for one in forget if one.row.id not in same]
    near = near_duplicates([one.row.text for one in others], [one.row.text for one in retain])
    seen = contained([one.row.text for one in forget], nonmembers)
    return [
        *summarize(
            "repeated id",
            "error",
            "{count} rows have the id of another row: make ids unique, or leave the column out",
            same_id,
        ),
        *summarize(
            "another answer",
            "warning",
            "{count} rows repeat the question of an earlier row of the same set, with another "
            "answer: keep one of the answers",
            conflicting,
        ),
        *summarize(
            "no truth ratio",
            "warning",
            "{count} rows have only one of 'paraphrased_answer' and 'perturbed_answer', a list of "
            "texts: no truth ratio is computed for them",
            [
                one
                for one in rows
                if bool(one.row.paraphrased_answer) != bool(one.row.perturbed_answer)
            ],
        ),
        *summarize(
            "right answer among the wrong",
            "warning",
            "{count} rows list the right answer in 'perturbed_answer': remove it there, or truth "
            "ratios mean little",
            [
                one
                for one in rows
                if {one.row.paraphrased_answer, one.row.output} & set(one.row.perturbed_answer)
            ],
        ),
        *summarize(
            "in forget and retain",
            "error",
            "{count} forget rows are in the retain set as well: remove them from one of the two",
            both,
        ),
        *summarize(
            "near-duplicate",
            "warning",
            "{count} forget rows are nearly the same as a retain row: forgetting one works against "
            "retaining the other",
            [others[index] for index in near],
        ),
        *summarize(
            "among the non-members",
            "warning",
            "{count} forget rows are in the non-members, which the membership attack treats as "
            "unseen: remove them there",
            [forget[index] for index in seen],
        ),
    ]


def too_long(rows: Sequence[Placed], context: int) -> list[Finding]:
    """Find rows that exceed a model's context, in tokens; a token counts as 4 characters."""
    return summarize(
        "longer than the context",
        "warning",
        f"{{count}} rows do not fit a context of {context:,} tokens, at {TOKEN_CHARS} characters "
        "per token: shorten them, or choose a model with a longer context",
        [
            one
            for one in rows
            if any(
                len(f"{one.row.input} {answer}") // TOKEN_CHARS > context
                for answer in (one.row.output, *one.row.alternatives)
            )
        ],
    )


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
    # Elements that share a bucket make the order a little worse, never the result wrong.
    counts = array("I", bytes(4 * _BUCKETS))
    for text in (*ours, *theirs):
        for element in _elements(text):
            counts[element % _BUCKETS] += 1

    def rarest(elements: set[int]) -> list[int]:
        """Return the elements of which any near-duplicate has at least one."""
        ordered = sorted(elements, key=lambda one: (counts[one % _BUCKETS], one))
        return ordered[: len(ordered) - math.ceil(SHARE * len(ordered)) + 1]

    index: dict[int, list[int]] = {}
    for place, text in enumerate(theirs):
        elements = _elements(text)
        for element in rarest(elements) if whole else elements:
            index.setdefault(element, []).append(place)
    for place, text in enumerate(ours):
        mine = _elements(text)
        if not whole and len(mine) < FEWEST:
            continue
        near = {other for element in rarest(mine) for other in index.get(element, ())}
        for other in map(_elements, (theirs[at] for at in near)):
            common = len(mine & other)
            if common / (len(mine) + len(other) - common if whole else len(mine)) >= SHARE:
                yield place
                break


def _elements(text: str) -> set[int]:
    words = _WORD.findall(text.casefold())
    if len(words) < RUN:
        return {hash(tuple(words))} if words else set()
    return {hash(run) for run in zip(words, words[1:], words[2:], strict=False)}
