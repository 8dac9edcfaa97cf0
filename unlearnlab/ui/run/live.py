"""What follows a run while it goes on: the live panel with its poll, and the card of changes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import fmean
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.data.datasets import SPLITS
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Answer, row_known
from unlearnlab.runs.devices import Holder
from unlearnlab.runs.events import Said, StepLogged, StoredEvent
from unlearnlab.runs.progress import RunProgress, RunView, points_after
from unlearnlab.runs.replay import Recording, ReplayError
from unlearnlab.runs.store import UnknownRun
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.spec.run import RunSpec, SpecError, adjustable, written
from unlearnlab.ui.kit.charts import PLOTLY_SCRIPT, TAKE, drawing
from unlearnlab.ui.kit.controls import OF_METHOD, PHASE
from unlearnlab.ui.kit.html import clock, count, render, script
from unlearnlab.ui.kit.listeners import answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import RunCounts, ShownRun
from unlearnlab.views.answers import mask
from unlearnlab.views.charts import log_scale
from unlearnlab.views.documents import live_documents
from unlearnlab.views.says import SaidAnswer, SaidStep
from unlearnlab.views.scoreboard import compares_with_retrained
from unlearnlab.views.words import (
    changes,
    duration,
    path_words,
    phase_text,
    present_phase,
    timeline,
)

UNDERLAID = 30
"""Most earlier runs that are offered to lie under the shown one."""

PACED = 2000
"""Points of the pace from which it is thinned."""

OTHERS = 2
"""Most other processes that the header names."""

DEMO_S = "20"
"""Length of the replay that a newcomer is offered, in seconds."""

MINUTE_S = "60"
"""Length of a replay "in one minute", in seconds, as the page sends it."""

SPEEDS = (
    ("speed", "1", "1×"),
    ("speed", "4", "4×"),
    ("speed", "20", "20×"),
    ("seconds", MINUTE_S, "in one minute"),
)
"""Buttons of a replay's bar: what they set, to what, and their text."""

NO_RUN = "The page asked for something that is not a run: reload it."


class PollRequest(BaseModel):
    """What a page has already: untrusted."""

    run: Annotated[str, Field(max_length=100)] = ""
    cursor: Annotated[int, Field(ge=0)] = 0
    """Number of the last event that the page has."""
    masked: bool | None = None
    """Whether personal data are hidden; None leaves it to the run's data."""


@answering(NO_RUN)
def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Return a run's status and the points that the page does not have yet.

    For an erased run the answer names no run, and the page turns to another.
    """
    request = PollRequest.model_validate(asked)
    state = program.worker.state()
    program.replays.seen(request.run)
    answer = {
        "life": program.life,
        "run": "",
        "cursor": 0,
        "turn": change_token(None, state, program.runs.run_counts()),
        "queue": queue_text(state),
        "running": others_running(program, request.run, state),
    }
    if request.run:
        with suppress(UnknownRun):
            answer |= _followed(program, request, state)
    return answer


@answering(NO_RUN)
def all_points(program: Program, asked: Any) -> dict[str, Any]:
    """Return every point of a run's curves, for a file: the chart itself is thinned."""
    run = program.runs.shown(PollRequest.model_validate(asked).run)
    events = program.runs.events(run, 0)
    return {"series": points_after(events, most=None), "pace": pace(events)}


@answering("The page asked for something that is not a run: reload it.")
def earlier_runs(program: Program, asked: Any) -> dict[str, Any]:
    """List the latest runs that can lie under the curves of the one that is shown."""
    shown = PollRequest.model_validate(asked).run
    rows = [row for row in program.runs.rows() if row.run_id != shown and row.ending and row.after]
    return {
        "runs": [
            {"run": row.run_id, "title": row.name or row.spec.title} for row in rows[:UNDERLAID]
        ]
    }


def pace(stored: Sequence[StoredEvent]) -> dict[str, list[float]]:
    """Return how far the training was at each logged step: epoch, seconds, tokens a second."""
    steps = [item.event for item in stored if isinstance(item.event, StepLogged)]
    kept = steps[:: max(1, len(steps) // PACED)]
    return {
        "step": [event.step for event in kept],
        "epoch": [event.epoch for event in kept],
        "seconds": [event.seconds for event in kept],
        "tokens": [event.tokens_per_s for event in kept],
    }


def references(spec: RunSpec) -> dict[str, float]:
    """Return the retrained model's mean loss of the answers of each set, where it is the ideal."""
    if not compares_with_retrained(spec):
        return {}
    answers = retrained_answers()[spec.data.fold].answers
    losses = {
        split: [answer.nll for answer in answers if answer.split == split] for split in SPLITS
    }
    return {f"nll.{split}": fmean(found) for split, found in losses.items() if found}


def _followed(program: Program, request: PollRequest, state: WorkerState) -> dict[str, Any]:
    run, masked = program.runs.shown(request.run), request.masked
    spec, progress, view = run.row.spec, run.progress, run.view(state)
    new = program.runs.events(run, request.cursor)
    phases, documents = timeline(spec, progress), live_documents(spec, progress)
    return {
        "run": run.row.run_id,
        "cursor": new[-1].seq if new else request.cursor,
        "points": {"series": points_after(new)},
        "pace": pace(new),
        "references": references(spec),
        "steps": progress.total_steps or sum(phase.steps for phase in phases),
        "phases": [asdict(phase) for phase in phases],
        "changes": [asdict(change) for change in changes(spec, progress)],
        "log": log_scale(spec),
        "documents": documents and asdict(documents),
        "says": says(program, run, new, masked=run.row.personal if masked is None else masked),
        "live": view.live,
        "status": status(run, view, state),
        "buttons": buttons(run, view, state),
        "replay": replay_bar(run),
        "turn": change_token(run, state, program.runs.run_counts()),
        "device": view.device,
    }


def says(
    program: Program, run: ShownRun, new: Sequence[StoredEvent], *, masked: bool
) -> dict[str, Any]:
    """Return what the model said at new probes, as HTML: by step, and by row at each step.

    Args:
        program: Of the page.
        run: The run that is shown.
        new: Events that the page does not have.
        masked: Whether personal data are hidden.
    """
    fresh = {item.event.step for item in new if isinstance(item.event, Said)}
    known = program.said(run.row.spec, run.progress) if fresh else tuple[SaidStep, ...]()
    hide = mask if masked else str

    def cell(macro: str, answer: SaidAnswer) -> str:
        return render("views/says.html", macro, answer=answer, hide=hide)

    return {
        "masked": masked,
        "personal": run.row.personal,
        "rows": [
            {"row": row, "asked": cell("asked", answer), "original": cell("words", first)}
            for row, answer in (known[-1].answers.items() if known else ())
            for first in (known[0].answers.get(row, answer),)
        ],
        "steps": [
            {
                "step": one.step,
                "cells": {row: cell("now", answer) for row, answer in one.answers.items()},
            }
            for one in known
            if one.step in fresh
        ],
    }


def known_to(state: WorkerState, run_id: str) -> bool:
    """Tell whether this program's worker has the run, and so can pause or stop it."""
    return run_id in state.owned


def stopping(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run is active here and stops at its next batch."""
    job = state.job(run_id)
    return job is not None and job.stopping


def ends_training(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run is active here and ends its training at the next step."""
    job = state.job(run_id)
    return job is not None and job.ends_training


def holding(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run is active here and paused, or will be at its next batch."""
    job = state.job(run_id)
    return job is not None and job.paused


def change_token(run: ShownRun | None, state: WorkerState, counts: RunCounts) -> str:
    """Return a word that changes when more than the status line must be drawn again."""
    shown: tuple[Any, ...] = ()
    if run:
        progress = run.progress
        came = bool(progress.before), bool(progress.after), len(progress.asks), progress.knowledge
        # What the values that may be changed depend on.
        trained = progress.stage == "training", len(progress.phases), len(progress.changes)
        shown = run.view(state).status, *came, len(progress.exports), *trained
    return repr((shown, state, counts))


def buttons(run: ShownRun, view: RunView, state: WorkerState) -> list[dict[str, Any]]:
    """Return the buttons that act on a run now: event, text, and whether it may be pressed.

    A replay has a bar of its own.
    """
    if run.replay:
        return []
    run_id = run.row.run_id
    ending = stopping(state, run_id)
    found: list[dict[str, Any]] = []
    if view.can_pause or view.can_resume:
        found.append(_button("hold", "Resume" if holding(state, run_id) else "Pause", not ending))
    if view.can_score:
        ends = ends_training(state, run_id)
        kept = "Stop, score and keep" if run.row.spec.keep_as else "Stop and score"
        found.append(_button("cut", "Scoring next…" if ends else kept, not (ending or ends)))
    if view.can_stop or ending:
        word = "Remove" if view.status == "queued" else "Stop"
        found.append(_button("stop", "Stopping…" if ending else word, not ending))
    return found


def _button(event: str, text: str, on: bool = True) -> dict[str, Any]:
    return {"event": event, "text": text, "on": on}


def others_running(program: Program, shown: str, state: WorkerState) -> list[dict[str, Any]]:
    """Return a line and the buttons of each active run that is not the one shown."""
    found: list[dict[str, Any]] = []
    for run_id in (job.run_id for job in state.running if job.run_id != shown):
        with suppress(UnknownRun):  # Traces and previews are active too, and are no runs.
            run = program.runs.shown(run_id)
            view = run.view(state)
            found.append(
                {
                    "run": run_id,
                    "title": run.row.name or run.row.spec.title,
                    "said": " ".join(filter(None, (view.headline, view.detail))),
                    "buttons": buttons(run, view, state),
                }
            )
    return found


def queue_text(state: WorkerState) -> str:
    """Count active and waiting items; while none runs here, name processes that use a device."""
    told: list[str] = []
    if state.owned:
        paused, waiting = sum(job.paused for job in state.running), len(state.queue)
        running = len(state.running) - paused
        counts = ((running, "running"), (paused, "paused"), (waiting, "queued"))
        told = [f"{number} {word}" for number, word in counts if number]
    if not state.running:
        told = ["0 running", *told] if told else []
        told += [in_use_text(holder) for holder in state.elsewhere[:OTHERS]]
    return " · ".join(told) or "idle"


def in_use_text(holder: Holder) -> str:
    """Say which other process uses a device: plain text, to be escaped."""
    device = "CPU" if holder.device == "cpu" else holder.device
    return f"{device} in use by {holder.who}"


def waiting_text(state: WorkerState, run_id: str) -> str:
    """Say which other process a run waits for, as plain text; empty if it waits for none."""
    holder = state.holder(run_id)
    return f"waiting: {in_use_text(holder)}" if holder else ""


def status(run: ShownRun, view: RunView, state: WorkerState) -> dict[str, Any]:
    """Return the status line of a run."""
    row = run.row
    blocked = waiting_text(state, row.run_id) if view.status == "queued" else ""
    job = state.job(row.run_id)
    trouble = f"waits to be written: {job.trouble}" if job and job.trouble else ""
    facts: list[str] = []
    if replay := run.replay:
        held = "replay paused" if replay.clock.held else "replay"
        facts.append(f"{held} at {replay.clock.speed:.3g}×")
    if view.eta_s is not None:
        facts.append(f"{view.eta_words} {duration(view.eta_s)} left")
    if view.seconds is not None:
        facts.append(f"took {duration(view.seconds)}")
    if view.tokens_per_s is not None:
        facts.append(f"{count(view.tokens_per_s)} tokens/s")
    if view.memory_gib is not None:
        facts.append(f"{view.memory_gib:.1f} GiB")
    if row.damage:
        facts.append(f"not all of it can be read: {row.damage}")
    return {
        "status": view.status,
        "title": row.name or row.spec.title,
        "settings": [phase_text(row.spec, phase) for phase in row.spec.phases],
        "headline": _headline(run, view, state),
        "detail": blocked or trouble or view.detail,
        "progress": list(view.progress),
        "facts": facts,
        "advice": view.advice,
    }


def _headline(run: ShownRun, view: RunView, state: WorkerState) -> str:
    if stopping(state, run.row.run_id):
        return "Stopping"
    ends = view.can_score and ends_training(state, run.row.run_id)
    return "Ending the training" if ends else view.headline


class ReplayRequest(BaseModel):
    """A click on the replay's bar: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    action: Literal["start", "hold", "resume", "pace", "end"]
    speed: Annotated[str, Field(max_length=20)] | None = None
    """Multiple of the recorded speed, as typed; the recorded speed if omitted."""
    seconds: Annotated[str, Field(max_length=20)] | None = None
    """Length of the replay, in place of a speed."""


@answering("The page asked for something that is not a replay: reload it.", ReplayError)
def press_replay(program: Program, asked: Any) -> dict[str, Any]:
    """Start, pause, resume, speed up or end a replay; one that has ended stays so.

    Returns:
        The `problem`; empty if there is none.
    """
    request, replays = ReplayRequest.model_validate(asked), program.replays
    match request.action:
        case "start":
            found = program.runs.recording(request.run)
            replays.start(found, found.pace(request.speed, request.seconds))
        case "pace":
            if replay := replays.of(request.run):
                pace = replay.recording.pace(request.speed, request.seconds)
                replays.change(request.run, speed=pace)
        case "end":
            replays.end(request.run)
        case _:
            replays.change(request.run, held=request.action == "hold")
    return {"problem": ""}


def replay_bar(run: ShownRun) -> dict[str, Any]:
    """Return what the replay's bar shows of a run, as plain values."""
    replay, row = run.replay, run.row
    if replay is None:
        ended = row.ending is not None or not row.alive
        return {"take": 0, "offered": ended and run.progress.step is not None}
    recording, speed = replay.recording, replay.clock.speed
    paces = ((words, recording.pace(**{kind: value})) for kind, value, words in SPEEDS)
    came = duration(replay.moment - recording.began)
    whole = duration(recording.ended - recording.began)
    return {
        "take": replay.take,
        "offered": True,
        "held": replay.clock.held,
        "pace": next((words for words, pace in paces if pace == speed), ""),
        "said": f"{came} of {whole}, recorded {clock(recording.began)}",
    }


def demo_fact(demo: Recording | None) -> Answer | None:
    """Return a fact that the recorded run forgot, with the original model's answer."""
    if demo is None or demo.progress.before is None or demo.progress.after is None:
        return None
    keys = demo.progress.before.key, demo.progress.after.key
    before, after = (demo.evidence.get(key) for key in keys)
    if before is None or after is None:
        return None
    later = {answer.row: answer for answer in after.answers}
    gone = [
        answer
        for answer in before.answers
        if answer.split == "forget" and answer.kind == "qa" and row_known(answer)
        if answer.row in later and not row_known(later[answer.row])
    ]
    return min(gone, key=lambda answer: len(answer.prompt) + len(answer.expected), default=None)


def live_panel(program: Program) -> gr.HTML:
    """Draw the panel. Its value is `{"run": id}`; `turned` fires when the rest must follow."""

    def poll_run(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def replay_run(asked: Any) -> dict[str, Any]:
        return press_replay(program, asked)

    def all_run_points(asked: Any) -> dict[str, Any]:
        return all_points(program, asked)

    def earlier(asked: Any) -> dict[str, Any]:
        return earlier_runs(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=render(
            "run/live.html",
            speeds=SPEEDS,
            take=TAKE,
            fact=demo_fact(program.replays.demo),
            seconds=DEMO_S,
        ),
        js_on_load=script("kit/poll.js", "run/says.js", "run/curves.js", "run/live.js"),
        head=f'<script src="gradio_api/file={PLOTLY_SCRIPT}"></script>',
        server_functions=[poll_run, replay_run, all_run_points, earlier],
        drawing=drawing(),
        life=program.life,
        elem_id="live",
        apply_default_css=False,
    )


NO_CHANGE: Mapping[str, Any] = {
    "run": "",
    "phase": 0,
    "title": "",
    "fields": [],
    "asked": 0,
    "told": False,
    "problems": [],
    "note": "",
}
"""Value of the card while nothing can be changed. `told` marks the answer to a click."""


def adjustable_values(run_id: str, spec: RunSpec, progress: RunProgress) -> dict[str, Any]:
    """Return the value of the card: what can be changed now, by dotted path in the phase."""
    present = present_phase(spec, progress)
    if present is None:
        return dict(NO_CHANGE)
    number, phase = present
    words = {s.name: s.label for s in (*PHASE, *OF_METHOD[phase.method.kind])}
    fields = [
        {
            "path": path,
            "label": words.get(path.rpartition(".")[2], path_words(path)),
            "value": written(value),
        }
        for path, value in adjustable(phase).items()
    ]
    where = f"phase {number + 1}, " if len(spec.phases) > 1 else ""
    title = f"{where}{phase.method.card.title} · a change holds until the phase ends"
    found = {"run": run_id, "phase": number, "title": title, "fields": fields}
    return {**NO_CHANGE, **found, "asked": len(progress.changes)}


class AdjustRequest(BaseModel):
    """Values to change: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    phase: int
    changes: Annotated[dict[str, Annotated[str, Field(max_length=100)]], Field(max_length=50)]
    """New values as typed, by dotted path in the phase."""


def press_adjust(program: Program, asked: Any) -> dict[str, Any]:
    """Change values of the phase that a run trains.

    Returns:
        The new value of the card, with a note or with problems by the path of their field.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    try:
        request = AdjustRequest.model_validate(asked)
    except ValidationError:
        return dict(NO_CHANGE)
    spec, progress = program.store.spec(request.run), program.runs.progress(request.run)
    now = adjustable_values(request.run, spec, progress) | {"told": True}

    def refused(*problems: tuple[str, str]) -> dict[str, Any]:
        return now | {"problems": [{"path": path, "message": told} for path, told in problems]}

    if now["fields"] and now["phase"] != request.phase:
        late = f"Phase {request.phase + 1} has ended: these are the values of phase"
        return refused(("", f"{late} {now['phase'] + 1}"))
    if not request.changes:
        return now | {"note": "Nothing to change: the run has these values already."}
    try:
        program.worker.adjust(request.run, request.changes)
    except SpecError as error:
        return refused(*error.problems)
    except NotRunning as error:
        return refused(("", str(error)))
    return now | {"note": "Requested: applies from the next batch."}


def adjust_card() -> gr.HTML:
    """Draw the card. `apply` fires with the changes."""
    return gr.HTML(
        dict(NO_CHANGE),
        html_template=render("run/adjust.html"),
        js_on_load=script("run/adjust.js"),
        elem_id="adjust",
        apply_default_css=False,
    )
