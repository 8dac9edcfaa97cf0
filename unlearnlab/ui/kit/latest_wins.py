"""A drawing that follows what the reader chose to see, however its answers come in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearnlab.ui.form.layout import QUIET
from unlearnlab.ui.kit.script import script

NUMBERED = """(held, ...values) => {
  window.asked = (window.asked ?? 0) + 1;
  return [{ ...held, asked: window.asked }, ...values];
}"""
"""Numbers the requests of a page in the order in which they are made."""


@dataclass(frozen=True, slots=True)
class Turned:
    """The page of a table that the reader turned to, and of which table."""

    table: str = ""
    """Names what the table shows. Another one begins at its first page."""
    page: int = 0

    def of(self, table: str) -> "Turned":
        """Return the page of a table: its first, unless this is the table that was turned."""
        return self if self.table == table else Turned(table)


Drawing = Callable[..., tuple[Turned, list[Any]]]
"""Takes what was turned, then the values of the inputs; returns what is shown of the table, then
one update for each of the outputs."""


def follow(
    table: gr.HTML,
    changes: Sequence[Any],
    drawing: Drawing,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> Callable[[Any], Any]:
    """Draw anew whenever something is chosen; what was chosen last is what stays.

    Gradio sends a request for each change and shows the answers as they come. So nothing else may
    write what is drawn, and a number goes with each request: an answer with a lower number than
    one that was shown before is asked for again.

    Args:
        table: The one among the outputs whose pages can be turned.
        changes: The events that tell of a choice. Of many at once, the first and the last count.
        drawing: Draws.
        inputs: What was chosen.
        outputs: What is drawn.

    Returns:
        What draws on one more event, and returns the listener.
    """
    held = gr.HTML(
        {},
        html_template="",
        js_on_load=script("kit/latest_wins.js"),
        of=table.elem_id,
        drawn=[one.elem_id for one in outputs if one.elem_id],
        apply_default_css=False,
    )

    def answered(kept: Any, *values: Any) -> list[Any]:
        kept = kept if isinstance(kept, dict) else {}
        page = kept.get("page")
        turned = Turned(str(kept.get("table") or ""), max(0, page) if isinstance(page, int) else 0)
        shown, updates = drawing(turned, *values)
        kept = {"asked": kept.get("asked"), "table": shown.table, "page": shown.page}
        return [kept, *updates]

    request = {"fn": answered, "inputs": [held, *inputs], "outputs": [held, *outputs]}
    request |= {"js": NUMBERED} | QUIET

    def on(trigger: Any) -> Any:
        return trigger(**request, trigger_mode="multiple")

    gr.on(list(changes), **request, trigger_mode="always_last")
    on(held.again)
    return on
