"""The card that picks forget rows of the form's dataset: search, ticks, the model's answers.

The page holds the ticks, the server the rows; requests carry the one, responses the other.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.data.datasets import MANIFEST, Row
from unlearnlab.models import catalog
from unlearnlab.runs.progress import run_view
from unlearnlab.runs.records import PreviewRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, PreviewSpec, SpecError
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import TEMPLATE, Form, forget_all, tasks_in, use_rows
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.html import escape, render, script
from unlearnlab.ui.kit.listeners import NUMBERED, QUIET, answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box
from unlearnlab.ui.run.live import known_to
from unlearnlab.ui.run.tab import store_errors_as_gr_error
from unlearnlab.views.answers import PAGE, marked, mask
from unlearnlab.views.scoreboard import KINDS, titles_of


class Ticks(BaseModel):
    """Rows ticked on the page: untrusted."""

    of: str = ""
    """Key of dataset, fold and form rows; with another key, ticks start from the form's rows."""
    inverted: bool = True
    """Whether `ids` are the unticked rows instead of the ticked ones."""
    ids: list[Annotated[str, Field(max_length=1000)]] = []
    page: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """Filters of the rows."""

    text: str = ""
    task: str = ""
    """Empty for all."""
    kind: str = ""
    """Empty for both."""
    masked: bool = True

    def finds(self, row: Row) -> bool:
        """Tell whether a row matches."""
        if self.task not in ("", row.task) or self.kind not in ("", row.kind):
            return False
        searched = f"{row.id} {row.input} {row.output}".lower()
        return all(word in searched for word in self.text.lower().split())


def rows_of(form: Form) -> tuple[Row, ...]:
    """Return all forget rows of the form's dataset and fold."""
    return form.dataset.rows("forget", form.fold)


def ticks_of(form: Form, value: Any) -> Ticks:
    """Return the page's ticks, or ticks from the form if its rows have changed since."""
    values, ids = form.values, form.picked
    of = repr((values["data.source"], values["data.fold"], ids and hash(tuple(ids))))
    try:
        ticks = Ticks.model_validate(value)
    except ValidationError:
        ticks = Ticks()
    if ticks.of == of:
        return ticks
    return Ticks(of=of, inverted=ids is None, ids=ids or [])


def ticked_ids(form: Form, ticks: Ticks) -> list[str] | None:
    """Return the ids of the ticked rows, in the dataset's order; None if all are ticked."""
    named = set(ticks.ids)
    ids = [row.id for row in rows_of(form) if (row.id in named) != ticks.inverted]
    return None if len(ids) == len(rows_of(form)) else ids


def tick_found(form: Form, ticks: Ticks, search: Search, *, on: bool) -> Ticks:
    """Tick or untick all rows that match; the others stay."""
    rows = rows_of(form)
    found = {row.id for row in rows if search.finds(row)}
    if len(found) == len(rows):
        return ticks.model_copy(update={"inverted": on, "ids": []})
    named = set(ticks.ids) & {row.id for row in rows}
    named = named | found if on != ticks.inverted else named - found
    if len(named) == len(rows):
        return ticks.model_copy(update={"inverted": not ticks.inverted, "ids": []})
    return ticks.model_copy(update={"ids": sorted(named)})


def picker(program: Program, form: Form, ticks: Ticks, search: Search) -> dict[str, Any]:
    """Return the picker's value: a page of matching rows, the ticks, and what the page polls.

    Raises:
        StoreError: The store cannot be read.
    """
    rows = rows_of(form)
    found = [row for row in rows if search.finds(row)]
    page = min(max(0, ticks.page), max(0, (len(found) - 1) // PAGE))
    some = found[page * PAGE : (page + 1) * PAGE]
    answers = known_answers(program, form, some)
    said = [(row, answers.get(row.id)) for row in some]
    titles = titles_of(form.dataset)
    active = [one for one in _previews(program, form)[:1] if one.alive and one.ending is None]
    return ticks.model_dump() | {
        "page": page,
        "total": len(rows),
        "found": len(found),
        "shown": [row.id for row in some],
        "preview": active[0].run_id if active else "",
        "html": rows_html(said, titles, page, len(found), masked=search.masked),
    }


def rows_html(
    rows: Sequence[tuple[Row, str | None]],
    titles: Mapping[str, str],
    page: int,
    total: int,
    *,
    masked: bool,
) -> str:
    """Render one page of rows, each with the model's answer if it is known. HTML."""
    lines = [
        (
            row,
            f"{titles.get(row.task, row.task)} · {KINDS[row.kind]}",
            None if answer is None else marked(row.output, answer.strip()),
        )
        for row, answer in rows
    ]
    return render(
        "data/picker_card.html",
        rows=lines,
        hide=mask if masked else str,
        page=page,
        last=max(0, (total - 1) // PAGE),
        first=page * PAGE,
        total=total,
        size=PAGE,
    )


# What the model says


def model_of(form: Form) -> ModelSpec | None:
    """Return the form's model, untrained; None if it is invalid."""
    values = form.values
    plain = {name: values[f"model.{name}"] for name in ("name", "precision", "device")}
    for adapter in (None, LoRA()):  # Quantized weights are invalid without one.
        try:
            return ModelSpec.model_validate(plain | {"adapter": adapter})
        except ValidationError:
            continue
    return None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What answers are of: a model and a dataset."""

    about: tuple[str, str, str, str]
    """Model, precision, dataset and fold."""
    templates: frozenset[str]
    """Settings of the template that mean the same with this model."""
    since: float
    """The last write of the saved model and of the added dataset, in Unix seconds."""

    def is_of(self, model: ModelSpec, of: PreviewSpec | DataSpec, created: float) -> bool:
        """Tell whether a preview or a run asked the same."""
        return (
            created >= self.since
            and (model.name, model.precision, of.source, of.fold) == self.about
            and of.chat_template in self.templates
        )


def _subject(form: Form) -> _Subject | None:
    """Return what the form's answers are of; None with an invalid model or an unknown dataset."""
    model, known = model_of(form), form.dataset
    if model is None or known.unknown_reason:
        return None
    saved = catalog.model(model.name)
    files = (saved.place and saved.place / "config.json", known.folder / MANIFEST)
    since = max((file.stat().st_mtime for file in files if file and file.is_file()), default=0.0)
    auto = "on" if saved.chat_template else "off"
    template = str(form.values[TEMPLATE])
    same = {"auto", auto} if template in ("auto", auto) else {template}
    return _Subject((model.name, model.precision, known.name, form.fold), frozenset(same), since)


def _previews(program: Program, form: Form) -> list[PreviewRecord]:
    """List previews of the form's model on its dataset, the newest first."""
    if (subject := _subject(form)) is None:
        return []
    return [
        row
        for row in program.store.previews()
        if subject.is_of(row.spec.model, row.spec, row.created)
    ]


def known_answers(program: Program, form: Form, rows: Collection[Row]) -> Mapping[str, str]:
    """Return the model's known answers by row id, from previews and from scores before runs.

    Raises:
        StoreError: The store cannot be read.
    """
    if (subject := _subject(form)) is None or not rows:
        return {}
    wanted = {row.id: row for row in rows}
    answers: dict[str, str] = {}
    for preview in _previews(program, form):
        previewed = program.runs.progress(preview.run_id).previewed
        for row_id, text in (previewed.answers if previewed else {}).items():
            if row_id in wanted:
                answers.setdefault(row_id, text)
    for run in program.store.runs():
        if run.before is None or not subject.is_of(run.spec.model, run.spec.data, run.created):
            continue
        before = program.runs.progress(run.run_id).before
        evidence = program.evidence(before.key) if before else None
        scored = {
            answer.row: answer.generated
            for answer in (evidence.answers if evidence else ())
            if answer.row in wanted and answer.prompt == wanted[answer.row].input
        }
        return scored | answers
    return answers


def press_preview(program: Program, form: Form, shown: Any) -> Notice:
    """Queue a preview of the model's answers to the rows shown."""
    model, known = model_of(form), form.dataset
    if model is None:
        return error_notice("this model is invalid: see the form")
    if problem := known.unknown_reason or model.known.unavailable_reason:
        return error_notice(problem)
    ids = [row.id for row in rows_of(form) if isinstance(shown, list) and row.id in set(shown)]
    if not ids:
        return error_notice("no row is shown: change the filters")
    try:
        state = program.worker.state()
        spec = PreviewSpec(
            model=model,
            source=known.name,
            fold=form.fold,
            rows=tuple(ids),
            chat_template=form.values[TEMPLATE],
        )
        program.worker.submit(spec)
    except (SpecError, StoreError, NotRunning) as error:
        return error_notice(error)
    ahead = state.would_wait(model.device)
    return Notice(note="Queued: the model is asked when the current run ends." if ahead else "")


class PreviewRequest(BaseModel):
    """Request of a page: untrusted."""

    preview: Annotated[str, Field(max_length=100)]


_MALFORMED = "no such preview: reload the page"


@answering(_MALFORMED)
def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Return the status of a preview."""
    row = program.store.job(PreviewRequest.model_validate(asked).preview)
    mine = known_to(program.worker.state(), row.run_id)
    progress = program.runs.progress(row.run_id)
    view = run_view(progress, alive=row.alive, mine=mine, now=time.time())
    failed = view.status in ("failed", "interrupted")
    detail = f": {view.detail}" if view.live and view.detail else ""
    return {
        "live": view.live,
        "failed": failed,
        "told": f"{view.headline}{detail}" if view.live or failed else "",
    }


@answering(_MALFORMED, NotRunning)
def press_stop(program: Program, asked: Any) -> dict[str, Any]:
    """Stop a preview or remove it from the queue; an ended one stays as it is."""
    program.worker.stop(PreviewRequest.model_validate(asked).preview)
    return {}


# Layout and events

ANY_TASK, ANY_KIND = ("all subtasks", ""), ("recite and answer", "")

_ROWS = """
<div class="watching"><p class="watch" role="status" hidden></p>
  <button type="button" class="quiet" hidden>Stop asking</button></div>
<p class="picker-count" role="status"></p><div class="picker-rows"></div>
"""


@dataclass(frozen=True)
class PickerState:
    """What the page holds when a handler is called."""

    form: Form
    value: dict[str, Any]
    """Value of the picker, unchecked."""
    search: Search

    @property
    def ticks(self) -> Ticks:
        """The page's ticks."""
        return ticks_of(self.form, self.value)

    def changed(self, changes: dict[str, Any]) -> "PickerState":
        """Change fields of the picker's value."""
        return replace(self, value=self.value | changes)


@dataclass(frozen=True)
class PickerCard:
    """Controls of the card, and the form that receives the rows."""

    unlearn: FormParts
    head: gr.HTML
    text: gr.Textbox
    task: gr.Dropdown
    kind: gr.Dropdown
    masked: gr.Checkbox
    rows: gr.HTML
    tick: gr.Button
    untick: gr.Button
    ask: gr.Button
    rest: gr.Radio
    use: gr.Button
    message: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """Inputs of every handler; `NUMBERED` numbers the first."""
        return [self.rows, self.text, self.task, self.kind, self.masked, *self.unlearn.inputs]

    @property
    def outputs(self) -> list[Any]:
        """Outputs of `picker_updates`."""
        return [self.head, self.task, self.masked, self.rows]

    def state(self, values: tuple[Any, ...]) -> PickerState:
        """Gather the values of `inputs`."""
        held = dict(zip(self.inputs, values, strict=True))
        text, task, kind = (str(held[box] or "") for box in (self.text, self.task, self.kind))
        value = held[self.rows]
        return PickerState(
            self.unlearn.collect(held),
            value if isinstance(value, dict) else {},
            Search(text, task, kind, bool(held[self.masked])),
        )


def draw_picker(program: Program, unlearn: FormParts) -> PickerCard:
    """Lay out the card."""

    def poll_preview(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def stop_preview(asked: Any) -> dict[str, Any]:
        return press_stop(program, asked)

    head = gr.HTML(_head(forms.first_form()), apply_default_css=False)
    with gr.Row(elem_classes=["filters"]):
        text = gr.Textbox(label="Search rows", placeholder="search", max_lines=1)
        task = gr.Dropdown([ANY_TASK], value="", label="Subtask", filterable=False)
        kinds = [ANY_KIND, *((words, kind) for kind, words in KINDS.items())]
        kind = gr.Dropdown(kinds, value="", label="Type", filterable=False)
        masked = gr.Checkbox(False, label="Mask personal data", elem_classes=["mask"])
    with gr.Row(elem_classes=["tools"]):
        tick = gr.Button("Tick all found", size="sm", min_width=60, elem_id="tick-found")
        untick = gr.Button("Untick", size="sm", min_width=60, elem_id="untick-found")
        ask = gr.Button("What does the model say?", size="sm", min_width=60, elem_id="preview")
    rows = gr.HTML(
        {},
        html_template=_ROWS,
        js_on_load=script("kit/poll.js", "data/picker_card.js"),
        server_functions=[poll_preview, stop_preview],
        elem_id="picker",
        apply_default_css=False,
    )
    with gr.Row(elem_classes=["use-rows"]):
        rest = gr.Radio(
            [("leave the rest", "leave"), ("move it to retain", "retain")],
            value="leave",
            label="The rest of the forget set",
            elem_id="picker-rest",
            elem_classes=["pills"],
        )
        use = gr.Button("Use these rows", variant="primary", elem_id="use-rows", min_width=120)
    note = notice_box("picker-message")
    filters = (head, text, task, kind, masked)
    return PickerCard(unlearn, *filters, rows, tick, untick, ask, rest, use, note)


def _head(form: Form) -> str:
    known = form.dataset
    fold = f", {form.fold} fold" if len(known.folds) > 1 else ""
    return (
        '<div class="card-head"><h2>Rows to forget</h2>'
        f"<span>{escape(known.title)}{fold}</span></div>"
    )


def picker_updates(
    program: Program, card: PickerCard, state: PickerState, *, ticked: bool = False
) -> dict[Any, Any]:
    """Redraw the rows: updates for components of `PickerCard.outputs`.

    The page keeps its own ticks unless `ticked` says that the server changed them.
    """
    form, search, known = state.form, state.search, state.form.dataset
    another = state.value.get("source") != known.name
    if another:
        search = replace(search, task="", masked=known.personal)
    with store_errors_as_gr_error():
        value = picker(program, form, state.ticks, search)
    value |= {"source": known.name, "asked": state.value.get("asked"), "ticked": ticked}
    titles = titles_of(known)
    tasks = [(titles.get(task, task), task) for task in tasks_in(known, form.fold)]
    choices = gr.update(choices=[ANY_TASK, *tasks], visible=len(tasks) > 1)
    updates = {card.head: _head(form), card.task: choices, card.rows: value}
    if another:
        updates |= {card.task: choices | {"value": search.task}, card.masked: search.masked}
    return updates


def wire_picker(program: Program, tabs: gr.Tabs, card: PickerCard) -> None:
    """Wire the card."""

    def redraws(
        change: Callable[[PickerState], PickerState] = lambda state: state, *, ticked: bool = False
    ) -> dict[str, Any]:
        def redrawn(*values: Any) -> dict[Any, Any]:
            return picker_updates(program, card, change(card.state(values)), ticked=ticked)

        request = {"fn": redrawn, "inputs": card.inputs, "outputs": card.outputs, "js": NUMBERED}
        return request | QUIET

    def first_page(state: PickerState) -> PickerState:
        return state.changed({"page": 0})

    def ticks(on: bool) -> Callable[[PickerState], PickerState]:
        return lambda state: state.changed(
            tick_found(state.form, state.ticks, state.search, on=on).model_dump()
        )

    def asked(*values: Any) -> dict[Any, Any]:
        state = card.state(values)
        answer = press_preview(program, state.form, state.value.get("shown"))
        return {card.message: answer.plain} | picker_updates(program, card, state)

    def used(rest: str, *values: Any) -> dict[Any, Any]:
        state = card.state(values)
        ids = ticked_ids(state.form, state.ticks)
        try:
            form = forget_all(state.form) if ids is None else use_rows(state.form, ids, rest)
        except ValueError as error:
            return {card.message: error_notice(error).plain}
        shown = form_layout.changes(program, card.unlearn, form)
        return {card.message: Notice().plain, tabs: gr.Tabs(selected="unlearn")} | shown

    filters = [card.text.change, card.task.input, card.kind.input]
    gr.on(filters, **redraws(first_page), trigger_mode="always_last")
    for again in (card.masked.input, card.rows.turn_page):
        again(**redraws(), trigger_mode="multiple")
    card.tick.click(**redraws(ticks(True), ticked=True))
    card.untick.click(**redraws(ticks(False), ticked=True))
    card.ask.click(asked, card.inputs, [card.message, *card.outputs], js=NUMBERED, **QUIET)
    outputs = [card.message, tabs, *card.unlearn.outputs]
    card.use.click(used, [card.rest, *card.inputs], outputs, **QUIET)
