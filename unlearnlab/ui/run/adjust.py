"""Values of the present phase that may be changed while a run goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from unlearnlab.runs.progress import Course
from unlearnlab.spec.plan import written
from unlearnlab.spec.run import RunSpec, adjustable
from unlearnlab.ui.kit.controls import OF_METHOD, PHASE
from unlearnlab.ui.kit.script import script
from unlearnlab.views.phases import path_words, present_phase


@dataclass(frozen=True, slots=True)
class Field:
    """One value that may be changed."""

    path: str
    """Its dotted path in the phase."""
    label: str
    value: str
    """As one types it."""


@dataclass(frozen=True, slots=True)
class Adjustables:
    """What may be changed at present; no fields if nothing may."""

    run: str = ""
    phase: int = 0
    title: str = ""
    fields: Sequence[Field] = ()
    asked: int = 0
    """Changes that were made or refused so far."""

    def plain(
        self, *, told: bool = False, problems: Mapping[str, str] | None = None, note: str = ""
    ) -> dict[str, Any]:
        """Return plain values for the page's script.

        Args:
            told: Whether this answers a click, so that an earlier answer is to be replaced.
            problems: Messages by the path of their field; those of no field under "".
            note: What to tell if there are none.
        """
        listed = [{"path": path, "message": text} for path, text in (problems or {}).items()]
        return asdict(self) | {"told": told, "problems": listed, "note": note}


def adjustables(run_id: str, spec: RunSpec, course: Course) -> Adjustables:
    """Return what may be changed in a run at present, with the values that hold."""
    present = present_phase(spec, course)
    if present is None:
        return Adjustables()
    number, phase = present
    words = {s.name: s.label for s in (*PHASE, *OF_METHOD[phase.method.kind])}
    fields = [
        Field(path, words.get(path.rpartition(".")[2], path_words(path)), written(value))
        for path, value in adjustable(phase).items()
    ]
    where = f"phase {number + 1}, " if len(spec.phases) > 1 else ""
    title = f"{where}{phase.method.card.title} · a change holds until the phase ends"
    return Adjustables(run_id, number, title, fields, len(course.changes))


def adjust_card() -> gr.HTML:
    """Draw the card. Its value is that of `Adjustables.plain`; `apply` fires with the changes."""
    return gr.HTML(
        Adjustables().plain(),
        html_template=_TEMPLATE,
        js_on_load=script("run/adjust.js"),
        elem_id="adjust",
        apply_default_css=False,
    )


_TEMPLATE = """
<section class="card adjust" aria-labelledby="adjust-title" hidden>
  <div class="card-head"><h2 id="adjust-title">Change while it runs</h2><span></span></div>
  <form novalidate>
    <button type="submit" class="apply">Apply</button><p role="status"></p>
  </form>
</section>
"""
