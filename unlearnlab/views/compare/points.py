"""Forgetting against utility: where each run stands, the gate, and which runs none beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearnlab.metrics.published import MODELS, Published
from unlearnlab.metrics.scores import Scores, value_of
from unlearnlab.metrics.verdicts import GATES, KEPT_UTILITY
from unlearnlab.views.compare.rankings import comparable
from unlearnlab.views.runs import RunSummary, labels


@dataclass(frozen=True, slots=True)
class Point:
    """One run, or one model, on the plane."""

    label: str
    run_id: str
    """Empty for what is no run."""
    x: float
    """Forgetting, 0 to 1."""
    y: float
    """Utility, 0 to 1."""
    mia_score: float | None
    note: str = ""
    """The verdict, or why it does not compare."""


def point(label: str, scores: Scores, by: str, run_id: str = "", note: str = "") -> Point | None:
    """Place a model by its scores; none if either was not measured."""
    x, y = value_of(scores, by), scores.utility
    return None if x is None or y is None else Point(label, run_id, x, y, scores.mia_score, note)


def points(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place all runs that were scored."""
    found = (
        point(label, run.after, by, run.run_id, run.verdict.title if run.verdict else "")
        for run, label in zip(of, labels(of), strict=True)
        if run.after is not None
    )
    return tuple(one for one in found if one is not None)


def originals(of: Sequence[RunSummary], by: str = "forgotten") -> tuple[Point, ...]:
    """Place the original models, each once."""
    found: dict[tuple[str, float, float], Point] = {}
    for run in of:
        name = f"original {run.spec.model.known.title}"
        one = point(name, run.before, by) if run.before is not None else None
        if one is not None:
            found.setdefault((name, one.x, one.y), one)
    return tuple(found.values())


def published_points(
    of: Sequence[RunSummary], known: Sequence[Published], by: str = "task_aggregate"
) -> tuple[Point, ...]:
    """Place the published results of the models that were run, by a score and their MMLU.

    The note of each says why it does not compare with the runs: the test split is private.

    Args:
        of: The runs.
        known: The results. Those that do not state the score are left out.
        by: Key of the score.
    """
    models = {run.spec.model.name for run in of if run.after and run.after.measures_mmlu}
    folds = {"validation" if run.spec.data.fold == "validation" else "local" for run in of}
    split = next(iter(folds)) if len(folds) == 1 else ""
    return tuple(
        Point(row.system, "", x, row.mmlu, row.mia_score, _note(row, split))
        for row in known
        if MODELS[row.model] in models and row.mmlu is not None
        if (x := getattr(row, by, None)) is not None
    )


def _note(row: Published, split: str) -> str:
    told = [row.differs(MODELS[row.model], split), *row.flags]
    return "; ".join(part for part in told if part)


def gate(of: Sequence[RunSummary]) -> float | None:
    """Return the utility below which a run counts as wrecked, if it is one for all of them.

    The task's own bound on MMLU where there is one, else three quarters of the original's utility.
    """
    bounds = {
        bound
        for runs in comparable(of).values()
        for run in runs
        if (bound := _gate(run)) is not None
    }
    return bounds.pop() if len(bounds) == 1 else None


def _gate(run: RunSummary) -> float | None:
    if run.spec.model.name in GATES and run.after and run.after.measures_mmlu:
        return GATES[run.spec.model.name]
    if run.before is None or run.before.utility is None:
        return None
    return round(KEPT_UTILITY * run.before.utility, 4)


def front(of: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in both directions, from left to right.

    Source: the Pareto front; of points in one place all stay.
    """
    kept = [
        one
        for one in of
        if not any(
            other.x >= one.x and other.y >= one.y and (other.x > one.x or other.y > one.y)
            for other in of
        )
    ]
    return tuple(sorted(kept, key=lambda one: (one.x, -one.y)))
