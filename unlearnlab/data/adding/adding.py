"""From files, a folder or typed lines to a dataset: read and checked first, then saved whole."""

import itertools
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unlearnlab.data.adding.checks import (
    Finding,
    Placed,
    SourceError,
    check,
    drop_duplicates,
    too_long,
)
from unlearnlab.data.adding.reading import layout, read_table, typed_table
from unlearnlab.data.adding.rows import (
    ColumnChoice,
    KindChoice,
    Part,
    Rows,
    remaining_members,
    rows_of,
    sample_documents,
)
from unlearnlab.data.datasets import (
    EMBEDDED_NAME,
    MANIFEST,
    DatasetInfo,
    Row,
    Task,
    dataset,
    datasets,
    datasets_folder,
)

BORROWED = 60
"""Retain rows that typed facts borrow from another dataset: enough that a model that is taught the
facts keeps the rest, and few enough that teaching takes seconds."""

NO_RETAIN = Finding(
    "no retain set",
    "warning",
    "there is no retain set: methods that need one cannot run, and damage beyond the forget set is "
    "not measured",
    0,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A dataset that was read and checked, but not saved."""

    title: str
    source: str
    """Where it comes from: "LUME", "SemEval-2025 Task 4", "own files"."""
    placed: tuple[Placed, ...]
    """Rows of all sets with their lines."""
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Documents of the membership attack: `member` and `nonmember`, with the prefix `validation/`
    for the other fold."""
    questions: tuple[Mapping[str, Any], ...] = ()
    """Questions of the utility test, in MMLU's layout."""
    findings: tuple[Finding, ...] = ()
    """Errors first."""
    titles: Mapping[Task, str] = field(default_factory=dict[Task, str])
    """Names of the subtasks, where they differ from the task's."""

    @property
    def sound(self) -> bool:
        """Whether it can be added: there are no errors."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def rows(self) -> Mapping[str, tuple[Row, ...]]:
        """Rows by set and fold, such as `forget_train`; empty sets are left out."""
        found: dict[str, list[Row]] = {}
        for one in self.placed:
            found.setdefault(one.split, []).append(one.row)
        return {split: tuple(rows) for split, rows in found.items()}

    @property
    def members(self) -> tuple[str, ...]:
        """Documents that the model was trained on."""
        return self.documents.get("member", ())

    @property
    def nonmembers(self) -> tuple[str, ...]:
        """Documents that the model was not trained on."""
        return self.documents.get("nonmember", ())

    def checked_against(self, context: int) -> "Draft":
        """Add a warning about rows longer than a model's context, in tokens, if there are any."""
        found = too_long(self.placed, context=context)
        return replace(self, findings=(*self.findings, found)) if found else self


# Reading


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
    kind: KindChoice = "guess",
    title: str = "",
    limit: int | None = None,
    seed: int = 0,
) -> Draft:
    """Read a forget set and, if given, a retain set.

    Args:
        forget: JSONL, a JSON array, CSV, TSV or Parquet.
        retain: Likewise.
        columns: Column by field, such as `input`, where the names differ; an empty name leaves the
            field out.
        kind: Type of rows whose id does not give it; "guess" decides by the answer's length.
        title: Display name.
        limit: Source documents to draw from each set and subtask; None takes all.
        seed: Seed of the draw.

    Raises:
        SourceError: A file cannot be read at all. Problems of single rows become findings.
    """
    files = {"forget_train": forget} | ({"retain_train": retain} if retain else {})
    parts = [Part(split, path.name, read_table(path, split)) for split, path in files.items()]
    draft = Draft(title or "Own data", "own files", ())
    return _checked(draft, rows_of(parts, ColumnChoice(columns or {}, kind)), limit, seed)


def read_folder(folder: Path, *, title: str = "", limit: int | None = None, seed: int = 0) -> Draft:
    """Read a folder of SemEval-2025 Task 4, of LUME, or in this program's own layout.

    Args:
        folder: The folder; its files tell which layout it has.
        title: Display name.
        limit: Source documents to draw from each set and subtask; None takes all.
        seed: Seed of the draw.

    Raises:
        SourceError: It has none of these layouts, or a file in it cannot be read at all.
    """
    found = layout(folder)
    parts = [
        Part(split, path.name, read_table(path, split))
        for split, paths in found.sets.items()
        for path in paths
    ]
    part = f", {limit} documents per subtask" if limit else ""
    draft = Draft(
        title or found.title + part,
        found.source,
        (),
        found.documents,
        found.questions,
        titles=found.titles,
    )
    return _checked(draft, rows_of(parts), limit, seed)


def read_typed(text: str, *, retain: str = "", retain_of: str = "", title: str = "") -> Draft:
    """Read typed facts: a question and its answer on each line.

    A tab, `|`, `->` or `=` separates the two, or the question mark.

    Args:
        text: Facts to forget.
        retain: Facts to keep, typed in the same way.
        retain_of: Dataset that lends `BORROWED` retain rows, spread over its set, and its utility
            questions.
        title: Display name.

    Raises:
        SourceError: Nothing was typed, or there is no dataset `retain_of`.
    """
    parts = [Part("forget_train", "forget", typed_table(text, "forget_train"))]
    if retain.strip():
        parts.append(Part("retain_train", "retain", typed_table(retain, "retain_train")))
    rows = rows_of(parts)
    draft = Draft(title or "Typed facts", "typed facts", ())
    if retain_of:
        lender = dataset(retain_of)
        if lender.unknown_reason:
            raise SourceError(f"retain_of: {lender.unknown_reason}")
        # All in one subtask: subtasks without forget rows are not scored.
        lent = lender.rows("retain", "train")
        borrowed = (
            Placed("retain_train", line, replace(row, task="Task1"))
            for line, row in enumerate(lent[:: max(1, len(lent) // BORROWED)][:BORROWED], 1)
        )
        rows = replace(rows, rows=(*rows.rows, *borrowed))
        draft = replace(draft, questions=lender.questions())
    return _checked(draft, rows)


def _checked(draft: Draft, found: Rows, limit: int | None = None, seed: int = 0) -> Draft:
    """Put rows into a draft, and check them."""
    rows, duplicates = drop_duplicates(found.rows)
    documents = draft.documents
    if limit is not None:
        rows = sample_documents(rows, limit, seed)
        documents = dict(documents) | {
            name: remaining_members(documents[name], rows)
            for name in documents.keys() & {"member", "validation/member"}
        }
    unseen = (*documents.get("nonmember", ()), *documents.get("validation/nonmember", ()))
    lacking = [] if any(one.split == "retain_train" for one in rows) else [NO_RETAIN]
    findings = [*found.findings, *duplicates, *check(rows, unseen), *lacking]
    findings.sort(key=lambda one: one.severity != "error")
    return replace(
        draft,
        placed=tuple(rows),
        documents=documents,
        findings=tuple(findings),
        titles=draft.titles or found.titles,
    )


# Saving

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

HIDDEN = ".adding-"
"""Prefix of folders that are being written; no dataset's name begins with a dot."""

EARLIER = "earlier"
"""Subfolder that holds the dataset being replaced."""

STALE_S = 3600.0
"""Age from which such a folder belongs to no living process, in seconds."""


def add(draft: Draft, name: str = "", *, replace: bool = False) -> DatasetInfo:
    """Save a draft as a dataset that a spec can name.

    It appears whole or not at all: an earlier dataset stays until the new one is written.

    Args:
        draft: A draft without errors.
        name: Lower-case letters, digits and hyphens; derived from the title if empty.
        replace: Whether to replace a dataset of this name.

    Raises:
        SourceError: The draft has errors, the name is invalid or exists, or the disk is full.
    """
    if not draft.sound:
        problems = "; ".join(f.message for f in draft.findings if f.severity == "error")
        raise SourceError(f"{draft.title}: not added: {problems}")
    name = _name(name, draft.title, replace=replace)
    place = datasets_folder() / name
    try:
        _sweep(datasets_folder())
        with TemporaryDirectory(prefix=HIDDEN, dir=datasets_folder()) as temporary:
            written = Path(temporary) / name
            _write(draft, written)
            (Path(temporary) / EARLIER).mkdir()
            if place.exists():
                # Moved away, not deleted: if the next step fails, it comes back.
                place.rename(earlier := Path(temporary) / EARLIER / name)
                try:
                    written.rename(place)
                except OSError:
                    earlier.rename(place)
                    raise
            else:
                written.rename(place)
    except OSError as error:
        raise SourceError(f"{name}: cannot be saved: {error.strerror}") from error
    return dataset(name)


def remove(name: str) -> None:
    """Delete an added dataset.

    Raises:
        SourceError: There is none of this name, or it is the embedded one.
    """
    if name == EMBEDDED_NAME:
        raise SourceError(f"{name}: comes with the program and cannot be removed")
    known = dataset(name)
    if known.unknown_reason:
        raise SourceError(f"{name}: nothing to remove: {known.unknown_reason}")
    try:
        with TemporaryDirectory(prefix=HIDDEN, dir=datasets_folder()) as temporary:
            known.folder.rename(Path(temporary) / name)
    except OSError as error:
        raise SourceError(f"{name}: cannot be removed: {error.strerror}") from error


def _name(wanted: str, title: str, *, replace: bool) -> str:
    """Return a name that is free, or may be replaced."""
    known = datasets()
    if wanted:
        if not NAME.fullmatch(wanted):
            raise SourceError(
                f"{wanted}: not a valid name: use lower-case letters, digits and hyphens, at most "
                "64"
            )
        if wanted == EMBEDDED_NAME or (wanted in known and not replace):
            raise SourceError(f"{wanted}: a dataset of this name exists: choose another name")
        return wanted
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    base = re.sub("[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "data"
    if replace and base in known and base != EMBEDDED_NAME:
        return base
    numbered = (f"{base}-{number}" for number in itertools.count(2))
    return next(
        one
        for one in itertools.chain([base], numbered)
        if one not in known and not (datasets_folder() / one).exists()
    )


def _write(draft: Draft, folder: Path) -> None:
    files: dict[str, Iterable[Mapping[str, Any]]] = {
        # Empty fields are left out.
        split: ({name: value for name, value in asdict(row).items() if value} for row in rows)
        for split, rows in draft.rows.items()
    }
    for name, texts in draft.documents.items():
        files[f"mia/{name}"] = ({"document": text} for text in texts)
    if draft.questions:
        files["quiz/test"] = draft.questions
    manifest = {
        "title": draft.title,
        "source": draft.source,
        "personal": True,
        "titles": dict(draft.titles),
        "notes": [finding.message for finding in draft.findings],
    }
    for name, lines in files.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        _write_text(folder / f"{name}.jsonl", text)
    _write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    """Make the folder, and clean up after killed processes."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{HIDDEN}*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            for earlier in left.glob(f"{EARLIER}/*"):
                if not (folder / earlier.name).exists():
                    earlier.rename(folder / earlier.name)
            shutil.rmtree(left, ignore_errors=True)
