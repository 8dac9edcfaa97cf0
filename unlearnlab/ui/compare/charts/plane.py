"""Forgetting against utility: MIA as colour, the gate, the Pareto front, what others published."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearnlab.metrics.published import Published
from unlearnlab.metrics.scores import SCORES, Scores
from unlearnlab.ui.kit.charts import MOST_NAMED, Cell, Figure, Trace, plain, run_mark, short
from unlearnlab.views.charts import (
    Point,
    front,
    gate,
    originals,
    point,
    points,
    published_points,
)
from unlearnlab.views.runs import RunSummary, utility_test

PALEST = 0.12
"""Share of the colour of membership that a MIA score of 0 has."""

MIA_SCALE = [[0.0, f"--membership/{PALEST}"], [1.0, "--membership"]]

LETTER, LINE = 0.0105, 0.06
"""Width of a letter and height of a line of labels, in the plane's units on a usual screen."""

MARK = 0.02
"""Half the width of a mark."""


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
        published: Results to stand beside them as hollow marks, where they state that score.
    """
    found = points(of, by)
    best = front(found)
    hollow = published_points(of, published, by)
    retrained = point("retrained model", reference, by) if reference else None
    models = [*originals(of, by), *([retrained] if retrained else [])]
    bound = gate(of)
    utility = utility_test(of)
    data = [
        *_front_line(best),
        _hollow(hollow, "published", "circle-open"),
        _hollow(models, "original and retrained", "x-thin-open"),
        *_runs(found, _sides([*found, *models])),
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
            "shapes": _gate_line(bound),
            "annotations": _gate_words(bound, utility),
            "coloraxis": {
                "colorscale": MIA_SCALE,
                "cmin": 0,
                "cmax": 1,
                "showscale": any(one.mia_score is not None for one in found),
                "colorbar": _COLOURBAR,
            },
            "showlegend": 0 < len(found) <= MOST_NAMED,
        },
        narrow={
            "height": 330,
            "margin": {"l": 56, "r": 6, "t": 8, "b": 50},
            "coloraxis": {"colorbar": {**_COLOURBAR, **_LYING}},
        },
        table=_plane_table(by, utility, found, models, hollow, best),
    )


_COLOURBAR: Mapping[str, Any] = {
    "title": {"text": "MIA score →", "side": "right", "font": {"size": 12.5}},
    "tickfont": {"size": 12.5},
    "thickness": 10,
    "outlinewidth": 0,
    "tickvals": [0, 0.5, 1],
}

_LYING: Mapping[str, Any] = {
    "orientation": "h",
    "y": 1,
    "yanchor": "bottom",
    "title": {"text": "MIA score →", "side": "top", "font": {"size": 12.5}},
}
"""The scale of colours on a phone: above the plane, not beside it."""


def _runs(found: Sequence[Point], sides: Sequence[str]) -> list[Trace]:
    return [
        {
            "x": [one.x],
            "y": [one.y],
            "text": [short(one.label)],
            "customdata": [[plain(one.label), plain(one.note), _written(one.mia_score)]],
            "mode": "markers+text" if side else "markers",
            "textposition": side or "top center",
            "textfont": {"color": "--ink", "size": 12.5},
            "cliponaxis": False,
            "name": short(one.label),
            "marker": {
                "size": 15,
                "symbol": run_mark(at),
                "color": _mia_colour(one.mia_score),
                "line": {"color": "--ink", "width": 1.4},
            },
            "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>forgetting %{x:.2f}, "
            "utility %{y:.2f}, MIA score %{customdata[2]}<extra></extra>",
        }
        for at, (one, side) in enumerate(zip(found, sides, strict=False))
    ]


def _mia_colour(score: float | None) -> str:
    return "--card" if score is None else f"--membership/{PALEST + (1 - PALEST) * score:.3f}"


_SCALE: Mapping[str, Any] = {
    "x": [None],
    "y": [None],
    "marker": {"color": [0], "coloraxis": "coloraxis"},
    "mode": "markers",
    "name": "MIA score",
    "showlegend": False,
    "hoverinfo": "skip",
}
"""Nothing but the reason for a scale of colours to be drawn."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def _sides(of: Sequence[Point]) -> list[str]:
    """Choose a side for each label where it covers no mark and no other label, if there is one."""
    taken = [_box(one.x, one.y, MARK, 1.5 * MARK) for one in of]
    sides: list[str] = []
    for one in of:
        half = LETTER * len(short(one.label)) / 2
        found = ""
        for side, across, up in _PLACES:
            x = one.x + across * (half + 1.6 * MARK)
            box = _box(x, one.y + up * LINE, half, LINE / 2.4)
            if box[0] > -0.03 and box[2] < 1.05 and not any(_meet(box, other) for other in taken):
                found = side
                taken.append(box)
                break
        sides.append(found)
    return sides


_PLACES = (
    ("middle right", 1, 0),
    ("middle left", -1, 0),
    ("top center", 0, 1),
    ("bottom center", 0, -1),
)


def _box(x: float, y: float, across: float, up: float) -> Box:
    return x - across, y - up, x + across, y + up


def _meet(one: Box, other: Box) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart


def _front_line(best: Sequence[Point]) -> list[Trace]:
    """Draw the front as stairs: what lies below and left of it is beaten."""
    return [
        {
            "x": [one.x for one in best],
            "y": [one.y for one in best],
            "mode": "lines",
            "line": {"color": "--mute", "width": 1.6, "dash": "dot", "shape": "vh"},
            "name": "Pareto front",
            "hoverinfo": "skip",
        }
    ]


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


def _gate_line(bound: float | None) -> list[dict[str, Any]]:
    if bound is None:
        return []
    line = {"color": "--bad", "width": 1.4, "dash": "dash"}
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": bound, "y1": bound}
    return [{"type": "line", "layer": "below", "line": line, **ends}]


def _gate_words(bound: float | None, utility: str) -> list[dict[str, Any]]:
    if bound is None:
        return []
    text = f"gate: {utility} {bound:.3f}"
    return [
        {
            "text": text,
            "x": 0.01,
            "xref": "paper",
            "xanchor": "left",
            "y": bound,
            "yanchor": "top",
            "showarrow": False,
            "font": {"color": "--bad", "size": 12.5},
        }
    ]


def _plane_summary(
    found: Sequence[Point], best: Sequence[Point], bound: float | None, utility: str
) -> str:
    if not found:
        return "None of these runs was scored."
    told = ", ".join(f"{one.label} {one.x:.2f} and {one.y:.2f}" for one in best)
    below = sum(one.y < bound for one in found) if bound is not None else 0
    gated = "" if bound is None else f" {below} below the gate of {bound:.3f}."
    return (
        f"{len(found)} runs by forgetting and {utility}. No other run beats these in both: "
        f"{told}.{gated}"
    )


def _plane_table(
    by: str,
    utility: str,
    found: Sequence[Point],
    models: Sequence[Point],
    hollow: Sequence[Point],
    best: Sequence[Point],
) -> list[list[Cell]]:
    head: list[Cell] = ["what", "run", "name", by, utility, "MIA score", "on the front", "note"]
    kinds = (("run", found), ("model", models), ("published", hollow))
    rows: list[list[Cell]] = [
        [
            kind,
            one.run_id,
            one.label,
            one.x,
            one.y,
            one.mia_score,
            "yes" if one in best else "",
            one.note,
        ]
        for kind, group in kinds
        for one in group
    ]
    return [head, *rows]


def _written(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
