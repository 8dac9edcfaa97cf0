"""Cells become rows: which column is what, and what the program fills in where a file says nothing.

A row whose id does not say its type is a question if its prompt ends with a question mark or its
answer has at most 10 words, a completion otherwise. (By this rule each of LUME's 5,466 rows gets
the type that its id says.)

Columns by the names that TOFU (arXiv:2401.06121) gave them hold what the truth ratio compares: the
answer in other words, and a list of wrong ones.
"""

import ast
import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from unlearnlab.data.adding.checks import Finding, Offender, Placed, excerpt, finding
from unlearnlab.data.adding.files import SourceError
from unlearnlab.data.adding.tables import Table
from unlearnlab.data.datasets import TASKS, Kind, Row, Task

KindWish = Literal["guess", "completion", "question"]

Text = Literal["input", "output", "id", "task", "split", "paraphrased_answer"]

Field = Text | Literal["perturbed_answer"]

TEXTS: tuple[Text, ...] = get_args(Text)
"""The fields that are one text."""

MOST_WRONG = 20
"""Wrong answers of a row that are taken, of those that come first; TOFU has 5."""

LONGEST_LIST = 100_000
"""Characters of a cell that is read as a list."""

OWN_TITLES: Mapping[Task, str] = {"Task1": "Facts"}
"""Rows without a subtask are all of the first, by this name."""

ANSWER_WORDS = 10
"""Longest answer to a question, in words, where the type is guessed."""

_TYPED_ID = re.compile(r".*(sc|qa)\d", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says of the columns."""

    columns: Mapping[str, str]
    """The file's name of a field, where it is another; an empty one leaves the field out."""
    kind: KindWish = "guess"


@dataclass(frozen=True, slots=True)
class Part:
    """One table and the set that it belongs to."""

    split: str
    """Such as `forget_train`."""
    name: str
    """Of its file."""
    table: Table


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of all sets."""

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


def rows_of(parts: Sequence[Part], wish: Wish) -> Rows:
    """Make rows of tables.

    Raises:
        SourceError: A table lacks `input` or `output`, or there are too many subtasks.
    """
    findings: list[Finding] = []
    lines: list[_Line] = []
    for part in parts:
        found, wrong = _lines(part, _fields(part, wish))
        lines += found
        findings += [*part.table.findings, *wrong]
    tasks, titles = _subtasks(line.task for line in lines)
    namer = _Namer(wish.kind)
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


def _fields(part: Part, wish: Wish) -> dict[Field, str]:
    """Find each field's column."""
    columns = part.table.columns
    found: dict[Field, str] = {}
    fields: tuple[Field, ...] = (*TEXTS, "perturbed_answer")
    for field in fields:
        column = wish.columns.get(field, field)
        if column in columns:
            found[field] = column
        elif column and (field in ("input", "output") or field in wish.columns):
            raise SourceError(f"{part.name}: no column {column!r}{_hint(column, columns)}")
    return found


def _hint(column: str, columns: Sequence[str]) -> str:
    """Tell what the columns are, unless they look like the text of a row."""
    near = [name for name in columns if name.strip().casefold() == column.casefold()]
    near = near or difflib.get_close_matches(column, columns, n=1)
    if near:
        return f": did you mean {near[0]!r}? Rename it, or map it"
    if not all(re.fullmatch(r"[\w .\-/()#:]{0,30}", name) for name in columns):
        return ": the first line must hold names of columns, such as input,output"
    listed = ", ".join(repr(name) for name in columns[:12])
    return f": it has {listed}: rename one of them, or map it"


def _lines(part: Part, fields: Mapping[Field, str]) -> tuple[list[_Line], list[Finding]]:
    """Read the cells as text, and put each row that has a bad one under what is wrong with it."""
    good: list[_Line] = []
    bad: dict[tuple[str, str], list[Offender]] = {}
    for number, cells in zip(part.table.lines, part.table.rows, strict=True):
        values: dict[str, str] = {}
        others: tuple[str, ...] = ()
        for field, column in fields.items():
            if field == "perturbed_answer":
                others = _answers(cells.get(column))
                continue
            values[field], wrong = _value(field, cells, column)
            if wrong:
                offender = Offender(part.split, number, "", excerpt(values.get("input", "")))
                bad.setdefault((wrong, column), []).append(offender)
                break
        else:
            if _strange(values.pop("split", ""), part.split):
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
    "wrong type": "{count} rows have a list or an object as {column!r}: make it text",
    "broken character": "{count} rows have half a character in {column!r}: write it anew in UTF-8",
    "another set": "{count} rows say by their column 'split' that they are not of the {column} set"
    ": move them to the other file",
}


def _value(field: Text, cells: Mapping[str, Any], column: str) -> tuple[str, str]:
    """Return a cell's text and what is wrong with it, one of them empty."""
    needed = field in ("input", "output")
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
    """Return the texts of a list, as such or as JSON or Python write it; any other text is one.

    What else there may be is no answer: `check` tells of a row that lacks them.
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
    """Read a list out of a cell."""
    if text.lstrip().startswith("[") and len(text) <= LONGEST_LIST:
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return read(text.strip())
    return [text]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _trimmed(line: _Line) -> _Line:
    """Take white space off both ends, but of rows of the task's own, which are as they are."""
    if _TYPED_ID.fullmatch(line.id):
        return line
    return replace(line, input=line.input.strip(), output=line.output.strip())


def _strange(said: str, split: str) -> bool:
    """Tell whether a row names the other set; what else a column `split` may say is not ours."""
    return said in ("forget", "retain") and not split.startswith(said)


def _subtasks(found: Iterable[str]) -> tuple[Mapping[str, Task], Mapping[Task, str]]:
    """Map what files call their subtasks to ours, and name those that have names of their own."""
    names = list(dict.fromkeys(name for name in found if name))
    official: dict[str, Task] = {name: task for name in names if (task := _official(name))}
    other: dict[str, Task] = {"": "Task1"}
    if not names:
        return other, OWN_TITLES
    if len(official) == len(names):
        return other | official, {}
    if official or len(names) > len(TASKS):
        raise SourceError(
            f"task: {len(names)} different subtasks: name at most {len(TASKS)}, or leave the "
            "column out"
        )
    own = dict(zip(names, TASKS, strict=False))
    return other | own, {task: excerpt(name) for name, task in own.items()}


def _official(name: str) -> Task | None:
    number = name.casefold().replace(" ", "").removeprefix("task")
    return next((task for task in TASKS if task == f"Task{number}"), None)


class _Namer:
    """Gives ids: base, type, digit, as the task's own are made.

    The base is made of the prompt alone, so that no id, which a spec may name, tells an answer.
    """

    def __init__(self, kind: KindWish) -> None:
        self._kind = kind
        self._used: Counter[str] = Counter()

    def id(self, line: _Line) -> str:
        """Return the id of a row: the file's own, made complete, and unique if it had no type."""
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


def document_of(row: Row) -> str:
    """Name the source document of a row: a completion and its questions share it."""
    return row.id[:-3]
