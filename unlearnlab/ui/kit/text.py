"""Formats of numbers and times, and the escape of text for HTML in Python."""

import time
from collections.abc import Callable
from html import escape

from unlearnlab.metrics.intervals import Interval

__all__ = [
    "ago",
    "clock",
    "count",
    "duration",
    "escape",
    "origin_tag",
    "probability",
    "score",
    "span",
]


NO_BREAK = "\u00a0"


def score(value: float | None) -> str:
    """Write a score of 0 to 1; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.2f}"


def probability(value: float | None) -> str:
    """Write a probability of 0 to 1: tiny ones by their power of ten, none as a dash."""
    if value is None or value >= 0.005 or value == 0:
        return score(value)
    return f"{value:.0e}".replace("e-0", "e-")


def span(interval: Interval | None, write: Callable[[float | None], str] = score) -> str:
    """Write the ends of an interval; empty without one, or if both ends are written alike.

    Rows that all score alike give an interval without width, which would promise too much.
    """
    if interval is None or write(interval.low) == write(interval.high):
        return ""
    return f"{write(interval.low)} to {write(interval.high)}"


def duration(seconds: float) -> str:
    """Write a duration in its two largest units, without line breaks between number and unit."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NO_BREAK}s"
    if whole < 3600:
        return f"{whole // 60}{NO_BREAK}min {whole % 60}{NO_BREAK}s"
    return f"{whole // 3600}{NO_BREAK}h {whole % 3600 // 60}{NO_BREAK}min"


def count(number: float) -> str:
    """Write a large number with k, M or B."""
    if number >= 999_500_000:
        return f"{number / 1e9:.2f} B".replace(".00", "")
    if number >= 999_500:
        return f"{number / 1e6:.2f} M".replace(".00", "")
    return f"{number / 1e3:.1f} k" if number >= 1000 else f"{number:.0f}"


def clock(moment: float) -> str:
    """Write a time as local day and time of day."""
    return time.strftime("%d %b %H:%M", time.localtime(moment))


def ago(moment: float, now: float) -> str:
    """Write how long ago a time was; beyond a day, the time itself."""
    past = now - moment
    if past < 60:
        return "just now"
    if past < 3600:
        return f"{past / 60:.0f} min ago"
    return f"{past / 3600:.0f} h ago" if past < 86400 else clock(moment)


def origin_tag(origin: str) -> str:
    """Mark an imported run; nothing for a run of this machine."""
    if not origin:
        return ""
    title = escape(f"imported {origin}: its numbers were not measured here")
    return f'<span class="tag origin" title="{title}">{escape(origin)}</span>'
