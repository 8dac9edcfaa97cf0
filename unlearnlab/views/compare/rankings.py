"""Who is best under which weights, among runs whose numbers may be compared at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from unlearnlab.metrics.scores import ALL_TERMS, Scores, weighted_scores
from unlearnlab.metrics.verdicts import VerdictKind
from unlearnlab.views.runs import RunSummary

UNRANKED: tuple[VerdictKind, ...] = ("collapsed", "below_gate")
"""Verdicts that keep a run out of the places: a wreck has a final score of about 0.4, and the task
ranks no model below its MMLU gate."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What must be alike for scores to be compared: what was measured, on which rows, and how."""

    model: str
    data: str
    fold: str
    tasks: tuple[str, ...]
    """Subtasks that were to be forgotten."""
    picked: str
    """Which forget rows were picked, and what became of the rest; empty for all of them."""
    taught: bool
    """Whether the run teaches: then a low aggregate is what was wanted."""
    terms: tuple[str, ...]
    max_new_tokens: int
    protocol: str
    """How utility was measured."""
    questions: int

    @property
    def text(self) -> str:
        """Put it in one line."""
        of = "" if len(self.terms) == ALL_TERMS else f"{len(self.terms)} terms, "
        picked = "picked rows, " if self.picked else ""
        utility = f"{self.questions} questions" if self.questions else "no utility test"
        return (
            f"{self.model}, {self.data} {self.fold} fold, {', '.join(self.tasks)}, {picked}{of}"
            f"up to {self.max_new_tokens} tokens, {utility}"
        )


def setting(run: RunSummary) -> Setting | None:
    """Return what a run's scores were measured under; none if it was not scored."""
    scores, spec = run.after, run.spec
    if scores is None:
        return None
    rows = spec.data.forget
    picked = "" if rows is None else f"{crc32(repr(sorted(rows)).encode()):08x} {spec.data.rest}"
    return Setting(
        model=spec.model.name,
        data=spec.data.source,
        fold=spec.data.fold,
        tasks=spec.data.tasks,
        picked=picked,
        taught=bool(spec.taught),
        terms=tuple(sorted(scores.terms)),
        max_new_tokens=spec.evaluation.max_new_tokens,
        protocol=scores.utility_protocol,
        questions=scores.utility_questions,
    )


def comparable(of: Sequence[RunSummary]) -> dict[Setting, list[RunSummary]]:
    """Group scored runs by what their scores were measured under, in order of appearance."""
    found: dict[Setting, list[RunSummary]] = {}
    for run in of:
        if (under := setting(run)) is not None:
            found.setdefault(under, []).append(run)
    return found


def _equal_weights() -> Mapping[str, float]:
    return {score.weight: 1.0 for score in weighted_scores()}


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts; equal weights give the task's final score."""

    of: Mapping[str, float] = field(default_factory=_equal_weights)
    """By the name of a score's weight; a score without one does not count."""

    def __post_init__(self) -> None:
        parts = tuple(self.of.values())
        if min(parts) < 0 or sum(parts) <= 0:
            raise ValueError(f"weights {parts} cannot rank: none below 0, and one above it")

    @property
    def equal(self) -> bool:
        """Tell whether all parts count alike."""
        return len({self.of.get(score.weight, 0.0) for score in weighted_scores()}) == 1

    @property
    def text(self) -> str:
        """Put them in words."""
        named = ((score.short_words, score.weight) for score in weighted_scores())
        return ", ".join(f"{name} {self.of.get(weight, 0.0):g}" for name, weight in named)


def weighted(scores: Scores, by: Weights) -> float | None:
    """Return the weighted mean of the scores that count, 0 to 1.

    Returns:
        None if a score that counts was not measured.
    """
    counted = [
        (weight, score.value(scores))
        for score in weighted_scores()
        if (weight := by.of.get(score.weight, 0.0)) > 0
    ]
    total = sum(weight for weight, _ in counted)
    if any(value is None for _, value in counted):
        return None
    return sum(weight * (value or 0.0) for weight, value in counted) / total


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands."""

    run: RunSummary
    rank: int | None
    """From 1; equals share one. None where the run is not ranked."""
    value: float | None
    """The weighted mean."""
    reason: str
    """Why it is not ranked."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The runs of one setting, best first, then those that are not ranked."""

    setting: Setting
    places: tuple[Place, ...]


def rankings(of: Sequence[RunSummary], by: Weights | None = None) -> tuple[Ranking, ...]:
    """Rank runs, those of each setting by themselves.

    Args:
        of: The runs; those without scores are left out.
        by: Equal weights if none are given.
    """
    weights = by or Weights()
    return tuple(Ranking(under, _places(runs, weights)) for under, runs in comparable(of).items())


def _places(runs: Sequence[RunSummary], by: Weights) -> tuple[Place, ...]:
    values = [(run, weighted(run.after, by) if run.after else None) for run in runs]
    values.sort(key=lambda pair: -1.0 if pair[1] is None else pair[1], reverse=True)
    ranked = [value for run, value in values if value is not None and not _reason(run, value)]
    found = [
        Place(run, None if (why := _reason(run, value)) else 1 + _above(ranked, value), value, why)
        for run, value in values
    ]
    return tuple(sorted(found, key=lambda place: place.rank is None))


def _above(ranked: Sequence[float], value: float | None) -> int:
    return sum(other > (value or 0.0) for other in ranked)


def _reason(run: RunSummary, value: float | None) -> str:
    if value is None:
        return "a score that counts was not measured"
    if run.verdict is not None and run.verdict.kind in UNRANKED:
        return run.verdict.title.lower()
    return ""
