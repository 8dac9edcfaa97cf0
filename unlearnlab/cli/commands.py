"""What all commands share: declaration, exit codes, messages on stderr, and an orderly end."""

import argparse
import atexit
import os
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from unlearnlab.runs.engine_api import Engine, EnginePool
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import printable

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
"""Exit codes of the program."""

LabMaker = Callable[[Store], Engine | EnginePool]
"""Makes the engine, which keeps its evidence in a store."""

JSON = "print JSON on stdout"
HOME = (
    "folder of runs, datasets and saved models (default: UNLEARNLAB_HOME, else the user's data "
    "folder)"
)
NO_WAIT = "if another process uses the device, refuse with exit code 1 instead of waiting for it"

END_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that end the program as Ctrl-C does, where the platform has them."""


class Commands:
    """The commands of the program, or of a group of it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Let a parser's first word name a command."""
        self._parts: Any = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        self,
        name: str,
        command: Callable[[argparse.Namespace], int],
        about: str,
        *,
        json: bool = False,
        home: bool = False,
        device: bool = False,
        settings: bool = False,
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        Args:
            name: Its word on the command line.
            command: Carries it out and returns the exit code. It gets the arguments with two
                values more: `settings`, pairs of path and text, and `open_lab`, a `LabMaker`.
            about: What it does, in a line without capital and full stop.
            json: Whether it takes `--json`.
            home: Whether it takes `--home`.
            device: Whether it uses a device, and so takes `--no-wait`.
            settings: Whether it takes the settings of a run, such as `--phases.0.epochs 2`.
        """
        parser = self._parts.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(command=command, takes_settings=settings)
        if json:
            parser.add_argument("--json", action="store_true", help=JSON)
        if home:
            parser.add_argument("--home", metavar="DIR", help=HOME)
        if device:
            parser.add_argument("--no-wait", action="store_true", help=NO_WAIT)
        return parser

    def group(self, name: str, about: str) -> "Commands":
        """Add a group of commands."""
        return Commands(self._parts.add_parser(name, help=about, allow_abbrev=False))


def tell(text: str) -> None:
    """Print lines for the reader on stderr: stdout is for results."""
    for line in printable(text).splitlines():
        sys.stderr.write(f"unlearnlab: {line}\n")


def quiet_libraries() -> None:
    """Keep warnings of libraries out of the user's terminal; Python's option `-W` shows them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def obey_signals() -> None:
    """Let every signal that ends the program raise KeyboardInterrupt.

    A signal that was ignored when the program began stays ignored: `nohup` keeps it away.
    """
    for name in END_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    if number == getattr(signal, "SIGHUP", None):
        # The terminal is gone, and writing to it would fail.
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nothing, stream)
    raise KeyboardInterrupt


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    Threads that are still in a library's native code are left where they are: an interpreter that
    shuts down under them aborts instead. Signals that come now are ignored: it ends already.
    """
    for name in ("SIGINT", *END_SIGNALS):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if threading.active_count() == 1:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # The reader is gone.
            continue
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    os._exit(code)
