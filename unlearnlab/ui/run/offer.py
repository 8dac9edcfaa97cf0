"""The offer to unlearn what a finished run has taught."""

from typing import Any

from unlearnlab.data.datasets import dataset
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.presets import unlearn_spec
from unlearnlab.ui.form.form import Form, form_of
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.program import Program


def offer_html(row: RunRecord | None) -> str:
    """Render the offer; empty for a run that has taught nothing. HTML."""
    finished = row is not None and row.ending is not None and row.ending.kind == "finished"
    if row is None or not (finished and row.spec.keep_as and "forget" in row.spec.taught):
        return ""
    count = len(dataset(row.spec.data.source).rows("forget", row.spec.data.fold))
    return render("run/offer.html", model=row.spec.keep_as, run=row.run_id, count=count)


def next_form(program: Program, run_id: Any) -> Form:
    """Return a form that unlearns what a run has taught.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    taught = program.store.row(str(run_id)).spec
    spec = unlearn_spec(taught.keep_as, taught.data.source)
    return form_of(spec.model_dump(mode="json"))
