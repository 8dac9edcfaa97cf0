"""Progress of a run: pure folds of its events into frozen values.

Events are read by cursor, and `advance` continues a fold with the newly read ones. Nothing here
knows the store, the worker or a widget.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from unlearnlab.metrics.intervals import share_interval
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    AskFailed,
    CutShort,
    Ending,
    Evaluated,
    Event,
    EventBase,
    Examined,
    Exported,
    ExportFailed,
    Failed,
    Finished,
    Kept,
    KnowledgeChecked,
    Loaded,
    Paused,
    PhaseBegan,
    PhaseEnded,
    Previewed,
    Probed,
    Progressed,
    Resumed,
    Said,
    SnapshotKept,
    Stage,
    StageBegan,
    Started,
    StepLogged,
    StepsTimed,
    Stopped,
    StoredEvent,
    Traced,
    Unread,
)

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]

RECENT = 20
"""Number of latest steps that give the pace: the median of their gaps, which ignores pauses."""

SURE = 0.1
"""Share of an evaluation that must be done before the rest is extrapolated."""

MANY_STEPS = 4000
"""Above this many steps in a run, its curves are thinned."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The fold of a run's events so far."""

    seq: int = 0
    """Number of the last folded event."""
    started: Started | None = None
    stage: Stage | None = None
    stage_at: float = 0.0
    """Unix time at which the stage began."""
    progressed: Progressed | None = None
    examined: Examined | None = None
    """MMLU answers of the current stage so far."""
    loaded: Loaded | None = None
    """Fingerprints of weights and rows."""
    phases: tuple[PhaseBegan, ...] = ()
    recent: tuple[StepLogged, ...] = ()
    """The last `RECENT` steps."""
    probed: Probed | None = None
    """The last live probe."""
    said: tuple[Said, ...] = ()
    """Answers to the watched rows at each probe, in order of steps."""
    scoring_s: float = 0.0
    """Seconds for scoring the original model."""
    held: bool = False
    before: Evaluated | None = None
    after: Evaluated | None = None
    knowledge: KnowledgeChecked | None = None
    """What the original model knows of the forget rows, as far as it was asked before training."""
    timed: StepsTimed | None = None
    """How long the training takes, as estimated before it began."""
    cut: CutShort | None = None
    """Where the user ended the training, if before its last step."""
    kept: Kept | None = None
    """The model that the run saved under a name, if any."""
    traced: Traced | None = None
    """Result of a trace."""
    previewed: Previewed | None = None
    """Result of a preview."""
    asks: tuple[Asked | AskFailed, ...] = ()
    changes: tuple[Adjusted | AdjustFailed, ...] = ()
    """Settings changed during the run, and failed attempts."""
    snapshots: tuple[SnapshotKept, ...] = ()
    exports: tuple[Exported | ExportFailed, ...] = ()
    """Exports of the merged model, and failed ones."""
    ending: Ending | None = None
    unread: str = ""
    """The last event that cannot be read, in words; empty if all can."""

    @property
    def step(self) -> StepLogged | None:
        """Return the last optimizer step."""
        return self.recent[-1] if self.recent else None

    @property
    def total_steps(self) -> int:
        """Return the planned optimizer steps of all phases; 0 before training."""
        return self.phases[-1].total_steps if self.phases else 0


def advance(known: RunProgress, stored: Iterable[StoredEvent]) -> RunProgress:
    """Fold newly read events into the progress of a run."""
    for item in stored:
        known = replace(_fold(known, item.event, item.at), seq=item.seq)
    return known


_LATEST: Mapping[type[EventBase], str] = {
    Started: "started",
    Loaded: "loaded",
    KnowledgeChecked: "knowledge",
    StepsTimed: "timed",
    Examined: "examined",
    Progressed: "progressed",
    Kept: "kept",
    Traced: "traced",
    Previewed: "previewed",
    Probed: "probed",
}
"""Fields that hold the latest event of a type."""

_COLLECTED: Mapping[type[EventBase], str] = {
    PhaseBegan: "phases",
    SnapshotKept: "snapshots",
    Asked: "asks",
    AskFailed: "asks",
    Adjusted: "changes",
    AdjustFailed: "changes",
    Exported: "exports",
    ExportFailed: "exports",
}
"""Fields that hold all events of some types."""


def _fold(known: RunProgress, event: Event | Unread, at: float) -> RunProgress:
    if name := _LATEST.get(type(event)):
        return replace(known, **{name: event})
    if name := _COLLECTED.get(type(event)):
        return replace(known, **{name: (*getattr(known, name), event)})
    match event:
        case Evaluated(when="after"):
            return replace(known, after=event)
        case Evaluated():
            took = at - known.stage_at if known.stage == "scoring before" else 0.0
            return replace(known, before=event, scoring_s=took)
        case StageBegan():
            return replace(known, stage=event.stage, stage_at=at, progressed=None, examined=None)
        case Unread():
            return replace(known, unread=f"{event.was}: {event.problem}")
        case PhaseEnded() if known.phases:  # It ended early: correct its planned steps.
            taken = {"steps": event.steps, "total_steps": event.total_steps}
            last = known.phases[-1].model_copy(update=taken)
            return replace(known, phases=(*known.phases[:-1], last))
        case CutShort():
            return replace(known, cut=event, phases=_cut_phases(known.phases, event.step))
        case Said():
            again = bool(known.said) and known.said[-1].step == event.step
            return replace(known, said=(*(known.said[:-1] if again else known.said), event))
        case StepLogged():
            return replace(known, recent=(*known.recent[1 - RECENT :], event))
        case Paused() | Resumed():
            return replace(known, held=isinstance(event, Paused))
        case Finished() | Stopped() | Failed():
            return replace(known, ending=event, held=False)
        case _:
            return known


def _cut_phases(phases: tuple[PhaseBegan, ...], step: int) -> tuple[PhaseBegan, ...]:
    """Correct the planned steps of the phase in which the training was ended."""
    if not phases:
        return phases
    taken = {"steps": step - phases[-1].step, "total_steps": step}
    return (*phases[:-1], phases[-1].model_copy(update=taken))


def status_of(*, began: bool, alive: bool, ending: Ending | None, paused: bool = False) -> Status:
    """Return the status of a run: interrupted if its process died before an ending."""
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
    "checking": "Asking the model what it knows of the forget rows",
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
    """The status line of a run."""

    status: Status
    headline: str
    """Its current activity, or how it ended."""
    detail: str
    """The step, or the share of an evaluation."""
    progress: tuple[float, float, float]
    """Progress of scoring before, training and scoring after, each 0 to 1."""
    eta_s: float | None
    """Estimated seconds until the run ends; none if unknown."""
    eta_at_most: bool
    """Whether a phase may end early, so that the run takes no longer than that."""
    seconds: float | None
    """Duration of an ended run."""
    tokens_per_s: float | None
    memory_gib: float | None
    device: str
    advice: str
    """What to change after a failure."""
    can_pause: bool
    can_resume: bool
    can_stop: bool
    can_score: bool
    """Whether its training can be ended now, so that what is trained so far is scored."""

    @property
    def live(self) -> bool:
        """Whether the run is queued or active."""
        return self.status in ("queued", "running", "paused")

    @property
    def eta_words(self) -> str:
        """How sure the estimated time is."""
        return "at most" if self.eta_at_most else "about"


def run_view(progress: RunProgress, *, alive: bool, mine: bool, now: float) -> RunView:
    """Return the status line of a run.

    Args:
        progress: The fold of its events.
        alive: Whether the process that owns it is alive.
        mine: Whether this process owns it, so that it can be paused and stopped here.
        now: Unix time.
    """
    began, ending, step = progress.started is not None, progress.ending, progress.step
    status = status_of(began=began, alive=alive, ending=ending, paused=progress.held)
    running = status in ("running", "paused")
    training = running and progress.stage == "training"
    if status == "running":
        headline = _DOING[progress.stage]
    else:
        headline = f"Failed: {ending.problem}" if isinstance(ending, Failed) else _ENDED[status]
    return RunView(
        status=status,
        headline=headline,
        detail=_detail(progress, running),
        progress=_progress(progress, status),
        eta_s=_eta(progress, now) if status == "running" else None,
        eta_at_most=_ahead(progress) and progress.timed is not None and progress.timed.at_most,
        seconds=ending.seconds if ending else None,
        tokens_per_s=step.tokens_per_s if step and training else None,
        memory_gib=step.memory_gib if step else None,
        device=progress.started.device if progress.started else "",
        advice=ending.advice if isinstance(ending, Failed) else "",
        can_pause=mine and status == "running",
        can_resume=mine and status == "paused",
        can_stop=mine and status in ("queued", "running", "paused"),
        can_score=mine and training and bool(progress.phases),
    )


def _detail(progress: RunProgress, running: bool) -> str:
    """Return the position in the run: share of an evaluation, else step and phase."""
    done, exam = progress.progressed, progress.examined
    if running and done and done.total and progress.stage != "training":
        text = f"{done.done} of {done.total} {done.unit}".rstrip()
        if exam is None:
            return text
        found = share_interval(exam.right, exam.asked)
        span = f"{found.low:.3f} to {found.high:.3f}"
        return f"{text} · MMLU {found.value:.3f}, {span}, after {exam.asked} of {exam.of} questions"
    if progress.cut:
        return f"training stopped at step {progress.cut.step} of {progress.cut.planned}"
    if not progress.phases:
        return ""
    taken = progress.step.step if progress.step else 0
    phases = f" · phase {progress.phases[-1].phase + 1}" if len(progress.phases) > 1 else ""
    return f"step {taken} of {progress.total_steps}{phases}"


def _share(progress: RunProgress) -> float:
    done = progress.progressed
    return done.done / done.total if done and done.total else 0.0


def _progress(progress: RunProgress, status: Status) -> tuple[float, float, float]:
    if status == "finished":
        return 1.0, 1.0, 1.0
    scoring = progress.stage in ("scoring", "scoring before")
    scored = 1.0 if progress.before else _share(progress) * scoring
    total = progress.total_steps
    trained = progress.step.step / total if progress.step and total else 0.0
    again = 1.0 if progress.after else _share(progress) * (progress.stage == "scoring after")
    return scored, min(1.0, trained), again


def _ahead(progress: RunProgress) -> bool:
    """Tell whether the training has not ended yet."""
    return progress.stage in ("scoring before", "training")


def _eta(progress: RunProgress, now: float) -> float | None:
    """Estimate the seconds until the end; none while nothing was measured."""
    if progress.stage == "training" and progress.step:
        gaps = [later.seconds - one.seconds for one, later in itertools.pairwise(progress.recent)]
        left = progress.total_steps - progress.step.step
        return left * statistics.median(gaps) + progress.scoring_s if gaps else None
    if progress.stage == "scoring before" and progress.timed and (share := _share(progress)) > SURE:
        scoring = (now - progress.stage_at) / share
        return scoring * (1 - share) + progress.timed.seconds + scoring
    if progress.stage in ("saving", "scoring after"):
        share, spent = _share(progress), now - progress.stage_at
        if progress.stage == "scoring after" and share > SURE:
            return spent * (1 - share) / share
        return max(0.0, progress.scoring_s - spent) or None
    if progress.stage == "scoring" and (share := _share(progress)) > SURE:
        return (now - progress.stage_at) * (1 - share) / share
    return None


Series = tuple[tuple[int, ...], tuple[float | None, ...]]
"""Steps and values of a curve. Non-finite values are None: a chart cannot place them."""


def points_after(
    stored: Sequence[StoredEvent], *, most: int | None = MANY_STEPS
) -> dict[str, Series]:
    """Return the chart points of newly read events by series, such as `term.forget`.

    Args:
        stored: The events.
        most: Points of a series from which it is thinned as `thinned` does; None keeps all.
    """
    events = [item.event for item in stored]
    # Points of a step's own series come before those of probes, which go on with them.
    logged = [event for event in events if isinstance(event, StepLogged)]
    probed = [event for event in events if isinstance(event, Probed)]
    series: dict[str, tuple[list[int], list[float | None]]] = {}
    for event in (*logged, *probed):
        for name, value in _values(event):
            xs, ys = series.setdefault(name, ([], []))
            xs.append(event.step)
            ys.append(value if math.isfinite(value) else None)
    found: dict[str, Series] = {}
    for name, (xs, ys) in series.items():
        kept = range(len(xs)) if most is None else thinned(ys, most)
        found[name] = tuple(xs[at] for at in kept), tuple(ys[at] for at in kept)
    return found


def thinned(values: Sequence[float | None], most: int) -> Sequence[int]:
    """Choose about `most` points of a long series, by their places, in order.

    The lowest and the highest of each stretch are kept, so that a spike of one step stays visible;
    so are the first and the last of all, and one gap of each stretch.
    """
    if len(values) <= most:
        return range(len(values))
    stretch = math.ceil(2 * len(values) / most)
    kept = {0, len(values) - 1}
    for first in range(0, len(values), stretch):
        part = list(enumerate(values[first : first + stretch], first))
        there = [(value, at) for at, value in part if value is not None]
        kept |= {min(there)[1], max(there)[1]} if there else set()
        kept |= set([at for at, value in part if value is None][:1])
    return sorted(kept)


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
