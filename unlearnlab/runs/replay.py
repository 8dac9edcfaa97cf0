"""Replay recorded runs as if they were live.

A `Recording` lays a run's stored events out in time; `Replays` keeps one clock for each replay and
reads the events up to it. Nothing is computed or stored. Replays belong to the program, not to a
page.
"""

import itertools
import math
import statistics
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Ending, Evaluated, StageBegan, StepLogged, StoredEvent
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.records import RunRecord

SILENCE_S = 10.0
"""Longest silence in a replay, in seconds; longer ones are cut to this."""

BEAT_S = 1.0
"""Shortest time before a stage, a score or an ending, in recorded seconds."""

SPEEDS = 0.01, 1000.0
"""Slowest and fastest speed, as multiples of recorded time."""

LENGTHS_S = 1.0, 86400.0
"""Shortest and longest length of a replay, in seconds."""

AT_ONCE = 16
"""Replays that may run at the same time; a new one ends the oldest."""


class ReplayError(ValueError):
    """A run cannot be replayed, or its speed or length is invalid."""


def _number(text: str, name: str, unit: str, bounds: tuple[float, float]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = bounds
    if not low <= value <= high:
        raise ReplayError(f"{name}: {text!r} is not a number from {low:g} to {high:g} {unit}")
    return value


def played(stored: Sequence[StoredEvent]) -> tuple[float, ...]:
    """Return the time of each event in a replay, in seconds since the first; never decreasing.

    A silence above `SILENCE_S` (a pause, a suspended laptop) is cut, unless the run's steps take
    that long. Stages, scores and endings come at least `BEAT_S` after the event before them.
    """
    if not stored:
        return ()
    steps = [item.event.seconds for item in stored if isinstance(item.event, StepLogged)]
    took = [later - earlier for earlier, later in itertools.pairwise(steps)]
    longest = max(SILENCE_S, 2 * statistics.median(took) if took else 0.0)

    def gap(earlier: StoredEvent, later: StoredEvent) -> float:
        beat = BEAT_S if isinstance(later.event, StageBegan | Evaluated | Ending) else 0.0
        return min(max(later.at - earlier.at, beat), longest)

    gaps = (gap(earlier, later) for earlier, later in itertools.pairwise(stored))
    return tuple(itertools.accumulate(gaps, initial=0.0))


@dataclass(frozen=True, slots=True)
class Recording:
    """A run that can be replayed: its events, laid out in time."""

    row: RunRecord
    events: Sequence[StoredEvent]
    times: tuple[float, ...]
    """Times of the events up to the ending, from `played`; later events are not replayed."""
    progress: RunProgress
    """The fold of all events."""
    evidence: Mapping[str, Evidence]
    """Evidence behind its scores by key, where no store holds it."""

    @property
    def length_s(self) -> float:
        """Return the length of a replay at recorded speed, in seconds."""
        return self.times[-1]

    @property
    def began(self) -> float:
        """Return the start of the run as Unix time."""
        return self.events[0].at

    @property
    def ended(self) -> float:
        """Return the end of the run as Unix time."""
        return self.events[len(self.times) - 1].at

    def pace(self, speed: str | None = None, seconds: str | None = None) -> float:
        """Parse the requested speed, given as a speed or as the length of the replay.

        Raises:
            ReplayError: It is not a number, or out of bounds.
        """
        if seconds is not None:
            return max(self.length_s, BEAT_S) / _number(seconds, "length", "seconds", LENGTHS_S)
        if speed is None:
            return 1.0
        return _number(speed, "speed", "times the recorded one", SPEEDS)

    def come(self, position: float) -> int:
        """Count the events up to a position."""
        return bisect_right(self.times, position)

    def moment(self, position: float) -> float:
        """Return the recorded Unix time of a position."""
        last = max(0, self.come(position) - 1)
        at, since = self.events[last].at, position - self.times[last]
        if last + 1 == len(self.times):
            return at
        return at + max(0.0, min(since, self.events[last + 1].at - at))


def recording(
    row: RunRecord, events: Sequence[StoredEvent], evidence: Mapping[str, Evidence] | None = None
) -> Recording:
    """Prepare a run for replay.

    Args:
        row: The run.
        events: All of its events, in order.
        evidence: Evidence behind its scores by key, where no store holds it.

    Raises:
        ReplayError: It has not ended, or it took no step.
    """
    if row.ending is None and row.alive:
        why = "it is still running: watch it live" if row.began else "it has not started yet"
        raise ReplayError(f"run {row.run_id} cannot be replayed: {why}")
    endings = [number for number, item in enumerate(events, 1) if isinstance(item.event, Ending)]
    progress = advance(RunProgress(), events)
    if progress.step is None:
        raise ReplayError(f"run {row.run_id} cannot be replayed: it ended before its first step")
    times = played(events[: endings[0]] if endings else events)
    return Recording(row, events, times, progress, evidence or {})


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a replay. Positions are in seconds of `Recording.times`."""

    speed: float
    position: float = 0.0
    """Position at `since`."""
    since: float | None = None
    """Monotonic seconds; none before it starts."""
    held: bool = False

    def at(self, now: float) -> float:
        """Return the position at a monotonic time."""
        if self.held or self.since is None:
            return self.position
        return self.position + max(0.0, now - self.since) * self.speed

    def begun(self, now: float) -> "Clock":
        """Start it, unless it has started."""
        return self if self.since is not None else replace(self, since=now)

    def changed(
        self, now: float, *, speed: float | None = None, held: bool | None = None
    ) -> "Clock":
        """Change the speed, or hold or release the clock, from now on; None keeps a value."""
        return Clock(
            speed=self.speed if speed is None else speed,
            position=self.at(now),
            since=now,
            held=self.held if held is None else held,
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay at one moment."""

    recording: Recording
    take: int
    """Number that tells it from earlier replays of the run."""
    clock: Clock
    position: float
    progress: RunProgress

    @property
    def run_id(self) -> str:
        """Return the id of the replayed run."""
        return self.recording.row.run_id

    @property
    def row(self) -> RunRecord:
        """Return the record that a list would have shown at this position."""
        progress = self.progress
        before, after = progress.before, progress.after
        return replace(
            self.recording.row,
            alive=True,
            began=progress.started is not None,
            ending=progress.ending,
            before=before.scores if before else None,
            after=after.scores if after else None,
            keys=(before.key if before else "", after.key if after else ""),
        )

    @property
    def moment(self) -> float:
        """Return the recorded Unix time of this position."""
        return self.recording.moment(self.position)

    @property
    def state(self) -> tuple[str, int, bool, float]:
        """Return the values whose change a page must show."""
        return self.run_id, self.take, self.clock.held, self.clock.speed

    def events(self, after: int) -> list[StoredEvent]:
        """Return the events up to now whose number is above `after`."""
        return [item for item in self.recording.events if after < item.seq <= self.progress.seq]


@dataclass(slots=True)
class _Active:
    recording: Recording
    take: int
    clock: Clock
    count: int = 0
    progress: RunProgress = field(default_factory=RunProgress)

    def replay(self, now: float) -> Replay | None:
        """Advance to now; none once the replay has reached its end."""
        position = self.clock.at(now)
        if position >= self.recording.length_s:
            return None
        come = self.recording.come(position)
        self.progress = advance(self.progress, self.recording.events[self.count : come])
        self.count = come
        return Replay(self.recording, self.take, self.clock, position, self.progress)


class Replays:
    """Active replays, at most one per run. Thread-safe.

    A replay that reaches its end is removed: the run is then shown as stored.
    """

    def __init__(
        self,
        guests: Sequence[Recording] = (),
        *,
        demo: Recording | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without active replays.

        Args:
            guests: Recordings from outside the store, shown beside the user's own runs.
            demo: The recording that comes with the program: a guest too, listed last.
            clock: Monotonic clock, in seconds.
        """
        self.demo = demo
        self.guests = {one.row.run_id: one for one in (*guests, *([demo] if demo else []))}
        self._clock = clock
        self._takes = itertools.count(1)
        self._active: dict[str, _Active] = {}
        # Pages poll from many threads; two of them must not fold the same events twice.
        self._lock = threading.Lock()

    def start(self, recording: Recording, speed: float, *, when_seen: bool = False) -> None:
        """Replay a run from its start.

        Args:
            recording: The run.
            speed: A multiple of recorded time.
            when_seen: Whether to start only when a page first shows it.
        """
        with self._lock:
            since = None if when_seen else self._clock()
            run_id = recording.row.run_id
            self._active.pop(run_id, None)
            self._active[run_id] = _Active(recording, next(self._takes), Clock(speed, since=since))
            while len(self._active) > AT_ONCE:
                self._active.pop(next(iter(self._active)))

    def seen(self, run_id: str) -> None:
        """Start a replay that waits for a page to show it."""
        with self._lock:
            if active := self._active.get(run_id):
                active.clock = active.clock.begun(self._clock())

    def of(self, run_id: str) -> Replay | None:
        """Return the replay of a run as it is now; none if there is none or it has ended."""
        with self._lock:
            return self._now(run_id)

    def active(self) -> tuple[Replay, ...]:
        """Return all active replays, the oldest first."""
        with self._lock:
            found = [self._now(run_id) for run_id in tuple(self._active)]
        return tuple(replay for replay in found if replay)

    def change(self, run_id: str, *, speed: float | None = None, held: bool | None = None) -> None:
        """Change a replay's speed, or hold or release it. A replay that has ended stays ended."""
        with self._lock:
            if active := self._active.get(run_id):
                active.clock = active.clock.changed(self._clock(), speed=speed, held=held)

    def end(self, run_id: str) -> None:
        """End a replay: the run is shown as stored."""
        with self._lock:
            self._active.pop(run_id, None)

    def _now(self, run_id: str) -> Replay | None:
        active = self._active.get(run_id)
        replay = active.replay(self._clock()) if active else None
        if active and replay is None:
            del self._active[run_id]
        return replay
