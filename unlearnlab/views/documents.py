"""Forget documents as the page and reports show them: which stand, and which carry the mean."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from unlearnlab.metrics.documents import (
    DocumentChange,
    DocumentState,
    by_document,
    counted,
)
from unlearnlab.metrics.scores import Evidence, scored_evidence
from unlearnlab.runs.progress import RunProgress
from unlearnlab.spec.run import RunSpec

Cell = tuple[DocumentState, str]
"""State of a document, and what a pointer over it tells."""

LISTED = 40
"""Documents of a table, those of which most remains first."""

DRAWN = 400
"""Documents that have a cell, those of which most remains first."""


@dataclass(frozen=True, slots=True)
class LiveDocuments:
    """The forget documents at the last probe."""

    step: int
    text: str
    cells: tuple[Cell, ...]


def live_documents(spec: RunSpec, progress: RunProgress) -> LiveDocuments | None:
    """Return the forget documents at the last probe; None if a run teaches them or has none."""
    probed = progress.probed
    if probed is None or not probed.documents or "forget" in spec.taught:
        return None
    of = probed.documents
    some = f"{len(of)} of {probed.of_documents}" if len(of) < probed.of_documents else f"{len(of)}"
    text = f"{some} at the start"
    if probed.step:
        found = counted([one.state for one in of], [one.rise for one in of])
        text = f"{some} at step {probed.step}: {found}"
    cells: tuple[Cell, ...] = tuple(
        (one.state, _told(one.number, one.loss - one.rise, one.loss, one.standing, one.rows))
        for one in of
    )
    return LiveDocuments(probed.step, text, cells)


def _told(number: int, before: float, after: float, standing: int, rows: int) -> str:
    # From an infinite loss and its rise, the loss at the start cannot be told.
    told = " → ".join(map(loss_words, (after,) if math.isnan(before) else (before, after)))
    unit = " nats per token" if math.isfinite(after) else ""
    return f"document {number}: loss {told}{unit}, {standing} of {rows} rows stand"


def loss_words(loss: float) -> str:
    """Write a loss for readers, who need not know what nan and inf are."""
    if math.isnan(loss):
        return "not a number"
    return f"{loss:.2f}" if math.isfinite(loss) else "infinite"


@dataclass(frozen=True, slots=True)
class Documents:
    """The forget documents of a scored run, those of which most remains first."""

    of: tuple[DocumentChange, ...]
    scored: bool
    """Whether the unlearned model was scored."""
    text: str
    """How many stand and how many carry the mean; empty before the unlearned model was scored."""

    @property
    def listed(self) -> tuple[DocumentChange, ...]:
        """Return those of the table."""
        return self.of[:LISTED]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return a cell for each document up to `DRAWN`, once the unlearned model was scored."""
        return tuple(
            (one.state, _told(one.number, one.loss_before, one.loss_after, one.standing, one.rows))
            for one in self.of[:DRAWN]
            if one.loss_after is not None
        )


def documents(
    before: Evidence | None,
    after: Evidence | None,
    picked: Collection[str] | None,
    tasks: Collection[str],
) -> Documents | None:
    """Compare the forget documents of a run; None without stored evidence or forget rows.

    Args:
        before: Evidence of the original model.
        after: Evidence of the unlearned model.
        picked: Ids of the forget rows that are judged; None judges all.
        tasks: Subtasks that were to be forgotten.
    """
    if before is None:
        return None
    last = scored_evidence(after, picked) if after else None
    found = by_document(scored_evidence(before, picked), last)
    found = tuple(one for one in found if one.task in tasks)
    if not found:
        return None
    scored = any(one.states for one in found)
    text = counted([one.state for one in found], [one.rise for one in found]) if scored else ""
    return Documents(found, scored, text)
