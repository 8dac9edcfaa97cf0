"""From a setting's declaration to its control.

Every hyperparameter of a form is read off the pydantic classes: unit and step from its `Slider`,
help from its docstring, the fold from its `Expert` mark. A path names a setting in the form:
`seed`, `phase.epochs`, `npo.beta`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import gradio as gr
from annotated_types import MaxLen
from pydantic.fields import FieldInfo

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import Spec, expert, slider
from unlearnlab.spec.run import DataSpec, EvaluationSpec, LoRA, ModelSpec, Phase, RunSpec, written
from unlearnlab.views.scoreboard import TASKS
from unlearnlab.views.words import MODULES

DEVICE = "model.device"
AUTO = ("auto: a GPU if there is one", "auto")

LAYERS = "phase.layers"
"""The range of blocks: one control for `first_layer` and `last_layer`."""

METHOD = "phase.method"
PHASE_TASKS = "phase.tasks"
WATCHED = "evaluation.watched_rows"
"""Rows that are answered at every probe: chosen from suggestions, or named by their ids."""
ADAPTER = "model.adapter"
"""The switch between training an adapter and training the weights."""

ROWS = "data.rows"
"""The forget rows that were picked: one control for `forget` and `rest`."""

_BY_HAND = {"first_layer", "last_layer", "method", "kind", "adapter", "forget", "rest"}
"""Fields that the form draws itself, or not at all."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a spec as a form shows it."""

    path: str
    name: str
    field: FieldInfo

    @property
    def expert(self) -> bool:
        """Tell whether it is among the expert settings, which are folded away."""
        return expert(self.field)

    @property
    def label(self) -> str:
        """Return its label: name, symbol from its help, unit."""
        words = self.name.replace("_", " ").capitalize()
        words = words.replace("Kl ", "KL ").replace("Mmlu", "MMLU")
        drawn = slider(self.field)
        symbol = drawn and re.search(r"[αβγℓ]", self.field.description or "")
        unit = drawn.unit if drawn and not words.endswith(drawn.unit) else ""
        return f"{words}{f' {symbol[0]}' if symbol else ''}{f', {unit}' if unit else ''}"

    @property
    def choices(self) -> tuple[str, ...]:
        """List its values, if they can be listed."""
        kind = self.field.annotation
        return get_args(kind) if get_origin(kind) is Literal else ()


def form_fields(prefix: str, of: type[Spec]) -> tuple[FormField, ...]:
    """List the settings that a class declares."""
    fields = of.model_fields.items()
    return tuple(FormField(f"{prefix}.{n}", n, f) for n, f in fields if n not in _BY_HAND)


PHASE = form_fields("phase", Phase)
OF_ADAPTER = tuple(s for s in PHASE if s.name.startswith("adapter_"))
"""Settings of every phase, even one that trains nothing."""
MODEL = form_fields("model", ModelSpec)
DATA = form_fields("data", DataSpec)
EVALUATION = form_fields("evaluation", EvaluationSpec)
LORA = form_fields("lora", LoRA)
SEED = FormField("seed", "seed", RunSpec.model_fields["seed"])
KEEP = FormField("keep_as", "keep_as", RunSpec.model_fields["keep_as"])
OF_METHOD: Mapping[str, tuple[FormField, ...]] = {
    kind: form_fields(kind, method) for kind, method in METHODS.items()
}

_METHODS = (setting for group in OF_METHOD.values() for setting in group)
LABELS: Mapping[str, str] = {
    **{s.path: s.label for s in (*MODEL, *LORA, *DATA, *PHASE, *_METHODS, *EVALUATION, SEED, KEEP)},
    ADAPTER: "LoRA",
    METHOD: "Method",
    LAYERS: "Layers",
    ROWS: "Rows to forget",
    "model.name": "Model",
    "data.source": "Data",
}
"""Labels of the form's controls, by path."""

PATHS: tuple[str, ...] = tuple(LABELS)
"""Every control of the form, in the order in which handlers take and give their values."""


def element(path: str) -> str:
    """Return the id of a setting's control on the page."""
    return f"f-{path.replace('.', '-')}"


Control = gr.Number | gr.Textbox | gr.Dropdown | gr.Checkbox | gr.CheckboxGroup | gr.HTML
"""Any control of the form."""

WORDS: Mapping[str, str] = {**MODULES, **TASKS}
"""Display names of choices."""


def control(setting: FormField) -> Control:
    """Draw a setting.

    Raises:
        TypeError: There is no control for its type.
    """
    field = setting.field
    kind, default, drawn = field.annotation, field.get_default(), slider(field)
    plain = {"label": setting.label, "info": field.description, "interactive": True}
    plain |= {"elem_id": element(setting.path), "elem_classes": ["field"], "min_width": 100}
    if setting.choices:
        named = [(WORDS.get(one, one.replace("_", " ")), one) for one in setting.choices]
        return gr.Dropdown(named, value=default, filterable=False, **plain)
    if setting.path == DEVICE:
        return gr.Dropdown([AUTO], value=default, allow_custom_value=True, **plain)
    if setting.path == WATCHED:
        most = next(bound.max_length for bound in field.metadata if isinstance(bound, MaxLen))
        more = {"multiselect": True, "max_choices": most, "allow_custom_value": True}
        return gr.Dropdown([], value=[], **more, **plain)
    if kind is bool:
        return gr.Checkbox(default, **plain)
    if kind is str:
        return gr.Textbox(default, max_lines=1, **plain)
    if drawn and drawn.log:
        return gr.Textbox(written(default), max_lines=1, **plain)
    if kind in (int, float, int | None, float | None):
        step = drawn.step if drawn and drawn.step else 1
        return gr.Number(default, step=step, placeholder="none", **plain)
    raise TypeError(f"{setting.path}: no control for a {kind}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with what a form asks for."""

    element: str
    """Id of the control it belongs to; empty if none shows it."""
    label: str
    message: str
