"""How a program ends when it is told to: in good order, whoever tells it."""

import atexit
import os
import signal
import stat
import sys
import threading
from types import FrameType
from typing import NoReturn

ENDINGS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that end a program as Ctrl-C does, where the platform has them."""


def obey_signals() -> None:
    """Let whatever ends the program raise KeyboardInterrupt; what it was told to ignore stays so.

    A signal that was ignored when the program began is one that `nohup` keeps from it.
    """
    for name in ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _told)


def _told(number: int, _frame: FrameType | None) -> NoReturn:
    if number == getattr(signal, "SIGHUP", None):
        _leave_terminal()
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Write into nothing what was to go to a terminal that is gone: it would fail."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(nothing, number)


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    Threads that are still in a library's native code are left where they are: an interpreter that
    takes itself apart under them aborts instead. Signals that come now are late: it ends already.
    """
    for name in ("SIGINT", *ENDINGS):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if threading.active_count() == 1:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # The reader has gone.
            continue
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    os._exit(code)
