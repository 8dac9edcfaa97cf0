"""How the page's requests are answered: no error as a traceback, no late answer over a later one.

Gradio sends a request for each event and shows the answers as they come in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec
from zlib import crc32

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from pydantic import ValidationError

from unlearnlab.runs.store import StoreError
from unlearnlab.ui.kit.html import script

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Options of every listener: short requests without a stream, not part of a public interface."""

Answer = dict[str, Any]
P = ParamSpec("P")


def answering(
    malformed: str, *expected: type[Exception]
) -> Callable[[Callable[P, Answer]], Callable[P, Answer]]:
    """Answer a script's request `{"problem": ...}` where it is malformed or cannot be carried out.

    Args:
        malformed: What to say of a request that has other fields than it should.
        expected: Exceptions beside `StoreError` whose text is what to say.
    """

    def decorate(answer: Callable[P, Answer]) -> Callable[P, Answer]:
        @wraps(answer)
        def answered(*args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                return answer(*args, **kwargs)
            except ValidationError:
                return {"problem": malformed}
            except (StoreError, *expected) as error:
                return {"problem": str(error)}

        return answered

    return decorate


def unless_same(answer: Answer, word: str) -> Answer:
    """Return an answer with its checksum, or only `same` if `word` is that checksum already."""
    found = f"{crc32(json.dumps(answer).encode()):08x}"
    return {"same": True} if found == word else {**answer, "word": found}


_SEEN = "(value) => {{ (window.chosen ??= {{}})['{key}'] = value; }}"
_ANEW = "() => {{ delete window.chosen?.['{key}']; }}"
_FRESH = """(...held) => {{
  const seen = (window.chosen ??= {{}}), key = "{key}", value = held[{at}];
  const fresh = !(key in seen) || seen[key] !== value;
  seen[key] = value;
  document.dispatchEvent(new Event("choice-asked"));
  return fresh ? held : held.with({at}, null);
}}"""
"""Compares with what was chosen when the dropdown was entered; choosing the same anew counts."""
_ANSWERED = "() => { document.dispatchEvent(new Event('choice-answered')); }"


def on_choice(
    dropdown: Any,
    handler: Callable[[Mapping[Any, Any]], Mapping[Any, Any]],
    inputs: Sequence[Component],
    outputs: Sequence[Any],
) -> Dependency:
    """Call a handler once when the reader has chosen in a dropdown.

    Gradio 6.31 fires `input` whenever a dropdown is left, chosen or not, and so twice for a choice.
    A handler that fits the whole form to a choice would then undo edits: when the reader merely
    passes with the Tab key, and when the second answer to one choice is late.

    Args:
        dropdown: A `gr.Dropdown` that has an id and is one of the inputs.
        handler: Takes the inputs' values and returns the outputs' updates, both by component.
        inputs: What the handler reads.
        outputs: What the handler may change.

    Returns:
        What further steps can be tied to.
    """

    def chosen(held: dict[Any, Any]) -> Mapping[Any, Any]:
        return {outputs[0]: gr.skip()} if held[dropdown] is None else handler(held)

    # A set of inputs reaches the browser in the order of their numbers.
    key = dropdown.elem_id
    at = sorted(one._id for one in inputs).index(dropdown._id)
    dropdown.focus(None, dropdown, None, js=_SEEN.format(key=key), **QUIET)
    dropdown.select(None, None, None, js=_ANEW.format(key=key), **QUIET)
    js = _FRESH.format(key=key, at=at)
    answered = dropdown.input(chosen, set(inputs), list(outputs), js=js, **QUIET)
    answered.then(None, None, None, js=_ANSWERED, **QUIET)
    return answered


NUMBERED = """(held, ...values) => {
  window.asked = (window.asked ?? 0) + 1;
  return [{ ...held, asked: window.asked }, ...values];
}"""
"""Numbers the requests of a page in the order in which they are made."""


@dataclass(frozen=True, slots=True)
class PageState:
    """The page of a table that the reader turned to, and of which table."""

    table: str = ""
    """Names what the table shows. Another one begins at its first page."""
    page: int = 0

    def of(self, table: str) -> "PageState":
        """Return the page of a table: its first, unless this is the table that was turned."""
        return self if self.table == table else PageState(table)


Drawing = Callable[..., tuple[PageState, list[Any]]]
"""Takes the turned page and the inputs; returns the page shown and one update per output."""


def follow(
    table: gr.HTML,
    changes: Sequence[Any],
    drawing: Drawing,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> Callable[[Any], Any]:
    """Draw anew on every change; if answers come out of order, the latest request wins.

    Nothing else may write the outputs. A number goes with each request: an answer with a lower
    number than one that was shown before is asked for again.

    Args:
        table: The one among the outputs whose pages can be turned.
        changes: Events that tell of a choice. Of many at once, the first and the last count.
        drawing: Draws.
        inputs: What was chosen.
        outputs: What is drawn.

    Returns:
        A function that draws on one more event, and returns the listener.
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
        page = max(0, page) if isinstance(page, int) else 0
        turned = PageState(str(kept.get("table") or ""), page)
        shown, updates = drawing(turned, *values)
        return [{"asked": kept.get("asked"), "table": shown.table, "page": shown.page}, *updates]

    request = {"fn": answered, "inputs": [held, *inputs], "outputs": [held, *outputs]}
    request |= {"js": NUMBERED} | QUIET

    def on(trigger: Any) -> Any:
        return trigger(**request, trigger_mode="multiple")

    gr.on(list(changes), **request, trigger_mode="always_last")
    on(held.again)
    return on
