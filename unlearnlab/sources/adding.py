"""From files, a folder or typed lines to a dataset: read and checked first, then kept whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unlearnlab.library import KnownDataset, Row, Task, dataset
from unlearnlab.sources.checks import Finding

KindWish = Literal["guess", "completion", "question"]

OWN_TITLES: Mapping[Task, str] = {"Task1": "Facts"}


class SourceError(ValueError):
    """Something cannot be read or kept: which file or name, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What was read and checked, and is not kept yet."""

    title: str
    source: str
    """What it was read from, in words: "LUME", "SemEval-2025 Task 4", "own files"."""
    rows: Mapping[str, tuple[Row, ...]]
    """By set and fold: `forget_train`, `retain_train`, `forget_validation`, `retain_validation`."""
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Of the membership attack: `member` and `nonmember`, `validation/` before the other fold's."""
    questions: tuple[Mapping[str, Any], ...] = ()
    """Of the utility test, in MMLU's layout."""
    findings: tuple[Finding, ...] = ()
    titles: Mapping[Task, str] = field(default_factory=dict[Task, str])
    """What its subtasks are called, where that is not what the task calls them."""

    @property
    def sound(self) -> bool:
        """Whether it can be added: warnings do not stand in the way."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def members(self) -> tuple[str, ...]:
        """The documents that the model was trained on."""
        return self.documents.get("member", ())

    @property
    def nonmembers(self) -> tuple[str, ...]:
        """The documents that it never saw."""
        return self.documents.get("nonmember", ())


def columns_of(path: Path) -> list[str]:
    """Return the names of a file's columns, in order.

    Raises:
        SourceError: The file cannot be read.
    """
    with path.open(encoding="utf-8") as text:
        return list(json.loads(next(text)))


def read_files(
    forget: Path,
    retain: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    kind: KindWish = "guess",
    title: str = "",
) -> Draft:
    """Read a forget set and, if there is one, a retain set of the user's own.

    Args:
        forget: JSONL, a JSON array, CSV, TSV or Parquet.
        retain: Likewise.
        columns: The file's name of `input`, `output`, `id`, `task`, where it is another.
        kind: What rows are whose id does not say it; a guess goes by the answer's length.
        title: How the page calls it.

    Raises:
        SourceError: A file cannot be read at all. What is wrong with its rows is in the findings.
    """
    names = {"input": "input", "output": "output"} | dict(columns or {})
    files = {"forget_train": forget} | ({"retain_train": retain} if retain else {})
    rows = {}
    for key, path in files.items():
        with path.open(encoding="utf-8") as text:
            read = [json.loads(line) for line in text]
        rows[key] = tuple(
            Row(f"{n}qa0", str(r[names["input"]]), str(r[names["output"]]), "Task1")
            for n, r in enumerate(read)
        )
    return Draft(title or "Own data", "own files", rows, titles=OWN_TITLES)


def read_folder(folder: Path, *, title: str = "", limit: int | None = None, seed: int = 0) -> Draft:
    """Read the folder of SemEval-2025 Task 4 or LUME, or one in this program's own layout.

    Args:
        folder: Which of them it is, its files tell.
        title: How the page calls it.
        limit: How many source documents of each set and subtask to take; none takes all.
        seed: Which ones.

    Raises:
        SourceError: It is no such folder, or a file in it cannot be read at all.
    """
    raise SourceError(f"{folder.name}: not yet")


def read_typed(text: str, *, retain: str = "", retain_of: str = "", title: str = "") -> Draft:
    """Read facts that were typed: on each line a question and its answer.

    A tab, `|`, `->` or `=` stands between the two, or the question's own mark.

    Args:
        text: The facts to forget.
        retain: Facts to keep, typed in the same way.
        retain_of: Name of a dataset whose retain set and utility questions are taken along.
        title: How the page calls it.

    Raises:
        SourceError: Nothing was typed, or there is no dataset `retain_of`.
    """
    pairs = [line.partition("?") for line in text.splitlines() if line.strip()]
    rows = tuple(
        Row(f"{n}qa0", f"{question}?".strip(), answer.strip(), "Task1")
        for n, (question, _, answer) in enumerate(pairs)
    )
    return Draft(title or "Typed facts", "typed", {"forget_train": rows}, titles=OWN_TITLES)


def add(draft: Draft, name: str = "", *, replace: bool = False) -> KnownDataset:
    """Keep a draft as a dataset that a spec can name.

    It is whole or not there: what was there before stays until the new one is written.

    Args:
        draft: A sound one.
        name: Lower-case letters, digits and hyphens; made of the title if not given.
        replace: Whether a dataset of this name gives way.

    Raises:
        SourceError: The draft is not sound, the name is taken or is none, or the disk is full.
    """
    raise SourceError(f"{name}: not yet")


def remove(name: str) -> None:
    """Delete a dataset that was added.

    Raises:
        SourceError: There is none of this name, or it is the embedded one.
    """
    raise SourceError(f"{dataset(name).name}: not yet")
