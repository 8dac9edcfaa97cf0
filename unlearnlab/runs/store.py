"""The store: runs, their events, the evidence behind their scores, their files, and sweeps.

A run is its spec and the append-only list of its events; nothing derived from them is stored. Any
number of threads and processes may use the SQLite file at once (WAL mode). Each operation borrows a
connection from a pool, so threads that end leave none open.
"""

import difflib
import errno
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import psutil
from pydantic import ValidationError

from unlearnlab.data.files import remove, restrict
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.artefacts import Artefact
from unlearnlab.runs.devices import process_lives
from unlearnlab.runs.events import Evaluated, Event, Saved, StoredEvent, Unread, fault
from unlearnlab.runs.records import (
    DamagedRecord,
    FullRecord,
    Interned,
    Joined,
    Listing,
    Milestone,
    PreviewRecord,
    RunRecord,
    TableRow,
    TraceRecord,
    Unreadable,
    job_kind,
    job_record,
    preview_record,
    run_record,
    stored,
    trace_record,
)
from unlearnlab.spec.run import RECORDED, PreviewSpec, RunSpec
from unlearnlab.spec.sweep import SweepSpec
from unlearnlab.spec.trace import TraceSpec

_LOG = logging.getLogger(__name__)

SHOWN = 60
"""Most characters of an unknown id that a message quotes."""

ELSEWHERE = "choose another folder with --home or UNLEARNLAB_HOME"

DATABASE = "unlearnlab.sqlite3"
"""Name of the database in a home."""

APPLICATION_ID = 0x756E6C62
"""Marks a database as ours ("unlb"), so that another program's database is never migrated."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            created REAL NOT NULL,
            spec TEXT NOT NULL,
            pid INTEGER NOT NULL,
            born REAL NOT NULL
        ) STRICT""",
        """CREATE TABLE events (
            run TEXT NOT NULL REFERENCES runs (id),
            seq INTEGER NOT NULL,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (run, seq)
        ) STRICT, WITHOUT ROWID""",
        """CREATE INDEX milestones ON events (run)
            WHERE kind IN ('started', 'evaluated', 'finished', 'stopped', 'failed')""",
        """CREATE UNIQUE INDEX one_ending ON events (run)
            WHERE kind IN ('finished', 'stopped', 'failed')""",
        "CREATE TABLE evidence (key TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT",
        """CREATE TABLE artefacts (
            run TEXT NOT NULL REFERENCES runs (id),
            name TEXT NOT NULL,
            megabytes REAL NOT NULL,
            PRIMARY KEY (run, name)
        ) STRICT, WITHOUT ROWID""",
    ),
    ("ALTER TABLE runs ADD COLUMN job TEXT NOT NULL DEFAULT 'run'",),
    (
        "ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN deleted REAL",
        "ALTER TABLE runs ADD COLUMN sweep TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE sweeps (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            created REAL NOT NULL,
            spec TEXT NOT NULL
        ) STRICT""",
    ),
    (
        "ALTER TABLE runs ADD COLUMN repeats TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
    ),
    ("ALTER TABLE runs ADD COLUMN incarnation TEXT NOT NULL DEFAULT ''",),
    (
        "ALTER TABLE artefacts ADD COLUMN bytes INTEGER",
        "ALTER TABLE artefacts ADD COLUMN digest TEXT NOT NULL DEFAULT ''",
    ),
    (
        "DROP INDEX milestones",
        """CREATE INDEX milestones ON events (run) WHERE kind IN
            ('started', 'evaluated', 'adjusted', 'finished', 'stopped', 'failed')""",
    ),
)
"""Statements that migrate the file from each version to the next. Append only."""


class StoreError(ValueError):
    """The store cannot do what was asked, for a reason the user can act on."""


class Busy(StoreError):
    """Another program holds the database; this passes."""


class Full(StoreError):
    """The disk is full."""


class UnknownRun(StoreError):
    """No run, trace or preview has this id."""


class DamagedRun(StoreError):
    """A run, trace or preview cannot be read: it is damaged, or of a later version."""


class UnknownSweep(StoreError):
    """No sweep has this id."""


# ---- the database --------------------------------------------------------------------------------


class Database:
    """A pool of connections to one SQLite file of the current version. Thread-safe."""

    def __init__(self, path: Path, *, patience_s: float) -> None:
        """Open the file, creating or migrating it if necessary.

        Args:
            path: The file. Its folder is created.
            patience_s: How long to wait for a locked file.

        Raises:
            StoreError: The folder or the file cannot be used.
        """
        self._path = path
        self._patience_s = patience_s
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._open = True
        make_folder(path.parent)
        _make_private(path)
        try:
            with self.reading() as db:
                version = _version(db, path)
            if version < len(MIGRATIONS):
                with self.writing() as db:
                    for statement in chain(*MIGRATIONS[_version(db, path) :]):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections; those in use close when their operation ends."""
        with self._lock:
            self._open = False
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Lend a connection in a read transaction, which sees a single state of the file."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Lend a connection in a write transaction, which excludes other writers."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    def shrink(self) -> None:
        """Empty the log of the database, so that the next write takes no new room."""
        with suppress(sqlite3.Error, StoreError), closing(self._connect()) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _transaction(self, begin: str) -> Generator[sqlite3.Connection]:
        db = None
        try:
            db = self._borrow()
            db.execute(begin)
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            if db is not None:
                db.close()  # Rolls back; the connection may be broken, so it is not reused.
            if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError):
                raise _explained(error, self._path) from error
            if isinstance(error, UnicodeEncodeError):
                raise StoreError("half a character (a lone surrogate) cannot be stored") from error
            if isinstance(error, OverflowError):
                raise StoreError("a number is larger than a database can hold") from error
            raise
        self._give_back(db)

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if not self._open:
                raise StoreError(f"the database {self._path} has been closed")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if self._open:
                self._idle.append(db)
                return
        db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, timeout=self._patience_s, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            # One damaged text must not keep the others from being read.
            db.text_factory = _text
        except BaseException:
            db.close()
            raise
        return db


def _make_private(path: Path) -> None:
    """Create the database's file for its owner alone, or close an existing one to others.

    Raises:
        StoreError: It cannot be created.
    """
    try:
        if not path.exists():
            path.touch(mode=0o600)
        for file in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
            if file.is_file():
                restrict(file)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Full(_REASONS[sqlite3.SQLITE_FULL].format(path=path)) from error
        raise StoreError(f"{path} cannot be made: {error.strerror}: {ELSEWHERE}") from error


RESERVE_BYTES, ENDING_BYTES = 1 << 18, 1 << 16
"""Room that is kept for the last events of runs on a full disk, and the part for endings."""


def _make_reserve(path: Path) -> None:
    """Reserve room on the disk, unless there is hardly any: then runs end without a reserve."""
    with suppress(OSError):
        there = path.stat().st_size if path.exists() else 0
        if there < RESERVE_BYTES and shutil.disk_usage(path.parent).free > 4 * RESERVE_BYTES:
            path.touch(mode=0o600)
            path.write_bytes(os.urandom(RESERVE_BYTES))  # Zeros may take no room.


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may read; one that exists is closed to others.

    Raises:
        StoreError: It cannot be created or is not writable.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        restrict(folder)
    except (OSError, ValueError) as error:  # A NUL character, or half of one.
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise StoreError(f"cannot make the folder {folder}: {why}: {ELSEWHERE}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"the folder {folder} is not writable: {ELSEWHERE}")


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file's schema, 0 for a new file.

    Raises:
        StoreError: The file belongs to another program or to a later version.
    """
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    owner: int = db.execute("PRAGMA application_id").fetchone()[0]
    fresh: bool = db.execute("SELECT COUNT(*) = 0 FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not (fresh and owner == 0):
        raise StoreError(f"{path} is a database of another program: {ELSEWHERE}")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer unlearnlab (database version {version}, this one "
            f"knows up to {len(MIGRATIONS)}): update unlearnlab, or {ELSEWHERE}"
        )
    return version


_REASONS = {
    sqlite3.SQLITE_BUSY: "the database {path} is locked by another program: close that, or wait "
    "and try again",
    sqlite3.SQLITE_NOTADB: "{path} is not a database: move it away, or " + ELSEWHERE,
    sqlite3.SQLITE_CORRUPT: "the database {path} is damaged: move it away, or " + ELSEWHERE,
    sqlite3.SQLITE_READONLY: "the database {path} is not writable: " + ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: "the database {path} cannot be opened: " + ELSEWHERE,
    sqlite3.SQLITE_FULL: "the disk is full, {path} cannot grow: make room, or " + ELSEWHERE,
}


def _explained(error: BaseException, path: Path) -> StoreError:
    """Return what an SQLite error means and what to do about it."""
    # Errors raised by Python's sqlite3 module itself carry no code.
    code = vars(error).get("sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _full(path.parent):
        code = sqlite3.SQLITE_FULL  # Where SQLite's own files beside it cannot grow.
    told = _REASONS.get(code, "the database {path} fails: {error}").format(path=path, error=error)
    kinds = {sqlite3.SQLITE_BUSY: Busy, sqlite3.SQLITE_LOCKED: Busy, sqlite3.SQLITE_FULL: Full}
    return kinds.get(code, StoreError)(told)


def _full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < LEAST_ROOM
    except OSError:
        return False


LEAST_ROOM = 1 << 16
"""Free bytes below which an error in writing is taken for a full disk."""


# ---- runs and sweeps -----------------------------------------------------------------------------

_RUNS, _TRACES, _PREVIEWS = "job = 'run'", "job = 'trace'", "job = 'preview'"

_COLUMNS = ", ".join({"run_id": "id", "number": "rowid"}.get(n, n) for n in TableRow._fields)
"""SQLite numbers the rows itself, also one that is written with a number of NULL."""

_MILESTONES = """SELECT run, kind, body FROM events
    WHERE kind IN ('started', 'evaluated', 'adjusted', 'finished', 'stopped', 'failed')"""
"""Uses the condition of the partial index, so that SQLite reads nothing but the index."""

_ENDED = "kind IN ('finished', 'stopped', 'failed')"
"""Uses the condition of the other partial index; a run has at most one such event."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep as the store lists it."""

    sweep_id: str
    name: str
    created: float
    """Unix time."""
    spec: SweepSpec


class SweepTable:
    """The sweeps of a store. Thread-safe. An unknown id raises `UnknownSweep`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: list[SweepRow] = []

    def create(self, spec: SweepSpec, *, name: str) -> str:
        """Register a sweep and return its id, a UTC timestamp in milliseconds."""
        return _insert_new(self._database, "sweeps", {"name": name, "spec": spec.model_dump_json()})

    def rows(self) -> list[SweepRow]:
        """Return all sweeps that can be read, newest first."""
        with self._database.reading() as db:
            query = "SELECT id, name, created, spec FROM sweeps ORDER BY created DESC, id DESC"
            found = db.execute(query).fetchall()
        good: list[SweepRow] = []
        for values in found:
            try:
                good.append(_sweep_row(*values))
            except StoreError as error:
                _LOG.warning("%s", error)
        # Kept so that the interned specs stay alive until the next call.
        self._last = good
        return list(good)

    def row(self, sweep_id: str) -> SweepRow:
        """Return one sweep."""
        query = "SELECT id, name, created, spec FROM sweeps WHERE id = ?"
        with self._database.reading() as db:
            found = db.execute(query, (sweep_id,)).fetchone()
        if found is None:
            known = [row.sweep_id for row in self.rows()]
            near = difflib.get_close_matches(sweep_id, known, n=3, cutoff=0.5)
            hint = f": did you mean {', '.join(near)}?" if near else ""
            raise UnknownSweep(f"unknown sweep {sweep_id!r}{hint}")
        return _sweep_row(*found)

    def replace(self, sweep_id: str, spec: SweepSpec) -> None:
        """Replace the spec of a sweep that was extended."""
        self.row(sweep_id)
        with self._database.writing() as db:
            update = "UPDATE sweeps SET spec = ? WHERE id = ?"
            db.execute(update, (spec.model_dump_json(), sweep_id))


_sweep_spec = Interned(lambda body: SweepSpec.model_validate_json(body, context=RECORDED))


def _sweep_row(sweep_id: str, name: str, created: float, spec: str) -> SweepRow:
    try:
        return SweepRow(sweep_id, name, created, _sweep_spec(spec))
    except ValidationError as error:
        raise StoreError(f"sweep {sweep_id} cannot be read: {fault(error)}") from error


class Store:
    """The runs of one home folder. Thread-safe.

    Whatever takes the id of a run raises `UnknownRun` if there is no such run, trace or preview.
    """

    def __init__(self, home: Path, *, patience_s: float = 5.0) -> None:
        """Open the store in `home`, creating it if necessary.

        Args:
            home: Folder of the database and of the runs' files.
            patience_s: Longest wait for a locked database.

        Raises:
            StoreError: The folder or the database cannot be used.
        """
        self.home = home
        self._owner = _Owner(os.getpid(), psutil.Process().create_time())
        self._database = Database(home / DATABASE, patience_s=patience_s)
        self.sweeps = SweepTable(self._database)
        self._runs, self._traces = Listing(run_record), Listing(trace_record)
        self._previews = Listing(preview_record)
        self._others = Listing(job_record)
        self._reserve = home / "unlearnlab.reserve"
        _make_reserve(self._reserve)
        self._spoiled: set[str] = set()
        """Keys of evidence that is damaged."""

    def make_room(self, *, ending: bool) -> bool:
        """Give up room that is reserved for the last events of runs, and empty the database's log.

        Args:
            ending: Whether it is for an ending, for which a part of the room is kept back.

        Returns:
            Whether there was any.
        """
        keep, given = 0 if ending else ENDING_BYTES, False
        with suppress(OSError):
            if self._reserve.stat().st_size > keep:
                os.truncate(self._reserve, keep)
                given = True
        self._database.shrink()
        return given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def create(
        self,
        spec: RunSpec | TraceSpec | PreviewSpec,
        *,
        name: str = "",
        sweep: str = "",
        repeats: str = "",
    ) -> str:
        """Register a run, a trace or a preview of this process.

        Args:
            spec: What to carry out.
            name: Display name; may be empty.
            sweep: Id of the sweep that it belongs to, if any.
            repeats: Id of the run that it reproduces, if any.

        Returns:
            Its id, a UTC timestamp in milliseconds: ids sort by creation and are safe as file
            names.
        """
        values = {
            "name": name,
            "spec": spec.model_dump_json(),
            "pid": self._owner.pid,
            "born": self._owner.born,
            "job": job_kind(spec),
            "sweep": sweep,
            "repeats": repeats,
        }
        return _insert_new(self._database, "runs", values)

    def adopt(self, run_id: str) -> bool:
        """Make this process the owner of a job that has not started; return whether it is.

        False if the job has started, ended or was deleted, or if another live process owns it.
        """
        with self._database.writing() as db:
            _must_exist(db, run_id)
            query = "SELECT pid, born, deleted FROM runs WHERE id = ?"
            *process, deleted = db.execute(query, (run_id,)).fetchone()
            owner = _Owner(*process)
            touched = db.execute(f"{_MILESTONES} AND run = ?", (run_id,)).fetchone()
            if touched or deleted or (owner != self._owner and owner.lives(self._owner)):
                return False
            db.execute("UPDATE runs SET pid = ?, born = ? WHERE id = ?", (*self._owner, run_id))
        return True

    def append(self, run_id: str, event: Event, *, at: float | None = None) -> int:
        """Append an event to a run. The evidence of `Evaluated` is stored once per key.

        Args:
            run_id: The run.
            event: The event.
            at: Unix time at which it happened; None for now.

        Returns:
            The event's number, 1-based.

        Raises:
            StoreError: This is an ending, and the run has ended already.
        """
        entry = None
        if isinstance(event, Evaluated) and event.evidence is not None:
            entry = event.key, _packed(event.evidence)
            event = event.model_copy(update={"evidence": None})
        file = None
        if isinstance(event, Saved):
            file = _artefact_row(run_id, event.name, self.home / "runs" / run_id)
        with self._database.writing() as db:
            _must_exist(db, run_id)
            if entry is not None:
                otherwise = "REPLACE" if entry[0] in self._spoiled else "IGNORE"
                db.execute(f"INSERT OR {otherwise} INTO evidence VALUES (?, ?)", entry)
            if file is not None:
                db.execute(_INSERT_ARTEFACT, file)
            query = """INSERT INTO events SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?
                FROM events WHERE run = ? RETURNING seq"""
            moment = time.time() if at is None else at
            values = (run_id, moment, event.kind, event.model_dump_json(), run_id)
            try:
                return db.execute(query, values).fetchone()[0]
            except sqlite3.IntegrityError as error:
                raise StoreError(
                    f"run {run_id} has ended: it cannot be {event.kind} as well"
                ) from error

    def events(self, run_id: str, after: int = 0) -> list[StoredEvent]:
        """Return the run's events with numbers above `after`, in order."""
        with self._database.reading() as db:
            query = "SELECT seq, at, kind, body FROM events WHERE run = ? AND seq > ? ORDER BY seq"
            rows = db.execute(query, (run_id, after)).fetchall()
            if not rows:
                _must_exist(db, run_id)
        return [StoredEvent(seq, at, stored(kind, body)) for seq, at, kind, body in rows]

    def incarnation(self, run_id: str) -> str:
        """Return the value that tells the run from erased or later runs with the same id."""
        with self._database.reading() as db:
            _must_exist(db, run_id)
            query = "SELECT incarnation FROM runs WHERE id = ?"
            return db.execute(query, (run_id,)).fetchone()[0]

    def outline(self, run_id: str) -> list[Event]:
        """Return the start, the stages, the last step and the ending of a run."""
        query = """SELECT kind, body FROM events WHERE run = ? AND (
            kind IN ('started', 'stage_began', 'finished', 'stopped', 'failed') OR seq = (
                SELECT MAX(seq) FROM events WHERE run = ? AND kind = 'step_logged'))
            ORDER BY seq"""
        with self._database.reading() as db:
            read = [stored(*columns) for columns in db.execute(query, (run_id, run_id))]
        return [event for event in read if not isinstance(event, Unread)]

    def spec(self, run_id: str) -> RunSpec:
        """Return the run's spec."""
        return self.row(run_id).spec

    def runs(self) -> list[RunRecord]:
        """Return all runs that were not deleted and can be read, newest first; see `damaged`."""
        return self._runs.records(self._read_all(_RUNS))[0]

    def damaged(self) -> list[DamagedRecord]:
        """Return the runs, traces and previews that were not deleted and cannot be read."""
        kinds = (
            self._runs.records(self._read_all(_RUNS)),
            self._traces.records(self._read_all(_TRACES)),
            self._previews.records(self._read_all(_PREVIEWS)),
            self._others.records(self._read_all(f"NOT ({_RUNS} OR {_TRACES} OR {_PREVIEWS})")),
        )
        found = [record for _, damaged in kinds for record in damaged]
        return sorted(found, key=lambda one: one.run_id, reverse=True)

    def count(self) -> tuple[int, int]:
        """Return the number of runs that `runs` lists, and how many of them have ended."""
        query = f"""SELECT COUNT(*), COUNT(ending.run)
            FROM runs LEFT JOIN (SELECT run FROM events WHERE {_ENDED}) AS ending ON ending.run = id
            WHERE {_RUNS} AND deleted IS NULL"""
        with self._database.reading() as db:
            listed, ended = db.execute(query).fetchone()
        return listed, ended

    def row(self, run_id: str) -> RunRecord:
        """Return one run.

        Raises:
            DamagedRun: It cannot be read.
        """
        with _readable():
            return run_record(*self._read_one(run_id, _RUNS))

    def traces(self) -> list[TraceRecord]:
        """Return all traces, newest first."""
        return self._traces.records(self._read_all(_TRACES))[0]

    def trace(self, run_id: str) -> TraceRecord:
        """Return one trace."""
        with _readable():
            return trace_record(*self._read_one(run_id, _TRACES))

    def previews(self) -> list[PreviewRecord]:
        """Return all previews, newest first."""
        return self._previews.records(self._read_all(_PREVIEWS))[0]

    def job(self, run_id: str) -> RunRecord | TraceRecord | PreviewRecord:
        """Return a run, a trace or a preview.

        Raises:
            DamagedRun: It cannot be read.
        """
        with _readable():
            return job_record(*self._read_one(run_id, "TRUE"))

    def raw(self, run_id: str) -> dict[str, Any]:
        """Return all that the database holds of a run, trace or preview, as it is stored.

        Evidence is decoded where that is possible. Whatever is not JSON is text.
        """
        with self._database.reading() as db:
            _must_exist(db, run_id)
            run = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone()
            query = "SELECT seq, at, kind, body FROM events WHERE run = ? ORDER BY seq"
            events = db.execute(query, (run_id,)).fetchall()
            query = "SELECT name, bytes, digest FROM artefacts WHERE run = ? ORDER BY name"
            files = db.execute(query, (run_id,)).fetchall()
            keys = [key for *_, kind, body in events if kind == "evaluated" for key in _keys(body)]
            bodies = {
                key: row[0]
                for key in dict.fromkeys(keys)
                if (row := db.execute("SELECT body FROM evidence WHERE key = ?", (key,)).fetchone())
            }
        event, file = ("seq", "at", "kind", "body"), ("name", "bytes", "digest")
        return {
            "run": dict(zip(TableRow._fields, run, strict=True)),
            "events": [dict(zip(event, one, strict=True)) for one in events],
            "artefacts": [dict(zip(file, one, strict=True)) for one in files],
            "evidence": {key: _unpacked(body) for key, body in bodies.items()},
        }

    def evidence(self, key: str) -> Evidence | None:
        """Return the evidence stored under the key of an `Evaluated` event, if any.

        Damaged evidence counts as none: it is measured again where it is needed, and replaced.
        """
        with self._database.reading() as db:
            row = db.execute("SELECT body FROM evidence WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return _evidence(row[0])
        except ValueError as error:
            _LOG.warning("the stored answers %s cannot be read: %s", key, error)
            self._spoiled.add(key)
            return None

    def unread(self, run_id: str) -> list[tuple[int, Unread]]:
        """Return the events of a run that cannot be read, with their numbers."""
        return [(x.seq, x.event) for x in self.events(run_id) if isinstance(x.event, Unread)]

    def evidence_problem(self, key: str) -> str:
        """Say what is wrong with stored evidence; empty if nothing is, or there is none."""
        with self._database.reading() as db:
            row = db.execute("SELECT body FROM evidence WHERE key = ?", (key,)).fetchone()
        try:
            if row is not None:
                _evidence(row[0])
        except ValueError as error:
            return str(error)
        return ""

    def drop_evidence(self, key: str) -> None:
        """Delete the evidence under a key."""
        with self._database.writing() as db:
            db.execute("DELETE FROM evidence WHERE key = ?", (key,))

    def note_artefact(self, run_id: str, name: str, noted: Artefact) -> None:
        """Note size and digest of a file that a run saved."""
        values = (noted.bytes, noted.digest, run_id, name)
        with self._database.writing() as db:
            db.execute(
                "UPDATE artefacts SET bytes = ?, digest = ? WHERE run = ? AND name = ?", values
            )

    def full_record(self, run_id: str) -> FullRecord:
        """Return a run with all its events and the evidence behind its scores.

        Raises:
            DamagedRun: Some of it cannot be read.
        """
        row, events = self.row(run_id), self.events(run_id)
        unread = next((item for item in events if isinstance(item.event, Unread)), None)
        if row.damage or unread:
            raise DamagedRun(_damaged(run_id, row.damage or f"event {unread and unread.seq}"))
        keys = dict.fromkeys(e.event.key for e in events if isinstance(e.event, Evaluated))
        found = {key: self.evidence(key) for key in keys}
        return FullRecord(
            run_id=row.run_id,
            name=row.name,
            created=row.created,
            spec=row.spec,
            tags=row.tags,
            repeats=row.repeats,
            events=tuple(events),
            evidence={key: one for key, one in found.items() if one is not None},
        )

    def import_run(self, run: FullRecord, files: Path, *, origin: str) -> None:
        """Import a run from another store, as a whole or not at all.

        A deleted run with the same id is erased first.

        Args:
            run: The run. Its evidence is stored under its own keys: the caller must make sure that
                they match no other evidence.
            files: Folder of its files; it is moved to become the run's folder.
            origin: Its source, in words.

        Raises:
            StoreError: The id is taken by something that was not deleted.
        """
        target = self.home / "runs" / run.run_id
        with self._database.writing() as db:
            query = "SELECT 1 FROM runs WHERE id = ? AND deleted IS NULL"
            if db.execute(query, (run.run_id,)).fetchone():
                raise StoreError(f"run {run.run_id} is there already")
            _erase(db, run.run_id)
            _insert_full(db, run, files, origin=origin)
            make_folder(target.parent)
            remove(target)
            os.replace(files, target)

    def folder(self, run_id: str) -> Path:
        """Return the folder of the run's files, creating it if necessary.

        Raises:
            StoreError: It cannot be created.
        """
        with self._database.reading() as db:
            _must_exist(db, run_id)
        folder = self.home / "runs" / run_id
        make_folder(folder)
        return folder

    def artefacts(self, run_id: str) -> dict[str, Artefact]:
        """Map the name of each file that the run saved to what was noted of it."""
        with self._database.reading() as db:
            _must_exist(db, run_id)
            query = "SELECT name, bytes, digest FROM artefacts WHERE run = ? ORDER BY name"
            found = db.execute(query, (run_id,)).fetchall()
        folder = self.home / "runs" / run_id
        return {name: Artefact(folder / name, size, digest) for name, size, digest in found}

    def update(
        self,
        run_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        pinned: bool | None = None,
    ) -> None:
        """Update the user's marks on a run; None leaves a mark unchanged."""
        cleaned = None if tags is None else json.dumps(list(dict.fromkeys(tags)))
        values = {"name": name, "tags": cleaned, "notes": notes, "pinned": pinned}
        changed = {column: value for column, value in values.items() if value is not None}
        with self._database.writing() as db:
            _must_exist(db, run_id)
            for column, value in changed.items():
                db.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))

    def delete(self, run_ids: Sequence[str]) -> None:
        """Soft-delete ended runs: lists omit them until `restore`.

        Raises:
            StoreError: One of them is queued or active. Then none is deleted.
        """
        for run_id in run_ids:
            try:
                record = job_record(*self._read_one(run_id, "TRUE"))
            except Unreadable as error:
                record = error.record
            if record.ending is None and record.alive:
                raise StoreError(f"run {record.run_id} has not ended: stop it first")
        self._soft_delete(run_ids, time.time())

    def restore(self, run_ids: Sequence[str]) -> None:
        """Restore runs that were deleted but not yet erased."""
        self._soft_delete(run_ids, None)

    def erase(self, *, deleted_before: float) -> tuple[str, ...]:
        """Erase runs deleted before a given time, with their files and unshared evidence.

        Args:
            deleted_before: Unix time.

        Returns:
            Ids of the erased runs.
        """
        with self._database.writing() as db:
            query = "SELECT id FROM runs WHERE deleted < ? ORDER BY id"
            gone = tuple(run_id for (run_id,) in db.execute(query, (deleted_before,)))
            for run_id in gone:
                _erase(db, run_id)
            if gone:
                db.execute(
                    # While a score cannot be read, the answers behind it may still be needed.
                    """DELETE FROM evidence WHERE key NOT IN (
                        SELECT json_extract(body, '$.key') FROM events
                        WHERE kind = 'evaluated' AND json_valid(body))
                    AND NOT EXISTS (SELECT 1 FROM events
                        WHERE kind = 'evaluated' AND NOT json_valid(body))"""
                )
        for run_id in gone:
            shutil.rmtree(self.home / "runs" / run_id, ignore_errors=True)
        return gone

    def _soft_delete(self, run_ids: Sequence[str], moment: float | None) -> None:
        with self._database.writing() as db:
            for run_id in run_ids:
                _must_exist(db, run_id)
                db.execute("UPDATE runs SET deleted = ? WHERE id = ?", (moment, run_id))

    def _read_all(self, condition: str) -> list[Joined]:
        with self._database.reading() as db:
            query = f"""SELECT {_COLUMNS} FROM runs WHERE {condition} AND deleted IS NULL
                ORDER BY created DESC, id DESC"""
            runs = db.execute(query).fetchall()
            milestones = db.execute(_MILESTONES).fetchall()
        return self._joined(runs, milestones)

    def _read_one(self, run_id: str, condition: str) -> Joined:
        with self._database.reading() as db:
            _must_exist(db, run_id, condition)
            query = f"SELECT {_COLUMNS} FROM runs WHERE id = ?"
            runs = db.execute(query, (run_id,)).fetchall()
            milestones = db.execute(f"{_MILESTONES} AND run = ?", (run_id,)).fetchall()
        return self._joined(runs, milestones)[0]

    def _joined(
        self, rows: Sequence[tuple[Any, ...]], milestones: Sequence[tuple[str, str, str]]
    ) -> list[Joined]:
        """Join each row with its milestone events and whether its process is alive."""
        runs = [TableRow(*row) for row in rows]
        reached: dict[str, list[Milestone]] = {}
        for run_id, kind, body in milestones:
            reached.setdefault(run_id, []).append((kind, body))
        owners = {_Owner(run.pid, run.born) for run in runs}
        living = {owner for owner in owners if owner.lives(self._owner)}
        return [
            (run, reached.get(run.run_id, []), _Owner(run.pid, run.born) in living) for run in runs
        ]


class _Owner(NamedTuple):
    """A process; its start time tells it from a later one with the same pid."""

    pid: int
    born: float

    def lives(self, present: "_Owner") -> bool:
        """Return whether the process is alive, as seen from the `present` one."""
        return self == present if self.pid == present.pid else process_lives(*self)


def _insert_new(
    database: Database, table: Literal["runs", "sweeps"], values: dict[str, Any]
) -> str:
    """Insert a row under a new id, a UTC timestamp in milliseconds, and return the id."""
    while True:
        created = time.time()
        new_id = datetime.fromtimestamp(created, UTC).strftime("%y%m%d-%H%M%S-%f")[:-3]
        row = {"id": new_id, "created": created, **values}
        marks = ", ".join("?" * len(row))
        query = f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({marks})"
        with database.writing() as db:
            if db.execute(query, tuple(row.values())).rowcount:
                return new_id
        time.sleep(0.001)  # The id of this millisecond is taken.


def _insert_full(db: sqlite3.Connection, run: FullRecord, files: Path, *, origin: str) -> None:
    """Write a run into a database that does not hold its id, inside a transaction."""
    marks = ", ".join("?" * len(TableRow._fields))
    db.execute(f"INSERT INTO runs ({_COLUMNS}) VALUES ({marks})", run.table_row(origin))
    events = [
        (run.run_id, item.seq, item.at, item.event.kind, item.event.model_dump_json())
        for item in run.events
    ]
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events)
    evidence = [(key, _packed(one)) for key, one in run.evidence.items()]
    db.executemany("INSERT OR IGNORE INTO evidence VALUES (?, ?)", evidence)
    weights = [
        _artefact_row(run.run_id, path.relative_to(files).as_posix(), files)
        for path in sorted(files.rglob("*.safetensors"))
    ]
    db.executemany(_INSERT_ARTEFACT, weights)


_INSERT_ARTEFACT = (
    "INSERT OR REPLACE INTO artefacts (run, name, megabytes, bytes, digest) VALUES (?, ?, ?, ?, ?)"
)


def _artefact_row(run_id: str, name: str, folder: Path) -> tuple[str, str, float, int, str]:
    """Return the row of a file that a run has saved into its folder.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        noted = Artefact.noted(folder / name)
    except OSError as error:
        raise StoreError(f"{name} of run {run_id} cannot be read: {error.strerror}") from error
    assert noted.bytes is not None, "it was just read"
    return run_id, name, noted.bytes / 1e6, noted.bytes, noted.digest


@contextmanager
def _readable() -> Generator[None]:
    """Let records that cannot be made fail as the store does."""
    try:
        yield
    except Unreadable as error:
        raise DamagedRun(_damaged(error.record.run_id, error.record.problem)) from error


def _damaged(run_id: str, problem: str) -> str:
    return (
        f"run {run_id} cannot be read: {problem}: `export {run_id} --what raw` saves what is "
        f"there, `delete {run_id}` removes it"
    )


def _packed(evidence: Evidence) -> bytes:
    return zlib.compress(evidence.model_dump_json().encode())


def _evidence(body: bytes) -> Evidence:
    """Read stored evidence.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return Evidence.model_validate_json(zlib.decompress(body), extra="ignore")
    except ValidationError as error:
        raise ValueError(fault(error)) from error
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _unpacked(body: bytes) -> Any:
    """Decode stored evidence as far as possible: to JSON, else to text."""
    try:
        text = zlib.decompress(body).decode(errors="replace")
    except zlib.error:
        return body.hex()
    try:
        return json.loads(text)
    except ValueError:
        return text


def _keys(body: str) -> list[str]:
    """Return the key of evidence that the JSON of an event names, if it does."""
    try:
        key = json.loads(body)["key"]
    except (ValueError, TypeError, LookupError):
        return []
    return [key] if isinstance(key, str) else []


def _erase(db: sqlite3.Connection, run_id: str) -> None:
    db.execute("DELETE FROM events WHERE run = ?", (run_id,))
    db.execute("DELETE FROM artefacts WHERE run = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def _must_exist(db: sqlite3.Connection, run_id: str, condition: str = "TRUE") -> None:
    if db.execute(f"SELECT 1 FROM runs WHERE id = ? AND {condition}", (run_id,)).fetchone():
        return
    query = f"SELECT id FROM runs WHERE {condition} ORDER BY id DESC"
    ids = [known for (known,) in db.execute(query)]
    run_id = run_id[:SHOWN]
    near = difflib.get_close_matches(run_id, ids, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`list` shows all runs"
    raise UnknownRun(f"unknown run {run_id!r}: {hint}")
