"""What the form offers: models, devices, and data with the rows that were picked."""

import re
from collections.abc import Sequence
from typing import Any, get_args

import gradio as gr

from unlearnlab.data.datasets import TASKS as ALL_TASKS
from unlearnlab.data.datasets import DatasetInfo, Fold, Row, Task, dataset, datasets
from unlearnlab.data.files import size
from unlearnlab.models import catalog as catalogue
from unlearnlab.models import checkpoints
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.models.families import Architecture
from unlearnlab.runs.engine_api import ALL, Device, find_device
from unlearnlab.runs.estimates import bytes_text
from unlearnlab.spec.run import PACKED, ModelSpec, Precision, in_order
from unlearnlab.ui.form.form import Form, choose_model
from unlearnlab.ui.kit.controls import (
    AUTO,
    DATA,
    DEVICE,
    PATHS,
    PHASE_TASKS,
    ROWS,
    Control,
    control,
    element,
)
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import count, escape
from unlearnlab.views.scoreboard import titles_of

NAME = "model.name"
PRECISION = "model.precision"

HINT = "Or type a folder's path, or the id of a model on the hub: org/name."

NOTE_JS = """element.addEventListener("click", (event) => {
  if (event.target.closest("button")) trigger("look_up");
});"""
"""Sends a press of the note's button."""

LARGE = 5 * 10**8
"""Parameters from which the number format decides whether a model fits a machine."""


def model_choices() -> list[tuple[str, str]]:
    """List the models to choose from: the embedded one, those kept here, those of the task."""
    listed = catalogue.models()
    embedded, *others = listed
    known = [catalogue.model(name) for name in (embedded, *catalogue.saved_names(), *others)]
    return [(_titled(model), model.name) for model in known]


def _titled(model: ModelInfo) -> str:
    return " · ".join(part for part in (model.title, _sizes(model.architecture)) if part)


def _sizes(architecture: Architecture | None) -> str:
    if architecture is None:
        return ""
    parameters = architecture.parameters
    written = count(parameters) if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"
    return f"{architecture.blocks} blocks · {written}"


def usual_precision(model: ModelInfo, device: Device | None) -> Precision:
    """Return the number format that a model is trained in on a device, as long as nobody chose.

    On a GPU bfloat16 halves memory and time. The embedded model and what was made of it are small,
    and compare with numbers that were measured in float32.
    """
    own = model.name == ModelSpec().name or bool(model.made)
    return "bfloat16" if device is not None and device.cuda and not own else "float32"


def take_model(form: Form, here: Sequence[Device]) -> Form:
    """Fit the form to the model just chosen: its layers, and on a GPU its usual number format.

    Packed weights are left as they are, and the format is, where there is no GPU.

    Args:
        form: The form, with the model.
        here: The devices of this machine.
    """
    form = choose_model(form)
    values = form.draft["values"]
    device = find_device(str(values[DEVICE] or ""), here)
    if device is None or not device.cuda or values[PRECISION] in PACKED:
        return form
    usual = usual_precision(catalogue.model(str(values[NAME] or "")), device)
    return Form(form.draft | {"values": values | {PRECISION: usual}})


def model_note(name: object, precision: object = "", told: str = "", *, offers: bool = True) -> str:
    """Say of the chosen model whether it is here, what a run fetches and what is missing. HTML.

    Args:
        name: What the control holds: a name, an id, a path.
        precision: The number format that the form asks for.
        told: What came of looking it up, if that failed.
        offers: Whether there is a button to look it up with.
    """
    model = catalogue.model(str(name or ""))
    if model.unavailable_reason:
        text = re.sub("`([^`]+)`", r"<code>\1</code>", escape(model.unavailable_reason))
        title = "" if model.unknown_reason else f"{escape(model.title)}: "
        kind = "changed gone" if model.unknown_reason else "changed"
        return f'<p class="{kind}">{title}{text}</p>'
    parts = [_fetched(model), _made(model), _large(model, precision)]
    note = " ".join(part for part in parts if part)
    if model.architecture is None:
        note += f" Its sizes are not known yet.{_BUTTON if offers else ''}"
    problem = f'<p class="changed">{escape(told)}</p>' if told else ""
    return f"{problem}<p>{note or HINT}</p>"


_BUTTON = (
    ' <button type="button" class="quiet" title="Asks the hub for the '
    'model&#39;s config.json, and for nothing else">Look it up</button>'
)


def _fetched(model: ModelInfo) -> str:
    weights = [repository for repository, only_tokenizer in model.to_download if not only_tokenizer]
    if not weights:
        return "Its tokenizer will be downloaded by the run." if model.to_download else ""
    bytes_ = checkpoints.looked_up(weights[0])
    return f"Not on this machine: the run downloads it{f', {size(bytes_)}' if bytes_ else ''}."


def _made(model: ModelInfo) -> str:
    base, data, date = (escape(model.made.get(key, "")) for key in ("model", "dataset", "date"))
    return f"Made here from {base} with the data {data}, {date[:10]}." if base and data else ""


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
    """Look a model up on the hub, so that its sizes are known.

    Returns:
        What went wrong; empty if nothing did.
    """
    model = catalogue.model(str(name or ""))
    if not model.repository:
        return ""
    try:
        checkpoints.look_up(model.repository)
    except ValueError as error:
        return str(error)
    return ""


def device_choices(here: Sequence[Device]) -> list[tuple[str, str]]:
    """List what a model can be put on, in words and as the spec names it.

    Args:
        here: The devices of this machine; none as long as the engine is not there.
    """
    listed = list(here)
    gpus = [device for device in here if device.cuda]
    if len(gpus) > 1 and (together := find_device(ALL, here)):
        listed.insert(len(gpus), together)
    return [AUTO, *((_worded(device), device.id) for device in listed)]


def _worded(device: Device) -> str:
    named = device.name if device.name.startswith(device.id) else f"{device.id}: {device.name}"
    return f"{named} · {bytes_text(device.free)} of {bytes_text(device.total)} free"


SOURCE, FOLD, TASKS_PATH = "data.source", "data.fold", "data.tasks"

MOST_PICKED = 10_000
"""Rows that a spec may name: each form that is sent carries their ids."""

RESTS = {"leave": "left alone", "retain": "moved to the retain set"}
"""What becomes of the rows that were not picked, in words."""


def known_of(form: Form) -> DatasetInfo:
    """Return the dataset that the form names."""
    return dataset(str(form.draft["values"][SOURCE] or ""))


def fold_of(form: Form) -> Fold:
    """Return the fold that the form names; the first one if that is none."""
    named = form.draft["values"][FOLD]
    return next((fold for fold in get_args(Fold) if fold == named), "train")


def tasks_in(known: DatasetInfo, fold: Fold) -> tuple[Task, ...]:
    """List the subtasks that the forget set of a fold has; all if it has no rows."""
    found = {row.task for row in known.rows("forget", fold)}
    return tuple(task for task in ALL_TASKS if task in found) or ALL_TASKS


def source_choices(form: Form) -> list[tuple[str, str]]:
    """List the datasets, and the form's own if it is gone."""
    known = known_of(form)
    gone = [(f"{known.title} · not here", known.name)] if known.unknown_reason else []
    return [*((one.title, name) for name, one in datasets().items()), *gone]


def choose_data(form: Form) -> Form:
    """Fit the form to the chosen dataset: its folds, its subtasks, and all of its rows."""
    known, values = known_of(form), form.draft["values"]
    if known.unknown_reason:
        return form
    fold = fold_of(form) if fold_of(form) in known.folds else known.folds[0]
    tasks = list(tasks_in(known, fold))
    chosen = {FOLD: fold, TASKS_PATH: tasks, PHASE_TASKS: [], ROWS: _picked(None, "leave")}
    phases = [phase | {"tasks": None} for phase in form.draft["phases"]]
    return Form(form.draft | {"values": values | chosen, "phases": phases})


def choose_fold(form: Form) -> Form:
    """Fit the form to the chosen fold: rows that were picked belong to another."""
    chosen = {ROWS: _picked(None, "leave")}
    return Form(form.draft | {"values": form.draft["values"] | chosen})


def forget_all(form: Form) -> Form:
    """Forget all rows of the chosen subtasks again."""
    return Form(form.draft | {"values": form.draft["values"] | {ROWS: _picked(None, "leave")}})


def use_rows(form: Form, ids: Sequence[str], rest: str) -> Form:
    """Forget these rows of the form's dataset, and add their subtasks to those it forgets.

    Raises:
        ValueError: There are none, or too many to name.
    """
    if not ids:
        raise ValueError("no row is ticked: tick at least one")
    if len(ids) > MOST_PICKED:
        raise ValueError(
            f"{len(ids)} rows are ticked: at most {MOST_PICKED} can be named; take whole "
            "subtasks, or add the rows as a dataset of their own"
        )
    values, wanted = form.draft["values"], set(ids)
    rows = known_of(form).rows("forget", fold_of(form))
    picked = {row.task for row in rows if row.id in wanted}
    held = values[TASKS_PATH] or ()
    tasks: list[Task] = [task for task in ALL_TASKS if task in held or task in picked]
    chosen = {
        ROWS: _picked(ids, rest if rest in RESTS else "leave"),
        TASKS_PATH: list(in_order(tasks)),
    }
    return Form(form.draft | {"values": values | chosen})


def _picked(ids: Sequence[str] | None, rest: str) -> dict[str, Any]:
    return {"forget": None if ids is None else list(ids), "rest": rest}


def picked_ids(form: Form) -> list[str] | None:
    """Return the ids that were picked; none if all rows are forgotten."""
    held = form.draft["values"][ROWS]
    ids = held.get("forget") if isinstance(held, dict) else None
    return ids if isinstance(ids, list) else None


def controls_of(form: Form, since: Form | None = None) -> list[Any]:
    """Show the form's values: one update for each of `PATHS`, with the options its data has.

    Args:
        form: What to show.
        since: What the controls hold already; a value that is the same is not sent again.
    """
    held = since.draft["values"] if since else {}
    options = _options(form)
    updates: list[Any] = []
    for path in PATHS:
        wanted = {"value": form.draft["values"][path]} | options.get(path, {})
        if path in held and held[path] == wanted["value"]:
            del wanted["value"]
        updates.append(gr.update(**wanted))
    return updates


def _options(form: Form) -> dict[str, dict[str, Any]]:
    """Return what a control offers, and what it holds of that, where this hangs on the data."""
    known, values = known_of(form), form.draft["values"]
    options: dict[str, dict[str, Any]] = {
        NAME: {"choices": model_choices()},
        SOURCE: {"choices": source_choices(form)},
    }
    if not known.unknown_reason:
        tasks = tasks_in(known, fold_of(form))
        titles = titles_of(known)
        named = [(titles.get(task, task), task) for task in tasks]
        for path in (TASKS_PATH, PHASE_TASKS):
            chosen = [task for task in values[path] or () if task in tasks]
            options[path] = {"choices": named, "value": chosen}
        folds = list(known.folds)
        options[FOLD] = {"choices": folds, "visible": len(folds) > 1}
    return options


def draw_data(first: Form, drawn: dict[str, Control]) -> gr.HTML:
    """Lay out dataset and fold, and return the note on the rows."""
    drawn[SOURCE] = gr.Dropdown(
        source_choices(first),
        value=first.draft["values"][SOURCE],
        label="Data",
        elem_id=element(SOURCE),
        elem_classes=["field"],
        filterable=False,
    )
    drawn[ROWS] = gr.HTML(first.draft["values"][ROWS], html_template="", visible=False)
    note = gr.HTML(
        rows_note(first),
        js_on_load=script("kit/buttons.js"),
        elem_id=element(ROWS),
        elem_classes=["note", "field"],
        apply_default_css=False,
    )
    drawn[FOLD] = control(next(setting for setting in DATA if setting.path == FOLD))
    return note


def rows_note(form: Form) -> str:
    """Say which forget rows are unlearned, with the buttons to change that. HTML."""
    known, held = known_of(form), form.draft["values"]
    if known.unknown_reason:
        return '<p class="changed">This dataset is not here any more: choose another.</p>'
    rows = known.rows("forget", fold_of(form))
    wanted = [row for row in rows if row.task in (held[TASKS_PATH] or ())]
    ids = picked_ids(form)
    if ids is None:
        of = "" if len(wanted) == len(rows) else f" of {number(len(rows))}"
        said = f"all {number(len(wanted))}{of} forget {_rows(len(wanted))}" if wanted else ""
        return f"<p>{said or 'no forget row of these subtasks'} {_PICK}</p>"
    return f"<p>{_picked_note(wanted, ids, held[ROWS].get('rest'))} {_PICK} {_ALL_AGAIN}</p>"


def _picked_note(rows: Sequence[Row], ids: Sequence[str], rest: Any) -> str:
    found = len(set(ids) & {row.id for row in rows})
    told = f"{number(found)} of {number(len(rows))} {_rows(len(rows))} picked"
    return f"{told}, the rest {RESTS.get(rest, RESTS['leave'])}"


def number(count: int) -> str:
    """Write a count of rows with thin spaces."""
    return f"{count:,}".replace(",", "\u202f")


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


_PICK = '<button type="button" class="link" data-event="pick_rows">pick rows</button>'
_ALL_AGAIN = '<button type="button" class="link" data-event="all_rows">forget all again</button>'
