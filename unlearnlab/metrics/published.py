"""Published results of SemEval-2025 Task 4, with their sources.

Both leaderboards, the organisers' baselines, and runs that the teams' papers and files report.
Results compare only on the same model and the same split.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from unlearnlab.data.files import ASSETS
from unlearnlab.metrics.verdicts import MMLU_GATE_7B, constant_letter, looks_collapsed

PUBLISHED = ASSETS / "published.csv"

PRINTED = 0.001
"""Rounding of printed scores, which have three digits."""

MODELS = {"7B": "olmo-7b", "1B": "olmo-1b"}
"""Names of the task's models in our catalog."""

SPLITS = {
    "test": "the private test split",
    "validation": "the validation split",
    "local": "a split of the team's own",
    "not told": "a split that is not told",
}


class Published(BaseModel):
    """One published result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str = Field(min_length=1)
    """The team or the method, with the setting where a team reports several."""
    model: Literal["7B", "1B"]
    kind: Literal["leaderboard", "baseline", "reference", "paper"]
    split: Literal["test", "validation", "local", "not told"]
    task_aggregate: float | None = Field(ge=0, le=1)
    mia_score: float | None = Field(ge=0, le=1)
    """1 is best, at an AUC of one half."""
    mia_auc: float | None = Field(ge=0, le=1)
    mmlu: float | None = Field(ge=0, le=1)
    final: float | None = Field(ge=0, le=1)
    """As printed; the mean of aggregate, MIA score and MMLU."""
    rank: int | None
    """On the leaderboard; none where it was not ranked."""
    paper: str
    """The system's paper, where known."""
    evidence: Literal["website", "paper", "code", "data", "derived", "second-hand"]
    """Type of the source, from the organisers' own to second-hand."""
    source: str = Field(min_length=1)
    note: str

    @field_validator(
        "task_aggregate", "mia_score", "mia_auc", "mmlu", "final", "rank", mode="before"
    )
    @classmethod
    def _blank(cls, value: Any) -> Any:
        return None if value == "" else value

    @property
    def flags(self) -> tuple[str, ...]:
        """List what the final score hides."""
        found: list[str] = []
        aggregate, mia = self.task_aggregate, self.mia_score
        if aggregate is not None and mia is not None and looks_collapsed(aggregate, mia):
            found.append("collapse signature")
        if self.mmlu is not None and (letter := constant_letter(self.mmlu, PRINTED)):
            found.append(f"MMLU as of constant {letter}")
        if self.model == "7B" and self.mmlu is not None and self.mmlu < MMLU_GATE_7B:
            found.append("below the MMLU gate")
        return tuple(found)

    def differs(self, model: str, split: str) -> str:
        """Say why a run does not compare with the result; empty if it does.

        Args:
            model: The run's model, by its name in the catalog.
            split: The run's split; the test split is private.
        """
        reasons: list[str] = []
        if MODELS[self.model] != model:
            reasons.append(f"of the task's {self.model} model")
        if self.split != split:
            reasons.append(f"on {SPLITS[self.split]}")
        return f"not comparable: {', '.join(reasons)}" if reasons else ""


@cache
def results(path: Path = PUBLISHED) -> tuple[Published, ...]:
    """Read all published results, in the file's order."""
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(Published.model_validate(row) for row in csv.DictReader(file))


def as_records(rows: Sequence[Published]) -> list[dict[str, Any]]:
    """Return results as JSON values, with their flags."""
    return [{**row.model_dump(), "flags": list(row.flags)} for row in rows]
