"""What remains of single documents: a mean over the forget set can be carried by one of them.

A document's rows are judged by how far the loss of their expected answers rose, in nats per token,
so that one scale suits every model: a token's probability halved, or fell to a tenth. Live probes
and scored answers share these rules.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unlearnlab.data.datasets import document_of
from unlearnlab.metrics.scores import Answer, Evidence, Record

HALVED = math.log(2)
"""Rise of a row's loss up to which it stands: a token is at least half as probable as before."""

TENTH = math.log(10)
"""Rise of a row's loss from which it is gone: a token is a tenth as probable as before, or less. A
row whose loss is as high from the start was not known."""

RISEN = 0.1
"""Smallest mean rise of the loss, in nats per token, for which the documents that carry it are
named."""

GIVEN = 0.9
"""Row score from which an answer counts as still given, whatever its loss."""

RowState = Literal["stands", "fading", "gone", "unknown"]

DocumentState = Literal["stands", "partly", "gone", "unknown"]

TITLES: dict[DocumentState, str] = {
    "stands": "stands",
    "partly": "partly gone",
    "gone": "gone",
    "unknown": "not known before",
}


def row_state(before: float, after: float) -> RowState:
    """Judge a row by the loss of its expected answer, in nats per token; not finite counts as high.

    Args:
        before: Loss under the original model.
        after: Loss now.
    """
    if not before < TENTH:
        return "unknown"
    if after - before <= HALVED:
        return "stands"
    return "fading" if after - before < TENTH else "gone"


def document_state(rows: Iterable[RowState]) -> DocumentState:
    """Judge a document by its rows: it stands or is gone if all rows that were known are."""
    known = {state for state in rows if state != "unknown"}
    if not known:
        return "unknown"
    return "stands" if known == {"stands"} else "gone" if known == {"gone"} else "partly"


class DocumentProbe(Record):
    """One forget document in a live probe."""

    number: int
    """Its place among the forget documents, from 1: an id may be a name."""
    rows: int
    standing: int
    """Rows that stand."""
    loss: float
    """Mean loss of its rows, in nats per token."""
    rise: float
    """How far that lies above the start of the run."""
    state: DocumentState


def probed_document(number: int, before: Sequence[float], after: Sequence[float]) -> DocumentProbe:
    """Judge a document by the losses of its rows.

    Args:
        number: Its place among the forget documents, from 1.
        before: Losses at the start, in nats per token.
        after: Losses now.
    """
    states: list[RowState] = [row_state(*pair) for pair in zip(before, after, strict=True)]
    loss = statistics.fmean(after)
    return DocumentProbe(
        number=number,
        rows=len(states),
        standing=states.count("stands"),
        loss=loss,
        rise=loss - statistics.fmean(before),
        state=document_state(states),
    )


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One forget document before and after."""

    number: int
    """Its place among the forget documents, from 1."""
    document: str
    """Its id."""
    task: str
    prompt: str
    """Prompt of its first row."""
    rows: int
    states: tuple[RowState, ...]
    """States of its rows; empty before the unlearned model was scored."""
    loss_before: float
    """Mean loss of its rows, in nats per token."""
    loss_after: float | None
    score_before: float
    """Mean row score, 0 to 1: how much is recited or answered."""
    score_after: float | None

    @property
    def state(self) -> DocumentState:
        """Judge it by its rows."""
        return document_state(self.states)

    @property
    def standing(self) -> int:
        """Count the rows that stand."""
        return self.states.count("stands")

    @property
    def rise(self) -> float:
        """Return how far its loss rose; 0 before the unlearned model was scored."""
        return 0.0 if self.loss_after is None else self.loss_after - self.loss_before


def by_document(before: Evidence, after: Evidence | None) -> tuple[DocumentChange, ...]:
    """Compare the forget documents before and after, those of which most remains first.

    Args:
        before: Evidence of the original model, without rows that are not to be judged.
        after: Evidence of the unlearned model on the same rows, if it was scored.
    """
    later = {answer.row: answer for answer in after.answers} if after else {}
    groups: dict[str, list[Answer]] = {}
    for answer in before.answers:
        if answer.split == "forget":
            groups.setdefault(document_of(answer.row), []).append(answer)
    found = [
        _change(number, document, of, [later[one.row] for one in of if one.row in later])
        for number, (document, of) in enumerate(groups.items(), 1)
    ]
    return tuple(sorted(found, key=_what_remains))


def document_records(of: Sequence[DocumentChange]) -> list[dict[str, Any]]:
    """Return documents as JSON values, without their texts."""
    return [
        {
            "number": one.number,
            "document": one.document,
            "task": one.task,
            "rows": one.rows,
            "state": one.state if one.states else None,
            "standing": one.standing if one.states else None,
            "score": {"before": one.score_before, "after": one.score_after},
            "loss": {"before": _finite(one.loss_before), "after": _finite(one.loss_after)},
        }
        for one in of
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _change(
    number: int, document: str, before: Sequence[Answer], after: Sequence[Answer]
) -> DocumentChange:
    scored = len(after) == len(before)
    pairs = zip(before, after, strict=True) if scored else ()
    return DocumentChange(
        number=number,
        document=document,
        task=before[0].task,
        prompt=before[0].prompt,
        rows=len(before),
        states=tuple(_answer_state(*pair) for pair in pairs),
        loss_before=statistics.fmean(one.nll for one in before),
        loss_after=statistics.fmean(one.nll for one in after) if scored else None,
        score_before=statistics.fmean(one.score for one in before),
        score_after=statistics.fmean(one.score for one in after) if scored else None,
    )


def _answer_state(before: Answer, after: Answer) -> RowState:
    """Judge a row: an answer that is still given stands, and one that was given was known."""
    given = before.score >= GIVEN
    if given and after.score >= GIVEN:
        return "stands"
    state = row_state(before.nll, after.nll)
    return "gone" if given and state == "unknown" else state


def _what_remains(one: DocumentChange) -> tuple[float, ...]:
    left = (one.score_before if one.score_after is None else one.score_after, -one.rise)
    known = one.state != "unknown" or not one.states
    return (-float(known), -one.standing / one.rows, *(-value for value in left))


def carriers(rises: Sequence[float]) -> int:
    """Count the documents that carry half of the rise in loss: the fewest that make it up.

    A rise that is not finite carries everything.

    Returns:
        0 where the loss rose by less than `RISEN` on average.
    """
    risen = sorted(
        (rise if rise == rise else math.inf for rise in rises if not rise <= 0), reverse=True
    )
    if risen and math.isinf(risen[0]):
        return sum(map(math.isinf, risen))
    if sum(risen) < RISEN * len(rises):
        return 0
    half, carried = sum(risen) / 2, 0.0
    for count, rise in enumerate(risen, 1):
        carried += rise
        if carried >= half:
            return count
    return 0


def counted(states: Iterable[DocumentState], rises: Sequence[float]) -> str:
    """Sum documents up in words: how many stand, and how many carry the mean."""
    found = Counter(states)
    words = {**TITLES, "stands": "stands" if found["stands"] == 1 else "stand"}
    told = ", ".join(f"{found[state]} {words[state]}" for state in TITLES if found[state])
    if not (carry := carriers(rises)):
        return told
    return f"{told}; half of the rise in loss comes from {carry} document{'s' * (carry > 1)}"


def standing(of: Sequence[DocumentProbe]) -> str:
    """Say in a few words how many documents are gone; empty where none was known or probed."""
    known = [one.state for one in of if one.state != "unknown"]
    return f"{known.count('gone')} of {len(known)} documents gone" if known else ""
