"""Forgetting against utility: MIA as colour, the gate, the Pareto front, what others published."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearnlab.comparing.entries import Entry
from unlearnlab.comparing.points import (
    Across,
    Point,
    front,
    gate,
    originals,
    point,
    points,
    published_points,
)
from unlearnlab.metrics import Scores
from unlearnlab.published import Published
from unlearnlab.ui.charts import Cell, Figure, Trace, plain, run_mark, short

ACROSS: Mapping[Across, str] = {
    "forgotten": "forgetting: mean of the forget terms →",
    "task_aggregate": "task aggregate →",
}

MIA_SCALE = [[0.0, "--membership/0.12"], [1.0, "--membership"]]

NAMED = 12
"""Runs up to this number are named in the plane; more would cover one another."""


def plane(
    of: Sequence[Entry],
    *,
    by: Across = "forgotten",
    reference: Scores | None = None,
    published: Sequence[Published] = (),
) -> Figure:
    """Draw forgetting against utility: MIA as colour, the gate, the Pareto front.

    Args:
        of: The runs.
        by: What counts as forgetting.
        reference: Scores of the retrained model.
        published: Results to stand beside them as hollow marks. Of published runs only the
            aggregate is known, so they are shown when it is what counts.
    """
    found = points(of, by)
    best = front(found)
    hollow = published_points(of, published) if by == "task_aggregate" else ()
    retrained = point("retrained model", reference, by) if reference else None
    models = [*originals(of, by), *([retrained] if retrained else [])]
    bound = gate(of)
    utility = of[0].utility_name if of else "Utility"
    data = [
        *_front_line(best),
        _hollow(hollow, "published", "circle-open"),
        _hollow(models, "original and retrained", "x-thin-open"),
        _runs(found, named=len(found) <= NAMED),
    ]
    return Figure(
        name="compare-forgetting-utility",
        title=f"Forgetting against {utility}",
        summary=_plane_summary(found, best, bound, utility),
        data=[trace for trace in data if trace["x"]],
        layout={
            "height": 420,
            "margin": {"l": 52, "r": 12, "t": 12, "b": 44},
            "hovermode": "closest",
            "xaxis": {"title": ACROSS[by], "range": [-0.04, 1.06], "dtick": 0.25},
            "yaxis": {"title": f"{utility} →", "range": [-0.04, 1.06], "dtick": 0.25},
            "shapes": _gate_line(bound),
            "annotations": _gate_words(bound, utility),
        },
        narrow={"height": 360},
        table=_plane_table(by, utility, found, models, hollow, best),
    )


def _runs(found: Sequence[Point], *, named: bool) -> Trace:
    known = [one.mia_score is not None for one in found]
    return {
        "x": [one.x for one in found],
        "y": [one.y for one in found],
        "text": [short(one.label) for one in found],
        "customdata": [[plain(one.label), one.note, _written(one.mia_score)] for one in found],
        "mode": "markers+text" if named else "markers",
        "textposition": _positions(found),
        "textfont": {"color": "--ink", "size": 12.5},
        "cliponaxis": False,
        "name": "runs",
        "marker": {
            "size": 15,
            "symbol": [run_mark(at) for at in range(len(found))],
            "color": [one.mia_score for one in found],
            "colorscale": MIA_SCALE,
            "cmin": 0,
            "cmax": 1,
            "line": {"color": "--ink", "width": 1.4},
            "showscale": any(known),
            "colorbar": {
                "title": {"text": "MIA score ↑", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
                "tickvals": [0, 0.5, 1],
            },
        },
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>forgetting %{x:.2f}, "
        "utility %{y:.2f}, MIA score %{customdata[2]}<extra></extra>",
    }


def _positions(found: Sequence[Point]) -> list[str]:
    """Write labels towards the middle, and those of neighbours on different sides."""
    sides: list[str] = []
    for at, one in enumerate(found):
        near = [
            sides[i]
            for i, other in enumerate(found[:at])
            if abs(other.y - one.y) < 0.06 and abs(other.x - one.x) < 0.45
        ]
        wanted = ["middle left", "top left", "bottom left"]
        if one.x < 0.5:
            wanted = ["middle right", "top right", "bottom right"]
        sides.append(next((side for side in wanted if side not in near), wanted[0]))
    return sides


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
    by: Across,
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
