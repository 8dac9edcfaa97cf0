"""Unlearning objectives by method: the loss terms, how they are averaged, and final operations.

An objective maps `(model, batch, context)` to unweighted loss terms. The training loop weights,
sums and logs them, so that every term has a curve and weights are applied in one place.
"""

from collections.abc import Mapping

from unlearnlab.engine.objectives.context import (
    Objective,
    answer_tokens,
    real_tokens,
    rows,
)
from unlearnlab.engine.objectives.distribution import (
    joint_kl,
    joint_kl_weights,
    kl_minimization,
    observe_divergence,
    undial,
)
from unlearnlab.engine.objectives.likelihood import (
    gradient_ascent,
    gradient_descent,
    gradient_difference,
    joint,
    joint_weights,
    memorize,
    memorized,
    negate,
    no_terms,
    remember_first_epoch,
    task_vector,
    ties_merge,
    weighted_ascent,
)
from unlearnlab.engine.objectives.preference import idk_dpo, npo, simnpo
from unlearnlab.engine.objectives.representation import adaptive_rmu, rmu

_ANSWERS = {name: answer_tokens(name) for name in ("forget", "retain")}
_TEXT = {name: real_tokens(name) for name in ("forget", "retain")}
_KL = {"kl": answer_tokens("retain")}
_PREFERENCE = {"forget": rows("forget"), "retain": answer_tokens("retain")}

OBJECTIVES: Mapping[str, Objective] = {
    "gradient_ascent": Objective(gradient_ascent, _ANSWERS),
    "gradient_descent": Objective(gradient_descent, _ANSWERS),
    "gradient_difference": Objective(gradient_difference, _ANSWERS),
    "weighted_ascent": Objective(weighted_ascent, _ANSWERS),
    "joint": Objective(joint, _ANSWERS, weights=joint_weights, observe=remember_first_epoch),
    "joint_kl": Objective(
        joint_kl, _ANSWERS | _KL, weights=joint_kl_weights, observe=observe_divergence
    ),
    "kl_minimization": Objective(kl_minimization, _ANSWERS | _KL),
    "sequential": Objective(gradient_difference, _ANSWERS),
    "npo": Objective(npo, _PREFERENCE | _KL),
    "simnpo": Objective(simnpo, _PREFERENCE),
    "idk_dpo": Objective(idk_dpo, _PREFERENCE),
    "undial": Objective(undial, _ANSWERS),
    "task_vector": Objective(task_vector, _ANSWERS, finish=negate),
    "rmu": Objective(rmu, _TEXT),
    "adaptive_rmu": Objective(adaptive_rmu, _TEXT),
    "ties_merge": Objective(no_terms, {}, finish=ties_merge),
    "memorize": Objective(memorize, _ANSWERS, done=memorized),
}
"""Objective of each method, by the method's `kind`."""
