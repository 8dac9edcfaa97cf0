"""The program `unlearnlab`: reads a command line and carries its command out.

Commands use the engine and the store of the page, so that the page shows their runs. Each file of
this room declares its commands in `register` and carries them out; heavy libraries are imported
only by the command that needs them.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from unlearnlab import __version__
from unlearnlab.cli import app, compare, data, docs, evaluate, export, run, score, show, sweep
from unlearnlab.cli.commands import (
    BAD_INPUT,
    FAILED,
    STOPPED,
    Commands,
    LabMaker,
    leave,
    obey_signals,
    quiet_libraries,
    tell,
)
from unlearnlab.data.files import at_home
from unlearnlab.runs.devices import InUse
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.store import Store, StoreError
from unlearnlab.spec.run import SpecError


def main(argv: Sequence[str] | None = None, *, open_lab: LabMaker | None = None) -> int:
    """Carry out one command and return the exit code.

    Args:
        argv: The words after the program's name; default: those of the process.
        open_lab: Makes the engine; default: torch's.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not args.takes_settings:
        parser.error(f"unknown option: {' '.join(rest)}")
    try:
        args.settings = list(_settings(rest))
        args.open_lab = open_lab or _torch_labs
        with at_home(getattr(args, "home", None)):
            return args.command(args)
    except (SpecError, StoreError) as error:
        tell(str(error))
        return BAD_INPUT
    except InUse as error:
        tell(f"{error}: try again later, or wait for it without --no-wait")
        return FAILED
    except KeyboardInterrupt:
        tell("stopped")
        return STOPPED


def _torch_labs(store: Store) -> EnginePool:
    # torch takes seconds to import: only the command that needs a model should wait for it.
    from unlearnlab.engine import device_engine  # noqa: PLC0415

    return device_engine.engines(store.evidence)


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
    parser = argparse.ArgumentParser(
        prog="unlearnlab" if installed else "python -m unlearnlab",
        description="Unlearning with and without a browser: one engine and one store, so that the "
        "page shows these runs too.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unlearnlab {__version__}")
    commands = Commands(parser)
    for part in (app, run, sweep, show, compare, export, data, score, evaluate, docs):
        part.register(commands)
    return parser


def program(argv: Sequence[str] | None = None) -> NoReturn:
    """Run as a process: accept any encoding, survive a closed pipe, end in good order on a signal.

    Args:
        argv: The words after the program's name; default: those of the process.
    """
    quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    obey_signals()
    try:
        code = main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone. What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except KeyboardInterrupt:  # A second one, while it was ending.
        code = STOPPED
    leave(code)


if __name__ == "__main__":
    program()
