"""What the program's commands share: exit codes, how they are declared, how they tell."""

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import Any

from unlearnlab.spec.errors import printable

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
"""What the program's exit code says."""

JSON = "print JSON on stdout"
HOME = (
    "folder of runs, datasets and kept models (default: UNLEARNLAB_HOME, else the user's data "
    "folder)"
)
NO_WAIT = (
    "where another process uses the device, refuse with exit code 1 instead of waiting until it is "
    "free"
)


class Commands:
    """The commands of the program, or of a group of it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Let a parser's first word name a command."""
        self._parts: Any = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        self,
        name: str,
        command: Callable[..., int],
        about: str,
        *,
        json: bool = False,
        home: bool = False,
        device: bool = False,
        own_options: bool = False,
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        Args:
            name: How it is called.
            command: Carries it out and returns the exit code; kept as `command` of the arguments.
            about: What it does, in a line without capital and full stop.
            json: Whether it takes `--json`.
            home: Whether it takes `--home`.
            device: Whether it uses a device, and so takes `--no-wait`.
            own_options: Whether it reads all that follows itself, `--help` included.
        """
        parser = self._parts.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=not own_options,
        )
        parser.set_defaults(command=command)
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
