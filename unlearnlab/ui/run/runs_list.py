"""The lists of runs: the queue, and all past runs."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.records import DamagedRecord, PreviewRecord, RunRecord, TraceRecord
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.kit.html import ago, render
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, refusal_as_notice
from unlearnlab.ui.run.live import holding, waiting_text
from unlearnlab.views.runs import RunSummary, matches, run_summary

SIZE = 10
"""Runs on one page of the list."""

LISTED = 20
"""Most waiting runs to list, a sweep can have hundreds, and most that cannot be read."""

RELOAD = Notice(note="The page asked for something that is not in the queue: reload it.")


class QueueRequest(BaseModel):
    """A click in the queue: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    to: int = 0
    """The run's new place, 0-based."""


def press_move(program: Program, asked: Any) -> Notice:
    """Move a waiting run to another place in the queue."""
    try:
        request = QueueRequest.model_validate(asked)
        program.worker.move(request.run, request.to)
    except ValidationError:
        return RELOAD
    except NotRunning:  # It has begun since the page was drawn.
        return Notice(note="It has begun: it can be stopped, not moved.")
    return Notice()


@refusal_as_notice
def press_cancel(program: Program, asked: Any) -> Notice:
    """Remove a run from the queue. A run that has begun since the page was drawn continues."""
    try:
        run_id = QueueRequest.model_validate(asked).run
    except ValidationError:
        return RELOAD
    if program.worker.state().job(run_id):
        return Notice(note="It has begun: open it to stop it.")
    program.worker.stop(run_id)
    return Notice()


@refusal_as_notice
def press_take_up(program: Program, _asked: Any = None) -> Notice:
    """Queue the runs that an earlier program left waiting, oldest first."""
    program.worker.adopt([row.run_id for row in left_waiting(program.store.runs())])
    return Notice()


@refusal_as_notice
def press_dismiss(program: Program, _asked: Any = None) -> Notice:
    """Mark the runs that an earlier program left waiting as stopped."""
    for row in left_waiting(program.store.runs()):
        program.worker.stop(row.run_id)
    return Notice()


PRESSES: Mapping[str, Callable[[Program, Any], Notice]] = {
    "move": press_move,
    "cancel": press_cancel,
    "take_up": press_take_up,
    "dismiss": press_dismiss,
}
"""Handler of each event of the queue."""


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
        shown = {"run": run_id, "title": _title(row), "device": row.spec.model.device}
        return {**shown, "is_run": isinstance(row, RunRecord), **more}

    busy, listed = bool(state.queue or len(state.running) > 1), state.queue[:LISTED]
    # Runs that wait for the same process say so once.
    blocked = [waiting_text(state, run_id) for run_id in listed]
    notes = [note * (note not in blocked[:at]) for at, note in enumerate(blocked)]
    return render(
        "run/queue.html",
        busy=busy,
        running=[
            view(job.run_id, status="paused" if job.paused else "running")
            for job in state.running
            if busy
        ],
        waiting=[view(run_id, note=note) for run_id, note in zip(listed, notes, strict=True)],
        hidden=len(state.queue) - len(listed),
        left=len(left_waiting(rows)),
    )


def _title(row: RunRecord | TraceRecord | PreviewRecord) -> str:
    if isinstance(row, RunRecord):
        return row.name or row.spec.title
    return "A trace" if isinstance(row, TraceRecord) else f"Answers to {len(row.spec.rows)} rows"


def past_runs(program: Program, run_id: str, text: str | None, page: int = 0) -> str:
    """Draw one page of the list of runs.

    Args:
        program: Store and worker.
        run_id: The run that is shown.
        text: What was searched for.
        page: 0-based; beyond the last page, the last page is drawn.

    Raises:
        StoreError: The store cannot be read.
    """
    state = program.worker.state()
    found = [row for row in program.runs.rows() if matches(row, text or "")]
    page = min(max(0, page), max(0, (len(found) - 1) // SIZE))
    runs = [
        run_summary(row, paused=holding(state, row.run_id))
        for row in found[page * SIZE : (page + 1) * SIZE]
    ]
    replayed = [replay.run_id for replay in program.replays.active()]
    # What cannot be read cannot be searched either: it is shown below the first page.
    damaged = [] if page or text else program.store.damaged()
    return runs_html(
        runs,
        page,
        len(found),
        shown=run_id,
        replayed=replayed,
        damaged=damaged,
        now=time.time(),
    )


def runs_html(
    runs: Sequence[RunSummary],
    page: int,
    total: int,
    *,
    shown: str,
    replayed: Collection[str] = (),
    damaged: Sequence[DamagedRecord] = (),
    now: float,
) -> str:
    """Draw one page of the list.

    Args:
        runs: The runs on this page, newest first.
        page: 0-based.
        total: Number of runs on all pages.
        shown: Id of the run on display.
        replayed: Ids of the runs with an active replay.
        damaged: Runs, traces and previews that cannot be read.
        now: Unix time.
    """
    return render(
        "run/runs_list.html",
        runs=runs,
        page=page,
        total=total,
        size=SIZE,
        shown=shown,
        replayed=replayed,
        damaged=damaged[:LISTED],
        hidden=len(damaged[LISTED:]),
        now=now,
        ago=ago,
    )
