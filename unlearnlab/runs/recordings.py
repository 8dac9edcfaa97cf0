"""Recorded runs, laid out in time so that they can be shown as they went."""

import itertools
import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Ending, Evaluated, StageBegan, StepLogged
from unlearnlab.runs.progress import Course, Timed, advance
from unlearnlab.runs.records import RunRow

SILENCE_S = 10.0
"""Seconds of recorded time in which nothing happens that a replay keeps; what is longer is cut."""

BEAT_S = 1.0
"""Seconds of recorded time between two stages, scores or endings, also where they came at once."""

SPEEDS = 0.01, 1000.0
"""Slowest and fastest, as multiples of the recorded time."""

LENGTHS_S = 1.0, 86400.0
"""Shortest and longest time that a replay can be asked to last."""


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
