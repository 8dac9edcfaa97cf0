"""What the models of the selected runs say: to one example of the data, and to a free prompt."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from unlearnlab.data.datasets import Split
from unlearnlab.metrics.labels import mood, title
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.ui.compare.runs import Listed
from unlearnlab.ui.kit.html import escape
from unlearnlab.views.answers import Span, mask
from unlearnlab.views.compare.examples import Choice, Example, Said, Speaker, choices, example
from unlearnlab.views.runs import labels
from unlearnlab.views.scoreboard import KINDS, TASKS

SPEAKERS = 12
"""Runs whose answers are set beside each other: more would not be read."""

ASKED = 4
"""Runs that one free prompt goes to."""

Text = Annotated[str, Field(max_length=200)]


class ExampleWish(BaseModel):
    """Which example a page asks to see: untrusted."""

    split: Literal["", "forget", "retain"] = "forget"
    task: Text = ""
    kind: Text = ""
    text: Text = ""
    at: Annotated[int, Field(ge=0)] = 0
    """Its place among those that pass, 0-based."""
    masked: bool | None = None
    """Whether personal data are hidden; the data say it if None."""


def speakers(
    runs: Sequence[Listed],
    evidence: Callable[[str], Evidence | None],
    retrained: Evidence | None = None,
) -> list[Speaker]:
    """Return who can be heard: the original models, each once, the retrained one, the runs."""
    heard = runs[:SPEAKERS]
    names = labels([of.run for of in heard])
    originals: dict[str, str] = {}
    for of in heard:
        if of.keys[0]:
            originals.setdefault(of.keys[0], of.run.spec.model.known.title)
    several = len(originals) > 1
    said = [evidence(key) for key in originals]
    gold = _on_rows_of(said, retrained) if retrained else None
    return [
        *(
            Speaker(f"Original model{f', {title}' if several else ''}", one)
            for one, title in zip(said, originals.values(), strict=True)
        ),
        *([Speaker("Retrained model", gold)] if gold and gold.answers else []),
        *(
            Speaker(name, evidence(of.keys[1]) if of.keys[1] else None, of.run.run_id)
            for of, name in zip(heard, names, strict=True)
        ),
    ]


def _on_rows_of(others: Iterable[Evidence | None], retrained: Evidence) -> Evidence:
    """Leave of what the retrained model said that to rows which other models answered."""
    rows = {answer.row for one in others if one for answer in one.answers}
    return Evidence(answers=tuple(one for one in retrained.answers if one.row in rows))


def masks(runs: Sequence[Listed], wish: bool | None) -> bool:
    """Tell whether personal data are hidden: as asked, or where any of the data are personal."""
    return any(of.personal for of in runs) if wish is None else wish


def example_html(heard: Sequence[Speaker], wish: ExampleWish, *, masked: bool, of: int) -> str:
    """Draw one example with all answers, and what turns to the others.

    Args:
        heard: Who answered.
        wish: Which example.
        masked: Whether personal data are hidden.
        of: How many runs are selected.
    """
    passing = [one for one in choices(heard) if _passes(one, wish)]
    if not passing:
        return '<p class="none">No example passes these filters.</p>'
    at = min(wish.at, len(passing) - 1)
    shown = example(passing[at].row, heard)
    if shown is None:
        return '<p class="none">No example passes these filters.</p>'
    cut = f'<p class="setting">The first {SPEAKERS} of {of} runs answer here.</p>'
    return f"{_turner(at, len(passing))}{_example(shown, masked)}{cut if of > SPEAKERS else ''}"


def _passes(one: Choice, wish: ExampleWish) -> bool:
    return (
        wish.split in ("", one.split)
        and wish.task in ("", one.task)
        and wish.kind in ("", one.kind)
        and all(word in one.prompt.lower() for word in wish.text.lower().split())
    )


def _turner(at: int, count: int) -> str:
    back, on = ("disabled" if at == 0 else ""), ("disabled" if at == count - 1 else "")
    return (
        f'<div class="pager"><span>example {at + 1} of {count}, those that tell most first</span>'
        f'<button type="button" data-at="{at - 1}" data-key="back" {back} '
        'aria-label="Previous example">‹</button>'
        f'<button type="button" data-at="{at + 1}" data-key="on" {on} '
        'aria-label="Next example">›</button></div>'
    )


def _example(of: Example, masked: bool) -> str:
    rows = "".join(_said(said, of.split, masked) for said in of.said)
    kind = f"{TASKS.get(of.task, of.task)} · {KINDS[of.kind]}"
    return (
        f'<div class="example"><div><h3>Prompt</h3>{_text(of.prompt, masked)}'
        f'<span class="tag {of.split}">{of.split}</span><span class="tag">{escape(kind)}</span>'
        f"</div><div><h3>Expected</h3>{_text(of.expected, masked)}</div></div>"
        '<table class="said"><thead class="unseen"><tr><th scope="col">Model</th><th scope="col">'
        f'Answer</th><th scope="col">Outcome</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _said(said: Said, split: Split, masked: bool) -> str:
    name = f'<th scope="row">{_dot(said.run_id)}{escape(said.name)}</th>'
    if said.outcome is None:
        return f'<tr>{name}<td class="none">not kept</td><td></td></tr>'
    spans = "".join(_span(span, split, masked) for span in said.spans)
    text = f'<div class="text">{spans}</div>' if spans else '<div class="none">(empty)</div>'
    tag = f'<span class="tag {mood(said.outcome, split)}">{title(said.outcome, split)}</span>'
    score = f'<small title="its score, 0 to 1">{said.score:.2f}</small>'
    return f"<tr>{name}<td>{text}</td><td>{tag} {score}</td></tr>"


def _dot(run_id: str) -> str:
    """Draw the place of a run's colour, which the page's script fills in."""
    ring = "" if run_id else " ring"
    return f'<i class="dot run{ring}" data-of="{escape(run_id)}"></i>'


def _span(span: Span, split: str, masked: bool) -> str:
    text = escape(mask(span.text) if masked else span.text)
    return f'<mark class="{split}">{text}</mark>' if span.recited else text


def _text(text: str, masked: bool) -> str:
    shown = escape(mask(text) if masked else text).strip()
    return f'<div class="text">{shown}</div>' if shown else '<div class="none">(empty)</div>'


Heard = tuple[Listed, Sequence[Asked | AskFailed]]
"""A run, and what its models answered to free prompts."""


def asks_html(heard: Sequence[Heard], waiting: Iterable[str], *, masked: bool) -> str:
    """Draw what the models answered to free prompts, the latest prompt first.

    Args:
        heard: The runs.
        waiting: Prompts that were asked and are not answered by all.
        masked: Whether personal data are hidden.
    """
    prompts: dict[str, None] = {}
    for _, asks in heard:
        for ask in reversed(asks):
            prompts.setdefault(ask.prompt)
    pending = [prompt for prompt in dict.fromkeys(waiting) if prompt not in prompts]
    drawn = [_asked(prompt, heard, masked) for prompt in (*pending, *prompts)]
    if not drawn:
        told = "Nothing was asked of these runs yet: what they answer stands here side by side."
        return f'<p class="none">{told}</p>'
    return f'<ul class="asks">{"".join(drawn)}</ul>'


def _asked(prompt: str, heard: Sequence[Heard], masked: bool) -> str:
    last = [(of, _last(asks, prompt)) for of, asks in heard]
    first = next((ask for _, ask in last if isinstance(ask, Asked)), None)
    original = _text(first.original, masked) if first else "…"
    names = labels([of.run for of, _ in heard])
    rows = "".join(
        f'<tr><th scope="row">{_dot(of.run.run_id)}{escape(name)}</th>'
        f"<td>{_reply(ask, masked)}</td></tr>"
        for (of, ask), name in zip(last, names, strict=True)
    )
    return (
        f'<li><div class="ask-prompt">{_text(prompt, masked)}</div><table class="said"><tbody>'
        f'<tr><th scope="row">{_dot("")}Original model</th><td>{original}</td></tr>{rows}'
        "</tbody></table></li>"
    )


def _last(asks: Sequence[Asked | AskFailed], prompt: str) -> Asked | AskFailed | None:
    return next((ask for ask in reversed(asks) if ask.prompt == prompt), None)


def _reply(ask: Asked | AskFailed | None, masked: bool) -> str:
    if ask is None:
        return '<span class="none">waits for the device, or was not asked</span>'
    if isinstance(ask, AskFailed):
        return f'<span class="bad">{escape(ask.problem)}</span>'
    return _text(ask.unlearned, masked)
