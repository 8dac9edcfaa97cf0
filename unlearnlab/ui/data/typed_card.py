"""The card for typed facts: taught to the embedded model, then unlearned."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab.ui.data.typed_facts import NAME, TYPED, press_teach
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.layout import Parts, message
from unlearnlab.ui.run.tab import render_panel

EXAMPLES = """Who painted the ceiling of Nettle Hall? | Ottilie Brandt
What does Marek Solberg keep in his cellar? | eleven clocks
Where was the Treaty of Low Ferry signed? | in a bakery"""

BUSY = """(...values) => {
  document.getElementById("typed-card").classList.add("busy");
  return values;
}"""
IDLE = """() => document.getElementById("typed-card").classList.remove("busy")"""


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
        gr.HTML(_IDEA, elem_classes=["note"], apply_default_css=False)
        text = gr.Textbox(
            label="Question | answer, one fact per line",
            placeholder=EXAMPLES,
            lines=6,
            max_lines=14,
            elem_id=TYPED,
            elem_classes=["field"],
        )
        name = gr.Textbox(
            label="Name",
            placeholder="my-facts",
            max_lines=1,
            elem_id=NAME,
            elem_classes=["field"],
        )
        teach = gr.Button("Teach them", variant="primary", elem_id="teach", min_width=80)
        note = message("typed-message")
    return TypedCard(text, name, teach, note)


_IDEA = (
    "<p>The embedded model memorizes them, along with rows it already knows, so that it stays "
    "fluent. Then unlearn them.</p>"
)


def typed_before(draft: Any) -> list[str]:
    """Return the text and name that the browser kept, unchecked."""
    kept: dict[str, Any] = draft if isinstance(draft, dict) else {}
    return [str(kept.get(name) or "") for name in ("text", "name")]


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
    looks = len(results.look)

    def taught(text: str, name: str, run_id: str, *seen: Any) -> list[Any]:
        came = press_teach(program, str(text or ""), str(name or ""))
        if came.form is None:
            others = (results.buttons.message, tabs, *unlearn.outputs, *results.panel)
            return [came.message.plain, *(gr.skip() for _ in others)]
        panel = render_panel(program, came.run_id or run_id, seen[:looks])
        updates = form_layout.updates(program, unlearn, came.form)
        # Shown beside the run, and again beside the typed text.
        notes = [came.message.plain, came.message.plain]
        return [*notes, gr.Tabs(selected="unlearn"), *updates, *panel]

    boxes = [card.text, card.name]
    edits = [box.change for box in boxes]
    gr.on(edits, None, boxes, kept, js=KEEP, **QUIET)
    blocks.load(typed_before, kept, boxes, **QUIET)
    card.teach.click(
        taught,
        [card.text, card.name, results.showing, *results.look],
        [card.message, results.buttons.message, tabs, *unlearn.outputs, *results.panel],
        js=BUSY,
        **QUIET,
    ).then(None, js=IDLE, **QUIET)
