"""What each further measure comes to on the evidence of a run, or why it was not taken.

Measures are taken on the forget rows, but for the one of retain rows, and attacks on the documents
of the membership attack.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from unlearnlab.data.datasets import Split
from unlearnlab.data.files import EMBEDDED
from unlearnlab.metrics.intervals import Interval, auc_interval, mean_interval
from unlearnlab.metrics.measures import (
    MEASURES,
    Measure,
    Needs,
    forget_quality,
    forget_truth_ratio,
    privleak,
    probability,
    reason_missing,
    reference_loss,
    retain_truth_ratio,
)
from unlearnlab.metrics.scores import Answer, Evidence, Membership, Record, mia_auc

RETRAINED = EMBEDDED / "retrained_measures.json"
RETRAINED_ANSWERS = EMBEDDED / "retrained_answers.json"

BEFORE_THEM = "the evidence of this run was kept before it was measured: run it again"
"""Why a measure is missing for which data and model would have done."""


class Retrained(Record):
    """What is known of the model retrained without the forget set, on one fold."""

    membership: Membership
    measures: Mapping[str, float]
    """By measure; those that need a retrained model aside."""
    truth_ratios: Mapping[str, float] = {}
    """By forget row, of those that have alternatives."""


@cache
def retrained_models(path: Path = RETRAINED) -> Mapping[str, Retrained]:
    """Read what is known of the embedded retrained model by fold; nothing if it is not there."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {fold: Retrained.model_validate(one) for fold, one in found.items()}


@cache
def retrained_answers(path: Path = RETRAINED_ANSWERS) -> Mapping[str, Evidence]:
    """Read what the embedded retrained model said by fold; nothing if it is not there."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {fold: Evidence.model_validate(one) for fold, one in found.items()}


def as_retrained(evidence: Evidence) -> Retrained:
    """Keep of a retrained model's evidence what measures compare with.

    Raises:
        ValueError: The attack was not measured.
    """
    if evidence.membership is None:
        raise ValueError("a retrained model is compared by its losses: there are none")
    found = {name: one.value for name, one in measured(evidence).items()}
    return Retrained(
        membership=evidence.membership,
        measures=found,
        truth_ratios=_truth_ratios(evidence, "forget"),
    )


def _probability(answer: Answer) -> float:
    # A loss that is not finite belongs to a model that gives the answer no chance.
    return probability([-answer.nll]) if math.isfinite(answer.nll) else 0.0


def _averaged(average: Callable[[Sequence[float]], float]) -> Callable[[Answer], float | None]:
    """Return what a row adds to an average of truth ratios."""
    return lambda row: None if row.truth_ratio is None else average([row.truth_ratio])


_BY_ROW: Mapping[str, tuple[Split, Callable[[Answer], float | None]]] = {
    "probability": ("forget", _probability),
    "exact_memorization": ("forget", lambda row: row.exact_memorization),
    "extraction_strength": ("forget", lambda row: row.extraction_strength),
    "forget_truth_ratio": ("forget", _averaged(forget_truth_ratio)),
    "retain_truth_ratio": ("retain", _averaged(retain_truth_ratio)),
}
"""The set whose rows a measure averages, and what each adds."""


def _truth_ratios(evidence: Evidence, split: Split) -> dict[str, float]:
    """Return the truth ratios of the rows of a set that have one."""
    return {
        row.row: row.truth_ratio
        for row in evidence.answers
        if row.split == split and row.truth_ratio is not None
    }


def measured(evidence: Evidence, retrained: Retrained | None = None) -> dict[str, Interval]:
    """Take every measure that the evidence allows.

    Args:
        evidence: Of one model.
        retrained: The model to compare with, on the same documents.

    Returns:
        By measure: its value with its bootstrap interval, over rows or documents.
    """
    found: dict[str, Interval] = {}
    for name, (split, take) in _BY_ROW.items():
        taken = [take(answer) for answer in evidence.answers if answer.split == split]
        if values := [value for value in taken if value is not None]:
            found[name] = mean_interval(values, name)
    for name, attack in evidence.attacks.items():
        found[name] = auc_interval(attack)
    return found | _compared(evidence.membership, retrained) | _quality(evidence, retrained)


def _quality(evidence: Evidence, retrained: Retrained | None) -> dict[str, Interval]:
    """Compare truth ratios with the retrained model's on the same rows. A p-value has no range."""
    ratios = _truth_ratios(evidence, "forget")
    if retrained is None or not ratios or not ratios.keys() <= retrained.truth_ratios.keys():
        return {}
    value = forget_quality(list(ratios.values()), [retrained.truth_ratios[row] for row in ratios])
    return {"forget_quality": Interval(value, value, value)}


def _compared(membership: Membership | None, retrained: Retrained | None) -> dict[str, Interval]:
    """Take what needs the retrained model's losses on the same documents."""
    if membership is None or retrained is None or not _same_documents(membership, retrained):
        return {}
    other = retrained.membership
    above = Membership(
        member=tuple(map(reference_loss, membership.member, other.member)),
        nonmember=tuple(map(reference_loss, membership.nonmember, other.nonmember)),
    )
    found = {"reference_loss": auc_interval(above)}
    base = mia_auc(other)
    if base < 1:
        auc = auc_interval(membership)
        # PrivLeak falls as the AUC rises: the ends of the interval change places.
        ends = (privleak(one, base) for one in (auc.value, auc.high, auc.low))
        found["privleak"] = Interval(*ends)
    return found


def _same_documents(membership: Membership, retrained: Retrained) -> bool:
    other = retrained.membership
    sizes = len(membership.member), len(membership.nonmember)
    return sizes == (len(other.member), len(other.nonmember))


@dataclass(frozen=True, slots=True)
class Taken:
    """One measure of a run."""

    measure: Measure
    before: Interval | None
    after: Interval | None
    retrained: float | None
    missing: str
    """Why it was not taken; empty if it was."""


def taken(
    before: Evidence, after: Evidence | None, retrained: Retrained | None
) -> tuple[Taken, ...]:
    """Lay out all measures of a run, those that could not be taken with the reason."""
    then = measured(before, retrained)
    now = measured(after, retrained) if after else {}
    gold: Mapping[str, float] = retrained.measures if retrained else {}
    there = _there(before, retrained)
    return tuple(
        Taken(
            measure=one,
            before=then.get(one.name),
            after=now.get(one.name),
            retrained=gold.get(one.name),
            missing=""
            if one.name in then or one.name in now
            else reason_missing(one, there) or BEFORE_THEM,
        )
        for one in MEASURES
    )


def _there(evidence: Evidence, retrained: Retrained | None) -> frozenset[Needs]:
    """Tell what measures have to go by."""
    found: set[Needs] = {"tokens"}
    if _truth_ratios(evidence, "forget"):
        found.add("paraphrases")
    if _truth_ratios(evidence, "retain"):
        found.add("retain paraphrases")
    if evidence.membership:
        found.add("documents")
    if retrained:
        found.add("retrained model")
    return frozenset(found)
