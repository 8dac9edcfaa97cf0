"""How far an evaluation is, on stderr: a bar in a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from tqdm import tqdm

from unlearnlab.cli.terminal import LINE_EVERY_S

T = TypeVar("T")
Y = TypeVar("Y")


def shown(
    work: Generator[Y, None, T],
    what: str,
    *,
    done: Callable[[Y], tuple[int, int | None, str] | None],
) -> T:
    """Carry out a work to its end, and show how far it is.

    Args:
        work: Yields something about its progress.
        what: Names it.
        done: Reads what was yielded: how much is done, of how much, and a remark; none shows
            nothing new.
    """
    bar: tqdm[Any] | None = None
    if sys.stderr.isatty():
        bar = tqdm(desc=what, file=sys.stderr, dynamic_ncols=True)
    else:
        _line(what)
    following = time.monotonic() + LINE_EVERY_S
    try:
        while True:
            try:
                told = done(next(work))
            except StopIteration as end:
                return end.value
            if told is None:
                continue
            amount, total, remark = told
            if bar is not None:
                bar.total, bar.n = total, amount
                bar.set_postfix_str(remark, refresh=False)
                bar.refresh()
            elif time.monotonic() >= following:
                _line(f"{what}: {amount}{f' of {total}' if total else ''}, {remark}".rstrip(", "))
                following = time.monotonic() + LINE_EVERY_S
    finally:
        work.close()
        if bar is not None:
            bar.close()


def _line(text: str) -> None:
    print(f"unlearnlab: {text}", file=sys.stderr, flush=True)
