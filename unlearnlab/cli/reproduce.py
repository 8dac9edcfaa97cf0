"""`python -m unlearnlab reproduce RUN`: carry the record of a run out again, and compare."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from unlearnlab.cli.commands import BAD_INPUT, DONE, FAILED, STOPPED, tell
from unlearnlab.cli.follow import carried_out
from unlearnlab.cli.terminal import as_json, table
from unlearnlab.data.files import home
from unlearnlab.runs.engine_api import Engine, EnginePool
from unlearnlab.runs.events import Stopped
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import printable
from unlearnlab.views.reproduction import (
    WORDS,
    Reproduction,
    outlook,
    reading,
    repeated,
    reproduction,
    weights_here,
)


def reproduce_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run", metavar="RUN", help="id of a finished run")
    parser.epilog = "exit code 0: as many steps, all numbers equal or within noise; 1: not so"


def reproduce(args: argparse.Namespace, open_lab: Callable[[Store], Engine | EnginePool]) -> int:
    """Repeat a run, print which numbers agree, and return the exit code.

    Raises:
        InUse: Another process uses the device, and it must not be waited for.
        StoreError: There is no such run.
    """
    with Store(home()) as store:

        def course_of(run_id: str) -> RunProgress:
            return advance(RunProgress(), store.events(run_id))

        first = store.row(args.run)
        weights = weights_here(first, store.runs(), course_of)
        found = outlook(first, course_of(first.run_id), weights=weights)
        for told in (*found.problems, *found.warnings):
            tell(told)
        if found.problems:
            return BAD_INPUT
        run_id, ending = carried_out(
            store,
            open_lab(store),
            repeated(first.spec),
            name=first.name,
            repeats=first.run_id,
            no_wait=args.no_wait,
        )
        compared = reproduction(*map(store.full_record, (first.run_id, run_id)))
    print(as_json(record(compared)) if args.json else printable("\n".join(_lines(compared))))
    if isinstance(ending, Stopped):
        return STOPPED
    return DONE if compared.agrees else FAILED


def record(of: Reproduction) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    return {
        "run": of.again,
        "repeats": of.first,
        "agrees": of.agrees,
        "reading": list(reading(of)),
        "problem": of.problem,
        "numbers": {
            number.name: {
                "first": _plain(number.first),
                "again": _plain(number.again),
                "agreement": number.agreement,
            }
            for number in of.numbers
        },
        "steps": of.steps,
        "steps_again": of.steps_again,
        "same_steps": of.same_steps,
        "record": [{"name": x.name, "first": x.first, "again": x.again} for x in of.record],
    }


def _plain(value: float | None) -> float | str | None:
    """Write a number as JSON can hold it."""
    return str(value) if value is not None and value != value else value


def _lines(of: Reproduction) -> Iterator[str]:
    yield f"Run {of.again} repeats run {of.first}."
    yield from reading(of)
    if of.numbers:
        yield ""
        yield table(
            ["number", "first", "again", ""],
            [
                [one.title, _exact(one.first), _exact(one.again), WORDS[one.agreement]]
                for one in of.numbers
            ],
        )
    if of.record:
        yield "\nIn the record:"
        yield table(["", "first", "again"], [[x.name, x.first, x.again] for x in of.record])


def _exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
