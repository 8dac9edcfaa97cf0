"""Handlers of the buttons: each submits a request to the worker and returns at once.

The panel is then drawn from the store.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearnlab.exports.pack_file import PackError
from unlearnlab.exports.packs import add_pack
from unlearnlab.runs.store import StoreError, UnknownRun
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.run import RunSpec, SpecError
from unlearnlab.ui.form.form import Form, form_of, problems_of, scoring_of, spec_of, title_of
from unlearnlab.ui.kit.controls import Problem
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.live import after, holding
from unlearnlab.views.reproduction import outlook, repeated

LONGEST_PROMPT = 8000
"""Characters. The model's context is shorter; this keeps pasted books out of the store."""

PROMPT = "ask-prompt"
"""Id of the prompt's box on the page."""


@dataclass(frozen=True, slots=True)
class Message:
    """What the page says after a click: problems at their fields, or a note."""

    problems: Sequence[Problem] = ()
    note: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """Return it as plain values for the page's script."""
        return {"problems": [asdict(p) for p in self.problems], "note": self.note}


def trouble(error: Exception | str) -> Message:
    """Make a message of an error that belongs to no field."""
    return Message(problems=(Problem("", "", str(error)),))


def first_run(program: Program, remembered: str) -> str:
    """Choose the run to open with: live, else replayed, else the browser's last, else the newest.

    Raises:
        StoreError: The store cannot be read.
    """
    if live := live_run(program):
        return live
    if going := program.replays.active():
        return going[-1].run_id
    known = [row.run_id for row in program.shown.rows()]
    if remembered in known:
        return remembered
    return known[0] if known else ""


def still_there(program: Program, run_id: str) -> str:
    """Return a run's id, or the run to open with if it was deleted.

    Raises:
        StoreError: The store cannot be read.
    """
    try:
        return program.shown.of(run_id).row.run_id
    except UnknownRun:
        return first_run(program, "")


def live_run(program: Program) -> str:
    """Return the first active run; empty if none is active, or only traces are."""
    for job in program.worker.state().running:
        try:
            return program.store.row(job.run_id).run_id
        except UnknownRun:
            continue
    return ""


def press_unlearn(program: Program, showing: str, form: Form) -> tuple[str, Message]:
    """Queue the form's run.

    Returns:
        The run to show, and a message. While the new run waits, the page stays with the active one.
    """
    return _formed(program, showing, form, spec_of)


def press_score(program: Program, showing: str, form: Form) -> tuple[str, Message]:
    """Queue a run that only scores the form's model. Returns the same as `press_unlearn`."""
    return _formed(program, showing, form, scoring_of)


def _formed(
    program: Program, showing: str, form: Form, asked: Callable[[Form], RunSpec]
) -> tuple[str, Message]:
    try:
        spec = asked(form)
        return _queued(program, showing, spec, name=title_of(form, spec))
    except SpecError as error:
        return showing, Message(problems_of(error, form))
    except (StoreError, NotRunning) as error:
        return showing, trouble(error)


def _queued(
    program: Program, showing: str, spec: RunSpec, *, name: str, repeats: str = ""
) -> tuple[str, Message]:
    """Queue a run, and return the run to show and a message."""
    state = program.worker.state()
    run_id = program.worker.submit(spec, name=name, repeats=repeats)
    if not state.would_wait(spec.model.device):
        return run_id, Message()
    return live_run(program) or showing or run_id, Message(note=after(state))


def press_reproduce(program: Program, showing: str, run_id: str) -> tuple[str, Message]:
    """Queue a finished run again.

    Returns:
        The run to show, and a message.
    """
    try:
        row = program.store.row(run_id)
        if problems := outlook(row, program.courses.of(run_id)).problems:
            return showing, Message(tuple(Problem("", "", told) for told in problems))
        spec = repeated(row.spec)
        return _queued(program, showing, spec, name=row.name, repeats=row.run_id)
    except (StoreError, NotRunning) as error:
        return showing, trouble(error)


def press_unpack(program: Program, path: str) -> tuple[str, Message]:
    """Import the runs of an uploaded file, and remove the file.

    Returns:
        An imported run to show, empty if there is none, and a message.
    """
    try:
        found = add_pack(program.store, Path(path))
    except (PackError, StoreError) as error:
        return "", trouble(error)
    finally:
        Path(path).unlink(missing_ok=True)
    refused = tuple(Problem("", "", one.told) for one in found if one.outcome == "refused")
    told = [f"{one.told}: {one.outcome}" for one in found if one.outcome != "refused"]
    run_id = next((one.run_id for one in found if one.outcome != "refused"), "")
    return run_id, Message(refused, "; ".join(told))


def press_hold(program: Program, run_id: str) -> Message:
    """Pause the run, or resume it if it is paused."""
    if replay := program.replays.of(run_id):
        program.replays.change(run_id, held=not replay.clock.held)
        return Message()
    state = program.worker.state()
    try:
        if holding(state, run_id):
            program.worker.resume(run_id)
        else:
            program.worker.pause(run_id)
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_stop(program: Program, run_id: str) -> Message:
    """Stop the run, or remove it from the queue; a replay skips to its end."""
    if program.replays.of(run_id):
        program.replays.end(run_id)
        return Message()
    try:
        program.worker.stop(run_id)
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_ask(program: Program, run_id: str, prompt: str) -> tuple[str, Message]:
    """Ask both models of a run a prompt.

    Returns:
        Id of the request, empty if it was refused, and a message.
    """
    if len(prompt) > LONGEST_PROMPT:
        told = f"the prompt has {len(prompt)} characters: {LONGEST_PROMPT} is the most"
        return "", Message((Problem(PROMPT, "Prompt", told),))
    if told := mute(program, run_id):
        return "", Message((Problem(PROMPT, "Prompt", told),))
    try:
        return program.worker.ask(run_id, prompt), Message()
    except StoreError as error:
        return "", trouble(error)
    except ValueError as error:
        told = str(error).removeprefix("prompt: ")
        return "", Message((Problem(PROMPT, "Prompt", told),))


def mute(program: Program, run_id: str) -> str:
    """Say why a recording cannot answer prompts; empty for a run that can."""
    if program.replays.of(run_id):
        return "a recording cannot answer: this is a replay. Ask when it has ended."
    if program.shown.guest(run_id):
        return (
            "a recording cannot answer: it was opened from a file. Import it with `unpack`, and "
            "start without --replay."
        )
    return ""


def settings_of(program: Program, run_id: str) -> Form:
    """Return a form with a run's settings.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    return form_of(program.shown.of(run_id).row.spec.model_dump(mode="json"))
