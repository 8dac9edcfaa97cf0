"""Heat maps of a sweep along two axes, one map for each combination of values of further ones."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.metrics.scores import SCORES
from unlearnlab.runs.sweeps import SweepStatus
from unlearnlab.spec.axes import Value
from unlearnlab.spec.sweep import SweepSpec, expand_grid, shown_axes
from unlearnlab.ui.kit.charts import plain
from unlearnlab.ui.sweeps.scores import Found, Place, grouped

CELL_PX, TITLE_PX, FOOT_PX = 34, 30, 54
"""Heights of a cell, of a map's title, and of what stands under it."""

Trace = dict[str, Any]


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
    return traces, _layout(plan, stacked=False), _layout(plan, stacked=True)


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


def _layout(plan: _Plan, *, stacked: bool) -> dict[str, Any]:
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
