"""What the live chart's script needs to know of its curves, and where plotly's script lies.

The script turns roles into the theme's colours, so that a chart follows light and dark.
"""

from dataclasses import asdict
from pathlib import Path

import plotly

from unlearnlab.curves import PANELS, TRACES

PLOTLY_SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
"""Plotly's own script, as installed: the page asks no other host for it."""


def drawing() -> dict[str, object]:
    """Return how each series is drawn, as plain values."""
    return {
        "traces": [asdict(trace) for trace in TRACES],
        "panels": [{"name": n, "label": label, "axis": axis} for n, label, axis in PANELS],
    }
