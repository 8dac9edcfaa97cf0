"""The official scores of a submission, and what they do not show."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.metrics.intervals import Interval, aggregate_interval, auc_interval, term_intervals
from unlearnlab.metrics.official.findings import Finding
from unlearnlab.metrics.official.submission import SPLITS, TASKS, Output, Submission
from unlearnlab.metrics.scores import mia_score, row_score, term_rows

KINDS: Mapping[Kind, str] = {"sc": "regurgitation-score", "qa": "knowledge-score"}
"""The script's names, in its order."""

UNMEASURED = -1.0
"""What the script writes for an aggregate score where MIA or MMLU are missing: no score."""

STORED = ("evaluation_results.jsonl", "evaluation_results.json")
"""Where the script leaves its own scores."""

SAME = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A row with its official score."""

    split: Split
    task: str
    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the aggregate; up is good."""

    split: Split
    task: str
    kind: Kind
    value: Interval | None
    """None where the subtask has no row of the kind: the script's mean of nothing."""
    mean: float | None
    """Of the row scores; a forget term is one minus it."""
    rows: int

    @property
    def key(self) -> str:
        """Name it as `metrics.terms` does."""
        return f"{self.split}/{self.task}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Scored:
    """All scores of a submission."""

    terms: tuple[Term, ...]
    """In the script's order: forget, then retain; by subtask, completions first."""
    overall: Mapping[tuple[Split, Kind], float | None]
    """Means over all rows of a kind, which no other score uses."""
    complete: frozenset[Split]
    """Sets whose files could all be read and have rows."""
    task_aggregate: Interval | None
    auc: Interval | None
    mmlu: float | None
    rows: int
    missing: int
    """Outputs that were read as missing."""
    distinct: float
    """Share of distinct outputs, 0 to 1."""
    faults: tuple[Finding, ...]

    @property
    def values(self) -> dict[str, float]:
        """Return the terms that have a value, by name."""
        return {term.key: term.value.value for term in self.terms if term.value}

    @property
    def mia_score(self) -> float | None:
        """Fold the AUC around one half."""
        return None if self.auc is None else mia_score(self.auc.value)

    @property
    def final(self) -> float | None:
        """Average aggregate, MIA score and MMLU; none without one of them."""
        if self.task_aggregate is None or self.mia_score is None or self.mmlu is None:
            return None
        return statistics.mean([self.task_aggregate.value, self.mmlu, self.mia_score])

    @property
    def final_needs(self) -> str:
        """Say what `final` cannot be taken without; empty if it is there."""
        parts = {
            "the task aggregate": self.task_aggregate,
            "the MIA score": self.mia_score,
            "MMLU": self.mmlu,
        }
        lacking = [name for name, value in parts.items() if value is None]
        return f"needs {' and '.join(lacking)}" if lacking else ""


def score(submission: Submission) -> Scored:
    """Score all that can be scored; what cannot is in `faults`."""
    graded = [_graded(output) for output in submission.outputs]
    placed = [one for one in graded if one.task]
    rows = term_rows(placed)
    terms = _terms(rows)
    empty = [_no_rows(term) for term in terms if term.value is None]
    faults = [*submission.faults, *empty]
    blocked = {fault.part for fault in faults if fault.blocks}
    scorable = {one.split for one in graded} - blocked
    complete: frozenset[Split] = frozenset(split for split in SPLITS if split in scorable)
    outputs = [output.generated for output in submission.outputs]
    return Scored(
        terms=terms,
        overall={
            (split, kind): _overall(graded, split, kind) for split in SPLITS for kind in KINDS
        },
        complete=complete,
        task_aggregate=aggregate_interval(rows) if len(complete) == len(SPLITS) else None,
        auc=auc_interval(submission.membership) if submission.membership else None,
        mmlu=submission.mmlu.average,
        rows=len(outputs),
        missing=sum(output.missing for output in submission.outputs),
        distinct=len(set(outputs)) / len(outputs) if outputs else 0.0,
        faults=tuple(faults),
    )


def _graded(output: Output) -> Graded:
    points = row_score(output.kind, output.expected, output.generated)
    return Graded(output.split, output.task, output.kind, points)


def _terms(rows: Mapping[str, Sequence[float]]) -> tuple[Term, ...]:
    """Give every subtask that a set has rows of its two terms."""
    intervals = term_intervals(rows)
    terms: list[Term] = []
    for split in SPLITS:
        there = {key.split("/")[1] for key in rows if key.startswith(f"{split}/")}
        for task in sorted(there):
            for kind in KINDS:
                key = f"{split}/{task}/{kind}"
                scores = rows.get(key, ())
                mean = statistics.fmean(scores) if scores else None
                terms.append(Term(split, task, kind, intervals.get(key), mean, len(scores)))
    return tuple(terms)


def _no_rows(term: Term) -> Finding:
    what = f"{term.task} has no {term.kind} rows: its term, and the aggregate, are of nothing"
    return Finding(term.split, what, f"{term.split}_*.csv", "id")


def _overall(graded: Sequence[Graded], split: Split, kind: Kind) -> float | None:
    found = [one.score for one in graded if (one.split, one.kind) == (split, kind)]
    return statistics.fmean(found) if found else None


def official(scored: Scored) -> dict[str, Any]:
    """Lay the scores out under the script's keys; null where it would have nan, -1 or fail."""
    found: dict[str, Any] = {f"{split}-set": _set(scored, split) for split in SPLITS}
    if scored.auc is not None:
        found["mia_loss_acc"] = scored.auc.value
    if scored.mmlu is not None:
        found["mmlu_average"] = scored.mmlu
    found["aggregated-terms"] = [term.value.value if term.value else None for term in scored.terms]
    aggregate = scored.task_aggregate
    found["harmonic-mean-task-aggregate"] = aggregate.value if aggregate else None
    found["aggregate-score"] = scored.final
    if scored.mia_score is not None:
        found["mia_final_score"] = scored.mia_score
    return found


def _set(scored: Scored, split: Split) -> dict[str, Any] | None:
    terms = [term for term in scored.terms if term.split == split]
    if not terms:
        return None
    found: dict[str, Any] = {
        f"overall-{KINDS[kind]}": scored.overall[split, kind] for kind in KINDS
    }
    for term in terms:
        found.setdefault(term.task, {})[KINDS[term.kind]] = term.mean
    return found


def short_of(scored: Scored) -> str:
    """Say which of the twelve terms are not there; empty if all are."""
    there = {(term.split, term.task) for term in scored.terms}
    lacking = [
        f"{split} {task}" for split in SPLITS for task in TASKS if (split, task) not in there
    ]
    return ", ".join(lacking)


def stored_differences(folder: Path, scored: Scored) -> tuple[str, ...]:
    """Compare with the scores that the script itself left in the folder, if it did."""
    path = next((folder / name for name in STORED if (folder / name).is_file()), None)
    if path is None:
        return ()
    try:
        plain: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return (f"{path.name} cannot be read: {error}",)
    stored = cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}
    if "harmonic-mean-task-aggregate" not in stored:
        return (
            f"{path.name} has no harmonic-mean-task-aggregate: a script from before December 2024 "
            "wrote it, whose scores do not compare",
        )
    ours = official(scored)
    return tuple(
        f"{path.name} has {key} {stored[key]!r}, recomputed {value!r}"
        for key, value in ours.items()
        if key in stored and not _same(stored[key], value)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first)
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("list[Any]", one), cast("list[Any]", other)
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= SAME
    return one == other or (other is None and (one != one or one == UNMEASURED))
