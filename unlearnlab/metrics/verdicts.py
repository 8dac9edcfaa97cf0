"""Judge a run by its scores: one word, with its evidence.

A mean of three parts hides the parts: a destroyed model scores about 0.4, because the membership
attack finds nothing in noise. All thresholds for doubting a score or judging a run are here.
A verdict covers these probes only: "forgotten" means suppressed under them, never erased.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.data.datasets import SPLITS, Kind, Split
from unlearnlab.metrics.scores import (
    CHANCE,
    PUSHED_TOO_FAR,
    STILL_REMEMBERED,
    Answer,
    Picked,
    Scores,
    attack_reading,
    reproduced,
    task_aggregate,
)

# ---- degenerate scores: collapse, a constant letter, no effect -----------------------------------

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

COLLAPSED_MIA = 0.8
"""Collapse: the aggregate is zero and the MIA score is above this."""

UNTOUCHED_TERM = 0.06
"""No effect: forget terms are below this (an untouched model has about 0). For an official score
every one of them; for a run, whose utility and data are known as well, their mean."""

UNTOUCHED_AUC = 0.98
"""No effect: the attack's AUC is above this."""


def constant_letter(mmlu: float, tolerance: float = LETTER_TOLERANCE) -> str:
    """Name the letter that a model may always answer, given its MMLU accuracy; empty if none.

    A model at chance can come as near: this is a hint; only the predictions prove it.

    Args:
        mmlu: Accuracy, 0 to 1.
        tolerance: Largest difference from the letter's share.
    """
    letter = min(LETTER_SHARES, key=lambda one: abs(LETTER_SHARES[one] - mmlu))
    return letter if abs(LETTER_SHARES[letter] - mmlu) <= tolerance else ""


def looks_collapsed(task_aggregate: float, mia_score: float) -> bool:
    """Tell whether a good MIA score comes with an aggregate of zero: nothing is left to attack."""
    return task_aggregate == 0 and mia_score > COLLAPSED_MIA


def looks_untouched(terms: Mapping[str, float], mia_auc: float) -> bool:
    """Tell whether nothing was unlearned: forget rows recited, members recognised.

    Args:
        terms: Terms by `split/task/kind`, from `scores.terms`.
        mia_auc: AUC of the loss attack, not folded.
    """
    forget = [value for key, value in terms.items() if key.startswith("forget")]
    return bool(forget) and max(forget) < UNTOUCHED_TERM and mia_auc > UNTOUCHED_AUC


# ---- knowledge: what there is to forget ----------------------------------------------------------

RECITED = 0.9
"""A completion of this ROUGE-L recall is recited: word for word, or nearly so."""

NEVER_KNEW = 0.05
"""Never knew: no more than this share of the rows is known, the bound on a retrained model."""

KnowledgeKind = Literal["knows", "knows_some", "never_knew"]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """How many of some rows a model knows."""

    questions: tuple[int, int]
    """Questions answered, of those asked; the answer may stand within a sentence."""
    texts: tuple[int, int]
    """Completions recited, of those begun."""

    @property
    def known(self) -> int:
        """Return the number of known rows."""
        return self.questions[0] + self.texts[0]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.questions[1] + self.texts[1]

    @property
    def kind(self) -> KnowledgeKind:
        """Classify the share of known rows by `NEVER_KNEW` and `MEMORISED`."""
        share = self.known / self.rows
        if share <= NEVER_KNEW:
            return "never_knew"
        return "knows" if share >= MEMORISED else "knows_some"

    @property
    def words(self) -> str:
        """Say in a sentence what is known, and what follows for unlearning."""
        counts = {"questions answered": self.questions, "texts recited": self.texts}
        told = ", ".join(f"{known} of {of} {what}" for what, (known, of) in counts.items() if of)
        return {
            "knows": f"The model knows these rows: {told}.",
            "knows_some": f"The model knows some of these rows: {told}. The others cannot be "
            "forgotten, and flatter every score of forgetting: leave them out, or teach them.",
            "never_knew": f"The model does not know these rows: {told}. There is nothing to "
            "forget: teach them first.",
        }[self.kind]


def row_known(answer: Answer) -> bool:
    """Tell whether a model knows a row: it gives the whole answer, or recites the text.

    More lenient than the official exact match: an answer within a sentence is known all the same.
    """
    recited = answer.score >= (RECITED if answer.kind == "sc" else 1)
    return recited or reproduced(answer.expected, answer.generated)


def knows(answers: Iterable[Answer]) -> Knowledge:
    """Ask whether a model knows some rows, before they are unlearned.

    Args:
        answers: The model's answers to the rows, from `evaluate` or a check before training.

    Raises:
        ValueError: There are none.
    """
    found: dict[Kind, list[bool]] = {"qa": [], "sc": []}
    for answer in answers:
        found[answer.kind].append(row_known(answer))
    if not any(found.values()):
        raise ValueError("knowledge needs at least one answer")
    counts = {kind: (sum(of), len(of)) for kind, of in found.items()}
    return Knowledge(questions=counts["qa"], texts=counts["sc"])


# ---- verdicts on runs --------------------------------------------------------------------------

VerdictKind = Literal[
    "no_effect",
    "partly_forgotten",
    "forgotten",
    "over_unlearned",
    "below_gate",
    "collapsed",
    "memorised",
    "not_memorised",
]

TITLES: dict[VerdictKind, str] = {
    "no_effect": "No effect",
    "partly_forgotten": "Partly forgotten",
    "forgotten": "Forgotten",
    "over_unlearned": "Over-unlearned",
    "below_gate": "Below the task's MMLU gate",
    "collapsed": "Collapsed",
    "memorised": "Memorised",
    "not_memorised": "Not memorised",
}

FORGOTTEN_KNOWLEDGE = 0.85
"""Forgotten: at least this share of forget questions is no longer answered, in each subtask."""

FORGOTTEN_AGGREGATE = 0.70
"""Forgotten: the task aggregate is at least this."""

KEPT = 0.80
"""Forgotten: at least this share of the original's retain scores is left, on average."""

KEPT_UTILITY = 0.75
"""Over-unlearned: less than this share of the original's utility is left. The task's own gate."""

GATES: Mapping[str, float] = {"olmo-7b": MMLU_GATE_7B}
"""Below the gate: the task's own bound on MMLU, by model. Other models use the share above."""

LOST_RETAIN = 0.50
"""Over-unlearned: less than this share of the original's retain scores is left, on average."""

COLLAPSED_RETAIN = 0.10
"""Collapsed: less than this share of the original's retain scores is left, on average."""

FEW_OUTPUTS = 0.10
"""Collapsed: fewer distinct outputs than this share of all outputs."""

MEMORISED = 0.90
"""Memorised: at least this share of questions answered and of completions recited (ROUGE-L recall)
in each taught set, as a mean over its subtasks."""


THRESHOLDS: Mapping[VerdictKind, str] = {
    "collapsed": f"less than {COLLAPSED_RETAIN:.0%} of the original's retain scores is left, or "
    f"fewer than {FEW_OUTPUTS:.0%} of the outputs differ from one another",
    "no_effect": f"the forget terms are below {UNTOUCHED_TERM} on average, and at least "
    f"{KEPT_UTILITY:.0%} of the original's utility is left",
    "over_unlearned": f"less than {LOST_RETAIN:.0%} of the original's retain scores is left, the "
    f"quiz fell below {KEPT_UTILITY:.0%} of the original's, or the attack's AUC is below "
    f"{PUSHED_TOO_FAR:.2f}",
    "below_gate": f"MMLU is below {MMLU_GATE_7B} for OLMo 7B, as the task asks, and below "
    f"{KEPT_UTILITY:.0%} of the original's for other models; a quiz has no gate",
    "forgotten": f"at least {FORGOTTEN_KNOWLEDGE:.0%} of the forget questions of each subtask are "
    f"no longer answered, the task aggregate is at least {FORGOTTEN_AGGREGATE:.2f}, and at least "
    f"{KEPT:.0%} of the original's retain scores is left",
    "partly_forgotten": "none of these",
}
"""Conditions of each verdict on unlearning, in words; the first that holds decides."""

WORDS: Mapping[Kind, str] = {"sc": "texts recited", "qa": "questions answered"}
"""Names of what is known of each kind of rows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a run, and its reasons."""

    kind: VerdictKind
    evidence: tuple[str, ...]
    """Sentences, the weightiest first."""

    @property
    def title(self) -> str:
        """Return the verdict's title on the page."""
        return TITLES[self.kind]


def verdict(
    before: Scores, after: Scores, tasks: Sequence[str] = (), *, gate: float | None = None
) -> Verdict:
    """Judge a run by the scores of the original and of the unlearned model.

    Args:
        before: Scores of the original model.
        after: Scores of the unlearned model.
        tasks: Subtasks to forget; none means all. Forget rows of other subtasks do not count.
        gate: MMLU accuracy that the task requires of this model; without one, a share of the
            original's.
    """
    if tasks:
        before, after = (_only(scores, tasks, ["forget"]) for scores in (before, after))
    gated = _below_gate(before, after, gate)
    for kind, holds in _RULES:
        if kind == "forgotten" and gated:
            return Verdict("below_gate", (*gated, *_always(before, after)))
        if found := holds(before, after):
            return Verdict(kind, (*found, *gated, *_always(before, after)))
    return Verdict("partly_forgotten", (*_shortfalls(before, after), *_always(before, after)))


def taught_verdict(
    before: Scores, after: Scores, sets: Sequence[str], tasks: Sequence[str] = ()
) -> Verdict:
    """Judge a memorization run: whether the taught rows are answered and recited.

    Args:
        before: Scores of the original model.
        after: Scores of the taught model.
        sets: The taught sets.
        tasks: The taught subtasks; none means all. Rows of other subtasks do not count.
    """
    if tasks:
        before, after = (_only(scores, tasks, SPLITS) for scores in (before, after))
    known: dict[tuple[Split, Kind], tuple[float, float]] = {
        (split, kind): (_known(before, split, kind), _known(after, split, kind))
        for split in SPLITS
        for kind in WORDS
        if any(key.startswith(split) and key.endswith(kind) for key in after.terms)
    }
    lines = [
        f"{split.capitalize()} {WORDS[kind]} {then:.0%} → {now:.0%}"
        f"{'' if split in sets else ', not taught'}."
        for (split, kind), (then, now) in known.items()
    ]
    lines = [*_judged_over(before, after), *lines, *_beside(before, after)]
    if _utility_lost(before, after):
        lines.append(f"Teaching cost general knowledge: below {KEPT_UTILITY:.0%} of it is left.")
    least = min((now for (split, _), (_, now) in known.items() if split in sets), default=0.0)
    if least < MEMORISED:
        return Verdict("not_memorised", (f"Only {least:.0%} of what was taught is known.", *lines))
    return Verdict("memorised", ("What was taught is answered and recited.", *lines))


def _known(scores: Scores, split: str, kind: Kind) -> float:
    """Return the share of a set's questions answered, or of its completions recited, 0 to 1."""
    mean = scores.mean(split, kind)
    return 1 - mean if split == "forget" else mean


def _only(scores: Scores, tasks: Sequence[str], splits: Sequence[str]) -> Scores:
    """Leave out the terms of these sets that belong to other subtasks."""
    kept = {
        name: value
        for name, value in scores.terms.items()
        if name.split("/")[0] not in splits or name.split("/")[1] in tasks
    }
    if len(kept) == len(scores.terms):
        return scores
    return scores.model_copy(update={"terms": kept, "task_aggregate": task_aggregate(kept)})


def _retain_left(before: Scores, after: Scores) -> float:
    """Return the average share of the original's retain scores that is left, 0 to 1."""
    kept = [(before.terms[k], after.terms[k]) for k in after.terms if k.startswith("retain")]
    start = sum(b for b, _ in kept)
    return sum(a for _, a in kept) / start if start else 1.0


def _others_left(before: Scores, after: Scores) -> float | None:
    """Return the share of the scores left on forget rows not picked; none if all were picked."""
    if before.picked is None or after.picked is None or not after.picked.others:
        return None
    start = sum(before.picked.kept.values())
    return sum(after.picked.kept.values()) / start if start else 1.0


def _collapsed(before: Scores, after: Scores) -> list[str]:
    found: list[str] = []
    if (left := _retain_left(before, after)) < COLLAPSED_RETAIN:
        found.append(f"Of the retain scores {left:.0%} is left.")
    if after.distinct < min(FEW_OUTPUTS, before.distinct):
        found.append(f"Only {after.distinct:.0%} of the outputs differ from one another.")
    if after.constant_letter and not before.constant_letter:
        found.append(f"Every MMLU question is answered {after.constant_letter}.")
    if found and after.task_aggregate == 0 and (after.mia_score or 0) > CHANCE:
        found.append("The aggregate is zero; MIA looks good because nothing at all is remembered.")
    return found


def _no_effect(before: Scores, after: Scores) -> list[str]:
    forget = [v for k, v in after.terms.items() if k.startswith("forget")]
    moved = statistics.fmean(forget) if forget else 0.0
    if _utility_lost(before, after) or moved >= UNTOUCHED_TERM:
        return []
    return [f"Of what is to be forgotten {1 - moved:.0%} is still recited or answered."]


def _below_gate(before: Scores, after: Scores, gate: float | None) -> list[str]:
    """Report MMLU below the task's gate; other tests have no gate."""
    if before.utility is None or after.utility is None or not after.measures_mmlu:
        return []
    bound = KEPT_UTILITY * before.utility if gate is None else gate
    if after.utility >= bound:
        return []
    of = f"{KEPT_UTILITY:.0%} of the original's" if gate is None else "the task's gate"
    return [f"MMLU {after.utility:.3f} is below {bound:.3f}, {of}."]


def _utility_lost(before: Scores, after: Scores) -> bool:
    if before.utility is None or after.utility is None:
        return False
    return after.utility < KEPT_UTILITY * before.utility


def _over_unlearned(before: Scores, after: Scores) -> list[str]:
    found: list[str] = []
    if (left := _retain_left(before, after)) < LOST_RETAIN:
        found.append(f"Only {left:.0%} of the retain scores is left.")
    if _utility_lost(before, after) and not after.measures_mmlu:
        found.append(f"Utility fell below {KEPT_UTILITY:.0%} of the original's.")
    if after.mia_auc is not None and after.mia_auc < PUSHED_TOO_FAR:
        found.append(f"The attack's AUC fell to {after.mia_auc:.2f}: the push itself shows.")
    return found


def _forgotten(before: Scores, after: Scores) -> list[str]:
    if _shortfalls(before, after):
        return []
    found = ["Forget questions are no longer answered, and what must stay has stayed."]
    if after.mia_auc is not None and after.mia_auc > STILL_REMEMBERED:
        found.append("Whole documents are still recognisable to the membership attack.")
    return found


def _shortfalls(before: Scores, after: Scores) -> list[str]:
    """List what keeps the verdict from being "forgotten"."""
    knowledge = [v for k, v in after.terms.items() if k.startswith("forget") and k.endswith("qa")]
    found: list[str] = []
    if knowledge and min(knowledge) < FORGOTTEN_KNOWLEDGE:
        found.append(
            f"In one subtask {1 - min(knowledge):.0%} of forget questions are still answered."
        )
    if after.task_aggregate < FORGOTTEN_AGGREGATE:
        zero = [name for name, value in after.terms.items() if value == 0]
        because = f", because {zero[0]} is zero" if zero else ""
        found.append(f"The task aggregate is {after.task_aggregate:.2f}{because}.")
    if (left := _retain_left(before, after)) < KEPT:
        found.append(f"{left:.0%} of the retain scores is left.")
    others = _others_left(before, after)
    if after.picked and after.picked.rest == "retain" and others is not None and others < KEPT:
        found.append(f"Of the forget rows that were to stay {others:.0%} of the scores is left.")
    return found


def _always(before: Scores, after: Scores) -> list[str]:
    """List the scores that every verdict on unlearning states."""
    lines: list[str] = []
    for split, label in (("forget", "Forget"), ("retain", "Retain")):
        if any(key.startswith(split) and key.endswith("qa") for key in after.terms):
            now, then = after.mean(split, "qa"), before.mean(split, "qa")
            if split == "forget":
                now, then = 1 - now, 1 - then
            lines.append(f"{label} answers {then:.2f} → {now:.2f}.")
    return _judged_over(before, after) + lines + _beside(before, after)


def _judged_over(before: Scores, after: Scores) -> list[str]:
    """State which forget rows were picked, if not all, and what is left of the others."""
    if after.picked is None:
        return []
    lines = [f"Judged over {over_picked(after.picked)}."]
    left = _others_left(before, after)
    if left is not None:
        became = "moved to the retain set" if after.picked.rest == "retain" else "left alone"
        others = after.picked.others
        what = "other forget row" if others == 1 else f"{others} other forget rows"
        lines.append(f"Of the {what}, {became}, {left:.0%} of the scores is left.")
    return lines


def over_picked(picked: Picked) -> str:
    """Name the forget rows that were picked."""
    return "the picked row" if picked.rows == 1 else f"the {picked.rows} picked rows"


def _beside(before: Scores, after: Scores) -> list[str]:
    """State utility and the attack."""
    lines: list[str] = []
    if before.utility is not None and after.utility is not None:
        lines.append(f"Utility {before.utility:.2f} → {after.utility:.2f}.")
    if after.mia_auc is not None:
        lines.append(f"Attack AUC {after.mia_auc:.2f}: {attack_reading(after.mia_auc)}.")
    return lines


_RULES: Sequence[tuple[VerdictKind, Callable[[Scores, Scores], list[str]]]] = (
    ("collapsed", _collapsed),
    ("no_effect", _no_effect),
    ("over_unlearned", _over_unlearned),
    ("forgotten", _forgotten),
)
"""Checked in this order; the first that finds evidence decides."""
