"""What a checkpoint is asked: rows of a dataset or of a folder, and documents of the attack.

Rows are taken as they are, as the organisers' script does: none is checked away.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnlab.data.adding.checks import SourceError
from unlearnlab.data.adding.reading import layout, read_table
from unlearnlab.data.datasets import SPLITS, Fold, Row, Split, dataset

COLUMNS = ("id", "input", "output", "task")

SIDES = ("member", "nonmember")

Document = tuple[str, str]
"""Its id and its text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a checkpoint is asked."""

    rows: Mapping[Split, tuple[Row, ...]]
    documents: Mapping[str, tuple[Document, ...]]
    """Of the attack, members and non-members; empty without it."""


def asked(data: str, fold: Fold, attack: Path | None) -> Asked:
    """Read what a checkpoint is asked.

    Args:
        data: A folder, or the name of a dataset.
        fold: Which of its folds.
        attack: Folder of `member.jsonl` and `nonmember.jsonl`; none takes a named dataset's own.

    Raises:
        SourceError: There is no such dataset, or files that cannot be used.
    """
    folder = Path(data)
    if folder.is_dir():
        rows = _of_folder(folder, fold)
        documents = _none()
    else:
        rows, documents = _of_dataset(data, fold)
    if attack is not None:
        documents = {side: tuple(_documents(attack / f"{side}.jsonl")) for side in SIDES}
    for split in SPLITS:
        if not rows[split]:
            raise SourceError(f"{data} has no {split} rows in the {fold} fold: both sets are asked")
    return Asked(rows, documents)


def _none() -> dict[str, tuple[Document, ...]]:
    return {side: () for side in SIDES}


def _of_dataset(
    name: str, fold: Fold
) -> tuple[dict[Split, tuple[Row, ...]], dict[str, tuple[Document, ...]]]:
    known = dataset(name)
    if known.unknown_reason:
        raise SourceError(f"{name!r} is no folder, and {known.unknown_reason}")
    rows: dict[Split, tuple[Row, ...]] = {split: known.rows(split, fold) for split in SPLITS}
    texts = {"member": known.documents("member", fold)}
    texts["nonmember"] = known.documents("nonmember", fold)
    if not all(texts.values()):
        return rows, _none()
    return rows, {
        side: tuple((f"{side}-{n}", text) for n, text in enumerate(of, 1))
        for side, of in texts.items()
    }


def _of_folder(folder: Path, fold: Fold) -> dict[Split, tuple[Row, ...]]:
    sets = layout(folder).sets
    return {
        split: tuple(row for path in sets.get(f"{split}_{fold}", ()) for row in _rows(path))
        for split in SPLITS
    }


def _rows(path: Path) -> Iterator[Row]:
    for cells, line in _lines(path, COLUMNS):
        if len(cells["id"]) < 3 or cells["id"][-3:-1] not in ("sc", "qa"):
            raise SourceError(
                f"{path.name}, column id, row {line}: the id ends in neither sc nor qa and one "
                "more character, which says what kind of row it is"
            )
        yield Row(**cells)  # pyright: ignore[reportArgumentType]  (any task is scored)


def _documents(path: Path) -> Iterator[Document]:
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file: the attack needs members and others")
    for cells, line in _lines(path, ("document",)):
        yield str(cells.get("id", line)), cells["document"]


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the cells that are asked for, and an id if there is one, with the line."""
    table = read_table(path)
    if table.findings:
        raise SourceError(f"{path.name}: {table.findings[0].message}")
    if lacking := [name for name in needed if name not in table.columns]:
        there = ", ".join(table.columns)
        raise SourceError(f"{path.name}: no column {', '.join(lacking)}: it has {there}")
    for row, line in zip(table.rows, table.lines, strict=True):
        for name in needed:
            if not isinstance(row.get(name), str):
                raise SourceError(f"{path.name}, column {name}, row {line}: there is no text")
        yield {name: row[name] for name in (*needed, "id") if row.get(name) is not None}, line
