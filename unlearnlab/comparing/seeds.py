"""Runs of the same settings with different seeds: what they reach in the mean, and their spread."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnlab.comparing.entries import Entry
from unlearnlab.results import same_settings


@dataclass(frozen=True, slots=True)
class Spread:
    """A score over seeds."""

    mean: float
    sd: float | None
    """Standard deviation of a sample; none for one run."""
    count: int


def seed_groups(of: Sequence[Entry]) -> tuple[tuple[Entry, ...], ...]:
    """Put runs together that differ in nothing but their seed and name, in order of appearance."""
    groups: list[list[Entry]] = []
    for run in of:
        mine = next((group for group in groups if same_settings(group[0].spec, run.spec)), None)
        if mine is None:
            groups.append([run])
        else:
            mine.append(run)
    return tuple(tuple(group) for group in groups)


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return mean and standard deviation of a score over seeds; none if none was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.fmean(known), sd, len(known))
