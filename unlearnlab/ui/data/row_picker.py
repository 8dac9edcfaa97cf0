"""Picking forget rows of a dataset: search, ticks, and previews of the model's answers.

The page holds the ticks, the server the rows; requests carry the one, responses the other.
Functions of plain values.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.data.datasets import DatasetInfo, Row
from unlearnlab.models import catalog as catalogue
from unlearnlab.runs.progress import run_view
from unlearnlab.runs.records import PreviewRecord, RunRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import LoRA, ModelSpec, SpecError
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import escape, pager
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.live import known_to
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


def ticks_of(form: Form, held: Any) -> Ticks:
    """Return the page's ticks, or ticks from the form if its rows have changed since."""
    values, ids = form.values, form.picked
    of = repr((values["data.source"], values["data.fold"], ids and hash(tuple(ids))))
    try:
        ticks = Ticks.model_validate(held)
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
    """Return the picker's value: one page of matching rows, and the ticks.

    Raises:
        StoreError: The store cannot be read.
    """
    rows = rows_of(form)
    found = [row for row in rows if search.finds(row)]
    last = max(0, (len(found) - 1) // PAGE)
    page = min(max(0, ticks.page), last)
    some = found[page * PAGE : (page + 1) * PAGE]
    titles = titles_of(form.dataset)
    lines = [(row, titles.get(row.task, row.task)) for row in some]
    pages = pager(page, last, page * PAGE, len(found), PAGE) if last else ""
    table = _table(lines, said(program, form, some), search.masked) if some else _NONE
    return ticks.model_dump() | {
        "page": page,
        "total": len(rows),
        "found": len(found),
        "shown": [row.id for row in some],
        "html": f"{table}{pages}",
    }


_NONE = '<p class="none">No forget row matches these filters.</p>'


def _table(lines: Sequence[tuple[Row, str]], answers: Mapping[str, str], masked: bool) -> str:
    heads = ("Forget", "Prompt", "Expected", "The model says now")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(_line(row, title, answers.get(row.id), masked) for row, title in lines)
    return (
        f'<table class="answers rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _line(row: Row, title: str, answer: str | None, masked: bool) -> str:
    prompt = _text(row.input, masked)
    tag = f'<span class="tag">{escape(title)} · {KINDS[row.kind]}</span>'
    label = escape(mask(row.input) if masked else row.input)
    return (
        f'<tr><td><input type=\'checkbox\' data-id="{escape(row.id)}" aria-label="{label}"></td>'
        f"<td data-label='Prompt'>{prompt}<div>{tag}</div></td>"
        f"<td data-label='Expected'>{_text(row.output, masked)}</td>"
        f"<td data-label='The model says now'>{_said(row, answer, masked)}</td></tr>"
    )


def _text(text: str, masked: bool) -> str:
    return f'<div class="text">{escape(mask(text) if masked else text)}</div>'


def _said(row: Row, answer: str | None, masked: bool) -> str:
    if answer is None:
        return '<span class="none">not asked</span>'
    if not answer.strip():
        return '<span class="none">(empty)</span>'
    spans = "".join(
        f"<mark>{text}</mark>" if span.recited else text
        for span in marked(row.output, answer.strip())
        for text in (escape(mask(span.text) if masked else span.text),)
    )
    return f'<div class="text">{spans}</div>'


# ---- what the model says ----


def said(program: Program, form: Form, rows: Collection[Row]) -> Mapping[str, str]:
    """Return the model's known answers by row id, from previews and from scores before runs.

    Raises:
        StoreError: The store cannot be read.
    """
    known, fold = form.dataset, form.fold
    asked = model_of(form)
    if known.unknown_reason or asked is None or not rows:
        return {}
    wanted = {row.id: row for row in rows}
    answers: dict[str, str] = {}
    for preview in _previews(program, asked, known, form):
        heard = program.courses.of(preview.run_id).previewed
        for row_id, text in (heard.answers if heard else {}).items():
            if row_id in wanted:
                answers.setdefault(row_id, text)
    for run in program.store.runs():
        if _asks_the_same(run, asked, known, fold):
            return _scored(program, run, wanted) | answers
    return answers


def _scored(program: Program, run: RunRecord, wanted: Mapping[str, Row]) -> dict[str, str]:
    before = program.courses.of(run.run_id).before
    evidence = program.evidence(before.key) if before else None
    return {
        answer.row: answer.generated
        for answer in (evidence.answers if evidence else ())
        if answer.row in wanted and answer.prompt == wanted[answer.row].input
    }


def _asks_the_same(run: RunRecord, asked: ModelSpec, known: DatasetInfo, fold: str) -> bool:
    spec = run.spec
    return (
        run.before is not None
        and (spec.model.name, spec.model.precision) == (asked.name, asked.precision)
        and (spec.data.source, spec.data.fold) == (known.name, fold)
        and run.created >= _changed(asked, known)
    )


def _previews(
    program: Program, asked: ModelSpec, known: DatasetInfo, form: Form
) -> list[PreviewRecord]:
    """List previews of this model on this dataset since either was last changed."""
    about = (asked.name, asked.precision, known.name, form.fold)
    since = _changed(asked, known)
    return [
        row
        for row in program.store.previews()
        if _about(row.spec) == about and row.created >= since
    ]


def _about(spec: PreviewSpec) -> tuple[str, ...]:
    return spec.model.name, spec.model.precision, spec.source, spec.fold


def _changed(asked: ModelSpec, known: DatasetInfo) -> float:
    """Return when the saved model or the added dataset was last written, in Unix seconds."""
    place = catalogue.model(asked.name).place
    files = (place and place / "config.json", known.folder / "manifest.json")
    return max((file.stat().st_mtime for file in files if file and file.is_file()), default=0.0)


def model_of(form: Form) -> ModelSpec | None:
    """Return the form's model, untrained; None if it is invalid."""
    values = form.values
    wanted = ("name", "precision", "device")
    plain = {name: values[f"model.{name}"] for name in wanted}
    for adapter in (None, LoRA()):  # Quantized weights are invalid without one.
        try:
            return ModelSpec.model_validate(plain | {"adapter": adapter})
        except ValidationError:
            continue
    return None


def press_preview(program: Program, form: Form, shown: Any) -> Message:
    """Queue a preview of the model's answers to the rows shown."""
    asked, known = model_of(form), form.dataset
    if asked is None:
        return Message((Problem("", "", "this model is invalid: see the form"),))
    if problem := known.unknown_reason or asked.known.unavailable_reason:
        return Message((Problem("", "", problem),))
    ids = [row.id for row in rows_of(form) if isinstance(shown, list) and row.id in set(shown)]
    if not ids:
        return Message((Problem("", "", "no row is shown: change the filters"),))
    try:
        state = program.worker.state()
        spec = PreviewSpec(model=asked, source=known.name, fold=form.fold, rows=tuple(ids))
        program.worker.submit(spec)
    except (SpecError, StoreError, NotRunning) as error:
        return trouble(error)
    ahead = state.would_wait(asked.device)
    return Message(note="Queued: the model is asked when the current run ends." if ahead else "")


def pending(program: Program, form: Form) -> dict[str, Any]:
    """Return the newest preview of the form's model, if it is active, for the page to watch.

    Raises:
        StoreError: The store cannot be read.
    """
    asked, known = model_of(form), form.dataset
    found = [] if asked is None or known.unknown_reason else _previews(program, asked, known, form)
    going = found and found[0].alive and found[0].ending is None
    return {"preview": found[0].run_id if going else ""}


class Poll(BaseModel):
    """Request of a page: untrusted."""

    preview: Annotated[str, Field(max_length=100)]


def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Return the status of a preview."""
    try:
        request = Poll.model_validate(asked)
        row = program.store.job(request.preview)
        course = program.courses.of(row.run_id)
        mine = known_to(program.worker.state(), row.run_id)
    except ValidationError:
        return {"problem": "no such preview: reload the page"}
    except StoreError as error:
        return {"problem": str(error)}
    view = run_view(course, alive=row.alive, mine=mine, now=time.time())
    failed = view.status in ("failed", "interrupted")
    detail = f": {view.detail}" if view.live and view.detail else ""
    return {
        "live": view.live,
        "failed": failed,
        "told": f"{view.headline}{detail}" if view.live or failed else "",
    }


def press_stop(program: Program, asked: Any) -> dict[str, Any]:
    """Stop a preview or remove it from the queue; an ended one stays as it is."""
    try:
        program.worker.stop(Poll.model_validate(asked).preview)
    except ValidationError:
        return {"problem": "no such preview: reload the page"}
    except (StoreError, NotRunning) as error:
        return {"problem": str(error)}
    return {}


PICKER = element("data.picker")
"""Element id of the picker."""
