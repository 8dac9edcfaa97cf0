"""How much memory a run needs, moment by moment, from its spec and the sizes of its model.

The formulas follow what the engine holds, tensor by tensor; `tests/engine/test_memory.py` compares
them with what was counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.models.families import Architecture
from unlearnlab.runs.estimates.costs import Costs, passes
from unlearnlab.runs.estimates.rows import Draw, Lengths, draws, shapes
from unlearnlab.spec.batches import PROBE_TOKENS
from unlearnlab.spec.methods import Steering, TaskVector
from unlearnlab.spec.run import Phase, RunSpec

Part = Literal[
    "weights",
    "original copies",
    "gradients",
    "optimizer",
    "activations",
    "evaluation",
    "program",
]


CANDIDATES = 6
"""Batches that are looked at closely."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in memory at one time."""

    name: str
    """Such as "training, phase 2"."""
    parts: Mapping[Part, float]
    """In bytes."""

    @property
    def total(self) -> float:
        """Add the parts up."""
        return sum(self.parts.values())


def moments(
    spec: RunSpec,
    size: Architecture,
    of: Lengths,
    *,
    cuda: bool = False,
    memory: int | None = None,
) -> tuple[Moment, ...]:
    """Return the moments of a run at which most memory is needed, in their order.

    While it is scored, that is if no answer ends before it must.

    Args:
        spec: The run.
        size: Of its model.
        of: Lengths of its texts.
        cuda: Whether it computes on CUDA.
        memory: Bytes that the device has in all; none if that is not known.
    """
    costs = Costs(spec.model, size, cuda, memory)
    weights = costs.weights(spec)
    longest = spec.evaluation.max_new_tokens
    scoring = max(costs.answering(of.answered, longest), costs.measuring(of.measured[not cuda]))
    probing = max(costs.answering(of.probed, PROBE_TOKENS), costs.measuring(of.probed))
    scored: Mapping[Part, float] = {"weights": weights, "evaluation": scoring}
    if spec.only_scores:
        return (Moment("scoring", scored),)
    found = [Moment("scoring before", scored)]
    aside = 0.0
    for number, phase in enumerate(spec.phases):
        if not phase.method.sets:
            continue
        several = f", phase {number + 1}" if len(spec.phases) > 1 else ""
        trained = costs.trained(spec, phase)
        aside = 0.0 if spec.model.adapter else max(aside, trained)
        start = trained if isinstance(phase.method, TaskVector) else 0.0
        held: Mapping[Part, float] = {
            "weights": weights,
            "original copies": aside + start,
            "optimizer": costs.remembered(spec, phase),
        }
        steps = [step(costs, phase, draw, trained) for draw in _largest(draws(phase, of))]
        found.append(
            Moment(f"training{several}", {**held, **max(steps, key=lambda s: sum(s.values()))})
        )
        if spec.evaluation.probes:
            found.append(Moment(f"probing{several}", {**held, "evaluation": probing}))
    after: Mapping[Part, float] = {
        "weights": weights,
        "original copies": aside,
        "evaluation": scoring,
    }
    return (*found, Moment("scoring after", after))


def _largest(drawn: Sequence[Draw]) -> Sequence[Draw]:
    """Choose the batches among which the one that needs most is: those with most tokens."""

    def tokens(draw: Draw) -> int:
        return sum(shape.tokens for rows in draw.values() for shape in shapes(rows))

    return sorted(drawn, key=tokens)[-CANDIDATES:]


def step(costs: Costs, phase: Phase, draw: Draw, trained: float) -> Mapping[Part, float]:
    """Return gradients and activations at the largest moment of a step on one batch.

    Args:
        costs: Of the model.
        phase: What is trained, and how.
        draw: The batch.
        trained: Bytes of what is trained.
    """
    split = not (isinstance(phase.method, Steering) and not phase.method.mask_padding)
    laid = [
        one
        for kind in phase.method.passes
        for one in passes(costs, phase, kind, shapes(draw[kind.rows], split=split))
    ]
    earlier = trained if phase.gradient_accumulation > 1 else 0.0
    largest, live, held = costs.largest(phase), 0.0, 0.0
    found: list[tuple[float, float]] = []
    for one in laid:
        found.append((earlier, live + held + one.forward))
        live += one.kept
        held += one.held
    gradients = earlier
    for one in reversed(laid):
        found.append((gradients, live + one.turn))
        live -= one.kept
        # They join those of earlier batches once all passes have added theirs.
        gradients = trained if one is laid[0] else earlier + (trained if one.lowest else 0.0)
        found.append((gradients, live + one.lowest + largest))
    found.append((trained, 0.0 if costs.cuda else 2 * largest))
    most = max(found, key=sum)
    return {"gradients": most[0], "activations": most[1]}
