"""Charts of reports as SVG: small, sharp in print. Colours are the report's style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from unlearnlab.exports.result import Compared, Result
from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.progress import points_after
from unlearnlab.views.charts import (
    TRACES,
    Panel,
    Point,
    curve,
    fronts,
    gate,
    log_scale,
    offered,
    originals,
    point,
    points,
    trace_of,
)
from unlearnlab.views.colours import RUNS
from unlearnlab.views.runs import RunSummary, utility_test

WIDTH, HEIGHT = 680, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 22, 34

LETTER = 5.4
"""Width of a letter in the smallest type."""

FEW = 40
"""Below this number of points each gets a dot."""

ROOM = 18
"""Width of the numbers at the ends of curves."""

LINE = 11
"""Height of such a number."""

DASHES = ("none", "6 4", "1.5 4", "8 3 1.5 3")

Place = tuple[float, float]
"""Across and down, in the picture's units."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of numbers on a stretch of the picture."""

    low: float
    high: float
    first: float
    last: float
    """Where `low` and `high` lie, in the picture's units."""
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, one = (
            math.log10(max(number, 1e-12)) if self.log else number
            for number in (self.low, self.high, value)
        )
        share = (one - low) / (high - low) if high > low else 0.5
        return self.first + share * (self.last - self.first)

    @property
    def ticks(self) -> Sequence[float]:
        """Choose a handful of round numbers."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _upward(values: Sequence[float], *, share: bool, log: bool) -> Axis:
    """Choose the vertical axis for some values."""
    bottom, top = HEIGHT - BOTTOM, TOP
    if share:
        return Axis(0, 1, bottom, top)
    low, high = min(values), max(values)
    if log and low > 0 and high / low >= 10:
        powers = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return Axis(10.0 ** powers[0], 10.0 ** powers[1], bottom, top, log=True)
    low = min(low, 0.0)
    return Axis(low, high + ((high - low) * 0.04 or 1.0), bottom, top)


def _grid(across: Axis, up: Axis, label: str = "optimizer step") -> str:
    """Draw the lines, numbers and label of the axes; across whole numbers alone, but for shares."""
    parts: list[str] = []
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{y + 4:.1f}">{tick:g}</text>'
        )
    parts += [
        f'<text class="tick" text-anchor="middle" x="{across.at(tick):.1f}" '
        f'y="{HEIGHT - BOTTOM + 16}">{tick:g}</text>'
        for tick in across.ticks
        if tick == int(tick) or across.high <= 1
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    axis = f'<text class="tick" text-anchor="middle" x="{middle}" y="{HEIGHT - 3}">'
    return f"{''.join(parts)}{axis}{escape(label)}</text>"


def _path(places: Sequence[Place | None]) -> str:
    """Draw a line through places; None leaves a gap."""
    path, pen = "", "M"
    for place in places:
        path += f"{pen}{place[0]:.1f} {place[1]:.1f}" if place else ""
        pen = "L" if place else "M"
    return f'<path d="{path}"/>'


def _figure(title: str, told: str, body: str, legend: str = "") -> str:
    return (
        f'<figure><figcaption>{escape(title)}{legend}</figcaption><div class="scroll">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">{body}</svg>'
        "</div></figure>"
    )


# ---- one run


def chart(result: Result, panel: Panel, *, label: str) -> str:
    """Draw a panel of curves by optimizer step with its legend; empty if nothing was measured.

    Args:
        result: Result of the run.
        panel: Panel of the live chart to draw.
        label: Quantity of the vertical axis.
    """
    series = points_after(result.events)
    order = [trace.series for trace in TRACES]
    names = sorted(series, key=lambda name: order.index(name) if name in order else len(order))
    drawn = [(trace, *series[name]) for name in names if (trace := trace_of(name))]
    drawn = [one for one in drawn if one[0].panel == panel]
    values = [y for _, _, ys in drawn for y in ys if y is not None]
    if not values:
        return ""
    steps = max(result.progress.total_steps, *(x for _, xs, _ in drawn for x in xs), 1)
    across = Axis(0, steps, LEFT, WIDTH - RIGHT)
    up = _upward(values, share=panel == "probe", log=log_scale(result.spec) and panel == "terms")
    dots = max(len(xs) for _, xs, _ in drawn) < FEW
    body, legend = [_grid(across, up), *_marks(result, across)], ""
    for trace, xs, ys in drawn:
        pairs = zip(xs, ys, strict=True)
        places = [None if y is None else (across.at(x), up.at(y)) for x, y in pairs]
        found = [place for place in places if place and dots]
        points = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in found)
        look = f'<g class="curve {trace.role} {trace.dash}">'
        body.append(f"{look}{_path(places)}{points}</g>")
        legend += (
            f'<span class="{trace.role}"><svg viewBox="0 0 22 8" aria-hidden="true">{look}'
            f'<path d="M1 4L21 4"/></g></svg>{escape(trace.label)}</span>'
        )
    if result.progress.said:  # The report's script puts it where the reader is.
        ends = f'y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}" visibility="hidden"'
        place = f'data-first="{across.first}" data-last="{across.last}" data-steps="{steps}"'
        body.append(f'<line class="now" {ends} {place}/>')
    told = f"{label} by optimizer step: {', '.join(trace.label for trace, _, _ in drawn)}"
    return _figure(label, told, "".join(body), f'<span class="legend">{legend}</span>')


def _marks(result: Result, across: Axis) -> Sequence[str]:
    """Draw where phases begin, if there are several, and where the run was changed by hand."""

    def upright(kind: str, x: float) -> str:
        ends = f'y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"'
        return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'

    parts: list[str] = []
    begun = result.progress.phases
    for phase in begun if len(begun) > 1 else ():
        x, title = across.at(phase.step), result.spec.phases[phase.phase].method.card.title
        room = int((across.at(phase.step + phase.steps) - x) / LETTER)
        name = f"{phase.phase + 1} {title}"
        name = name if len(name) <= room else f"{name[: room - 1]}…" if room > 4 else name[0]
        parts.append(upright("phase", x))
        parts.append(f'<text class="tick" x="{x + 4:.1f}" y="{TOP - 8}">{escape(name)}</text>')
    changed = (event for event in result.progress.changes if event.kind == "adjusted")
    return [*parts, *(upright("change", across.at(event.step)) for event in changed)]


# ---- several runs: number, colour and dash tell them apart

ACROSS = Axis(0, 1, LEFT, WIDTH - RIGHT - ROOM)
UP = Axis(0, 1, HEIGHT - BOTTOM, TOP)
"""Axes of the plane of forgetting and utility."""


def badge(of: RunSummary) -> str:
    """Return the number of a run in its colour: on the page it has the same."""
    return f'<i class="badge" style="{_look(of)}">{of.number}</i>'


def _look(of: RunSummary) -> str:
    dash = DASHES[of.look // RUNS % len(DASHES)]
    return f"--role:var(--run-{of.look % RUNS + 1});--dash:{dash}"


def _run(of: RunSummary, drawn: str, x: float, y: float) -> str:
    number = f'<text class="number" x="{x:.1f}" y="{y:.1f}">{of.number}</text>'
    return f'<g class="curve run" style="{_look(of)}">{drawn}{number}</g>'


def curves(of: Compared, series: str) -> str:
    """Draw one series of all runs by optimizer step; empty if none of them has it."""
    found: list[tuple[int, list[Place]]] = []
    for at, run in enumerate(of.entries):
        if line := curve(of.tracks[run.run_id], series):
            pairs = zip(line.xs, line.ys, strict=True)
            if known := [(x, y) for x, y in pairs if y is not None]:  # A gap is drawn over.
                found.append((at, known))
    if not found:
        return ""
    across = Axis(0, max(1.0, *(x for _, line in found for x, _ in line)), LEFT, ACROSS.last)
    share = series.startswith(("knowledge", "regurgitation"))
    up = _upward([y for _, line in found for _, y in line], share=share, log=False)
    placed = [(at, [(across.at(x), up.at(y)) for x, y in line]) for at, line in found]
    body: dict[int, str] = {}
    lowest = -math.inf
    for at, places in sorted(placed, key=lambda one: one[1][-1][1]):
        x, y = places[-1]
        lowest = max(y, lowest + LINE)  # No number covers another.
        body[at] = _run(of.entries[at], _path(places), x + 5, lowest + 4)
    title = offered(list(of.tracks.values()))[series]
    told = f"{title} by optimizer step of {len(found)} runs"
    drawn = _grid(across, up) + "".join(body[at] for at in sorted(body))
    return _figure(title.capitalize(), told, drawn)


def plane(of: Compared, reference: Scores | None = None) -> str:
    """Draw forgetting against utility with the gate and the Pareto front; empty without scores.

    Args:
        of: The runs.
        reference: Scores of the retrained model.
    """
    found = points(of.entries)
    if not found:
        return ""
    best, utility = fronts(of.entries, found), utility_test(of.entries)
    runs = {run.run_id: run for run in of.entries}
    retrained = point("retrained model", reference, "forgotten") if reference else None
    body = _grid(ACROSS, UP, "mean of the forget terms →")
    if (bound := gate(of.entries)) is not None:
        y = UP.at(bound)
        body += (
            f'<line class="gate" x1="{LEFT}" x2="{ACROSS.last}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick gate" x="{LEFT + 4}" y="{y - 4:.1f}">gate: {escape(utility)} '
            f"{bound:.3f}</text>"
        )
    for stretch in best:
        (x, y), *others = map(_place, stretch)
        stairs = "".join(f"V{y:.1f}H{x:.1f}" for x, y in others)
        body += f'<path class="front" d="M{x:.1f} {y:.1f}{stairs}"/>'
    for one in (*originals(of.entries), *([retrained] if retrained else [])):
        x, y = _place(one)
        end, aside = (' text-anchor="end"', -8) if one.x > 0.7 else ("", 8)
        body += (
            f'<circle class="hollow" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text class="tick"{end} x="{x + aside:.1f}" y="{y - 5:.1f}">'
            f"{escape(one.label)}</text>"
        )
    for one in found:
        x, y = _place(one)
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        body += _run(runs[one.run_id], dot, x + 7, y - 6)
    told = f"Forgetting against {utility} of {len(found)} runs; none measured alike beats "
    told += ", ".join(one.label for stretch in best for one in stretch)
    return _figure(f"Forgetting → against {utility} ↑", told, body)


def _place(one: Point) -> Place:
    return ACROSS.at(one.x), UP.at(one.y)
