"""The tab Trace: choose a fact, watch it being traced, read the maps, take layers to Unlearn."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.runs.progress import RunView, run_view, status_of
from unlearnlab.runs.records import TraceRecord
from unlearnlab.spec.trace import KnownFact, TypedPrompt
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import NAME
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.form.notes import model_choices, model_note
from unlearnlab.ui.kit.charts import figure_html
from unlearnlab.ui.kit.html import escape, heading, render, script
from unlearnlab.ui.kit.listeners import QUIET, PageState, answering, follow, on_choice
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import press_stop
from unlearnlab.ui.run.live import known_to, queue_text, waiting_text
from unlearnlab.ui.run.tab import store_errors_as_gr_error
from unlearnlab.ui.trace.form import (
    PATHS,
    TraceForm,
    draw_form,
    fact_choices,
    load_draft,
    offered_facts,
    press_trace,
    source_choices,
    to_trace_dict,
    window_note,
)
from unlearnlab.ui.trace.maps import trace_html, windows_figure
from unlearnlab.views.answers import mask
from unlearnlab.views.benchmarks import windows
from unlearnlab.views.words import duration

SIZE = 10
"""Traces on one page of the list."""


# ---- what is shown of traces ----


@dataclass(frozen=True, slots=True)
class TracePanel:
    """What the page shows of a trace, and of all traces."""

    live: dict[str, Any]
    """The trace, its status, and the change token that the page is up to date with."""
    can_stop: bool
    found: str
    traces: str


def draw(program: Program, run_id: str, *, masked: bool, page: int = 0) -> TracePanel:
    """Draw the panel of a trace; an id that is not one stands for the newest.

    Raises:
        StoreError: The store cannot be read.
    """
    rows = program.store.traces()
    row = next((row for row in rows if row.run_id == run_id), rows[0] if rows else None)
    if row is None:
        live = {"trace": "", "change_token": _change_token(program, None, rows)}
        return TracePanel(live, False, render("trace/result.html", "empty"), "")
    view, traced = _view(program, row), program.runs.progress(row.run_id).traced
    return TracePanel(
        live={
            "trace": row.run_id,
            "change_token": _change_token(program, view, rows),
            "status": _status(program, row, view, masked),
            "masked": masked,
        },
        can_stop=view.can_stop,
        found=trace_html(row.spec, traced, masked=masked) if traced else "",
        traces=_listed(rows, row.run_id, page, masked),
    )


class TraceRequest(BaseModel):
    """What a page asks: untrusted."""

    trace: Annotated[str, Field(max_length=100)] = ""
    masked: bool = False
    """Whether personal data are hidden."""


@answering("The page asked for something that is no trace: reload it.")
def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with the status of a trace."""
    request = TraceRequest.model_validate(asked)
    rows = program.store.traces()
    row = next((row for row in rows if row.run_id == request.trace), None)
    view = _view(program, row) if row else None
    answer = {
        "trace": row.run_id if row else "",
        "change_token": _change_token(program, view, rows),
        "queue": queue_text(program.worker.state()),
    }
    if row and view:
        answer |= {"live": view.live, "status": _status(program, row, view, request.masked)}
    return answer


def _view(program: Program, row: TraceRecord) -> RunView:
    mine = known_to(program.worker.state(), row.run_id)
    progress = program.runs.progress(row.run_id)
    return run_view(progress, alive=row.alive, mine=mine, now=time.time())


def _change_token(program: Program, view: RunView | None, rows: Sequence[TraceRecord]) -> str:
    """Return a word that changes whenever the panel must be drawn anew."""
    ended = sum(row.ending is not None for row in rows)
    return repr((view.status if view else "", len(rows), ended, program.worker.state()))


def _status(program: Program, row: TraceRecord, view: RunView, masked: bool) -> dict[str, Any]:
    done = program.runs.progress(row.run_id).progressed
    share = done.done / done.total if done and done.total else 0.0
    blocked = waiting_text(program.worker.state(), row.run_id) if view.status == "queued" else ""
    said = {"title": row.spec.title, "headline": view.headline, "advice": view.advice}
    return {
        "status": view.status,
        **{name: mask(text) if masked else text for name, text in said.items()},
        "detail": blocked or view.detail,
        "share": 1.0 if view.status == "finished" else share,
        "facts": f"took {duration(view.seconds)}" if view.seconds else "",
    }


def _listed(rows: Sequence[TraceRecord], shown: str, page: int, masked: bool) -> str:
    last = max(0, (len(rows) - 1) // SIZE)
    page = min(max(0, page), last)
    kinds = {KnownFact: "a fact", TypedPrompt: "own prompt"}
    lines = [
        {
            "run_id": row.run_id,
            "here": row.run_id == shown,
            "title": mask(row.spec.title) if masked else row.spec.title,
            "status": status_of(began=row.began, alive=row.alive, ending=row.ending),
            "kind": kinds.get(type(row.spec.about), "average"),
            "created": row.created,
            "seconds": row.ending.seconds if row.ending else None,
        }
        for row in rows[page * SIZE : (page + 1) * SIZE]
    ]
    pages = {"page": page, "last": last, "total": len(rows), "size": SIZE}
    return render("trace/result.html", "traces", lines=lines, now=time.time(), **pages)


# ---- layout ----


@dataclass(frozen=True)
class Memory:
    """What the browser keeps of this tab."""

    form: gr.BrowserState
    """The values of the controls, so that a reload loses nothing."""
    showing: gr.BrowserState
    """Id of the trace that this browser shows."""


def memory() -> Memory:
    """Make the memory. Outside of all tabs: in one that is not open it would not be read."""
    return Memory(
        gr.BrowserState({}, storage_key="unlearnlab-trace-form-3", secret="unlearnlab"),
        gr.BrowserState("", storage_key="unlearnlab-trace", secret="unlearnlab"),
    )


@dataclass(frozen=True)
class TraceView:
    """The components that show traces."""

    live: gr.HTML
    found: gr.HTML
    traces: gr.HTML
    card: gr.Column


def tab(
    program: Program, blocks: gr.Blocks, kept: Memory, *, tabs: gr.Tabs, unlearn: FormParts
) -> None:
    """Lay the tab out and wire it. `unlearn` is the form that layers are taken to."""

    def poll_trace(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def html(name: str, js: str) -> gr.HTML:
        return gr.HTML("", elem_id=name, js_on_load=js, apply_default_css=False)

    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            form = draw_form()
        with (
            gr.Column(elem_classes=["past"]),
            gr.Column(elem_classes=["card"], visible=False, elem_id="traces-card") as card,
        ):
            heading("Earlier traces")
            traces = html("traces", script("kit/pages.js"))
        with gr.Column(elem_classes=["right"]):
            live = gr.HTML(
                {"trace": ""},
                html_template=LIVE,
                js_on_load=script("kit/poll.js", "trace/tab.js"),
                server_functions=[poll_trace],
                elem_id="trace-live",
                apply_default_css=False,
            )
            view = TraceView(live, html("trace-found", script("trace/maps.js")), traces, card)
            # What was measured of windows of blocks, beside what tracing points to.
            if found := windows():
                with gr.Column(elem_classes=["card"], elem_id="windows-card"):
                    figure = figure_html(windows_figure(found))
                    gr.HTML(figure, elem_id="windows", apply_default_css=False)
                    note = f"<p>{escape(found.summary)}</p>"
                    gr.HTML(note, elem_classes=["note"], apply_default_css=False)
    loaded = _wire_form(blocks, form, kept)
    _wire_view(program, loaded, form, view, kept)

    def used(event: gr.EventData, held: dict[Any, Any]) -> dict[Any, Any]:
        chosen = forms.use_layers(unlearn.collect(held), int(event.first), int(event.last))
        return {tabs: gr.Tabs(selected="unlearn")} | form_layout.changes(program, unlearn, chosen)

    view.found.use_layers(used, set(unlearn.inputs), [tabs, *unlearn.outputs], **QUIET)


LIVE = """
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


# ---- wiring ----

SAVE = """(kept, ...values) => document.activeElement?.closest(".left")
  ? { values: Object.fromEntries(%s.map((path, at) => [path, values[at]])) }
  : kept"""
"""Keeps the form in the browser. A text box changes when its tab is first opened, too, before the
others have the values that were kept; only what the reader does counts."""


def _wire_form(blocks: gr.Blocks, form: TraceForm, kept: Memory) -> Any:
    """Wire the form, and return the listener that restores it."""
    of = form.controls
    kind, source, fact, model = of["kind"], of["source"], of["id"], of[NAME]
    boxes = [of[path] for path in PATHS]
    known = [form.model_note, of["window"], form.reason]

    def opened(draft: Any) -> dict[Any, Any]:
        values = load_draft(draft)
        if not values:  # Models may have come since the page was laid out.
            return {model: gr.update(choices=model_choices())}
        facts, personal = offered_facts(values["source"])
        choices = {NAME: model_choices(), "source": source_choices(), "id": facts}
        shown = {
            box: gr.update(value=values[path], choices=choices[path])
            if path in choices
            else values[path]
            for path, box in of.items()
        }
        told = noted(values[NAME]) | turned(values["kind"]) | {form.masked: personal}
        return told | shown

    def turned(kind: str) -> dict[Any, Any]:
        return {group: gr.update(visible=name == kind) for name, group in form.groups.items()}

    def noted(name: object) -> dict[Any, Any]:
        """Say whether a model is here, and fit the window to it."""
        window, reason = window_note(name)
        note = model_note(str(name or "").strip(), offers=False)
        return dict(zip(known, (note, window, reason), strict=True))

    def chosen_model(held: Mapping[Any, Any]) -> dict[Any, Any]:
        return noted(held[model])

    def chosen_source(held: Mapping[Any, Any]) -> dict[Any, Any]:
        facts, personal = offered_facts(held[source])
        first = facts[0][1] if facts else None
        return {fact: gr.update(choices=facts, value=first), form.masked: personal}

    def masked(on: bool, source: str) -> Any:
        return gr.update(choices=fact_choices(source, masked=on))

    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in boxes]
    js = SAVE % list(PATHS)
    gr.on(edits, None, [kept.form, *boxes], kept.form, js=js, **QUIET)
    shown = [*boxes, *form.groups.values(), form.model_note, form.reason, form.masked]
    loaded = blocks.load(opened, kept.form, shown, **QUIET)
    on_choice(model, chosen_model, [model], known)
    on_choice(source, chosen_source, [source], [fact, form.masked])
    kind.input(turned, kind, list(form.groups.values()), **QUIET)
    seen = [form.masked, source]
    form.masked.input(masked, seen, fact, trigger_mode="always_last", **QUIET)
    source.focus(lambda: gr.update(choices=source_choices()), None, source, **QUIET)
    return loaded


def _wire_view(
    program: Program, loaded: Any, form: TraceForm, view: TraceView, kept: Memory
) -> None:
    """Wire what shows traces, once the form was `loaded`."""
    outputs = [view.live, view.found, view.card, view.traces, form.trace, form.stop]

    def drawn(turned: PageState, run_id: str, masked: bool) -> tuple[PageState, list[Any]]:
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

    def pressed(held: dict[Any, Any]) -> dict[Any, Any]:
        made, message = press_trace(program, to_trace_dict(form.collect(held)))
        return {form.message: message.plain, kept.showing: made or held[kept.showing]}

    def stopped(live: Any) -> dict[str, Any]:
        shown = live.get("trace") if isinstance(live, dict) else ""
        return press_stop(program, str(shown or "")).plain

    def opened(event: gr.EventData) -> str:
        return str(event.run)

    seen = [kept.showing, form.masked]
    draw_on = follow(view.traces, [form.masked.change], drawn, seen, outputs)
    draw_on(view.live.turned)
    # Not before the form knows whether its data are personal.
    draw_on(loaded.then)
    asked = {kept.showing, *form.controls.values()}
    for press in (
        form.trace.click(pressed, asked, [form.message, kept.showing], **QUIET),
        form.stop.click(stopped, view.live, form.message, **QUIET),
        view.traces.open(opened, None, kept.showing, **QUIET),
    ):
        draw_on(press.then)
