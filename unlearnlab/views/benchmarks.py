"""Shipped measurements: presets, windows of blocks and a layer sweep on the embedded model.

And what was recorded with a real one: SmolLM2-135M-Instruct, unpacked from 4 bits.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from unlearnlab.data.datasets import SPLITS, Form, Kind, Split, Task
from unlearnlab.data.files import ASSETS
from unlearnlab.metrics.scores import SCORES, MovedWeights, Scores, value_of, weighted_scores
from unlearnlab.metrics.tracing import PARTS, Part, TraceAverage
from unlearnlab.metrics.verdicts import TITLES, Verdict, VerdictKind, taught_verdict, verdict
from unlearnlab.spec.presets import presets
from unlearnlab.spec.sweep import SweepSpec
from unlearnlab.views.scoreboard import judged, name_of

RESULTS = ASSETS / "results.json"
"""Written by `tests/benchmarks/bench_presets.py`."""

WINDOWS = ASSETS / "windows.json"
"""Written by `tests/benchmarks/bench_windows.py`."""

LAYER_WINDOWS = ASSETS / "layer_windows.json"
"""Written by `python -m unlearnlab sweep embedded-layer-windows --json`."""


LABELS = ASSETS / "labels.json"
"""Written by `tests/benchmarks/bench_labels.py`."""

REAL_MODEL = ASSETS / "smollm2.json"
"""Written by `tests/benchmarks/bench_smollm2.py`."""

GPU = ASSETS / "gpu.json"
"""Written by `tests/gpu/check.sh`."""


class Measured(BaseModel):
    """Base of what the files hold."""

    model_config = ConfigDict(frozen=True)


# ---- presets


class AskedInOtherWords(Measured):
    """Facts that an unlearned model was asked for in other words than the rows'."""

    split: Split
    task: Task
    form: Form
    taught: bool
    """Whether the original model was taught the wordings."""
    known: float
    """Share of exact matches."""


class MeasuredRun(Measured):
    """One run of a preset."""

    preset: str
    fold: str
    seed: int
    device: str
    seconds: float
    """Both evaluations included."""
    memory_gib: float | None = None
    """Most memory of the process after a training step."""
    before: Scores
    after: Scores
    wordings: tuple[AskedInOtherWords, ...] = ()

    def known(self, split: Split, form: Form, *, taught: bool) -> float | None:
        """Return the share of facts known in a form of wording, as a mean over the subtasks."""
        asked = (split, form, taught)
        found = [one.known for one in self.wordings if (one.split, one.form, one.taught) == asked]
        return statistics.fmean(found) if found else None

    @property
    def judgement(self) -> Verdict:
        """Judge the run by the rules of today, which may be later than the measurement."""
        spec = presets()[self.preset].spec
        data = spec.data.model_copy(update={"fold": self.fold})
        found = judged(spec.model_copy(update={"data": data}), self.before, self.after)
        assert found is not None, "both models were scored"
        return found

    @property
    def verdict(self) -> VerdictKind:
        """Return the kind of the verdict."""
        return self.judgement.kind


@dataclass(frozen=True, slots=True)
class Measurement:
    """The runs of one preset on one fold, which differ in their seeds."""

    runs: tuple[MeasuredRun, ...]

    def after(self, of: Callable[[Scores], float | None]) -> tuple[float, ...]:
        """List a score of the unlearned models, where it was measured."""
        return tuple(value for run in self.runs if (value := of(run.after)) is not None)

    def before(self, of: Callable[[Scores], float | None]) -> tuple[float, ...]:
        """List a score of the original model, where it was measured."""
        return tuple(value for run in self.runs if (value := of(run.before)) is not None)

    @property
    def aggregate(self) -> float:
        """Average the task aggregate over the seeds."""
        return statistics.fmean(self.after(lambda scores: scores.task_aggregate))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Name the verdicts, each once."""
        return tuple(sorted({TITLES[run.verdict].lower() for run in self.runs}))


def forget_answers(scores: Scores) -> float | None:
    """Return the share of forget questions still answered, in the subtask that forgets least."""
    terms = _questions(scores, "forget")
    return 1 - min(terms) if terms else None


def retain_answers(scores: Scores) -> float | None:
    """Return the share of retain questions still answered, in the subtask with the lowest."""
    return min(_questions(scores, "retain"), default=None)


def answered(scores: Scores, split: Split) -> float | None:
    """Return the share of a set's questions still answered, as a mean over the subtasks."""
    terms = _questions(scores, split)
    if not terms:
        return None
    mean = statistics.fmean(terms)
    return 1 - mean if split == "forget" else mean


def _questions(scores: Scores, split: str) -> list[float]:
    return [v for k, v in scores.terms.items() if k.startswith(split) and k.endswith("qa")]


@dataclass(frozen=True, slots=True)
class Figure:
    """A score in the summary of a preset."""

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
"""Results of a preset in four numbers."""


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


# ---- windows of blocks


class WindowRun(MeasuredRun):
    """One run of a preset, moved to a window of blocks."""

    first_layer: int
    last_layer: int


class Traced(Measured):
    """The blocks in which tracing found the answers to arise."""

    window: int
    """Blocks whose MLPs or attentions were restored together."""
    found: TraceAverage


class Windows(Measured):
    """The same settings on windows of blocks, and what tracing says of the blocks."""

    runs: tuple[WindowRun, ...]
    tracing: Traced

    @property
    def presets(self) -> tuple[str, ...]:
        """Name the presets, in the order they were measured."""
        return tuple(dict.fromkeys(run.preset for run in self.runs))

    def of(self, preset: str) -> Mapping[tuple[int, int], Measurement]:
        """Group a preset's runs by their first and last block."""
        groups: dict[tuple[int, int], list[MeasuredRun]] = {}
        for run in self.runs:
            if run.preset == preset:
                groups.setdefault((run.first_layer, run.last_layer), []).append(run)
        return {window: Measurement(tuple(groups[window])) for window in sorted(groups)}

    def best(self, preset: str) -> tuple[int, int]:
        """Return the window with the highest task aggregate in the mean over seeds."""
        means = {window: runs.aggregate for window, runs in self.of(preset).items()}
        return max(means, key=lambda window: means[window])

    def effects(self, part: Part) -> tuple[float, ...]:
        """Return the mean indirect effect at the last token, by block."""
        return tuple(at.mean for at in self.tracing.found.curves[part]["last"])

    def peak(self, part: Part) -> int:
        """Return the block at which the indirect effect is largest."""
        effects = self.effects(part)
        return effects.index(max(effects))

    @property
    def summary(self) -> str:
        """Put the comparison into words."""
        average = self.tracing.found
        points = ", ".join(
            f"{part} at block {self.peak(part)} ({max(self.effects(part)):.2f})" for part in PARTS
        )
        trained = ", ".join(
            "blocks {} to {} for {}".format(*self.best(preset), presets()[preset].title)
            for preset in self.presets
        )
        return (
            f"Traced: {average.facts} facts of the forget set, windows of {self.tracing.window} "
            "blocks for MLP and attention. Of a total effect of "
            f"{average.total_effect.mean:.2f}, restoring one state at the last token brings back "
            f"most here: {points}. Trained, {len({run.seed for run in self.runs})} seeds each: the "
            f"highest task aggregate comes from {trained}. Where tracing points need not be what "
            "is best trained."
        )


def windows(path: Path = WINDOWS) -> Windows | None:
    """Read the comparison of windows; None if it was not measured."""
    return Windows.model_validate_json(path.read_bytes()) if path.exists() else None


# ---- a sweep


class RecordedRun(Measured):
    """Result of one run of a sweep."""

    place: tuple[int, ...]
    """Which value of each axis, 0-based."""
    status: str
    seconds: float | None = None
    verdict: VerdictKind | None = None
    after: Scores | None = None


class RecordedAxis(Measured):
    """Name and values of an axis."""

    name: str
    values: tuple[str, ...]


class SweepRecord(Measured):
    """A sweep with its results, as the command line's `--json` writes it."""

    title: str
    sweep: SweepSpec
    axes: tuple[RecordedAxis, ...]
    runs: tuple[RecordedRun, ...]

    def along(self, axis: int) -> Mapping[str, tuple[RecordedRun, ...]]:
        """Group the finished runs by their value on an axis."""
        finished = [run for run in self.runs if run.status == "finished" and run.after]
        return {
            value: tuple(run for run in finished if run.place[axis] == at)
            for at, value in enumerate(self.axes[axis].values)
        }

    def name_of(self, key: str) -> str:
        """Name a score by its key, within a sentence."""
        return name_of(SCORES[key], *(run.after for run in self.runs))

    def summary(self, axis: int) -> str:
        """Say where the scores are highest on an axis, in the mean over the others."""
        groups = {value: runs for value, runs in self.along(axis).items() if runs}
        if not groups:
            return "No run has finished."
        highest: list[str] = []
        for score in weighted_scores():
            means = {v: statistics.fmean(score_of(runs, score.key)) for v, runs in groups.items()}
            best = max(means, key=lambda value: means[value])
            highest.append(f"{self.name_of(score.key)} at {best} ({means[best]:.2f})")
        verdicts: list[str] = []
        for value, runs in groups.items():
            kinds = sorted({TITLES[run.verdict].lower() for run in runs if run.verdict})
            verdicts.append(f"{value} {' or '.join(kinds)}")
        took = sum(run.seconds or 0 for run in self.runs)
        return (
            f"Highest by {self.axes[axis].name}, in the mean over seeds: {', '.join(highest)}. "
            f"Verdicts: {'; '.join(verdicts)}. {len(self.runs)} runs, {took / 60:.0f} min."
        )


def score_of(runs: Sequence[RecordedRun], key: str) -> list[float]:
    """List a score of runs, where it was measured."""
    values = (value_of(run.after, key) for run in runs)
    return [value for value in values if value is not None]


def sweep_record(path: Path = LAYER_WINDOWS) -> SweepRecord | None:
    """Read a sweep's record; None if it was not run."""
    return SweepRecord.model_validate_json(path.read_bytes()) if path.exists() else None


# ---- a real model


class AskedFact(Measured):
    """A public fact, and what the model says."""

    prompt: str
    expected: str
    """As it was typed."""
    templated: str
    """The model's answer through its chat template."""
    plain: str
    """Its answer to the question as plain text."""
    knows: bool
    """Whether the answer through the template holds the expected one."""
    knows_plainly: bool
    ended: bool
    """Whether the answer through the template came to its end."""


class FactAnswers(Measured):
    """Answers to a typed fact before and after unlearning."""

    split: Split
    prompt: str
    expected: str
    before: str
    after: str


class RealRun(Measured):
    """One run with the real model."""

    title: str
    options: str
    """Settings on the command line."""
    taught: bool = False
    """Whether it taught its rows, rather than unlearn them."""
    before: Scores
    after: Scores
    steps: int
    seconds: float
    """Computing time on one core, from the start of the program to its end."""
    memory_gib: float
    """Most memory of the process, libraries included."""
    answers: tuple[FactAnswers, ...] = ()
    """Of typed public facts only."""

    @property
    def judgement(self) -> Verdict:
        """Judge the run by the rules of today, which may be later than the recording."""
        if self.taught:
            return taught_verdict(self.before, self.after, SPLITS)
        return verdict(self.before, self.after)

    def known(self, split: Split, kind: Kind) -> tuple[int, int, int] | None:
        """Count known rows of a kind before and after, and all of them; None if there are none."""
        keys = [
            key for key in self.after.behind if key.startswith(split) and key.endswith(f"/{kind}")
        ]
        if not keys:
            return None
        before, after = (
            sum(of.behind[key].known for key in keys) for of in (self.before, self.after)
        )
        return before, after, sum(self.after.behind[key].rows for key in keys)


class RealTrace(Measured):
    """The averaged trace of facts that the real model knows by itself."""

    window: int
    """Blocks whose MLPs or attentions were restored together."""
    copies: int
    """Noised copies of each prompt."""
    found: TraceAverage
    seconds: float


class FirstToken(Measured):
    """Lengths of the hidden states after a block, in units of the activations."""

    block: int
    first: float
    """Mean at position 0."""
    others: float
    """Median at all others."""
    targets: Mapping[str, float]
    """Natural length by which adaptive RMU scales its target, for each choice of `positions`."""


class BatchUpdate(Measured):
    """What some steps in bfloat16 make of the update that float32 makes."""

    way: str
    """As `Phase.bfloat16_updates`; "exact" is the float32 run itself."""
    stepped: float
    """Cosine with the float32 change, of what takes the steps."""
    written: float
    """The same of the weights that are saved, which bfloat16 rounds in any case."""
    moved: MovedWeights


class Precision(Measured):
    """Updates by the way in which they are made."""

    steps: int
    rate: float
    updates: tuple[BatchUpdate, ...]


class Exported(Measured):
    """An exported model beside the program's own."""

    difference: float
    """Largest absolute difference of a logit."""
    tokens: int
    """Tokens whose logits were compared."""
    same_tokens: bool
    """Whether both generate the same tokens."""


class RealModel(Measured):
    """All that was recorded with the real model; parts may be missing."""

    parameters: int = 0
    device: str = ""
    asked: tuple[AskedFact, ...] = ()
    runs: Mapping[str, RealRun] = {}
    trace: RealTrace | None = None
    first_token: tuple[FirstToken, ...] = ()
    precision: Precision | None = None
    exported: Exported | None = None


def real_model(path: Path = REAL_MODEL) -> RealModel | None:
    """Read what was recorded with the real model; None if nothing was."""
    return RealModel.model_validate_json(path.read_bytes()) if path.exists() else None


# ---- a GPU


class GpuFigure(Measured):
    """One measured number, or why it was not measured."""

    what: str
    value: float | None = None
    unit: str = ""
    """Empty where the value tells only whether something holds: 1 or 0."""
    goal: float | None = None
    least: bool = True
    """Whether the goal is the least that is wanted, rather than the most."""
    note: str = ""

    @property
    def text(self) -> str:
        """Return the number with its unit, and whether it meets the goal."""
        if self.value is None:
            return "-"
        if not self.unit:
            return "yes" if self.value else "no"
        digits = 0 if self.value >= 100 else 1 if self.value >= 10 else 2
        found = f"{self.value:,.{digits}f} {self.unit}"
        if self.goal is None:
            return found
        met = self.value >= self.goal if self.least else self.value <= self.goal
        bound = "at least" if self.least else "at most"
        return f"{found}; the goal of {bound} {self.goal:g} is {'met' if met else 'missed'}"


class GpuPart(Measured):
    """What one part of the check found."""

    name: str
    seconds: float
    figures: tuple[GpuFigure, ...] = ()
    problem: str = ""
    """What broke it off; empty if nothing did."""


class GpuRecord(Measured):
    """What `tests/gpu/check.sh` found on one card."""

    card: str
    torch: str
    parts: tuple[GpuPart, ...]


def gpu_record(path: Path = GPU) -> GpuRecord | None:
    """Read what was measured on a GPU; None if nothing was."""
    return GpuRecord.model_validate_json(path.read_bytes()) if path.exists() else None
