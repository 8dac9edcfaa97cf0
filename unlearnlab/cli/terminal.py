"""What the command line shows: progress while a run goes on, tables of what came of it."""

import json
import math
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from unlearnlab.metrics.tracing import PARTS, FactTrace, Part, TraceAverage
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.runs.estimates import Estimate, bytes_text
from unlearnlab.runs.events import Adjusted, Failed, StageBegan, StoredEvent, Traced
from unlearnlab.runs.progress import RunProgress, advance, run_view
from unlearnlab.runs.records import RunRecord, TraceRecord
from unlearnlab.spec.errors import printable
from unlearnlab.spec.fields import PHASE, settings
from unlearnlab.views.phases import changes
from unlearnlab.views.provenance import facts, noted
from unlearnlab.views.runs import RunSummary, run_summary
from unlearnlab.views.scoreboard import Scoreboard, judged, scoreboard

LINE_EVERY_S = 5.0
"""Seconds between lines of progress where there is no terminal."""


class Progress(Protocol):
    """Shows a run's events as they come."""

    def take(self, stored: StoredEvent) -> None:
        """Show one more event."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


def progress(stream: TextIO) -> Progress:
    """Return bars for a terminal, plain lines for anything else."""
    return Bars(stream) if stream.isatty() else Lines(stream)


class Lines:
    """A line for every stage, and one every few seconds in between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._course = RunProgress()
        self._next = 0.0

    def take(self, stored: StoredEvent) -> None:
        """Write a line if it is time for one."""
        self._course = advance(self._course, [stored])
        now = time.monotonic()
        stage = isinstance(stored.event, StageBegan)
        if stage or now >= self._next:
            view = run_view(self._course, alive=True, mine=True, now=stored.at)
            parts = [view.headline, "" if stage else view.detail, _terms(self._course)]
            print(", ".join(part for part in parts if part), file=self._stream, flush=True)
            self._next = now + LINE_EVERY_S

    def close(self) -> None:
        """Do nothing: every line is complete."""


class Bars:
    """One bar for each stage, the present one moving."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._course = RunProgress()
        self._bar: tqdm[Any] | None = None

    def take(self, stored: StoredEvent) -> None:
        """Move the bar, or begin the next one."""
        self._course = advance(self._course, [stored])
        if isinstance(stored.event, StageBegan):
            self.close()
            headline = run_view(self._course, alive=True, mine=True, now=stored.at).headline
            self._bar = tqdm(desc=headline, file=self._stream, dynamic_ncols=True)
        if self._bar is not None:
            self._move(self._bar, stored)

    def _move(self, bar: "tqdm[Any]", stored: StoredEvent) -> None:
        step, done = self._course.step, self._course.progressed
        if self._course.stage == "training":
            bar.total, bar.n = self._course.total_steps or None, step.step if step else 0
            bar.set_postfix_str(_terms(self._course), refresh=False)
        elif done:
            bar.total, bar.n, bar.unit = (
                done.total,
                done.done,
                f" {done.unit}" if done.unit else "it",
            )
        bar.refresh()

    def close(self) -> None:
        """Leave the present bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _terms(course: RunProgress) -> str:
    """Name the loss terms of the last step while training goes on."""
    if course.stage != "training" or course.step is None:
        return ""
    return ", ".join(f"{name} {value:.3g}" for name, value in course.step.terms.items())


def record(row: RunRecord, course: RunProgress | None = None) -> dict[str, Any]:
    """Return all there is to say of a run, as plain JSON values.

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
        "created": moment(row.created),
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
        found["record"] = noted(course)
    return found | ({"adjusted": adjusted} if adjusted else {})


def moment(created: float) -> str:
    """Write a Unix time in UTC, to the second."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(row: RunRecord, course: RunProgress) -> str:
    """Sum up a run: how it ended, what was changed meanwhile, its scores and their meaning."""
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
    links = (("Taken in", row.origin), ("Repeats", row.repeats and f"run {row.repeats}"))
    told = [*((name, text) for name, text in links if text), *facts(row.spec, course)]
    return printable("\n".join([*out, "", *(f"{name}: {text}" for name, text in told)]))


def _scores_table(board: Scoreboard) -> str:
    """Lay the scores out: before and after, or those of the only model."""
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


def trace_record(row: TraceRecord, traced: Traced | None) -> dict[str, Any]:
    """Return all there is to say of a trace, as plain JSON values."""
    failed = row.ending if isinstance(row.ending, Failed) else None
    return {
        "trace": row.run_id,
        "created": moment(row.created),
        "status": row.ending.kind if row.ending else "unfinished",
        "seconds": row.ending.seconds if row.ending else None,
        "problem": failed.problem if failed else None,
        "advice": failed.advice if failed else None,
        "spec": row.spec.model_dump(mode="json"),
        "traced": traced.model_dump(mode="json", exclude={"kind"}) if traced else None,
    }


def trace_summary(row: TraceRecord, traced: Traced | None) -> str:
    """Sum up a trace: the effects as tables of token or role by block."""
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
    """Lay one map out: a head of blocks, then a row for each token or role."""
    if isinstance(found, FactTrace):
        columns = zip(*found.effects[part], strict=True)
        rows = list(zip((token.strip() for token in found.tokens), columns, strict=True))
    else:
        curves = found.curves[part].items()
        rows = [(role, tuple(spread.mean for spread in curve)) for role, curve in curves]
    head = ["", *(str(block) for block in range(len(rows[0][1])))]
    return [head, *([name, *(f"{value:.2f}" for value in values)] for name, values in rows)]


def number(value: float | None) -> str:
    """Write a score; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def run_table(lines: Sequence[RunSummary]) -> str:
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


def estimate_text(found: Estimate, free: int | None) -> str:
    """Tell what a run would need, part by part.

    Args:
        found: The estimate.
        free: Bytes that the device has free; none if it is not known.
    """
    peak = found.peak
    rows = [[part, bytes_text(size)] for part, size in found.parts]
    room = "" if free is None else f" of {bytes_text(free)} free"
    short = [found.advice] if free is not None and peak.total > free else []
    took = [] if found.seconds is None else [f"Time: about {found.seconds:.0f} s."]
    lines = [table(["at most", bytes_text(peak.total) + room], rows), *found.notes, *took, *short]
    return "\n".join(lines)


def estimate_record(found: Estimate, free: int | None) -> dict[str, Any]:
    """Tell what a run would need as plain values: bytes and seconds."""
    return {
        "bytes": round(found.peak.total),
        "free": free,
        "when": found.peak.name,
        "parts": {part: round(size) for part, size in found.peak.parts.items()},
        "moments": {moment.name: round(moment.total) for moment in found.moments},
        "seconds": found.seconds,
        "corrected_by_runs": found.runs,
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in columns; what would steer a terminal is replaced."""
    all_rows = [head, *rows]
    widths = [max(len(row[i]) for row in all_rows) for i in range(len(head))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in all_rows
    )
    return printable("\n".join(line.rstrip() for line in padded))


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


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Write plain values as JSON that any reader accepts."""
    return json.dumps(value, indent=2, allow_nan=False)


def model_record(model: ModelInfo) -> dict[str, Any]:
    """Return what is known of a model, as plain JSON values."""
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


def model_row(model: ModelInfo) -> list[str]:
    """Return a model's name, title, blocks, parameters and state, for a table."""
    sizes = model.architecture
    numbers = [f"{sizes.blocks}", f"{sizes.parameters:,}"] if sizes else ["?", "?"]
    return [model.name, model.title, *numbers, _state(model)]


def _state(model: ModelInfo) -> str:
    if model.unavailable_reason:
        return "not ready"
    return "fetched by the first run" if model.to_download else "ready"
