"""The card "Membership and measures": the attack with its threshold, and further measures.

The page moves the threshold by itself; the documents on its wrong side it asks for.
"""

import math
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.metrics.membership import Attack, Side, Wrong, roc, telling, wrong_side
from unlearnlab.metrics.scores import Membership
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.charts import TAKE
from unlearnlab.ui.kit.html import escape, script, span
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.measures_table import measures_html
from unlearnlab.views.answers import mask

LISTED = 40
"""Documents that are listed of each side, the farthest from the threshold."""

SHOWN = 240
"""Characters of a document that are shown: enough to know it by."""

NO_DOCUMENTS = "Not measured: the data have no documents for the attack."

_HEADS: dict[Side, tuple[str, str]] = {
    "member": ("Members missed", "loss at or above the threshold"),
    "nonmember": ("False alarms", "unseen, loss below the threshold"),
}


class Wish(BaseModel):
    """What a page asks for: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    model: Literal["original", "unlearned"]
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    masked: bool = True


def membership_of(
    program: Program, row: RunRecord | None, course: RunProgress, *, masked: bool
) -> dict[str, Any]:
    """Return what the card shows of a run, as plain values; an empty run hides it."""
    if row is None or course.before is None:
        return {"run": ""}
    retrained = program.retrained(row.spec)
    after = course.after.key if course.after else ""
    alone = row.spec.only_scores
    models = [
        _model(name, title, found)
        for name, title, key in (
            ("original", "Model" if alone else "Original model", course.before.key),
            ("unlearned", "Unlearned model", after),
        )
        if key and (found := program.derived.attack(key))
    ]
    gold = [[one.fpr, one.tpr] for one in roc(retrained.membership)] if retrained else []
    fold, picked = row.spec.data.fold if retrained else "", row.spec.data.forget
    return {
        "run": row.run_id,
        "drawn": f"{row.run_id} {after}",
        "masked": masked,
        "alone": alone,
        "models": models,
        "retrained": gold if models else [],
        "absent": "" if models else NO_DOCUMENTS,
        "measures": measures_html(program.derived.taken(course.before.key, after, picked, fold)),
    }


def _model(name: str, title: str, found: Attack) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "member": _plain(found.losses.member),
        "nonmember": _plain(found.losses.nonmember),
        "roc": [[one.fpr, one.tpr] for one in roc(found.losses)],
        "auc": f"{found.auc.value:.2f}",
        "span": span(found.auc),
        "reading": found.reading + _undrawn(found),
        "threshold": telling(found.losses),
    }


def _undrawn(found: Attack) -> str:
    losses = found.losses
    strange = len(losses.member) + len(losses.nonmember) - len(found.finite)
    if not strange:
        return ""
    return f" Losses that are not finite, not drawn and counted as the highest: {strange}."


def _plain(losses: tuple[float, ...]) -> list[float | None]:
    """Write losses for JSON, which knows no infinity."""
    return [loss if math.isfinite(loss) else None for loss in losses]


def wrong_documents(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a page with the documents on the wrong side of its threshold."""
    try:
        wish = Wish.model_validate(asked)
        scene = program.shown.of(wish.run)
        row, course = scene.row, scene.course
        scored = course.before if wish.model == "original" else course.after
        found = program.derived.attack(scored.key) if scored else None
        if found is None:
            return {"problem": NO_DOCUMENTS}
        lists = (_list(row.spec, found.losses, wish, side) for side in _HEADS)
        return {"html": "".join(lists)}
    except ValidationError:
        return {"problem": "The page asked for something that is no threshold: reload it."}
    except StoreError as error:
        return {"problem": str(error)}


def _list(spec: RunSpec, losses: Membership, wish: Wish, side: Side) -> str:
    wrong = wrong_side(losses, wish.threshold, side)
    title, where = _HEADS[side]
    texts = _texts(spec, losses, side)
    total = len(losses.member if side == "member" else losses.nonmember)
    items = "".join(_item(one, texts, masked=wish.masked) for one in wrong[:LISTED])
    more = f", the {LISTED} farthest shown" if len(wrong) > LISTED else ""
    told = "" if texts else "<p>The documents are no longer here: only their numbers are known.</p>"
    return (
        f"<section><h3>{title} <b>{len(wrong)} of {total}</b></h3><p>{where}{more}</p>"
        f'{told if wrong else ""}<ol tabindex="0" aria-label="{title}">{items}</ol></section>'
    )


def _texts(spec: RunSpec, losses: Membership, side: Side) -> tuple[str, ...]:
    """Read the documents; none if they are not those that were measured."""
    members, others = spec.data.known.membership_documents(spec.data.fold)
    found, measured = (members, losses.member) if side == "member" else (others, losses.nonmember)
    return found if len(found) == len(measured) else ()


def _item(one: Wrong, texts: tuple[str, ...], *, masked: bool) -> str:
    text = texts[one.number][:SHOWN].strip() if texts else f"Document {one.number + 1}"
    said = escape(mask(text) if masked and texts else text)
    cut = "…" if texts and len(texts[one.number]) > SHOWN else ""
    loss = f"{one.loss:.2f}" if math.isfinite(one.loss) else "not finite"
    return f"<li><b>{loss}</b><span>{said}{cut}</span></li>"


def membership_card(program: Program) -> gr.HTML:
    """Draw the card. Its value is that of `membership_of`."""

    def wrong(asked: Any) -> dict[str, Any]:
        return wrong_documents(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "run/membership_card.js"),
        server_functions=[wrong],
        elem_id="membership",
        apply_default_css=False,
    )


_TEMPLATE = f"""
<section class="card membership" aria-labelledby="membership-title" hidden>
  <div class="card-head"><h2 id="membership-title">Membership and measures</h2>
    <div class="segments" role="group" aria-label="What is shown">
      <button type="button" data-show="attack" aria-pressed="true">Membership attack</button>
      <button type="button" data-show="measures" aria-pressed="false">More measures</button>
    </div></div>
  <div data-part="attack">
    <p class="reading" role="status"></p>
    <div class="legend"><span><i class="members"></i>members: the forget documents</span>
      <span><i class="others"></i>unseen documents</span>
      <span><i class="pale"></i><span data-part="before">ROC before</span></span>
      <span data-part="after"><i class="members"></i>after</span>
      <span data-part="gold"><i class="dash others"></i>retrained model</span></div>
    <div class="attack-plots">
      <figure class="figure"><div class="plot" data-part="losses"></div>{TAKE}</figure>
      <figure class="figure"><div class="plot" data-part="roc"></div>{TAKE}</figure></div>
    <label class="threshold"><span>Threshold</span>
      <input type="range" min="0" max="1000" step="1"><output></output></label>
    <div class="scroll"><table class="rates"><thead><tr><td></td>
      <th scope="col">AUC</th><th scope="col">TPR<small>members found</small></th>
      <th scope="col">FPR<small>false alarms</small></th>
      <th scope="col">TPR − FPR</th>
      </tr></thead><tbody></tbody></table></div>
    <p class="remark">The attack takes a document for a member where its loss is below the
      threshold. Best is an AUC of 0.5: nothing to gain either way. Near 1 the forget documents are
      still remembered; near 0 they were pushed so far that the push gives them away: turn the
      attack round, and what it misses are the members.</p>
    <div class="wrong" data-part="wrong" aria-live="polite"></div>
  </div>
  <div data-part="measures" hidden></div>
  <p class="absent" data-part="absent" hidden></p>
</section>
"""
