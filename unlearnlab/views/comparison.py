"""Scores of several runs: what is comparable, the best of each column, terms, measures, ranking."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, get_args
from zlib import crc32

from unlearnlab.data.datasets import Split
from unlearnlab.metrics.intervals import Interval, independent_difference, seed_difference
from unlearnlab.metrics.labels import Mood
from unlearnlab.metrics.measures import MEASURES, Measure
from unlearnlab.metrics.scores import (
    ALL_TERMS,
    SCORES,
    Score,
    Scores,
    shown_scores,
    value_of,
    weighted_scores,
)
from unlearnlab.metrics.verdicts import VerdictKind
from unlearnlab.views.answers import AnswerRow, question
from unlearnlab.views.runs import RunSummary, labels, one_per_seed, seed_groups
from unlearnlab.views.scoreboard import KINDS, SPLITS, TASKS, titles_of


@dataclass(frozen=True, slots=True)
class Setting:
    """Setup of an evaluation: only scores that were measured under the same one are compared."""

    model: str
    data: str
    fold: str
    tasks: tuple[str, ...]
    """Subtasks that were to be forgotten."""
    picked: str
    """Digest of the picked forget rows, and what became of the others; empty if all are picked."""
    taught: bool
    """Whether the run teaches: then a low aggregate is its goal."""
    terms: tuple[str, ...]
    max_new_tokens: int
    template: bool | None
    """Whether prompts went through the model's chat template; None if the model is not here."""
    protocol: str
    """How utility was measured."""
    questions: int
    attack: str = ""
    """Which rows served as non-members; empty for the data's own documents."""

    @property
    def text(self) -> str:
        """Describe it in one line."""
        of = "" if len(self.terms) == ALL_TERMS else f"{len(self.terms)} terms, "
        picked = "picked rows, " if self.picked else ""
        utility = f"{self.questions} questions" if self.questions else "no utility test"
        chat = {True: "chat template, ", None: "chat template if any, "}.get(self.template, "")
        return (
            f"{self.model}, {self.data} {self.fold} fold, {', '.join(self.tasks)}, {picked}{of}"
            f"up to {self.max_new_tokens} tokens, {chat}{utility}"
            f"{f', {self.attack}' if self.attack else ''}"
        )


def setting(run: RunSummary) -> Setting | None:
    """Return the setup that a run's scores were measured under; None if it was not scored."""
    scores, spec = run.after, run.spec
    if scores is None:
        return None
    rows = spec.data.forget
    picked = "" if rows is None else f"{crc32(repr(sorted(rows)).encode()):08x} {spec.data.rest}"
    return Setting(
        model=spec.model.name,
        data=spec.data.source,
        fold=spec.data.fold,
        tasks=spec.data.tasks,
        picked=picked,
        taught=bool(spec.taught),
        terms=tuple(sorted(scores.terms)),
        max_new_tokens=spec.evaluation.max_new_tokens,
        template=spec.uses_template,
        protocol=scores.utility_protocol,
        questions=scores.utility_questions,
        attack=scores.mia_protocol if scores.mia_auc is not None else "",
    )


def comparable(of: Sequence[RunSummary]) -> dict[Setting, list[RunSummary]]:
    """Group scored runs by the setup of their evaluation, in order of appearance."""
    found: dict[Setting, list[RunSummary]] = {}
    for run in of:
        if (under := setting(run)) is not None:
            found.setdefault(under, []).append(run)
    return found


# ---- the scoreboard of several runs

Intervals = Mapping[str, Interval]
"""Confidence intervals of one run's scores, by key, as far as they were measured."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of one run."""

    before: float | None
    after: float | None
    best: bool
    """Whether none of the comparable runs is better."""
    within_noise: bool
    """Whether it lies within noise of the best, without being the best."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run of the scoreboard."""

    run: RunSummary
    label: str
    cells: Mapping[str, Cell]
    """By key of the score, in the order of the columns."""
    setting: Setting | None
    """Setup of its evaluation; None if it was not scored."""


def scoreboard(
    of: Sequence[RunSummary], known: Mapping[str, Intervals] | None = None
) -> tuple[Line, ...]:
    """Lay out the scores of runs, in their order, and mark the best of each setting.

    Two runs are within noise of each other if they differ in nothing but their seed; if the
    settings of both were run with several seeds, and those do not tell them apart; or if the
    intervals over rows do not.

    Args:
        of: The runs.
        known: Intervals by id of the run, for as many as there are.
    """
    groups = comparable(of)
    under = {run.run_id: one for one, runs in groups.items() for run in runs}
    seeds = {run.run_id: group for group in seed_groups(of) for run in group}
    tops: dict[tuple[Setting, str], RunSummary] = {}
    """The best run of each setting and column; where all are alike, none is best."""
    for mine, runs in groups.items():
        for score in shown_scores():
            values = [(value_of(run.after, score.key), run) for run in runs]
            ranked = [(score.distance(value), run) for value, run in values if value is not None]
            if len({distance for distance, _ in ranked}) > 1:
                tops[mine, score.key] = min(ranked, key=lambda pair: pair[0])[1]

    def cell(run: RunSummary, score: Score) -> Cell:
        before, value = value_of(run.before, score.key), value_of(run.after, score.key)
        mine = under.get(run.run_id)
        top = tops.get((mine, score.key)) if mine else None
        highest = value_of(top.after, score.key) if top else None
        if top is None or value is None or highest is None:
            return Cell(before, value, best=False, within_noise=False)
        best = score.distance(value) <= score.distance(highest)
        near = not best and _within_noise(top, run, score.key, seeds, known or {})
        return Cell(before, value, best=best, within_noise=near)

    scores = shown_scores()
    return tuple(
        Line(run, label, {one.key: cell(run, one) for one in scores}, under.get(run.run_id))
        for run, label in zip(of, labels(of), strict=True)
    )


def _within_noise(
    one: RunSummary,
    other: RunSummary,
    key: str,
    seeds: Mapping[str, Sequence[RunSummary]],
    known: Mapping[str, Intervals],
) -> bool:
    groups = seeds[one.run_id], seeds[other.run_id]
    if groups[0] is groups[1]:
        return True
    values = ([value_of(run.after, key) for run in one_per_seed(tuple(of))] for of in groups)
    between = _between_seeds(*(tuple(one for one in found if one is not None) for found in values))
    if between is not None:
        return 0.0 in between
    first, second = (known.get(run.run_id, {}).get(key) for run in (one, other))
    return first is not None and second is not None and 0.0 in independent_difference(first, second)


_between_seeds = lru_cache(maxsize=4096)(seed_difference)
"""Kept, since a page asks every few seconds about every run and score."""


# ---- terms and further measures


@dataclass(frozen=True, slots=True)
class TermColumn:
    """One term."""

    key: str
    """As in the scores: `forget/Task2/qa`."""
    split: Split
    name: str
    """In words, without its set: "People answer"."""

    @property
    def text(self) -> str:
        """Return its name in words."""
        return f"{SPLITS[self.split]} · {self.name}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Runs by terms; the terms of forget come first. 0 to 1, up is good."""

    columns: tuple[TermColumn, ...]
    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """One row for each run that was scored; a term that was not measured is none."""


def subtask_titles(of: Sequence[RunSummary]) -> Mapping[str, str]:
    """Name the subtasks as the data of runs do, if all have the same data."""
    data = {run.spec.data.source: run.spec.data.known for run in of}
    return titles_of(data.popitem()[1]) if len(data) == 1 else TASKS


def matrix(of: Sequence[RunSummary]) -> Matrix:
    """Lay the terms of all scored runs side by side; terms that no run has get no column."""
    scored = [
        (run, name, run.after.terms)
        for run, name in zip(of, labels(of), strict=True)
        if run.after is not None
    ]
    titles = subtask_titles([run for run, _, _ in scored])
    measured = {key for _, _, terms in scored for key in terms}
    columns = tuple(
        TermColumn(key, split, f"{title} {words}")
        for split in get_args(Split)
        for task, title in titles.items()
        for kind, words in KINDS.items()
        if (key := f"{split}/{task}/{kind}") in measured
    )
    return Matrix(
        columns,
        tuple(name for _, name, _ in scored),
        tuple(run.run_id for run, _, _ in scored),
        tuple(tuple(terms.get(one.key) for one in columns) for _, _, terms in scored),
    )


@dataclass(frozen=True, slots=True)
class MeasureTable:
    """Further measures of several runs: a column for each that one of them has."""

    columns: tuple[Measure, ...]
    labels: tuple[str, ...]
    rows: tuple[tuple[Interval | None, ...], ...]
    """One for each run, in the order of the labels."""


def measure_table(
    of: Sequence[RunSummary], known: Mapping[str, Mapping[str, Interval]]
) -> MeasureTable:
    """Lay the measures of runs side by side.

    Args:
        of: The runs.
        known: Measures of the unlearned model by id of the run, as far as evidence is kept.
    """
    taken = [known.get(run.run_id, {}) for run in of]
    columns = tuple(one for name, one in MEASURES.items() if any(name in row for row in taken))
    rows = tuple(tuple(row.get(one.name) for one in columns) for row in taken)
    return MeasureTable(columns, labels(of), rows)


# ---- two runs side by side


@dataclass(frozen=True, slots=True)
class ScorePair:
    """One score of two runs."""

    score: Score
    first: float | None
    second: float | None
    change: float | None
    """Second less first; None if they were not measured alike."""
    better: bool | None
    """Whether the second is nearer to the ideal; None if they are equal or not comparable."""
    within_noise: bool


def score_pairs(
    first: RunSummary, second: RunSummary, known: Mapping[str, Intervals] | None = None
) -> tuple[ScorePair, ...]:
    """Set all scores of two runs side by side.

    Args:
        first: One run.
        second: The other.
        known: Intervals by id of the run, which tell what lies within noise.
    """
    lines = scoreboard((first, second), known)
    alike = lines[0].setting is not None and lines[0].setting == lines[1].setting

    def pair(score: Score) -> ScorePair:
        one, other = value_of(first.after, score.key), value_of(second.after, score.key)
        if one is None or other is None or not alike:
            return ScorePair(score, one, other, None, None, within_noise=False)
        cells = [line.cells.get(score.key) for line in lines]
        noise = any(cell is not None and cell.within_noise for cell in cells)
        better = None if one == other else score.distance(other) < score.distance(one)
        return ScorePair(score, one, other, other - one, better, within_noise=noise)

    return tuple(map(pair, SCORES.values()))


Which = Literal["differ", "first", "second", "both", "all"]
"""Which rows of two runs are shown: those where one run misses the goal of the row, and so on."""


@dataclass(frozen=True, slots=True)
class RowPair:
    """One row as two runs answer it."""

    first: AnswerRow
    second: AnswerRow

    @property
    def missed(self) -> tuple[bool, bool]:
        """Return whether the runs miss the goal of the row: it leaks, or it was damaged."""
        return self.first.mood in MISSED, self.second.mood in MISSED

    @property
    def apart(self) -> float:
        """Return how far the scores of the answers lie apart, 0 to 1."""
        values = [
            one.original_score if one.unlearned_score is None else one.unlearned_score
            for one in (self.first, self.second)
        ]
        return abs(values[0] - values[1])

    def shown(self, which: Which) -> bool:
        """Return whether the pair belongs to some rows."""
        of: dict[Which, bool] = {
            "differ": self.missed[0] != self.missed[1],
            "first": self.missed == (True, False),
            "second": self.missed == (False, True),
            "both": self.missed == (True, True),
            "all": True,
        }
        return of[which]


MISSED: tuple[Mood, ...] = ("bad", "fair")
"""Moods of an answer that misses its goal, or reaches it in part."""


def row_pairs(first: Sequence[AnswerRow], second: Sequence[AnswerRow]) -> tuple[RowPair, ...]:
    """Pair the rows that two runs answered; those come first whose scores lie furthest apart."""
    others = {question(row): row for row in second}
    pairs = [RowPair(row, others[question(row)]) for row in first if question(row) in others]
    return tuple(sorted(pairs, key=lambda pair: (pair.first.wished != "forget", -pair.apart)))


# ---- ranking

UNRANKED: tuple[VerdictKind, ...] = ("collapsed", "below_gate")
"""Verdicts that keep a run out of the places: a wreck has a final score of about 0.4, and the task
ranks no model below its MMLU gate."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts; equal weights give the task's final score."""

    of: Mapping[str, float] = field(
        default_factory=lambda: {score.weight: 1.0 for score in weighted_scores()}
    )
    """By the name of a score's weight; a score without one does not count."""

    def __post_init__(self) -> None:
        parts = tuple(self.of.values())
        if not all(map(math.isfinite, parts)) or min(parts) < 0 or sum(parts) <= 0:
            raise ValueError(f"weights {parts} cannot rank: each a number, none below 0, one above")

    @property
    def equal(self) -> bool:
        """Tell whether all parts count alike."""
        return len({self.of.get(score.weight, 0.0) for score in weighted_scores()}) == 1

    @property
    def text(self) -> str:
        """Put them in words."""
        named = ((score.short_words, score.weight) for score in weighted_scores())
        return ", ".join(f"{name} {self.of.get(weight, 0.0):g}" for name, weight in named)


def weighted(scores: Scores, by: Weights) -> float | None:
    """Return the weighted mean of the scores that count, 0 to 1.

    Returns:
        None if a score that counts was not measured.
    """
    counted = [
        (weight, score.value(scores))
        for score in weighted_scores()
        if (weight := by.of.get(score.weight, 0.0)) > 0
    ]
    total = sum(weight for weight, _ in counted)
    if any(value is None for _, value in counted):
        return None
    return sum(weight * (value or 0.0) for weight, value in counted) / total


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a run in a ranking."""

    run: RunSummary
    rank: int | None
    """From 1; equals share one. None if the run is not ranked."""
    value: float | None
    """The weighted mean."""
    reason: str
    """Why it is not ranked."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The runs of one setting, best first, then those that are not ranked."""

    setting: Setting
    places: tuple[Place, ...]


def rankings(of: Sequence[RunSummary], by: Weights | None = None) -> tuple[Ranking, ...]:
    """Rank runs, those of each setting apart.

    Args:
        of: The runs; those without scores are left out.
        by: Equal weights if None.
    """
    weights = by or Weights()
    return tuple(Ranking(under, _places(runs, weights)) for under, runs in comparable(of).items())


def _places(runs: Sequence[RunSummary], by: Weights) -> tuple[Place, ...]:
    found: list[Place] = []
    for run in runs:
        value, reason = weighted(run.after, by) if run.after else None, ""
        if value is None:
            reason = "a score that counts was not measured"
        elif run.verdict is not None and run.verdict.kind in UNRANKED:
            reason = run.verdict.title.lower()
        found.append(Place(run, None, value, reason))
    found.sort(key=lambda one: -1.0 if one.value is None else one.value, reverse=True)
    ranked = [one for one in found if not one.reason]
    values = [one.value for one in ranked]  # From the highest, so equals share the first's place.
    return (
        *(replace(one, rank=1 + values.index(one.value)) for one in ranked),
        *(one for one in found if one.reason),
    )
