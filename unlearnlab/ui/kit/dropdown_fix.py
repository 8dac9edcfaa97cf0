"""What follows a choice in a dropdown, once for each.

Gradio 6.31 fires `input` whenever a dropdown is left, chosen or not, and so twice for a choice.
What fits the whole form to a choice would undo edits when the reader only comes by with the Tab
key, and when the second answer to one choice is late.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

_SEEN = "(value) => {{ (window.chosen ??= {{}})['{key}'] = value; }}"
_ANEW = "() => {{ delete window.chosen?.['{key}']; }}"
_FRESH = """(...held) => {{
  const seen = (window.chosen ??= {{}}), key = "{key}", value = held[{at}];
  const fresh = !(key in seen) || seen[key] !== value;
  seen[key] = value;
  return fresh ? held : held.with({at}, null);
}}"""
"""Compares with what was chosen when the dropdown was entered; choosing the same anew counts."""


def on_choice(
    dropdown: Any,
    handler: Callable[..., Sequence[Any]],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    **options: Any,
) -> Dependency:
    """Call a handler when the reader has chosen.

    Args:
        dropdown: The `gr.Dropdown`, which has an id and is one of the inputs.
        handler: Returns a list, one value for each output.
        inputs: What it is given.
        outputs: What it changes.
        options: Of the listener.

    Returns:
        What further steps can be tied to.
    """

    def chosen(*held: Any) -> Sequence[Any]:
        return [gr.skip() for _ in outputs] if held[at] is None else handler(*held)

    key, at = dropdown.elem_id, list(inputs).index(dropdown)
    dropdown.focus(None, dropdown, None, js=_SEEN.format(key=key), **options)
    dropdown.select(None, None, None, js=_ANEW.format(key=key), **options)
    js = _FRESH.format(key=key, at=at)
    return dropdown.input(chosen, list(inputs), list(outputs), js=js, **options)
