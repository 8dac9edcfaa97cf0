"""Text for a terminal or a pipe: tables, numbers, JSON, the help of all settings."""

import io
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearnlab.spec.errors import printable
from unlearnlab.spec.fields import PHASE, settings

NARROWEST = 60
"""Columns of a terminal below which tables are no longer squeezed."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in columns; control characters are replaced.

    In a terminal, cells wrap so that the table fits; in a pipe or file, each row is one line.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        made.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    # A table is never wider than its cells, so in a pipe any large width will do.
    width = max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 10**6
    screen = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with screen.capture() as text:
        screen.print(made)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def number(value: float | None) -> str:
    """Write a score; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Write plain values as JSON that any reader accepts."""
    return json.dumps(value, indent=2, allow_nan=False)


def settings_help() -> str:
    """List every setting with its values, default and sentence, for the end of a help text."""
    out = [
        "settings, given as --NAME VALUE on top of the preset or file, such as",
        "  --phases.0.learning_rate 1e-4 --phases.0.method.kind npo --seed 3",
        f"({PHASE} is the number of a phase, from 0; the first one is 0)",
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
