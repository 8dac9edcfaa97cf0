"""What card and report say alike: the settings, the setting of the scores, the limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearnlab.exports.result import Result
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.views.phases import changes, phase_text

UNLEARNED = (
    "A verdict speaks of the probes that were made. What is called forgotten is suppressed under "
    "them; nothing here shows that it is erased from the weights.",
    "Other prompts, a few steps of training on related text, or another number format of the "
    "weights may bring it back.",
    "What must stay was measured on the retain set and on a small utility test only; other "
    "abilities may have suffered unseen.",
)
"""What must be said of every unlearned model."""

TAUGHT = (
    "The model recites what it was taught, whatever that holds: treat it as you treat the data.",
    "What it knows was measured on the very rows that it was taught, and its other abilities on a "
    "small utility test only.",
)
"""What must be said of a model that was taught rows to be forgotten later."""

SCORED = (
    "Scores speak of the rows and the settings that they were measured with, and of no others.",
)
"""What must be said of a model that was only scored."""

PRECISIONS = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "int8": "packed into 8 bits",
    "nf4": "packed into 4 bits (nf4)",
}


def limits(spec: RunSpec) -> Sequence[str]:
    """Say what the scores do not show."""
    if spec.only_scores:
        return SCORED
    return TAUGHT if spec.taught else UNLEARNED


def became(spec: RunSpec) -> str:
    """Say in a word what the run made of the model."""
    return "taught" if spec.taught else "unlearned"


def model_name(spec: RunSpec) -> str:
    """Name the model that a run started from, without the folder it lies in on this machine."""
    known = spec.model.known
    if known.unknown_reason:
        return Path(known.title).name
    if not known.repository:
        return known.title
    title = known.title.partition(",")[0]
    return title if title == known.repository else f"{title} ({known.repository})"


def data_name(result: Result) -> str:
    """Name the data that were forgotten and retained, with their size."""
    data, loaded = result.spec.data, result.loaded
    subtasks = f"subtasks {', '.join(data.tasks)}"
    rows = ""
    if loaded:
        rows = f": {loaded.rows.get('forget', 0)} forget and {loaded.rows.get('retain', 0)} retain"
        rows += " rows"
    picked = f", of which {len(data.forget)} were picked" if data.forget is not None else ""
    return f"{data.known.title}, {data.fold} fold, {subtasks}{rows}{picked}"


def phases(result: Result) -> list[str]:
    """Describe the phases in order, one line each, with the steps that were taken."""
    spec, begun = result.spec, {event.phase: event for event in result.course.phases}
    last = result.course.step.step if result.course.step else 0
    lines: list[str] = []
    for number, phase in enumerate(spec.phases):
        event = begun.get(number)
        taken = min(event.steps, max(0, last - event.step)) if event else 0
        lines.append(f"{phase_text(spec, phase)} · {taken} steps taken")
    return lines


def details(phase: Phase) -> list[tuple[str, str]]:
    """List the settings of a phase that its line leaves out: the method's own, then the rest."""
    method = phase.method
    own = [(name, getattr(method, name)) for name in METHODS[method.kind].model_fields]
    plain: list[tuple[str, Any]] = [
        *((name, value) for name, value in own if name != "kind"),
        ("batch_size", phase.batch_size),
        ("gradient_accumulation", phase.gradient_accumulation),
        ("retain_rows", phase.retain_rows),
        ("weight_decay", phase.weight_decay),
        ("schedule", phase.schedule),
        ("warmup", phase.warmup),
    ]
    return [(name.replace("_", " "), _written(value)) for name, value in plain]


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def training(spec: RunSpec) -> str:
    """Say what was trained: the weights, or an adapter on them."""
    if spec.only_scores:
        return "nothing"
    lora, precision = spec.model.adapter, PRECISIONS.get(spec.model.precision, spec.model.precision)
    if lora is None:
        return f"the weights themselves, {precision}"
    return f"a low-rank adapter (r {lora.r}, alpha {lora.alpha}) on weights {precision}"


def changed(result: Result) -> Sequence[str]:
    """Tell what was changed by hand while the run went on."""
    made = changes(result.spec, result.course)
    return [f"after step {one.step}: {one.text}" for one in made if one.step is not None]
