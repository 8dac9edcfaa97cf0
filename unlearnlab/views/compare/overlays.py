"""Curves of several runs over one another: any series, by step, tokens or seconds."""

import bisect
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.runs.events import StepLogged, StoredEvent
from unlearnlab.runs.progress import points_after
from unlearnlab.views.curves import TRACES

By = Literal["step", "tokens", "seconds"]
"""What the horizontal axis counts."""

BY: Mapping[By, str] = {
    "step": "optimizer step",
    "tokens": "tokens trained on, about",
    "seconds": "seconds of training",
}

LONG_GAP = 2.0
"""A step that took this many times the usual held something else as well, such as a probe."""

Values = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """The curves of one run."""

    series: Mapping[str, tuple[tuple[int, ...], Values]]
    """Steps and values by series, as `progress.points_after` names them."""
    steps: tuple[int, ...]
    tokens: tuple[float, ...]
    """Tokens trained on until each of these steps; an estimate from pace and time."""
    seconds: tuple[float, ...]
    """Since training began, until each of these steps."""


def track(stored: Sequence[StoredEvent]) -> Track:
    """Fold a run's events into its curves.

    A step that held a probe or a pause counts with the time that steps usually take.
    """
    steps = [item.event for item in stored if isinstance(item.event, StepLogged)]
    gaps = [b.seconds - a.seconds for a, b in itertools.pairwise(steps)]
    usual = statistics.median(gaps) if gaps else 0.0
    spent = [min(gap, LONG_GAP * usual) for gap in (usual, *gaps)] if steps else []
    tokens = [gap * step.tokens_per_s for gap, step in zip(spent, steps, strict=True)]
    return Track(
        points_after(stored),
        tuple(step.step for step in steps),
        _sums(tokens),
        _sums(spent),
    )


def _sums(values: Sequence[float]) -> tuple[float, ...]:
    total, found = 0.0, list[float]()
    for value in values:
        total += value
        found.append(total)
    return tuple(found)


def offered(of: Sequence[Track]) -> dict[str, str]:
    """Map the series that any of these runs has to their names, in the usual order."""
    there = {name for one in of for name in one.series}
    named = {trace.series: trace.label for trace in TRACES}
    usual = [name for name in named if name in there]
    others = sorted(there - set(usual))
    return {name: named.get(name) or _words(name) for name in (*usual, *others)}


def _words(series: str) -> str:
    kind, _, name = series.partition(".")
    return f"{name} {'loss' if kind == 'term' else kind}".replace("_", " ").strip()


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve; a value that is none leaves a gap."""

    xs: tuple[float, ...]
    ys: Values


def curve(
    of: Track, series: str, by: By = "step", smoothing: float = 0.0, *, most: int = 2000
) -> Curve | None:
    """Return one series of a run; none if it has no such series.

    Args:
        of: The run.
        series: As `offered` lists them.
        by: What the horizontal axis counts.
        smoothing: Weight of what came before, from 0 to below 1; 0 leaves the points as they are.
        most: Points that are kept, evenly spaced.
    """
    if series not in of.series:
        return None
    steps, values = of.series[series]
    kept = _evenly(len(steps), most)
    values = smoothed(values, smoothing)
    return Curve(tuple(_x(of, steps[at], by) for at in kept), tuple(values[at] for at in kept))


def _evenly(count: int, most: int) -> Sequence[int]:
    """Return places among so many, the last among them."""
    stride = math.ceil(count / most)
    return range(count) if stride <= 1 else sorted({*range(0, count, stride), count - 1})


def _x(of: Track, step: int, by: By) -> float:
    """Return where a step lies; a probe between two logged steps lies at the one before."""
    if by == "step":
        return step
    at = bisect.bisect_right(of.steps, step) - 1
    return 0.0 if at < 0 else (of.tokens if by == "tokens" else of.seconds)[at]


def smoothed(values: Values, smoothing: float) -> Values:
    """Average exponentially, without the pull towards zero at the start; gaps stay gaps.

    Args:
        values: The points.
        smoothing: Weight of what came before.

    Raises:
        ValueError: `smoothing` is not from 0 to below 1.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing {smoothing} is out of range: take 0 to below 1")
    mean, seen, found = 0.0, 0, list[float | None]()
    for value in values:
        if value is None or not math.isfinite(value):
            found.append(None)
            continue
        seen += 1
        mean = smoothing * mean + (1 - smoothing) * value
        found.append(mean / (1 - smoothing**seen))
    return tuple(found)
