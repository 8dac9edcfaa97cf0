"""What the page shows of runs: as they are stored, or as far as their replay has come."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.progress import RunProgress, RunView, advance, run_view
from unlearnlab.runs.events import StoredEvent
from unlearnlab.runs.replay import Recording, recording
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.replay import Replay, Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import WorkerState

LISTED_S = 2.0
"""How long a count of all runs is good: it tells pages of runs started by others."""

WATCHED = 32
"""Runs whose folds are kept in memory."""

Listed = tuple[int, int, tuple[tuple[str, int, bool, float], ...]]
"""Runs, those that have ended, and the state of each replay."""


class Courses:
    """What is known of recently watched runs, carried on as their events come."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], RunProgress] = OrderedDict()
        """By id and incarnation."""
        # Pages poll from many threads; two of them must not take in the same events.
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

    def listed(self) -> tuple[int, int]:
        """Count all runs and those that have ended, whoever carries them out.

        The count may be `LISTED_S` old: all pages share it.

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
    """A run at one moment of its course."""

    row: RunRecord
    course: RunProgress
    moment: float
    """In Unix seconds: now, or when the run was where its replay is."""
    replay: Replay | None = None
    guest: bool = False
    """Whether it is a recording from elsewhere, which nothing can be asked of."""

    def view(self, state: WorkerState) -> RunView:
        """Return the status line; this program holds and stops its own runs, and replays."""
        return run_view(
            self.course,
            alive=self.row.alive,
            mine=self.replay is not None or self.row.run_id in state.owned,
            now=self.moment,
        )


class Shown:
    """Reads runs for the tab Unlearn. All else reads the store, which no replay changes."""

    def __init__(self, store: Store, courses: Courses, replays: Replays) -> None:
        self._store = store
        self._courses = courses
        self._replays = replays
        self._guests = replays.guests

    def of(self, run_id: str) -> Scene:
        """Return a run as it is shown now.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        guest = self._guests.get(run_id)
        if replay := self._replays.of(run_id):
            return Scene(replay.row, replay.course, replay.moment, replay, guest is not None)
        if guest:
            return Scene(guest.row, guest.course, time.time(), guest=True)
        return Scene(self._store.row(run_id), self._courses.of(run_id), time.time())

    def events(self, scene: Scene, after: int) -> Sequence[StoredEvent]:
        """Return the events of a run above a number, as far as it has come."""
        run_id = scene.row.run_id
        if scene.course.seq <= after:
            return ()
        if scene.replay:
            return scene.replay.events(after)
        if guest := self._guests.get(run_id):
            return [item for item in guest.events if item.seq > after]
        return self._store.events(run_id, after)

    def rows(self) -> list[RunRecord]:
        """Return all runs: recordings from elsewhere, then the user's own, newest first."""
        playing = {replay.run_id: replay.row for replay in self._replays.active()}
        guests = [guest.row for guest in self._guests.values()]
        mine = [row for row in self._store.runs() if row.run_id not in self._guests]
        return [playing.get(row.run_id, row) for row in (*guests, *mine)]

    def listed(self) -> Listed:
        """Return what changes when the list of runs must be drawn anew."""
        return *self._courses.listed(), tuple(one.state for one in self._replays.active())

    def recording(self, run_id: str) -> Recording:
        """Read a run to replay it.

        Raises:
            ReplayError: It cannot be replayed.
            StoreError: There is no such run, or the store cannot be read.
        """
        if guest := self._guests.get(run_id):
            return guest
        return recording(self._store.row(run_id), self._store.events(run_id))

    def evidence(self, key: str) -> Evidence | None:
        """Return the evidence kept under a key, in the store or with a recording."""
        brought = (guest.evidence.get(key) for guest in self._guests.values())
        return self._store.evidence(key) or next((one for one in brought if one), None)

    def guest(self, run_id: str) -> bool:
        """Tell whether a run is a recording from elsewhere."""
        return run_id in self._guests
