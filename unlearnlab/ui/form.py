"""The form on the left: what is unlearned and how. Handlers are functions of plain values.

The browser keeps a draft: the values of all controls, the phases that are not shown, and which
phase is. So a reload, or a wrong value, loses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.methods import METHODS, Card
from unlearnlab.results import same_settings, usual_seconds
from unlearnlab.spec import RunSpec, SpecError, parse_spec, presets
from unlearnlab.store import RunRow
from unlearnlab.ui.controls import (
    LAYERS,
    METHOD,
    PATHS,
    Problem,
    Values,
    asked,
    asked_phase,
    located,
    shown,
)
from unlearnlab.ui.text import count, duration, escape
from unlearnlab.views import trainable_parameters


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
    def phases(self) -> list[tuple[str, int]]:
        """List the phases in order, as choices."""
        kinds = [phase["method"]["kind"] for phase in self.draft["phases"]]
        kinds[self.editing] = self.method
        return [(f"{at + 1} · {_title(kind)}", at) for at, kind in enumerate(kinds)]


def _title(kind: str) -> str:
    return METHODS[kind].card.title if kind in METHODS else kind


def form_of(plain: Mapping[str, Any], *, preset: str = "", editing: int = 0) -> Form:
    """Show a spec, given as plain values."""
    values = dict(zip(PATHS, shown(plain, editing), strict=True))
    phases = list(plain["phases"])
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
    spec = parse_spec(asked(form.values, form.draft["phases"], form.editing))
    if missing := spec.model.known.missing:
        raise SpecError([("model.name", f"{spec.model.known.title}: {missing}")])
    return spec


def problems_of(error: SpecError, form: Form) -> tuple[Problem, ...]:
    """Say at which controls the problems lie."""
    return located(error.problems, editing=form.editing, method=form.method)


def edit_phase(form: Form, wanted: int) -> Form:
    """Turn the form to another phase."""
    wanted = min(max(0, wanted), len(form.draft["phases"]) - 1)
    plain = asked(form.values, form.draft["phases"], form.editing)
    return form_of(plain, preset=form.preset, editing=wanted)


def use_layers(form: Form, first: int, last: int) -> Form:
    """Train these blocks in the phase that is shown."""
    values = form.draft["values"]
    blocks = values[LAYERS]["blocks"]
    first, last = (min(max(0, layer), blocks - 1) for layer in sorted((first, last)))
    chosen = {"first": first, "last": last, "blocks": blocks}
    return Form(form.draft | {"values": values | {LAYERS: chosen}})


def add_phase(form: Form) -> Form:
    """Add a phase behind the one that is shown, with its settings, and turn to it."""
    plain = asked(form.values, form.draft["phases"], form.editing)
    plain["phases"].insert(form.editing + 1, asked_phase(form.values))
    return form_of(plain, preset=form.preset, editing=form.editing + 1)


def remove_phase(form: Form) -> Form:
    """Remove the phase that is shown; the only one stays."""
    plain = asked(form.values, form.draft["phases"], form.editing)
    if len(plain["phases"]) == 1:
        return form
    del plain["phases"][form.editing]
    return form_of(plain, preset=form.preset, editing=max(0, form.editing - 1))


def title_of(form: Form, spec: RunSpec) -> str:
    """Name a run by the preset that it repeats; empty if it repeats none."""
    found = presets().get(form.preset)
    return found.title if found and same_settings(spec, found.spec) else ""


def preset_note(form: Form) -> str:
    """Describe the preset, and say whether the form has left it. HTML."""
    if form.preset not in presets():
        return ""
    note = f"<p>{escape(presets()[form.preset].description)}</p>"
    try:
        changed = not title_of(form, spec_of(form))
    except SpecError:
        changed = True
    return note + ('<p class="changed">Changed from the preset.</p>' if changed else "")


def size_note(form: Form, rows: Sequence[RunRow]) -> str:
    """Say how much is trained and how long that took before. HTML."""
    try:
        spec = spec_of(form)
    except SpecError:
        return "<p>Some settings are not valid yet.</p>"
    phase = spec.phases[form.editing]
    trained, total = trainable_parameters(spec, phase), spec.model.known.architecture.parameters
    note = f"{count(trained)} of {count(total)} parameters train"
    took = usual_seconds(spec, rows)
    return f"<p>{note}{f' · took {duration(took)} here before' if took else ''}</p>"


def idea_html(card: Card) -> str:
    """Give the method's idea in a line. HTML."""
    return f"<p>{escape(card.idea)}</p>"


def card_markdown(card: Card) -> str:
    """Give the method's formula, known failure and source. Our own text, not a model's."""
    return f"$$\\min\\; {card.formula}$$\n\n**When it fails.** {card.fails}\n\n*{card.source}*"
