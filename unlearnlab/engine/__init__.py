"""Everything that uses torch: models, training, evaluation, tracing. No store, threads or UI.

Work that takes long is a generator that yields its progress and returns its result; `relay`,
`silently` and `result_of` pass on or drop the progress.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

# Importing peft imports bitsandbytes, which reports a missing optional kernel on every start.
logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


def relay(work: Generator[A, None, R], event: Callable[[A], B]) -> Generator[B, None, R]:
    """Yield `event` of each value that `work` yields; return the result of `work`."""
    with closing(work):
        while True:
            try:
                value = next(work)
            except StopIteration as end:
                return end.value
            yield event(value)


def silently(work: Generator[object, None, R]) -> Generator[None, None, R]:
    """Yield None for each value of `work`, so that it can be paused; return its result."""
    return relay(work, lambda _: None)


def result_of(work: Generator[object, None, R]) -> R:
    """Run `work` to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
