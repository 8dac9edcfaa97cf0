"""The order of training rows: chunks with an optimizer of their own, and the batches of each pass.

The method declares its `layout`; every layout draws from the phase's own random generator.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice, pairwise
from typing import TypeVar

import torch

from unlearnlab.engine.model.tokens import Example
from unlearnlab.spec.methods.base import Layout, SetName
from unlearnlab.spec.run import Phase

T = TypeVar("T")

Rows = Mapping[SetName, Sequence[Example]]
"""Examples of each set that a method uses, its leading set first."""

Passes = Iterator[Sequence[Rows]]
"""Endless passes over the leading set, each a list of batches."""


def plan_chunks(phase: Phase, rows: Rows) -> Sequence[Rows]:
    """Cut the rows into chunks that are trained in turn, each with a fresh optimizer.

    All rows are one chunk unless the method sets `chunk_rows`. Then the forget set is cut into
    chunks of that many rows, each with the next retain rows in turn (AILS-NTUA, arXiv:2503.02443).

    Raises:
        ValueError: A chunk is larger than the forget set.
    """
    size = phase.method.chunk_rows
    if size is None:
        return [rows]
    forget, retain = rows["forget"], cycle(rows["retain"])
    if size > len(forget):
        raise ValueError(
            f"method.chunk_size: a chunk of {size} rows is larger than the forget set of "
            f"{len(forget)}: use at most that, or another method"
        )
    return [
        {"forget": chunk, "retain": list(islice(retain, len(chunk) * phase.retain_rows))}
        for chunk in _sliced(forget, size)
    ]


def passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Yield pass after pass over a chunk, in the layout that the method declares."""
    return PASSES[phase.method.layout](phase, rows, generator)


def _shuffled_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Shuffle the leading set in each pass; rows of other sets stream past, shuffled separately.

    Refusals belong to the forget rows of their batch.
    """
    names: list[SetName] = list(rows)
    first = names[0]
    leading = rows[first]
    streams: dict[SetName, Iterator[Example]] = {
        name: _endless(rows[name], generator) for name in names[1:] if name != "refusal"
    }
    while True:
        batches: list[Rows] = []
        for chosen in _sliced(_order(len(leading), generator), phase.batch_size):
            batch: dict[SetName, Sequence[Example]] = {first: [leading[i] for i in chosen]}
            if "refusal" in rows:
                batch["refusal"] = [rows["refusal"][i] for i in chosen]
            for name, stream in streams.items():
                batch[name] = list(islice(stream, len(chosen) * phase.retain_rows))
            batches.append(batch)
        yield batches


def _fixed_passes(phase: Phase, rows: Rows, _generator: torch.Generator) -> Passes:
    """Repeat the rows in their given order."""
    forget = _sliced(rows["forget"], phase.batch_size)
    retain = _sliced(rows["retain"], phase.batch_size * phase.retain_rows)
    batches: list[Rows] = [{"forget": f, "retain": r} for f, r in zip(forget, retain, strict=True)]
    while True:
        yield batches


def _passes_by_task(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Draw one order of subtasks for each set, shuffle within subtasks, and stop with the shorter.

    Source: the code of Mr. Snuffleupagus, arXiv:2506.16548.
    """
    orders: dict[SetName, list[str]] = {}
    for name in rows:
        tasks = list(dict.fromkeys(example.task for example in rows[name]))
        orders[name] = [tasks[i] for i in _order(len(tasks), generator)]

    def batches(name: SetName, size: int) -> Iterator[Sequence[Example]]:
        for task in orders[name]:
            members = [example for example in rows[name] if example.task == task]
            order = _order(len(members), generator)
            yield from _sliced([members[i] for i in order], size)

    size = phase.batch_size
    while True:
        yield [
            {"forget": forget, "retain": retain}
            for forget, retain in zip(
                batches("forget", size), batches("retain", size * phase.retain_rows), strict=False
            )
        ]


def _joint_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Shuffle all sets in each pass and deal each evenly over the batches.

    A set with fewer rows than batches repeats its rows within a pass.
    """
    count = math.ceil(sum(len(of) for of in rows.values()) / phase.batch_size)
    while True:
        parts = {
            name: _dealt([of[i] for i in _order(len(of), generator)], count)
            for name, of in rows.items()
        }
        yield [{name: parts[name][i] for name in rows} for i in range(count)]


PASSES: Mapping[Layout, Callable[[Phase, Rows, torch.Generator], Passes]] = {
    "shuffled": _shuffled_passes,
    "chunks": _fixed_passes,
    "by_task": _passes_by_task,
    "joint": _joint_passes,
}


def _order(count: int, generator: torch.Generator) -> list[int]:
    """Return the numbers below `count` in random order."""
    return torch.randperm(count, generator=generator).tolist()


def _endless(examples: Sequence[Example], generator: torch.Generator) -> Iterator[Example]:
    """Yield the examples again and again, shuffled anew each time."""
    while True:
        for index in _order(len(examples), generator):
            yield examples[index]


def _dealt(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Cut items into `count` non-empty parts of nearly equal size, repeating items if too few."""
    enough = items if len(items) >= count else list(islice(cycle(items), count))
    ends = [i * len(enough) // count for i in range(count + 1)]
    return [enough[a:b] for a, b in pairwise(ends)]


def _sliced(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[k : k + size] for k in range(0, len(items), size)]
