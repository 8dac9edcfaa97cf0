"""The queue: what goes on, what waits, in which order, and what an earlier program left waiting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.records import PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.text import escape
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.live import waiting

RELOAD = Message(note="The page asked for something that is not in the queue: reload it.")

LISTED = 20
"""Waiting runs that are listed; a sweep can have hundreds."""


class Wish(BaseModel):
    """What a click in the queue asks for: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    to: int = 0
    """The run's new place, 0-based."""


def press_move(program: Program, asked: Any) -> Message:
    """Give a waiting run another place."""
    try:
        wish = Wish.model_validate(asked)
        program.worker.move(wish.run, wish.to)
    except ValidationError:
        return RELOAD
    except NotRunning:  # It has begun since the page was drawn.
        return Message(note="It has begun: it can be stopped, not moved.")
    return Message()


def press_cancel(program: Program, asked: Any) -> Message:
    """Take a run from the queue. One that has begun since the page was drawn goes on."""
    try:
        run_id = Wish.model_validate(asked).run
        if program.worker.state().job(run_id):
            return Message(note="It has begun: open it to stop it.")
        program.worker.stop(run_id)
    except ValidationError:
        return RELOAD
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_take_up(program: Program, _asked: Any = None) -> Message:
    """Queue the runs that an earlier program left waiting, in the order they came."""
    try:
        program.worker.adopt([row.run_id for row in left_waiting(program.store.runs())])
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_dismiss(program: Program, _asked: Any = None) -> Message:
    """Let the runs that an earlier program left waiting be: they count as stopped."""
    try:
        for row in left_waiting(program.store.runs()):
            program.worker.stop(row.run_id)
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


PRESSES: Mapping[str, Callable[[Program, Any], Message]] = {
    "move": press_move,
    "cancel": press_cancel,
    "take_up": press_take_up,
    "dismiss": press_dismiss,
}
"""What each event of the list's buttons does."""


def left_waiting(rows: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that waited when their program ended, the oldest first."""
    left = [row for row in rows if not (row.alive or row.began or row.ending)]
    return sorted(left, key=lambda row: row.run_id)


def queue_html(program: Program, state: WorkerState, rows: Sequence[RunRecord]) -> str:
    """Draw the queue; nothing while nothing waits and at most one run goes on.

    Args:
        program: Its store knows traces and previews as well.
        state: What goes on and what waits.
        rows: All runs.

    Raises:
        StoreError: The store cannot be read.
    """
    left = _left(left_waiting(rows))
    if not state.queue and len(state.running) < 2:
        return f'<section class="card queue">{left}</section>' if left else ""
    known = {row.run_id: row for row in rows}

    def job(run_id: str) -> RunRecord | TraceRecord | PreviewRecord:
        return known.get(run_id) or program.store.job(run_id)

    going = "".join(_going(job(one.run_id), paused=one.paused) for one in state.running)
    last, shown = len(state.queue) - 1, state.queue[:LISTED]
    # What waits for the same process says so once.
    blocked = [waiting(state, run_id) for run_id in shown]
    notes = [note * (note not in blocked[:at]) for at, note in enumerate(blocked)]
    lines = "".join(_waiting(job(run_id), at, last, notes[at]) for at, run_id in enumerate(shown))
    hidden = len(state.queue) - len(shown)
    more = f'<p class="none">and {hidden} more behind them</p>' if hidden else ""
    return (
        f'<section class="card queue"><h2>Queue</h2><ul class="runs">{going}</ul>'
        f'<ol class="runs waiting">{lines}</ol>{more}{left}</section>'
    )


def _going(row: RunRecord | TraceRecord | PreviewRecord, *, paused: bool) -> str:
    status = "paused" if paused else "running"
    title = escape(_title(row))
    if isinstance(row, RunRecord):
        run = escape(row.run_id)
        title = f'<button type="button" class="open" data-event="open" data-run="{run}">{title}'
        title += "</button>"
    return (
        f'<li><div class="run-row"><span>{title}{_device(row)}</span>'
        f'<span class="pill" data-status="{status}">{status}</span></div></li>'
    )


def _waiting(row: RunRecord | TraceRecord | PreviewRecord, at: int, last: int, note: str) -> str:
    """Draw a line of the queue; `note` is plain text and may be empty."""
    title = escape(_title(row))
    tools = (
        _button(row.run_id, "move", "↑", f"Move {title} up", to=at - 1, off=at == 0),
        _button(row.run_id, "move", "↓", f"Move {title} down", to=at + 1, off=at == last),
        _button(row.run_id, "cancel", "✕", f"Take {title} from the queue"),
    )
    return (
        f'<li><div class="run-row"><span><span class="place">{at + 1}</span>{title}{_device(row)}'
        f'</span><span class="queue-tools">{"".join(tools)}</span></div>'
        f"{_small(note)}</li>"
    )


def _small(note: str) -> str:
    return f'<div class="run-row"><small>{escape(note)}</small></div>' if note else ""


def _button(
    run_id: str, event: str, sign: str, label: str, *, to: int | None = None, off: bool = False
) -> str:
    """Draw a button whose `label` is escaped already."""
    place = "" if to is None else f' data-to="{to}"'
    return (
        f'<button type="button" class="quiet" data-event="{event}" data-run="{escape(run_id)}"'
        f'{place} aria-label="{label}" title="{label}"{" disabled" if off else ""}>{sign}</button>'
    )


def _title(row: RunRecord | TraceRecord | PreviewRecord) -> str:
    if isinstance(row, RunRecord):
        return row.name or row.spec.title
    return "A trace" if isinstance(row, TraceRecord) else f"Answers to {len(row.spec.rows)} rows"


def _device(row: RunRecord | TraceRecord | PreviewRecord) -> str:
    device = row.spec.model.device
    return "" if device == "auto" else f' <span class="tag">{escape(device)}</span>'


def _left(rows: Sequence[RunRecord]) -> str:
    if not rows:
        return ""
    one = len(rows) == 1
    runs = "1 run was" if one else f"{len(rows)} runs were"
    return (
        f'<div class="left-waiting"><p>{runs} still waiting when the program ended last.</p>'
        '<button type="button" class="quiet" data-event="take_up">'
        f"queue {'it' if one else 'them'} again</button> "
        '<button type="button" class="quiet" data-event="dismiss">dismiss</button></div>'
    )
