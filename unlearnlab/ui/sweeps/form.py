"""Sweep settings in the form: text boxes, a preview, and sweeps to begin with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from unlearnlab.runs.engine_api import find_device
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.sweeps import Sweeping, SweepStatus, sweep_seconds, sweep_status
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.axes import LAYERS, SHARES, Axis, SeedAxis, read_axis
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods import slider
from unlearnlab.spec.sweep import (
    Grid,
    ReadySweep,
    SweepSpec,
    expand_grid,
    ready_sweep,
    ready_sweeps,
)
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import ADAPTER, LORA, MODEL, OF_ADAPTER, OF_METHOD, PHASE, FormField
from unlearnlab.ui.kit.html import duration, escape, script
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.layout import Buttons, heading, message
from unlearnlab.ui.sweeps.card import Board

ROWS = 3
"""Settings that can be varied at once."""

SHOWN = 8
"""Values of an axis that the note lists."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What the fold holds: unchecked."""

    rows: tuple[tuple[str, str], ...]
    """What is varied, and its values as typed."""
    seeds: Any
    pick: str
    budget: Any

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Typed":
        """Take in what the controls hold, in the order in which they are drawn."""
        names, texts = values[0 : 2 * ROWS : 2], values[1 : 2 * ROWS : 2]
        rows = tuple((str(w or ""), str(t or "")) for w, t in zip(names, texts, strict=True))
        seeds, pick, budget = values[2 * ROWS :]
        return cls(rows, seeds, str(pick), budget)


def choices(form: Form) -> list[tuple[str, str]]:
    """List what can be varied of a form: label, and the path in the spec."""
    at = f"phases.{form.editing}"
    phase = [s for s in PHASE if s not in OF_ADAPTER] if form.trains else []
    later = f", phase {form.editing + 1}" if form.editing else ""
    found = [("Forget rows, share in %", SHARES)]
    if form.trains:
        found.insert(0, (f"Layers, as a window{later}", LAYERS))
    found += [(f"{s.label}{later}", f"{at}.{s.name}") for s in phase if _sweepable(s)]
    of_method = OF_METHOD.get(form.method, ())
    found += [(f"{s.label}{later}", f"{at}.method.{s.name}") for s in of_method if _sweepable(s)]
    found += [(s.label, s.path) for s in MODEL if s.name == "precision"]
    if form.values[ADAPTER]:
        found += [(f"LoRA {s.label}", f"model.adapter.{s.name}") for s in LORA]
    return found


def _sweepable(setting: FormField) -> bool:
    """Tell whether a setting is a number or one of a few words."""
    number = setting.field.annotation in (int, float, int | None, float | None)
    return bool(number or setting.choices or slider(setting.field))


HINTS = {LAYERS: "blocks, such as 3", SHARES: "10, 25, 50, 100"}
HINT = "0.1, 0.5, 1"

HOW = (
    "<p>Values one by one (0.1, 0.5, 1), at even distances (0 to 1 in 5), at even ratios "
    "(1e-6 to 1e-4 in 5 log), or as multiples of the form's value (x 0.1, 0.5, 2).</p>"
)


def hint(what: str, form: Form) -> str:
    """Show what to type for a setting."""
    known = (*PHASE, *MODEL, *OF_METHOD.get(form.method, ()))
    words = (s for s in known if s.choices and what.endswith(f".{s.name}"))
    setting = next(words, None)
    return ", ".join(setting.choices) if setting else HINTS.get(what, HINT)


def typed_sweep(form: Form, typed: Typed) -> SweepSpec:
    """Make the sweep that form and fold ask for.

    Raises:
        SpecError: Something in one of them is wrong.
    """
    seeds = _number("seeds", typed.seeds or 1)
    axes: list[Axis] = [SeedAxis(count=seeds)] if seeds > 1 else []
    axes += [read_axis(what, text, phase=form.editing) for what, text in typed.rows if what]
    if not axes:
        raise SpecError([("", "choose what to vary, or more than one seed")])
    pick: Literal["grid", "random"] = "random" if typed.pick == "random" else "grid"
    budget = None
    if pick == "random":
        if not typed.budget:
            raise SpecError([("", "say how many runs to draw at random")])
        budget = _number("runs", typed.budget)
    base = forms.spec_of(form)
    if base.keep_as:
        told = "all runs of a sweep would be kept under this name: leave it empty"
        raise SpecError([("keep_as", told)])
    return SweepSpec(base=base, axes=tuple(axes), pick=pick, budget=budget)


def _number(name: str, value: Any) -> int:
    if not isinstance(value, int | float) or value != int(value) or not 1 <= value <= 1000:
        raise SpecError([(name, f"must be a whole number from 1 to 1000, not {value!r}")])
    return int(value)


def note(program: Program, form: Form, typed: Typed) -> str:
    """Say what the sweep would be: its values, its runs, its time; or what is wrong. HTML."""
    if not any(what for what, _ in typed.rows) and typed.seeds in (None, 1):
        return f"<p>Choose what to vary. The rest stays as the form has it.</p>{HOW}"
    try:
        spec = typed_sweep(form, typed)
        grid = expand_grid(spec)
        values = "".join(f"<p>{line}</p>" for line in _values(spec, grid))
        return f"{values}<p><b>{escape(size(program, spec))}</b></p>"
    except (SpecError, StoreError) as error:
        lines = "".join(f"<p>{escape(line)}</p>" for line in str(error).splitlines())
        return f'<div class="problems">{lines}</div>'


def _values(spec: SweepSpec, grid: Grid) -> list[str]:
    """List the values of each axis, as HTML."""
    lines: list[str] = []
    for axis, values in zip(spec.axes, grid.values, strict=True):
        texts = [value.text for value in values]
        told = [*texts[: SHOWN - 1], "…", texts[-1]] if len(texts) > SHOWN else texts
        lines.append(f"{escape(axis.name)}: {escape(', '.join(told))}")
    return lines


def size(program: Program, spec: SweepSpec) -> str:
    """Say how many runs a sweep has and how long they take, before it starts.

    Raises:
        SpecError: The sweep cannot be laid out.
        StoreError: The store cannot be read.
    """
    rows = program.store.runs()
    found = sweep_status(spec, "", rows)
    device = find_device(spec.base.model.device, program.devices())
    cuda = device is not None and device.cuda
    took = sweep_seconds(found, rows, program.outline, cuda=cuda)
    return f"{_count(found)}{'' if took is None else f', about {duration(took)}'}" + (
        "; the first run will tell the time" if took is None else ""
    )


def _count(found: SweepStatus) -> str:
    total, done = len(found.points), len(found.of("finished"))
    runs = "1 run" if total == 1 else f"{total} runs"
    return f"{runs}, {done} of them there already" if done else runs


def press_sweep(sweeping: Sweeping, form: Form, typed: Typed) -> tuple[str, Message]:
    """Start what form and fold ask for.

    Returns:
        Id of the sweep, empty if it was not started; and what to tell.
    """
    try:
        spec = typed_sweep(form, typed)
        title = forms.title_of(form, spec.base) or spec.base.title
        return sweeping.start(spec, name=title), Message()
    except SpecError as error:
        return "", Message(forms.problems_of(error, form))
    except (StoreError, NotRunning) as error:
        return "", trouble(error)


def press_ready(sweeping: Sweeping, form: Form, name: str) -> tuple[str, Message]:
    """Start a sweep that comes with the program; see `fitted`."""
    try:
        ready = ready_sweep(name)
        return sweeping.start(fitted(ready, form), name=ready.title), Message()
    except (StoreError, SpecError, NotRunning) as error:
        return "", trouble(error)


def fitted(ready: ReadySweep, form: Form) -> SweepSpec:
    """Put the form's data under a sweep of another model than the embedded one.

    That model does not know the embedded data.

    Raises:
        SpecError: Something in the form is wrong.
    """
    if ready.embedded:
        return ready.sweep
    data = forms.parsed(form).data
    return ready.sweep.model_copy(
        update={"base": ready.sweep.base.model_copy(update={"data": data})}
    )


def ready_html(program: Program, form: Form) -> str:
    """List the sweeps that come with the program, one press each. HTML."""
    items = "".join(_item(program, form, one) for one in ready_sweeps().values())
    return f'<ul class="ready-sweeps">{items}</ul>'


_NOT_HERE = (
    "Needs {}, which is not on this machine: choose it as the model, and the note under it tells "
    "how to get it."
)


def _item(program: Program, form: Form, one: ReadySweep) -> str:
    model = one.sweep.base.model
    off = bool(model.known.unavailable_reason)
    try:
        told = _NOT_HERE.format(model.name) if off else size(program, fitted(one, form))
    except (SpecError, StoreError) as error:
        told, off = str(error), True
    said = f"<small>{escape(told)}</small>"
    return (
        f'<li><div class="run-row"><b>{escape(one.title)}</b>'
        f'<button type="button" class="quiet" data-event="ready" data-name="{escape(one.name)}"'
        f"{' disabled' if off else ''}>Start</button></div>"
        f"<small>{escape(one.description)}</small>{said}</li>"
    )


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
        return forms.collect_form(values[0], values[1:count]), Typed.of(values[count:])

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
        form = forms.collect_form(draft, held)
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
