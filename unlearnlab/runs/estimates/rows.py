"""How long rows are, in tokens, without a tokenizer; and the batches that they come in."""

import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path

from unlearnlab.data.datasets import DatasetInfo, Fold, Row
from unlearnlab.spec.batches import (
    GENERATED_AT_ONCE,
    PROBE_COMPLETIONS,
    PROBE_QUESTIONS,
    buckets,
    fitting,
)
from unlearnlab.spec.methods import Memorize, Sequential, SetName, Steering
from unlearnlab.spec.run import DataSpec, Phase

CHARACTERS_PER_TOKEN = {"tiny-olmo": 3.25}
"""Measured on the embedded rows, by the model whose tokenizer it is."""

USUAL_CHARACTERS_PER_TOKEN = 4.0
"""Of English under the vocabularies of 50 k and more."""

REFUSAL_TOKENS = 9
"""Of an answer that admits ignorance."""

DRAWS = 64
"""Batches that are drawn to find a large one."""


@dataclass(frozen=True, slots=True)
class Text:
    """A training text in tokens."""

    prompt: int
    whole: int
    """With the prompt and EOS."""
    task: str
    kind: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A padded batch."""

    rows: int
    width: int
    counted: int = 0
    """Tokens on which a loss counts."""
    predicted: int = 0
    """Positions whose logits are computed to measure them, padding included."""

    @property
    def tokens(self) -> int:
        """Count its padded tokens."""
        return self.rows * self.width


@dataclass(frozen=True, slots=True)
class Lengths:
    """All texts that a run trains on, and the largest batches in which it is scored."""

    sets: Mapping[SetName, tuple[Text, ...]]
    """Rows to train on."""
    scored: int
    """Rows that the scores are measured on."""
    answered: Shape
    """The prompts that are answered together, the longest first."""
    measured: Mapping[bool, Shape]
    """The forward pass with most tokens where losses are measured: off a CPU, and on one."""
    probed: Shape
    """The probe's rows, padded."""

    def mean(self, name: SetName, tasks: Collection[str] | None) -> float:
        """Average the tokens of a set's rows, of some subtasks or of all."""
        known = self.sets["forget" if name == "refusal" else name]
        chosen = [row.whole for row in known if tasks is None or row.task in tasks]
        return sum(chosen) / max(1, len(chosen))


def lengths(data: DataSpec, model: str) -> Lengths:
    """Guess the lengths of a run's texts from their characters.

    Args:
        data: What it trains on and is scored on.
        model: Name of the model, for its tokenizer.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    known = data.known
    stamps = tuple(path.stat().st_mtime_ns for path in sorted(known.folder.rglob("*.jsonl")))
    if known.unknown_reason or data.fold not in known.folds:
        why = known.unknown_reason or f"{data.source} has no {data.fold} fold"
        raise ValueError(f"data: {why}")
    ratio = CHARACTERS_PER_TOKEN.get(model, USUAL_CHARACTERS_PER_TOKEN)
    return _lengths(data.model_dump_json(), known.folder, stamps, ratio)


@lru_cache(maxsize=64)
def _lengths(asked: str, _folder: Path, _stamps: tuple[int, ...], ratio: float) -> Lengths:
    data = DataSpec.model_validate_json(asked)
    known = data.known

    def tokens(text: str) -> int:
        return max(1, round(len(text) / ratio))

    def text(row: Row) -> Text:
        whole = tokens(f"{row.input} {row.output}") + 1
        return Text(tokens(row.input), whole, row.task, row.kind)

    forget = [(row.id, text(row)) for row in known.rows("forget", data.fold)]
    retain = [text(row) for row in known.rows("retain", data.fold)]
    return sorted_lengths(
        data, forget, retain, others=[tokens(one) for one in _other_texts(known, data.fold)]
    )


def _other_texts(known: DatasetInfo, fold: Fold) -> Iterator[str]:
    """Yield what else losses are measured on: documents, and alternatives after their questions."""
    for row in (*known.rows("forget", fold), *known.rows("retain", fold)):
        yield from (f"{row.input} {answer}" for answer in row.alternatives)
    yield from known.documents("member")
    yield from known.documents("nonmember")
    for question in known.questions():
        yield from (f"{question['question']} {option}" for option in question["choices"])


def sorted_lengths(
    data: DataSpec,
    forget: Sequence[tuple[str, Text]],
    retain: Sequence[Text],
    *,
    others: Iterable[int],
) -> Lengths:
    """Sort known lengths into what is trained on and what is scored.

    Args:
        data: What is picked.
        forget: Ids and lengths of the forget rows of the fold.
        retain: Lengths of its retain rows.
        others: Tokens of each document, each option of the quiz, each alternative answer.
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
    others = tuple(others)
    measured = {cpu: _largest(scored, others, cpu=cpu) for cpu in (False, True)}
    return Lengths(sets, len(scored), _answered(scored), measured, _probed(scored))


def _answered(scored: Sequence[Text]) -> Shape:
    return Shape(min(GENERATED_AT_ONCE, len(scored)), max(row.prompt for row in scored))


def _largest(scored: Sequence[Text], others: Sequence[int], *, cpu: bool) -> Shape:
    """Find the forward pass with most tokens: rows and other texts are measured apart."""
    rows = [(row.whole, row.whole - row.prompt) for row in scored]
    texts = [(count, count) for count in others]
    passes = [*_passes(rows, cpu=cpu), *_passes(texts, cpu=cpu)]
    return max(passes, key=lambda shape: shape.predicted + 2 * shape.counted)


def _passes(counts: Sequence[tuple[int, int]], *, cpu: bool) -> Iterator[Shape]:
    """Put texts, given as their tokens and those that are predicted, into passes."""
    order, at = sorted(counts), 0
    while at < len(order):
        rows = fitting((order[i][0] for i in range(at, len(order))), cpu=cpu)
        predicted = [order[i][1] for i in range(at, at + rows)]
        at += rows
        # Of each text, the token after its last one is predicted as well, and does not count.
        yield Shape(rows, order[at - 1][0], sum(predicted) - rows, rows * max(predicted))


def _probed(scored: Sequence[Text]) -> Shape:
    """Pad a probe's rows: so many of each kind, from both sets."""
    questions = sum(row.kind == "qa" for row in scored)
    most = 2 * PROBE_QUESTIONS, 2 * PROBE_COMPLETIONS
    rows = min(most[0], questions) + min(most[1], len(scored) - questions)
    longest = max(row.whole - row.prompt for row in scored)
    return Shape(rows, max(row.whole for row in scored), predicted=rows * longest)


Rows = Mapping[SetName, Sequence[Text]]

Draw = Rows
"""A batch: rows of each set."""


def draws(phase: Phase, of: Lengths) -> list[Draw]:
    """Draw batches as the phase does: many enough to hold a large one."""
    names: list[SetName] = list(phase.method.drawn)
    tasks = phase.tasks
    rows: Rows = {
        name: [row for row in of.sets[name] if tasks is None or row.task in tasks]
        for name in of.sets
    }
    if not names or not all(rows["forget" if name == "refusal" else name] for name in names):
        return []
    if isinstance(phase.method, Sequential):
        return list(_in_order(phase, rows))
    if isinstance(phase.method, Memorize):
        return list(_together(phase, rows, names))
    if isinstance(phase.method, Steering) and phase.method.order == "by_task":
        longest = max(rows["forget"], key=lambda row: row.whole).task
        rows = {name: [r for r in of if r.task == longest] or of for name, of in rows.items()}
    return list(_shuffled(phase, rows, names))


def _shuffled(phase: Phase, rows: Rows, names: Sequence[SetName]) -> Iterator[Draw]:
    """Go through the first set in fresh order again and again; the others stream past."""
    chance, leading, size = random.Random(0), rows[names[0]], phase.batch_size
    others: list[SetName] = [name for name in names[1:] if name != "refusal"]
    streams = {name: _endless(chance, rows[name]) for name in others}
    for _ in range(min(phase.epochs, max(1, DRAWS * size // len(leading)))):
        order = chance.sample(leading, min(len(leading), DRAWS * size))
        for at in range(0, len(order), size):
            chosen = order[at : at + size]
            batch: dict[SetName, Sequence[Text]] = {names[0]: chosen}
            if "refusal" in names:
                batch["refusal"] = [replace(r, whole=r.prompt + REFUSAL_TOKENS) for r in chosen]
            for name in others:
                batch[name] = list(islice(streams[name], len(chosen) * phase.retain_rows))
            yield batch


def _together(phase: Phase, rows: Rows, names: Sequence[SetName]) -> Iterator[Draw]:
    """Deal all sets into the batches of one pass: rows of each in proportion, none without."""
    chance = random.Random(0)
    count = math.ceil(sum(len(rows[name]) for name in names) / phase.batch_size)
    orders: Rows = {name: chance.sample(rows[name], len(rows[name])) for name in names}
    for at in range(min(count, DRAWS)):
        batch: dict[SetName, Sequence[Text]] = {
            name: of[at * len(of) // count : (at + 1) * len(of) // count] or of[:1]
            for name, of in orders.items()
        }
        yield batch


def _endless(chance: random.Random, rows: Sequence[Text]) -> Iterator[Text]:
    while True:
        yield from chance.sample(rows, len(rows))


def _in_order(phase: Phase, rows: Rows) -> Iterator[Draw]:
    """Go through both sets in the order they have, a chunk of the first at a time."""
    assert isinstance(phase.method, Sequential)
    size, retain = min(phase.batch_size, phase.method.chunk_size), cycle(rows["retain"])
    for at in range(0, min(len(rows["forget"]), DRAWS * size), size):
        forget = rows["forget"][at : at + size]
        yield {"forget": forget, "retain": list(islice(retain, len(forget) * phase.retain_rows))}


def shapes(rows: Sequence[Text], *, split: bool = True) -> list[Shape]:
    """Pad rows into the batches that go through the model one after another.

    Args:
        rows: Of one set in one batch.
        split: Whether rows of different length go apart, where that saves padding.
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
