"""Runs as the page shows them: from the store, from a replay or from a guest recording."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import StoredEvent
from unlearnlab.runs.progress import RunProgress, RunView, advance, run_view
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.replay import Recording, Replay, Replays, recording
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import WorkerState

LISTED_S = 2.0
"""Maximum age of the count of all runs, in seconds; it reveals runs of other processes."""

WATCHED = 32
"""Most folds kept in memory."""

RunCounts = tuple[int, int, tuple[tuple[str, int, bool, float], ...]]
"""Number of runs, number of ended runs, and the state of each replay."""


class Courses:
    """Folds of recently watched runs, continued as their events arrive. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], RunProgress] = OrderedDict()
        """By id and incarnation."""
        # Pages poll from many threads; two of them must not fold the same events twice.
        self._lock = threading.Lock()
        self._counted = (0, 0)
        self._counted_at = -math.inf

    def of(self, run_id: str) -> RunProgress:
        """Return the fold of a run's events, brought up to date.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        with self._lock:
            key = run_id, self._store.incarnation(run_id)
            known = self._known.pop(key, RunProgress())
            course = advance(known, self._store.events(run_id, known.seq))
            self._known[key] = course
            while len(self._known) > WATCHED:
                self._known.popitem(last=False)
            return course

    def run_counts(self) -> tuple[int, int]:
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


@dataclass(frozen=True, slots=True)
class Scene:
    """A run at the moment that the page shows."""

    row: RunRecord
    course: RunProgress
    moment: float
    """Unix time: now, or the recorded time of the replay's position."""
    replay: Replay | None = None
    guest: bool = False
    """Whether it is a guest recording, which cannot answer prompts."""

    def view(self, state: WorkerState) -> RunView:
        """Return the status line; this program controls its own runs and replays."""
        return run_view(
            self.course,
            alive=self.row.alive,
            mine=self.replay is not None or self.row.run_id in state.owned,
            now=self.moment,
        )


class Shown:
    """Reads runs for the tab Unlearn; other tabs read the store, which replays never change."""

    def __init__(self, store: Store, courses: Courses, replays: Replays) -> None:
        self._store = store
        self._courses = courses
        self._replays = replays
        self._guests = replays.guests

    def of(self, run_id: str) -> Scene:
        """Return a run as the page shows it now.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        guest = self._guests.get(run_id)
        if replay := self._replays.of(run_id):
            return Scene(replay.row, replay.progress, replay.moment, replay, guest is not None)
        if guest:
            return Scene(guest.row, guest.progress, time.time(), guest=True)
        return Scene(self._store.row(run_id), self._courses.of(run_id), time.time())

    def events(self, scene: Scene, after: int) -> Sequence[StoredEvent]:
        """Return the events of a run above a number, up to the moment on display."""
        run_id = scene.row.run_id
        if scene.course.seq <= after:
            return ()
        if scene.replay:
            return scene.replay.events(after)
        if guest := self._guests.get(run_id):
            return [item for item in guest.events if item.seq > after]
        return self._store.events(run_id, after)

    def rows(self) -> list[RunRecord]:
        """Return all runs: guest recordings, then the user's own, newest first."""
        playing = {replay.run_id: replay.row for replay in self._replays.active()}
        guests = [guest.row for guest in self._guests.values()]
        mine = [row for row in self._store.runs() if row.run_id not in self._guests]
        return [playing.get(row.run_id, row) for row in (*guests, *mine)]

    def run_counts(self) -> RunCounts:
        """Return a value that changes whenever the list of runs must be rendered again."""
        return *self._courses.run_counts(), tuple(one.state for one in self._replays.active())

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
