"""The commands `list`, `show`, `compare`, `presets` and `models`: print what there is."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearnlab.cli.commands import (
    DONE,
    FAILED,
    Commands,
    as_json,
    number,
    print_list,
    refuse_idle,
    table,
    tell,
    wide_table,
)
from unlearnlab.data.files import NoRoom, home, write_whole
from unlearnlab.exports.report import comparison
from unlearnlab.exports.result import Compared, Result, compared, measures_of, result
from unlearnlab.exports.tables import table_csv, table_latex, table_record
from unlearnlab.metrics.documents import TITLES, document_records
from unlearnlab.metrics.measures import interval_record, taken_records
from unlearnlab.metrics.scores import shown_scores, weighted_scores
from unlearnlab.metrics.tracing import PARTS, FactTrace, map_rows
from unlearnlab.models import catalog
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.runs.events import Adjusted, Ending, Failed, Finished, Traced
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import DamagedRecord, PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.store import Store, UnknownRun
from unlearnlab.spec.errors import SpecError, printable
from unlearnlab.spec.presets import presets
from unlearnlab.views.answers import Leaks, leaks_of, mask
from unlearnlab.views.comparison import Cell, Weights, rankings
from unlearnlab.views.comparison import scoreboard as compared_scores
from unlearnlab.views.documents import Documents, loss_words
from unlearnlab.views.run_table import Cell as TableCell
from unlearnlab.views.run_table import (
    Column,
    Known,
    Measured,
    QueryError,
    change_text,
    column_named,
    columns,
    needs_measures,
    parse_query,
    passing,
    row_labels,
    run_table,
    size_text,
    unmeasured,
)
from unlearnlab.views.runs import RunSummary, differences, run_summary
from unlearnlab.views.says import said_lines, said_record
from unlearnlab.views.scoreboard import judged, names_masked
from unlearnlab.views.traces import noised, row_label, strongest_lines, strongest_records
from unlearnlab.views.words import changes, record_lines, record_values

WEIGHTS = "1,1,1"
"""Weights of a ranking unless others are given."""


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    commands.add("list", _list, "list all runs, newest first", json=True, home=True)
    about = "show the result of a run or a trace"
    showing = commands.add("show", _show, about, json=True, home=True)
    showing.add_argument("run", metavar="RUN", help="id of the run or the trace")
    showing.add_argument(
        "--says", action="store_true", help="also print what the model said at each probe"
    )
    showing.add_argument(
        "--unmask",
        action="store_true",
        help="show names, numbers and addresses in what the model said, if the data are personal",
    )
    about = "compare runs: scores, ranking, settings that differ"
    comparing = commands.add("compare", _compare, about, json=True, home=True)
    comparing.add_argument("runs", metavar="RUN", nargs="*", help="ids of the runs")
    comparing.add_argument(
        "--query",
        metavar="TEXT",
        default="",
        help="the runs that pass it, such as 'method:npo lr>1e-4 aggregate>0.8', in place of ids "
        "or among them",
    )
    table_of = comparing.add_argument_group("a table of the runs, one row each, in place of scores")
    table_of.add_argument(
        "--columns",
        metavar="A,B,...",
        default="",
        help="scores, measures and settings, by the names of a query",
    )
    table_of.add_argument("--fold", choices=("sweep", "seed"), default="", help="one row for each")
    table_of.add_argument("--sort", metavar="COLUMN", default="", help="sort by it, highest first")
    table_of.add_argument(
        "--baseline", metavar="RUN", default="", help="show changes from this run"
    )
    written = table_of.add_mutually_exclusive_group()
    written.add_argument("--csv", action="store_true", help="print the table as CSV")
    written.add_argument("--latex", action="store_true", help="print the table as LaTeX")
    comparing.add_argument(
        "--weights",
        metavar="A,M,U",
        default=WEIGHTS,
        help="weights of task aggregate, MIA score and utility in the ranking (default: "
        f"{WEIGHTS}, the task's final score)",
    )
    comparing.add_argument(
        "--report", metavar="FILE", type=Path, help="also write the comparison as one HTML file"
    )
    comparing.add_argument(
        "--unmask",
        action="store_true",
        help="show names, numbers and addresses in the report's examples",
    )
    about = "delete ended runs, traces and previews, damaged ones too"
    deleting = commands.add("delete", _delete, about, home=True)
    deleting.add_argument("runs", metavar="RUN", nargs="+", help="ids of the runs")
    commands.add("presets", _presets, "list the presets", json=True)
    commands.add("models", _models, "list the known models", json=True, home=True)


def _list(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        rows, damaged = store.runs(), store.damaged()
    if not (rows or damaged or args.json):
        print("No runs yet. Start one: python -m unlearnlab run --preset NAME")
        return DONE
    cells = [
        [
            line.run_id,
            line.status + (", damaged" if line.damage else ""),
            line.title + (f" ({line.origin})" if line.origin else ""),
            line.settings,
            " → ".join(number(value) for value in line.final),
            line.verdict_title,
        ]
        for line in map(run_summary, rows)
    ]
    cells += [
        [one.run_id, "damaged", one.name or f"a {one.job}", one.problem, "", ""] for one in damaged
    ]
    head = ["run", "status", "method", "settings", "final", "verdict"]
    return print_list(args, [*map(_record, rows), *map(_damaged_record, damaged)], head, cells)


def _damaged_record(one: DamagedRecord) -> dict[str, Any]:
    """Return what can be read of a damaged run, trace or preview as plain JSON values."""
    return {
        "run": one.run_id,
        "job": one.job,
        "name": one.name,
        "created": _moment(one.created),
        "status": "damaged",
        "damage": one.problem,
    }


def _delete(args: argparse.Namespace) -> int:
    """Delete runs, at once or so that the page still offers them for a while."""
    with Store(home()) as store:
        store.delete(args.runs)
    for run_id in args.runs:
        print(run_id)
    return DONE


def _show(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        print(report(store, args.run, as_record=args.json, says=args.says, unmask=args.unmask))
    return DONE


def report(
    store: Store, run_id: str, *, as_record: bool, says: bool = False, unmask: bool = False
) -> str:
    """Write the result of a run or a trace.

    Args:
        store: Where it is kept.
        run_id: Its id.
        as_record: Write all of it as JSON, instead of a summary to read.
        says: Write what the model said at each probe as well.
        unmask: Show personal data in what it said.

    Raises:
        UnknownRun: There is none of this id.
    """
    row = store.job(run_id)
    if isinstance(row, RunRecord):
        found = result(store, run_id)
        unlearns = found.after is not None and not row.spec.taught
        leaks = leaks_of(found.answers) if unlearns else None
        hide = mask if row.personal and not unmask else str
        if not as_record:
            said = said_lines(found.said, hide) if says else []
            more = ["", "What it said:", *said] if said else []
            return "\n".join([_summary(row, found, leaks), *map(printable, more)])
        more = {
            "leaks": leaks and asdict(leaks),
            "measures": taken_records(found.measures),
            "documents": document_records(documents.of) if (documents := found.documents) else [],
        }
        if says:
            more["says"] = said_record(found.said, hide)
        return as_json(_record(row, found.progress) | more)
    if isinstance(row, PreviewRecord):
        raise UnknownRun(f"{run_id} is a preview of rows: the page shows it on its tab Data")
    events = [stored.event for stored in store.events(run_id)]
    traced = next((event for event in events if isinstance(event, Traced)), None)
    return as_json(_trace_record(row, traced)) if as_record else _trace_summary(row, traced)


def _presets(args: argparse.Namespace) -> int:
    known = presets().values()
    records = [one.model_dump(mode="json") for one in known]
    rows = [[one.name, one.title, one.description] for one in known]
    return print_list(args, records, ["name", "title", "what to expect"], rows)


def _models(args: argparse.Namespace) -> int:
    known = [catalog.model(name) for name in catalog.names()]
    if args.json:
        print(as_json([_model_record(one) for one in known]))
        return DONE
    cells: list[list[str]] = []
    for one in known:
        sizes, state = one.architecture, "ready"
        if one.unavailable_reason:
            state = "not ready"
        elif one.to_download:
            state = "downloaded by the first run"
        numbers = [f"{sizes.blocks}", f"{sizes.parameters:,}"] if sizes else ["?", "?"]
        cells.append([one.name, one.title, *numbers, one.licence or "-", state])
    print(table(["name", "title", "blocks", "parameters", "licence", "state"], cells))
    print("A folder's path and the id of a model on the hub, org/name, are names too.")
    for one in known:
        if one.unavailable_reason:
            print(f"{one.name}: {one.unavailable_reason}")
    return DONE


def _model_record(model: ModelInfo) -> dict[str, Any]:
    """Return a model as plain JSON values."""
    sizes = model.architecture
    return {
        "name": model.name,
        "title": model.title,
        "repository": model.repository,
        "licence": model.licence,
        "access": model.access,
        "base": model.base and model.base.name,
        "notes": list(model.notes),
        "folder": str(model.folder),
        "blocks": sizes and sizes.blocks,
        "parameters": sizes and sizes.parameters,
        "ready": not model.unavailable_reason and not model.to_download,
        "missing": model.unavailable_reason,
        "fetches": [repository for repository, _ in model.to_download],
    }


def _record(row: RunRecord, progress: RunProgress | None = None) -> dict[str, Any]:
    """Return a run as plain JSON values.

    Args:
        row: The run.
        progress: Its events: they add what it computed on and with, and the changes made while it
            ran, without which the spec alone does not repeat it.
    """
    judgement = judged(row.spec, row.before, row.after, row.ending)
    found = {
        "run": row.run_id,
        "name": row.name,
        "created": _moment(row.created),
        "origin": row.origin,
        "repeats": row.repeats,
        "damage": row.damage,
        **_ending(row.ending, row.status),
        "verdict": judgement
        and {
            "kind": judgement.kind,
            "title": judgement.title,
            "evidence": list(judgement.evidence),
        },
        "before": row.before and json.loads(row.before.model_dump_json()),
        "after": row.after and json.loads(row.after.model_dump_json()),
        "spec": row.spec.model_dump(mode="json"),
    }
    if progress:
        found["record"] = record_values(progress)
    changed = [
        event.model_dump(mode="json", exclude={"kind"})
        for event in (progress.changes if progress else ())
        if isinstance(event, Adjusted)
    ]
    return found | ({"adjusted": changed} if changed else {})


def _ending(ending: Ending | None, status: str) -> dict[str, Any]:
    """Return what is known of the end of a run or a trace as plain JSON values."""
    failed = ending if isinstance(ending, Failed) else None
    return {
        "status": status,
        "seconds": ending.seconds if ending else None,
        "problem": failed.problem if failed else None,
        "advice": failed.advice if failed else None,
        "stopped_at": ending.stopped_at if isinstance(ending, Finished) else None,
    }


def _moment(created: float) -> str:
    """Write a Unix time in UTC, to the second."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _summary(row: RunRecord, found: Result, leaks: Leaks | None) -> str:
    """Sum up a run: ending, changes made while it ran, scores, documents, verdict, record."""
    line, progress = run_summary(row), found.progress
    board = found.board_naming(masked=names_masked(row))
    took = "" if line.seconds is None else f" after {line.seconds:.0f} s"
    out = [f"{row.run_id}  {line.title}", f"{line.status}{took}  ({line.settings})"]
    out += [
        f"changed at step {change.step}: {change.text}"
        for change in changes(row.spec, progress)
        if change.step is not None
    ]
    if row.before:
        columns = {"before": [number(card.before) for card in board.cards]}
        columns |= {"after": [number(card.after) for card in board.cards]}
        if board.alone:
            columns = {"score": columns["after"]}
        names = [f"{card.title} {card.score.mark}" for card in board.cards]
        notes = [card.note for card in board.cards]
        cells = [list(cells) for cells in zip(names, *columns.values(), notes, strict=True)]
        out += ["", table(["", *columns, ""], cells), "", f"Measured on: {board.setting}"]
        out += [f"Utility: {board.protocol}"] if board.protocol else []
        out += [f"Attack: {board.attack}"] if board.attack else []
        out += [
            f"{one.measure.title}: {' → '.join(one.measure.write(of.value) for of in ends if of)}, "
            f"{one.note}"
            for one in found.measures
            if one.note and (ends := (one.before, one.after))
        ]
    if (documents := found.documents) and documents.scored:
        out += ["", *_document_lines(documents)]
    if board.verdict:
        first, *others = board.verdict.evidence
        out += ["", f"{board.verdict.title}: {first}", *(f"  {line}" for line in others)]
    if leaks and leaks.leaking:
        out += ["", f"Leaks: {leaks.text}."]
    if progress.kept:
        name, size = progress.kept.name, progress.kept.megabytes
        out += ["", f"Kept as the model {name}, {size:.1f} MB."]
        if row.spec.taught:
            out += [f"To make it forget: python -m unlearnlab run --taught {name}"]
    if isinstance(row.ending, Failed):
        out += ["", *(text for text in (row.ending.problem, row.ending.advice) if text)]
    unread = "; ".join(filter(None, (row.damage, progress.unread)))
    if unread:
        out += ["", f"Not all of it can be read: {unread}."]
    links = (("Imported", row.origin), ("Repeats", row.repeats and f"run {row.repeats}"))
    told = [*((name, text) for name, text in links if text), *record_lines(row.spec, progress)]
    return printable("\n".join([*out, "", *(f"{name}: {text}" for name, text in told)]))


MOST_LEFT = 5
"""Documents to list, those of which most remains first."""


def _document_lines(found: Documents) -> Iterator[str]:
    """Say which forget documents remain, by their place in the forget set."""
    yield f"{len(found.of)} forget documents: {found.text}."
    left = [one for one in found.of if one.state in ("stands", "partly")][:MOST_LEFT]
    if left:
        cells = [
            [
                f"{one.number}, {one.task}",
                TITLES[one.state],
                f"{one.standing} of {one.rows}",
                f"{number(one.score_before)} → {number(one.score_after)}",
                " → ".join(
                    loss_words(loss)
                    for loss in (one.loss_before, one.loss_after)
                    if loss is not None
                ),
            ]
            for one in left
        ]
        yield table(["most remains of", "", "rows that stand", "answers", "loss"], cells)


def _trace_record(row: TraceRecord, traced: Traced | None) -> dict[str, Any]:
    """Return a trace as plain JSON values."""
    return {
        "trace": row.run_id,
        "created": _moment(row.created),
        **_ending(row.ending, row.ending.kind if row.ending else "unfinished"),
        "spec": row.spec.model_dump(mode="json"),
        "traced": traced.model_dump(mode="json", exclude={"kind"}) if traced else None,
        "strongest": strongest_records(traced) if traced else None,
    }


def _trace_summary(row: TraceRecord, traced: Traced | None) -> str:
    """Sum up a trace: indirect effects by token (or role) and block."""
    took = f" after {row.ending.seconds:.0f} s" if row.ending else ""
    status = row.ending.kind if row.ending else "unfinished"
    out = [f"{row.run_id}  {row.spec.title}", f"{status}{took}"]
    if isinstance(row.ending, Failed):
        out += ["", *(text for text in (row.ending.problem, row.ending.advice) if text)]
    if traced is None:
        return "\n".join(out)
    found = traced.found
    if isinstance(found, FactTrace):
        tokens = ", ".join(map(repr, noised(found, masked=False)))
        out += [f"subject: {found.subject}, noise on {tokens}, measured: {found.scored.strip()!r}"]
        out += found.notes
        clean, corrupted, total = found.clean, found.corrupted, found.total_effect
    else:
        out += [f"{found.facts} facts, {found.unknown} left out: the model does not know them"]
        clean, corrupted, total = found.clean.mean, found.corrupted.mean, found.total_effect.mean
    out += [f"clean {clean:.3f}, corrupted {corrupted:.3f}, total effect {total:.3f}"]
    for part in PARTS:
        rows = map_rows(found, part)
        span = "" if part == "residual" else f", windows of {traced.window} blocks"
        head = ["", *map(str, range(len(rows[0].effects)))]
        cells = [
            [row_label(found, row, masked=False), *(f"{one.mean:z.2f}" for one in row.effects)]
            for row in rows
        ]
        out += ["", f"indirect effect of {part}{span}, by block", wide_table(head, cells)]
    return printable("\n".join([*out, "", *strongest_lines(traced)]))


def _compare(args: argparse.Namespace) -> int:
    tabled = any((args.columns, args.fold, args.sort, args.baseline, args.csv, args.latex))
    refuse_idle(
        (args.unmask and args.report is None, "unmask", "without --report"),
        (tabled and args.report is not None, "report", "with a table of the runs"),
        (tabled and args.weights != WEIGHTS, "weights", "with a table of the runs"),
        (args.json and (args.csv or args.latex), "json", "with --csv or --latex"),
    )
    names = [score.weight for score in weighted_scores()]
    try:
        by = Weights(dict(zip(names, map(float, args.weights.split(",")), strict=True)))
    except ValueError as error:
        wanted = "give three numbers such as 1,1,0.5, none below 0, not all 0"
        raise SpecError([("weights", f"{args.weights!r} is not A,M,U: {wanted}")]) from error
    with Store(home()) as store:
        runs, known = _queried(store, args)
        if tabled:
            return _print_table(store, args, runs, known)
        of = compared(store, [run.run_id for run in runs])
    if args.json:
        print(as_json(_comparison_record(of, by)))
    else:
        print(printable("\n".join(_comparison_lines(of, by))))
    if args.report is None:
        return DONE
    try:
        write_whole(args.report, comparison(of, masked=not args.unmask, weights=by).encode())
    except (OSError, NoRoom) as error:
        tell(f"the report cannot be written to {args.report}: {error}")
        return FAILED
    return DONE


def _queried(store: Store, args: argparse.Namespace) -> tuple[list[RunSummary], Known]:
    """Return the runs that are named or found, and what a table shows beside them."""
    if not (args.runs or args.query):
        raise SpecError([("RUN", "no run is named: name some, or find them with --query")])
    try:
        query, keys = parse_query(args.query), _keys(args)
    except QueryError as error:
        raise SpecError([("query", str(error))]) from error
    named = [store.row(run_id) for run_id in dict.fromkeys(args.runs)]
    runs = [run_summary(row) for row in named or store.runs()]
    measures: dict[str, Measured] = {}
    sweeps = {row.sweep_id: row.name for row in store.sweeps.rows()}
    if needs_measures(query, keys):
        shown = passing(runs, unmeasured(query), Known({}, sweeps))
        shown += [run_summary(store.row(args.baseline))] if args.baseline else []
        measures = {run.run_id: measures_of(store, run) for run in shown}
    known = Known(measures, sweeps)
    if not (found := passing(runs, query, known)):
        raise SpecError([("query", f"no run passes {args.query!r}")])
    return found, known


def _keys(args: argparse.Namespace) -> list[str]:
    """Return the keys of the chosen columns, and last that of the sorting one."""
    names = [name.strip() for name in args.columns.split(",") if name.strip()]
    return [column_named(name).key for name in (*names, args.sort or "created")]


def _print_table(
    store: Store, args: argparse.Namespace, runs: Sequence[RunSummary], known: Known
) -> int:
    *keys, sort = _keys(args)
    found = run_table(
        runs,
        keys,
        known=known,
        fold=args.fold,
        sort=sort,
        up=not columns()[sort].numeric,
        baseline=run_summary(store.row(args.baseline)) if args.baseline else None,
    )
    if args.json:
        print(as_json(table_record(found)))
        return DONE
    if args.csv:
        print(table_csv(found).decode(), end="")
        return DONE
    if args.latex:
        print(table_latex(found), end="")
        return DONE
    cells = [
        [row.fold or row.runs[0].run_id, label, *map(_written, found.columns, found.cells(row))]
        for row, label in zip(found.rows, row_labels(found), strict=True)
    ]
    head = ["run", "name", *(f"{one.title} {one.mark}".strip() for one in found.columns)]
    print(printable(table(head, cells)))
    return DONE


def _written(column: Column, cell: TableCell) -> str:
    spread = "" if cell.spread is None else f" ± {size_text(column, cell.spread)}"
    change = "" if cell.change is None else f" ({change_text(column, cell.change)})"
    return f"{cell.text}{spread}{change}"


def _comparison_lines(of: Compared, by: Weights) -> Iterator[str]:
    head = ["", "run", "name", *(score.short_words for score in shown_scores()), "verdict"]
    cells = [
        [
            str(at),
            line.run.run_id,
            line.label,
            *map(_marked, line.cells.values()),
            line.run.verdict_title or line.run.status,
        ]
        for at, line in enumerate(compared_scores(of.entries, of.intervals), 1)
    ]
    yield table(head, cells)
    yield "* best of the comparable runs, ~ within noise of the best"
    for one in rankings(of.entries, by):
        yield f"\nRanking: {one.setting.text}"
        places = [
            [str(place.rank or "-"), place.run.run_id, number(place.value), place.reason]
            for place in one.places
        ]
        yield table(["rank", "run", "value", ""], places)
    if found := differences([run.spec for run in of.entries]):
        yield "\nSettings that differ:"
        head = ["setting", *(str(at) for at in range(1, len(of.entries) + 1))]
        yield table(head, [[one.path, *one.values] for one in found])


def _marked(cell: Cell) -> str:
    return f"{number(cell.after)}{'*' if cell.best else '~' if cell.within_noise else ''}"


def _comparison_record(of: Compared, by: Weights) -> dict[str, Any]:
    """Return the comparison as plain JSON values."""
    measures = of.measures
    return {
        "runs": [
            {
                "run": line.run.run_id,
                "name": line.label,
                "seed": line.run.seed,
                "verdict": line.run.verdict and line.run.verdict.kind,
                "scores": {
                    name: {
                        "before": cell.before,
                        "after": cell.after,
                        "best": cell.best,
                        "alike": cell.within_noise,
                    }
                    for name, cell in line.cells.items()
                },
                "measures": {
                    name: interval_record(found)
                    for name, found in measures.get(line.run.run_id, {}).items()
                },
            }
            for line in compared_scores(of.entries, of.intervals)
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
