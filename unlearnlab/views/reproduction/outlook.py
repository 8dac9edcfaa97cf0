"""What is known before a reproduction starts: whether it can, and what will not be the same."""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearnlab.runs.events import Finished
from unlearnlab.runs.progress import Course
from unlearnlab.runs.records import RunRow
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import DataSpec, RunSpec, parse_spec
from unlearnlab.views.phases import changes


@dataclass(frozen=True, slots=True)
class Outlook:
    """What can be told without a model in memory."""

    problems: tuple[str, ...]
    """Why the run cannot be repeated here; empty if it can."""
    warnings: tuple[str, ...]
    """What will differ from the first run, as far as it is known now."""


def outlook(row: RunRow, course: Course, *, weights: str = "") -> Outlook:
    """Look at a run that is to be repeated.

    Args:
        row: The run.
        course: Its events.
        weights: Fingerprint of its model's weights when a run here last loaded them; empty if that
            is not known.
    """
    problems = tuple(_problems(row))
    return Outlook(problems, () if problems else tuple(_warnings(row, course, weights)))


def repeated(spec: RunSpec) -> RunSpec:
    """Return what carries a run out once more. Its model is not kept again: the name is taken."""
    return spec.model_copy(update={"keep_as": ""})


def _problems(row: RunRow) -> Iterator[str]:
    spec = row.spec
    if not isinstance(row.ending, Finished):
        yield f"run {row.run_id} did not finish: only a finished run has numbers to agree with"
    absent = [
        (field, told)
        for field, told in (
            ("model", spec.model.known.unknown_reason or spec.model.known.unavailable_reason),
            ("data", _data_problem(spec.data)),
        )
        if told
    ]
    for field, told in absent or _misfits(spec):
        yield f"{field}: {told}"


def _misfits(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    """Tell what of a run does not fit the model and the data that have its names here."""
    try:
        parse_spec(spec.model_dump(mode="json"))
    except SpecError as error:
        return error.problems
    return ()


def _data_problem(spec: DataSpec) -> str:
    """Tell why the rows of a run cannot be had here; empty if they can."""
    known = spec.known
    if known.unknown_reason:
        return known.unknown_reason
    if spec.fold not in known.folds:
        folds = " and ".join(known.folds) or "none"
        return f"{known.title} has no {spec.fold} fold: it has {folds}"
    try:
        fingerprint(spec)
        kept = {row.id for row in known.rows("forget", spec.fold)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{known.title} cannot be read: {error}"
    lost = set(spec.forget or ()) - kept
    return f"{len(lost)} of the rows that were picked are not in {known.title}" if lost else ""


def _warnings(row: RunRow, course: Course, weights: str) -> Iterator[str]:
    loaded = course.loaded
    rows = fingerprint(row.spec.data)
    if loaded and loaded.data != rows:
        yield (
            f"the data {row.spec.data.known.title} are not what they were in the run: their "
            f"fingerprint was {loaded.data} and is {rows} here"
        )
    if loaded and weights and loaded.weights != weights:
        yield (
            f"the weights of {row.spec.model.known.title} are not what they were in the run: their "
            f"fingerprint was {loaded.weights}, and {weights} when they were last loaded here"
        )
    for one in changes(row.spec, course):
        if one.step is not None:
            yield f"what was changed by hand is not repeated: after step {one.step}, {one.text}"
    if row.spec.keep_as:
        yield f"the model is not kept again as {row.spec.keep_as}"
