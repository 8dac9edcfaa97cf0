"""Unlearning objectives by method: the loss terms, how they are averaged, and final operations.

An objective maps `(model, batch, context)` to unweighted loss terms. The training loop weights,
sums and logs them, so that every term has a curve and weights are applied in one place.
"""

from collections.abc import Mapping

from unlearnlab.engine.objectives.context import Objective
from unlearnlab.engine.objectives.distribution import OF_DISTRIBUTION
from unlearnlab.engine.objectives.likelihood import OF_LIKELIHOOD
from unlearnlab.engine.objectives.preference import OF_PREFERENCE
from unlearnlab.engine.objectives.representation import OF_REPRESENTATION

OBJECTIVES: Mapping[str, Objective] = {
    **OF_LIKELIHOOD,
    **OF_DISTRIBUTION,
    **OF_PREFERENCE,
    **OF_REPRESENTATION,
}
"""Objective of each method, by the method's `kind`."""
