"""Which numbers of a run and of its reproduction agree, and in what their records differ.

Pure functions of what both runs left. Two scores that are not equal are within noise if the same
rows, drawn anew, could well have scored the other way round: the bootstrap interval of their
difference, row by row, holds zero. One run each shows no spread between seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.scores import Evidence, Scores, judged, shown_scores
from unlearnlab.runs.events import Ending, Failed, Finished, StepLogged, When
from unlearnlab.runs.progress import Course
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.phases import changes
from unlearnlab.views.provenance import batches_text, code_text
from unlearnlab.views.scoreboard import term_name

Agreement = Literal["equal", "noise", "other", "unknown", "missing"]
"""Exactly equal; not more apart than noise; more apart; apart, and by how much noise not known; in
one of the runs alone."""

WORDS: Mapping[Agreement, str] = {
    "equal": "equal",
    "noise": "within noise",
    "other": "differs",
    "unknown": "differs, noise not known",
    "missing": "not measured",
}

NOT_NOTED = "not noted"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs."""

    run_id: str
    spec: RunSpec
    course: Course
    steps: Sequence[StepLogged]
    before: Evidence | None
    after: Evidence | None
    """What the scores were computed from; none where it is not kept."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of both runs."""

    name: str
    """As in `before/forget/Task1/sc` or `after/final`."""
    title: str
    first: float | None
    """None where it was not measured."""
    again: float | None
    agreement: Agreement
    interval: Interval | None = None
    """Of the difference over rows, where the two are not equal and their rows are known."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something in which the records differ."""

    name: str
    first: str
    again: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A run beside the one that it repeats."""

    first: str
    again: str
    """Ids of the runs."""
    numbers: tuple[Number, ...]
    record: tuple[Change, ...]
    steps: int
    """Optimizer steps of the first run."""
    steps_again: int
    """Those of the second run."""
    same_steps: int
    """Optimizer steps from the first on that both took and whose loss terms are all equal."""
    problem: str = ""
    """Why the second run has no end to compare; empty if it has."""

    @property
    def agrees(self) -> bool:
        """Whether as many steps were taken and all numbers are equal or within noise."""
        fine = all(number.agreement in ("equal", "noise") for number in self.numbers)
        whole = self.steps_again == self.steps and not self.problem
        return fine and bool(self.numbers) and whole

    def of(self, agreement: Agreement) -> list[Number]:
        """Return the numbers that agree so far and no further."""
        return [number for number in self.numbers if number.agreement == agreement]


def reproduction(first: Side, again: Side) -> Reproduction:
    """Compare a run with the one that repeats its record."""
    scored = (*_scored("before", first, again), *_scored("after", first, again))
    return Reproduction(
        first=first.run_id,
        again=again.run_id,
        numbers=scored,
        record=tuple(_changes(first, again)),
        steps=len(first.steps),
        steps_again=len(again.steps),
        same_steps=_same_steps(first.steps, again.steps),
        problem=_problem(again.course.ending),
    )


def _problem(ending: Ending | None) -> str:
    if isinstance(ending, Finished):
        return ""
    if isinstance(ending, Failed):
        return f"it failed: {ending.problem}"
    return "it was stopped" if ending else "it did not come to its end"


def _scored(when: When, first: Side, again: Side) -> tuple[Number, ...]:
    """Compare the scores of one of the two models."""
    one, other = (_scores(side, when) for side in (first, again))
    pairs = {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}
    apart = any(not _equal(*pair) for pair in pairs.values())
    intervals = _intervals(when, first, again) if apart else {}
    titles = _titles(when, first, again)
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


def _scores(side: Side, when: When) -> Mapping[str, float]:
    """List the scores of a model by name; none if it was not scored."""
    found = _found(side, when)
    if found is None:
        return {}
    known = {score.key: score.value(found) for score in shown_scores()}
    return {**found.terms, **{key: value for key, value in known.items() if value is not None}}


def _found(side: Side, when: When) -> Scores | None:
    event = side.course.before if when == "before" else side.course.after
    return event.scores if event else None


def _titles(when: When, first: Side, again: Side) -> Mapping[str, str]:
    known = _found(first, when) or _found(again, when)
    return {score.key: score.title_for(known) for score in shown_scores()}


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


def _intervals(when: When, first: Side, again: Side) -> Mapping[str, Interval]:
    """Bootstrap the differences over the rows of both; none where they were not the same rows."""
    one, other = (side.before if when == "before" else side.after for side in (first, again))
    if one is None or other is None:
        return {}
    picked = first.spec.data.forget
    return score_intervals(judged(one, picked), judged(other, picked)).change


def _same_steps(first: Sequence[StepLogged], again: Sequence[StepLogged]) -> int:
    """Count the steps from the first on that both took, with terms equal to the last bit."""
    for count, (one, other) in enumerate(zip(first, again, strict=False)):
        if repr(one.terms) != repr(other.terms):
            return count
    return min(len(first), len(again))


def _changes(first: Side, again: Side) -> Iterator[Change]:
    """Tell in what the records differ."""
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


def _noted(side: Side) -> Mapping[str, str]:
    """List what a run noted of what it computed with and on."""
    course, found = side.course, dict[str, str]()
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


def _by_hand(side: Side) -> str:
    made = [one for one in changes(side.spec, side.course) if one.step is not None]
    return "; ".join(f"after step {one.step}: {one.text}" for one in made)
