"""Which files of a folder hold which set: the task's own layouts, LUME's, and this program's."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnlab.data.adding.fetching import LUME, SEMEVAL, is_lume
from unlearnlab.data.adding.files import SourceError
from unlearnlab.data.adding.tables import read_table
from unlearnlab.data.datasets import FOLDS, MANIFEST, SPLITS, Task

SUFFIXES = ("jsonl", "parquet", "json", "csv", "tsv")
"""Of two copies of a set, the first is read: a line of it can be named."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder holds."""

    source: str
    title: str
    sets: Mapping[str, tuple[Path, ...]]
    """Files of each set and fold, such as `forget_train`; more than one if it is in parts."""
    documents: Mapping[str, tuple[str, ...]]
    questions: tuple[Mapping[str, Any], ...]
    titles: Mapping[Task, str]
    """What its subtasks are called, if it says so."""


def layout(folder: Path) -> Layout:
    """Find the sets of a folder.

    Raises:
        SourceError: It is none, cannot be read, or has no forget set.
    """
    if not folder.is_dir():
        missing = "no folder" if folder.exists() else "there is no such folder"
        raise SourceError(f"{folder.name}: {missing}: name one that has forget and retain files")
    try:
        bases = [
            folder,
            folder / "data",
            *(one for one in sorted(folder.iterdir()) if one.is_dir()),
        ]
        sets = next((found for base in bases if "forget_train" in (found := _sets(base))), None)
    except PermissionError as error:
        raise SourceError(
            f"{folder.name}: permission denied: let this program's user read it"
        ) from error
    if sets is None:
        raise SourceError(
            f"{folder.name}: no forget set in this folder: it needs forget.jsonl or "
            "forget_train.jsonl (or .parquet), in itself or in data/"
        )
    base = sets["forget_train"][0].parent
    roots = dict.fromkeys((folder, base, base.parent))
    told = _manifest(folder)
    source = told.get("source") or _source(sets, roots)
    return Layout(
        source,
        told.get("title") or (source if source in (SEMEVAL, LUME) else "Own data"),
        sets,
        _documents(roots),
        _questions(folder / "quiz" / "test.jsonl"),
        told.get("titles", {}),
    )


def _sets(base: Path) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for split in SPLITS:
        for fold in FOLDS:
            places = [(base, f"{split}_{fold}"), (base / fold, split)]
            if fold == "train":
                places += [(base, split), (base / split, split), (base / split, f"{split}_train")]
            for place, stem in places:
                if files := _copies(place, stem):
                    found[f"{split}_{fold}"] = files
                    break
    return found


def _copies(place: Path, stem: str) -> tuple[Path, ...]:
    """Return the files of one set: a single one, or all its numbered parts."""
    if not place.is_dir():
        return ()
    for suffix in SUFFIXES:
        if (single := place / f"{stem}.{suffix}").exists():
            return (single,)
        parts = sorted(place.glob(f"{stem}-*-of-*.{suffix}"))
        if parts:
            count = re.search(r"-of-0*(\d+)\.", parts[0].name)
            if count and int(count[1]) != len(parts):
                raise SourceError(
                    f"{parts[0].name}: {len(parts)} of {count[1]} parts are here: "
                    "download the others as well"
                )
            return tuple(parts)
    return ()


def _source(sets: Mapping[str, tuple[Path, ...]], roots: Mapping[Path, None]) -> str:
    """Name what it is: the task's folder has an attack or numbered parts, LUME its own content."""
    files = {path.name: path for paths in sets.values() for path in paths}
    if any((root / "mia_data").is_dir() for root in roots) or any("-of-" in name for name in files):
        return SEMEVAL
    return LUME if is_lume(files) else "own files"


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _documents(roots: Mapping[Path, None]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for root in roots:
        for place in ("mia_data", "mia"):
            for name in ("member", "nonmember", "validation/member", "validation/nonmember"):
                path = root / place / f"{name}.jsonl"
                if path.exists() and name not in found:
                    found[name] = _texts(path)
    return found


def _texts(path: Path) -> tuple[str, ...]:
    table = read_table(path)
    if table.findings:
        raise SourceError(f"{path.name}: {table.findings[0].message}")
    texts = tuple(row.get("document") for row in table.rows)
    bad = next((n for n, text in enumerate(texts) if not isinstance(text, str) or not text), None)
    if bad is not None:
        raise SourceError(
            f"{path.name}: line {table.lines[bad]} has no text under 'document': add it"
        )
    return tuple(str(text) for text in texts)


def _questions(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read a utility test in MMLU's layout; none if there is no such file."""
    if not path.is_file():
        return ()
    table = read_table(path)
    if table.findings or not {"question", "subject", "choices", "answer"} <= set(table.columns):
        raise SourceError(
            f"{path.name}: each line needs question, subject, choices and answer: mend it, or "
            "leave it out"
        )
    # The reader leaves numbers as text.
    return tuple({**row, "answer": int(row["answer"])} for row in table.rows)
