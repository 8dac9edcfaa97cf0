"""The tab Data: list and add datasets, type facts, pick the rows to forget."""

from typing import Any

import gradio as gr

from unlearnlab.ui.data.add_card import draw_add, draw_findings, wire_add
from unlearnlab.ui.data.list import datasets_html, press_remove
from unlearnlab.ui.data.picker_card import SEEN, PickerCard, draw_picker, drawn, wire_picker
from unlearnlab.ui.data.typed_card import draw_typed, wire_typed
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import SOURCE, Form, choose_data
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.html import heading, script
from unlearnlab.ui.kit.listeners import NUMBERED, QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.layout import Parts, message

TO_ROWS = """() => {
  let tries = 50;
  const go = () => {
    const drawn = document.querySelector("#picker .rows")?.offsetParent;
    if (drawn) document.getElementById("picker-card").scrollIntoView({ block: "start" });
    else if (tries--) setTimeout(go, 100);
  };
  setTimeout(go, 100);
}"""
"""Scrolls to the rows once they are drawn: on a phone they are below other cards."""


def tab(
    program: Program,
    blocks: gr.Blocks,
    opened: gr.Tab,
    kept: gr.BrowserState,
    *,
    tabs: gr.Tabs,
    unlearn: FormParts,
    results: Parts,
) -> None:
    """Lay out and wire the tab.

    Args:
        program: Store and worker.
        blocks: The page.
        opened: The tab itself; its contents are refreshed whenever it is opened.
        kept: Typed text that the browser keeps.
        tabs: The tabs of the page, for switching to another one.
        unlearn: The form that receives the data.
        results: The panel that shows the memorization run.
    """
    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            typed = draw_typed()
            add = draw_add()
        with gr.Column(elem_classes=["right"]):
            found = draw_findings()
            with gr.Column(elem_classes=["card"], elem_id="datasets-card"):
                heading("Datasets")
                known = gr.HTML(
                    "",
                    js_on_load=script("kit/buttons.js"),
                    elem_id="datasets",
                    apply_default_css=False,
                )
                note = message("datasets-message")
            with gr.Column(elem_classes=["card"], elem_id="picker-card"):
                rows = draw_picker(program)
    _wire_list(program, unlearn, (known, note), rows, opened)
    wire_picker(program, tabs, unlearn, rows)
    _wire_way_here(tabs, unlearn)
    wire_add(program, add, found, known, unlearn)
    wire_typed(program, blocks, typed, kept, tabs=tabs, unlearn=unlearn, results=results)


def _wire_list(
    program: Program,
    unlearn: FormParts,
    listed: tuple[gr.HTML, gr.HTML],
    rows: PickerCard,
    opened: gr.Tab,
) -> None:
    known, note = listed
    inputs = [*rows.seen, *unlearn.inputs]

    def shown(*values: Any) -> list[Any]:
        form = forms.collect_form(values[SEEN], values[SEEN + 1 :])
        return [datasets_html(form.dataset.name), *drawn(program, form, values[:SEEN])]

    def used(event: gr.EventData, *values: Any) -> list[Any]:
        form = use_data(forms.collect_form(values[SEEN], values[SEEN + 1 :]), str(event.name))
        listing = [datasets_html(form.dataset.name), *drawn(program, form, values[:SEEN])]
        return [*listing, *form_layout.updates(program, unlearn, form)]

    def removed(event: gr.EventData, *values: Any) -> list[Any]:
        form = forms.collect_form(values[SEEN], values[SEEN + 1 :])
        answer = press_remove(program, str(event.name))
        listing = [datasets_html(form.dataset.name), *drawn(program, form, values[:SEEN])]
        return [answer.plain, *listing, *form_layout.updates(program, unlearn, form)]

    listing = [known, *rows.outputs]
    opened.select(shown, inputs, listing, js=NUMBERED, **QUIET)
    known.use(used, inputs, [*listing, *unlearn.outputs], js=NUMBERED, **QUIET)
    known.remove(removed, inputs, [note, *listing, *unlearn.outputs], js=NUMBERED, **QUIET)


def use_data(form: Form, name: str) -> Form:
    """Choose another dataset in the form."""
    return choose_data(form.having({SOURCE: name}))


def _wire_way_here(tabs: gr.Tabs, unlearn: FormParts) -> None:
    def turned() -> Any:
        return gr.Tabs(selected="data")

    unlearn.rows.pick_rows(turned, None, tabs, **QUIET).then(None, js=TO_ROWS, **QUIET)
