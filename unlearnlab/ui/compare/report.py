"""The report of a selection: one HTML file that travels through the page's own connection."""

import base64
from typing import Annotated, Any

from pydantic import Field, ValidationError

from unlearnlab.exports.report import comparison
from unlearnlab.exports.result import compared
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.compare.board import Selection
from unlearnlab.ui.compare.listing import MOST
from unlearnlab.ui.compare.marks import RunId
from unlearnlab.ui.kit.program import Program

NAME = "comparison.html"


class ReportWish(Selection):
    """Which runs a report is asked of: untrusted."""

    runs: Annotated[list[RunId], Field(min_length=1, max_length=MOST)]
    masked: bool = True
    """Whether personal data are hidden."""


def report(program: Program, asked: Any) -> dict[str, Any]:
    """Answer with the report as a file, or with a problem to tell."""
    try:
        wish = ReportWish.model_validate(asked)
        found = compared(program.store, wish.runs)
    except ValidationError:
        return {"problem": "Select at least one run for a report."}
    except StoreError as error:
        return {"problem": str(error)}
    reference = program.reference(found.entries[0].spec)
    page = comparison(found, masked=wish.masked, weights=wish.weights, reference=reference)
    return {"name": NAME, "data": base64.b64encode(page.encode()).decode()}
