"""Charts of several runs as SVG. Number, colour and dash tell the runs apart."""

import math
from collections.abc import Sequence
from html import escape

from unlearnlab.exports.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, grid, upward
from unlearnlab.exports.compared import Compared
from unlearnlab.metrics.scores import Scores
from unlearnlab.views.colours import RUNS
from unlearnlab.views.compare.overlays import Curve, curve, offered
from unlearnlab.views.compare.points import Point, front, gate, originals, point, points
from unlearnlab.views.runs import utility_test

DASHES = ("none", "6 4", "1.5 4", "8 3 1.5 3")

ROOM = 18
"""For the numbers at the ends of curves."""


LINE = 11
"""Height of a number."""

ACROSS = Axis(0, 1, LEFT, WIDTH - RIGHT - ROOM)
UP = Axis(0, 1, HEIGHT - BOTTOM, TOP)
"""Of the plane."""


def look(at: int) -> str:
    """Return the style of a run, by its place among them."""
    return f"--role:var(--run-{at % RUNS + 1});--dash:{DASHES[at // RUNS % len(DASHES)]}"


def badge(at: int) -> str:
    """Return the number of a run in its colour."""
    return f'<i class="badge" style="{look(at)}">{at + 1}</i>'


def curves(of: Compared, series: str) -> str:
    """Draw one series of all runs by optimizer step; empty if none of them has it."""
    found = [
        (at, line)
        for at, run in enumerate(of.entries)
        if (line := curve(of.tracks[run.run_id], series)) is not None
        and any(y is not None for y in line.ys)
    ]
    values = [y for _, line in found for y in line.ys if y is not None]
    if not values:
        return ""
    title = offered(list(of.tracks.values()))[series]
    steps = max(1.0, *(x for _, line in found for x in line.xs))
    across = Axis(0, steps, LEFT, WIDTH - RIGHT - ROOM)
    up = upward(values, share=series.startswith(("knowledge", "regurgitation")), log=False)
    placed = [(at, _places(line, across, up)) for at, line in found]
    heights = _apart([places[-1][1] for _, places in placed])
    drawn = (
        _curve(at, places, height) for (at, places), height in zip(placed, heights, strict=True)
    )
    body = "".join((*grid(across, up), *drawn))
    return _figure(title.capitalize(), f"{title} by optimizer step of {len(found)} runs", body)


Place = tuple[float, float]
"""Across and down, in the picture's units."""


def _places(line: Curve, across: Axis, up: Axis) -> list[Place]:
    """Return where the points of a curve lie; a gap is drawn over."""
    return [
        (across.at(x), up.at(y)) for x, y in zip(line.xs, line.ys, strict=True) if y is not None
    ]


def _apart(heights: Sequence[float]) -> list[float]:
    """Move the numbers at the ends of curves so far down that none covers another."""
    found = list(heights)
    lowest = -math.inf
    for at in sorted(range(len(heights)), key=lambda at: heights[at]):
        found[at] = lowest = max(heights[at], lowest + LINE)
    return found


def _curve(at: int, places: Sequence[Place], height: float) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    x = places[-1][0] + 5
    number = f'<text class="number" x="{x:.1f}" y="{height + 4:.1f}">{at + 1}</text>'
    return f'<g class="curve run" style="{look(at)}"><path d="M{path}"/>{number}</g>'


def plane(of: Compared, reference: Scores | None = None) -> str:
    """Draw forgetting against utility with the gate and the Pareto front.

    Args:
        of: The runs.
        reference: Scores of the retrained model.
    """
    found, best = points(of.entries), front(points(of.entries))
    if not found:
        return ""
    utility = utility_test(of.entries)
    numbers = {run.run_id: at for at, run in enumerate(of.entries)}
    retrained = point("retrained model", reference, "forgotten") if reference else None
    models = (*originals(of.entries), *([retrained] if retrained else []))
    body = (
        *grid(ACROSS, UP, "mean of the forget terms →"),
        _gate_line(gate(of.entries), utility),
        _stairs([(ACROSS.at(one.x), UP.at(one.y)) for one in best]),
        *(_model(one) for one in models),
        *(_run(numbers[one.run_id], one) for one in found),
    )
    told = f"Forgetting against {utility} of {len(found)} runs; no other beats "
    told += ", ".join(one.label for one in best)
    return _figure(f"Forgetting → against {utility} ↑", told, "".join(body))


def _gate_line(bound: float | None, utility: str) -> str:
    if bound is None:
        return ""
    y = UP.at(bound)
    return (
        f'<line class="gate" x1="{LEFT}" x2="{ACROSS.last}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick gate" x="{LEFT + 4}" y="{y - 4:.1f}">gate: {escape(utility)} '
        f"{bound:.3f}</text>"
    )


def _model(one: Point) -> str:
    x, y = ACROSS.at(one.x), UP.at(one.y)
    end = ' text-anchor="end"' if one.x > 0.7 else ""
    return (
        f'<circle class="hollow" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text class="tick"{end} x="{x + (-8 if end else 8):.1f}" y="{y - 5:.1f}">'
        f"{escape(one.label)}</text>"
    )


def _run(at: int, one: Point) -> str:
    x, y = ACROSS.at(one.x), UP.at(one.y)
    return (
        f'<g class="curve run" style="{look(at)}"><circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text class="number" x="{x + 7:.1f}" y="{y - 6:.1f}">{at + 1}</text></g>'
    )


def _stairs(of: Sequence[tuple[float, float]]) -> str:
    path = f"M{of[0][0]:.1f} {of[0][1]:.1f}"
    path += "".join(f"V{y:.1f}H{x:.1f}" for x, y in of[1:])
    return f'<path class="front" d="{path}"/>'


def _figure(title: str, told: str, body: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="scroll">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">{body}</svg>'
        "</div></figure>"
    )
