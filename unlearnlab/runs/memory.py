"""Memory that a run needs, moment by moment, from its spec, its texts and its model's sizes.

First the lengths of rows in tokens, guessed without a tokenizer, and the batches that they come in;
then the tensors that the engine holds. `tests/engine/test_memory.py` compares the formulas with
what was counted. All sizes are in bytes. Letters, as in the engine: n padded tokens of a batch, D
hidden units, Q width of all heads, F width of the MLP, V vocabulary.
"""

import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path
from typing import Final, Literal

from unlearnlab.data.datasets import SPLITS, DatasetInfo, Fold, Row
from unlearnlab.models import catalog
from unlearnlab.models.families import ROLES, Architecture, Role
from unlearnlab.spec.methods.base import ForwardPass, SetName
from unlearnlab.spec.rows import (
    GENERATED_AT_ONCE,
    POSITIONS_AT_ONCE,
    PROBE_COMPLETIONS,
    PROBE_QUESTIONS,
    PROBE_TOKENS,
    answered_at_once,
    buckets,
    fitting,
    slots,
)
from unlearnlab.spec.run import (
    PACKED,
    PACKED_BYTES,
    DataSpec,
    ModelSpec,
    Optimizer,
    Phase,
    Precision,
    RunSpec,
    trainable_parameters,
)

# ---- lengths and batches -------------------------------------------------------------------------

CHARACTERS_PER_TOKEN = {"tiny-olmo": 3.25}
"""By model, measured on the embedded rows."""

USUAL_CHARACTERS_PER_TOKEN = 4.0
"""Usual for English with vocabularies of 50 k tokens or more."""

REFUSAL_TOKENS = 9
"""Usual length of an answer that admits ignorance."""

DRAWS = 64
"""Batches drawn to find a large one."""


@dataclass(frozen=True, slots=True)
class Text:
    """Length of a training text, in tokens."""

    prompt: int
    whole: int
    """Tokens of the prompt, the answer and EOS."""
    task: str
    kind: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A padded batch."""

    rows: int
    width: int
    counted: int = 0
    """Tokens that count in the loss."""
    predicted: int = 0
    """Positions whose logits are computed for them, padding included."""

    @property
    def tokens(self) -> int:
        """Return the number of tokens, padding included."""
        return self.rows * self.width


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of all training texts, and the largest batches of the evaluation."""

    sets: Mapping[SetName, tuple[Text, ...]]
    """Training rows by set."""
    scored: int
    """Number of rows in the evaluation."""
    answered: Shape
    """The largest batch of prompts for generation."""
    measured: Mapping[bool, Shape]
    """The largest forward pass that measures losses, by whether it runs on a CPU."""
    probed: Shape
    """The batch of the live probe."""

    def mean(self, name: SetName, tasks: Collection[str] | None) -> float:
        """Return the mean tokens of a set's rows; `tasks` selects subtasks, None takes all."""
        known = self.sets["forget" if name == "refusal" else name]
        chosen = [row.whole for row in known if tasks is None or row.task in tasks]
        return sum(chosen) / max(1, len(chosen))


def lengths(data: DataSpec, model: str) -> Lengths:
    """Estimate the lengths of a run's texts from their characters. Cached.

    Args:
        data: The data of the run.
        model: Name of the model, for its characters per token.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    known = data.known
    stamps = tuple(path.stat().st_mtime_ns for path in sorted(known.folder.rglob("*.jsonl")))
    if known.unknown_reason or data.fold not in known.folds:
        why = known.unknown_reason or f"{data.source} has no {data.fold} fold"
        raise ValueError(f"data: {why}")
    ratio = CHARACTERS_PER_TOKEN.get(model, USUAL_CHARACTERS_PER_TOKEN)
    sizes = catalog.model(model).architecture
    vocabulary = sizes.vocabulary if sizes else 0
    return _lengths(data.model_dump_json(), known.folder, stamps, ratio, vocabulary)


@lru_cache(maxsize=64)
def _lengths(
    asked: str, _folder: Path, _stamps: tuple[int, ...], ratio: float, vocabulary: int
) -> Lengths:
    data = DataSpec.model_validate_json(asked)
    known = data.known

    def tokens(text: str) -> int:
        return max(1, round(len(text) / ratio))

    def text(row: Row) -> Text:
        whole = tokens(f"{row.input} {row.output}") + 1
        return Text(tokens(row.input), whole, row.task, row.kind)

    forget = [(row.id, text(row)) for row in known.rows("forget", data.fold)]
    retain = [text(row) for row in known.rows("retain", data.fold)]
    others = map(tokens, _other_texts(known, data.fold))
    return sorted_lengths(data, forget, retain, others=others, vocabulary=vocabulary)


def _other_texts(known: DatasetInfo, fold: Fold) -> Iterator[str]:
    """Yield the other texts whose losses are measured: documents, options, alternative answers."""
    for row in (*known.rows("forget", fold), *known.rows("retain", fold)):
        yield from (f"{row.input} {answer}" for answer in row.alternatives)
    yield from known.documents("member")
    yield from known.documents("nonmember")
    for split in SPLITS:
        yield from known.held_out(split, fold)
    for question in known.questions():
        yield from (f"{question['question']} {option}" for option in question["choices"])


def sorted_lengths(
    data: DataSpec,
    forget: Sequence[tuple[str, Text]],
    retain: Sequence[Text],
    *,
    others: Iterable[int],
    vocabulary: int = 0,
) -> Lengths:
    """Split known lengths into training sets and evaluation batches.

    Args:
        data: Selects the rows.
        forget: Ids and lengths of the fold's forget rows.
        retain: Lengths of the fold's retain rows.
        others: Tokens of each document, quiz option and alternative answer.
        vocabulary: Logits of each token of the model; 0 where that is not known.
    """
    scored = [*(row for _, row in forget), *retain]
    wanted = None if data.forget is None else set(data.forget)
    of = [(name, row) for name, row in forget if row.task in data.tasks]
    picked = [row for name, row in of if wanted is None or name in wanted]
    moved = [row for name, row in of if wanted is not None and name not in wanted]
    kept = [row for row in retain if row.task in data.tasks]
    sets: Mapping[SetName, tuple[Text, ...]] = {
        "forget": tuple(picked),
        "retain": tuple(kept + (moved if data.rest == "retain" else [])),
    }
    answers = [row.whole - row.prompt for row in scored]
    # Rows and other texts go in separate passes.
    texts = (
        [(row.whole, answer) for row, answer in zip(scored, answers, strict=True)],
        [(count, count) for count in others],
    )
    measured = {
        cpu: max(
            (shape for counts in texts for shape in _passes(counts, vocabulary, cpu=cpu)),
            key=lambda shape: shape.predicted + 2 * shape.counted,
        )
        for cpu in (False, True)
    }
    answered = Shape(min(GENERATED_AT_ONCE, len(scored)), max(row.prompt for row in scored))
    # The live probe takes a few rows of each kind from both sets.
    questions = sum(row.kind == "qa" for row in scored)
    rows = min(2 * PROBE_QUESTIONS, questions)
    rows += min(2 * PROBE_COMPLETIONS, len(scored) - questions)
    probed = Shape(rows, max(row.whole for row in scored), predicted=rows * max(answers))
    return Lengths(sets, len(scored), answered, measured, probed)


def _passes(counts: Sequence[tuple[int, int]], vocabulary: int, *, cpu: bool) -> Iterator[Shape]:
    """Put texts, given as their tokens and their predicted tokens, into passes."""
    order, at = sorted(counts), 0
    while at < len(order):
        left = (order[i][0] for i in range(at, len(order)))
        rows = fitting(left, cpu=cpu, vocabulary=vocabulary)
        predicted = [order[i][1] for i in range(at, at + rows)]
        at += rows
        # The prediction after the last token of each text does not count.
        yield Shape(rows, order[at - 1][0], sum(predicted) - rows, rows * max(predicted))


Rows = Mapping[SetName, Sequence[Text]]
"""Rows by set: of a whole phase, or of one batch."""


def draws(phase: Phase, of: Lengths) -> list[Rows]:
    """Draw batches as the phase does, enough of them to include a large one."""
    names: list[SetName] = list(phase.method.drawn)
    tasks = phase.tasks
    rows: Rows = {
        name: [row for row in of.sets[name] if tasks is None or row.task in tasks]
        for name in of.sets
    }
    if not names or not all(rows["forget" if name == "refusal" else name] for name in names):
        return []
    match phase.method.layout:
        case "chunks":
            return list(_in_order(phase, rows))
        case "joint":
            return list(_in_proportion(phase, rows, names))
        case "by_task":
            longest = max(rows["forget"], key=lambda row: row.whole).task
            rows = {name: [r for r in of if r.task == longest] or of for name, of in rows.items()}
        case "shuffled":
            pass
    return list(_shuffled(phase, rows, names))


def _shuffled(phase: Phase, rows: Rows, names: Sequence[SetName]) -> Iterator[Rows]:
    """Shuffle the first set in each epoch; stream the others beside it."""
    chance, leading, size = random.Random(0), rows[names[0]], phase.batch_size

    def endless(rows: Sequence[Text]) -> Iterator[Text]:
        while True:
            yield from chance.sample(rows, len(rows))

    streams: dict[SetName, Iterator[Text]] = {
        name: endless(rows[name]) for name in names[1:] if name != "refusal"
    }
    for _ in range(min(phase.epochs, max(1, DRAWS * size // len(leading)))):
        order = chance.sample(leading, min(len(leading), DRAWS * size))
        for at in range(0, len(order), size):
            chosen = order[at : at + size]
            batch: dict[SetName, Sequence[Text]] = {names[0]: chosen}
            if "refusal" in names:
                batch["refusal"] = [replace(r, whole=r.prompt + REFUSAL_TOKENS) for r in chosen]
            for name, stream in streams.items():
                batch[name] = list(islice(stream, len(chosen) * phase.retain_rows))
            yield batch


def _in_proportion(phase: Phase, rows: Rows, names: Sequence[SetName]) -> Iterator[Rows]:
    """Deal all sets into the batches of one pass in proportion, at least one row of each."""
    chance = random.Random(0)
    count = math.ceil(sum(len(rows[name]) for name in names) / phase.batch_size)
    orders: Rows = {name: chance.sample(rows[name], len(rows[name])) for name in names}
    for at in range(min(count, DRAWS)):
        batch: dict[SetName, Sequence[Text]] = {
            name: of[at * len(of) // count : (at + 1) * len(of) // count] or of[:1]
            for name, of in orders.items()
        }
        yield batch


def _in_order(phase: Phase, rows: Rows) -> Iterator[Rows]:
    """Take the forget rows in their own order, and cycle through the retain rows."""
    # No batch crosses chunks.
    size = min(phase.batch_size, phase.method.chunk_rows or phase.batch_size)
    retain = cycle(rows["retain"])
    for at in range(0, min(len(rows["forget"]), DRAWS * size), size):
        forget = rows["forget"][at : at + size]
        yield {"forget": forget, "retain": list(islice(retain, len(forget) * phase.retain_rows))}


def shapes(rows: Sequence[Text], *, split: bool = True) -> list[Shape]:
    """Pad rows into the batches that go through the model one after another.

    Args:
        rows: Rows of one set in one batch.
        split: Whether to separate rows by length where that saves padding.
    """
    parts = buckets([row.whole for row in rows]) if split else [list(range(len(rows)))]
    return [
        Shape(
            len(part),
            max(rows[i].whole for i in part),
            sum(rows[i].whole - rows[i].prompt for i in part),
        )
        for part in parts
    ]


# ---- tensors -------------------------------------------------------------------------------------

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
"""Families that cap attention scores and logits by tanh, and therefore keep scores of all heads."""


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

    def copied(self, phase: Phase) -> bool:
        """Return whether AdamW steps on float32 copies of the weights that a phase trains."""
        return self.trained_number != FLOAT32 and phase.bfloat16_updates != "nearest"

    def mastered(self, spec: RunSpec, phase: Phase) -> float:
        """Return the bytes of the master weights that a phase needs."""
        needed = self.copied(phase) and phase.bfloat16_updates == "float32"
        return trainable_parameters(spec, phase) * FLOAT32 if needed else 0.0

    def remembered(self, spec: RunSpec, phase: Phase) -> float:
        """Return the bytes of a phase's optimizer state."""
        plain = phase.optimizer == "adamw" and not self.copied(phase)
        number = self.trained_number if plain else FLOAT32
        return trainable_parameters(spec, phase) * number * MOMENTS[phase.optimizer]

    def stepping(self, phase: Phase) -> float:
        """Return the bytes that a step holds beside weights, gradients and the optimizer's state.

        On a CPU it works on one weight after the other. Rounded stochastically, each weight in turn
        has a float32 copy, its gradient, and random bits.
        """
        largest = self.largest(phase)
        if self.copied(phase):
            largest *= FLOAT32 / self.trained_number
        rounding = self.copied(phase) and phase.bfloat16_updates == "stochastic"
        return largest * ((0 if self.cuda else 2) + (2 if rounding else 0))

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
    "master weights",
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
    exact = costs
    if spec.evaluation.score_in_float32:
        exact = replace(costs, model=spec.model.model_copy(update={"precision": "float32"}))
    scoring = max(exact.answering(of.answered, longest), exact.measuring(of.measured[not cuda]))
    probing = max(costs.answering(of.probed, PROBE_TOKENS), costs.measuring(of.probed))
    scored: Mapping[Part, float] = {"weights": exact.weights(spec), "evaluation": scoring}
    if spec.only_scores:
        return (Moment("scoring", scored),)
    found = [Moment("scoring before", scored)]
    aside = masters = 0.0
    for number, phase in enumerate(spec.phases):
        if not phase.method.sets:
            continue
        several = f", phase {number + 1}" if len(spec.phases) > 1 else ""
        trained = costs.trained(spec, phase)
        aside = 0.0 if spec.model.adapter else max(aside, trained)
        start = trained if phase.method.copies_trained else 0.0
        mastered = costs.mastered(spec, phase)
        masters = max(masters, mastered)
        held: Mapping[Part, float] = {
            "weights": weights,
            "original copies": aside + start,
            "master weights": masters,
            "optimizer": costs.remembered(spec, phase),
        }
        largest = sorted(
            draws(phase, of),
            key=lambda draw: sum(shape.tokens for rows in draw.values() for shape in shapes(rows)),
        )[-CANDIDATES:]
        steps = [step(costs, phase, draw, trained, mastered or trained) for draw in largest]
        found.append(
            Moment(f"training{several}", {**held, **max(steps, key=lambda s: sum(s.values()))})
        )
        if spec.evaluation.probes:
            found.append(Moment(f"probing{several}", {**held, "evaluation": probing}))
    after: Mapping[Part, float] = {**scored, "original copies": aside}
    return (*found, Moment("scoring after", after))


def step(
    costs: Costs, phase: Phase, draw: Rows, trained: float, collected: float
) -> Mapping[Part, float]:
    """Return gradients and activations at the peak of a step on one batch, in bytes.

    Args:
        costs: Costs of the model.
        phase: The phase that trains.
        draw: The batch.
        trained: Bytes of the trained weights.
        collected: Bytes of their gradients after the backward pass: master weights take them over
            in float32.
    """
    split = phase.method.splits_by_length
    laid = [
        one
        for kind in phase.method.passes
        for one in passes(costs, phase, kind, shapes(draw[kind.rows], split=split))
    ]
    earlier = collected if phase.gradient_accumulation > 1 else 0.0
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
        gradients = collected if one is laid[0] else earlier + (trained if one.lowest else 0.0)
        found.append((gradients, live + one.lowest + largest))
    found.append((collected, costs.stepping(phase)))
    most = max(found, key=sum)
    return {"gradients": most[0], "activations": most[1]}
