"""What the tab Trace does and shows: functions of plain values."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.data.datasets import dataset
from unlearnlab.runs.progress import RunView, run_view, status_of
from unlearnlab.runs.records import TraceRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.facts import facts_of
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import KnownFact, TypedPrompt, parse_trace
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import pager
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.text import ago, duration, escape
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.live import known_to, queue, waiting
from unlearnlab.ui.trace.maps import CAUTION, trace_html
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import titles_of

SIZE = 10
"""Traces on one page of the list."""

FIELDS: Mapping[str, str] = {
    "about.id": "Fact",
    "about.prompt": "Prompt",
    "about.subject": "Subject",
    "about.answer": "Expected answer",
    "about.count": "Facts",
    "about.tasks": "Subtasks",
    "model.name": "Model",
    "window": "Window",
    "noise": "Noise",
    "copies": "Copies",
    "seed": "Seed",
}
"""Labels of the controls by the path of what they set."""


def field(path: str) -> str:
    """Return the id of a control on the page."""
    return element(f"trace.{path.removeprefix('about.')}")


def fact_choices(source: str, *, masked: bool) -> list[tuple[str, str]]:
    """List the facts of a dataset's train fold, by set and subtask."""
    titles = titles_of(dataset(source))
    ordered = sorted(
        (fact for fact in facts_of(source).values() if fact.fold == "train"),
        key=lambda fact: (fact.split, fact.task),
    )
    return [
        (
            f"{fact.split.capitalize()} · {titles.get(fact.task, fact.task)} · "
            f"{mask(fact.prompt) if masked else fact.prompt}",
            fact.id,
        )
        for fact in ordered
    ]


def press_trace(program: Program, asked: Mapping[str, Any]) -> tuple[str, Message]:
    """Queue a trace.

    Returns:
        Its id, empty if there is none; and what to tell.
    """
    try:
        spec = parse_trace(asked)
        state = program.worker.state()
        run_id = program.worker.submit(spec)
    except SpecError as error:
        problems = (_problem(where, what) for where, what in error.problems)
        return "", Message(tuple(problems))
    except (StoreError, NotRunning) as error:
        return "", trouble(error)
    ahead = state.would_wait(spec.model.device)
    return run_id, Message(note="Queued behind what is running." if ahead else "")


def _problem(where: str, what: str) -> Problem:
    known = FIELDS.get(where)
    return Problem(field(where) if known else "", known or where, what)


@dataclass(frozen=True, slots=True)
class TracePanel:
    """What the page shows of a trace, and of all traces."""

    live: dict[str, Any]
    """The trace, how it stands, and what the page is up to date with."""
    can_stop: bool
    found: str
    traces: str


def draw(program: Program, run_id: str, *, masked: bool, page: int = 0) -> TracePanel:
    """Draw the panel of a trace; an id that is not one stands for the newest.

    Raises:
        StoreError: The store cannot be read.
    """
    rows = program.store.traces()
    row = next((row for row in rows if row.run_id == run_id), rows[0] if rows else None)
    if row is None:
        return TracePanel({"trace": "", "turn": _turn(program, None, rows)}, False, _EMPTY, "")
    view, traced = _view(program, row), program.courses.of(row.run_id).traced
    return TracePanel(
        live={
            "trace": row.run_id,
            "turn": _turn(program, view, rows),
            "status": _status(program, row, view, masked),
            "masked": masked,
        },
        can_stop=view.can_stop,
        found=trace_html(row.spec, traced, masked=masked) if traced else "",
        traces=_listed(rows, row.run_id, page, masked),
    )


_EMPTY = (
    '<section class="card empty"><h2>Nothing has been traced yet</h2>'
    "<p>Choose a fact on the left and press <b>Trace</b>. Noise on the subject makes the model "
    "lose the answer; putting single states back shows which of them bring it home.</p>"
    f"<p>{escape(CAUTION)}</p></section>"
)


def _view(program: Program, row: TraceRecord) -> RunView:
    mine = known_to(program.worker.state(), row.run_id)
    course = program.courses.of(row.run_id)
    return run_view(course, alive=row.alive, mine=mine, now=time.time())


def _turn(program: Program, view: RunView | None, rows: Sequence[TraceRecord]) -> str:
    ended = sum(row.ending is not None for row in rows)
    return repr((view.status if view else "", len(rows), ended, program.worker.state()))


class Poll(BaseModel):
    """What a page asks: untrusted."""

    trace: Annotated[str, Field(max_length=100)] = ""
    masked: bool = False
    """Whether personal data are hidden."""


def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with how a trace stands."""
    try:
        request = Poll.model_validate(asked)
        rows = program.store.traces()
        state = queue(program.worker.state())
        row = next((row for row in rows if row.run_id == request.trace), None)
        if row is None:
            return {"trace": "", "turn": _turn(program, None, rows), "queue": state}
        view = _view(program, row)
        return {
            "trace": row.run_id,
            "turn": _turn(program, view, rows),
            "queue": state,
            "live": view.live,
            "status": _status(program, row, view, request.masked),
        }
    except ValidationError:
        return {"problem": "the page asked for something that is no trace: reload it"}
    except StoreError as error:
        return {"problem": str(error)}


def _status(program: Program, row: TraceRecord, view: RunView, masked: bool) -> dict[str, Any]:
    done = program.courses.of(row.run_id).progressed
    share = done.done / done.total if done and done.total else 0.0
    seconds = f"took {duration(view.seconds)}" if view.seconds else ""
    blocked = waiting(program.worker.state(), row.run_id) if view.status == "queued" else ""
    return {
        "status": view.status,
        "title": mask(row.spec.title) if masked else row.spec.title,
        "headline": mask(view.headline) if masked else view.headline,
        "detail": blocked or view.detail,
        "share": 1.0 if view.status == "finished" else share,
        "facts": seconds,
        "advice": mask(view.advice) if masked else view.advice,
    }


def _listed(rows: Sequence[TraceRecord], shown: str, page: int, masked: bool) -> str:
    last = max(0, (len(rows) - 1) // SIZE)
    page = min(max(0, page), last)
    some = rows[page * SIZE : (page + 1) * SIZE]
    lines = "".join(_line(row, shown, masked) for row in some)
    pages = pager(page, last, page * SIZE, len(rows), SIZE) if last else ""
    return f'<ul class="runs">{lines}</ul>{pages}'


def _line(row: TraceRecord, shown: str, masked: bool) -> str:
    here = ' class="here" aria-current="true"' if row.run_id == shown else ""
    status = status_of(began=row.began, alive=row.alive, ending=row.ending)
    title = mask(row.spec.title) if masked else row.spec.title
    about = row.spec.about
    kind = "a fact" if isinstance(about, KnownFact) else "average"
    kind = "own prompt" if isinstance(about, TypedPrompt) else kind
    took = f" · {duration(row.ending.seconds)}" if row.ending and row.ending.seconds else ""
    return (
        f'<li{here}><div class="run-row"><button type="button" class="open" '
        f'data-open="{escape(row.run_id)}">{escape(title)}</button>'
        f'<span class="pill" data-status="{status}">{status}</span></div>'
        f'<div class="run-row"><small>{kind} · {ago(row.created, time.time())}{took}'
        "</small></div></li>"
    )
