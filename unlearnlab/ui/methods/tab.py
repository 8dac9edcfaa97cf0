"""The tab Methods: a card for each method with its formula, memory, defaults and results."""

import re
from typing import Any

import gradio as gr

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import MethodSpec
from unlearnlab.spec.presets import Preset, presets
from unlearnlab.spec.run import ModelSpec, written
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.controls import OF_METHOD, WORDS
from unlearnlab.ui.kit.html import render, script, source
from unlearnlab.ui.kit.listeners import QUIET
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.benchmarks import FIGURES, Measurement, measurements

FITS = 33
"""Visible symbols of a formula that fit a line of a card."""

PLUS, BREAK = " + ", r" \\[2pt] "
_PLACES = re.compile(r"( \+ |,\s*\\quad\s*)")
_UNSEEN = re.compile(r"\\(?:(?:mathrm|left|right|overline|text|tfrac)(?![A-Za-z])|[,;! ])|[{}_^]")
_SYMBOL = re.compile(r"\\(?:[A-Za-z]+|\|)")


def tab(program: Program, tabs: gr.Tabs, form: FormParts) -> None:
    """Lay the tab out and wire it. A click on a preset fills the form and opens its tab."""
    with gr.Row(elem_classes=["methods-head"]):
        gr.HTML(_INTRODUCTION, apply_default_css=False)
        text = gr.Textbox(
            label="Filter methods",
            placeholder="filter by name or source",
            max_lines=1,
            elem_id="methods-filter",
        )
    with gr.Column(elem_classes=["methods"]):
        cards = [_card(kind, cls) for kind, cls in METHODS.items()]
    none = '<p class="none" id="methods-none" role="status" hidden>No method matches.</p>'
    gr.HTML(none, apply_default_css=False)

    def used(event: gr.EventData) -> dict[Any, Any]:
        chosen = forms.preset_form(str(event.preset))
        return {tabs: gr.Tabs(selected="unlearn")} | form_layout.changes(program, form, chosen)

    text.change(None, text, js=source("methods/filter.js"), api_visibility="private")
    for card in cards:
        card.use_preset(used, None, [tabs, *form.outputs], **QUIET)


def _card(kind: str, cls: type[MethodSpec]) -> gr.HTML:
    """Draw a method's card and return the part of it that has the button."""
    chosen = preset_of(kind)
    found = measurements().get((chosen.name, chosen.spec.data.fold)) if chosen else None
    with gr.Column(elem_id=f"method-{kind}", elem_classes=["card", "method"]):
        gr.HTML(head_html(kind, cls), apply_default_css=False)
        # Markdown and not HTML: it is what draws formulas, without asking another host.
        gr.Markdown(f"$$\n{broken(cls.card.formula)}\n$$", elem_classes=["formula"])
        return gr.HTML(
            body_html(kind, cls, chosen, found),
            js_on_load=script("methods/tab.js"),
            elem_classes=["method-body"],
            apply_default_css=False,
        )


def broken(formula: str) -> str:
    """Break a formula that is too wide for a card between its terms."""
    if _symbols(formula) <= FITS:
        return formula
    (_, first), *others = _terms(formula)
    lines = [first]
    for mark, term in others:
        if mark == PLUS and _symbols(lines[-1] + mark + term) <= FITS:
            lines[-1] += mark + term
        else:
            lines.append(rf"+\;{term}" if mark == PLUS else term)
    return rf"\begin{{gathered}} {BREAK.join(lines)} \end{{gathered}}"


def _terms(formula: str) -> list[tuple[str, str]]:
    """Split a formula outside brackets into pairs of separator and term."""
    first, *rest = _PLACES.split(formula)
    found = [("", first)]
    for mark, text in zip(rest[::2], rest[1::2], strict=True):
        before, term = found[-1]
        if sum(map(term.count, "([{")) > sum(map(term.count, ")]}")):
            found[-1] = (before, f"{term}{mark}{text}")
        else:
            found.append((mark, text))
    return found


def _symbols(formula: str) -> int:
    """Estimate the number of visible symbols of a formula."""
    return len(_SYMBOL.sub("x", _UNSEEN.sub(" ", formula)).replace(" ", ""))


def preset_of(kind: str) -> Preset | None:
    """Choose a preset of a method on the embedded model, preferably one with no other method."""
    found = [
        one
        for one in presets().values()
        if one.spec.model.name == ModelSpec().name
        and kind in {phase.method.kind for phase in one.spec.phases}
    ]
    alone = (one for one in found if len({phase.method.kind for phase in one.spec.phases}) == 1)
    return next(alone, found[0] if found else None)


def head_html(kind: str, cls: type[MethodSpec]) -> str:
    """Draw a method's name, with a link to its card, and its idea."""
    return render("methods/card.html", "head", kind=kind, card=cls.card)


def body_html(
    kind: str, cls: type[MethodSpec], chosen: Preset | None, found: Measurement | None
) -> str:
    """Draw what stands under a method's formula: facts, defaults, and the button of its preset."""
    phases = chosen.spec.phases if chosen else ()
    used = next((phase.method for phase in phases if phase.method.kind == kind), cls())
    means = [(figure, figure.means(found)) for figure in FIGURES] if found else []
    return render(
        "methods/card.html",
        "body",
        card=cls.card,
        preset=chosen,
        found=found,
        figures=[(figure, *ends) for figure, ends in means if ends],
        defaults=[
            (one, _value(one.field.get_default()), _value(getattr(used, one.name)))
            for one in OF_METHOD.get(kind, ())
        ],
    )


def _value(value: Any) -> str:
    """Write a setting's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return written(value)
    return WORDS.get(str(value), str(value).replace("_", " "))


_INTRODUCTION = (
    '<p class="lead">What each method minimises, what it costs, and when it goes wrong. '
    "<i>D<sub>f</sub></i> is the forget set, <i>D<sub>r</sub></i> the retain set, nll the mean "
    "loss of an answer's tokens. Figures are of the embedded model, original → unlearned; answers "
    "are the share of questions answered exactly, in the subtask that fares worst.</p>"
)
