"""HTML from Jinja templates: whatever a template inserts is escaped."""

from typing import Any

import gradio as gr

from unlearnlab.ui.kit import text
from unlearnlab.ui.kit.text import escape
from unlearnlab.views.html import environment

_ENVIRONMENT = environment("ui")
_ENVIRONMENT.filters |= {
    "score": text.score,
    "probability": text.probability,
    "count": text.count,
    "clock": text.clock,
    "duration": text.duration,
}


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: Its path below `unlearnlab/ui`, such as `run/answers.html`.
        **values: What it inserts; all of it is escaped.

    Raises:
        jinja2.UndefinedError: The template uses a value that is missing.
    """
    return _ENVIRONMENT.get_template(template).render(values)


def pager(page: int, last: int, first: int, total: int, size: int) -> str:
    """Draw the buttons that turn pages, each with its page in `data-page`.

    Args:
        page: 0-based, as is `last`.
        last: The last page.
        first: Number of the first item on the page, 0-based.
        total: Items on all pages.
        size: Items on one page.
    """
    macros: Any = _ENVIRONMENT.get_template("kit/macros.html").module
    return str(macros.pager(page, last, first, total, size))


def heading(text: str) -> gr.HTML:
    """Draw a card's heading."""
    return gr.HTML(heading_html(text), apply_default_css=False, elem_classes=["heading"])


def heading_html(text: str) -> str:
    """Write a card's heading."""
    return f"<h2>{escape(text)}</h2>"
