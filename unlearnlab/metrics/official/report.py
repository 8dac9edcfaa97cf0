"""The scores of a submission, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearnlab.metrics.intervals import LEVEL, Interval
from unlearnlab.metrics.membership import auc_reading
from unlearnlab.metrics.official.flags import Flag, flags
from unlearnlab.metrics.official.scoring import Scored, official, score, stored_differences
from unlearnlab.metrics.official.submission import load


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of a folder."""

    scored: Scored
    flags: tuple[Flag, ...]
    stored: tuple[str, ...]
    """Where the script's own scores in the folder differ from these."""

    @property
    def problems(self) -> tuple[str, ...]:
        """List what could not be scored, and why."""
        return tuple(f"{_part(f.part)}: {f}" for f in self.scored.faults if f.blocks)

    @property
    def notes(self) -> tuple[str, ...]:
        """List what is odd and changes no score."""
        return (*(str(fault) for fault in self.scored.faults if not fault.blocks), *self.stored)

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all could be scored."""
        return not (self.scored.terms or self.scored.auc)


def _part(part: str) -> str:
    return {"mia": "MIA", "mmlu": "MMLU"}.get(part, f"{part} set")


def report(folder: Path, mmlu_file: Path | None = None) -> Report:
    """Read and score a folder."""
    submission = load(folder, mmlu_file)
    scored = score(submission)
    return Report(scored, flags(scored, submission.mmlu), stored_differences(folder, scored))


def as_record(made: Report) -> dict[str, Any]:
    """Lay a report out for JSON: the script's keys, and ours under `unlearnlab`."""
    scored = made.scored
    ours: dict[str, Any] = {
        "terms": {term.key: {"rows": term.rows, **_interval(term.value)} for term in scored.terms},
        "task_aggregate": _interval(scored.task_aggregate),
        "mia_auc": _interval(scored.auc),
        "mia_reading": auc_reading(scored.auc) if scored.auc else None,
        "aggregate_score_needs": scored.final_needs or None,
        "interval_level": LEVEL,
        "rows": scored.rows,
        "missing_outputs": scored.missing,
        "distinct_outputs": scored.distinct,
        "flags": [asdict(flag) for flag in made.flags],
        "problems": list(made.problems),
        "notes": list(made.notes),
    }
    return {**official(scored), "unlearnlab": ours}


def _interval(value: Interval | None) -> Mapping[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value.value, "low": value.low, "high": value.high}
