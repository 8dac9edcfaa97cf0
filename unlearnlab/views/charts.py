"""Contents of charts: curves, forgetting against utility, settings as parallel coordinates."""

import bisect
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from unlearnlab.metrics.published import MODELS, Published
from unlearnlab.metrics.scores import SCORES, Scores, shown_scores, value_of
from unlearnlab.metrics.verdicts import GATES, KEPT_UTILITY
from unlearnlab.runs.events import StepLogged, StoredEvent
from unlearnlab.runs.progress import MANY_STEPS, points_after, thinned
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.comparison import comparable
from unlearnlab.views.run_table import NOTHING, Column, Known, columns, differing
from unlearnlab.views.runs import RunSummary, labels
from unlearnlab.views.scoreboard import name_of
from unlearnlab.views.words import start_text

# ---- the series of a run

Panel = Literal["terms", "answers", "steps", "weights", "probe"]

Role = Literal["forget", "retain", "utility", "plain"]
"""What a colour stands for."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How one series is drawn, on the page and in a report."""

    series: str
    """As `runs.progress.points_after` names it."""
    label: str
    panel: Panel
    role: Role
    dash: Literal["solid", "dot", "dash"] = "solid"


TRACES: Sequence[Trace] = (
    Trace("term.forget", "forget loss", "terms", "forget"),
    Trace("term.retain", "retain loss", "terms", "retain"),
    Trace("term.kl", "divergence from the original", "terms", "utility"),
    Trace("nll.forget", "loss of forget answers", "answers", "forget"),
    Trace("nll.retain", "loss of retain answers", "answers", "retain"),
    Trace("grad_norm", "gradient norm", "steps", "plain"),
    Trace("learning_rate", "learning rate", "steps", "utility", "dash"),
    Trace("weight.forget", "forget weight", "weights", "forget"),
    Trace("weight.retain", "retain weight", "weights", "retain"),
    Trace("knowledge.forget", "forget: answered correctly", "probe", "forget"),
    Trace("knowledge.retain", "retain: answered correctly", "probe", "retain"),
    Trace("regurgitation.forget", "forget: recited", "probe", "forget", "dot"),
    Trace("regurgitation.retain", "retain: recited", "probe", "retain", "dot"),
)

PANELS: Sequence[tuple[Panel, str, str]] = (
    ("terms", "Loss terms", "loss, unweighted"),
    ("answers", "Answer loss", "loss, nats per token"),
    ("steps", "Gradient", "norm"),
    ("weights", "Weights", "signed weight of a term"),
)
"""What the upper part of the live chart can show: name, button, title of the axis.

Weights are offered in runs in which they vary.
"""


def trace_of(series: str) -> Trace | None:
    """Return how a series is drawn; None if it is in no chart of a run."""
    known = next((trace for trace in TRACES if trace.series == series), None)
    kind, _, name = series.partition(".")
    if known is None and kind == "term":
        return Trace(series, f"{name.replace('_', ' ')} loss", "terms", "utility")
    return known


def log_scale(spec: RunSpec) -> bool:
    """Tell whether the loss terms start on a logarithmic axis.

    RMU's steering term is a squared length, hundreds of times its retain term.
    """
    return any(phase.method.steers for phase in spec.phases)


# ---- curves of several runs

By = Literal["step", "tokens", "seconds"]
"""What the horizontal axis counts."""

BY: Mapping[By, str] = {
    "step": "optimizer step",
    "tokens": "tokens trained on, about",
    "seconds": "seconds of training",
}

LONG_GAP = 2.0
"""A step that took this many times the usual held something else as well, such as a probe."""

Values = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """The curves of one run."""

    series: Mapping[str, tuple[tuple[int, ...], Values]]
    """Steps and values by series, as `runs.progress.points_after` names them."""
    steps: tuple[int, ...]
    tokens: tuple[float, ...]
    """Tokens trained on until each of these steps; an estimate from pace and time."""
    seconds: tuple[float, ...]
    """Since training began, until each of these steps."""


def track(stored: Sequence[StoredEvent], *, most: int | None = MANY_STEPS) -> Track:
    """Fold a run's events into its curves.

    A step that held a probe or a pause counts with the time that steps usually take.

    Args:
        stored: The events.
        most: Points of a series from which it is thinned; None keeps all.
    """
    steps = [item.event for item in stored if isinstance(item.event, StepLogged)]
    gaps = [b.seconds - a.seconds for a, b in itertools.pairwise(steps)]
    usual = statistics.median(gaps) if gaps else 0.0
    spent = [min(gap, LONG_GAP * usual) for gap in (usual, *gaps)] if steps else []
    tokens = [gap * step.tokens_per_s for gap, step in zip(spent, steps, strict=True)]
    return Track(
        points_after(stored, most=most),
        tuple(step.step for step in steps),
        tuple(itertools.accumulate(tokens)),
        tuple(itertools.accumulate(spent)),
    )


def offered(of: Sequence[Track]) -> dict[str, str]:
    """Map the series that any of these runs has to their names, in the usual order."""
    there = {name for one in of for name in one.series}
    usual = [trace.series for trace in TRACES if trace.series in there]
    found: dict[str, str] = {}
    for name in (*usual, *sorted(there.difference(usual))):
        kind, _, of_what = name.partition(".")
        trace = trace_of(name)
        found[name] = trace.label if trace else f"{of_what} {kind}".replace("_", " ").strip()
    return found


ANSWERS: Mapping[str, str] = {"nll.forget": "forget answers", "nll.retain": "retain answers"}
"""The curves that mean the same in every method, with the titles of their axes."""

BOTH = "answers"
"""Stands for all of these, one above the other."""


def comparable_series(of: Sequence[RunSummary], tracks: Mapping[str, Track]) -> dict[str, str]:
    """Map the series in which runs compare to their names, the default one first.

    The terms of an objective and their weights mean something else in each method: they are offered
    for runs of one method alone.
    """
    found = offered([tracks[run.run_id] for run in of if run.run_id in tracks])
    methods = {tuple(phase.method.kind for phase in run.spec.phases) for run in of}
    if len(methods) > 1:
        own = ("term", "weight")
        found = {key: name for key, name in found.items() if key.partition(".")[0] not in own}
    both = {BOTH: "loss of forget and retain answers"} if ANSWERS.keys() <= found.keys() else {}
    return {**both, **found}


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve; a value that is none leaves a gap."""

    xs: tuple[float, ...]
    ys: Values


def curve(
    of: Track, series: str, by: By = "step", smoothing: float = 0.0, *, most: int | None = 2000
) -> Curve | None:
    """Return one series of a run; none if it has no such series.

    Args:
        of: The run.
        series: As `offered` lists them.
        by: What the horizontal axis counts.
        smoothing: Weight of what came before, from 0 to below 1; 0 leaves the points as they are.
        most: Points from which it is thinned, keeping its extremes; None keeps all.
    """
    if series not in of.series:
        return None
    steps, values = of.series[series]
    values = smoothed(values, smoothing)
    kept = range(len(steps)) if most is None else thinned(values, most)

    def x(step: int) -> float:
        """Return the place of a step; a probe between two logged steps lies at the one before."""
        if by == "step":
            return step
        at = bisect.bisect_right(of.steps, step) - 1
        return 0.0 if at < 0 else (of.tokens if by == "tokens" else of.seconds)[at]

    return Curve(tuple(x(steps[at]) for at in kept), tuple(values[at] for at in kept))


def smoothed(values: Values, smoothing: float) -> Values:
    """Average exponentially, without the pull towards zero at the start; gaps stay gaps.

    Args:
        values: The points.
        smoothing: Weight of what came before.

    Raises:
        ValueError: `smoothing` is not from 0 to below 1.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing {smoothing} is out of range: take 0 to below 1")
    mean, seen, found = 0.0, 0, list[float | None]()
    for value in values:
        if value is None or not math.isfinite(value):
            found.append(None)
            continue
        seen += 1
        mean = smoothing * mean + (1 - smoothing) * value
        found.append(mean / (1 - smoothing**seen))
    return tuple(found)


# ---- forgetting against utility


@dataclass(frozen=True, slots=True)
class Point:
    """One run, or one model, on the plane."""

    label: str
    run_id: str
    """Empty for what is no run."""
    x: float
    """Forgetting, 0 to 1."""
    y: float
    """Utility, 0 to 1."""
    mia_score: float | None
    note: str = ""
    """The verdict, or why it does not compare."""
    look: int = 0
    """The look of a run."""

    @property
    def number(self) -> str:
        """Return the number of a run; empty for what is no run."""
        return str(self.look + 1) if self.run_id else ""


def point(label: str, scores: Scores, by: str, run_id: str = "", note: str = "") -> Point | None:
    """Place a model by its scores; none if either was not measured."""
    x, y = value_of(scores, by), scores.utility
    return None if x is None or y is None else Point(label, run_id, x, y, scores.mia_score, note)


def points(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place all runs that were scored."""
    found: list[Point] = []
    for run, label in zip(of, labels(of), strict=True):
        verdict = run.verdict.title if run.verdict else ""
        if run.after and (one := point(label, run.after, by, run.run_id, verdict)):
            found.append(replace(one, look=run.look))
    return tuple(found)


def originals(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place the original models, each once."""
    found: dict[tuple[str, float, float], Point] = {}
    for run in of:
        name = f"original {run.spec.model.known.title}{start_text(run.spec)}"
        one = point(name, run.before, by) if run.before is not None else None
        if one is not None:
            found.setdefault((name, one.x, one.y), one)
    return tuple(found.values())


def published_points(
    of: Sequence[RunSummary], known: Sequence[Published], by: str = "task_aggregate"
) -> tuple[Point, ...]:
    """Place the published results of the runs' models, by a score and their MMLU.

    The note of each says why it does not compare with the runs: the test split is private.

    Args:
        of: The runs.
        known: The results. Those without the score are left out.
        by: Key of the score.
    """
    models = {run.spec.model.name for run in of if run.after and run.after.measures_mmlu}
    folds = {"validation" if run.spec.data.fold == "validation" else "local" for run in of}
    split = next(iter(folds)) if len(folds) == 1 else ""
    found: list[Point] = []
    for row in known:
        model, x = MODELS[row.model], getattr(row, by, None)
        if model in models and row.mmlu is not None and x is not None:
            note = "; ".join(part for part in (row.differs(model, split), *row.flags) if part)
            found.append(Point(row.system, "", x, row.mmlu, row.mia_score, note))
    return tuple(found)


def gate(of: Sequence[RunSummary]) -> float | None:
    """Return the utility below which a run counts as collapsed; None if runs differ in it.

    The task's own bound on MMLU where there is one, else three quarters of the original's utility.
    """
    bounds: set[float] = set()
    for run in itertools.chain.from_iterable(comparable(of).values()):
        if run.spec.model.name in GATES and run.after and run.after.measures_mmlu:
            bounds.add(GATES[run.spec.model.name])
        elif run.before is not None and run.before.utility is not None:
            bounds.add(round(KEPT_UTILITY * run.before.utility, 4))
    return bounds.pop() if len(bounds) == 1 else None


def front(of: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in both directions, from left to right.

    Source: the Pareto front; of points in one place all stay.
    """
    kept = [
        one
        for one in of
        if not any(
            other.x >= one.x and other.y >= one.y and (other.x > one.x or other.y > one.y)
            for other in of
        )
    ]
    return tuple(sorted(kept, key=lambda one: (one.x, -one.y)))


def fronts(of: Sequence[RunSummary], found: Sequence[Point]) -> tuple[tuple[Point, ...], ...]:
    """Return a front for each setup of the evaluation: runs that were measured otherwise beat none.

    Args:
        of: The runs.
        found: Their points.
    """
    groups = ({run.run_id for run in runs} for runs in comparable(of).values())
    each = (front([one for one in found if one.run_id in ids]) for ids in groups)
    return tuple(one for one in each if one)


# ---- parallel coordinates

MOST = 7
"""Settings that get an axis unless the reader chooses; more cannot be followed by the eye."""

DECADES = 20
"""Numbers above 0 whose largest is this many times the smallest lie on a logarithmic axis."""

FIRST = ("learning_rate", "epochs", "layers", "method")
"""Axes of settings that every run has and that are varied most: they come first."""

NEAR = 0.05
"""Share of an axis between two ticks; nearer ones would cover each other."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One upright axis, from 0 at the bottom to 1 at the top."""

    key: str
    """Key of the column that it shows."""
    name: str
    score: bool
    """Whether it was measured, not set."""
    places: tuple[float | None, ...]
    """Where each run crosses it; none where the run has no such value."""
    texts: tuple[str, ...]
    """The value of each run in words."""
    ticks: tuple[tuple[float, str], ...]
    """Places that are written on."""
    low: float = 0.0
    high: float = 1.0
    """Values at its ends, if it is one of numbers."""
    log: bool = False
    choices: tuple[tuple[float, str], ...] = ()
    """Places and values of an axis of choices; empty for numbers."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Runs as lines over axes."""

    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    axes: tuple[Axis, ...]
    left_out: tuple[str, ...]
    """Settings that differ as well, for which there was no room."""


def coordinates(
    of: Sequence[RunSummary], chosen: Sequence[str] = (), known: Known = NOTHING
) -> Coordinates:
    """Lay runs over the settings in which they differ, then over their scores.

    Args:
        of: The runs.
        chosen: Keys of columns, in order. If empty: the settings that differ, first those of
            `FIRST`, then those that every run has; and the scores.
        known: Measures and names of sweeps.
    """
    keys, left_out = list(chosen), list[str]()
    if not chosen:
        differ = _settings_by_rank(of)
        keys, left_out = differ[:MOST], [columns()[key].title for key in differ[MOST:]]
        keys += [
            score.key
            for score in shown_scores()
            if any(value_of(run.after, score.key) is not None for run in of)
        ]
    axes = tuple(_axis(columns()[key], of, known) for key in keys)
    ids = tuple(run.run_id for run in of)
    return Coordinates(labels(of), ids, axes, tuple(left_out))


def _settings_by_rank(of: Sequence[RunSummary]) -> list[str]:
    # The layers of a phase stand for its first and its last one, its method for a phase's.
    differ = [key for key in differing(of) if key not in ("first_layer", "last_layer")]

    def rank(key: str) -> tuple[int, bool, bool]:
        shared = all(columns()[key].read(run, NOTHING) for run in of)
        first = FIRST.index(key) if key in FIRST and shared else len(FIRST)
        return first, not shared, key == "seed"

    return sorted(differ, key=rank)


def _axis(column: Column, of: Sequence[RunSummary], known: Known) -> Axis:
    texts = tuple(column.text(run, known) for run in of)
    several = any(len(set(column.read(run, known))) > 1 for run in of)
    numbers = [column.number(run, known) for run in of]
    there = sorted({number for number in numbers if number is not None})
    if column.group == "scores":
        name = name_of(SCORES[column.key], *(run.after for run in of))
        ticks = ((0.0, "0"), (0.5, "0.5"), (1.0, "1"))
        return Axis(column.key, name, True, tuple(numbers), texts, ticks)
    if not column.numeric or several or len(there) < 2:
        return _choices(column, texts)
    low, high = there[0], there[-1]
    log = low > 0 and high / low >= DECADES

    def place(number: float) -> float:
        if log:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    shown = there if len(there) <= 6 else [low, high]
    ticks = _apart([(place(number), column.write(number)) for number in shown])
    places = tuple(None if number is None else place(number) for number in numbers)
    name = column.title if column.measured else column.title.lower()
    return Axis(column.key, name, column.measured, places, texts, ticks, low, high, log)


def _choices(column: Column, texts: Sequence[str]) -> Axis:
    """Spread choices evenly over an axis, in order of appearance."""
    known = list(dict.fromkeys(texts))
    where = {value: at / max(1, len(known) - 1) for at, value in enumerate(known)}
    ticks = tuple((place, value) for value, place in where.items())
    places = tuple(where[value] for value in texts)
    name = column.title.lower()
    return Axis(column.key, name, False, places, tuple(texts), _apart(ticks), choices=ticks)


def _apart(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Leave out the ticks that are too near to others; the ends stay."""
    kept = list(ticks[:1])
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] > NEAR and ticks[-1][0] - tick[0] > NEAR:
            kept.append(tick)
    return (*kept, *ticks[1:][-1:])
