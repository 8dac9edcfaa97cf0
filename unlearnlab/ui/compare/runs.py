"""All runs of a store, cached with their curves and intervals: thousands are listed at a time."""

import threading
import time
from collections.abc import Sequence

from unlearnlab.exports.result import measures_of
from unlearnlab.metrics.intervals import score_intervals
from unlearnlab.metrics.scores import scored_evidence
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import Store
from unlearnlab.ui.kit.run_source import remembered
from unlearnlab.views.charts import Track, track
from unlearnlab.views.comparison import Intervals
from unlearnlab.views.run_table import Measured
from unlearnlab.views.runs import RunSummary, run_summary

FRESH_S = 0.5
"""Maximum age of the list that a page shows, in seconds: several pages may poll at once."""

KEPT_S = 5.0
"""Maximum age when single runs are looked up, in seconds: the page has just read the list."""

TRACKS = 256
"""Most runs whose curves are cached."""

BUDGET_S = 0.5
"""Time that one request spends on measures, in seconds: the page asks again for the rest."""


class CachedRuns:
    """The runs of a store, cached. Thread-safe. Methods raise `StoreError` if reading fails."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[RunRecord, RunSummary]] = {}
        self._all: tuple[RunSummary, ...] = ()
        self._read_at = float("-inf")
        self._computing = threading.Lock()
        self._intervals: dict[tuple[str, tuple[str, ...] | None, str], Intervals] = {}
        """By key of the evidence, selected rows, and incarnation of the run."""
        self._tracks = remembered(TRACKS, self._track)
        self._measures: dict[tuple[str, tuple[str, ...] | None, str], Measured] = {}
        """By key of the evidence, selected rows, and incarnation of the run."""

    def all(self, oldest_s: float = FRESH_S) -> tuple[RunSummary, ...]:
        """Return all runs, newest first; the same value until something changes.

        Args:
            oldest_s: Maximum age of a cached list, in seconds.
        """
        with self._lock:
            if time.monotonic() - self._read_at > oldest_s:
                self._read()
            return self._all

    def of(self, run_ids: Sequence[str]) -> tuple[list[RunSummary], list[str]]:
        """Return the runs with these ids, in their order and each once, and the unknown ids."""
        known = {run.run_id: run for run in self.all(KEPT_S)}
        ids = list(dict.fromkeys(run_ids))
        return [known[i] for i in ids if i in known], [i for i in ids if i not in known]

    def forget(self) -> None:
        """Drop the cached list: the store was changed."""
        with self._lock:
            self._read_at = float("-inf")

    def intervals(self, runs: Sequence[RunSummary], *, wait: bool) -> dict[str, Intervals] | None:
        """Return confidence intervals of scores by id of the run, where evidence was kept.

        Args:
            runs: The runs.
            wait: Whether to compute intervals that are not cached, which takes a moment per run.

        Returns:
            None if some are not cached and `wait` is false.
        """
        # Evaluation-only runs may share evidence and differ in their selected rows.
        keys = {
            run.run_id: (run.keys[1], run.spec.data.forget, run.incarnation)
            for run in runs
            if run.keys[1]
        }
        missing = dict.fromkeys(key for key in keys.values() if key not in self._intervals)
        if missing and not wait:
            return None
        for key in missing:
            with self._computing:
                if key in self._intervals:  # By a request that began meanwhile.
                    continue
                evidence = self._store.evidence(key[0])
                self._intervals[key] = (
                    score_intervals(scored_evidence(evidence, key[1])).before if evidence else {}
                )
        return {run_id: self._intervals[key] for run_id, key in keys.items()}

    def measures(
        self, runs: Sequence[RunSummary], budget_s: float = BUDGET_S
    ) -> tuple[dict[str, Measured], int]:
        """Return the measures of unlearned models by id of the run, where evidence was kept.

        Args:
            runs: The runs.
            budget_s: Time for those that are not cached; at least one is computed.

        Returns:
            The measures, and the number of runs whose measures are still to be computed.
        """
        end, began = time.monotonic() + budget_s, False
        found: dict[str, Measured] = {}
        missing = 0
        for run in (run for run in runs if run.keys[1]):
            key = run.keys[1], run.spec.data.forget, run.incarnation
            if key not in self._measures:
                if began and time.monotonic() > end:
                    missing += 1
                    continue
                began = True
                self._measures[key] = measures_of(self._store, run)
            found[run.run_id] = self._measures[key]
        return found, missing

    def sweeps(self) -> dict[str, str]:
        """Return the names of sweeps by id."""
        return {row.sweep_id: row.name for row in self._store.sweeps.rows()}

    def tracks(self, runs: Sequence[RunSummary]) -> dict[str, Track]:
        """Return the curves of runs by id; those of ended runs are cached."""
        return {
            run.run_id: self._track(run.run_id)
            if run.status in ("queued", "running", "paused")
            else self._tracks(run.run_id, run.incarnation)
            for run in runs
        }

    def _track(self, run_id: str, _incarnation: str = "") -> Track:
        return track(self._store.events(run_id))

    def _read(self) -> None:
        """Read the store's list, reusing the values of unchanged runs."""
        known, self._known = self._known, {}
        for row in self._store.runs():
            before = known.get(row.run_id)
            same = before is not None and (before[0] is row or before[0] == row)
            self._known[row.run_id] = before if before and same else (row, run_summary(row))
        runs = tuple(run for _, run in self._known.values())
        if runs != self._all:
            self._all = runs
        self._read_at = time.monotonic()
