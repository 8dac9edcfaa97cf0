"""Objectives on the activations of one block: representation misdirection (RMU).

Shape suffixes: B sequences, T positions, D model width.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from unlearnlab.engine.hooks import capturing, decoder_blocks
from unlearnlab.engine.likelihoods import Tokens
from unlearnlab.engine.objectives.context import Batch, Context, Count, Objective, Terms
from unlearnlab.spec.methods.representation import RMU, AdaptiveRMU, Steering

S = TypeVar("S", bound=Steering)


def rmu(model: nn.Module, batch: Batch, ctx: Context[RMU]) -> Terms:
    """Steer forget activations to `steering_coeff` along a random direction; keep retain ones.

    Source: Li et al. 2024, arXiv:2403.03218; padding is masked here, not in their code.
    """

    def length_of(group: str) -> float:
        return ctx.method.steering_coeff

    return _terms(model, batch, ctx, length_of)


def adaptive_rmu(model: nn.Module, batch: Batch, ctx: Context[AdaptiveRMU]) -> Terms:
    """Steer forget activations to `scale` times their natural length; keep retain ones.

    Source: Dang et al. 2024, arXiv:2408.06223. The natural length is the mean over the counted
    tokens of each direction's first forget batch, in the phase or in each epoch.
    """
    epoch = ctx.epoch if ctx.method.measured == "each_epoch" else 0
    for group in set(_groups(batch.forget, ctx)):
        if (group, epoch) not in ctx.memo:
            ctx.memo[group, epoch] = natural_length(model, batch.forget, group, ctx)

    def length_of(group: str) -> float:
        return ctx.method.scale * ctx.memo[group, epoch]

    return _terms(model, batch, ctx, length_of)


@torch.no_grad()
def natural_length(
    model: nn.Module, tokens: Tokens, group: str, ctx: Context[AdaptiveRMU]
) -> float:
    """Average the activation length over the tokens of one direction's rows."""
    rows = [row for row, name in enumerate(_groups(tokens, ctx)) if name == group]
    members = tokens.take(rows)
    length_BT = activations(model, members, ctx.method.layer).float().norm(dim=-1)
    return _typical(length_BT, members, ctx)


def _terms(
    model: nn.Module, batch: Batch, ctx: Context[S], length_of: Callable[[str], float]
) -> Terms:
    def steered(tokens: Tokens, hidden_BTD: Tensor) -> Tensor:
        groups = _groups(tokens, ctx)
        lengths = [length_of(group) * _direction(hidden_BTD, group, ctx) for group in groups]
        return torch.stack(lengths).to(hidden_BTD)[:, None]

    def held(tokens: Tokens, _hidden_BTD: Tensor) -> Tensor:
        with ctx.reference():
            return activations(model, tokens, ctx.method.layer)

    unit = _unit(model, batch.forget, ctx)
    return {
        "forget": _distance(model, batch.forget, ctx, steered) / unit,
        "retain": _distance(model, batch.retain, ctx, held) / unit,
    }


def _distance(
    model: nn.Module,
    tokens: Tokens,
    ctx: Context[S],
    goal: Callable[[Tokens, Tensor], Tensor],
) -> Tensor:
    """Average the squared error between a block's output and its goal."""
    total = torch.zeros((), dtype=torch.float32, device=tokens.ids_BT.device)
    # Where padding counts, splitting the batch would change it.
    parts = map(tokens.take, tokens.buckets()) if ctx.method.mask_padding else [tokens]
    for part in parts:
        hidden_BTD = activations(model, part, ctx.method.layer)
        error = masked_mse(hidden_BTD, goal(part, hidden_BTD), _counted(part, ctx))
        total = total + _count(part, ctx) * error * _width(hidden_BTD, ctx)
    return total / _count(tokens, ctx)


@torch.no_grad()
def _unit(model: nn.Module, tokens: Tokens, ctx: Context[S]) -> float:
    """Return the divisor of both terms, in squared activation."""
    if not ctx.method.normalised:
        return 1.0
    if "unit" not in ctx.memo:
        with ctx.reference():
            hidden_BTD = activations(model, tokens, ctx.method.layer)
        length_BT = hidden_BTD.float().pow(2).mean(-1) * _width(hidden_BTD, ctx)
        ctx.memo["unit"] = _typical(length_BT, tokens, ctx)
    return ctx.memo["unit"]


def _width(hidden_BTD: Tensor, ctx: Context[S]) -> int:
    """Return the factor that turns a mean over hidden units into the method's mean or sum."""
    return hidden_BTD.shape[-1] if ctx.method.error == "sum" else 1


def _counted(tokens: Tokens, ctx: Context[S]) -> Tensor:
    """Return the mask of tokens that a term averages over: [B, T]."""
    mask_BT = tokens.mask_BT if ctx.method.mask_padding else torch.ones_like(tokens.mask_BT)
    if ctx.method.positions == "skip_first":
        mask_BT = mask_BT.clone()
        mask_BT[:, 0] = 0
    return mask_BT


def _count(tokens: Tokens, ctx: Context[S]) -> int:
    """Count the tokens of that mask on the host."""
    width = tokens.ids_BT.shape[1]
    lengths = tokens.lengths if ctx.method.mask_padding else [width] * len(tokens.index)
    return sum(lengths) - len(lengths) * (ctx.method.positions == "skip_first")


def _typical(value_BT: Tensor, tokens: Tokens, ctx: Context[S]) -> float:
    """Return the mean over counted tokens, or their median where the method asks for it."""
    counted_BT = _counted(tokens, ctx)
    if ctx.method.positions == "median":
        return value_BT[counted_BT.bool()].median().item()
    return _mean(value_BT, counted_BT).item()


def _groups(tokens: Tokens, ctx: Context[S]) -> tuple[str, ...]:
    """Return the direction name of each row: its subtask, or one name for all rows."""
    return tokens.tasks if ctx.method.directions == "per_task" else ("",) * len(tokens.tasks)


def _direction(hidden_BTD: Tensor, group: str, ctx: Context[S]) -> Tensor:
    """Return the control vector of a group, [D], on the device of the hidden states."""
    if ("direction", group) not in ctx.memo:
        drawn = direction(hidden_BTD.shape[-1], group, seed=ctx.seed, centred=ctx.method.centred)
        ctx.memo["direction", group] = drawn.to(hidden_BTD.device)
    return ctx.memo["direction", group]


def direction(width: int, group: str, *, seed: int, centred: bool) -> Tensor:
    """Draw the unit control vector of a group, [D]; seed and group determine it.

    Its entries are uniform on [0, 1) as published, or on [-0.5, 0.5) when centred.
    """
    generator = torch.Generator().manual_seed(seed + zlib.crc32(group.encode()))
    drawn_D = torch.rand(width, generator=generator, dtype=torch.float32)
    vector_D = drawn_D - (0.5 if centred else 0.0)
    return vector_D / vector_D.norm()


def masked_mse(value_BTD: Tensor, goal_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Average the squared error over width and masked tokens: [] in squared activation."""
    return _mean((value_BTD - goal_BTD).float().pow(2).mean(-1), mask_BT)


def _mean(value_BT: Tensor, mask_BT: Tensor) -> Tensor:
    # Without its first token, a text of one token has none.
    return (value_BT * mask_BT).sum() / mask_BT.sum().clamp(min=1)


def activations(model: nn.Module, tokens: Tokens, layer: int) -> Tensor:
    """Compute the output of block `layer`, [B, T, D], without the blocks above it."""
    with capturing(decoder_blocks(model)[layer], stop=True) as captured:
        model(input_ids=tokens.ids_BT, attention_mask=tokens.mask_BT, use_cache=False)
    return captured[0].to(tokens.ids_BT.device)


_TEXT: Mapping[str, Count] = {
    "forget": lambda batch, ctx: _count(batch.forget, ctx),
    "retain": lambda batch, ctx: _count(batch.retain, ctx),
}

OF_REPRESENTATION: Mapping[str, Objective] = {
    "rmu": Objective(rmu, _TEXT),
    "adaptive_rmu": Objective(adaptive_rmu, _TEXT),
}
