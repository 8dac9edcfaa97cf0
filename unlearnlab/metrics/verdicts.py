"""Judge a run by its scores: one word, with its evidence.

A mean of three parts hides the parts: a destroyed model scores about 0.4, because the membership
attack finds nothing in noise. And a level hides the change: a model that never knew the forget rows
scores as if it had forgotten them. So verdicts compare what a model knew with what it still knows,
row by row where rows were counted. All thresholds for doubting a score or judging a run are here.
A verdict covers these probes only: "forgotten" means suppressed under them, never erased.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from unlearnlab.data.datasets import SPLITS, Kind
from unlearnlab.metrics.scores import (
    CHANCE,
    PUSHED_TOO_FAR,
    STILL_REMEMBERED,
    Answer,
    Evidence,
    Picked,
    Scores,
    TermRows,
    Z,
    attack_reading,
    row_known,
    wilson,
)

# ---- degenerate scores: collapse, a constant letter, no effect -----------------------------------

MMLU_GATE_7B = 0.371
"""The task ranks no 7B model below this MMLU accuracy: 75% of the untouched model's 0.495."""

MMLU_QUESTIONS = 14042
"""Questions of the whole test."""

LETTER_SHARES: Mapping[str, float] = {
    "A": 3222 / MMLU_QUESTIONS,
    "B": 3462 / MMLU_QUESTIONS,
    "C": 3582 / MMLU_QUESTIONS,
    "D": 3776 / MMLU_QUESTIONS,
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
    "never_knew",
    "no_effect",
    "partly_forgotten",
    "forgotten",
    "over_unlearned",
    "below_gate",
    "collapsed",
    "not_measurable",
    "memorised",
    "not_memorised",
]

FORGOTTEN_KNOWLEDGE = 0.85
"""Forgotten: of the questions of each subtask that were answered, at least this share is not."""

FORGOTTEN_TEXTS = 0.75
"""Forgotten: of each subtask's recall above `FLOOR`, or above the retrained model's, at least this
share is gone. The retrained model keeps nothing by this count, and gradient ascent that keeps two
thirds of the words has not made them forgotten."""

FLOOR = 0.30
"""ROUGE-L recall of completions that a model never saw: the embedded retrained model has 0.19 to
0.31, from the words that every text of a subtask has."""

KNOWN_QUESTIONS, KNOWN_TEXTS = 0.05, 0.10
"""Known: questions answered, or recall, lie above what a model that never saw them has by more."""

FEW_ROWS = 0.20
"""No effect: noise excuses no larger loss than this. With five rows, noise would explain two; but
answers are greedy, and one of five that is gone is what was asked for."""

KEPT = 0.80
"""Forgotten: at least this share of the original's retain scores is left, on average."""

KEPT_SUBTASK = 0.50
"""Forgotten: at least this share is left of each retain term that was known."""

KEPT_UTILITY = 0.75
"""Over-unlearned: less than this share of the original's utility is left. The task's own gate."""

GATES: Mapping[str, float] = {"olmo-7b": MMLU_GATE_7B}
"""Below the gate: the task's own bound on MMLU, by model. Other models use the share above."""

LOST_RETAIN = 0.50
"""Over-unlearned: less than this share of the original's retain scores is left, on average."""

LOST_SUBTASK = 0.25
"""Over-unlearned: less than this share is left of one retain term that was known."""

COLLAPSED_RETAIN = 0.10
"""Collapsed: less than this share of the original's retain scores is left, on average."""

FEW_OUTPUTS = 0.10
"""Collapsed: fewer distinct outputs than this share of all outputs, and than half of before."""

ENOUGH_QUESTIONS = 12
"""Collapsed: fewer MMLU questions may have one answer by luck."""

BROKEN_ROWS = 0.5
"""Not measurable: the loss of this share of the rows is not a number."""

UNSEEN_ROWS = 0.5
"""Not measurable: this share of a term's rows is cut by the answer limit, or blind to ROUGE."""

MEMORISED = 0.90
"""Memorised: at least this share of questions answered and of completions recited (ROUGE-L recall)
in each taught set, as a mean over its subtasks."""

WORDS: Mapping[Kind, str] = {"qa": "questions answered", "sc": "texts recited"}
"""Names of what is known of each kind of rows."""


def whole_percent(share: float) -> str:
    """Write a share in whole percent; 100 % and 0 % mean all and nothing."""
    share = min(1.0, max(0.0, share))  # What must stay may also have grown.
    percent = round(100 * share)
    if percent == 100 and share < 1:
        percent = 99
    if percent == 0 and share > 0:
        percent = 1
    return f"{percent}%"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a run, and its reasons."""

    kind: VerdictKind
    evidence: tuple[str, ...]
    """Sentences, the weightiest first."""
    forgets: float | None = None
    """Share of what was known of the forget rows that is gone, 0 to 1; none where nothing was."""
    keeps: float | None = None
    """Share of what was known of the retain rows that is left, 0 to 1; none where nothing was."""

    @property
    def title(self) -> str:
        """Return the verdict's title on the page."""
        return TITLES[self.kind]


@dataclass(frozen=True, slots=True)
class Shift:
    """What a model knew and knows of the rows of one term."""

    key: str
    """`split/task/kind`."""
    rows: int
    before: float
    """Share known: of questions answered, or mean recall of completions; 0 to 1."""
    after: float
    floor: float
    """What a model has that never saw the rows."""
    floor_whole: float
    """Share of the rows that such a model recites whole."""
    told: TermRows | None
    """Counts after; none in scores older than they are."""
    told_before: TermRows | None

    @property
    def split(self) -> str:
        """Return the set."""
        return self.key.split("/")[0]

    @property
    def kind(self) -> Kind:
        """Return the kind of rows."""
        return "qa" if self.key.endswith("qa") else "sc"

    @property
    def judged(self) -> tuple[float, float, float]:
        """Return the share known before and after by which the rows are judged, and its floor.

        A mean hides a few forget texts recited whole among many that were never known: where it is
        no higher than the floor, whole texts are counted.
        """
        hidden = self.before <= self.floor + KNOWN_TEXTS and self.kind == "sc"
        if hidden and self.split == "forget" and (whole := self.counts):
            return whole[0] / self.rows, whole[1] / self.rows, self.floor_whole
        return self.before, self.after, self.floor

    @property
    def known(self) -> bool:
        """Tell whether the model knew anything of them."""
        before, _, floor = self.judged
        return before > floor + (KNOWN_QUESTIONS if self.kind == "qa" else KNOWN_TEXTS)

    @property
    def left(self) -> float:
        """Return the share of what was known that is left, 0 to 1."""
        before, after, floor = self.judged
        room = before - floor
        return min(1.0, max(0.0, (after - floor) / room)) if room > 0 else 1.0

    @property
    def whole_left(self) -> float:
        """Return the share left of the texts recited whole, 0 to 1; 0 if there were none."""
        before, after = (count / self.rows - self.floor_whole for count in self.counts or (0, 0))
        return min(1.0, after / before) if before > 0 and self.kind == "sc" else 0.0

    @property
    def unseen(self) -> int:
        """Count rows whose loss no score can see: cut by the answer limit, or blind to ROUGE."""
        return self.told.cut + self.told.blind if self.told else 0

    @property
    def counts(self) -> tuple[int, int] | None:
        """Count the rows known before and after; None if they were not counted."""
        if self.told is None or self.told_before is None:
            return None
        if self.kind == "qa":  # Answered or not: the share is the count.
            return round(self.before * self.told_before.rows), round(self.after * self.rows)
        return self.told_before.known, self.told.known

    @property
    def fall(self) -> float:
        """Return how much less is known, as a share of the rows or of their words."""
        before, after, _ = self.judged
        return before - after

    @property
    def variance(self) -> float:
        """Return the squared standard error of the change, before and after as independent."""
        before, after, _ = self.judged
        return _variance(before, self.rows) + _variance(after, self.rows)


def _variance(share: float, rows: int) -> float:
    """Bound the squared standard error of a mean of scores from 0 to 1.

    Agresti and Coull's, of a share: it has a width at 0 and 1, and no scores vary more.
    """
    many = rows + 4
    middle = (share * rows + 2) / many
    return middle * (1 - middle) / many


def _fell(of: Sequence[Shift]) -> tuple[float, float]:
    """Return the mean fall of some terms, and how large a fall noise explains."""
    fall = statistics.fmean(one.fall for one in of)
    return fall, Z * math.sqrt(sum(one.variance for one in of)) / len(of)


@dataclass(frozen=True, slots=True)
class Change:
    """All that a verdict on unlearning is reached from."""

    before: Scores
    after: Scores
    gate: float | None
    titles: Mapping[str, str]
    forget: tuple[Shift, ...]
    retain: tuple[Shift, ...]

    @property
    def known(self) -> tuple[Shift, ...]:
        """Return the forget terms that the model knew before."""
        return tuple(one for one in self.forget if one.known)

    @property
    def kept(self) -> tuple[Shift, ...]:
        """Return the retain terms that the model knew before."""
        return tuple(one for one in self.retain if one.known)

    @property
    def gone(self) -> float | None:
        """Return the share of what was known that is gone, a mean over the forget terms."""
        return 1 - statistics.fmean(one.left for one in self.known) if self.known else None

    @property
    def retain_left(self) -> float | None:
        """Return the share of the retain scores left; none where there was nothing to keep."""
        start = sum(one.before for one in self.kept)
        return sum(one.after for one in self.kept) / start if start else None

    @property
    def keeps(self) -> float | None:
        """Return the share of what was known that is kept, a mean over the retain terms.

        What a term gained makes up for nothing that another lost.
        """
        shares = [min(1.0, one.after / one.before) for one in self.kept if one.before]
        return statistics.fmean(shares) if shares else None

    @property
    def retain_fell(self) -> bool:
        """Tell whether the retain scores fell by more than noise."""
        fall, noise = _fell(self.kept) if self.kept else (0.0, 0.0)
        return fall > noise

    def name(self, one: Shift) -> str:
        """Name the subtask of a term."""
        task = one.key.split("/")[1]
        return self.titles.get(task, task)


def verdict(
    before: Scores,
    after: Scores,
    tasks: Sequence[str] = (),
    *,
    gate: float | None = None,
    reference: Scores | None = None,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Judge a run by what changed between the original and the unlearned model.

    Args:
        before: Scores of the original model.
        after: Scores of the unlearned model.
        tasks: Subtasks to forget; none means all. Forget rows of other subtasks do not count.
        gate: MMLU accuracy that the task requires of this model; without one, a share of the
            original's.
        reference: Scores of a model retrained without the forget rows, which has what nobody can
            forget; without one, `FLOOR` stands in for completions.
        titles: Display names of the subtasks.
    """
    change = Change(
        before,
        after,
        gate,
        titles,
        forget=_shifts(before, after, "forget", tasks, reference),
        retain=_shifts(before, after, "retain", (), None),
    )
    shares = change.gone, change.keeps
    for kind, holds in _RULES:
        if found := holds(change):
            return Verdict(kind, (*found, *_gated(change, kind), *_always(change)), *shares)
    return Verdict("forgotten", (*_success(change), *_always(change)), *shares)


def _shifts(
    before: Scores, after: Scores, split: str, tasks: Sequence[str], reference: Scores | None
) -> tuple[Shift, ...]:
    found: list[Shift] = []
    for key in after.terms:
        of, task, kind = key.split("/")
        if of != split or key not in before.terms or (tasks and task not in tasks):
            continue
        floor, floor_whole = FLOOR if kind == "sc" else 0.0, 0.0
        if reference and key in reference.terms:
            floor = _known_share(reference, key, lenient=True)
            if never := reference.behind.get(key):
                floor_whole = never.known / never.rows
        told, told_before = after.behind.get(key), before.behind.get(key)
        # Scores older than the counts: terms have about as many rows each.
        rows = told.rows if told else max(1, after.rows // len(after.terms))
        lenient = split == "forget" or _answers_in_sentences(before, key)
        then, now = (_known_share(of, key, lenient=lenient) for of in (before, after))
        found.append(Shift(key, rows, then, now, floor, floor_whole, told, told_before))
    return tuple(found)


def _answers_in_sentences(before: Scores, key: str) -> bool:
    """Tell whether a model answers most questions that it knows within a sentence of its own."""
    told = before.behind.get(key)
    return key.endswith("qa") and told is not None and told.known_share > 2 * before.terms[key]


def _known_share(scores: Scores, key: str, *, lenient: bool) -> float:
    """Return what a model knows of a term's rows, 0 to 1.

    An answer within a sentence is not forgotten; but what must stay must stay as it was. So retain
    rows are counted by exact answers, unless the original itself answers in sentences.
    """
    told = scores.behind.get(key)
    if told and (lenient or told.blind):
        return told.known_share
    return 1 - scores.terms[key] if key.startswith("forget") else scores.terms[key]


# ---- the rules, each a pure function of a change that returns its evidence


def _nothing_measured(change: Change) -> list[str]:
    broken = sum(one.broken for one in change.after.behind.values())
    rows = sum(one.rows for one in change.after.behind.values())
    if rows and broken >= BROKEN_ROWS * rows:
        return [f"The loss of {broken} of {rows} rows is not a number: the weights are broken."]
    if not change.forget:
        return ["No forget row was scored."]
    return []


def _collapsed(change: Change) -> list[str]:
    before, after = change.before, change.after
    found: list[str] = []
    left = change.retain_left
    if left is not None and left < COLLAPSED_RETAIN and change.retain_fell:
        found.append(f"Of the retain scores {left:.0%} is left.")
    # Without retain rows, one refusal for every forget row is no collapse.
    few = after.distinct < min(FEW_OUTPUTS, before.distinct / 2)
    if few and (change.retain or _utility_lost(before, after)):
        found.append(f"Only {after.distinct:.0%} of the outputs differ from one another.")
    enough = after.utility_questions >= ENOUGH_QUESTIONS
    if after.constant_letter and not before.constant_letter and enough:
        found.append(f"Every MMLU question is answered {after.constant_letter}.")
    if found and after.task_aggregate == 0 and (after.mia_score or 0) > CHANCE:
        found.append("The aggregate is zero; MIA looks good because nothing at all is remembered.")
    return found


def _over_unlearned(change: Change) -> list[str]:
    before, after = change.before, change.after
    found: list[str] = []
    left = change.retain_left
    if left is not None and left < LOST_RETAIN and change.retain_fell:
        found.append(f"Only {left:.0%} of the retain scores is left.")
    found += [
        f"{change.name(one)}: only {one.after / one.before:.0%} of the retain {WORDS[one.kind]} "
        "is left."
        for one in change.kept
        if one.after < LOST_SUBTASK * one.before and _fell([one])[0] > _fell([one])[1]
    ]
    if _utility_lost(before, after) and not after.measures_mmlu:
        found.append(f"Utility fell below {KEPT_UTILITY:.0%} of the original's.")
    if (
        after.mia_auc is not None
        and after.mia_auc < PUSHED_TOO_FAR
        and after.mia_auc < 0.5 - after.mia_noise
        and (before.mia_auc is None or before.mia_auc - after.mia_auc > after.mia_noise)
    ):
        found.append(f"The attack's AUC fell to {after.mia_auc:.2f}: the push itself shows.")
    return found


def _utility_lost(before: Scores, after: Scores) -> bool:
    """Tell whether utility fell below its share, by more than noise, from above chance."""
    if before.utility is None or after.utility is None or before.utility_at_chance:
        return False
    bound, asked = KEPT_UTILITY * before.utility, max(1, after.utility_questions)
    variance = _variance(before.utility, asked) + _variance(after.utility, asked)
    return after.utility < bound and before.utility - after.utility > Z * math.sqrt(variance)


def _below_gate(change: Change) -> list[str]:
    """Report MMLU below the task's gate; other tests have no gate."""
    before, after = change.before, change.after
    if before.utility is None or after.utility is None or not after.measures_mmlu:
        return []
    if change.gate is None and before.utility_at_chance:
        return []
    bound = KEPT_UTILITY * before.utility if change.gate is None else change.gate
    # A sample of the test is below the gate if its whole interval is: the gate is of all questions.
    asked = max(1, after.utility_questions)
    highest = wilson(after.utility, asked)[1] if asked < MMLU_QUESTIONS else after.utility
    if highest >= bound:
        return []
    of = f"{KEPT_UTILITY:.0%} of the original's" if change.gate is None else "the task's gate"
    return [f"MMLU {after.utility:.3f} is below {bound:.3f}, {of}."]


def _gated(change: Change, kind: VerdictKind) -> list[str]:
    """State the gate where something worse decides."""
    return [] if kind == "below_gate" else _below_gate(change)


def _unseen_before(change: Change) -> list[str]:
    """Say why nothing can be said of rows that the model seems not to have known."""
    if change.known or not _mostly_unseen(change.forget):
        return []
    return _blind_lines(change.forget)


def _never_knew(change: Change) -> list[str]:
    if change.known:
        return []
    return [
        "The model did not know the forget rows before training: there was nothing to forget. "
        "Teach them first, then unlearn."
    ]


def _no_effect(change: Change) -> list[str]:
    fall, noise = _fell(change.known)
    gone = change.gone or 0.0
    if gone >= UNTOUCHED_TERM and fall >= min(noise, FEW_ROWS):
        return []
    found = [f"Of what is to be forgotten {whole_percent(1 - gone)} is still answered or recited."]
    if (moved := change.after.moved) and moved.lost:
        found.append(f"{moved.text}.")
    return found


def _shortfalls(change: Change) -> list[str]:
    """List what keeps the verdict from being "forgotten"."""
    found: list[str] = []
    for one in change.known:
        limit = FORGOTTEN_KNOWLEDGE if one.kind == "qa" else FORGOTTEN_TEXTS
        # 0.15 is not 1 - 0.85 in floating point.
        if max(one.left, one.whole_left) > 1 - limit + 1e-9:
            found.append(_still_known(change, one))
    fall, noise = _fell(change.known)
    if fall <= noise:
        found.append("With so few rows, the change is no more than noise.")
    if (left := change.retain_left) is not None and left < KEPT:
        found.append(f"{left:.1%} of the retain scores is left, less than {KEPT:.0%}.")
    found += [
        f"{change.name(one)}: {one.after / one.before:.0%} of the retain {WORDS[one.kind]} is left."
        for one in change.kept
        if one.after < KEPT_SUBTASK * one.before
    ]
    picked, others = change.after.picked, _others_left(change.before, change.after)
    if picked and picked.rest == "retain" and others is not None and others < KEPT:
        found.append(f"Of the forget rows that were to stay {others:.0%} of the scores is left.")
    return found


def _still_known(change: Change, one: Shift) -> str:
    if one.kind == "qa":
        count = f"{one.counts[1]} of {one.rows}" if one.counts else f"{one.after:.0%} of the"
        return f"{change.name(one)}: {count} forget questions are still answered."
    count = f", {one.told.known} of {one.rows} of them whole" if one.told else ""
    return (
        f"{change.name(one)}: forget texts are still recited{count}: {one.after:.0%} of their "
        f"words, where a model that never saw them has {one.floor:.0%}."
    )


def _unmeasured(change: Change) -> list[str]:
    """Say why nothing found is not yet forgotten: what is not looked at cannot be seen to stay."""
    found: list[str] = []
    if blind := [one for one in change.forget if _mostly_unseen([one])]:
        found += _blind_lines(blind)
    if not change.retain:
        found.append(
            "Nothing of the forget rows comes out any more, but there is no retain set: a model "
            "that was destroyed would look alike."
        )
    elif not change.kept:
        found.append(
            "Nothing of the forget rows comes out any more, but the model knew none of the retain "
            "rows before either: a model that was destroyed would look alike."
        )
    return found


def _mostly_unseen(of: Sequence[Shift]) -> bool:
    return sum(one.unseen for one in of) >= UNSEEN_ROWS * sum(one.rows for one in of)


def _blind_lines(of: Sequence[Shift]) -> list[str]:
    """Count rows that no score can see."""
    told = [one.told for one in of if one.told]
    rows = sum(one.rows for one in told)
    found: list[str] = []
    if cut := sum(one.cut for one in told):
        found.append(
            f"{cut} of {rows} expected answers are longer than the answer limit: cut short, they "
            "count as forgotten whatever the model knows. Raise the limit."
        )
    if blind := sum(one.blind for one in told):
        found.append(
            f"{blind} of {rows} expected texts hold hardly a letter that ROUGE counts: it drops "
            "all but a to z and digits, so that even a perfect recitation may score 0."
        )
    return found


def _success(change: Change) -> list[str]:
    kinds = {one.kind for one in change.known}
    gone = {"qa": "answered", "sc": "recited"}
    what = " or ".join(word for kind, word in gone.items() if kind in kinds)
    found = [f"What was to be forgotten is no longer {what}, and what must stay has stayed."]
    if change.after.mia_auc is not None and change.after.mia_auc > STILL_REMEMBERED:
        found.append("Whole documents are still recognisable to the membership attack.")
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """A kind of verdict: declared here, read by page, reports, command line and docs."""

    title: str
    mood: Literal["good", "fair", "plain", "bad"]
    """Whether it is good or bad news, which is its colour."""
    holds: str = ""
    """Its condition in words; empty for verdicts on teaching."""


OUTCOMES: Mapping[VerdictKind, Outcome] = {
    "not_measurable": Outcome(
        "Not measurable",
        "plain",
        "no forget row was scored, or the losses of half of the rows are not numbers; or none of "
        "the others but the last holds and there is no retain set, the original knew none of it, "
        "or at least half of a forget term's expected answers are longer than the answer limit or "
        "in a script that ROUGE drops",
    ),
    "collapsed": Outcome(
        "Collapsed",
        "bad",
        f"less than {COLLAPSED_RETAIN:.0%} of the original's retain scores is left, fewer than "
        f"{FEW_OUTPUTS:.0%} of the outputs differ from one another, or every one of at least "
        f"{ENOUGH_QUESTIONS} MMLU questions is answered with one letter",
    ),
    "over_unlearned": Outcome(
        "Over-unlearned",
        "bad",
        f"less than {LOST_RETAIN:.0%} of the original's retain scores is left, or less than "
        f"{LOST_SUBTASK:.0%} in a subtask, the quiz fell below {KEPT_UTILITY:.0%} of the "
        f"original's, or the attack's AUC fell below {PUSHED_TOO_FAR:.2f}; each by more than noise",
    ),
    "below_gate": Outcome(
        "Below the task's MMLU gate",
        "bad",
        f"MMLU is below {MMLU_GATE_7B} for OLMo 7B, as the task asks, and below "
        f"{KEPT_UTILITY:.0%} of the original's for other models that were above chance; by more "
        "than noise where a part of the test was asked; a quiz has no gate",
    ),
    "never_knew": Outcome(
        "Nothing to forget",
        "plain",
        f"the original answered at most {KNOWN_QUESTIONS:.0%} of the forget questions more than "
        f"the retrained model, its recall was at most {KNOWN_TEXTS:.2f} higher (where there is no "
        f"retrained model: than 0, and than {FLOOR:.2f}), and it recited at most "
        f"{KNOWN_TEXTS:.0%} more texts whole",
    ),
    "no_effect": Outcome(
        "No effect",
        "plain",
        f"less than {UNTOUCHED_TERM:.0%} of what the original knew of the forget rows is gone, or "
        f"no more than noise explains and less than {FEW_ROWS:.0%}",
    ),
    "partly_forgotten": Outcome("Partly forgotten", "fair", "none of the others"),
    "forgotten": Outcome(
        "Forgotten",
        "good",
        f"at least {FORGOTTEN_KNOWLEDGE:.0%} of the forget questions that were answered in each "
        f"subtask no longer are, at least {FORGOTTEN_TEXTS:.0%} of the recall above that of a "
        "model that never saw the texts is gone, and of the texts recited whole, all are more than "
        "noise, and at least "
        f"{KEPT:.0%} of the original's retain scores is left, {KEPT_SUBTASK:.0%} in each subtask",
    ),
    "memorised": Outcome("Memorised", "good"),
    "not_memorised": Outcome("Not memorised", "fair"),
}
"""Every kind of verdict, those on unlearning in the order in which they are tried."""

TITLES: Mapping[VerdictKind, str] = {kind: one.title for kind, one in OUTCOMES.items()}

THRESHOLDS: Mapping[VerdictKind, str] = {
    kind: one.holds for kind, one in OUTCOMES.items() if one.holds
}
"""Conditions of each verdict on unlearning, in words."""

_RULES: Sequence[tuple[VerdictKind, Callable[[Change], list[str]]]] = (
    ("not_measurable", _nothing_measured),
    ("collapsed", _collapsed),
    ("over_unlearned", _over_unlearned),
    ("below_gate", _below_gate),
    ("not_measurable", _unseen_before),
    ("never_knew", _never_knew),
    ("no_effect", _no_effect),
    ("partly_forgotten", _shortfalls),
    ("not_measurable", _unmeasured),
)
"""Checked in this order; the first that finds evidence decides, and "forgotten" is what remains."""


# ---- lines that every verdict states


def _always(change: Change) -> list[str]:
    lines = _judged_over(change.before, change.after)
    for split, of in (("forget", change.forget), ("retain", change.retain)):
        kinds = {one.kind for one in of}
        lines += [
            _counted(split, kind, [one for one in of if one.kind == kind])
            for kind in WORDS
            if kind in kinds
        ]
    if change.known:
        lines += [
            f"{change.name(one)}: hardly any forget {WORDS[one.kind]} before: not judged."
            for one in change.forget
            if not one.known
        ]
    if not _mostly_unseen(change.forget) and any(one.unseen for one in change.forget):
        lines += _blind_lines(change.forget)
    return lines + _beside(change.before, change.after)


@dataclass(frozen=True, slots=True)
class Remains:
    """The forget rows that a model knew, and those of them that it still knows."""

    knew: int
    still: tuple[Answer, ...]
    """The unlearned model's answers."""


def remains(before: Evidence, after: Evidence) -> Remains:
    """Look for the forget rows that the original model knew in the unlearned one's answers.

    Args:
        before: Evidence of the original model, of the picked rows alone: see `scored_evidence`.
        after: Evidence of the unlearned model.
    """
    knew = {one.row for one in before.answers if one.split == "forget" and row_known(one)}
    later = (one for one in after.answers if one.split == "forget" and one.row in knew)
    return Remains(len(knew), tuple(one for one in later if row_known(one)))


def _counted(split: str, kind: Kind, of: Sequence[Shift], mark: str = ": ") -> str:
    """State what was and is known of a set's rows of a kind, counted where they were."""
    then, now = (
        statistics.fmean(one.before for one in of),
        statistics.fmean(one.after for one in of),
    )
    what, rows = f"{split.capitalize()} {WORDS[kind]}", sum(one.rows for one in of)
    counts = [one.counts for one in of]
    if not all(counts):
        recall = "recall " if kind == "sc" else ""
        return f"{what}{mark}{recall}{then:.0%} → {now:.0%}."
    first, last = (sum(pair[at] for pair in counts if pair) for at in (0, 1))
    if kind == "qa":
        return f"{what}{mark}{then:.0%} → {now:.0%} ({first} of {rows} → {last} of {rows})."
    return f"{what}{mark}{first} of {rows} → {last} of {rows}, recall {then:.2f} → {now:.2f}."


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
    known: dict[tuple[str, Kind], list[Shift]] = {
        (split, kind): found
        for split in SPLITS
        for kind in WORDS
        if (
            found := [one for one in _shifts(before, after, split, tasks, None) if one.kind == kind]
        )
    }
    lines = [
        f"{_counted(split, kind, of, ' ').removesuffix('.')}"
        f"{'' if split in sets else ', not taught'}."
        for (split, kind), of in known.items()
    ]
    taught = {place: of for place, of in known.items() if place[0] in sets}
    lines += _blind_lines([one for of in taught.values() for one in of])
    lines = [*_judged_over(before, after), *lines, *_beside(before, after)]
    if _utility_lost(before, after):
        lines.append(f"Teaching cost general knowledge: below {KEPT_UTILITY:.0%} of it is left.")
    if not taught:
        return Verdict("not_measurable", ("None of the rows that were taught was scored.", *lines))
    least = min(statistics.fmean(one.after for one in of) for of in taught.values())
    if least < MEMORISED:
        return Verdict("not_memorised", (f"Only {least:.0%} of what was taught is known.", *lines))
    return Verdict("memorised", ("What was taught is answered and recited.", *lines))


def _others_left(before: Scores, after: Scores) -> float | None:
    """Return the share of the scores left on forget rows not picked; none where there was none."""
    if before.picked is None or after.picked is None:
        return None
    start = sum(before.picked.kept.values())
    return sum(after.picked.kept.values()) / start if start else None


def _judged_over(before: Scores, after: Scores) -> list[str]:
    """State which forget rows were to be forgotten, if not all, and what the others kept."""
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
    """Count the forget rows that a run forgets: those picked, or those that the model knew."""
    return f"{picked.rows} of {picked.rows + picked.others} forget rows"


def _beside(before: Scores, after: Scores) -> list[str]:
    """State utility and the attack."""
    lines: list[str] = []
    if before.utility is not None and after.utility is not None:
        guess = ", at chance before: it cannot show damage" if before.utility_at_chance else ""
        lines.append(f"Utility {before.utility:.2f} → {after.utility:.2f}{guess}.")
    if after.mia_auc is not None:
        lines.append(f"Attack AUC {after.mia_auc:.2f}: {attack_reading(after.mia_auc)}.")
    return lines
