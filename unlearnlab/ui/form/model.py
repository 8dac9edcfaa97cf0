"""The control of the model: what can be chosen, and how the chosen one stands."""

import re
from collections.abc import Sequence

from unlearnlab.data.files import size
from unlearnlab.models import catalog as catalogue
from unlearnlab.models import hub as hub_models
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.models.families import Architecture
from unlearnlab.runs.engine_api import Device, find_device
from unlearnlab.spec.run import PACKED, ModelSpec, Precision
from unlearnlab.ui.form.device import DEVICE
from unlearnlab.ui.form.form import Form, choose_model
from unlearnlab.ui.kit.text import count, escape

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
    bytes_ = hub_models.looked_up(weights[0])
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
        hub_models.look_up(model.repository)
    except ValueError as error:
        return str(error)
    return ""
