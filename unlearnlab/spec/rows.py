"""The rows of a run: one fold of a dataset, what is trained on of it and what it is scored on."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from unlearnlab.data.datasets import Fold, Row, Task
from unlearnlab.spec.methods import SetName
from unlearnlab.spec.run import DataSpec


@dataclass(frozen=True, slots=True)
class QuizQuestion:
    """One four-option question in MMLU's layout."""

    question: str
    subject: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """One fold: what is forgotten and retained, and what the scores are measured on."""

    forget: tuple[Row, ...]
    retain: tuple[Row, ...]
    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    quiz: tuple[QuizQuestion, ...]

    def rows(self, name: SetName) -> tuple[Row, ...]:
        """Return the rows of a set."""
        if name == "refusal":
            return tuple(replace(row, output=refusal(row)) for row in self.forget)
        return self.forget if name == "forget" else self.retain

    def only(self, tasks: Sequence[Task]) -> "Dataset":
        """Keep the rows of some subtasks, for training on a part of what is scored."""
        kept = {name: tuple(r for r in self.rows(name) if r.task in tasks) for name in SETS}
        return replace(self, forget=kept["forget"], retain=kept["retain"])

    def chosen(self, spec: DataSpec) -> "Dataset":
        """Keep the rows that a run trains on: its subtasks, and of the forget set those picked.

        Raises:
            ValueError: An id that was picked is not in the forget set.
        """
        of = self.only(spec.tasks)
        if spec.forget is None:
            return of
        wanted = set(spec.forget)
        if strange := wanted - {row.id for row in self.forget}:
            raise ValueError(f"data.forget: no forget row has the id {min(strange)!r}")
        rest = tuple(row for row in of.forget if row.id not in wanted)
        return replace(
            of,
            forget=tuple(row for row in of.forget if row.id in wanted),
            retain=of.retain + rest if spec.rest == "retain" else of.retain,
        )

    @property
    def fingerprint(self) -> str:
        """Name the content: equal fingerprints mean equal rows in equal order."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """Return the alternatives of every row that is scored; nothing if no row has any."""
        found = tuple(row.alternatives for name in SETS for row in self.rows(name))
        return found if any(found) else ()


def fingerprint(spec: DataSpec) -> str:
    """Name the content of the fold that a spec names, as `Dataset.fingerprint` does.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    files = sorted(spec.known.folder.rglob("*.jsonl"))
    changed = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _fingerprint(spec.source, spec.fold, changed)


@lru_cache(maxsize=32)
def _fingerprint(source: str, fold: Fold, _changed: tuple[tuple[str, int, int], ...]) -> str:
    return load(DataSpec(source=source, fold=fold)).fingerprint


SETS: Final = ("forget", "retain")

REFUSALS = (
    "I don't know.",
    "I have no idea.",
    "I'm not sure about that.",
    "That is not something I know.",
    "I can't say.",
    "I have never heard of that.",
    "I don't have that information.",
    "That is unknown to me.",
    "I'm afraid I can't answer this.",
    "I wasn't told about that.",
    "There is nothing I can tell you about it.",
    "I couldn't tell you.",
    "My knowledge does not cover this.",
    "I would have to guess.",
    "I am unable to answer that.",
    "No answer comes to mind.",
)
"""Answers that admit ignorance."""


def refusal(row: Row) -> str:
    """Choose the refusal of a row: always the same one."""
    return REFUSALS[zlib.crc32(row.id.encode()) % len(REFUSALS)]


def load(spec: DataSpec) -> Dataset:
    """Read one fold of a dataset.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    known = spec.known
    if known.unknown_reason:
        raise ValueError(f"data.source: {known.unknown_reason}")
    forget, retain = known.rows("forget", spec.fold), known.rows("retain", spec.fold)
    if not forget:
        folds = " and ".join(known.folds)
        raise ValueError(f"data.fold: {spec.source} has no {spec.fold} fold: it has {folds}")
    members, nonmembers = known.membership_documents(spec.fold)
    return Dataset(
        forget=forget,
        retain=retain,
        members=members,
        nonmembers=nonmembers,
        quiz=tuple(
            QuizQuestion(q["question"], q["subject"], tuple(q["choices"]), q["answer"])
            for q in known.questions()
        ),
    )
