"""Runs, traces and previews as records, parsed from rows of the database, one by one.

A row may be damaged, or come from a later version: what cannot be read of it is said in words, and
the rest is kept.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeGuard, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, TypeAdapter, ValidationError

from unlearnlab.data.datasets import EMBEDDED_NAME
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.runs.events import (
    Adjusted,
    Ending,
    Evaluated,
    Event,
    Failed,
    Finished,
    Started,
    Stopped,
    StoredEvent,
    Unread,
    fault,
    read_event,
)
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.spec.run import RECORDED, PreviewSpec, RunSpec
from unlearnlab.spec.trace import TraceSpec

_Value = TypeVar("_Value")

_Record = TypeVar("_Record")

_Spec = TypeVar("_Spec", bound=BaseModel)

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
    job: str
    """A `JobKind`, or that of a later version."""
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


Milestone = tuple[str, str]
"""Kind and JSON of a milestone event."""

Joined = tuple[TableRow, list[Milestone], bool]
"""A row, its milestone events, and whether its process is alive."""

LATEST = 4_102_444_800.0
"""The end of the year 2099, in Unix seconds."""


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

    def __init__(self, make: Callable[[TableRow, Sequence[Milestone], bool], _Record]) -> None:
        """Make each record with `make`, which may raise `Unreadable`."""
        self._make = make
        self._last: dict[str, tuple[Joined, _Record | DamagedRecord, Sequence[Any]]] = {}
        """Also holds the milestone events, for other runs that share their text."""

    def records(self, read: Iterable[Joined]) -> tuple[list[_Record], list["DamagedRecord"]]:
        """Return the records of the rows, in their order, and those that cannot be made."""
        last, found = self._last, dict[str, tuple[Joined, Any, Sequence[Any]]]()
        good, damaged = list[_Record](), list[DamagedRecord]()
        for joined in read:
            run_id = joined[0].run_id
            held = last.get(run_id)
            if held is None or held[0] != joined:
                try:
                    made = self._make(*joined)
                except Unreadable as error:
                    made = error.record
                held = joined, made, _reached(joined[1])
            found[run_id] = held
            if isinstance(held[1], DamagedRecord):
                damaged.append(held[1])
            else:
                good.append(held[1])
        self._last = found
        return good, damaged


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
    damage: str = ""
    """What of it cannot be read, in words; empty if all can."""
    adjusted: bool = False
    """Whether its settings were changed by hand while it ran."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRecord(_JobRecord):
    """A run, trace or preview of whose spec nothing can be read."""

    job: str
    """A `JobKind`, or that of a later version."""
    name: str
    problem: str
    """What is wrong with it; it quotes no value."""


class Unreadable(ValueError):
    """The spec of a row cannot be read."""

    def __init__(self, record: DamagedRecord) -> None:
        """Carry what can be read of the row."""
        super().__init__(record.problem)
        self.record = record


BAD_TAGS = "its tags cannot be read"
"""Damage that can be repaired: tags are cleared."""


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
            (item.event.kind, item.event.model_dump_json())
            for item in self.events
            if isinstance(item.event, Started | Evaluated | Adjusted | Ending)
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


def run_record(row: TableRow, milestones: Sequence[Milestone], alive: bool) -> RunRecord:
    """Make the record of a run from its row and its milestone events.

    Raises:
        Unreadable: Its spec cannot be read.
    """
    fields, reached = _job_fields(row, milestones, alive)
    spec, newer = _spec_of(row, _run_spec, RunSpec, fields)
    scored = {event.when: event for event in reached if isinstance(event, Evaluated)}
    before, after = scored.get("before"), scored.get("after")
    try:
        tags, bad_tags = _TAGS.validate_json(row.tags), ""
    except ValidationError:
        tags, bad_tags = (), BAD_TAGS
    unread = [f"{one.was}: {one.problem}" for one in reached if isinstance(one, Unread)]
    when = "" if fields["created"] == row.created else "when it was created cannot be read"
    return RunRecord(
        **fields,
        spec=_narrowed(spec, before),
        name=row.name,
        before=before.scores if before else None,
        after=after.scores if after else None,
        tags=tags,
        notes=row.notes,
        pinned=bool(row.pinned),
        sweep=row.sweep,
        repeats=row.repeats,
        origin=row.origin,
        deleted=row.deleted is not None,
        keys=(before.key if before else "", after.key if after else ""),
        incarnation=row.incarnation,
        number=row.number or 0,
        damage="; ".join(filter(None, (newer, bad_tags, when, *unread))),
        adjusted=any(isinstance(event, Adjusted) for event in reached),
    )


def _narrowed(spec: RunSpec, before: Evaluated | None) -> RunSpec:
    """Let a spec name the forget rows that its run went on with: its scores are about these."""
    if before is None or before.kept is None:
        return spec
    data = spec.data.model_copy(update={"forget": before.kept})
    return spec.model_copy(update={"data": data})


def trace_record(row: TableRow, milestones: Sequence[Milestone], alive: bool) -> TraceRecord:
    """Make the record of a trace from its row and its milestone events.

    Raises:
        Unreadable: Its spec cannot be read.
    """
    fields, _ = _job_fields(row, milestones, alive)
    return TraceRecord(**fields, spec=_spec_of(row, _trace_spec, TraceSpec, fields)[0])


def preview_record(row: TableRow, milestones: Sequence[Milestone], alive: bool) -> PreviewRecord:
    """Make the record of a preview from its row and its milestone events.

    Raises:
        Unreadable: Its spec cannot be read.
    """
    fields, _ = _job_fields(row, milestones, alive)
    return PreviewRecord(**fields, spec=_spec_of(row, _preview_spec, PreviewSpec, fields)[0])


def job_record(
    row: TableRow, milestones: Sequence[Milestone], alive: bool
) -> RunRecord | TraceRecord | PreviewRecord:
    """Make the record of a job of any kind.

    Raises:
        Unreadable: Its spec cannot be read, or no job of this version is of its kind.
    """
    if (make := _MAKERS.get(row.job)) is None:
        fields, _ = _job_fields(row, milestones, alive)
        problem = f"no job of this version is a {row.job[:40]!r}: update unlearnlab"
        raise Unreadable(DamagedRecord(**fields, job=row.job, name=row.name, problem=problem))
    return make(row, milestones, alive)


_MAKERS: Mapping[str, Callable[..., RunRecord | TraceRecord | PreviewRecord]] = {
    "run": run_record,
    "trace": trace_record,
    "preview": preview_record,
}


def _job_fields(
    row: TableRow, milestones: Sequence[Milestone], alive: bool
) -> tuple[dict[str, Any], list[Event | Unread]]:
    """Return the fields that all records share, and the milestone events."""
    reached = _reached(milestones)
    ending = next((event for event in reached if isinstance(event, Ending)), None)
    lost = next((event for event in reached if _ended(event)), None)
    if ending is None and lost is not None:
        ending = Failed(seconds=0.0, problem=f"how it ended ({lost.was}) cannot be read")
    return {
        "run_id": row.run_id,
        "created": row.created if 0 <= row.created <= LATEST else 0.0,
        "alive": alive,
        "began": any(isinstance(event, Started) or _was(event, "started") for event in reached),
        "ending": ending,
    }, reached


def _was(event: Event | Unread, *kinds: str) -> bool:
    return isinstance(event, Unread) and event.was in kinds


def _ended(event: Event | Unread) -> TypeGuard[Unread]:
    return _was(event, *(one.model_fields["kind"].default for one in (Finished, Stopped, Failed)))


def _reached(milestones: Sequence[Milestone]) -> list[Event | Unread]:
    return [stored(kind, body, _event) for kind, body in milestones]


def stored(
    kind: str, body: str, read: Callable[[str], Event | Unread] = read_event
) -> Event | Unread:
    """Read an event from the columns that hold it."""
    event = read(body)
    return event.model_copy(update={"was": kind}) if isinstance(event, Unread) else event


def _spec_of(
    row: TableRow, exact: Callable[[str], _Spec], cls: type[_Spec], fields: Mapping[str, Any]
) -> tuple[_Spec, str]:
    """Read a row's spec; settings of a later version are left out and said to be.

    Raises:
        Unreadable: It is none.
    """
    try:
        return exact(row.spec), ""
    except ValidationError as error:
        problem = fault(error)
    try:
        spec = cls.model_validate_json(row.spec, context=RECORDED, extra="ignore")
    except ValidationError:
        record = DamagedRecord(**fields, job=row.job, name=row.name, problem=f"spec: {problem}")
        raise Unreadable(record) from None
    return spec, f"a setting of a later version was left out ({problem})"


def job_kind(spec: RunSpec | TraceSpec | PreviewSpec) -> JobKind:
    """Return the kind of job that a spec describes."""
    if isinstance(spec, RunSpec):
        return "run"
    return "trace" if isinstance(spec, TraceSpec) else "preview"


_TAGS = TypeAdapter(tuple[str, ...])

_event = Interned[Event | Unread](read_event)
_run_spec = Interned(lambda body: RunSpec.model_validate_json(body, context=RECORDED))
_trace_spec = Interned(lambda body: TraceSpec.model_validate_json(body, context=RECORDED))
_preview_spec = Interned(PreviewSpec.model_validate_json)
