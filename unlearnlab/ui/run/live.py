"""What the live panel asks for each second, and the panel itself: status line and chart."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.device_lock import Holder
from unlearnlab.runs.progress import RunView, points_after
from unlearnlab.runs.store import StoreError, UnknownRun
from unlearnlab.runs.worker import WorkerState
from unlearnlab.ui.kit.charts import PLOTLY_SCRIPT, TAKE, drawing
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import Listed, Scene
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.kit.text import count, duration
from unlearnlab.ui.run.replay import BAR, press_replay, replay_of, speed_text
from unlearnlab.views.curves import log_scale
from unlearnlab.views.phases import changes, phase_text, timeline

OTHERS = 2
"""Other processes that the header names at most."""


class Poll(BaseModel):
    """What a page asks: untrusted."""

    run: Annotated[str, Field(max_length=100)] = ""
    cursor: Annotated[int, Field(ge=0)] = 0
    """Number of the last event that the page has."""


def poll(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with the run's status and the points it does not have yet.

    A run that was deleted for good is answered as none: the page then turns to another.
    """
    try:
        request = Poll.model_validate(asked)
        state = program.worker.state()
        program.replays.seen(request.run)
        if request.run:
            with suppress(UnknownRun):
                return _followed(program, request, state)
        word = turn(None, state, program.shown.listed())
        return {
            "life": program.life,
            "run": "",
            "cursor": 0,
            "turn": word,
            "queue": queue(state),
        }
    except ValidationError:
        return {"problem": "the page asked for something that is no run: reload it"}
    except StoreError as error:
        return {"problem": str(error)}


def _followed(program: Program, request: Poll, state: WorkerState) -> dict[str, Any]:
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
        "turn": turn(scene, state, program.shown.listed()),
        "queue": queue(state),
        "device": view.device,
    }


def known_to(state: WorkerState, run_id: str) -> bool:
    """Tell whether this program's worker has the run, and so can hold or stop it."""
    return run_id in state.mine


def stopping(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run goes on here and ends at its next batch."""
    job = state.job(run_id)
    return job is not None and job.stopping


def holding(state: WorkerState, run_id: str) -> bool:
    """Tell whether the run goes on here and is on hold, or will be at its next batch."""
    job = state.job(run_id)
    return job is not None and job.paused


def turn(scene: Scene | None, state: WorkerState, listed: Listed) -> str:
    """Return a word that changes when more than the status line must be drawn anew."""
    return repr((_seen(scene, state) if scene else (), state, listed))


def _seen(scene: Scene, state: WorkerState) -> tuple[Any, ...]:
    course = scene.course
    # What the values that may be changed depend on.
    trained = course.stage == "training", len(course.phases), len(course.changes)
    came = bool(course.before), bool(course.after), len(course.asks), len(course.exports)
    return scene.view(state).status, *came, *trained


def queue(state: WorkerState) -> str:
    """Say what the worker is busy with, and while nothing runs here, who else uses a device."""
    others = [in_use(holder) for holder in state.elsewhere[:OTHERS]] if not state.running else []
    return " · ".join([*_mine(state), *others]) or "idle"


def _mine(state: WorkerState) -> list[str]:
    """Count what goes on and waits here."""
    if not state.mine:
        return []
    paused, waiting = sum(job.paused for job in state.running), len(state.queue)
    running = len(state.running) - paused
    counts = ((running, "running"), (paused, "paused"), (waiting, "queued"))
    told = [f"{number} {word}" for number, word in counts if number]
    return told if state.running else ["0 running", *told]


def in_use(holder: Holder) -> str:
    """Say which other process uses a device. It is plain text: to be escaped."""
    device = "CPU" if holder.device == "cpu" else holder.device
    return f"{device} in use by {holder.who}"


def waiting(state: WorkerState, run_id: str) -> str:
    """Say which other process a run waits for; empty if it waits for none. It is plain text."""
    holder = state.holder(run_id)
    return f"waiting: {in_use(holder)}" if holder else ""


def after(state: WorkerState) -> str:
    """Say when a further run begins that has to wait."""
    if len(state.running) != 1:
        before = f", after {len(state.queue)} others" if state.queue else ""
        return f"Queued: it starts when its device is free{before}."
    ahead = len(state.mine)
    return f"Queued: it starts after {f'{ahead} others' if ahead > 1 else 'the running one'}."


def status(scene: Scene, view: RunView, state: WorkerState) -> dict[str, Any]:
    """Put a run's status line in words."""
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
    facts = [speed_text(scene.replay)] if scene.replay else []
    if view.eta_s is not None:
        facts.append(f"{duration(view.eta_s)} left")
    if view.seconds is not None:
        facts.append(f"took {duration(view.seconds)}")
    if view.tokens_per_s is not None:
        facts.append(f"{count(view.tokens_per_s)} tokens/s")
    if view.memory_gib is not None:
        facts.append(f"{view.memory_gib:.1f} GiB")
    return facts


def live_panel(program: Program) -> gr.HTML:
    """Draw the panel. Its value is `{"run": id}`; `turned` fires when the rest must follow."""

    def poll_run(asked: Any) -> dict[str, Any]:
        return poll(program, asked)

    def replay_run(asked: Any) -> dict[str, Any]:
        return {"problem": press_replay(program, asked)}

    return gr.HTML(
        {"run": ""},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "run/live.js", "run/replay.js"),
        head=f'<script src="gradio_api/file={PLOTLY_SCRIPT}"></script>',
        server_functions=[poll_run, replay_run],
        drawing=drawing(),
        life=program.life,
        elem_id="live",
        apply_default_css=False,
    )


_TEMPLATE = f"""
<section class="card empty" data-part="empty" hidden>
  <h2>Nothing has run here yet</h2>
  <p>Choose a preset on the left and press <b>Unlearn</b>. In about a minute you will have watched a
  language model forget: the loss terms live, its scores before and after, and what both models
  answer.</p>
</section>
<section class="card status" data-part="status" aria-label="Run" hidden>
  <div class="run-head"><h2></h2><span class="badge" data-part="badge" hidden>Replay</span
    ><span class="pill"></span></div>
  <ol class="run-settings"></ol>
  <ul class="run-changes" data-part="changes" aria-label="Changed while it ran" hidden></ul>
  <div class="status-line">
    <b data-part="headline" role="status"></b><span data-part="detail"></span>
    <div class="bars" role="progressbar" aria-valuemin="0" aria-valuemax="100"
      ><i title="scoring the original model"><u></u></i><i title="training"><u></u></i
      ><i title="scoring the unlearned model"><u></u></i></div>
    <span data-part="facts"></span>
  </div>
  <p class="advice" data-part="advice" hidden></p>
  {BAR}
</section>
<p class="lost" data-part="lost" role="alert" hidden></p>
<section class="card chart figure" data-part="chart" aria-label="Curves by optimizer step" hidden>
  <div class="chart-head"><div class="segments" role="group" aria-label="Upper curves"></div>
    <button type="button" class="toggle" data-part="log" aria-pressed="false">log scale</button>
    <span class="chart-hint">drag to zoom, double-click to reset</span>{TAKE}</div>
  <div class="legend" data-part="legend"></div>
  <div class="plot"></div>
</section>
"""
