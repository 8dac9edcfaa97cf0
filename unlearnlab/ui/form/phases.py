"""The list of a run's phases: one card each, the shown one with buttons to rearrange it."""

from typing import Any

import gradio as gr

from unlearnlab.ui.kit.script import script


def phase_list(value: dict[str, Any]) -> gr.HTML:
    """Draw the list.

    Its value is that of `form.phase_cards`; `rearrange` fires with an `action` and a `phase`, as
    `form.rearranged` takes them.
    """
    return gr.HTML(
        value,
        html_template=_TEMPLATE,
        js_on_load=script("form/phases.js"),
        elem_id="phases",
        apply_default_css=False,
    )


_TEMPLATE = """
<div class="phases-head"><span class="field-label" id="phases-label">Phases, in order</span>
  <button type="button" class="quiet" data-action="add">Add a phase</button></div>
<ol class="phase-cards" aria-labelledby="phases-label"></ol>
<p class="phase-note" role="status"></p>
"""
