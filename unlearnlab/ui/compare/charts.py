"""The figures of runs beside each other. A run keeps its colour, dash and mark in all of them.

`overlay` draws one series of all runs, `plane` forgetting against utility, `heat_map` the terms of
the aggregate, `parallel` the settings that differ and what came of them.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from unlearnlab.data.datasets import SPLITS
from unlearnlab.metrics.published import Published
from unlearnlab.metrics.scores import SCORES, Scores
from unlearnlab.ui.kit.charts import (
    MOST_NAMED,
    SHORT,
    Cell,
    Figure,
    Trace,
    plain,
    run_colour,
    run_dash,
    run_mark,
    short,
)
from unlearnlab.views.charts import (
    BY,
    By,
    Point,
    Track,
    coordinates,
    curve,
    front,
    gate,
    offered,
    originals,
    point,
    points,
    published_points,
)
from unlearnlab.views.comparison import Matrix, matrix
from unlearnlab.views.runs import RunSummary, labels, utility_test

UNSCORED = "None of these runs was scored."


def _line(place: int) -> dict[str, Any]:
    """Return the line of a run."""
    return {"color": run_colour(place), "dash": run_dash(place), "width": 2.4}


def _shape(colour: str, *, kind: str = "line", **more: Any) -> dict[str, Any]:
    return {"type": kind, "line": {"color": colour, "width": 2}, **more}


# ---- curves

POINTS, FEWEST = 12000, 100
"""Points of all curves together, and the least that each curve keeps."""

TOLD_TOGETHER = 12
"""Most runs whose values one tooltip shows; of more it shows the nearest."""


def overlay(
    of: Sequence[RunSummary],
    tracks: Mapping[str, Track],
    *,
    series: str,
    by: By = "step",
    smoothing: float = 0.0,
    log: bool = False,
) -> Figure:
    """Draw one series of all runs over one another; smoothed ones over their pale points.

    Args:
        of: The runs.
        tracks: Their curves by id, for as many as there are.
        series: As `offered` lists them.
        by: What the horizontal axis counts.
        smoothing: Weight of the earlier points, from 0 to below 1.
        log: Whether the vertical axis is logarithmic.
    """
    title = offered(list(tracks.values())).get(series, series)
    most = max(FEWEST, POINTS // max(1, len(of)))
    data: list[Trace] = []
    latest: list[str] = []
    for place, (run, name) in enumerate(zip(of, labels(of), strict=True)):
        track = tracks.get(run.run_id)
        found = curve(track, series, by, smoothing, most=most) if track else None
        if track is None or found is None:
            continue
        if smoothing and (raw := curve(track, series, by, most=most)):
            pale: Trace = {
                "x": list(raw.xs),
                "y": list(raw.ys),
                "mode": "lines",
                "line": {"color": f"{run_colour(place)}/0.25", "width": 1},
                "showlegend": False,
                "hoverinfo": "skip",
            }
            data.append(pale)
        drawn: Trace = {
            "x": list(found.xs),
            "y": list(found.ys),
            "mode": "lines+markers" if len(found.xs) < 40 else "lines",
            "name": short(name),
            "meta": plain(name),
            "line": _line(place),
            "marker": {"symbol": run_mark(place), "size": 7},
            "connectgaps": False,
            "hovertemplate": f"%{{y:.4~g}}<extra>{short(name)}</extra>",
        }
        data.append(drawn)
        known = [value for value in found.ys if value is not None]
        latest.append(f"{name} ends at {known[-1]:.3g}" if known else f"{name} has no value")
    return Figure(
        name="compare-curves",
        title=f"{title[:1].upper()}{title[1:]} by {BY[by]}",
        summary=f"{title} of {len(latest)} runs. {'; '.join(latest)}." if latest else "No curves.",
        data=data,
        layout={
            "height": 350,
            "margin": {"l": 72, "r": 12, "t": 12, "b": 50},
            "hovermode": "x unified" if len(latest) <= TOLD_TOGETHER else "closest",
            "showlegend": 0 < len(latest) <= MOST_NAMED,
            "xaxis": {"title": BY[by], "showgrid": False, "rangemode": "tozero"},
            "yaxis": {
                "title": plain(title),
                "type": "log" if log else "linear",
                "tickformat": "~g",
                "nticks": 6,
            },
        },
        narrow={
            "dragmode": False,
            "height": 300,
            "margin": {"l": 66, "r": 8, "t": 12, "b": 50},
        },
    )


# ---- forgetting against utility

PALEST = 0.12
"""Opacity of the membership colour at a MIA score of 0."""

LETTER, LINE = 0.0105, 0.06
"""Width of a letter and height of a line of labels, in the plane's units on a usual screen."""

MARK = 0.02
"""Half the width of a mark."""

_COLOUR_BAR: Mapping[str, Any] = {
    "title": {"text": "MIA score →", "side": "right", "font": {"size": 12.5}},
    "tickfont": {"size": 12.5},
    "thickness": 10,
    "outlinewidth": 0,
    "tickvals": [0, 0.5, 1],
}

_COLOUR_BAR_ABOVE: Mapping[str, Any] = {
    **_COLOUR_BAR,
    "orientation": "h",
    "y": 1,
    "yanchor": "bottom",
    "title": {"text": "MIA score →", "side": "top", "font": {"size": 12.5}},
}
"""On a phone: above the plane, not beside it."""

_SCALE: Mapping[str, Any] = {
    "x": [None],
    "y": [None],
    "marker": {"color": [0], "coloraxis": "coloraxis"},
    "mode": "markers",
    "name": "MIA score",
    "showlegend": False,
    "hoverinfo": "skip",
}
"""An empty trace: without one, Plotly draws no colour bar."""


def plane(
    of: Sequence[RunSummary],
    *,
    by: str = "forgotten",
    reference: Scores | None = None,
    published: Sequence[Published] = (),
) -> Figure:
    """Draw forgetting against utility: MIA as colour, the gate, the Pareto front.

    Args:
        of: The runs.
        by: Key of the score that counts as forgetting.
        reference: Scores of the retrained model.
        published: Published results; those that state that score become hollow marks.
    """
    found, bound, utility = points(of, by), gate(of), utility_test(of)
    best = front(found)
    hollow = published_points(of, published, by)
    retrained = point("retrained model", reference, by) if reference else None
    models = [*originals(of, by), *([retrained] if retrained else [])]
    # Stairs: what lies below and left of them is beaten.
    stairs: Trace = {
        "x": [one.x for one in best],
        "y": [one.y for one in best],
        "mode": "lines",
        "line": {"color": "--mute", "width": 1.6, "dash": "dot", "shape": "vh"},
        "name": "Pareto front",
        "hoverinfo": "skip",
    }
    data = [
        stairs,
        _hollow(hollow, "published", "circle-open"),
        _hollow(models, "original and retrained", "x-thin-open"),
        *(
            _run_mark(place, one, side)
            for place, (one, side) in enumerate(
                zip(found, _label_sides([*found, *models]), strict=False)
            )
        ),
    ]
    dashed = {"color": "--bad", "width": 1.4, "dash": "dash"}
    gate_line = {"type": "line", "layer": "below", "line": dashed, "xref": "paper"}
    gate_line |= {"x0": 0, "x1": 1, "y0": bound, "y1": bound}
    gate_label = {
        "text": f"gate: {utility} {bound or 0:.3f}",
        "x": 0.01,
        "xref": "paper",
        "xanchor": "left",
        "y": bound,
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": "--bad", "size": 12.5},
    }
    head: list[Cell] = ["what", "run", "name", by, utility, "MIA score", "on the front", "note"]
    on_front = ("", "yes")
    kinds = (("run", found), ("model", models), ("published", hollow))
    rows: list[list[Cell]] = [
        [kind, one.run_id, one.label, one.x, one.y, one.mia_score, on_front[one in best], one.note]
        for kind, group in kinds
        for one in group
    ]
    return Figure(
        name="compare-forgetting-utility",
        title=f"Forgetting against {utility}",
        summary=_plane_summary(found, best, bound, utility),
        data=[*(trace for trace in data if trace["x"]), _SCALE],
        layout={
            "height": 400,
            "margin": {"l": 60, "r": 12, "t": 12, "b": 50},
            "hovermode": "closest",
            "xaxis": {"title": f"{SCORES[by].words} →", "range": [-0.04, 1.06], "dtick": 0.25},
            "yaxis": {"title": f"{utility} →", "range": [-0.04, 1.06], "dtick": 0.25},
            "shapes": [] if bound is None else [gate_line],
            "annotations": [] if bound is None else [gate_label],
            "coloraxis": {
                "colorscale": [[0.0, f"--membership/{PALEST}"], [1.0, "--membership"]],
                "cmin": 0,
                "cmax": 1,
                "showscale": any(one.mia_score is not None for one in found),
                "colorbar": _COLOUR_BAR,
            },
            "showlegend": 0 < len(found) <= MOST_NAMED,
        },
        narrow={
            "height": 330,
            "margin": {"l": 56, "r": 6, "t": 8, "b": 50},
            "coloraxis": {"colorbar": _COLOUR_BAR_ABOVE},
        },
        table=[head, *rows],
    )


def _run_mark(place: int, one: Point, side: str) -> Trace:
    mia = one.mia_score
    told = "not measured" if mia is None else f"{mia:.2f}"
    opacity = PALEST + (1 - PALEST) * (mia or 0.0)
    return {
        "x": [one.x],
        "y": [one.y],
        "text": [short(one.label)],
        "customdata": [[plain(one.label), plain(one.note), told]],
        "mode": "markers+text" if side else "markers",
        "textposition": side or "top center",
        "textfont": {"color": "--ink", "size": 12.5},
        "cliponaxis": False,
        "name": short(one.label),
        "marker": {
            "size": 15,
            "symbol": run_mark(place),
            "color": "--card" if mia is None else f"--membership/{opacity:.3f}",
            "line": {"color": "--ink", "width": 1.4},
        },
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>forgetting %{x:.2f}, "
        "utility %{y:.2f}, MIA score %{customdata[2]}<extra></extra>",
    }


def _hollow(found: Sequence[Point], name: str, symbol: str) -> Trace:
    return {
        "x": [one.x for one in found],
        "y": [one.y for one in found],
        "customdata": [[plain(one.label), plain(one.note)] for one in found],
        "mode": "markers",
        "marker": {
            "size": 10,
            "symbol": symbol,
            "color": "--mute",
            "line": {"color": "--mute", "width": 1.8},
        },
        "name": name,
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{x:.2f}, %{y:.2f}"
        "<extra></extra>",
    }


Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

_SIDES = (
    ("middle right", 1, 0),
    ("middle left", -1, 0),
    ("top center", 0, 1),
    ("bottom center", 0, -1),
)


def _label_sides(of: Sequence[Point]) -> list[str]:
    """Choose for each label a side where it covers no mark and no other label; "" if all do."""

    def box(x: float, y: float, across: float, up: float) -> Box:
        return x - across, y - up, x + across, y + up

    def meet(a: Box, b: Box) -> bool:
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    taken = [box(one.x, one.y, MARK, 1.5 * MARK) for one in of]
    sides: list[str] = []
    for one in of:
        half = LETTER * len(short(one.label)) / 2
        sides.append("")
        for side, across, up in _SIDES:
            x, y = one.x + across * (half + 1.6 * MARK), one.y + up * LINE
            label = box(x, y, half, LINE / 2.4)
            if label[0] > -0.03 and label[2] < 1.05 and not any(meet(label, b) for b in taken):
                sides[-1] = side
                taken.append(label)
                break
    return sides


def _plane_summary(
    found: Sequence[Point], best: Sequence[Point], bound: float | None, utility: str
) -> str:
    if not found:
        return UNSCORED
    unbeaten = ", ".join(f"{one.label} {one.x:.2f} and {one.y:.2f}" for one in best)
    gated = ""
    if bound is not None:
        gated = f" {sum(one.y < bound for one in found)} below the gate of {bound:.3f}."
    return (
        f"{len(found)} runs by forgetting and {utility}. No other run beats these in both: "
        f"{unbeaten}.{gated}"
    )


# ---- terms of the aggregate


def heat_map(of: Sequence[RunSummary]) -> Figure:
    """Draw the terms of the task aggregate: one row for each run, zeroes framed."""
    found = matrix(of)
    rows = list(range(len(found.labels)))
    forget = sum(column.split == "forget" for column in found.columns)
    apart = _shape("--edge", x0=forget - 0.5, x1=forget - 0.5, y0=0, y1=1, yref="paper")
    zeroes = [
        _shape("--bad", kind="rect", x0=x - 0.46, x1=x + 0.46, y0=y - 0.42, y1=y + 0.42)
        for y, row in enumerate(found.values)
        for x, value in enumerate(row)
        if value is not None and value <= 0
    ]
    data: list[Trace] = []
    heads: list[dict[str, Any]] = []
    for split in SPLITS:
        places = [at for at, column in enumerate(found.columns) if column.split == split]
        cells: Trace = {
            "type": "heatmap",
            "name": split,
            "z": [[row[at] for at in places] for row in found.values],
            "x": places,
            "y": rows,
            "customdata": [
                [[plain(name), plain(found.columns[at].text)] for at in places]
                for name in found.labels
            ],
            "zmin": 0,
            "zmax": 1,
            "xgap": 3,
            "ygap": 3,
            "colorscale": [[0, "--soft"], [1, f"--{split}/0.6"]],
            "showscale": False,
            "texttemplate": "%{z:.2f}",
            "textfont": {"size": 12.5, "color": "--ink"},
            "hoverongaps": False,
            "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}: %{z:.3f}<extra></extra>",
        }
        data.append(cells)
        head = {
            "text": f"<b>{split.capitalize()} ↑</b>",
            "x": (places[0] + places[-1]) / 2 if places else 0,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "yshift": 38,
            "showarrow": False,
            "font": {"color": f"--{split}", "size": 13},
        }
        heads += [head] if places else []
    bare: dict[str, Any] = {"showgrid": False, "ticks": ""}
    return Figure(
        name="compare-terms",
        title="Terms of the task aggregate by run",
        summary=_heat_summary(found),
        data=data if rows else [],
        layout={
            "height": 84 + 30 * max(1, len(rows)),
            "margin": {"l": 10, "r": 6, "t": 64, "b": 12},
            "hovermode": "closest",
            "xaxis": {
                "side": "top",
                "tickvals": list(range(len(found.columns))),
                "ticktext": [plain(one.name).replace(" ", "<br>", 1) for one in found.columns],
                "tickangle": 0,
                **bare,
            },
            "yaxis": {
                "autorange": "reversed",
                "automargin": True,
                "tickvals": rows,
                "ticktext": [short(name) for name in found.labels],
                "tickfont": {"color": "--ink"},
                **bare,
            },
            "shapes": [*([apart] if 0 < forget < len(found.columns) else []), *zeroes],
            "annotations": heads,
        },
        least_width=760,
        table=[
            ["run", "name", *(column.key for column in found.columns)],
            *(
                [run, name, *values]
                for run, name, values in zip(found.run_ids, found.labels, found.values, strict=True)
            ),
        ],
    )


def _heat_summary(found: Matrix) -> str:
    if not found.labels:
        return UNSCORED
    lows: list[str] = []
    for name, row in zip(found.labels, found.values, strict=True):
        known = [(value, at) for at, value in enumerate(row) if value is not None]
        if known:
            value, at = min(known)
            lows.append(f"{name} lowest at {found.columns[at].text}, {value:.2f}")
    return f"{len(found.columns)} terms of {len(found.labels)} runs. {'; '.join(lows)}."


# ---- settings that differ

WORD = 16
"""Letters of a choice between two axes."""


def parallel(of: Sequence[RunSummary]) -> Figure:
    """Draw each run as a line through the settings that differ, and its scores."""
    found = coordinates(of)
    axes, count = found.axes, len(found.axes)
    lines: list[Trace] = [
        {
            "x": list(range(count)),
            "y": [axis.places[place] for axis in axes],
            "customdata": [[plain(axis.name), plain(axis.texts[place])] for axis in axes],
            "mode": "lines+markers",
            "name": short(name),
            "line": _line(place),
            "marker": {"symbol": run_mark(place), "size": 9},
            "connectgaps": True,
            "hovertemplate": f"<b>{plain(name)}</b><br>%{{customdata[0]}}: %{{customdata[1]}}"
            "<extra></extra>",
        }
        for place, name in enumerate(found.labels)
        if any(axis.places[place] is not None for axis in axes)
    ]
    left = f" Left out for room: {', '.join(found.left_out)}." if found.left_out else ""
    # Words on the first axis need room beside it.
    letters = max((len(short(text)) for axis in axes[:1] for _, text in axis.ticks), default=0)
    names = [
        f"{plain(axis.name)} ↑" if axis.score else "<br>".join(textwrap.wrap(plain(axis.name), 12))
        for axis in axes
    ]
    return Figure(
        name="compare-settings-scores",
        title="Settings and scores",
        summary=f"{len(lines)} runs over {', '.join(axis.name for axis in axes)}.{left}",
        data=lines,
        layout={
            "height": 380,
            "margin": {"l": 18 + 7 * letters, "r": 40, "t": 62, "b": 8},
            "hovermode": "closest",
            "showlegend": 0 < len(lines) <= MOST_NAMED,
            "xaxis": {
                "range": [-0.05, count - 0.95],
                "side": "top",
                "tickvals": list(range(count)),
                "ticktext": names,
                "tickfont": {"color": "--ink"},
                "tickangle": 0,
                "showgrid": False,
                "showline": False,
                "fixedrange": True,
            },
            "yaxis": {"visible": False, "range": [-0.08, 1.08], "fixedrange": True},
            "shapes": [
                _shape(
                    "--edge" if axis.score else "--line", layer="below", x0=at, x1=at, y0=0, y1=1
                )
                for at, axis in enumerate(axes)
            ],
            "annotations": [
                {
                    "x": at,
                    "y": place,
                    "text": short(text, SHORT if at == 0 else WORD),
                    "xanchor": "right",
                    "xshift": -8,
                    "showarrow": False,
                    "font": {"size": 12},
                    "bgcolor": "--card/0.8",
                }
                for at, axis in enumerate(axes)
                for place, text in axis.ticks
            ],
        },
        least_width=90 * count,
        table=[
            ["run", "name", *(axis.name for axis in axes)],
            *(
                [run, name, *(axis.texts[at] for axis in axes)]
                for at, (run, name) in enumerate(zip(found.run_ids, found.labels, strict=True))
            ),
        ],
    )
