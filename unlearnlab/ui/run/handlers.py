"""What the buttons of the tab Unlearn do: each submits a request to the worker and returns at once.

The panel is then drawn from the store.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import gradio as gr

from unlearnlab.exports.pack_file import PackError
from unlearnlab.exports.packs import add_pack
from unlearnlab.models.catalog import save_name_problem
from unlearnlab.runs.engine_api import Question, listed
from unlearnlab.runs.store import StoreError, UnknownRun
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.spec.presets import branched, teach_spec, unlearn_spec
from unlearnlab.spec.rows import counted
from unlearnlab.spec.run import NAME, RunSpec, SpecError
from unlearnlab.ui.form.form import Form, form_of, problems_of, scoring_of, spec_of, title_of
from unlearnlab.ui.kit.controls import Problem
from unlearnlab.ui.kit.html import script
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.live import DEMO_S, holding
from unlearnlab.views.reproduction import outlook, repeated

LONGEST_PROMPT = 8000
"""Characters. The model's context is shorter; this keeps pasted books out of the store."""

PROMPT = "ask-prompt"
"""Id of the prompt's box on the page."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Notice:
    """What the page says after a click: problems at their fields, or a note."""

    problems: Sequence[Problem] = ()
    note: str = ""
    form: str = ""
    """The digest of the form that the problems were found in, if they are a form's."""
    at: int = field(default_factory=time.monotonic_ns, compare=False)
    """Nanoseconds. Tells a notice from an earlier one of the same words, which was hidden since."""

    @property
    def plain(self) -> dict[str, Any]:
        """Return it as plain values for the page's script."""
        told = [asdict(p) for p in self.problems]
        return {"problems": told, "note": self.note, "form": self.form, "at": self.at}


def error_notice(error: Exception | str) -> Notice:
    """Return the notice of an error that belongs to no field."""
    return Notice(problems=(Problem("", "", str(error)),))


def notice_box(name: str) -> gr.HTML:
    """Draw what shows the notices of a button.

    Its value is `Notice.plain`. What a check of the fields found goes to the property `fields`
    instead, so that it takes the place of no answer to a button.
    """
    return gr.HTML(
        Notice().plain,
        fields=Notice().plain,
        html_template='<div class="message" role="alert" hidden></div>',
        js_on_load=script("kit/message.js"),
        elem_id=name,
        apply_default_css=False,
    )


def refusal_as_notice(press: Callable[P, Notice]) -> Callable[P, Notice]:
    """Return a refusal of the store or the worker as a notice instead of raising it."""

    @wraps(press)
    def pressed(*args: P.args, **kwargs: P.kwargs) -> Notice:
        try:
            return press(*args, **kwargs)
        except (StoreError, NotRunning) as error:
            return error_notice(error)

    return pressed


def first_run(program: Program, remembered: str) -> str:
    """Choose the run to open with: live, else replayed, else the browser's last, else the newest.

    Raises:
        StoreError: The store cannot be read.
    """
    if live := live_run(program):
        return live
    if replays := program.replays.active():
        return replays[-1].run_id
    demo = program.replays.demo
    # The recording that comes along is opened by its button on the first screen alone.
    known = [row.run_id for row in program.runs.rows() if not demo or row.run_id != demo.row.run_id]
    if remembered in known:
        return remembered
    return known[0] if known else ""


def existing_run(program: Program, run_id: str) -> str:
    """Return a run's id, or the run to open with if it was deleted.

    Raises:
        StoreError: The store cannot be read.
    """
    try:
        return program.runs.shown(run_id).row.run_id
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


def press_unlearn(program: Program, showing: str, form: Form) -> tuple[str, Notice]:
    """Queue the form's run.

    Returns:
        The run to show, and a notice. While the new run waits, the page stays with the active one.
    """
    return _queue_form(program, showing, form, spec_of)


def press_score(program: Program, showing: str, form: Form) -> tuple[str, Notice]:
    """Queue a run that only scores the form's model. Returns the same as `press_unlearn`."""
    return _queue_form(program, showing, form, scoring_of)


def _queue_form(
    program: Program, showing: str, form: Form, read: Callable[[Form], RunSpec]
) -> tuple[str, Notice]:
    try:
        spec = read(form)
        return _queue(program, showing, spec, name=title_of(form, spec))
    except SpecError as error:
        return showing, Notice(problems_of(error, form), form=form.digest)
    except (StoreError, NotRunning) as error:
        return showing, error_notice(error)


def _queue(
    program: Program, showing: str, spec: RunSpec, *, name: str, repeats: str = ""
) -> tuple[str, Notice]:
    """Queue a run, and return the run to show and a notice."""
    state = program.worker.state()
    run_id = program.worker.submit(spec, name=name, repeats=repeats)
    if not state.would_wait(spec.model.device):
        return run_id, Notice()
    return live_run(program) or showing or run_id, Notice(note=when_it_starts(state))


def when_it_starts(state: WorkerState) -> str:
    """Say when a further run starts, if it has to wait."""
    if len(state.running) != 1:
        before = f", after {len(state.queue)} others" if state.queue else ""
        return f"Queued: it starts when its device is free{before}."
    ahead = len(state.owned)
    return f"Queued: it starts after {f'{ahead} others' if ahead > 1 else 'the running one'}."


def press_reproduce(program: Program, showing: str, run_id: str) -> tuple[str, Notice]:
    """Queue a finished run again, and return the run to show and a notice."""
    try:
        row = program.store.row(run_id)
        if problems := outlook(row, program.runs.progress(run_id)).problems:
            return showing, Notice([Problem("", "", told) for told in problems])
        spec = repeated(row.spec)
        return _queue(program, showing, spec, name=row.name, repeats=row.run_id)
    except (StoreError, NotRunning) as error:
        return showing, error_notice(error)


def press_demo(program: Program, run_id: str) -> tuple[str, Notice]:
    """Replay the recording that comes with the program, and return the run to show and a notice."""
    demo = program.replays.demo
    if demo is None:
        return run_id, error_notice("this copy of the program has no recording: press Unlearn")
    program.replays.start(demo, demo.pace(seconds=DEMO_S))
    return demo.row.run_id, Notice()


def press_unpack(program: Program, path: str) -> tuple[str, Notice]:
    """Import the runs of an uploaded file, and remove the file.

    Returns:
        An imported run to show, empty if there is none, and a notice.
    """
    try:
        found = add_pack(program.store, Path(path))
    except (PackError, StoreError) as error:
        return "", error_notice(error)
    finally:
        Path(path).unlink(missing_ok=True)
    refused = [Problem("", "", one.told) for one in found if one.outcome == "refused"]
    added = [one for one in found if one.outcome != "refused"]
    note = "; ".join(f"{one.told}: {one.outcome}" for one in added)
    return added[0].run_id if added else "", Notice(refused, note)


@refusal_as_notice
def press_hold(program: Program, run_id: str) -> Notice:
    """Pause the run, or resume it if it is paused."""
    if holding(program.worker.state(), run_id):
        program.worker.resume(run_id)
    else:
        program.worker.pause(run_id)
    return Notice()


@refusal_as_notice
def press_stop(program: Program, run_id: str) -> Notice:
    """Stop the run, or remove it from the queue."""
    program.worker.stop(run_id)
    return Notice()


@refusal_as_notice
def press_stop_and_score(program: Program, run_id: str) -> Notice:
    """End the run's training at its next step, and let it go on with scoring."""
    program.worker.stop_and_score(run_id)
    return Notice()


def press_ask(
    program: Program, run_id: str, prompt: str, step: int | None = None
) -> tuple[str, Notice]:
    """Ask both models of a run a prompt; `step` names a snapshot in place of the unlearned one.

    Returns:
        Id of the request, empty if it was refused, and a notice.
    """
    problem = _why_it_cannot_answer(program, run_id)
    if len(prompt) > LONGEST_PROMPT:
        problem = f"the prompt has {len(prompt)} characters: {LONGEST_PROMPT} is the most"
    if not problem:
        try:
            ask_id = program.worker.ask(run_id, prompt, step=step)
            waits = program.store.row(run_id).ending is None
            return ask_id, Notice(note=_list_text(listed(prompt), waits=waits))
        except StoreError as error:
            return "", error_notice(error)
        except ValueError as error:
            problem = str(error).removeprefix("prompt: ")
    return "", Notice([Problem(PROMPT, "Prompt", problem)])


def _list_text(of: Sequence[Question], *, waits: bool) -> str:
    """Say that a text was read as a list of prompts; empty if it was not.

    Args:
        of: The prompts.
        waits: Whether the run waits while they are answered.
    """
    if not of:
        return ""
    expected = sum(bool(one.expected) for one in of)
    told = f"Asked as a list: {counted(len(of), 'prompt')}, {expected} of them with an expected "
    told += "answer after => or a tab."
    return f"{told} The run waits until all are answered." if waits else told


def _why_it_cannot_answer(program: Program, run_id: str) -> str:
    """Say why a recording cannot answer prompts; empty for a run that can."""
    if program.replays.of(run_id):
        return "a recording cannot answer: this is a replay. Ask when it has ended."
    demo = program.replays.demo
    if demo and demo.row.run_id == run_id:
        return "a recording cannot answer. Press Unlearn for a run that can."
    if program.runs.guest(run_id):
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
    return form_of(program.runs.shown(run_id).row.spec.model_dump(mode="json"))


def next_form(program: Program, run_id: Any) -> Form:
    """Return a form that unlearns what a run has taught.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    taught = program.store.row(str(run_id)).spec
    spec = unlearn_spec(taught.keep_as, taught.data.source)
    return form_of(spec.model_dump(mode="json"))


def branch_form(program: Program, run_id: str, step: int) -> Form:
    """Return a form with a run's settings that starts from one of its snapshots.

    Raises:
        SpecError: The snapshot is not there.
        StoreError: There is no such run, or the store cannot be read.
    """
    spec = branched(program.store.row(run_id).spec, f"{run_id}@{step}")
    return form_of(spec.model_dump(mode="json"))


def teaching_form(program: Program, run_id: Any) -> Form:
    """Return a form that teaches a run's model the data that it does not know.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    spec = program.store.row(str(run_id)).spec
    data = spec.data.source
    free = NAME.fullmatch(data) and not save_name_problem(data)
    taught = teach_spec(data, model=spec.model.name, keep_as=data if free else "")
    return form_of(taught.model_dump(mode="json"))


def only_known_form(program: Program, run_id: Any) -> Form:
    """Return a form with a run's settings that leaves out the rows its model does not know.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    plain = program.store.row(str(run_id)).spec.model_dump(mode="json")
    plain["data"]["unknown_rows"] = "leave_out"
    return form_of(plain)
