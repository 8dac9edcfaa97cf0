"""The commands `list`, `show`, `presets` and `models`: print what there is."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from unlearnlab.cli.commands import DONE, Commands
from unlearnlab.cli.terminal import as_json, number, table
from unlearnlab.data.files import home
from unlearnlab.exports.result import result
from unlearnlab.metrics.measures import taken_records
from unlearnlab.metrics.tracing import PARTS, FactTrace, Part, TraceAverage
from unlearnlab.models import catalog
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.runs.events import Adjusted, Failed, Traced
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.store import Store, UnknownRun
from unlearnlab.spec.errors import printable
from unlearnlab.spec.presets import presets
from unlearnlab.views.runs import RunSummary, run_summary
from unlearnlab.views.scoreboard import Scoreboard, judged, scoreboard
from unlearnlab.views.words import changes, record_lines, record_values


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    commands.add("list", _list, "list all runs, newest first", json=True, home=True)
    about = "show the result of a run or a trace"
    showing = commands.add("show", _show, about, json=True, home=True)
    showing.add_argument("run", metavar="RUN", help="id of the run or the trace")
    commands.add("presets", _presets, "list the presets", json=True)
    commands.add("models", _models, "list the known models", json=True, home=True)


def _list(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        rows = store.runs()
    if args.json:
        print(as_json([_record(row) for row in rows]))
    elif rows:
        print(_run_table([run_summary(row) for row in rows]))
    else:
        print("No runs yet. Start one: python -m unlearnlab run --preset NAME")
    return DONE


def _show(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        print(report(store, args.run, as_record=args.json))
    return DONE


def report(store: Store, run_id: str, *, as_record: bool) -> str:
    """Write the result of a run or a trace.

    Args:
        store: Where it is kept.
        run_id: Its id.
        as_record: Write all of it as JSON, instead of a summary to read.

    Raises:
        UnknownRun: There is none of this id.
    """
    row = store.job(run_id)
    if isinstance(row, RunRecord):
        found = result(store, run_id)
        if not as_record:
            return _summary(row, found.course)
        return as_json(_record(row, found.course) | {"measures": taken_records(found.measures)})
    if isinstance(row, PreviewRecord):
        raise UnknownRun(f"{run_id} is a preview of rows: the page shows it on its tab Data")
    events = [stored.event for stored in store.events(run_id)]
    traced = next((event for event in events if isinstance(event, Traced)), None)
    return as_json(_trace_record(row, traced)) if as_record else _trace_summary(row, traced)


def _presets(args: argparse.Namespace) -> int:
    if args.json:
        print(as_json([one.model_dump(mode="json") for one in presets().values()]))
    else:
        rows = [[one.name, one.title, one.description] for one in presets().values()]
        print(table(["name", "title", "what to expect"], rows))
    return DONE


def _models(args: argparse.Namespace) -> int:
    known = [catalog.model(name) for name in catalog.names()]
    if args.json:
        print(as_json([_model_record(one) for one in known]))
        return DONE
    print(table(["name", "title", "blocks", "parameters", "state"], [_model_row(m) for m in known]))
    print("A folder's path and the id of a model on the hub, org/name, are names too.")
    for one in known:
        if one.unavailable_reason:
            print(f"{one.name}: {one.unavailable_reason}")
    return DONE


def _record(row: RunRecord, course: RunProgress | None = None) -> dict[str, Any]:
    """Return a run as plain JSON values.

    Args:
        row: The run.
        course: Its events: they tell what it computed on and with, and what was changed while it
            ran, without which the spec alone does not repeat it.
    """
    line = run_summary(row)
    judgement = judged(row.spec, row.before, row.after)
    failed = row.ending if isinstance(row.ending, Failed) else None
    adjusted = [
        event.model_dump(mode="json", exclude={"kind"})
        for event in (course.changes if course else ())
        if isinstance(event, Adjusted)
    ]
    found = {
        "run": row.run_id,
        "name": row.name,
        "created": _moment(row.created),
        "origin": row.origin,
        "repeats": row.repeats,
        "status": line.status,
        "seconds": line.seconds,
        "problem": failed.problem if failed else None,
        "advice": failed.advice if failed else None,
        "verdict": {"kind": judgement.kind, "title": judgement.title}
        | {"evidence": list(judgement.evidence)}
        if judgement
        else None,
        "before": json.loads(row.before.model_dump_json()) if row.before else None,
        "after": json.loads(row.after.model_dump_json()) if row.after else None,
        "spec": row.spec.model_dump(mode="json"),
    }
    if course:
        found["record"] = record_values(course)
    return found | ({"adjusted": adjusted} if adjusted else {})


def _moment(created: float) -> str:
    """Write a Unix time in UTC, to the second."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _summary(row: RunRecord, course: RunProgress) -> str:
    """Sum up a run: ending, changes made while it ran, scores, verdict, record."""
    line = run_summary(row)
    board = scoreboard(row.spec, row.before, row.after, None)
    took = "" if line.seconds is None else f" after {line.seconds:.0f} s"
    out = [f"{row.run_id}  {line.title}", f"{line.status}{took}  ({line.settings})"]
    out += [
        f"changed at step {change.step}: {change.text}"
        for change in changes(row.spec, course)
        if change.step is not None
    ]
    if row.before:
        found = _scores_table(board)
        out += ["", found, "", f"Measured on: {board.setting}"]
        out += [f"Utility: {board.protocol}"] if board.protocol else []
    if board.verdict:
        out += ["", f"{board.verdict.title}: " + " ".join(board.verdict.evidence)]
    if course.kept:
        name, size = course.kept.name, course.kept.megabytes
        out += ["", f"Kept as the model {name}, {size:.1f} MB."]
        if row.spec.taught:
            out += [f"To make it forget: python -m unlearnlab run --taught {name}"]
    if isinstance(row.ending, Failed):
        out += ["", *(text for text in (row.ending.problem, row.ending.advice) if text)]
    links = (("Imported", row.origin), ("Repeats", row.repeats and f"run {row.repeats}"))
    told = [*((name, text) for name, text in links if text), *record_lines(row.spec, course)]
    return printable("\n".join([*out, "", *(f"{name}: {text}" for name, text in told)]))


def _scores_table(board: Scoreboard) -> str:
    """Lay out the scores before and after, or those of the only model."""
    columns = {"after": [number(card.after) for card in board.cards]}
    if board.alone:
        columns = {"score": columns["after"]}
    else:
        columns = {"before": [number(card.before) for card in board.cards]} | columns
    names, notes = (
        [f"{one.title} {one.score.mark}" for one in board.cards],
        [one.note for one in board.cards],
    )
    rows = zip(names, *columns.values(), notes, strict=True)
    return table(["", *columns, ""], [list(row) for row in rows])


def _trace_record(row: TraceRecord, traced: Traced | None) -> dict[str, Any]:
    """Return a trace as plain JSON values."""
    failed = row.ending if isinstance(row.ending, Failed) else None
    return {
        "trace": row.run_id,
        "created": _moment(row.created),
        "status": row.ending.kind if row.ending else "unfinished",
        "seconds": row.ending.seconds if row.ending else None,
        "problem": failed.problem if failed else None,
        "advice": failed.advice if failed else None,
        "spec": row.spec.model_dump(mode="json"),
        "traced": traced.model_dump(mode="json", exclude={"kind"}) if traced else None,
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
        out += [f"subject: {found.subject}, measured: {found.scored.strip()!r}", *found.notes]
        clean, corrupted, total = found.clean, found.corrupted, found.total_effect
    else:
        out += [f"{found.facts} facts, {found.unknown} left out as not known"]
        clean, corrupted, total = found.clean.mean, found.corrupted.mean, found.total_effect.mean
    out += [f"clean {clean:.3f}, corrupted {corrupted:.3f}, total effect {total:.3f}"]
    for part in PARTS:
        head, *rows = _effects(found, part)
        span = "" if part == "residual" else f", windows of {traced.window} blocks"
        out += ["", f"indirect effect of {part}{span}, by block", table(head, rows)]
    return "\n".join(out)


def _effects(found: FactTrace | TraceAverage, part: Part) -> list[list[str]]:
    """Return the rows of one map: the blocks, then one row for each token or role."""
    if isinstance(found, FactTrace):
        columns = zip(*found.effects[part], strict=True)
        rows = list(zip((token.strip() for token in found.tokens), columns, strict=True))
    else:
        curves = found.curves[part].items()
        rows = [(role, tuple(spread.mean for spread in curve)) for role, curve in curves]
    head = ["", *(str(block) for block in range(len(rows[0][1])))]
    return [head, *([name, *(f"{value:.2f}" for value in values)] for name, values in rows)]


def _run_table(lines: Sequence[RunSummary]) -> str:
    """List runs, one line each."""
    head = ["run", "status", "method", "settings", "final", "verdict"]
    rows = [
        [
            line.run_id,
            line.status,
            line.title + (f" ({line.origin})" if line.origin else ""),
            line.settings,
            " → ".join(number(value) for value in line.final),
            line.verdict_title,
        ]
        for line in lines
    ]
    return table(head, rows)


def _model_record(model: ModelInfo) -> dict[str, Any]:
    """Return a model as plain JSON values."""
    sizes = model.architecture
    return {
        "name": model.name,
        "title": model.title,
        "repository": model.repository,
        "folder": str(model.folder),
        "blocks": sizes and sizes.blocks,
        "parameters": sizes and sizes.parameters,
        "ready": not model.unavailable_reason and not model.to_download,
        "missing": model.unavailable_reason,
        "fetches": [repository for repository, _ in model.to_download],
    }


def _model_row(model: ModelInfo) -> list[str]:
    """Return a model's name, title, blocks, parameters and state, for a table."""
    sizes = model.architecture
    numbers = [f"{sizes.blocks}", f"{sizes.parameters:,}"] if sizes else ["?", "?"]
    return [model.name, model.title, *numbers, _state(model)]


def _state(model: ModelInfo) -> str:
    if model.unavailable_reason:
        return "not ready"
    return "downloaded by the first run" if model.to_download else "ready"
