"""The form's state: the values of its controls, from and to a spec, and each change of them.

The browser keeps a draft: the values of all controls, the phases that are not shown, and which
phase is. So a reload, or a wrong value, loses nothing. Values are unchecked until `parsed`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, get_args

from unlearnlab.data.datasets import TASKS as ALL_TASKS
from unlearnlab.data.datasets import DatasetInfo, Fold, Task, dataset
from unlearnlab.models import catalog
from unlearnlab.models.catalog import ModelInfo, save_name_problem
from unlearnlab.runs.engine_api import Device, find_device
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import slider
from unlearnlab.spec.presets import presets, usual_template
from unlearnlab.spec.run import (
    PACKED,
    ModelSpec,
    Phase,
    Precision,
    RunSpec,
    SpecError,
    Template,
    in_order,
    parse_spec,
    settled,
    written,
)
from unlearnlab.ui.kit.controls import (
    ADAPTER,
    DATA,
    DEVICE,
    EVALUATION,
    KEEP,
    LABELS,
    LAYERS,
    LORA,
    METHOD,
    MODEL,
    OF_ADAPTER,
    OF_METHOD,
    PATHS,
    PHASE,
    PHASE_TASKS,
    ROWS,
    SEED,
    WATCHED,
    FormField,
    Problem,
    element,
)
from unlearnlab.views.runs import differences

NAME, PRECISION, START = "model.name", "model.precision", "model.start_from"
SOURCE, FOLD, TASKS_PATH = "data.source", "data.fold", "data.tasks"
TEMPLATE = "data.chat_template"

NAMED = 3
"""Changed settings that the name of a run tells."""

FIRST = "embedded-early-mlps"
"""The preset that a newcomer finds: it forgets and keeps in about a minute."""

MOST_PICKED = 10_000
"""Rows that a spec may name: each form that is sent carries their ids."""

RESTS = {"leave": "left alone", "retain": "moved to the retain set"}
"""What becomes of the rows that were not picked, in words."""

Values = dict[str, Any]
"""What the controls hold, by path."""


@dataclass(frozen=True, slots=True)
class Form:
    """All that the form shows."""

    values: Values
    """What the controls hold, by path."""
    kept: list[dict[str, Any]]
    """All phases in order as plain values; for the shown one, see `phases`."""
    editing: int
    """Index of the phase that is shown."""
    preset: str
    """The preset that the form started from; may be empty."""

    @property
    def draft(self) -> dict[str, Any]:
        """Return what the browser keeps."""
        shown = {"editing": self.editing, "preset": self.preset}
        return {"values": self.values, "phases": self.kept, **shown}

    @property
    def digest(self) -> str:
        """Return a text that two forms share only if they ask for the same."""
        return hashlib.sha256(repr(self.plain).encode()).hexdigest()

    @property
    def method(self) -> str:
        """Return the kind of the method that is shown."""
        return self.values[METHOD]

    @property
    def phases(self) -> list[dict[str, Any]]:
        """Return all phases in order, the shown one as its controls hold it."""
        phases = list(self.kept)
        phases[self.editing] = to_phase_dict(self.values)
        return phases

    @property
    def trains(self) -> bool:
        """Tell whether the shown phase takes steps: a merge has no layers, rate or epochs."""
        return trains(self.method)

    @property
    def tells_tasks(self) -> bool:
        """Tell whether to offer subtasks for the shown phase: it has some, or is one of several."""
        return self.trains and (len(self.kept) > 1 or bool(self.values[PHASE_TASKS]))

    @property
    def plain(self) -> dict[str, Any]:
        """Return the spec that the form asks for as plain values for `parse_spec`."""
        form = self.values
        return {
            "model": _named("model", MODEL, form)
            | {"adapter": _named("lora", LORA, form) if form[ADAPTER] else None},
            "data": _named("data", DATA, form) | _rows(form[ROWS] or {}),
            "phases": self.phases,
            "evaluation": _named("evaluation", EVALUATION, form),
            "seed": _number(form[SEED.path]),
            "keep_as": form[KEEP.path] or "",
        }

    @property
    def dataset(self) -> DatasetInfo:
        """Return the dataset that the form names."""
        return dataset(str(self.values[SOURCE] or ""))

    @property
    def fold(self) -> Fold:
        """Return the fold that the form names; the first one if that is none."""
        named = self.values[FOLD]
        return next((fold for fold in get_args(Fold) if fold == named), "train")

    @property
    def picked(self) -> list[str] | None:
        """Return the ids of the picked forget rows; none if all are forgotten."""
        held = self.values[ROWS]
        ids = held.get("forget") if isinstance(held, dict) else None
        return ids if isinstance(ids, list) else None

    def having(self, values: Values, **fields: Any) -> "Form":
        """Return the form with other values of some controls, and other fields."""
        return replace(self, values=self.values | values, **fields)

    def showing(self, phases: Iterable[Any] | None = None, editing: int | None = None) -> "Form":
        """Return the form with other phases, or turned to another one of them."""
        plain = self.plain if phases is None else self.plain | {"phases": list(phases)}
        shown = self.editing if editing is None else editing
        return form_of(plain, preset=self.preset, editing=shown)


# ---- from and to a spec ----


def form_of(plain: Mapping[str, Any], *, preset: str = "", editing: int = 0) -> Form:
    """Return the form that shows a spec of plain values; without phases, it gets a first one."""
    phases = list(plain["phases"]) or [Phase().model_dump(mode="json")]
    return Form(to_values({**plain, "phases": phases}, editing), phases, editing, preset)


def first_form() -> Form:
    """Return the form that a newcomer finds."""
    return preset_form(FIRST)


def preset_form(name: str) -> Form:
    """Return the form of a preset; of an unknown name, that of the defaults."""
    if name not in presets():
        return form_of(RunSpec().model_dump(mode="json"))
    return form_of(presets()[name].spec.model_dump(mode="json"), preset=name)


def load_draft(draft: Any) -> Form:
    """Return the form that the browser kept; a draft of another program version is ignored."""
    match draft:
        case {
            "values": dict(values),
            "phases": [*phases],
            "editing": int(editing),
            "preset": str(preset),
        } if set(values) == set(PATHS) and 0 <= editing < len(phases) and _sound(phases):
            return Form(values, phases, editing, preset)
    return first_form()


def _sound(phases: Sequence[Any]) -> bool:
    return all(
        isinstance(phase, dict)
        and isinstance(phase.get("method"), dict)
        and phase["method"].get("kind") in METHODS
        for phase in phases
    )


def collect_form(draft: Any, values: Sequence[Any]) -> Form:
    """Take the controls' present values, in the order of `PATHS`, into the draft."""
    form = load_draft(draft).having(dict(zip(PATHS, values, strict=True)))
    return replace(form, kept=form.phases)


def to_values(plain: Mapping[str, Any], phase: int) -> dict[str, Any]:
    """Return what each control shows for one phase.

    Args:
        plain: A spec as plain values: dumped by pydantic, or a form's `plain` and unchecked.
        phase: Index of the phase.
    """
    model, edited = plain["model"], plain["phases"][phase]
    method = edited["method"]
    found = {SEED.path: plain["seed"], KEEP.path: plain.get("keep_as", "")}
    found |= {ADAPTER: model["adapter"] is not None, METHOD: method["kind"]}
    found |= {LAYERS: layers_of(edited, model["name"]), ROWS: _rows(plain["data"])}
    groups = [(MODEL, model), (LORA, model["adapter"] or {}), (DATA, plain["data"])]
    groups += [(EVALUATION, plain["evaluation"]), (PHASE, edited)]
    groups += [(of, method if kind == method["kind"] else {}) for kind, of in OF_METHOD.items()]
    for group, held in groups:
        found |= {s.path: _raw(s, held.get(s.name, s.field.get_default())) for s in group}
    return {path: found[path] for path in PATHS}


def _raw(setting: FormField, value: Any) -> Any:
    drawn = slider(setting.field)
    if isinstance(value, tuple):
        return list(value)
    if setting.path in (PHASE_TASKS, WATCHED):
        return list(value or [])
    return written(value) if drawn and drawn.log and isinstance(value, float) else value


def _rows(data: Mapping[str, Any]) -> dict[str, Any]:
    forget = data.get("forget")
    return {"forget": None if forget is None else list(forget), "rest": data.get("rest", "leave")}


def layers_of(phase: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what the range of layers shows: `blocks` is 0, and `last` may be none, if unknown."""
    known = catalog.model(model or "").architecture
    last = phase.get("last_layer")
    return {
        "first": phase.get("first_layer", 0),
        "last": known.blocks - 1 if known and last is None else last,
        "blocks": known.blocks if known else 0,
    }


def to_phase_dict(form: Values) -> dict[str, Any]:
    """Return the phase that the controls show as plain values."""
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


def _named(prefix: str, of: Sequence[FormField], form: Values) -> dict[str, Any]:
    return {s.name: _number(form[f"{prefix}.{s.name}"], s) for s in of}


def _number(value: Any, setting: FormField = SEED) -> Any:
    """Keep an empty box that needs a number apart from a setting that may be none."""
    if type(None) in get_args(setting.field.annotation):
        return None if value == [] else value
    return "" if value is None else value


def parsed(form: Form) -> RunSpec:
    """Make the spec, whether or not its model is here.

    Raises:
        SpecError: Something in it is wrong.
    """
    return parse_spec(form.plain)


def spec_of(form: Form) -> RunSpec:
    """Make the spec that the form asks for.

    Raises:
        SpecError: Something in it is wrong.
    """
    spec = _ready(parsed(form))
    if spec.keep_as and (problem := save_name_problem(spec.keep_as)):
        raise SpecError([("keep_as", problem)])
    return spec


def scoring_of(form: Form) -> RunSpec:
    """Make the run that only scores the form's model on its data and trains nothing.

    Raises:
        SpecError: Something else in it is wrong.
    """
    return _ready(parse_spec(form.plain | {"phases": [], "keep_as": ""}))


def _ready(spec: RunSpec) -> RunSpec:
    known = spec.model.known
    if known.unavailable_reason:
        told = f"{known.title} is not ready on this machine: follow the instructions below it"
        raise SpecError([(NAME, told)])
    return spec


def title_of(form: Form, spec: RunSpec) -> str:
    """Name a run by the preset that it began from and what was changed of it.

    Empty if it began from none, or became another method.
    """
    found = presets().get(form.preset)
    if found is None or spec.title != found.spec.title:
        return ""
    # The name goes into packs and reports, which name no place on this machine.
    changed = [
        f"{one.name} {PurePath(one.values[1]).name or one.values[1]}"
        for one in differences((settled(found.spec), settled(spec)))
    ]
    more = len(changed) - NAMED
    told = [*changed[:NAMED], *([f"{more} more"] if more > 0 else [])]
    return ", ".join([found.title, *told])


# ---- where a problem lies ----


def problems_of(error: SpecError, form: Form) -> tuple[Problem, ...]:
    """Say at which controls the problems of the form's spec lie."""
    return tuple(_problem(where, what, form) for where, what in error.problems)


def _problem(where: str, what: str, form: Form) -> Problem:
    path, parts = where.replace("model.adapter.", "lora."), where.split(".")
    if parts[0] == "phases" and len(parts) > 2:
        number, of_method = int(parts[1]), parts[2] == "method"
        name = parts[3] if of_method and len(parts) > 3 else parts[2]
        if number != form.editing:
            label = f"Phase {number + 1}, {name.replace('_', ' ')}"
            return Problem(f"phase-card-{number}", label, what)
        path = name if name in _DRAWN_AS else f"{form.method if of_method else 'phase'}.{name}"
    path = _DRAWN_AS.get(path, path)
    return (
        Problem(element(path), LABELS[path], what) if path in LABELS else Problem("", where, what)
    )


_DRAWN_AS = {
    "first_layer": LAYERS,
    "last_layer": LAYERS,
    "kind": METHOD,
    "method": METHOD,
    "data.forget": ROWS,
    "data.rest": ROWS,
}
"""Fields that another control stands for."""


# ---- the phases ----


def change_phases(form: Form, action: Any, phase: Any = 0) -> Form:
    """Carry out a click on the list of phases and turn to the phase it is about.

    Args:
        form: The form.
        action: `show`, `add` (behind the last), `duplicate`, `earlier`, `later` or `remove`; an
            unknown one changes nothing. The only phase cannot be removed.
        phase: Index of the phase to show; the others are about the one that is shown.
    """
    phases, at = form.phases, form.editing
    match action:
        case "show" if isinstance(phase, int):
            return form.showing(editing=min(max(0, phase), len(phases) - 1))
        case "add":
            return form.showing([*phases, Phase().model_dump(mode="json")], len(phases))
        case "duplicate":
            return form.showing([*phases[: at + 1], *phases[at:]], at + 1)
        case "earlier" | "later":
            to = at - 1 if action == "earlier" else at + 1
            to = min(max(0, to), len(phases) - 1)
            phases.insert(to, phases.pop(at))
            return form.showing(phases, to)
        case "remove" if len(phases) > 1:
            return form.showing(phases[:at] + phases[at + 1 :], max(0, at - 1))
        case _:
            return form


def use_layers(form: Form, first: int, last: int) -> Form:
    """Train these blocks in the phase that is shown."""
    blocks = form.values[LAYERS]["blocks"]
    end = blocks - 1 if blocks else max(first, last)
    first, last = (min(max(0, layer), end) for layer in sorted((first, last)))
    return form.having({LAYERS: {"first": first, "last": last, "blocks": blocks}})


# ---- the model ----


def choose_model(form: Form) -> Form:
    """Fit the form to the chosen model: layers up to the old last block end at the new one."""
    phases, last = form.phases, form.values[LAYERS]["blocks"] - 1
    for phase in phases:
        if phase.get("last_layer") == last:
            phase["last_layer"] = None
    return form.showing(phases)


def fit_to_model(form: Form) -> Form:
    """Fit a restored form to what is now known of its model."""
    known = layers_of({}, str(form.values[NAME]))["blocks"]
    return form if form.values[LAYERS]["blocks"] == known else choose_model(form)


def take_model(form: Form, here: Sequence[Device]) -> Form:
    """Fit the form to the model just chosen: its layers, and on a GPU its usual number format.

    Packed weights keep their format, as does everything where there is no GPU.

    Args:
        form: The form, with the model.
        here: The devices of this machine.
    """
    form = choose_model(form).having({START: ""})
    if catalog.model(str(form.values[NAME] or "")).made.get("dataset") == form.values[SOURCE]:
        form = form.having({TEMPLATE: _usual_template(form)})
    device = find_device(str(form.values[DEVICE] or ""), here)
    if device is None or not device.cuda or form.values[PRECISION] in PACKED:
        return form
    return form.having({PRECISION: _gpu_precision(catalog.model(str(form.values[NAME] or "")))})


def _usual_template(form: Form) -> Template:
    return usual_template(str(form.values[SOURCE] or ""), str(form.values[NAME] or ""))


def _gpu_precision(model: ModelInfo) -> Precision:
    """Return the number format that a model is trained in on a GPU, as long as nobody chose.

    bfloat16 halves memory and time. The embedded model and what was made of it are small, and
    compare with numbers that were measured in float32.
    """
    return "float32" if model.name == ModelSpec().name or model.made else "bfloat16"


# ---- the data ----


def tasks_in(known: DatasetInfo, fold: Fold) -> tuple[Task, ...]:
    """List the subtasks that the forget set of a fold has; all if it has no rows."""
    found = {row.task for row in known.rows("forget", fold)}
    return tuple(task for task in ALL_TASKS if task in found) or ALL_TASKS


def choose_data(form: Form) -> Form:
    """Fit the form to the chosen dataset: its folds, its subtasks, and all of its rows."""
    known = form.dataset
    if known.unknown_reason:
        return form
    fold = form.fold if form.fold in known.folds else known.folds[0]
    kept = [phase | {"tasks": None} for phase in form.kept]
    chosen = {FOLD: fold, TASKS_PATH: list(tasks_in(known, fold)), PHASE_TASKS: []}
    chosen |= {TEMPLATE: _usual_template(form), WATCHED: []}
    return forget_all(form).having(chosen, kept=kept)


def forget_all(form: Form) -> Form:
    """Forget all rows of the chosen subtasks: drop the picked ones."""
    return form.having({ROWS: {"forget": None, "rest": "leave"}})


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
    wanted = set(ids)
    picked = {row.task for row in form.dataset.rows("forget", form.fold) if row.id in wanted}
    held = form.values[TASKS_PATH] or ()
    tasks: list[Task] = [task for task in ALL_TASKS if task in held or task in picked]
    rows = {"forget": list(ids), "rest": rest if rest in RESTS else "leave"}
    return form.having({ROWS: rows, TASKS_PATH: list(in_order(tasks))})
