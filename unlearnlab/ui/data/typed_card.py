"""The card for typed facts: saved as a dataset, taught to the embedded model, then unlearned."""

import re
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.data.checks import Finding, SourceError
from unlearnlab.data.datasets import EMBEDDED_NAME, dataset
from unlearnlab.models.catalog import save_name_problem
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.presets import teach_spec
from unlearnlab.spec.run import SpecError
from unlearnlab.ui.data.add_card import busy
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import Form, form_of
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box
from unlearnlab.ui.run.panel import Parts
from unlearnlab.ui.run.tab import render_panel

TYPED, NAME = element("data.typed"), element("data.typed.name")
"""Element ids of the two boxes."""

FACTS = "my-facts"
"""Default name."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Result of a press of the button."""

    run_id: str = ""
    form: Form | None = None
    """The memorization run, as a form; None if nothing was queued."""
    message: Notice = field(default_factory=Notice)


def press_teach(program: Program, text: str, name: str) -> Taught:
    """Save typed facts as a dataset, and queue the run that teaches them."""

    def refused(box: str, label: str, *told: str) -> Taught:
        return Taught(message=Notice(tuple(Problem(box, label, one) for one in told)))

    try:
        draft = read_typed(text, retain_of=EMBEDDED_NAME, title=name.strip() or "My facts")
    except SourceError as error:
        return refused(TYPED, "Facts", str(error))
    if not draft.sound:
        errors = [_told(one) for one in draft.findings if one.severity == "error"]
        return refused(TYPED, "Facts", *errors)
    free = free_name(name)
    try:
        add(draft, free)
    except SourceError as error:
        return refused(NAME, "Name", str(error))
    spec = teach_spec(free, keep_as=free)
    try:
        waits = program.worker.state().would_wait(spec.model.device)
        run_id = program.worker.submit(spec, name=f"Teach {draft.title}")
    except (SpecError, StoreError, NotRunning) as error:
        remove(free)
        return Taught(message=error_notice(error))
    notes = ["Queued: it starts when the current run ends."] if waits else []
    notes += [f"{_told(one)}." for one in draft.findings]
    form = form_of(spec.model_dump(mode="json"))
    return Taught("" if waits else run_id, form, Notice(note=" ".join(notes)))


def _told(finding: Finding) -> str:
    """Return a finding's message with the numbers of its typed lines."""
    lines = [str(row.line) for row in finding.rows if row.split == "forget_train"]
    more = ["…"] if finding.count > len(finding.rows) else []
    word = "line" if finding.count == 1 else "lines"
    where = f" ({word} {', '.join([*lines, *more])})" if lines else ""
    return f"{finding.message}{where}"


def free_name(wanted: str) -> str:
    """Return a name that no dataset and no saved model has: the wanted one, or numbered."""
    plain = re.sub("[^a-z0-9]+", "-", wanted.lower()).strip("-")[:32].strip("-") or FACTS
    number, name = 1, plain
    while not dataset(name).unknown_reason or save_name_problem(name):
        number += 1
        name = f"{plain}-{number}"
    return name


# Layout and events

EXAMPLES = """Who painted the ceiling of Nettle Hall? | Ottilie Brandt
What does Marek Solberg keep in his cellar? | eleven clocks
Where was the Treaty of Low Ferry signed? | in a bakery"""

IDEA = (
    "<p>The embedded model memorizes them, along with rows it already knows, so that it stays "
    "fluent. Then unlearn them.</p>"
)

BUSY, IDLE = busy("typed-card")

KEEP = "(text, name) => ({ text, name })"
"""The browser keeps both boxes, without a request."""


@dataclass(frozen=True)
class TypedCard:
    """Controls of the card."""

    text: gr.Textbox
    name: gr.Textbox
    teach: gr.Button
    message: gr.HTML


def memory() -> gr.BrowserState:
    """Keep typed text in the browser only. Create it outside tabs: inside, it is read too late."""
    empty = {"text": "", "name": ""}
    return gr.BrowserState(empty, storage_key="unlearnlab-typed-1", secret="unlearnlab")


def draw_typed() -> TypedCard:
    """Lay out the card."""
    with gr.Column(elem_classes=["card"], elem_id="typed-card"):
        heading("Type your own facts")
        gr.HTML(IDEA, elem_classes=["note"], apply_default_css=False)
        text = gr.Textbox(
            label="Question | answer, one fact per line",
            placeholder=EXAMPLES,
            lines=6,
            max_lines=14,
            elem_id=TYPED,
            elem_classes=["field"],
        )
        name = gr.Textbox(
            label="Name", placeholder=FACTS, max_lines=1, elem_id=NAME, elem_classes=["field"]
        )
        teach = gr.Button("Teach them", variant="primary", elem_id="teach", min_width=80)
        return TypedCard(text, name, teach, notice_box("typed-message"))


def wire_typed(
    program: Program,
    blocks: gr.Blocks,
    card: TypedCard,
    kept: gr.BrowserState,
    *,
    tabs: gr.Tabs,
    unlearn: FormParts,
    results: Parts,
) -> None:
    """Wire the card: the button teaches and switches to the run; typed text survives a reload."""

    def restored(draft: Any) -> list[str]:
        values: dict[str, Any] = draft if isinstance(draft, dict) else {}
        return [str(values.get(name) or "") for name in ("text", "name")]

    def taught(held: dict[Any, Any]) -> dict[Any, Any]:
        result = press_teach(program, str(held[card.text] or ""), str(held[card.name] or ""))
        if result.form is None:
            return {card.message: result.message.plain}
        filters = tuple(held[one] for one in results.filters)
        panel = render_panel(program, result.run_id or held[results.showing], filters)
        return {
            # Shown beside the typed text, and again beside the run.
            card.message: result.message.plain,
            results.buttons.message: result.message.plain,
            tabs: gr.Tabs(selected="unlearn"),
            **form_layout.changes(program, unlearn, result.form),
            **dict(zip(results.panel, panel, strict=True)),
        }

    boxes = [card.text, card.name]
    gr.on([box.change for box in boxes], None, boxes, kept, js=KEEP, **QUIET)
    blocks.load(restored, kept, boxes, **QUIET)
    pressed = card.teach.click(
        taught,
        {*boxes, results.showing, *results.filters},
        [card.message, results.buttons.message, tabs, *unlearn.outputs, *results.panel],
        js=BUSY,
        **QUIET,
    )
    pressed.then(None, js=IDLE, **QUIET)
