"""Preference objectives: NPO, SimNPO and DPO with refusals.

Shape suffix: B sequences.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.likelihoods import Tokens, mean_nll, on, row_nll, sequence_logprob
from unlearnlab.engine.objectives.context import (
    KL,
    Batch,
    Context,
    Objective,
    Terms,
    answer_tokens,
    rows,
)
from unlearnlab.engine.objectives.distribution import divergence_from_reference
from unlearnlab.spec.methods.base import SetName
from unlearnlab.spec.methods.preference import NPO, IdkDPO, SimNPO


def npo(model: nn.Module, batch: Batch, ctx: Context[NPO]) -> Terms:
    """Lower forget answers below their original probability; the gradient vanishes far below.

    Source: Zhang et al. 2024, arXiv:2404.05868; with token means and the KL term, ZJUKLAB,
    arXiv:2503.21088 (which averages over the tokens of the batch, not of each row).
    """
    log_ratio_B = log_ratio(model, batch, "forget", ctx)
    if ctx.method.likelihood == "token_mean":
        log_ratio_B = log_ratio_B / on(log_ratio_B.device, batch.forget.answer_lengths)
    terms = {
        "forget": npo_loss(log_ratio_B, beta=ctx.method.beta),
        "retain": mean_nll(model, batch.retain),
    }
    if ctx.method.kl_weight:
        terms["kl"] = divergence_from_reference(model, batch.retain, ctx)
    return terms


def npo_loss(log_ratio_B: Tensor, *, beta: float) -> Tensor:
    """Compute the NPO loss from `log p(y|x) - log p_original(y|x)`.

    Bounded below by 0; equals 2 ln 2 / beta at the original model. For beta towards 0, its gradient
    approaches that of gradient ascent on the summed loss.

    Args:
        log_ratio_B: [B] in nats, summed over the answer, or its token mean.
        beta: Inverse temperature, in 1/nat.

    Returns:
        [] mean over the batch.
    """
    return (-2 / beta) * F.logsigmoid(-beta * log_ratio_B).mean()


def simnpo(model: nn.Module, batch: Batch, ctx: Context[SimNPO]) -> Terms:
    """Raise the loss per token of each forget answer above a margin, without a reference model.

    Source: SimNPO, arXiv:2410.07163.
    """
    nll_B, count_B = row_nll(model, batch.forget)
    return {
        "forget": simnpo_loss(nll_B / count_B, beta=ctx.method.beta, margin=ctx.method.margin),
        "retain": mean_nll(model, batch.retain),
    }


def simnpo_loss(nll_B: Tensor, *, beta: float, margin: float) -> Tensor:
    """Compute the SimNPO loss from each row's mean loss per token.

    Args:
        nll_B: [B] in nats per token.
        beta: Inverse temperature, in 1/nat.
        margin: Loss to exceed, in nats per token.

    Returns:
        [] mean over the batch.
    """
    return (-2 / beta) * F.logsigmoid(beta * (nll_B - margin)).mean()


def idk_dpo(model: nn.Module, batch: Batch, ctx: Context[IdkDPO]) -> Terms:
    """Prefer a refusal to each forget answer.

    Source: TOFU, arXiv:2401.06121; scaled by 2 / beta as in OpenUnlearning, arXiv:2506.12618.
    """
    refusal_B = log_ratio(model, batch, "refusal", ctx)
    answer_B = log_ratio(model, batch, "forget", ctx)
    return {
        "forget": dpo_loss(refusal_B, answer_B, beta=ctx.method.beta),
        "retain": mean_nll(model, batch.retain),
    }


def dpo_loss(preferred_B: Tensor, rejected_B: Tensor, *, beta: float) -> Tensor:
    """Compute the DPO loss from `log p(y|x) - log p_original(y|x)` of both answers.

    Args:
        preferred_B: [B] of the refusals, in nats, summed over the answer.
        rejected_B: [B] of the forget answers, likewise.
        beta: Inverse temperature, in 1/nat.

    Returns:
        [] mean over the batch; 2 ln 2 / beta at the original model.
    """
    return (-2 / beta) * F.logsigmoid(beta * (preferred_B - rejected_B)).mean()


def log_ratio(model: nn.Module, batch: Batch, name: SetName, ctx: Context) -> Tensor:
    """Return `log p(y|x) - log p_original(y|x)` of each row of a set: [B] in nats."""
    tokens = batch.sets[name]
    return sequence_logprob(model, tokens) - reference_logprob(model, tokens, ctx, name)


def reference_logprob(
    model: nn.Module, tokens: Tokens, ctx: Context, name: SetName = "forget"
) -> Tensor:
    """Return the original model's log-probability of each row, [B], cached for the phase."""
    known: dict[int, Tensor] = ctx.memo.setdefault(f"logprob of {name}", {})
    if any(index not in known for index in tokens.index):
        with ctx.reference():
            known.update(zip(tokens.index, sequence_logprob(model, tokens), strict=True))
    return torch.stack([known[index] for index in tokens.index])


_COUNTS = {"forget": rows("forget"), "retain": answer_tokens("retain")}

OF_PREFERENCE: Mapping[str, Objective] = {
    "npo": Objective(npo, _COUNTS | KL),
    "simnpo": Objective(simnpo, _COUNTS),
    "idk_dpo": Objective(idk_dpo, _COUNTS),
}
