"""What was read and checked, before it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unlearnlab.data.adding.checks import Finding, Placed, too_long
from unlearnlab.data.datasets import Row, Task


@dataclass(frozen=True, slots=True)
class Draft:
    """What was read and checked, and is not kept yet."""

    title: str
    source: str
    """What it was read from, in words: "LUME", "SemEval-2025 Task 4", "own files"."""
    placed: tuple[Placed, ...]
    """All rows of all sets, each with the line that it stands on."""
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Of the membership attack: `member` and `nonmember`, `validation/` before the other fold's."""
    questions: tuple[Mapping[str, Any], ...] = ()
    """Of the utility test, in MMLU's layout."""
    findings: tuple[Finding, ...] = ()
    """Errors first."""
    titles: Mapping[Task, str] = field(default_factory=dict[Task, str])
    """What its subtasks are called, where that is not what the task calls them."""

    @property
    def sound(self) -> bool:
        """Whether it can be added: warnings do not stand in the way."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def rows(self) -> Mapping[str, tuple[Row, ...]]:
        """Its rows by set and fold, such as `forget_train`; those that there are."""
        found: dict[str, list[Row]] = {}
        for one in self.placed:
            found.setdefault(one.split, []).append(one.row)
        return {split: tuple(rows) for split, rows in found.items()}

    @property
    def members(self) -> tuple[str, ...]:
        """The documents that the model was trained on."""
        return self.documents.get("member", ())

    @property
    def nonmembers(self) -> tuple[str, ...]:
        """The documents that it never saw."""
        return self.documents.get("nonmember", ())

    def checked_against(self, context: int) -> "Draft":
        """Add a warning of rows longer than a model's context, in tokens, if there are any."""
        found = too_long(self.placed, context=context)
        return replace(self, findings=(*self.findings, found)) if found else self
