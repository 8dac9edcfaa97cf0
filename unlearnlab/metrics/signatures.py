"""Numbers that betray how an official score came about: a wreck, a constant letter, no effect.

The mean of three parts hides its parts: a destroyed model scores about 0.4, for the membership
attack finds nothing in noise. The thresholds by which an official score is doubted are here, but
for the share of distinct outputs: that is the verdicts'.
"""

from collections.abc import Mapping

MMLU_GATE_7B = 0.371
"""The task ranks no 7B model below this MMLU accuracy: 75% of the untouched model's 0.495."""

LETTER_SHARES: Mapping[str, float] = {
    "A": 3222 / 14042,
    "B": 3462 / 14042,
    "C": 3582 / 14042,
    "D": 3776 / 14042,
}
"""MMLU accuracy of a model that always answers one letter: how often each is right in the test."""

LETTER_TOLERANCE = 0.002
"""An accuracy this near to a letter's share looks like that letter."""

WRECK_MIA = 0.8
"""Collapse: the aggregate is zero and the MIA score is above this."""

UNTOUCHED_TERM = 0.06
"""No effect: forget terms are below this (an untouched model has about 0). Of an official score
every one is; of a run, whose utility and data are known as well, their mean (see `verdicts`)."""

UNTOUCHED_AUC = 0.98
"""No effect: the attack's AUC is above this."""


def constant_letter(mmlu: float, tolerance: float = LETTER_TOLERANCE) -> str:
    """Name the letter that a model may always answer, given its MMLU accuracy; empty if none.

    A model at chance can come as near: this is a hint, and the predictions decide.

    Args:
        mmlu: Accuracy, 0 to 1.
        tolerance: How near to a letter's share counts as that letter.
    """
    letter = min(LETTER_SHARES, key=lambda one: abs(LETTER_SHARES[one] - mmlu))
    return letter if abs(LETTER_SHARES[letter] - mmlu) <= tolerance else ""


def looks_collapsed(task_aggregate: float, mia_score: float) -> bool:
    """Tell whether a good MIA score comes with an aggregate of zero: nothing is left to attack."""
    return task_aggregate == 0 and mia_score > WRECK_MIA


def looks_untouched(terms: Mapping[str, float], mia_auc: float) -> bool:
    """Tell whether nothing was unlearned: forget rows recited, members told apart.

    Args:
        terms: By `split/task/kind`, as `metrics.terms` makes them.
        mia_auc: Of the loss attack, not folded.
    """
    forget = [value for key, value in terms.items() if key.startswith("forget")]
    return bool(forget) and max(forget) < UNTOUCHED_TERM and mia_auc > UNTOUCHED_AUC
