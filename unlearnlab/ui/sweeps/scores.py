"""The scores of a sweep as its charts take them: by place, as a table, in a sentence."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from unlearnlab.metrics.scores import SCORES, shown_scores, value_of
from unlearnlab.runs.sweeps import PointStatus, SweepStatus
from unlearnlab.spec.sweep import SweepSpec, expand_grid, shown_axes
from unlearnlab.ui.kit.charts import Cell
from unlearnlab.ui.kit.text import score as written
from unlearnlab.views.scoreboard import at_ends

Place = tuple[int, ...]

Found = Mapping[Place, Sequence[float]]
"""Scores of runs by their place on the axes that are shown."""


def grouped(spec: SweepSpec, stand: SweepStatus, name: str) -> Found:
    """Gather a score by the place on the axes that are shown: seeds fall together."""
    axes, found = shown_axes(spec), defaultdict[Place, list[float]](list)
    for one in stand.points:
        value = score_at(one, name)
        if value is not None:
            found[tuple(one.point.place[axis] for axis in axes)].append(value)
    return found


def score_at(one: PointStatus, name: str) -> float | None:
    """Return a score of a point's run; none before it has finished."""
    if one.row is None or one.status != "finished":
        return None
    _, after = at_ends(one.row.spec, one.row.before, one.row.after, None)
    return value_of(after, name) if after else None


def table(spec: SweepSpec, stand: SweepStatus) -> list[list[Cell]]:
    """Lay the runs out as rows of a table, heads first."""
    head: list[Cell] = [axis.name for axis in spec.axes]
    rows: list[list[Cell]] = [[*head, "status", *(score.key for score in shown_scores())]]
    for one in stand.points:
        places = zip(expand_grid(spec).values, one.point.place, strict=True)
        texts = [of[at].text for of, at in places]
        rows.append([*texts, one.status, *(score_at(one, of.key) for of in shown_scores())])
    return rows


def summary(title: str, spec: SweepSpec, stand: SweepStatus, name: str) -> str:
    """Say how far a sweep is, and where a score is highest in the mean over seeds."""
    done, total = len(stand.of("finished")), len(stand.points)
    means = {place: statistics.fmean(of) for place, of in grouped(spec, stand, name).items()}
    if not means:
        return f"{title}: {done} of {total} runs finished."
    place = max(means, key=lambda one: means[one])
    values = expand_grid(spec).values
    at = ", ".join(
        f"{spec.axes[axis].name} {values[axis][n].text}"
        for axis, n in zip(shown_axes(spec), place, strict=True)
    )
    best = f"Highest {SCORES[name].words} {written(means[place])} at {at}."
    return f"{title}: {done} of {total} runs finished. {best}"
