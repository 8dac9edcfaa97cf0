"""What a page shows of a run: pure folds of its events into frozen values.

Events are read by cursor, so a fold can be carried on: `advance` takes what is known of a run and
the newly read events. Nothing here knows the store, the worker or a widget.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from unlearnlab.metrics.intervals import share_interval
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    Ending,
    Evaluated,
    Event,
    Examined,
    Exported,
    ExportFailed,
    Failed,
    Finished,
    Kept,
    Loaded,
    Paused,
    PhaseBegan,
    PhaseEnded,
    Previewed,
    Probed,
    Progressed,
    Resumed,
    Stage,
    StageBegan,
    Started,
    StepLogged,
    Stopped,
    Traced,
)

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]

RECENT = 20
"""Steps over which the pace is taken: the median of their gaps, so that a pause does not count."""

SURE = 0.1
"""Share of a scoring that must be done before it tells how long the rest will take."""

MANY_STEPS = 2000
"""Above this many steps in a run, its curves are thinned."""


class Timed(Protocol):
    """An event as the store hands it out."""

    @property
    def seq(self) -> int:
        """Return the place in the run, from 1."""
        ...

    @property
    def at(self) -> float:
        """Return the moment it was stored, in Unix seconds."""
        ...

    @property
    def event(self) -> Event:
        """Return the fact."""
        ...


@dataclass(frozen=True, slots=True)
class Course:
    """All that a page needs to know of the events of a run so far."""

    seq: int = 0
    """Place of the last event taken in."""
    started: Started | None = None
    stage: Stage | None = None
    stage_at: float = 0.0
    progressed: Progressed | None = None
    examined: Examined | None = None
    """How the MMLU questions of the present stage are answered so far."""
    loaded: Loaded | None = None
    """Fingerprints of weights and rows."""
    phases: tuple[PhaseBegan, ...] = ()
    recent: tuple[StepLogged, ...] = ()
    """The last `RECENT` steps."""
    scoring_s: float = 0.0
    """How long it took to score the original model."""
    held: bool = False
    before: Evaluated | None = None
    after: Evaluated | None = None
    kept: Kept | None = None
    """The model that the run left, if it was to leave one."""
    traced: Traced | None = None
    """What a trace found."""
    previewed: Previewed | None = None
    """What a preview heard."""
    asks: tuple[Asked | AskFailed, ...] = ()
    changes: tuple[Adjusted | AdjustFailed, ...] = ()
    """What was changed while the run went on, or could not be."""
    exports: tuple[Exported | ExportFailed, ...] = ()
    """Merged models that were written, or could not be."""
    ending: Ending | None = None

    @property
    def step(self) -> StepLogged | None:
        """Return the last optimizer step."""
        return self.recent[-1] if self.recent else None

    @property
    def total_steps(self) -> int:
        """Return the number of steps in all phases; 0 before training."""
        return self.phases[-1].total_steps if self.phases else 0


def advance(course: Course, stored: Iterable[Timed]) -> Course:
    """Take newly read events into what is known of a run."""
    for item in stored:
        course = replace(_taken(course, item.event, item.at), seq=item.seq)
    return course


def _taken(course: Course, event: Event, at: float) -> Course:
    """Take in an event of the work itself; the rest is left to `_heard`."""
    match event:
        case Started() | Loaded():
            return _noted(course, event)
        case StageBegan():
            return replace(course, stage=event.stage, stage_at=at, progressed=None, examined=None)
        case Examined():
            return replace(course, examined=event)
        case Progressed():
            return replace(course, progressed=event)
        case PhaseBegan() | PhaseEnded():
            return replace(course, phases=_phases(course.phases, event))
        case StepLogged():
            return replace(course, recent=(*course.recent[1 - RECENT :], event))
        case Evaluated() | Traced() | Kept():
            return _came_of_it(course, event, at)
        case _:
            return _heard(course, event)


def _noted(course: Course, event: Started | Loaded) -> Course:
    if isinstance(event, Started):
        return replace(course, started=event)
    return replace(course, loaded=event)


def _phases(
    begun: tuple[PhaseBegan, ...], event: PhaseBegan | PhaseEnded
) -> tuple[PhaseBegan, ...]:
    """Add a phase that begins; one that ended before its last step has the steps that it took."""
    if isinstance(event, PhaseBegan):
        return (*begun, event)
    cut = {"steps": event.steps, "total_steps": event.total_steps}
    return (*begun[:-1], begun[-1].model_copy(update=cut))


def _heard(course: Course, event: Event) -> Course:
    """Take in what was wished and answered, and the ending."""
    match event:
        case Paused() | Resumed():
            return replace(course, held=isinstance(event, Paused))
        case Previewed():
            return replace(course, previewed=event)
        case Asked() | AskFailed():
            return replace(course, asks=(*course.asks, event))
        case Adjusted() | AdjustFailed():
            return replace(course, changes=(*course.changes, event))
        case Exported() | ExportFailed():
            return replace(course, exports=(*course.exports, event))
        case Finished() | Stopped() | Failed():
            return replace(course, ending=event, held=False)
        case _:
            return course


def _came_of_it(course: Course, event: Evaluated | Traced | Kept, at: float) -> Course:
    if isinstance(event, Traced):
        return replace(course, traced=event)
    if isinstance(event, Kept):
        return replace(course, kept=event)
    if event.when == "after":
        return replace(course, after=event)
    took = at - course.stage_at if course.stage == "scoring before" else 0.0
    return replace(course, before=event, scoring_s=took)


def status_of(*, began: bool, alive: bool, ending: Ending | None, paused: bool = False) -> Status:
    """Say how a run stands. A run without an ending whose process died was interrupted."""
    if ending is not None:
        return ending.kind
    if not alive:
        return "interrupted"
    if not began:
        return "queued"
    return "paused" if paused else "running"


_DOING: Mapping[Stage | None, str] = {
    None: "Starting",
    "downloading": "Downloading the model",
    "loading": "Loading the model and the data",
    "scoring": "Scoring the model",
    "scoring before": "Scoring the original model",
    "training": "Training",
    "saving": "Saving the changed weights",
    "keeping": "Keeping the model",
    "scoring after": "Scoring the unlearned model",
    "tracing": "Tracing",
    "answering": "Answering",
}

_ENDED: Mapping[Status, str] = {
    "queued": "Waiting in the queue",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted: the program ended before the run did",
}


@dataclass(frozen=True, slots=True)
class RunView:
    """How a run stands, as its status line tells it."""

    status: Status
    headline: str
    """What it is doing, or how it ended."""
    detail: str
    """Where it is in that: the step, or the share that is scored."""
    progress: tuple[float, float, float]
    """Done of the scoring before, the training and the scoring after; each 0 to 1."""
    eta_s: float | None
    """Seconds until the run ends, as far as it can be told."""
    seconds: float | None
    """How long an ended run took."""
    tokens_per_s: float | None
    memory_gib: float | None
    device: str
    advice: str
    """What to change after a failure."""
    can_pause: bool
    can_resume: bool
    can_stop: bool

    @property
    def live(self) -> bool:
        """Tell whether the run still changes."""
        return self.status in ("queued", "running", "paused")


def run_view(course: Course, *, alive: bool, mine: bool, now: float) -> RunView:
    """Fold what is known of a run into its status line.

    Args:
        course: The events so far.
        alive: Whether the process that works on it still lives.
        mine: Whether that process is this one, so that it can be paused and stopped from here.
        now: Unix seconds.
    """
    status = status_of(
        began=course.started is not None, alive=alive, ending=course.ending, paused=course.held
    )
    running = status in ("running", "paused")
    step, ending = course.step, course.ending
    return RunView(
        status=status,
        headline=_DOING[course.stage] if status == "running" else _headline(status, ending),
        detail=_detail(course, running),
        progress=_progress(course, status),
        eta_s=_eta(course, now) if status == "running" else None,
        seconds=ending.seconds if ending else None,
        tokens_per_s=step.tokens_per_s if step and course.stage == "training" and running else None,
        memory_gib=step.memory_gib if step else None,
        device=course.started.device if course.started else "",
        advice=ending.advice if isinstance(ending, Failed) else "",
        can_pause=mine and status == "running",
        can_resume=mine and status == "paused",
        can_stop=mine and status in ("queued", "running", "paused"),
    )


def _headline(status: Status, ending: Ending | None) -> str:
    return f"Failed: {ending.problem}" if isinstance(ending, Failed) else _ENDED[status]


def _detail(course: Course, running: bool) -> str:
    """Say where the run is: the share of a scoring, else the step and the phase."""
    done = course.progressed
    if running and done and done.total and course.stage != "training":
        so_far = f" · {exam_text(course.examined)}" if course.examined else ""
        return f"{done.done} of {done.total} {done.unit}".rstrip() + so_far
    if not course.phases:
        return ""
    taken = course.step.step if course.step else 0
    phases = f" · phase {course.phases[-1].phase + 1}" if len(course.phases) > 1 else ""
    return f"step {taken} of {course.total_steps}{phases}"


def exam_text(examined: Examined) -> str:
    """Tell of MMLU questions answered so far, with an interval that narrows."""
    found = share_interval(examined.right, examined.asked)
    return (
        f"MMLU {found.value:.3f}, {found.low:.3f} to {found.high:.3f}, after {examined.asked} of "
        f"{examined.of} questions"
    )


def _share(course: Course) -> float:
    done = course.progressed
    return done.done / done.total if done and done.total else 0.0


def _progress(course: Course, status: Status) -> tuple[float, float, float]:
    if status == "finished":
        return 1.0, 1.0, 1.0
    scoring = course.stage in ("scoring", "scoring before")
    scored = 1.0 if course.before else _share(course) * scoring
    total = course.total_steps
    trained = course.step.step / total if course.step and total else 0.0
    again = 1.0 if course.after else _share(course) * (course.stage == "scoring after")
    return scored, min(1.0, trained), again


def _eta(course: Course, now: float) -> float | None:
    """Estimate the seconds until the end; none while nothing was measured."""
    if course.stage == "training" and course.step:
        pace = _pace(course.recent)
        if pace is None:
            return None
        return (course.total_steps - course.step.step) * pace + course.scoring_s
    if course.stage in ("saving", "scoring after"):
        share, spent = _share(course), now - course.stage_at
        if course.stage == "scoring after" and share > SURE:
            return spent * (1 - share) / share
        return max(0.0, course.scoring_s - spent) or None
    if course.stage == "scoring" and (share := _share(course)) > SURE:
        return (now - course.stage_at) * (1 - share) / share
    return None


def _pace(steps: Sequence[StepLogged]) -> float | None:
    """Return seconds per step."""
    gaps = [b.seconds - a.seconds for a, b in itertools.pairwise(steps)]
    return statistics.median(gaps) if gaps else None


@dataclass(frozen=True, slots=True)
class Points:
    """What newly read events add to the chart."""

    series: Mapping[str, tuple[tuple[int, ...], tuple[float | None, ...]]]
    """Steps and values by series, such as `term.forget` or `knowledge.retain`. Values that are
    not finite are none: a chart has no place for them."""


def points_after(stored: Sequence[Timed]) -> Points:
    """Turn newly read events into points of the chart, thinned when the run is long.

    Of each stretch of steps in a long run, the lowest and the highest loss stay: a spike is what
    one looks for in a curve.
    """
    steps = [item.event for item in stored if isinstance(item.event, StepLogged)]
    series: dict[str, tuple[list[int], list[float | None]]] = {}
    for event in (*_thinned(steps), *(i.event for i in stored if isinstance(i.event, Probed))):
        for name, value in _values(event):
            xs, ys = series.setdefault(name, ([], []))
            xs.append(event.step)
            ys.append(value if math.isfinite(value) else None)
    return Points(series={name: (tuple(xs), tuple(ys)) for name, (xs, ys) in series.items()})


def _values(event: StepLogged | Probed) -> Iterable[tuple[str, float]]:
    if isinstance(event, StepLogged):
        yield from ((f"term.{name}", value) for name, value in event.terms.items())
        yield from ((f"weight.{name}", value) for name, value in event.weights.items())
        yield "grad_norm", event.grad_norm
        yield "learning_rate", event.learning_rate
        return
    yield from ((f"knowledge.{name}", value) for name, value in event.knowledge.items())
    yield from ((f"regurgitation.{name}", value) for name, value in event.regurgitation.items())
    yield from ((f"nll.{name}", value) for name, value in event.nll.items())


def _thinned(steps: Sequence[StepLogged]) -> Sequence[StepLogged]:
    if len(steps) <= MANY_STEPS:
        return steps
    stretch = math.ceil(2 * len(steps) / MANY_STEPS)
    kept: set[int] = {0, len(steps) - 1}
    for first in range(0, len(steps), stretch):
        found = range(first, min(first + stretch, len(steps)))
        kept.add(min(found, key=lambda i: steps[i].loss))
        kept.add(max(found, key=lambda i: steps[i].loss))
    return [steps[i] for i in sorted(kept)]
