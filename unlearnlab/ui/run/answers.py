"""The card of the answers: the table with its filters and its file, and the free prompts."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from unlearnlab.data.datasets import Kind
from unlearnlab.exports.tables import rows_csv
from unlearnlab.metrics.labels import OUTCOMES, TITLES, Outcome, Sense, title
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.runs.records import RunRecord
from unlearnlab.ui.kit.html import heading, render, script
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.answers import (
    PAGE,
    SORT_KEYS,
    AnswerRow,
    Filter,
    Order,
    Show,
    SortKey,
    chosen,
    heard,
    in_order,
    marked,
    mask,
    tally,
)
from unlearnlab.views.says import NO_BREAK
from unlearnlab.views.scoreboard import KINDS, TASKS, titles_of

SHOWS: Mapping[Show, str] = {
    "forget": "Forget",
    "others": "Not picked",
    "retain": "Retain",
    "leaks": "Still leaks",
    "damaged": "Collateral damage",
    "all": "All",
}
"""Sets of rows to choose from."""

SCORES: Mapping[Kind, str] = {"sc": "ROUGE-L recall", "qa": "Exact match"}
"""Name of the score of each kind of row."""

SENSES: Mapping[Sense, str] = {
    "words": "; garbled: a fifth of the words stand in no text of the data",
    "loss": "; garbled: hardly likelier under the original model than words in random order",
    "": "; garbled answers count as different: this run did not measure how likely they are",
}
"""What the table's legend says of garbled answers, by how they were recognised."""

HEADS: Mapping[SortKey, str] = {
    "prompt": "Prompt",
    "expected": "Expected",
    "original": "Original model",
    "unlearned": "Unlearned model",
    "score": "Score",
    "likelihood": "Likelihood",
}
"""Columns of the table; a click on a name sorts by it."""

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

_SHOWS: Mapping[str, Show] = {show: show for show in SHOWS}
_SORT_KEYS: Mapping[str, SortKey] = {key: key for key in SORT_KEYS}


@dataclass(frozen=True, slots=True)
class AnswerFilters:
    """What the reader chose to see of a run, as the page's controls hold it: unchecked."""

    show: str = "forget"
    task: str = ""
    kind: str = ""
    text: str = ""
    labels: Sequence[str] = ()
    """Labels of which a row must have one."""
    sort: str = "data"
    descending: bool = False
    masked: bool = False
    """Whether personal data are hidden."""
    waiting: Sequence[Sequence[str]] = ()
    """Run, id and text of the prompts that this browser asked."""
    drawn: str = ""
    """Key of the scores that the page shows."""
    run: str = ""
    """The run that the page shows: the data of another run decide what is masked."""

    @property
    def rows(self) -> Filter:
        """Return the filter of the answers."""
        show = _SHOWS.get(self.show, "forget")
        labels: list[Outcome] = [label for label in OUTCOMES if label in (self.labels or ())]
        return Filter(show, self.task or "", self.kind or "", self.text or "", labels)

    @property
    def order(self) -> Order:
        """Return the order of the answers."""
        return Order(_SORT_KEYS.get(self.sort, "data"), bool(self.descending))

    def opening(self, term: str) -> "AnswerFilters":
        """Show the rows of a term, `split/task/kind`, or all rows, without other filters."""
        show, task, kind = [*term.split("/"), "", ""][:3]
        return replace(self, show=show, task=task, kind=kind, text="", labels=())

    def sorting(self, key: str) -> "AnswerFilters":
        """Sort by a column, or the other way if the rows are sorted by it already."""
        order = self.order.pressed(_SORT_KEYS.get(key, "data"))
        return replace(self, sort=order.key, descending=order.descending)


def filters_from(values: Sequence[Any]) -> AnswerFilters:
    """Return the filters from the values of `Parts.filters`."""
    *chosen, waiting, live = values
    shown = live if isinstance(live, dict) else {}
    return AnswerFilters(
        *chosen,
        waiting=waiting if isinstance(waiting, list) else [],
        drawn=shown.get("drawn", ""),
        run=shown.get("run", ""),
    )


def answers_html(
    rows: Sequence[AnswerRow],
    page: int,
    *,
    masked: bool,
    scored: bool,
    ended: bool = False,
    alone: bool = False,
    titles: Mapping[str, str] = TASKS,
    order: Order | None = None,
) -> str:
    """Draw one page of the table.

    Args:
        rows: All rows that pass the filter, in order.
        page: 0-based; beyond the last page, the last page is drawn.
        masked: Whether personal data are hidden.
        scored: Whether the unlearned model was scored.
        ended: Whether the run is over, so that no further answer will come.
        alone: Whether the run has a single model, so that there is one column of answers.
        titles: Names of the subtasks.
        order: What the rows are sorted by.
    """
    last = max(0, (len(rows) - 1) // PAGE)
    page = min(max(0, page), last)
    heads, kinds, order = dict(HEADS), {row.kind for row in rows}, order or Order()
    if len(kinds) == 1:
        heads["score"] = SCORES[rows[0].kind]
    if alone:
        heads["original"] = "Model"
        del heads["unlearned"]
    return render(
        "run/answers.html",
        rows=[_row(row, titles) for row in rows[page * PAGE : (page + 1) * PAGE]],
        heads=heads,
        sorted_by=order.key,
        direction="descending" if order.descending else "ascending",
        arrow="↓" if order.descending else "↑",
        hide=mask if masked else str,
        scored=scored,
        missing="not measured" if scored else "not scored" if ended else "scored after training",
        page=page,
        last=last,
        first=page * PAGE,
        total=len(rows),
        size=PAGE,
        sense=SENSES[rows[0].label.sense] if rows else "",
    )


def _row(row: AnswerRow, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template shows of a row beside its own values."""
    no_likelihood = ""
    if not row.expected.strip():
        no_likelihood = "nothing is expected"
    elif row.original_likelihood is None or (
        row.unlearned is not None and row.unlearned_likelihood is None
    ):
        no_likelihood = "the loss is not a number"
    after = None
    if row.unlearned is not None:
        after = marked(row.expected, row.unlearned.strip(), row.secrets, row.original)
    return {
        "row": row,
        "kind": f"{titles.get(row.task, row.task)} · {KINDS[row.kind]}",
        "measure": SCORES[row.kind],
        # The label is of the original's answer until the unlearned model was scored.
        "before": marked(row.expected, row.original.strip(), () if after else row.secrets),
        "after": after,
        "label": title(row.outcome, row.wished).replace(" ", NO_BREAK),
        "no_likelihood": no_likelihood,
    }


def asks_html(
    asks: Sequence[Asked | AskFailed],
    waiting: Sequence[tuple[str, str]],
    *,
    masked: bool,
    alone: bool = False,
) -> str:
    """Draw the free prompts of a run, the latest first.

    Args:
        asks: Prompts that were answered, or could not be.
        waiting: Id and text of the prompts that this browser has sent.
        masked: Whether personal data are hidden.
        alone: Whether the run has a single model, so that there is one answer to each prompt.
    """
    answered = {ask.ask_id for ask in asks}
    return render(
        "run/asks.html",
        pending=[prompt for ask, prompt in reversed(waiting) if ask not in answered],
        answered=asks[::-1],
        alone=alone,
        names={0: "model"} if alone else {0: "original model", 1: "unlearned model"},
        heard=heard,
        compared=lambda ask: (
            marked("", ask.original.strip(), other=ask.unlearned),
            marked("", ask.unlearned.strip(), other=ask.original),
        ),
        tally=tally,
        hide=mask if masked else str,
    )


def is_masked(row: RunRecord | None, filters: AnswerFilters) -> bool:
    """Tell whether a run's personal data are hidden.

    The switch stays as the reader set it, unless another run comes: its data decide.
    """
    if row is None or filters.run == row.run_id:
        return filters.masked
    return row.personal


def task_choices(titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """List the subtasks to choose from."""
    return [("all subtasks", ""), *((name, task) for task, name in titles.items())]


def answers_file(program: Program, run_id: str, filters: AnswerFilters) -> dict[str, Any]:
    """Write the rows that pass the filter as CSV, in the order and masked as on the page.

    Returns:
        The file's name, and its content in base64.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    run = program.runs.shown(run_id)
    row = run.row
    masked = is_masked(row, filters)
    rows = chosen(program.answers(row.spec, run.progress), filters.rows)
    content = rows_csv(in_order(rows, filters.order), titles_of(row.spec.data.known), masked=masked)
    # A search may hold personal words: the name only says that there was one.
    by = filters.rows
    parts = (by.show, by.task, by.kind, *by.labels, "found" if by.text.strip() else "")
    name = "-".join(part for part in (run_id, *parts, "masked" if masked else "") if part)
    return {"name": f"{name}.csv", "data": base64.b64encode(content).decode()}


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
    def filters(self) -> list[Any]:
        """List what the reader filters and sorts by, in the order of `AnswerFilters`."""
        rows = (self.show, self.task, self.kind, self.text, self.labels)
        return [*rows, self.sort, self.descending, self.masked]


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
