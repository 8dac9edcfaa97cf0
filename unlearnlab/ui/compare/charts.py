"""The figures of runs beside each other. A run keeps its colour, dash and mark in all of them.

`overlay` draws one series of all runs, `plane` forgetting against utility, `heat_map` the terms of
the aggregate, `parallel` the settings that differ and what came of them.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain, starmap
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
    ANSWERS,
    BOTH,
    BY,
    By,
    Curve,
    Point,
    Track,
    comparable_series,
    coordinates,
    curve,
    fronts,
    gate,
    originals,
    point,
    points,
    published_points,
)
from unlearnlab.views.comparison import Matrix, matrix
from unlearnlab.views.run_table import NOTHING, Known, columns
from unlearnlab.views.runs import RunSummary, blocks_of_phases, labels, utility_test

UNSCORED = "None of these runs was scored."


def _line(look: int) -> dict[str, Any]:
    """Return the line of a run."""
    return {"color": run_colour(look), "dash": run_dash(look), "width": 2.4}


def numbered(run: RunSummary, name: str) -> str:
    """Write a run's number before its label, as short as a chart needs it."""
    return f"{run.number} {short(name)}"


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

    The losses of forget and retain answers, if both are asked for, stand one above the other.

    Args:
        of: The runs.
        tracks: Their curves by id, for as many as there are.
        series: As `comparable_series` lists them.
        by: What the horizontal axis counts.
        smoothing: Weight of the earlier points, from 0 to below 1.
        log: Whether the vertical axis is logarithmic.
    """
    title = comparable_series(of, tracks).get(series, series)
    parts = tuple(ANSWERS) if series == BOTH else (series,)
    most = max(FEWEST, POINTS // max(1, len(of) * len(parts)))
    data: list[Trace] = []
    ends: list[dict[str, Any]] = []
    latest: dict[str, list[str]] = {}
    for at, part in enumerate(parts):
        last: list[tuple[float, float, RunSummary]] = []
        for run, name in zip(of, labels(of), strict=True):
            track = tracks.get(run.run_id)
            found = curve(track, part, by, smoothing, most=most) if track else None
            if track is None or found is None:
                continue
            if smoothing and (raw := curve(track, part, by, most=most)):
                data.append(_pale(run, raw, at))
            data.append(_curve(run, name, found, at))
            known = [(x, y) for x, y in zip(found.xs, found.ys, strict=True) if y is not None]
            last += [(*known[-1], run)] if known else []
            told = f"{known[-1][1]:.3g}" if known else "no value"
            latest.setdefault(name, []).append(told)
        ends += _numbers_at_the_ends(last, at, log=log) if len(of) <= MOST_NAMED else []
    upright: dict[str, Any] = {"type": "log" if log else "linear", "tickformat": "~g", "nticks": 6}
    axes: dict[str, Any] = {"yaxis": {"title": plain(title), **upright}}
    if len(parts) == 2:
        upper, lower = ANSWERS.values()
        axes = {
            "yaxis": {"title": upper, "domain": [0.54, 1], **upright},
            "yaxis2": {"title": lower, "domain": [0, 0.46], "anchor": "x", **upright},
        }
    height = 350 if len(parts) == 1 else 420
    lines = "; ".join(f"{name} ends at {' and '.join(values)}" for name, values in latest.items())
    return Figure(
        name="compare-curves",
        title=f"{title[:1].upper()}{title[1:]} by {BY[by]}",
        summary=f"{title} of {len(latest)} runs. {lines}." if latest else "No curves.",
        data=data,
        layout={
            "height": height,
            "margin": {"l": 72, "r": 30, "t": 12, "b": 50},
            "hovermode": "x unified" if len(latest) <= TOLD_TOGETHER else "closest",
            "hoversubplots": "axis",
            "showlegend": 0 < len(latest) <= MOST_NAMED,
            "xaxis": {
                "title": BY[by],
                "showgrid": False,
                "rangemode": "tozero",
                "anchor": "y" if len(parts) == 1 else "y2",
            },
            **axes,
            "annotations": ends,
        },
        narrow={
            "dragmode": False,
            "height": height - 50,
            "margin": {"l": 66, "r": 26, "t": 12, "b": 50},
        },
    )


def _curve(run: RunSummary, name: str, found: Curve, at: int) -> Trace:
    return {
        "x": list(found.xs),
        "y": list(found.ys),
        "yaxis": f"y{at + 1 if at else ''}",
        "mode": "lines+markers" if len(found.xs) < 40 else "lines",
        "name": numbered(run, name),
        "meta": plain(name),
        "legendgroup": run.run_id,
        "showlegend": at == 0,
        "line": _line(run.look),
        "marker": {"symbol": run_mark(run.look), "size": 7},
        "connectgaps": False,
        "hovertemplate": f"%{{y:.4~g}}<extra>{numbered(run, name)}</extra>",
    }


def _pale(run: RunSummary, raw: Curve, at: int) -> Trace:
    return {
        "x": list(raw.xs),
        "y": list(raw.ys),
        "yaxis": f"y{at + 1 if at else ''}",
        "mode": "lines",
        "line": {"color": f"{run_colour(run.look)}/0.25", "width": 1},
        "legendgroup": run.run_id,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _numbers_at_the_ends(
    last: Sequence[tuple[float, float, RunSummary]], at: int, *, log: bool
) -> list[dict[str, Any]]:
    """Write each run's number at the end of its curve, unless it would cover another."""
    placed = [(x, math.log10(y) if log else y, run) for x, y, run in last if not log or y > 0]
    heights = [y for _, y, _ in placed]
    room = (max(heights) - min(heights)) / 14 if heights else 0.0
    found: list[dict[str, Any]] = []
    taken: list[tuple[float, float]] = []
    furthest = max((x for x, _, _ in placed), default=0.0)
    for x, y, run in placed:
        if any(abs(y - v) <= room and abs(x - u) <= furthest / 20 for u, v in taken):
            continue
        taken.append((x, y))
        found.append(
            {
                "text": str(run.number),
                "x": x,
                "y": y,
                "yref": f"y{at + 1 if at else ''}",
                "xanchor": "left",
                "xshift": 7,
                "showarrow": False,
                "font": {"color": run_colour(run.look), "size": 12.5},
            }
        )
    return found


# ---- forgetting against utility

PALEST = 0.12
"""Opacity of a mark at a MIA score of 0; its edge is never pale."""

LETTER, LINE = 0.0105, 0.06
"""Width of a letter and height of a line of labels, as shares of the axes on a usual screen."""

MARK = 0.02
"""Half the width of a mark."""

WHOLE = (-0.04, 1.06)
"""Range of an axis that shows everything."""

SMALLEST = 0.12
"""Least width of a range: a magnified nothing looks like a difference."""

Range = tuple[float, float]


def _zoomed(values: Sequence[float]) -> Range:
    """Return a range around values, with room for the labels beside them."""
    if not values:
        return WHOLE
    low, high = min(values), max(values)
    room = max(0.16 * (high - low), (SMALLEST - (high - low)) / 2, 0.02)
    return max(WHOLE[0], low - room), min(WHOLE[1], high + room)


def plane(
    of: Sequence[RunSummary],
    *,
    by: str = "forgotten",
    reference: Scores | None = None,
    published: Sequence[Published] = (),
    zoom: bool = True,
) -> Figure:
    """Draw forgetting against utility: runs by colour and number, the gate, the Pareto front.

    The MIA score is how full a mark is.

    Args:
        of: The runs.
        by: Key of the score that counts as forgetting.
        reference: Scores of the retrained model.
        published: Published results; those that state that score become hollow marks.
        zoom: Whether the axes show the runs alone; else all that the scores can be.
    """
    found, bound, utility = points(of, by), gate(of), utility_test(of)
    stretches = fronts(of, found)
    best = list(chain.from_iterable(stretches))
    hollow = published_points(of, published, by)
    retrained = point("retrained model", reference, by) if reference else None
    models = [*originals(of, by), *([retrained] if retrained else [])]
    # Stairs: what lies below and left of them is beaten, if it was measured alike.
    stairs: Trace = {
        "x": [x for stretch in stretches for x in (*(one.x for one in stretch), None)][:-1],
        "y": [y for stretch in stretches for y in (*(one.y for one in stretch), None)][:-1],
        "mode": "lines",
        "line": {"color": "--mute", "width": 1.6, "dash": "dot", "shape": "vh"},
        "name": "Pareto front",
        "hoverinfo": "skip",
    }
    across = _zoomed([one.x for one in found]) if zoom else WHOLE
    up = _zoomed([one.y for one in found]) if zoom else WHOLE
    data = [
        stairs,
        _hollow(hollow, "published", "circle-open"),
        _hollow(models, "original and retrained", "x-thin-open"),
        *starmap(_run_mark, zip(found, _label_sides(found, models, across, up), strict=True)),
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
    head: list[Cell] = ["what", "number", "run", "name", by, utility, "MIA score"]
    on_front = ("", "yes")
    kinds = (("run", found), ("model", models), ("published", hollow))
    rows: list[list[Cell]] = [
        [
            *(kind, one.number, one.run_id, one.label, one.x, one.y, one.mia_score),
            on_front[one in best],
            one.note,
        ]
        for kind, group in kinds
        for one in group
    ]
    return Figure(
        name="compare-forgetting-utility",
        title=f"Forgetting against {utility}; the fuller a mark, the higher its MIA score",
        summary=_plane_summary(found, best, bound, utility),
        data=[trace for trace in data if trace["x"]],
        layout={
            "height": 400,
            "margin": {"l": 60, "r": 12, "t": 12, "b": 50},
            "hovermode": "closest",
            "xaxis": {"title": f"{SCORES[by].words} →", "range": list(across), "nticks": 7},
            "yaxis": {"title": f"{utility} →", "range": list(up), "nticks": 7},
            "shapes": [] if bound is None else [gate_line],
            "annotations": [] if bound is None else [gate_label],
            "showlegend": 0 < len(found) <= MOST_NAMED,
        },
        narrow={
            "height": 330,
            "margin": {"l": 56, "r": 6, "t": 8, "b": 50},
        },
        table=[[*head, "on the front", "note"], *rows],
    )


def _run_mark(one: Point, label: tuple[str, str]) -> Trace:
    text, side = label
    mia, colour = one.mia_score, run_colour(one.look)
    told = "not measured" if mia is None else f"{mia:.2f}"
    opacity = PALEST + (1 - PALEST) * (mia or 0.0)
    name = f"{one.number} {short(one.label)}"
    return {
        "x": [one.x],
        "y": [one.y],
        "text": [text],
        "customdata": [[plain(f"{one.number} {one.label}"), plain(one.note), told]],
        "mode": "markers+text",
        "textposition": side,
        "textfont": {"color": "--ink", "size": 12.5},
        "cliponaxis": False,
        "name": name,
        "marker": {
            "size": 15,
            "symbol": run_mark(one.look),
            "color": "--card" if mia is None else f"{colour}/{opacity:.3f}",
            "line": {"color": colour, "width": 2.4},
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


def _label_sides(
    of: Sequence[Point], others: Sequence[Point], across: Range, up: Range
) -> list[tuple[str, str]]:
    """Choose for each point a label and a side where it covers no mark and no other label.

    Where its name has no room, its number alone stands there; where neither has, above the mark.
    """

    def box(x: float, y: float, wide: float, high: float) -> Box:
        return x - wide, y - high, x + wide, y + high

    def meet(a: Box, b: Box) -> bool:
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    def place(one: Point) -> tuple[float, float]:
        return (
            (one.x - across[0]) / (across[1] - across[0]),
            (one.y - up[0]) / (up[1] - up[0]),
        )

    taken = [box(*place(one), MARK, 1.5 * MARK) for one in (*of, *others)]

    def free(one: Point, text: str) -> str:
        half, (x, y) = LETTER * len(text) / 2, place(one)
        for side, right, above in _SIDES:
            label = box(x + right * (half + 1.6 * MARK), y + above * LINE, half, LINE / 2.4)
            if label[0] > 0 and label[2] < 1 and not any(meet(label, b) for b in taken):
                taken.append(label)
                return side
        return ""

    found: list[tuple[str, str]] = []
    for one in of:
        whole = f"{one.number} {short(one.label)}"
        if side := free(one, whole):
            found.append((whole, side))
        else:
            found.append((one.number, free(one, one.number) or "top center"))
    return found


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
        f"{len(found)} runs by forgetting and {utility}. No run measured alike beats these in "
        f"both: {unbeaten}.{gated}"
    )


# ---- terms of the aggregate


ROW, DENSE_ROW = 30, 17
"""Height of a row in pixels, and that of one of many."""


def heat_map(of: Sequence[RunSummary]) -> Figure:
    """Draw the terms of the task aggregate: one row for each run, zeroes framed."""
    found, scored = matrix(of), [run for run in of if run.after]
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
            "height": 84 + (ROW if len(rows) <= MOST_NAMED else DENSE_ROW) * max(1, len(rows)),
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
                "ticktext": [
                    numbered(run, name) for run, name in zip(scored, found.labels, strict=True)
                ],
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


def parallel(
    of: Sequence[RunSummary], chosen: Sequence[str] = (), known: Known = NOTHING
) -> Figure:
    """Draw each run as a line through the settings that differ, and its scores.

    Args:
        of: The runs.
        chosen: Keys of columns as axes, in order; settings that differ and scores if empty.
        known: Measures and names of sweeps.
    """
    found = coordinates(of, chosen, known)
    axes, count = found.axes, len(found.axes)
    lines: list[Trace] = [
        {
            "x": list(range(count)),
            "y": [axis.places[place] for axis in axes],
            "customdata": [[plain(axis.name), plain(axis.texts[place])] for axis in axes],
            "mode": "lines+markers",
            "name": numbered(run, name),
            "line": _line(run.look),
            "marker": {"symbol": run_mark(run.look), "size": 9},
            "connectgaps": True,
            "hovertemplate": f"<b>{plain(name)}</b><br>%{{customdata[0]}}: %{{customdata[1]}}"
            "<extra></extra>",
        }
        for place, (run, name) in enumerate(zip(of, found.labels, strict=True))
        if any(axis.places[place] is not None for axis in axes)
    ]
    left = f" Left out for room: {', '.join(found.left_out)}." if found.left_out else ""
    # Words on the first axis need room beside it.
    letters = max((len(short(text)) for axis in axes[:1] for _, text in axis.ticks), default=0)
    names = [
        f"{plain(axis.name)} {columns()[axis.key].mark}".strip()
        if axis.score
        else "<br>".join(textwrap.wrap(plain(axis.name), 12))
        for axis in axes
    ]
    return Figure(
        name="compare-settings-scores",
        title="Settings and scores; drag along an axis to filter the list",
        summary=f"{len(lines)} runs over {', '.join(axis.name for axis in axes)}.{left}",
        data=lines,
        layout={
            "height": 380,
            "margin": {"l": 18 + 7 * letters, "r": 40, "t": 62, "b": 8},
            "hovermode": "closest",
            "dragmode": False,
            "showlegend": 0 < len(lines) <= MOST_NAMED,
            # What a stretch of an axis means in a query of the list.
            "meta": {
                "axes": [
                    {
                        "key": axis.key,
                        "low": axis.low,
                        "high": axis.high,
                        "log": axis.log,
                        "choices": list(axis.choices),
                    }
                    for axis in axes
                ]
            },
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


# ---- two runs

BAR = 0.36
"""Half the height of a bar, in rows."""


def term_pairs(first: RunSummary, second: RunSummary) -> Figure:
    """Draw both runs' terms as pairs of marks, joined where they differ; up is good."""
    pair = (first, second)
    found = matrix(pair)
    rows = list(range(len(found.columns)))
    both = len(found.values) == 2
    joined: Trace = {
        "x": [x for at in rows for x in (*(row[at] for row in found.values), None)],
        "y": [y for at in rows for y in (*(at for _ in found.values), None)],
        "mode": "lines",
        "line": {"color": "--edge", "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    data: list[Trace] = [joined] if both else []
    for run, name, values in zip(
        (run for run in pair if run.after), found.labels, found.values, strict=True
    ):
        marks: Trace = {
            "x": list(values),
            "y": rows,
            "mode": "markers",
            "name": numbered(run, name),
            "marker": {
                "symbol": run_mark(run.look),
                "size": 11,
                "color": run_colour(run.look),
            },
            "customdata": [plain(column.text) for column in found.columns],
            "hovertemplate": f"<b>{plain(name)}</b><br>%{{customdata}}: %{{x:.3f}}<extra></extra>",
        }
        data.append(marks)

    def told(at: int) -> str:
        values = (row[at] for row in found.values)
        return " and ".join("none" if value is None else f"{value:.2f}" for value in values)

    lines = "; ".join(f"{column.text} {told(at)}" for at, column in enumerate(found.columns))
    return Figure(
        name="contrast-terms",
        title="Term by term, 1 is best",
        summary=f"Terms of {' and '.join(found.labels)}: {lines}." if lines else UNSCORED,
        data=data,
        layout={
            "height": 90 + 24 * max(1, len(rows)),
            "margin": {"l": 150, "r": 12, "t": 8, "b": 40},
            "hovermode": "closest",
            "showlegend": bool(data),
            "xaxis": {"range": [-0.03, 1.03], "dtick": 0.25},
            "yaxis": {
                "autorange": "reversed",
                "tickvals": rows,
                "ticktext": [plain(column.text) for column in found.columns],
                "showgrid": False,
            },
        },
        table=[
            ["term", *found.labels],
            *([c.key, *(row[at] for row in found.values)] for at, c in enumerate(found.columns)),
        ],
    )


def layer_pairs(
    first: RunSummary, second: RunSummary, changes: Mapping[str, Mapping[int, float]]
) -> Figure:
    """Draw which blocks both runs trained, and how far the weights of each moved.

    Args:
        first: One run.
        second: The other.
        changes: Relative change of the weights by run and block, for as many as are known.
    """
    pair = tuple(zip((first, second), labels((first, second)), strict=True))
    shapes: list[dict[str, Any]] = []
    rows: list[list[Cell]] = [["run", "phase", "block", "relative change"]]
    names: list[str] = []
    data: list[Trace] = []
    blocks = 0
    for run, name in pair:
        blocks = max(blocks, run.spec.model.blocks or 0)
        for number, phase in enumerate(run.spec.phases):
            trained = phase.blocks(run.spec.model.blocks or (phase.last_layer or 0) + 1)
            blocks = max(blocks, trained.stop)
            at = len(names)
            several = f", phase {number + 1}" if len(run.spec.phases) > 1 else ""
            names.append(f"{run.number}{several}")
            shapes.append(
                _shape(
                    run_colour(run.look),
                    kind="rect",
                    x0=trained.start - 0.45,
                    x1=trained.stop - 0.55,
                    y0=at - BAR,
                    y1=at + BAR,
                    yref="y2",
                    fillcolor=f"{run_colour(run.look)}/0.35",
                )
            )
            moved = changes.get(run.run_id, {})
            rows += ([run.run_id, number + 1, block, moved.get(block)] for block in trained)
        if moved := changes.get(run.run_id):
            line: Trace = {
                "x": list(moved),
                "y": list(moved.values()),
                "mode": "lines+markers",
                "name": numbered(run, name),
                "line": _line(run.look),
                "marker": {"symbol": run_mark(run.look), "size": 8},
                "hovertemplate": f"<b>{plain(name)}</b><br>block %{{x}}: %{{y:.2%}}<extra></extra>",
            }
            data.append(line)
    told = "; ".join(
        f"{name} trains {', '.join(blocks_of_phases(run)) or 'nothing'}" for run, name in pair
    )
    # Without a trace there, Plotly draws no axis.
    ghost: Trace = {
        "name": "",
        "x": [0],
        "y": [0],
        "yaxis": "y2",
        "mode": "markers",
        "marker": {"opacity": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    share = 0.34 if data else 1.0
    return Figure(
        name="contrast-layers",
        title="Layers: what was trained" + (", and how far its weights moved" if data else ""),
        summary=f"Trained blocks: {told}.",
        data=[ghost, *data],
        layout={
            "height": 380 if data else 110 + 30 * len(names),
            "margin": {"l": 84, "r": 12, "t": 8, "b": 46},
            "hovermode": "closest",
            "showlegend": bool(data),
            "xaxis": {
                "title": "block",
                "range": [-0.6, max(1, blocks) - 0.4],
                "dtick": 1 if blocks <= 32 else 4,
                "showgrid": False,
                "anchor": "y" if data else "y2",
            },
            "yaxis": {
                "domain": [0, 0.58],
                "visible": bool(data),
                "title": "relative change",
                "tickformat": ".1~%",
                "rangemode": "tozero",
                "nticks": 5,
            },
            "yaxis2": {
                "domain": [1 - share, 1],
                "range": [len(names) - 0.4, -0.6],
                "tickvals": list(range(len(names))),
                "ticktext": names,
                "showgrid": False,
            },
            "shapes": shapes,
        },
        table=rows,
    )
