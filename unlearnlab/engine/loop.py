"""The training loop: phases in order, one event after each optimizer step.

A generator without threads, files or callbacks: whoever consumes it decides when to stop, and may
do so at every micro-batch, where it yields None.
"""

import itertools
import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from unlearnlab.engine.data import Dataset, Example, collate, encode, endless, shuffled
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.models import Target
from unlearnlab.engine.objectives import OBJECTIVES, Batch, Context
from unlearnlab.events import Event, PhaseBegan, StepLogged
from unlearnlab.jobs import RunFailed
from unlearnlab.methods import SetName
from unlearnlab.spec import Phase, RunSpec

GIB = 2**30


@dataclass(slots=True)
class Clock:
    """Seconds since the run was taken up."""

    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.perf_counter() - self.began


@dataclass(frozen=True, slots=True)
class Course:
    """A phase and where it stands in the run."""

    phase: Phase
    number: int
    first_step: int
    """Optimizer steps taken before it."""
    batches: int
    """Micro-batches in one pass over its first set."""

    @property
    def steps(self) -> int:
        """Count its optimizer steps; the last batches of an epoch may share one."""
        per_epoch = math.ceil(self.batches / self.phase.gradient_accumulation)
        steps = self.phase.epochs * per_epoch
        return steps if self.phase.max_steps is None else min(steps, self.phase.max_steps)


def courses(spec: RunSpec, data: Dataset) -> list[Course]:
    """Lay out the phases of a run, one after another.

    Raises:
        ValueError: A set that a method needs has no rows.
    """
    laid: list[Course] = []
    for number, phase in enumerate(spec.phases):
        for name in phase.method.sets:
            if not data.rows(name):
                raise ValueError(f"phases.{number}: the {name} set has no rows to train on")
        rows = len(data.rows(phase.method.sets[0])) if phase.method.sets else 0
        first = laid[-1].first_step + laid[-1].steps if laid else 0
        laid.append(Course(phase, number, first, math.ceil(rows / phase.batch_size)))
    return laid


def train(
    target: Target, spec: RunSpec, data: Dataset, *, probe: Probe, clock: Clock
) -> Generator[Event | None, None, None]:
    """Carry out all phases on the same weights, probing now and then.

    Raises:
        RunFailed: A loss term is not a finite number; the weights are as before that step.
    """
    laid = courses(spec, data)
    total = laid[-1].first_step + laid[-1].steps
    due = probe_steps(total, spec.evaluation.probes)
    for course in laid:
        if not course.steps:
            yield from _without_steps(target, spec, course, total=total)
            continue
        for event in _phase(target, spec, data, course, total=total, clock=clock):
            yield event
            if isinstance(event, StepLogged) and event.step in due:
                target.model.eval()
                yield from probe.run(target, step=event.step)
                target.model.train()


def probe_steps(total: int, probes: int) -> set[int]:
    """Return the steps after which the probe runs: evenly spaced, the last one included."""
    count = min(probes, total)
    return {round(total * (i + 1) / count) for i in range(count)}


def _phase(
    target: Target, spec: RunSpec, data: Dataset, course: Course, *, total: int, clock: Clock
) -> Generator[Event | None, None, None]:
    phase, device = course.phase, target.device
    trained = target.train_only(phase)
    optimizer, schedule = _optimizer(trained, course, device)
    yield _began(course, trained, total=total)
    target.model.train()
    epoch = 0
    ctx = Context(phase.method, target.original, spec.seed, epoch=lambda: epoch)
    groups = _grouped(Batches(target, phase, data, seed=spec.seed + course.number), phase)
    for step, group in enumerate(itertools.islice(groups, course.steps), course.first_step + 1):
        epoch = group.epoch
        terms, spent = yield from _gradients(target.model, group, ctx, step=step)
        began = time.perf_counter()
        norm = nn.utils.clip_grad_norm_(trained, phase.max_grad_norm).item()
        _check_finite({"gradient": norm}, step=step)
        rate = float(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        weights = phase.method.weights
        yield StepLogged(
            step=step,
            phase=course.number,
            epoch=group.progress,
            terms=terms,
            weights=weights,
            loss=sum(weights[name] * value for name, value in terms.items()),
            grad_norm=norm,
            learning_rate=rate,
            tokens_per_s=sum(b.real for b in group.batches) / (spent + time.perf_counter() - began),
            memory_gib=memory_gib(device),
            seconds=clock.seconds,
        )
    target.model.eval()


def _without_steps(
    target: Target, spec: RunSpec, course: Course, *, total: int
) -> Generator[Event | None, None, None]:
    """Carry out a phase whose method trains nothing."""
    method, finish = course.phase.method, OBJECTIVES[course.phase.method.kind].finish
    assert finish, f"{method.kind} neither trains nor ends in anything"
    yield _began(course, (), total=total)
    finish(target, Context(method, target.original, spec.seed, adapter=course.phase.adapter_name))


def _began(course: Course, trained: Sequence[nn.Parameter], *, total: int) -> PhaseBegan:
    return PhaseBegan(
        phase=course.number,
        step=course.first_step,
        steps=course.steps,
        total_steps=total,
        trainable=sum(p.numel() for p in trained),
        effective_batch=course.phase.batch_size * course.phase.gradient_accumulation,
    )


def _optimizer(
    trained: Sequence[nn.Parameter], course: Course, device: torch.device
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    phase = course.phase
    optimizer = torch.optim.AdamW(
        trained,
        lr=phase.learning_rate,
        weight_decay=phase.weight_decay,
        fused=device.type == "cuda",
    )
    schedule = get_scheduler(
        "constant_with_warmup" if phase.schedule == "constant" else phase.schedule,
        optimizer,
        num_warmup_steps=round(phase.warmup * course.steps),
        num_training_steps=course.steps,
    )
    return optimizer, schedule


def _gradients(
    model: nn.Module, group: "Group", ctx: Context, *, step: int
) -> Generator[None, None, tuple[Mapping[str, float], float]]:
    """Add up the gradients of one optimizer step.

    Micro-batches count by what their terms are means of, as if they had been one batch.

    Returns:
        The unweighted terms, and the seconds spent on them; a pause in between does not count.
    """
    objective = OBJECTIVES[ctx.method.kind]
    counts = [{n: of(batch) for n, of in objective.counts.items()} for batch in group.batches]
    totals = {name: sum(count[name] for count in counts) for name in objective.counts}
    summed, spent = dict.fromkeys(totals, 0.0), 0.0
    for batch, count in zip(group.batches, counts, strict=True):
        began = time.perf_counter()
        terms = objective.terms(model, batch, ctx)
        shares = {name: count[name] / totals[name] for name in terms}
        weighed = [ctx.method.weights[n] * shares[n] * term for n, term in terms.items()]
        torch.stack(weighed).sum().backward()
        values = {name: term.item() for name, term in terms.items()}
        _check_finite({f"{name} loss": value for name, value in values.items()}, step=step)
        for name, value in values.items():
            summed[name] += shares[name] * value
        spent += time.perf_counter() - began
        yield None
    return summed, spent


def _check_finite(values: Mapping[str, float], *, step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"the {name} became {value} at step {step}",
                "lower the learning rate, take fewer epochs, or give the retain set more weight",
            )


def memory_gib(device: torch.device) -> float:
    """Return the peak of the device's allocator, or what the process holds on a CPU, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return psutil.Process().memory_info().rss / GIB


@dataclass(frozen=True, slots=True)
class Group:
    """The micro-batches of one optimizer step."""

    batches: Sequence[Batch]
    epoch: int
    """Pass over the first set, 0-based."""
    progress: float
    """Passes completed after this step."""


class Batches:
    """Micro-batches of a phase, in seeded random order, pass after pass."""

    def __init__(self, target: Target, phase: Phase, data: Dataset, *, seed: int) -> None:
        self._target, self._phase = target, phase
        self._generator = torch.Generator().manual_seed(seed)
        self._first: SetName = phase.method.sets[0]
        self._others: Sequence[SetName] = phase.method.sets[1:]
        self._examples: Mapping[SetName, list[Example]] = {
            name: [encode(target.tokenizer, row, i) for i, row in enumerate(data.rows(name))]
            for name in phase.method.sets
        }

    def epochs(self) -> Iterator[list[list[Example]]]:
        """Yield the rows of the first set, batch by batch, for one pass after another."""
        examples, size = self._examples[self._first], self._phase.batch_size
        while True:
            order = shuffled(len(examples), generator=self._generator)
            yield [[examples[i] for i in order[k : k + size]] for k in range(0, len(order), size)]

    def __iter__(self) -> Iterator[tuple[int, float, Batch]]:
        """Yield the pass, the passes completed after it, and each micro-batch."""
        others: dict[SetName, Iterator[Example]] = {
            name: endless(self._examples[name], generator=self._generator) for name in self._others
        }
        for epoch, batches in enumerate(self.epochs()):
            for number, rows in enumerate(batches, start=1):
                sets: dict[SetName, list[Example]] = {self._first: rows}
                for name, stream in others.items():
                    sets[name] = [next(stream) for _ in range(len(rows) * self._phase.retain_rows)]
                yield epoch, epoch + number / len(batches), self._collated(sets)

    def _collated(self, sets: Mapping[SetName, list[Example]]) -> Batch:
        pad, device = self._target.tokenizer.pad_token_id, self._target.device
        return Batch({name: collate(rows, pad=pad, device=device) for name, rows in sets.items()})


def _grouped(batches: Batches, phase: Phase) -> Iterator[Group]:
    """Put micro-batches together for one optimizer step; a step never spans two passes."""
    held: list[Batch] = []
    for epoch, progress, batch in batches:
        held.append(batch)
        if len(held) == phase.gradient_accumulation or progress == epoch + 1:
            yield Group(tuple(held), epoch, progress)
            held = []
