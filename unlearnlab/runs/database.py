"""The SQLite file of the store: schema, migrations and a pool of connections.

Any number of threads and processes may use it at once (WAL mode). Each operation borrows a
connection from the pool, so threads that end leave none open.
"""

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ELSEWHERE = "choose another folder with --home or UNLEARNLAB_HOME"

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
)
"""Statements that migrate the file from each version to the next. Append only."""


class StoreError(ValueError):
    """The store cannot do what was asked, for a reason the user can act on."""


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
        try:
            with self.reading() as db:
                version = _version(db, path)
            if version < len(MIGRATIONS):
                with self.writing() as db:
                    _migrate(db, _version(db, path))
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
                raise StoreError(_explained(error, self._path)) from error
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
        except BaseException:
            db.close()
            raise
        return db


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may read, unless it exists.

    Raises:
        StoreError: It cannot be created or is not writable.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {folder}: {error.strerror}: {ELSEWHERE}"
        ) from error
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


def _migrate(db: sqlite3.Connection, version: int) -> None:
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


_REASONS = {
    sqlite3.SQLITE_BUSY: "the database {path} is locked by another program: close that, or wait "
    "and try again",
    sqlite3.SQLITE_NOTADB: "{path} is not a database: move it away, or " + ELSEWHERE,
    sqlite3.SQLITE_CORRUPT: "the database {path} is damaged: move it away, or " + ELSEWHERE,
    sqlite3.SQLITE_READONLY: "the database {path} is not writable: " + ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: "the database {path} cannot be opened: " + ELSEWHERE,
    sqlite3.SQLITE_FULL: "the disk is full, {path} cannot grow: make room, or " + ELSEWHERE,
}


def _explained(error: BaseException, path: Path) -> str:
    """Return what an SQLite error means and what to do about it."""
    # Errors raised by Python's sqlite3 module itself carry no code.
    code = vars(error).get("sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _REASONS.get(code, "the database {path} fails: {error}").format(path=path, error=error)
