"""Training: the order of rows, one optimizer step, and the loop over phases with an event per step.

The method declares the `layout` in which rows are drawn, from the phase's own random generator.
The loop is a generator without threads, files or callbacks. It yields None after each micro-batch,
where its consumer may pause or close it. On a GPU the host runs ahead of the device, and fetching a
number makes it wait: so the numbers of a step are fetched all at once.
"""

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.likelihoods import Example, collate, encode
from unlearnlab.engine.loading import memory_gib, not_finite
from unlearnlab.engine.objectives import OBJECTIVES
from unlearnlab.engine.objectives.context import Batch, Context, Objective, Rows
from unlearnlab.engine.optimization import Optimizer
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.unlearning_model import DIGEST, STARTED, UnlearningModel
from unlearnlab.runs.artefacts import Artefact
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.estimates import training_seconds
from unlearnlab.runs.events import (
    CutShort,
    Event,
    PhaseBegan,
    PhaseEnded,
    SnapshotKept,
    Stage,
    StageBegan,
    StepLogged,
    StepsTimed,
)
from unlearnlab.spec.methods.base import Layout, MethodSpec, SetName
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import SNAPSHOTS, Phase, RunSpec

T = TypeVar("T")

DIVERGED = "lower the learning rate, use fewer epochs, or give the retain set more weight"
"""Advice where numbers are no longer finite."""

Passes = Iterator[Sequence[Rows]]
"""Endless passes over the leading set, each a list of batches."""


def plan_chunks(phase: Phase, rows: Rows) -> Sequence[Rows]:
    """Cut the rows into chunks that are trained in turn, each with a fresh optimizer.

    All rows are one chunk unless the method sets `chunk_rows`. Then the forget set is cut into
    chunks of that many rows, each with the next retain rows in turn (AILS-NTUA, arXiv:2503.02443).

    Raises:
        ValueError: A chunk is larger than the forget set.
    """
    size = phase.method.chunk_rows
    if size is None:
        return [rows]
    forget, retain = rows["forget"], cycle(rows["retain"])
    if size > len(forget):
        raise ValueError(
            f"method.chunk_size: a chunk of {size} rows is larger than the forget set of "
            f"{len(forget)}: use at most that, or another method"
        )
    return [
        {"forget": chunk, "retain": list(islice(retain, len(chunk) * phase.retain_rows))}
        for chunk in _sliced(forget, size)
    ]


def passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Yield pass after pass over a chunk, in the layout that the method declares."""
    return PASSES[phase.method.layout](phase, rows, generator)


def _shuffled_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Shuffle the leading set in each pass; rows of other sets stream past, shuffled separately.

    Refusals belong to the forget rows of their batch.
    """
    names: list[SetName] = list(rows)
    first = names[0]
    leading = rows[first]
    streams: dict[SetName, Iterator[Example]] = {
        name: _endless(rows[name], generator) for name in names[1:] if name != "refusal"
    }
    while True:
        batches: list[Rows] = []
        for chosen in _sliced(_order(len(leading), generator), phase.batch_size):
            batch: dict[SetName, Sequence[Example]] = {first: [leading[i] for i in chosen]}
            if "refusal" in rows:
                batch["refusal"] = [rows["refusal"][i] for i in chosen]
            for name, stream in streams.items():
                batch[name] = list(islice(stream, len(chosen) * phase.retain_rows))
            batches.append(batch)
        yield batches


def _fixed_passes(phase: Phase, rows: Rows, _generator: torch.Generator) -> Passes:
    """Repeat the rows in their given order."""
    forget = _sliced(rows["forget"], phase.batch_size)
    retain = _sliced(rows["retain"], phase.batch_size * phase.retain_rows)
    batches: list[Rows] = [{"forget": f, "retain": r} for f, r in zip(forget, retain, strict=True)]
    while True:
        yield batches


def _passes_by_task(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Draw one order of subtasks for each set, shuffle within subtasks, and stop with the shorter.

    Source: the code of Mr. Snuffleupagus, arXiv:2506.16548.
    """
    orders: dict[SetName, list[str]] = {}
    for name in rows:
        tasks = list(dict.fromkeys(example.task for example in rows[name]))
        orders[name] = [tasks[i] for i in _order(len(tasks), generator)]

    def batches(name: SetName, size: int) -> Iterator[Sequence[Example]]:
        for task in orders[name]:
            members = [example for example in rows[name] if example.task == task]
            order = _order(len(members), generator)
            yield from _sliced([members[i] for i in order], size)

    size = phase.batch_size
    while True:
        yield [
            {"forget": forget, "retain": retain}
            for forget, retain in zip(
                batches("forget", size), batches("retain", size * phase.retain_rows), strict=False
            )
        ]


def _joint_passes(phase: Phase, rows: Rows, generator: torch.Generator) -> Passes:
    """Shuffle all sets in each pass and deal each evenly over the batches.

    A set with fewer rows than batches repeats its rows within a pass.
    """
    count = math.ceil(sum(len(of) for of in rows.values()) / phase.batch_size)
    while True:
        parts = {
            name: _dealt([of[i] for i in _order(len(of), generator)], count)
            for name, of in rows.items()
        }
        yield [{name: parts[name][i] for name in rows} for i in range(count)]


PASSES: Mapping[Layout, Callable[[Phase, Rows, torch.Generator], Passes]] = {
    "shuffled": _shuffled_passes,
    "chunks": _fixed_passes,
    "by_task": _passes_by_task,
    "joint": _joint_passes,
}


def _order(count: int, generator: torch.Generator) -> list[int]:
    """Return the numbers below `count` in random order."""
    return torch.randperm(count, generator=generator).tolist()


def _endless(examples: Sequence[Example], generator: torch.Generator) -> Iterator[Example]:
    """Yield the examples again and again, shuffled anew each time."""
    while True:
        for index in _order(len(examples), generator):
            yield examples[index]


def _dealt(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Cut items into `count` non-empty parts of nearly equal size, repeating items if too few."""
    enough = items if len(items) >= count else list(islice(cycle(items), count))
    ends = [i * len(enough) // count for i in range(count + 1)]
    return [enough[a:b] for a, b in pairwise(ends)]


def _sliced(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[k : k + size] for k in range(0, len(items), size)]


@dataclass(slots=True)
class StepResult:
    """Numbers of one optimizer step over all its micro-batches."""

    terms: dict[str, float]
    """Value of each loss term, unweighted."""
    weights: dict[str, float]
    """Weight of each term, averaged over the micro-batches."""
    norm: float
    """Norm of the gradients before clipping."""
    loss: float = 0.0


@dataclass(slots=True)
class PendingStep:
    """Numbers of one optimizer step that are still on the device."""

    names: Sequence[str]
    """Names of the loss terms."""
    values: list[Tensor] = field(default_factory=list)
    """Unweighted terms of each micro-batch, [terms]."""
    weights: list[Mapping[str, float]] = field(default_factory=list)
    shares: list[Mapping[str, float]] = field(default_factory=list)
    """Share of each micro-batch in the mean of each term."""
    seconds: float = 0.0
    """Computing time, without pauses between micro-batches."""

    def fetch(self, norm: Tensor, *, step: int) -> StepResult:
        """Fetch all numbers from the device at once and sum them over the micro-batches.

        Raises:
            RunFailed: A loss term or the gradient norm is not finite.
        """
        here = self.values[0].device
        *flat, length = torch.cat([*self.values, norm.detach().float().to(here)[None]]).tolist()
        sums = StepResult(dict.fromkeys(self.names, 0.0), dict.fromkeys(self.names, 0.0), length)
        per_batch = zip(*[iter(flat)] * len(self.names), strict=True)
        for numbers, weights, shares in zip(per_batch, self.weights, self.shares, strict=True):
            values = dict(zip(self.names, numbers, strict=True))
            _check_losses(values, step=step)
            for name, value in values.items():
                sums.terms[name] += shares[name] * value
                sums.weights[name] += shares[name] * weights[name]
                sums.loss += weights[name] * shares[name] * value
        _check_finite({"gradient": length}, step=step)
        return sums


def gradients(
    model: nn.Module, batches: Sequence[Batch], objective: Objective, ctx: Context, *, step: int
) -> Generator[None, None, PendingStep]:
    """Accumulate the gradients of one optimizer step, yielding after each micro-batch.

    Micro-batches are weighted so that each term is the mean that one large batch would give.

    Raises:
        RunFailed: A loss term that sets weights is not finite.
    """
    names = list(ctx.method.weights)
    counts = [{name: objective.counts[name](batch, ctx) for name in names} for batch in batches]
    totals = {name: sum(count[name] for count in counts) for name in names}
    pending = PendingStep(names)
    for batch, count in zip(batches, counts, strict=True):
        began = time.perf_counter()
        terms = objective.terms(model, batch, ctx)
        pending.values.append(torch.stack([terms[name].detach().float() for name in names]))
        weights: Mapping[str, float] = ctx.method.weights
        if objective.weights is not None:  # They depend on the terms, which must be fetched now.
            values = dict(zip(names, pending.values[-1].tolist(), strict=True))
            _check_losses(values, step=step)
            weights = objective.weights(values, ctx)
        shares = {name: count[name] / totals[name] for name in names}
        weighted = [weights[name] * shares[name] * terms[name] for name in names]
        torch.stack(weighted).sum().backward()
        pending.weights.append(weights)
        pending.shares.append(shares)
        pending.seconds += time.perf_counter() - began
        yield None
    return pending


def _check_losses(values: Mapping[str, float], *, step: int) -> None:
    _check_finite({f"{name} loss": value for name, value in values.items()}, step=step)


def _check_finite(values: Mapping[str, float], *, step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"the {name} became {value} at step {step}",
                DIVERGED,
            )


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
    ends: bool = False
    """Whether the training ends after the step that is being computed."""


def plan_phases(spec: RunSpec, data: Dataset, prompts: PromptFormat) -> list[PlannedPhase]:
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
            name: [encode(prompts, row, i) for i, row in enumerate(selected.rows(name))]
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


TIMED = 2
"""Batches that are timed before the training; the first is slower than those that follow."""


def time_steps(
    lm: UnlearningModel, spec: RunSpec, data: Dataset
) -> Generator[Event | None, None, None]:
    """Time the gradients of a few batches, and yield how long the training takes.

    Nothing is trained, and random numbers are drawn later as if this had not been.

    Raises:
        ValueError: The data do not suit a phase.
    """
    planned = next((one for one in plan_phases(spec, data, lm.prompts) if one.steps), None)
    if planned is None:
        return
    phase, gpus = planned.phase, [lm.device] if lm.device.type == "cuda" else []
    objective = OBJECTIVES[phase.method.kind]
    ctx = Context(phase.method, lm.original, spec.seed, adapter=phase.adapter_name)
    batches = next(passes(phase, planned.chunks[0], torch.Generator().manual_seed(spec.seed)))
    trained, seconds = lm.train_only(phase), 0.0
    for rows in islice(cycle(batches), TIMED):
        (batch,) = _collated(lm, [rows], phase.method)
        with torch.random.fork_rng(gpus):
            lm.model.train()
            began = time.perf_counter()
            for _ in gradients(lm.model, [batch], objective, ctx, step=0):
                pass  # One batch at a time: the other yields below.
            for device in gpus:
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - began
            lm.model.eval()
        for parameter in trained:
            parameter.grad = None
        yield None
    lm.drop_masters()  # The scores come first, which need their room.
    yield StepsTimed(
        seconds=training_seconds(spec, seconds),
        at_most=any(phase.method.ends_early for phase in spec.phases),
    )


def train(
    lm: UnlearningModel,
    spec: RunSpec,
    data: Dataset,
    *,
    probe: Probe,
    clock: Clock,
    state: TrainingState | None = None,
    folder: Path | None = None,
) -> Generator[Event | None, None, None]:
    """Train all phases on the same weights, running the probe at regular steps.

    Snapshots are kept in a folder of `folder`, if the spec asks for some.

    `state` is kept up to date; a phase put there takes effect at the next step, and `ends` there
    ends the training: the present phase still gets its final operation, later phases are left out.

    Raises:
        RunFailed: A loss term is not finite; that step has not changed the weights.
        ValueError: The data do not suit a phase.
    """
    plan = plan_phases(spec, data, lm.prompts)
    total = plan[-1].first_step + plan[-1].steps
    due = probe_steps(total, spec.evaluation.probes)
    kept = snapshot_steps(total, spec.evaluation.snapshots) if folder else set[int]()
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
            if isinstance(event, StepLogged) and event.step + skipped in kept and folder:
                yield keep_snapshot(lm, folder, event.step, spec.model.start_from)
        left_out = planned.first_step + planned.steps - state.step
        cut = state.ends and (left_out > 0 or original is not plan[-1])
        if cut:
            yield CutShort(step=state.step, planned=total - skipped)
        elif left_out:
            skipped += left_out
            steps = planned.steps - left_out
            yield PhaseEnded(phase=planned.number, steps=steps, total_steps=total - skipped)
        if due and (left_out or not planned.steps):  # No step of its end had a probe.
            yield from probe.run(lm, step=state.step)
        if cut:
            break
    lm.drop_masters()


def probe_steps(total: int, probes: int) -> set[int]:
    """Return the steps after which the probe runs: evenly spaced, including the last."""
    count = min(probes, total)
    return {round(total * (i + 1) / count) for i in range(count)}


def snapshot_steps(total: int, snapshots: int) -> set[int]:
    """Return the steps after which a snapshot is kept: evenly spaced, without first and last."""
    steps = {round(total * (i + 1) / (snapshots + 1)) for i in range(snapshots)}
    return steps - {0, total}


def keep_snapshot(lm: UnlearningModel, folder: Path, step: int, started: str) -> SnapshotKept:
    """Write the changed weights into a folder named by the step."""
    target = folder / SNAPSHOTS / str(step)
    target.mkdir(parents=True, exist_ok=True)
    written = lm.save(target)
    (target / DIGEST).write_text(Artefact.noted(written).digest, encoding="ascii")
    if started:
        (target / STARTED).write_text(started, encoding="utf-8")
    return SnapshotKept(step=step, megabytes=written.stat().st_size / 1e6)


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
        self._seed = seed + planned.number
        self._generator = torch.Generator().manual_seed(self._seed)
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
        self._check_weights()
        state.planned = state.phase = None

    def _check_weights(self) -> None:
        """Check that the phase has left a model that can be used: its last step had no check.

        Raises:
            RunFailed: Trained weights or the logits are not finite.
        """
        named = self._lm.model.named_parameters()
        broken = not_finite((n, p) for n, p in named if p.requires_grad)
        where = broken[0] if broken else self._lm.not_finite_from()
        if where:
            phase = f" of phase {self._planned.number + 1}" if self._planned.number else ""
            raise RunFailed(
                f"training broke the model: after the last step{phase}, {where} holds or gives "
                "numbers that are nan or infinite, so there is nothing to score",
                DIVERGED,
            )

    def _train_chunk(self, number: int, steps: int) -> Generator[Event | None, None, None]:
        optimizer = Optimizer(
            self._trained,
            self._planned.phase,
            steps,
            masters=self._lm.masters,
            seed=self._seed + number,
        )
        with closing(optimizer):
            yield from self._take_steps(optimizer, number, steps)

    def _take_steps(
        self, optimizer: Optimizer, number: int, steps: int
    ) -> Generator[Event | None, None, None]:
        planned, state = self._planned, self._state
        rows = planned.chunks[number]
        groups = _grouped(
            passes(planned.phase, rows, self._generator), planned.phase.gradient_accumulation
        )
        rate, last = planned.phase.learning_rate, state.step + steps
        for group in itertools.islice(groups, steps):
            if state.ends:
                return
            assert state.phase is not None
            self._ctx.method, self._ctx.epoch = state.phase.method, group.epoch
            optimizer.rescale(state.phase.learning_rate / rate)
            rate = state.phase.learning_rate
            step = state.begun = state.step + 1
            batches = _collated(self._lm, group.batches, state.phase.method)
            pending = yield from gradients(
                self._lm.model, batches, self._objective, self._ctx, step=step
            )
            began = time.perf_counter()
            present_rate = optimizer.learning_rate
            norm = optimizer.clip(planned.phase.max_grad_norm)
            result = pending.fetch(norm, step=step)  # Refuses numbers that are not finite.
            optimizer.step()
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


def _collated(lm: UnlearningModel, group: Sequence[Rows], method: MethodSpec) -> list[Batch]:
    """Pad the micro-batches of a step: to one width if padding counts as text, as one batch would.

    A mean over padded tokens depends on the width, which must not depend on the accumulation.
    """

    def width(name: SetName) -> int:
        return max(len(example.ids) for rows in group for example in rows[name])

    widths = {name: 0 if method.splits_by_length else width(name) for name in group[0]}
    pad, device = lm.tokenizer.pad_token_id, lm.device
    return [
        Batch(
            {
                name: collate(of, pad=pad, device=device, width=widths[name])
                for name, of in rows.items()
            }
        )
        for rows in group
    ]


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
