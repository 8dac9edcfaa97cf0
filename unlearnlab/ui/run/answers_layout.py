"""The layout of the answers: the table with its filters, its order and its file."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.metrics.labels import TITLES
from unlearnlab.ui.kit.answer_filters import SHOWS
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.run.panel import task_choices
from unlearnlab.views.arranging import SortKey
from unlearnlab.views.scoreboard import KINDS, TASKS

SORTS: list[tuple[str, SortKey]] = [
    ("in data order", "data"),
    ("by label", "label"),
    ("by score", "score"),
    ("by score before", "score_before"),
    ("by score lost", "score_lost"),
    ("by likelihood", "likelihood"),
    ("by likelihood before", "likelihood_before"),
    ("by likelihood lost", "likelihood_lost"),
    ("by prompt", "prompt"),
    ("by expected answer", "expected"),
    ("by original answer", "original"),
    ("by unlearned answer", "unlearned"),
]
"""What the answers can be sorted by; the columns' names do the same on a wide screen."""


@dataclass(frozen=True)
class AnswersCard:
    """The table of answers with its filters."""

    card: gr.Column
    show: gr.Radio
    labels: gr.CheckboxGroup
    task: gr.Dropdown
    kind: gr.Dropdown
    text: gr.Textbox
    sort: gr.Dropdown
    descending: gr.Checkbox
    masked: gr.Checkbox
    table: gr.HTML
    export: gr.Button
    download: gr.HTML
    """Hands a file to the browser, and shows nothing."""

    @property
    def filters(self) -> list[Component]:
        """List what the reader filters and sorts by, as `Look` takes them."""
        sets = (self.show, self.task, self.kind, self.text)
        return [*sets, self.labels, self.sort, self.descending, self.masked]

    @property
    def chosen(self) -> list[Any]:
        """List the events that tell of a choice, the reader's or the program's."""
        sets = (self.show.change, self.task.change, self.kind.change, self.text.change)
        order = (self.sort.change, self.descending.change)
        return [*sets, self.labels.change, *order, self.masked.change]


def heading(text: str) -> gr.HTML:
    """Draw a card's heading."""
    return gr.HTML(heading_html(text), apply_default_css=False, elem_classes=["heading"])


def heading_html(text: str) -> str:
    """Write a card's heading."""
    return f"<h2>{text}</h2>"


def draw_answers() -> AnswersCard:
    """Lay the card out."""
    kinds = [("recite and answer", ""), *((words, kind) for kind, words in KINDS.items())]
    shows = [(label, show) for show, label in SHOWS.items()]
    with gr.Column(elem_classes=["card"], visible=False, elem_id="answers-card") as card:
        with gr.Row(elem_classes=["answers-head"]):
            heading("Answers")
            masked = gr.Checkbox(False, label="Mask personal data", elem_id="mask")
            export = gr.Button("CSV", elem_id="answers-csv", elem_classes=["quiet"], min_width=60)
        show = gr.Radio(shows, value="forget", label="Rows", elem_classes=["pills"])
        labels = gr.CheckboxGroup(
            [(name, label) for label, name in TITLES.items()],
            label="Labels",
            elem_id="answers-labels",
            elem_classes=["pills"],
        )
        with gr.Row(elem_classes=["filters"]):
            task = gr.Dropdown(task_choices(TASKS), value="", label="Subtask", filterable=False)
            kind = gr.Dropdown(kinds, value="", label="Type", filterable=False)
            sort = gr.Dropdown(SORTS, value="data", label="Sort by", filterable=False)
            descending = gr.Checkbox(False, label="descending", elem_id="answers-descending")
            text = gr.Textbox(label="Search answers", placeholder="search", max_lines=1)
        table = gr.HTML(
            "", elem_id="answers", js_on_load=script("run/answers.js"), apply_default_css=False
        )
        download = gr.HTML(
            None,
            html_template="",
            js_on_load=script("run/answers_file.js"),
            apply_default_css=False,
        )
    return AnswersCard(
        card, show, labels, task, kind, text, sort, descending, masked, table, export, download
    )
