"""Runs, traces and previews as records, parsed from rows of the database."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from unlearnlab.data.datasets import EMBEDDED_NAME
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.runs.events import Ending, Evaluated, Event, Started, StoredEvent, parse_event
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.spec.run import RECORDED, PreviewSpec, RunSpec
from unlearnlab.spec.trace import TraceSpec

_Value = TypeVar("_Value")

_Record = TypeVar("_Record")

JobKind = Literal["run", "trace", "preview"]
"""One table holds all three: traces and previews are numbered, queued and ended like runs."""

NO_PROCESS = 0
"""Process id of an imported run: no process of this machine owns it."""


class TableRow(NamedTuple):
    """A row of the table `runs`, with its columns in order."""

    run_id: str
    name: str
    created: float
    """Unix time."""
    spec: str
    pid: int
    born: float
    """Start time of the process, to tell it from a later one with the same pid. Unix time."""
    job: JobKind
    tags: str
    """A JSON list."""
    notes: str
    pinned: int
    deleted: float | None
    """When the run was soft-deleted. Unix time."""
    sweep: str
    repeats: str
    origin: str
    incarnation: str
    """Tells an imported run from earlier ones with the same id; empty if it was run here."""
    number: int | None
    """Counts the rows of this store, from 1; None for a row that is in none yet."""


Joined = tuple[TableRow, list[str], bool]
"""A row, the JSON of its milestone events, and whether its process is alive."""


class Interned(Generic[_Value]):
    """Parse each text once, for as long as somebody holds its value. Thread-safe.

    An LRU cache smaller than the list of runs would miss on every row: a scan in order always
    evicts the row that is needed next.
    """

    def __init__(self, parse: Callable[[str], _Value]) -> None:
        """Parse with `parse`, whose values must allow weak references."""
        self._parse = parse
        self._known: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __call__(self, text: str) -> _Value:
        """Return the value of a text; equal texts share it."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._parse(text)
        return found


class Listing(Generic[_Record]):
    """Turn rows into records, reusing the records of unchanged rows. Thread-safe."""

    def __init__(self, make: Callable[[TableRow, Sequence[str], bool], _Record]) -> None:
        """Make each record with `make`."""
        self._make = make
        self._last: dict[str, tuple[Joined, _Record, Sequence[Event]]] = {}
        """Also holds the milestone events, for other runs that share their text."""

    def records(self, read: Iterable[Joined]) -> list[_Record]:
        """Return the records of the rows, in their order."""
        last, found = self._last, dict[str, tuple[Joined, _Record, Sequence[Event]]]()
        for joined in read:
            run_id = joined[0].run_id
            held = last.get(run_id)
            if held is None or held[0] != joined:
                held = joined, self._make(*joined), [_event(body) for body in joined[1]]
            found[run_id] = held
        self._last = found
        return [record for _, record, _ in found.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobRecord:
    """Fields that runs, traces and previews share."""

    run_id: str
    """Runs, traces and previews share one sequence of ids."""
    created: float
    """Unix time."""
    alive: bool
    """Whether the process that owns the job is alive."""
    began: bool
    """Whether a worker started it."""
    ending: Ending | None

    @property
    def status(self) -> Status:
        """Return the status as the store knows it: a paused run counts as running."""
        return status_of(began=self.began, alive=self.alive, ending=self.ending)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(_JobRecord):
    """A run as the store lists it."""

    spec: RunSpec
    name: str
    """Given by the user; may be empty."""
    before: Scores | None
    after: Scores | None
    tags: tuple[str, ...] = ()
    notes: str = ""
    pinned: bool = False
    sweep: str = ""
    """Id of the sweep that the run belongs to, if any."""
    repeats: str = ""
    """Id of the run that it reproduces, if any."""
    origin: str = ""
    """Source of an imported run, in words; empty if it was run here."""
    deleted: bool = False
    """Whether it was soft-deleted: it can be restored until it is erased."""
    keys: tuple[str, str] = ("", "")
    """Keys of the evidence behind the scores before and after; empty where there is none."""
    incarnation: str = ""
    """Tells an imported run from earlier ones with the same id: caches need both."""
    number: int = 0
    """Its number in this store, which it keeps for good; 0 outside of one."""

    @property
    def personal(self) -> bool:
        """Whether its text is masked until the reader reveals it.

        An imported run may use the name of one of our datasets for any data, so all imported runs
        are masked but those on the embedded dataset.
        """
        return self.spec.data.known.personal or bool(
            self.origin and self.spec.data.source != EMBEDDED_NAME
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord(_JobRecord):
    """A trace as the store lists it."""

    spec: TraceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRecord(_JobRecord):
    """A preview as the store lists it."""

    spec: PreviewSpec


@dataclass(frozen=True, slots=True)
class FullRecord:
    """A run with all its events and evidence, without its files: what packs carry."""

    run_id: str
    name: str
    created: float
    """Unix time."""
    spec: RunSpec
    tags: tuple[str, ...]
    repeats: str
    """Id of the run that it reproduces, if any."""
    events: tuple[StoredEvent, ...]
    evidence: Mapping[str, Evidence]
    """Stored evidence by the keys of its `Evaluated` events."""

    @property
    def row(self) -> RunRecord:
        """Return its record as a list shows it once it is imported."""
        milestones = [
            item.event.model_dump_json()
            for item in self.events
            if isinstance(item.event, Started | Evaluated | Ending)
        ]
        return run_record(self.table_row(origin=""), milestones, False)

    def table_row(self, origin: str) -> TableRow:
        """Return its row of the table `runs`."""
        return TableRow(
            run_id=self.run_id,
            name=self.name,
            created=self.created,
            spec=self.spec.model_dump_json(),
            pid=NO_PROCESS,
            born=0.0,
            job="run",
            tags=json.dumps(self.tags),
            notes="",
            pinned=0,
            deleted=None,
            sweep="",
            repeats=self.repeats,
            origin=origin,
            incarnation=secrets.token_hex(8),
            number=None,
        )


def run_record(row: TableRow, milestones: Sequence[str], alive: bool) -> RunRecord:
    """Make the record of a run from its row and the JSON of its milestone events."""
    reached = [_event(body) for body in milestones]
    scored = {event.when: event for event in reached if isinstance(event, Evaluated)}
    before, after = scored.get("before"), scored.get("after")
    return RunRecord(
        **_job_fields(row, reached, alive),
        spec=_narrowed(_run_spec(row.spec), before),
        name=row.name,
        before=before.scores if before else None,
        after=after.scores if after else None,
        tags=_TAGS.validate_json(row.tags),
        notes=row.notes,
        pinned=bool(row.pinned),
        sweep=row.sweep,
        repeats=row.repeats,
        origin=row.origin,
        deleted=row.deleted is not None,
        keys=(before.key if before else "", after.key if after else ""),
        incarnation=row.incarnation,
        number=row.number or 0,
    )


def _narrowed(spec: RunSpec, before: Evaluated | None) -> RunSpec:
    """Let a spec name the forget rows that its run went on with: its scores are about these."""
    if before is None or before.kept is None:
        return spec
    data = spec.data.model_copy(update={"forget": before.kept})
    return spec.model_copy(update={"data": data})


def trace_record(row: TableRow, milestones: Sequence[str], alive: bool) -> TraceRecord:
    """Make the record of a trace from its row and the JSON of its milestone events."""
    fields = _job_fields(row, [_event(body) for body in milestones], alive)
    return TraceRecord(**fields, spec=_trace_spec(row.spec))


def preview_record(row: TableRow, milestones: Sequence[str], alive: bool) -> PreviewRecord:
    """Make the record of a preview from its row and the JSON of its milestone events."""
    fields = _job_fields(row, [_event(body) for body in milestones], alive)
    return PreviewRecord(**fields, spec=_preview_spec(row.spec))


def _job_fields(row: TableRow, reached: Sequence[Event], alive: bool) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "created": row.created,
        "alive": alive,
        "began": any(isinstance(event, Started) for event in reached),
        "ending": next((event for event in reached if isinstance(event, Ending)), None),
    }


def job_kind(spec: RunSpec | TraceSpec | PreviewSpec) -> JobKind:
    """Return the kind of job that a spec describes."""
    if isinstance(spec, RunSpec):
        return "run"
    return "trace" if isinstance(spec, TraceSpec) else "preview"


_TAGS = TypeAdapter(tuple[str, ...])

_event = Interned[Event](parse_event)
_run_spec = Interned(lambda body: RunSpec.model_validate_json(body, context=RECORDED))
_trace_spec = Interned(lambda body: TraceSpec.model_validate_json(body, context=RECORDED))
_preview_spec = Interned(PreviewSpec.model_validate_json)
