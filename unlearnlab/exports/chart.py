"""Curves of a run as SVG: small, sharp in print, no script. Colours are the report's style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from unlearnlab.exports.result import Result
from unlearnlab.runs.progress import points_after
from unlearnlab.views.curves import TRACES, Panel, Trace, log_scale

WIDTH, HEIGHT = 680, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 22, 34

LETTER = 5.4
"""Width of a letter in the smallest type."""

FEW = 40
"""Below this number of points each gets a dot."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve with its points; a value that is none leaves a gap."""

    trace: Trace
    xs: Sequence[int]
    ys: Values


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of numbers on a stretch of the picture."""

    low: float
    high: float
    first: float
    last: float
    """Where `low` and `high` lie, in the picture's units."""
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, one = (self._scaled(number) for number in (self.low, self.high, value))
        share = (one - low) / (high - low) if high > low else 0.5
        return self.first + share * (self.last - self.first)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value

    @property
    def ticks(self) -> Sequence[float]:
        """Choose a handful of round numbers."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        step = _round_step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def lines(result: Result, panel: Panel) -> list[Line]:
    """Return the curves of a panel, in the order in which they are always drawn."""
    series = points_after(result.events)
    order = [trace.series for trace in TRACES]
    found = sorted(series, key=lambda name: order.index(name) if name in order else len(order))
    drawn = ((_trace(name), *series[name]) for name in found)
    return [Line(trace, xs, ys) for trace, xs, ys in drawn if trace and trace.panel == panel]


def _trace(series: str) -> Trace | None:
    known = next((trace for trace in TRACES if trace.series == series), None)
    kind, _, name = series.partition(".")
    if known is None and kind == "term":
        return Trace(series, f"{name} loss", "terms", "utility")
    return known


def chart(result: Result, panel: Panel, *, label: str) -> str:
    """Draw a panel of curves by optimizer step with its legend; empty if nothing was measured.

    Args:
        result: Result of the run.
        panel: Panel of `curves` to draw.
        label: What the vertical axis counts.
    """
    drawn = lines(result, panel)
    values = [y for line in drawn for y in line.ys if y is not None]
    if not values:
        return ""
    steps = max(result.course.total_steps, *(x for line in drawn for x in line.xs), 1)
    across = Axis(0, steps, LEFT, WIDTH - RIGHT)
    up = upward(values, share=panel == "probe", log=log_scale(result.spec) and panel == "terms")
    dots = max(len(line.xs) for line in drawn) < FEW
    body = "".join(
        (
            *grid(across, up),
            *_marks(result, across),
            *(_curve(one, across, up, dots=dots) for one in drawn),
        )
    )
    names = ", ".join(line.trace.label for line in drawn)
    return (
        f'<figure><figcaption>{escape(label)}<span class="legend">'
        f"{''.join(_legend(line.trace) for line in drawn)}</span></figcaption>"
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{label} by optimizer step: {names}")}">{body}</svg></div></figure>'
    )


def upward(values: Sequence[float], *, share: bool, log: bool) -> Axis:
    """Choose the upright axis for some values."""
    bottom, top = HEIGHT - BOTTOM, TOP
    if share:
        return Axis(0, 1, bottom, top)
    low, high = min(values), max(values)
    if log and low > 0 and high / low >= 10:
        powers = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return Axis(10.0 ** powers[0], 10.0 ** powers[1], bottom, top, log=True)
    low = min(low, 0.0)
    room = (high - low) * 0.04 or 1.0
    return Axis(low, high + room, bottom, top)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


def grid(across: Axis, up: Axis, label: str = "optimizer step") -> Sequence[str]:
    """Draw the lines, the numbers and the words of both axes; whole numbers alone across."""
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{y + 4:.1f}">{tick:g}</text>'
        for tick in up.ticks
        for y in (up.at(tick),)
    ]
    parts += [
        f'<text class="tick" text-anchor="middle" x="{across.at(tick):.1f}" '
        f'y="{HEIGHT - BOTTOM + 16}">{tick:g}</text>'
        for tick in across.ticks
        if tick == int(tick) or across.high <= 1
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    axis = f'<text class="tick" text-anchor="middle" x="{middle}" y="{HEIGHT - 3}">'
    return [*parts, f"{axis}{escape(label)}</text>"]


def _marks(result: Result, across: Axis) -> Sequence[str]:
    """Draw where phases begin, if there are several, and where the run was changed by hand."""
    parts: list[str] = []
    begun = result.course.phases
    for phase in begun if len(begun) > 1 else ():
        x, title = across.at(phase.step), result.spec.phases[phase.phase].method.card.title
        room = int((across.at(phase.step + phase.steps) - x) / LETTER)
        name = f"{phase.phase + 1} {title}"
        name = name if len(name) <= room else f"{name[: room - 1]}…" if room > 4 else name[0]
        parts.append(_upright("phase", x))
        parts.append(f'<text class="tick" x="{x + 4:.1f}" y="{TOP - 8}">{escape(name)}</text>')
    changed = (event for event in result.course.changes if event.kind == "adjusted")
    return [*parts, *(_upright("change", across.at(event.step)) for event in changed)]


def _upright(kind: str, x: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>'


def _curve(line: Line, across: Axis, up: Axis, *, dots: bool) -> str:
    places = [
        None if y is None else (across.at(x), up.at(y))
        for x, y in zip(line.xs, line.ys, strict=True)
    ]
    path, pen = "", "M"
    for place in places:
        path += f"{pen}{place[0]:.1f} {place[1]:.1f}" if place else ""
        pen = "L" if place else "M"
    found = [place for place in places if place and dots]
    points = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in found)
    trace = line.trace
    return f'<g class="curve {trace.role} {trace.dash}"><path d="{path}"/>{points}</g>'


def _legend(trace: Trace) -> str:
    return (
        f'<span class="{trace.role}"><svg viewBox="0 0 22 8" aria-hidden="true"><g class="curve '
        f'{trace.role} {trace.dash}"><path d="M1 4L21 4"/></g></svg>{escape(trace.label)}</span>'
    )
