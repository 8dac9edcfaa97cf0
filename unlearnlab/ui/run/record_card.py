"""The card of a run's record: what it computed on and with, and how it fares when repeated."""

from collections.abc import Sequence

from unlearnlab.runs.events import Finished
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import UnknownRun
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.text import escape
from unlearnlab.views.provenance import facts
from unlearnlab.views.reproduction import (
    WORDS,
    Agreement,
    Number,
    Reproduction,
    outlook,
    reading,
    weights_here,
)

_MOODS: dict[Agreement, str] = {
    "equal": "good",
    "noise": "good",
    "other": "bad",
    "unknown": "fair",
    "missing": "fair",
}


def record_html(
    program: Program, row: RunRecord | None, course: RunProgress, rows: Sequence[RunRecord]
) -> str:
    """Draw the card.

    Args:
        program: Of the page.
        row: The run that is shown; without one, or before it has begun, there is no card.
        course: Its events, as far as they are shown.
        rows: All runs.

    Raises:
        StoreError: The store cannot be read.
    """
    if row is None or course.started is None:
        return ""
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts(row.spec, course)
    )
    compared = _compared(program, row, course)
    return (
        f'<details class="card record"{" open" if compared else ""}><summary><h2>Record</h2>'
        f"<span>{_head(compared)}</span></summary>{_comparison(compared)}"
        f"<dl>{listed}{_links(row, rows)}</dl>{_again(program, row, course, rows)}</details>"
    )


def _head(compared: Reproduction | None) -> str:
    if compared is None:
        return "what the run computed on and with; carry it out once more"
    told = "agrees" if compared.agrees else "does not agree"
    met = "has no result" if compared.problem else f"{told} with it"
    return f"a reproduction of run {escape(compared.first)}, which {met}"


def _compared(program: Program, row: RunRecord, course: RunProgress) -> Reproduction | None:
    """Compare an ended run with the one that it repeats, if that is here."""
    if not row.repeats or course.ending is None:
        return None
    try:
        return program.reproduced(row.repeats, row.run_id)
    except UnknownRun:
        return None


def _comparison(of: Reproduction | None) -> str:
    if of is None:
        return ""
    mood, title = ("good", "It agrees") if of.agrees else ("bad", "It does not agree")
    if of.problem:
        mood, title = "fair", "It has no result"
    told = "".join(f"<li>{escape(line)}</li>" for line in reading(of))
    apart = [number for number in of.numbers if number.agreement != "equal"]
    equal = of.of("equal")
    whole = (
        '<details class="equal-numbers"><summary>'
        f"{len(equal)} equal numbers</summary>{_numbers(equal)}</details>"
    )
    return (
        f'<div class="verdict {mood}"><b>{title}</b><ul>{told}</ul></div>'
        f"{_numbers(apart)}{whole if equal else ''}{_differences(of)}"
    )


def _numbers(of: Sequence[Number]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.title)}</th><td class="number">{_exact(one.first)}</td>'
        f'<td class="number">{_exact(one.again)}</td><td><span class="tag {_MOODS[one.agreement]}">'
        f"{WORDS[one.agreement]}</span></td></tr>"
        for one in of
    )
    return _table(("Number", "First", "Again", ""), rows)


def _exact(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _differences(of: Reproduction) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th><td>{escape(one.first)}</td>'
        f"<td>{escape(one.again)}</td></tr>"
        for one in of.record
    )
    return _table(("In the record", "First", "Again"), rows)


def _table(heads: Sequence[str], rows: str) -> str:
    """Draw a table; nothing without rows."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" * bool(rows)


def _links(row: RunRecord, rows: Sequence[RunRecord]) -> str:
    """Name the runs that this one repeats or is repeated by, and where it comes from."""
    found = [("Repeats", [row.repeats])] if row.repeats else []
    if repeating := [other.run_id for other in rows if other.repeats == row.run_id]:
        found.append(("Repeated by", repeating))
    here = {other.run_id for other in rows}
    links = "".join(
        f"<dt>{name}</dt><dd>{', '.join(_link(run, here) for run in runs)}</dd>"
        for name, runs in found
    )
    return links + (f"<dt>Taken in</dt><dd>{escape(row.origin)}</dd>" if row.origin else "")


def _link(run_id: str, here: set[str]) -> str:
    run = escape(run_id)
    if run_id not in here:
        return f"run {run}, which is not here"
    return f'<button type="button" class="link" data-event="open" data-run="{run}">{run}</button>'


def _again(program: Program, row: RunRecord, course: RunProgress, rows: Sequence[RunRecord]) -> str:
    """Offer to carry the run out again, and tell first what is known to differ."""
    if not isinstance(course.ending, Finished):
        return ""
    known = outlook(row, course, weights=weights_here(row, rows, program.courses.of))
    lines = (*known.problems, *known.warnings)
    told = "".join(f"<li>{escape(f'{line[0].upper()}{line[1:]}.')}</li>" for line in lines)
    if known.problems:
        return f'<ul class="remark">{told}</ul>'
    confirm = ' data-confirm="Press again: it will differ"' if known.warnings else ""
    return (
        f'<ul class="remark">{told}</ul>'
        * bool(told)
        + f'<p><button type="button" class="quiet" data-event="reproduce" data-run="'
        f'{escape(row.run_id)}"{confirm}>Reproduce</button> <span class="remark">carries the '
        "record out as a new run, and tells which numbers agree</span></p>"
    )
