"""`python -m unlearnlab pack` and `unpack`: runs as one file."""

import argparse
from dataclasses import asdict
from pathlib import Path

from unlearnlab.cli.commands import BAD_INPUT, DONE, FAILED, Commands, tell
from unlearnlab.cli.terminal import as_json, table
from unlearnlab.data.files import NoRoom, Taken, home
from unlearnlab.exports.packs.adding import Addition, add_pack
from unlearnlab.exports.packs.format import PackError
from unlearnlab.exports.packs.writing import PERSONAL, packable, write_pack
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import printable


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    about = "write ended runs into one file, to be taken in or replayed elsewhere"
    packing = commands.add("pack", _pack, about, home=True)
    packing.add_argument("runs", metavar="RUN", nargs="+", help="ids of the runs")
    packing.add_argument(
        "--out", metavar="FILE.zip", type=Path, required=True, help="the file to be made"
    )
    packing.add_argument(
        "--without-weights", action="store_true", help="leave out what was trained"
    )
    packing.add_argument(
        "--without-answers",
        action="store_true",
        help="leave out rows, answers, free prompts and what went wrong: scores and curves stay",
    )
    about = "take in the runs of a file that `pack` wrote"
    unpacking = commands.add("unpack", _unpack, about, json=True, home=True)
    unpacking.add_argument("file", metavar="FILE.zip", type=Path, help="the file")


def _pack(args: argparse.Namespace) -> int:
    weights, answers = not args.without_weights, not args.without_answers
    ids = tuple(dict.fromkeys(args.runs))
    try:
        with Store(home()) as store:
            runs = [packable(store, one, weights=weights, answers=answers) for one in ids]
            write_pack(runs, args.out)
    except (PackError, NoRoom, Taken) as error:
        tell(str(error))
        return FAILED
    except OSError as error:
        tell(f"{args.out} cannot be written: {error.strerror}")
        return FAILED
    print(args.out)
    if answers:
        tell(PERSONAL)
    return DONE


def _unpack(args: argparse.Namespace) -> int:
    try:
        with Store(home()) as store:
            found = add_pack(store, args.file)
    except PackError as error:
        tell(str(error))
        return BAD_INPUT
    print(as_json({"runs": [asdict(one) for one in found]}) if args.json else _table(found))
    return FAILED if any(one.outcome == "refused" for one in found) else DONE


def _table(found: tuple[Addition, ...]) -> str:
    rows = [[one.run_id, one.outcome, printable(one.told)] for one in found]
    return table(["run", "", ""], rows)
