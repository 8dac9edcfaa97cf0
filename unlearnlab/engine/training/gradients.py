"""Gradients of one optimizer step, and its numbers, fetched from the device all at once.

On a GPU the host runs ahead of the device, and every number that it asks for makes it wait.
"""

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearnlab.engine.objectives import Batch, Context, Objective
from unlearnlab.runs.engine_api import RunFailed


@dataclass(slots=True)
class Sums:
    """What the micro-batches of one optimizer step come to."""

    terms: dict[str, float]
    """Unweighted."""
    weights: dict[str, float]
    """Mean over the micro-batches, which may weigh differently."""
    norm: float
    """Of the gradients, before they were limited."""
    loss: float = 0.0


@dataclass(slots=True)
class Found:
    """What the micro-batches of one optimizer step gave, on the device as yet."""

    names: Sequence[str]
    values: list[Tensor] = field(default_factory=list)
    """[terms] of each micro-batch, unweighted."""
    weights: list[Mapping[str, float]] = field(default_factory=list)
    shares: list[Mapping[str, float]] = field(default_factory=list)
    """Parts of each term that the micro-batches contribute."""
    seconds: float = 0.0
    """Spent computing; a pause in between does not count."""

    def summed(self, norm: Tensor, *, step: int) -> Sums:
        """Fetch all numbers from the device at once and add them up.

        Raises:
            RunFailed: One of them is not finite.
        """
        here = self.values[0].device
        *flat, length = torch.cat([*self.values, norm.detach().float().to(here)[None]]).tolist()
        sums = Sums(dict.fromkeys(self.names, 0.0), dict.fromkeys(self.names, 0.0), length)
        per_batch = zip(*[iter(flat)] * len(self.names), strict=True)
        for numbers, weights, shares in zip(per_batch, self.weights, self.shares, strict=True):
            values = dict(zip(self.names, numbers, strict=True))
            _check_losses(values, step=step)
            for name, value in values.items():
                sums.terms[name] += shares[name] * value
                sums.weights[name] += shares[name] * weights[name]
                sums.loss += weights[name] * shares[name] * value
        _check_finite({"gradient": length}, step=step)
        return sums


def gradients(
    model: nn.Module, batches: Sequence[Batch], objective: Objective, ctx: Context, *, step: int
) -> Generator[None, None, Found]:
    """Add up the gradients of one optimizer step.

    Micro-batches count by what their terms are means of, as if they had been one batch.
    """
    names = list(ctx.method.weights)
    counts = [{name: objective.counts[name](batch) for name in names} for batch in batches]
    totals = {name: sum(count[name] for count in counts) for name in names}
    found = Found(names)
    for batch, count in zip(batches, counts, strict=True):
        began = time.perf_counter()
        terms = objective.terms(model, batch, ctx)
        found.values.append(torch.stack([terms[name].detach().float() for name in names]))
        weights = _weights(found, objective, ctx, step=step)
        shares = {name: count[name] / totals[name] for name in names}
        weighed = [weights[name] * shares[name] * terms[name] for name in names]
        torch.stack(weighed).sum().backward()
        found.weights.append(weights)
        found.shares.append(shares)
        found.seconds += time.perf_counter() - began
        yield None
    return found


def _weights(found: Found, objective: Objective, ctx: Context, *, step: int) -> Mapping[str, float]:
    """Weigh the terms of the last micro-batch; only weights that follow them wait for them."""
    if objective.weights is None:
        return ctx.method.weights
    values = dict(zip(found.names, found.values[-1].tolist(), strict=True))
    _check_losses(values, step=step)
    return objective.weights(values, ctx)


def _check_losses(values: Mapping[str, float], *, step: int) -> None:
    _check_finite({f"{name} loss": value for name, value in values.items()}, step=step)


def _check_finite(values: Mapping[str, float], *, step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"the {name} became {value} at step {step}",
                "lower the learning rate, take fewer epochs, or give the retain set more weight",
            )
