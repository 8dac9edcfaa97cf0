"""How a sweep stands: which run fills each of its points, and the scores it has by now.

A fold of the store's rows. A point is filled by a run of the sweep, or by any other run that
finished here with the same settings: what is known is not computed again. Runs that were taken in
from elsewhere fill none.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.runs.events import Ending, Failed, Finished
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.runs.records import RunRow
from unlearnlab.spec.plan import settled
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.sweep.spec import Point, SweepSpec, laid_out

Standing = Status | Literal["to do"]
"""As of a run; "to do" is what no run was made for yet."""

GOING: tuple[Standing, ...] = ("queued", "running", "paused")


@dataclass(frozen=True, slots=True)
class Filled:
    """A point of a sweep, and the run that fills it."""

    point: Point
    row: RunRow | None
    status: Standing

    @property
    def ending(self) -> Ending | None:
        """Return how its run ended."""
        return self.row.ending if self.row else None


@dataclass(frozen=True, slots=True)
class Stand:
    """How a whole sweep stands."""

    points: tuple[Filled, ...]

    def of(self, *statuses: Standing) -> tuple[Filled, ...]:
        """Return the points that stand so."""
        return tuple(one for one in self.points if one.status in statuses)

    @property
    def counts(self) -> Mapping[Standing, int]:
        """Count the points by how they stand."""
        return Counter(one.status for one in self.points)

    @property
    def going(self) -> bool:
        """Whether runs of it wait or go on."""
        return bool(self.of(*GOING))

    @property
    def open(self) -> tuple[Filled, ...]:
        """Return what would be carried out if the sweep went on: neither done, failed nor going."""
        return self.of("to do", "stopped", "interrupted")

    @property
    def seconds_left(self) -> float | None:
        """Tell how long the waiting and running ones will take by what the others took."""
        took = [one.ending.seconds for one in self.points if isinstance(one.ending, Finished)]
        return statistics.median(took) * len(self.of(*GOING)) if took else None


def stand(spec: SweepSpec, sweep: str, rows: Iterable[RunRow]) -> Stand:
    """Fill the points of a sweep with runs.

    Args:
        spec: The sweep.
        sweep: Its id.
        rows: All runs.

    Raises:
        SpecError: The sweep cannot be laid out any more: its dataset or model is gone.
    """
    grid = laid_out(spec)
    by_spec: dict[RunSpec, list[RunRow]] = defaultdict(list)
    for row in rows:
        if row.sweep == sweep or (isinstance(row.ending, Finished) and not row.origin):
            by_spec[settled(row.spec)].append(row)
    return Stand(tuple(_filled(point, by_spec[settled(point.spec)]) for point in grid.points))


_RANK: Mapping[Standing, int] = {
    "finished": 0,
    "running": 1,
    "paused": 1,
    "queued": 2,
    "failed": 3,
    "stopped": 4,
    "interrupted": 4,
    "to do": 5,
}
"""Which of several runs fills a point."""


def _filled(point: Point, rows: Sequence[RunRow]) -> Filled:
    if not rows:
        return Filled(point, None, "to do")
    found = [Filled(point, row, _status(row)) for row in rows]
    newest = sorted(found, key=lambda one: one.row.created if one.row else 0.0, reverse=True)
    return min(newest, key=lambda one: _RANK[one.status])


def _status(row: RunRow) -> Status:
    return status_of(began=row.began, alive=row.alive, ending=row.ending)


def problem_of_run(one: Filled) -> str:
    """Say why a run failed; empty if it did not."""
    return one.ending.problem if isinstance(one.ending, Failed) else ""
