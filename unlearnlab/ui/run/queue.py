"""The card of the queue: active runs, waiting runs, and runs left by an earlier program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.records import PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.live import waiting

RELOAD = Message(note="The page asked for something that is not in the queue: reload it.")

STATUS = {False: "running", True: "paused"}

LISTED = 20
"""Most waiting runs to list; a sweep can have hundreds."""


class QueueRequest(BaseModel):
    """A click in the queue: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    to: int = 0
    """The run's new place, 0-based."""


def press_move(program: Program, asked: Any) -> Message:
    """Move a waiting run to another place in the queue."""
    try:
        request = QueueRequest.model_validate(asked)
        program.worker.move(request.run, request.to)
    except ValidationError:
        return RELOAD
    except NotRunning:  # It has begun since the page was drawn.
        return Message(note="It has begun: it can be stopped, not moved.")
    return Message()


def press_cancel(program: Program, asked: Any) -> Message:
    """Remove a run from the queue. A run that has begun since the page was drawn continues."""
    try:
        run_id = QueueRequest.model_validate(asked).run
        if program.worker.state().job(run_id):
            return Message(note="It has begun: open it to stop it.")
        program.worker.stop(run_id)
    except ValidationError:
        return RELOAD
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_take_up(program: Program, _asked: Any = None) -> Message:
    """Queue the runs that an earlier program left waiting, oldest first."""
    try:
        program.worker.adopt([row.run_id for row in left_waiting(program.store.runs())])
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_dismiss(program: Program, _asked: Any = None) -> Message:
    """Mark the runs that an earlier program left waiting as stopped."""
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
"""Handler of each event of the list."""


def left_waiting(rows: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that were waiting when their program ended, oldest first."""
    left = [row for row in rows if not (row.alive or row.began or row.ending)]
    return sorted(left, key=lambda row: row.run_id)


def queue_html(program: Program, state: WorkerState, rows: Sequence[RunRecord]) -> str:
    """Draw the queue; nothing while nothing waits and at most one run is active.

    Args:
        program: Its store knows traces and previews as well.
        state: Active and waiting items.
        rows: All runs.

    Raises:
        StoreError: The store cannot be read.
    """
    known = {row.run_id: row for row in rows}

    def view(run_id: str, **more: str) -> dict[str, Any]:
        row = known.get(run_id) or program.store.job(run_id)
        is_run = isinstance(row, RunRecord)
        shown = {"run": run_id, "title": _title(row), "device": row.spec.model.device}
        return {**shown, "is_run": is_run, **more}

    busy, shown = bool(state.queue or len(state.running) > 1), state.queue[:LISTED]
    # Runs that wait for the same process say so once.
    blocked = [waiting(state, run_id) for run_id in shown]
    notes = [note * (note not in blocked[:at]) for at, note in enumerate(blocked)]
    return render(
        "run/queue.html",
        busy=busy,
        running=[view(one.run_id, status=STATUS[one.paused]) for one in state.running if busy],
        waiting=[view(run_id, note=note) for run_id, note in zip(shown, notes, strict=True)],
        hidden=len(state.queue) - len(shown),
        left=len(left_waiting(rows)),
    )


def _title(row: RunRecord | TraceRecord | PreviewRecord) -> str:
    if isinstance(row, RunRecord):
        return row.name or row.spec.title
    return "A trace" if isinstance(row, TraceRecord) else f"Answers to {len(row.spec.rows)} rows"
