"""The training loop: phases in order, one event after each optimizer step.

A generator without threads, files or callbacks: whoever consumes it decides when to stop, and may
do so at every micro-batch, where it yields None.
"""

import itertools
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from unlearnlab.engine.evaluation.evaluation import Probe
from unlearnlab.engine.model.data import Tokenizer, collate, encode
from unlearnlab.engine.model.devices import memory_gib
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.objectives import OBJECTIVES, Batch, Context
from unlearnlab.engine.training.gradients import Found, Sums, gradients
from unlearnlab.engine.training.optimizers import optimizer_of, rescale
from unlearnlab.engine.training.schedules import Passes, Rows
from unlearnlab.runs.events import Event, PhaseBegan, PhaseEnded, Stage, StageBegan, StepLogged
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import Phase, RunSpec


@dataclass(slots=True)
class Clock:
    """Seconds since the run was taken up."""

    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.perf_counter() - self.began

    def stage(self, name: Stage) -> StageBegan:
        """Tell that a stage begins now."""
        return StageBegan(stage=name, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Course:
    """A phase and where it stands in the run."""

    phase: Phase
    number: int
    first_step: int
    """Optimizer steps taken before it."""
    lessons: Sequence[Rows]
    """What is trained one after another, each with an optimizer of its own."""
    batches: Sequence[int]
    """Micro-batches in one pass over each lesson."""

    @property
    def steps(self) -> int:
        """Count its optimizer steps."""
        steps = sum(self.lesson_steps)
        return steps if self.phase.max_steps is None else min(steps, self.phase.max_steps)

    @property
    def lesson_steps(self) -> list[int]:
        """Count the optimizer steps of each lesson; the last batches of a pass may share one."""
        of_a_pass = (math.ceil(count / self.phase.gradient_accumulation) for count in self.batches)
        return [self.phase.epochs * count for count in of_a_pass]


@dataclass(slots=True)
class Controls:
    """Where training stands, and the settings in force, some of which may change meanwhile."""

    course: Course | None = None
    """The phase that is being trained."""
    phase: Phase | None = None
    """Its settings as they are now."""
    step: int = 0
    """Optimizer steps taken."""
    begun: int = 0
    """Optimizer steps whose values are settled: those taken, and the one being computed."""


def courses(spec: RunSpec, data: Dataset, tokenizer: Tokenizer) -> list[Course]:
    """Lay out the phases of a run, one after another.

    Raises:
        ValueError: A set that a method needs has no rows, or cannot be laid out as it asks.
    """
    laid: list[Course] = []
    for number, phase in enumerate(spec.phases):
        chosen = data if phase.tasks is None else data.only(phase.tasks)
        for name in phase.method.drawn:
            if not chosen.rows(name):
                raise ValueError(
                    f"phases.{number}: the {name} set has no rows to train on: choose a method "
                    "that does not draw on it, or data that have it"
                )
        rows: Rows = {
            name: [encode(tokenizer, row, i) for i, row in enumerate(chosen.rows(name))]
            for name in phase.method.drawn
        }
        schedule = OBJECTIVES[phase.method.kind].schedule
        try:
            lessons = schedule.lessons(phase, rows) if rows else []
        except ValueError as error:
            raise ValueError(f"phases.{number}.{error}") from error
        counts = [len(next(schedule.passes(phase, one, torch.Generator()))) for one in lessons]
        first = laid[-1].first_step + laid[-1].steps if laid else 0
        laid.append(Course(phase, number, first, lessons, counts))
    return laid


def train(
    target: Target,
    spec: RunSpec,
    data: Dataset,
    *,
    probe: Probe,
    clock: Clock,
    controls: Controls | None = None,
) -> Generator[Event | None, None, None]:
    """Carry out all phases on the same weights, probing now and then.

    Args:
        target: The model that is trained.
        spec: What is asked for.
        data: The rows.
        probe: Measures a few rows during training.
        clock: Of the run.
        controls: Kept current; a phase that is put there takes effect at the next step.

    Raises:
        RunFailed: A loss term is not a finite number; the weights are as before that step.
        ValueError: The data do not suit a phase.
    """
    laid = courses(spec, data, target.tokenizer)
    total = laid[-1].first_step + laid[-1].steps
    due = probe_steps(total, spec.evaluation.probes)
    controls = controls or Controls()
    saved = 0
    """Steps that phases left out because they had reached their goal."""
    for planned in laid:
        course = replace(planned, first_step=planned.first_step - saved)
        phase = _Phase(target, course, spec.seed, controls, total=total - saved, clock=clock)
        for event in phase.train():
            yield event
            if isinstance(event, StepLogged) and event.step + saved in due:
                target.model.eval()
                yield from probe.run(target, step=event.step)
                target.model.train()
        left_out = course.first_step + course.steps - controls.step
        if left_out:
            saved += left_out
            steps = course.steps - left_out
            yield PhaseEnded(phase=course.number, steps=steps, total_steps=total - saved)
        if due and (left_out or not course.steps):  # No planned step tells what it did.
            yield from probe.run(target, step=controls.step)


def probe_steps(total: int, probes: int) -> set[int]:
    """Return the steps after which the probe runs: evenly spaced, the last one included."""
    count = min(probes, total)
    return {round(total * (i + 1) / count) for i in range(count)}


class _Phase:
    """One phase at work."""

    def __init__(
        self,
        target: Target,
        course: Course,
        seed: int,
        controls: Controls,
        *,
        total: int,
        clock: Clock,
    ) -> None:
        self._target, self._course, self._controls = target, course, controls
        self._total, self._clock = total, clock
        self._objective = OBJECTIVES[course.phase.method.kind]
        self._ctx = Context(
            course.phase.method, target.original, seed, adapter=course.phase.adapter_name
        )
        self._generator = torch.Generator().manual_seed(seed + course.number)
        self._finished = False

    def train(self) -> Generator[Event | None, None, None]:
        """Take all steps, lesson after lesson, and do what the method ends with."""
        course = self._course
        # A method that takes no steps trains nothing, and does all of its work at the end.
        self._trained = self._target.train_only(course.phase) if course.steps else []
        self._controls.course, self._controls.phase = course, course.phase
        self._controls.step = self._controls.begun = course.first_step
        yield self._began()
        self._target.model.train()
        left = course.steps
        for number, steps in enumerate(course.lesson_steps):
            yield from self._lesson(number, min(steps, left))
            left -= min(steps, left)
        if not self._finished:
            self._finish()
        self._target.model.eval()
        self._controls.course = self._controls.phase = None

    def _began(self) -> PhaseBegan:
        course = self._course
        return PhaseBegan(
            phase=course.number,
            step=course.first_step,
            steps=course.steps,
            total_steps=self._total,
            trainable=sum(p.numel() for p in self._trained),
            effective_batch=course.phase.batch_size * course.phase.gradient_accumulation,
        )

    def _lesson(self, number: int, steps: int) -> Generator[Event | None, None, None]:
        course, controls = self._course, self._controls
        optimizer, schedule = optimizer_of(self._trained, course.phase, steps, self._target.device)
        rows = course.lessons[number]
        passes = self._objective.schedule.passes(course.phase, rows, self._generator)
        groups = _grouped(passes, course.phase.gradient_accumulation)
        rate, last = course.phase.learning_rate, controls.step + steps
        for group in itertools.islice(groups, steps):
            assert controls.phase is not None
            self._ctx.method, self._ctx.epoch = controls.phase.method, group.epoch
            rescale(optimizer, schedule, controls.phase.learning_rate / rate)
            rate = controls.phase.learning_rate
            step = controls.begun = controls.step + 1
            batches = [self._collated(of) for of in group.batches]
            found = yield from gradients(
                self._target.model, batches, self._objective, self._ctx, step=step
            )
            began = time.perf_counter()
            present_rate = float(optimizer.param_groups[0]["lr"])
            sums = self._update(optimizer, found, step=step)
            schedule.step()
            if self._objective.observe is not None:
                self._objective.observe(sums.terms, self._ctx)
            if step == course.first_step + course.steps:
                self._finish()  # Before the step is told, so that a probe of it sees the result.
            controls.step = step
            share = course.phase.epochs / len(course.lessons)
            yield StepLogged(
                step=step,
                phase=course.number,
                epoch=(number + group.progress / course.phase.epochs) * share,
                terms=sums.terms,
                weights=sums.weights,
                loss=sums.loss,
                grad_norm=sums.norm,
                learning_rate=present_rate,
                tokens_per_s=sum(b.real for b in batches)
                / (found.seconds + time.perf_counter() - began),
                memory_gib=memory_gib(*self._target.places),
                seconds=self._clock.seconds,
            )
            if step < last and group.ends_pass and (yield from self._learnt(rows)):
                return

    def _update(self, optimizer: torch.optim.Optimizer, found: Found, *, step: int) -> Sums:
        """Change the weights, if all is finite, and return what the step came to.

        Here the host waits for the device: once for each step.
        """
        norm = nn.utils.clip_grad_norm_(self._trained, self._course.phase.max_grad_norm)
        sums = found.summed(norm, step=step)
        optimizer.step()
        optimizer.zero_grad()
        return sums

    def _learnt(self, rows: Rows) -> Generator[None, None, bool]:
        """Ask the objective whether its goal is reached."""
        if self._objective.done is None:
            return False
        self._target.model.eval()
        reached = yield from self._objective.done(self._target, rows, self._ctx)
        self._target.model.train()
        return reached

    def _finish(self) -> None:
        self._finished = True
        if self._objective.finish is not None:
            self._objective.finish(self._target, self._ctx)

    def _collated(self, rows: Rows) -> Batch:
        pad, device = self._target.tokenizer.pad_token_id, self._target.device
        return Batch({name: collate(of, pad=pad, device=device) for name, of in rows.items()})


@dataclass(frozen=True, slots=True)
class Group:
    """The micro-batches of one optimizer step."""

    batches: Sequence[Rows]
    epoch: int
    """Pass over the first set, 0-based."""
    progress: float
    """Passes completed after this step."""
    ends_pass: bool
    """Whether it is the last of its pass."""


def _grouped(passes: Passes, accumulation: int) -> Iterator[Group]:
    """Put micro-batches together for one optimizer step; a step never spans two passes."""
    for epoch, batches in enumerate(passes):
        for at in range(0, len(batches), accumulation):
            group = batches[at : at + accumulation]
            done = at + len(group)
            yield Group(group, epoch, epoch + done / len(batches), done == len(batches))
