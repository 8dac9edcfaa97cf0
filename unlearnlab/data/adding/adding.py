"""From files, a folder or typed lines to a dataset: read and checked first, then kept whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unlearnlab.data.adding.checks import Finding, Placed, check, without_doubles
from unlearnlab.data.adding.drafts import Draft
from unlearnlab.data.adding.files import SourceError
from unlearnlab.data.adding.folders import layout
from unlearnlab.data.adding.keeping import add, remove
from unlearnlab.data.adding.rows import KindWish, Part, Rows, Wish, rows_of
from unlearnlab.data.adding.slicing import sliced, still_members
from unlearnlab.data.adding.tables import read_table
from unlearnlab.data.adding.typed import typed_table
from unlearnlab.data.datasets import dataset

__all__ = [
    "Draft",
    "KindWish",
    "SourceError",
    "add",
    "columns_of",
    "read_files",
    "read_folder",
    "read_typed",
    "remove",
]

BORROWED = 60
"""Retain rows that typed facts take along of another dataset: enough that a model that is taught
the facts keeps the rest, and few enough that teaching takes seconds."""

NO_RETAIN = Finding(
    "no retain set",
    "warning",
    "there is no retain set: methods that draw on one cannot run, and what is lost beside the "
    "forget set is not measured",
    0,
)


def columns_of(path: Path) -> list[str]:
    """Return the names of a file's columns, in order.

    Raises:
        SourceError: The file cannot be read.
    """
    return list(read_table(path).columns)


def read_files(
    forget: Path,
    retain: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    kind: KindWish = "guess",
    title: str = "",
    limit: int | None = None,
    seed: int = 0,
) -> Draft:
    """Read a forget set and, if there is one, a retain set of the user's own.

    Args:
        forget: JSONL, a JSON array, CSV, TSV or Parquet.
        retain: Likewise.
        columns: The file's name of a field, such as `input`, where it is another; an empty name
            leaves that field out.
        kind: What rows are whose id does not say it; a guess goes by the answer's length.
        title: How the page calls it.
        limit: How many source documents of each set and subtask to take; none takes all.
        seed: Which ones.

    Raises:
        SourceError: A file cannot be read at all. What is wrong with its rows is in the findings.
    """
    files = {"forget_train": forget} | ({"retain_train": retain} if retain else {})
    parts = [Part(split, path.name, read_table(path, split)) for split, path in files.items()]
    draft = Draft(title or "Own data", "own files", ())
    return _draft(draft, rows_of(parts, Wish(columns or {}, kind)), limit=limit, seed=seed)


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
    found = layout(folder)
    parts = [
        Part(split, path.name, read_table(path, split))
        for split, paths in found.sets.items()
        for path in paths
    ]
    rows = rows_of(parts, Wish({}))
    part = f", {limit} documents per subtask" if limit else ""
    draft = Draft(
        title or found.title + part,
        found.source,
        (),
        found.documents,
        found.questions,
        titles=found.titles,
    )
    return _draft(draft, rows, limit=limit, seed=seed)


def read_typed(text: str, *, retain: str = "", retain_of: str = "", title: str = "") -> Draft:
    """Read facts that were typed: on each line a question and its answer.

    A tab, `|`, `->` or `=` stands between the two, or the question's own mark.

    Args:
        text: The facts to forget.
        retain: Facts to keep, typed in the same way.
        retain_of: Name of a dataset of which `BORROWED` retain rows, from all over its set, and
            the utility questions are taken along.
        title: How the page calls it.

    Raises:
        SourceError: Nothing was typed, or there is no dataset `retain_of`.
    """
    parts = [Part("forget_train", "forget", typed_table(text, "forget_train"))]
    if retain.strip():
        parts.append(Part("retain_train", "retain", typed_table(retain, "retain_train")))
    rows = rows_of(parts, Wish({}))
    draft = Draft(title or "Typed facts", "typed facts", ())
    if retain_of:
        known = dataset(retain_of)
        if known.gone:
            raise SourceError(f"retain_of: {known.gone}")
        # All of one subtask: by the task's others, which have no forget row, nothing is scored.
        lent = known.rows("retain", "train")
        borrowed = (
            Placed("retain_train", line, replace(row, task="Task1"))
            for line, row in enumerate(lent[:: max(1, len(lent) // BORROWED)][:BORROWED], 1)
        )
        rows = replace(rows, rows=(*rows.rows, *borrowed))
        draft = replace(draft, questions=known.questions())
    return _draft(draft, rows)


def _draft(draft: Draft, found: Rows, *, limit: int | None = None, seed: int = 0) -> Draft:
    """Put rows into a draft, checked."""
    rows, doubles = without_doubles(found.rows)
    documents = draft.documents
    if limit is not None:
        rows = sliced(rows, limit, seed)
        documents = dict(documents) | {
            name: still_members(documents[name], rows)
            for name in documents.keys() & {"member", "validation/member"}
        }
    unseen = (*documents.get("nonmember", ()), *documents.get("validation/nonmember", ()))
    missing = [] if any(one.split == "retain_train" for one in rows) else [NO_RETAIN]
    findings = [*found.findings, *doubles, *check(rows, unseen), *missing]
    findings.sort(key=lambda one: one.severity != "error")
    return replace(
        draft,
        placed=tuple(rows),
        documents=documents,
        findings=tuple(findings),
        titles=draft.titles or found.titles,
    )
