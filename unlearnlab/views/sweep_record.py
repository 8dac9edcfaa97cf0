"""A sweep that was carried out, as the command line's `--json` tells it: for tables and figures."""

import statistics
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from unlearnlab.data.files import ASSETS
from unlearnlab.metrics.scores import Scores
from unlearnlab.metrics.verdicts import TITLES, VerdictKind
from unlearnlab.spec.sweep import SweepSpec

LAYER_WINDOWS = ASSETS / "layer_windows.json"
"""Written by `python -m unlearnlab sweep embedded-layer-windows --json`."""


class RecordedRun(BaseModel):
    """What came of one run of a sweep."""

    model_config = ConfigDict(frozen=True)

    place: tuple[int, ...]
    """Which value of each axis, 0-based."""
    status: str
    seconds: float | None = None
    verdict: VerdictKind | None = None
    after: Scores | None = None


class RecordedAxis(BaseModel):
    """What an axis was called, and its values."""

    model_config = ConfigDict(frozen=True)

    name: str
    values: tuple[str, ...]


class SweepRecord(BaseModel):
    """What came of a sweep."""

    model_config = ConfigDict(frozen=True)

    title: str
    sweep: SweepSpec
    axes: tuple[RecordedAxis, ...]
    runs: tuple[RecordedRun, ...]

    def along(self, axis: int) -> Mapping[str, tuple[RecordedRun, ...]]:
        """Group the finished runs by their value on an axis."""
        values = self.axes[axis].values
        finished = [run for run in self.runs if run.status == "finished" and run.after]
        return {
            value: tuple(run for run in finished if run.place[axis] == at)
            for at, value in enumerate(values)
        }

    def summary(self, axis: int) -> str:
        """Say where the scores are highest on an axis, in the mean over the others."""
        groups = {value: runs for value, runs in self.along(axis).items() if runs}
        if not groups:
            return "No run has finished."

        def best(name: str, title: str) -> str:
            means = {
                value: statistics.fmean(score_of(runs, name)) for value, runs in groups.items()
            }
            value = max(means, key=lambda one: means[one])
            return f"{title} at {value} ({means[value]:.2f})"

        highest = ", ".join(best(name, title) for name, title in NAMES)
        took = sum(run.seconds or 0 for run in self.runs)
        count, verdicts = len(self.runs), _verdicts(groups)
        name = self.axes[axis].name
        return (
            f"Highest by {name}, in the mean over seeds: {highest}. {verdicts}. {count} runs, "
            f"{took / 60:.0f} min."
        )


NAMES = (("task_aggregate", "aggregate"), ("mia_score", "MIA score"), ("utility", "quiz"))


def score_of(runs: tuple[RecordedRun, ...], name: str) -> list[float]:
    """List a score of runs, where it was measured."""
    values = (run.after.model_dump()[name] for run in runs if run.after)
    return [value for value in values if value is not None]


def _verdicts(groups: Mapping[str, tuple[RecordedRun, ...]]) -> str:
    told: list[str] = []
    for value, runs in groups.items():
        kinds = sorted({TITLES[run.verdict].lower() for run in runs if run.verdict})
        told.append(f"{value} {' or '.join(kinds)}")
    return f"Verdicts: {'; '.join(told)}"


def sweep_record(path: Path = LAYER_WINDOWS) -> SweepRecord | None:
    """Read a record; none if the sweep was not carried out."""
    if not path.exists():
        return None
    return SweepRecord.model_validate_json(path.read_text(encoding="utf-8"))
