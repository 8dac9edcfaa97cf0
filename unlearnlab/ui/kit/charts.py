"""Charts: what every figure is, how it gets on the page, and what the live chart's curves are.

`kit/charts.js` draws all of them in one look. Colours are named here and looked up there, so
that a chart follows light and dark.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import plotly

from unlearnlab.ui.kit.html import escape
from unlearnlab.views.charts import PANELS, TRACES
from unlearnlab.views.colours import RUNS

PLOTLY_SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
"""Plotly's own script, as installed: the page asks no other host for it."""

TAKE = (
    '<div class="take" role="group" aria-label="Save this chart">'
    '<span aria-hidden="true">save</span>'
    '<button type="button" data-take="png" title="Save as a picture">PNG</button>'
    '<button type="button" data-take="svg" title="Save as a drawing for print">SVG</button>'
    '<button type="button" data-take="csv" title="Save the data">CSV</button></div>'
)
"""The buttons that save a chart: anywhere in its `.figure`."""

DASHES = ("solid", "dash", "dot", "dashdot")

MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon")

Cell = str | float | None

MOST_NAMED = 24
"""Most runs that a legend names."""

Trace = dict[str, Any]

SHORT = 30
"""Letters of a label that a chart shows; the whole stands in its tooltip and its data."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart of plotly as plain values."""

    name: str
    """Name of saved files, without extension; holds nothing personal."""
    title: str
    summary: str
    """What it shows, in words for a screen reader."""
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    narrow: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What differs in the layout on a phone."""
    least_width: int = 0
    """In pixels; on a narrower screen the chart scrolls sideways."""
    table: Sequence[Sequence[Cell]] | None = None
    """Rows of the CSV, column names first; none if they follow from the traces."""

    def __html__(self) -> str:
        """Draw the figure where a template inserts it."""
        return figure_html(self)


def figure_html(figure: Figure) -> str:
    """Return a figure as HTML, which draws itself wherever it stands on the page."""
    height = figure.layout.get("height", 360)
    size = f"min-height:{height}px;min-width:{figure.least_width}px"
    drawn = json.dumps(_short(asdict(figure)), separators=(",", ":"), allow_nan=False)
    drawn = escape(drawn, quote=False).replace("'", "&#x27;")  # Full of quotes: they stay short.
    return (
        f'<figure class="figure"><figcaption><b>{escape(figure.title)}</b>{TAKE}</figcaption>'
        f'<div class="sideways"><div class="plot" style="{size}" '
        f"data-figure='{drawn}'></div></div></figure>"
    )


def _short(value: Any) -> Any:
    """Write numbers with six digits, which no screen can tell from all of them."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: _short(one) for key, one in cast("dict[str, Any]", value).items()}
        case list() | tuple():
            return [_short(one) for one in cast("list[Any]", value)]
        case _:
            return value


def plain(text: str) -> str:
    """Make a text safe for plotly, which reads some HTML tags as markup."""
    return text.replace("<", "‹").replace(">", "›").replace("&", "＆")


def short(text: str, most: int = SHORT) -> str:
    """Cut a label in its middle to what a chart has room for: what tells it apart is its end."""
    text = plain(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def run_colour(at: int) -> str:
    """Return the colour of one of several runs, by its place among them."""
    return f"--run-{at % RUNS + 1}"


def run_dash(at: int) -> str:
    """Return the dash of one of several runs: another one each time that colours begin anew."""
    return DASHES[at // RUNS % len(DASHES)]


def run_mark(at: int) -> str:
    """Return the marker shape of one of several runs: colour alone does not tell them apart."""
    return MARKS[at % len(MARKS)]


LIVE_LAYOUT: Mapping[str, Any] = {
    "hovermode": "x unified",
    "xaxis": {
        "anchor": "y2",
        "showgrid": False,
        "title": "optimizer step",
        "hoverformat": "d",
        "unifiedhovertitle": {"text": "step %{x}"},
    },
    "yaxis": {"domain": [0.4, 1], "tickformat": "~g", "nticks": 6},
    "yaxis2": {
        "domain": [0, 0.3],
        "range": [-0.04, 1.06],
        "tickvals": [0, 0.5, 1],
        "title": "share of rows",
    },
    "yaxis3": {
        "overlaying": "y",
        "anchor": "x",
        "side": "right",
        "showgrid": False,
        "type": "linear",
        "tickmode": "auto",
        "rangemode": "tozero",
        "tickformat": "~g",
        "nticks": 5,
        "title": "learning rate",
    },
}
"""The live chart: curves of the chosen panel above, the probe below, the learning rate aside."""


def drawing() -> dict[str, object]:
    """Return how the live chart is drawn, as plain values."""
    return {
        "traces": [asdict(trace) for trace in TRACES],
        "panels": [{"name": n, "label": label, "axis": axis} for n, label, axis in PANELS],
        "layout": LIVE_LAYOUT,
    }
