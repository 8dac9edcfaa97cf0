"""Scripts of the page, each beside the card that it belongs to."""

from functools import cache
from pathlib import Path

UI = Path(__file__).parents[1]
"""The folder of the page: scripts and style sheets are named by their path in it."""


@cache
def source(name: str) -> str:
    """Return the text of a script, such as `kit/charts.js`."""
    return (UI / name).read_text(encoding="utf-8")


@cache
def script(*names: str) -> str:
    """Return what a component runs when it is loaded: the named scripts in one function body.

    `kit/dom.js` stands before them.
    """
    return "\n".join(source(name) for name in ("kit/dom.js", *names))
