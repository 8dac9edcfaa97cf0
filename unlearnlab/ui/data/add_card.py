"""The cards that add data and show the findings: layout and event wiring."""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from unlearnlab.ui.data import adding as data_add
from unlearnlab.ui.data.adding import (
    COLUMNS,
    FIELDS,
    KIND_CHOICES,
    AddRequest,
    findings_html,
    place,
)
from unlearnlab.ui.data.list import datasets_html
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import NAME
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.html import heading
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.layout import message

FILES, FOLDER = "files", "folder"

BUSY = """(...values) => {
  document.getElementById("add-card").classList.add("busy");
  return values;
}"""
IDLE = """() => document.getElementById("add-card").classList.remove("busy")"""
"""Reading a large file takes seconds: the card shows that it is busy."""

CHECKING = """(masked, model, ...request) => {
  document.getElementById("add-card").classList.add("busy");
  window.checked = JSON.stringify(request);
  return [masked, model, ...request];
}"""
"""Remembers the values that are being checked."""

SHOW = """() => {
  document.getElementById("add-card").classList.remove("busy");
  setTimeout(() => document.getElementById("findings-card")
    ?.scrollIntoView({ block: "nearest" }), 150);
}"""
"""Scrolls to the findings, which may be drawn out of sight on a long page."""


STALE = """(...request) => {
  const update = { __type__: "update" };
  if (JSON.stringify(request) === window.checked) return [update, update, update];
  const shut = { ...update, interactive: false };
  return [{ problems: [], note: "" }, shut, { ...update, visible: false }];
}"""
"""Disables Add unless the values are the checked ones: a control may report an edit late."""


@dataclass(frozen=True)
class AddCard:
    """Controls of the card that adds data."""

    way: gr.Radio
    forget: gr.File
    forget_path: gr.Textbox
    retain: gr.File
    retain_path: gr.Textbox
    folder: gr.Textbox
    limit: gr.Textbox
    seed: gr.Textbox
    kind: gr.Dropdown
    title: gr.Textbox
    files: gr.Group
    whole: gr.Group
    """Controls for a folder."""
    mapping: gr.Column
    """Holds `columns`; shown if the files have other column names."""
    check: gr.Button
    add: gr.Button
    message: gr.HTML
    columns: list[gr.Dropdown] = field(default_factory=list[gr.Dropdown])

    @property
    def inputs(self) -> list[Any]:
        """Inputs of `add_request`."""
        files = (self.forget, self.forget_path, self.retain, self.retain_path)
        part = (self.folder, self.limit, self.seed)
        return [self.way, *files, *part, self.kind, self.title, *self.columns]


@dataclass(frozen=True)
class FindingsCard:
    """Controls of the card with the findings."""

    card: gr.Column
    masked: gr.Checkbox
    table: gr.HTML


def add_request(values: tuple[Any, ...]) -> AddRequest:
    """Turn the values of `AddCard.inputs` into a request."""
    way, forget, forget_path, retain, retain_path, *texts = values
    folder, limit, seed, kind, title, *columns = texts
    named = zip(COLUMNS, columns, strict=True)
    return AddRequest(
        way=str(way),
        forget=str(forget or forget_path or ""),
        retain=str(retain or retain_path or ""),
        folder=str(folder or ""),
        limit=str(limit or ""),
        seed=str(seed or ""),
        columns=tuple((role, str(name)) for role, name in named if name),
        kind=str(kind),
        title=str(title or ""),
    )


def draw_add() -> AddCard:
    """Lay out the card that adds data."""
    with gr.Column(elem_classes=["card"], elem_id="add-card"):
        heading("Add a dataset")
        way = gr.Radio(
            [("Files", FILES), ("A folder", FOLDER)],
            value=FILES,
            show_label=False,
            elem_classes=["pills"],
        )
        with gr.Group() as files:
            forget, forget_path = _file("forget", "Forget rows: JSONL, CSV, TSV or Parquet")
            retain, retain_path = _file("retain", "Retain rows: what the model must keep")
            with gr.Column(
                visible=False, elem_id=place("columns"), elem_classes=["field"]
            ) as named:
                columns = [_column(role) for role in COLUMNS]
            kind = gr.Dropdown(
                KIND_CHOICES,
                value="guess",
                label="Row type where ids don't tell",
                elem_classes=["field"],
                filterable=False,
            )
        with gr.Group(visible=False) as whole:
            folder = gr.Textbox(
                label="Folder on this machine, laid out like SemEval-2025 Task 4 or LUME",
                placeholder="~/data/lume",
                max_lines=1,
                elem_id=place("folder"),
                elem_classes=["field"],
            )
            with gr.Row():
                limit = _part("limit", "all", "Draw a part: documents with all their rows.")
                seed = _part("seed", "0", "Seed of the draw.")
        title = gr.Textbox(
            label=FIELDS["title"],
            placeholder="Display name",
            max_lines=1,
            elem_id=place("title"),
            elem_classes=["field"],
        )
        with gr.Row(elem_classes=["buttons"]):
            check = gr.Button("Check", elem_id="check-data", min_width=80)
            add = gr.Button("Add", interactive=False, elem_id="add-data", min_width=80)
        note = message("add-message")
    asked = (way, forget, forget_path, retain, retain_path, folder, limit, seed, kind, title)
    return AddCard(*asked, files, whole, named, check, add, note, columns)


def _file(name: str, label: str) -> tuple[gr.File, gr.Textbox]:
    with gr.Column(elem_id=place(name), elem_classes=["field", "upload"]):
        upload = gr.File(label=label, height=84, elem_id=place(f"{name}.file"))
        path = gr.Textbox(
            show_label=False,
            label=f"{FIELDS[name]}: path",
            placeholder="or its path on this machine",
            max_lines=1,
            elem_id=place(f"{name}.path"),
        )
    return upload, path


def _part(name: str, usual: str, info: str) -> gr.Textbox:
    return gr.Textbox(
        label=FIELDS[name],
        placeholder=usual,
        info=info,
        max_lines=1,
        min_width=120,
        elem_id=place(name),
        elem_classes=["field"],
    )


def _column(role: str) -> gr.Dropdown:
    label = {"input": "Column of the prompts", "output": "Column of the answers"}[role]
    return gr.Dropdown([], value=None, label=label, elem_classes=["field"], elem_id=place(role))


def draw_findings() -> FindingsCard:
    """Lay out the card with the findings."""
    with gr.Column(visible=False, elem_classes=["card"], elem_id="findings-card") as card:
        table = gr.HTML("", elem_id="findings", apply_default_css=False)
        masked = gr.Checkbox(True, label="Mask personal data", elem_id="findings-mask")
    return FindingsCard(card, masked, table)


def wire_add(
    program: Program, card: AddCard, found: FindingsCard, listed: gr.HTML, unlearn: FormParts
) -> None:
    """Wire both cards. `listed` is the list of datasets, `unlearn` the form that uses them."""
    outputs = [card.message, card.add, found.card, found.table]

    def turned(way: str) -> list[Any]:
        return [gr.update(visible=way == FILES), gr.update(visible=way == FOLDER)]

    def checked(masked: bool, model: Any, *values: Any) -> list[Any]:
        came = data_add.check(add_request(values), model)
        if came.draft is None:
            return [came.message.plain, gr.update(interactive=False), gr.update(visible=False), ""]
        sound = came.draft.sound
        table = findings_html(came.draft, masked=bool(masked))
        return [came.message.plain, gr.update(interactive=sound), gr.update(visible=True), table]

    def added(*values: Any) -> list[Any]:
        request, (draft, *held) = (
            add_request(values[: len(card.inputs)]),
            values[len(card.inputs) :],
        )
        name, answer = data_add.press_add(request)
        if not name:
            return [answer.plain, *(gr.skip() for _ in (card.add, listed, *unlearn.outputs))]
        form = forms.collect_form(draft, held)
        updates = form_layout.updates(program, unlearn, form)
        shown = datasets_html(form.dataset.name)
        return [answer.plain, gr.update(interactive=False), shown, *updates]

    card.way.input(turned, card.way, [card.files, card.whole], **QUIET)
    _wire_columns(card)
    _wire_staleness(card, found)
    model = unlearn.controls[NAME]
    asked = [found.masked, model, *card.inputs]
    came = card.check.click(checked, asked, outputs, js=CHECKING, **QUIET)
    came.then(None, js=SHOW, **QUIET)
    # Values typed while the files were read were not checked.
    came.then(None, card.inputs, [card.message, card.add, found.card], js=STALE, **QUIET)
    found.masked.input(checked, asked, outputs, trigger_mode="always_last", **QUIET)
    card.add.click(
        added,
        [*card.inputs, *unlearn.inputs],
        [card.message, card.add, listed, *unlearn.outputs],
        js=BUSY,
        **QUIET,
    ).then(None, js=IDLE, **QUIET)


def _wire_columns(card: AddCard) -> None:
    """Ask for the columns if the files do not have the usual ones."""

    def named(*values: Any) -> list[Any]:
        request = add_request(values)
        names, chosen = data_add.columns(request), dict(request.columns)
        if names is None:
            return [gr.update(visible=False), *(gr.update(value=None) for _ in COLUMNS)]
        guesses = (data_add.guessed(role, names, chosen.get(role)) for role in COLUMNS)
        lists = (gr.update(choices=names, value=guess) for guess in guesses)
        return [gr.update(visible=True), *lists]

    files = [card.forget.change, card.retain.change]
    paths = [card.forget_path.change, card.retain_path.change]
    outputs = [card.mapping, *card.columns]
    gr.on([*files, *paths], named, card.inputs, outputs, trigger_mode="always_last", **QUIET)


def _wire_staleness(card: AddCard, found: FindingsCard) -> None:
    """Discard findings when a value changes: it must be checked again.

    The browser does it: a response of the server could arrive after the response to the next check.
    """
    edits = [c.input if isinstance(c, gr.Radio | gr.Dropdown) else c.change for c in card.inputs]
    outputs = [card.message, card.add, found.card]
    gr.on(edits, None, card.inputs, outputs, js=STALE, **QUIET)
