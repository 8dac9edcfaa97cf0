"""How much memory a run needs, moment by moment, from its spec and the sizes of its model.

The formulas follow what the engine holds, tensor by tensor; `tests/engine/test_memory.py` compares
them with what was counted. Letters, as in the engine: n padded tokens of a batch, T its width,
D hidden units, F the width of the MLP, V vocabulary. All sizes in bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.batches import PROBE_TOKENS
from unlearnlab.catalogue import Architecture
from unlearnlab.estimates.rows import Draw, Lengths, Shape, draws, shapes
from unlearnlab.methods import ForwardPass, Steering, TaskVector
from unlearnlab.spec import ModelSpec, Phase, RunSpec
from unlearnlab.views import trainable_parameters

Part = Literal[
    "weights", "original copies", "gradients", "optimizer", "activations", "evaluation"
]

FLOAT32 = 4

WEIGHT_BYTES: Mapping[str, float] = {"float32": 4, "bfloat16": 2, "nf4": 0.5 + FLOAT32 / 64}
"""Of a weight of the blocks; packed ones have a scale for every 64."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in memory at one time."""

    name: str
    """Such as "training, phase 2"."""
    parts: Mapping[Part, float]

    @property
    def total(self) -> float:
        """Add the parts up."""
        return sum(self.parts.values())


def moments(
    spec: RunSpec, size: Architecture, of: Lengths, *, cuda: bool = False
) -> tuple[Moment, ...]:
    """Return the moments of a run at which most memory is needed, in their order.

    Args:
        spec: The run.
        size: Of its model.
        of: Lengths of its texts.
        cuda: Whether it computes on CUDA, where some kernels copy what they are given.
    """
    costs = _Costs(spec.model, size, cuda)
    weights, tokens = costs.weights(spec), spec.evaluation.max_new_tokens
    answering = costs.answering(of.answered, tokens)
    scoring = max(answering, costs.measuring(of.measured))
    probing = max(costs.answering(_cut(of.probed, of.answered.width), PROBE_TOKENS),
                  costs.measuring(of.probed))
    found = [Moment("scoring before", {"weights": weights, "evaluation": scoring})]
    kept = 0.0
    for number, phase in enumerate(spec.phases):
        if not phase.method.sets:
            continue
        name = f"training, phase {number + 1}" if len(spec.phases) > 1 else "training"
        trained = costs.trained(spec, phase)
        kept = 0.0 if spec.model.adapter else max(kept, trained)
        started = trained if isinstance(phase.method, TaskVector) else 0.0
        always: dict[Part, float] = {
            "weights": weights,
            "original copies": kept + started,
            "optimizer": 2 * trained,
        }
        peaks = [costs.step(phase, draw, trained) for draw in draws(phase, of)]
        held = max(peaks, key=lambda one: sum(one.values()), default={})
        found.append(Moment(name, always | held))
        if spec.evaluation.probes:
            found.append(Moment(f"probe in {name}", always | {"evaluation": probing}))
    after: dict[Part, float] = {
        "weights": weights, "original copies": kept, "evaluation": scoring}
    return (*found, Moment("scoring after", after))


def _cut(shape: Shape, width: int) -> Shape:
    return Shape(shape.rows, min(shape.width, width))


@dataclass(frozen=True, slots=True)
class _Costs:
    """Bytes of a model's tensors."""

    model: ModelSpec
    size: Architecture
    cuda: bool

    @property
    def number(self) -> int:
        """Bytes of a number among the activations."""
        if self.model.precision == "nf4":
            return 2 if self.cuda else FLOAT32
        return FLOAT32 if self.model.precision == "float32" else 2

    @property
    def trained_number(self) -> int:
        """Bytes of a number that is trained; peft keeps adapters in float32."""
        return FLOAT32 if self.model.adapter else self.number

    def weights(self, spec: RunSpec) -> float:
        blocks = self.size.blocks * self.size.block_parameters("all")
        rest = self.size.parameters - blocks
        whole = blocks * WEIGHT_BYTES[self.model.precision] + rest * self.number
        added = {p.adapter_name: self.trained(spec, p) for p in spec.phases}
        return whole + (sum(added.values()) if self.model.adapter else 0)

    def trained(self, spec: RunSpec, phase: Phase) -> float:
        return trainable_parameters(spec, phase) * self.trained_number

    # ---- without gradients

    def passing(self, shape: Shape) -> float:
        """A forward pass through the blocks, each freed after the next."""
        mlp = (4 * self.size.hidden + 3 * self.size.mlp_width) * self.number
        attention = (7 * self.number + 3 * FLOAT32) * self.size.hidden
        mask = shape.width * (1 + self.number)
        return shape.tokens * (max(mlp, attention) + mask)

    def measuring(self, shape: Shape) -> float:
        """A forward pass for losses."""
        return max(self.passing(shape), self.predicting(shape))

    def predicting(self, shape: Shape) -> float:
        """Logits, and at all positions but the last their copy in float32 and log-softmax."""
        copies = (self.number != FLOAT32) + 1 + self.cuda
        logits = shape.tokens * self.number + (shape.tokens - shape.rows) * copies * FLOAT32
        return logits * self.size.vocabulary

    def answering(self, shape: Shape, new: int) -> float:
        """Prompts answered together, if none ends before it must."""
        cache = 2 * self.size.blocks * self.size.hidden * self.number
        end = shape.rows * (shape.width + new)
        first = shape.tokens * cache + self.passing(shape)
        logits = shape.rows * self.size.vocabulary * self.number
        return max(first, end * (cache + self.size.hidden * self.number) + logits)

    # ---- with gradients

    def step(self, phase: Phase, draw: Draw, trained: float) -> Mapping[Part, float]:
        """The largest moment of a step on one batch: gradients and activations."""
        passes = [one for kind in phase.method.passes for one in self._passes(phase, draw, kind)]
        earlier = trained if phase.gradient_accumulation > 1 else 0.0
        largest = self.largest(phase)
        found: list[tuple[float, float]] = []
        live = 0.0
        for one in passes:
            found.append((earlier, live + one.forward))
            live += one.kept
        grads = earlier
        for one in reversed(passes):
            found.append((grads, live + one.turn))
            live -= one.kept
            # Gradients join those of earlier batches once all passes have added theirs.
            grads = trained if one is passes[0] else earlier + trained
            found.append((grads, live + one.lowest + largest))
        found.append((trained, 0.0 if self.cuda else 2 * largest))  # The optimizer's own.
        gradients, activations = max(found, key=sum)
        return {"gradients": gradients, "activations": activations}

    def largest(self, phase: Phase) -> float:
        """The largest matrix that is trained."""
        hidden, size = self.size.hidden, self.size
        if self.model.adapter:
            return self.model.adapter.r * max(hidden, size.mlp_width) * self.trained_number
        matrix = hidden * (hidden if phase.modules == "attention" else max(hidden, size.mlp_width))
        ends = size.vocabulary * hidden if phase.embeddings else 0
        return max(matrix, ends) * self.trained_number

    def _passes(self, phase: Phase, draw: Draw, kind: ForwardPass) -> "Iterator[_Pass]":
        split = not (isinstance(phase.method, Steering) and not phase.method.mask_padding)
        of = shapes(draw[kind.rows], split=split)
        for shape in of:
            yield self._pass(phase, shape, kind, whole=sum(one.counted for one in of))

    def _pass(self, phase: Phase, shape: Shape, kind: ForwardPass, *, whole: int) -> "_Pass":
        first = 0 if phase.embeddings else phase.first_layer
        last = self.size.blocks - 1
        if isinstance(phase.method, Steering):
            last = phase.method.layer
        trained = phase.blocks(self.size.blocks)
        blocks = [
            self.block(phase, shape, trains=layer in trained, lowest=layer == first)
            for layer in range(first, last + 1)
        ]
        inner = sum(blocks)
        below = self.block_backward(shape)
        head = self.head(shape, kind, whole)
        return _Pass(
            kept=inner + head.kept,
            forward=max(inner + head.forward, self.passing(shape)),
            turn=max(head.turn, below),
            lowest=(blocks[0] if blocks else 0.0) + below,
        )

    def head(self, shape: Shape, kind: ForwardPass, whole: int) -> "_Head":
        n, v, d = shape.tokens, self.size.vocabulary, self.size.hidden
        if kind.reads == "states":
            kept = n * d * self.number * (2 if kind.compared else 1)
            return _Head(kept, kept, 2 * n * d * FLOAT32)
        before = (n - shape.rows) * v
        if kind.reads == "losses":
            return _Head(before * FLOAT32, self.predicting(shape), 2 * before * FLOAT32)
        counted, logits = shape.counted * v * FLOAT32, n * v * self.number
        if not kind.compared:
            return _Head(counted, logits + 2 * counted, 2 * counted + logits)
        return _Head(2 * counted, max(logits + 3 * counted, 7 * counted), 2 * counted + logits)

    def block(self, phase: Phase, shape: Shape, *, trains: bool, lowest: bool) -> float:
        """What one block keeps for the backward pass."""
        n, d, f = shape.tokens, self.size.hidden, self.size.mlp_width
        attention = trains and phase.modules in ("all", "attention")
        into = trains and phase.modules in ("all", "mlp")
        out = trains and phase.modules in ("all", "mlp", "down_proj")
        casts = self.model.adapter is not None and self.number != FLOAT32
        number, stream = self.number, FLOAT32
        graph = not lowest or attention or phase.embeddings
        mlp_graph = graph or into
        kept = stream * d  # The output, which the next block's norm reads.
        if graph:
            kept += stream * d + 4 * d * number + shape.width * number + 4 * FLOAT32
        if attention:
            kept += d * (3 * FLOAT32 if casts else number) + (d * FLOAT32 if casts else 0)
        if into:
            kept += d * (2 * FLOAT32 if casts else number)
        if mlp_graph:
            kept += 3 * f * number
        if out:
            kept += f * (FLOAT32 if casts else number)
        return n * kept

    def block_backward(self, shape: Shape) -> float:
        """Gradients that are there for a moment while a block is gone through backwards."""
        d, f = self.size.hidden, self.size.mlp_width
        return shape.tokens * max(3 * d + 3 * f, 7 * d) * self.number


@dataclass(frozen=True, slots=True)
class _Head:
    """What the end of a pass needs."""

    kept: float
    """For the backward pass."""
    forward: float
    """At most, while it is computed."""
    turn: float
    """Beside what is kept, when the backward pass begins."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a forward pass of a step needs."""

    kept: float
    """For the backward pass."""
    forward: float
    """At most, while it is computed."""
    turn: float
    """Beside what is kept, when the backward pass begins."""
    lowest: float
    """At the last block that it goes back to."""
