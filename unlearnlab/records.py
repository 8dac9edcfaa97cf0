"""Runs, traces and previews as lists show them, made of rows of the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from unlearnlab.events import Ending, Evaluated, Event, Started, parse_event
from unlearnlab.library import EMBEDDED_NAME
from unlearnlab.metrics import Scores
from unlearnlab.previews import PreviewSpec
from unlearnlab.spec import RECORDED, RunSpec
from unlearnlab.trace_spec import TraceSpec

Kind = Literal["run", "trace", "preview"]
"""The table of runs holds all: traces and previews are numbered, queued and ended as runs are."""


class Known(NamedTuple):
    """A row of the table of runs: its columns in order."""

    run_id: str
    name: str
    created: float
    """Unix time."""
    spec: str
    pid: int
    born: float
    """When the process was born: tells it from a later one with the same number. Unix time."""
    job: Kind
    tags: str
    """A list, in JSON."""
    notes: str
    pinned: int
    deleted: float | None
    """When the run was put aside. Unix time."""
    sweep: str
    repeats: str
    origin: str
    incarnation: str
    """Tells a run that was imported from earlier ones with its id; empty if it was run here."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as a list of runs shows it."""

    run_id: str
    name: str
    """Given by the user; may be empty."""
    created: float
    """Unix time."""
    spec: RunSpec
    alive: bool
    """Whether the process that the run belongs to still lives."""
    began: bool
    """Whether a worker took it up."""
    ending: Ending | None
    before: Scores | None
    after: Scores | None
    tags: tuple[str, ...] = ()
    notes: str = ""
    pinned: bool = False
    sweep: str = ""
    """Id of the sweep that the run is part of; empty if of none."""
    repeats: str = ""
    """Id of the run whose record it repeats; empty if of none."""
    origin: str = ""
    """Where it was taken in from, in words; empty if it was carried out here."""
    deleted: bool = False
    """Whether it was put aside, and can be brought back until it is erased."""
    keys: tuple[str, str] = ("", "")
    """Of the evidence behind the scores before and after; empty where there are none."""
    incarnation: str = ""
    """Tells a run that was imported from earlier ones with its id: caches need both."""

    @property
    def personal(self) -> bool:
        """Whether its text is masked until the reader asks for it.

        Of a run from elsewhere the name of the dataset says little: what is called as one of
        ours may hold anything, unless it comes with the program.
        """
        return self.spec.data.known.personal or bool(
            self.origin and self.spec.data.source != EMBEDDED_NAME
        )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a run."""

    seq: int
    """1-based, without gaps."""
    at: float
    """Unix time."""
    event: Event


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A trace as a list of traces shows it."""

    run_id: str
    """Its id: traces and runs are numbered together."""
    created: float
    """Unix time."""
    spec: TraceSpec
    alive: bool
    """Whether the process that the trace belongs to still lives."""
    began: bool
    """Whether a worker took it up."""
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A preview as a list of previews shows it."""

    run_id: str
    """Its id: previews are numbered together with runs."""
    created: float
    """Unix time."""
    spec: PreviewSpec
    alive: bool
    """Whether the process that the preview belongs to still lives."""
    began: bool
    """Whether a worker took it up."""
    ending: Ending | None


def run_row(run: Known, milestones: Sequence[str], alive: bool) -> RunRow:
    """Make the row of a run from the bodies of its events that tell how far it came."""
    reached = [_event(body) for body in milestones]
    scored = {event.when: event for event in reached if isinstance(event, Evaluated)}
    before, after = scored.get("before"), scored.get("after")
    return RunRow(
        run_id=run.run_id,
        name=run.name,
        created=run.created,
        spec=_run_spec(run.spec),
        alive=alive,
        began=_began(reached),
        ending=_ending(reached),
        before=before.scores if before else None,
        after=after.scores if after else None,
        tags=_TAGS.validate_json(run.tags),
        notes=run.notes,
        pinned=bool(run.pinned),
        sweep=run.sweep,
        repeats=run.repeats,
        origin=run.origin,
        deleted=run.deleted is not None,
        keys=(before.key if before else "", after.key if after else ""),
        incarnation=run.incarnation,
    )


def trace_row(run: Known, milestones: Sequence[str], alive: bool) -> TraceRow:
    """Make the row of a trace from the bodies of its events that tell how far it came."""
    reached = [_event(body) for body in milestones]
    return TraceRow(
        run_id=run.run_id,
        created=run.created,
        spec=_trace_spec(run.spec),
        alive=alive,
        began=_began(reached),
        ending=_ending(reached),
    )


def preview_row(run: Known, milestones: Sequence[str], alive: bool) -> PreviewRow:
    """Make the row of a preview from the bodies of its events that tell how far it came."""
    reached = [_event(body) for body in milestones]
    return PreviewRow(
        run_id=run.run_id,
        created=run.created,
        spec=PreviewSpec.model_validate_json(run.spec),
        alive=alive,
        began=_began(reached),
        ending=_ending(reached),
    )


def job_of(spec: RunSpec | TraceSpec | PreviewSpec) -> Kind:
    """Tell what a spec asks for."""
    if isinstance(spec, RunSpec):
        return "run"
    return "trace" if isinstance(spec, TraceSpec) else "preview"


_TAGS = TypeAdapter(tuple[str, ...])


@lru_cache(maxsize=16384)
def _event(body: str) -> Event:
    return parse_event(body)


@lru_cache(maxsize=4096)
def _run_spec(body: str) -> RunSpec:
    return RunSpec.model_validate_json(body, context=RECORDED)


@lru_cache(maxsize=4096)
def _trace_spec(body: str) -> TraceSpec:
    return TraceSpec.model_validate_json(body, context=RECORDED)


def _began(reached: Sequence[Event]) -> bool:
    return any(isinstance(event, Started) for event in reached)


def _ending(reached: Sequence[Event]) -> Ending | None:
    return next((event for event in reached if isinstance(event, Ending)), None)
