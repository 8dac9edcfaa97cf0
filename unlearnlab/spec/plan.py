"""What a spec amounts to before it runs: steps, trained parameters, equality of settings."""

import math

from unlearnlab.spec.adapters import adapters
from unlearnlab.spec.run import Phase, RunSpec


def planned_steps(spec: RunSpec) -> tuple[int, ...]:
    """Count the optimizer steps that each phase will take."""
    counts = ((steps_of_epochs(spec, phase), phase.max_steps) for phase in spec.phases)
    return tuple(steps if most is None else min(steps, most) for steps, most in counts)


def steps_of_epochs(spec: RunSpec, phase: Phase) -> int:
    """Count the optimizer steps of a phase's epochs; 0 where its rows are not on this machine."""
    parts = phase.method.batches(spec.rows(phase), phase.batch_size, phase.retain_rows)
    return phase.epochs * sum(math.ceil(n / phase.gradient_accumulation) for n in parts)


def trainable_parameters(spec: RunSpec, phase: Phase) -> int:
    """Count the parameters that a phase trains.

    Raises:
        ValueError: The model's sizes are not known on this machine.
    """
    size = spec.model.known.architecture
    if size is None:
        raise ValueError(f"the sizes of {spec.model.name} are not known here")
    blocks = len(phase.blocks(size.blocks))
    if not phase.method.sets:
        return 0
    if lora := spec.model.adapter:
        sits = adapters(spec.phases, blocks=size.blocks, rank=lora.r)
        return blocks * size.adapter_parameters(phase.modules, sits[phase.adapter_name].rank)
    whole = size.embedding_parameters if phase.embeddings else 0
    return whole + blocks * size.block_parameters(phase.modules)


def same_settings(one: RunSpec, other: RunSpec) -> bool:
    """Tell whether two specs ask for the same, the seed and a name to keep it under aside."""
    return settled(one, seed=0) == settled(other, seed=0)


def settled(spec: RunSpec, *, seed: int | None = None) -> RunSpec:
    """Put in plain numbers what may be left open, and drop a name to keep the result under.

    Args:
        spec: The run.
        seed: What to put in place of its seed; none leaves it.
    """
    blocks = spec.model.blocks
    last = None if blocks is None else blocks - 1
    phases = tuple(
        phase.model_copy(update={"last_layer": last}) if phase.last_layer is None else phase
        for phase in spec.phases
    )
    changes = {"phases": phases, "keep_as": "", "seed": spec.seed if seed is None else seed}
    return spec.model_copy(update=changes)


def written(number: float) -> str:
    """Write a number that spans orders of magnitude: 0.0005 as 5e-4."""
    mantissa, exponent = f"{number:.6e}".split("e")
    if -2 <= int(exponent) <= 3:
        return f"{number:g}"
    return f"{float(mantissa):g}e{int(exponent)}"
