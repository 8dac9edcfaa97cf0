"""The unlearning methods and their hyperparameters, each declared once.

A field's annotation holds its bounds, its control and its unit; the docstring under it is the
tooltip, the help text and the README row. The form, the command line, the README and validation
all read these classes. To add a method: one class here, one objective, one test.
"""

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from unlearnlab.spec.methods.base import MethodSpec
from unlearnlab.spec.methods.distribution import JointKL, KLMinimization, Undial
from unlearnlab.spec.methods.likelihood import (
    GradientAscent,
    GradientDescent,
    GradientDifference,
    Joint,
    Memorize,
    Sequential,
    TaskVector,
    TiesMerge,
    WeightedAscent,
)
from unlearnlab.spec.methods.preference import NPO, IdkDPO, SimNPO
from unlearnlab.spec.methods.representation import RMU, AdaptiveRMU

Method = Annotated[
    GradientAscent
    | GradientDescent
    | GradientDifference
    | WeightedAscent
    | Joint
    | JointKL
    | KLMinimization
    | Sequential
    | NPO
    | SimNPO
    | IdkDPO
    | Undial
    | TaskVector
    | RMU
    | AdaptiveRMU
    | TiesMerge
    | Memorize,
    Field(discriminator="kind"),
]

METHODS: Mapping[str, type[MethodSpec]] = {
    cls.model_fields["kind"].default: cls for cls in get_args(get_args(Method)[0])
}
"""Every method by its `kind`, in the order the page offers them."""
