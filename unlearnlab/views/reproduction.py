"""Reproduction of a run: what can be known before it starts, and which numbers agree afterwards.

Pure functions of what both runs left. Two scores that are not equal are within noise if the
bootstrap interval of their difference over the same rows holds zero. One run each shows no spread
between seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.scores import Evidence, Scores, scored_evidence, shown_scores
from unlearnlab.runs.events import Failed, Finished, StepLogged, When
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.records import FullRecord, RunRecord
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import DataSpec, RunSpec, parse_spec
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.phases import changes
from unlearnlab.views.provenance import batches_text, code_text
from unlearnlab.views.scoreboard import term_name


@dataclass(frozen=True, slots=True)
class Outlook:
    """Checks of a reproduction that need no model in memory."""

    problems: tuple[str, ...]
    """Why the run cannot be reproduced here; empty if it can."""
    warnings: tuple[str, ...]
    """Known differences from the original run."""


def outlook(row: RunRecord, course: RunProgress, *, weights: str = "") -> Outlook:
    """Check a run before it is reproduced.

    Args:
        row: The run.
        course: The fold of its events.
        weights: Fingerprint of its model's weights when a run here last loaded them, from
            `weights_here`; empty if unknown.
    """
    problems = tuple(_problems(row))
    return Outlook(problems, () if problems else tuple(_warnings(row, course, weights)))


def repeated(spec: RunSpec) -> RunSpec:
    """Return the spec that reproduces a run. It saves no model: the name is taken."""
    return spec.model_copy(update={"keep_as": ""})


def _problems(row: RunRecord) -> Iterator[str]:
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
    """Return what in a run does not fit the local model and data of the same names."""
    try:
        parse_spec(spec.model_dump(mode="json"))
    except SpecError as error:
        return error.problems
    return ()


def _data_problem(spec: DataSpec) -> str:
    """Return why the rows of a run are not available here; empty if they are."""
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


def _warnings(row: RunRecord, course: RunProgress, weights: str) -> Iterator[str]:
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


def weights_here(
    run: RunRecord, rows: Sequence[RunRecord], course_of: Callable[[str], RunProgress]
) -> str:
    """Return the fingerprint of a run's model weights when another run here last loaded them.

    Args:
        run: The run.
        rows: All runs, newest first.
        course_of: Returns the fold of a run's events by its id.

    Returns:
        Empty if no other run loaded them.
    """
    mine = run.spec.model
    for row in rows:
        alike = (row.spec.model.name, row.spec.model.precision) == (mine.name, mine.precision)
        other = row.run_id != run.run_id and row.ending and not row.origin
        if alike and other and (loaded := course_of(row.run_id).loaded):
            return loaded.weights
    return ""


Agreement = Literal["equal", "noise", "other", "unknown", "missing"]
"""equal | within noise | differs | differs, no interval available | present in only one run."""

WORDS: Mapping[Agreement, str] = {
    "equal": "equal",
    "noise": "within noise",
    "other": "differs",
    "unknown": "differs, noise not known",
    "missing": "not measured",
}

NOT_NOTED = "not noted"


@dataclass(frozen=True, slots=True)
class Number:
    """One number of both runs."""

    name: str
    """Such as `before/forget/Task1/sc` or `after/final`."""
    title: str
    first: float | None
    """None if it was not measured."""
    again: float | None
    agreement: Agreement
    interval: Interval | None = None
    """Bootstrap interval of the difference over rows; none if equal or without evidence."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the records."""

    name: str
    first: str
    again: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Comparison of a run with its reproduction."""

    first: str
    """Id of the original run."""
    again: str
    """Id of the reproduction."""
    numbers: tuple[Number, ...]
    record: tuple[Change, ...]
    steps: int
    """Optimizer steps of the original run."""
    steps_again: int
    """Optimizer steps of the reproduction."""
    same_steps: int
    """Number of leading optimizer steps whose loss terms are all equal."""
    problem: str = ""
    """Why the reproduction has no result; empty if it has."""

    @property
    def agrees(self) -> bool:
        """Whether the steps are equally many and all numbers are equal or within noise."""
        fine = all(number.agreement in ("equal", "noise") for number in self.numbers)
        whole = self.steps_again == self.steps and not self.problem
        return fine and bool(self.numbers) and whole

    def of(self, agreement: Agreement) -> list[Number]:
        """Return the numbers of one kind of agreement."""
        return [number for number in self.numbers if number.agreement == agreement]


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two runs, folded."""

    run_id: str
    spec: RunSpec
    progress: RunProgress
    steps: Sequence[StepLogged]
    before: Evidence | None
    after: Evidence | None
    """Evidence behind the scores; none where it is not stored."""

    def scores(self, when: When) -> Scores | None:
        """Return the scores of a model; none if it was not scored."""
        event = self.progress.before if when == "before" else self.progress.after
        return event.scores if event else None


def _side(run: FullRecord) -> _Side:
    progress = advance(RunProgress(), run.events)
    return _Side(
        run_id=run.run_id,
        spec=run.spec,
        progress=progress,
        steps=[item.event for item in run.events if isinstance(item.event, StepLogged)],
        before=run.evidence.get(progress.before.key) if progress.before else None,
        after=run.evidence.get(progress.after.key) if progress.after else None,
    )


def reproduction(original: FullRecord, repetition: FullRecord) -> Reproduction:
    """Compare a run with its reproduction."""
    first, again = _side(original), _side(repetition)
    ending = again.progress.ending
    problem = "it was stopped" if ending else "it did not finish"
    if isinstance(ending, Failed):
        problem = f"it failed: {ending.problem}"
    scored = (*_scored("before", first, again), *_scored("after", first, again))
    return Reproduction(
        first=first.run_id,
        again=again.run_id,
        numbers=scored,
        record=tuple(_changes(first, again)),
        steps=len(first.steps),
        steps_again=len(again.steps),
        same_steps=_same_steps(first.steps, again.steps),
        problem="" if isinstance(ending, Finished) else problem,
    )


def _scored(when: When, first: _Side, again: _Side) -> tuple[Number, ...]:
    """Compare the scores of the original or the unlearned model."""
    one, other = (_by_name(side.scores(when)) for side in (first, again))
    pairs = {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}
    apart = any(not _equal(*pair) for pair in pairs.values())
    intervals = _intervals(when, first, again) if apart else dict[str, Interval]()
    found = first.scores(when) or again.scores(when)
    titles = {score.key: score.title_for(found) for score in shown_scores()}
    return tuple(
        Number(
            name=f"{when}/{key}",
            title=f"{titles.get(key) or term_name(key)}, {when}",
            first=mine,
            again=theirs,
            agreement=_agreement(mine, theirs, intervals.get(key)),
            interval=None if _equal(mine, theirs) else intervals.get(key),
        )
        for key, (mine, theirs) in pairs.items()
    )


def _by_name(found: Scores | None) -> Mapping[str, float]:
    """Return scores by name, terms included."""
    if found is None:
        return {}
    known = {score.key: score.value(found) for score in shown_scores()}
    return {**found.terms, **{key: value for key, value in known.items() if value is not None}}


def _equal(one: float | None, other: float | None) -> bool:
    both_nan = one is not None and other is not None and one != one and other != other
    return one == other or both_nan


def _agreement(one: float | None, other: float | None, interval: Interval | None) -> Agreement:
    if _equal(one, other):
        return "equal"
    if one is None or other is None:
        return "missing"
    if interval is None:
        return "unknown"
    return "noise" if 0.0 in interval else "other"


def _intervals(when: When, first: _Side, again: _Side) -> Mapping[str, Interval]:
    """Bootstrap the differences over shared rows; empty if the rows differ or are not stored."""
    one, other = (side.before if when == "before" else side.after for side in (first, again))
    if one is None or other is None:
        return {}
    picked = first.spec.data.forget
    return score_intervals(scored_evidence(one, picked), scored_evidence(other, picked)).change


def _same_steps(first: Sequence[StepLogged], again: Sequence[StepLogged]) -> int:
    """Count the leading steps whose loss terms are equal to the last bit."""
    for count, (one, other) in enumerate(zip(first, again, strict=False)):
        if repr(one.terms) != repr(other.terms):
            return count
    return min(len(first), len(again))


def _changes(first: _Side, again: _Side) -> Iterator[Change]:
    """Yield what differs between the records."""
    for one in differences([first.spec, again.spec]):
        yield Change(one.name, *one.values)
    noted = [_noted(side) for side in (first, again)]
    for name in dict.fromkeys((*noted[0], *noted[1])):
        one, other = (of.get(name, NOT_NOTED) for of in noted)
        if one != other:
            yield Change(name, one, other)
    by_hand = [_by_hand(side) for side in (first, again)]
    if by_hand[0] != by_hand[1]:
        yield Change("Changed by hand", *(text or "nothing" for text in by_hand))


def _noted(side: _Side) -> Mapping[str, str]:
    """Return what a run recorded of its data, weights, device and code."""
    course, found = side.progress, dict[str, str]()
    if course.loaded:
        found["Rows' fingerprint"] = course.loaded.data
        found["Weights' fingerprint"] = course.loaded.weights
    if course.phases:
        found["Effective batch"] = batches_text(course)
    if course.started:
        found["Device"] = course.started.device
        found |= {f"Version of {k}": v for k, v in course.started.versions.items()}
        found["Code"] = code_text(course.started.code)
    return found


def _by_hand(side: _Side) -> str:
    made = [one for one in changes(side.spec, side.progress) if one.step is not None]
    return "; ".join(f"after step {one.step}: {one.text}" for one in made)


def reading(of: Reproduction) -> Iterator[str]:
    """Yield sentences: which numbers agree, and for how many steps the training was identical."""
    if of.problem:
        yield f"The reproduction has no result to compare: {of.problem}."
    if of.numbers:
        yield _numbers(of)
    if of.steps or of.steps_again:
        yield _training(of)
    if not of.record:
        yield "The records are the same."


def _numbers(of: Reproduction) -> str:
    count = len(of.numbers)
    equal, noise, other, unknown, missing = (
        len(of.of(kind)) for kind in ("equal", "noise", "other", "unknown", "missing")
    )
    if equal == count:
        return f"All {count} numbers are equal."
    parts = [f"{equal} of {count} numbers are equal"]
    if noise:
        parts.append(f"{noise} within noise")
    if other:
        parts.append(f"{other} {'differs' if other == 1 else 'differ'} by more than noise")
    if unknown:
        parts.append(f"{unknown} not equal, and without the answers noise cannot be told")
    if missing:
        parts.append(f"{missing} measured in one of the runs alone")
    return f"{', '.join(parts)}."


def _training(of: Reproduction) -> str:
    same, steps, again = of.same_steps, of.steps, of.steps_again
    if same < min(steps, again):
        if not same:
            return "The loss terms differ from the first step on."
        return f"The loss terms are equal up to step {same} of {steps}, and differ then."
    if not min(steps, again):
        return f"Steps of training: {steps} in the first run, {again} in the second."
    if again < steps:
        return f"The loss terms are equal as far as the second run came: step {again} of {steps}."
    if again > steps:
        return f"The loss terms of all {steps} steps are equal, but the second run took {again}."
    return f"The loss terms of all {steps} steps are equal."
