"""Recorded runs shown as if live: their stored events, as far as a clock of each replay has come.

Nothing is computed and nothing is stored: a replay is a reading of the events that are there, up to
a moment, for the folds that a live run is shown with. It belongs to the program, not to a page.
"""

import itertools
import math
import statistics
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unlearnlab.events import Ending, Evaluated, StageBegan, StepLogged
from unlearnlab.metrics import Evidence
from unlearnlab.records import RunRow
from unlearnlab.views import Course, Timed, advance

SILENCE_S = 10.0
"""Seconds of recorded time in which nothing happens that a replay keeps; what is longer is cut."""

BEAT_S = 1.0
"""Seconds of recorded time between two stages, scores or endings, also where they came at once."""

SPEEDS = 0.01, 1000.0
"""Slowest and fastest, as multiples of the recorded time."""

LENGTHS_S = 1.0, 86400.0
"""Shortest and longest time that a replay can be asked to last."""

AT_ONCE = 16
"""Replays that go on at once: the oldest gives way."""


class ReplayError(ValueError):
    """A run cannot be replayed, or not so."""


def speed_of(text: str) -> float:
    """Read a speed.

    Raises:
        ReplayError: It is no number, or outside `SPEEDS`.
    """
    return _number(text, "speed", "times the recorded one", SPEEDS)


def seconds_of(text: str) -> float:
    """Read how long a replay is to last.

    Raises:
        ReplayError: It is no number, or outside `LENGTHS_S`.
    """
    return _number(text, "length", "seconds", LENGTHS_S)


def _number(text: str, name: str, unit: str, bounds: tuple[float, float]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = bounds
    if not low <= value <= high:
        raise ReplayError(f"{name}: {text!r} is not a number from {low:g} to {high:g} {unit}")
    return value


def played(stored: Sequence[Timed]) -> tuple[float, ...]:
    """Lay events out in time: when each comes, in seconds since the first, never before another.

    Silence above `SILENCE_S` is cut, be it a pause or a laptop asleep, unless the run's steps take
    that long; stages, scores and endings come at least `BEAT_S` after what was before them.
    """
    longest = max(SILENCE_S, 2 * _pace(stored))
    gaps = (
        min(max(later.at - earlier.at, _beat(later)), longest)
        for earlier, later in itertools.pairwise(stored)
    )
    return tuple(itertools.accumulate(gaps, initial=0.0)) if stored else ()


def _beat(item: Timed) -> float:
    return BEAT_S if isinstance(item.event, StageBegan | Evaluated | Ending) else 0.0


def _pace(stored: Sequence[Timed]) -> float:
    """Return how long a step took, in seconds."""
    steps = [item.event.seconds for item in stored if isinstance(item.event, StepLogged)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(steps)]
    return statistics.median(gaps) if gaps else 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A run that can be replayed: its events, and when each comes."""

    row: RunRow
    events: Sequence[Timed]
    times: tuple[float, ...]
    """Of the events up to the ending, as `played` has them; what came later is not replayed."""
    course: Course
    """What all events come to."""
    evidence: Mapping[str, Evidence]
    """Answers behind its scores by key, where it brings them along."""

    @property
    def length_s(self) -> float:
        """Return how long a replay lasts at the recorded speed."""
        return self.times[-1]

    @property
    def began(self) -> float:
        """Return when the run began, in Unix seconds."""
        return self.events[0].at

    @property
    def ended(self) -> float:
        """Return when the run ended, in Unix seconds."""
        return self.events[len(self.times) - 1].at

    def pace(self, speed: str | None = None, seconds: str | None = None) -> float:
        """Return the speed that was asked for, as typed: itself, or by how long a replay lasts.

        Raises:
            ReplayError: It is none, or out of bounds.
        """
        if seconds is None:
            return speed_of(speed) if speed is not None else 1.0
        return max(self.length_s, BEAT_S) / seconds_of(seconds)

    def come(self, position: float) -> int:
        """Count the events that have come at a position."""
        return bisect_right(self.times, position)

    def moment(self, position: float) -> float:
        """Return the Unix time at which the run was where the replay is."""
        last = max(0, self.come(position) - 1)
        at, since = self.events[last].at, position - self.times[last]
        if last + 1 == len(self.times):
            return at
        return at + max(0.0, min(since, self.events[last + 1].at - at))


def recording(
    row: RunRow, events: Sequence[Timed], evidence: Mapping[str, Evidence] | None = None
) -> Recording:
    """Prepare a run to be replayed.

    Args:
        row: The run.
        events: All of its events, in order.
        evidence: Answers behind its scores by key, where no store keeps them.

    Raises:
        ReplayError: It goes on, or it never took a step.
    """
    if row.ending is None and row.alive:
        told = "it goes on: watch it live" if row.began else "it waits: nothing of it is recorded"
        raise ReplayError(f"run {row.run_id} cannot be replayed: {told}")
    endings = [number for number, item in enumerate(events, 1) if isinstance(item.event, Ending)]
    course = advance(Course(), events)
    if course.step is None:
        raise ReplayError(f"run {row.run_id} cannot be replayed: it ended before its first step")
    times = played(events[: endings[0]] if endings else events)
    return Recording(row, events, times, course, evidence or {})


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
