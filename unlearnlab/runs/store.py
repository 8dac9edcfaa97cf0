"""Everything that is kept: runs, their events, the evidence behind scores, the runs' files.

A run is its spec and the append-only list of its events; nothing derived from them is stored.
"""

import difflib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from unlearnlab.data.files import remove
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.database import Database, StoreError, make_folder
from unlearnlab.runs.events import Evaluated, Event, Saved, parse_event
from unlearnlab.runs.recorded import Recorded, insert, packed, unpacked
from unlearnlab.runs.records import (
    Joined,
    Known,
    Listing,
    PreviewRow,
    RunRow,
    StoredEvent,
    TraceRow,
    job_of,
    preview_row,
    run_row,
    trace_row,
)
from unlearnlab.runs.sweep_table import SweepTable
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec

_RUNS, _TRACES, _PREVIEWS = "job = 'run'", "job = 'trace'", "job = 'preview'"

_COLUMNS = ", ".join("id" if name == "run_id" else name for name in Known._fields)

_MILESTONES = """SELECT run, body FROM events
    WHERE kind IN ('started', 'evaluated', 'finished', 'stopped', 'failed')"""
"""In the words of the partial index, so that SQLite reads nothing else."""

_ENDED = "kind IN ('finished', 'stopped', 'failed')"
"""Likewise: of such events each run has one at most."""


class UnknownRun(StoreError):
    """No run, or no trace, has this id."""


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
        self.sweeps = SweepTable(self._database)
        self._runs, self._traces = Listing(run_row), Listing(trace_row)
        self._previews = Listing(preview_row)

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
            spec: What is asked for.
            name: How a list calls it; may be empty.
            sweep: Id of the sweep that it is part of; empty if of none.
            repeats: Id of the run whose record it repeats; empty if of none.

        Returns:
            Its id: the moment in UTC to the millisecond; ids sort as runs were made and are safe
            as file names.
        """
        while True:
            created = time.time()
            run_id = datetime.fromtimestamp(created, UTC).strftime("%y%m%d-%H%M%S-%f")[:-3]
            body = spec.model_dump_json()
            row = (run_id, name, created, body, *self._owner, job_of(spec), sweep, repeats)
            with self._database.writing() as db:
                insert = """INSERT OR IGNORE INTO runs
                    (id, name, created, spec, pid, born, job, sweep, repeats)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
                if db.execute(insert, row).rowcount:
                    return run_id
            time.sleep(0.001)  # This millisecond has its run.

    def adopt(self, run_id: str) -> bool:
        """Make a run, a trace or a preview that nobody began one of this process.

        Returns:
            Whether it is. Not if it began, has ended or was deleted, or if another process that
            lives has it.

        Raises:
            UnknownRun: There is no such run.
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

    def append(self, run_id: str, event: Event) -> int:
        """Add an event to a run. The evidence of `Evaluated` is kept apart, once for each key.

        Returns:
            The event's number, 1-based.

        Raises:
            UnknownRun: There is no such run.
            StoreError: The run has its ending, and this is another.
        """
        entry = None
        if isinstance(event, Evaluated) and event.evidence is not None:
            entry = event.key, packed(event.evidence)
            event = event.model_copy(update={"evidence": None})
        with self._database.writing() as db:
            _must_exist(db, run_id)
            if entry is not None:
                db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?)", entry)
            if isinstance(event, Saved):
                file = (run_id, event.name, event.megabytes)
                db.execute("INSERT OR REPLACE INTO artefacts VALUES (?, ?, ?)", file)
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

    def incarnation(self, run_id: str) -> str:
        """Return what tells the run from others that had or will have its id, once erased.

        Raises:
            UnknownRun: There is no such run.
        """
        with self._database.reading() as db:
            _must_exist(db, run_id)
            query = "SELECT incarnation FROM runs WHERE id = ?"
            return db.execute(query, (run_id,)).fetchone()[0]

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
        """Return all runs but those that were deleted, newest first."""
        return self._runs.rows(self._known(_RUNS))

    def count(self) -> tuple[int, int]:
        """Count the runs that `runs` lists, and those of them that have ended."""
        query = f"""SELECT COUNT(*), COUNT(ending.run)
            FROM runs LEFT JOIN (SELECT run FROM events WHERE {_ENDED}) AS ending ON ending.run = id
            WHERE {_RUNS} AND deleted IS NULL"""
        with self._database.reading() as db:
            listed, ended = db.execute(query).fetchone()
        return listed, ended

    def row(self, run_id: str) -> RunRow:
        """Return one run.

        Raises:
            UnknownRun: There is no such run.
        """
        return run_row(*self._one(run_id, _RUNS))

    def traces(self) -> list[TraceRow]:
        """Return all traces, newest first."""
        return self._traces.rows(self._known(_TRACES))

    def trace(self, run_id: str) -> TraceRow:
        """Return one trace.

        Raises:
            UnknownRun: There is no such trace.
        """
        return trace_row(*self._one(run_id, _TRACES))

    def previews(self) -> list[PreviewRow]:
        """Return all previews, newest first."""
        return self._previews.rows(self._known(_PREVIEWS))

    def job(self, run_id: str) -> RunRow | TraceRow | PreviewRow:
        """Return a run, a trace or a preview.

        Raises:
            UnknownRun: There is none of them.
        """
        known = self._one(run_id, "TRUE")
        made = {"trace": trace_row, "preview": preview_row}.get(known[0].job, run_row)
        return made(*known)

    def evidence(self, key: str) -> Evidence | None:
        """Return the evidence kept under the key of an `Evaluated` event, if there is any."""
        with self._database.reading() as db:
            row = db.execute("SELECT body FROM evidence WHERE key = ?", (key,)).fetchone()
        return None if row is None else unpacked(row[0])

    def recorded(self, run_id: str) -> Recorded:
        """Return a run with all its events and the evidence behind its scores.

        Raises:
            UnknownRun: There is no such run.
        """
        row, events = self.row(run_id), self.events(run_id)
        keys = dict.fromkeys(e.event.key for e in events if isinstance(e.event, Evaluated))
        found = {key: self.evidence(key) for key in keys}
        return Recorded(
            run_id=row.run_id,
            name=row.name,
            created=row.created,
            spec=row.spec,
            tags=row.tags,
            repeats=row.repeats,
            events=tuple(events),
            evidence={key: one for key, one in found.items() if one is not None},
        )

    def take_in(self, run: Recorded, files: Path, *, origin: str) -> None:
        """Add a run that was carried out elsewhere, as a whole or not at all.

        One that was deleted and has its id is erased for it.

        Args:
            run: The run. Its evidence goes in under the keys it has: see that they are its own.
            files: Folder of its files, which becomes the run's folder.
            origin: Where it comes from, in words.

        Raises:
            StoreError: There is something under its id already that was not deleted.
        """
        target = self.home / "runs" / run.run_id
        with self._database.writing() as db:
            query = "SELECT 1 FROM runs WHERE id = ? AND deleted IS NULL"
            if db.execute(query, (run.run_id,)).fetchone():
                raise StoreError(f"run {run.run_id} is there already")
            _erase(db, run.run_id)
            insert(db, run, files, origin=origin)
            make_folder(target.parent)
            remove(target)
            os.replace(files, target)

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

    def amend(
        self,
        run_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        pinned: bool | None = None,
    ) -> None:
        """Change what a reader wrote about a run; what is None stays.

        Raises:
            UnknownRun: There is no such run.
        """
        cleaned = None if tags is None else json.dumps(list(dict.fromkeys(tags)))
        values = {"name": name, "tags": cleaned, "notes": notes, "pinned": pinned}
        changed = {column: value for column, value in values.items() if value is not None}
        with self._database.writing() as db:
            _must_exist(db, run_id)
            for column, value in changed.items():
                db.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))

    def delete(self, run_ids: Sequence[str]) -> None:
        """Put ended runs aside: lists leave them out, `restore` brings them back.

        Raises:
            UnknownRun: There is no such run. Then none is put aside.
            StoreError: One of them waits or goes on. Then none is put aside.
        """
        for row in map(self.job, run_ids):
            if row.ending is None and row.alive:
                raise StoreError(f"run {row.run_id} has not ended: stop it first")
        self._put_aside(run_ids, time.time())

    def restore(self, run_ids: Sequence[str]) -> None:
        """Bring back runs that were deleted and not yet erased.

        Raises:
            UnknownRun: There is no such run.
        """
        self._put_aside(run_ids, None)

    def erase(self, *, deleted_before: float) -> tuple[str, ...]:
        """Erase what was deleted before a moment, with files and evidence that only it used.

        Args:
            deleted_before: Unix time.

        Returns:
            The ids of the runs that are gone for good.
        """
        with self._database.writing() as db:
            query = "SELECT id FROM runs WHERE deleted < ? ORDER BY id"
            gone = tuple(run_id for (run_id,) in db.execute(query, (deleted_before,)))
            for run_id in gone:
                _erase(db, run_id)
            if gone:
                db.execute(
                    """DELETE FROM evidence WHERE key NOT IN (
                        SELECT json_extract(body, '$.key') FROM events WHERE kind = 'evaluated')"""
                )
        for run_id in gone:
            shutil.rmtree(self.home / "runs" / run_id, ignore_errors=True)
        return gone

    def _put_aside(self, run_ids: Sequence[str], moment: float | None) -> None:
        with self._database.writing() as db:
            for run_id in run_ids:
                _must_exist(db, run_id)
                db.execute("UPDATE runs SET deleted = ? WHERE id = ?", (moment, run_id))

    def _known(self, of: str) -> list[Joined]:
        with self._database.reading() as db:
            query = f"""SELECT {_COLUMNS} FROM runs WHERE {of} AND deleted IS NULL
                ORDER BY created DESC, id DESC"""
            runs = db.execute(query).fetchall()
            milestones = db.execute(_MILESTONES).fetchall()
        return self._joined(runs, milestones)

    def _one(self, run_id: str, of: str) -> Joined:
        with self._database.reading() as db:
            _must_exist(db, run_id, of)
            query = f"SELECT {_COLUMNS} FROM runs WHERE id = ?"
            runs = db.execute(query, (run_id,)).fetchall()
            milestones = db.execute(f"{_MILESTONES} AND run = ?", (run_id,)).fetchall()
        return self._joined(runs, milestones)[0]

    def _joined(
        self, rows: Sequence[tuple[Any, ...]], milestones: Sequence[tuple[str, str]]
    ) -> list[Joined]:
        """Join runs with those of their events that a list shows."""
        runs = [Known(*row) for row in rows]
        reached: dict[str, list[str]] = {}
        for run_id, body in milestones:
            reached.setdefault(run_id, []).append(body)
        owners = {_Owner(run.pid, run.born) for run in runs}
        living = {owner for owner in owners if owner.lives(self._owner)}
        return [
            (run, reached.get(run.run_id, []), _Owner(run.pid, run.born) in living) for run in runs
        ]


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


def _insert_event(db: sqlite3.Connection, run_id: str, event: Event) -> int:
    query = """INSERT INTO events
        SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ? FROM events WHERE run = ? RETURNING seq"""
    values = (run_id, time.time(), event.kind, event.model_dump_json(), run_id)
    try:
        (seq,) = db.execute(query, values).fetchone()
    except sqlite3.IntegrityError as error:
        raise StoreError(f"run {run_id} has ended: it cannot be {event.kind} as well") from error
    return seq


def _erase(db: sqlite3.Connection, run_id: str) -> None:
    db.execute("DELETE FROM events WHERE run = ?", (run_id,))
    db.execute("DELETE FROM artefacts WHERE run = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def _must_exist(db: sqlite3.Connection, run_id: str, of: str = "TRUE") -> None:
    if db.execute(f"SELECT 1 FROM runs WHERE id = ? AND {of}", (run_id,)).fetchone():
        return
    ids = [known for (known,) in db.execute(f"SELECT id FROM runs WHERE {of} ORDER BY id DESC")]
    near = difflib.get_close_matches(run_id, ids, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`list` shows all runs"
    raise UnknownRun(f"unknown run {run_id!r}: {hint}")
