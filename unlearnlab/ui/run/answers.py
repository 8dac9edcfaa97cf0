"""The table of answers and the free prompts, as HTML. Model text is hostile: all is escaped."""

from collections.abc import Mapping, Sequence

from unlearnlab.data.datasets import Kind
from unlearnlab.metrics.labels import title
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.ui.kit.text import NO_BREAK, escape, probability, score
from unlearnlab.views.answers import PAGE, AnswerRow, Span, marked, mask
from unlearnlab.views.arranging import Order, SortKey
from unlearnlab.views.scoreboard import KINDS, TASKS

SCORES: Mapping[Kind, str] = {"sc": "ROUGE-L recall", "qa": "Exact match"}
"""How the score of each kind of row is called."""

HEADS: Mapping[SortKey, str] = {
    "prompt": "Prompt",
    "expected": "Expected",
    "original": "Original model",
    "unlearned": "Unlearned model",
    "score": "Score",
    "likelihood": "Likelihood",
}
"""The columns, each sorted by a click on its name."""

MODEL = "Model"
"""The column of what the only model says."""

LEGEND = (
    "Score: ROUGE-L recall of a completion, exact match of a question. Likelihood: of the "
    "expected answer after the prompt, the geometric mean over its tokens. Labels are rules on "
    "the text, no proof."
)


def answers_html(
    rows: Sequence[AnswerRow],
    page: int,
    *,
    masked: bool,
    scored: bool,
    ended: bool = False,
    alone: bool = False,
    titles: Mapping[str, str] = TASKS,
    order: Order | None = None,
) -> str:
    """Draw one page of the table.

    Args:
        rows: All rows that pass the filter, in order.
        page: 0-based; beyond the last one it is the last one.
        masked: Whether personal data are hidden.
        scored: Whether the unlearned model was scored.
        ended: Whether the run is over, so that no further answer will come.
        alone: Whether there is but one model, and no column for another.
        titles: Names of the subtasks.
        order: What the rows are sorted by.
    """
    if not rows:
        return '<p class="none">No row passes these filters.</p>'
    last = (len(rows) - 1) // PAGE
    page = min(max(0, page), last)
    first = page * PAGE
    missing = "not measured" if scored else "not scored" if ended else "scored after training"
    missing = None if alone else missing
    heads = _heads(rows, alone=alone)
    body = "".join(
        _row(row, titles.get(row.task, row.task), masked, scored, missing)
        for row in rows[first : first + PAGE]
    )
    head = "".join(_head(key, name, order or Order()) for key, name in heads.items())
    legend = "" if alone else _bars_legend()
    return (
        f'<table class="answers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'<div class="answers-foot"><p class="setting">{legend}<span>{LEGEND}</span></p>'
        f"{pager(page, last, first, len(rows), PAGE)}</div>"
    )


def _bars_legend() -> str:
    return '<span><i class="pale"></i>before</span><span><i class="full"></i>after</span>'


def _heads(rows: Sequence[AnswerRow], *, alone: bool) -> Mapping[SortKey, str]:
    """Name the columns: the score as what it is, where all rows are of one kind."""
    kind = rows[0].kind
    same = all(row.kind == kind for row in rows)
    heads = dict(HEADS)
    if same:
        heads["score"] = SCORES[kind]
    if alone:
        heads["original"] = MODEL
        del heads["unlearned"]
    return heads


def _head(key: SortKey, name: str, order: Order) -> str:
    sorts, arrow, direction = order.key == key, "", "none"
    if sorts:
        direction, arrow = ("descending", "↓") if order.descending else ("ascending", "↑")
    return (
        f'<th scope="col" class="col-{key}" aria-sort="{direction}"><button type="button" '
        f'data-event="sort" data-key="{key}" title="sort by {name.lower()}">{name}'
        f'<span aria-hidden="true">{arrow}</span></button></th>'
    )


def pager(page: int, last: int, first: int, total: int, size: int) -> str:
    """Draw the buttons that turn pages. Buttons carry `data-page`."""
    span = f"{first + 1} to {min(first + size, total)} of {total}"
    back = "disabled" if page == 0 else ""
    on = "disabled" if page == last else ""
    return (
        f'<div class="pager"><span>{span}</span>'
        f'<button type="button" data-page="{page - 1}" {back} aria-label="Previous page">‹</button>'
        f'<button type="button" data-page="{page + 1}" {on} aria-label="Next page">›</button></div>'
    )


def _row(row: AnswerRow, name: str, masked: bool, scored: bool, missing: str | None) -> str:
    """Draw a row; where `missing` is none, there is no column for an unlearned model."""
    kind = f"{name} · {KINDS[row.kind]}"
    tag = f'<span class="tag {row.split}">{row.split}</span><span class="tag">{escape(kind)}</span>'
    tag += "" if row.judged else '<span class="tag">not picked</span>'
    after = f'<span class="none">{missing}</span>'
    if row.unlearned is not None:
        after = _answer(row, row.unlearned, masked) + _label(row)
    other = "" if missing is None else f"<td data-label='Unlearned model'>{after}</td>"
    before = _answer(row, row.original, masked) + ("" if scored else _label(row))
    scores = (row.original_score, row.unlearned_score)
    odds = (row.original_likelihood, row.unlearned_likelihood)
    return (
        f"<tr><td data-label='Prompt'>{_plain(row.prompt, masked)}<div>{tag}</div></td>"
        f"<td data-label='Expected'>{_plain(row.expected, masked)}</td>"
        f"<td data-label='{MODEL if missing is None else HEADS['original']}'>{before}</td>{other}"
        f"<td data-label='{SCORES[row.kind]}' class='values'>"
        f"{_bar(row, scores[0], score(scores[0]), 'before')}"
        f"{_bar(row, scores[1], score(scores[1]), 'after')}</td>"
        f"<td data-label='Likelihood' class='values'>"
        f"{_bar(row, odds[0], probability(odds[0]), 'before')}"
        f"{_bar(row, odds[1], probability(odds[1]), 'after')}{_no_likelihood(row)}</td></tr>"
    )


def _bar(row: AnswerRow, value: float | None, text: str, when: str) -> str:
    """Draw a value of 0 to 1 as a bar with its number; nothing as long as nobody answered."""
    if when == "after" and row.unlearned is None:
        return ""
    width = f"{100 * (value or 0.0):.1f}"
    return (
        f'<div class="bar {row.split} {when}"><span class="hidden">{when}</span>'
        f'<s><i style="width:{width}%"></i></s><b>{text}</b></div>'
    )


def _no_likelihood(row: AnswerRow) -> str:
    """Say why a likelihood is missing."""
    if not row.expected.strip():
        return '<small class="none">nothing is expected</small>'
    after_missing = row.unlearned is not None and row.unlearned_likelihood is None
    if row.original_likelihood is None or after_missing:
        return '<small class="none">the loss is not a number</small>'
    return ""


def _label(row: AnswerRow) -> str:
    name = escape(title(row.outcome, row.wished)).replace(" ", NO_BREAK)
    damage = '<span class="tag bad">damaged</span>' if row.damaged else ""
    return f'<div><span class="tag {row.mood}">{name}</span>{damage}</div>'


def _plain(text: str, masked: bool) -> str:
    return f'<div class="text">{escape(mask(text) if masked else text).strip()}</div>'


def _answer(row: AnswerRow, text: str, masked: bool) -> str:
    if not text.strip():
        return '<div class="text none">(empty)</div>'
    spans = "".join(_span(span, row.split, masked) for span in marked(row.expected, text.strip()))
    return f'<div class="text">{spans}</div>'


def _span(span: Span, split: str, masked: bool) -> str:
    text = escape(mask(span.text) if masked else span.text)
    return f'<mark class="{split}">{text}</mark>' if span.recited else text


Waiting = Sequence[tuple[str, str]]
"""Prompts that were asked and not answered yet: id and text."""


def asks_html(
    asks: Sequence[Asked | AskFailed], waiting: Waiting, *, masked: bool, alone: bool = False
) -> str:
    """Draw the free prompts of a run, the latest first; with one model, one answer to each."""
    answered = {ask.ask_id for ask in asks}
    pending = [_pending(prompt, masked) for ask, prompt in waiting if ask not in answered]
    done = [_asked(ask, masked, alone) for ask in reversed(asks)]
    return (
        f'<ul class="asks">{"".join((*reversed(pending), *done))}</ul>' if pending or done else ""
    )


def _pending(prompt: str, masked: bool) -> str:
    return (
        f'<li class="pending"><div class="ask-prompt">{_plain(prompt, masked)}</div>'
        "<p>Waiting for the device; the answers appear here.</p></li>"
    )


def _asked(ask: Asked | AskFailed, masked: bool, alone: bool) -> str:
    prompt = f'<div class="ask-prompt">{_plain(ask.prompt, masked)}</div>'
    if isinstance(ask, AskFailed):
        return f'<li class="failed">{prompt}<p>{escape(ask.problem)}</p></li>'
    if alone:
        return f"<li>{prompt}<div><h3>{MODEL}</h3>{_spoken(ask.original, masked)}</div></li>"
    # Below zero: a finished run, restored to answer.
    when = f'<span class="tag">at step {ask.step}</span>' if ask.step >= 0 else ""
    return (
        f'<li>{prompt}<div class="pair">'
        f"<div><h3>Original model</h3>{_spoken(ask.original, masked)}</div>"
        f"<div><h3>Unlearned model {when}</h3>{_spoken(ask.unlearned, masked)}</div></div></li>"
    )


def _spoken(text: str, masked: bool) -> str:
    return _plain(text, masked) if text.strip() else '<div class="text none">(empty)</div>'
