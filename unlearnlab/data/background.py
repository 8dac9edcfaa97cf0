"""Work in a thread of its own, which tells how far it is and can be given up."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

POLL_S = 0.1
"""How often the work is looked at: the longest that a stop waits here."""

PATIENCE_S = 10.0
"""How long a work that was given up may take to end before it is left to itself."""

T = TypeVar("T")


class GivenUp(Exception):
    """Ends work that nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of a work is done."""

    done: int
    total: int


Report = Callable[[int, int], None]
"""Takes what is done and of how much; raises `GivenUp` once nobody waits for the work."""


def stretch(report: Report | None, first: int, last: int) -> Report | None:
    """Tell of a part of a work as the stretch of percents that it is of the whole."""
    if report is None:
        return None
    return lambda done, total: report(
        first + (last - first) * min(done, total) // max(1, total), 100
    )


class _Work(threading.Thread, Generic[T]):
    """One work. The caller reads its fields; only the thread writes them."""

    def __init__(self, work: Callable[[Report], T]) -> None:
        super().__init__(name="unlearnlab-background", daemon=True)
        self._work = work
        self.given_up = threading.Event()
        self.amount: Amount | None = None
        self.result: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._work(self._report))
        except BaseException as error:  # The edge of the thread: the caller raises it again.
            self.error = error

    def _report(self, done: int, total: int) -> None:
        if self.given_up.is_set():
            raise GivenUp
        self.amount = Amount(done, total)


def carried_out(work: Callable[[Report], T]) -> Generator[Amount | None, None, T]:
    """Carry a work out, yielding how far it is whenever that changed, and None in between.

    Closing the generator gives the work up: its next report raises in it.

    Returns:
        What the work returned. What it raised is raised here.
    """
    thread, shown = _Work(work), None
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            fresh = thread.amount if thread.amount is not shown else None
            shown = thread.amount
            yield fresh
    finally:
        thread.given_up.set()
        thread.join(PATIENCE_S)
    if thread.error is not None:
        # The traceback would keep the work's frames, and they what it had loaded.
        raise thread.error.with_traceback(None)
    return thread.result[0]
