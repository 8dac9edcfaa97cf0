"""Numbers and moments in words, and the one way text gets into HTML."""

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
    """Write the ends of an interval; empty where there is none, or its ends are written alike.

    Rows that all score alike give an interval without width, which would promise too much.
    """
    if interval is None or write(interval.low) == write(interval.high):
        return ""
    return f"{write(interval.low)} to {write(interval.high)}"


def duration(seconds: float) -> str:
    """Write a span of time in the two largest units, each kept on one line with its number."""
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
    """Write a moment of local time."""
    return time.strftime("%d %b %H:%M", time.localtime(moment))


def ago(moment: float, now: float) -> str:
    """Write how long ago a moment was, or when it was if that is long."""
    past = now - moment
    if past < 60:
        return "just now"
    if past < 3600:
        return f"{past / 60:.0f} min ago"
    return f"{past / 3600:.0f} h ago" if past < 86400 else clock(moment)


def origin_tag(origin: str) -> str:
    """Mark a run that was taken in from elsewhere; nothing for one of this machine."""
    if not origin:
        return ""
    title = escape(f"taken in {origin}: what it tells was not measured here")
    return f'<span class="tag origin" title="{title}">{escape(origin)}</span>'
