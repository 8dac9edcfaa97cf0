"""Runs as one line each, told apart by what was asked for: what lists show and look through."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.events import Ending, Failed, Finished
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.spec.plan import same_settings, written
from unlearnlab.spec.run import ModelSpec, RunSpec
from unlearnlab.views.phases import blocks_text, length_text
from unlearnlab.views.scoreboard import at_ends, judged


class Row(Protocol):
    """A run as the store lists it."""

    @property
    def run_id(self) -> str:
        """Return its id."""
        ...

    @property
    def name(self) -> str:
        """Return the name it was given, if any."""
        ...

    @property
    def created(self) -> float:
        """Return when it was asked for, in Unix seconds."""
        ...

    @property
    def spec(self) -> RunSpec:
        """Return what was asked for."""
        ...

    @property
    def alive(self) -> bool:
        """Tell whether its worker's process lives."""
        ...

    @property
    def ending(self) -> Ending | None:
        """Return how it ended."""
        ...

    @property
    def began(self) -> bool:
        """Tell whether it was taken up."""
        ...

    @property
    def before(self) -> Scores | None:
        """Return the original model's scores."""
        ...

    @property
    def after(self) -> Scores | None:
        """Return the unlearned model's scores."""
        ...

    @property
    def origin(self) -> str:
        """Return where it was taken in from, in words; empty if it was carried out here."""
        ...

    @property
    def repeats(self) -> str:
        """Return the id of the run whose record it repeats, if any."""
        ...


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


def run_line(row: Row, *, paused: bool = False) -> RunLine:
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


def usual_seconds(spec: RunSpec, rows: Iterable[Row]) -> float | None:
    """Return how long the last finished run with these settings took here."""
    for row in rows:
        if isinstance(row.ending, Finished) and not row.origin and same_settings(row.spec, spec):
            return row.ending.seconds
    return None


def matches(row: Row, text: str) -> bool:
    """Tell whether every word of `text` occurs in what the list says of a run."""
    words = text.lower().split()
    if not words:
        return True
    line = run_line(row)
    told = (line.title, line.settings, line.status, line.verdict, line.run_id, line.origin)
    said = " ".join(told).lower()
    return all(word in said for word in words)
