"""What changes the weights: AdamW in 32 or 8 bits, and the schedule of its learning rate."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from unlearnlab.spec.run import Phase


def optimizer_of(
    trained: Sequence[nn.Parameter], phase: Phase, steps: int, device: torch.device
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Make the optimizer that a phase asks for, and the schedule of its learning rate.

    Args:
        trained: What it changes.
        phase: As asked for.
        steps: Optimizer steps that the schedule spans.
        device: Where the parameters are.
    """
    optimizer = _adamw(trained, phase, device)
    schedule = get_scheduler(
        "constant_with_warmup" if phase.schedule == "constant" else phase.schedule,
        optimizer,
        num_warmup_steps=round(phase.warmup * steps),
        num_training_steps=steps,
    )
    return optimizer, schedule


def _adamw(
    trained: Sequence[nn.Parameter], phase: Phase, device: torch.device
) -> torch.optim.Optimizer:
    rate, decay = phase.learning_rate, phase.weight_decay
    if phase.optimizer == "adamw":
        fused = device.type == "cuda"
        return torch.optim.AdamW(trained, lr=rate, weight_decay=decay, fused=fused)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit  # noqa: PLC0415  (loud)

    chosen = {"adamw_8bit": AdamW8bit, "paged_adamw_8bit": PagedAdamW8bit}[phase.optimizer]
    return chosen(list(trained), lr=rate, weight_decay=decay)


def rescale(optimizer: torch.optim.Optimizer, schedule: LRScheduler, factor: float) -> None:
    """Change the learning rate, now and for the rest of the schedule."""
    if factor != 1:
        schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= factor
