"""What a page shows of a run's scores: the scoreboard and the twelve terms.

Pure folds like those of `views`. Every score is shown with its direction, its setting and, where
it is known, the score of the retrained model, which never saw the forget set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from unlearnlab.data.datasets import DatasetInfo, Kind
from unlearnlab.metrics.noise import Interval
from unlearnlab.metrics.scores import CHANCE, Scores
from unlearnlab.metrics.spreads import Spreads
from unlearnlab.metrics.verdicts import (
    GATES,
    Verdict,
    attack_reading,
    over_picked,
    taught_verdict,
    verdict,
)
from unlearnlab.spec.run import RunSpec

Role = Literal["plain", "membership", "utility"]
"""What a colour stands for."""

ScoreName = Literal["task_aggregate", "mia_score", "utility", "final"]

TASKS: Mapping[str, str] = {"Task1": "Stories", "Task2": "People", "Task3": "Entries"}
"""How the page names the subtasks."""

ALL_TERMS = 12
"""Terms of a complete task aggregate: sets, subtasks and kinds of rows."""


def titles_of(known: DatasetInfo) -> Mapping[str, str]:
    """Name the subtasks as their dataset does."""
    return {**TASKS, **known.titles}


KINDS: Mapping[Kind, str] = {"sc": "recite", "qa": "answer"}
"""How the page names the kinds of rows."""

TAUGHT = "falls as the forget rows are learnt: it counts what is forgotten"
"""What the task aggregate says of a run that teaches."""

SPLITS: Mapping[str, str] = {"forget": "Forget", "retain": "Retain"}


@dataclass(frozen=True, slots=True)
class ScoreCard:
    """One score, before and after, all on a scale of 0 to 1 where up is good."""

    name: ScoreName
    title: str
    role: Role
    before: float | None
    after: float | None
    reference: float | None
    """The retrained model's."""
    note: str
    """What else there is to know: the attack's AUC, the level of chance."""
    opens: str = ""
    """What rows lie behind it: a term, or "all"; empty if none can be shown."""
    interval: Interval | None = None
    """How far the shown value could be off."""
    steady: bool = False
    """Whether it moved by no more than noise."""


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The scores of a run."""

    cards: tuple[ScoreCard, ...]
    verdict: Verdict | None
    protocol: str
    """How utility was measured."""
    setting: str
    """What the numbers were measured on."""
    seeds: str = ""
    """How far runs that differ in the seed spread; empty for one seed."""
    alone: bool = False
    """Whether there is but one model, scored as it is."""


T = TypeVar("T")


def at_ends(spec: RunSpec, before: T, after: T, none: T) -> tuple[T, T]:
    """Return what a run began and ended with: one that only scores ends with what it scored.

    Args:
        spec: The run.
        before: Of the original model.
        after: Of the unlearned one.
        none: What stands for neither.
    """
    return (none, before) if spec.only_scores else (before, after)


def scoreboard(
    spec: RunSpec,
    before: Scores | None,
    after: Scores | None,
    reference: Scores | None,
    *,
    spreads: Spreads | None = None,
    seeds: str = "",
) -> Scoreboard:
    """Lay the scores before, after and of the retrained model side by side.

    Args:
        spec: What was asked for.
        before: Of the original model.
        after: Of the unlearned model.
        reference: Of the retrained model.
        spreads: How far the scores could be off, where their evidence is at hand.
        seeds: What other seeds of the spec came to.
    """
    before, after = at_ends(spec, before, after, None)
    shown = after or before
    reference = of_one_test(reference, shown)
    aggregate = _card("Task aggregate", "plain", "task_aggregate", (before, after, reference))
    if "forget" in spec.taught:
        aggregate = replace(aggregate, note=TAUGHT)
    if shown:
        aggregate = replace(aggregate, opens=_opened(after))
    cards = (
        aggregate,
        _card("MIA score", "membership", "mia_score", (before, after, reference)),
        _card(utility_name(shown), "utility", "utility", (before, after, reference)),
        _card("Final", "plain", "final", (before, after, reference)),
    )
    judges = f"forget terms over {over_picked(shown.picked)}, " if shown and shown.picked else ""
    rows = f"{shown.rows} rows of {spec.data.known.title}, " if shown else ""
    tokens = spec.evaluation.max_new_tokens
    return Scoreboard(
        cards=tuple(_spread(card, spreads) for card in cards) if spreads else cards,
        verdict=judged(spec, before, after),
        protocol=shown.utility_protocol if shown else "",
        setting=f"{rows}{judges}{spec.data.fold} fold, greedy, up to {tokens} tokens",
        seeds=seeds,
        alone=spec.only_scores,
    )


def _spread(card: ScoreCard, found: Spreads) -> ScoreCard:
    return replace(card, interval=found.shown.get(card.name), steady=found.within_noise(card.name))


def _opened(after: Scores | None) -> str:
    """Choose the rows behind the task aggregate: those of the term that zeroes it, or all."""
    zero = [key for key, value in after.terms.items() if value <= 0] if after else []
    return zero[0] if zero else "all"


def judged(spec: RunSpec, before: Scores | None, after: Scores | None) -> Verdict | None:
    """Judge a run by what it was to do, unlearn or teach; none before it was scored."""
    if before is None or after is None:
        return None
    if spec.taught:
        return taught_verdict(before, after, spec.taught, spec.data.tasks)
    return verdict(before, after, spec.data.tasks, gate=GATES.get(spec.model.name))


def utility_name(scores: Scores | None) -> str:
    """Name the utility test; the embedded target's is a quiz and never MMLU."""
    return "MMLU" if scores and scores.measures_mmlu else "Quiz"


def _card(
    title: str, role: Role, name: ScoreName, of: tuple[Scores | None, Scores | None, Scores | None]
) -> ScoreCard:
    shown = of[1] or of[0]
    before, after, reference = (_score(scores, name) for scores in of)
    note = _note(name, shown, after=of[1] is not None) if shown else ""
    return ScoreCard(name, title, role, before, after, reference, note)


def of_one_test(reference: Scores | None, shown: Scores | None) -> Scores | None:
    """Leave out of a reference what does not compare: utility by another test than that shown."""
    if not reference or not shown or reference.utility_protocol == shown.utility_protocol:
        return reference
    return reference.model_copy(update={"utility": None, "final": None})


def _score(scores: Scores | None, name: ScoreName) -> float | None:
    if scores is None:
        return None
    values: dict[ScoreName, float | None] = {
        "task_aggregate": scores.task_aggregate,
        "mia_score": scores.mia_score,
        "utility": scores.utility,
        "final": scores.final,
    }
    return values[name]


def _note(name: ScoreName, scores: Scores, *, after: bool) -> str:
    match name:
        case "task_aggregate" if zero := zeroing(scores):
            return f"zero because of {zero[0]}" if after else "zero until something is forgotten"
        case "task_aggregate":
            count = len(scores.terms)
            return "" if count == ALL_TERMS else f"over {count} of the task's {ALL_TERMS} terms"
        case "mia_score" if scores.mia_auc is not None:
            return f"AUC {scores.mia_auc:.2f}: {attack_reading(scores.mia_auc)}"
        case "mia_score":
            return "not measured: the data have no documents for the attack"
        case "utility" if scores.utility is not None:
            return _utility_note(scores)
        case "utility":
            return "not measured: the data have no questions for it"
        case _:
            return "mean of the three" if scores.final is not None else "needs all three"


def _utility_note(scores: Scores) -> str:
    """Tell of how many questions an accuracy is, and of answers that show no knowledge."""
    asked = scores.utility_questions
    if scores.constant_letter:
        return f"{asked} questions, all answered {scores.constant_letter}: no knowledge shows"
    return f"{asked} questions, chance {CHANCE}"


@dataclass(frozen=True, slots=True)
class Term:
    """One of the twelve terms of the task aggregate, 0 to 1, up is good."""

    key: str
    """As the scores have it: `split/task/kind`."""
    column: str
    """Subtask and kind in words, such as "People answer"."""
    before: float | None
    after: float | None
    zeroes: bool
    """Whether it makes the aggregate zero."""
    interval: Interval | None = None
    """How far the shown value could be off."""
    steady: bool = False
    """Whether it moved by no more than noise."""

    @property
    def split(self) -> str:
        """Return the set it belongs to."""
        return self.key.partition("/")[0]

    @property
    def value(self) -> float | None:
        """Return the value to show: after if it is known."""
        return self.before if self.after is None else self.after


def term_name(key: str) -> str:
    """Name a term in words: `forget/Task2/qa` is "Forget · People answer"."""
    split, task, kind = key.split("/")
    words = KINDS["qa"] if kind == "qa" else KINDS["sc"]
    return f"{SPLITS.get(split, split)} · {TASKS.get(task, task)} {words}"


def zeroing(scores: Scores) -> tuple[str, ...]:
    """Name the terms that make the aggregate zero."""
    return tuple(term_name(key) for key, value in scores.terms.items() if value <= 0)


def terms_strip(
    before: Scores | None,
    after: Scores | None,
    titles: Mapping[str, str] = TASKS,
    *,
    spreads: Spreads | None = None,
) -> tuple[Term, ...]:
    """Lay out the terms: the six of forget, then the six of retain.

    What neither set has rows of gets no column. Zeroes are pointed out after unlearning only: an
    untouched model's forget terms are zero.

    Args:
        before: Scores of the original model.
        after: Scores of the unlearned one.
        titles: Names of the subtasks.
        spreads: How far the terms could be off, where their evidence is at hand.
    """
    found: list[Term] = []
    known = [key for scores in (before, after) if scores for key in scores.terms]
    measured = {key.partition("/")[2] for key in known}
    for split in SPLITS:
        for task, name in titles.items():
            for kind, words in KINDS.items():
                if measured and f"{task}/{kind}" not in measured:
                    continue
                key = f"{split}/{task}/{kind}"
                then = before.terms.get(key) if before else None
                now = after.terms.get(key) if after else None
                zero = now is not None and now <= 0
                interval = spreads.shown.get(key) if spreads else None
                steady = spreads is not None and spreads.within_noise(key)
                found.append(Term(key, f"{name} {words}", then, now, zero, interval, steady))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Others:
    """The forget rows that were not picked, and how they fare."""

    count: int
    moved: bool
    """Whether they were moved to the retain set, and should have stayed."""
    columns: tuple[tuple[str, float | None, float | None], ...]
    """Subtask and kind in words, and the mean row scores before and after: up is still known."""


def others_of(
    before: Scores | None, after: Scores | None, titles: Mapping[str, str] = TASKS
) -> Others | None:
    """Tell how the forget rows fare that were not picked; none if all were."""
    first, last = (scores.picked if scores else None for scores in (before, after))
    known = first or last
    if known is None or not known.others:
        return None
    then: Mapping[str, float] = first.kept if first else {}
    now: Mapping[str, float] = last.kept if last else {}
    columns = tuple(
        (f"{name} {words}", then.get(key), now.get(key))
        for task, name in titles.items()
        for kind, words in KINDS.items()
        if (key := f"{task}/{kind}") in known.kept
    )
    return Others(known.others, known.rest == "retain", columns)
