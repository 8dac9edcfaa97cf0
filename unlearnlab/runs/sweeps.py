"""Between a sweep and the worker: start, go on, add, cancel.

A sweep has no process of its own. Its runs lie in the worker's queue as all others do, each marked
with the sweep's id; what is left to do is what no run of the store fills.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from unlearnlab.runs.estimates import PastRun, earlier, estimate
from unlearnlab.runs.events import Event
from unlearnlab.runs.records import RunRow
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweep_status import Filled, Stand, stand
from unlearnlab.runs.sweep_table import SweepRow
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import ModelSpec
from unlearnlab.spec.sweep.spec import SweepSpec, laid_out
from unlearnlab.spec.sweep.typed import with_more, with_more_runs


class Sweeping:
    """The sweeps of a store, and the worker that carries them out. Safe to share."""

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        # Two clicks at once must not queue the same run twice.
        self._lock = threading.Lock()

    def start(self, spec: SweepSpec, *, name: str) -> str:
        """Queue what is to do of a sweep, and return its id at once.

        A sweep that was started before goes on; what is finished is not repeated.

        Raises:
            SpecError: It cannot be laid out, or its model is not here.
        """
        check(spec)
        known = (row.sweep_id for row in self._store.sweeps.rows() if row.spec == spec)
        sweep_id = next(known, None) or self._store.sweeps.create(spec, name=name)
        self.go_on(sweep_id)
        return sweep_id

    def go_on(self, sweep_id: str, *, failed: bool = False) -> int:
        """Queue what is left of a sweep: never begun, stopped, or interrupted.

        Args:
            sweep_id: The sweep.
            failed: Whether runs that failed are carried out once more, too.

        Returns:
            How many runs were queued.

        Raises:
            UnknownSweep: There is no such sweep.
            NotRunning: The worker is closed.
            SpecError: The sweep cannot be laid out any more.
        """
        with self._lock:
            row = self._store.sweeps.row(sweep_id)
            found = self._stand(row)
            again = {one.point.place for one in (*found.open, *(found.of("failed") * failed))}
            grid, queued = laid_out(row.spec), 0
            for one in found.points:
                if self._adopted(one, sweep_id):
                    queued += 1
                elif one.point.place in again:
                    name = f"{row.name}: {grid.label(row.spec, one.point)}"
                    self._worker.submit(one.point.spec, name=name, sweep=sweep_id)
                    queued += 1
        return queued

    def cancel(self, sweep_id: str) -> int:
        """Take the waiting runs of a sweep from the queue, and return how many they were.

        Raises:
            UnknownSweep: There is no such sweep.
        """
        waiting = self._worker.state().queue
        found = self._stand(self._store.sweeps.row(sweep_id)).of("queued")
        taken = [one.row.run_id for one in found if one.row and one.row.run_id in waiting]
        for run_id in taken:
            self._worker.stop(run_id)
        return len(taken)

    def add(self, sweep_id: str, axis: int | None, text: str) -> int:
        """Give a sweep further values on an axis, and queue what that brings.

        Args:
            sweep_id: The sweep.
            axis: Number of the axis; none draws more runs of a random sweep.
            text: The values as typed, see `sweeps.typed`; a number of runs or of seeds.

        Returns:
            How many runs were queued.

        Raises:
            UnknownSweep: There is no such sweep.
            SpecError: The text makes no sense, or values of some of the runs are wrong.
        """
        spec = self._store.sweeps.row(sweep_id).spec
        longer = with_more_runs(spec, text) if axis is None else with_more(spec, axis, text)
        laid_out(longer)
        self._store.sweeps.replace(sweep_id, longer)
        return self.go_on(sweep_id)

    def stand(self, sweep_id: str) -> Stand:
        """Tell how a sweep stands.

        Raises:
            UnknownSweep: There is no such sweep.
            SpecError: It cannot be laid out any more.
        """
        return self._stand(self._store.sweeps.row(sweep_id))

    def _stand(self, row: SweepRow) -> Stand:
        return stand(row.spec, row.sweep_id, self._store.runs())

    def _adopted(self, one: Filled, sweep_id: str) -> bool:
        """Take over a run that waits in no queue any more: its program, or its worker, closed."""
        row = one.row
        waits = row is not None and row.ending is None and not row.began and row.sweep == sweep_id
        return bool(row and waits and self._worker.adopt([row.run_id]))


def check(spec: SweepSpec) -> None:
    """Make sure that a sweep can be laid out and that its models are here.

    Raises:
        SpecError: It cannot, or one is not.
    """
    models = {point.spec.model.name: point.spec.model for point in laid_out(spec).points}
    for name, model in models.items():
        if model.known.unavailable_reason:
            missing = f"{name} cannot run here: {model.known.unavailable_reason}"
            raise SpecError([("model.name", missing)])


def sweep_seconds(
    found: Stand,
    rows: Sequence[RunRow],
    outline: Callable[[str], Iterable[Event]],
    *,
    cuda: bool,
) -> float | None:
    """Estimate how long what is left of a sweep takes, run after run; none where nothing tells.

    Args:
        found: How the sweep stands.
        rows: All runs, newest first.
        outline: Reads the events of a run by its id.
        cuda: Whether they will run on a GPU.
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
        except ValueError:  # The model's sizes or the data are not known: the runs will tell.
            return None
        if took is None:
            return None
        total += took
    return total
