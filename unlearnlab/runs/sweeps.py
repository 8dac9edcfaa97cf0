"""Status of a sweep's points, and the operations on a sweep: start, resume, extend, cancel.

A sweep has no process of its own. Its runs wait in the worker's queue like all others, marked with
the sweep's id. A point is filled by a run of the sweep, or by any other run that finished here with
the same settings, so that no result is computed twice; imported runs fill none.
"""

import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.runs.estimates import PastRun, earlier, estimate
from unlearnlab.runs.events import Ending, Event, Failed, Finished
from unlearnlab.runs.progress import Status
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import ModelSpec, RunSpec, settled
from unlearnlab.spec.sweep import Point, SweepSpec, expand_grid, with_more, with_more_runs

PointState = Status | Literal["to do"]
"""Status of a point's run; "to do" where no run was created yet."""

GOING: tuple[PointState, ...] = ("queued", "running", "paused")


@dataclass(frozen=True, slots=True)
class PointStatus:
    """A point of a sweep, and the run that fills it."""

    point: Point
    row: RunRecord | None
    status: PointState

    @property
    def ending(self) -> Ending | None:
        """Return the ending of its run."""
        return self.row.ending if self.row else None


@dataclass(frozen=True, slots=True)
class SweepStatus:
    """The status of all points of a sweep."""

    points: tuple[PointStatus, ...]

    def of(self, *states: PointState) -> tuple[PointStatus, ...]:
        """Return the points in one of these states."""
        return tuple(one for one in self.points if one.status in states)

    @property
    def counts(self) -> Mapping[PointState, int]:
        """Count the points by state."""
        return Counter(one.status for one in self.points)

    @property
    def going(self) -> bool:
        """Whether any of its runs is queued or active."""
        return bool(self.of(*GOING))

    @property
    def open(self) -> tuple[PointStatus, ...]:
        """Return the points that resuming would run: not finished, failed, queued or active."""
        return self.of("to do", "stopped", "interrupted")

    @property
    def seconds_left(self) -> float | None:
        """Estimate the seconds for queued and active runs from the median of the finished ones."""
        took = [one.ending.seconds for one in self.points if isinstance(one.ending, Finished)]
        return statistics.median(took) * len(self.of(*GOING)) if took else None


_PRIORITY: Mapping[PointState, int] = {
    "finished": 0,
    "running": 1,
    "paused": 1,
    "queued": 2,
    "failed": 3,
    "stopped": 4,
    "interrupted": 4,
    "to do": 5,
}
"""Which of several runs fills a point: the lowest number, then the newest run."""


def sweep_status(spec: SweepSpec, sweep: str, rows: Iterable[RunRecord]) -> SweepStatus:
    """Fill the points of a sweep with runs.

    Args:
        spec: The sweep.
        sweep: Its id.
        rows: All runs.

    Raises:
        SpecError: The grid cannot be expanded: its dataset or model is missing now.
    """
    grid = expand_grid(spec)
    by_spec: dict[RunSpec, list[RunRecord]] = defaultdict(list)
    for row in rows:
        ending = row.ending
        whole = isinstance(ending, Finished) and ending.stopped_at is None
        if row.sweep == sweep or (whole and not row.origin):
            by_spec[_asked(row.spec)].append(row)

    def fill(point: Point) -> PointStatus:
        runs = by_spec[_asked(point.spec)]
        if not runs:
            return PointStatus(point, None, "to do")
        best = min(runs, key=lambda row: (_PRIORITY[row.status], -row.created))
        return PointStatus(point, best, best.status)

    return SweepStatus(tuple(map(fill, grid.points)))


def failure_of(one: PointStatus) -> str:
    """Return why a run failed; empty if it did not."""
    return one.ending.problem if isinstance(one.ending, Failed) else ""


class Sweeping:
    """Runs the sweeps of a store on a worker. Thread-safe.

    An unknown id raises `UnknownSweep`, a closed worker `WorkerClosed`, and a grid that cannot be
    expanded any more `SpecError`.
    """

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        # Two simultaneous clicks must not queue the same run twice.
        self._lock = threading.Lock()

    def start(self, spec: SweepSpec, *, name: str) -> str:
        """Queue the missing runs of a sweep, and return its id immediately.

        A sweep with the same spec is resumed; its finished runs are not repeated. A model that is
        not available raises `SpecError`.
        """
        check(spec)
        known = (row.sweep_id for row in self._store.sweeps.rows() if row.spec == spec)
        sweep_id = next(known, None) or self._store.sweeps.create(spec, name=name)
        self.go_on(sweep_id)
        return sweep_id

    def go_on(self, sweep_id: str, *, failed: bool = False) -> int:
        """Queue the runs of a sweep that never started, were stopped or interrupted; count them.

        Args:
            sweep_id: The sweep.
            failed: Whether to repeat failed runs, too.
        """
        with self._lock:
            row = self._store.sweeps.row(sweep_id)
            found = sweep_status(row.spec, row.sweep_id, self._store.runs())
            again = {one.point.place for one in (*found.open, *(found.of("failed") * failed))}
            grid, queued = expand_grid(row.spec), 0
            for one in found.points:
                if self._adopt(one, sweep_id):
                    queued += 1
                elif one.point.place in again:
                    name = f"{row.name}: {grid.label(row.spec, one.point)}"
                    self._worker.submit(one.point.spec, name=name, sweep=sweep_id)
                    queued += 1
        return queued

    def cancel(self, sweep_id: str) -> int:
        """Remove the queued runs of a sweep from the queue, and return their number."""
        queue = self._worker.state().queue
        found = self.status(sweep_id).of("queued")
        removed = [one.row.run_id for one in found if one.row and one.row.run_id in queue]
        for run_id in removed:
            self._worker.stop(run_id)
        return len(removed)

    def add(self, sweep_id: str, axis: int | None, text: str) -> int:
        """Extend an axis of a sweep, queue the new runs, and return their number.

        Args:
            sweep_id: The sweep.
            axis: Number of the axis; none for more runs of a random sweep.
            text: The new values as typed, or how many more runs to draw.

        Raises:
            SpecError: The text is invalid, or its values are.
        """
        spec = self._store.sweeps.row(sweep_id).spec
        longer = with_more_runs(spec, text) if axis is None else with_more(spec, axis, text)
        expand_grid(longer)
        self._store.sweeps.replace(sweep_id, longer)
        return self.go_on(sweep_id)

    def status(self, sweep_id: str) -> SweepStatus:
        """Return the status of a sweep."""
        row = self._store.sweeps.row(sweep_id)
        return sweep_status(row.spec, row.sweep_id, self._store.runs())

    def _adopt(self, one: PointStatus, sweep_id: str) -> bool:
        """Queue a run of the sweep whose program or worker was closed before it started."""
        row = one.row
        waits = row is not None and row.ending is None and not row.began and row.sweep == sweep_id
        return bool(row and waits and self._worker.adopt([row.run_id]))


def check(spec: SweepSpec) -> None:
    """Check that a sweep can be expanded and that its models are available.

    Raises:
        SpecError: It cannot, or a model is not available.
    """
    models = {point.spec.model.name: point.spec.model for point in expand_grid(spec).points}
    for name, model in models.items():
        if model.known.unavailable_reason:
            missing = f"{name} cannot run here: {model.known.unavailable_reason}"
            raise SpecError([("model.name", missing)])


def sweep_seconds(
    found: SweepStatus,
    rows: Sequence[RunRecord],
    outline: Callable[[str], Iterable[Event]],
    *,
    cuda: bool,
) -> float | None:
    """Estimate the total seconds of a sweep's unfinished runs, one after another.

    None if the time of any of them cannot be estimated. Arguments as for `estimates.earlier`.
    """
    total, past = 0.0, dict[ModelSpec, list[PastRun]]()
    for one in found.points:
        if one.status == "finished":
            continue
        wanted = one.point.spec
        if wanted.model not in past:
            past[wanted.model] = earlier(wanted, rows, outline)
        try:
            took = estimate(wanted, past[wanted.model], cuda=cuda).seconds
        except ValueError:  # The model's sizes or its data are unknown until the run loads them.
            took = None
        if took is None:
            return None
        total += took
    return total


def _asked(spec: RunSpec) -> RunSpec:
    """Return a settled spec without the rows that its run turned out to know."""
    if spec.data.unknown_rows != "leave_out":
        return settled(spec)
    data = spec.data.model_copy(update={"forget": None})
    return settled(spec.model_copy(update={"data": data}))
