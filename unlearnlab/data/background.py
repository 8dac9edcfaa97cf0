"""Run work in a thread that reports its progress and can be cancelled."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

POLL_S = 0.1
"""Polling interval in seconds, and so the longest delay of a stop."""

PATIENCE_S = 10.0
"""How long the caller waits for cancelled work to end, in seconds."""

T = TypeVar("T")


class GivenUp(Exception):
    """Raised in work whose caller has cancelled it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Progress of work, in units of its own."""

    done: int
    total: int


Report = Callable[[int, int], None]
"""Receives the units done and the total; raises `GivenUp` once the work was cancelled."""


def stretch(report: Report | None, first: int, last: int) -> Report | None:
    """Report a part's progress as the percents `first` to `last` of the whole."""
    if report is None:
        return None
    return lambda done, total: report(
        first + (last - first) * min(done, total) // max(1, total), 100
    )


class _Work(threading.Thread, Generic[T]):
    """One piece of work. Only the thread writes its fields; the caller reads them."""

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
        except BaseException as error:  # The caller raises it again.
            self.error = error

    def _report(self, done: int, total: int) -> None:
        if self.given_up.is_set():
            raise GivenUp
        self.amount = Amount(done, total)


def carried_out(work: Callable[[Report], T]) -> Generator[Amount | None, None, T]:
    """Run work in a thread; yield its progress whenever that changed, and None in between.

    Closing the generator cancels the work: its next report raises `GivenUp`. An error of the work
    is raised here.

    Returns:
        The result of the work.
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
        # The traceback would keep the work's frames alive, and with them all that it loaded.
        raise thread.error.with_traceback(None)
    return thread.result[0]
