"""Runs as one line each, told apart by what was asked for: what lists show and look through."""

from collections.abc import Iterable
from dataclasses import dataclass

from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.plan import same_settings, written
from unlearnlab.spec.run import ModelSpec, RunSpec
from unlearnlab.views.phases import blocks_text, length_text
from unlearnlab.views.scoreboard import at_ends, judged


@dataclass(frozen=True, slots=True)
class RunLine:
    """One line in the list of past runs."""

    run_id: str
    title: str
    settings: str
    status: Status
    created: float
    aggregate: tuple[float | None, float | None]
    """Before and after."""
    final: tuple[float | None, float | None]
    verdict: str
    problem: str
    seconds: float | None
    origin: str = ""
    """Where it was taken in from; empty if it was carried out here."""
    repeats: str = ""
    """Id of the run whose record it repeats, if any."""


def run_line(row: RunRecord, *, paused: bool = False) -> RunLine:
    """Sum a run up in one line."""
    found, ending = judged(row.spec, row.before, row.after), row.ending
    before, after = at_ends(row.spec, row.before, row.after, None)
    again = f", repeats {row.repeats}" if row.repeats else ""
    return RunLine(
        run_id=row.run_id,
        title=row.name or row.spec.title,
        settings=f"{_in_short(row.spec)}{again}",
        status=status_of(began=row.began, alive=row.alive, ending=ending, paused=paused),
        created=row.created,
        aggregate=(
            before.task_aggregate if before else None,
            after.task_aggregate if after else None,
        ),
        final=(before.final if before else None, after.final if after else None),
        verdict=found.title if found else "",
        problem=ending.problem if isinstance(ending, Failed) else "",
        seconds=ending.seconds if ending else None,
        origin=row.origin,
        repeats=row.repeats,
    )


def _in_short(spec: RunSpec) -> str:
    """Tell a run's settings in a few words: of its phases, the first one's."""
    if spec.only_scores:
        return f"{spec.data.known.title}, {spec.data.fold} fold"
    first, *others = spec.phases
    more = f", then {len(others)} more" if others else ""
    where = blocks_text(first, spec.model.blocks)
    rate = written(first.learning_rate)
    length = length_text(spec, first, epochs="ep.", epoch="ep.")
    return f"{_other_model(spec)}{where}, {rate}, {length}{more}"


def _other_model(spec: RunSpec) -> str:
    """Name the model of a run, if it is not the embedded one."""
    return "" if spec.model.name == ModelSpec().name else f"{spec.model.known.title}, "


def usual_seconds(spec: RunSpec, rows: Iterable[RunRecord]) -> float | None:
    """Return how long the last finished run with these settings took here."""
    for row in rows:
        if isinstance(row.ending, Finished) and not row.origin and same_settings(row.spec, spec):
            return row.ending.seconds
    return None


def matches(row: RunRecord, text: str) -> bool:
    """Tell whether every word of `text` occurs in what the list says of a run."""
    words = text.lower().split()
    if not words:
        return True
    line = run_line(row)
    told = (line.title, line.settings, line.status, line.verdict, line.run_id, line.origin)
    said = " ".join(told).lower()
    return all(word in said for word in words)
