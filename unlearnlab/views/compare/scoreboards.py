"""The scoreboard of several runs: the best of each column, and what lies within noise of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.metrics.intervals import Interval, independent_difference, seed_difference
from unlearnlab.metrics.measures import MEASURES, Measure
from unlearnlab.metrics.scores import Score, shown_scores, value_of
from unlearnlab.views.compare.rankings import Setting, comparable
from unlearnlab.views.compare.seeds import seed_groups
from unlearnlab.views.runs import RunSummary, labels

Intervals = Mapping[str, Interval]
"""Confidence intervals of one run's scores, by key; those that were not measured are missing."""


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
    """What its scores were measured under; none if it was not scored."""


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
    under = {run.run_id: one for one, runs in comparable(of).items() for run in runs}
    seeds = {run.run_id: group for group in seed_groups(of) for run in group}
    tops = _tops(of)

    def cell(run: RunSummary, score: Score) -> Cell:
        before, value = value_of(run.before, score.key), value_of(run.after, score.key)
        top = tops.get((under.get(run.run_id), score.key))
        if top is None or value is None:
            return Cell(before, value, best=False, within_noise=False)
        best = score.distance(value) <= _distance(top, score)
        near = not best and _within_noise(top, run, score.key, seeds, known or {})
        return Cell(before, value, best=best, within_noise=near)

    scores = shown_scores()
    return tuple(
        Line(run, label, {one.key: cell(run, one) for one in scores}, under.get(run.run_id))
        for run, label in zip(of, labels(of), strict=True)
    )


def _tops(of: Sequence[RunSummary]) -> dict[tuple[Setting | None, str], RunSummary]:
    """Find the best run of each column and setting; where all are alike, none is best."""
    found: dict[tuple[Setting | None, str], RunSummary] = {}
    for under, runs in comparable(of).items():
        for score in shown_scores():
            scored = [run for run in runs if value_of(run.after, score.key) is not None]
            distances = [_distance(run, score) for run in scored]
            if len(set(distances)) > 1:
                found[under, score.key] = scored[distances.index(min(distances))]
    return found


def _distance(run: RunSummary, score: Score) -> float:
    value = value_of(run.after, score.key)
    assert value is not None, "only scored runs are compared"
    return score.distance(value)


def _within_noise(
    one: RunSummary,
    other: RunSummary,
    key: str,
    seeds: Mapping[str, Sequence[RunSummary]],
    known: Mapping[str, Intervals],
) -> bool:
    mine, theirs = seeds[one.run_id], seeds[other.run_id]
    if mine is theirs:
        return True
    between = seed_difference(*(_values(group, key) for group in (mine, theirs)))
    if between is not None:
        return 0.0 in between
    first, second = (known.get(run.run_id, {}).get(key) for run in (one, other))
    if first is None or second is None:
        return False
    return 0.0 in independent_difference(first, second)


def _values(group: Sequence[RunSummary], key: str) -> list[float]:
    found = (value_of(run.after, key) for run in group)
    return [value for value in found if value is not None]


# ---- further measures


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
