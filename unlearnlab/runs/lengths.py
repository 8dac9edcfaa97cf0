"""Lengths of rows in tokens, guessed without a tokenizer, and the batches that rows come in."""

import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path

from unlearnlab.data.datasets import DatasetInfo, Fold, Row
from unlearnlab.spec.methods.base import SetName
from unlearnlab.spec.rows import (
    GENERATED_AT_ONCE,
    PROBE_COMPLETIONS,
    PROBE_QUESTIONS,
    buckets,
    fitting,
)
from unlearnlab.spec.run import DataSpec, Phase

CHARACTERS_PER_TOKEN = {"tiny-olmo": 3.25}
"""Measured on the embedded rows, by model."""

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
    """Yield the other texts whose losses are measured: documents, options, alternative answers."""
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
    """Split known lengths into training sets and evaluation batches.

    Args:
        data: Selects the rows.
        forget: Ids and lengths of the fold's forget rows.
        retain: Lengths of the fold's retain rows.
        others: Tokens of each document, quiz option and alternative answer.
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
    answered = Shape(min(GENERATED_AT_ONCE, len(scored)), max(row.prompt for row in scored))
    return Lengths(sets, len(scored), answered, measured, _probed(scored))


def _largest(scored: Sequence[Text], others: Sequence[int], *, cpu: bool) -> Shape:
    """Return the largest forward pass; rows and other texts go in separate passes."""
    rows = [(row.whole, row.whole - row.prompt) for row in scored]
    texts = [(count, count) for count in others]
    passes = [*_passes(rows, cpu=cpu), *_passes(texts, cpu=cpu)]
    return max(passes, key=lambda shape: shape.predicted + 2 * shape.counted)


def _passes(counts: Sequence[tuple[int, int]], *, cpu: bool) -> Iterator[Shape]:
    """Put texts, given as their tokens and their predicted tokens, into passes."""
    order, at = sorted(counts), 0
    while at < len(order):
        rows = fitting((order[i][0] for i in range(at, len(order))), cpu=cpu)
        predicted = [order[i][1] for i in range(at, at + rows)]
        at += rows
        # The prediction after the last token of each text does not count.
        yield Shape(rows, order[at - 1][0], sum(predicted) - rows, rows * max(predicted))


def _probed(scored: Sequence[Text]) -> Shape:
    """Return the padded batch of the live probe: a few rows of each kind, from both sets."""
    questions = sum(row.kind == "qa" for row in scored)
    most = 2 * PROBE_QUESTIONS, 2 * PROBE_COMPLETIONS
    rows = min(most[0], questions) + min(most[1], len(scored) - questions)
    longest = max(row.whole - row.prompt for row in scored)
    return Shape(rows, max(row.whole for row in scored), predicted=rows * longest)


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


def _endless(chance: random.Random, rows: Sequence[Text]) -> Iterator[Text]:
    while True:
        yield from chance.sample(rows, len(rows))


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
