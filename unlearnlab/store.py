"""Everything that is kept: runs, their events, the evidence behind scores, the runs' files.

A run is its spec and the append-only list of its events; nothing derived from them is stored.
"""

import difflib
import os
import sqlite3
import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil

from unlearnlab.database import Database, StoreError, make_folder
from unlearnlab.events import Ending, Evaluated, Event, Saved, Started, parse_event
from unlearnlab.metrics import Evidence, Scores
from unlearnlab.previews import PreviewSpec
from unlearnlab.spec import RunSpec
from unlearnlab.trace_spec import TraceSpec

_Run = tuple[str, str, float, str, int, float, str]
"""A row of the table of runs: id, name, created, spec, pid, born, job."""

_RUNS, _TRACES, _PREVIEWS = "job = 'run'", "job = 'trace'", "job = 'preview'"
"""The table holds all: traces and previews are numbered, queued and ended as runs are."""

_MILESTONES = """SELECT run, body FROM events
    WHERE kind IN ('started', 'evaluated', 'finished', 'stopped', 'failed')"""
"""In the words of the partial index, so that SQLite reads nothing else."""


class UnknownRun(StoreError):
    """No run, or no trace, has this id."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a run."""

    seq: int
    """1-based, without gaps."""
    at: float
    """Unix time."""
    event: Event


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


class Store:
    """The runs of one home folder. Safe to share between threads."""

    def __init__(self, home: Path, *, patience_s: float = 5.0) -> None:
        """Open the store in `home`, making it if need be.

        Args:
            home: Folder of the database and of the runs' files.
            patience_s: How long to wait while somebody else holds the database.

        Raises:
            StoreError: The folder or the database cannot be used.
        """
        self.home = home
        self._owner = _Owner(os.getpid(), psutil.Process().create_time())
        self._database = Database(home / "unlearnlab.sqlite3", patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def create(self, spec: RunSpec | TraceSpec | PreviewSpec, *, name: str = "") -> str:
        """Register a run, a trace or a preview of this process.

        Returns:
            Its id: the moment in UTC to the millisecond; ids sort as runs were made and are safe
            as file names.
        """
        while True:
            created = time.time()
            run_id = datetime.fromtimestamp(created, UTC).strftime("%y%m%d-%H%M%S-%f")[:-3]
            row = (run_id, name, created, spec.model_dump_json(), *self._owner, _job_of(spec))
            with self._database.writing() as db:
                insert = "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)"
                if db.execute(insert, row).rowcount:
                    return run_id
            time.sleep(0.001)  # This millisecond has its run.

    def adopt(self, run_id: str) -> bool:
        """Make a run, a trace or a preview that nobody began one of this process.

        Returns:
            Whether it is. Not if it began, if it has ended, or if another process that lives has
            it.

        Raises:
            UnknownRun: There is no such run.
        """
        with self._database.writing() as db:
            _must_exist(db, run_id)
            query = "SELECT pid, born FROM runs WHERE id = ?"
            owner = _Owner(*db.execute(query, (run_id,)).fetchone())
            touched = db.execute(f"{_MILESTONES} AND run = ?", (run_id,)).fetchone()
            if touched or (owner != self._owner and owner.lives(self._owner)):
                return False
            db.execute("UPDATE runs SET pid = ?, born = ? WHERE id = ?", (*self._owner, run_id))
        return True

    def append(self, run_id: str, event: Event) -> int:
        """Add an event to a run. The evidence of `Evaluated` is kept apart, once for each key.

        Returns:
            The event's number, 1-based.

        Raises:
            UnknownRun: There is no such run.
            StoreError: The run has its ending, and this is another.
        """
        packed = None
        if isinstance(event, Evaluated) and event.evidence is not None:
            packed = event.key, zlib.compress(event.evidence.model_dump_json().encode())
            event = event.model_copy(update={"evidence": None})
        with self._database.writing() as db:
            _must_exist(db, run_id)
            if packed is not None:
                db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?)", packed)
            if isinstance(event, Saved):
                entry = (run_id, event.name, event.megabytes)
                db.execute("INSERT OR REPLACE INTO artefacts VALUES (?, ?, ?)", entry)
            return _insert_event(db, run_id, event)

    def events(self, run_id: str, after: int = 0) -> list[StoredEvent]:
        """Return the run's events with numbers above `after`, in order.

        Raises:
            UnknownRun: There is no such run.
        """
        with self._database.reading() as db:
            query = "SELECT seq, at, body FROM events WHERE run = ? AND seq > ? ORDER BY seq"
            rows = db.execute(query, (run_id, after)).fetchall()
            if not rows:
                _must_exist(db, run_id)
        return [StoredEvent(seq, at, parse_event(body)) for seq, at, body in rows]

    def outline(self, run_id: str) -> list[Event]:
        """Return what tells how a run went, without its length: stages, last step and ending."""
        query = """SELECT body FROM events WHERE run = ? AND (
            kind IN ('started', 'stage_began', 'finished', 'stopped', 'failed') OR seq = (
                SELECT MAX(seq) FROM events WHERE run = ? AND kind = 'step_logged'))
            ORDER BY seq"""
        with self._database.reading() as db:
            return [parse_event(body) for (body,) in db.execute(query, (run_id, run_id))]

    def spec(self, run_id: str) -> RunSpec:
        """Return what the run was asked to do.

        Raises:
            UnknownRun: There is no such run.
        """
        return self.row(run_id).spec

    def runs(self) -> list[RunRow]:
        """Return all runs, newest first."""
        return [_run_row(*known) for known in self._known(_RUNS)]

    def row(self, run_id: str) -> RunRow:
        """Return one run.

        Raises:
            UnknownRun: There is no such run.
        """
        return _run_row(*self._one(run_id, _RUNS))

    def traces(self) -> list[TraceRow]:
        """Return all traces, newest first."""
        return [_trace_row(*known) for known in self._known(_TRACES)]

    def trace(self, run_id: str) -> TraceRow:
        """Return one trace.

        Raises:
            UnknownRun: There is no such trace.
        """
        return _trace_row(*self._one(run_id, _TRACES))

    def previews(self) -> list[PreviewRow]:
        """Return all previews, newest first."""
        return [_preview_row(*known) for known in self._known(_PREVIEWS)]

    def job(self, run_id: str) -> RunRow | TraceRow | PreviewRow:
        """Return a run, a trace or a preview.

        Raises:
            UnknownRun: There is none of them.
        """
        known = self._one(run_id, "TRUE")
        made = {"trace": _trace_row, "preview": _preview_row}.get(known[0][-1], _run_row)
        return made(*known)

    def evidence(self, key: str) -> Evidence | None:
        """Return the evidence kept under the key of an `Evaluated` event, if there is any."""
        with self._database.reading() as db:
            row = db.execute("SELECT body FROM evidence WHERE key = ?", (key,)).fetchone()
        return None if row is None else Evidence.model_validate_json(zlib.decompress(row[0]))

    def folder(self, run_id: str) -> Path:
        """Return the folder of the run's files, making it if need be.

        Raises:
            UnknownRun: There is no such run.
            StoreError: It cannot be made.
        """
        with self._database.reading() as db:
            _must_exist(db, run_id)
        folder = self.home / "runs" / run_id
        make_folder(folder)
        return folder

    def artefacts(self, run_id: str) -> dict[str, Path]:
        """Map the name of each file that the run saved to its path.

        Raises:
            UnknownRun: There is no such run.
        """
        with self._database.reading() as db:
            _must_exist(db, run_id)
            query = "SELECT name FROM artefacts WHERE run = ? ORDER BY name"
            names = [name for (name,) in db.execute(query, (run_id,))]
        return {name: self.home / "runs" / run_id / name for name in names}

    def _known(self, of: str) -> "list[_Known]":
        with self._database.reading() as db:
            query = f"SELECT * FROM runs WHERE {of} ORDER BY created DESC, id DESC"
            runs = db.execute(query).fetchall()
            milestones = db.execute(_MILESTONES).fetchall()
        return self._joined(runs, milestones)

    def _one(self, run_id: str, of: str) -> "_Known":
        with self._database.reading() as db:
            _must_exist(db, run_id, of)
            runs = db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchall()
            milestones = db.execute(f"{_MILESTONES} AND run = ?", (run_id,)).fetchall()
        return self._joined(runs, milestones)[0]

    def _joined(self, runs: list[_Run], milestones: list[tuple[str, str]]) -> "list[_Known]":
        """Join runs with those of their events that a list shows."""
        reached: dict[str, list[Event]] = {}
        for run_id, body in milestones:
            reached.setdefault(run_id, []).append(_event(body))
        owners = {_Owner(pid, born) for *_, pid, born, _ in runs}
        living = {owner for owner in owners if owner.lives(self._owner)}
        return [(run, reached.get(run[0], []), _Owner(*run[4:6]) in living) for run in runs]


class _Owner(NamedTuple):
    """A process, told from a later one with the same number by its time of birth."""

    pid: int
    born: float

    def lives(self, present: "_Owner") -> bool:
        """Tell whether the process lives, as seen from the `present` one."""
        if self.pid == present.pid:
            return self == present
        try:
            process = psutil.Process(self.pid)
            # Two processes may read one birth a little differently when the clock was set.
            same = abs(process.create_time() - self.born) < 2
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:  # Gone, or somebody else's and so not the one that wrote here.
            return False


@lru_cache(maxsize=16384)
def _event(body: str) -> Event:
    return parse_event(body)


@lru_cache(maxsize=4096)
def _spec(body: str) -> RunSpec:
    return RunSpec.model_validate_json(body)


@lru_cache(maxsize=4096)
def _trace_spec(body: str) -> TraceSpec:
    return TraceSpec.model_validate_json(body)


_Known = tuple[_Run, list[Event], bool]
"""A run, its milestones, and whether its process lives."""


def _run_row(run: _Run, milestones: list[Event], alive: bool) -> RunRow:
    run_id, name, created, spec, *_ = run
    scores = {event.when: event.scores for event in milestones if isinstance(event, Evaluated)}
    return RunRow(
        run_id=run_id,
        name=name,
        created=created,
        spec=_spec(spec),
        alive=alive,
        began=_began(milestones),
        ending=_ending(milestones),
        before=scores.get("before"),
        after=scores.get("after"),
    )


def _trace_row(run: _Run, milestones: list[Event], alive: bool) -> TraceRow:
    run_id, _, created, spec, *_ = run
    return TraceRow(
        run_id=run_id,
        created=created,
        spec=_trace_spec(spec),
        alive=alive,
        began=_began(milestones),
        ending=_ending(milestones),
    )


def _preview_row(run: _Run, milestones: list[Event], alive: bool) -> PreviewRow:
    run_id, _, created, spec, *_ = run
    return PreviewRow(
        run_id=run_id,
        created=created,
        spec=PreviewSpec.model_validate_json(spec),
        alive=alive,
        began=_began(milestones),
        ending=_ending(milestones),
    )


def _job_of(spec: RunSpec | TraceSpec | PreviewSpec) -> str:
    if isinstance(spec, RunSpec):
        return "run"
    return "trace" if isinstance(spec, TraceSpec) else "preview"


def _began(milestones: list[Event]) -> bool:
    return any(isinstance(event, Started) for event in milestones)


def _ending(milestones: list[Event]) -> Ending | None:
    return next((event for event in milestones if isinstance(event, Ending)), None)


def _insert_event(db: sqlite3.Connection, run_id: str, event: Event) -> int:
    query = """INSERT INTO events
        SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ? FROM events WHERE run = ? RETURNING seq"""
    values = (run_id, time.time(), event.kind, event.model_dump_json(), run_id)
    try:
        (seq,) = db.execute(query, values).fetchone()
    except sqlite3.IntegrityError as error:
        raise StoreError(f"run {run_id} has ended: it cannot be {event.kind} as well") from error
    return seq


def _must_exist(db: sqlite3.Connection, run_id: str, of: str = "TRUE") -> None:
    if db.execute(f"SELECT 1 FROM runs WHERE id = ? AND {of}", (run_id,)).fetchone():
        return
    ids = [known for (known,) in db.execute(f"SELECT id FROM runs WHERE {of} ORDER BY id DESC")]
    near = difflib.get_close_matches(run_id, ids, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`list` shows all runs"
    raise UnknownRun(f"unknown run {run_id!r}: {hint}")
