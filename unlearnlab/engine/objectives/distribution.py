"""Objectives on full next-token distributions: KL to the original model, and self-distillation.

Shape suffixes: N tokens of a batch that have a loss, V vocabulary.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.likelihoods import Tokens, answer_logits, mean_nll
from unlearnlab.engine.objectives.context import (
    ANSWERS,
    KL,
    Batch,
    Context,
    Objective,
    Terms,
    Values,
)
from unlearnlab.engine.objectives.likelihood import (
    climbed_nll,
    joint,
    joint_weights,
    remember_first_epoch,
)
from unlearnlab.spec.methods.distribution import JointKL, KLMinimization, Undial


def kl_minimization(model: nn.Module, batch: Batch, ctx: Context[KLMinimization]) -> Terms:
    """Return the forget loss, which is maximised, and the KL divergence on retain answers.

    Source: TOFU, arXiv:2401.06121; over answer tokens only.
    """
    return {
        "forget": climbed_nll(model, batch.forget, ctx.method.bounded),
        "kl": divergence_from_reference(model, batch.retain, ctx),
    }


def joint_kl(model: nn.Module, batch: Batch, ctx: Context[JointKL]) -> Terms:
    """Return the terms of the joint objective and the divergence that is kept below a budget.

    Source: named as future work by SHA256, arXiv:2504.12996.
    """
    return {**joint(model, batch, ctx), "kl": divergence_from_reference(model, batch.retain, ctx)}


def joint_kl_weights(values: Values, ctx: Context[JointKL]) -> Mapping[str, float]:
    """Return the weights of the joint objective, and the multiplier of the divergence."""
    return {**joint_weights(values, ctx), "kl": ctx.memo.get("multiplier", 0.0)}


def observe_divergence(values: Values, ctx: Context[JointKL]) -> None:
    """Update the multiplier by dual ascent on the excess over the budget."""
    remember_first_epoch(values, ctx)
    excess = values["kl"] - ctx.method.kl_budget
    ctx.memo["multiplier"] = max(
        0.0, ctx.memo.get("multiplier", 0.0) + ctx.method.dual_rate * excess
    )


def divergence_from_reference(model: nn.Module, tokens: Tokens, ctx: Context) -> Tensor:
    """Average the KL divergence from the original model over answer tokens: [] in nats."""
    with ctx.reference():
        reference_NV, _ = answer_logits(model, tokens)
    logits_NV, _ = answer_logits(model, tokens)
    return kl_divergence(reference_NV, logits_NV)


def kl_divergence(reference_NV: Tensor, logits_NV: Tensor) -> Tensor:
    """Compute KL(reference || predicted) from the logits of both: [] in nats, mean over tokens."""
    return F.kl_div(
        logits_NV.log_softmax(-1),
        reference_NV.log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )


def undial(model: nn.Module, batch: Batch, ctx: Context[Undial]) -> Terms:
    """Distil the original model with lowered logits of the true tokens.

    Source: Dong et al. 2024, arXiv:2402.10052; over answer tokens only.
    """
    with ctx.reference():
        reference_NV, ids_N = answer_logits(model, batch.forget)
    logits_NV, _ = answer_logits(model, batch.forget)
    terms = {"forget": distillation_loss(logits_NV, reference_NV, ids_N, beta=ctx.method.beta)}
    # The retain loss is shown even where its weight is 0, as published.
    return {**terms, "retain": mean_nll(model, batch.retain)}


def distillation_loss(
    logits_NV: Tensor, reference_NV: Tensor, ids_N: Tensor, *, beta: float
) -> Tensor:
    """Compute the cross-entropy to the original predictions with lowered true tokens.

    Args:
        logits_NV: [N, V] of the trained model.
        reference_NV: [N, V] of the original model.
        ids_N: [N], the true tokens.
        beta: Amount subtracted from their logits.

    Returns:
        [] in nats, mean over tokens.
    """
    lowered_NV = reference_NV - beta * F.one_hot(ids_N, reference_NV.shape[-1])
    return F.cross_entropy(logits_NV, lowered_NV.softmax(-1))


OF_DISTRIBUTION: Mapping[str, Objective] = {
    "joint_kl": Objective(
        joint_kl, ANSWERS | KL, weights=joint_kl_weights, observe=observe_divergence
    ),
    "kl_minimization": Objective(kl_minimization, ANSWERS | KL),
    "undial": Objective(undial, ANSWERS),
}
