"""The tab Compare: all runs, a selection of them, and rooms that set those side by side."""

from typing import Any

import gradio as gr

from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.layout import LIST, ROOMS
from unlearnlab.ui.compare.marks import change
from unlearnlab.ui.compare.panels import ask, room
from unlearnlab.ui.compare.report import report
from unlearnlab.ui.compare.runs import Compared
from unlearnlab.ui.compare.table import listing
from unlearnlab.ui.kit.html import script
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.layout import Parts
from unlearnlab.ui.run.tab import render_panel

TAB = "compare"


def tab(program: Program, blocks: gr.Blocks, tabs: gr.Tabs, results: Parts) -> None:
    """Lay the tab out and wire it.

    Args:
        program: Store and worker.
        blocks: The page: an address that names this tab opens it.
        tabs: The tabs of the page, to turn to another one.
        results: What shows a single run.
    """
    compared = Compared(program.store)
    with gr.Column(elem_classes=["compare"]):
        runs = _list(program, compared)
        _rooms(program, compared)

    def opened(event: gr.EventData, *seen: Any) -> list[Any]:
        return [gr.Tabs(selected="unlearn"), *render_panel(program, str(event.run), seen)]

    runs.open(opened, results.look, [tabs, *results.panel], **QUIET)
    blocks.load(asked_for, None, tabs, **QUIET)


def asked_for(request: gr.Request) -> Any:
    """Open this tab if the page's address says so."""
    asked = request.query_params.get("tab") == TAB
    return gr.Tabs(selected=TAB) if asked else gr.skip()


def _list(program: Program, compared: Compared) -> gr.HTML:
    def list_runs(asked: Any) -> dict[str, Any]:
        return listing(compared, asked)

    def change_runs(asked: Any) -> dict[str, Any]:
        answer = change(program.store, asked)
        compared.forget()
        return answer

    def report_runs(asked: Any) -> dict[str, Any]:
        return report(program, asked)

    return gr.HTML(
        {},
        html_template=LIST,
        js_on_load=script("kit/poll.js", "compare/listing.js"),
        server_functions=[list_runs, change_runs, report_runs],
        elem_id="compare-list",
        apply_default_css=False,
    )


def _rooms(program: Program, compared: Compared) -> gr.HTML:
    def draw_board(asked: Any) -> dict[str, Any]:
        return board(program, compared, asked)

    def draw_room(asked: Any) -> dict[str, Any]:
        return room(program, compared, asked)

    def ask_runs(asked: Any) -> dict[str, Any]:
        return ask(program, asked)

    return gr.HTML(
        {},
        html_template=ROOMS,
        js_on_load=script("kit/poll.js", "compare/panels.js"),
        server_functions=[draw_board, draw_room, ask_runs],
        elem_id="compare-rooms",
        apply_default_css=False,
    )
