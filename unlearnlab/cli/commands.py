"""What all commands share: declaration, exit codes, JSON files, text for a terminal or a pipe."""

import argparse
import io
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearnlab.data.files import TEXT_LIMIT, read_regular
from unlearnlab.runs.engine_api import Engine, EnginePool
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import SpecError, bounded, printable
from unlearnlab.spec.fields import PHASE, settings

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
"""Exit codes of the program."""

EngineMaker = Callable[[Store], Engine | EnginePool]
"""Makes the engine, which reuses the evidence kept in a store."""

JSON = "print JSON on stdout"
HOME = (
    "folder of runs, datasets and saved models (default: UNLEARNLAB_HOME, else the user's data "
    "folder)"
)
NO_WAIT = "if another process uses the device, refuse with exit code 1 instead of waiting for it"

NARROWEST = 60
"""Columns of a terminal below which tables are no longer squeezed."""


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
            command: Carries it out and returns the exit code. Its arguments have two more values:
                `settings`, pairs of path and text, and `open_engine`, an `EngineMaker`.
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


class ToldToEnd(KeyboardInterrupt):
    """The system, and not the user's keyboard, tells the program to end: it will not wait long."""


def tell(text: str) -> None:
    """Print lines for the reader on stderr: stdout is for results."""
    lines = printable(text).splitlines()
    for line in lines[:LINES]:
        sys.stderr.write(f"unlearnlab: {bounded(line)}\n")
    if more := len(lines) - LINES:
        sys.stderr.write(f"unlearnlab: and {more} more\n" if more > 0 else "")


LINES = 20
"""Most lines of a message, each of which is bounded: it may quote what was given."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints have a bounded length."""

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2."""
        super().error(bounded(printable(message)))


def refuse_idle(*rules: tuple[bool, str, str]) -> None:
    """Refuse options that would have no effect.

    Args:
        rules: Whether the option was given in vain, its name, and what it needs or excludes.

    Raises:
        SpecError: One was.
    """
    idle = [(name, f"has no effect {why}: leave it out") for vain, name, why in rules if vain]
    if idle:
        raise SpecError(idle)


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a file that holds one JSON object, in any Unicode encoding that a shell may write.

    Args:
        path: The file.
        what: Names its content in messages: "spec" or "sweep".

    Raises:
        SpecError: The file cannot be read, or holds something else.
    """
    try:
        values: Any = json.loads(read_regular(path, TEXT_LIMIT))
    except OSError as error:
        raise SpecError([(what, f"{path} cannot be read: {error.strerror}")]) from error
    except (ValueError, RecursionError) as error:
        raise SpecError([(what, f"{path} is not JSON: {error}")]) from error
    if not isinstance(values, dict):
        raise SpecError([(what, f"{path} holds no {what}: expected a JSON object")])
    return cast("dict[str, Any]", values)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in columns; control characters are replaced.

    In a terminal, cells wrap so that the table fits; in a pipe or file, each row is one line.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        made.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    screen = Console(file=io.StringIO(), width=_width(), color_system=None, legacy_windows=False)
    with screen.capture() as text:
        screen.print(made)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def _width() -> int:
    """Return the columns of the terminal; in a pipe or file any large number will do."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 10**6


LABEL = 24
"""Most characters of a row's label in a `wide_table` in a terminal."""


def wide_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay numbers out beside a label, in as many tables below one another as the terminal needs."""
    numbers = [cell for line in (head, *rows) for cell in line[1:]]
    label = min(LABEL, max(len(line[0]) for line in (head, *rows)))
    fit = max(1, (_width() - label - 2) // (2 + max(map(len, numbers), default=1)))
    labels = [_shortened(row[0]) for row in rows]
    return "\n\n".join(
        table(
            [head[0], *head[at : at + fit]],
            [[said, *row[at : at + fit]] for said, row in zip(labels, rows, strict=True)],
        )
        for at in range(1, max(2, len(head)), fit)
    )


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def number(value: float | None) -> str:
    """Write a score; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Write plain values as JSON that any reader accepts."""
    return json.dumps(value, indent=2, allow_nan=False)


def print_list(
    args: argparse.Namespace,
    records: Sequence[Any],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> int:
    """Print records as JSON if `--json` asks for it, else their rows as a table."""
    print(as_json(records) if args.json else table(head, rows))
    return DONE


def settings_help() -> str:
    """List every setting with its values, default and sentence, for the end of a help text."""
    out = [
        "settings, given as --NAME VALUE on top of the preset or file, such as",
        "  --phases.0.learning_rate 1e-4 --phases.0.method.kind npo --seed 3",
        f"({PHASE} is the number of a phase, counted from 0)",
    ]
    method = ""
    for setting in settings():
        if setting.method and setting.method != method:
            out += ["", f"  with --phases.{PHASE}.method.kind {setting.method}:"]
        elif method and not setting.method:
            out.append("")
        method = setting.method
        unit = f" in {setting.unit}" if setting.unit else ""
        out.append(f"  --{setting.path}  {setting.values}{unit} (default {setting.default})")
        out += textwrap.wrap(setting.help, 90, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(out)
