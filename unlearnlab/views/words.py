"""A run in words: phases in order of time, changes by hand, data, training, record, limits."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from unlearnlab.models.families import Modules
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Ending,
    Finished,
    KnowledgeChecked,
    Loaded,
    Revision,
)
from unlearnlab.runs.progress import RunProgress
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import (
    Phase,
    RunSpec,
    adjustable,
    adjusted,
    planned_steps,
    steps_of_epochs,
    written,
)
from unlearnlab.views.says import NO_BREAK


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


def timeline(spec: RunSpec, progress: RunProgress) -> tuple[Stretch, ...]:
    """Lay a run's phases along the axis of steps: as planned, and as they are once they began.

    Phases that have not begun share the remaining steps as planned.
    """
    spans = [(event.step, event.steps) for event in progress.phases]
    begun, planned = len(spans), planned_steps(spec)[len(spans) :]
    done = sum(spans[-1]) if spans else 0
    left = progress.total_steps - done if spans else sum(planned)
    ends = [done + round(left * part / max(1, sum(planned))) for part in accumulate(planned)]
    spans += [(a, b - a) for a, b in itertools.pairwise([done, *ends])]
    training = progress.stage == "training" and progress.ending is None

    def state(number: int) -> Literal["planned", "running", "done"]:
        if number >= begun:
            return "planned"
        return "running" if training and number == begun - 1 else "done"

    return tuple(
        Stretch(first, steps, phase.method.card.title, phase_text(spec, phase), state(number))
        for number, (phase, (first, steps)) in enumerate(zip(spec.phases, spans, strict=True))
    )


def present_phase(spec: RunSpec, progress: RunProgress) -> tuple[int, Phase] | None:
    """Return number and present values of the phase that is trained; None while none is."""
    if progress.stage != "training" or not progress.phases or progress.ending is not None:
        return None
    number = progress.phases[-1].phase
    phase = spec.phases[number]
    for event in progress.changes:
        if isinstance(event, Adjusted) and event.phase == number:
            phase = adjusted(phase, event.changes)
    return number, phase


# ---- changes by hand


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a run while it was running, as the chart and the log show it."""

    step: int | None
    """Optimizer steps taken by then; None if it could not be made."""
    text: str


def changes(spec: RunSpec, progress: RunProgress) -> tuple[Change, ...]:
    """List what was changed while a run was running, from which value to which."""
    present = dict(enumerate(spec.phases))
    told: list[Change] = []
    for event in progress.changes:
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


def changes_text(spec: RunSpec, progress: RunProgress) -> list[str]:
    """Describe the changes that were made by hand, one line each."""
    made = [one for one in changes(spec, progress) if one.step is not None]
    return [f"after step {one.step}: {one.text}" for one in made]


def path_words(path: str) -> str:
    """Name a setting of a phase by its path: `method.retain_weight` is "retain weight"."""
    return path.rpartition(".")[2].replace("_", " ")


# ---- settings

MODULES: Mapping[Modules, str] = {
    "all": "MLP and attention",
    "mlp": "MLP",
    "attention": "attention",
    "down_proj": "down_proj",
}
"""Display names of the choices of modules."""

MERGES = "merges the adapters before it"

PRECISIONS = {"int8": "packed into 8 bits", "nf4": "packed into 4 bits (nf4)"}


def blocks_text(phase: Phase, blocks: int | None) -> str:
    """Name the trained blocks of a phase, such as "blocks 2 to 5"."""
    if blocks is None and phase.last_layer is None:
        return f"blocks {phase.first_layer} to the last"
    trained = phase.blocks(blocks or 0)
    if len(trained) == 1:
        return f"block {trained.start}"
    return f"blocks {trained.start} to {trained.stop - 1}"


def length_text(spec: RunSpec, phase: Phase, *, short: bool = False) -> str:
    """Say how long a phase is: in steps where `max_steps` ends it before its epochs do."""
    most = phase.max_steps
    # Data that are not on this machine have no rows to count: then the bound is all there is.
    if most is not None and not 0 < steps_of_epochs(spec, phase) <= most:
        return "1 step" if most == 1 else f"{most:,} steps"
    return f"{phase.epochs} {'ep.' if short else 'epoch' if phase.epochs == 1 else 'epochs'}"


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


def phases_text(spec: RunSpec, progress: RunProgress) -> list[str]:
    """Describe the phases in order, one line each, with the steps that were taken."""
    begun = {event.phase: event for event in progress.phases}
    last = progress.step.step if progress.step else 0
    lines: list[str] = []
    for number, phase in enumerate(spec.phases):
        event = begun.get(number)
        taken = min(event.steps, max(0, last - event.step)) if event else 0
        lines.append(f"{phase_text(spec, phase)} · {taken} steps taken")
    return lines


def details(phase: Phase) -> list[tuple[str, str]]:
    """List the settings of a phase that its line leaves out: the method's own, then the rest."""
    own = [name for name in METHODS[phase.method.kind].model_fields if name != "kind"]
    rest = ("batch_size", "gradient_accumulation", "retain_rows", "weight_decay")
    plain: list[tuple[str, Any]] = [(name, getattr(phase.method, name)) for name in own]
    plain += [(name, getattr(phase, name)) for name in (*rest, "schedule", "warmup")]
    if phase.adam_epsilon != type(phase).model_fields["adam_epsilon"].default:
        plain.append(("adam_epsilon", phase.adam_epsilon))
    return [
        (name.replace("_", " "), f"{value:g}" if isinstance(value, float) else str(value))
        for name, value in plain
    ]


def start_text(spec: RunSpec) -> str:
    """Say which snapshot of another run a run started from, after a comma; empty if from none."""
    run, _, step = spec.model.start_from.partition("@")
    return f", from step {step} of run {run}" if run else ""


def model_text(spec: RunSpec) -> str:
    """Name the model that a run started from, without the folder it lies in on this machine."""
    if spec.model.start_from:
        begun = spec.model_copy(update={"model": spec.model.model_copy(update={"start_from": ""})})
        return f"{model_text(begun)}{start_text(spec)}"
    known = spec.model.known
    if known.unknown_reason:
        return Path(known.title).name
    if known.base is not None:
        return f"{known.title}, an adapter on {known.base.title}"
    if not known.repository:
        return known.title
    title = known.title.partition(",")[0]
    return title if title == known.repository else f"{title} ({known.repository})"


def data_text(spec: RunSpec, progress: RunProgress) -> str:
    """Name the data that were forgotten and retained, with their size."""
    data, rows = spec.data, ""
    if loaded := progress.loaded:
        counts = (f"{loaded.rows.get(name, 0)} {name}" for name in ("forget", "retain"))
        rows = f": {' and '.join(counts)} rows"
    picked = f", of which {len(data.forget)} were picked" if data.forget is not None else ""
    if picked and progress.before and progress.before.kept is not None:
        picked = f", of which the model knew {len(progress.before.kept)}, the only ones forgotten"
    subtasks = f"subtasks {', '.join(data.tasks)}"
    return f"{data.known.title}, {data.fold} fold, {subtasks}{rows}{picked}"


def template_text(spec: RunSpec, loaded: Loaded | None = None) -> str:
    """Say whether prompts go through the model's chat template; after loading, as it was."""
    used = bool(loaded.template) if loaded else spec.uses_template
    has = loaded.has_template if loaded else spec.model.known.chat_template
    if used is None:
        return "if the model has one (auto)"
    if used:
        return f"on ({loaded.template})" if loaded else "on"
    return "off, though the model has one" if has else "off"


UPDATES = {
    "float32": "steps taken in float32 copies",
    "stochastic": "steps rounded stochastically",
    "nearest": "steps rounded to the nearest",
}
"""How weights of a bfloat16 model took their steps."""


def training_text(spec: RunSpec) -> str:
    """Say what was trained: the weights, or an adapter on them."""
    if spec.only_scores:
        return "nothing"
    lora, precision = spec.model.adapter, PRECISIONS.get(spec.model.precision, spec.model.precision)
    if lora is None:
        half = spec.model.precision == "bfloat16"
        steps = dict.fromkeys(UPDATES[phase.bfloat16_updates] for phase in spec.phases if half)
        return ", ".join(["the weights themselves", precision, *steps])
    return f"a low-rank adapter (r {lora.r}, alpha {lora.alpha}) on weights {precision}"


def knowledge_text(checked: KnowledgeChecked) -> str:
    """Say what the original model knows of the forget rows."""
    found = checked.knowledge
    if checked.left_out:
        return f"{found.words} Left out: {checked.left_out} of {checked.of} rows."
    sample = f" Asked: {found.rows} of {checked.of}." if found.rows < checked.of else ""
    return f"{found.words}{sample}"


def duration(seconds: float, gap: str = NO_BREAK) -> str:
    """Write a duration in its two largest units, with `gap` between number and unit."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{gap}s"
    if whole < 3600:
        return f"{whole // 60}{gap}min {whole % 60}{gap}s"
    return f"{whole // 3600}{gap}h {whole % 3600 // 60}{gap}min"


def stopped_text(ending: Ending | None) -> str:
    """Say where the user ended the training of a finished run; empty if it was not ended early."""
    if not isinstance(ending, Finished) or ending.stopped_at is None:
        return ""
    return f"stopped at step {ending.stopped_at:,} of {ending.planned or 0:,}"


# ---- record


def record_lines(spec: RunSpec, progress: RunProgress) -> list[tuple[str, str]]:
    """List what a run recorded of what it computed on and with, as names and values in words."""
    found = [("Seed", str(spec.seed))]
    if (after := progress.after) and after.scores.moved:
        found.append(("Weights moved", f"{after.scores.moved.counts}."))
    if rows := [phase.effective_batch for phase in progress.phases]:
        shown = rows if len({*rows}) > 1 else rows[:1]
        text = f"{', '.join(map(str, shown))} rows for each optimizer step"
        found.append(("Effective batch", text))
    if (loaded := progress.loaded) and (loaded.has_template or loaded.template):
        found.append(("Chat template", template_text(spec, loaded)))
    if loaded:
        found += [("Rows' fingerprint", loaded.data), ("Weights' fingerprint", loaded.weights)]
        found += [("Model", note) for note in loaded.notes]
    if progress.knowledge:
        found.append(("Known before training", knowledge_text(progress.knowledge)))
    if stopped := stopped_text(progress.ending):
        found.append(("Training", f"{stopped}, then scored"))
    if kept := progress.snapshots:
        steps = ", ".join(str(one.step) for one in kept)
        found.append(("Snapshots", f"after step {steps}, {kept[-1].megabytes:.1f} MB each"))
    if started := progress.started:
        found.append(("Device", started.device))
        found.append(("Versions", ", ".join(f"{k} {v}" for k, v in started.versions.items())))
        found.append(("Code", code_text(started.code)))
    return found


def code_text(code: Revision | None) -> str:
    """Name the state of the program's code."""
    if code is None:
        return "not noted: git did not tell"
    return f"commit {code.commit[:12]}{', with changes' if code.dirty else ''}"


def record_values(progress: RunProgress) -> dict[str, Any]:
    """Return what a run recorded as plain JSON values; None where it recorded nothing."""
    started, loaded = progress.started, progress.loaded
    moved = progress.after.scores.moved if progress.after else None
    return {
        "weights_moved": moved and moved.model_dump(),
        "effective_batch": [phase.effective_batch for phase in progress.phases],
        "versions": dict(started.versions) if started else None,
        "device": started.device if started else None,
        "code": started.code.model_dump() if started and started.code else None,
        "data": loaded.data if loaded else None,
        "knowledge": progress.knowledge
        and progress.knowledge.model_dump(mode="json", exclude={"kind"}),
        "template": (loaded.template or None) if loaded else None,
        "weights": loaded.weights if loaded else None,
        "notes": list(loaded.notes) if loaded else [],
    }


# ---- limits

UNLEARNED = (
    "A verdict speaks of the probes that were made. What is called forgotten is suppressed under "
    "them; nothing here shows that it is erased from the weights.",
    "Other prompts, a few steps of training on related text, or another number format of the "
    "weights may bring it back.",
    "What must stay was measured on the retain set and on a small utility test only, and not at "
    "all where the data have neither; other abilities may have suffered unseen.",
)
"""Limits of every unlearned model."""

TAUGHT = (
    "The model recites what it was taught, whatever that holds: treat it as you treat the data.",
    "What it knows was measured on the very rows that it was taught, and its other abilities on a "
    "small utility test only.",
)
"""Limits of a model that was taught rows to be forgotten later."""

SCORED = (
    "Scores speak of the rows and the settings that they were measured with, and of no others.",
)
"""Limits of a model that was only scored."""


def limits(spec: RunSpec) -> Sequence[str]:
    """Say what the scores do not show."""
    if spec.only_scores:
        return SCORED
    return TAUGHT if spec.taught else UNLEARNED


def became(spec: RunSpec) -> str:
    """Say in a word what the run made of the model."""
    return "taught" if spec.taught else "unlearned"
