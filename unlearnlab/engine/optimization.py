"""AdamW on the trained weights, such that small steps are not lost in 16 bits.

A bfloat16 weight has 8 significant bits: a step below a 256th to a 512th of it rounds to nothing,
and the optimizer's second moment, whose decay is a 1000th, would never fall. So the weights of a
model in 16 bits have float32 copies, the master weights, which take the gradients, the moments and
the steps; the model computes with them rounded (Micikevicius et al. 2018, arXiv:1710.03740). Where
memory forbids copies, steps are rounded stochastically: up or down, with the chance that keeps
their mean. No library that this program depends on offers that (torchao would).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import get_scheduler

from unlearnlab.spec.run import Phase

HALF = (torch.bfloat16, torch.float16)
"""Number formats whose weights have master weights."""


class Optimizer:
    """AdamW of one phase, or of one chunk of it, with its schedule."""

    def __init__(
        self,
        trained: Sequence[nn.Parameter],
        phase: Phase,
        steps: int,
        *,
        masters: Mapping[nn.Parameter, Tensor],
        seed: int = 0,
    ) -> None:
        """Begin with fresh moments.

        Args:
            trained: Trained weights of the model; until `close`, hooks move their gradients.
            phase: Has the settings.
            steps: Length of the schedule.
            masters: Master weights of those that have any, updated in place.
            seed: Of stochastic rounding.
        """
        self._stochastic = phase.bfloat16_updates == "stochastic" and any(
            weight.dtype in HALF for weight in trained
        )

        def stepped(weight: nn.Parameter) -> nn.Parameter:
            if self._stochastic:
                return nn.Parameter(weight.detach().new_empty(0).float())
            return nn.Parameter(masters[weight]) if weight in masters else weight

        self._pairs = [(weight, stepped(weight)) for weight in trained]
        """Each weight of the model, and what AdamW steps on in its place: its master weight, or a
        float32 tensor that is empty between the steps, or the weight itself."""
        self._hooks = [
            weight.register_post_accumulate_grad_hook(_to_master(master))
            for weight, master in self._pairs
            if master is not weight and not self._stochastic
        ]
        generators = {weight.device: torch.Generator(weight.device) for weight in trained}
        self._random = {device: one.manual_seed(seed) for device, one in generators.items()}
        self._optimizer = _adamw(self._pairs, phase)
        self._schedule = get_scheduler(
            "constant_with_warmup" if phase.schedule == "constant" else phase.schedule,
            self._optimizer,
            num_warmup_steps=round(phase.warmup * steps),
            num_training_steps=steps,
        )

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def rescale(self, factor: float) -> None:
        """Multiply the learning rate by `factor`, now and for the rest of the schedule."""
        if factor != 1:
            self._schedule.base_lrs = [rate * factor for rate in self._schedule.base_lrs]
            for group in self._optimizer.param_groups:
                group["lr"] *= factor

    def clip(self, most: float) -> Tensor:
        """Clip the gradients to a global norm of at most `most`; return the norm before: []."""
        holders = [weight if self._stochastic else master for weight, master in self._pairs]
        return nn.utils.clip_grad_norm_(holders, most)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step, write it into the model's weights, and drop the gradients."""
        if self._stochastic:
            self._step_and_round()
        else:
            self._optimizer.step()
            for weight, master in self._pairs:
                master.grad = None
                if master is not weight:
                    weight.copy_(master)
        self._schedule.step()

    def _step_and_round(self) -> None:
        """Step on one weight after the other, so that one float32 copy is there at a time."""
        for weight, copy in self._pairs:
            if weight.grad is None:
                continue
            copy.data, copy.grad = weight.detach().float(), weight.grad.float()
            weight.grad = None
            self._optimizer.step()  # Passes over all that have no gradient.
            copy.grad = None
            exact = copy.detach()
            if weight.dtype == torch.bfloat16:
                exact = rounded_stochastically(exact, self._random[weight.device])
            weight.copy_(exact)
            copy.data = copy.new_empty(0)

    def close(self) -> None:
        """Let gradients stay with the model's weights again."""
        for hook in self._hooks:
            hook.remove()


def _to_master(master: nn.Parameter) -> Callable[[Tensor], None]:
    """Make a hook that adds a weight's gradient to that of its master weight, in float32."""

    def move(weight: Tensor) -> None:
        assert weight.grad is not None, "the hook runs after a gradient"
        if master.grad is None:
            master.grad = weight.grad.float()
        else:
            master.grad += weight.grad
        weight.grad = None

    return move


def _adamw(
    pairs: Sequence[tuple[nn.Parameter, nn.Parameter]], phase: Phase
) -> torch.optim.Optimizer:
    """Make AdamW in 32 or 8 bits on the second of each pair, which stands for the first.

    Biases and the scales of norms do not decay, as is usual: they have one dimension.
    """
    parts = [
        ([one for weight, one in pairs if weight.ndim > 1], phase.weight_decay),
        ([one for weight, one in pairs if weight.ndim < 2], 0.0),
    ]
    groups = [{"params": of, "weight_decay": decay} for of, decay in parts if of]
    rate, epsilon = phase.learning_rate, phase.adam_epsilon
    if phase.optimizer == "adamw":
        fused = pairs[0][0].device.type == "cuda"
        return torch.optim.AdamW(groups, lr=rate, eps=epsilon, fused=fused)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit  # noqa: PLC0415  (loud)

    cls = {"adamw_8bit": AdamW8bit, "paged_adamw_8bit": PagedAdamW8bit}[phase.optimizer]
    return cls(groups, lr=rate, eps=epsilon)


def rounded_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """Round float32 to bfloat16, up or down with the chance that keeps the mean.

    bfloat16 is the upper half of float32: a random lower half is added before the cut.
    """
    lower = torch.randint(
        1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator
    )
    cut = (values.view(torch.int32) + lower).bitwise_and_(-(1 << 16))
    return cut.view(torch.float32).bfloat16()
