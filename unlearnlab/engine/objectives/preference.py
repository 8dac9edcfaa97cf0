"""Objectives that compare a model's likelihood of an answer with its original one.

Shape suffix: B sequences.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.data import Tokens
from unlearnlab.engine.likelihoods import mean_nll, sequence_logprob
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.methods import NPO


def npo(model: nn.Module, batch: Batch, ctx: Context[NPO]) -> Terms:
    """Push forget answers below their original probability, and stop caring once they are.

    Source: Zhang et al. 2024, arXiv:2404.05868.
    """
    log_ratio_B = sequence_logprob(model, batch.forget) - reference_logprob(
        model, batch.forget, ctx
    )
    return {
        "forget": npo_loss(log_ratio_B, beta=ctx.method.beta),
        "retain": mean_nll(model, batch.retain),
    }


def npo_loss(log_ratio_B: Tensor, *, beta: float) -> Tensor:
    """Compute the negative preference loss of `log p(y|x) - log p_original(y|x)`.

    Bounded below by 0; equals 2 ln 2 / beta at the original model. As beta goes to 0 its gradient
    becomes that of gradient ascent on the summed log-probability.

    Args:
        log_ratio_B: [B] in nats, summed over the answer, not averaged.
        beta: Inverse temperature, in 1/nat.

    Returns:
        [] mean over the batch.
    """
    return (-2 / beta) * F.logsigmoid(-beta * log_ratio_B).mean()


def reference_logprob(model: nn.Module, tokens: Tokens, ctx: Context) -> Tensor:
    """Return the original model's log-probability of each row: [B], computed once for each row."""
    known: dict[int, Tensor] = ctx.memo.setdefault("logprob", {})
    if any(index not in known for index in tokens.index):
        with ctx.reference():
            known.update(zip(tokens.index, sequence_logprob(model, tokens), strict=True))
    return torch.stack([known[index] for index in tokens.index])
