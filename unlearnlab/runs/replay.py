"""Recorded runs shown as if live: their stored events, as far as a clock of each replay has come.

Nothing is computed and nothing is stored: a replay is a reading of the events that are there, up to
a moment, for the folds that a live run is shown with. It belongs to the program, not to a page.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from unlearnlab.runs.progress import Course, Timed, advance
from unlearnlab.runs.recordings import Recording
from unlearnlab.runs.records import RunRow

AT_ONCE = 16
"""Replays that go on at once: the oldest gives way."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How a replay goes through its recording. Positions are in seconds of `Recording.times`."""

    speed: float
    position: float = 0.0
    """Where it was at `since`."""
    since: float | None = None
    """In seconds of a monotonic clock; none before it begins."""
    held: bool = False

    def at(self, now: float) -> float:
        """Return the position at a moment of the monotonic clock."""
        if self.held or self.since is None:
            return self.position
        return self.position + max(0.0, now - self.since) * self.speed

    def begun(self, now: float) -> "Clock":
        """Let it go, if it does not yet."""
        return self if self.since is not None else replace(self, since=now)

    def changed(
        self, now: float, *, speed: float | None = None, held: bool | None = None
    ) -> "Clock":
        """Go on from here at another speed, or hold; what is none stays."""
        return Clock(
            speed=self.speed if speed is None else speed,
            position=self.at(now),
            since=now,
            held=self.held if held is None else held,
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay has come to at one moment."""

    recording: Recording
    take: int
    """Tells it from earlier replays of the run."""
    clock: Clock
    position: float
    course: Course

    @property
    def run_id(self) -> str:
        """Return the id of the run that is replayed."""
        return self.recording.row.run_id

    @property
    def row(self) -> RunRow:
        """Return the run as a list would have shown it at this point of its course."""
        course = self.course
        before, after = course.before, course.after
        return replace(
            self.recording.row,
            alive=True,
            began=course.started is not None,
            ending=course.ending,
            before=before.scores if before else None,
            after=after.scores if after else None,
            keys=(before.key if before else "", after.key if after else ""),
        )

    @property
    def moment(self) -> float:
        """Return the Unix time at which the run was here."""
        return self.recording.moment(self.position)

    @property
    def state(self) -> tuple[str, int, bool, float]:
        """Return what a page must hear of when it changes."""
        return self.run_id, self.take, self.clock.held, self.clock.speed

    def events(self, after: int) -> list[Timed]:
        """Return those of the events that have come whose number is above `after`."""
        return [item for item in self.recording.events if after < item.seq <= self.course.seq]


@dataclass(slots=True)
class _Going:
    recording: Recording
    take: int
    clock: Clock
    count: int = 0
    course: Course = field(default_factory=Course)

    def replay(self, now: float) -> Replay | None:
        """Take in the events that have come; none when all have."""
        position = self.clock.at(now)
        if position >= self.recording.length_s:
            return None
        come = self.recording.come(position)
        self.course = advance(self.course, self.recording.events[self.count : come])
        self.count = come
        return Replay(self.recording, self.take, self.clock, position, self.course)


class Replays:
    """The replays that go on, one for a run at most. Safe to share between threads.

    One that has reached its end is none any more: the run is then shown as it is stored.
    """

    def __init__(
        self, guests: Sequence[Recording] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without any.

        Args:
            guests: Recordings from elsewhere, shown beside the user's own runs.
            clock: Tells seconds, never backwards.
        """
        self.guests = {one.row.run_id: one for one in guests}
        self._clock = clock
        self._takes = itertools.count(1)
        self._going: dict[str, _Going] = {}
        # Pages poll from many threads; two of them must not take in the same events.
        self._lock = threading.Lock()

    def start(self, recording: Recording, speed: float, *, when_seen: bool = False) -> None:
        """Replay a run from its start.

        Args:
            recording: The run.
            speed: A multiple of the recorded time.
            when_seen: Whether to begin only when a page first shows it.
        """
        with self._lock:
            since = None if when_seen else self._clock()
            run_id = recording.row.run_id
            self._going.pop(run_id, None)
            self._going[run_id] = _Going(recording, next(self._takes), Clock(speed, since=since))
            while len(self._going) > AT_ONCE:
                self._going.pop(next(iter(self._going)))

    def seen(self, run_id: str) -> None:
        """Begin a replay that waits to be seen: a page shows it."""
        with self._lock:
            if going := self._going.get(run_id):
                going.clock = going.clock.begun(self._clock())

    def of(self, run_id: str) -> Replay | None:
        """Return what the replay of a run has come to; none if there is none, or none any more."""
        with self._lock:
            return self._now(run_id)

    def going(self) -> tuple[Replay, ...]:
        """Return all replays that go on, those begun first in front."""
        with self._lock:
            found = [self._now(run_id) for run_id in tuple(self._going)]
        return tuple(replay for replay in found if replay)

    def change(self, run_id: str, *, speed: float | None = None, held: bool | None = None) -> None:
        """Change a replay's speed, hold it or let it go on; one that is over stays so."""
        with self._lock:
            if going := self._going.get(run_id):
                going.clock = going.clock.changed(self._clock(), speed=speed, held=held)

    def end(self, run_id: str) -> None:
        """Go to the end of a replay."""
        with self._lock:
            self._going.pop(run_id, None)

    def _now(self, run_id: str) -> Replay | None:
        going = self._going.get(run_id)
        replay = going.replay(self._clock()) if going else None
        if going and replay is None:
            del self._going[run_id]
        return replay
