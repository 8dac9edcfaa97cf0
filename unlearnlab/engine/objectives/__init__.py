"""Unlearning objectives: what each method asks of the model, one function each.

An objective maps `(model, batch, context)` to its loss terms, unweighted. The loop weighs, sums
and logs them, so that a curve exists for every term and the weights live in one place.
"""

from collections.abc import Mapping

from unlearnlab.engine.objectives.context import Batch, Context, Objective, Terms
from unlearnlab.engine.objectives.likelihood import (
    gradient_ascent,
    gradient_descent,
    gradient_difference,
)
from unlearnlab.engine.objectives.preference import npo
from unlearnlab.engine.objectives.representation import adaptive_rmu, rmu

__all__ = ["OBJECTIVES", "Batch", "Context", "Objective", "Terms"]

OBJECTIVES: Mapping[str, Objective] = {
    objective.__name__: objective
    for objective in (
        gradient_ascent,
        gradient_descent,
        gradient_difference,
        npo,
        rmu,
        adaptive_rmu,
    )
}
"""Every objective by its method's `kind`."""
