"""The form of the tab Trace: what can be chosen, its controls, and the trace that they ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab.data.datasets import EMBEDDED_NAME, dataset, datasets
from unlearnlab.models import catalog
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    ManyFacts,
    TraceSpec,
    about_fact,
    default_window,
    facts_of,
    parse_trace,
    window_reason,
)
from unlearnlab.ui.form.form import NAME
from unlearnlab.ui.form.notes import model_choices, model_note
from unlearnlab.ui.kit.controls import Problem, control, element, form_fields
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box, when_it_starts
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import TASKS, titles_of

FACT, PROMPT, AVERAGE = "fact", "prompt", "average"
KINDS = {FACT: "A fact", PROMPT: "A prompt", AVERAGE: "Average"}

EXPERT = [setting for setting in form_fields("trace", TraceSpec) if setting.expert]

LABELS: Mapping[str, str] = {
    "id": "Fact",
    "prompt": "Prompt",
    "subject": "Subject",
    "answer": "Expected answer",
    "count": "Facts",
    "tasks": "Subtasks",
    NAME: "Model",
    **{setting.name: setting.label.partition(",")[0] for setting in EXPERT},
}
"""Controls that a problem may lie at, with their names."""

PATHS = ("kind", "source", *LABELS, "split")
"""Every control of the form."""


def fact_choices(source: str, *, masked: bool) -> list[tuple[str, str]]:
    """List the facts of a dataset's train fold, by set and subtask."""
    titles = titles_of(dataset(source))
    ordered = sorted(
        (fact for fact in facts_of(source).values() if fact.fold == "train"),
        key=lambda fact: (fact.split, fact.task),
    )
    return [
        (
            f"{fact.split.capitalize()} · {titles.get(fact.task, fact.task)} · "
            f"{mask(fact.prompt) if masked else fact.prompt}",
            fact.id,
        )
        for fact in ordered
    ]


def offered_facts(source: str) -> tuple[list[tuple[str, str]], bool]:
    """List the facts of a dataset, masked if its text is personal, and tell whether it is."""
    personal = dataset(source).personal
    return fact_choices(source, masked=personal), personal


def source_choices() -> list[tuple[str, str]]:
    """List the datasets whose facts can be traced."""
    return [(known.title, name) for name, known in datasets().items()]


def window_note(model: object) -> tuple[int | None, str]:
    """Return a model's default window, none if its depth is unknown, and where it comes from."""
    known = catalog.model(str(model or "").strip()).architecture
    if known is None:
        told = "in proportion to the published 10 of 32 blocks, once the model's depth is known"
        return None, f"<p>Window: {told}.</p>"
    return default_window(known.blocks), f"<p>Window: {window_reason(known.blocks)}.</p>"


def to_trace_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    """Gather the controls' values, by `PATHS`, into plain values for `parse_trace`."""
    kind = values["kind"]
    about: dict[str, Any] = {"kind": kind}
    if kind == FACT:
        about = about_fact(str(values["source"] or ""), str(values["id"] or ""))
    elif kind == PROMPT:
        about |= {name: values[name] or "" for name in ("prompt", "subject", "answer")}
    else:
        about |= {"count": values["count"], "tasks": values["tasks"]}
        about |= {"split": values["split"] or None}
    expert = {setting.name: values[setting.name] for setting in EXPERT}
    return {"about": about, "model": {"name": values[NAME] or ""}} | expert


def load_draft(draft: Any) -> dict[str, Any]:
    """Return the values that the browser kept for the controls; empty if they are of no use.

    A draft may name a dataset with another one's fact, kept before the first of its own was shown.
    """
    match draft:
        case {"values": {"kind": str(kind), "source": str(source), "id": str(fact), **rest}} if (
            kind in KINDS and {"kind", "source", "id", *rest} == set(PATHS)
        ):
            facts = [row for _, row in fact_choices(source, masked=False)]
            if facts:
                return draft["values"] | {"id": fact if fact in facts else facts[0]}
    return {}


def press_trace(program: Program, asked: Mapping[str, Any]) -> tuple[str, Notice]:
    """Queue a trace.

    Returns:
        Its id, empty if there is none; and what to tell.
    """
    try:
        spec = parse_trace(asked)
        state = program.worker.state()
        run_id = program.worker.submit(spec)
    except SpecError as error:
        return "", Notice(tuple(_problem(where, what) for where, what in error.problems))
    except (StoreError, NotRunning) as error:
        return "", error_notice(error)
    ahead = state.would_wait(spec.model.device)
    return run_id, Notice(note=when_it_starts(state) if ahead else "")


def _problem(where: str, what: str) -> Problem:
    path = where.removeprefix("about.")
    known = LABELS.get(path)
    return Problem(field(path) if known else "", known or where, what)


def field(path: str) -> str:
    """Return the id of a control on the page."""
    return element(f"trace.{path}")


@dataclass(frozen=True)
class TraceForm:
    """The components on the left."""

    controls: Mapping[str, Any]
    """Every control, by `PATHS`."""
    groups: Mapping[str, gr.Group]
    """The controls of each of `KINDS`."""
    masked: gr.Checkbox
    model_note: gr.HTML
    """Says whether the chosen model is here."""
    reason: gr.HTML
    """Says where the window comes from."""
    trace: gr.Button
    stop: gr.Button
    message: gr.HTML

    def collect(self, held: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the controls' values by `PATHS`, from what components hold."""
        return {path: held[box] for path, box in self.controls.items()}


def draw_form() -> TraceForm:
    """Lay the form out."""
    drawn: dict[str, Any] = {}
    spec, facts = TraceSpec(), fact_choices(EMBEDDED_NAME, masked=False)
    window, reason = window_note(spec.model.name)

    def look(path: str, *classes: str) -> dict[str, Any]:
        return {"elem_id": field(path), "elem_classes": ["field", *classes]}

    def note(html: str) -> gr.HTML:
        return gr.HTML(html, elem_classes=["note"], apply_default_css=False)

    with gr.Column(elem_classes=["card"]):
        heading("What to trace")
        kinds = [(title, kind) for kind, title in KINDS.items()]
        drawn["kind"] = gr.Radio(kinds, value=FACT, show_label=False, elem_classes=["pills"])
        with gr.Group() as fact:
            drawn["source"] = gr.Dropdown(
                source_choices(),
                value=EMBEDDED_NAME,
                label="Data",
                filterable=False,
                **look("source"),
            )
            drawn["id"] = gr.Dropdown(
                facts, value=facts[0][1], label="Fact: type to search", **look("id")
            )
        with gr.Group(visible=False) as prompt:
            for path, placeholder, lines in (
                ("prompt", "What the model should continue", 4),
                ("subject", "Person or thing, exactly as in the prompt", 1),
                ("answer", "Empty: the model's own answer", 1),
            ):
                drawn[path] = gr.Textbox(
                    label=LABELS[path], placeholder=placeholder, max_lines=lines, **look(path)
                )
        with gr.Group(visible=False) as average:
            drawn["count"] = gr.Number(
                ManyFacts().count, step=1, label="Facts, drawn at random", **look("count")
            )
            sets = [("both sets", ""), ("forget", "forget"), ("retain", "retain")]
            drawn["split"] = gr.Dropdown(
                sets, value="", label="From", filterable=False, elem_classes=["field"]
            )
            drawn["tasks"] = gr.CheckboxGroup(
                [(title, task) for task, title in TASKS.items()],
                value=list(TASKS),
                label=LABELS["tasks"],
                **look("tasks", "pills"),
            )
        drawn[NAME] = gr.Dropdown(
            model_choices(),
            value=spec.model.name,
            label=LABELS[NAME],
            allow_custom_value=True,
            **look(NAME),
        )
        known = note(model_note(spec.model.name))
        masked = gr.Checkbox(False, label="Mask personal data", elem_id="trace-mask")
        with gr.Accordion("Expert settings", open=False, elem_classes=["fold"]):
            with gr.Group(elem_classes=["fields"]):
                drawn |= {setting.name: control(setting) for setting in EXPERT}
            drawn["window"].value = window  # The default, which the spec writes as none.
            why = note(reason)
    with gr.Column(elem_classes=["actions"]):
        with gr.Row(elem_classes=["buttons"]):
            # Not before the page has opened: its answer would hide the trace that was started.
            trace = gr.Button(
                "Trace", variant="primary", interactive=False, elem_id="trace", min_width=80
            )
            stop = gr.Button("Stop", interactive=False, elem_id="trace-stop", min_width=60)
        told = notice_box("trace-message")
    groups = {FACT: fact, PROMPT: prompt, AVERAGE: average}
    return TraceForm(drawn, groups, masked, known, why, trace, stop, told)
