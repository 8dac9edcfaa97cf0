"""The form of the tab Trace: what is traced, in which model, and how."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab.data.datasets import EMBEDDED_NAME, dataset, datasets
from unlearnlab.models import catalog as catalogue
from unlearnlab.spec.trace import ManyFacts, TraceSpec, about_fact, default_window, window_reason
from unlearnlab.ui.form.model import NAME, model_choices, model_note
from unlearnlab.ui.kit.controls import control, settings
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import escape
from unlearnlab.ui.run.handlers import Message
from unlearnlab.ui.run.layout import heading
from unlearnlab.ui.trace.panel import FIELDS, fact_choices, field
from unlearnlab.views.scoreboard import TASKS

FACT, PROMPT, AVERAGE = "fact", "prompt", "average"
KINDS = [("A fact", FACT), ("A prompt", PROMPT), ("Average", AVERAGE)]

EXPERT = [setting for setting in settings("trace", TraceSpec) if setting.expert]
WINDOW = [setting.name for setting in EXPERT].index("window")


@dataclass(frozen=True)
class TraceForm:
    """The controls on the left."""

    kind: gr.Radio
    source: gr.Dropdown
    """The dataset that the facts are of."""
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
        about = (self.source, self.fact, self.prompt, self.subject, self.answer)
        many = (self.count, self.split, self.tasks)
        return [self.kind, *about, *many, self.model, *self.expert]


def asked(values: tuple[Any, ...]) -> dict[str, Any]:
    """Gather the controls into plain values for `trace_spec.parse_trace`."""
    kind, source, fact, prompt, subject, answer, count, split, tasks, model, *expert = values
    about: dict[str, Any] = {"kind": kind}
    if kind == FACT:
        about = about_fact(str(source or ""), str(fact or ""))
    elif kind == PROMPT:
        about |= {"prompt": prompt or "", "subject": subject or "", "answer": answer or ""}
    else:
        about |= {"count": count, "split": split or None, "tasks": tasks}
    named = {setting.name: value for setting, value in zip(EXPERT, expert, strict=True)}
    return {"about": about, "model": {"name": model or ""}} | named


def restored(draft: Any) -> list[Any]:
    """Return what the controls shall hold; empty if the browser kept nothing of use.

    A draft may name a dataset with another one's fact, kept before the first of its own was shown.
    """
    match draft:
        case {"values": [str(kind), str(source), str(fact), *rest]} if len(rest) == 7 + len(EXPERT):
            known = [row for _, row in fact_choices(source, masked=False)]
            if known and kind in (name for _, name in KINDS):
                return [kind, source, fact if fact in known else known[0], *rest]
    return []


def draw_form() -> TraceForm:
    """Lay the form out."""
    with gr.Column(elem_classes=["card"]):
        heading("What to trace")
        kind = gr.Radio(KINDS, value=FACT, show_label=False, elem_classes=["pills"])
        known, source, fact = _fact()
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
            js_on_load=script("kit/message.js"),
            elem_id="trace-message",
            apply_default_css=False,
        )
    about = (kind, source, fact, masked, prompt, subject, answer, count, split, tasks)
    return TraceForm(
        *about, model, stands, expert, reason, [known, own, many], trace, stop, message
    )


def source_choices() -> list[tuple[str, str]]:
    """List the datasets whose facts can be traced."""
    return [(known.title, name) for name, known in datasets().items()]


def _fact() -> tuple[gr.Group, gr.Dropdown, gr.Dropdown]:
    with gr.Group() as group:
        source = gr.Dropdown(
            source_choices(),
            value=EMBEDDED_NAME,
            label="Data",
            elem_id=field("about.source"),
            elem_classes=["field"],
            filterable=False,
        )
        choices = fact_choices(EMBEDDED_NAME, masked=False)
        fact = gr.Dropdown(
            choices,
            value=choices[0][1],
            label="Fact: type to search",
            elem_id=field("about.id"),
            elem_classes=["field"],
        )
    return group, source, fact


def chosen_source(source: str) -> tuple[Any, bool]:
    """Offer the facts of a dataset, masked if its text is personal: what fact and mask show."""
    masked = dataset(source).personal
    choices = fact_choices(source, masked=masked)
    return gr.update(choices=choices, value=choices[0][1] if choices else None), masked


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
