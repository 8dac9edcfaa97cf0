"""Charts of several runs as SVG. Runs are told by number as well as by colour and dash."""

from collections.abc import Sequence
from html import escape

from unlearnlab.colours import RUNS
from unlearnlab.comparing.overlays import curve, offered
from unlearnlab.comparing.points import Point, front, gate, originals, point, points
from unlearnlab.exports.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, grid, upward
from unlearnlab.exports.compared import Compared
from unlearnlab.metrics import Scores

DASHES = ("none", "6 4", "1.5 4", "8 3 1.5 3")

ROOM = 18
"""For the numbers at the ends of curves."""


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
    ]
    values = [y for _, line in found for y in line.ys if y is not None]
    if not values:
        return ""
    title = offered(list(of.tracks.values()))[series]
    steps = max(1.0, *(x for _, line in found for x in line.xs))
    across = Axis(0, steps, LEFT, WIDTH - RIGHT - ROOM)
    up = upward(values, share=series.startswith(("knowledge", "regurgitation")), log=False)
    body = "".join((*grid(across, up), *(_curve(at, o.xs, o.ys, across, up) for at, o in found)))
    return _figure(title.capitalize(), f"{title} by optimizer step of {len(found)} runs", body)


def _curve(at: int, xs: Sequence[float], ys: Sequence[float | None], across: Axis, up: Axis) -> str:
    path, pen, last = "", "M", (0.0, 0.0)
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            pen = "M"
            continue
        last = across.at(x), up.at(y)
        path += f"{pen}{last[0]:.1f} {last[1]:.1f}"
        pen = "L"
    number = f'<text class="number" x="{last[0] + 5:.1f}" y="{last[1] + 4:.1f}">{at + 1}</text>'
    return f'<g class="curve run" style="{look(at)}"><path d="{path}"/>{number}</g>'


def plane(of: Compared, reference: Scores | None = None) -> str:
    """Draw forgetting against utility with the gate and the Pareto front.

    Args:
        of: The runs.
        reference: Scores of the retrained model.
    """
    found, best = points(of.entries), front(points(of.entries))
    if not found:
        return ""
    utility = of.entries[0].utility_name
    numbers = {run.run_id: at for at, run in enumerate(of.entries)}
    retrained = point("retrained model", reference, "forgotten") if reference else None
    models = (*originals(of.entries), *([retrained] if retrained else []))
    body = (
        *grid(ACROSS, UP, "forgetting: mean of the forget terms →"),
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
