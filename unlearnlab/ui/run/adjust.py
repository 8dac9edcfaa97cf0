"""The card that changes values of the current phase while a run trains."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.plan import written
from unlearnlab.spec.run import RunSpec, SpecError, adjustable
from unlearnlab.ui.kit.controls import OF_METHOD, PHASE
from unlearnlab.ui.kit.html import render, script
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.phases import path_words, present_phase


@dataclass(frozen=True, slots=True)
class AdjustField:
    """One value that may be changed."""

    path: str
    """Its dotted path in the phase."""
    label: str
    value: str
    """As one types it."""


@dataclass(frozen=True, slots=True)
class Adjustables:
    """Values that can be changed now; no fields if there are none."""

    run: str = ""
    phase: int = 0
    title: str = ""
    fields: Sequence[AdjustField] = ()
    asked: int = 0
    """Number of changes made or refused so far."""

    def plain(
        self, *, told: bool = False, problems: Mapping[str, str] | None = None, note: str = ""
    ) -> dict[str, Any]:
        """Return plain values for the page's script.

        Args:
            told: Whether this answers a click, and so replaces an earlier answer.
            problems: Messages by the path of their field, or "" if they belong to no field.
            note: Message if there are no problems.
        """
        listed = [{"path": path, "message": text} for path, text in (problems or {}).items()]
        return asdict(self) | {"told": told, "problems": listed, "note": note}


def adjustables(run_id: str, spec: RunSpec, course: RunProgress) -> Adjustables:
    """Return the values of a run that can be changed now."""
    present = present_phase(spec, course)
    if present is None:
        return Adjustables()
    number, phase = present
    words = {s.name: s.label for s in (*PHASE, *OF_METHOD[phase.method.kind])}
    fields = [
        AdjustField(path, words.get(path.rpartition(".")[2], path_words(path)), written(value))
        for path, value in adjustable(phase).items()
    ]
    where = f"phase {number + 1}, " if len(spec.phases) > 1 else ""
    title = f"{where}{phase.method.card.title} · a change holds until the phase ends"
    return Adjustables(run_id, number, title, fields, len(course.changes))


class AdjustRequest(BaseModel):
    """Values to change: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    phase: int
    changes: Annotated[dict[str, Annotated[str, Field(max_length=100)]], Field(max_length=50)]
    """New values as typed, by dotted path in the phase."""


def press_adjust(program: Program, asked: Any) -> dict[str, Any]:
    """Change values of the phase that a run trains.

    Returns:
        The new value of the card, with a message.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    try:
        request = AdjustRequest.model_validate(asked)
    except ValidationError:
        return Adjustables().plain()
    course = program.courses.of(request.run)
    now = adjustables(request.run, program.store.spec(request.run), course)
    if now.fields and now.phase != request.phase:
        late = f"Phase {request.phase + 1} has ended: these are the values of phase {now.phase + 1}"
        return now.plain(told=True, problems={"": late})
    if not request.changes:
        return now.plain(told=True, note="Nothing to change: the run has these values already.")
    try:
        program.worker.adjust(request.run, request.changes)
    except SpecError as error:
        return now.plain(told=True, problems=dict(error.problems))
    except NotRunning as error:
        return now.plain(told=True, problems={"": str(error)})
    return now.plain(told=True, note="Requested: applies from the next batch.")


def adjust_card() -> gr.HTML:
    """Draw the card. Its value is that of `Adjustables.plain`; `apply` fires with the changes."""
    return gr.HTML(
        Adjustables().plain(),
        html_template=render("run/adjust.html"),
        js_on_load=script("run/adjust.js"),
        elem_id="adjust",
        apply_default_css=False,
    )
