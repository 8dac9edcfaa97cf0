"""The fold "Sweep this" under the form, and its wiring."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.layout import QUIET, FormParts
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.run.handlers import Message
from unlearnlab.ui.run.layout import Buttons, heading, message
from unlearnlab.ui.sweeps.form import (
    ROWS,
    Typed,
    choices,
    hint,
    note,
    press_ready,
    press_sweep,
    ready_html,
)
from unlearnlab.ui.sweeps.panel import Board

INTO_VIEW = """() => {
  setTimeout(() => document.getElementById("sweep-fold")?.scrollIntoView({ block: "start" }), 100);
  return [];
}"""

SAVE = """(kept, ...values) =>
  document.activeElement?.closest("#sweep-fold") ? { values } : kept"""
"""Keeps what is typed in the browser; only what the reader does counts."""


@dataclass(frozen=True)
class SweepFold:
    """Its components."""

    kept: gr.BrowserState
    fold: gr.Accordion
    rows: list[tuple[gr.Dropdown, gr.Textbox]]
    seeds: gr.Number
    pick: gr.Radio
    budget: gr.Number
    note: gr.HTML
    start: gr.Button
    message: gr.HTML
    ready: gr.HTML
    """Fires `ready` with the `name` of a sweep."""

    @property
    def inputs(self) -> list[Component]:
        """List what `Typed.of` takes."""
        named = [component for row in self.rows for component in row]
        return [*named, self.seeds, self.pick, self.budget]


def draw_fold() -> SweepFold:
    """Lay it out."""
    kept = gr.BrowserState({}, storage_key="unlearnlab-sweep-1", secret="unlearnlab")
    with gr.Column(elem_classes=["card"], elem_id="sweep-fold"):
        fold = gr.Accordion("Sweep this", open=False, elem_classes=["fold"])
        # Outside of the fold: a block that holds a message without words is not shown at all.
        told = message("sweep-message")
    with fold:
        rows = [_row(number) for number in range(ROWS)]
        with gr.Group(elem_classes=["fields"]):
            seeds = gr.Number(
                1,
                label="Seeds",
                info="0 to n - 1 of each run; the chart shows their mean.",
                precision=0,
                step=1,
                minimum=1,
                elem_id="sweep-seeds",
                elem_classes=["field"],
                min_width=100,
            )
            budget = gr.Number(
                20,
                label="Runs at random",
                precision=0,
                step=1,
                minimum=1,
                visible=False,
                elem_id="sweep-budget",
                elem_classes=["field"],
                min_width=100,
            )
        picks = [("every combination", "grid"), ("some at random", "random")]
        pick = gr.Radio(picks, value="grid", label="Which runs", elem_classes=["field", "pills"])
        said = gr.HTML("", elem_id="sweep-note", elem_classes=["note"], apply_default_css=False)
        start = gr.Button("Start the sweep", variant="primary", elem_id="sweep-start")
        heading("Ready-made")
        ready = gr.HTML(
            "", elem_id="ready", js_on_load=script("kit/buttons.js"), apply_default_css=False
        )
    return SweepFold(kept, fold, rows, seeds, pick, budget, said, start, told, ready)


def _row(number: int) -> tuple[gr.Dropdown, gr.Textbox]:
    with gr.Group(elem_classes=["fields"]):
        what = gr.Dropdown(
            [],
            value=None,
            label="Vary" if number == 0 else "and",
            elem_id=f"sweep-what-{number}",
            elem_classes=["field"],
            min_width=90,
            allow_custom_value=True,
        )
        text = gr.Textbox(
            label="Values",
            max_lines=1,
            elem_id=f"sweep-values-{number}",
            elem_classes=["field"],
            min_width=90,
        )
    return what, text


@dataclass(frozen=True)
class _Wires:
    """What the handlers of the fold know."""

    program: Program
    board: Board
    form: FormParts
    fold: SweepFold

    def gathered(self, values: Sequence[Any]) -> tuple[Form, Typed]:
        """Take in what form and fold hold."""
        count = len(self.form.inputs)
        return forms.gathered(values[0], values[1:count]), Typed.of(values[count:])

    def noted(self, *values: Any) -> list[Any]:
        """Say what the sweep would be, and what to type."""
        form, typed = self.gathered(values)
        hints = [gr.update(placeholder=hint(what, form)) for what, _ in typed.rows]
        budget = gr.update(visible=typed.pick == "random")
        return [note(self.program, form, typed), *hints, budget]

    def opened(self, kept: Any, *values: Any) -> list[Any]:
        """Offer what the form has by now, with what was typed before."""
        held = kept.get("values") if isinstance(kept, dict) else None
        if isinstance(held, list) and len(held) == len(self.fold.inputs):
            values = (*values[: len(self.form.inputs)], *held)
        form, typed = self.gathered(values)
        offered = choices(form)
        known = {path for _, path in offered}
        rows: list[Any] = []
        for what, text in typed.rows:
            rows.append(gr.update(choices=offered, value=what if what in known else None))
            rows.append(gr.update(value=text, placeholder=hint(what, form)))
        budget = gr.update(value=typed.budget, visible=typed.pick == "random")
        said = note(self.program, form, typed)
        return [*rows, typed.seeds, typed.pick, budget, said, ready_html(self.program, form)]

    def started(self, *values: Any) -> list[Any]:
        """Start what was typed."""
        return _turned(press_sweep(self.board.sweeping, *self.gathered(values)))

    def readied(self, event: gr.EventData, draft: Any, *held: Any) -> list[Any]:
        """Start a sweep that comes with the program."""
        form = forms.gathered(draft, held)
        return _turned(press_ready(self.board.sweeping, form, str(event.name)))


def _turned(pressed: tuple[str, Message]) -> list[Any]:
    """Tell what came of a press, and turn the card to a sweep that was started."""
    sweep, told = pressed
    # With the moment: the same sweep may be started twice.
    value = {"sweep": sweep, "follow": True, "at": time.time()}
    return [told.plain, value if sweep else gr.skip()]


def wire_fold(
    program: Program,
    board: Board,
    form: FormParts,
    fold: SweepFold,
    buttons: Buttons,
    card: gr.HTML,
) -> None:
    """Wire it. A start turns the card to the sweep."""
    wires = _Wires(program, board, form, fold)
    inputs = [*form.inputs, *fold.inputs]
    hints = [text for _, text in fold.rows]
    noting = [fold.note, *hints, fold.budget]
    opening = ([fold.kept, *inputs], [*fold.inputs, fold.note, fold.ready])
    typed = (*hints, fold.seeds, fold.budget)
    edits = [
        *(box.change for box in typed),
        *(what.input for what, _ in fold.rows),
        fold.pick.input,
    ]
    fold.fold.expand(wires.opened, *opening, **QUIET)
    opener = buttons.sweep.click(
        lambda: gr.update(open=True), None, fold.fold, js=INTO_VIEW, **QUIET
    )
    opener.then(wires.opened, *opening, **QUIET)
    gr.on(edits, None, [fold.kept, *fold.inputs], fold.kept, js=SAVE, **QUIET)
    gr.on(edits, wires.noted, inputs, noting, trigger_mode="always_last", **QUIET)
    outputs = [fold.message, card]
    fold.start.click(wires.started, inputs, outputs, **QUIET)
    fold.ready.ready(wires.readied, form.inputs, outputs, **QUIET)
