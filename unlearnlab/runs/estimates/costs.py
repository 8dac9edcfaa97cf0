"""Bytes of a model's tensors: its weights, and what passes through it keep or need for a moment.

Letters, as in the engine: n padded tokens of a batch, D hidden units, Q width of all heads, F that
of the MLP, V vocabulary. Everything is in bytes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from unlearnlab.models.families import ROLES, Architecture, Role
from unlearnlab.runs.estimates.rows import Shape
from unlearnlab.spec.batches import POSITIONS_AT_ONCE, answered_at_once, slots
from unlearnlab.spec.methods import ForwardPass, Steering
from unlearnlab.spec.plan import trainable_parameters
from unlearnlab.spec.run import (
    PACKED,
    PACKED_BYTES,
    ModelSpec,
    Optimizer,
    Phase,
    Precision,
    RunSpec,
)

FLOAT32: Final = 4

WEIGHT: Mapping[Precision, float] = {"float32": FLOAT32, "bfloat16": 2, **PACKED_BYTES}
"""Of a weight of the blocks."""

MOMENTS: Mapping[Optimizer, float] = {
    "adamw": 2,
    "adamw_8bit": 2 * (1 + FLOAT32 / 256) / FLOAT32,
    "paged_adamw_8bit": 2 * (1 + FLOAT32 / 256) / FLOAT32,
}
"""What an optimizer remembers of a float32 number, in such numbers."""


NONLINEARITY: Mapping[str, int] = {"gpt2": 4}
"""Copies of the MLP's width that a family's nonlinearity keeps; of others it is its input."""

CAPPED = {"gemma2"}
"""Families that limit attention scores and logits by tanh, and so hold the scores of all heads."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass of a step, or the end of one."""

    kept: float
    """For the backward pass."""
    forward: float
    """At most, while it is computed; what is kept of it included."""
    turn: float
    """Beside what is kept, when its backward pass begins."""
    lowest: float = 0.0
    """At the lowest block that its backward pass reaches."""
    held: float = 0.0
    """By the objective, until the whole forward pass is done."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model's tensors cost."""

    model: ModelSpec
    size: Architecture
    cuda: bool
    """On CUDA some kernels copy what they are given, and the optimizer needs no room of its own."""
    memory: int | None = None
    """Bytes that the device has in all; none if that is not known."""

    @property
    def number(self) -> int:
        """Return the bytes of a number among the activations."""
        packed = self.model.precision in PACKED
        half = self.model.precision == "bfloat16" or (self.cuda and packed)
        return 2 if half else FLOAT32

    @property
    def trained_number(self) -> int:
        """Return the bytes of a number that is trained: peft keeps adapters in float32."""
        return FLOAT32 if self.model.adapter else self.number

    def weights(self, spec: RunSpec) -> float:
        """Add up the weights, those of adapters included."""
        blocks = self.size.blocks * self.size.block_parameters("all")
        whole = blocks * WEIGHT[self.model.precision]
        whole += (self.size.parameters - blocks) * self.number
        added = {phase.adapter_name: self.trained(spec, phase) for phase in spec.phases}
        return whole + (sum(added.values()) if self.model.adapter else 0)

    def trained(self, spec: RunSpec, phase: Phase) -> float:
        """Add up what a phase trains."""
        return trainable_parameters(spec, phase) * self.trained_number

    def remembered(self, spec: RunSpec, phase: Phase) -> float:
        """Add up what the optimizer remembers of it."""
        eight_bit = phase.optimizer != "adamw"  # Whatever the format of what is trained.
        number = FLOAT32 if eight_bit else self.trained_number
        return trainable_parameters(spec, phase) * number * MOMENTS[phase.optimizer]

    def largest(self, phase: Phase) -> float:
        """Return the largest matrix that a phase trains."""
        wide = self.size.width("Q") if phase.modules == "attention" else self.size.mlp_width
        other = self._rank(phase) if self.model.adapter else self.size.hidden
        ends = self.size.vocabulary * self.size.hidden if phase.embeddings else 0
        return max(other * max(wide, self.size.hidden), ends) * self.trained_number

    def _rank(self, phase: Phase) -> int:
        assert self.model.adapter is not None, "only an adapter has a rank"
        return phase.adapter_rank or self.model.adapter.r

    def passing(self, shape: Shape) -> float:
        """Return what a pass through the blocks needs that keeps nothing."""
        d, q, f = self.size.hidden, self.size.width("Q"), self.size.mlp_width
        mlp = (4 * d + self.into_mlp + f) * self.number
        attention = (3 * d + 4 * q) * self.number + 3 * q * FLOAT32
        mask = shape.width * (1 + self.number)
        return shape.tokens * (max(mlp, attention) + mask)

    def predicting(self, shape: Shape) -> float:
        """Return logits, and at all positions but the last their float32 copy and log-softmax."""
        copies = (self.number != FLOAT32) + 1 + self.cuda
        logits = shape.tokens * self.number + (shape.tokens - shape.rows) * copies * FLOAT32
        return logits * self.size.vocabulary

    def measuring(self, shape: Shape) -> float:
        """Return what a forward pass for losses needs, without gradients.

        Logits with a copy of those where a loss counts; once the others have gone, the copy in
        float32 and its log-softmax; and three of that size for some positions at a time, whose
        whole distribution is looked at.
        """
        taken = (shape.predicted + shape.counted) * self.number
        copies = (self.number != FLOAT32) + 1 + self.cuda
        scored = shape.counted * (self.number + copies * FLOAT32)
        spread = (shape.counted + 3 * min(shape.counted, POSITIONS_AT_ONCE)) * FLOAT32
        return max(self.passing(shape), max(taken, scored, spread) * self.size.vocabulary)

    def answering(self, shape: Shape, new: int) -> float:
        """Return what answering prompts needs if none ends before `new` tokens."""
        cache = self.size.cached_units * self.number
        places = slots(shape.width + new)
        together = answered_at_once(places * cache, self.memory)
        shape = replace(shape, rows=min(shape.rows, together))
        start = shape.tokens * cache + self.passing(shape)
        logits = shape.rows * self.size.vocabulary * self.number
        # Each block's keys are copied to make room for more tokens; some places are of no use.
        end = shape.rows * places * (cache + self.size.width("K") * self.number)
        return max(start, end + logits)

    def block(self, phase: Phase, shape: Shape, layer: int) -> float:
        """Return what a block keeps for the backward pass."""
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
        """Return the units that go into the MLP's nonlinearity, a gate beside them included."""
        matrices = self.size.family.matrices
        return sum(self.size.width(m.outputs) for m in matrices if m.role == "up_proj")

    @property
    def _further_norms(self) -> int:
        """Count the units that norms read beyond the usual two of a block."""
        norms = self.size.family.norms
        of_hidden = norms.count("D") // (2 if self.size.family.final_norm == "DD" else 1)
        of_heads = self.size.width("QK") if {"Q", "H"} & set(norms) else 0
        return max(0, of_hidden - 2) * self.size.hidden + of_heads

    def _inputs(self, phase: Phase, roles: Collection[Role]) -> float:
        """Return what trained matrices keep of their inputs, for one token."""
        trained = [matrix for matrix in self.size.family.matrices if matrix.role in roles]
        # Matrices of one role read the same; what attention puts out is kept by itself.
        read = {(matrix.role, matrix.inputs) for matrix in trained if matrix.inputs != "Q"}
        once = sum(self.size.width(letters) for _, letters in read) * self.number
        lora = self.model.adapter
        if lora is None:
            return once
        each = sum(self.size.width(matrix.inputs) for matrix in trained) * FLOAT32
        low = len(trained) * self._rank(phase) * FLOAT32
        if lora.dropout:  # Each matrix has its own: what is left, and where.
            return each + each / (FLOAT32 if self.cuda else 1) + low
        # In another format, peft casts what they read for each matrix anew.
        return (once if self.number == FLOAT32 else each) + low

    def within(self, phase: Phase, shape: Shape, *, last: int) -> Pass:
        """Return what the blocks of a pass with gradients need.

        Args:
            phase: What is trained.
            shape: The batch.
            last: The last block that is computed.
        """
        first = 0 if phase.embeddings else phase.first_layer
        layers, trained = range(first, last + 1), phase.blocks(self.size.blocks)
        # All blocks above the lowest are alike, but for whether they are trained.
        like = {above in trained: above for above in layers[1:]}
        alike = {trains: self.block(phase, shape, layer) for trains, layer in like.items()}
        blocks = [self.block(phase, shape, first)] if layers else []
        blocks += [alike[layer in trained] for layer in layers[1:]]
        d, q, f = self.size.hidden, self.size.width("Q"), self.size.mlp_width
        back = shape.tokens * max(3 * d + self.into_mlp + f, 2 * d + 5 * q) * self.number
        if self.model.gradient_checkpointing:  # Of each block its input; one at a time anew.
            kept = len(blocks) * shape.tokens * d * self.number
            again = max(blocks, default=0.0) + back
            return Pass(kept, kept + self.passing(shape), 0.0, lowest=kept + again)
        kept = sum(blocks)
        lowest = (blocks[0] if blocks else 0.0) + back
        return Pass(kept, max(kept, self.passing(shape)), back, lowest)

    def steered(self, shape: Shape, *, compared: bool) -> Pass:
        """Return what the error of a block's states needs."""
        states = shape.tokens * self.size.hidden * FLOAT32
        return Pass(states, states * (2 if compared else 1), 2 * states)

    def _capped(self, shape: Shape) -> float:
        """Return what the limit on logits keeps, where there is one."""
        logits = shape.tokens * self.size.vocabulary * self.number
        return logits if self.size.model_type in CAPPED else 0.0

    def losses(self, shape: Shape) -> Pass:
        """Return what the losses of all tokens of a pass need."""
        one = (shape.tokens - shape.rows) * self.size.vocabulary * FLOAT32
        capped = (
            shape.tokens * self.size.vocabulary * self.number * (self.size.model_type in CAPPED)
        )
        return Pass(one + capped, self.predicting(shape) + capped, 2 * one)

    def choosing(self, shape: Shape, counted: int) -> Pass:
        """Return what it takes to pick the logits of counted tokens, `counted` of them so far."""
        logits = shape.tokens * self.size.vocabulary * self.number
        capped = self._capped(shape)
        return Pass(
            capped, capped + logits + 2 * counted * self.size.vocabulary * FLOAT32, 2 * logits
        )

    def predictions(self, counted: int, *, compared: bool) -> Pass:
        """Return what whole predictions of counted tokens need."""
        one = counted * self.size.vocabulary * FLOAT32
        if compared:  # Both logits, both log-softmaxes, a probability, a difference, a product.
            return Pass(2 * one, 7 * one, 2 * one, held=2 * one)
        return Pass(one, 2 * one, 2 * one, held=one)


def last_block(phase: Phase, size: Architecture) -> int:
    """Return the last block that a phase's passes compute."""
    return phase.method.layer if isinstance(phase.method, Steering) else size.blocks - 1


def passes(costs: Costs, phase: Phase, kind: ForwardPass, of: list[Shape]) -> list[Pass]:
    """Lay one of a method's forward passes out: its batches one after another, then its end."""
    last, counted, found = last_block(phase, costs.size), 0, list[Pass]()
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
