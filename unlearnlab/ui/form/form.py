"""The form on the left: what is unlearned and how. Handlers are functions of plain values.

The browser keeps a draft: the values of all controls, the phases that are not shown, and which
phase is. So a reload, or a wrong value, loses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.models.catalog import save_name_problem
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import Card
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import (
    Phase,
    RunSpec,
    SpecError,
    parse_spec,
    planned_steps,
    same_settings,
    written,
)
from unlearnlab.ui.kit.controls import (
    LAYERS,
    METHOD,
    PATHS,
    PHASE_TASKS,
    Problem,
    Values,
    asked,
    asked_phase,
    layers_of,
    located,
    shown,
    trains,
)
from unlearnlab.ui.kit.text import escape
from unlearnlab.views.scoreboard import TASKS
from unlearnlab.views.words import MERGES


@dataclass(frozen=True, slots=True)
class Form:
    """All that the form shows."""

    draft: dict[str, Any]
    """What the browser keeps: `values` by path, `phases` as plain values, `editing`, `preset`."""

    @property
    def values(self) -> list[Any]:
        """Return what the controls hold, in the order of `PATHS`."""
        return [self.draft["values"][path] for path in PATHS]

    @property
    def editing(self) -> int:
        """Return the index of the phase that is shown."""
        return self.draft["editing"]

    @property
    def preset(self) -> str:
        """Return the preset that the form started from; may be empty."""
        return self.draft["preset"]

    @property
    def method(self) -> str:
        """Return the kind of the method that is shown."""
        return self.draft["values"][METHOD]

    @property
    def phases(self) -> list[dict[str, Any]]:
        """Return all phases in order, the shown one as its controls hold it: unchecked."""
        phases = list(self.draft["phases"])
        phases[self.editing] = asked_phase(self.values)
        return phases

    @property
    def tells_tasks(self) -> bool:
        """Tell whether the shown phase has subtasks of its own, or others to be told from."""
        several = len(self.draft["phases"]) > 1
        return self.trains and (several or bool(self.draft["values"][PHASE_TASKS]))

    @property
    def trains(self) -> bool:
        """Tell whether the shown phase takes steps: a merge has no layers, rate or epochs."""
        return trains(self.method)

    @property
    def plain(self) -> dict[str, Any]:
        """Return the spec that the form asks for as plain values: unchecked."""
        return asked(self.values, self.draft["phases"], self.editing)


def _title(kind: str) -> str:
    return METHODS[kind].card.title if kind in METHODS else kind


def phase_cards(form: Form) -> dict[str, Any]:
    """Return the list of phases as plain values for the page's script."""
    try:
        steps: tuple[int, ...] = planned_steps(parsed(form))
    except SpecError:
        steps = ()
    blocks = form.draft["values"][LAYERS]["blocks"]
    cards = [
        {"title": _title(phase["method"]["kind"]), "settings": _glance(phase, blocks)}
        for phase in form.phases
    ]
    return {"cards": cards, "steps": steps, "editing": form.editing}


def _glance(phase: Mapping[str, Any], blocks: int) -> str:
    """Describe an unchecked phase of a model with so many blocks, 0 if unknown, in a few words."""
    if not trains(phase["method"]["kind"]):
        return MERGES
    epochs, most, rate = (phase.get(name) for name in ("epochs", "max_steps", "learning_rate"))
    length = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    parts = [
        _span(phase, blocks),
        f"rate {written(rate) if isinstance(rate, float) else rate}",
        length if most in (None, "") else f"{length}, at most {most} steps",
        ", ".join(TASKS.get(task, str(task)) for task in phase.get("tasks") or ()),
    ]
    return " · ".join(part for part in parts if part)


def _span(phase: Mapping[str, Any], blocks: int) -> str:
    first, last = phase.get("first_layer"), phase.get("last_layer")
    if last is None and not blocks:
        return f"blocks {first} to the last" if first else "all blocks"
    end = blocks - 1 if last is None else last
    return f"block {first}" if first == end else f"blocks {first} to {end}"


def form_of(plain: Mapping[str, Any], *, preset: str = "", editing: int = 0) -> Form:
    """Show a spec, given as plain values. One without phases leaves the form a first one."""
    phases = list(plain["phases"]) or [Phase().model_dump(mode="json")]
    values = dict(zip(PATHS, shown({**plain, "phases": phases}, editing), strict=True))
    return Form({"values": values, "phases": phases, "editing": editing, "preset": preset})


FIRST = "embedded-early-mlps"
"""The preset that a newcomer finds: it forgets and keeps in about a minute."""


def first_form() -> Form:
    """Show what a newcomer finds."""
    return preset_form(FIRST)


def preset_form(name: str) -> Form:
    """Show a preset; an unknown name shows the defaults."""
    if name not in presets():
        return form_of(RunSpec().model_dump(mode="json"))
    return form_of(presets()[name].spec.model_dump(mode="json"), preset=name)


def restored(draft: Any) -> Form:
    """Show what the browser kept. A draft of another version of the program is left aside."""
    match draft:
        case {
            "values": dict(values),
            "phases": [*phases],
            "editing": int(editing),
            "preset": str(preset),
        } if set(values) == set(PATHS) and 0 <= editing < len(phases) and _sound(phases):
            kept = {"values": values, "phases": phases, "editing": editing, "preset": preset}
            return Form(kept)
    return first_form()


def _sound(phases: Sequence[Any]) -> bool:
    return all(
        isinstance(phase, dict)
        and isinstance(phase.get("method"), dict)
        and phase["method"].get("kind") in METHODS
        for phase in phases
    )


def gathered(draft: Any, values: Values) -> Form:
    """Take the controls' present values into the draft."""
    kept = restored(draft).draft
    phases = list(kept["phases"])
    phases[kept["editing"]] = asked_phase(values)
    return Form(kept | {"values": dict(zip(PATHS, values, strict=True)), "phases": phases})


def spec_of(form: Form) -> RunSpec:
    """Make the spec that the form asks for.

    Raises:
        SpecError: Something in it is wrong.
    """
    spec = _ready(parsed(form))
    if spec.keep_as and (problem := save_name_problem(spec.keep_as)):
        raise SpecError([("keep_as", problem)])
    return spec


def _ready(spec: RunSpec) -> RunSpec:
    """Make sure that a spec's model is here.

    Raises:
        SpecError: It is not.
    """
    if spec.model.known.unavailable_reason:
        told = "is not ready on this machine: the note under it tells what to do"
        raise SpecError([("model.name", f"{spec.model.known.title} {told}")])
    return spec


def scoring_of(form: Form) -> RunSpec:
    """Make the run that only scores the form's model on its data; what it trains is left aside.

    Raises:
        SpecError: Something else in it is wrong.
    """
    return _ready(parse_spec(form.plain | {"phases": [], "keep_as": ""}))


def parsed(form: Form) -> RunSpec:
    """Make the spec, whether or not its model is here.

    Raises:
        SpecError: Something in it is wrong.
    """
    return parse_spec(asked(form.values, form.draft["phases"], form.editing))


def problems_of(error: SpecError, form: Form) -> tuple[Problem, ...]:
    """Say at which controls the problems lie."""
    return located(error.problems, editing=form.editing, method=form.method)


def edit_phase(form: Form, wanted: int) -> Form:
    """Turn the form to another phase."""
    wanted = min(max(0, wanted), len(form.draft["phases"]) - 1)
    return form_of(form.plain, preset=form.preset, editing=wanted)


def choose_model(form: Form) -> Form:
    """Fit the form to the chosen model: layers that ended at the other's last block go on to do."""
    plain = asked(form.values, form.draft["phases"], form.editing)
    last = form.draft["values"][LAYERS]["blocks"] - 1
    for phase in plain["phases"]:
        if phase.get("last_layer") == last:
            phase["last_layer"] = None
    return form_of(plain, preset=form.preset, editing=form.editing)


def fitted(form: Form) -> Form:
    """Fit a form that was kept to what is known of its model by now."""
    known = layers_of({}, str(form.draft["values"]["model.name"]))["blocks"]
    return form if form.draft["values"][LAYERS]["blocks"] == known else choose_model(form)


def use_layers(form: Form, first: int, last: int) -> Form:
    """Train these blocks in the phase that is shown."""
    values = form.draft["values"]
    blocks = values[LAYERS]["blocks"]
    end = blocks - 1 if blocks else max(first, last)
    first, last = (min(max(0, layer), end) for layer in sorted((first, last)))
    chosen = {"first": first, "last": last, "blocks": blocks}
    return Form(form.draft | {"values": values | {LAYERS: chosen}})


def add_phase(form: Form) -> Form:
    """Add a phase with the defaults behind the last one, and turn to it."""
    phase = Phase().model_dump(mode="json")
    return _rearranged(form, [*form.phases, phase], len(form.phases))


def duplicate_phase(form: Form) -> Form:
    """Add a copy of the shown phase behind it, and turn to the copy."""
    phases, at = form.phases, form.editing
    return _rearranged(form, [*phases[: at + 1], *phases[at:]], at + 1)


def move_phase(form: Form, by: int) -> Form:
    """Let the shown phase change places with the one before (-1) or behind it (1)."""
    phases, at = form.phases, form.editing
    to = min(max(0, at + by), len(phases) - 1)
    phases.insert(to, phases.pop(at))
    return _rearranged(form, phases, to)


def remove_phase(form: Form) -> Form:
    """Remove the phase that is shown; the only one stays."""
    phases, at = form.phases, form.editing
    if len(phases) == 1:
        return form
    return _rearranged(form, phases[:at] + phases[at + 1 :], max(0, at - 1))


def rearranged(form: Form, action: Any, phase: Any) -> Form:
    """Carry out a click on the list of phases; what is none changes nothing.

    Args:
        form: The form.
        action: `show`, `add`, `duplicate`, `earlier`, `later` or `remove`.
        phase: Index of the phase to show; the others are about the one that is shown.
    """
    match action:
        case "show" if isinstance(phase, int):
            return edit_phase(form, phase)
        case "add":
            return add_phase(form)
        case "duplicate":
            return duplicate_phase(form)
        case "earlier" | "later":
            return move_phase(form, -1 if action == "earlier" else 1)
        case "remove":
            return remove_phase(form)
        case _:
            return form


def _rearranged(form: Form, phases: Sequence[Mapping[str, Any]], editing: int) -> Form:
    return form_of(form.plain | {"phases": list(phases)}, preset=form.preset, editing=editing)


def title_of(form: Form, spec: RunSpec) -> str:
    """Name a run by the preset that it repeats; empty if it repeats none."""
    found = presets().get(form.preset)
    return found.title if found and same_settings(spec, found.spec) else ""


def preset_note(form: Form) -> str:
    """Describe the preset and say whether the form has left it. HTML."""
    note = ""
    if form.preset in presets():
        note = f"<p>{escape(presets()[form.preset].description)}</p>"
        try:
            changed = not title_of(form, parsed(form))
        except SpecError:
            changed = True
        note += '<p class="changed">Changed from the preset.</p>' if changed else ""
    return note


def idea_html(card: Card) -> str:
    """Give the method's idea in a line. HTML."""
    return f"<p>{escape(card.idea)}</p>"


def card_markdown(card: Card) -> str:
    """Give the method's formula, known failure and source. Our own text, not a model's."""
    formula = card.formula if "=" in card.formula else rf"\min\; {card.formula}"
    return f"$${formula}$$\n\n**When it fails.** {card.fails}\n\n*{card.source}*"
