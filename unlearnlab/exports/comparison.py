"""The report of a comparison: one HTML file that needs no network, no script and no other file."""

from collections.abc import Iterator
from html import escape

from unlearnlab import __version__
from unlearnlab.exports import comparison_charts as charts
from unlearnlab.exports.compared import Compared
from unlearnlab.exports.page import page
from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.views.answers import Span, mask
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.compare.examples import Said, choices, example
from unlearnlab.views.compare.rankings import Place, Weights, rankings
from unlearnlab.views.compare.scoreboards import Cell, Line, measure_table, scoreboard
from unlearnlab.views.compare.terms import matrix
from unlearnlab.views.runs import held_against
from unlearnlab.views.scoreboard import KINDS, TASKS

EXAMPLES = 2
"""Rows of each set and type that are shown: those on which the models differ most."""

SERIES = ("nll.forget", "nll.retain", "term.forget", "knowledge.forget")
"""Curves that are drawn, as far as the runs have them."""


def comparison(
    of: Compared,
    *,
    masked: bool,
    weights: Weights | None = None,
    reference: Scores | None = None,
) -> str:
    """Write the report.

    Args:
        of: The runs.
        masked: Whether names, numbers and addresses in the examples are hidden.
        weights: What counts how much in the ranking; equal weights if none are given.
        reference: Scores of the retrained model, which never saw the forget set.
    """
    parts = (
        *_head(of),
        *_scores(of),
        *_ranking(of, weights or Weights()),
        *_charts(of, reference),
        *_terms(of),
        *_measures(of),
        *_differences(of),
        *_examples(of, masked=masked),
        f'<footer class="soft">Written by unlearnlab {escape(__version__)}.</footer>',
    )
    return page(f"{len(of.entries)} runs compared", parts)


def _head(of: Compared) -> Iterator[str]:
    listed = "".join(
        f"<li>{charts.badge(at)} {escape(label)} "
        f'<span class="soft">{escape(run.run_id)} · {run.status}</span></li>'
        for at, (run, label) in enumerate(zip(of.entries, of.labels, strict=True))
    )
    yield (
        f'<header><h1>{len(of.entries)} runs compared</h1><ol class="runs">{listed}</ol></header>'
    )


def _scores(of: Compared) -> Iterator[str]:
    lines = scoreboard(of.entries, of.intervals)
    scored = [run.after for run in of.entries]
    heads = "".join(
        f'<th scope="col">{escape(one.title_for(*scored))} {one.mark}</th>'
        for one in shown_scores()
    )
    rows = "".join(_line(at, line) for at, line in enumerate(lines))
    yield (
        '<section><h2>Scores</h2><p class="soft">Bold is the best of its column, among runs that '
        "were measured alike; ≈ lies within noise of it: rows, or seeds where there are several. "
        "Pale is before.</p>"
        f'<div class="scroll"><table class="board"><thead><tr><th scope="col">Run</th>{heads}'
        f'<th scope="col">Verdict</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _line(at: int, line: Line) -> str:
    cells = "".join(map(_cell, line.cells.values()))
    said = line.run.verdict.title if line.run.verdict else line.run.problem or line.run.status
    return (
        f'<tr><th scope="row">{charts.badge(at)} {escape(line.label)}</th>{cells}'
        f"<td>{escape(said)}</td></tr>"
    )


def _cell(cell: Cell) -> str:
    if cell.after is None:
        return '<td class="soft">–</td>'
    was = f' <small class="soft">{_number(cell.before)}</small>'
    number = _number(cell.after)
    shown = f"<b>{number}</b>" if cell.best else f"≈&nbsp;{number}" if cell.within_noise else number
    return f"<td>{shown}{was}</td>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _ranking(of: Compared, weights: Weights) -> Iterator[str]:
    places = {run.run_id: at for at, run in enumerate(of.entries)}
    labels = dict(zip(places, of.labels, strict=True))

    def item(place: Place) -> str:
        run = place.run.run_id
        rank = "–" if place.rank is None else str(place.rank)
        why = f" · {place.reason}" if place.reason else ""
        return (
            f"<li><span>{rank}</span> {charts.badge(places[run])} {escape(labels[run])} "
            f"<b>{_number(place.value)}</b>{escape(why)}</li>"
        )

    groups = "".join(
        f'<p class="soft">{escape(one.setting.text)}</p>'
        f'<ol class="places">{"".join(map(item, one.places))}</ol>'
        for one in rankings(of.entries, weights)
    )
    if groups:
        yield (
            f'<section><h2>Ranking</h2><p class="soft">Weighted mean: {escape(weights.text)}. '
            f"Runs that were measured otherwise are ranked apart.</p>{groups}</section>"
        )


def _charts(of: Compared, reference: Scores | None) -> Iterator[str]:
    drawn = charts.plane(of, held_against(of.entries, reference))
    drawn += "".join(charts.curves(of, series) for series in SERIES)
    if drawn:
        yield (
            f'<section><h2>Charts</h2><p class="soft">Numbers are those of the list above. The '
            f"dotted line joins the runs that no other beats in both.</p>{drawn}</section>"
        )


def _terms(of: Compared) -> Iterator[str]:
    found = matrix(of.entries)
    if not found.labels:
        return
    places = {run.run_id: at for at, run in enumerate(of.entries)}
    heads = "".join(
        f'<th scope="col" class="{one.split}">{escape(one.text)}</th>' for one in found.columns
    )
    rows = "".join(
        f'<tr><th scope="row">{charts.badge(places[run])} {escape(label)}</th>'
        + "".join(
            _term(value, column.split) for value, column in zip(row, found.columns, strict=True)
        )
        + "</tr>"
        for run, label, row in zip(found.run_ids, found.labels, found.values, strict=True)
    )
    yield (
        f"<section><h2>The {len(found.columns)} terms</h2>"
        '<p class="soft">0 to 1, up is good; one zero makes the aggregate zero.</p>'
        f'<div class="scroll"><table class="strip terms"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _term(value: float | None, split: str) -> str:
    if value is None:
        return "<td></td>"
    zero = " zero" if value <= 0 else ""
    return f'<td class="heat {split}{zero}" style="--heat:{100 * value:.0f}%">{value:.2f}</td>'


def _measures(of: Compared) -> Iterator[str]:
    found = measure_table(of.entries, of.measures)
    if not found.columns:
        return
    heads = "".join(
        f'<th scope="col">{escape(one.title)} <small>best: {escape(one.ideal)}</small></th>'
        for one in found.columns
    )
    rows = "".join(
        f'<tr><th scope="row">{charts.badge(at)} {escape(label)}</th>'
        + "".join(
            f"<td>{one.write(value.value if value else None)}</td>"
            for value, one in zip(row, found.columns, strict=True)
        )
        + "</tr>"
        for at, (label, row) in enumerate(zip(found.labels, found.rows, strict=True))
    )
    yield (
        '<section><h2>Further measures</h2><p class="soft">Of the unlearned models.</p>'
        f'<div class="scroll"><table class="board"><thead><tr><th scope="col">Run</th>{heads}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _differences(of: Compared) -> Iterator[str]:
    found = differences([run.spec for run in of.entries])
    heads = "".join(f'<th scope="col">{charts.badge(at)}</th>' for at in range(len(of.entries)))
    rows = "".join(
        f'<tr><th scope="row" title="{escape(one.path)}">{escape(one.name)}</th>'
        f"{''.join(f'<td>{escape(value)}</td>' for value in one.values)}</tr>"
        for one in found
    )
    told = "" if found else "<p>The settings of these runs are the same.</p>"
    table = f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    yield (
        f"<section><h2>Settings that differ</h2>{told}"
        f'<div class="scroll board">{table if found else ""}</div></section>'
    )


def _examples(of: Compared, *, masked: bool) -> Iterator[str]:
    speakers = of.speakers
    groups: dict[tuple[str, str], list[str]] = {}
    for choice in choices(speakers):
        groups.setdefault((choice.split, choice.kind), []).append(choice.row)
    shown = [row for rows in groups.values() for row in rows[:EXAMPLES]]
    if not shown:
        return
    hidden = " Names, numbers and addresses are hidden." if masked else ""
    yield (
        '<section><h2>Answers</h2><p class="soft">Of each set and type the rows on which the '
        f"models differ most.{hidden} Marked words stand in the expected answer.</p></section>"
    )
    for row in shown:
        found = example(row, speakers)
        assert found is not None, "it was offered"
        kind = f"{TASKS.get(found.task, found.task)} · {KINDS[found.kind]}"
        said = "".join(_said(one, found.split, masked) for one in found.said)
        yield (
            f'<section class="example"><p><span class="tag {found.split}">{found.split}</span> '
            f'<span class="tag">{escape(kind)}</span></p><p>{_text(found.prompt, masked)}</p>'
            f"<dl><dt>Expected</dt><dd>{_text(found.expected, masked)}</dd>{said}</dl></section>"
        )


def _said(one: Said, split: str, masked: bool) -> str:
    if one.score is None:
        text = '<span class="soft">not at hand</span>'
    else:
        text = "".join(_span(span, split, masked) for span in one.spans)
        text = text or '<span class="soft">(empty)</span>'
    words = f' <span class="soft">{one.outcome.replace("_", " ")}</span>' if one.outcome else ""
    return f"<dt>{escape(one.name)}</dt><dd>{text}{words}</dd>"


def _span(span: Span, split: str, masked: bool) -> str:
    text = _text(span.text, masked)
    return f'<mark class="{split}">{text}</mark>' if span.recited else text


def _text(text: str, masked: bool) -> str:
    return escape(mask(text) if masked else text)
