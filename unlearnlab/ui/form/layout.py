"""The form's layout and wiring: cards "What" and "How"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.choices import (
    FOLD,
    NAME,
    NOTE_JS,
    PRECISION,
    SOURCE,
    choose_data,
    choose_fold,
    controls_of,
    device_choices,
    draw_data,
    forget_all,
    looked_up,
    model_choices,
    model_note,
    rows_note,
    take_model,
)
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.size import size_note
from unlearnlab.ui.kit.controls import (
    ADAPTER,
    DEVICE,
    EVALUATION,
    KEEP,
    LAYERS,
    LORA,
    METHOD,
    MODEL,
    OF_ADAPTER,
    OF_METHOD,
    PATHS,
    PHASE,
    PHASE_TASKS,
    SEED,
    Control,
    Setting,
    control,
    element,
)
from unlearnlab.ui.kit.dropdown_fix import on_choice
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script
from unlearnlab.views.scoreboard import TASKS


def phase_list(value: dict[str, Any]) -> gr.HTML:
    """Draw the list.

    Its value is that of `form.phase_cards`; `rearrange` fires with an `action` and a `phase`, as
    `form.rearranged` takes them.
    """
    return gr.HTML(
        value,
        html_template=_PHASES,
        js_on_load=script("form/phases.js"),
        elem_id="phases",
        apply_default_css=False,
    )


_PHASES = """
<div class="phases-head"><span class="field-label" id="phases-label">Phases, in order</span>
  <button type="button" class="quiet" data-action="add">Add a phase</button></div>
<ol class="phase-cards" aria-labelledby="phases-label"></ol>
<p class="phase-note" role="status"></p>
"""


def layer_range(value: dict[str, Any]) -> gr.HTML:
    """Draw the range.

    Its value is `{"first": 2, "last": 5, "blocks": 8}`; `input` fires when a thumb is let go.
    """
    return gr.HTML(
        value,
        html_template=_RAIL,
        js_on_load=script("form/layer_range.js"),
        elem_id=element(LAYERS),
        elem_classes=["field", "layers"],
        apply_default_css=False,
    )


_RAIL = """
<div class="rail-head"><span class="field-label">Layers</span><output></output></div>
<div class="rail"><i></i><b></b>
  <input type="range" min="0" step="1" aria-label="First trained block">
  <input type="range" min="0" step="1" aria-label="Last trained block">
</div>
<div class="rail-ticks" aria-hidden="true"></div>
"""


QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""Of every listener: short requests without a stream, and not part of a public interface."""

_BY_HAND = {NAME, "data.tasks", "phase.modules", PHASE_TASKS}

SAVE = """(draft, ...values) => ({
  ...draft,
  values: Object.fromEntries(%s.map((path, at) => [path, values[at]])),
})"""
"""Keeps the draft in the browser, without a request."""


@dataclass(frozen=True)
class FormParts:
    """The components that handlers read and write."""

    draft: gr.BrowserState
    preset: gr.Dropdown
    preset_note: gr.HTML
    model_note: gr.HTML
    """How the chosen model stands; `look_up` fires."""
    rows: gr.HTML
    """Which rows are forgotten; `pick_rows` and `all_rows` fire."""
    phases: gr.HTML
    idea: gr.HTML
    card: gr.Markdown
    groups: Sequence[tuple[str, gr.Group]]
    """Hyperparameters by kind of method: one group each, and one more for expert ones."""
    lora: gr.Group
    tasks: gr.Group
    """Holds the subtasks of the shown phase."""
    training: Sequence[gr.Group]
    """What a phase without steps has nothing of: layers, modules, rate, epochs."""
    size: gr.HTML
    expert: gr.Accordion
    """Holds the expert settings; unfolded, it lists the devices anew."""
    controls: Mapping[str, Control]
    """Every control by its path, in the order of `PATHS`."""

    @property
    def inputs(self) -> list[Component]:
        """List what a handler needs to gather the form."""
        return [self.draft, *self.controls.values()]

    @property
    def outputs(self) -> list[Any]:
        """List what `updates` writes."""
        return [self.draft, self.preset, *self.notes, *self.controls.values()]

    @property
    def notes(self) -> list[Any]:
        """List what follows the controls: texts, and groups that are shown or hidden."""
        texts = (self.preset_note, self.model_note, self.rows, self.phases, self.idea, self.card)
        groups = (self.lora, self.tasks, *self.training, *(group for _, group in self.groups))
        return [*texts, self.size, *groups]

    def gathered(self, held: Mapping[Any, Any]) -> Form:
        """Gather the form from what its components hold, by component."""
        return forms.gathered(held[self.draft], [held[box] for box in self.controls.values()])


def changes(
    program: Program, parts: FormParts, form: Form, since: Form | None = None
) -> dict[Any, Any]:
    """Show a form: one update for each component of `parts.outputs`.

    Args:
        program: The program.
        parts: The components.
        form: What to show.
        since: The form that the browser sent. What holds the same value is left alone: the reader
            may be typing in it by the time that the answer arrives.
    """
    card = METHODS[form.method].card
    found: dict[Any, Any] = {
        parts.draft: form.draft,
        parts.preset: gr.update(value=form.preset if form.preset in presets() else None),
        parts.preset_note: forms.preset_note(form),
        parts.model_note: _model_note(form),
        parts.rows: rows_note(form),
        parts.phases: forms.phase_cards(form),
        parts.idea: forms.idea_html(card),
        parts.card: forms.card_markdown(card),
        parts.size: size_note(program, form),
        parts.lora: gr.update(visible=form.draft["values"][ADAPTER]),
        parts.tasks: gr.update(visible=form.tells_tasks),
    }
    found |= {group: gr.update(visible=form.trains) for group in parts.training}
    found |= {group: gr.update(visible=kind == form.method) for kind, group in parts.groups}
    return found | dict(zip(parts.controls.values(), controls_of(form, since), strict=True))


def updates(program: Program, parts: FormParts, form: Form, since: Form | None = None) -> list[Any]:
    """Show a form: one update for each of `parts.outputs`, in that order; see `changes`."""
    found = changes(program, parts, form, since)
    return [found[component] for component in parts.outputs]


def _model_note(form: Form, told: str = "") -> str:
    values = form.draft["values"]
    return model_note(values[NAME], values[PRECISION], told)


def draw_form() -> FormParts:
    """Lay the form out."""
    first = forms.first_form()
    draft = gr.BrowserState(first.draft, storage_key="unlearnlab-form-1", secret="unlearnlab")
    drawn: dict[str, Control] = {}
    with gr.Column(elem_classes=["card"]):
        preset, note, model, rows = _what(first, drawn)
    with gr.Column(elem_classes=["card"]):
        heading("How")
        phases = phase_list(forms.phase_cards(first))
        idea, card = _method(first, drawn)
        with gr.Group(visible=first.tells_tasks, elem_classes=["plain-group"]) as tasks:
            drawn[PHASE_TASKS] = _tasks(
                PHASE_TASKS,
                [],
                "Subtasks of this phase",
                "What this phase trains on; with none chosen, all that the run forgets.",
            )
        groups = _of_methods(first, drawn, folded=False)
        with gr.Group(visible=first.trains) as layers:
            drawn[LAYERS] = layer_range(first.draft["values"][LAYERS])
        modules = next(s for s in PHASE if s.name == "modules")
        with gr.Group(visible=first.trains) as matrices:
            drawn[modules.path] = control(modules)
        size = gr.HTML(
            elem_classes=["note"], elem_id="size-note", js_on_load=script("kit/folds.js")
        )
        usual = [s for s in PHASE if not s.expert and s.path not in _BY_HAND]
        rates = _group(usual, drawn, first.trains)
        expert, lora, rare, more = _expert(first, drawn)
    controls = {path: drawn[path] for path in PATHS}
    training = [layers, matrices, rates, rare]
    kinds = [*groups, *more]
    return FormParts(
        draft,
        preset,
        note,
        model,
        rows,
        phases,
        idea,
        card,
        kinds,
        lora,
        tasks,
        training,
        size,
        expert,
        controls,
    )


def _what(first: Form, drawn: dict[str, Control]) -> tuple[gr.Dropdown, gr.HTML, gr.HTML, gr.HTML]:
    heading("What")
    titles = [(preset.title, name) for name, preset in presets().items()]
    preset = gr.Dropdown(
        titles,
        value=first.preset or None,
        label="Preset",
        elem_id="f-preset",
        elem_classes=["field"],
        filterable=False,
    )
    note = gr.HTML(forms.preset_note(first), elem_classes=["note"], apply_default_css=False)
    drawn[NAME] = gr.Dropdown(
        model_choices(),
        value=first.draft["values"][NAME],
        label="Model",
        elem_id=element(NAME),
        elem_classes=["field"],
        allow_custom_value=True,
    )
    model = gr.HTML(
        model_note(first.draft["values"][NAME]),
        js_on_load=NOTE_JS,
        elem_id="model-note",
        elem_classes=["note"],
        apply_default_css=False,
    )
    rows = draw_data(first, drawn)
    drawn["data.tasks"] = _tasks(
        "data.tasks",
        list(TASKS),
        "Forget",
        "Subtasks to unlearn; the scores always cover all of them.",
    )
    return preset, note, model, rows


def _tasks(path: str, chosen: list[str], label: str, info: str) -> gr.CheckboxGroup:
    return gr.CheckboxGroup(
        [(title, task) for task, title in TASKS.items()],
        value=chosen,
        label=label,
        info=info,
        elem_id=element(path),
        elem_classes=["field", "pills"],
    )


def _method(first: Form, drawn: dict[str, Control]) -> tuple[gr.HTML, gr.Markdown]:
    kinds = [(method.card.title, kind) for kind, method in METHODS.items()]
    drawn[METHOD] = gr.Dropdown(
        kinds,
        value=first.method,
        label="Method",
        elem_id=element(METHOD),
        elem_classes=["field"],
        filterable=False,
    )
    card = METHODS[first.method].card
    idea = gr.HTML(forms.idea_html(card), elem_classes=["note"], apply_default_css=False)
    with gr.Accordion("Formula and known failure", open=False, elem_classes=["fold"]):
        text = gr.Markdown(forms.card_markdown(card), elem_classes=["method-card"])
    return idea, text


def _group(of: Sequence[Setting], drawn: dict[str, Control], visible: bool) -> gr.Group:
    """Draw settings in two columns."""
    with gr.Group(visible=visible, elem_classes=["fields"]) as group:
        for setting in of:
            drawn[setting.path] = control(setting)
    return group


def _of_methods(
    first: Form, drawn: dict[str, Control], *, folded: bool
) -> list[tuple[str, gr.Group]]:
    """Draw the hyperparameters of every method; all but the chosen one's are out of sight."""
    found = [(kind, [s for s in of if s.expert == folded]) for kind, of in OF_METHOD.items()]
    return [(kind, _group(of, drawn, kind == first.method)) for kind, of in found if of]


def _expert(
    first: Form, drawn: dict[str, Control]
) -> tuple[gr.Accordion, gr.Group, gr.Group, list[tuple[str, gr.Group]]]:
    """Draw the fold: LoRA's group, that of a phase with steps, and those of the methods."""
    fold = gr.Accordion("Expert settings", open=False, elem_classes=["fold"], elem_id="expert")
    with fold:
        heading("This phase")
        groups = _of_methods(first, drawn, folded=True)
        rare = [s for s in PHASE if s.expert and s not in OF_ADAPTER]
        training = _group(rare, drawn, first.trains)
        _group(OF_ADAPTER, drawn, True)
        heading("The whole run")
        _group([*(s for s in (*MODEL, *EVALUATION) if s.expert), SEED, KEEP], drawn, True)
        drawn[ADAPTER] = gr.Checkbox(
            False,
            label="Train a LoRA adapter",
            info="A low-rank adapter in place of the weights themselves.",
            elem_id=element(ADAPTER),
            elem_classes=["field"],
        )
        return fold, _group(LORA, drawn, False), training, groups


def wire(program: Program, parts: FormParts) -> None:
    """Wire what the form does by itself."""

    def preset(name: str) -> list[Any]:
        return updates(program, parts, forms.preset_form(name))

    def becomes(change: Callable[[Form], Form]) -> Callable[..., list[Any]]:
        """Make a handler that shows what a change makes of the form."""

        def changed(*held: Any) -> list[Any]:
            form = forms.gathered(held[0], held[1:])
            return updates(program, parts, change(form), since=form)

        return changed

    def look_up(held: dict[Any, Any]) -> dict[Any, Any]:
        form = parts.gathered(held)
        told = looked_up(form.draft["values"][NAME])
        shown = changes(program, parts, form if told else forms.fitted(form), since=form)
        return shown | {parts.model_note: _model_note(form, told)}

    def rearranged(event: gr.EventData, *held: Any) -> list[Any]:
        form = forms.gathered(held[0], held[1:])
        return updates(program, parts, forms.rearranged(form, event.action, event.phase), form)

    def noted(held: dict[Any, Any]) -> dict[Any, Any]:
        """Follow a change with all but the controls, which the reader may be typing in."""
        shown = changes(program, parts, parts.gathered(held))
        return {note: shown[note] for note in parts.notes}

    # A text box fires `input` for keys alone: not for a paste, not for a deletion.
    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in parts.controls.values()]
    gr.on(edits, None, parts.inputs, parts.draft, js=SAVE % list(PATHS), **QUIET)
    gr.on(edits, noted, set(parts.inputs), parts.notes, trigger_mode="always_last", **QUIET)
    on_choice(parts.preset, preset, [parts.preset], parts.outputs, **QUIET)
    of = parts.controls
    choices = (
        (of[NAME], becomes(lambda form: take_model(form, program.devices()))),
        (of[SOURCE], becomes(choose_data)),
        (of[FOLD], becomes(choose_fold)),
    )
    presses = (
        (parts.rows.all_rows, becomes(forget_all)),
        (parts.phases.rearrange, rearranged),
    )
    answers = (
        *(on_choice(box, do, parts.inputs, parts.outputs, **QUIET) for box, do in choices),
        *(fired(do, parts.inputs, parts.outputs, **QUIET) for fired, do in presses),
        parts.model_note.look_up(look_up, set(parts.inputs), parts.outputs, **QUIET),
    )
    for answered in answers:
        # What was typed since is in the controls, and in no answer.
        answered.then(None, parts.inputs, parts.draft, js=SAVE % list(PATHS), **QUIET)
    parts.expert.expand(
        lambda: gr.update(choices=device_choices(program.devices())), None, of[DEVICE], **QUIET
    )
