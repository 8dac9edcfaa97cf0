"""One optimizer step: optimizer and learning-rate schedule, gradients, and the step's numbers.

On a GPU the host runs ahead of the device, and fetching a number makes it wait: so the numbers of
a step are fetched all at once.
"""

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from unlearnlab.engine.objectives.context import Batch, Context, Objective
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.spec.run import Phase


def optimizer_of(
    trained: Sequence[nn.Parameter], phase: Phase, steps: int, device: torch.device
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Make a phase's optimizer, AdamW in 32 or 8 bits, and its learning-rate schedule.

    Args:
        trained: Parameters to train.
        phase: Settings of the optimizer and the schedule.
        steps: Number of optimizer steps that the schedule spans.
        device: Device of the parameters.
    """
    rate, decay = phase.learning_rate, phase.weight_decay
    if phase.optimizer == "adamw":
        fused = device.type == "cuda"
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay, fused=fused)
    else:
        from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit  # noqa: PLC0415  (loud)

        cls = {"adamw_8bit": AdamW8bit, "paged_adamw_8bit": PagedAdamW8bit}[phase.optimizer]
        optimizer = cls(list(trained), lr=rate, weight_decay=decay)
    schedule = get_scheduler(
        "constant_with_warmup" if phase.schedule == "constant" else phase.schedule,
        optimizer,
        num_warmup_steps=round(phase.warmup * steps),
        num_training_steps=steps,
    )
    return optimizer, schedule


def rescale(optimizer: torch.optim.Optimizer, schedule: LRScheduler, factor: float) -> None:
    """Multiply the learning rate by `factor`, now and for the rest of the schedule."""
    if factor != 1:
        schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= factor


@dataclass(slots=True)
class StepResult:
    """Numbers of one optimizer step over all its micro-batches."""

    terms: dict[str, float]
    """Value of each loss term, unweighted."""
    weights: dict[str, float]
    """Weight of each term, averaged over the micro-batches."""
    norm: float
    """Norm of the gradients before clipping."""
    loss: float = 0.0


@dataclass(slots=True)
class PendingStep:
    """Numbers of one optimizer step that are still on the device."""

    names: Sequence[str]
    """Names of the loss terms."""
    values: list[Tensor] = field(default_factory=list)
    """Unweighted terms of each micro-batch, [terms]."""
    weights: list[Mapping[str, float]] = field(default_factory=list)
    shares: list[Mapping[str, float]] = field(default_factory=list)
    """Share of each micro-batch in the mean of each term."""
    seconds: float = 0.0
    """Computing time, without pauses between micro-batches."""

    def fetch(self, norm: Tensor, *, step: int) -> StepResult:
        """Fetch all numbers from the device at once and sum them over the micro-batches.

        Raises:
            RunFailed: A loss term or the gradient norm is not finite.
        """
        here = self.values[0].device
        *flat, length = torch.cat([*self.values, norm.detach().float().to(here)[None]]).tolist()
        sums = StepResult(dict.fromkeys(self.names, 0.0), dict.fromkeys(self.names, 0.0), length)
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
) -> Generator[None, None, PendingStep]:
    """Accumulate the gradients of one optimizer step, yielding after each micro-batch.

    Micro-batches are weighted so that each term is the mean that one large batch would give.

    Raises:
        RunFailed: A loss term that sets weights is not finite.
    """
    names = list(ctx.method.weights)
    counts = [{name: objective.counts[name](batch) for name in names} for batch in batches]
    totals = {name: sum(count[name] for count in counts) for name in names}
    pending = PendingStep(names)
    for batch, count in zip(batches, counts, strict=True):
        began = time.perf_counter()
        terms = objective.terms(model, batch, ctx)
        pending.values.append(torch.stack([terms[name].detach().float() for name in names]))
        weights: Mapping[str, float] = ctx.method.weights
        if objective.weights is not None:  # They depend on the terms, which must be fetched now.
            values = dict(zip(names, pending.values[-1].tolist(), strict=True))
            _check_losses(values, step=step)
            weights = objective.weights(values, ctx)
        shares = {name: count[name] / totals[name] for name in names}
        weighted = [weights[name] * shares[name] * terms[name] for name in names]
        torch.stack(weighted).sum().backward()
        pending.weights.append(weights)
        pending.shares.append(shares)
        pending.seconds += time.perf_counter() - began
        yield None
    return pending


def _check_losses(values: Mapping[str, float], *, step: int) -> None:
    _check_finite({f"{name} loss": value for name, value in values.items()}, step=step)


def _check_finite(values: Mapping[str, float], *, step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"the {name} became {value} at step {step}",
                "lower the learning rate, use fewer epochs, or give the retain set more weight",
            )
