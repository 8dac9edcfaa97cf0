"""Reproduction of a run: what can be known before it starts, and which numbers agree afterwards.

Pure functions of what both runs left. Two scores that are not equal are within noise if the
bootstrap interval of their difference over the same rows holds zero. One run each shows no spread
between seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.scores import Scores, scored_evidence, shown_scores
from unlearnlab.runs.events import Evaluated, Failed, Finished, StepLogged, When
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.records import FullRecord, RunRecord
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import DataSpec, RunSpec, parse_spec
from unlearnlab.views.runs import differences
from unlearnlab.views.scoreboard import term_name
from unlearnlab.views.words import changes_text, record_lines, stopped_text


@dataclass(frozen=True, slots=True)
class Outlook:
    """Checks of a reproduction that need no model in memory."""

    problems: tuple[str, ...]
    """Why the run cannot be reproduced here; empty if it can."""
    warnings: tuple[str, ...]
    """Known differences from the original run."""


def outlook(row: RunRecord, progress: RunProgress, *, weights: str = "") -> Outlook:
    """Check a run before it is reproduced.

    Args:
        row: The run.
        progress: The fold of its events.
        weights: Fingerprint of its model's weights when a run here last loaded them, from
            `weights_here`; empty if unknown.
    """
    problems = tuple(_problems(row))
    return Outlook(problems, () if problems else tuple(_warnings(row, progress, weights)))


def repeated(spec: RunSpec) -> RunSpec:
    """Return the spec that reproduces a run. It saves no model: the name is taken."""
    return spec.model_copy(update={"keep_as": ""})


def _problems(row: RunRecord) -> Iterator[str]:
    spec = row.spec
    if not isinstance(row.ending, Finished):
        yield f"run {row.run_id} did not finish: only a finished run has numbers to agree with"
    model = spec.model.known.unknown_reason or spec.model.known.unavailable_reason
    data = _data_problem(spec.data)
    if model or data:
        yield from (f"{name}: {told}" for name, told in (("model", model), ("data", data)) if told)
        return
    try:
        parse_spec(spec.model_dump(mode="json"))
    except SpecError as error:  # The local model and data of the same names are others.
        yield from (f"{field}: {told}" for field, told in error.problems)


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


def _warnings(row: RunRecord, progress: RunProgress, weights: str) -> Iterator[str]:
    if stopped := stopped_text(row.ending):
        yield f"its training was {stopped} by hand: the repetition trains to the end"
    loaded = progress.loaded
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
    for text in changes_text(row.spec, progress):
        yield f"what was changed by hand is not repeated: {text}"
    if row.spec.keep_as:
        yield f"the model is not kept again as {row.spec.keep_as}"


def weights_here(
    run: RunRecord, rows: Sequence[RunRecord], progress_of: Callable[[str], RunProgress]
) -> str:
    """Return the fingerprint of a run's model weights when another run here last loaded them.

    Args:
        run: The run.
        rows: All runs, newest first.
        progress_of: Returns the fold of a run's events by its id.

    Returns:
        Empty if no other run loaded them.
    """
    mine = run.spec.model
    for row in rows:
        alike = (row.spec.model.name, row.spec.model.precision) == (mine.name, mine.precision)
        other = row.run_id != run.run_id and row.ending and not row.origin
        if alike and other and (loaded := progress_of(row.run_id).loaded):
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


class _Side:
    """One of the two runs, folded."""

    def __init__(self, run: FullRecord) -> None:
        self.run_id, self.spec = run.run_id, run.spec
        self.progress = advance(RunProgress(), run.events)
        self.evidence = run.evidence
        steps = (item.event for item in run.events if isinstance(item.event, StepLogged))
        self.losses = [repr(step.terms) for step in steps]
        """Loss terms by step, as text: NaN is equal to itself."""

    def scored(self, when: When) -> Evaluated | None:
        return self.progress.before if when == "before" else self.progress.after


def reproduction(original: FullRecord, repetition: FullRecord) -> Reproduction:
    """Compare a run with its reproduction."""
    first, again = _Side(original), _Side(repetition)
    ending = again.progress.ending
    problem = "it was stopped" if ending else "it did not finish"
    if isinstance(ending, Failed):
        problem = f"it failed: {ending.problem}"
    both = zip(first.losses, again.losses, strict=False)
    return Reproduction(
        first=first.run_id,
        again=again.run_id,
        numbers=(*_scored("before", first, again), *_scored("after", first, again)),
        record=tuple(_changes(first, again)),
        steps=len(first.losses),
        steps_again=len(again.losses),
        same_steps=sum(1 for _ in takewhile(lambda losses: losses[0] == losses[1], both)),
        problem="" if isinstance(ending, Finished) else problem,
    )


def _scored(when: When, first: _Side, again: _Side) -> Iterator[Number]:
    """Compare the scores of the original or the unlearned model."""
    scored = [side.scored(when) for side in (first, again)]
    one, other = (_by_name(event.scores) if event else {} for event in scored)
    pairs = {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}
    apart = any(not _equal(*pair) for pair in pairs.values())
    intervals = _intervals(when, first, again) if apart else dict[str, Interval]()
    titles = {
        score.key: score.title_for(next((event.scores for event in scored if event), None))
        for score in shown_scores()
    }
    for key, (mine, theirs) in pairs.items():
        name, title = f"{when}/{key}", f"{titles.get(key) or term_name(key)}, {when}"
        interval = intervals.get(key)
        if _equal(mine, theirs):
            yield Number(name, title, mine, theirs, "equal")
        elif mine is None or theirs is None:
            yield Number(name, title, mine, theirs, "missing", interval)
        elif interval is None:
            yield Number(name, title, mine, theirs, "unknown")
        else:
            noise = 0.0 in interval
            yield Number(name, title, mine, theirs, "noise" if noise else "other", interval)


def _by_name(found: Scores) -> dict[str, float]:
    """Return scores by name, terms included."""
    known = {score.key: score.value(found) for score in shown_scores()}
    return {**found.terms, **{key: value for key, value in known.items() if value is not None}}


def _equal(one: float | None, other: float | None) -> bool:
    both_nan = one is not None and other is not None and one != one and other != other
    return one == other or both_nan


def _intervals(when: When, first: _Side, again: _Side) -> Mapping[str, Interval]:
    """Bootstrap the differences over shared rows; empty if the rows differ or are not stored."""
    scored = [(side, side.scored(when)) for side in (first, again)]
    one, other = (side.evidence.get(event.key) if event else None for side, event in scored)
    if one is None or other is None:
        return {}
    picked = first.spec.data.forget
    return score_intervals(scored_evidence(one, picked), scored_evidence(other, picked)).change


def _changes(first: _Side, again: _Side) -> Iterator[Change]:
    """Yield what differs between the records."""
    for one in differences([first.spec, again.spec]):
        yield Change(one.name, *one.values)
    recorded = [_recorded(side) for side in (first, again)]
    for name in dict.fromkeys((*recorded[0], *recorded[1])):
        one, other = (of.get(name, "not noted") for of in recorded)
        if one != other:
            yield Change(name, one, other)
    by_hand = ["; ".join(changes_text(side.spec, side.progress)) for side in (first, again)]
    if by_hand[0] != by_hand[1]:
        yield Change("Changed by hand", *(text or "nothing" for text in by_hand))


RESULTS = ("Seed", "Versions", "Weights moved")
"""Lines of a record that say what came out, or that are compared elsewhere."""


def _recorded(side: _Side) -> Mapping[str, str]:
    """Return a run's record with a line for each version; the seed is among the settings."""
    lines = record_lines(side.spec, side.progress)
    started = side.progress.started
    versions: Mapping[str, str] = started.versions if started else {}
    found = {name: text for name, text in lines if name not in RESULTS}
    return found | {f"Version of {name}": number for name, number in versions.items()}


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
    equal, noise, other, unknown, missing = (len(of.of(kind)) for kind in WORDS)
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
