"""What cards are made of: numbers and times in words, HTML from templates, and scripts.

Whatever a template inserts is escaped.
"""

import time
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from unlearnlab.metrics.intervals import Interval
from unlearnlab.views.html import environment
from unlearnlab.views.words import duration

UI = Path(__file__).parents[1]
"""Folder of the page: templates, scripts and style sheets are named by their path in it."""


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

    Rows that all score alike give an interval without width, which would promise too much. One row
    gives none at all: the text says "n = 1" instead.
    """
    if interval is not None and interval.rows == 1:
        return "n = 1, no interval"
    if interval is None or write(interval.low) == write(interval.high):
        return ""
    return f"{write(interval.low)} to {write(interval.high)}"


def count(number: float) -> str:
    """Write a large number with k, M or B."""
    if number >= 999_500_000:
        return f"{number / 1e9:.2f} B".replace(".00", "")
    if number >= 999_500:
        return f"{number / 1e6:.2f} M".replace(".00", "")
    return f"{number / 1e3:.1f} k" if number >= 1000 else f"{number:.0f}"


def thousands(number: int) -> str:
    """Write a whole number with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\u202f")


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


@cache
def source(name: str) -> str:
    """Return the text of a script, such as `kit/charts.js`."""
    return (UI / name).read_text(encoding="utf-8")


@cache
def script(*names: str) -> str:
    """Return what a component runs when it is loaded: `kit/dom.js` and the named scripts.

    They share one function body.
    """
    return "\n".join(source(name) for name in ("kit/dom.js", *names))


_ENVIRONMENT = environment("ui")
_ENVIRONMENT.filters |= {
    write.__name__: write for write in (score, probability, count, thousands, clock, duration, ago)
}


def render(template: str, macro: str = "", /, **values: Any) -> str:
    """Fill a template, or one macro of it.

    Args:
        template: Its path below `unlearnlab/ui`, such as `run/answers.html`.
        macro: One part of the template; empty for all of it.
        **values: What it inserts; all of it is escaped.

    Raises:
        jinja2.UndefinedError: The template uses a value that is missing.
    """
    found = _ENVIRONMENT.get_template(template)
    return str(getattr(found.module, macro)(**values)) if macro else found.render(values)


def heading_html(text: str) -> str:
    """Write a card's heading."""
    return f"<h2>{escape(text)}</h2>"


def heading(text: str) -> gr.HTML:
    """Draw a card's heading."""
    return gr.HTML(heading_html(text), apply_default_css=False, elem_classes=["heading"])
