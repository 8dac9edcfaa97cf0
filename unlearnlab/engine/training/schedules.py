"""In which order rows come: what one optimizer trains on, and the batches of each pass over it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import TypeVar

import torch

from unlearnlab.engine.model.data import Example, endless, shuffled
from unlearnlab.spec.methods import Sequential, SetName, Steering
from unlearnlab.spec.run import Phase

T = TypeVar("T")

Rows = Mapping[SetName, Sequence[Example]]
"""Examples of each set that a method draws on, its first set first."""

Passes = Iterator[Sequence[Rows]]
"""One pass over the first set after another, each a list of batches."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a phase's rows are laid out."""

    lessons: Callable[[Phase, Rows], Sequence[Rows]]
    """What is trained one after another, each with an optimizer of its own."""
    passes: Callable[[Phase, Rows, torch.Generator], Passes]
    """The batches of a lesson, without end."""


def whole(_phase: Phase, rows: Rows) -> Sequence[Rows]:
    """Train on everything at once."""
    return [rows]


def shuffled_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Draw the first set in fresh order for each pass; the others stream past, each in its own.

    Refusals answer the forget rows of their batch.
    """
    names: list[SetName] = list(rows)
    first = names[0]
    leading = rows[first]
    streams: dict[SetName, Iterator[Example]] = {
        name: endless(rows[name], generator=generator) for name in names[1:] if name != "refusal"
    }
    while True:
        batches: list[Rows] = []
        for chosen in _sliced(shuffled(len(leading), generator=generator), phase.batch_size):
            batch: dict[SetName, Sequence[Example]] = {first: [leading[i] for i in chosen]}
            if "refusal" in rows:
                batch["refusal"] = [rows["refusal"][i] for i in chosen]
            for name, stream in streams.items():
                batch[name] = list(islice(stream, len(chosen) * phase.retain_rows))
            batches.append(batch)
        yield batches


def chunks(phase: Phase, rows: Rows) -> Sequence[Rows]:
    """Cut the forget set into chunks, each beside the next retain rows in turn.

    Source: AILS-NTUA, arXiv:2503.02443.

    Raises:
        ValueError: A chunk is larger than the set.
    """
    assert isinstance(phase.method, Sequential)
    size, forget = phase.method.chunk_size, rows["forget"]
    if size > len(forget):
        raise ValueError(
            f"method.chunk_size: a chunk of {size} rows is larger than the forget set of "
            f"{len(forget)}: take at most that, or another method"
        )
    retain = cycle(rows["retain"])
    return [
        {"forget": chunk, "retain": list(islice(retain, len(chunk) * phase.retain_rows))}
        for chunk in _sliced(forget, size)
    ]


def fixed_passes(phase: Phase, rows: Rows, _generator: torch.Generator) -> Passes:
    """Go through the rows in the order they have, the same in each pass."""
    forget = _sliced(rows["forget"], phase.batch_size)
    retain = _sliced(rows["retain"], phase.batch_size * phase.retain_rows)
    batches: list[Rows] = [{"forget": f, "retain": r} for f, r in zip(forget, retain, strict=True)]
    while True:
        yield batches


def steering_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Mix the subtasks, or take one after another, as the method says."""
    assert isinstance(phase.method, Steering)
    if phase.method.order == "mixed":
        return shuffled_passes(phase, rows, generator)
    return _by_task(phase, rows, generator)


def _by_task(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Draw the order of subtasks once for each set, and cut both to the shorter.

    Source: the code of Mr. Snuffleupagus, arXiv:2506.16548. Within a subtask, rows come in fresh
    order in each pass.
    """
    orders: dict[SetName, list[str]] = {}
    for name in rows:
        tasks = list(dict.fromkeys(example.task for example in rows[name]))
        orders[name] = [tasks[i] for i in shuffled(len(tasks), generator=generator)]

    def batches(name: SetName, size: int) -> Iterator[Sequence[Example]]:
        for task in orders[name]:
            members = [example for example in rows[name] if example.task == task]
            order = shuffled(len(members), generator=generator)
            yield from _sliced([members[i] for i in order], size)

    size = phase.batch_size
    while True:
        yield [
            {"forget": forget, "retain": retain}
            for forget, retain in zip(
                batches("forget", size), batches("retain", size * phase.retain_rows), strict=False
            )
        ]


def joint_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Draw all sets together: each row comes in each pass, and a batch holds rows of every set.

    A set with fewer rows than there are batches comes round again within a pass.
    """
    count = math.ceil(sum(len(of) for of in rows.values()) / phase.batch_size)
    while True:
        parts = {
            name: _dealt([of[i] for i in shuffled(len(of), generator=generator)], count)
            for name, of in rows.items()
        }
        yield [{name: parts[name][i] for name in rows} for i in range(count)]


def _dealt(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Cut items into `count` parts of nearly equal size, none of them empty."""
    enough = items if len(items) >= count else list(islice(cycle(items), count))
    ends = [i * len(enough) // count for i in range(count + 1)]
    return [enough[a:b] for a, b in pairwise(ends)]


def _sliced(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[k : k + size] for k in range(0, len(items), size)]


SHUFFLED = Schedule(whole, shuffled_passes)
"""All rows, in fresh order for each pass."""

IN_CHUNKS = Schedule(chunks, fixed_passes)
"""One chunk of the forget set after another."""

STEERED = Schedule(whole, steering_passes)
"""As the steering methods' `order` says."""

TOGETHER = Schedule(whole, joint_passes)
"""All rows of all sets, in fresh order for each pass."""
