"""The range of blocks: two thumbs on one rail, each an ordinary slider for the keyboard."""

from typing import Any

import gradio as gr

from unlearnlab.ui.kit.controls import LAYERS, element
from unlearnlab.ui.kit.script import script


def layer_range(value: dict[str, Any]) -> gr.HTML:
    """Draw the range.

    Its value is `{"first": 2, "last": 5, "blocks": 8}`; `input` fires when a thumb is let go.
    """
    return gr.HTML(
        value,
        html_template=_TEMPLATE,
        js_on_load=script("form/layer_range.js"),
        elem_id=element(LAYERS),
        elem_classes=["field", "layers"],
        apply_default_css=False,
    )


_TEMPLATE = """
<div class="rail-head"><span class="field-label">Layers</span><output></output></div>
<div class="rail"><i></i><b></b>
  <input type="range" min="0" step="1" aria-label="First trained block">
  <input type="range" min="0" step="1" aria-label="Last trained block">
</div>
<div class="rail-ticks" aria-hidden="true"></div>
"""
