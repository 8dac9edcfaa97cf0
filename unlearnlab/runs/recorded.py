"""A run with all that happened in it, as a value, and how a database takes it in at once."""

import json
import secrets
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Ending, Evaluated, Started
from unlearnlab.runs.records import Known, RunRow, StoredEvent, run_row
from unlearnlab.spec.run import RunSpec

NOBODY = 0
"""In place of the id of a process: none of this machine carries the run out."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a store keeps of a run, its files aside."""

    run_id: str
    name: str
    created: float
    """Unix time."""
    spec: RunSpec
    tags: tuple[str, ...]
    repeats: str
    """Id of the run whose record it repeats; empty if of none."""
    events: tuple[StoredEvent, ...]
    evidence: Mapping[str, Evidence]
    """What is kept of it, by the keys of its `Evaluated` events."""

    @property
    def row(self) -> RunRow:
        """Return it as a list shows it once a store has taken it in."""
        milestones = [
            item.event.model_dump_json()
            for item in self.events
            if isinstance(item.event, Started | Evaluated | Ending)
        ]
        return run_row(self.known(origin=""), milestones, False)

    def known(self, origin: str) -> Known:
        """Return its row of the table of runs."""
        return Known(
            run_id=self.run_id,
            name=self.name,
            created=self.created,
            spec=self.spec.model_dump_json(),
            pid=NOBODY,
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
        )


def insert(db: sqlite3.Connection, run: Recorded, files: Path, *, origin: str) -> None:
    """Write a run into a database that does not know its id.

    Args:
        db: Inside a transaction.
        run: The run.
        files: Folder of its files.
        origin: Where it comes from, in words.
    """
    known = run.known(origin)
    columns = ", ".join("id" if name == "run_id" else name for name in known._fields)
    marks = ", ".join("?" * len(known))
    db.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", known)
    events = [
        (run.run_id, item.seq, item.at, item.event.kind, item.event.model_dump_json())
        for item in run.events
    ]
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events)
    evidence = [(key, packed(one)) for key, one in run.evidence.items()]
    db.executemany("INSERT OR IGNORE INTO evidence VALUES (?, ?)", evidence)
    weights = [
        (run.run_id, path.relative_to(files).as_posix(), path.stat().st_size / 1e6)
        for path in sorted(files.rglob("*.safetensors"))
    ]
    db.executemany("INSERT INTO artefacts VALUES (?, ?, ?)", weights)


def packed(evidence: Evidence) -> bytes:
    """Write evidence as a store keeps it."""
    return zlib.compress(evidence.model_dump_json().encode())


def unpacked(body: bytes) -> Evidence:
    """Read evidence as a store keeps it."""
    return Evidence.model_validate_json(zlib.decompress(body))
