"""What a comparison of two runs needs, taken from what is kept of them."""

from collections.abc import Callable, Sequence

from unlearnlab.runs.events import StepLogged
from unlearnlab.runs.progress import Course, advance
from unlearnlab.runs.recorded import Recorded
from unlearnlab.runs.records import RunRow
from unlearnlab.views.reproduction.agreement import Side


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


def weights_here(run: RunRow, rows: Sequence[RunRow], course_of: Callable[[str], Course]) -> str:
    """Return the fingerprint of a run's model when another run here last loaded it.

    Args:
        run: The run.
        rows: All runs, newest first.
        course_of: Returns what is known of a run's events.

    Returns:
        Empty if no other run loaded it.
    """
    mine = run.spec.model
    for row in rows:
        alike = (row.spec.model.name, row.spec.model.precision) == (mine.name, mine.precision)
        other = row.run_id != run.run_id and row.ending and not row.origin
        if alike and other and (loaded := course_of(row.run_id).loaded):
            return loaded.weights
    return ""
