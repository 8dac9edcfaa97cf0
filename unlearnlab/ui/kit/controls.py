"""From a setting's declaration to its control, and between a form's values and a spec.

Every hyperparameter of the form is read off the pydantic classes: bounds, unit and step from its
`Slider`, help from its docstring, the fold from its `Expert` mark. A path names a setting in the
form: `seed`, `phase.epochs`, `npo.beta`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic.fields import FieldInfo

from unlearnlab.models import catalog as catalogue
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
ADAPTER = "model.adapter"
"""The switch between an adapter and the weights themselves."""

ROWS = "data.rows"
"""The forget rows that were picked: one control for `forget` and `rest`."""

_BY_HAND = {"first_layer", "last_layer", "method", "kind", "adapter", "forget", "rest"}
"""Fields that the form draws itself, or not at all."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of the spec as the form shows it."""

    path: str
    name: str
    field: FieldInfo

    @property
    def expert(self) -> bool:
        """Tell whether it is folded away."""
        return expert(self.field)

    @property
    def label(self) -> str:
        """Name it as the page does: its words, the symbol its help gives it, its unit."""
        words = self.name.replace("_", " ").capitalize().replace("Kl ", "KL ")
        drawn = slider(self.field)
        symbol = drawn and re.search(r"[αβγℓ]", self.field.description or "")
        unit = drawn.unit if drawn else ""
        named = f"{words} {symbol[0]}" if symbol else words
        return f"{named}, {unit}" if unit else named

    @property
    def choices(self) -> tuple[str, ...]:
        """List its values, if they can be listed."""
        kind = self.field.annotation
        return get_args(kind) if get_origin(kind) is Literal else ()


def settings(prefix: str, of: type[Spec]) -> tuple[Setting, ...]:
    """List the settings that a class declares."""
    fields = of.model_fields.items()
    return tuple(Setting(f"{prefix}.{n}", n, f) for n, f in fields if n not in _BY_HAND)


PHASE = settings("phase", Phase)
OF_ADAPTER = tuple(s for s in PHASE if s.name.startswith("adapter_"))
"""What a phase has to say even if it trains nothing."""
MODEL = settings("model", ModelSpec)
DATA = settings("data", DataSpec)
EVALUATION = settings("evaluation", EvaluationSpec)
LORA = settings("lora", LoRA)
SEED = Setting("seed", "seed", RunSpec.model_fields["seed"])
KEEP = Setting("keep_as", "keep_as", RunSpec.model_fields["keep_as"])
OF_METHOD: Mapping[str, tuple[Setting, ...]] = {
    kind: settings(kind, method) for kind, method in METHODS.items()
}

_ALL = (
    *MODEL,
    *LORA,
    *DATA,
    *PHASE,
    *(s for group in OF_METHOD.values() for s in group),
    *EVALUATION,
)
PATHS: tuple[str, ...] = (
    *(s.path for s in (*_ALL, SEED, KEEP)),
    ADAPTER,
    METHOD,
    LAYERS,
    ROWS,
)
"""Every control of the form, in the order in which handlers take and give their values."""


def element(path: str) -> str:
    """Return the id of a setting's control on the page."""
    return f"f-{path.replace('.', '-')}"


def phase_card(number: int) -> str:
    """Return the id of a phase in the page's list of them."""
    return f"phase-card-{number}"


Control = gr.Number | gr.Textbox | gr.Dropdown | gr.Checkbox | gr.CheckboxGroup | gr.HTML
"""Whatever the form asks with."""

WORDS: Mapping[str, str] = {**MODULES, **TASKS}
"""Choices that the page names otherwise than the spec does."""


def control(setting: Setting) -> Control:
    """Draw a setting.

    Raises:
        TypeError: There is no control for its type.
    """
    kind, default, drawn = (
        setting.field.annotation,
        setting.field.get_default(),
        slider(setting.field),
    )
    plain = {"label": setting.label, "info": setting.field.description, "interactive": True}
    plain |= {"elem_id": element(setting.path), "elem_classes": ["field"], "min_width": 100}
    if setting.choices:
        options = [
            (WORDS.get(choice, choice.replace("_", " ")), choice) for choice in setting.choices
        ]
        return gr.Dropdown(options, value=default, filterable=False, **plain)
    if setting.path == DEVICE:
        return gr.Dropdown([AUTO], value=default, allow_custom_value=True, **plain)
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


Values = Sequence[Any]
"""What the controls hold, in the order of `PATHS`: unchecked."""


def shown(plain: Mapping[str, Any], phase: int) -> list[Any]:
    """Return what each control shows for one phase.

    Args:
        plain: A spec as plain values: dumped by pydantic, or gathered by `asked` and unchecked.
        phase: Index of the phase.
    """
    model, edited = plain["model"], plain["phases"][phase]
    values = {SEED.path: plain["seed"], KEEP.path: plain.get("keep_as", "")}
    values |= {ADAPTER: model["adapter"] is not None}
    values |= _flat(MODEL, model) | _flat(LORA, model["adapter"] or {})
    values |= _flat(DATA, plain["data"]) | _flat(EVALUATION, plain["evaluation"])
    values |= _flat(PHASE, edited) | {METHOD: edited["method"]["kind"]}
    for kind, of_method in OF_METHOD.items():
        chosen = kind == edited["method"]["kind"]
        values |= _flat(of_method, edited["method"] if chosen else {})
    values[LAYERS] = layers_of(edited, model["name"])
    values[ROWS] = _rows(plain["data"])
    return [values[path] for path in PATHS]


def _flat(of: Sequence[Setting], held: Mapping[str, Any]) -> dict[str, Any]:
    return {s.path: _raw(s, held.get(s.name, s.field.get_default())) for s in of}


def _raw(setting: Setting, value: Any) -> Any:
    drawn = slider(setting.field)
    if isinstance(value, tuple):
        return list(value)
    if setting.path == PHASE_TASKS:
        return value or []
    return written(value) if drawn and drawn.log and isinstance(value, float) else value


def _rows(data: Mapping[str, Any]) -> dict[str, Any]:
    forget = data.get("forget")
    return {
        "forget": None if forget is None else list(forget),
        "rest": data.get("rest", "leave"),
    }


def layers_of(phase: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what the range of layers shows: `blocks` is 0, and `last` may be none, if unknown."""
    known = catalogue.model(model or "").architecture
    last = phase.get("last_layer")
    return {
        "first": phase.get("first_layer", 0),
        "last": known.blocks - 1 if known and last is None else last,
        "blocks": known.blocks if known else 0,
    }


def asked(values: Values, phases: Sequence[Mapping[str, Any]], editing: int) -> dict[str, Any]:
    """Gather the form into plain values for `spec.parse_spec`.

    Args:
        values: What the controls hold.
        phases: All phases as plain values; the one at `editing` is replaced by the form's.
        editing: Index of the phase that the controls show.
    """
    form = dict(zip(PATHS, values, strict=True))
    merged = list(phases)
    merged[editing : editing + 1] = [asked_phase(values)]
    return {
        "model": _named("model", MODEL, form) | {"adapter": _adapter(form)},
        "data": _named("data", DATA, form) | _rows(form[ROWS] or {}),
        "phases": merged,
        "evaluation": _named("evaluation", EVALUATION, form),
        "seed": _number(form[SEED.path]),
        "keep_as": form[KEEP.path] or "",
    }


def asked_phase(values: Values) -> dict[str, Any]:
    """Gather the phase that the controls show."""
    form = dict(zip(PATHS, values, strict=True))
    kind, layers = form[METHOD], form[LAYERS] or {}
    method = {"method": _named(kind, OF_METHOD.get(kind, ()), form) | {"kind": kind}}
    if not trains(kind):
        return _named("phase", OF_ADAPTER, form) | method
    return _named("phase", PHASE, form) | {
        "first_layer": layers.get("first", 0),
        "last_layer": layers.get("last"),
        **method,
    }


def trains(kind: str) -> bool:
    """Tell whether a method takes steps, and so has layers, a rate and a length; a merge has none.

    An unknown one does.
    """
    return kind not in METHODS or bool(METHODS[kind].sets)


def _named(prefix: str, of: Sequence[Setting], form: Mapping[str, Any]) -> dict[str, Any]:
    return {s.name: _number(form[f"{prefix}.{s.name}"], s) for s in of}


def _number(value: Any, setting: Setting = SEED) -> Any:
    """Keep an empty box that needs a number apart from a setting that may be none."""
    if type(None) in get_args(setting.field.annotation):
        return None if value == [] else value
    return "" if value is None else value


def _adapter(form: Mapping[str, Any]) -> dict[str, Any] | None:
    return _named("lora", LORA, form) if form[ADAPTER] else None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with what the form asks for."""

    element: str
    """Id of the control it belongs to; empty if none shows it."""
    label: str
    message: str


def located(
    problems: Sequence[tuple[str, str]], *, editing: int, method: str
) -> tuple[Problem, ...]:
    """Say at which control each problem of a spec belongs.

    Args:
        problems: Dotted paths in the spec, and what is wrong there.
        editing: Index of the phase that the controls show.
        method: Kind of the method that they show.
    """
    return tuple(_located(where, what, editing, method) for where, what in problems)


def _located(where: str, what: str, editing: int, method: str) -> Problem:
    parts = where.split(".")
    if parts[0] == "phases" and len(parts) > 2:
        number = int(parts[1])
        name = parts[3] if parts[2] == "method" and len(parts) > 3 else parts[2]
        if number != editing:
            return Problem(
                phase_card(number), f"Phase {number + 1}, {name.replace('_', ' ')}", what
            )
        path = f"{method if parts[2] == 'method' else 'phase'}.{name}"
        path = _DRAWN_AS.get(name, path)
    else:
        path = _DRAWN_AS.get(where, where.replace("model.adapter.", "lora."))
    if path in _LABELS:
        return Problem(element(path), _LABELS[path], what)
    return Problem("", where, what)


_DRAWN_AS = {
    "first_layer": LAYERS,
    "last_layer": LAYERS,
    "kind": METHOD,
    "method": METHOD,
    "data.forget": ROWS,
    "data.rest": ROWS,
}
"""Fields that another control stands for."""

_LABELS: Mapping[str, str] = {
    **{setting.path: setting.label for setting in (*_ALL, SEED, KEEP)},
    LAYERS: "Layers",
    METHOD: "Method",
    ADAPTER: "LoRA",
    "model.name": "Model",
    "data.source": "Data",
    ROWS: "Rows to forget",
}
