"""One series of several runs over one another."""

from collections.abc import Mapping, Sequence

from unlearnlab.ui.kit.charts import (
    MOST_NAMED,
    Figure,
    Trace,
    plain,
    run_colour,
    run_dash,
    run_mark,
    short,
)
from unlearnlab.views.charts import BY, By, Track, curve, offered
from unlearnlab.views.runs import RunSummary, labels

POINTS, FEWEST = 12000, 100
"""Points of all curves together, and of one however many there are."""


TOLD_TOGETHER = 12
"""Runs whose values one tooltip tells; of more it tells the nearest."""


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
        series: As `overlays.offered` lists them.
        by: What the horizontal axis counts.
        smoothing: Weight of what came before, from 0 to below 1.
        log: Whether the upright axis is logarithmic.
    """
    title = offered(list(tracks.values())).get(series, series)
    most = max(FEWEST, POINTS // max(1, len(of)))
    data: list[Trace] = []
    latest: list[str] = []
    for at, (run, name) in enumerate(zip(of, labels(of), strict=True)):
        mine = tracks.get(run.run_id)
        found = curve(mine, series, by, smoothing, most=most) if mine else None
        if mine is None or found is None:
            continue
        raw = curve(mine, series, by, most=most) if smoothing else None
        if raw is not None:
            data.append(_pale(at, raw.xs, raw.ys))
        data.append(_curve(at, name, found.xs, found.ys))
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


def _curve(at: int, name: str, xs: Sequence[float], ys: Sequence[float | None]) -> Trace:
    return {
        "x": list(xs),
        "y": list(ys),
        "mode": "lines+markers" if len(xs) < 40 else "lines",
        "name": short(name),
        "meta": plain(name),
        "line": {"color": run_colour(at), "dash": run_dash(at), "width": 2.4},
        "marker": {"symbol": run_mark(at), "size": 7},
        "connectgaps": False,
        "hovertemplate": f"%{{y:.4~g}}<extra>{short(name)}</extra>",
    }


def _pale(at: int, xs: Sequence[float], ys: Sequence[float | None]) -> Trace:
    return {
        "x": list(xs),
        "y": list(ys),
        "mode": "lines",
        "line": {"color": f"{run_colour(at)}/0.25", "width": 1},
        "showlegend": False,
        "hoverinfo": "skip",
    }
