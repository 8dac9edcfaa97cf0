"""From tables to a dataset: cells become rows, rows are checked, and a sound draft is saved whole.

A row whose id does not give its type is a question if its prompt ends with a question mark or its
answer has at most 10 words, else a completion. (This rule gives each of LUME's 5,466 rows the type
in its id.)

Columns with TOFU's names (arXiv:2401.06121) hold what the truth ratio compares: the answer in other
words, and a list of wrong ones.
"""

import ast
import hashlib
import itertools
import json
import random
import re
import shutil
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast, get_args

from unlearnlab.data.checks import (
    ANSWER_TOLD,
    ANSWER_WORDS,
    CONTROLS,
    Finding,
    Offender,
    Placed,
    SourceError,
    check,
    contained,
    drop_duplicates,
    excerpt,
    summarize,
    too_long,
)
from unlearnlab.data.datasets import (
    EMBEDDED_NAME,
    MANIFEST,
    TASKS,
    TYPED,
    DatasetInfo,
    Kind,
    Row,
    Task,
    dataset,
    datasets,
    datasets_folder,
    is_object,
    write_lines,
    write_text,
)
from unlearnlab.data.downloads import LUME, SEMEVAL, is_lume
from unlearnlab.data.files import TEXT_LIMIT, read_regular
from unlearnlab.data.layouts import (
    LAYOUTS,
    Fields,
    LayoutChoice,
    choose_columns,
    has_layout,
    is_blank,
    laid_out,
    offered,
    repeated_ids,
)
from unlearnlab.data.reading import (
    Table,
    find_sets,
    read_documents,
    read_questions,
    read_table,
    typed_table,
)

BORROWED = 60
"""Retain rows that typed facts borrow from another dataset: enough that a model that is taught the
facts keeps the rest, and few enough that teaching takes seconds."""

NO_RETAIN = Finding(
    "no retain set",
    "warning",
    "there is no retain set: methods that need one cannot run, and damage beyond the forget set is "
    f"not measured: give one, or borrow rows of the embedded data (--retain-of {EMBEDDED_NAME})",
    0,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A dataset that was read and checked, but not saved."""

    title: str
    source: str
    """Where it comes from: "LUME", "SemEval-2025 Task 4", "own files"."""
    placed: tuple[Placed, ...] = ()
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
        return replace(self, findings=(*self.findings, *too_long(self.placed, context)))


# Reading

KindChoice = Literal["guess", "completion", "question"]
"""Type of rows whose id does not give it; "guess" decides by the answer's length."""


def columns_of(path: Path) -> list[str]:
    """Return the names of a file's columns, in order.

    Raises:
        SourceError: The file cannot be read.
    """
    return list(read_table(path).columns)


def shape_of(path: Path) -> tuple[list[str], LayoutChoice]:
    """Return the names of a file's columns, and the layout that must be chosen to read it.

    Raises:
        SourceError: The file cannot be read.
    """
    table = read_table(path)
    return list(table.columns), offered(table)


def read_files(
    forget: Path,
    retain: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    retain_columns: Mapping[str, str] | None = None,
    layout: LayoutChoice = "columns",
    retain_of: str = "",
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
            field out. A file without such a column is read by the field's own name.
        retain_columns: Those of the retain file; None takes `columns`.
        layout: How prompts and answers lie in the files that have that layout.
        retain_of: Dataset that lends `BORROWED` retain rows and its utility questions.
        kind: Type of rows whose id does not give it.
        title: Display name.
        limit: Source documents to draw from each set and subtask; None takes all.
        seed: Seed of the draw.

    Raises:
        SourceError: A file cannot be read at all. Problems of single rows become findings.
    """
    tables = [read_table(forget, "forget_train")]
    if retain:
        tables.append(read_table(retain, "retain_train"))
    mapped = _by_split(columns, retain_columns)
    draft = _filled(Draft(title or "Own data", "own files"), tables, mapped, kind, layout)
    return _checked(_borrowing(draft, retain_of), limit, seed)


def _by_split(
    columns: Mapping[str, str] | None, retain_columns: Mapping[str, str] | None
) -> Mapping[str, Mapping[str, str]]:
    of = columns or {}
    return {"forget": of, "retain": of if retain_columns is None else retain_columns}


def read_folder(
    folder: Path,
    *,
    columns: Mapping[str, str] | None = None,
    retain_columns: Mapping[str, str] | None = None,
    layout: LayoutChoice = "columns",
    retain_of: str = "",
    kind: KindChoice = "guess",
    title: str = "",
    limit: int | None = None,
    seed: int = 0,
) -> Draft:
    """Read a folder of SemEval-2025 Task 4, of LUME, or in this program's own layout.

    Args:
        folder: The folder; its files tell which layout it has.
        columns: Column by field, as in `read_files`.
        retain_columns: Those of the retain files; None takes `columns`.
        layout: How prompts and answers lie in the files that have that layout.
        retain_of: Dataset that lends `BORROWED` retain rows and its utility questions.
        kind: Type of rows whose id does not give it.
        title: Display name.
        limit: Source documents to draw from each set and subtask; None takes all.
        seed: Seed of the draw.

    Raises:
        SourceError: It has none of these layouts, or a file in it cannot be read at all.
    """
    sets = find_sets(folder)
    tables = [read_table(path, split) for split, paths in sets.items() for path in paths]
    manifest = _manifest(folder)
    base = sets["forget_train"][0].parent
    roots = dict.fromkeys((folder, base, base.parent))
    source = manifest.get("source") or _source(sets, roots)
    named = manifest.get("title") or (source if source in (SEMEVAL, LUME) else "Own data")
    draft = Draft(
        title or f"{named}{f', {limit} documents per subtask' if limit else ''}",
        source,
        documents=_documents(roots),
        questions=read_questions(folder / "quiz" / "test.jsonl"),
        titles=manifest.get("titles", {}),
    )
    mapped = _by_split(columns, retain_columns)
    read = _borrowing(_filled(draft, tables, mapped, kind, layout), retain_of)
    return _checked(read, limit, seed)


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(read_regular(folder / MANIFEST, TEXT_LIMIT))
    except (OSError, ValueError):
        return {}
    return found if is_object(found) else {}


def _source(sets: Mapping[str, tuple[Path, ...]], roots: Iterable[Path]) -> str:
    """Name the source: the task's folder has attack documents or parts, LUME known digests."""
    files = {path.name: path for paths in sets.values() for path in paths}
    if any((root / "mia_data").is_dir() for root in roots) or any("-of-" in name for name in files):
        return SEMEVAL
    return LUME if is_lume(files) else "own files"


def _documents(roots: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    """Read the documents of the membership attack, each file from the first place that has it."""
    names = ("member", "nonmember", "validation/member", "validation/nonmember")
    found: dict[str, tuple[str, ...]] = {}
    for root, place, name in itertools.product(roots, ("mia_data", "mia"), names):
        path = root / place / f"{name}.jsonl"
        if name not in found and path.exists():
            found[name] = read_documents(path)
    return found


def read_typed(
    text: str,
    *,
    retain: str = "",
    retain_of: str = "",
    kind: KindChoice = "guess",
    title: str = "",
) -> Draft:
    """Read typed facts: a question and its answer on each line.

    A tab, `|`, `->` or `=` separates the two, or the question mark.

    Args:
        text: Facts to forget.
        retain: Facts to keep, typed in the same way.
        retain_of: Dataset that lends `BORROWED` retain rows, spread over its set, as many more that
            are held out, and its utility questions.
        kind: Type of the rows.
        title: Display name.

    Raises:
        SourceError: Nothing was typed, or there is no dataset `retain_of`.
    """
    tables = [typed_table(text, "forget_train")]
    if retain.strip():
        tables.append(typed_table(retain, "retain_train"))
    draft = _filled(Draft(title or "Typed facts", TYPED), tables, kind=kind)
    return _checked(_borrowing(draft, retain_of))


def _borrowing(draft: Draft, retain_of: str) -> Draft:
    """Add retain rows of another dataset, and its utility questions.

    Raises:
        SourceError: There is no such dataset, or it has no retain rows.
    """
    if not retain_of:
        return draft
    lender = dataset(retain_of)
    if lender.unknown_reason:
        raise SourceError(f"retain_of: {lender.unknown_reason}")
    lent = lender.rows("retain", "train")
    if not lent:
        raise SourceError(f"retain_of: {retain_of} has no retain rows: name another dataset")
    # All in one subtask that is forgotten: subtasks without forget rows are not scored.
    task = min((one.row.task for one in draft.placed), default=TASKS[0])
    taken = lent[:: max(1, len(lent) // BORROWED)][:BORROWED]
    near = {row.document for row in taken}
    rest = [row for row in lent if row.document not in near]
    aside = rest[:: max(1, len(rest) // BORROWED)][:BORROWED]
    # No run trains on those that stay aside: their perplexity says what it did to the rest.
    borrowed = (
        Placed(split, line, replace(row, task=task))
        for split, of in (("retain_train", taken), ("retain_validation", aside))
        for line, row in enumerate(of, 1)
    )
    questions = draft.questions or lender.questions()
    return replace(draft, placed=(*draft.placed, *borrowed), questions=questions)


def _checked(draft: Draft, limit: int | None = None, seed: int = 0) -> Draft:
    """Drop repeated rows, draw a part if asked for, and check the rest."""
    rows, duplicates = drop_duplicates(draft.placed)
    documents = dict(draft.documents)
    if limit is not None:
        drawn = sample_documents(rows, limit, seed)
        rows = [*drawn, *_second_fold(rows, drawn, limit, seed)]
        texts = [one.row.text for one in rows if one.split.startswith("forget")]
        for name in documents.keys() & {"member", "validation/member"}:
            places = contained(documents[name], texts)
            documents[name] = tuple(documents[name][place] for place in places)
    unseen = (*documents.get("nonmember", ()), *documents.get("validation/nonmember", ()))
    lacking = [] if any(one.split == "retain_train" for one in rows) else [NO_RETAIN]
    found = check(rows, unseen)
    if draft.source in (SEMEVAL, LUME):  # Their sets were drawn apart: answers recur by chance.
        found = [one for one in found if one.kind != ANSWER_TOLD]
    findings = [*draft.findings, *duplicates, *found, *lacking]
    findings.sort(key=lambda one: one.severity != "error")
    return replace(draft, placed=tuple(rows), documents=documents, findings=tuple(findings))


def _second_fold(
    rows: Sequence[Placed], drawn: Sequence[Placed], limit: int, seed: int
) -> list[Placed]:
    """Make a validation fold, where the data have none, of as many documents that were not drawn.

    No run on the train fold trains on them: perplexity and the attack need such rows.
    """
    if any(one.split.endswith("_validation") for one in rows):
        return []
    taken = {(one.split, one.row.document) for one in drawn}
    rest = [one for one in rows if (one.split, one.row.document) not in taken]
    return [
        replace(one, split=one.split.replace("_train", "_validation"))
        for one in sample_documents(rest, limit, seed)
    ]


def sample_documents(rows: Sequence[Placed], limit: int, seed: int) -> list[Placed]:
    """Draw `limit` source documents from each set and subtask; the same ones for a seed.

    A completion and its questions share a document, so they stay together.
    """
    groups: dict[tuple[str, Task], set[str]] = {}
    for one in rows:
        groups.setdefault((one.split, one.row.task), set()).add(one.row.document)
    drawn = {
        group: set(random.Random(f"{seed} {group}").sample(sorted(names), min(limit, len(names))))
        for group, names in groups.items()
    }
    return [one for one in rows if one.row.document in drawn[one.split, one.row.task]]


# From cells to rows

Text = Literal["input", "output", "id", "task", "split", "paraphrased_answer"]
"""Fields that hold a single text."""

Field = Text | Literal["perturbed_answer"]

MOST_WRONG = 20
"""Wrong answers kept per row, from the first on; TOFU has 5."""

LONGEST_LIST = 100_000
"""Longest cell that is parsed as a list, in characters."""

OWN_TITLES: Mapping[Task, str] = {"Task1": "Facts"}
"""Title of the first subtask where the file names none: all rows belong to it."""

_TYPED_ID = re.compile(r".*(sc|qa)\d", re.DOTALL)


def _filled(
    draft: Draft,
    tables: Sequence[Table],
    columns: Mapping[str, Mapping[str, str]] | None = None,
    kind: KindChoice = "guess",
    layout: LayoutChoice = "columns",
) -> Draft:
    """Turn tables into rows of a draft.

    Args:
        draft: Takes the rows and the findings.
        tables: The files.
        columns: Column by field, for `forget` and for `retain`.
        kind: Type of rows whose id does not give it.
        layout: How prompts and answers lie in the tables that have that layout.

    Raises:
        SourceError: A table lacks `input` or `output`, or there are too many subtasks.
    """
    if not any(has_layout(table, layout) for table in tables):
        names = ", ".join(table.name for table in tables)
        raise SourceError(f"{names}: not in the layout {layout} ({LAYOUTS[layout]})")
    findings: list[Finding] = []
    found: list[tuple[str, Placed]] = []
    everywhere = [name for table in tables for name in table.columns]
    fields: tuple[Field, ...] = (*get_args(Text), "perturbed_answer")
    for table in tables:
        chosen = (columns or {}).get(table.split.partition("_")[0], {})
        rows = laid_out(table, layout)
        if rows is not table:  # Its prompts and answers have their columns now.
            chosen = {name: of for name, of in chosen.items() if name not in ("input", "output")}
        read = choose_columns(rows, fields, chosen, everywhere)
        good, wrong = _placed(rows, read)
        found += good
        findings += [*rows.findings, *read.findings, *_same_ids(table, read), *wrong]
    findings += _shared_ids([one for _, one in found])
    tasks, titles = _subtasks(task for task, _ in found)
    ids = _ids((one.row for _, one in found), kind)
    rows = tuple(
        replace(one, row=replace(one.row, id=row_id, task=tasks[task]))
        for row_id, (task, one) in zip(ids, found, strict=True)
    )
    return replace(draft, placed=rows, titles=draft.titles or titles, findings=tuple(findings))


def _same_ids(table: Table, read: Fields) -> list[Finding]:
    """Report rows of a file with one id. Ids that give the type are checked with all rows."""
    again = [
        one
        for one in repeated_ids(table, read.columns.get("id", ""))
        if not _TYPED_ID.fullmatch(one.id)
    ]
    note = " (a number and its text are one id)" if any(one.id.isdecimal() for one in again) else ""
    return summarize(
        "repeated id",
        "error",
        f"{{count}} rows have the id of an earlier row of the file{note}: make ids unique, or "
        "leave the column out",
        again,
    )


def _shared_ids(rows: Sequence[Placed]) -> list[Finding]:
    """Report rows of the retain set with an id of the forget set: the same id, two meanings."""
    named = [one for one in rows if one.row.id and not _TYPED_ID.fullmatch(one.row.id)]
    forgotten = {one.row.id for one in named if one.split.startswith("forget")}
    return summarize(
        "id in both sets",
        "warning",
        "{count} retain rows have the id of a forget row: a number is added to the id of each",
        [one for one in named if one.split.startswith("retain") and one.row.id in forgotten],
    )


def _placed(table: Table, read: Fields) -> tuple[list[tuple[str, Placed]], list[Finding]]:
    """Read cells as rows, each with its file's name of its subtask; bad cells become findings."""
    good: list[tuple[str, Placed]] = []
    bad: dict[tuple[str, str], list[Offender]] = {}
    for number, cells in zip(table.lines, table.rows, strict=True):
        values = {"id": "", "task": "", "split": "", "paraphrased_answer": ""}
        others: tuple[str, ...] = ()
        for name, column in read.columns.items():
            if name == "perturbed_answer":
                others = _answers(cells.get(column))
                continue
            values[name], wrong = _value(cast("Text", name), cells, column)
            if wrong:
                offender = Offender(table.split, number, "", excerpt(values.get("input", "")))
                bad.setdefault((wrong, column), []).append(offender)
                break
        else:
            task, stated = values.pop("task"), values.pop("split")
            if not _TYPED_ID.fullmatch(values["id"]):  # The task's own rows stay as they are.
                values |= {name: values[name].strip() for name in ("input", "output")}
            row = Row(**values, task="Task1", perturbed_answer=others)
            # Other words in a column `split` mean something else.
            if stated in ("forget", "retain") and not table.split.startswith(stated):
                offender = Offender(table.split, number, row.id, excerpt(row.input))
                bad.setdefault(("another set", table.split.partition("_")[0]), []).append(offender)
            good.append((task, Placed(table.split, number, row)))
    return good, [
        one
        for (wrong, column), rows in bad.items()
        for one in summarize(
            wrong, "error", _WRONG[wrong].format(count="{count}", column=column), rows
        )
    ]


_WRONG: Mapping[str, str] = {
    "missing column": "{count} rows have no {column!r} at all: add it, or remove them",
    "empty cell": "{count} rows have an empty {column!r}: fill it, or remove them",
    "no input beside an instruction": "{count} rows have an empty {column!r} beside an "
    "'instruction': add --layout alpaca, which puts the two together",
    "control character": "{count} rows have a control character, such as NUL, in {column!r}: "
    "remove it",
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
        beside = name == "input" == column and not is_blank(cells.get("instruction"))
        return "", "no input beside an instruction" if beside else "empty cell"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "broken character"
    if CONTROLS.search(text):
        return "", "control character"
    return text if needed else text.strip(), ""


def _answers(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or of a text that JSON or Python wrote; any other text is one.

    Other values give no answers; `check` reports rows without them.
    """
    if isinstance(value, str):
        text, value = value.strip(), [value]
        if text.startswith("[") and len(text) <= LONGEST_LIST:
            for read in (json.loads, ast.literal_eval):
                with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                    value = read(text)
                    break
    listed = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    texts = tuple(_text(one).strip() for one in listed if isinstance(one, str | int | float))
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return ()
    return tuple(text for text in texts if text)[:MOST_WRONG]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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


def _ids(rows: Iterable[Row], choice: KindChoice) -> Iterator[str]:
    """Yield ids as the task has them, base, type, digit: the file's own where it has a type.

    The base depends on the prompt alone, so that no id reveals an answer: specs may list ids.
    """
    used: Counter[str] = Counter()
    for row in rows:
        if _TYPED_ID.fullmatch(row.id):
            yield row.id
            continue
        short = len(row.output.split()) <= ANSWER_WORDS
        guess: Kind = "qa" if short or row.input.endswith("?") else "sc"
        kind = {"guess": guess, "completion": "sc", "question": "qa"}[choice]
        base = row.id or hashlib.sha256(row.input.encode()).hexdigest()[:12]
        number = used[base + kind] + (kind == "sc")  # As in the task: sc1, but qa0.
        used[base + kind] += 1
        again = f"-{number // 10}" if number > 9 else ""
        yield f"{base}{again}{kind}{number % 10}"


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
        clean_up()
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
    for split, rows in draft.rows.items():
        write_lines(folder / f"{split}.jsonl", (row.plain for row in rows))
    for name, texts in draft.documents.items():
        write_lines(folder / "mia" / f"{name}.jsonl", ({"document": text} for text in texts))
    if draft.questions:
        write_lines(folder / "quiz" / "test.jsonl", draft.questions)
    manifest = {
        "title": draft.title,
        "source": draft.source,
        "personal": True,
        "titles": dict(draft.titles),
        "notes": [finding.message for finding in draft.findings],
    }
    write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


def clean_up(*, stale_s: float = STALE_S) -> None:
    """Make the folder of datasets, and clean up after killed processes.

    Args:
        stale_s: Age from which a half-added dataset is taken for theirs, in seconds.
    """
    folder = datasets_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{HIDDEN}*"):
        if time.time() - left.stat().st_mtime > stale_s:
            for earlier in left.glob(f"{EARLIER}/*"):
                if not (folder / earlier.name).exists():
                    earlier.rename(folder / earlier.name)
            shutil.rmtree(left, ignore_errors=True)
