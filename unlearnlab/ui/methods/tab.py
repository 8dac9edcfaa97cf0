"""The tab Methods: a card for each method, with its formula, its price and what it did here."""

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr

from unlearnlab.spec.methods import METHODS, MethodSpec
from unlearnlab.spec.plan import written
from unlearnlab.spec.presets import Preset, presets
from unlearnlab.spec.run import ModelSpec
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.layout import QUIET, FormParts
from unlearnlab.ui.kit.controls import OF_METHOD, WORDS, Setting
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script, source
from unlearnlab.ui.kit.text import escape, score
from unlearnlab.views.benchmarks import FIGURES, Figure, Measurement, measurements

FITS = 33
"""Signs of a formula in one line of a card."""

PLUS, BREAK = " + ", r" \\[2pt] "
_PLACES = re.compile(r"( \+ |,\s*\\quad\s*)")
_UNSEEN = re.compile(r"\\(?:(?:mathrm|left|right|overline|text|tfrac)(?![A-Za-z])|[,;! ])|[{}_^]")
_SYMBOL = re.compile(r"\\(?:[A-Za-z]+|\|)")


def tab(program: Program, tabs: gr.Tabs, form: FormParts, *, unlearn: str) -> None:
    """Lay the tab out and wire it.

    Args:
        program: Store and worker.
        tabs: The tabs of the page, to turn to another one.
        form: Where a preset goes.
        unlearn: Id of the tab that has the form.
    """
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
    gr.HTML(_NONE_LEFT, apply_default_css=False)

    def used(event: gr.EventData) -> list[Any]:
        chosen = forms.preset_form(str(event.preset))
        return [gr.Tabs(selected=unlearn), *form_layout.updates(program, form, chosen)]

    text.change(None, text, js=source("methods/filter.js"), api_visibility="private")
    for card in cards:
        card.use_preset(used, None, [tabs, *form.outputs], **QUIET)


def _card(kind: str, cls: type[MethodSpec]) -> gr.HTML:
    """Draw a method's card and return the part of it that has the button."""
    chosen = preset_of(kind)
    with gr.Column(elem_id=f"method-{kind}", elem_classes=["card", "method"]):
        gr.HTML(head_html(kind, cls), apply_default_css=False)
        # Markdown and not HTML: it is what draws formulas, without asking another host.
        gr.Markdown(f"$$\n{broken(cls.card.formula)}\n$$", elem_classes=["formula"])
        return gr.HTML(
            body_html(kind, cls, chosen, _measured(chosen)),
            js_on_load=script("methods/tab.js"),
            elem_classes=["method-body"],
            apply_default_css=False,
        )


def broken(formula: str) -> str:
    """Break a formula that is too wide for a card before its terms, which stay whole."""
    if _signs(formula) <= FITS:
        return formula
    (_, first), *others = _terms(formula)
    lines = [first]
    for mark, term in others:
        if mark == PLUS and _signs(lines[-1] + mark + term) <= FITS:
            lines[-1] += mark + term
        else:
            lines.append(rf"+\;{term}" if mark == PLUS else term)
    return rf"\begin{{gathered}} {BREAK.join(lines)} \end{{gathered}}"


def _terms(formula: str) -> list[tuple[str, str]]:
    """Split a formula where no bracket is open: each term with what stands before it."""
    first, *rest = _PLACES.split(formula)
    found = [("", first)]
    for mark, text in zip(rest[::2], rest[1::2], strict=True):
        before, term = found[-1]
        if sum(map(term.count, "([{")) > sum(map(term.count, ")]}")):
            found[-1] = (before, f"{term}{mark}{text}")
        else:
            found.append((mark, text))
    return found


def _signs(formula: str) -> int:
    """Count, roughly, the signs that a formula shows."""
    return len(_SYMBOL.sub("x", _UNSEEN.sub(" ", formula)).replace(" ", ""))


def preset_of(kind: str) -> Preset | None:
    """Choose a preset of a method on the embedded model: one that shows it alone if there is."""
    found = [
        one
        for one in presets().values()
        if one.spec.model.name == ModelSpec().name
        and kind in {phase.method.kind for phase in one.spec.phases}
    ]
    alone = (one for one in found if len({phase.method.kind for phase in one.spec.phases}) == 1)
    return next(alone, found[0] if found else None)


def _measured(chosen: Preset | None) -> Measurement | None:
    return measurements().get((chosen.name, chosen.spec.data.fold)) if chosen else None


def head_html(kind: str, cls: type[MethodSpec]) -> str:
    """Give a method's name, with a link to its card, and its idea. HTML."""
    title = escape(cls.card.title)
    return (
        f'<h2>{title} <a href="#method-{kind}" aria-label="Link to {title}">#</a></h2>'
        f"<p>{escape(cls.card.idea)}</p>"
    )


def body_html(
    kind: str, cls: type[MethodSpec], chosen: Preset | None, found: Measurement | None
) -> str:
    """Give what there is to know of a method under its formula, and the button. HTML."""
    card = cls.card
    phases = chosen.spec.phases if chosen else ()
    used = next((phase.method for phase in phases if phase.method.kind == kind), cls())
    facts = (
        ("When it fails", f"<p>{escape(card.fails)}</p>{_example(chosen, found)}"),
        ("Memory, beside gradient difference", f"<p>{escape(card.memory)}</p>"),
        ("Defaults", _defaults(OF_METHOD.get(kind, ()), used)),
        ("Source", f"<p>{escape(card.source)}</p>"),
    )
    rows = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in facts)
    return f"<dl>{rows}</dl>{_button(card.title, chosen)}"


def _example(chosen: Preset | None, found: Measurement | None) -> str:
    if chosen is None or found is None:
        return '<p class="none">No measurement.</p>'
    figures = "".join(_figure(figure, found) for figure in FIGURES)
    seeds = f"mean of {len(found.runs)} seeds" if len(found.runs) > 1 else "one seed"
    return (
        f'<ul class="figures">{figures}</ul>'
        f"<small>{escape(', '.join(found.verdicts))} · {escape(chosen.name)}, "
        f"{escape(chosen.spec.data.fold)} fold, {seeds}</small>"
    )


def _figure(figure: Figure, found: Measurement) -> str:
    means = figure.means(found)
    if means is None:
        return ""
    before, after = means
    return (
        f'<li class="{figure.role}"><span>{escape(figure.title)}</span>'
        f"<b><i>{score(before)} →</i> {score(after)}</b></li>"
    )


def _defaults(of: Sequence[Setting], used: MethodSpec) -> str:
    """List the defaults, and beside them what the preset uses instead."""
    rows = "".join(_default(setting, getattr(used, setting.name)) for setting in of)
    return f'<ul class="defaults">{rows}</ul>'


def _default(setting: Setting, used: Any) -> str:
    default = setting.field.get_default()
    other = f" <small>preset {_value(used)}</small>" if used != default else ""
    return (
        f'<li title="{escape(setting.field.description or "")}">'
        f"<span>{escape(setting.label)}</span> <b>{_value(default)}</b>{other}</li>"
    )


def _value(value: Any) -> str:
    """Write a setting's value. HTML."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return written(value)
    return escape(WORDS.get(str(value), str(value).replace("_", " ")))


def _button(title: str, chosen: Preset | None) -> str:
    if chosen is None:
        return '<p class="none">No preset yet.</p>'
    return (
        f'<button type="button" data-preset="{escape(chosen.name)}">Use this preset'
        f'<span class="unseen"> for {escape(chosen.title)}</span></button>'
    )


_INTRODUCTION = (
    '<p class="lead">What each method minimises, what it costs, and when it goes wrong. '
    "<i>D<sub>f</sub></i> is the forget set, <i>D<sub>r</sub></i> the retain set, nll the mean "
    "loss of an answer's tokens. Figures are of the embedded model, original → unlearned; answers "
    "are the share of questions answered exactly, in the subtask that fares worst.</p>"
)

_NONE_LEFT = '<p class="none" id="methods-none" role="status" hidden>No method is called so.</p>'
