"""The card of a run's record: its data, weights, device and versions, and its reproductions."""

from collections.abc import Sequence
from typing import Any

from unlearnlab.runs.events import Finished
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import UnknownRun
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.reproduction import (
    WORDS,
    Agreement,
    Reproduction,
    outlook,
    reading,
    weights_here,
)
from unlearnlab.views.words import record_lines

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
    values: dict[str, Any] = {"of": None, "finished": isinstance(course.ending, Finished)}
    if compared := _compared(program, row, course):
        values |= _comparison(compared)
    if values["finished"]:
        known = outlook(row, course, weights=weights_here(row, rows, program.courses.of))
        lines = (*known.problems, *known.warnings)
        remarks = [f"{line[0].upper()}{line[1:]}." for line in lines]
        values |= {"outlook": known, "remarks": remarks}
    repeating = [other.run_id for other in rows if other.repeats == row.run_id]
    return render(
        "run/record_card.html",
        row=row,
        facts=record_lines(row.spec, course),
        links=(("Repeats", [row.repeats] if row.repeats else []), ("Repeated by", repeating)),
        here={other.run_id for other in rows},
        exact=lambda value: "–" if value is None else f"{value:.4g}",
        words=WORDS,
        moods=_MOODS,
        **values,
    )


def _compared(program: Program, row: RunRecord, course: RunProgress) -> Reproduction | None:
    """Compare an ended run with the one that it repeats, if that is here."""
    if not row.repeats or course.ending is None:
        return None
    try:
        return program.reproduced(row.repeats, row.run_id)
    except UnknownRun:
        return None


def _comparison(of: Reproduction) -> dict[str, Any]:
    """Return what the template shows of a comparison."""
    if of.problem:
        mood, verdict, met = "fair", "It has no result", "has no result"
    elif of.agrees:
        mood, verdict, met = "good", "It agrees", "agrees with it"
    else:
        mood, verdict, met = "bad", "It does not agree", "does not agree with it"
    return {
        "of": of,
        "mood": mood,
        "verdict": verdict,
        "met": met,
        "lines": reading(of),
        "apart": [number for number in of.numbers if number.agreement != "equal"],
        "equal": of.of("equal"),
    }
