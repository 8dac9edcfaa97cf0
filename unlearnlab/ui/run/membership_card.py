"""The card "Membership and measures": the attack with its threshold, documents, further measures.

The page's script moves the threshold; the misclassified documents come from the server.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.metrics.documents import TITLES
from unlearnlab.metrics.measures import Taken
from unlearnlab.metrics.membership import (
    Attack,
    Rates,
    Side,
    best_threshold,
    misclassified,
    rates,
    roc,
)
from unlearnlab.metrics.scores import SCORES, Membership, Scores
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.rows import held_out
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.charts import Figure, Trace
from unlearnlab.ui.kit.html import escape, render, script, span
from unlearnlab.ui.kit.listeners import answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.answers import EXCERPT, mask
from unlearnlab.views.documents import Documents
from unlearnlab.views.scoreboard import titles_of

LISTED = 40
"""Misclassified documents to list of each side, the farthest from the threshold first."""

SHOWN = 240
"""Characters of a document to show: enough to recognise it."""

BINS = 28
"""Bars of a histogram of losses."""

APART = 4
"""How many times one model's highest loss may exceed the other's on a common axis."""

_SIDES: dict[Side, tuple[str, str]] = {
    "member": ("Members missed", "loss at or above the threshold"),
    "nonmember": ("False alarms", "unseen, loss below the threshold"),
}
"""Heading of each list of misclassified documents, and what they have in common."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A model under attack."""

    name: Literal["original", "unlearned"]
    title: str
    attack: Attack
    opacity: float
    """Of its ROC curve: the unlearned model's stands out."""

    @property
    def losses(self) -> Membership:
        return self.attack.losses


def membership_of(
    program: Program, row: RunRecord | None, progress: RunProgress, *, masked: bool
) -> dict[str, Any]:
    """Return what the card shows of a run, as plain values; an empty run id hides it."""
    if row is None or progress.before is None:
        return {"run": ""}
    before, after = progress.before.key, progress.after.key if progress.after else ""
    alone, retrained = row.spec.only_scores, program.retrained(row.spec)
    models: list[_Model] = []
    if found := program.statistics.attack(before):
        models.append(_Model("original", "Model" if alone else "Original model", found, 0.45))
    if after and (found := program.statistics.attack(after)):
        models.append(_Model("unlearned", "Unlearned model", found, 1))
    fold, picked = row.spec.data.fold if retrained else "", row.spec.data.forget
    protocol = progress.before.scores.mia_protocol
    absent = f'<p class="absent">{escape(_no_attack(progress.before.scores))}</p>'
    shown: dict[str, Any] = {"attack": absent, "models": []}
    if models:
        gold = retrained.membership if retrained and not protocol else None
        shown = _attack(models, gold, alone=alone, protocol=protocol)
    return {
        "run": row.run_id,
        "drawn": f"{row.run_id} {after}",
        "masked": masked,
        "documents": documents_html(
            program.statistics.documents(
                before, "" if row.spec.taught else after, picked, row.spec.data.tasks
            ),
            titles_of(row.spec.data.known),
            masked=masked,
        ),
        "measures": measures_html(program.statistics.taken(before, after, picked, fold)),
        **shown,
    }


def _no_attack(scores: Scores | None) -> str:
    """Say why there is no attack to show on a model with these scores."""
    if scores is None:
        return "This model was not scored."
    if scores.mia_auc is not None:
        return "The evidence of this run is not kept."
    told = SCORES["mia_score"].note(scores)
    return f"{told[0].upper()}{told[1:]}."


def _attack(
    models: Sequence[_Model], retrained: Membership | None, *, alone: bool, protocol: str
) -> dict[str, Any]:
    """Draw the attack, with the threshold that separates the last model's documents best."""
    last = models[-1]
    threshold = best_threshold(last.losses)
    low, high = _span(models)
    strange = sum(map(len, (last.losses.member, last.losses.nonmember))) - len(last.attack.finite)
    reading = last.attack.reading
    if protocol:
        reading += f" {protocol[0].upper()}{protocol[1:]}."
    if strange:
        reading += f" Losses that are not finite count as the highest and are not drawn: {strange}."
    html = render(
        "run/attack.html",
        models=models,
        reading=reading,
        figures=[_losses_figure(models, threshold), _roc_figure(models, retrained, threshold)],
        retrained=retrained,
        alone=alone,
        low=low,
        high=high,
        threshold=threshold,
        span=span,
    )
    losses = [[_finite(one.losses.member), _finite(one.losses.nonmember)] for one in models]
    return {"attack": html, "model": last.name, "models": losses, "threshold": threshold}


def _finite(losses: Sequence[float]) -> list[float | None]:
    """Write losses for JSON, which knows no infinity."""
    return [loss if math.isfinite(loss) else None for loss in losses]


def _span(models: Sequence[_Model]) -> tuple[float, float]:
    """Return an axis from a little below the lowest loss to a little above the highest."""
    losses = [loss for model in models for loss in model.attack.finite]
    if not losses:
        return 0.0, 1.0
    low, high = min(losses), max(losses)
    edge = (high - low) * 0.04 or 0.05
    return max(0.0, low - edge), high + edge


def _losses_figure(models: Sequence[_Model], threshold: float) -> Figure:
    """Draw each model's documents by loss, one histogram above the other."""
    highest = [max(model.attack.finite, default=0.0) for model in models]
    apart = max(highest) > APART * min(highest)
    data: list[Trace] = []
    layout: dict[str, Any] = {
        "height": 330 if len(models) > 1 else 220,
        "margin": {"l": 34, "r": 8, "t": 22, "b": 38},
        "dragmode": False,
        "barmode": "overlay",
        "bargap": 0.04,
        "grid": {
            "rows": len(models),
            "columns": 1,
            "pattern": "independent",
            "ygap": 0.42 if apart else 0.3,
        },
        "shapes": [],
        "annotations": [],
    }
    for at, model in enumerate(models, 1):
        low, high = _span([model] if apart else models)
        last = model is models[-1]
        for name, role, opacity, losses in (
            ("unseen", "mute", 0.45, model.losses.nonmember),
            ("members", "membership", 0.8 if last else 0.5, model.losses.member),
        ):
            trace = {"type": "histogram", "name": name, "x": _finite(losses), "autobinx": False}
            trace |= {"xbins": {"start": low, "end": high, "size": (high - low) / BINS}}
            trace |= {"xaxis": f"x{at}", "yaxis": f"y{at}"}
            trace |= {"marker": {"color": f"--{role}/{opacity}"}}
            data.append(trace | {"hovertemplate": f"%{{y}} {name}, loss %{{x}}<extra></extra>"})
        line = {"type": "line", "x0": threshold, "x1": threshold, "y0": 0, "y1": 1}
        line |= {"xref": f"x{at}", "yref": f"y{at} domain"}
        layout["shapes"].append(line | {"line": {"color": "--ink", "width": 1.5, "dash": "dot"}})
        title = {"text": model.title, "x": 0, "y": 1, "xref": f"x{at} domain"}
        title |= {"yref": f"y{at} domain", "xanchor": "left", "yanchor": "bottom"}
        title |= {"showarrow": False, "font": {"size": 13, "color": "--ink"}}
        layout["annotations"].append(title)
        layout[f"xaxis{at}"] = {"fixedrange": True, "range": [low, high], "showgrid": False}
        if last:
            layout[f"xaxis{at}"]["title"] = "loss of a document, nats per token"
        layout[f"yaxis{at}"] = {"fixedrange": True, "nticks": 4, "rangemode": "tozero"}
    sides = [
        (model.title, side, loss)
        for model in models
        for side in _SIDES
        for loss in _finite(getattr(model.losses, side))
    ]
    return Figure(
        name="membership-losses",
        title="Documents by loss",
        summary=f"Losses of members and of unseen documents. {models[-1].attack.reading}",
        data=data,
        layout=layout,
        table=[("model", "document", "loss, nats per token"), *sides],
    )


def _roc_figure(models: Sequence[_Model], retrained: Membership | None, at: float) -> Figure:
    """Draw the ROC curves; the last trace marks where the threshold stands on each model's."""
    curves = [(m.title, f"--membership/{m.opacity}", "solid", m.losses) for m in models]
    if retrained:
        curves.append(("Retrained model", "--mute", "dash", retrained))
    data: list[Trace] = [
        {
            **_points(roc(losses)),
            "name": title,
            "mode": "lines",
            "line": {"color": colour, "width": 2, "dash": dash},
            "hovertemplate": f"{title}: FPR %{{x:.2f}}, TPR %{{y:.2f}}<extra></extra>",
        }
        for title, colour, dash, losses in curves
    ]
    chance = {"color": "--edge", "width": 1, "dash": "dot"}
    data.append(
        {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": chance, "hoverinfo": "skip"},
    )
    dots = {"size": 9, "color": "--card", "line": {"color": "--ink", "width": 2}}
    points = _points([rates(model.losses, at) for model in models])
    data.append({**points, "mode": "markers", "marker": dots, "hoverinfo": "skip"})
    axis = {"fixedrange": True, "range": [-0.03, 1.03], "dtick": 0.25}
    areas = ", ".join(f"{model.title} {model.attack.auc.value:.2f}" for model in models)
    return Figure(
        name="membership-roc",
        title="ROC of the attack",
        summary=f"ROC curve of the membership attack. Area: {areas}",
        data=data,
        layout={
            "height": 330,
            "margin": {"l": 62, "r": 8, "t": 22, "b": 38},
            "dragmode": False,
            "xaxis": axis | {"title": "false alarms (FPR)"},
            "yaxis": axis | {"title": "members found (TPR)"},
        },
    )


def _points(found: Sequence[Rates]) -> Trace:
    return {"x": [one.fpr for one in found], "y": [one.tpr for one in found]}


class WrongRequest(BaseModel):
    """A request for the documents that a threshold misclassifies: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    model: Literal["original", "unlearned"]
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    masked: bool = True


@answering("The page asked for something that is no threshold: reload it.")
def wrong_documents(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with the documents that its threshold misclassifies."""
    request = WrongRequest.model_validate(asked)
    run = program.runs.shown(request.run)
    scored = run.progress.before if request.model == "original" else run.progress.after
    found = program.statistics.attack(scored.key) if scored else None
    if found is None:
        return {"problem": _no_attack(scored.scores if scored else None)}
    lists = [
        {
            "title": title,
            "where": where,
            "wrong": misclassified(found.losses, request.threshold, side),
            "total": len(getattr(found.losses, side)),
            "texts": _texts(run.row.spec, found.losses, side),
        }
        for side, (title, where) in _SIDES.items()
    ]
    hide = mask if request.masked else str
    values = {"most": LISTED, "length": SHOWN, "isfinite": math.isfinite}
    return {"html": render("run/wrong.html", lists=lists, hide=hide, **values)}


def _texts(spec: RunSpec, losses: Membership, side: Side) -> Sequence[str]:
    """Read the documents; none if they are not those that were measured."""
    known = spec.data.known
    members, others = known.membership_documents(spec.data.fold)
    if not (members and others) and spec.data.fold in known.folds:
        aside = held_out(spec.data, spec.model.known)
        members, others = aside.members, aside.nonmembers
    found, measured = (members, losses.member) if side == "member" else (others, losses.nonmember)
    return found if len(found) == len(measured) else ()


def documents_html(found: Documents | None, tasks: Mapping[str, str], *, masked: bool) -> str:
    """Draw what remains of each forget document.

    Args:
        found: The documents; none if the evidence is not kept.
        tasks: Display names of the subtasks.
        masked: Whether personal data in prompts are hidden.
    """
    heads = ["Document", *(["", "Rows that stand"] if found and found.scored else [])]
    return render(
        "run/documents.html",
        documents=found,
        heads=[*heads, "Answers", "Loss"],
        titles=TITLES,
        tasks=tasks,
        length=EXCERPT,
        hide=mask if masked else str,
    )


def measures_html(taken: Sequence[Taken]) -> str:
    """Draw the measures of a run; those that could not be taken are greyed out."""
    return render("run/measures.html", taken=taken, span=span)


def membership_card(program: Program) -> gr.HTML:
    """Draw the card. Its value is that of `membership_of`."""

    def wrong(asked: Any) -> dict[str, Any]:
        return wrong_documents(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=render("run/membership_card.html"),
        js_on_load=script("kit/poll.js", "run/membership_card.js"),
        server_functions=[wrong],
        elem_id="membership",
        apply_default_css=False,
    )
