"""Cells become rows: which column is which field, and what is filled in where a file is silent.

A row whose id does not give its type is a question if its prompt ends with a question mark or its
answer has at most 10 words, else a completion. (This rule gives each of LUME's 5,466 rows the type
in its id.)

Columns with TOFU's names (arXiv:2401.06121) hold what the truth ratio compares: the answer in other
words, and a list of wrong ones.
"""

import ast
import difflib
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from unlearnlab.data.adding.checks import (
    Finding,
    Offender,
    Placed,
    SourceError,
    contained,
    excerpt,
    finding,
)
from unlearnlab.data.adding.reading import Table
from unlearnlab.data.datasets import TASKS, Kind, Row, Task

KindChoice = Literal["guess", "completion", "question"]

Text = Literal["input", "output", "id", "task", "split", "paraphrased_answer"]

Field = Text | Literal["perturbed_answer"]

TEXTS: tuple[Text, ...] = get_args(Text)
"""Fields that hold a single text."""

MOST_WRONG = 20
"""Wrong answers kept per row, from the first on; TOFU has 5."""

LONGEST_LIST = 100_000
"""Longest cell that is parsed as a list, in characters."""

OWN_TITLES: Mapping[Task, str] = {"Task1": "Facts"}
"""Title of the first subtask where the file names none: all rows belong to it."""

ANSWER_WORDS = 10
"""Longest answer to a question, in words, where the type is guessed."""

_TYPED_ID = re.compile(r".*(sc|qa)\d", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What the user states about the columns."""

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """Column by field, where the names differ; an empty name leaves the field out."""
    kind: KindChoice = "guess"
    """Type of rows whose id does not give it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One table and its set."""

    split: str
    """Set and fold, such as `forget_train`."""
    name: str
    """Name of its file."""
    table: Table


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of all sets."""

    rows: tuple[Placed, ...]
    titles: Mapping[Task, str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """The cells of one row, as text."""

    split: str
    number: int
    input: str
    output: str
    id: str
    task: str
    paraphrased_answer: str
    perturbed_answer: tuple[str, ...]


def rows_of(parts: Sequence[Part], choice: ColumnChoice | None = None) -> Rows:
    """Turn tables into rows.

    Raises:
        SourceError: A table lacks `input` or `output`, or there are too many subtasks.
    """
    choice = choice or ColumnChoice()
    findings: list[Finding] = []
    lines: list[_Line] = []
    for part in parts:
        found, wrong = _lines(part, _columns(part, choice))
        lines += found
        findings += [*part.table.findings, *wrong]
    tasks, titles = _subtasks(line.task for line in lines)
    namer = _Namer(choice.kind)
    rows = tuple(
        Placed(
            line.split,
            line.number,
            Row(
                namer.id(line),
                line.input,
                line.output,
                tasks[line.task],
                line.paraphrased_answer,
                line.perturbed_answer,
            ),
        )
        for line in map(_trimmed, lines)
    )
    return Rows(rows, titles, tuple(findings))


def _columns(part: Part, choice: ColumnChoice) -> dict[Field, str]:
    """Find the column of each field."""
    columns = part.table.columns
    found: dict[Field, str] = {}
    fields: tuple[Field, ...] = (*TEXTS, "perturbed_answer")
    for name in fields:
        column = choice.columns.get(name, name)
        if column in columns:
            found[name] = column
        elif column and (name in ("input", "output") or name in choice.columns):
            raise SourceError(f"{part.name}: no column {column!r}{_hint(column, columns)}")
    return found


def _hint(column: str, columns: Sequence[str]) -> str:
    """List the columns, unless they look like the text of a row."""
    near = [name for name in columns if name.strip().casefold() == column.casefold()]
    near = near or difflib.get_close_matches(column, columns, n=1)
    if near:
        return f": did you mean {near[0]!r}? Rename it, or map it"
    if not all(re.fullmatch(r"[\w .\-/()#:]{0,30}", name) for name in columns):
        return ": the first line must name the columns, such as input,output"
    listed = ", ".join(repr(name) for name in columns[:12])
    return f": it has {listed}: rename one of them, or map it"


def _lines(part: Part, fields: Mapping[Field, str]) -> tuple[list[_Line], list[Finding]]:
    """Read the cells as text; rows with a bad cell become findings."""
    good: list[_Line] = []
    bad: dict[tuple[str, str], list[Offender]] = {}
    for number, cells in zip(part.table.lines, part.table.rows, strict=True):
        values: dict[str, str] = {}
        others: tuple[str, ...] = ()
        for name, column in fields.items():
            if name == "perturbed_answer":
                others = _answers(cells.get(column))
                continue
            values[name], wrong = _value(name, cells, column)
            if wrong:
                offender = Offender(part.split, number, "", excerpt(values.get("input", "")))
                bad.setdefault((wrong, column), []).append(offender)
                break
        else:
            # Other words in a column `split` mean something else.
            stated = values.pop("split", "")
            if stated in ("forget", "retain") and not part.split.startswith(stated):
                row = Offender(part.split, number, values.get("id", ""), excerpt(values["input"]))
                bad.setdefault(("another set", part.split.partition("_")[0]), []).append(row)
            texts = {"id": "", "task": "", "paraphrased_answer": ""} | values
            good.append(_Line(part.split, number, **texts, perturbed_answer=others))
    return good, [
        finding(wrong, "error", _WRONG[wrong].format(count="{count}", column=column), rows)
        for (wrong, column), rows in bad.items()
    ]


_WRONG: Mapping[str, str] = {
    "missing column": "{count} rows have no {column!r} at all: add it, or remove them",
    "empty cell": "{count} rows have an empty {column!r}: fill it, or remove them",
    "wrong type": "{count} rows have a list or an object as {column!r}: turn it into text",
    "broken character": "{count} rows have half a character (a lone surrogate) in {column!r}: "
    "save it again as UTF-8",
    "another set": "{count} rows are not in the {column} set, according to their column 'split': "
    "move them to the other file",
}


def _value(name: Text, cells: Mapping[str, Any], column: str) -> tuple[str, str]:
    """Return a cell's text and its problem; one of them is empty."""
    needed = name in ("input", "output")
    if column not in cells:
        return "", "missing column" if needed else ""
    value = cells[column]
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
    if isinstance(value, list | tuple | dict | set):
        return "", "wrong type"
    text = "" if value is None or value != value else _text(value)
    if needed and not text.strip():
        return "", "empty cell"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "broken character"
    return text if needed else text.strip(), ""


def _answers(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or of a text that JSON or Python wrote; any other text is one.

    Other values give no answers; `check` reports rows without them.
    """
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list | tuple):
        return ()
    texts = tuple(_text(one).strip() for one in value if isinstance(one, str | int | float))
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return ()
    return tuple(text for text in texts if text)[:MOST_WRONG]


def _listed(text: str) -> Any:
    """Parse a cell as a list; a cell that is none becomes its only element."""
    if text.lstrip().startswith("[") and len(text) <= LONGEST_LIST:
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return read(text.strip())
    return [text]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _trimmed(line: _Line) -> _Line:
    """Strip white space from both ends, except in the task's own rows."""
    if _TYPED_ID.fullmatch(line.id):
        return line
    return replace(line, input=line.input.strip(), output=line.output.strip())


def _subtasks(found: Iterable[str]) -> tuple[Mapping[str, Task], Mapping[Task, str]]:
    """Map subtask names of files to the task's, and return titles for names that differ."""
    names = list(dict.fromkeys(name for name in found if name))
    official: dict[str, Task] = {name: task for name in names if (task := _official(name))}
    other: dict[str, Task] = {"": "Task1"}
    if not names:
        return other, OWN_TITLES
    if len(official) == len(names):
        return other | official, {}
    if official or len(names) > len(TASKS):
        raise SourceError(
            f"task: {len(names)} different subtasks: use at most {len(TASKS)}, or leave the "
            "column out"
        )
    own = dict(zip(names, TASKS, strict=False))
    return other | own, {task: excerpt(name) for name, task in own.items()}


def _official(name: str) -> Task | None:
    number = name.casefold().replace(" ", "").removeprefix("task")
    return next((task for task in TASKS if task == f"Task{number}"), None)


class _Namer:
    """Makes ids as the task does: base, type, digit.

    The base depends on the prompt alone, so that no id reveals an answer: specs may list ids.
    """

    def __init__(self, kind: KindChoice) -> None:
        self._kind = kind
        self._used: Counter[str] = Counter()

    def id(self, line: _Line) -> str:
        """Return a complete id: the file's own where it has a type, else a unique one."""
        if _TYPED_ID.fullmatch(line.id):
            return line.id
        kind = self._guess(line)
        base = line.id or hashlib.sha256(line.input.encode()).hexdigest()[:12]
        number = self._used[base + kind] + _FIRST[kind]
        self._used[base + kind] += 1
        again = f"-{number // 10}" if number > 9 else ""
        return f"{base}{again}{kind}{number % 10}"

    def _guess(self, line: _Line) -> Kind:
        if self._kind != "guess":
            return "sc" if self._kind == "completion" else "qa"
        short = len(line.output.split()) <= ANSWER_WORDS
        return "qa" if short or line.input.endswith("?") else "sc"


_FIRST: Mapping[Kind, int] = {"sc": 1, "qa": 0}


# A part of a dataset


def sample_documents(rows: Sequence[Placed], limit: int, seed: int) -> list[Placed]:
    """Draw `limit` source documents from each set and subtask; the same ones for a seed.

    A completion and its questions share a document, so they stay together.
    """
    groups: dict[tuple[str, Task], dict[str, None]] = {}
    for one in rows:
        groups.setdefault((one.split, one.row.task), {})[_document(one)] = None
    taken = {
        group: set(random.Random(f"{seed} {group}").sample(sorted(names), min(limit, len(names))))
        for group, names in groups.items()
    }
    return [one for one in rows if _document(one) in taken[one.split, one.row.task]]


def _document(placed: Placed) -> str:
    return placed.row.id[:-3]


def remaining_members(documents: Sequence[str], rows: Sequence[Placed]) -> tuple[str, ...]:
    """Keep the member documents whose forget rows were drawn."""
    texts = [one.text for one in rows if one.split.startswith("forget")]
    held = set(contained(documents, texts))
    return tuple(text for place, text in enumerate(documents) if place in held)
