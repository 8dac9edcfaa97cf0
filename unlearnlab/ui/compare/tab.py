"""The tab Compare: all runs, a selection of them, and panels that set those side by side."""

from typing import Any

import gradio as gr

from unlearnlab.metrics.scores import SCORES, weighted_scores
from unlearnlab.ui.compare.board import board, report
from unlearnlab.ui.compare.listing import change, listing, table_file
from unlearnlab.ui.compare.panels import ASKED, PANELS, WHICH, ask, curve_rows, panel
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.html import render, script
from unlearnlab.ui.kit.listeners import QUIET, Answer
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.panel import Parts
from unlearnlab.ui.run.tab import render_panel
from unlearnlab.views.run_table import FOLDS, offered_columns
from unlearnlab.views.scoreboard import KINDS, TASKS

TAB = "compare"


def tab(program: Program, blocks: gr.Blocks, tabs: gr.Tabs, results: Parts) -> None:
    """Lay the tab out and wire it.

    Args:
        program: Store and worker.
        blocks: The page: an address that names this tab opens it.
        tabs: The tabs of the page, to turn to another one.
        results: What shows a single run.
    """
    cached = CachedRuns(program.store)

    def list_runs(asked: Any) -> Answer:
        return listing(cached, asked)

    def change_runs(asked: Any) -> Answer:
        answer = change(program.store, asked)
        cached.forget()
        return answer

    def save_table(asked: Any) -> Answer:
        return table_file(cached, asked)

    def report_runs(asked: Any) -> Answer:
        return report(program, asked)

    def render_board(asked: Any) -> Answer:
        return board(program, cached, asked)

    def render_compare_panel(asked: Any) -> Answer:
        return panel(program, cached, asked)

    def fetch_curve_rows(asked: Any) -> Answer:
        return curve_rows(program, cached, asked)

    def ask_runs(asked: Any) -> Answer:
        return ask(program, asked)

    def opened(event: gr.EventData, *seen: Any) -> list[Any]:
        return [gr.Tabs(selected="unlearn"), *render_panel(program, str(event.run), seen)]

    with gr.Column(elem_classes=["compare"]):
        runs = gr.HTML(
            {},
            html_template=render(
                "compare/listing.html",
                folds=FOLDS,
                groups=offered_columns(),
            ),
            js_on_load=script("kit/poll.js", "compare/listing.js"),
            server_functions=[list_runs, change_runs, report_runs, save_table],
            elem_id="compare-list",
            apply_default_css=False,
        )
        gr.HTML(
            {},
            html_template=render(
                "compare/panels.html",
                weighted=weighted_scores(),
                panels=PANELS,
                across=[
                    (score.key, score.words)
                    for score in SCORES.values()
                    if score.best == 1 and score.key != "utility"
                ],
                tasks=TASKS,
                kinds=KINDS,
                most_asked=ASKED,
                which=WHICH,
            ),
            js_on_load=script("kit/poll.js", "compare/panels.js"),
            server_functions=[render_board, render_compare_panel, fetch_curve_rows, ask_runs],
            elem_id="compare-panels",
            apply_default_css=False,
        )
    runs.open(opened, results.filters, [tabs, *results.panel], **QUIET)
    blocks.load(asked_for, None, tabs, **QUIET)


def asked_for(request: gr.Request) -> Any:
    """Open this tab if the page's address says so."""
    asked = request.query_params.get("tab") == TAB
    return gr.Tabs(selected=TAB) if asked else gr.skip()
