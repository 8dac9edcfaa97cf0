"""The commands `compare` and `reproduce`: several runs side by side, and a run repeated."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearnlab.cli.commands import BAD_INPUT, DONE, FAILED, STOPPED, Commands, tell
from unlearnlab.cli.follow import carried_out
from unlearnlab.cli.terminal import as_json, number, table
from unlearnlab.data.files import NoRoom, check_room, home, write_whole
from unlearnlab.exports.report import comparison
from unlearnlab.exports.result import Compared, compared
from unlearnlab.metrics.measures import interval_record
from unlearnlab.metrics.scores import shown_scores, weighted_scores
from unlearnlab.runs.events import Stopped
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import SpecError, printable
from unlearnlab.views.comparison import Cell, Weights, rankings, scoreboard
from unlearnlab.views.reproduction import (
    WORDS,
    Reproduction,
    outlook,
    reading,
    repeated,
    reproduction,
    weights_here,
)
from unlearnlab.views.runs import differences


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    about = "repeat a finished run, and compare the numbers"
    repeating = commands.add("reproduce", _reproduce, about, json=True, home=True, device=True)
    repeating.add_argument("run", metavar="RUN", help="id of a finished run")
    repeating.epilog = (
        "exit code 0: all numbers equal or within noise after as many steps; 1: otherwise"
    )
    about = "compare runs: scores, ranking, settings that differ"
    parser = commands.add("compare", _compare, about, json=True, home=True)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="ids of the runs")
    parser.add_argument(
        "--weights",
        metavar="A,M,U",
        default="1,1,1",
        help="weights of task aggregate, MIA score and utility in the ranking (default: 1,1,1, the "
        "task's final score)",
    )
    parser.add_argument(
        "--report", metavar="FILE", type=Path, help="also write the comparison as one HTML file"
    )
    parser.add_argument(
        "--unmask",
        action="store_true",
        help="show names, numbers and addresses in the report's examples",
    )


def _compare(args: argparse.Namespace) -> int:
    by = _weights(args.weights)
    with Store(home()) as store:
        of = compared(store, args.runs)
    print(as_json(_record(of, by)) if args.json else printable("\n".join(_lines(of, by))))
    if args.report is None:
        return DONE
    report = comparison(of, masked=not args.unmask, weights=by).encode()
    try:
        check_room(args.report.parent, len(report))
        write_whole(args.report, report)
    except (OSError, NoRoom) as error:
        tell(f"the report cannot be written to {args.report}: {error}")
        return FAILED
    return DONE


def _weights(text: str) -> Weights:
    names = [score.weight for score in weighted_scores()]
    try:
        return Weights(dict(zip(names, map(float, text.split(",")), strict=True)))
    except ValueError as error:
        problem = (
            f"{text!r} is not A,M,U: give three numbers such as 1,1,0.5, none below 0, not all 0"
        )
        raise SpecError([("weights", problem)]) from error


def _lines(of: Compared, by: Weights) -> Iterator[str]:
    head = ["", "run", "name", *(score.short_words for score in shown_scores()), "verdict"]
    yield table(
        head,
        [
            [
                str(at),
                line.run.run_id,
                line.label,
                *map(_marked, line.cells.values()),
                line.run.verdict.title if line.run.verdict else line.run.status,
            ]
            for at, line in enumerate(scoreboard(of.entries, of.intervals), 1)
        ],
    )
    yield "* best of those that compare, ~ within noise of it"
    for one in rankings(of.entries, by):
        yield f"\nRanking: {one.setting.text}"
        yield table(
            ["rank", "run", "value", ""],
            [
                [str(place.rank or "-"), place.run.run_id, number(place.value), place.reason]
                for place in one.places
            ],
        )
    if found := differences([run.spec for run in of.entries]):
        yield "\nSettings that differ:"
        heads = ["setting", *(str(at) for at in range(1, len(of.entries) + 1))]
        yield table(heads, [[one.path, *one.values] for one in found])


def _marked(cell: Cell) -> str:
    return f"{number(cell.after)}{'*' if cell.best else '~' if cell.within_noise else ''}"


def _record(of: Compared, by: Weights) -> dict[str, Any]:
    """Return the comparison as plain JSON values."""
    lines, measures = scoreboard(of.entries, of.intervals), of.measures
    return {
        "runs": [
            {
                "run": line.run.run_id,
                "name": line.label,
                "seed": line.run.seed,
                "verdict": line.run.verdict.kind if line.run.verdict else None,
                "scores": {
                    name: {
                        "before": c.before,
                        "after": c.after,
                        "best": c.best,
                        "alike": c.within_noise,
                    }
                    for name, c in line.cells.items()
                },
                "measures": {
                    name: interval_record(found)
                    for name, found in measures.get(line.run.run_id, {}).items()
                },
            }
            for line in lines
        ],
        "rankings": [
            {
                "setting": one.setting.text,
                "places": [
                    {
                        "run": place.run.run_id,
                        "rank": place.rank,
                        "value": place.value,
                        "reason": place.reason,
                    }
                    for place in one.places
                ],
            }
            for one in rankings(of.entries, by)
        ],
        "differences": {
            one.path: dict(zip((run.run_id for run in of.entries), one.values, strict=True))
            for one in differences([run.spec for run in of.entries])
        },
    }


def _reproduce(args: argparse.Namespace) -> int:
    """Repeat a run, and print which numbers agree."""
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
            args.open_lab(store),
            repeated(first.spec),
            name=first.name,
            repeats=first.run_id,
            no_wait=args.no_wait,
        )
        again = reproduction(*map(store.full_record, (first.run_id, run_id)))
    print(
        as_json(_reproduction_record(again))
        if args.json
        else printable("\n".join(_reproduction_lines(again)))
    )
    if isinstance(ending, Stopped):
        return STOPPED
    return DONE if again.agrees else FAILED


def _reproduction_record(of: Reproduction) -> dict[str, Any]:
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


def _reproduction_lines(of: Reproduction) -> Iterator[str]:
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
