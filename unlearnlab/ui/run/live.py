"""The live panel: status line, chart and replay bar, and the poll that keeps them current."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.device_lock import Holder
from unlearnlab.runs.progress import RunView, points_after
from unlearnlab.runs.replay import ReplayError
from unlearnlab.runs.store import StoreError, UnknownRun
from unlearnlab.runs.worker import WorkerState
from unlearnlab.ui.kit.charts import PLOTLY_SCRIPT, TAKE, drawing
from unlearnlab.ui.kit.html import clock, count, duration, render, script
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import RunCounts, Scene
from unlearnlab.views.curves import log_scale
from unlearnlab.views.phases import changes, phase_text, timeline

OTHERS = 2
"""Most other processes that the header names."""


MINUTE_S = "60"
"""Length of a replay "in one minute", in seconds, as the page sends it."""

SPEEDS = (
    ("speed", "1", "1×"),
    ("speed", "4", "4×"),
    ("speed", "20", "20×"),
    ("seconds", MINUTE_S, "in one minute"),
)
"""Choices of a replay's bar: what they set, to what, and in words."""


class PollRequest(BaseModel):
    """What a page has already: untrusted."""

    run: Annotated[str, Field(max_length=100)] = ""
    cursor: Annotated[int, Field(ge=0)] = 0
    """Number of the last event that the page has."""


def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Return a run's status and the points that the page does not have yet.

    For an erased run the answer names no run, and the page turns to another.
    """
    try:
        request = PollRequest.model_validate(asked)
        state = program.worker.state()
        program.replays.seen(request.run)
        if request.run:
            with suppress(UnknownRun):
                return _followed(program, request, state)
        token = change_token(None, state, program.shown.run_counts())
        return {
            "life": program.life,
            "run": "",
            "cursor": 0,
            "turn": token,
            "queue": queue(state),
        }
    except ValidationError:
        return {"problem": "the page asked for something that is not a run: reload it"}
    except StoreError as error:
        return {"problem": str(error)}


def _followed(program: Program, request: PollRequest, state: WorkerState) -> dict[str, Any]:
    scene = program.shown.of(request.run)
    row, course, view = scene.row, scene.course, scene.view(state)
    new = program.shown.events(scene, request.cursor)
    phases = timeline(row.spec, course)
    return {
        "life": program.life,
        "run": row.run_id,
        "cursor": new[-1].seq if new else request.cursor,
        "points": asdict(points_after(new)),
        "steps": course.total_steps or sum(phase.steps for phase in phases),
        "phases": [asdict(phase) for phase in phases],
        "changes": [asdict(change) for change in changes(row.spec, course)],
        "log": log_scale(row.spec),
        "live": view.live,
        "status": status(scene, view, state),
        "replay": replay_of(scene),
        "turn": change_token(scene, state, program.shown.run_counts()),
        "queue": queue(state),
        "device": view.device,
    }


def known_to(state: WorkerState, run_id: str) -> bool:
    """Tell whether this program's worker has the run, and so can pause or stop it."""
    return run_id in state.owned


def stopping(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run is active here and stops at its next batch."""
    job = state.job(run_id)
    return job is not None and job.stopping


def holding(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run is active here and paused, or will be at its next batch."""
    job = state.job(run_id)
    return job is not None and job.paused


def change_token(scene: Scene | None, state: WorkerState, listed: RunCounts) -> str:
    """Return a word that changes when more than the status line must be drawn anew."""
    return repr((_seen(scene, state) if scene else (), state, listed))


def _seen(scene: Scene, state: WorkerState) -> tuple[Any, ...]:
    course = scene.course
    # What the values that may be changed depend on.
    trained = course.stage == "training", len(course.phases), len(course.changes)
    came = bool(course.before), bool(course.after), len(course.asks), len(course.exports)
    return scene.view(state).status, *came, *trained


def queue(state: WorkerState) -> str:
    """Say what the worker does, and while nothing runs here, which processes use a device."""
    others = [in_use(holder) for holder in state.elsewhere[:OTHERS]] if not state.running else []
    return " · ".join([*_mine(state), *others]) or "idle"


def _mine(state: WorkerState) -> list[str]:
    """Count active and waiting items."""
    if not state.owned:
        return []
    paused, waiting = sum(job.paused for job in state.running), len(state.queue)
    running = len(state.running) - paused
    counts = ((running, "running"), (paused, "paused"), (waiting, "queued"))
    told = [f"{number} {word}" for number, word in counts if number]
    return told if state.running else ["0 running", *told]


def in_use(holder: Holder) -> str:
    """Say which other process uses a device: plain text, to be escaped."""
    device = "CPU" if holder.device == "cpu" else holder.device
    return f"{device} in use by {holder.who}"


def waiting(state: WorkerState, run_id: str) -> str:
    """Say which other process a run waits for, as plain text; empty if it waits for none."""
    holder = state.holder(run_id)
    return f"waiting: {in_use(holder)}" if holder else ""


def after(state: WorkerState) -> str:
    """Say when a further run starts, if it has to wait."""
    if len(state.running) != 1:
        before = f", after {len(state.queue)} others" if state.queue else ""
        return f"Queued: it starts when its device is free{before}."
    ahead = len(state.owned)
    return f"Queued: it starts after {f'{ahead} others' if ahead > 1 else 'the running one'}."


def status(scene: Scene, view: RunView, state: WorkerState) -> dict[str, Any]:
    """Return the status line of a run."""
    row = scene.row
    blocked = waiting(state, row.run_id) if view.status == "queued" else ""
    return {
        "status": view.status,
        "title": row.name or row.spec.title,
        "settings": [phase_text(row.spec, phase) for phase in row.spec.phases],
        "headline": "Stopping" if stopping(state, row.run_id) else view.headline,
        "detail": blocked or view.detail,
        "progress": list(view.progress),
        "facts": list(_facts(scene, view)),
        "advice": view.advice,
    }


def _facts(scene: Scene, view: RunView) -> list[str]:
    facts: list[str] = []
    if replay := scene.replay:
        state = "replay paused" if replay.clock.held else "replay"
        facts.append(f"{state} at {replay.clock.speed:.3g}×")
    if view.eta_s is not None:
        facts.append(f"{duration(view.eta_s)} left")
    if view.seconds is not None:
        facts.append(f"took {duration(view.seconds)}")
    if view.tokens_per_s is not None:
        facts.append(f"{count(view.tokens_per_s)} tokens/s")
    if view.memory_gib is not None:
        facts.append(f"{view.memory_gib:.1f} GiB")
    return facts


class ReplayRequest(BaseModel):
    """A click on the replay's bar: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    action: Literal["start", "hold", "resume", "pace", "end"]
    speed: Annotated[str, Field(max_length=20)] | None = None
    """Multiple of the recorded speed, as typed; the recorded speed if omitted."""
    seconds: Annotated[str, Field(max_length=20)] | None = None
    """Length of the replay, in place of a speed."""


def press_replay(program: Program, asked: Any) -> str:
    """Start, pause, resume, speed up or end a replay; one that has ended stays so.

    Returns:
        What is wrong; empty if nothing.
    """
    replays = program.replays
    try:
        request = ReplayRequest.model_validate(asked)
        match request.action:
            case "start":
                found = program.shown.recording(request.run)
                replays.start(found, found.pace(request.speed, request.seconds))
            case "pace":
                if replay := replays.of(request.run):
                    pace = replay.recording.pace(request.speed, request.seconds)
                    replays.change(request.run, speed=pace)
            case "end":
                replays.end(request.run)
            case _:
                replays.change(request.run, held=request.action == "hold")
    except ValidationError:
        return "The page asked for something that is not a replay: reload it."
    except (ReplayError, StoreError) as error:
        return str(error)
    return ""


def replay_of(scene: Scene) -> dict[str, Any]:
    """Return what the replay's bar shows of a run, as plain values."""
    replay, row = scene.replay, scene.row
    if replay is None:
        ended = row.ending is not None or not row.alive
        return {"take": 0, "offered": ended and scene.course.step is not None}
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


def live_panel(program: Program) -> gr.HTML:
    """Draw the panel. Its value is `{"run": id}`; `turned` fires when the rest must follow."""

    def poll_run(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def replay_run(asked: Any) -> dict[str, Any]:
        return {"problem": press_replay(program, asked)}

    return gr.HTML(
        {"run": ""},
        html_template=render("run/live.html", speeds=SPEEDS, take=TAKE),
        js_on_load=script("kit/poll.js", "run/live.js", "run/replay.js"),
        head=f'<script src="gradio_api/file={PLOTLY_SCRIPT}"></script>',
        server_functions=[poll_run, replay_run],
        drawing=drawing(),
        life=program.life,
        elem_id="live",
        apply_default_css=False,
    )
