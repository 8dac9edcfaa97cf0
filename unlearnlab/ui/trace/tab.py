"""The tab Trace: choose a fact, watch it being traced, read the maps, take layers to Unlearn."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab.data.datasets import dataset
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.choices import model_choices
from unlearnlab.ui.form.layout import QUIET, FormParts
from unlearnlab.ui.kit.charts import figure_html
from unlearnlab.ui.kit.dropdown_fix import on_choice
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.latest_wins import Turned, follow
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import escape
from unlearnlab.ui.run.handlers import press_stop
from unlearnlab.ui.run.tab import store_errors_as_gr_error
from unlearnlab.ui.trace.form import (
    KINDS,
    WINDOW,
    TraceForm,
    asked,
    chosen_model,
    chosen_source,
    draw,
    draw_form,
    fact_choices,
    poll,
    press_trace,
    restored,
    source_choices,
)
from unlearnlab.ui.trace.maps import windows_figure
from unlearnlab.views.benchmarks import windows


@dataclass(frozen=True)
class Memory:
    """What the browser keeps of this tab."""

    form: gr.BrowserState
    """What the controls hold, so that a reload loses nothing."""
    showing: gr.BrowserState
    """Id of the trace that this browser shows."""


def memory() -> Memory:
    """Make the memory. Outside of all tabs: in one that is not open it would not be read."""
    return Memory(
        gr.BrowserState({}, storage_key="unlearnlab-trace-form-2", secret="unlearnlab"),
        gr.BrowserState("", storage_key="unlearnlab-trace", secret="unlearnlab"),
    )


@dataclass(frozen=True)
class TraceView:
    """What shows traces."""

    live: gr.HTML
    found: gr.HTML
    traces: gr.HTML
    card: gr.Column


def tab(
    program: Program, blocks: gr.Blocks, kept: Memory, *, tabs: gr.Tabs, unlearn: FormParts
) -> None:
    """Lay the tab out and wire it. `unlearn` is the form that layers are taken to."""
    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            form = draw_form()
        with gr.Column(elem_classes=["past"]):
            card, traces = _earlier()
        with gr.Column(elem_classes=["right"]):
            view = TraceView(
                live=_live(program),
                found=_html("trace-found", "trace/maps.js"),
                traces=traces,
                card=card,
            )
            _windows()
    restored = _wire_form(blocks, form, kept)
    _wire_view(program, restored, form, view, kept)
    _wire_layers(program, tabs, unlearn, view)


def _windows() -> None:
    """Show what was measured of windows of blocks, beside what tracing points to."""
    found = windows()
    if found is None:
        return
    with gr.Column(elem_classes=["card"], elem_id="windows-card"):
        gr.HTML(figure_html(windows_figure(found)), elem_id="windows", apply_default_css=False)
        gr.HTML(f"<p>{escape(found.summary)}</p>", elem_classes=["note"], apply_default_css=False)


def _earlier() -> tuple[gr.Column, gr.HTML]:
    with gr.Column(elem_classes=["card"], visible=False, elem_id="traces-card") as card:
        heading("Earlier traces")
        return card, _html("traces", "kit/pages.js")


def _html(name: str, js: str) -> gr.HTML:
    return gr.HTML("", elem_id=name, js_on_load=script(js), apply_default_css=False)


def _live(program: Program) -> gr.HTML:
    def poll_trace(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    return gr.HTML(
        {"trace": ""},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "trace/tab.js"),
        server_functions=[poll_trace],
        elem_id="trace-live",
        apply_default_css=False,
    )


_TEMPLATE = """
<section class="card status" data-part="status" aria-label="Trace" hidden>
  <div class="run-head"><h2></h2><span class="pill"></span></div>
  <div class="status-line">
    <b data-part="headline" role="status"></b><span data-part="detail"></span>
    <div class="bars" role="progressbar" aria-valuemin="0" aria-valuemax="100"><i><u></u></i></div>
    <span data-part="facts"></span>
  </div>
  <p class="advice" data-part="advice" hidden></p>
</section>
<p class="lost" data-part="lost" role="alert" hidden></p>
"""


SAVE = """(kept, ...values) =>
  document.activeElement?.closest(".left") ? { values } : kept"""
"""Keeps the form in the browser. A text box changes when its tab is first opened, too, before the
others have the values that were kept; only what the reader does counts."""


def _wire_form(blocks: gr.Blocks, form: TraceForm, kept: Memory) -> Any:
    """Wire the form, and return the listener that restores it."""
    at, source, fact = (form.inputs.index(one) for one in (form.model, form.source, form.fact))

    said = [form.model_note, form.reason, form.masked]

    def opened(draft: Any) -> list[Any]:
        values = restored(draft)
        shown = list(values) or [gr.skip() for _ in form.inputs]
        # Models may have come since the page was laid out.
        shown[at] = gr.update(choices=model_choices(), **({"value": values[at]} if values else {}))
        if not values:
            return [*shown, *(gr.skip() for _ in (*form.groups, *said))]
        shown[source] = gr.update(choices=source_choices(), value=values[source])
        personal = dataset(values[source]).personal
        listed = fact_choices(values[source], masked=personal)
        shown[fact] = gr.update(choices=listed, value=values[fact])
        note, _, reason = chosen_model(values[at])
        return [*shown, *turned(values[0]), note, reason, personal]

    def turned(kind: str) -> list[Any]:
        return [gr.update(visible=name == kind) for _, name in KINDS]

    def masked(on: bool, source: str) -> Any:
        return gr.update(choices=fact_choices(source, masked=on))

    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in form.inputs]
    gr.on(edits, None, [kept.form, *form.inputs], kept.form, js=SAVE, **QUIET)
    loaded = blocks.load(opened, kept.form, [*form.inputs, *form.groups, *said], **QUIET)
    fitted = [form.model_note, form.expert[WINDOW], form.reason]
    on_choice(form.model, chosen_model, [form.model], fitted, **QUIET)
    form.kind.input(turned, form.kind, form.groups, **QUIET)
    seen = [form.masked, form.source]
    form.masked.input(masked, seen, form.fact, trigger_mode="always_last", **QUIET)
    form.source.focus(lambda: gr.update(choices=source_choices()), None, form.source, **QUIET)
    on_choice(form.source, chosen_source, [form.source], [form.fact, form.masked], **QUIET)
    return loaded


def _wire_view(
    program: Program, restored: Any, form: TraceForm, view: TraceView, kept: Memory
) -> None:
    """Wire what shows traces, once the form was `restored`."""
    outputs = [view.live, view.found, view.card, view.traces, form.trace, form.stop]

    def drawn(turned: Turned, run_id: str, masked: bool) -> tuple[Turned, list[Any]]:
        turned = turned.of("traces")
        with store_errors_as_gr_error():
            panel = draw(program, run_id or "", masked=bool(masked), page=turned.page)
        updates = [
            panel.live,
            panel.found,
            gr.update(visible=bool(panel.traces)),
            panel.traces,
            gr.update(interactive=True),
            gr.update(interactive=panel.can_stop),
        ]
        return turned, updates

    def pressed(run_id: str, *values: Any) -> list[Any]:
        made, message = press_trace(program, asked(values))
        return [message.plain, made or run_id]

    def stopped(live: Any) -> dict[str, Any]:
        shown = live.get("trace") if isinstance(live, dict) else ""
        return press_stop(program, str(shown or "")).plain

    def opened(event: gr.EventData) -> str:
        return str(event.run)

    seen = [kept.showing, form.masked]
    draw_on = follow(view.traces, [form.masked.change], drawn, seen, outputs)
    draw_on(view.live.turned)
    # Not before the form knows whether its data are personal.
    draw_on(restored.then)
    presses = (
        form.trace.click(
            pressed, [kept.showing, *form.inputs], [form.message, kept.showing], **QUIET
        ),
        form.stop.click(stopped, view.live, form.message, **QUIET),
        view.traces.open(opened, None, kept.showing, **QUIET),
    )
    for press in presses:
        draw_on(press.then)


def _wire_layers(program: Program, tabs: gr.Tabs, unlearn: FormParts, view: TraceView) -> None:
    def used(event: gr.EventData, draft: Any, *held: Any) -> list[Any]:
        form = forms.use_layers(forms.gathered(draft, held), int(event.first), int(event.last))
        return [gr.Tabs(selected="unlearn"), *form_layout.updates(program, unlearn, form)]

    view.found.use_layers(used, unlearn.inputs, [tabs, *unlearn.outputs], **QUIET)
