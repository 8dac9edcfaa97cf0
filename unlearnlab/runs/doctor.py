"""What is wrong in a home, and what of it can be put right: the database, its rows, files on disk.

Nothing that may be of worth is deleted: a folder that no run owns is moved aside, and only what
killed programs left half written is removed.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.data.adding import HIDDEN, clean_up
from unlearnlab.data.datasets import datasets, datasets_folder
from unlearnlab.data.files import PART, remove
from unlearnlab.runs.artefacts import Artefact, Spoiled
from unlearnlab.runs.records import BAD_TAGS
from unlearnlab.runs.store import DATABASE, Database, Store, StoreError

STALE_S = 60.0
"""Age from which a half-written file is taken for a leftover, in seconds."""

ASIDE = "orphans"
"""Folder of the home that takes what no run owns."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """Such as "damaged run"."""
    where: str
    """A run's id, or a path in the home."""
    problem: str
    """It quotes no stored value."""
    cure: str = ""
    """What the repair does; empty if it can do nothing."""
    repair: Callable[[], None] | None = None


def examine(store: Store) -> Iterator[Finding]:
    """Find what is wrong in the home of a store.

    Raises:
        StoreError: The database cannot be read at all.
    """
    database = Database(store.home / DATABASE, patience_s=5.0)
    try:
        yield from _integrity(database)
        yield from _rows(store, database)
        yield from _evidence(store, database)
        yield from _artefacts(store, database)
        yield from _orphans(store, database)
        yield from _leftovers(store.home)
    finally:
        database.close()


def _integrity(database: Database) -> Iterator[Finding]:
    with database.reading() as db:
        told = [text for (text,) in db.execute("PRAGMA integrity_check(20)")]
        strays = db.execute("PRAGMA foreign_key_check").fetchall()

    def reindex() -> None:
        with database.writing() as db:
            db.execute("REINDEX")
            if [text for (text,) in db.execute("PRAGMA integrity_check(1)")] != ["ok"]:
                raise StoreError("the database stays damaged: recover it with sqlite3's .recover")

    if told != ["ok"]:
        yield Finding(
            "damaged database", DATABASE, told[0][:200], "its indexes are made anew", reindex
        )
    tables = {str(table): str(parent) for table, _, parent, _ in strays}

    def drop() -> None:
        with database.writing() as db:
            for table in tables.keys() & {"events", "artefacts"}:
                db.execute(f"DELETE FROM {table} WHERE run NOT IN (SELECT id FROM runs)")

    if tables:
        problem = f"{len(strays)} rows of {', '.join(sorted(tables))} belong to no run"
        yield Finding("stray rows", DATABASE, problem, "they are removed", drop)


def _rows(store: Store, database: Database) -> Iterator[Finding]:
    for one in store.damaged():
        yield Finding(f"damaged {one.job}", one.run_id, one.problem)
    for row in store.runs():
        if row.damage == BAD_TAGS:
            cure = "its tags are cleared"
            yield Finding(
                "damaged run",
                row.run_id,
                row.damage,
                cure,
                lambda i=row.run_id: store.update(i, tags=()),
            )
        elif row.damage:
            yield Finding("damaged run", row.run_id, row.damage)
    with database.reading() as db:
        ids = [run_id for (run_id,) in db.execute("SELECT id FROM runs ORDER BY id")]
        sweeps = [sweep_id for (sweep_id,) in db.execute("SELECT id FROM sweeps ORDER BY id")]
    for run_id in ids:
        if unread := store.unread(run_id):
            seq, first = unread[0]
            more = f", and {len(unread) - 1} more" if unread[1:] else ""
            problem = f"event {seq} ({first.was}): {first.problem}{more}"
            yield Finding("damaged events", run_id, problem)
    for sweep_id in sweeps:
        try:
            store.sweeps.row(sweep_id)
        except StoreError as error:
            yield Finding("damaged sweep", sweep_id, str(error))


def _evidence(store: Store, database: Database) -> Iterator[Finding]:
    with database.reading() as db:
        keys = [key for (key,) in db.execute("SELECT key FROM evidence ORDER BY key")]
    for key in keys:
        if problem := store.evidence_problem(key):
            cure = "they are removed, and measured again when they are needed"
            yield Finding(
                "damaged answers", key, problem, cure, lambda k=key: store.drop_evidence(k)
            )


def _artefacts(store: Store, database: Database) -> Iterator[Finding]:
    with database.reading() as db:
        ids = [run for (run,) in db.execute("SELECT DISTINCT run FROM artefacts ORDER BY run")]
    for run_id in ids:
        try:
            found = store.artefacts(run_id)
        except StoreError:  # A stray row, which was told.
            continue
        for name, one in found.items():
            try:
                one.check()
            except Spoiled as error:
                yield Finding("spoiled file", f"runs/{run_id}/{name}", str(error))
            else:
                if not one.digest:
                    yield Finding(
                        "unchecked file",
                        f"runs/{run_id}/{name}",
                        "no digest was noted of it when it was saved",
                        "its digest is noted as it is now",
                        lambda r=run_id, n=name, a=one: store.note_artefact(
                            r, n, Artefact.noted(a.path)
                        ),
                    )


def _orphans(store: Store, database: Database) -> Iterator[Finding]:
    """Find folders below `runs` whose run the database does not know."""
    with database.reading() as db:
        known = {run_id for (run_id,) in db.execute("SELECT id FROM runs")}
    for folder in _inside(store.home / "runs"):
        if folder.name in known or folder.name.startswith(".") or folder.name.endswith(PART):
            continue

        def aside(folder: Path = folder) -> None:
            place = store.home / ASIDE / folder.name
            place.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(folder, place)

        where = f"runs/{folder.name}"
        yield Finding("orphan", where, "no run has this id", f"it is moved into {ASIDE}/", aside)


def _leftovers(home: Path) -> Iterator[Finding]:
    """Find what killed programs left half written."""
    found = [one for one in _inside(home / "runs") if one.name.startswith(".")]
    found += _parts(home)
    for path in found:
        where = path.relative_to(home).as_posix()
        if time.time() - _changed(path) < STALE_S:
            yield Finding("half-written file", where, "it may still be written: look again later")
        else:
            told = "a program that was killed left it"
            yield Finding(
                "half-written file", where, told, "it is removed", lambda p=path: remove(p)
            )
    known = datasets()
    for path in _inside(datasets_folder()):
        if not path.name.startswith(".") and path.name not in known:
            yield Finding("damaged dataset", f"datasets/{path.name}", "its manifest cannot be read")
        if path.name.startswith(HIDDEN):
            told, cure = "a program that was killed left it", "what it replaced is put back"
            where = f"datasets/{path.name}"
            yield Finding(
                "half-added dataset", where, told, cure, lambda: clean_up(stale_s=STALE_S)
            )


def _parts(home: Path) -> Iterator[Path]:
    """Yield what is named as half written, without what is inside of it."""
    for place, folders, files in os.walk(home):
        yield from (Path(place, name) for name in (*folders, *files) if name.endswith(PART))
        folders[:] = [name for name in folders if not name.endswith(PART) and name[0] != "."]


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _changed(path: Path) -> float:
    """Return when a file, or the newest file of a folder, was changed last, in Unix seconds."""
    times = [path.lstat().st_mtime]
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # It is being written, and has just been renamed.
                times.append(os.lstat(os.path.join(folder, name)).st_mtime)
    return max(times)
