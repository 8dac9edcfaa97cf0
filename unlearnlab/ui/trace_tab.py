"""The tab Trace: choose a fact, watch it being traced, read the maps, take layers to Unlearn."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab import catalogue
from unlearnlab.facts import facts
from unlearnlab.measured import windows
from unlearnlab.results import TASKS
from unlearnlab.trace_spec import ManyFacts, TraceSpec, default_window, window_reason
from unlearnlab.ui import form as forms
from unlearnlab.ui import form_layout
from unlearnlab.ui.controls import control, settings
from unlearnlab.ui.form_layout import QUIET, FormParts
from unlearnlab.ui.form_model import NAME, model_choices, model_note
from unlearnlab.ui.handlers import Message, press_stop
from unlearnlab.ui.layers import script
from unlearnlab.ui.program import Program
from unlearnlab.ui.results_layout import heading
from unlearnlab.ui.text import escape
from unlearnlab.ui.trace_panel import FIELDS, draw, fact_choices, field, poll, press_trace
from unlearnlab.ui.unlearn_tab import told
from unlearnlab.ui.windows_figure import windows_figure

FACT, PROMPT, AVERAGE = "fact", "prompt", "average"
KINDS = [("A fact", FACT), ("A prompt", PROMPT), ("Average", AVERAGE)]

EXPERT = [setting for setting in settings("trace", TraceSpec) if setting.expert]
WINDOW = [setting.name for setting in EXPERT].index("window")


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
        gr.BrowserState({}, storage_key="unlearnlab-trace-form-1", secret="unlearnlab"),
        gr.BrowserState("", storage_key="unlearnlab-trace", secret="unlearnlab"),
    )


@dataclass(frozen=True)
class TraceForm:
    """The controls on the left."""

    kind: gr.Radio
    fact: gr.Dropdown
    masked: gr.Checkbox
    prompt: gr.Textbox
    subject: gr.Textbox
    answer: gr.Textbox
    count: gr.Number
    split: gr.Dropdown
    tasks: gr.CheckboxGroup
    model: gr.Dropdown
    model_note: gr.HTML
    """How the chosen model stands."""
    expert: list[Any]
    reason: gr.HTML
    """Where the window comes from."""
    groups: list[gr.Group]
    """One for each of `KINDS`."""
    trace: gr.Button
    stop: gr.Button
    message: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """List what `asked` takes."""
        about = (self.fact, self.prompt, self.subject, self.answer)
        many = (self.count, self.split, self.tasks)
        return [self.kind, *about, *many, self.model, *self.expert]


@dataclass(frozen=True)
class TraceView:
    """What shows traces."""

    live: gr.HTML
    found: gr.HTML
    traces: gr.HTML
    card: gr.Column


def asked(values: tuple[Any, ...]) -> dict[str, Any]:
    """Gather the controls into plain values for `trace_spec.parse_trace`."""
    kind, fact, prompt, subject, answer, count, split, tasks, model, *expert = values
    about: dict[str, Any] = {"kind": kind}
    if kind == FACT:
        about["id"] = fact or ""
    elif kind == PROMPT:
        about |= {"prompt": prompt or "", "subject": subject or "", "answer": answer or ""}
    else:
        about |= {"count": count, "split": split or None, "tasks": tasks}
    named = {setting.name: value for setting, value in zip(EXPERT, expert, strict=True)}
    return {"about": about, "model": {"name": model or ""}} | named


def tab(
    program: Program, blocks: gr.Blocks, kept: Memory, *, tabs: gr.Tabs, unlearn: FormParts
) -> None:
    """Lay the tab out and wire it. `unlearn` is the form that layers are taken to."""
    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            form = _draw_form()
        with gr.Column(elem_classes=["past"]):
            card, traces = _earlier()
        with gr.Column(elem_classes=["right"]):
            view = TraceView(
                live=_live(program),
                found=_html("trace-found", "maps.js"),
                traces=traces,
                card=card,
            )
            _windows()
    _wire_form(blocks, form, kept)
    _wire_view(program, blocks, form, view, kept)
    _wire_layers(program, tabs, unlearn, view)


def _windows() -> None:
    """Show what was measured of windows of blocks, beside what tracing points to."""
    found = windows()
    if found is None:
        return
    with gr.Column(elem_classes=["card"], elem_id="windows-card"):
        heading("Traced and trained: the embedded model")
        gr.Plot(windows_figure(found), show_label=False, elem_id="windows")
        gr.HTML(f"<p>{escape(found.summary)}</p>", elem_classes=["note"], apply_default_css=False)


def _earlier() -> tuple[gr.Column, gr.HTML]:
    with gr.Column(elem_classes=["card"], visible=False, elem_id="traces-card") as card:
        heading("Earlier traces")
        return card, _html("traces", "pages.js")


def _html(name: str, js: str) -> gr.HTML:
    return gr.HTML("", elem_id=name, js_on_load=script(js), apply_default_css=False)


def _draw_form() -> TraceForm:
    with gr.Column(elem_classes=["card"]):
        heading("What to trace")
        kind = gr.Radio(KINDS, value=FACT, show_label=False, elem_classes=["pills"])
        known, fact = _fact()
        own, prompt, subject, answer = _prompt()
        many, count, split, tasks = _average()
        model, stands = _model()
        masked = gr.Checkbox(False, label="Mask personal data", elem_id="trace-mask")
        expert, reason = _expert()
    with gr.Column(elem_classes=["actions"]):
        with gr.Row(elem_classes=["buttons"]):
            # Not before the page has opened: its answer would hide the trace that was started.
            trace = gr.Button(
                "Trace", variant="primary", interactive=False, elem_id="trace", min_width=80
            )
            stop = gr.Button("Stop", interactive=False, elem_id="trace-stop", min_width=60)
        message = gr.HTML(
            Message().plain,
            html_template='<div class="message" role="alert" hidden></div>',
            js_on_load=script("message.js"),
            elem_id="trace-message",
            apply_default_css=False,
        )
    about = (kind, fact, masked, prompt, subject, answer, count, split, tasks)
    return TraceForm(
        *about, model, stands, expert, reason, [known, own, many], trace, stop, message
    )


def _fact() -> tuple[gr.Group, gr.Dropdown]:
    with gr.Group() as group:
        choices = fact_choices(masked=False)
        fact = gr.Dropdown(
            choices,
            value=choices[0][1],
            label="Fact: type to search",
            elem_id=field("about.id"),
            elem_classes=["field"],
        )
    return group, fact


def _prompt() -> tuple[gr.Group, gr.Textbox, gr.Textbox, gr.Textbox]:
    def box(path: str, placeholder: str, lines: int) -> gr.Textbox:
        return gr.Textbox(
            label=FIELDS[path],
            placeholder=placeholder,
            max_lines=lines,
            elem_id=field(path),
            elem_classes=["field"],
        )

    with gr.Group(visible=False) as group:
        prompt = box("about.prompt", "What the model should continue", 4)
        subject = box("about.subject", "Whom it is about, as the prompt writes it", 1)
        answer = box("about.answer", "Empty: whatever the model says", 1)
    return group, prompt, subject, answer


def _average() -> tuple[gr.Group, gr.Number, gr.Dropdown, gr.CheckboxGroup]:
    with gr.Group(visible=False) as group:
        count = gr.Number(
            ManyFacts().count,
            step=1,
            label="Facts, drawn at random",
            elem_id=field("about.count"),
            elem_classes=["field"],
        )
        sets = [("both sets", ""), ("forget", "forget"), ("retain", "retain")]
        split = gr.Dropdown(sets, value="", label="From", filterable=False, elem_classes=["field"])
        tasks = gr.CheckboxGroup(
            [(title, task) for task, title in TASKS.items()],
            value=list(TASKS),
            label="Subtasks",
            elem_id=field("about.tasks"),
            elem_classes=["field", "pills"],
        )
    return group, count, split, tasks


def _model() -> tuple[gr.Dropdown, gr.HTML]:
    model = gr.Dropdown(
        model_choices(),
        value=TraceSpec().model.name,
        label=FIELDS[NAME],
        elem_id=field(NAME),
        elem_classes=["field"],
        allow_custom_value=True,
    )
    note = model_note(TraceSpec().model.name)
    return model, gr.HTML(note, elem_classes=["note"], apply_default_css=False)


def _expert() -> tuple[list[Any], gr.HTML]:
    blocks = TraceSpec().blocks
    with gr.Accordion("Expert settings", open=False, elem_classes=["fold"]):
        with gr.Group(elem_classes=["fields"]):
            drawn = [control(setting) for setting in EXPERT]
        # The window that is meant by none, for the reader to see and change.
        drawn[WINDOW].value = default_window(blocks)
        note = gr.HTML(_reason(blocks), elem_classes=["note"], apply_default_css=False)
    return drawn, note


def _reason(blocks: int) -> str:
    return f"<p>Window: {escape(window_reason(blocks))}.</p>"


def chosen_model(name: object) -> tuple[str, int | None, str]:
    """Fit the form to a model: how it stands, the usual window, and the reason for that.

    Returns:
        Note, window and reason; no window where the model's depth is not known.
    """
    known = catalogue.model(str(name or "").strip())
    if known.architecture is None:
        told = "in proportion to the published 10 of 32 blocks, once the model's depth is known"
        return model_note(known.name, offers=False), None, f"<p>Window: {told}.</p>"
    blocks = known.architecture.blocks
    return model_note(known.name), default_window(blocks), _reason(blocks)


def _live(program: Program) -> gr.HTML:
    def poll_trace(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    return gr.HTML(
        {"trace": ""},
        html_template=_TEMPLATE,
        js_on_load=script("trace.js"),
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


def restored(draft: Any) -> list[Any]:
    """Return what the controls shall hold; empty if the browser kept nothing of use."""
    match draft:
        case {"values": [str(kind), str(fact), *rest]} if len(rest) == 7 + len(EXPERT):
            if kind in (name for _, name in KINDS) and fact in facts():
                return [kind, fact, *rest]
    return []


def _wire_form(blocks: gr.Blocks, form: TraceForm, kept: Memory) -> None:
    at = form.inputs.index(form.model)

    def opened(draft: Any) -> list[Any]:
        values = restored(draft)
        shown = list(values) or [gr.skip() for _ in form.inputs]
        # Models may have come since the page was laid out.
        shown[at] = gr.update(choices=model_choices(), **({"value": values[at]} if values else {}))
        if not values:
            return [*shown, *(gr.skip() for _ in (*form.groups, form.model_note, form.reason))]
        note, _, reason = chosen_model(values[at])
        return [*shown, *turned(values[0]), note, reason]

    def turned(kind: str) -> list[Any]:
        return [gr.update(visible=name == kind) for _, name in KINDS]

    def masked(on: bool) -> Any:
        return gr.update(choices=fact_choices(masked=on))

    edits = [c.change if isinstance(c, gr.Textbox) else c.input for c in form.inputs]
    gr.on(edits, None, [kept.form, *form.inputs], kept.form, js=SAVE, **QUIET)
    said = [form.model_note, form.reason]
    blocks.load(opened, kept.form, [*form.inputs, *form.groups, *said], **QUIET)
    fitted = [form.model_note, form.expert[WINDOW], form.reason]
    form.model.input(chosen_model, form.model, fitted, **QUIET)
    form.kind.input(turned, form.kind, form.groups, **QUIET)
    form.masked.input(masked, form.masked, form.fact, **QUIET)


def _wire_view(
    program: Program, blocks: gr.Blocks, form: TraceForm, view: TraceView, kept: Memory
) -> None:
    buttons = [form.trace, form.stop]
    outputs = [kept.showing, view.live, view.found, view.card, view.traces, *buttons]

    def shown(run_id: str, masked: bool, page: int = 0) -> list[Any]:
        with told():
            panel = draw(program, run_id or "", masked=bool(masked), page=page)
        return [
            panel.live["trace"],
            panel.live,
            panel.found,
            gr.update(visible=bool(panel.traces)),
            panel.traces,
            gr.update(interactive=True),
            gr.update(interactive=panel.can_stop),
        ]

    def pressed(run_id: str, masked: bool, *values: Any) -> list[Any]:
        made, message = press_trace(program, asked(values))
        return [message.plain, *shown(made or run_id, masked)]

    def stopped(run_id: str, masked: bool) -> list[Any]:
        message = press_stop(program, run_id)
        return [message.plain, *shown(run_id, masked)]

    def opened(event: gr.EventData, masked: bool) -> list[Any]:
        return shown(str(event.run), masked)

    def paged(event: gr.EventData, run_id: str, masked: bool) -> list[Any]:
        return shown(run_id, masked, int(event.page))

    seen = [kept.showing, form.masked]
    gr.on([blocks.load, form.masked.input], shown, seen, outputs, **QUIET)
    view.live.turned(shown, seen, outputs, **QUIET)
    form.trace.click(pressed, [*seen, *form.inputs], [form.message, *outputs], **QUIET)
    form.stop.click(stopped, seen, [form.message, *outputs], **QUIET)
    view.traces.open(opened, form.masked, outputs, **QUIET)
    view.traces.turn_page(paged, seen, outputs, **QUIET)


def _wire_layers(program: Program, tabs: gr.Tabs, unlearn: FormParts, view: TraceView) -> None:
    def used(event: gr.EventData, draft: Any, *held: Any) -> list[Any]:
        form = forms.use_layers(forms.gathered(draft, held), int(event.first), int(event.last))
        return [gr.Tabs(selected="unlearn"), *form_layout.updates(program, unlearn, form)]

    view.found.use_layers(used, unlearn.inputs, [tabs, *unlearn.outputs], **QUIET)
