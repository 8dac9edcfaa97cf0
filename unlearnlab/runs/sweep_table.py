"""The sweeps of a store, in a table of its database."""

import difflib
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from unlearnlab.runs.database import Database, StoreError
from unlearnlab.runs.records import Interned
from unlearnlab.spec.run import RECORDED
from unlearnlab.spec.sweep.spec import SweepSpec


class UnknownSweep(StoreError):
    """No sweep has this id."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep as a list of sweeps shows it."""

    sweep_id: str
    name: str
    created: float
    """Unix time."""
    spec: SweepSpec


class SweepTable:
    """Reads and writes sweeps. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: list[SweepRow] = []

    def create(self, spec: SweepSpec, *, name: str) -> str:
        """Register a sweep and return its id: the moment in UTC to the millisecond."""
        while True:
            created = time.time()
            sweep_id = datetime.fromtimestamp(created, UTC).strftime("%y%m%d-%H%M%S-%f")[:-3]
            row = (sweep_id, name, created, spec.model_dump_json())
            with self._database.writing() as db:
                insert = "INSERT OR IGNORE INTO sweeps VALUES (?, ?, ?, ?)"
                if db.execute(insert, row).rowcount:
                    return sweep_id
            time.sleep(0.001)  # This millisecond has its sweep.

    def rows(self) -> list[SweepRow]:
        """Return all sweeps, newest first."""
        with self._database.reading() as db:
            query = "SELECT id, name, created, spec FROM sweeps ORDER BY created DESC, id DESC"
            found = db.execute(query).fetchall()
        # Held, so that their specs are not parsed again next time.
        self._last = [_row(*values) for values in found]
        return list(self._last)

    def row(self, sweep_id: str) -> SweepRow:
        """Return one sweep.

        Raises:
            UnknownSweep: There is no such sweep.
        """
        query = "SELECT id, name, created, spec FROM sweeps WHERE id = ?"
        with self._database.reading() as db:
            found = db.execute(query, (sweep_id,)).fetchone()
        if found is None:
            raise UnknownSweep(_unknown(sweep_id, [row.sweep_id for row in self.rows()]))
        return _row(*found)

    def replace(self, sweep_id: str, spec: SweepSpec) -> None:
        """Give a sweep other axes: it was added to.

        Raises:
            UnknownSweep: There is no such sweep.
        """
        self.row(sweep_id)
        with self._database.writing() as db:
            update = "UPDATE sweeps SET spec = ? WHERE id = ?"
            db.execute(update, (spec.model_dump_json(), sweep_id))


def _unknown(sweep_id: str, known: list[str]) -> str:
    near = difflib.get_close_matches(sweep_id, known, n=3, cutoff=0.5)
    hint = f": did you mean {', '.join(near)}?" if near else ""
    return f"unknown sweep {sweep_id!r}{hint}"


def _row(sweep_id: str, name: str, created: float, spec: str) -> SweepRow:
    return SweepRow(sweep_id, name, created, _spec(spec))


_spec = Interned(lambda body: SweepSpec.model_validate_json(body, context=RECORDED))
