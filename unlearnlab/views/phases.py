"""Phases of a run in words: their order in time, what changed in them, their settings."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from unlearnlab.models.families import Modules
from unlearnlab.runs.events import Adjusted, AdjustFailed
from unlearnlab.runs.progress import RunProgress
from unlearnlab.spec.run import (
    Phase,
    RunSpec,
    adjustable,
    adjusted,
    planned_steps,
    steps_of_epochs,
    written,
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase on the axis of steps."""

    first: int
    """Optimizer steps before it."""
    steps: int
    title: str
    text: str
    """Its settings in one line."""
    state: Literal["planned", "running", "done"]


def timeline(spec: RunSpec, course: RunProgress) -> tuple[Stretch, ...]:
    """Lay a run's phases along the axis of steps: as planned, and as they are once they began."""
    training = course.stage == "training" and course.ending is None
    spans = _spans(spec, course)
    return tuple(
        Stretch(
            first=first,
            steps=steps,
            title=phase.method.card.title,
            text=phase_text(spec, phase),
            state=_state(number, len(course.phases), training=training),
        )
        for number, (phase, (first, steps)) in enumerate(zip(spec.phases, spans, strict=True))
    )


def _spans(spec: RunSpec, course: RunProgress) -> list[tuple[int, int]]:
    """Return first step and steps of each phase; those to come share what is left as planned."""
    spans = [(event.step, event.steps) for event in course.phases]
    planned = planned_steps(spec)[len(spans) :]
    done = sum(spans[-1]) if spans else 0
    left = course.total_steps - done if spans else sum(planned)
    ends = [done + round(left * part / max(1, sum(planned))) for part in accumulate(planned)]
    return spans + [(a, b - a) for a, b in itertools.pairwise([done, *ends])]


def _state(number: int, begun: int, *, training: bool) -> Literal["planned", "running", "done"]:
    if number >= begun:
        return "planned"
    return "running" if training and number == begun - 1 else "done"


def length_text(
    spec: RunSpec, phase: Phase, *, epochs: str = "epochs", epoch: str = "epoch"
) -> str:
    """Say how long a phase is: in steps where `max_steps` ends it before its epochs do.

    Args:
        spec: The run.
        phase: One of its phases.
        epochs: What to call several epochs.
        epoch: What to call one.
    """
    most = phase.max_steps
    # Data that are not on this machine have no rows to count: then the bound is all there is.
    if most is not None and not 0 < steps_of_epochs(spec, phase) <= most:
        return "1 step" if most == 1 else f"{most:,} steps"
    return f"1 {epoch}" if phase.epochs == 1 else f"{phase.epochs} {epochs}"


def present_phase(spec: RunSpec, course: RunProgress) -> tuple[int, Phase] | None:
    """Return number and present values of the phase that is trained; none while none is."""
    if course.stage != "training" or not course.phases or course.ending is not None:
        return None
    number = course.phases[-1].phase
    phase = spec.phases[number]
    for event in course.changes:
        if isinstance(event, Adjusted) and event.phase == number:
            phase = adjusted(phase, event.changes)
    return number, phase


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a run while it went on, as the chart and the log tell it."""

    step: int | None
    """Optimizer steps taken by then; none if it could not be made."""
    text: str


def changes(spec: RunSpec, course: RunProgress) -> tuple[Change, ...]:
    """Tell what was changed while a run went on, from which value to which."""
    present = dict(enumerate(spec.phases))
    told: list[Change] = []
    for event in course.changes:
        if isinstance(event, AdjustFailed):
            names = ", ".join(path_words(path) for path in event.changes)
            told.append(Change(None, f"{names} not changed: {event.problem}"))
            continue
        before = adjustable(present[event.phase])
        words = [
            f"{path_words(path)} {written(before[path])} → {written(value)}"
            for path, value in event.changes.items()
        ]
        told.append(Change(event.step, ", ".join(words)))
        present[event.phase] = adjusted(present[event.phase], event.changes)
    return tuple(told)


def path_words(path: str) -> str:
    """Name a setting of a phase by its path: `method.retain_weight` is "retain weight"."""
    return path.rpartition(".")[2].replace("_", " ")


MODULES: Mapping[Modules, str] = {
    "all": "MLP and attention",
    "mlp": "MLP",
    "attention": "attention",
    "down_proj": "down_proj",
}
"""How the page names the choices of modules."""


def blocks_text(phase: Phase, blocks: int | None) -> str:
    """Name the trained blocks of a phase, such as "blocks 2 to 5"."""
    if blocks is None and phase.last_layer is None:
        return f"blocks {phase.first_layer} to the last"
    blocks = blocks or 0
    trained = phase.blocks(blocks)
    if len(trained) == 1:
        return f"block {trained.start}"
    return f"blocks {trained.start} to {trained.stop - 1}"


MERGES = "merges the adapters before it"


def phase_text(spec: RunSpec, phase: Phase) -> str:
    """Describe a phase of a run in one line."""
    if not phase.method.sets:
        return f"{phase.method.card.title} · {MERGES}"
    length = length_text(spec, phase)
    if phase.method.ends_early:
        length = f"at most {length}"
    where = f"{blocks_text(phase, spec.model.blocks)}, {MODULES[phase.modules]}"
    rate = f"learning rate {written(phase.learning_rate)}"
    return f"{phase.method.card.title} · {where} · {rate} · {length}"
