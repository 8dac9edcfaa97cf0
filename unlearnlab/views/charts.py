"""Contents of charts: curves, forgetting against utility, settings as parallel coordinates."""

import bisect
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.metrics.published import MODELS, Published
from unlearnlab.metrics.scores import Scores, shown_scores, value_of
from unlearnlab.metrics.verdicts import GATES, KEPT_UTILITY
from unlearnlab.runs.events import StepLogged, StoredEvent
from unlearnlab.runs.progress import MANY_STEPS, points_after, thinned
from unlearnlab.spec.run import RunSpec, written
from unlearnlab.views.comparison import comparable
from unlearnlab.views.runs import ABSENT, Difference, RunSummary, differences, labels
from unlearnlab.views.scoreboard import name_of

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
    ("terms", "Loss terms", "loss terms, unweighted"),
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


def point(label: str, scores: Scores, by: str, run_id: str = "", note: str = "") -> Point | None:
    """Place a model by its scores; none if either was not measured."""
    x, y = value_of(scores, by), scores.utility
    return None if x is None or y is None else Point(label, run_id, x, y, scores.mia_score, note)


def points(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place all runs that were scored."""
    found = (
        point(label, run.after, by, run.run_id, run.verdict.title if run.verdict else "")
        for run, label in zip(of, labels(of), strict=True)
        if run.after is not None
    )
    return tuple(one for one in found if one is not None)


def originals(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place the original models, each once."""
    found: dict[tuple[str, float, float], Point] = {}
    for run in of:
        name = f"original {run.spec.model.known.title}"
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


# ---- parallel coordinates

MOST = 7
"""Settings that get an axis; more cannot be followed by the eye."""

DECADES = 20
"""Numbers above 0 whose largest is this many times the smallest lie on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One upright axis, from 0 at the bottom to 1 at the top."""

    name: str
    score: bool
    """Whether it is a score, where up is good."""
    places: tuple[float | None, ...]
    """Where each run crosses it; none where the run has no such value."""
    texts: tuple[str, ...]
    """The value of each run in words."""
    ticks: tuple[tuple[float, str], ...]
    """Places that are written on."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Runs as lines over axes."""

    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    axes: tuple[Axis, ...]
    left_out: tuple[str, ...]
    """Settings that differ as well, for which there was no room."""


def coordinates(of: Sequence[RunSummary]) -> Coordinates:
    """Lay runs over the settings in which they differ, then over their scores."""
    found = differences([run.spec for run in of])
    axes = [_setting(one) for one in found[:MOST]]
    for score in shown_scores():
        values = tuple(value_of(run.after, score.key) for run in of)
        if any(value is not None for value in values):
            texts = tuple(ABSENT if value is None else f"{value:.2f}" for value in values)
            name = name_of(score, *(run.after for run in of))
            axes.append(Axis(name, True, values, texts, ((0.0, "0"), (0.5, "0.5"), (1.0, "1"))))
    return Coordinates(
        labels(of),
        tuple(run.run_id for run in of),
        tuple(axes),
        tuple(one.name for one in found[MOST:]),
    )


def _setting(of: Difference) -> Axis:
    numbers = [] if of.numbers is None else sorted({n for n in of.numbers if n is not None})
    if of.numbers is None or len(numbers) < 2:
        # Choices are spread evenly over the axis, in order of appearance.
        known = list(dict.fromkeys(of.values))
        where = {value: at / max(1, len(known) - 1) for at, value in enumerate(known)}
        ticks = tuple((place, value) for value, place in where.items())
        return Axis(of.name, False, tuple(where[value] for value in of.values), of.values, ticks)
    low, high = numbers[0], numbers[-1]
    log = low > 0 and high / low >= DECADES

    def place(number: float) -> float:
        if log:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    shown = numbers if len(numbers) <= 6 else [low, high]
    ticks = [(place(number), written(number)) for number in shown]
    kept = ticks[:1]
    for tick in ticks[1:-1]:  # Those too near to their neighbours are left out.
        if tick[0] - kept[-1][0] > 0.07 and ticks[-1][0] - tick[0] > 0.07:
            kept.append(tick)
    places = tuple(None if n is None else place(n) for n in of.numbers)
    return Axis(of.name, False, places, of.values, (*kept, ticks[-1]))
