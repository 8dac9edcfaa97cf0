"""How the page looks and how it is served: what `launch()` takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio import Theme, themes

from unlearnlab.data.files import ASSETS
from unlearnlab.ui.kit.script import UI, source
from unlearnlab.ui.manual import routes
from unlearnlab.views.colours import TOKENS

SANS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Cantarell",
    "DejaVu Sans",
    "sans-serif",
]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
"""Fonts that are there already: plain strings, for Gradio would fetch named ones from a host."""


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
"""What is the same in light and dark: colours are variables, which know which of both it is."""

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
"""Sizes, and what dark takes over by itself."""


def theme() -> Theme:
    """Return Gradio's base theme, quietened. Colours are the variables of `assets/tokens.css`."""
    quiet = themes.Base(
        font=SANS,
        font_mono=MONO,
        radius_size=themes.sizes.radius_md,
        spacing_size=themes.sizes.spacing_sm,
        text_size=themes.sizes.text_md,
    )
    dark = {f"{name}_dark": value for name, value in LOOK.items()}
    return quiet.set(**LOOK, **dark, **PLAIN)


def sheets() -> list[Path]:
    """List the style sheets of the page: the shared ones of `kit`, then each card's own."""
    return [*sorted(UI.glob("kit/*.css")), *sorted(set(UI.rglob("*.css")) - set(UI.glob("kit/*")))]


def served() -> dict[str, Any]:
    """Return the options of `launch()` that make the page what it is.

    Gradio's run history stays off: it would keep personal data of the forget set in the browser. So
    does its check that the page is drawn within 3 seconds, or else the program ends: on a busy
    machine the first drawing takes longer. That the server answers at all is found out before.
    """
    return {
        "theme": theme(),
        "css_paths": [TOKENS, *sheets()],
        "head": f"<script>{source('kit/charts.js')}</script>",
        "favicon_path": ASSETS / "icon.svg",
        "run_history": False,
        "ssr_mode": False,
        "footer_links": [],
        "show_error": True,
        "quiet": True,
        "_frontend": False,
        "app_kwargs": {"routes": routes()},
    }
