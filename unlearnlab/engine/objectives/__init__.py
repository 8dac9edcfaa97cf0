"""Unlearning objectives: what each method asks of the model, one function each.

An objective maps `(model, batch, context)` to its loss terms, unweighted. The loop weighs, sums
and logs them, so that a curve exists for every term and the weights live in one place.
"""

from collections.abc import Mapping

from unlearnlab.engine.objectives.context import (
    Batch,
    Context,
    Objective,
    Terms,
    answer_tokens,
    real_tokens,
    rows,
)
from unlearnlab.engine.objectives.likelihood import (
    gradient_ascent,
    gradient_descent,
    gradient_difference,
)
from unlearnlab.engine.objectives.merging import no_terms, ties_merge
from unlearnlab.engine.objectives.preference import npo
from unlearnlab.engine.objectives.representation import adaptive_rmu, rmu

__all__ = ["OBJECTIVES", "Batch", "Context", "Objective", "Terms"]

_ANSWERS = {"forget": answer_tokens("forget"), "retain": answer_tokens("retain")}
_TEXT = {"forget": real_tokens("forget"), "retain": real_tokens("retain")}

OBJECTIVES: Mapping[str, Objective] = {
    "gradient_ascent": Objective(gradient_ascent, {"forget": answer_tokens("forget")}),
    "gradient_descent": Objective(gradient_descent, {"retain": answer_tokens("retain")}),
    "gradient_difference": Objective(gradient_difference, _ANSWERS),
    "npo": Objective(npo, {"forget": rows("forget"), "retain": answer_tokens("retain")}),
    "rmu": Objective(rmu, _TEXT),
    "adaptive_rmu": Objective(adaptive_rmu, _TEXT),
    "ties_merge": Objective(no_terms, {}, finish=ties_merge),
}
"""Every objective by its method's `kind`."""
