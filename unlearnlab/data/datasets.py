"""The datasets that a spec can name: the embedded one and the added ones.

A dataset is a folder in one layout, whatever its source:

* `forget_FOLD.jsonl` and `retain_FOLD.jsonl` for the folds `train` and, optionally, `validation`,
  with the task's fields `id`, `input`, `output`, `task` and, where known, TOFU's
  `paraphrased_answer` and `perturbed_answer`. Only the forget set of `train` is required.
* `wordings/forget_FOLD.jsonl` and `wordings/retain_FOLD.jsonl`, where there are any: the facts of
  rows in other words, see `Wording`.
* `mia/member.jsonl` and `mia/nonmember.jsonl` with `document`; for the fold `validation` in
  `mia/validation/`.
* `quiz/test.jsonl` in MMLU's layout.
* `manifest.json`, in added datasets.
"""

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from unlearnlab.data.files import EMBEDDED, home

Task = Literal["Task1", "Task2", "Task3"]
"""The subtasks of SemEval-2025 Task 4: stories, biographies with personal data, real documents."""

TASKS: tuple[Task, ...] = get_args(Task)

Fold = Literal["train", "validation"]

FOLDS: tuple[Fold, ...] = get_args(Fold)

Split = Literal["forget", "retain"]
"""The scored sets."""

SPLITS: tuple[Split, ...] = get_args(Split)

Kind = Literal["sc", "qa"]
"""Row type: completion ("regurgitation") or question ("knowledge"), as in the task's ids."""

MANIFEST = "manifest.json"

EMBEDDED_NAME = "embedded"

TYPED = "typed facts"
"""Source of datasets whose facts were typed in."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the task's data, with its official id."""

    id: str
    input: str
    output: str
    task: Task
    # No model is trained on these, so a fold's fingerprint leaves them out.
    paraphrased_answer: str = field(default="", repr=False)
    """The output in other words; empty if unknown."""
    perturbed_answer: tuple[str, ...] = field(default=(), repr=False)
    """Wrong answers, worded like the paraphrase."""

    @property
    def text(self) -> str:
        """Input and output as one text; for a completion row, the whole document."""
        return f"{self.input} {self.output}"

    @property
    def plain(self) -> dict[str, Any]:
        """The row as a file holds it: empty fields are left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Return the paraphrase, then the wrong answers; empty unless both are known."""
        known = self.paraphrased_answer and self.perturbed_answer
        return (self.paraphrased_answer, *self.perturbed_answer) if known else ()

    @property
    def kind(self) -> Kind:
        """Type of the row, from its id."""
        return "sc" if self.id[:-1].endswith("sc") else "qa"

    @property
    def document(self) -> str:
        """Id of the source document."""
        return document_of(self.id)


def document_of(row: str) -> str:
    """Return the id of a row's source document: the row's id without kind and number."""
    return re.sub(r"(sc|qa)\d*$", "", row)


Form = Literal["question", "statement", "new question", "byname", "neighbour"]
"""How a wording asks for a fact: by a question or the beginning of a statement, worded as for other
facts; by a question framed as for no other fact; by a question that names the person by a byname,
or as somebody's neighbour (two hops)."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A row's fact asked for in other words, which neither unlearning nor official scores see."""

    row: str
    """Id of the row."""
    form: Form
    taught: bool
    """Whether the original model has read the fact in this wording."""
    input: str
    output: str

    @property
    def text(self) -> str:
        """Prompt and answer as one text."""
        return f"{self.input} {self.output}"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset that a spec can name."""

    name: str
    title: str
    folder: Path
    source: str = ""
    """Where it comes from: "LUME", "SemEval-2025 Task 4", "own files"."""
    personal: bool = True
    """Whether the page masks its text until the reader unmasks it."""
    unknown_reason: str = ""
    """Why no such dataset is known; empty if it is."""
    titles: Mapping[Task, str] = field(default_factory=dict[Task, str])
    """Names of its subtasks, where they differ from the task's."""
    notes: tuple[str, ...] = ()
    """Warnings from when it was added."""

    @property
    def typed(self) -> bool:
        """Whether its facts were typed in."""
        return self.source == TYPED

    @property
    def folds(self) -> tuple[Fold, ...]:
        """List its folds."""
        return tuple(fold for fold in FOLDS if self._file("forget", fold).is_file())

    def rows(self, split: Split, fold: Fold) -> tuple[Row, ...]:
        """Read one set of a fold; empty if it has no file."""
        path = self._file(split, fold)
        if not path.is_file():
            return ()
        return _rows(path, path.stat().st_mtime_ns)

    def wordings(self, split: Split, fold: Fold) -> tuple[Wording, ...]:
        """Read the other wordings of a set's facts; there may be none."""
        path = self.folder / "wordings" / f"{split}_{fold}.jsonl"
        return tuple(Wording(**line) for line in lines(path))

    def counts(self, fold: Fold) -> Mapping[Split, Mapping[Task, int]]:
        """Count the rows of a fold by set and subtask."""
        return {split: Counter(row.task for row in self.rows(split, fold)) for split in SPLITS}

    def documents(
        self, name: Literal["member", "nonmember"], fold: Fold = "train"
    ) -> tuple[str, ...]:
        """Read documents of a fold's membership attack; there may be none."""
        folder = self.folder / "mia" / ("" if fold == "train" else fold)
        return tuple(line["document"] for line in lines(folder / f"{name}.jsonl"))

    def membership_documents(self, fold: Fold) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Read members and non-members for a fold's membership attack.

        A fold other than `train` without documents uses its completions as members, and the
        non-members of `train`.
        """
        members = self.documents("member", fold)
        if not members and fold != "train":
            rows = self.rows("forget", fold)
            members = tuple(f"{row.input} {row.output}" for row in rows if row.kind == "sc")
        return members, self.documents("nonmember", fold) or self.documents("nonmember")

    def held_out(self, split: Split, fold: Fold) -> tuple[str, ...]:
        """Return documents of a set's other fold, which a run on this one does not train on.

        They are its completions, or rows of any kind if either fold has no completion.
        """
        other: Fold = "validation" if fold == "train" else "train"
        return documents_of(self.rows(split, other), alike=self.rows(split, fold))

    def questions(self) -> tuple[dict[str, Any], ...]:
        """Read the questions of the utility test, in MMLU's layout; there may be none."""
        return tuple(lines(self.folder / "quiz" / "test.jsonl"))

    def _file(self, split: Split, fold: Fold) -> Path:
        return self.folder / f"{split}_{fold}.jsonl"


def documents_of(rows: Sequence[Row], *, alike: Sequence[Row]) -> tuple[str, ...]:
    """Return rows as whole texts: completions only, if there are any here and in a set `alike`."""
    both = all(any(row.kind == "sc" for row in of) for of in (rows, alike))
    return tuple(row.text for row in rows if row.kind == "sc" or not both)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the objects of a JSONL file; none if there is no such file."""
    if path.is_file():
        with path.open(encoding="utf-8") as text:
            yield from map(json.loads, text)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value that JSON was decoded to is an object."""
    return isinstance(value, dict)


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file, through to the disk."""
    write_text(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records))


def write_text(path: Path, text: str) -> None:
    """Write a file and its folder, through to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@lru_cache(maxsize=32)
def _rows(path: Path, _changed: int) -> tuple[Row, ...]:
    found = list(lines(path))
    for number, line in enumerate(found, start=1):
        if not is_object(line):
            raise ValueError(f"line {number} of {path.name} is not a JSON object")
        line["perturbed_answer"] = tuple(line.get("perturbed_answer", ()))
    return tuple(Row(**line) for line in found)


def datasets_folder() -> Path:
    """Return the folder of added datasets."""
    return home() / "datasets"


_OURS = DatasetInfo(EMBEDDED_NAME, "Embedded", EMBEDDED / "data", source="invented", personal=False)


def datasets() -> Mapping[str, DatasetInfo]:
    """Return all datasets by name, the embedded one first."""
    found = {_OURS.name: _OURS}
    # A folder whose name begins with a dot is being written.
    for manifest in sorted(datasets_folder().glob(f"[!.]*/{MANIFEST}")):
        if (added := _added(manifest, manifest.stat().st_mtime_ns)) is not None:
            found[added.name] = added
    return found


@cache  # Unbounded: all are read at once, and a manifest is small.
def _added(manifest: Path, _changed: int) -> DatasetInfo | None:
    """Read the manifest of an added dataset; None if it cannot be read."""
    try:
        stored = json.loads(manifest.read_text(encoding="utf-8"))
        return DatasetInfo(
            manifest.parent.name,
            stored["title"],
            manifest.parent,
            stored["source"],
            stored["personal"],
            titles=stored.get("titles", {}),
            notes=tuple(stored.get("notes", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def dataset(name: str) -> DatasetInfo:
    """Return the dataset called `name`; an unknown one has an `unknown_reason`."""
    if name == EMBEDDED_NAME:  # Every spec asks for it, so the disk is not read.
        return _OURS
    known = datasets()
    if name in known:
        return known[name]
    near = ", ".join(difflib.get_close_matches(name, known, n=3) or list(known))
    reason = f"unknown dataset {name!r}: did you mean {near}?"
    return DatasetInfo(name, name, datasets_folder() / name, unknown_reason=reason)
