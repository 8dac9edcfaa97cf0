"""How each series of a run is drawn, on the page and in a report: panel, colour by role, dash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.spec.run import RunSpec

Panel = Literal["terms", "answers", "steps", "weights", "probe"]

Role = Literal["forget", "retain", "utility", "plain"]
"""What a colour stands for."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve."""

    series: str
    """As `progress.points_after` names it."""
    label: str
    panel: Panel
    role: Role
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
    Trace("knowledge.forget", "forget: answered correctly", "probe", "forget"),
    Trace("knowledge.retain", "retain: answered correctly", "probe", "retain"),
    Trace("regurgitation.forget", "forget: recited", "probe", "forget", "dot"),
    Trace("regurgitation.retain", "retain: recited", "probe", "retain", "dot"),
)

PANELS: Sequence[tuple[Panel, str, str]] = (
    ("terms", "Loss terms", "loss terms, unweighted"),
    ("answers", "Answer loss", "loss, nats per token"),
    ("steps", "Gradient", "norm"),
    ("weights", "Weights", "signed weight of a term"),
)
"""What the upper part of the live chart can show: name, button, title of the axis.

Weights are offered in runs in which they vary.
"""


def log_scale(spec: RunSpec) -> bool:
    """Tell whether the loss terms start on a logarithmic axis.

    RMU's steering term is a squared length, hundreds of times its retain term.
    """
    return any(phase.method.steers for phase in spec.phases)
