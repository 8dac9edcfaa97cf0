"""Typed facts: saved as a dataset, taught to the embedded model, then unlearned.

Functions of plain values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearnlab.data.adding.adding import Draft, SourceError, add, read_typed, remove
from unlearnlab.data.adding.checks import Finding
from unlearnlab.data.datasets import EMBEDDED_NAME, dataset
from unlearnlab.models.catalog import save_name_problem
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.teaching import teach_spec, unlearn_spec
from unlearnlab.ui.form.form import Form, form_of
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import escape
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message, trouble

TYPED, NAME = element("data.typed"), element("data.typed.name")
"""Element ids of the two boxes."""

FACTS = "my-facts"
"""Default name."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Result of a press of the button."""

    run_id: str = ""
    form: Form | None = None
    """The memorization run, as a form; None if nothing was queued."""
    message: Message = field(default_factory=Message)


def press_teach(program: Program, text: str, name: str) -> Taught:
    """Save typed facts as a dataset, and queue the run that teaches them."""
    try:
        draft = read_typed(text, retain_of=EMBEDDED_NAME, title=name.strip() or "My facts")
    except SourceError as error:
        return _refused(TYPED, "Facts", str(error))
    if not draft.sound:
        return Taught(message=Message(tuple(_problems(draft.findings))))
    free = free_name(name)
    try:
        add(draft, free)
    except SourceError as error:
        return _refused(NAME, "Name", str(error))
    return _queued(program, free, draft)


def _queued(program: Program, name: str, draft: Draft) -> Taught:
    spec = teach_spec(name, keep_as=name)
    try:
        busy = program.worker.state().would_wait(spec.model.device)
        run_id = program.worker.submit(spec, name=f"Teach {draft.title}")
    except (SpecError, StoreError, NotRunning) as error:
        remove(name)
        return Taught(message=trouble(error))
    notes = ["Queued: it starts when the current run ends."] if busy else []
    notes += [f"{_told(one)}." for one in draft.findings]
    form = form_of(spec.model_dump(mode="json"))
    return Taught("" if busy else run_id, form, Message(note=" ".join(notes)))


def _refused(place: str, label: str, told: str) -> Taught:
    return Taught(message=Message((Problem(place, label, told),)))


def _problems(findings: Sequence[Finding]) -> list[Problem]:
    """Return the errors that keep the facts from being saved."""
    errors = (finding for finding in findings if finding.severity == "error")
    return [Problem(TYPED, "Facts", _told(finding)) for finding in errors]


def _told(finding: Finding) -> str:
    """Return a finding's message with the numbers of its typed lines."""
    lines = [str(row.line) for row in finding.rows if row.split == "forget_train"]
    more = ["…"] if finding.count > len(finding.rows) else []
    word = "line" if finding.count == 1 else "lines"
    where = f" ({word} {', '.join([*lines, *more])})" if lines else ""
    return f"{finding.message}{where}"


def free_name(wanted: str) -> str:
    """Return a name that no dataset and no saved model has: the wanted one, or numbered."""
    plain = re.sub("[^a-z0-9]+", "-", wanted.lower()).strip("-")[:32].strip("-") or FACTS
    number, name = 1, plain
    while not dataset(name).unknown_reason or save_name_problem(name):
        number += 1
        name = f"{plain}-{number}"
    return name


# ---- what comes next ----


def offer_html(row: RunRecord | None) -> str:
    """Render the offer to unlearn what a finished run taught; empty for any other run. HTML."""
    if row is None or not _has_taught(row):
        return ""
    known = dataset(row.spec.data.source)
    count = len(known.rows("forget", row.spec.data.fold))
    facts, them = ("this row", "it") if count == 1 else (f"these {count} rows", "them")
    return (
        '<section class="card offer"><div>'
        f"<b>The model {escape(row.spec.keep_as)} has memorized {facts}.</b>"
        f"<p>Ask it below, or unlearn {them}: the button fills in the form.</p></div>"
        f'<button type="button" data-event="unlearn_next" data-run="{escape(row.run_id)}">'
        f"Now unlearn {them}</button></section>"
    )


def _has_taught(row: RunRecord) -> bool:
    finished = row.ending is not None and row.ending.kind == "finished"
    return bool(finished and row.spec.keep_as and "forget" in row.spec.taught)


def next_form(program: Program, run_id: Any) -> Form:
    """Return a form that unlearns what a run taught.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    taught = program.store.row(str(run_id)).spec
    spec = unlearn_spec(taught.keep_as, taught.data.source)
    return form_of(spec.model_dump(mode="json"))
