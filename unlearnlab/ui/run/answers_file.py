"""The answers that the table shows, as a file that the browser saves."""

import base64
from typing import Any

from unlearnlab.exports.rows_csv import rows_csv
from unlearnlab.ui.kit.answer_filters import Look
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.panel import hides
from unlearnlab.views.arranging import Filter, chosen, in_order
from unlearnlab.views.scoreboard import titles_of


def answers_file(program: Program, run_id: str, look: Look) -> dict[str, Any]:
    """Write the rows that pass the filter, in their order: masked as they are on the page.

    Returns:
        The file's name, and its content in base64.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    scene = program.shown.of(run_id)
    row = scene.row
    masked = hides(row, look)
    rows = chosen(program.answers(row.spec, scene.course), look.filter)
    content = rows_csv(in_order(rows, look.order), titles_of(row.spec.data.known), masked=masked)
    return {
        "name": f"{run_id}-{_what(look.filter)}{'-masked' if masked else ''}.csv",
        "data": base64.b64encode(content).decode(),
    }


def _what(by: Filter) -> str:
    """Name the rows that were asked for, the words that were searched aside."""
    parts = (by.show, by.task, by.kind, *by.labels, "found" if by.text.strip() else "")
    return "-".join(part for part in parts if part)
