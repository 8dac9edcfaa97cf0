"""The tab Data: the datasets, adding one, and picking the rows that are forgotten."""

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from unlearnlab.results import KINDS
from unlearnlab.ui import data_add, form_layout
from unlearnlab.ui import form as forms
from unlearnlab.ui.data_add import FIELDS, KIND_CHOICES, Wish, place
from unlearnlab.ui.data_list import datasets_html, press_remove
from unlearnlab.ui.form import Form
from unlearnlab.ui.form_data import (
    RESTS,
    SOURCE,
    choose_data,
    fold_of,
    forget_all,
    known_of,
    tasks_in,
    titles_of,
    use_rows,
)
from unlearnlab.ui.form_layout import QUIET, FormParts
from unlearnlab.ui.handlers import Message
from unlearnlab.ui.layers import script
from unlearnlab.ui.program import Program
from unlearnlab.ui.results_layout import Parts, heading
from unlearnlab.ui.row_picker import (
    Search,
    pending,
    picker,
    poll,
    press_preview,
    tick_found,
    ticked_ids,
    ticks_of,
)
from unlearnlab.ui.text import escape
from unlearnlab.ui.typed_tab import draw_typed, wire_typed
from unlearnlab.ui.unlearn_tab import told

ANY_TASK, ANY_KIND = ("all subtasks", ""), ("recite and answer", "")

BUSY = """(...values) => {
  document.getElementById("add-card").classList.add("busy");
  return values;
}"""
IDLE = """() => document.getElementById("add-card").classList.remove("busy")"""
"""Reading a large file takes seconds: the card says so meanwhile."""

ARRIVE = """() => setTimeout(() => document.getElementById("picker-card")
  ?.scrollIntoView({ block: "start" }), 250)"""


@dataclass(frozen=True)
class AddCard:
    """What is to be added, and what was found in it."""

    way: gr.Radio
    forget: gr.File
    forget_path: gr.Textbox
    retain: gr.File
    retain_path: gr.Textbox
    folder: gr.Textbox
    columns: list[gr.Dropdown]
    kind: gr.Dropdown
    title: gr.Textbox
    groups: list[gr.Group]
    """Of files, of a folder, and of the columns."""
    check: gr.Button
    add: gr.Button
    message: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """List what `wished` takes."""
        files = (self.forget, self.forget_path, self.retain, self.retain_path)
        return [self.way, *files, self.folder, self.kind, self.title, *self.columns]


@dataclass(frozen=True)
class FindingsCard:
    """What a check found."""

    card: gr.Column
    masked: gr.Checkbox
    table: gr.HTML


@dataclass(frozen=True)
class PickerCard:
    """The rows of the form's dataset, to be ticked."""

    head: gr.HTML
    text: gr.Textbox
    task: gr.Dropdown
    kind: gr.Dropdown
    masked: gr.Checkbox
    rows: gr.HTML
    watch: gr.HTML
    tick: gr.Button
    untick: gr.Button
    ask: gr.Button
    rest: gr.Radio
    use: gr.Button
    message: gr.HTML

    @property
    def seen(self) -> list[Any]:
        """List what a handler needs of it."""
        return [self.rows, self.text, self.task, self.kind, self.masked]

    @property
    def outputs(self) -> list[Any]:
        """List what `drawn` writes."""
        return [self.head, self.task, self.masked, self.rows, self.watch]


SEEN = 5
"""Number of the components in `PickerCard.seen`."""


def tab(
    program: Program, tab_data: gr.Tab, tabs: gr.Tabs, unlearn: FormParts, results: Parts
) -> None:
    """Lay the tab out and wire it.

    Args:
        program: Store and worker.
        tab_data: The tab itself, to draw what it holds when it is opened.
        tabs: The tabs of the page, to turn to another one.
        unlearn: The form that the data go to.
        results: What shows the run that teaches.
    """
    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            typed = draw_typed()
            add = _draw_add()
        with gr.Column(elem_classes=["right"]):
            found = _draw_findings()
            with gr.Column(elem_classes=["card"], elem_id="picker-card"):
                rows = _draw_picker(program)
            with gr.Column(elem_classes=["card"]):
                heading("Datasets")
                known = _html("datasets", "buttons.js")
                removed = message("datasets-message")
    listed = _Listed(program, unlearn, known, rows)
    _wire_picker(program, tabs, unlearn, rows)
    _wire_list(listed, tab_data, tabs, removed)
    _wire_add(listed, add, found)
    wire_typed(program, typed, tabs, unlearn, results)


def message(name: str) -> gr.HTML:
    """Draw what a button has to tell."""
    return gr.HTML(
        Message().plain,
        html_template='<div class="message" role="alert" hidden></div>',
        js_on_load=script("message.js"),
        elem_id=name,
        apply_default_css=False,
    )


def _html(name: str, js: str) -> gr.HTML:
    return gr.HTML("", elem_id=name, js_on_load=script(js), apply_default_css=False)


# ---- the rows ----


def _draw_picker(program: Program) -> PickerCard:
    head = gr.HTML(_head(forms.first_form()), apply_default_css=False)
    with gr.Row(elem_classes=["filters"]):
        text = gr.Textbox(label="Search rows", placeholder="search", max_lines=1)
        task = gr.Dropdown([ANY_TASK], value="", label="Subtask", filterable=False)
        kinds = [ANY_KIND, *((words, kind) for kind, words in KINDS.items())]
        kind = gr.Dropdown(kinds, value="", label="Type", filterable=False)
        masked = gr.Checkbox(False, label="Mask personal data", elem_classes=["mask"])
    with gr.Row(elem_classes=["tools"]):
        tick = gr.Button("Tick all found", size="sm", min_width=60, elem_id="tick-found")
        untick = gr.Button("Untick", size="sm", min_width=60, elem_id="untick-found")
        ask = gr.Button("What does the model say?", size="sm", min_width=60, elem_id="preview")
    watch = _watch(program)
    rows = gr.HTML(
        {},
        html_template=_ROWS,
        js_on_load=script("picker.js"),
        elem_id="picker",
        apply_default_css=False,
    )
    with gr.Row(elem_classes=["use-rows"]):
        rest = gr.Radio(
            [(f"the rest: {words}", rest) for rest, words in RESTS.items()],
            value="leave",
            label="The rest of the forget set",
            elem_id="picker-rest",
            elem_classes=["pills"],
        )
        use = gr.Button("Use these rows", variant="primary", elem_id="use-rows", min_width=120)
    told = message("picker-message")
    view = (head, text, task, kind, masked, rows, watch, tick, untick, ask, rest, use, told)
    return PickerCard(*view)


def _watch(program: Program) -> gr.HTML:
    def poll_preview(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    return gr.HTML(
        {"preview": ""},
        html_template='<p class="watch" role="status" hidden></p>',
        js_on_load=script("preview.js"),
        server_functions=[poll_preview],
        elem_id="preview-live",
        apply_default_css=False,
    )


_ROWS = '<p class="picker-count" role="status"></p><div class="picker-rows"></div>'


def _head(form: Form) -> str:
    known = known_of(form)
    fold = f", {fold_of(form)} fold" if len(known.folds) > 1 else ""
    return (
        '<div class="card-head"><h2>Rows to forget</h2>'
        f"<span>{escape(known.title)}{fold}</span></div>"
    )


def searched(text: Any, task: Any, kind: Any, masked: Any) -> Search:
    """Take in the values of the filters: unchecked."""
    return Search(str(text or ""), str(task or ""), str(kind or ""), bool(masked))


def drawn(program: Program, form: Form, seen: tuple[Any, ...]) -> list[Any]:
    """Draw the picker: one update for each of `PickerCard.outputs`."""
    held, *filters = seen
    known, search = known_of(form), searched(*filters)
    ticks = ticks_of(form, held)
    source = held.get("source") if isinstance(held, dict) else None
    if source != known.name:
        search = replace(search, task="", masked=known.personal)
    titles = titles_of(known)
    tasks = [(titles.get(task, task), task) for task in tasks_in(known, fold_of(form))]
    with told():
        value = picker(program, form, ticks, search) | {"source": known.name}
        watched = pending(program, form)
    return [
        _head(form),
        gr.update(choices=[ANY_TASK, *tasks], value=search.task, visible=len(tasks) > 1),
        search.masked,
        value,
        watched,
    ]


def _wire_picker(program: Program, tabs: gr.Tabs, unlearn: FormParts, card: PickerCard) -> None:
    inputs = [*card.seen, *unlearn.inputs]

    def taken(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Form]:
        return values[:SEEN], forms.gathered(values[SEEN], values[SEEN + 1 :])

    def found(*values: Any) -> list[Any]:
        seen, form = taken(values)
        return drawn(program, form, _first_page(seen))

    def paged(*values: Any) -> list[Any]:
        seen, form = taken(values)
        return drawn(program, form, seen)

    def ticked(on: bool, *values: Any) -> list[Any]:
        (held, *filters), form = taken(values)
        ticks = tick_found(form, ticks_of(form, held), searched(*filters), on=on)
        return drawn(program, form, (_carried(held, ticks.model_dump()), *filters))

    def asked(*values: Any) -> list[Any]:
        seen, form = taken(values)
        shown = seen[0].get("shown") if isinstance(seen[0], dict) else []
        told = press_preview(program, form, shown)
        return [told.plain, *drawn(program, form, seen)]

    def used(rest: str, *values: Any) -> list[Any]:
        (held, *_), form = taken(values)
        ids = ticked_ids(form, ticks_of(form, held))
        try:
            form = forget_all(form) if ids is None else use_rows(form, ids, rest)
        except ValueError as error:
            skipped = [gr.skip() for _ in (tabs, *unlearn.outputs)]
            return [_trouble(str(error)), *skipped]
        updates = form_layout.updates(program, unlearn, form)
        return [Message().plain, gr.Tabs(selected="unlearn"), *updates]

    filters = [card.text.change, card.task.input, card.kind.input]
    gr.on(filters, found, inputs, card.outputs, trigger_mode="always_last", **QUIET)
    gr.on(
        [card.masked.input, card.rows.turn_page, card.watch.turned],
        paged,
        inputs,
        card.outputs,
        **QUIET,
    )
    for button, on in ((card.tick, True), (card.untick, False)):

        def pressed(*values: Any, on: bool = on) -> list[Any]:
            return ticked(on, *values)

        button.click(pressed, inputs, card.outputs, **QUIET)
    card.ask.click(asked, inputs, [card.message, *card.outputs], **QUIET)
    card.use.click(
        used, [card.rest, *inputs], [card.message, tabs, *unlearn.outputs], **QUIET
    )


def _first_page(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    held, *filters = seen
    return (_carried(held, {"page": 0}), *filters)


def _carried(held: Any, changes: dict[str, Any]) -> dict[str, Any]:
    return (held if isinstance(held, dict) else {}) | changes


def _trouble(told: str) -> dict[str, Any]:
    return Message((_problem(told),)).plain


def _problem(told: str) -> Any:
    from unlearnlab.ui.controls import Problem

    return Problem("", "", told)
