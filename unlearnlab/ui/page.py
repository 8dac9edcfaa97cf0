"""The page: header and tabs."""

from collections.abc import Callable, Mapping, Sequence

import gradio as gr

from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.engine_api import Device
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.ui.compare import tab as compare_tab
from unlearnlab.ui.data import tab as data_tab
from unlearnlab.ui.data import typed_card
from unlearnlab.ui.kit.charts import PLOTLY_SCRIPT
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import escape
from unlearnlab.ui.methods import tab as methods_tab
from unlearnlab.ui.run import tab as unlearn_tab
from unlearnlab.ui.trace import tab as trace_tab

UPLOADS_S = (3600, 3600)
"""How often copies of uploaded files are looked for, and their age when they go, in seconds."""


def build(
    store: Store,
    worker: Worker,
    *,
    references: Mapping[str, Scores],
    device: str = "",
    devices: Callable[[], Sequence[Device]] = tuple,
    replays: Replays | None = None,
) -> gr.Blocks:
    """Build the page.

    Args:
        store: Where runs are kept.
        worker: Who carries them out.
        references: Scores of the retrained model by fold; may be empty.
        device: What this machine computes on, as far as it is known.
        devices: Lists the devices and what they have free, once the engine is there.
        replays: Recorded runs that are shown as if live; none to begin without any.
    """
    program = Program(store, worker, references, devices, replays or Replays())
    gr.set_static_paths([PLOTLY_SCRIPT])
    with gr.Blocks(
        title="unlearnlab", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS_S
    ) as blocks:
        gr.HTML(
            _header(device),
            js_on_load=script("header.js"),
            elem_id="header",
            apply_default_css=False,
        )
        kept, typed = trace_tab.memory(), typed_card.memory()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Unlearn", id="unlearn", elem_id="tab-unlearn"):
                form, results = unlearn_tab.tab(program, blocks)
            with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
                compare_tab.tab(program, blocks, tabs, results)
            with gr.Tab("Trace", id="trace", elem_id="tab-trace"):
                trace_tab.tab(program, blocks, kept, tabs=tabs, unlearn=form)
            with gr.Tab("Data", id="data", elem_id="tab-data") as data:
                data_tab.tab(program, blocks, data, typed, tabs=tabs, unlearn=form, results=results)
            with gr.Tab("Methods", id="methods", elem_id="tab-methods"):
                methods_tab.tab(program, tabs, form, unlearn="unlearn")
    return blocks


def _header(device: str) -> str:
    hidden = "" if device else " hidden"
    return (
        '<header class="top"><h1>unlearnlab</h1>'
        f'<span class="chip" id="chip-device"{hidden}>{escape(device)}</span>'
        '<span class="chip" id="chip-queue" role="status" hidden></span>'
        '<a class="chip" href="manual/" target="_blank" rel="noopener">Docs</a>'
        '<button type="button" class="theme" aria-label="Switch between light and dark">◐</button>'
        "</header>"
    )
