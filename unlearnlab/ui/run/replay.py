"""The replay of a recorded run: what its bar shows, and what its buttons do."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.replay import Replay, ReplayError
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import Scene
from unlearnlab.ui.kit.text import clock, duration

MINUTE_S = "60"
"""How long a replay lasts that is asked to last a minute, as the page sends it."""

_CHOICES = (
    ("speed", "1", "1×"),
    ("speed", "4", "4×"),
    ("speed", "20", "20×"),
    ("seconds", MINUTE_S, "in one minute"),
)


class Wish(BaseModel):
    """What a click asks for: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    action: Literal["start", "hold", "resume", "pace", "end"]
    speed: Annotated[str, Field(max_length=20)] | None = None
    """A multiple of the recorded time, as typed; the recorded time itself if nothing is said."""
    seconds: Annotated[str, Field(max_length=20)] | None = None
    """How long the replay is to last, in place of a speed."""


def press_replay(program: Program, asked: Any) -> str:
    """Start, hold, let go on, speed up or end a replay; one that is over stays so.

    Returns:
        What is wrong; empty if nothing.
    """
    try:
        wish = Wish.model_validate(asked)
        _done(program, wish)
    except ValidationError:
        return "The page asked for something that is no replay: reload it."
    except (ReplayError, StoreError) as error:
        return str(error)
    return ""


def _done(program: Program, wish: Wish) -> None:
    replays = program.replays
    match wish.action:
        case "start":
            found = program.shown.recording(wish.run)
            replays.start(found, found.pace(wish.speed, wish.seconds))
        case "pace":
            if replay := replays.of(wish.run):
                replays.change(wish.run, speed=replay.recording.pace(wish.speed, wish.seconds))
        case "end":
            replays.end(wish.run)
        case _:
            replays.change(wish.run, held=wish.action == "hold")


def replay_of(scene: Scene) -> dict[str, Any]:
    """Return what the bar shows of a run, as plain values."""
    replay, row = scene.replay, scene.row
    if replay is None:
        ended = row.ending is not None or not row.alive
        return {"take": 0, "offered": ended and scene.course.step is not None}
    return {
        "take": replay.take,
        "offered": True,
        "held": replay.clock.held,
        "pace": _pace(replay),
        "said": _said(replay),
    }


def speed_text(replay: Replay) -> str:
    """Write how a replay goes."""
    state = "replay paused" if replay.clock.held else "replay"
    return f"{state} at {replay.clock.speed:.3g}×"


def _pace(replay: Replay) -> str:
    """Name the choice that the speed came from; empty if from none."""
    for kind, value, title in _CHOICES:
        if replay.clock.speed == replay.recording.pace(**{kind: value}):
            return title
    return ""


def _said(replay: Replay) -> str:
    began, ended = replay.recording.began, replay.recording.ended
    come = f"{duration(replay.moment - began)} of {duration(ended - began)}"
    return f"{come}, recorded {clock(began)}"


def _choice(kind: str, value: str, title: str) -> str:
    return f'<button type="button" data-{kind}="{value}" aria-pressed="false">{title}</button>'


BAR = f"""<div class="replay" data-part="replay" role="group" aria-label="Replay" hidden>
    <b>Replay</b><span data-part="replay-said"></span>
    <div class="segments" role="group" aria-label="Speed of the replay"
      >{"".join(_choice(*choice) for choice in _CHOICES)}</div>
    <button type="button" class="toggle" data-part="replay-hold">Pause</button>
    <button type="button" class="toggle" data-part="replay-end">To the end</button>
    <p class="replay-problem" data-part="replay-problem" role="alert" hidden></p>
  </div>"""
