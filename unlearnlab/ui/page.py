"""The page: header and tabs, how they look, and how they are served."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import Theme, themes
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from unlearnlab.data.datasets import Row
from unlearnlab.data.files import ASSETS
from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.engine_api import Device, TokenPreview
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import ModelSpec, Template
from unlearnlab.ui.compare import tab as compare_tab
from unlearnlab.ui.data import tab as data_tab
from unlearnlab.ui.data import typed_card
from unlearnlab.ui.guard import MAX_UPLOAD, Guard
from unlearnlab.ui.kit.charts import PLOTLY_SCRIPT
from unlearnlab.ui.kit.html import UI, render, script, source
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.manual import routes
from unlearnlab.ui.methods import tab as methods_tab
from unlearnlab.ui.run import tab as unlearn_tab
from unlearnlab.ui.trace import tab as trace_tab
from unlearnlab.views.colours import TOKENS

WHOLE = 10_000
"""Answers of fewer bytes are sent as they are: polls are small and many."""

UPLOADS_S = (3600, 3600)
"""Interval at which copies of uploaded files are deleted, and their least age then, in seconds."""


def build(
    store: Store,
    worker: Worker,
    *,
    references: Mapping[str, Scores],
    device: str = "",
    devices: Callable[[], Sequence[Device]] = tuple,
    tokens: Callable[[ModelSpec, Template, Row], TokenPreview] | None = None,
    replays: Replays | None = None,
    login: bool = False,
) -> gr.Blocks:
    """Build the page.

    Args:
        store: Keeps the runs.
        worker: Carries them out.
        references: Scores of the retrained model by fold; may be empty.
        device: What this machine computes on; empty if unknown.
        devices: Lists the devices and their free memory; empty until the engine is loaded.
        tokens: Returns the exact tokens of a row, or raises a ValueError.
        replays: Active replays of recorded runs; none for a fresh list.
        login: Whether visitors have logged in, and may log out.
    """
    program = Program(store, worker, references, devices, tokens, replays or Replays())
    gr.set_static_paths([PLOTLY_SCRIPT])
    with gr.Blocks(
        title="unlearnlab", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS_S
    ) as blocks:
        gr.HTML(
            render("header.html", device=device, login=login),
            js_on_load=script("header.js", "tour.js", "present.js", "kit/press.js"),
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
                methods_tab.tab(program, tabs, form)
    return blocks


SANS = ["system-ui", "Segoe UI", "Roboto", "Cantarell", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
"""Installed fonts, as plain strings: Gradio would fetch named ones from another host."""

LOOK: Mapping[str, str] = {
    "body_background_fill": "var(--page)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--mute)",
    "background_fill_primary": "var(--card)",
    "background_fill_secondary": "var(--page)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--ink)",
    "color_accent_soft": "var(--soft)",
    "block_background_fill": "transparent",
    "block_label_text_color": "var(--mute)",
    "block_title_text_color": "var(--mute)",
    "block_info_text_color": "var(--mute)",
    "input_background_fill": "var(--page)",
    "input_background_fill_focus": "var(--card)",
    "input_border_color": "var(--line)",
    "input_border_color_focus": "var(--ink)",
    "input_shadow_focus": "none",
    "input_placeholder_color": "var(--mute)",
    "button_primary_background_fill": "var(--ink)",
    "button_primary_background_fill_hover": "var(--ink-soft)",
    "button_primary_text_color": "var(--page)",
    "button_primary_border_color": "var(--ink)",
    "button_secondary_background_fill": "var(--soft)",
    "button_secondary_background_fill_hover": "var(--line)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_border_color": "var(--soft)",
    "checkbox_background_color": "var(--card)",
    "checkbox_background_color_selected": "var(--ink)",
    "checkbox_border_color": "var(--edge)",
    "checkbox_border_color_focus": "var(--ink)",
    "checkbox_border_color_selected": "var(--ink)",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_hover": "var(--soft)",
    "checkbox_label_background_fill_selected": "transparent",
    "loader_color": "var(--ink)",
    "error_background_fill": "var(--bad-soft)",
    "error_text_color": "var(--bad)",
    "error_border_color": "var(--bad)",
    "slider_color": "var(--ink)",
}
"""Colours, the same for light and dark: variables of `assets/tokens.css`, which differ by theme."""

PLAIN: Mapping[str, str] = {
    "color_accent": "var(--ink)",
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_title_text_size": "12.5px",
    "block_title_text_weight": "400",
    "block_info_text_size": "12.5px",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_padding": "8px 11px",
    "input_radius": "8px",
    "input_text_size": "14px",
    "button_large_radius": "9px",
    "button_large_padding": "10px 14px",
    "button_large_text_size": "14px",
    "button_large_text_weight": "600",
    "button_small_radius": "8px",
    "button_small_padding": "4px 10px",
    "button_small_text_size": "12.5px",
    "button_small_text_weight": "400",
    "checkbox_label_border_width": "0px",
    "checkbox_label_padding": "0px",
    "checkbox_label_shadow": "none",
    "checkbox_label_text_size": "13px",
    "checkbox_label_text_weight": "400",
    "checkbox_shadow": "none",
    "layout_gap": "12px",
    "form_gap_width": "0px",
    "panel_border_width": "0px",
}
"""Sizes, and settings that dark inherits."""


def theme() -> Theme:
    """Return Gradio's base theme, quietened."""
    quiet = themes.Base(
        font=SANS,
        font_mono=MONO,
        radius_size=themes.sizes.radius_md,
        spacing_size=themes.sizes.spacing_sm,
        text_size=themes.sizes.text_md,
    )
    dark = {f"{name}_dark": value for name, value in LOOK.items()}
    return quiet.set(**LOOK, **dark, **PLAIN)


HEAD = f"{source('misplaced.js')}\n{source('kit/charts.js')}"
"""Script in the page's head."""


def sheets() -> list[Path]:
    """List the style sheets: the shared ones of `kit`, then each card's own."""
    return [*sorted(UI.glob("kit/*.css")), *sorted(set(UI.rglob("*.css")) - set(UI.glob("kit/*")))]


def served(guard: Guard | None = None) -> dict[str, Any]:
    """Return the options of Gradio's `launch()`.

    Run history is off: it would keep personal data of the forget set in the browser. So is the
    check that ends the program unless the page is drawn within 3 seconds (`_frontend`): a busy
    machine takes longer. What Gradio would read from the environment is set, so that no variable
    opens further servers or folders.

    Args:
        guard: Stands before the page; one for this machine alone if none is given.
    """
    guard = guard or Guard()
    guard.sign(HEAD)
    return {
        "theme": theme(),
        "css_paths": [TOKENS, *sheets()],
        "head": f"<script>{HEAD}</script>",
        "favicon_path": ASSETS / "icon.svg",
        "run_history": False,
        "ssr_mode": False,
        "footer_links": [],
        "show_error": True,
        "quiet": True,
        "_frontend": False,
        "max_file_size": MAX_UPLOAD,
        "num_workers": 0,
        "mcp_server": False,
        "enable_monitoring": False,
        "allowed_paths": [str(PLOTLY_SCRIPT)],
        "app_kwargs": {
            "routes": routes(),
            "lifespan": guard.before,
            # The page is a megabyte of settings and scripts, which Gradio does not compress.
            "middleware": [
                Middleware(GZipMiddleware, minimum_size=WHOLE),
                Middleware(guard.inside),
            ],
        },
    }
