"""What the form offers and says: choices, notes under its controls, and the list of phases."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearnlab.data.datasets import Split, datasets
from unlearnlab.data.files import size
from unlearnlab.models import catalog, checkpoints
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.runs.engine_api import ALL, Device, find_device
from unlearnlab.runs.estimates import bytes_text, earlier, estimate
from unlearnlab.runs.store import StoreError
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.spec.rows import evenly, previewed_row, spread
from unlearnlab.spec.run import (
    RunSpec,
    planned_steps,
    same_settings,
    trainable_parameters,
    written,
)
from unlearnlab.ui.form.form import (
    FIRST,
    FOLD,
    NAME,
    RESTS,
    SOURCE,
    TASKS_PATH,
    TEMPLATE,
    Form,
    parsed,
    tasks_in,
    trains,
)
from unlearnlab.ui.kit.controls import AUTO, LAYERS, PHASE_TASKS, ROWS, WATCHED
from unlearnlab.ui.kit.html import count, escape, render, thousands
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.answers import EXCERPT, hidden, mask
from unlearnlab.views.runs import usual_seconds
from unlearnlab.views.says import NO_BREAK
from unlearnlab.views.scoreboard import TASKS, titles_of
from unlearnlab.views.words import MERGES, duration, template_text

HINT = "Or type the path of a folder, or the id of a model on the hub: org/name."

LARGE = 5 * 10**8
"""Parameters from which the number format decides whether a model fits a machine."""


# ---- what can be chosen ----


MODEL_GROUPS: Mapping[str, str] = {"olmo-1b": "OLMo 1B", "olmo-7b": "OLMo 7B"}

GROUPS = ("Quick demo", "Methods", *MODEL_GROUPS.values(), "Other models")
"""Groups of presets, in the order of the list."""


def preset_choices() -> list[tuple[str, str]]:
    """List the presets by group: the quick demo, the methods, then model after model."""
    found: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
    for name, one in presets().items():
        group = "Methods" if one.embedded else MODEL_GROUPS.get(one.spec.model.name, GROUPS[-1])
        if name == FIRST:
            group = GROUPS[0]
        found[group].append((f"{group} · {one.title.removesuffix(f', {group}')}", name))
    return [choice for group in found.values() for choice in group]


def model_choices() -> list[tuple[str, str]]:
    """List the models to choose from: the embedded one, those kept here, those of the task."""
    embedded, *others = catalog.models()
    known = [catalog.model(name) for name in (embedded, *catalog.saved_names(), *others)]
    return [(_titled(model), model.name) for model in known]


def _titled(model: ModelInfo) -> str:
    if model.architecture is None:
        return model.title
    blocks, parameters = model.architecture.blocks, model.architecture.parameters
    sized = count(parameters) if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"
    return f"{model.title} · {blocks} blocks · {sized}"


def device_choices(here: Sequence[Device]) -> list[tuple[str, str]]:
    """List what a model can be put on, in words and as the spec names it.

    Args:
        here: The devices of this machine; none until the engine is loaded.
    """
    listed = list(here)
    gpus = [device for device in here if device.cuda]
    if len(gpus) > 1 and (together := find_device(ALL, here)):
        listed.insert(len(gpus), together)
    named = [one.name if one.name.startswith(one.id) else f"{one.id}: {one.name}" for one in listed]
    free = [f"{bytes_text(one.free)} of {bytes_text(one.total)} free" for one in listed]
    words = zip(named, free, listed, strict=True)
    return [AUTO, *((f"{name} · {room}", one.id) for name, room, one in words)]


def source_choices(form: Form) -> list[tuple[str, str]]:
    """List the datasets, and the form's own if it is gone."""
    known = form.dataset
    gone = [(f"{known.title} · not here", known.name)] if known.unknown_reason else []
    return [*((one.title, name) for name, one in datasets().items()), *gone]


def options_of(form: Form) -> dict[str, dict[str, Any]]:
    """Return, by path, the choices that depend on models and data, and what is held of them."""
    known, values = form.dataset, form.values
    options: dict[str, dict[str, Any]] = {
        NAME: {"choices": model_choices()},
        SOURCE: {"choices": source_choices(form)},
    }
    if not known.unknown_reason:
        tasks, titles = tasks_in(known, form.fold), titles_of(known)
        named = [(titles.get(task, task), task) for task in tasks]
        for path in (TASKS_PATH, PHASE_TASKS):
            chosen = [task for task in values[path] or () if task in tasks]
            options[path] = {"choices": named, "value": chosen}
        templated = catalog.model(str(values[NAME] or "")).chat_template
        shown = templated is not False or values[TEMPLATE] != "off"
        options[TEMPLATE] = {"visible": shown}
        folds = list(known.folds)
        options[FOLD] = {"choices": folds, "visible": len(folds) > 1}
        options[WATCHED] = {"choices": watchable(form)}
    return options


SUGGESTED: Mapping[Split, int] = {"forget": 12, "retain": 6}
"""Rows of each set to choose from: nobody knows invented facts."""


def watchable(form: Form) -> list[tuple[str, str]]:
    """List rows to watch, by set and prompt, and those that the form holds already.

    Subtasks take turns, questions before completions. Prompts of personal data are masked.
    """
    known, hide = form.dataset, mask if form.dataset.personal else str
    held = set(form.values[WATCHED] or [])
    tasks, found = tasks_in(known, form.fold), list[tuple[str, str]]()
    for split, most in SUGGESTED.items():
        rows = known.rows(split, form.fold)
        some = spread(evenly(rows, 5 * most), tasks)[:most]
        shown = dict.fromkeys((*some, *(row for row in rows if row.id in held)))
        found += [(f"{split} · {hide(row.input)[:EXCERPT]}", row.id) for row in shown]
    return found


# ---- notes, as HTML ----


def preset_note(form: Form) -> str:
    """Describe the preset and say whether the form has left it."""
    if form.preset not in presets():
        return ""
    try:
        changed = not same_settings(parsed(form), presets()[form.preset].spec)
    except SpecError:
        changed = True
    description = presets()[form.preset].description
    return render("form/notes.html", "preset", description=description, changed=changed)


def model_note(name: object, precision: object = "", told: str = "", *, offers: bool = True) -> str:
    """Say whether the chosen model is here, what a run downloads and what is missing.

    Args:
        name: What the control holds: a name, an id, a path.
        precision: The number format that the form asks for.
        told: Why looking it up failed; empty if it did not.
        offers: Whether there is a button to look it up with.
    """
    model = catalog.model(str(name or ""))
    if reason := model.unavailable_reason:
        known = {"title": model.title, "unknown": bool(model.unknown_reason), "reason": reason}
        return render("form/notes.html", "unavailable", **known)
    made = (_fetched(model), _made(model), _licensed(model), _large(model, precision))
    notes = [note for note in (*made, *model.notes) if note]
    unknown = model.architecture is None
    if unknown:
        notes.append("Its sizes are not known yet.")
    shown = {"problem": told, "notes": notes or [HINT], "look_up": unknown and offers}
    return render("form/notes.html", "model", **shown)


def _fetched(model: ModelInfo) -> str:
    weights = [repository for repository, only_tokenizer in model.to_download if not only_tokenizer]
    if not weights:
        return "Its tokenizer will be downloaded by the run." if model.to_download else ""
    bytes_ = checkpoints.looked_up(weights[0])
    return f"Not on this machine: the run downloads it{f', {size(bytes_)}' if bytes_ else ''}."


def _made(model: ModelInfo) -> str:
    base, data, date = (model.made.get(key, "") for key in ("model", "dataset", "date"))
    when = f", {date[:10]}" if date else ""
    return f"Made by unlearnlab from {base} with the data {data}{when}." if base and data else ""


def _licensed(model: ModelInfo) -> str:
    return f"Licence: {model.licence}." if model.licence else ""


def _large(model: ModelInfo, precision: object) -> str:
    if model.architecture is None or model.architecture.parameters < LARGE:
        return ""
    parameters = model.architecture.parameters
    if precision == "bfloat16":
        return f"As bfloat16 its weights take {size(2 * parameters)}."
    if precision != "float32":
        return ""
    return (
        f"As float32 its weights take {size(4 * parameters)}; bfloat16 halves that, nf4 under a "
        "LoRA adapter takes about an eighth."
    )


def looked_up(name: object) -> str:
    """Look a model up on the hub, so that its sizes are known, and return what went wrong."""
    model = catalog.model(str(name or ""))
    repository = (model.base or model).repository
    if not repository:
        return ""
    try:
        checkpoints.look_up(repository)
    except ValueError as error:
        return str(error)
    return ""


def rows_note(form: Form) -> str:
    """Say which forget rows are unlearned, with the buttons to change that."""
    if form.dataset.unknown_reason:
        return '<p class="changed">This dataset is not here any more: choose another.</p>'
    rows = form.dataset.rows("forget", form.fold)
    wanted = [row.id for row in rows if row.task in (form.values[TASKS_PATH] or ())]
    noun = "row" if len(wanted) == 1 else "rows"
    if form.picked is not None:
        found = len(set(form.picked) & set(wanted))
        rest = RESTS.get(form.values[ROWS].get("rest"), RESTS["leave"])
        words = f"{thousands(found)} of {thousands(len(wanted))} {noun} picked, the rest {rest}"
    elif wanted:
        of = "" if len(wanted) == len(rows) else f" of {thousands(len(rows))}"
        words = f"all {thousands(len(wanted))}{of} forget {noun}"
    else:
        words = "no forget row of these subtasks"
    return render("form/notes.html", "rows", words=words, picked=form.picked is not None)


def tokens_note(program: Program, form: Form, *, wanted: bool = False, masked: bool = True) -> str:
    """Say how prompts reach the model, with a button for the exact tokens of a row, or with them.

    Args:
        program: The program.
        form: The form.
        wanted: Whether to show the tokens.
        masked: Whether to hide the words of personal data.
    """
    try:
        spec = parsed(form)
        told = f"Chat template: {template_text(spec)}."
        if not wanted or program.tokens is None:
            offers = program.tokens is not None and not spec.model.known.to_download
            return render("form/notes.html", "tokens", told=told, offers=offers)
        found = program.tokens(spec.model, spec.data.chat_template, previewed_row(spec))
    except SpecError as error:
        problem = "; ".join(what for _, what in error.problems)
        return render("form/notes.html", "tokens", problem=problem) if wanted else ""
    except ValueError as error:
        return render("form/notes.html", "tokens", problem=str(error))
    personal = spec.data.known.personal
    pieces = [
        (hidden(text) if personal and masked and part in ("prompt", "answer") else text, part)
        for _, text, part in found.pieces
    ]
    row = mask(found.row) if personal and masked else found.row
    shown = {"row": row, "pieces": pieces, "masked": personal and masked}
    return render("form/notes.html", "tokens", told=told, **shown)


def size_note(program: Program, form: Form) -> str:
    """Say how much is trained, and what memory and time that takes."""
    try:
        spec = parsed(form)
    except SpecError:
        return "<p>Some settings are not valid yet.</p>"
    try:
        needs = {"trains": _trained(spec, form)} | _needs(program, spec)
        return render("form/notes.html", "needs", **needs)
    except (StoreError, ValueError) as error:
        return f"<p>Memory and time cannot be estimated: {escape(str(error))}</p>"


def _trained(spec: RunSpec, form: Form) -> str:
    architecture = spec.model.known.architecture
    if not form.trains:
        return "Nothing is trained."
    if architecture is None:  # The estimate says so.
        return ""
    trained = trainable_parameters(spec, spec.phases[form.editing])
    steps = planned_steps(spec)[form.editing]
    told = f"{thousands(steps)} steps" if steps != 1 else "1 step"
    return f"{count(trained)} of {count(architecture.parameters)} parameters train, {told}"


def _needs(program: Program, spec: RunSpec) -> dict[str, Any]:
    rows = program.store.runs()
    device = find_device(spec.model.device, program.devices())
    cuda, memory = device is not None and device.cuda, device.total if device else None
    found = estimate(spec, earlier(spec, rows, program.outline), cuda=cuda, memory=memory)
    peak = found.peak.total
    short = device is not None and peak > device.free
    summary = [f"Needs about {_memory(peak)}"]
    if device:
        summary[0] += f"; {'only ' if short else ''}{_memory(device.free)} free"
    if took := usual_seconds(spec, rows):
        summary.append(f"took {duration(took)} here before")
    elif found.seconds:
        summary.append(f"about {duration(found.seconds)}")
    return {
        "summary": " · ".join(summary),
        "peak": peak,
        "parts": [(part, bytes_, _memory(bytes_)) for part, bytes_ in found.parts],
        "notes": found.notes,
        "advice": found.advice if short else "",
    }


def _memory(bytes_: float) -> str:
    return bytes_text(bytes_).replace(" ", NO_BREAK)


# ---- method and phases ----


def idea_html(kind: str) -> str:
    """Give a method's idea in a line. HTML."""
    return f"<p>{escape(METHODS[kind].card.idea)}</p>"


def card_markdown(kind: str) -> str:
    """Give a method's formula, known failure and source. Our own text, not a model's."""
    card = METHODS[kind].card
    formula = card.formula if "=" in card.formula else rf"\min\; {card.formula}"
    return f"$${formula}$$\n\n**When it fails.** {card.fails}\n\n*{card.source}*"


def phase_cards(form: Form) -> dict[str, Any]:
    """Return title, settings and steps of each phase, and which one is shown."""
    try:
        steps: tuple[int, ...] = planned_steps(parsed(form))
    except SpecError:
        steps = ()
    cards: list[dict[str, str]] = []
    for phase in form.phases:
        kind = phase["method"]["kind"]
        title = METHODS[kind].card.title if kind in METHODS else kind
        cards.append({"title": title, "settings": _glance(phase, form.values[LAYERS]["blocks"])})
    return {"cards": cards, "steps": steps, "editing": form.editing}


def phases_html(form: Form) -> str:
    """Draw the list of phases."""
    return render("form/notes.html", "phases", **phase_cards(form))


def _glance(phase: Mapping[str, Any], blocks: int) -> str:
    """Describe an unchecked phase of a model with so many blocks, 0 if unknown, in a few words."""
    if not trains(phase["method"]["kind"]):
        return MERGES
    epochs, most, rate = (phase.get(name) for name in ("epochs", "max_steps", "learning_rate"))
    length = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    parts = [
        _span(phase.get("first_layer"), phase.get("last_layer"), blocks),
        f"learning rate {written(rate) if isinstance(rate, float) else rate}",
        length if most in (None, "") else f"{length}, at most {most} steps",
        ", ".join(TASKS.get(task, str(task)) for task in phase.get("tasks") or ()),
    ]
    return " · ".join(part for part in parts if part)


def _span(first: Any, last: Any, blocks: int) -> str:
    if last is None and not blocks:
        return f"blocks {first} to the last" if first else "all blocks"
    end = blocks - 1 if last is None else last
    return f"block {first}" if first == end else f"blocks {first} to {end}"
