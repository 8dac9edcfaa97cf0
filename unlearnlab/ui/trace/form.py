"""What the tab Trace asks for and answers: the form, its requests, and how a trace stands."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.data.datasets import EMBEDDED_NAME, dataset, datasets
from unlearnlab.models import catalog as catalogue
from unlearnlab.runs.progress import RunView, run_view, status_of
from unlearnlab.runs.records import TraceRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    KnownFact,
    ManyFacts,
    TraceSpec,
    TypedPrompt,
    about_fact,
    default_window,
    facts_of,
    parse_trace,
    window_reason,
)
from unlearnlab.ui.form.choices import NAME, model_choices, model_note
from unlearnlab.ui.kit.answering import answering
from unlearnlab.ui.kit.controls import Problem, control, element, settings
from unlearnlab.ui.kit.html import heading, pager
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import ago, duration, escape
from unlearnlab.ui.run.handlers import Notice, error_notice
from unlearnlab.ui.run.live import known_to, queue_text, waiting_text
from unlearnlab.ui.trace.maps import CAUTION, trace_html
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import TASKS, titles_of

SIZE = 10
"""Traces on one page of the list."""

FIELDS: Mapping[str, str] = {
    "about.id": "Fact",
    "about.prompt": "Prompt",
    "about.subject": "Subject",
    "about.answer": "Expected answer",
    "about.count": "Facts",
    "about.tasks": "Subtasks",
    "model.name": "Model",
    "window": "Window",
    "noise": "Noise",
    "copies": "Copies",
    "seed": "Seed",
}
"""Labels of the controls by the path of what they set."""


def field(path: str) -> str:
    """Return the id of a control on the page."""
    return element(f"trace.{path.removeprefix('about.')}")


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
        problems = (_problem(where, what) for where, what in error.problems)
        return "", Notice(tuple(problems))
    except (StoreError, NotRunning) as error:
        return "", error_notice(error)
    ahead = state.would_wait(spec.model.device)
    return run_id, Notice(note="Queued behind what is running." if ahead else "")


def _problem(where: str, what: str) -> Problem:
    known = FIELDS.get(where)
    return Problem(field(where) if known else "", known or where, what)


@dataclass(frozen=True, slots=True)
class TracePanel:
    """What the page shows of a trace, and of all traces."""

    live: dict[str, Any]
    """The trace, how it stands, and what the page is up to date with."""
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
        return TracePanel({"trace": "", "turn": _turn(program, None, rows)}, False, _EMPTY, "")
    view, traced = _view(program, row), program.runs.progress(row.run_id).traced
    return TracePanel(
        live={
            "trace": row.run_id,
            "turn": _turn(program, view, rows),
            "status": _status(program, row, view, masked),
            "masked": masked,
        },
        can_stop=view.can_stop,
        found=trace_html(row.spec, traced, masked=masked) if traced else "",
        traces=_listed(rows, row.run_id, page, masked),
    )


_EMPTY = (
    '<section class="card empty"><h2>Nothing has been traced yet</h2>'
    "<p>Choose a fact on the left and press <b>Trace</b>. Noise on the subject makes the model "
    "lose the answer; putting single states back shows which of them bring it home.</p>"
    f"<p>{escape(CAUTION)}</p></section>"
)


def _view(program: Program, row: TraceRecord) -> RunView:
    mine = known_to(program.worker.state(), row.run_id)
    course = program.runs.progress(row.run_id)
    return run_view(course, alive=row.alive, mine=mine, now=time.time())


def _turn(program: Program, view: RunView | None, rows: Sequence[TraceRecord]) -> str:
    ended = sum(row.ending is not None for row in rows)
    return repr((view.status if view else "", len(rows), ended, program.worker.state()))


class Poll(BaseModel):
    """What a page asks: untrusted."""

    trace: Annotated[str, Field(max_length=100)] = ""
    masked: bool = False
    """Whether personal data are hidden."""


@answering("the page asked for something that is no trace: reload it")
def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with how a trace stands."""
    request = Poll.model_validate(asked)
    rows = program.store.traces()
    state = queue_text(program.worker.state())
    row = next((row for row in rows if row.run_id == request.trace), None)
    if row is None:
        return {"trace": "", "turn": _turn(program, None, rows), "queue": state}
    view = _view(program, row)
    return {
        "trace": row.run_id,
        "turn": _turn(program, view, rows),
        "queue": state,
        "live": view.live,
        "status": _status(program, row, view, request.masked),
    }


def _status(program: Program, row: TraceRecord, view: RunView, masked: bool) -> dict[str, Any]:
    done = program.runs.progress(row.run_id).progressed
    share = done.done / done.total if done and done.total else 0.0
    seconds = f"took {duration(view.seconds)}" if view.seconds else ""
    blocked = waiting_text(program.worker.state(), row.run_id) if view.status == "queued" else ""
    return {
        "status": view.status,
        "title": mask(row.spec.title) if masked else row.spec.title,
        "headline": mask(view.headline) if masked else view.headline,
        "detail": blocked or view.detail,
        "share": 1.0 if view.status == "finished" else share,
        "facts": seconds,
        "advice": mask(view.advice) if masked else view.advice,
    }


def _listed(rows: Sequence[TraceRecord], shown: str, page: int, masked: bool) -> str:
    last = max(0, (len(rows) - 1) // SIZE)
    page = min(max(0, page), last)
    some = rows[page * SIZE : (page + 1) * SIZE]
    lines = "".join(_line(row, shown, masked) for row in some)
    pages = pager(page, last, page * SIZE, len(rows), SIZE) if last else ""
    return f'<ul class="runs">{lines}</ul>{pages}'


def _line(row: TraceRecord, shown: str, masked: bool) -> str:
    here = ' class="here" aria-current="true"' if row.run_id == shown else ""
    status = status_of(began=row.began, alive=row.alive, ending=row.ending)
    title = mask(row.spec.title) if masked else row.spec.title
    about = row.spec.about
    kind = "a fact" if isinstance(about, KnownFact) else "average"
    kind = "own prompt" if isinstance(about, TypedPrompt) else kind
    took = f" · {duration(row.ending.seconds)}" if row.ending and row.ending.seconds else ""
    return (
        f'<li{here}><div class="run-row"><button type="button" class="open" '
        f'data-open="{escape(row.run_id)}">{escape(title)}</button>'
        f'<span class="pill" data-status="{status}">{status}</span></div>'
        f'<div class="run-row"><small>{kind} · {ago(row.created, time.time())}{took}'
        "</small></div></li>"
    )


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
            Notice().plain,
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
