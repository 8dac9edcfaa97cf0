"""The card that picks forget rows: layout and event wiring."""

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from unlearnlab.ui.data.row_picker import (
    Search,
    pending,
    picker,
    poll,
    press_preview,
    press_stop,
    tick_found,
    ticked_ids,
    ticks_of,
)
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import Form, forget_all, tasks_in, use_rows
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.html import escape, script
from unlearnlab.ui.kit.listeners import NUMBERED, QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.layout import message
from unlearnlab.ui.run.tab import store_errors_as_gr_error
from unlearnlab.views.scoreboard import KINDS, titles_of

ANY_TASK, ANY_KIND = ("all subtasks", ""), ("recite and answer", "")


@dataclass(frozen=True)
class PickerCard:
    """Controls of the card; rows of the form's dataset can be ticked."""

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
        """Inputs of every handler."""
        return [self.rows, self.text, self.task, self.kind, self.masked]

    @property
    def outputs(self) -> list[Any]:
        """Outputs of `drawn`."""
        return [self.head, self.task, self.masked, self.rows, self.watch]


SEEN = 5
"""Number of the components in `PickerCard.seen`."""


def draw_picker(program: Program) -> PickerCard:
    """Lay out the card."""
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
        js_on_load=script("data/picker_card.js"),
        elem_id="picker",
        apply_default_css=False,
    )
    with gr.Row(elem_classes=["use-rows"]):
        rest = gr.Radio(
            [("leave the rest", "leave"), ("move it to retain", "retain")],
            value="leave",
            label="The rest of the forget set",
            elem_id="picker-rest",
            elem_classes=["pills"],
        )
        use = gr.Button("Use these rows", variant="primary", elem_id="use-rows", min_width=120)
    note = message("picker-message")
    view = (head, text, task, kind, masked, rows, watch, tick, untick, ask, rest, use, note)
    return PickerCard(*view)


def _watch(program: Program) -> gr.HTML:
    def poll_preview(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def stop_preview(asked: Any) -> dict[str, Any]:
        return press_stop(program, asked)

    return gr.HTML(
        {"preview": ""},
        html_template=_WATCH,
        js_on_load=script("kit/poll.js", "data/preview.js"),
        server_functions=[poll_preview, stop_preview],
        elem_id="preview-live",
        apply_default_css=False,
    )


_WATCH = (
    '<div class="watching"><p class="watch" role="status" hidden></p>'
    '<button type="button" class="quiet" hidden>Stop asking</button></div>'
)

_ROWS = '<p class="picker-count" role="status"></p><div class="picker-rows"></div>'


def _head(form: Form) -> str:
    known = form.dataset
    fold = f", {form.fold} fold" if len(known.folds) > 1 else ""
    return (
        '<div class="card-head"><h2>Rows to forget</h2>'
        f"<span>{escape(known.title)}{fold}</span></div>"
    )


def searched(text: Any, task: Any, kind: Any, masked: Any) -> Search:
    """Turn the filters' values into a search, unchecked."""
    return Search(str(text or ""), str(task or ""), str(kind or ""), bool(masked))


def drawn(
    program: Program, form: Form, seen: tuple[Any, ...], *, ticked: bool = False
) -> list[Any]:
    """Return one update for each of `PickerCard.outputs`.

    The page keeps its own ticks unless `ticked` says that the server changed them.
    """
    held, *filters = seen
    known, search = form.dataset, searched(*filters)
    ticks = ticks_of(form, held)
    held = held if isinstance(held, dict) else {}
    another = held.get("source") != known.name
    if another:
        search = replace(search, task="", masked=known.personal)
    titles = titles_of(known)
    tasks = [(titles.get(task, task), task) for task in tasks_in(known, form.fold)]
    with store_errors_as_gr_error():
        value = picker(program, form, ticks, search)
        value |= {"source": known.name, "asked": held.get("asked"), "ticked": ticked}
        watched = pending(program, form)
    task = gr.update(choices=[ANY_TASK, *tasks], visible=len(tasks) > 1)
    return [
        _head(form),
        task | {"value": search.task} if another else task,
        search.masked if another else gr.skip(),
        value,
        watched,
    ]


def wire_picker(program: Program, tabs: gr.Tabs, unlearn: FormParts, card: PickerCard) -> None:
    """Wire the card. `unlearn` is the form that receives the rows."""
    inputs = [*card.seen, *unlearn.inputs]

    _wire_filters(program, inputs, card)

    def asked(*values: Any) -> list[Any]:
        seen, form = _taken(values)
        shown = seen[0].get("shown") if isinstance(seen[0], dict) else []
        answer = press_preview(program, form, shown)
        return [answer.plain, *drawn(program, form, seen)]

    def used(rest: str, *values: Any) -> list[Any]:
        (held, *_), form = _taken(values)
        ids = ticked_ids(form, ticks_of(form, held))
        try:
            form = forget_all(form) if ids is None else use_rows(form, ids, rest)
        except ValueError as error:
            skipped = [gr.skip() for _ in (tabs, *unlearn.outputs)]
            return [trouble(error).plain, *skipped]
        updates = form_layout.updates(program, unlearn, form)
        return [Message().plain, gr.Tabs(selected="unlearn"), *updates]

    card.ask.click(asked, inputs, [card.message, *card.outputs], js=NUMBERED, **QUIET)
    card.use.click(used, [card.rest, *inputs], [card.message, tabs, *unlearn.outputs], **QUIET)


def _wire_filters(program: Program, inputs: list[Any], card: PickerCard) -> None:
    def found(*values: Any) -> list[Any]:
        seen, form = _taken(values)
        return drawn(program, form, _first_page(seen))

    def paged(*values: Any) -> list[Any]:
        seen, form = _taken(values)
        return drawn(program, form, seen)

    def ticked(*values: Any) -> list[Any]:
        return _ticked(program, *_taken(values), on=True)

    def unticked(*values: Any) -> list[Any]:
        return _ticked(program, *_taken(values), on=False)

    filters = [card.text.change, card.task.input, card.kind.input]
    gr.on(filters, found, inputs, card.outputs, js=NUMBERED, trigger_mode="always_last", **QUIET)
    for again in (card.masked.input, card.rows.turn_page):
        again(paged, inputs, card.outputs, js=NUMBERED, trigger_mode="multiple", **QUIET)
    card.watch.turned(paged, inputs, card.outputs, js=NUMBERED, **QUIET)
    card.tick.click(ticked, inputs, card.outputs, js=NUMBERED, **QUIET)
    card.untick.click(unticked, inputs, card.outputs, js=NUMBERED, **QUIET)


def _taken(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Form]:
    """Split a handler's values into the picker's and the form."""
    return values[:SEEN], forms.collect_form(values[SEEN], values[SEEN + 1 :])


def _ticked(program: Program, seen: tuple[Any, ...], form: Form, *, on: bool) -> list[Any]:
    held, *filters = seen
    ticks = tick_found(form, ticks_of(form, held), searched(*filters), on=on)
    return drawn(program, form, (_carried(held, ticks.model_dump()), *filters), ticked=True)


def _first_page(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    held, *filters = seen
    return (_carried(held, {"page": 0}), *filters)


def _carried(held: Any, changes: dict[str, Any]) -> dict[str, Any]:
    return (held if isinstance(held, dict) else {}) | changes
