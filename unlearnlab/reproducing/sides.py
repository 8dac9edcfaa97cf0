"""Gathers from a store what a comparison of two runs needs."""

from unlearnlab.events import StepLogged
from unlearnlab.recorded import Recorded
from unlearnlab.records import RunRow
from unlearnlab.reproducing.agreement import Side
from unlearnlab.store import Store
from unlearnlab.views import Course, advance


def side(run: Recorded) -> Side:
    """Take a run for a comparison."""
    course = advance(Course(), run.events)
    return Side(
        run_id=run.run_id,
        spec=run.spec,
        course=course,
        steps=[item.event for item in run.events if isinstance(item.event, StepLogged)],
        before=run.evidence.get(course.before.key) if course.before else None,
        after=run.evidence.get(course.after.key) if course.after else None,
    )


def weights_here(store: Store, run: RunRow) -> str:
    """Return the fingerprint of a run's model when another run here last loaded it.

    Empty if none did.

    Raises:
        StoreError: The store cannot be read.
    """
    for row in store.runs():
        known = (row.spec.model.name, row.spec.model.precision)
        alike = known == (run.spec.model.name, run.spec.model.precision)
        if alike and row.run_id != run.run_id and row.ending and not row.origin:
            loaded = advance(Course(), store.events(row.run_id)).loaded
            return loaded.weights if loaded else ""
    return ""
