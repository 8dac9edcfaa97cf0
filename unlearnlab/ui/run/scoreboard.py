"""The scoreboard, the verdict and the strip of twelve terms, as HTML. Everything is escaped."""

from collections.abc import Sequence

from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.mmlu import SubjectChange
from unlearnlab.metrics.scores import Role
from unlearnlab.metrics.verdicts import THRESHOLDS, TITLES, Verdict, VerdictKind
from unlearnlab.ui.kit.html import escape, score, span
from unlearnlab.views.scoreboard import Others, Scoreboard, ScoreCard, Term

MOODS: dict[VerdictKind, str] = {
    "forgotten": "good",
    "partly_forgotten": "fair",
    "no_effect": "plain",
    "over_unlearned": "bad",
    "below_gate": "bad",
    "collapsed": "bad",
    "memorised": "good",
    "not_memorised": "fair",
}


def scoreboard_html(board: Scoreboard, *, ended: bool) -> str:
    """Draw the scores before and after with the verdict.

    Args:
        board: The view.
        ended: Whether the run is over, so that no further score will come.
    """
    cards = "".join(_card(card) for card in board.cards)
    return (
        f'<section class="card scores" aria-label="Scores">'
        f'<div class="score-grid">{_verdict(board, ended)}{cards}</div>'
        f'<p class="setting">{_legend(board)}</p>{_thresholds(board)}</section>'
    )


def _thresholds(board: Scoreboard) -> str:
    if board.verdict is None or board.verdict.kind not in THRESHOLDS:
        return ""
    lines = "".join(
        f"<li{_here(kind, board.verdict)}><b>{escape(TITLES[kind])}:</b> {escape(words)}</li>"
        for kind, words in THRESHOLDS.items()
    )
    return (
        '<details class="thresholds"><summary>How verdicts are reached</summary>'
        f"<p>Asked in this order; the first that holds decides.</p><ol>{lines}</ol></details>"
    )


def _here(kind: VerdictKind, found: Verdict) -> str:
    return ' aria-current="true"' if kind == found.kind else ""


def _verdict(board: Scoreboard, ended: bool) -> str:
    found = board.verdict
    if board.alone:
        return (
            '<div class="verdict plain"><b>Scores only</b><p>Nothing was trained: this is the '
            "model as it is.</p></div>"
        )
    if found is None:
        title = "No verdict" if ended else "Verdict to come"
        why = (
            "The unlearned model was not scored."
            if ended
            else "It needs the scores of the unlearned model, measured after training."
        )
        return f'<div class="verdict plain"><b>{title}</b><p>{why}</p></div>'
    first, *rest = found.evidence
    more = "".join(f"<li>{escape(line)}</li>" for line in rest)
    caution = "<li>Suppressed under these probes; not proof of erasure.</li>"
    return (
        f'<div class="verdict {MOODS[found.kind]}"><b>{escape(found.title)}</b>'
        f"<p>{escape(first)}</p><ul>{more}{caution if found.kind == 'forgotten' else ''}</ul></div>"
    )


def _card(card: ScoreCard) -> str:
    shown = card.before if card.after is None else card.after
    stale = " stale" if card.after is None else ""
    return (
        f'<div class="score{stale}"><div class="t">{escape(card.title)} '
        f'<span class="up" title="{card.score.direction}" aria-label="{card.score.direction}">'
        f"{card.score.mark}</span></div>"
        f'<div class="n">{score(shown)}</div>{_meter(card)}{_range(card.interval)}'
        f'<div class="b">{_before(card)}</div><div class="b">{escape(card.note)}</div>'
        f"{_opens(card)}</div>"
    )


def _opens(card: ScoreCard) -> str:
    """Draw the button that opens the rows behind a score."""
    if not card.opens:
        return ""
    words = "all its rows" if card.opens == "all" else "the rows of that term"
    return (
        f'<button type="button" class="opens" data-event="open_term" '
        f'data-term="{escape(card.opens)}">{words}</button>'
    )


def _before(card: ScoreCard) -> str:
    if card.after is None:
        if card.before is not None:
            return "original model"
        return "" if card.note else "not measured yet"  # The note then says why it is not.
    if card.before is None:
        return ""
    steady = ", within noise" if card.within_noise else ""
    return f"before {score(card.before)}{steady}"


def _range(interval: Interval | None) -> str:
    ends = span(interval)
    return f'<div class="b range">95%: {ends}</div>' if ends else ""


def _meter(card: ScoreCard) -> str:
    role: Role = card.score.role
    before, after = _percent(card.before), _percent(card.after)
    tick = ""
    if card.reference is not None:
        label = f"retrained model: {score(card.reference)}"
        tick = f'<em style="left:{_percent(card.reference)}%" title="{label}"></em>'
    whisker = ""
    if card.interval is not None and span(card.interval):
        low, high = _percent(card.interval.low), _percent(card.interval.high)
        whisker = f'<u style="left:{low}%;right:calc(100% - {high}%)"></u>'
    words = f"before {score(card.before)}, after {score(card.after)}"
    if card.reference is not None:
        words += f", retrained model {score(card.reference)}"
    return (
        f'<div class="meter {role}" role="img" aria-label="{words}">'
        f'<s style="width:{before}%"></s><i style="width:{after}%"></i>{whisker}{tick}</div>'
    )


def _percent(value: float | None) -> str:
    return f"{100 * min(1.0, max(0.0, value or 0.0)):.1f}"


def _legend(board: Scoreboard) -> str:
    reference = next((c.reference for c in board.cards if c.reference is not None), None)
    both = '<span><i class="pale"></i>before</span><span><i class="full"></i>after</span>'
    parts = [] if board.alone else [both]
    if reference is not None:
        parts.append(
            '<span><i class="tick"></i>retrained model, which never saw the forget set</span>'
        )
    if any(card.interval for card in board.cards):
        parts.append('<span><i class="span"></i>95% interval over rows, of this one model</span>')
    protocol = f"{escape(board.protocol)} · " if board.protocol else ""
    parts.append(f"<span>{protocol}{escape(board.setting)}</span>")
    if board.seeds:
        parts.append(f'<span class="seeds">{escape(board.seeds)}</span>')
    return "".join(parts)


def _accuracies(one: SubjectChange, alone: bool) -> str:
    first = f"<td>{score(one.before)}</td>"
    return first if alone else f"{first}<td>{score(one.after)}</td>"


def subjects_html(changes: Sequence[SubjectChange], *, alone: bool = False) -> str:
    """Draw MMLU by subject, folded away; empty without it. With one model, in one column."""
    if not changes:
        return ""
    columns = ("Accuracy ↑",) if alone else ("Before ↑", "After ↑")
    subjects = f"{len(changes)} subject{'s' if len(changes) > 1 else ''}"
    rows = "".join(
        f'<tr><th scope="row">{escape(one.subject)}</th><td>{one.questions}</td>'
        f"{_accuracies(one, alone)}"
        f"<td>{score(one.interval.low)} to {score(one.interval.high)}</td></tr>"
        for one in changes
    )
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Subject", "Questions", *columns, "95% interval")
    )
    return (
        f'<details class="card subjects"><summary>MMLU by subject · {subjects}'
        f'</summary><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def strip_html(terms: Sequence[Term]) -> str:
    """Draw the terms of the task aggregate as a heat strip."""
    columns = dict.fromkeys(term.column for term in terms)
    known = sum(term.value is not None for term in terms) or len(terms)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row"><i class="spot {split}"></i>{split.capitalize()}</th>'
        + "".join(_term(term) for term in terms if term.split == split)
        + "</tr>"
        for split in ("forget", "retain")
    )
    return (
        '<section class="card" aria-label="The terms">'
        f'<div class="card-head"><h2>The {known} terms <span class="up">↑</span></h2>'
        "<span>their harmonic mean is the task aggregate: one zero makes it zero; click a cell "
        f"to see its rows{_noise(terms)}</span></div>"
        f'<div class="scroll"><table class="strip"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_zeroing(terms)}</section>"
    )


def _noise(terms: Sequence[Term]) -> str:
    parts = (
        ("; ranges: 95% intervals over rows", any(term.interval for term in terms)),
        ("; ≈ moved within noise", any(term.within_noise for term in terms)),
    )
    return "".join(words for words, told in parts if told)


def _term(term: Term) -> str:
    value = term.value
    heat = f"{100 * value:.0f}%" if value is not None else "0%"
    classes = " ".join(
        name
        for name, on in (
            ("zero", term.zeroes),
            ("stale", term.after is None),
            ("none", value is None),
        )
        if on
    )
    was = ""
    if term.after is not None and term.before is not None:
        steady = '<abbr title="within noise">≈</abbr> ' if term.within_noise else ""
        was = f"<small>{steady}from {score(term.before)}</small>"
    if ends := span(term.interval):
        was += f'<small class="range">{ends}</small>'
    shown = f"{score(value)}{was}"
    if value is not None:
        name = escape(f"{term.split} {term.column} {score(value)}: show its rows")
        shown = (
            f'<button type="button" data-event="open_term" data-term="{escape(term.key)}" '
            f'aria-label="{name}" title="show its rows">{shown}</button>'
        )
    return f'<td class="{classes}" style="--heat:{heat}">{shown}</td>'


def _zeroing(terms: Sequence[Term]) -> str:
    zero = [f"{term.split} · {term.column}" for term in terms if term.zeroes]
    if not zero:
        return ""
    if len(zero) > 3:
        return f'<p class="zeroing">{len(zero)} terms are zero, and so is the aggregate.</p>'
    verb = "is" if len(zero) == 1 else "are"
    return f'<p class="zeroing">{escape(", ".join(zero))} {verb} zero, and so is the aggregate.</p>'


def others_html(others: Others | None) -> str:
    """Draw how the forget rows fare that were not picked; empty if all were."""
    if others is None:
        return ""
    rows = "forget row that was" if others.count == 1 else "forget rows that were"
    fate = "Moved to the retain set: should have stayed" if others.moved else "Left alone"
    spot = '<i class="spot retain"></i>' if others.moved else ""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name, _, _ in others.columns)
    cells = "".join(_other(before, after) for _, before, after in others.columns)
    return (
        '<section class="card" aria-label="Rows that were not picked">'
        f'<div class="card-head"><h2>The {others.count} {rows} not picked '
        f'<span class="up">↑</span></h2><span>{fate}. Not among the terms</span></div>'
        f'<div class="scroll"><table class="strip"><thead><tr><td></td>{heads}</tr></thead>'
        f'<tbody><tr><th scope="row">{spot}Known</th>{cells}</tr></tbody></table></div></section>'
    )


def _other(before: float | None, after: float | None) -> str:
    value = before if after is None else after
    was = f"<small>from {score(before)}</small>" if after is not None else ""
    stale = ' class="stale"' if after is None else ""
    return f'<td{stale} style="--heat:{100 * (value or 0.0):.0f}%">{score(value)}{was}</td>'
