"""How tests wait for the threads of a worker, and make them wait."""

import sqlite3
import threading
import time
from contextlib import contextmanager

PATIENCE_S = 20
"""A deadlock fails a test after this long; nothing waits for it otherwise."""


def until(condition):
    """Wait until what another thread does has come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Gate:
    """A place in a script where the worker's thread waits for the test."""

    def __init__(self):
        self._reached, self._opened = threading.Event(), threading.Event()

    def wait(self):
        self._reached.set()
        assert self._opened.wait(PATIENCE_S)

    def reached(self):
        assert self._reached.wait(PATIENCE_S)

    def open(self):
        self._opened.set()


@contextmanager
def locked(home, mode="IMMEDIATE"):
    """Hold the database of a home, as another program might."""
    holder = sqlite3.connect(home / "unlearnlab.sqlite3", isolation_level=None)
    holder.execute(f"BEGIN {mode}")
    yield
    holder.execute("ROLLBACK")
    holder.close()
