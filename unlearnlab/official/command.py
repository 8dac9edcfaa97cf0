"""The commands `score` and `published`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from unlearnlab.spec import SpecError
from unlearnlab.terminal import as_json

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a command: its name, what carries it out, what it does."""

DONE, BAD_INPUT = 0, 2
"""Exit codes, as in `__main__`."""


def register(add: Add) -> None:
    """Add the commands to the program."""
    scoring = add("score", _score, "score a folder that the official script left, without a model")
    scoring.add_argument(
        "folder",
        metavar="DIR",
        type=Path,
        help="holds forget_*.csv and retain_*.csv, perhaps mia_results/ and metrics.json",
    )
    scoring.add_argument(
        "--mmlu", metavar="FILE", type=Path, help="metrics.json of the MMLU run (default: in DIR)"
    )
    listing = add("published", _published, "list published results of the task, with sources")
    for made in (scoring, listing):
        made.add_argument("--json", action="store_true", help="print JSON on stdout")


def _score(args: argparse.Namespace) -> int:
    # Readers of tables take a second to import: only this command should wait.
    from unlearnlab.official.report import as_record, as_text, report  # noqa: PLC0415

    if not args.folder.is_dir():
        raise SpecError([("score", f"{args.folder} is not a folder")])
    made = report(args.folder, args.mmlu)
    print(as_json(as_record(made)) if args.json else as_text(made))
    return BAD_INPUT if made.empty else DONE


def _published(args: argparse.Namespace) -> int:
    from unlearnlab.published import as_records, as_table, results  # noqa: PLC0415

    print(as_json(as_records(results())) if args.json else as_table(results()))
    return DONE
