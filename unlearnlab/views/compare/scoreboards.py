"""The scoreboard of several runs: the best of each column, and what lies within noise of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from unlearnlab.metrics import noise
from unlearnlab.metrics.noise import Interval
from unlearnlab.metrics.scores import Evidence, Scores, mia_score, picked, term_rows
from unlearnlab.views.compare.rankings import Setting, comparable
from unlearnlab.views.compare.seeds import seed_groups
from unlearnlab.views.runs import RunSummary, labels

Column = Literal["task_aggregate", "mia_score", "utility", "final"]

COLUMNS: tuple[Column, ...] = get_args(Column)

Margins = Mapping[Column, Interval]
"""How far each score of a run could be off; those that were not measured are not there."""


def column(scores: Scores | None, name: Column) -> float | None:
    """Return a score, 0 to 1, up is good; none if it was not measured."""
    if scores is None:
        return None
    values: Mapping[Column, float | None] = {
        "task_aggregate": scores.task_aggregate,
        "mia_score": scores.mia_score,
        "utility": scores.utility,
        "final": scores.final,
    }
    return values[name]


def margins(evidence: Evidence) -> Margins:
    """Bootstrap the scores of one model over its rows, documents and questions.

    The margin of the final score comes from those of its parts as if they were independent.
    """
    found: dict[Column, Interval] = {
        "task_aggregate": noise.aggregate_interval(term_rows(evidence.answers))
    }
    if evidence.membership is not None:
        found["mia_score"] = _folded(noise.auc_interval(evidence.membership))
    if evidence.choices:
        right = [float(picked(one) == one.right) for one in evidence.choices]
        found["utility"] = noise.mean_interval(right)
    if len(found) == len(COLUMNS) - 1:
        found["final"] = _mean(list(found.values()))
    return found


def _folded(auc: Interval) -> Interval:
    ends = (mia_score(auc.low), mia_score(auc.high))
    return Interval(mia_score(auc.value), min(ends), 1.0 if 0.5 in auc else max(ends))


def _mean(parts: Sequence[Interval]) -> Interval:
    value = sum(one.value for one in parts) / len(parts)
    down = math.hypot(*(one.value - one.low for one in parts)) / len(parts)
    up = math.hypot(*(one.high - one.value for one in parts)) / len(parts)
    return Interval(value, value - down, value + up)


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of one run."""

    before: float | None
    after: float | None
    best: bool
    """Whether none of the comparable runs is better."""
    alike: bool
    """Whether it lies within noise of the best, without being the best."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run of the scoreboard."""

    run: RunSummary
    label: str
    cells: Mapping[Column, Cell]
    setting: Setting | None
    """What its scores were measured under; none if it was not scored."""


def scoreboard(
    of: Sequence[RunSummary], known: Mapping[str, Margins] | None = None
) -> tuple[Line, ...]:
    """Lay out the scores of runs, in their order. The best is looked for in each setting alone.

    Two runs are within noise of each other if they differ in nothing but their seed; if the
    settings of both were run with several seeds, and those do not tell them apart; or if the
    margins over rows do not.

    Args:
        of: The runs.
        known: Margins by id of the run, for as many as there are.
    """
    under = {run.run_id: one for one, runs in comparable(of).items() for run in runs}
    seeds = {run.run_id: group for group in seed_groups(of) for run in group}
    tops = _tops(of)

    def cell(run: RunSummary, name: Column) -> Cell:
        before, value = column(run.before, name), column(run.after, name)
        top = tops.get((under.get(run.run_id), name))
        if top is None or value is None:
            return Cell(before, value, best=False, alike=False)
        best = value >= _value(top, name)
        near = not best and _alike(top, run, name, seeds, known or {})
        return Cell(before, value, best=best, alike=near)

    return tuple(
        Line(run, label, {name: cell(run, name) for name in COLUMNS}, under.get(run.run_id))
        for run, label in zip(of, labels(of), strict=True)
    )


def _tops(of: Sequence[RunSummary]) -> dict[tuple[Setting | None, Column], RunSummary]:
    """Find the best run of each column and setting; where all are alike, none is best."""
    found: dict[tuple[Setting | None, Column], RunSummary] = {}
    for under, runs in comparable(of).items():
        for name in COLUMNS:
            scored = [run for run in runs if column(run.after, name) is not None]
            if len({_value(run, name) for run in scored}) > 1:
                found[under, name] = max(scored, key=partial(_value, name=name))
    return found


def _value(run: RunSummary, name: Column) -> float:
    return column(run.after, name) or 0.0


def _alike(
    one: RunSummary,
    other: RunSummary,
    name: Column,
    seeds: Mapping[str, Sequence[RunSummary]],
    known: Mapping[str, Margins],
) -> bool:
    mine, theirs = seeds[one.run_id], seeds[other.run_id]
    if mine is theirs:
        return True
    between = noise.seed_difference(*(_values(group, name) for group in (mine, theirs)))
    if between is not None:
        return 0.0 in between
    first, second = (known.get(run.run_id, {}).get(name) for run in (one, other))
    if first is None or second is None:
        return False
    return 0.0 in noise.independent_difference(first, second)


def _values(group: Sequence[RunSummary], name: Column) -> list[float]:
    found = (column(run.after, name) for run in group)
    return [value for value in found if value is not None]
