"""The membership attack on a run's documents: ROC curve, thresholds, misclassified documents.

The attack takes documents whose loss is below a threshold for members. Losses that are not finite
count as the highest.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.metrics.intervals import Interval, auc_interval
from unlearnlab.metrics.scores import PUSHED_TOO_FAR, STILL_REMEMBERED, Membership, mia_score

Side = Literal["member", "nonmember"]


@dataclass(frozen=True, slots=True)
class Rates:
    """True and false positive rates of a threshold."""

    threshold: float
    tpr: float
    """Share of members found, 0 to 1."""
    fpr: float
    """Share of unseen documents taken for members, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Misclassified:
    """A document on the wrong side of a threshold."""

    side: Side
    number: int
    """0-based, in the order of its file."""
    loss: float


@dataclass(frozen=True, slots=True)
class Attack:
    """The attack on one model."""

    losses: Membership
    auc: Interval
    reading: str

    @property
    def finite(self) -> tuple[float, ...]:
        """Return the losses that can be drawn."""
        return tuple(filter(math.isfinite, (*self.losses.member, *self.losses.nonmember)))


def auc_reading(auc: Interval) -> str:
    """Interpret the attack's AUC, in both directions.

    Above one half, low loss gives members away: they are still remembered. Below it, high loss
    does: unlearning itself shows. Only one half hides them.
    """
    span = f"AUC {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})"
    if auc.rows == 1:
        span = f"AUC {auc.value:.2f} (n = 1 on a side: no interval)"
    folded = f"MIA score {mia_score(auc.value):.2f}"
    right = max(auc.value, 1 - auc.value)
    if 0.5 in auc:
        return (
            f"{span}, {folded}: members and unseen documents cannot be told apart by their loss; "
            "one half lies within noise."
        )
    low = auc.value > 0.5
    clue, side = ("lower", "remembered") if low else ("higher", "pushed too far")
    strong = auc.value > STILL_REMEMBERED or auc.value < PUSHED_TOO_FAR
    much = "still" if strong and low else "clearly" if strong else "slightly"
    verdict = " Over-unlearned: the push itself gives them away." if strong and not low else ""
    return (
        f"{span}, {folded}: of a member and an unseen document, the one of {clue} loss is the "
        f"member in {right:.0%} of pairs. The forget documents are {much} {side}.{verdict}"
    )


def attack(losses: Membership) -> Attack:
    """Measure and interpret the attack on one model.

    Raises:
        ValueError: It cannot be made: a side has no documents, or a loss is not a number.
    """
    auc = auc_interval(losses)
    return Attack(losses, auc, auc_reading(auc))


def rates(losses: Membership, threshold: float) -> Rates:
    """Return the shares of members and of unseen documents with a loss below a threshold."""

    def share(side: Sequence[float]) -> float:
        return sum(loss < threshold for loss in side) / len(side)

    return Rates(threshold, share(losses.member), share(losses.nonmember))


def roc(losses: Membership) -> tuple[Rates, ...]:
    """Return the ROC curve: the rates at every threshold that changes them, in rising order."""
    member, other = (
        sorted(filter(math.isfinite, side)) for side in (losses.member, losses.nonmember)
    )
    sizes = len(losses.member), len(losses.nonmember)
    # The last threshold lies above all finite losses.
    steps = [*sorted({*member, *other}), math.inf]
    between = (
        Rates(step, bisect_left(member, step) / sizes[0], bisect_left(other, step) / sizes[1])
        for step in steps
    )
    return (*between, Rates(math.inf, 1.0, 1.0))


def best_threshold(losses: Membership) -> float:
    """Return the threshold that maximises |TPR - FPR| (Youden's J); 0 if no loss is finite.

    The members of an over-unlearned model lie above it.
    """
    known = [one for one in roc(losses) if math.isfinite(one.threshold)]
    best = max(known, key=lambda one: abs(one.tpr - one.fpr), default=None)
    if best is None:
        return 0.0
    # Halfway to the next lower loss: on a document itself, rounding would decide.
    below = [one.threshold for one in known if one.threshold < best.threshold]
    return (best.threshold + below[-1]) / 2 if below else best.threshold


def misclassified(losses: Membership, threshold: float, side: Side) -> tuple[Misclassified, ...]:
    """Return the documents that a threshold misclassifies, the farthest from it first."""
    of = losses.member if side == "member" else losses.nonmember
    found = [
        Misclassified(side, number, loss)
        for number, loss in enumerate(of)
        if (loss < threshold) is (side == "nonmember")
    ]

    def distance(one: Misclassified) -> float:
        return abs(one.loss - threshold) if math.isfinite(one.loss) else math.inf

    return tuple(sorted(found, key=distance, reverse=True))
