"""Objectives on the likelihood of answers, and methods that edit the trained weights at the end.

Gradient ascent, descent and their combinations; memorization; task vectors; merging of adapters.
"""

from collections.abc import Generator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.likelihoods import Tokens, answer_logits, mean_nll, recites, row_nll
from unlearnlab.engine.objectives.context import (
    ANSWERS,
    Batch,
    Context,
    Objective,
    Rows,
    Terms,
    Values,
)
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.methods.likelihood import (
    AdaptiveDifference,
    GradientAscent,
    GradientDescent,
    GradientDifference,
    Memorize,
    Sequential,
    TaskVector,
    TiesMerge,
    WeightedAscent,
)

A = TypeVar("A", bound=AdaptiveDifference)


def climbed_nll(model: nn.Module, tokens: Tokens, bounded: float | None) -> Tensor:
    """Average the forget loss that a method climbs: [] in nats per token.

    Rows above the bound count in the mean, but have no gradient; the others have the gradient that
    they would have without a bound.
    """
    nll_B, count_B = row_nll(model, tokens)
    if bounded is not None:
        held_B = nll_B.detach()
        nll_B = torch.where(held_B > bounded * count_B, held_B, nll_B)
    return nll_B.sum() / count_B.sum()


def gradient_ascent(model: nn.Module, batch: Batch, ctx: Context[GradientAscent]) -> Terms:
    """Return the token-mean forget loss; its negative weight makes it gradient ascent.

    Source: TOFU, arXiv:2401.06121.
    """
    return {"forget": climbed_nll(model, batch.forget, ctx.method.bounded)}


def gradient_descent(model: nn.Module, batch: Batch, ctx: Context[GradientDescent]) -> Terms:
    """Return the token-mean retain loss.

    Source: Cyber for AI, arXiv:2503.04795.
    """
    return {"retain": mean_nll(model, batch.retain)}


def gradient_difference(
    model: nn.Module, batch: Batch, ctx: Context[GradientDifference] | Context[Sequential]
) -> Terms:
    """Return both token-mean losses; the weight of the forget loss is negative.

    Source: TOFU, arXiv:2401.06121.
    """
    return {
        "forget": climbed_nll(model, batch.forget, ctx.method.bounded),
        "retain": mean_nll(model, batch.retain),
    }


def weighted_ascent(model: nn.Module, batch: Batch, ctx: Context[WeightedAscent]) -> Terms:
    """Return the forget loss, each token weighted by its probability, and the retain loss.

    Source: WGA in OpenUnlearning, arXiv:2506.12618.
    """
    logits_NV, ids_N = answer_logits(model, batch.forget)
    nll_N = F.cross_entropy(logits_NV, ids_N, reduction="none")
    return {
        "forget": weighted_loss(nll_N, beta=ctx.method.beta),
        "retain": mean_nll(model, batch.retain),
    }


def weighted_loss(nll_N: Tensor, *, beta: float) -> Tensor:
    """Average each token's loss times its probability to the power `beta`: [] in nats.

    No gradient flows through the weights.
    """
    return ((-beta * nll_N.detach()).exp() * nll_N).mean()


def joint(model: nn.Module, batch: Batch, ctx: Context[A]) -> Terms:
    """Return both token-mean losses; `joint_weights` adapts the weight of the retain loss.

    Source: SHA256, arXiv:2504.12996.
    """
    if ctx.epoch == 0:
        ctx.memo.setdefault("rows of batches", []).append(len(batch.retain.index))
    return {
        "forget": climbed_nll(model, batch.forget, ctx.method.bounded),
        "retain": mean_nll(model, batch.retain),
    }


def remember_first_epoch(values: Values, ctx: Context[A]) -> None:
    """Add a step's retain loss to the baseline during the first epoch."""
    if ctx.epoch == 0:
        ctx.memo.setdefault("first epoch", []).append(values["retain"])


def joint_weights(values: Values, ctx: Context[A]) -> Mapping[str, float]:
    """Weight the retain loss by its rise over the first epoch, and minimally in that epoch."""
    return {**ctx.method.weights, "retain": retain_weight(ctx.method, _rise(values, ctx))}


def _rise(values: Values, ctx: Context[A]) -> float:
    """Return the rise of the retain loss over the first epoch's mean, in nats per token."""
    first = ctx.memo.get("first epoch")
    if ctx.epoch == 0 or not first:
        return 0.0
    divisor: float = len(first)
    if ctx.method.baseline == "rows":
        counts = ctx.memo["rows of batches"]
        divisor *= sum(counts) / len(counts)
    return values["retain"] - sum(first) / divisor


def retain_weight(method: AdaptiveDifference, rise: float) -> float:
    """Compute the retain weight from a rise of the retain loss, in nats per token.

    It is `growth * base ** rise + offset`, limited to the range from `min_retain_weight` to
    `max_retain_weight`; without a rise, the minimum.
    """
    if rise <= 0:
        return method.min_retain_weight
    try:
        grown = method.growth * method.base**rise + method.offset
    except OverflowError:
        return method.max_retain_weight
    return min(max(grown, method.min_retain_weight), method.max_retain_weight)


def memorize(model: nn.Module, batch: Batch, ctx: Context[Memorize]) -> Terms:
    """Return the token-mean loss of each taught set; all weights are positive."""
    return {name: mean_nll(model, batch.sets[name]) for name in ctx.method.drawn}


def memorized(
    lm: UnlearningModel, rows: Rows, ctx: Context[Memorize]
) -> Generator[None, None, bool]:
    """Return whether the model recites at least `stop_at` of the rows of each set."""
    if ctx.method.stop_at is None:
        return False
    for examples in rows.values():
        if not (yield from recites(lm, examples, share=ctx.method.stop_at)):
            return False
    return True


def task_vector(model: nn.Module, batch: Batch, ctx: Context[TaskVector]) -> Terms:
    """Return the token-mean forget loss, which is minimised; `negate` reverses it at the end.

    Source: Ilharco et al. 2022, arXiv:2212.04089.
    """
    if "start" not in ctx.memo:
        ctx.memo["start"] = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
    return {"forget": mean_nll(model, batch.forget)}


@torch.no_grad()
def negate(lm: UnlearningModel, ctx: Context[TaskVector]) -> None:
    """Replace the phase's change of the weights by `-scale` times that change.

    Of an adapter, only the second factor is negated: the adapter adds the product of both.
    """
    for name, start in ctx.memo.pop("start", {}).items():
        learned = lm.precise(name)
        if "lora_A" not in name:
            begun = start.to(learned.dtype)
            lm.assign(name, begun - ctx.method.scale * (learned - begun))


def no_terms(model: nn.Module, batch: Batch, ctx: Context[TiesMerge]) -> Terms:
    """Return no loss terms: the method takes no steps."""
    return {}


def ties_merge(lm: UnlearningModel, ctx: Context[TiesMerge]) -> None:
    """Merge the adapters of all earlier phases with weights 1.

    Source: Yadav et al. 2023, arXiv:2306.01708; ZJUKLAB, arXiv:2503.21088.
    """
    lm.merge(ctx.adapter, combination=ctx.method.combination, density=ctx.method.density)


OF_LIKELIHOOD: Mapping[str, Objective] = {
    "gradient_ascent": Objective(gradient_ascent, ANSWERS),
    "gradient_descent": Objective(gradient_descent, ANSWERS),
    "gradient_difference": Objective(gradient_difference, ANSWERS),
    "weighted_ascent": Objective(weighted_ascent, ANSWERS),
    "joint": Objective(joint, ANSWERS, weights=joint_weights, observe=remember_first_epoch),
    "sequential": Objective(gradient_difference, ANSWERS),
    "task_vector": Objective(task_vector, ANSWERS, finish=negate),
    "ties_merge": Objective(no_terms, {}, finish=ties_merge),
    "memorize": Objective(memorize, ANSWERS, done=memorized),
}
