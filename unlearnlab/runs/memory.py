"""Memory that a run needs, moment by moment, from its spec and its model's sizes.

The formulas follow the tensors that the engine holds; `tests/engine/test_memory.py` compares them
with what was counted. All sizes are in bytes. Letters, as in the engine: n padded tokens of a
batch, D hidden units, Q width of all heads, F width of the MLP, V vocabulary.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from unlearnlab.models.families import ROLES, Architecture, Role
from unlearnlab.runs.lengths import Lengths, Rows, Shape, draws, shapes
from unlearnlab.spec.methods.base import ForwardPass
from unlearnlab.spec.rows import POSITIONS_AT_ONCE, PROBE_TOKENS, answered_at_once, slots
from unlearnlab.spec.run import (
    PACKED,
    PACKED_BYTES,
    ModelSpec,
    Optimizer,
    Phase,
    Precision,
    RunSpec,
    trainable_parameters,
)

FLOAT32: Final = 4

WEIGHT: Mapping[Precision, float] = {"float32": FLOAT32, "bfloat16": 2, **PACKED_BYTES}
"""Bytes of a weight in the blocks, by precision."""

MOMENTS: Mapping[Optimizer, float] = {
    "adamw": 2,
    "adamw_8bit": 2 * (1 + FLOAT32 / 256) / FLOAT32,
    "paged_adamw_8bit": 2 * (1 + FLOAT32 / 256) / FLOAT32,
}
"""Optimizer state per trained number, in multiples of its size."""

NONLINEARITY: Mapping[str, int] = {"gpt2": 4}
"""Activations kept by the MLP nonlinearity, as multiples of the MLP width; default 1, its input."""

CAPPED = {"gemma2"}
"""Families that cap attention scores and logits by tanh, and so keep the scores of all heads."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Memory of a forward pass of a step, or of its end, in bytes."""

    kept: float
    """Kept for the backward pass."""
    forward: float
    """Peak during the forward pass, what is kept included."""
    turn: float
    """Needed beside what is kept when the backward pass begins."""
    lowest: float = 0.0
    """Peak at the lowest block that the backward pass reaches."""
    held: float = 0.0
    """Held by the objective until all forward passes are done."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Bytes of a model's tensors on a device."""

    model: ModelSpec
    size: Architecture
    cuda: bool
    """Whether it computes on CUDA, where some kernels copy their inputs."""
    memory: int | None = None
    """Total bytes of the device; none if unknown."""

    @property
    def number(self) -> int:
        """Return the bytes of an activation."""
        packed = self.model.precision in PACKED
        half = self.model.precision == "bfloat16" or (self.cuda and packed)
        return 2 if half else FLOAT32

    @property
    def trained_number(self) -> int:
        """Return the bytes of a trained number: peft keeps adapters in float32."""
        return FLOAT32 if self.model.adapter else self.number

    def weights(self, spec: RunSpec) -> float:
        """Return the bytes of all weights, adapters included."""
        blocks = self.size.blocks * self.size.block_parameters("all")
        whole = blocks * WEIGHT[self.model.precision]
        whole += (self.size.parameters - blocks) * self.number
        added = {phase.adapter_name: self.trained(spec, phase) for phase in spec.phases}
        return whole + (sum(added.values()) if self.model.adapter else 0)

    def trained(self, spec: RunSpec, phase: Phase) -> float:
        """Return the bytes of the weights that a phase trains."""
        return trainable_parameters(spec, phase) * self.trained_number

    def remembered(self, spec: RunSpec, phase: Phase) -> float:
        """Return the bytes of a phase's optimizer state."""
        eight_bit = phase.optimizer != "adamw"  # Whatever the format of the trained weights.
        number = FLOAT32 if eight_bit else self.trained_number
        return trainable_parameters(spec, phase) * number * MOMENTS[phase.optimizer]

    def largest(self, phase: Phase) -> float:
        """Return the bytes of the largest matrix that a phase trains."""
        wide = self.size.width("Q") if phase.modules == "attention" else self.size.mlp_width
        other = self._rank(phase) if self.model.adapter else self.size.hidden
        ends = self.size.vocabulary * self.size.hidden if phase.embeddings else 0
        return max(other * max(wide, self.size.hidden), ends) * self.trained_number

    def _rank(self, phase: Phase) -> int:
        assert self.model.adapter is not None, "only an adapter has a rank"
        return phase.adapter_rank or self.model.adapter.r

    def passing(self, shape: Shape) -> float:
        """Return the peak of a pass through the blocks without gradients."""
        d, q, f = self.size.hidden, self.size.width("Q"), self.size.mlp_width
        mlp = (4 * d + self.into_mlp + f) * self.number
        attention = (3 * d + 4 * q) * self.number + 3 * q * FLOAT32
        mask = shape.width * (1 + self.number)
        return shape.tokens * (max(mlp, attention) + mask)

    def predicting(self, shape: Shape) -> float:
        """Return the bytes of the logits with their float32 copy and log-softmax.

        The last position of each row predicts nothing, so it needs no copy.
        """
        copies = (self.number != FLOAT32) + 1 + self.cuda
        logits = shape.tokens * self.number + (shape.tokens - shape.rows) * copies * FLOAT32
        return logits * self.size.vocabulary

    def measuring(self, shape: Shape) -> float:
        """Return the peak of a forward pass for losses, without gradients.

        One of three: the logits with a copy of the counted ones; the counted ones in float32 with
        their log-softmax; or these with three more of that size for the positions whose whole
        distribution is measured at once.
        """
        taken = (shape.predicted + shape.counted) * self.number
        copies = (self.number != FLOAT32) + 1 + self.cuda
        scored = shape.counted * (self.number + copies * FLOAT32)
        spread = (shape.counted + 3 * min(shape.counted, POSITIONS_AT_ONCE)) * FLOAT32
        return max(self.passing(shape), max(taken, scored, spread) * self.size.vocabulary)

    def answering(self, shape: Shape, new: int) -> float:
        """Return the peak of generation if no answer ends before `new` tokens."""
        cache = self.size.cached_units * self.number
        places = slots(shape.width + new)
        together = answered_at_once(places * cache, self.memory)
        shape = replace(shape, rows=min(shape.rows, together))
        start = shape.tokens * cache + self.passing(shape)
        logits = shape.rows * self.size.vocabulary * self.number
        # Growing the cache copies the keys of each block; some slots stay empty.
        end = shape.rows * places * (cache + self.size.width("K") * self.number)
        return max(start, end + logits)

    def block(self, phase: Phase, shape: Shape, layer: int) -> float:
        """Return the bytes that a block keeps for the backward pass."""
        d, q, f, number = self.size.hidden, self.size.width("Q"), self.size.mlp_width, self.number
        roles = ROLES[phase.modules] if layer in phase.blocks(self.size.blocks) else ()
        reached = phase.embeddings or layer > phase.first_layer or "attention" in roles
        kept = FLOAT32 * d  # Its output: the next norm reads it in float32.
        if reached:
            kept += FLOAT32 * (d + self._further_norms) + 4 * q * number
            scores = 2 * self.size.heads if self.size.model_type in CAPPED else 0
            kept += shape.width * (number + scores * FLOAT32) + FLOAT32 * self.size.heads
        if reached or "up_proj" in roles:
            gated = f if self.into_mlp > f else 0
            kept += (self.into_mlp * NONLINEARITY.get(self.size.model_type, 1) + gated) * number
        return shape.tokens * (kept + self._inputs(phase, roles))

    @property
    def into_mlp(self) -> int:
        """Return the inputs of the MLP's nonlinearity, in units, a gate included."""
        matrices = self.size.family.matrices
        return sum(self.size.width(m.outputs) for m in matrices if m.role == "up_proj")

    @property
    def _further_norms(self) -> int:
        """Return the inputs of a block's norms beyond the usual two, in units."""
        norms = self.size.family.norms
        of_hidden = norms.count("D") // (2 if self.size.family.final_norm == "DD" else 1)
        of_heads = self.size.width("QK") if {"Q", "H"} & set(norms) else 0
        return max(0, of_hidden - 2) * self.size.hidden + of_heads

    def _inputs(self, phase: Phase, roles: Collection[Role]) -> float:
        """Return the bytes of the inputs that trained matrices keep, per token."""
        trained = [matrix for matrix in self.size.family.matrices if matrix.role in roles]
        # Matrices of one role share their input; the output of attention is counted elsewhere.
        read = {(matrix.role, matrix.inputs) for matrix in trained if matrix.inputs != "Q"}
        once = sum(self.size.width(letters) for _, letters in read) * self.number
        lora = self.model.adapter
        if lora is None:
            return once
        each = sum(self.size.width(matrix.inputs) for matrix in trained) * FLOAT32
        low = len(trained) * self._rank(phase) * FLOAT32
        if lora.dropout:  # Each matrix keeps its own input after dropout, and the mask.
            return each + each / (FLOAT32 if self.cuda else 1) + low
        # In other formats, peft casts the input again for each matrix.
        return (once if self.number == FLOAT32 else each) + low

    def within(self, phase: Phase, shape: Shape, *, last: int) -> Pass:
        """Return the memory of the blocks in a pass with gradients.

        Args:
            phase: The phase that trains.
            shape: The batch.
            last: The last block that is computed, 0-based.
        """
        first = 0 if phase.embeddings else phase.first_layer
        layers, trained = range(first, last + 1), phase.blocks(self.size.blocks)
        # Blocks above the lowest differ only in whether they are trained.
        like = {above in trained: above for above in layers[1:]}
        alike = {trains: self.block(phase, shape, layer) for trains, layer in like.items()}
        blocks = [self.block(phase, shape, first)] if layers else []
        blocks += [alike[layer in trained] for layer in layers[1:]]
        d, q, f = self.size.hidden, self.size.width("Q"), self.size.mlp_width
        back = shape.tokens * max(3 * d + self.into_mlp + f, 2 * d + 5 * q) * self.number
        if self.model.gradient_checkpointing:  # Keeps block inputs, recomputes one block at a time.
            kept = len(blocks) * shape.tokens * d * self.number
            again = max(blocks, default=0.0) + back
            return Pass(kept, kept + self.passing(shape), 0.0, lowest=kept + again)
        kept = sum(blocks)
        lowest = (blocks[0] if blocks else 0.0) + back
        return Pass(kept, max(kept, self.passing(shape)), back, lowest)

    def steered(self, shape: Shape, *, compared: bool) -> Pass:
        """Return the memory of the error between a block's states and their target."""
        states = shape.tokens * self.size.hidden * FLOAT32
        return Pass(states, states * (2 if compared else 1), 2 * states)

    def _capped(self, shape: Shape) -> float:
        """Return the bytes that capped logits keep; 0 for families without a cap."""
        logits = shape.tokens * self.size.vocabulary * self.number
        return logits if self.size.model_type in CAPPED else 0.0

    def losses(self, shape: Shape) -> Pass:
        """Return the memory of the losses of all tokens of a pass."""
        one = (shape.tokens - shape.rows) * self.size.vocabulary * FLOAT32
        capped = self._capped(shape)
        return Pass(one + capped, self.predicting(shape) + capped, 2 * one)

    def choosing(self, shape: Shape, counted: int) -> Pass:
        """Return the memory of picking the logits of counted tokens, `counted` of them so far."""
        logits = shape.tokens * self.size.vocabulary * self.number
        capped = self._capped(shape)
        return Pass(
            capped, capped + logits + 2 * counted * self.size.vocabulary * FLOAT32, 2 * logits
        )

    def predictions(self, counted: int, *, compared: bool) -> Pass:
        """Return the memory of the full distributions at counted tokens."""
        one = counted * self.size.vocabulary * FLOAT32
        if compared:  # Both logits, both log-softmaxes, a probability, a difference, a product.
            return Pass(2 * one, 7 * one, 2 * one, held=2 * one)
        return Pass(one, 2 * one, 2 * one, held=one)


def passes(costs: Costs, phase: Phase, kind: ForwardPass, of: Sequence[Shape]) -> list[Pass]:
    """Return the memory of a method's forward pass: its batches in order, then its end."""
    last, counted, found = phase.method.last_block(costs.size.blocks), 0, list[Pass]()
    for shape in of:
        counted += shape.counted
        within = costs.within(phase, shape, last=last)
        match kind.reads:
            case "states":
                end = costs.steered(shape, compared=kind.compared)
            case "losses":
                end = costs.losses(shape)
            case "predictions":
                end = costs.choosing(shape, counted)
        found.append(
            Pass(
                kept=within.kept + end.kept,
                forward=max(within.forward, within.kept + end.forward),
                turn=max(within.turn, end.turn),
                lowest=within.lowest,
            )
        )
    if kind.reads == "predictions":
        found.append(costs.predictions(counted, compared=kind.compared))
    return found


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
"""Batches whose steps are computed."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Contents of the memory at one time."""

    name: str
    """Such as "training, phase 2"."""
    parts: Mapping[Part, float]
    """Bytes by part."""

    @property
    def total(self) -> float:
        """Return the sum of the parts, in bytes."""
        return sum(self.parts.values())


def moments(
    spec: RunSpec,
    size: Architecture,
    of: Lengths,
    *,
    cuda: bool = False,
    memory: int | None = None,
) -> tuple[Moment, ...]:
    """Return the moments of a run that may need most memory, in order.

    Evaluation assumes that every answer reaches the token limit.

    Args:
        spec: The run.
        size: Sizes of its model.
        of: Lengths of its texts.
        cuda: Whether it computes on CUDA.
        memory: Total bytes of the device; none if unknown.
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
        start = trained if phase.method.copies_trained else 0.0
        held: Mapping[Part, float] = {
            "weights": weights,
            "original copies": aside + start,
            "optimizer": costs.remembered(spec, phase),
        }
        largest = sorted(draws(phase, of), key=_padded_tokens)[-CANDIDATES:]
        steps = [step(costs, phase, draw, trained) for draw in largest]
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


def _padded_tokens(draw: Rows) -> int:
    return sum(shape.tokens for rows in draw.values() for shape in shapes(rows))


def step(costs: Costs, phase: Phase, draw: Rows, trained: float) -> Mapping[Part, float]:
    """Return gradients and activations at the peak of a step on one batch, in bytes.

    Args:
        costs: Costs of the model.
        phase: The phase that trains.
        draw: The batch.
        trained: Bytes of the trained weights.
    """
    split = phase.method.splits_by_length
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
        # Gradients join those of earlier batches once all passes have added theirs.
        gradients = trained if one is laid[0] else earlier + (trained if one.lowest else 0.0)
        found.append((gradients, live + one.lowest + largest))
    found.append((trained, 0.0 if costs.cuda else 2 * largest))
    most = max(found, key=sum)
    return {"gradients": most[0], "activations": most[1]}
