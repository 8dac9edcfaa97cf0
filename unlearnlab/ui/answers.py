"""The table of answers and the free prompts, as HTML. Model text is hostile: all is escaped."""

from collections.abc import Mapping, Sequence

from unlearnlab.answers import PAGE, AnswerRow, Label, Span, marked, mask
from unlearnlab.events import Asked, AskFailed
from unlearnlab.results import KINDS, TASKS
from unlearnlab.ui.text import escape

_MOODS: dict[Label, str] = {
    "recited": "bad",
    "partly": "fair",
    "gone": "good",
    "kept": "good",
    "damaged": "bad",
    "not known": "plain",
}


def answers_html(
    rows: Sequence[AnswerRow],
    page: int,
    *,
    masked: bool,
    scored: bool,
    ended: bool = False,
    titles: Mapping[str, str] = TASKS,
) -> str:
    """Draw one page of the table.

    Args:
        rows: All rows that pass the filter.
        page: 0-based; beyond the last one it is the last one.
        masked: Whether personal data are hidden.
        scored: Whether the unlearned model was scored.
        ended: Whether the run is over, so that no further answer will come.
        titles: Names of the subtasks.
    """
    if not rows:
        return '<p class="none">No row passes these filters.</p>'
    last = (len(rows) - 1) // PAGE
    page = min(max(0, page), last)
    first = page * PAGE
    missing = "not measured" if scored else "not scored" if ended else "scored after training"
    body = "".join(
        _row(row, titles.get(row.task, row.task), masked, scored, missing)
        for row in rows[first : first + PAGE]
    )
    heads = ("Prompt", "Expected", "Original model", "Unlearned model")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<table class="answers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{pager(page, last, first, len(rows), PAGE)}"
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


def _row(row: AnswerRow, title: str, masked: bool, scored: bool, missing: str) -> str:
    kind = f"{title} · {KINDS[row.kind]}"
    tag = f'<span class="tag {row.split}">{row.split}</span><span class="tag">{escape(kind)}</span>'
    after = f'<span class="none">{missing}</span>'
    if row.unlearned is not None:
        after = _answer(row, row.unlearned, masked) + _label(row.label)
    before = _answer(row, row.original, masked) + ("" if scored else _label(row.label))
    return (
        f"<tr><td data-label='Prompt'>{_plain(row.prompt, masked)}<div>{tag}</div></td>"
        f"<td data-label='Expected'>{_plain(row.expected, masked)}</td>"
        f"<td data-label='Original model'>{before}</td>"
        f"<td data-label='Unlearned model'>{after}</td></tr>"
    )


def _label(label: Label) -> str:
    return f'<div><span class="tag {_MOODS[label]}">{escape(label)}</span></div>'


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


def asks_html(asks: Sequence[Asked | AskFailed], waiting: Waiting, *, masked: bool) -> str:
    """Draw the free prompts of a run, the latest first."""
    answered = {ask.ask_id for ask in asks}
    pending = [_pending(prompt, masked) for ask, prompt in waiting if ask not in answered]
    done = [_asked(ask, masked) for ask in reversed(asks)]
    return (
        f'<ul class="asks">{"".join((*reversed(pending), *done))}</ul>' if pending or done else ""
    )


def _pending(prompt: str, masked: bool) -> str:
    return (
        f'<li class="pending"><div class="ask-prompt">{_plain(prompt, masked)}</div>'
        "<p>Waiting for the device; the answers appear here.</p></li>"
    )


def _asked(ask: Asked | AskFailed, masked: bool) -> str:
    prompt = f'<div class="ask-prompt">{_plain(ask.prompt, masked)}</div>'
    if isinstance(ask, AskFailed):
        return f'<li class="failed">{prompt}<p>{escape(ask.problem)}</p></li>'
    # Below zero: a finished run, restored to answer.
    when = f'<span class="tag">at step {ask.step}</span>' if ask.step >= 0 else ""
    return (
        f'<li>{prompt}<div class="pair">'
        f"<div><h3>Original model</h3>{_spoken(ask.original, masked)}</div>"
        f"<div><h3>Unlearned model {when}</h3>{_spoken(ask.unlearned, masked)}</div></div></li>"
    )


def _spoken(text: str, masked: bool) -> str:
    return _plain(text, masked) if text.strip() else '<div class="text none">(empty)</div>'
