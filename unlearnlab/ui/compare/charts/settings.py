"""Parallel coordinates: settings that differ, and what came of them."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from unlearnlab.ui.kit.charts import (
    MOST_NAMED,
    SHORT,
    Figure,
    Trace,
    plain,
    run_colour,
    run_dash,
    run_mark,
    short,
)
from unlearnlab.views.charts import Axis, coordinates
from unlearnlab.views.runs import RunSummary

WORD = 16
"""Letters of a choice between two axes."""


def parallel(of: Sequence[RunSummary]) -> Figure:
    """Draw each run as a line through the settings that differ, and its scores."""
    found = coordinates(of)
    count = len(found.axes)
    lines = [
        _line(at, name, found.axes)
        for at, name in enumerate(found.labels)
        if any(axis.places[at] is not None for axis in found.axes)
    ]
    left = f" Left out for room: {', '.join(found.left_out)}." if found.left_out else ""
    names = ", ".join(axis.name for axis in found.axes)
    return Figure(
        name="compare-settings-scores",
        title="Settings and scores",
        summary=f"{len(lines)} runs over {names}.{left}",
        data=[] if not count else [*lines],
        layout={
            "height": 380,
            "margin": {
                "l": _left(found.axes),
                "r": 40,
                "t": 62,
                "b": 8,
            },
            "hovermode": "closest",
            "showlegend": 0 < len(lines) <= MOST_NAMED,
            "xaxis": {
                "range": [-0.05, count - 0.95],
                "side": "top",
                "tickvals": list(range(count)),
                "ticktext": [_axis_name(axis) for axis in found.axes],
                "tickfont": {"color": "--ink"},
                "tickangle": 0,
                "showgrid": False,
                "showline": False,
                "fixedrange": True,
            },
            "yaxis": {"visible": False, "range": [-0.08, 1.08], "fixedrange": True},
            "shapes": [_upright(at, axis) for at, axis in enumerate(found.axes)],
            "annotations": [
                mark for at, axis in enumerate(found.axes) for mark in _ticks(at, axis)
            ],
        },
        least_width=90 * count,
        table=[
            ["run", "name", *(axis.name for axis in found.axes)],
            *(
                [run, name, *(axis.texts[at] for axis in found.axes)]
                for at, (run, name) in enumerate(zip(found.run_ids, found.labels, strict=True))
            ),
        ],
    )


def _left(axes: Sequence[Axis]) -> int:
    """Return the room for the words on the first axis, in pixels."""
    letters = max((len(short(text)) for _, text in axes[0].ticks), default=0) if axes else 0
    return 18 + 7 * letters


def _axis_name(axis: Axis) -> str:
    words = plain(axis.name)
    return f"{words} ↑" if axis.score else "<br>".join(textwrap.wrap(words, 12))


def _line(at: int, name: str, axes: Sequence[Axis]) -> Trace:
    return {
        "x": list(range(len(axes))),
        "y": [axis.places[at] for axis in axes],
        "customdata": [[plain(axis.name), plain(axis.texts[at])] for axis in axes],
        "mode": "lines+markers",
        "name": short(name),
        "line": {"color": run_colour(at), "dash": run_dash(at), "width": 2.4},
        "marker": {"symbol": run_mark(at), "size": 9},
        "connectgaps": True,
        "hovertemplate": f"<b>{plain(name)}</b><br>%{{customdata[0]}}: %{{customdata[1]}}"
        "<extra></extra>",
    }


def _upright(at: int, axis: Axis) -> dict[str, Any]:
    line = {"color": "--edge" if axis.score else "--line", "width": 2}
    ends = {"x0": at, "x1": at, "y0": 0, "y1": 1}
    return {"type": "line", "layer": "below", "line": line, **ends}


def _ticks(at: int, axis: Axis) -> Iterator[dict[str, Any]]:
    for place, text in axis.ticks:
        yield {
            "x": at,
            "y": place,
            "text": short(text, SHORT if at == 0 else WORD),
            "xanchor": "right",
            "xshift": -8,
            "showarrow": False,
            "font": {"size": 12},
            "bgcolor": "--card/0.8",
        }
