"""Runs as the page shows them: stored, replayed or opened from a file, with cached statistics."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

from unlearnlab.metrics.intervals import ScoreIntervals, score_intervals
from unlearnlab.metrics.measures import Retrained, Taken, retrained_models, taken
from unlearnlab.metrics.membership import Attack, attack
from unlearnlab.metrics.scores import Evidence, attackable, scored_evidence
from unlearnlab.metrics.verdicts import Remains, remains
from unlearnlab.runs.events import StoredEvent
from unlearnlab.runs.progress import RunProgress, RunView, advance, run_view
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.replay import Recording, Replay, Replays, recording
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import WorkerState
from unlearnlab.views.documents import Documents, documents

LISTED_S = 2.0
"""Maximum age of the count of all runs, in seconds; it reveals runs of other processes."""

WATCHED = 32
"""Most runs whose progress is kept in memory."""

KEPT = 64
"""Pairs of models whose intervals stay in memory."""

RunCounts = tuple[int, int, tuple[tuple[str, int, bool, float], ...]]
"""Number of runs, number of ended runs, and the state of each replay."""

Picked = tuple[str, ...] | None
"""Ids of the forget rows that a run is judged by; none for all."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run at the moment that the page shows."""

    row: RunRecord
    progress: RunProgress
    moment: float
    """Unix time: now, or the recorded time of the replay's position."""
    replay: Replay | None = None
    guest: bool = False
    """Whether it is a guest recording, which cannot answer prompts."""

    def view(self, state: WorkerState) -> RunView:
        """Return the status line; this program controls its own runs and replays."""
        return run_view(
            self.progress,
            alive=self.row.alive,
            mine=self.replay is not None or self.row.run_id in state.owned,
            now=self.moment,
        )


class RunSource:
    """Reads runs. Thread-safe.

    Replays and guest recordings are seen by the tab Unlearn alone: other tabs take `progress` and
    the store, which no replay changes.
    """

    def __init__(self, store: Store, replays: Replays) -> None:
        self._store = store
        self._replays = replays
        self._guests = replays.guests
        self._known: OrderedDict[tuple[str, str], RunProgress] = OrderedDict()
        """Progress of recently watched runs by id and incarnation."""
        # Pages poll from many threads; two of them must not fold the same events twice.
        self._lock = threading.Lock()
        self._counted = (0, 0)
        self._counted_at = -math.inf

    def progress(self, run_id: str) -> RunProgress:
        """Return the progress of a stored run or job, continued as its events arrive.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        with self._lock:
            key = run_id, self._store.incarnation(run_id)
            known = self._known.pop(key, RunProgress())
            progress = advance(known, self._store.events(run_id, known.seq))
            self._known[key] = progress
            while len(self._known) > WATCHED:
                self._known.popitem(last=False)
            return progress

    def stored_counts(self) -> tuple[int, int]:
        """Return the number of runs and of ended runs, of all processes.

        All pages share a count that is up to `LISTED_S` seconds old.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._counted_at > LISTED_S:
                self._counted = self._store.count()
                self._counted_at = time.monotonic()
            return self._counted

    def run_counts(self) -> RunCounts:
        """Return a value that changes whenever the list of runs must be drawn again."""
        return *self.stored_counts(), tuple(one.state for one in self._replays.active())

    def shown(self, run_id: str) -> ShownRun:
        """Return a run as the page shows it now.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        guest = self._guests.get(run_id)
        if replay := self._replays.of(run_id):
            return ShownRun(replay.row, replay.progress, replay.moment, replay, guest is not None)
        if guest:
            return ShownRun(guest.row, guest.progress, time.time(), guest=True)
        return ShownRun(self._store.row(run_id), self.progress(run_id), time.time())

    def events(self, run: ShownRun, after: int) -> Sequence[StoredEvent]:
        """Return the events of a run above a number, up to the moment on display."""
        run_id = run.row.run_id
        if run.progress.seq <= after:
            return ()
        if run.replay:
            return run.replay.events(after)
        if guest := self._guests.get(run_id):
            return [item for item in guest.events if item.seq > after]
        return self._store.events(run_id, after)

    def rows(self) -> list[RunRecord]:
        """Return all runs: guest recordings, the user's own, newest first, then the program's."""
        playing = {replay.run_id: replay.row for replay in self._replays.active()}
        demo = self._replays.demo
        guests = [one.row for one in self._guests.values() if one is not demo]
        mine = [row for row in self._store.runs() if row.run_id not in self._guests]
        last = [demo.row] if demo else []
        return [playing.get(row.run_id, row) for row in (*guests, *mine, *last)]

    def recording(self, run_id: str) -> Recording:
        """Return the recording of a run.

        Raises:
            ReplayError: It cannot be replayed.
            StoreError: There is no such run, or the store cannot be read.
        """
        if guest := self._guests.get(run_id):
            return guest
        return recording(self._store.row(run_id), self._store.events(run_id))

    def evidence(self, key: str) -> Evidence | None:
        """Return the evidence stored under a key, or brought by a guest recording."""
        brought = (guest.evidence.get(key) for guest in self._guests.values())
        return self._store.evidence(key) or next((one for one in brought if one), None)

    def guest(self, run_id: str) -> bool:
        """Return whether a run is a guest recording."""
        return run_id in self._guests


class _Absent(Exception):
    """Carries an empty result past `lru_cache`, which keeps no exceptions."""


def remembered(size: int, read: Callable[_P, _T]) -> Callable[_P, _T]:
    """Cache the latest results of a function, except empty ones: an import may bring them yet.

    Args:
        size: How many results stay in memory.
        read: The function. What its arguments name must never change once it exists.
    """

    @lru_cache(size)
    def kept(*args: Any) -> Any:
        if found := cast("Callable[..., Any]", read)(*args):
            return found
        raise _Absent(found)

    def asked(*args: Any) -> Any:
        try:
            return kept(*args)
        except _Absent as absent:
            return absent.args[0]

    return cast("Callable[_P, _T]", asked)


class Statistics:
    """Intervals, attacks and measures by the keys of evidence, cached: bootstraps take a moment."""

    def __init__(self, evidence: Callable[[str], Evidence | None]) -> None:
        self._evidence = evidence
        self.intervals = remembered(KEPT, self._intervals)
        self.attack = remembered(KEPT, self._attack)
        self.remains = remembered(KEPT, self._remains)
        self.taken = remembered(KEPT, self._taken)
        self.documents = remembered(KEPT, self._documents)

    def _pair(
        self, before: str, after: str, picked: Picked
    ) -> tuple[Evidence, Evidence | None] | None:
        then, now = self._evidence(before), self._evidence(after) if after else None
        if then is None or (after and now is None):
            return None
        return scored_evidence(then, picked), scored_evidence(now, picked) if now else None

    def _intervals(self, before: str, after: str, picked: Picked) -> ScoreIntervals | None:
        """Bootstrap the scores of a run; none if their evidence is not kept."""
        pair = self._pair(before, after, picked)
        return score_intervals(*pair) if pair else None

    def _remains(self, before: str, after: str, picked: Picked) -> Remains | None:
        """Look for forgotten rows that are still known; none until both models were scored."""
        pair = self._pair(before, after, picked)
        return remains(pair[0], pair[1]) if pair and pair[1] else None

    def _attack(self, key: str) -> Attack | None:
        """Measure the membership attack on a model; none without documents and numbers."""
        found = self._evidence(key)
        read = found.membership if found else None
        return attack(read) if read and attackable(read) else None

    def _taken(self, before: str, after: str, picked: Picked, fold: str) -> Sequence[Taken]:
        """Take all measures; `fold` names the retrained model, empty for none."""
        pair = self._pair(before, after, picked)
        retrained: Retrained | None = retrained_models().get(fold) if fold else None
        return taken(*pair, retrained) if pair else ()

    def _documents(
        self, before: str, after: str, picked: Picked, tasks: tuple[str, ...]
    ) -> Documents | None:
        """Compare the forget documents of a run; none if their evidence is not kept."""
        then, now = self._evidence(before), self._evidence(after) if after else None
        return None if after and now is None else documents(then, now, picked, tasks)
