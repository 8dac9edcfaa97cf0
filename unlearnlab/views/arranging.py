"""Which answers a reader sees, and in what order: filters, counts, sorting."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from unlearnlab.metrics.labels import OUTCOMES, Outcome
from unlearnlab.views.answers import AnswerRow

Show = Literal["forget", "others", "retain", "leaks", "damaged", "all"]
"""Which rows the table shows; "others" are forget rows that were not picked."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader asked to see."""

    show: Show = "forget"
    task: str = ""
    """Empty for all."""
    kind: str = ""
    """Empty for both."""
    text: str = ""
    """Words that must occur in the row."""
    labels: Collection[Outcome] = ()
    """Labels of which a row must have one; empty for all."""


def counts(rows: Iterable[AnswerRow]) -> Mapping[Show, int]:
    """Count the rows under each choice."""
    found: dict[Show, int] = dict.fromkeys(get_args(Show), 0)
    for row in rows:
        found["all"] += 1
        found[row.split if row.judged else "others"] += 1
        found["leaks"] += row.leaks
        found["damaged"] += row.damaged
    return found


def label_counts(rows: Iterable[AnswerRow], by: Filter) -> Mapping[Outcome, int]:
    """Count the rows that each label would show beside what else was asked for."""
    found = dict.fromkeys(OUTCOMES, 0)
    for row in chosen(rows, replace(by, labels=())):
        found[row.outcome] += 1
    return found


def chosen(rows: Iterable[AnswerRow], by: Filter) -> tuple[AnswerRow, ...]:
    """Return the rows that pass the filter."""
    words = by.text.lower().split()
    return tuple(
        row
        for row in rows
        if _shown(row, by.show)
        and by.task in ("", row.task)
        and by.kind in ("", row.kind)
        and (not by.labels or row.outcome in by.labels)
        and (not words or _says(row, words))
    )


def _shown(row: AnswerRow, show: Show) -> bool:
    if show == "leaks":
        return row.leaks
    if show == "damaged":
        return row.damaged
    return show in ("all", row.split if row.judged else "others")


def _says(row: AnswerRow, words: Sequence[str]) -> bool:
    texts = (row.row, row.prompt, row.expected, row.original, row.unlearned or "")
    said = " ".join(texts).lower()
    return all(word in said for word in words)


SortKey = Literal[
    "data",
    "prompt",
    "expected",
    "original",
    "unlearned",
    "label",
    "score",
    "score_before",
    "score_lost",
    "likelihood",
    "likelihood_before",
    "likelihood_lost",
]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

TEXTS: frozenset[SortKey] = frozenset({"prompt", "expected", "original", "unlearned", "label"})
"""What is first sorted from its start; numbers, from the highest."""


@dataclass(frozen=True, slots=True)
class Order:
    """How the rows are sorted."""

    key: SortKey = "data"
    """As the data have them, or by what."""
    descending: bool = False

    def pressed(self, key: SortKey) -> "Order":
        """Return the order after a click on a column: its own, the other way, the data's."""
        first = key not in TEXTS
        if self.key != key:
            return Order(key, first)
        return Order(key, not first) if self.descending == first else Order()


def in_order(rows: Sequence[AnswerRow], order: Order) -> Sequence[AnswerRow]:
    """Sort rows; what has no value comes last either way, and equals stay as they were.

    As long as the unlearned model was not scored, the original's scores stand in.
    """
    if order.key == "data":
        return rows[::-1] if order.descending else rows
    scored = any(row.unlearned is not None for row in rows)
    value = _VALUES[order.key if scored else _UNSCORED.get(order.key, order.key)]
    there = [row for row in rows if value(row) is not None]
    there.sort(key=value, reverse=order.descending)
    return [*there, *(row for row in rows if value(row) is None)]


_UNSCORED: Mapping[SortKey, SortKey] = {"score": "score_before", "likelihood": "likelihood_before"}

_VALUES: Mapping[SortKey, Callable[[AnswerRow], Any]] = {
    "prompt": lambda row: row.prompt.lower(),
    "expected": lambda row: row.expected.lower(),
    "original": lambda row: row.original.lower(),
    "unlearned": lambda row: None if row.unlearned is None else row.unlearned.lower(),
    "label": lambda row: OUTCOMES.index(row.outcome),
    "score": lambda row: row.unlearned_score,
    "score_before": lambda row: row.original_score,
    "score_lost": lambda row: row.score_lost,
    "likelihood": lambda row: row.unlearned_likelihood,
    "likelihood_before": lambda row: row.original_likelihood,
    "likelihood_lost": lambda row: row.likelihood_lost,
}
