"""Adding data: read what the form asks for, show the findings, save the dataset.

Functions of plain values. Only the last files read are cached between two clicks.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from unlearnlab.data.adding.adding import (
    Draft,
    KindChoice,
    SourceError,
    add,
    columns_of,
    read_files,
    read_folder,
)
from unlearnlab.data.adding.checks import Finding, Offender
from unlearnlab.data.datasets import Row
from unlearnlab.models import catalog as catalogue
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.html import escape, thousands
from unlearnlab.ui.run.handlers import Message
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import KINDS

Way = Literal["files", "folder"]

COLUMNS = ("input", "output")
"""Columns that a file must have, under these names or others."""

FIELDS: Mapping[str, str] = {
    "forget": "Forget rows",
    "retain": "Retain rows",
    "folder": "Folder",
    "limit": "Documents per subtask",
    "seed": "Seed",
    "columns": "Columns",
    "title": "Title",
}

KIND_CHOICES = [
    ("guess from the answer's length", "guess"),
    ("completions: recite", "completion"),
    ("questions: answer", "question"),
]


def place(name: str) -> str:
    """Return the id of a field on the page."""
    return element(f"data.add.{name}")


@dataclass(frozen=True, slots=True)
class AddRequest:
    """Values of the form, unchecked. An upload takes precedence over a path."""

    way: str = "files"
    forget: str = ""
    retain: str = ""
    folder: str = ""
    limit: str = ""
    """Source documents to draw from each set and subtask of the folder; empty takes all."""
    seed: str = ""
    """Seed of the draw."""
    columns: tuple[tuple[str, str], ...] = ()
    """Pairs of one of `COLUMNS` and its name in the file, where it differs."""
    kind: str = "guess"
    title: str = ""


class FieldError(Exception):
    """One field of the form has a problem."""

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.problem = Problem(place(name), FIELDS[name], told)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check: a draft, or problems."""

    draft: Draft | None = None
    message: Message = field(default_factory=Message)


def check(request: AddRequest, model: object = "") -> CheckResult:
    """Read and check what the form asks for.

    Args:
        request: Values of the form.
        model: Name of the chosen model; rows are checked against its context, if that is known.
    """
    try:
        draft = _draft(request)
        if sizes := catalogue.model(str(model or "")).architecture:
            draft = draft.checked_against(sizes.context)
        return CheckResult(draft, Message(note=_verdict(draft)) if draft.sound else _unsound(draft))
    except FieldError as error:
        return CheckResult(message=Message((error.problem,)))


def _verdict(draft: Draft) -> str:
    warnings = len(draft.findings)
    told = f"{warnings} warning{'s' * (warnings > 1)}, see Findings" if warnings else "No findings"
    return f"{told}. It can be added."


def _unsound(draft: Draft) -> Message:
    errors = sum(finding.severity == "error" for finding in draft.findings)
    what = "1 error" if errors == 1 else f"{errors} errors"
    return Message((Problem("", "", f"{what}: see Findings, fix the file and check again"),))


def _draft(request: AddRequest) -> Draft:
    paths = [_path(name, text) for name, text in _asked(request)]
    try:
        return _read(request, tuple((path, _state(path)) for path in paths))
    except SourceError as error:
        raise FieldError(_blamed(request, paths), str(error)) from error


def _asked(request: AddRequest) -> list[tuple[str, str]]:
    if request.way == "folder":
        return [("folder", request.folder)]
    return [
        ("forget", request.forget),
        *([("retain", request.retain)] if request.retain.strip() else []),
    ]


def _path(name: str, text: str) -> Path:
    if not text.strip():
        what = "give a folder" if name == "folder" else "upload a file, or give its path"
        raise FieldError(name, f"nothing was given: {what}")
    path = Path(text.strip()).expanduser()
    if not path.exists():
        raise FieldError(name, f"there is no {path} on the machine that runs unlearnlab")
    if path.is_dir() != (name == "folder"):
        is_a, give = ("folder", "a file") if path.is_dir() else ("file", "the folder it is in")
        raise FieldError(name, f"{path.name} is a {is_a}: give {give}")
    return path


def _state(path: Path) -> tuple[int, int]:
    """Return a stamp of a file or a folder that changes with it: total bytes, newest mtime."""
    inside = (*path.glob("*"), *path.glob("*/*"))  # Not deeper: it may be any folder.
    files = [path] if path.is_file() else [found for found in inside if found.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max((s.st_mtime_ns for s in stats), default=0)


Stated = tuple[tuple[Path, tuple[int, int]], ...]


@lru_cache(maxsize=1)
def _read(request: AddRequest, paths: Stated) -> Draft:
    """Read the files once for check, mask and add."""
    first, *others = (path for path, _ in paths)
    if request.way == "folder":
        limit = _whole("limit", request.limit, least=1)
        seed = _whole("seed", request.seed, least=0) or 0
        return read_folder(first, title=request.title.strip(), limit=limit, seed=seed)
    kinds: tuple[KindChoice, ...] = get_args(KindChoice)
    kind = request.kind if request.kind in kinds else "guess"
    return read_files(
        first,
        others[0] if others else None,
        columns=dict(request.columns) or None,
        kind=kind,
        title=request.title.strip(),
    )


def _whole(name: str, text: str, *, least: int) -> int | None:
    """Parse a number of the form; None if empty."""
    text = text.strip()
    if text and not (text.isdecimal() and int(text) >= least):
        raise FieldError(name, f"{text!r} is not a whole number of at least {least}")
    return int(text) if text else None


def _blamed(request: AddRequest, paths: Sequence[Path]) -> str:
    """Return the field whose file cannot be read."""
    if request.way == "folder":
        return "folder"
    for name, path in zip(("forget", "retain"), paths, strict=False):
        try:
            columns_of(path)
        except SourceError:
            return name
    return "columns" if request.columns else "forget"


def columns(request: AddRequest) -> list[str] | None:
    """List the columns to choose from if the files do not have the usual ones; else None.

    An unreadable file counts as empty: the check reports it, and choices for other files stay.
    """
    found: list[str] = []
    for name, text in _asked(request) if request.way == "files" else ():
        with suppress(SourceError, FieldError):
            found += columns_of(_path(name, text))
    names = list(dict.fromkeys(found))
    return names if names and not set(COLUMNS) <= set(names) else None


GUESSES: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "question", "prompt", "instruction", "query", "text"),
    "output": ("output", "answer", "completion", "response", "target", "label"),
}


def guessed(role: str, names: Sequence[str], chosen: str | None = None) -> str | None:
    """Guess the column of a role by its name, unless one was chosen."""
    if chosen in names:
        return chosen
    lower = {name.lower(): name for name in names}
    return next((lower[guess] for guess in GUESSES[role] if guess in lower), None)


def press_add(request: AddRequest) -> tuple[str, Message]:
    """Read the files again if they have changed, and add them if they have no errors.

    Returns:
        The dataset's name, empty if it was not added; and the message to show.
    """
    checked = check(request)
    if checked.draft is None or not checked.draft.sound:
        return "", checked.message
    try:
        known = add(checked.draft)
    except SourceError as error:
        return "", Message((Problem(place("title"), FIELDS["title"], str(error)),))
    return known.name, Message(note=f"Added as {known.name}: choose it under Data, or press use.")


# ---- findings ----


def findings_html(draft: Draft, *, masked: bool) -> str:
    """Render what was read, and the findings. HTML."""
    head = "ready to add" if draft.sound else "fix the errors before adding"
    mood = "good" if draft.sound else "bad"
    items = "".join(_finding(finding, masked) for finding in _ordered(draft.findings))
    none = "" if items else '<p class="none">No problems found.</p>'
    return (
        f'<div class="card-head"><h2>Findings</h2><span>{escape(draft.title)} · '
        f"{escape(draft.source)}</span>"
        f'<span class="tag {mood}">{head}</span></div>'
        f'<p class="read">{_counts(draft)}</p><ul class="findings">{items}</ul>{none}'
    )


def _ordered(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _counts(draft: Draft) -> str:
    parts = [
        f'<span class="dot {name.partition("_")[0]}"></span>{escape(name.replace("_", ", "))} '
        f"{thousands(len(rows))} {_kinds(rows)}"
        for name, rows in draft.rows.items()
    ]
    if draft.members or draft.nonmembers:
        documents = f"{thousands(len(draft.members))} members, {thousands(len(draft.nonmembers))}"
        parts.append(f"{documents} non-members")
    return " · ".join(parts)


def _kinds(rows: Sequence[Row]) -> str:
    found = [row.kind for row in rows]
    counts = [f"{thousands(found.count(kind))} to {KINDS[kind]}" for kind in KINDS if kind in found]
    return f"({', '.join(counts)})" if len(counts) > 1 else ""


def _finding(finding: Finding, masked: bool) -> str:
    mood = "bad" if finding.severity == "error" else "fair"
    rows = "".join(_offender(row, masked) for row in finding.rows)
    more = finding.count - len(finding.rows)
    further = f'<li class="none">and {thousands(more)} more</li>' if rows and more > 0 else ""
    opened = " open" if finding.severity == "error" else ""
    shown = f"<details{opened}><summary>rows</summary><ul>{rows}{further}</ul></details>"
    return (
        f'<li class="{mood}"><div><span class="tag {mood}">{finding.severity}</span> '
        f"{escape(finding.message)}</div>{shown if rows else ''}</li>"
    )


def _offender(row: Offender, masked: bool) -> str:
    text = mask(row.excerpt) if masked else row.excerpt
    where = f"{row.split.replace('_', ', ')}, line {row.line}"
    return (
        f'<li><span class="where">{escape(where)}</span> <span class="text">{escape(text)}</span>'
        "</li>"
    )
