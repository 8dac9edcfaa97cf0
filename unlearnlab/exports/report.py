"""The report of a run: one HTML file that needs no network, no script and no other file."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from html import escape

from unlearnlab import __version__
from unlearnlab.exports import words
from unlearnlab.exports.chart import chart
from unlearnlab.exports.page import page
from unlearnlab.exports.result import Result
from unlearnlab.metrics.labels import title
from unlearnlab.metrics.verdicts import Verdict, VerdictKind
from unlearnlab.runs.events import Failed
from unlearnlab.spec.run import RunSpec
from unlearnlab.views import provenance
from unlearnlab.views.answers import AnswerRow, marked, mask
from unlearnlab.views.arranging import counts
from unlearnlab.views.scoreboard import KINDS, TASKS, ScoreCard, Term, terms_strip

EXAMPLES = 2
"""Rows of each set, subtask and type that are shown: the first ones, so that nobody picks."""

_MOODS: dict[VerdictKind, str] = {
    "forgotten": "good",
    "partly_forgotten": "fair",
    "no_effect": "plain",
    "over_unlearned": "bad",
    "below_gate": "bad",
    "collapsed": "bad",
    "memorised": "good",
    "not_memorised": "fair",
}


def report(result: Result, *, masked: bool) -> str:
    """Write the report.

    Args:
        result: Of the run.
        masked: Whether names, numbers and addresses in the examples are hidden.
    """
    parts = (
        *_head(result),
        *_scores(result),
        *_strip(result),
        *_measures(result),
        *_curves(result),
        *_settings(result),
        *_examples(result, masked=masked),
        *_foot(result),
    )
    return page(result.title, parts)


def _head(result: Result) -> Iterator[str]:
    row, status = result.row, result.status
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row.created))
    origin = f" · taken in {escape(row.origin)}" if row.origin else ""
    took = f" after {result.row.ending.seconds:.0f} s" if result.row.ending else ""
    yield (
        f'<header><h1>{escape(result.title)}</h1><p class="soft">Run {escape(row.run_id)} · '
        f'{made}{origin} · <span class="pill {status}">{status}</span>{took}</p></header>'
    )
    if isinstance(row.ending, Failed):
        told = " ".join(part for part in (row.ending.problem, row.ending.advice) if part)
        yield f'<p class="failed">{escape(told)}</p>'


def _scores(result: Result) -> Iterator[str]:
    board = result.board
    pale = "" if board.alone else "pale is before, full is after · "
    if result.row.before is None:
        yield "<section><h2>Scores</h2><p>No model was scored.</p></section>"
        return
    cards = "".join(_card(card) for card in board.cards)
    setting = " · ".join(part for part in (board.protocol, board.setting) if part)
    yield (
        f"<section><h2>Scores</h2>{_verdict(board.verdict, result.spec)}"
        f'<div class="cards">{cards}</div><p class="soft">{pale}'
        f"{escape(setting)}</p></section>"
    )


def _verdict(found: Verdict | None, spec: RunSpec) -> str:
    if spec.only_scores:
        return ""
    if found is None:
        return '<div class="verdict plain"><b>No verdict</b> It needs both scores.</div>'
    told = found.evidence
    if not spec.taught:
        told = (*told, "This speaks of these probes; it is no proof of erasure.")
    lines = "".join(f"<li>{escape(line)}</li>" for line in told)
    return (
        f'<div class="verdict {_MOODS[found.kind]}"><b>{escape(found.title)}</b>'
        f"<ul>{lines}</ul></div>"
    )


def _card(card: ScoreCard) -> str:
    shown = card.before if card.after is None else card.after
    was = "before unlearning" if card.after is None else f"before {_number(card.before)}"
    was = was if card.before is not None else ""
    bars = "".join(
        f'<i class="{name}" style="width:{100 * min(1.0, max(0.0, value)):.1f}%"></i>'
        for name, value in (("before", card.before), ("after", card.after))
        if value is not None
    )
    return (
        f'<div class="score {card.score.role}"><span>{escape(card.title)} <span class="soft" '
        f'title="{card.score.direction}">{card.score.mark}</span></span><b>{_number(shown)}</b>'
        f'<div class="meter">{bars}</div><span class="soft">{was}</span>'
        f'<span class="soft">{escape(card.note)}</span></div>'
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _strip(result: Result) -> Iterator[str]:
    terms = terms_strip(result.row.before, result.row.after)
    if result.row.before is None:
        return
    columns = dict.fromkeys(term.column for term in terms)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row" class="{split}">{split.capitalize()}</th>'
        f"{''.join(_term(term) for term in terms if term.split == split)}</tr>"
        for split in ("forget", "retain")
    )
    yield (
        f'<section><h2>The {len(terms)} terms</h2><p class="soft">0 to 1, up is good: forget terms '
        "are one minus the score. Their harmonic mean is the task aggregate; one zero makes it "
        "zero.</p>"
        f'<div class="scroll"><table class="strip"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _term(term: Term) -> str:
    was = f"<small>from {_number(term.before)}</small>" if term.after is not None else ""
    zero = ' class="zero"' if term.zeroes else ""
    heat = 100 * min(1.0, max(0.0, term.value or 0.0))
    return f'<td{zero} style="--heat:{heat:.0f}%">{_number(term.value)}{was}</td>'


def _measures(result: Result) -> Iterator[str]:
    found = [one for one in result.measures if not one.missing]
    if not found:
        return
    heads = ("Measure", "Original", "Unlearned", "Retrained", "Best")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(one.measure.title)}</th>'
        + "".join(
            f"<td>{one.measure.write(of.value if of else None)}</td>"
            for of in (one.before, one.after)
        )
        + f"<td>{one.measure.write(one.retrained)}</td><td>{escape(one.measure.ideal)}</td></tr>"
        for one in found
    )
    yield (
        '<section><h2>Further measures</h2><p class="soft">What looks gone under these measures '
        f'need not be.</p><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _curves(result: Result) -> Iterator[str]:
    drawn = chart(result, "terms", label="Loss terms, unweighted")
    drawn += chart(result, "probe", label="Live probe: share right or recited")
    if drawn:
        yield f"<section><h2>Curves</h2>{drawn}</section>"


def _settings(result: Result) -> Iterator[str]:
    spec = result.spec
    facts = [
        ("Model", words.model_name(spec)),
        ("Trained", words.training(spec)),
        ("Data", words.data_name(result)),
        *provenance.facts(spec, result.course),
        *(("Changed by hand", line) for line in words.changed(result)),
    ]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    phases = "".join(
        f"<li><b>{escape(text)}</b><br>"
        f'<span class="soft">{escape(" · ".join(" ".join(pair) for pair in words.details(one)))}'
        "</span></li>"
        for text, one in zip(words.phases(result), spec.phases, strict=True)
    )
    plain = json.dumps(spec.model_dump(mode="json"), indent=1, ensure_ascii=False)
    yield (
        f'<section><h2>Settings</h2><ol class="phases">{phases}</ol><dl>{listed}</dl>'
        f"<details><summary>The whole spec as JSON</summary><pre>{escape(plain)}</pre></details>"
        "</section>"
    )


def _examples(result: Result, *, masked: bool) -> Iterator[str]:
    rows = result.answers
    if not rows:
        return
    found = counts(rows)
    told = f"The first {EXAMPLES} rows of each set, subtask and type, of {found['all']} in all."
    if result.after is not None and not result.spec.taught:
        stays = "retain rows and forget rows not picked" if found["others"] else "retain rows"
        told += (
            f" {found['leaks']} of {found['forget']} forget rows still leak; {found['damaged']} of "
            f"{found['retain'] + found['others']} {stays} were damaged."
        )
    hidden = " Names, numbers and addresses are hidden." if masked else ""
    # Of a run that only scores, there is but one model.
    after = "" if result.spec.only_scores else f"{words.became(result.spec).capitalize()} model"
    heads = ("Prompt", "Expected", *(("Original model", after) if after else ("Model",)))
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(_example(row, after, masked) for row in shown(rows))
    yield (
        f'<section class="answers"><h2>Answers</h2><p class="soft">{told}{hidden} Marked words '
        "stand in the expected answer.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def shown(rows: Sequence[AnswerRow]) -> list[AnswerRow]:
    """Return the rows that a report shows."""
    groups: dict[tuple[str, str, str], list[AnswerRow]] = {}
    for row in rows:
        groups.setdefault((row.split, row.task, row.kind), []).append(row)
    return list(itertools.chain.from_iterable(group[:EXAMPLES] for group in groups.values()))


def _example(row: AnswerRow, after: str, masked: bool) -> str:
    kind = f"{TASKS.get(row.task, row.task)} · {KINDS[row.kind]}"
    other = "" if row.judged else ' <span class="tag">not picked</span>'
    mood = "" if after.startswith("Taught") else row.mood
    judged = f'<span class="tag {mood}">{escape(title(row.outcome, row.wished))}</span>'
    return (
        f'<tr><td data-label="Prompt">{_text(row.prompt, masked)}'
        f'<div><span class="tag {row.split}">{row.split}</span> '
        f'<span class="tag">{escape(kind)}</span>{other}</div></td>'
        f'<td data-label="Expected">{_text(row.expected, masked)}</td>'
        f"{_models(row, after, masked, f'<div>{judged}</div>')}</tr>"
    )


def _models(row: AnswerRow, after: str, masked: bool, judged: str) -> str:
    """Draw what the models said, the judgement of the last with it."""
    first = _said(row, row.original, masked)
    if not after:
        return f'<td data-label="Model">{first}{judged}</td>'
    last = _said(row, row.unlearned, masked)
    return (
        f'<td data-label="Original model">{first}</td><td data-label="{after}">{last}{judged}</td>'
    )


def _text(text: str, masked: bool) -> str:
    return escape(mask(text) if masked else text)


def _said(row: AnswerRow, text: str | None, masked: bool) -> str:
    if text is None:
        return '<span class="soft">not scored</span>'
    if not text.strip():
        return '<span class="soft">(empty)</span>'
    return "".join(
        f'<mark class="{row.split}">{_text(span.text, masked)}</mark>'
        if span.recited
        else _text(span.text, masked)
        for span in marked(row.expected, text.strip())
    )


def _foot(result: Result) -> Iterator[str]:
    limits = "".join(f"<li>{escape(line)}</li>" for line in words.limits(result.spec))
    yield f"<section><h2>Limits</h2><ul>{limits}</ul></section>"
    yield f'<footer class="soft">Written by unlearnlab {escape(__version__)}.</footer>'
