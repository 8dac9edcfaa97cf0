"""Parallel coordinates: each run a line through the settings that differ, and its scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnlab.metrics.scores import Score, shown_scores, value_of
from unlearnlab.spec.run import written
from unlearnlab.views.compare.differences import ABSENT, Difference, differences
from unlearnlab.views.runs import RunSummary, labels

MOST = 7
"""Settings that get an axis; more cannot be followed by the eye."""

DECADES = 20
"""Numbers above 0 whose largest is this many times the smallest lie on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One upright axis, from 0 at the bottom to 1 at the top."""

    name: str
    score: bool
    """Whether it is a score, where up is good."""
    places: tuple[float | None, ...]
    """Where each run crosses it; none where the run has no such value."""
    texts: tuple[str, ...]
    """The value of each run in words."""
    ticks: tuple[tuple[float, str], ...]
    """Places that are written on."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Runs as lines over axes."""

    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    axes: tuple[Axis, ...]
    left_out: tuple[str, ...]
    """Settings that differ as well, for which there was no room."""


def coordinates(of: Sequence[RunSummary]) -> Coordinates:
    """Lay runs over the settings in which they differ, then over their scores."""
    found = differences([run.spec for run in of])
    axes = [_setting(one) for one in found[:MOST]]
    axes += [axis for score in shown_scores() if (axis := _score(of, score)) is not None]
    return Coordinates(
        labels(of),
        tuple(run.run_id for run in of),
        tuple(axes),
        tuple(one.name for one in found[MOST:]),
    )


def _score(of: Sequence[RunSummary], score: Score) -> Axis | None:
    values = [value_of(run.after, score.key) for run in of]
    if all(value is None for value in values):
        return None
    texts = tuple(ABSENT if value is None else f"{value:.2f}" for value in values)
    title = score.title_for(*(run.after for run in of)) if score.variant else score.words
    return Axis(title, True, tuple(values), texts, ((0.0, "0"), (0.5, "0.5"), (1.0, "1")))


def _setting(of: Difference) -> Axis:
    numbers = [] if of.numbers is None else sorted({n for n in of.numbers if n is not None})
    if of.numbers is None or len(numbers) < 2:
        return _choices(of)
    low, high = numbers[0], numbers[-1]
    log = low > 0 and high / low >= DECADES
    places = tuple(None if n is None else _place(n, low, high, log=log) for n in of.numbers)
    shown = numbers if len(numbers) <= 6 else [low, high]
    ticks = tuple((_place(number, low, high, log=log), written(number)) for number in shown)
    return Axis(of.name, False, places, of.values, _apart(ticks))


def _place(number: float, low: float, high: float, *, log: bool) -> float:
    if log:
        number, low, high = math.log(number), math.log(low), math.log(high)
    return (number - low) / (high - low)


def _apart(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Leave out ticks too near to the one below; the top one stays."""
    kept = [ticks[0]]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] > 0.07 and ticks[-1][0] - tick[0] > 0.07:
            kept.append(tick)
    return (*kept, ticks[-1])


def _choices(of: Difference) -> Axis:
    """Spread choices evenly over the axis, in order of appearance."""
    known = list(dict.fromkeys(of.values))
    last = max(1, len(known) - 1)
    where = {value: at / last for at, value in enumerate(known)}
    ticks = tuple((place, value) for value, place in where.items())
    return Axis(of.name, False, tuple(where[value] for value in of.values), of.values, ticks)
