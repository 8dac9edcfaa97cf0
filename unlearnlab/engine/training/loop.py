"""The training loop: phases in order, one event after each optimizer step.

A generator without threads, files or callbacks. It yields None after each micro-batch, where its
consumer may pause or close it.
"""

import itertools
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from unlearnlab.engine.evaluation.evaluation import Probe
from unlearnlab.engine.model.devices import memory_gib
from unlearnlab.engine.model.tokens import Tokenizer, collate, encode
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.engine.objectives import OBJECTIVES
from unlearnlab.engine.objectives.context import Batch, Context
from unlearnlab.engine.training.optimizer_step import (
    PendingStep,
    StepResult,
    gradients,
    optimizer_of,
    rescale,
)
from unlearnlab.engine.training.schedules import Passes, Rows, passes, plan_chunks
from unlearnlab.runs.events import Event, PhaseBegan, PhaseEnded, Stage, StageBegan, StepLogged
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import Phase, RunSpec


@dataclass(slots=True)
class Clock:
    """Seconds since a run started."""

    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.began

    def stage(self, name: Stage) -> StageBegan:
        """Make the event that a stage begins now."""
        return StageBegan(stage=name, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """A phase with its rows, and its position in the run."""

    phase: Phase
    number: int
    first_step: int
    """Optimizer steps of all earlier phases."""
    chunks: Sequence[Rows]
    """Rows to train in turn, each chunk with a fresh optimizer."""
    batches: Sequence[int]
    """Micro-batches in one pass over each chunk."""

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        steps = sum(self.chunk_steps)
        return steps if self.phase.max_steps is None else min(steps, self.phase.max_steps)

    @property
    def chunk_steps(self) -> list[int]:
        """Number of optimizer steps of each chunk, without `max_steps`."""
        per_pass = (math.ceil(count / self.phase.gradient_accumulation) for count in self.batches)
        return [self.phase.epochs * count for count in per_pass]


@dataclass(slots=True)
class TrainingState:
    """Progress of the training, and the settings in force, which may be changed while it runs."""

    planned: PlannedPhase | None = None
    """The phase being trained."""
    phase: Phase | None = None
    """Its present settings; a replacement takes effect at the next step."""
    step: int = 0
    """Optimizer steps taken."""
    begun: int = 0
    """The last step whose settings are fixed: the one being computed or taken last."""


def plan_phases(spec: RunSpec, data: Dataset, tokenizer: Tokenizer) -> list[PlannedPhase]:
    """Select, tokenise and lay out the rows of each phase.

    Raises:
        ValueError: A set that a method uses has no rows, or does not suit the method's layout.
    """
    plan: list[PlannedPhase] = []
    for number, phase in enumerate(spec.phases):
        selected = data if phase.tasks is None else data.only(phase.tasks)
        for name in phase.method.drawn:
            if not selected.rows(name):
                raise ValueError(
                    f"phases.{number}: the {name} set has no rows to train on: choose a method "
                    "that does not use it, or data with such rows"
                )
        rows: Rows = {
            name: [encode(tokenizer, row, i) for i, row in enumerate(selected.rows(name))]
            for name in phase.method.drawn
        }
        try:
            chunks = plan_chunks(phase, rows) if rows else []
        except ValueError as error:
            raise ValueError(f"phases.{number}.{error}") from error
        batches = [len(next(passes(phase, chunk, torch.Generator()))) for chunk in chunks]
        first_step = plan[-1].first_step + plan[-1].steps if plan else 0
        plan.append(PlannedPhase(phase, number, first_step, chunks, batches))
    return plan


def train(
    lm: UnlearningModel,
    spec: RunSpec,
    data: Dataset,
    *,
    probe: Probe,
    clock: Clock,
    state: TrainingState | None = None,
) -> Generator[Event | None, None, None]:
    """Train all phases on the same weights, running the probe at regular steps.

    Args:
        lm: The model to train.
        spec: The run.
        data: The rows.
        probe: Measures a few rows during training.
        clock: The run's clock.
        state: Kept up to date; a phase put there takes effect at the next step.

    Raises:
        RunFailed: A loss term is not finite; that step has not changed the weights.
        ValueError: The data do not suit a phase.
    """
    plan = plan_phases(spec, data, lm.tokenizer)
    total = plan[-1].first_step + plan[-1].steps
    due = probe_steps(total, spec.evaluation.probes)
    state = state or TrainingState()
    skipped = 0
    """Steps left out by phases that reached their goal early."""
    for original in plan:
        planned = replace(original, first_step=original.first_step - skipped)
        phase = _PhaseTraining(lm, planned, spec.seed, state, total=total - skipped, clock=clock)
        for event in phase.train():
            yield event
            if isinstance(event, StepLogged) and event.step + skipped in due:
                lm.model.eval()
                yield from probe.run(lm, step=event.step)
                lm.model.train()
        left_out = planned.first_step + planned.steps - state.step
        if left_out:
            skipped += left_out
            steps = planned.steps - left_out
            yield PhaseEnded(phase=planned.number, steps=steps, total_steps=total - skipped)
        if due and (left_out or not planned.steps):  # No step of its end had a probe.
            yield from probe.run(lm, step=state.step)


def probe_steps(total: int, probes: int) -> set[int]:
    """Return the steps after which the probe runs: evenly spaced, including the last."""
    count = min(probes, total)
    return {round(total * (i + 1) / count) for i in range(count)}


class _PhaseTraining:
    """Training of one phase."""

    def __init__(
        self,
        lm: UnlearningModel,
        planned: PlannedPhase,
        seed: int,
        state: TrainingState,
        *,
        total: int,
        clock: Clock,
    ) -> None:
        self._lm, self._planned, self._state = lm, planned, state
        self._total, self._clock = total, clock
        self._objective = OBJECTIVES[planned.phase.method.kind]
        self._ctx = Context(
            planned.phase.method, lm.original, seed, adapter=planned.phase.adapter_name
        )
        self._generator = torch.Generator().manual_seed(seed + planned.number)
        self._finished = False

    def train(self) -> Generator[Event | None, None, None]:
        """Train chunk after chunk, then run the method's final operation."""
        planned, state = self._planned, self._state
        # A method without steps trains no parameters: it only has a final operation.
        self._trained = self._lm.train_only(planned.phase) if planned.steps else []
        state.planned, state.phase = planned, planned.phase
        state.step = state.begun = planned.first_step
        yield PhaseBegan(
            phase=planned.number,
            step=planned.first_step,
            steps=planned.steps,
            total_steps=self._total,
            trainable=sum(p.numel() for p in self._trained),
            effective_batch=planned.phase.batch_size * planned.phase.gradient_accumulation,
        )
        self._lm.model.train()
        left = planned.steps
        for number, steps in enumerate(planned.chunk_steps):
            yield from self._train_chunk(number, min(steps, left))
            left -= min(steps, left)
        if not self._finished:
            self._finish()
        self._lm.model.eval()
        state.planned = state.phase = None

    def _train_chunk(self, number: int, steps: int) -> Generator[Event | None, None, None]:
        planned, state = self._planned, self._state
        optimizer, schedule = optimizer_of(self._trained, planned.phase, steps, self._lm.device)
        rows = planned.chunks[number]
        groups = _grouped(
            passes(planned.phase, rows, self._generator), planned.phase.gradient_accumulation
        )
        rate, last = planned.phase.learning_rate, state.step + steps
        for group in itertools.islice(groups, steps):
            assert state.phase is not None
            self._ctx.method, self._ctx.epoch = state.phase.method, group.epoch
            rescale(optimizer, schedule, state.phase.learning_rate / rate)
            rate = state.phase.learning_rate
            step = state.begun = state.step + 1
            batches = [self._collated(micro) for micro in group.batches]
            pending = yield from gradients(
                self._lm.model, batches, self._objective, self._ctx, step=step
            )
            began = time.perf_counter()
            present_rate = float(optimizer.param_groups[0]["lr"])
            result = self._update(optimizer, pending, step=step)
            schedule.step()
            if self._objective.observe is not None:
                self._objective.observe(result.terms, self._ctx)
            if step == planned.first_step + planned.steps:
                self._finish()  # Before the step's event, so that its probe sees the result.
            state.step = step
            share = planned.phase.epochs / len(planned.chunks)
            yield StepLogged(
                step=step,
                phase=planned.number,
                epoch=(number + group.progress / planned.phase.epochs) * share,
                terms=result.terms,
                weights=result.weights,
                loss=result.loss,
                grad_norm=result.norm,
                learning_rate=present_rate,
                tokens_per_s=sum(b.real for b in batches)
                / (pending.seconds + time.perf_counter() - began),
                memory_gib=memory_gib(*self._lm.weight_devices),
                seconds=self._clock.seconds,
            )
            if step < last and group.ends_pass and (yield from self._reached_goal(rows)):
                return

    def _update(
        self, optimizer: torch.optim.Optimizer, pending: PendingStep, *, step: int
    ) -> StepResult:
        """Clip the gradients, check that all numbers are finite, and take the step."""
        norm = nn.utils.clip_grad_norm_(self._trained, self._planned.phase.max_grad_norm)
        result = pending.fetch(norm, step=step)
        optimizer.step()
        optimizer.zero_grad()
        return result

    def _reached_goal(self, rows: Rows) -> Generator[None, None, bool]:
        if self._objective.done is None:
            return False
        self._lm.model.eval()
        reached = yield from self._objective.done(self._lm, rows, self._ctx)
        self._lm.model.train()
        return reached

    def _finish(self) -> None:
        self._finished = True
        if self._objective.finish is not None:
            self._objective.finish(self._lm, self._ctx)

    def _collated(self, rows: Rows) -> Batch:
        pad, device = self._lm.tokenizer.pad_token_id, self._lm.device
        return Batch({name: collate(of, pad=pad, device=device) for name, of in rows.items()})


@dataclass(frozen=True, slots=True)
class _Group:
    """The micro-batches of one optimizer step."""

    batches: Sequence[Rows]
    epoch: int
    """Index of the pass over the leading set."""
    progress: float
    """Passes completed after this step."""
    ends_pass: bool


def _grouped(all_passes: Passes, accumulation: int) -> Iterator[_Group]:
    """Group micro-batches into optimizer steps; a step never spans two passes."""
    for epoch, batches in enumerate(all_passes):
        for at in range(0, len(batches), accumulation):
            group = batches[at : at + accumulation]
            done = at + len(group)
            yield _Group(group, epoch, epoch + done / len(batches), done == len(batches))
