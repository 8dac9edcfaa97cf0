"""The cards that add a dataset from files or a folder, and show what was found in it.

Only the last files read are cached between two clicks.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr

from unlearnlab.data.adding import (
    BORROWED,
    Draft,
    KindChoice,
    add,
    columns_of,
    read_files,
    read_folder,
    shape_of,
)
from unlearnlab.data.checks import SourceError
from unlearnlab.data.datasets import EMBEDDED_NAME, Row
from unlearnlab.data.files import expanded, path_refused
from unlearnlab.data.layouts import LAYOUTS, ROLES, LayoutChoice, guess
from unlearnlab.models import catalog
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import NAME
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import heading, render, thousands
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import KINDS

Set = Literal["forget", "retain"]

SETS: tuple[Set, ...] = get_args(Set)
"""The files of a dataset; each may have columns of its own names."""

FIELDS: Mapping[str, str] = {
    "forget": "Forget rows",
    "retain": "Retain rows",
    "folder": "Folder",
    "limit": "Documents per subtask",
    "seed": "Seed",
    "forget.columns": "Columns of the forget file",
    "retain.columns": "Columns of the retain file",
    "layout": "Layout",
    "title": "Title",
}


@dataclass(frozen=True, slots=True)
class AddRequest:
    """Values of the form, unchecked."""

    way: str = "files"
    """Or "folder"."""
    forget: str = ""
    retain: str = ""
    folder: str = ""
    limit: str = ""
    """Source documents to draw from each set and subtask of the folder; empty takes all."""
    seed: str = ""
    """Seed of the draw."""
    columns: tuple[tuple[str, str], ...] = ()
    """Pairs of one of `ROLES` and its name in the forget file, where it differs."""
    retain_columns: tuple[tuple[str, str], ...] = ()
    """The same of the retain file."""
    layout: str = "columns"
    """One of `LAYOUTS`."""
    retain_of: str = ""
    """Dataset that lends retain rows; empty if none does."""
    kind: str = "guess"
    title: str = ""

    @property
    def paths(self) -> Mapping[str, str]:
        """What is to be read, by field."""
        if self.way == "folder":
            return {"folder": self.folder}
        retain = {"retain": self.retain} if self.retain.strip() else {}
        return {"forget": self.forget} | retain


class FieldError(Exception):
    """One field of the form has a problem."""

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.problem = Problem(place(name), FIELDS[name], told)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check: a draft, or problems."""

    draft: Draft | None = None
    message: Notice = field(default_factory=Notice)


def place(name: str) -> str:
    """Return the id of a field on the page."""
    return element(f"data.add.{name}")


def check(request: AddRequest, model: object = "") -> CheckResult:
    """Read and check what the form asks for.

    Args:
        request: Values of the form.
        model: Name of the chosen model; rows are checked against its context, if that is known.
    """
    try:
        draft = _draft(request)
    except FieldError as error:
        return CheckResult(message=Notice((error.problem,)))
    if sizes := catalog.model(str(model or "")).architecture:
        draft = draft.checked_against(sizes.context)
    if draft.sound:
        count = len(draft.findings)
        told = f"{count} warning{'s' * (count > 1)}, see Findings" if count else "No findings"
        return CheckResult(draft, Notice(note=f"{told}. It can be added."))
    errors = sum(finding.severity == "error" for finding in draft.findings)
    what = "1 error" if errors == 1 else f"{errors} errors"
    return CheckResult(draft, error_notice(f"{what}: see Findings, fix the file and check again"))


def _draft(request: AddRequest) -> Draft:
    paths = {name: _path(name, text) for name, text in request.paths.items()}
    try:
        return _read(request, tuple((path, _state(path)) for path in paths.values()))
    except SourceError as error:
        raise FieldError(_blamed(request, paths, str(error)), str(error)) from error


def _blamed(request: AddRequest, paths: Mapping[str, Path], told: str) -> str:
    """Return the field that an error is about."""
    for name, path in paths.items():
        try:
            columns_of(path)
        except SourceError:
            return name
    mapped = {"forget": request.columns, "retain": request.retain_columns}
    name = next((n for n, path in paths.items() if told.startswith(f"{path.name}: ")), "")
    if not name:
        return "layout" if request.layout != "columns" else next(iter(paths))
    return f"{name}.columns" if mapped.get(name) else name


def _path(name: str, text: str) -> Path:
    if not text.strip():
        what = "give a folder" if name == "folder" else "upload a file, or give its path"
        raise FieldError(name, f"nothing was given: {what}")
    if told := path_refused(text.strip()):
        raise FieldError(name, told)
    path = expanded(Path(text.strip()))
    if not path.exists():
        raise FieldError(name, f"there is no {path} on the machine that runs unlearnlab")
    if path.is_dir() != (name == "folder"):
        is_a, give = ("folder", "a file") if path.is_dir() else ("file", "the folder it is in")
        raise FieldError(name, f"{path.name} is a {is_a}: give {give}")
    return path


def _state(path: Path) -> tuple[int, int]:
    """Return a stamp of a file or a folder that changes with it: total bytes, newest mtime."""
    inside = (*path.glob("*"), *path.glob("*/*"))  # Not deeper: it may be any folder.
    files = [path] if path.is_file() else [found for found in inside if found.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max((s.st_mtime_ns for s in stats), default=0)


@lru_cache(maxsize=1)
def _read(request: AddRequest, paths: tuple[tuple[Path, tuple[int, int]], ...]) -> Draft:
    """Read the files once for check, mask and add."""
    first, *others = (path for path, _ in paths)
    title = request.title.strip()
    if request.way == "folder":
        limit = _whole("limit", request.limit, least=1)
        seed = _whole("seed", request.seed, least=0) or 0
        return read_folder(first, title=title, limit=limit, seed=seed)
    kinds: tuple[KindChoice, ...] = get_args(KindChoice)
    kind = request.kind if request.kind in kinds else "guess"
    layouts: tuple[LayoutChoice, ...] = get_args(LayoutChoice)
    return read_files(
        first,
        others[0] if others else None,
        columns=dict(request.columns),
        retain_columns=dict(request.retain_columns),
        layout=request.layout if request.layout in layouts else "columns",
        retain_of=request.retain_of,
        kind=kind,
        title=title,
    )


def _whole(name: str, text: str, *, least: int) -> int | None:
    """Parse a number of the form; None if empty."""
    text = text.strip()
    if text and not (text.isdecimal() and int(text) >= least):
        raise FieldError(name, f"{text!r} is not a whole number of at least {least}")
    return int(text) if text else None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the form must ask about the files."""

    columns: Mapping[Set, Sequence[str]]
    """Columns to choose from, of each file that does not have the usual ones."""
    layout: LayoutChoice
    """The layout that a file must be read by; "columns" if none."""


def choices(request: AddRequest) -> Choices:
    """Find out what must be asked about the files.

    An unreadable file counts as empty: the check reports it, and choices for other files stay.
    """
    found: dict[Set, Sequence[str]] = {}
    layout: LayoutChoice = "columns"
    for name in SETS if request.way == "files" else ():
        if not (text := request.paths.get(name, "")):
            continue
        with suppress(SourceError, FieldError):
            columns, offered = shape_of(_path(name, text))
            layout = offered if layout == "columns" else layout
            if offered == "columns" and not set(ROLES) <= set(columns):
                found[name] = columns
    return Choices(found, layout)


def guessed(role: str, names: Sequence[str], chosen: str | None = None) -> str | None:
    """Guess the column of a role by its name, unless one was chosen."""
    return chosen if chosen in names else guess(role, names) or None


def press_add(request: AddRequest) -> tuple[str, Notice]:
    """Read the files again if they have changed, and add them if they have no errors.

    Returns:
        The dataset's name, empty if it was not added; and the message to show.
    """
    checked = check(request)
    if checked.draft is None or not checked.draft.sound:
        return "", checked.message
    try:
        known = add(checked.draft)
    except SourceError as error:
        return "", Notice((Problem(place("title"), FIELDS["title"], str(error)),))
    return known.name, Notice(note=f"Added as {known.name}: choose it under Data, or press use.")


def findings_html(draft: Draft, *, masked: bool) -> str:
    """Render what was read, and the findings. HTML."""

    def types(rows: Sequence[Row]) -> str:
        found = [row.kind for row in rows]
        each = [
            f"{thousands(found.count(kind))} to {KINDS[kind]}" for kind in KINDS if kind in found
        ]
        return f"({', '.join(each)})" if len(each) > 1 else ""

    hide = mask if masked else str
    return render("data/add_card.html", draft=draft, hide=hide, types=types, number=thousands)


# Layout and events


def busy(card: str) -> tuple[str, str]:
    """Return scripts that show a card as busy while the server works, and as idle again."""
    classes = f'document.getElementById("{card}").classList'
    return (
        f'(...values) => {{ {classes}.add("busy"); return values; }}',
        f'() => {classes}.remove("busy")',
    )


BUSY, IDLE = busy("add-card")

REMEMBER = "(...request) => { window.checked = JSON.stringify(request); return []; }"
"""Remembers the values that are being checked."""

SHOW = """() => setTimeout(() => document.getElementById("findings-card")
  ?.scrollIntoView({ block: "nearest" }), 150)"""
"""Scrolls to the findings, which may be drawn out of sight on a long page."""

STALE = """(...request) => {
  const update = { __type__: "update" };
  if (JSON.stringify(request) === window.checked) return [update, update, update];
  const shut = { ...update, interactive: false };
  return [{ problems: [], note: "" }, shut, { ...update, visible: false }];
}"""
"""Disables Add unless the values are the checked ones: a control may report an edit late."""


@dataclass(frozen=True)
class FindingsCard:
    """Controls of the card with the findings."""

    card: gr.Column
    masked: gr.Checkbox
    table: gr.HTML


@dataclass(frozen=True)
class AddCard:
    """Controls of the card that adds data."""

    boxes: Mapping[str, Any]
    """By field of `AddRequest`; a box per set and role in place of columns, and a path beside each
    upload."""
    files: gr.Group
    folder: gr.Group
    mapping: Mapping[Set, gr.Column]
    """Holds the columns of a file; shown if it has other column names."""
    check: gr.Button
    add: gr.Button
    message: gr.HTML

    def request(self, held: Mapping[Any, Any]) -> AddRequest:
        """Gather the request from what the boxes hold; an upload takes precedence over a path."""
        texts = {name: str(held[box] or "") for name, box in self.boxes.items()}
        named: dict[Set, tuple[tuple[str, str], ...]] = {}
        for name in SETS:
            pairs = [(role, texts.pop(f"{name}.{role}")) for role in ROLES]
            named[name] = tuple(pair for pair in pairs if pair[1])
            path = texts.pop(f"{name}.path")
            texts[name] = texts[name] or path
        return AddRequest(**texts, columns=named["forget"], retain_columns=named["retain"])


def draw_add() -> AddCard:
    """Lay out the card that adds data."""
    boxes: dict[str, Any] = {}

    def upload(name: str, label: str) -> None:
        with gr.Column(elem_id=place(name), elem_classes=["field", "upload"]):
            boxes[name] = gr.File(label=label, height=84, elem_id=place(f"{name}.file"))
            boxes[f"{name}.path"] = gr.Textbox(
                show_label=False,
                label=f"{FIELDS[name]}: path",
                placeholder="or its path on this machine",
                max_lines=1,
                elem_id=place(f"{name}.path"),
            )

    def textbox(name: str, placeholder: str, **options: Any) -> None:
        options = {"label": FIELDS[name]} | options
        boxes[name] = gr.Textbox(
            placeholder=placeholder,
            max_lines=1,
            elem_id=place(name),
            elem_classes=["field"],
            **options,
        )

    def dropdown(name: str, label: str, **options: Any) -> None:
        boxes[name] = gr.Dropdown(label=label, elem_classes=["field"], **options)

    def mapped(name: Set) -> gr.Column:
        with gr.Column(
            visible=False, elem_id=place(f"{name}.columns"), elem_classes=["field"]
        ) as group:
            for role, what in (("input", "prompts"), ("output", "answers")):
                options = {"choices": [], "value": None, "elem_id": place(f"{name}.{role}")}
                dropdown(f"{name}.{role}", f"Column of the {what} in the {name} file", **options)
        return group

    with gr.Column(elem_classes=["card"], elem_id="add-card"):
        heading("Add a dataset")
        boxes["way"] = gr.Radio(
            [("Files", "files"), ("A folder", "folder")],
            value="files",
            show_label=False,
            elem_classes=["pills"],
        )
        with gr.Group() as files:
            upload("forget", "Forget rows: JSONL, CSV, TSV or Parquet")
            upload("retain", "Retain rows: what the model must keep")
            lent = (f"{BORROWED} rows of the embedded data", EMBEDDED_NAME)
            label = "Borrow retain rows"
            options = {"choices": [("none", ""), lent], "value": "", "filterable": False}
            dropdown("retain_of", label, elem_id=place("retain_of"), **options)
            mapping: dict[Set, gr.Column] = {name: mapped(name) for name in SETS}
            ways = [(about, name) for name, about in LAYOUTS.items()]
            options = {"choices": ways, "value": "columns", "visible": False}
            info = "A file has conversations, or a prompt in two parts."
            label = "How prompts and answers lie in a row"
            dropdown("layout", label, info=info, elem_id=place("layout"), **options)
            kinds = [
                ("guess from the answer's length", "guess"),
                ("completions: recite", "completion"),
                ("questions: answer", "question"),
            ]
            label = "Row type where ids don't tell"
            dropdown("kind", label, choices=kinds, value="guess", filterable=False)
        with gr.Group(visible=False) as folder:
            label = "Folder on this machine, laid out like SemEval-2025 Task 4 or LUME"
            textbox("folder", "~/data/lume", label=label)
            with gr.Row():
                info = "Draw a part: documents with all their rows. As many others become the "
                info += "validation fold, if there is none."
                textbox("limit", "all", info=info, min_width=120)
                textbox("seed", "0", info="Seed of the draw.", min_width=120)
        textbox("title", "Display name")
        with gr.Row(elem_classes=["buttons"]):
            check = gr.Button("Check", elem_id="check-data", min_width=80)
            add = gr.Button("Add", interactive=False, elem_id="add-data", min_width=80)
        note = notice_box("add-message")
    return AddCard(boxes, files, folder, mapping, check, add, note)


def draw_findings() -> FindingsCard:
    """Lay out the card with the findings."""
    with gr.Column(visible=False, elem_classes=["card"], elem_id="findings-card") as card:
        table = gr.HTML("", elem_id="findings", apply_default_css=False)
        masked = gr.Checkbox(True, label="Mask personal data", elem_id="findings-mask")
    return FindingsCard(card, masked, table)


def wire_add(
    program: Program,
    card: AddCard,
    found: FindingsCard,
    unlearn: FormParts,
    listed: tuple[gr.HTML, Callable[[str], str]],
) -> None:
    """Wire both cards.

    Args:
        program: Store and worker.
        card: The card that adds data.
        found: The card with the findings.
        unlearn: The form that uses the data.
        listed: The list of datasets, and what draws it by the name of the one in use.
    """
    boxes, model = card.boxes, unlearn.controls[NAME]
    table, draw_list = listed
    values = list(boxes.values())

    def turned(way: str) -> dict[Any, Any]:
        return {
            card.files: gr.update(visible=way == "files"),
            card.folder: gr.update(visible=way == "folder"),
        }

    def named(held: dict[Any, Any]) -> dict[Any, Any]:
        """Ask for the columns and the layout of files that do not have the usual ones."""
        request = card.request(held)
        asked = choices(request)
        chosen = {"forget": dict(request.columns), "retain": dict(request.retain_columns)}
        kept = request.layout if asked.layout != "columns" else "columns"
        updates: dict[Any, Any] = {
            boxes["layout"]: gr.update(visible=asked.layout != "columns", value=kept)
        }
        for name in SETS:
            names = asked.columns.get(name)
            updates[card.mapping[name]] = gr.update(visible=names is not None)
            for role in ROLES:
                updates[boxes[f"{name}.{role}"]] = (
                    gr.update(value=None)
                    if names is None
                    else gr.update(
                        choices=names, value=guessed(role, names, chosen[name].get(role))
                    )
                )
        return updates

    def checked(held: dict[Any, Any]) -> dict[Any, Any]:
        result = check(card.request(held), held[model])
        draft = result.draft
        return {
            card.message: result.message.plain,
            card.add: gr.update(interactive=draft is not None and draft.sound),
            found.card: gr.update(visible=draft is not None),
            found.table: findings_html(draft, masked=bool(held[found.masked])) if draft else "",
        }

    def added(held: dict[Any, Any]) -> dict[Any, Any]:
        name, answer = press_add(card.request(held))
        if not name:
            return {card.message: answer.plain}
        form = unlearn.collect(held)
        shown = {table: draw_list(form.dataset.name), card.add: gr.update(interactive=False)}
        return {card.message: answer.plain} | shown | form_layout.changes(program, unlearn, form)

    boxes["way"].input(turned, boxes["way"], [card.files, card.folder], **QUIET)
    given = [boxes[name].change for name in ("forget", "retain", "forget.path", "retain.path")]
    outputs = [
        boxes["layout"],
        *card.mapping.values(),
        *(boxes[f"{name}.{role}"] for name in SETS for role in ROLES),
    ]
    gr.on(given, named, set(values), outputs, trigger_mode="always_last", **QUIET)
    # What was found is stale once a value changes. The browser sees to it: a response of the server
    # could arrive after the response to the next check.
    edits = [c.input if isinstance(c, gr.Radio | gr.Dropdown) else c.change for c in values]
    shut = {"fn": None, "inputs": values, "outputs": [card.message, card.add, found.card]}
    gr.on(edits, **shut, js=STALE, **QUIET)
    asked = {found.masked, model, *values}
    outputs = [card.message, card.add, found.card, found.table]
    card.check.click(None, values, js=REMEMBER, **QUIET)
    pressed = card.check.click(checked, asked, outputs, js=BUSY, **QUIET)
    pressed.then(None, js=IDLE, **QUIET).then(None, js=SHOW, **QUIET)
    # Values typed while the files were read were not checked.
    pressed.then(**shut, js=STALE, **QUIET)
    found.masked.input(checked, asked, outputs, trigger_mode="always_last", **QUIET)
    outputs = [card.message, card.add, table, *unlearn.outputs]
    pressed = card.add.click(added, {*values, *unlearn.inputs}, outputs, js=BUSY, **QUIET)
    pressed.then(None, js=IDLE, **QUIET)
