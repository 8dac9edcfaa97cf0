"""Published results of SemEval-2025 Task 4: what others reached, and where that is written.

Both leaderboards, the organisers' baselines, and what the teams' papers and files tell of runs of
their own. Only numbers of one model on one split compare; each row says which it is of.
"""

import csv
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from unlearnlab.data.files import ASSETS
from unlearnlab.metrics.scores import mia_score
from unlearnlab.metrics.verdicts import MMLU_GATE_7B, constant_letter, looks_collapsed

PUBLISHED = ASSETS / "published.csv"

PRINTED = 0.001
"""Parts and final score are printed with three digits: their mean may be off by this."""

MODELS = {"7B": "olmo-7b", "1B": "olmo-1b"}
"""The catalogue's names of the task's models."""

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
    """The team, or the method; with the setting where a team tells of several."""
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
    """Of the system, where known."""
    evidence: Literal["website", "paper", "code", "data", "derived", "second-hand"]
    """How far the number is from who measured it."""
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

    @property
    def consistent(self) -> bool:
        """Tell whether the numbers agree with each other, to the digits printed."""
        parts = (self.task_aggregate, self.mia_score, self.mmlu)
        known = [part for part in parts if part is not None]
        whole = len(known) < len(parts) or self.final is None
        folded = self.mia_auc is None or self.mia_score is None
        return (whole or abs(statistics.fmean(known) - (self.final or 0.0)) <= PRINTED) and (
            folded or abs(mia_score(self.mia_auc or 0.0) - (self.mia_score or 0.0)) <= 2 * PRINTED
        )

    def differs(self, model: str, split: str) -> str:
        """Say why a run does not compare with it; empty if it does.

        Args:
            model: The run's, by the catalogue's name.
            split: What the run was scored on; the private test split is at hand for nobody.
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
    """Lay results out for JSON, with their flags."""
    return [{**row.model_dump(), "flags": list(row.flags)} for row in rows]
