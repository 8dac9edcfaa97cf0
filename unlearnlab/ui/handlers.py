"""What the buttons do. Functions of plain values: each hands a wish to the worker and returns.

Nothing here waits for a job. Buttons and panel follow from the store afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs import NotRunning
from unlearnlab.spec import RunSpec, SpecError
from unlearnlab.store import StoreError, UnknownRun
from unlearnlab.ui.adjust import Adjustables, adjustables
from unlearnlab.ui.controls import Problem
from unlearnlab.ui.form import Form, form_of, problems_of, scoring_of, spec_of, title_of
from unlearnlab.ui.live import after, holding
from unlearnlab.ui.program import Program

LONGEST_PROMPT = 8000
"""Characters. The model's context is shorter; this keeps pasted books out of the store."""

PROMPT = "ask-prompt"
"""Id of the prompt's box on the page."""


@dataclass(frozen=True, slots=True)
class Message:
    """What the page tells after a click: problems at their fields, or a note."""

    problems: Sequence[Problem] = ()
    note: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """Return it as plain values for the page's script."""
        return {"problems": [asdict(p) for p in self.problems], "note": self.note}


def trouble(error: Exception) -> Message:
    """Tell of an error that lies with no field."""
    return Message(problems=(Problem("", "", str(error)),))


def first_run(program: Program, remembered: str) -> str:
    """Choose the run to open with: the live one, else the browser's last, else the newest.

    Raises:
        StoreError: The store cannot be read.
    """
    if live := live_run(program):
        return live
    known = [row.run_id for row in program.store.runs()]
    if remembered in known:
        return remembered
    return known[0] if known else ""


def still_there(program: Program, run_id: str) -> str:
    """Return a run's id; if there is no such run, because it was deleted, that to open with.

    Raises:
        StoreError: The store cannot be read.
    """
    try:
        return program.store.row(run_id).run_id
    except UnknownRun:
        return first_run(program, "")


def live_run(program: Program) -> str:
    """Return the run that is going on, of several the first; empty if only traces go on."""
    for job in program.worker.state().running:
        try:
            return program.store.row(job.run_id).run_id
        except UnknownRun:
            continue
    return ""


def press_unlearn(program: Program, showing: str, form: Form) -> tuple[str, Message]:
    """Queue what the form asks for.

    Returns:
        The run to show, and what to tell. While it waits for another the page stays with that.
    """
    return _queued(program, showing, form, spec_of)


def press_score(program: Program, showing: str, form: Form) -> tuple[str, Message]:
    """Queue a run that only scores the form's model. Returns the same as `press_unlearn`."""
    return _queued(program, showing, form, scoring_of)


def _queued(
    program: Program, showing: str, form: Form, asked: Callable[[Form], RunSpec]
) -> tuple[str, Message]:
    try:
        spec = asked(form)
        state = program.worker.state()
        run_id = program.worker.submit(spec, name=title_of(form, spec))
    except SpecError as error:
        return showing, Message(problems_of(error, form))
    except (StoreError, NotRunning) as error:
        return showing, trouble(error)
    if not state.waits(spec.model.device):
        return run_id, Message()
    return live_run(program) or showing or run_id, Message(note=after(state))


def press_hold(program: Program, run_id: str) -> Message:
    """Hold the run, or let it go on if it is held."""
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
    """Stop the run, or take it from the queue."""
    try:
        program.worker.stop(run_id)
    except (StoreError, NotRunning) as error:
        return trouble(error)
    return Message()


def press_ask(program: Program, run_id: str, prompt: str) -> tuple[str, Message]:
    """Have both models of a run answer a prompt.

    Returns:
        Id of the question, empty if there is none; and what to tell.
    """
    if len(prompt) > LONGEST_PROMPT:
        told = f"the prompt has {len(prompt)} characters: {LONGEST_PROMPT} is the most"
        return "", Message((Problem(PROMPT, "Prompt", told),))
    try:
        return program.worker.ask(run_id, prompt), Message()
    except StoreError as error:
        return "", trouble(error)
    except ValueError as error:
        told = str(error).removeprefix("prompt: ")
        return "", Message((Problem(PROMPT, "Prompt", told),))


class Wish(BaseModel):
    """What a page asks to change: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    phase: int
    changes: Annotated[dict[str, Annotated[str, Field(max_length=100)]], Field(max_length=50)]
    """New values as typed, by dotted path in the phase."""


def press_adjust(program: Program, asked: Any) -> dict[str, Any]:
    """Change values of the phase that a run trains.

    Returns:
        The value of the card that they are on, with what to tell.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    try:
        wish = Wish.model_validate(asked)
    except ValidationError:
        return Adjustables().plain()
    course = program.courses.of(wish.run)
    now = adjustables(wish.run, program.store.spec(wish.run), course)
    if now.fields and now.phase != wish.phase:
        late = f"Phase {wish.phase + 1} has ended: these are the values of phase {now.phase + 1}"
        return now.plain(told=True, problems={"": late})
    if not wish.changes:
        return now.plain(told=True, note="Nothing to change: these values hold already.")
    try:
        program.worker.adjust(wish.run, wish.changes)
    except SpecError as error:
        return now.plain(told=True, problems=dict(error.problems))
    except NotRunning as error:
        return now.plain(told=True, problems={"": str(error)})
    return now.plain(told=True, note="Asked for: it holds from the next batch on.")


def settings_of(program: Program, run_id: str) -> Form:
    """Return a form with a run's settings.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    return form_of(program.store.spec(run_id).model_dump(mode="json"))
