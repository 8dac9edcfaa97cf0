"""The command `doctor`: check a home, and put right what can be."""

import argparse

from unlearnlab.cli.commands import DONE, FAILED, Commands, as_json, table, tell
from unlearnlab.data.files import home
from unlearnlab.runs.doctor import Finding, examine
from unlearnlab.runs.store import Store, StoreError


def register(commands: Commands) -> None:
    """Add the command to the program's."""
    about = "check the runs, their files and the database, and repair what can be repaired"
    looking = commands.add("doctor", _doctor, about, json=True, home=True)
    looking.add_argument(
        "--repair", action="store_true", help="put right what can be; without it, nothing changes"
    )
    looking.epilog = (
        "exit code 0: nothing is wrong, or all of it was repaired; 1: something is wrong.\n"
        "A run that cannot be read is saved by `export RUN --what raw` and removed by `delete RUN`."
    )


def _doctor(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        found = [(one, _treated(one) if args.repair else "") for one in examine(store)]
    if args.json:
        records = [
            {
                "kind": one.kind,
                "where": one.where,
                "problem": one.problem,
                "cure": one.cure,
                "done": done,
            }
            for one, done in found
        ]
        print(as_json(records))
    elif not found:
        print("Nothing is wrong.")
    else:
        cells = [[one.kind, one.where, one.problem, done or _outlook(one)] for one, done in found]
        print(table(["", "where", "what is wrong", ""], cells))
    left = sum(done != REPAIRED for _, done in found)
    if left and not args.repair and any(one.repair for one, _ in found):
        tell("doctor --repair puts right what can be")
    return FAILED if left else DONE


REPAIRED = "repaired"


def _outlook(one: Finding) -> str:
    return f"with --repair, {one.cure}" if one.cure else "cannot be repaired"


def _treated(one: Finding) -> str:
    """Carry out a repair, and say what became of it; empty if there is none."""
    if one.repair is None:
        return ""
    try:
        one.repair()
    except (OSError, StoreError) as error:
        return f"not repaired: {error}"
    return REPAIRED
