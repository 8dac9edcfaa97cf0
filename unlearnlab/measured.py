"""What the presets did when they were run with several seeds: `assets/results.json`."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from unlearnlab.catalogue import ASSETS
from unlearnlab.metrics import Scores
from unlearnlab.verdicts import TITLES, VerdictKind

RESULTS = ASSETS / "results.json"
"""Written by `tests/benchmarks/bench_presets.py`."""


class MeasuredRun(BaseModel):
    """One run of a preset."""

    model_config = ConfigDict(frozen=True)

    preset: str
    fold: str
    seed: int
    device: str
    seconds: float
    """Both scorings included."""
    memory_gib: float | None = None
    """What the process held at most after a training step."""
    verdict: VerdictKind
    before: Scores
    after: Scores


@dataclass(frozen=True, slots=True)
class Measurement:
    """The runs of one preset on one fold, which differ in their seeds."""

    runs: tuple[MeasuredRun, ...]

    def after(self, of: Callable[[Scores], float | None]) -> tuple[float, ...]:
        """List a score of the unlearned models, where it was measured."""
        found = (of(run.after) for run in self.runs)
        return tuple(value for value in found if value is not None)

    def before(self, of: Callable[[Scores], float | None]) -> tuple[float, ...]:
        """List a score of the original model, where it was measured."""
        found = (of(run.before) for run in self.runs)
        return tuple(value for value in found if value is not None)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Name the verdicts, each once."""
        return tuple(sorted({TITLES[run.verdict].lower() for run in self.runs}))


def forget_answers(scores: Scores) -> float | None:
    """Return the share of forget questions still answered, in the subtask that forgets least."""
    terms = _questions(scores, "forget")
    return 1 - min(terms) if terms else None


def retain_answers(scores: Scores) -> float | None:
    """Return the share of retain questions still answered, in the subtask that fares worst."""
    return min(_questions(scores, "retain"), default=None)


def _questions(scores: Scores, split: str) -> list[float]:
    return [v for k, v in scores.terms.items() if k.startswith(split) and k.endswith("qa")]


@dataclass(frozen=True, slots=True)
class Figure:
    """A score that sums a preset up."""

    title: str
    """With the direction that is good."""
    role: str
    """What its colour stands for."""
    of: Callable[[Scores], float | None]

    def means(self, measurement: Measurement) -> tuple[float, float] | None:
        """Average it over the seeds: of the original and of the unlearned model."""
        before, after = measurement.before(self.of), measurement.after(self.of)
        return (statistics.fmean(before), statistics.fmean(after)) if before and after else None


FIGURES = (
    Figure("Forget answers\u00a0↓", "forget", forget_answers),
    Figure("Retain answers\u00a0↑", "retain", retain_answers),
    Figure("AUC → 0.5", "membership", lambda scores: scores.mia_auc),
    Figure("Quiz\u00a0↑", "utility", lambda scores: scores.utility),
)
"""What a method did, in four numbers."""


@cache
def measurements(path: Path = RESULTS) -> Mapping[tuple[str, str], Measurement]:
    """Read all measurements, by preset and fold; none if nothing was measured."""
    if not path.exists():
        return {}
    groups: dict[tuple[str, str], list[MeasuredRun]] = {}
    for plain in json.loads(path.read_text(encoding="utf-8")):
        run = MeasuredRun.model_validate(plain)
        groups.setdefault((run.preset, run.fold), []).append(run)
    return {key: Measurement(tuple(runs)) for key, runs in groups.items()}
