"""All runs as the tab Compare sees them, kept at hand: thousands are listed again and again."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unlearnlab.metrics.intervals import score_intervals
from unlearnlab.metrics.scores import Evidence, judged
from unlearnlab.runs.records import RunRow
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods import METHODS
from unlearnlab.ui.kit.cache import remembered
from unlearnlab.views.compare.entries import Entry, entry
from unlearnlab.views.compare.overlays import Track, track
from unlearnlab.views.compare.rankings import Setting, setting
from unlearnlab.views.compare.scoreboards import Intervals
from unlearnlab.views.runs import run_line
from unlearnlab.views.scoreboard import at_ends

FRESH_S = 0.5
"""How old the list of all runs may be that a page shows: several may ask at once."""

KEPT_S = 5.0
"""How old it may be where some of its runs are asked for: the page has just seen it."""

TRACKS = 256
"""Runs whose curves are kept in memory."""

EVIDENCE = 32
"""Models whose answers are kept in memory."""

Facet = Literal["model", "method", "data", "outcome", "tag"]

FACETS: tuple[Facet, ...] = get_args(Facet)
"""What runs can be filtered by."""


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A run with what its line and its filters need. Equal only to itself, which is quick."""

    run: Entry
    settings: str
    """Blocks, learning rate and epochs or steps, in words."""
    said: str
    """All that a search looks into, in lower case."""
    setting: Setting | None
    """What its scores were measured under; none before it was scored."""
    facets: Mapping[Facet, Mapping[str, str]]
    """What it can be found under: by facet, values and what the page calls them."""
    personal: bool
    """Whether its text is masked until the reader asks for it."""
    keys: tuple[str, str]
    """Of the evidence behind its scores before and after; empty where there are none."""
    incarnation: str
    """As the row of the run has it."""

    @property
    def outcome(self) -> str:
        """Return in a word what became of the run: the verdict, or how far it came."""
        return next(iter(self.facets["outcome"]))


class Compared:
    """The runs of a store. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[RunRow, Listed]] = {}
        self._all: tuple[Listed, ...] = ()
        self._read_at = float("-inf")
        self._intervals: dict[tuple[str, tuple[str, ...] | None, str], Intervals] = {}
        """By key of the evidence, rows that were picked, and incarnation of the run."""
        self._tracks: dict[tuple[str, str], Track] = {}
        """By id and incarnation."""
        self._evidence = remembered(EVIDENCE, store.evidence)

    def all(self, oldest_s: float = FRESH_S) -> tuple[Listed, ...]:
        """Return all runs, newest first: the same value as long as nothing has changed.

        Args:
            oldest_s: How old what was read before may be.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._read_at > oldest_s:
                self._read()
            return self._all

    def of(self, run_ids: Sequence[str]) -> tuple[list[Listed], list[str]]:
        """Return some runs in the order asked for, and the ids that no run has.

        Raises:
            StoreError: The store cannot be read.
        """
        known = {listed.run.run_id: listed for listed in self.all(KEPT_S)}
        ids = list(dict.fromkeys(run_ids))
        return [known[i] for i in ids if i in known], [i for i in ids if i not in known]

    def forget(self) -> None:
        """Read the store anew next time: something in it was changed."""
        with self._lock:
            self._read_at = float("-inf")

    def intervals(self, runs: Sequence[Listed], *, wait: bool) -> dict[str, Intervals] | None:
        """Return confidence intervals of scores by id of the run, where evidence was kept.

        Args:
            runs: The runs.
            wait: Whether to work out what is not known yet, which takes a moment for each run.

        Returns:
            None if not all are known yet.

        Raises:
            StoreError: The store cannot be read.
        """
        # Runs that only score may share evidence, and differ in the rows that they picked.
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
        """Return evidence by its key, if there is any.

        Raises:
            StoreError: The store cannot be read.
        """
        return self._evidence(key)

    def tracks(self, runs: Sequence[Listed]) -> dict[str, Track]:
        """Return the curves of runs by id. Those of a run that has ended are worked out once.

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
        """Take in the store's list. What has not changed is not worked out again."""
        known, self._known = self._known, {}
        for row in self._store.runs():
            before = known.get(row.run_id)
            same = before is not None and (before[0] is row or before[0] == row)
            self._known[row.run_id] = before if before and same else (row, _listed(row))
        listed = tuple(of for _, of in self._known.values())
        if listed != self._all:
            self._all = listed
        self._read_at = time.monotonic()


def _listed(row: RunRow) -> Listed:
    run, line = entry(row), run_line(row)
    facets = _facets(run)
    titles = (title for values in facets.values() for title in values.values())
    words = (run.title, line.settings, run.status, run.run_id, run.notes, run.origin, *titles)
    said = " ".join(words).lower()
    keys = at_ends(row.spec, *row.keys, "")
    return Listed(
        run, line.settings, said, setting(run), facets, row.personal, keys, row.incarnation
    )


def _facets(run: Entry) -> Mapping[Facet, Mapping[str, str]]:
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
