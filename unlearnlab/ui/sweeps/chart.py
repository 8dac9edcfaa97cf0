"""The chart of a sweep, which fills in as its runs end.

One axis of numbers is a line, one of words or of seeds a box each, two and more are heat maps of
one score. Seeds are summed over: lines and cells are means, dots the runs themselves. The axes hold
all values from the start, so that nothing moves when a run ends.
"""

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.metrics.scores import SCORES, Score, shown_scores, value_of, weighted_scores
from unlearnlab.runs.sweeps import PointStatus, SweepStatus
from unlearnlab.spec.axes import SeedAxis, Value
from unlearnlab.spec.sweep import SweepSpec, expand_grid, shown_axes
from unlearnlab.ui.kit.charts import Cell, Figure, Trace, plain
from unlearnlab.ui.kit.html import score as written
from unlearnlab.views.scoreboard import at_ends

Place = tuple[int, ...]

Found = Mapping[Place, Sequence[float]]
"""Scores of runs by their place on the axes that are shown."""


def grouped(spec: SweepSpec, stand: SweepStatus, name: str) -> Found:
    """Gather a score by the place on the axes that are shown: seeds fall together."""
    axes, found = shown_axes(spec), defaultdict[Place, list[float]](list)
    for one in stand.points:
        value = score_at(one, name)
        if value is not None:
            found[tuple(one.point.place[axis] for axis in axes)].append(value)
    return found


def score_at(one: PointStatus, name: str) -> float | None:
    """Return a score of a point's run; none before it has finished."""
    if one.row is None or one.status != "finished":
        return None
    _, after = at_ends(one.row.spec, one.row.before, one.row.after, None)
    return value_of(after, name) if after else None


def table(spec: SweepSpec, stand: SweepStatus) -> list[list[Cell]]:
    """Lay the runs out as rows of a table, heads first."""
    head: list[Cell] = [axis.name for axis in spec.axes]
    rows: list[list[Cell]] = [[*head, "status", *(score.key for score in shown_scores())]]
    for one in stand.points:
        places = zip(expand_grid(spec).values, one.point.place, strict=True)
        texts = [of[at].text for of, at in places]
        rows.append([*texts, one.status, *(score_at(one, of.key) for of in shown_scores())])
    return rows


def summary(title: str, spec: SweepSpec, stand: SweepStatus, name: str) -> str:
    """Say how far a sweep is, and where a score is highest in the mean over seeds."""
    done, total = len(stand.of("finished")), len(stand.points)
    means = {place: statistics.fmean(of) for place, of in grouped(spec, stand, name).items()}
    if not means:
        return f"{title}: {done} of {total} runs finished."
    place = max(means, key=lambda one: means[one])
    values = expand_grid(spec).values
    at = ", ".join(
        f"{spec.axes[axis].name} {values[axis][n].text}"
        for axis, n in zip(shown_axes(spec), place, strict=True)
    )
    best = f"Highest {SCORES[name].words} {written(means[place])} at {at}."
    return f"{title}: {done} of {total} runs finished. {best}"


ASIDE = (0.0, -0.05, 0.05)
"""How far dots of the first, second, third score stand beside the line's, as shares of the distance
between values."""

SPANS = 50
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""

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


CELL_PX, TITLE_PX, FOOT_PX = 34, 30, 54
"""Heights of a cell, of a map's title, and of what stands under it."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which axis goes where."""

    spec: SweepSpec
    others: Sequence[int]
    down: int
    across: int

    @property
    def places(self) -> list[Place]:
        """List the values of the other axes: a map each."""
        return list(itertools.product(*(range(len(self.values(axis))) for axis in self.others)))

    def values(self, axis: int) -> tuple[Value, ...]:
        """Return the values of an axis."""
        return expand_grid(self.spec).values[axis]

    def title(self, place: Place) -> str:
        """Name a map by the values of the other axes."""
        return ", ".join(
            f"{self.spec.axes[axis].name} {plain(self.values(axis)[at].text)}"
            for axis, at in zip(self.others, place, strict=True)
        )


def along_several(
    spec: SweepSpec, stand: SweepStatus, name: str
) -> tuple[list[Trace], dict[str, Any], dict[str, Any]]:
    """Draw a score, its means over seeds.

    Returns:
        Traces, layout, and the layout on a phone, where the maps stand below each other.
    """
    # The longest axis has most room across, the next one down.
    *others, down, across = sorted(shown_axes(spec), key=lambda n: len(expand_grid(spec).values[n]))
    others.sort()
    plan = _Plan(spec, others, down, across)
    order = [shown_axes(spec).index(axis) for axis in (*others, down, across)]
    found = {
        tuple(place[at] for at in order): of for place, of in grouped(spec, stand, name).items()
    }
    traces = [
        _map(plan, found, place, number, SCORES[name].role)
        for number, place in enumerate(plan.places)
    ]
    return traces, _map_layout(plan, stacked=False), _map_layout(plan, stacked=True)


def _map(plan: _Plan, found: Found, place: Place, number: int, role: str) -> Trace:
    across, down = plan.values(plan.across), plan.values(plan.down)
    cells = [
        [found.get((*place, row, column)) for column in range(len(across))]
        for row in range(len(down))
    ]
    suffix = str(number + 1) if number else ""
    return {
        "type": "heatmap",
        "x": [plain(value.text) for value in across],
        "y": [plain(value.text) for value in down],
        "z": [[statistics.fmean(of) if of else None for of in row] for row in cells],
        "text": [[f"{statistics.fmean(of):.2f}" if of else "" for of in row] for row in cells],
        "texttemplate": "%{text}",
        "customdata": [[len(of) if of else 0 for of in row] for row in cells],
        "hovertemplate": "%{z:.3f}, %{customdata} runs<extra></extra>",
        "name": plan.title(place),
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "colorscale": [[0, f"--{role}/0.06"], [1, f"--{role}"]],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
    }


def _map_layout(plan: _Plan, *, stacked: bool) -> dict[str, Any]:
    maps, rows = len(plan.places), len(plan.values(plan.down))
    each = TITLE_PX + CELL_PX * rows + FOOT_PX
    height = each * (maps if stacked else 1)
    layout: dict[str, Any] = {
        "height": height,
        "margin": {"l": 62, "r": 10, "t": 0, "b": 0},
        "annotations": [],
    }
    for number, place in enumerate(plan.places):
        column, row = (0, number) if stacked else (number, 0)
        columns = 1 if stacked else maps
        left, right = column / columns, (column + 1) / columns - (0.04 if columns > 1 else 0)
        top = 1 - (row * each + TITLE_PX) / height
        bottom = top - CELL_PX * rows / height
        suffix = str(number + 1) if number else ""
        first = stacked or number == 0
        layout[f"xaxis{suffix}"] = _axis(plan, plan.across) | {
            "domain": [left, right],
            "anchor": f"y{suffix}",
        }
        layout[f"yaxis{suffix}"] = _axis(plan, plan.down) | {
            "domain": [max(0.0, bottom), top],
            "anchor": f"x{suffix}",
            "showticklabels": first,
            **({} if first else {"title": ""}),
        }
        if plan.others:
            layout["annotations"].append(_caption(plan.title(place), left, top))
    return layout


def _axis(plan: _Plan, axis: int) -> dict[str, Any]:
    texts = [plain(value.text) for value in plan.values(axis)]
    return {
        "title": plan.spec.axes[axis].name,
        "type": "category",
        "categoryorder": "array",
        "categoryarray": texts,
        "range": [-0.5, len(texts) - 0.5],
        "showgrid": False,
        "ticks": "",
    }


def _caption(text: str, x: float, y: float) -> dict[str, Any]:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper"}
    font = {"size": 13, "color": "--ink"}
    return {
        **place,
        "text": text,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": font,
    }


def mapped(spec: SweepSpec) -> bool:
    """Tell whether a sweep is drawn as heat maps, which show one score at a time."""
    return len(shown_axes(spec)) > 1


def sweep_figure(title: str, spec: SweepSpec, stand: SweepStatus, name: str) -> Figure:
    """Draw what is known of a sweep by now.

    Args:
        title: What the sweep is called.
        spec: The sweep.
        stand: How it stands.
        name: The score that heat maps show.

    Raises:
        SpecError: The sweep cannot be laid out any more.
    """
    if mapped(spec):
        data, layout, narrow = along_several(spec, stand, name)
        title = f"{title}: {SCORES[name].words}"
    else:
        (data, layout), narrow = along_one(spec, stand), {}
    return Figure(
        name="sweep",
        title=title,
        summary=summary(title, spec, stand, name),
        data=data,
        layout=layout,
        narrow=narrow,
        table=table(spec, stand),
    )
