"""Charts of a sweep along one axis: a line over numbers, boxes over words or over seeds."""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearnlab.metrics.scores import Score, weighted_scores
from unlearnlab.runs.sweeps import SweepStatus
from unlearnlab.spec.axes import SeedAxis, Value
from unlearnlab.spec.sweep import SweepSpec, expand_grid, shown_axes
from unlearnlab.ui.kit.charts import plain
from unlearnlab.ui.kit.text import score as written
from unlearnlab.ui.sweeps.scores import Found, grouped

ASIDE = (0.0, -0.05, 0.05)
"""How far dots of the first, second, third score stand beside the line's, as shares of the distance
between values."""

SPANS = 50
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""

Trace = dict[str, Any]
Drawn = tuple[list[Trace], dict[str, Any]]
"""Traces and layout."""


def along_one(spec: SweepSpec, stand: SweepStatus) -> Drawn:
    """Draw a sweep of one axis; seeds beside it are summed over."""
    (axis,) = shown_axes(spec)
    values = expand_grid(spec).values[axis]
    numbers = [value.number for value in values if value.number is not None]
    if len(numbers) == len(values) and not isinstance(spec.axes[axis], SeedAxis):
        return _line(spec, stand, values, numbers)
    return _boxes(spec, stand, values, seeds=isinstance(spec.axes[axis], SeedAxis))


def _layout(x: Mapping[str, Any], *, legend: bool = True) -> dict[str, Any]:
    share = {"range": [-0.03, 1.04], "title": "score, up is good", "tickformat": ".1f"}
    keys = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return {
        "height": 330,
        "margin": {"l": 50, "r": 14, "t": 40 if legend else 14, "b": 52},
        "showlegend": legend,
        "legend": {**keys, "font": {"size": 13, "color": "--ink"}},
        "xaxis": {**x, "showgrid": False},
        "yaxis": {**share, "dtick": 0.2},
    }


# ---- lines -------------------------------------------------------------------------------------


def _line(
    spec: SweepSpec, stand: SweepStatus, values: Sequence[Value], numbers: Sequence[float]
) -> Drawn:
    (axis,) = shown_axes(spec)
    log = min(numbers) > 0 and max(numbers) / min(numbers) >= SPANS
    order = sorted(range(len(numbers)), key=lambda n: numbers[n])
    traces: list[Trace] = []
    # The parts of the final score, which is their mean.
    for of, aside in zip(weighted_scores(), itertools.cycle(ASIDE), strict=False):
        found = grouped(spec, stand, of.key)
        known = [at for at in order if found.get((at,))]
        traces.append(_means(found, known, numbers, of))
        if any(len(found[(at,)]) > 1 for at in known):
            traces.append(_runs(found, known, numbers, of, aside, log=log))
    ticks = {"tickvals": [*numbers], "ticktext": [plain(value.text) for value in values]}
    scale = {"type": "log" if log else "linear", "range": _room(numbers, log=log)}
    return traces, _layout({"title": spec.axes[axis].name, **ticks, **scale})


def _room(numbers: Sequence[float], *, log: bool) -> list[float]:
    """Return the range of an axis that shows all values."""
    first, last = min(numbers), max(numbers)
    if log:
        return [math.log10(first) - 0.15, math.log10(last) + 0.15]
    margin = 0.08 * (last - first) or 0.5
    return [first - margin, last + margin]


def _means(found: Found, known: Sequence[int], numbers: Sequence[float], look: Score) -> Trace:
    return {
        "type": "scatter",
        "x": [numbers[at] for at in known],
        "y": [statistics.fmean(found[(at,)]) for at in known],
        "name": look.title,
        "mode": "lines+markers",
        "line": {"color": f"--{look.role}", "width": 2.5},
        "marker": {"size": 7},
        "customdata": [_spread(found[(at,)]) for at in known],
        "hovertemplate": "%{y:.2f}%{customdata}",
    }


def _runs(
    found: Found,
    known: Sequence[int],
    numbers: Sequence[float],
    look: Score,
    aside: float,
    *,
    log: bool,
) -> Trace:
    """Draw a dot for each run, a little aside, so that the scores do not cover each other."""
    shift = aside * _gap([math.log(n) for n in numbers] if log else numbers)
    dots = [
        (numbers[at] * math.exp(shift) if log else numbers[at] + shift, y)
        for at in known
        for y in found[(at,)]
    ]
    return {
        "type": "scatter",
        "x": [x for x, _ in dots],
        "y": [y for _, y in dots],
        "name": f"{look.title}, runs",
        "showlegend": False,
        "mode": "markers",
        "marker": {"color": f"--{look.role}", "size": 6, "symbol": "circle-open"},
        "hoverinfo": "skip",
    }


def _gap(numbers: Sequence[float]) -> float:
    ordered = sorted(set(numbers))
    return min((b - a for a, b in itertools.pairwise(ordered)), default=1.0)


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    return f" ({written(min(values))} to {written(max(values))}, {len(values)} seeds)"


# ---- boxes -------------------------------------------------------------------------------------


def _boxes(spec: SweepSpec, stand: SweepStatus, values: Sequence[Value], *, seeds: bool) -> Drawn:
    """Draw a box for each score: beside each other over each value, or one over all seeds."""
    (axis,) = shown_axes(spec)
    traces = [
        _box(grouped(spec, stand, of.key), values, of, seeds=seeds) for of in weighted_scores()
    ]
    words = [plain(value.text) for value in values]
    texts = [of.title for of in weighted_scores()] if seeds else words
    heading = f"{len(values)} seeds" if seeds else spec.axes[axis].name
    x = {"title": heading, "type": "category", "categoryorder": "array", "categoryarray": texts}
    layout = _layout({**x, "range": [-0.5, len(texts) - 0.5]}, legend=not seeds)
    return traces, {**layout, "boxmode": "overlay" if seeds else "group"}


def _box(found: Found, values: Sequence[Value], look: Score, *, seeds: bool) -> Trace:
    runs: Iterator[tuple[int, float]] = ((at, y) for (at,), of in sorted(found.items()) for y in of)
    ordered = list(runs)
    return {
        "type": "box",
        "x": [look.title if seeds else plain(values[at].text) for at, _ in ordered],
        "y": [y for _, y in ordered],
        "name": look.title,
        "boxpoints": "all",
        "jitter": 0.4,
        "pointpos": 0,
        "line": {"color": f"--{look.role}", "width": 1.5},
        "fillcolor": f"--{look.role}/0.12",
        "marker": {"color": f"--{look.role}", "size": 6},
        "text": [f"seed {values[at].text}" if seeds else "" for at, _ in ordered],
        "hovertemplate": "%{y:.2f} %{text}",
    }
