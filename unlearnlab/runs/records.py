"""Runs, traces and previews as lists show them, made of rows of the database."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from unlearnlab.data.datasets import EMBEDDED_NAME
from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.events import Ending, Evaluated, Event, Started, parse_event
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import RECORDED, RunSpec
from unlearnlab.spec.trace import TraceSpec

_Value = TypeVar("_Value")

_Row = TypeVar("_Row")

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


Joined = tuple[Known, list[str], bool]
"""A row, the bodies of its milestones, and whether its process lives."""


class Interned(Generic[_Value]):
    """Parses texts, each once as long as somebody holds the value. Safe to share between threads.

    A cache of a fixed size serves a list longer than itself nothing at all: what comes next is
    always what was dropped last.
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


class Listing(Generic[_Row]):
    """A list that is read again and again. Safe to share between threads.

    It holds what it returned last, so that a row that has not changed is not made anew.
    """

    def __init__(self, make: Callable[[Known, Sequence[str], bool], _Row]) -> None:
        """Make each row with `make`."""
        self._make = make
        self._last: dict[str, _Held[_Row]] = {}

    def rows(self, read: Iterable[Joined]) -> list[_Row]:
        """Return the rows of what was read, in its order."""
        last, found = self._last, dict[str, _Held[_Row]]()
        for joined in read:
            run_id = joined[0].run_id
            before = last.get(run_id)
            same = before is not None and before.joined == joined
            found[run_id] = before if before and same else self._held(joined)
        self._last = found
        return [held.row for held in found.values()]

    def _held(self, joined: Joined) -> "_Held[_Row]":
        reached = [_event(body) for body in joined[1]]
        return _Held(joined, self._make(*joined), reached)


@dataclass(frozen=True, slots=True)
class _Held(Generic[_Row]):
    joined: Joined
    row: _Row
    reached: Sequence[Event]
    """Held for other runs, whose original scored the same."""


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
        spec=_preview_spec(run.spec),
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


_event = Interned[Event](parse_event)
_run_spec = Interned(lambda body: RunSpec.model_validate_json(body, context=RECORDED))
_trace_spec = Interned(lambda body: TraceSpec.model_validate_json(body, context=RECORDED))
_preview_spec = Interned(PreviewSpec.model_validate_json)


def _began(reached: Sequence[Event]) -> bool:
    return any(isinstance(event, Started) for event in reached)


def _ending(reached: Sequence[Event]) -> Ending | None:
    return next((event for event in reached if isinstance(event, Ending)), None)
