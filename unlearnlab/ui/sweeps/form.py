"""The fold that makes a sweep of the form: what varies, a preview, and ready-made sweeps."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from unlearnlab.runs.engine_api import find_device
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.sweeps import Sweeping, sweep_seconds, sweep_status
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods.base import slider
from unlearnlab.spec.sweep import (
    LAYERS,
    SHARES,
    Axis,
    ReadySweep,
    SeedAxis,
    SweepSpec,
    expand_grid,
    read_axis,
    ready_sweep,
    ready_sweeps,
)
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import ADAPTER, LORA, MODEL, OF_ADAPTER, OF_METHOD, PHASE, FormField
from unlearnlab.ui.kit.html import heading, render, script
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, error_notice, notice_box
from unlearnlab.ui.run.panel import Buttons
from unlearnlab.ui.sweeps.card import SweepBoard
from unlearnlab.views.words import duration

ROWS = 3
"""Most settings that a sweep of the form varies."""

SHOWN = 8
"""Most values of an axis that the note lists."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What the reader typed into the fold: unchecked."""

    rows: tuple[tuple[str, str], ...]
    """Path of each varied setting, empty for none, and its values as typed."""
    seeds: Any
    pick: str
    budget: Any


def choices(form: Form) -> list[tuple[str, str]]:
    """List the settings of a form that a sweep can vary: labels and paths in the spec."""
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


def hint(what: str, form: Form) -> str:
    """Return an example of what to type for a setting."""
    known = (*PHASE, *MODEL, *OF_METHOD.get(form.method, ()))
    words = (s for s in known if s.choices and what.endswith(f".{s.name}"))
    setting = next(words, None)
    return ", ".join(setting.choices) if setting else HINTS.get(what, HINT)


def typed_sweep(form: Form, typed: Typed) -> SweepSpec:
    """Return the sweep that form and fold ask for.

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
        return render("sweeps/note.html", problems=(), size="")
    try:
        spec = typed_sweep(form, typed)
        lines: list[str] = []
        for axis, values in zip(spec.axes, expand_grid(spec).values, strict=True):
            texts = [value.text for value in values]
            if len(texts) > SHOWN:
                texts = [*texts[: SHOWN - 1], "…", texts[-1]]
            lines.append(f"{axis.name}: {', '.join(texts)}")
        told = size(program, spec)
    except (SpecError, StoreError) as error:
        return render("sweeps/note.html", problems=str(error).splitlines())
    return render("sweeps/note.html", problems=(), lines=lines, size=told)


def size(program: Program, spec: SweepSpec) -> str:
    """Say how many runs a sweep has and how long they take, before it starts.

    Raises:
        SpecError: The sweep cannot be expanded.
        StoreError: The store cannot be read.
    """
    rows = program.store.runs()
    found = sweep_status(spec, "", rows)
    device = find_device(spec.base.model.device, program.devices())
    cuda = device is not None and device.cuda
    took = sweep_seconds(found, rows, program.outline, cuda=cuda)
    total, done = len(found.points), len(found.of("finished"))
    runs = "1 run" if total == 1 else f"{total} runs"
    there = f", {done} of them finished already" if done else ""
    wait = "; the first run will tell the time" if took is None else f", about {duration(took)}"
    return f"{runs}{there}{wait}"


def press_sweep(sweeping: Sweeping, form: Form, typed: Typed) -> tuple[str, Notice]:
    """Start the sweep that form and fold ask for.

    Returns:
        Id of the sweep, empty if it was not started; and what to tell.
    """
    try:
        spec = typed_sweep(form, typed)
        title = forms.title_of(form, spec.base) or spec.base.title
        return sweeping.start(spec, name=title), Notice()
    except SpecError as error:
        return "", Notice(forms.problems_of(error, form))
    except (StoreError, NotRunning) as error:
        return "", error_notice(error)


def press_ready(sweeping: Sweeping, form: Form, name: str) -> tuple[str, Notice]:
    """Start a ready-made sweep; see `with_form_data`."""
    try:
        ready = ready_sweep(name)
        return sweeping.start(with_form_data(ready, form), name=ready.title), Notice()
    except (StoreError, SpecError, NotRunning) as error:
        return "", error_notice(error)


def with_form_data(ready: ReadySweep, form: Form) -> SweepSpec:
    """Return a ready-made sweep, on the form's data unless it is of the embedded model.

    Other models do not know the embedded data.

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
    """List the ready-made sweeps, each with a button that starts it. HTML."""
    sweeps: list[tuple[ReadySweep, str, bool]] = []
    for one in ready_sweeps().values():
        model = one.sweep.base.model
        off = bool(model.known.unavailable_reason)
        told = (
            f"Needs {model.name}, which is not on this machine: choose it as the model to see how "
            "to get it."
        )
        if not off:
            try:
                told = size(program, with_form_data(one, form))
            except (SpecError, StoreError) as error:
                told, off = str(error), True
        sweeps.append((one, told, off))
    return render("sweeps/ready.html", sweeps=sweeps)


INTO_VIEW = """() => {
  setTimeout(() => document.getElementById("sweep-fold")?.scrollIntoView({ block: "start" }), 100);
  return [];
}"""

SAVE = """(kept, ...values) =>
  document.activeElement?.closest("#sweep-fold") ? { values } : kept"""
"""Keeps what the reader types in the browser; updates by the server do not count."""


@dataclass(frozen=True)
class SweepFold:
    """The components of the fold."""

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
        """List what the reader types into, in the order in which the browser keeps the values."""
        named = [component for row in self.rows for component in row]
        return [*named, self.seeds, self.pick, self.budget]

    def typed(self, held: Mapping[Any, Any]) -> Typed:
        """Gather what was typed from what the components hold, by component."""
        rows = tuple((str(held[what] or ""), str(held[text] or "")) for what, text in self.rows)
        return Typed(rows, held[self.seeds], str(held[self.pick]), held[self.budget])


def build_fold() -> SweepFold:
    """Lay the fold out."""
    kept = gr.BrowserState({}, storage_key="unlearnlab-sweep-1", secret="unlearnlab")
    field: dict[str, Any] = {"elem_classes": ["field"]}
    with gr.Column(elem_classes=["card"], elem_id="sweep-fold"):
        fold = gr.Accordion("Sweep this", open=False, elem_classes=["fold"])
        # Outside of the fold: a block that holds a message without words is not shown at all.
        told = notice_box("sweep-message")
    with fold:
        rows: list[tuple[gr.Dropdown, gr.Textbox]] = []
        for number in range(ROWS):
            with gr.Group(elem_classes=["fields"]):
                what = gr.Dropdown(
                    [],
                    value=None,
                    label="Vary" if number == 0 else "and",
                    elem_id=f"sweep-what-{number}",
                    min_width=90,
                    allow_custom_value=True,
                    **field,
                )
                text = gr.Textbox(
                    label="Values",
                    max_lines=1,
                    elem_id=f"sweep-values-{number}",
                    min_width=90,
                    **field,
                )
            rows.append((what, text))
        whole: dict[str, Any] = {"precision": 0, "step": 1, "minimum": 1, "min_width": 100}
        with gr.Group(elem_classes=["fields"]):
            seeds = gr.Number(
                1,
                label="Seeds",
                info="0 to n - 1 of each run; the chart shows their mean.",
                elem_id="sweep-seeds",
                **whole,
                **field,
            )
            budget = gr.Number(
                20,
                label="Runs at random",
                visible=False,
                elem_id="sweep-budget",
                **whole,
                **field,
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


def wire_fold(
    program: Program,
    board: SweepBoard,
    form: FormParts,
    fold: SweepFold,
    buttons: Buttons,
    card: gr.HTML,
) -> None:
    """Wire the fold. A start turns the card to the sweep."""

    def noted(held: dict[Any, Any]) -> dict[Any, Any]:
        """Say what the sweep would be, and what to type."""
        now, typed = form.collect(held), fold.typed(held)
        hints = {
            text: gr.update(placeholder=hint(what, now))
            for (what, _), (_, text) in zip(typed.rows, fold.rows, strict=True)
        }
        budget = gr.update(visible=typed.pick == "random")
        return {fold.note: note(program, now, typed), fold.budget: budget, **hints}

    def opened(held: dict[Any, Any]) -> dict[Any, Any]:
        """Offer what the form has by now, with what was typed before."""
        kept = held[fold.kept]
        values = kept.get("values") if isinstance(kept, dict) else None
        if isinstance(values, list) and len(values) == len(fold.inputs):
            held = held | dict(zip(fold.inputs, values, strict=True))
        now, typed = form.collect(held), fold.typed(held)
        offered = choices(now)
        known = {path for _, path in offered}
        updates: dict[Any, Any] = {
            fold.seeds: typed.seeds,
            fold.pick: typed.pick,
            fold.budget: gr.update(value=typed.budget, visible=typed.pick == "random"),
            fold.note: note(program, now, typed),
            fold.ready: ready_html(program, now),
        }
        for (what, text), (path, words) in zip(fold.rows, typed.rows, strict=True):
            updates[what] = gr.update(choices=offered, value=path if path in known else None)
            updates[text] = gr.update(value=words, placeholder=hint(path, now))
        return updates

    def shown(pressed: tuple[str, Notice]) -> dict[Any, Any]:
        """Tell what came of a press, and turn the card to a sweep that was started."""
        sweep, told = pressed
        # With the moment: the same sweep may be started twice.
        turned = {card: {"sweep": sweep, "follow": True, "at": time.time()}} if sweep else {}
        return {fold.message: told.plain, **turned}

    def started(held: dict[Any, Any]) -> dict[Any, Any]:
        return shown(press_sweep(board.sweeping, form.collect(held), fold.typed(held)))

    def readied(event: gr.EventData, held: dict[Any, Any]) -> dict[Any, Any]:
        return shown(press_ready(board.sweeping, form.collect(held), str(event.name)))

    inputs: set[Any] = {*form.inputs, *fold.inputs}
    hints = [text for _, text in fold.rows]
    typed_into = [*hints, fold.seeds, fold.budget]
    chosen = [*(what for what, _ in fold.rows), fold.pick]
    edits = [*(box.change for box in typed_into), *(box.input for box in chosen)]
    opening = ({fold.kept, *inputs}, [*fold.inputs, fold.note, fold.ready])
    fold.fold.expand(opened, *opening, **QUIET)
    opener = buttons.sweep.click(
        lambda: gr.update(open=True), None, fold.fold, js=INTO_VIEW, **QUIET
    )
    opener.then(opened, *opening, **QUIET)
    gr.on(edits, None, [fold.kept, *fold.inputs], fold.kept, js=SAVE, **QUIET)
    noting = [fold.note, fold.budget, *hints]
    gr.on(edits, noted, inputs, noting, trigger_mode="always_last", **QUIET)
    outputs = [fold.message, card]
    fold.start.click(started, inputs, outputs, **QUIET)
    fold.ready.ready(readied, set(form.inputs), outputs, **QUIET)
