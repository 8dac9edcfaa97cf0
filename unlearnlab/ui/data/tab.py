"""The tab Data: list and add datasets, type facts, pick the rows to forget."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import gradio as gr

from unlearnlab.data.adding import remove
from unlearnlab.data.checks import SourceError
from unlearnlab.data.datasets import EMBEDDED_NAME, DatasetInfo, datasets
from unlearnlab.runs.store import UnknownRun
from unlearnlab.ui.data.add_card import draw_add, draw_findings, wire_add
from unlearnlab.ui.data.picker_card import draw_picker, picker_updates, wire_picker
from unlearnlab.ui.data.typed_card import draw_typed, wire_typed
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import SOURCE, Form, choose_data
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import Problem
from unlearnlab.ui.kit.html import heading, render, script, thousands
from unlearnlab.ui.kit.listeners import NUMBERED, QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box
from unlearnlab.ui.run.panel import Parts
from unlearnlab.views.scoreboard import titles_of

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
                listed = gr.HTML(
                    "",
                    js_on_load=script("kit/buttons.js"),
                    elem_id="datasets",
                    apply_default_css=False,
                )
                note = notice_box("datasets-message")
            with gr.Column(elem_classes=["card"], elem_id="picker-card"):
                rows = draw_picker(program, unlearn)

    def redrawn(form: Form, values: tuple[Any, ...]) -> dict[Any, Any]:
        """Redraw the list and the rows as `form` has them."""
        state = replace(rows.state(values), form=form)
        shown = {listed: datasets_html(form.dataset.name)}
        return shown | picker_updates(program, rows, state)

    def shown(*values: Any) -> dict[Any, Any]:
        return redrawn(rows.state(values).form, values)

    def used(event: gr.EventData, *values: Any) -> dict[Any, Any]:
        form = use_data(rows.state(values).form, str(event.name))
        return redrawn(form, values) | form_layout.changes(program, unlearn, form)

    def removed(event: gr.EventData, *values: Any) -> dict[Any, Any]:
        form = rows.state(values).form
        answer = press_remove(program, str(event.name))
        updates = redrawn(form, values) | form_layout.changes(program, unlearn, form)
        return {note: answer.plain} | updates

    listing = [listed, *rows.outputs]
    changed = [note, *listing, *unlearn.outputs]
    opened.select(shown, rows.inputs, listing, js=NUMBERED, **QUIET)
    listed.use(used, rows.inputs, changed, js=NUMBERED, **QUIET)
    listed.remove(removed, rows.inputs, changed, js=NUMBERED, **QUIET)
    unlearn.rows.pick_rows(lambda: gr.Tabs(selected="data"), None, tabs, **QUIET).then(
        None, js=TO_ROWS, **QUIET
    )
    wire_picker(program, tabs, rows)
    wire_add(program, add, found, unlearn, (listed, datasets_html))
    wire_typed(program, blocks, typed, kept, tabs=tabs, unlearn=unlearn, results=results)


def use_data(form: Form, name: str) -> Form:
    """Choose another dataset in the form."""
    return choose_data(form.having({SOURCE: name}))


def datasets_html(used: str) -> str:
    """Render the list of datasets; `used` names the one in use by the form. HTML."""
    return list_html(datasets().values(), used)


def list_html(known: Iterable[DatasetInfo], used: str) -> str:
    """Render a list of these datasets. HTML."""
    functions = {"titles": titles_of, "number": thousands}
    return render("data/tab.html", datasets=known, used=used, embedded=EMBEDDED_NAME, **functions)


def press_remove(program: Program, name: str) -> Notice:
    """Remove a dataset, unless a queued or active run needs it."""
    for run_id in program.worker.state().owned:
        try:
            needed = program.store.row(run_id).spec.data.source == name
        except UnknownRun:
            continue
        if needed:
            told = f"run {run_id} needs it: wait for its end, or stop it"
            return Notice((Problem("", name, told),))
    try:
        remove(name)
    except SourceError as error:
        return error_notice(error)
    return Notice(note=f"{name} was removed.")
