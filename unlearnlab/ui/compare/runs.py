"""All runs for the tab Compare, cached: lists of thousands are read repeatedly."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unlearnlab.metrics.intervals import score_intervals
from unlearnlab.metrics.scores import Evidence, judged
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods import METHODS
from unlearnlab.ui.kit.run_source import remembered
from unlearnlab.views.compare.overlays import Track, track
from unlearnlab.views.compare.rankings import Setting, setting
from unlearnlab.views.compare.scoreboards import Intervals
from unlearnlab.views.runs import RunSummary, run_summary
from unlearnlab.views.scoreboard import at_ends

FRESH_S = 0.5
"""Maximum age of the list that a page shows, in seconds: several pages may poll at once."""

KEPT_S = 5.0
"""Maximum age when single runs are looked up, in seconds: the page has just read the list."""

TRACKS = 256
"""Most runs whose curves are cached."""

EVIDENCE = 32
"""Most models whose answers are cached."""

Facet = Literal["model", "method", "data", "outcome", "tag"]

FACETS: tuple[Facet, ...] = get_args(Facet)
"""Filters of the list."""


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A run with the values that its row and the filters need. Compared by identity, for speed."""

    run: RunSummary
    settings: str
    """Blocks, learning rate and epochs or steps, in a few words."""
    said: str
    """The searched text, in lower case."""
    setting: Setting | None
    """Evaluation setup of its scores; none before it was scored."""
    facets: Mapping[Facet, Mapping[str, str]]
    """Values of each filter, with their display names."""
    personal: bool
    """Whether its text is masked until the reader reveals it."""
    keys: tuple[str, str]
    """Keys of the evidence behind its scores before and after; empty where there is none."""
    incarnation: str
    """The `incarnation` of its record."""

    @property
    def outcome(self) -> str:
        """Return the verdict, or the status of an unfinished run."""
        return next(iter(self.facets["outcome"]))


class Compared:
    """The runs of a store, cached. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[RunRecord, Listed]] = {}
        self._all: tuple[Listed, ...] = ()
        self._read_at = float("-inf")
        self._intervals: dict[tuple[str, tuple[str, ...] | None, str], Intervals] = {}
        """By key of the evidence, selected rows, and incarnation of the run."""
        self._tracks: dict[tuple[str, str], Track] = {}
        """By id and incarnation."""
        self._evidence = remembered(EVIDENCE, store.evidence)

    def all(self, oldest_s: float = FRESH_S) -> tuple[Listed, ...]:
        """Return all runs, newest first; the same value until something changes.

        Args:
            oldest_s: Maximum age of a cached list, in seconds.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._read_at > oldest_s:
                self._read()
            return self._all

    def of(self, run_ids: Sequence[str]) -> tuple[list[Listed], list[str]]:
        """Return the runs with these ids, in their order, and the unknown ids.

        Raises:
            StoreError: The store cannot be read.
        """
        known = {listed.run.run_id: listed for listed in self.all(KEPT_S)}
        ids = list(dict.fromkeys(run_ids))
        return [known[i] for i in ids if i in known], [i for i in ids if i not in known]

    def forget(self) -> None:
        """Drop the cached list: the store was changed."""
        with self._lock:
            self._read_at = float("-inf")

    def intervals(self, runs: Sequence[Listed], *, wait: bool) -> dict[str, Intervals] | None:
        """Return confidence intervals of scores by id of the run, where evidence was kept.

        Args:
            runs: The runs.
            wait: Whether to compute margins that are not cached, which takes a moment per run.

        Returns:
            None if some are not cached and `wait` is false.

        Raises:
            StoreError: The store cannot be read.
        """
        # Evaluation-only runs may share evidence and differ in their selected rows.
        keys = {
            of.run.run_id: (of.keys[1], of.run.spec.data.forget, of.incarnation)
            for of in runs
            if of.keys[1]
        }
        missing = dict.fromkeys(key for key in keys.values() if key not in self._intervals)
        if missing and not wait:
            return None
        for key in missing:
            evidence = self._store.evidence(key[0])
            self._intervals[key] = (
                score_intervals(judged(evidence, key[1])).before if evidence else {}
            )
        return {run_id: self._intervals[key] for run_id, key in keys.items()}

    def evidence(self, key: str) -> Evidence | None:
        """Return evidence by its key, if any.

        Raises:
            StoreError: The store cannot be read.
        """
        return self._evidence(key)

    def tracks(self, runs: Sequence[Listed]) -> dict[str, Track]:
        """Return the curves of runs by id; those of ended runs are cached.

        Raises:
            StoreError: The store cannot be read.
        """
        found: dict[str, Track] = {}
        for of in runs:
            run_id, going = of.run.run_id, of.run.status in ("queued", "running", "paused")
            key = run_id, of.incarnation
            known = None if going else self._tracks.get(key)
            found[run_id] = known or track(self._store.events(run_id))
            if not going:
                self._tracks[key] = found[run_id]
                while len(self._tracks) > TRACKS:
                    self._tracks.pop(next(iter(self._tracks)), None)
        return found

    def _read(self) -> None:
        """Read the store's list, reusing the values of unchanged runs."""
        known, self._known = self._known, {}
        for row in self._store.runs():
            before = known.get(row.run_id)
            same = before is not None and (before[0] is row or before[0] == row)
            self._known[row.run_id] = before if before and same else (row, _listed(row))
        listed = tuple(of for _, of in self._known.values())
        if listed != self._all:
            self._all = listed
        self._read_at = time.monotonic()


def _listed(row: RunRecord) -> Listed:
    run = run_summary(row)
    facets = _facets(run)
    titles = (title for values in facets.values() for title in values.values())
    words = (run.title, run.settings, run.status, run.run_id, run.notes, run.origin, *titles)
    said = " ".join(words).lower()
    keys = at_ends(row.spec, *row.keys, "")
    return Listed(
        run, run.settings, said, setting(run), facets, row.personal, keys, row.incarnation
    )


def _facets(run: RunSummary) -> Mapping[Facet, Mapping[str, str]]:
    model, data = run.spec.model.known, run.spec.data.known
    kinds = dict.fromkeys(phase.method.kind for phase in run.spec.phases)
    verdict = run.verdict.title if run.verdict else "scored" if run.after else "not scored"
    outcome = verdict if run.status == "finished" else run.status
    return {
        "model": {run.spec.model.name: model.title},
        "method": {kind: METHODS[kind].card.title for kind in kinds},
        "data": {run.spec.data.source: data.title},
        "outcome": {outcome: outcome},
        "tag": {tag: tag for tag in run.tags},
    }
