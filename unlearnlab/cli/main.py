"""The program `unlearnlab`: reads a command line, carries its command out, and ends in good order.

Commands use the engine and the store of the page, so that the page shows their runs. Each file of
this room declares its commands in `register` and carries them out; heavy libraries are imported
only by the command that needs them.
"""

import argparse
import atexit
import io
import os
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from unlearnlab import __version__
from unlearnlab.cli import app, ask, data, docs, doctor, evaluate, export, run, show, sweep
from unlearnlab.cli.commands import (
    BAD_INPUT,
    FAILED,
    STOPPED,
    Commands,
    EngineMaker,
    Parser,
    ToldToEnd,
    tell,
)
from unlearnlab.data.checks import SourceError
from unlearnlab.data.files import at_home
from unlearnlab.exports.pack_file import PackError
from unlearnlab.runs.devices import InUse
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.replay import ReplayError
from unlearnlab.runs.store import Store, StoreError
from unlearnlab.spec.run import SpecError

END_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that end the program as Ctrl-C does, where the platform has them."""


def main(argv: Sequence[str] | None = None, *, open_engine: EngineMaker | None = None) -> int:
    """Carry out one command and return the exit code.

    Args:
        argv: The words after the program's name; default: those of the process.
        open_engine: Makes the engine; default: torch's.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not args.takes_settings:
        parser.error(f"unknown option: {' '.join(rest)}")
    try:
        args.settings = list(_settings(rest))
        args.open_engine = open_engine or _torch_engines
        with at_home(getattr(args, "home", None)):
            return args.command(args)
    except (SpecError, StoreError, SourceError, PackError, ReplayError) as error:
        tell(str(error))
        return BAD_INPUT
    except InUse as error:
        tell(f"{error}: try again later, or wait for it without --no-wait")
        return FAILED
    except KeyboardInterrupt:
        tell("stopped")
        return STOPPED
    except BrokenPipeError:  # The reader is gone: `program` ends quietly.
        raise
    except OSError as error:
        # A name too long for a path, a folder that may not be read, an output that is full.
        tell(_explained(error))
        return BAD_INPUT
    except UnicodeEncodeError:
        tell("half a character (a lone surrogate) in what was given cannot be stored: leave it out")
        return BAD_INPUT


def _explained(error: OSError) -> str:
    why = (error.strerror or str(error)).lower()
    if error.filename is None:  # Commands report files of their own: this is what they print.
        return f"the result cannot be printed: {why}"
    return f"{error.filename}: {why}: check the path and its permissions"


def _torch_engines(store: Store) -> EnginePool:
    """Make the engine when it is first needed: torch takes seconds to import."""

    def made() -> EnginePool:
        from unlearnlab.engine.device_engine import engines  # noqa: PLC0415

        return engines(store.evidence)

    return EnginePool(
        lambda: made().devices(),
        lambda device: made().of(device),
        lambda device: made().lock(device),
    )


def _settings(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each `--path text` or `--path=text`."""
    rest = iter(words)
    for word in rest:
        path, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise SpecError([("", f"cannot read {word!r}: settings are --NAME VALUE")])
        value = text if equals else next(rest, None)
        if value is None:
            raise SpecError([(path, "a value is missing")])
        yield path, value


def _parser() -> argparse.ArgumentParser:
    """Declare all commands, in the order in which the help lists them."""
    installed = Path(sys.argv[0]).stem == "unlearnlab"
    parser = Parser(
        prog="unlearnlab" if installed else "python -m unlearnlab",
        description="Run, measure and compare the unlearning of language models. Runs started here "
        "show on the page too, and the other way round.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unlearnlab {__version__}")
    commands = Commands(parser)
    for part in (app, run, sweep, show, ask, export, data, evaluate, doctor, docs):
        part.register(commands)
    return parser


def program(argv: Sequence[str] | None = None) -> NoReturn:
    """Run as a process: accept any encoding, survive a closed pipe, end in good order on a signal.

    Args:
        argv: The words after the program's name; default: those of the process.
    """
    if not sys.warnoptions:
        # Warnings of libraries say nothing to a user; Python's option -W shows them.
        warnings.simplefilter("ignore")
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in END_SIGNALS:
        number = getattr(signal, name, None)
        # A signal that is ignored already stays ignored: `nohup` keeps it away.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        code = main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = FAILED
    except OSError as error:  # What was printed does not fit, or there is no output at all.
        _drop_output()
        tell(_explained(error))
        code = BAD_INPUT
    except KeyboardInterrupt:  # A second one, while it was ending.
        code = STOPPED
    _leave(code)


def _drop_output() -> None:
    """Let what is left in the buffer go nowhere: it must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _open_standard_streams() -> None:
    """Put something in the place of closed standard streams.

    Else the next file that is opened, such as the database, would take their place. Output that was
    closed refuses what is printed; errors that were closed are dropped.
    """
    streams = (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    )
    for number, (name, access, mode) in enumerate(streams):
        try:
            os.fstat(number)
        except OSError:
            there = os.open(os.devnull, access)
            if there != number:
                os.dup2(there, number)
                os.close(there)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    if number == getattr(signal, "SIGHUP", None):
        # The terminal is gone, and writing to it would fail.
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nothing, stream)
    raise ToldToEnd


def _leave(code: int) -> NoReturn:
    """End the process with an exit code, ignoring further signals.

    Threads that are still in a library's native code are left where they are: an interpreter that
    shuts down under them aborts instead.
    """
    for name in ("SIGINT", *END_SIGNALS):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if threading.active_count() == 1:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # The reader is gone.
            stream.flush()
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    os._exit(code)
