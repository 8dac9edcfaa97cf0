"""The form of a run: layout and wiring."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import notes
from unlearnlab.ui.form.form import FOLD, NAME, PRECISION, SOURCE, TASKS_PATH, TEMPLATE, Form
from unlearnlab.ui.kit.controls import (
    ADAPTER,
    DATA,
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
    ROWS,
    SEED,
    Control,
    FormField,
    control,
    element,
)
from unlearnlab.ui.kit.html import heading, script
from unlearnlab.ui.kit.listeners import QUIET, on_choice
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.scoreboard import TASKS

_MODULES = "phase.modules"
_BY_HAND = {NAME, TASKS_PATH, _MODULES, PHASE_TASKS}

SHORT = {"phase.learning_rate", "phase.epochs"}
"""What most runs change of a phase, beside the layers."""

PHASES = """
<div class="phases-head"><span class="field-label" id="phases-label">Phases, in order</span>
  <button type="button" class="quiet" data-action="add">Add a phase</button></div>
<ol class="phase-cards" aria-labelledby="phases-label"></ol>
<p class="phase-note" role="status"></p>
"""
"""Its value is the list's HTML; fires `rearrange` with what `change_phases` takes."""

RAIL = """
<div class="rail-head"><span class="field-label">Layers</span><output></output></div>
<div class="rail"><i></i><b></b>
  <input type="range" min="0" step="1" aria-label="First trained block">
  <input type="range" min="0" step="1" aria-label="Last trained block">
</div>
<div class="rail-ticks" aria-hidden="true"></div>
"""
"""Its value is that of `layers_of`; fires `input` when a thumb is let go."""

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
    """Says whether the chosen model is here; `look_up` fires."""
    tokens: gr.HTML
    """Says how prompts reach the model; `show_tokens` fires."""
    rows: gr.HTML
    """Says which rows are forgotten; `pick_rows` and `all_rows` fire."""
    phases: gr.HTML
    idea: gr.HTML
    card: gr.Markdown
    groups: Sequence[tuple[str, gr.Group]]
    """Hyperparameters by kind of method: one group each, and one more for expert ones."""
    lora: gr.Group
    tasks: gr.Group
    """Holds the subtasks of the shown phase."""
    training: Sequence[gr.Group]
    """Settings that a phase without steps lacks: layers, modules, rate, epochs."""
    size: gr.HTML
    expert: gr.Accordion
    """Holds all other settings; unfolded, it lists the devices anew."""
    add: gr.Button
    """Adds a phase."""
    controls: Mapping[str, Control]
    """Every control by its path, in the order of `PATHS`."""

    @property
    def inputs(self) -> list[Component]:
        """List the components that `collect_form` reads."""
        return [self.draft, *self.controls.values()]

    @property
    def outputs(self) -> list[Any]:
        """List the components that `updates` writes."""
        return [self.draft, self.preset, self.tokens, *self.notes, *self.controls.values()]

    @property
    def notes(self) -> list[Any]:
        """List what depends on the controls: texts, and groups that are shown or hidden."""
        texts = (self.preset_note, self.model_note, self.rows, self.phases, self.idea, self.card)
        groups = (self.lora, self.tasks, *self.training, *(group for _, group in self.groups))
        return [*texts, self.size, *groups]

    def collect(self, held: Mapping[Any, Any]) -> Form:
        """Collect the form from its components' values, by component."""
        return forms.collect_form(held[self.draft], [held[box] for box in self.controls.values()])


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
    found: dict[Any, Any] = {
        parts.draft: form.draft,
        parts.preset: gr.update(value=form.preset if form.preset in presets() else None),
        parts.preset_note: notes.preset_note(form),
        parts.model_note: notes.model_note(form.values[NAME], form.values[PRECISION]),
        parts.tokens: notes.tokens_note(program, form),
        parts.rows: notes.rows_note(form),
        parts.phases: notes.phases_html(form),
        parts.idea: notes.idea_html(form.method),
        parts.card: notes.card_markdown(form.method),
        parts.size: notes.size_note(program, form),
        parts.lora: gr.update(visible=form.values[ADAPTER]),
        parts.tasks: gr.update(visible=form.tells_tasks),
    }
    found |= {group: gr.update(visible=form.trains) for group in parts.training}
    found |= {group: gr.update(visible=kind == form.method) for kind, group in parts.groups}
    shown = control_updates(form, since)
    return found | {box: shown[path] for path, box in parts.controls.items()}


def updates(program: Program, parts: FormParts, form: Form, since: Form | None = None) -> list[Any]:
    """Show a form: one update for each of `parts.outputs`, in that order; see `changes`."""
    found = changes(program, parts, form, since)
    return [found[component] for component in parts.outputs]


def control_updates(form: Form, since: Form | None = None) -> dict[str, Any]:
    """Return the update of each control by its path, with the options that the form's data have.

    Args:
        form: What to show.
        since: What the controls hold already; a value that is the same is not sent again.
    """
    options, held = notes.options_of(form), since.values if since else {}
    found: dict[str, Any] = {}
    for path, value in form.values.items():
        wanted = {"value": value} | options.get(path, {})
        if path in held and held[path] == wanted["value"]:
            del wanted["value"]
        found[path] = gr.update(**wanted)
    return found


def draw_form() -> FormParts:
    """Lay the form out: what most runs change, and all other settings folded away."""
    first = forms.first_form()
    drawn: dict[str, Control] = {}
    draft = gr.BrowserState(first.draft, storage_key="unlearnlab-form-1", secret="unlearnlab")
    with gr.Column(elem_classes=["card"]):
        preset = _dropdown(
            "preset", notes.preset_choices(), first.preset or None, "Preset", filterable=True
        )
        preset_note = _note(notes.preset_note(first))
        drawn[NAME] = _dropdown(
            NAME, notes.model_choices(), first.values[NAME], "Model", allow_custom_value=True
        )
        model_note = _note(notes.model_note(first.values[NAME]), "model-note")
        drawn[SOURCE] = _dropdown(
            SOURCE, notes.source_choices(first), first.values[SOURCE], "Forget"
        )
        drawn[ROWS] = gr.HTML(first.values[ROWS], html_template="", visible=False)
        rows = _note(notes.rows_note(first), element(ROWS), "field")
        phases = gr.HTML(
            notes.phases_html(first),
            html_template=PHASES,
            js_on_load=script("form/phases.js"),
            elem_id="phases",
            apply_default_css=False,
        )
        kinds = [(method.card.title, kind) for kind, method in METHODS.items()]
        drawn[METHOD] = _dropdown(METHOD, kinds, first.method, "Method")
        idea = _note(notes.idea_html(first.method))
        with gr.Group(visible=first.trains) as layers:
            drawn[LAYERS] = gr.HTML(
                first.values[LAYERS],
                html_template=RAIL,
                js_on_load=script("form/layer_range.js"),
                elem_id=element(LAYERS),
                elem_classes=["field", "layers"],
                apply_default_css=False,
            )
        training = [layers, _group([s for s in PHASE if s.path in SHORT], drawn, first.trains)]
        size = gr.HTML(
            elem_classes=["note"], elem_id="size-note", js_on_load=script("kit/folds.js")
        )
        with gr.Accordion(
            "All settings", open=False, elem_classes=["fold"], elem_id="expert"
        ) as expert:
            heading("Data")
            drawn[FOLD] = control(next(setting for setting in DATA if setting.path == FOLD))
            told = "The scores always cover all of them."
            drawn[TASKS_PATH] = _tasks(TASKS_PATH, list(TASKS), "Subtasks to forget", told)
            drawn[TEMPLATE] = control(next(setting for setting in DATA if setting.path == TEMPLATE))
            tokens = _note("", "tokens-note")
            heading("Method")
            with gr.Accordion("Formula and known failure", open=False, elem_classes=["fold"]):
                card = gr.Markdown(notes.card_markdown(first.method), elem_classes=["method-card"])
            groups = [*_of_methods(first, drawn, folded=False)]
            groups += _of_methods(first, drawn, folded=True)
            heading("This phase")
            with gr.Group(visible=first.tells_tasks, elem_classes=["plain-group"]) as tasks:
                told = "What this phase trains on; with none chosen, all that the run forgets."
                drawn[PHASE_TASKS] = _tasks(PHASE_TASKS, [], "Subtasks of this phase", told)
            with gr.Group(visible=first.trains) as matrices:
                drawn[_MODULES] = control(next(s for s in PHASE if s.path == _MODULES))
            rest = [s for s in PHASE if s.path not in _BY_HAND | SHORT and s not in OF_ADAPTER]
            training += [matrices, _group(rest, drawn, first.trains)]
            _group(OF_ADAPTER, drawn, True)
            add = gr.Button("Add a phase", size="sm", elem_id="add-phase", elem_classes=["quiet"])
            heading("The whole run")
            whole = [s for s in (*MODEL, *DATA, *EVALUATION) if s.expert and s.path != TEMPLATE]
            _group([*whole, SEED, KEEP], drawn, True)
            drawn[ADAPTER] = gr.Checkbox(
                False,
                label="Train a LoRA adapter",
                info="Trains a low-rank adapter instead of the weights.",
                elem_id=element(ADAPTER),
                elem_classes=["field"],
            )
            lora = _group(LORA, drawn, False)
    return FormParts(
        draft=draft,
        preset=preset,
        preset_note=preset_note,
        model_note=model_note,
        tokens=tokens,
        rows=rows,
        phases=phases,
        idea=idea,
        card=card,
        groups=groups,
        lora=lora,
        tasks=tasks,
        training=training,
        size=size,
        expert=expert,
        add=add,
        controls={path: drawn[path] for path in PATHS},
    )


def _dropdown(
    path: str, choices: Sequence[tuple[str, str]], value: Any, label: str, **more: Any
) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=value,
        label=label,
        elem_id=element(path),
        elem_classes=["field"],
        **more or {"filterable": False},
    )


def _note(html: str, name: str | None = None, *classes: str) -> gr.HTML:
    """Draw a note; one with an id may have buttons."""
    return gr.HTML(
        html,
        js_on_load=script("kit/buttons.js") if name else None,
        elem_id=name,
        elem_classes=["note", *classes],
        apply_default_css=False,
    )


def _tasks(path: str, chosen: list[str], label: str, info: str) -> gr.CheckboxGroup:
    return gr.CheckboxGroup(
        [(title, task) for task, title in TASKS.items()],
        value=chosen,
        label=label,
        info=info,
        elem_id=element(path),
        elem_classes=["field", "pills"],
    )


def _group(of: Sequence[FormField], drawn: dict[str, Control], visible: bool) -> gr.Group:
    """Draw settings in two columns."""
    with gr.Group(visible=visible, elem_classes=["fields"]) as group:
        drawn.update({setting.path: control(setting) for setting in of})
    return group


def _of_methods(
    first: Form, drawn: dict[str, Control], *, folded: bool
) -> list[tuple[str, gr.Group]]:
    """Draw the hyperparameters of every method; all but the chosen one's are out of sight."""
    found = [(kind, [s for s in of if s.expert == folded]) for kind, of in OF_METHOD.items()]
    return [(kind, _group(of, drawn, kind == first.method)) for kind, of in found if of]


def wire(program: Program, parts: FormParts, message: gr.HTML) -> None:
    """Wire the form's own events; `message` shows what is wrong at each field once it is left."""
    of, outputs = parts.controls, parts.outputs
    inputs = set(parts.inputs)
    save: dict[str, Any] = {"js": SAVE % list(PATHS)} | QUIET

    def becomes(change: Callable[[Form], Form]) -> Callable[..., dict[Any, Any]]:
        """Make a handler that shows what a change makes of the form."""

        def changed(held: Mapping[Any, Any]) -> dict[Any, Any]:
            form = parts.collect(held)
            return changes(program, parts, change(form), since=form)

        return changed

    def preset(held: Mapping[Any, Any]) -> dict[Any, Any]:
        return changes(program, parts, forms.preset_form(held[parts.preset]))

    def model(form: Form) -> Form:
        return forms.take_model(form, program.devices())

    def look_up(held: dict[Any, Any]) -> dict[Any, Any]:
        form = parts.collect(held)
        name, precision = form.values[NAME], form.values[PRECISION]
        told = notes.looked_up(name)
        shown = changes(program, parts, form if told else forms.fit_to_model(form), since=form)
        return shown | {parts.model_note: notes.model_note(name, precision, told)}

    def added(form: Form) -> Form:
        return forms.change_phases(form, "add", len(form.phases) - 1)

    def rearranged(event: gr.EventData, held: dict[Any, Any]) -> dict[Any, Any]:
        form = parts.collect(held)
        changed = forms.change_phases(form, event.action, event.phase)
        return changes(program, parts, changed, since=form)

    def noted(held: dict[Any, Any]) -> dict[Any, Any]:
        """Update everything but the controls, which the reader may be typing in."""
        shown = changes(program, parts, parts.collect(held))
        return {note: shown[note] for note in parts.notes}

    def show_tokens(event: gr.EventData, held: dict[Any, Any]) -> dict[Any, Any]:
        masked = not getattr(event, "unmask", None)
        form = parts.collect(held)
        return {parts.tokens: notes.tokens_note(program, form, wanted=True, masked=masked)}

    def template(held: dict[Any, Any]) -> dict[Any, Any]:
        return {parts.tokens: notes.tokens_note(program, parts.collect(held))}

    def check(held: dict[Any, Any]) -> dict[Any, Any]:
        form = parts.collect(held)
        try:
            forms.parsed(form)
        except SpecError as error:
            found = [asdict(one) for one in forms.problems_of(error, form)]
        else:
            found = []
        return {message: gr.update(fields={"problems": found, "form": form.digest})}

    parts.tokens.show_tokens(show_tokens, inputs, [parts.tokens], **QUIET)
    gr.on([of[TEMPLATE].change], template, inputs, [parts.tokens], **QUIET)

    # A text box fires `input` for keys alone: not for a paste, not for a deletion.
    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in of.values()]
    gr.on(edits, None, parts.inputs, parts.draft, **save)
    gr.on(edits, noted, inputs, parts.notes, trigger_mode="always_last", **QUIET)
    chosen = ((NAME, model), (SOURCE, forms.choose_data), (FOLD, forms.forget_all))
    answers = [
        on_choice(parts.preset, preset, [parts.preset], outputs),
        *(on_choice(of[path], becomes(change), parts.inputs, outputs) for path, change in chosen),
        parts.rows.all_rows(becomes(forms.forget_all), inputs, outputs, **QUIET),
        parts.phases.rearrange(rearranged, inputs, outputs, **QUIET),
        parts.add.click(becomes(added), {*inputs}, outputs, **QUIET),
        parts.model_note.look_up(look_up, inputs, outputs, **QUIET),
    ]
    for answered in answers:
        # What was typed since is in the controls, and in no answer.
        answered.then(None, parts.inputs, parts.draft, **save)
        answered.then(check, inputs, [message], **QUIET)
    left = [c.blur if isinstance(c, gr.Textbox | gr.Number) else c.input for c in of.values()]
    gr.on(left, check, inputs, [message], trigger_mode="always_last", **QUIET)
    parts.expert.expand(
        lambda: gr.update(choices=notes.device_choices(program.devices())),
        None,
        of[DEVICE],
        **QUIET,
    )
