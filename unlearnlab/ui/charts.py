"""How each series of the live chart is drawn: panel, colour by role, dash.

The script turns roles into the theme's colours, so that a chart follows light and dark.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import plotly

from unlearnlab.methods import Steering
from unlearnlab.spec import RunSpec

PLOTLY_SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
"""Plotly's own script, as installed: the page asks no other host for it."""

Panel = Literal["terms", "answers", "steps", "weights", "probe"]


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve."""

    series: str
    """As `views.points_after` names it."""
    label: str
    panel: Panel
    role: Literal["forget", "retain", "utility", "plain"]
    dash: Literal["solid", "dot", "dash"] = "solid"


TRACES: Sequence[Trace] = (
    Trace("term.forget", "forget loss", "terms", "forget"),
    Trace("term.retain", "retain loss", "terms", "retain"),
    Trace("term.kl", "divergence from the original", "terms", "utility"),
    Trace("nll.forget", "loss of forget answers", "answers", "forget"),
    Trace("nll.retain", "loss of retain answers", "answers", "retain"),
    Trace("grad_norm", "gradient norm", "steps", "plain"),
    Trace("learning_rate", "learning rate", "steps", "utility", "dash"),
    Trace("weight.forget", "forget weight", "weights", "forget"),
    Trace("weight.retain", "retain weight", "weights", "retain"),
    Trace("knowledge.forget", "forget right", "probe", "forget"),
    Trace("knowledge.retain", "retain right", "probe", "retain"),
    Trace("regurgitation.forget", "forget recited", "probe", "forget", "dot"),
    Trace("regurgitation.retain", "retain recited", "probe", "retain", "dot"),
)

PANELS: Sequence[tuple[Panel, str, str]] = (
    ("terms", "Loss terms", "loss terms, unweighted"),
    ("answers", "Answer loss", "nat per token"),
    ("steps", "Gradient", "norm"),
    ("weights", "Weights", "signed weight of a term"),
)
"""What the upper part of the chart can show: name, button, title of the axis.

Weights are offered in runs in which they vary.
"""


def drawing() -> dict[str, object]:
    """Return what the script needs to know, as plain values."""
    return {
        "traces": [asdict(trace) for trace in TRACES],
        "panels": [{"name": n, "label": label, "axis": axis} for n, label, axis in PANELS],
    }


def log_scale(spec: RunSpec) -> bool:
    """Tell whether the loss terms start on a logarithmic axis.

    RMU's steering term is a squared length, hundreds of times its retain term.
    """
    return any(isinstance(phase.method, Steering) for phase in spec.phases)
