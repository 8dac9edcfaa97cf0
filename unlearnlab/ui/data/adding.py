"""Adding data: what the form asks to be read, what was found in it, and keeping it.

Functions of plain values. Nothing is held between two clicks but the last files that were read.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from unlearnlab.data.adding.adding import (
    Draft,
    KindWish,
    SourceError,
    add,
    columns_of,
    read_files,
    read_folder,
)
from unlearnlab.data.adding.checks import Finding, Offender
from unlearnlab.data.datasets import Row
from unlearnlab.models import catalog as catalogue
from unlearnlab.ui.form.choices import number
from unlearnlab.ui.kit.controls import Problem, element
from unlearnlab.ui.kit.text import escape
from unlearnlab.ui.run.handlers import Message
from unlearnlab.views.answers import mask
from unlearnlab.views.scoreboard import KINDS

Way = Literal["files", "folder"]

COLUMNS = ("input", "output")
"""What a file must tell of each row, under these names or others."""

FIELDS: Mapping[str, str] = {
    "forget": "Forget rows",
    "retain": "Retain rows",
    "folder": "Folder",
    "limit": "Documents of each subtask",
    "seed": "Seed of the draw",
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
class Wish:
    """What the form asks to be read: unchecked. An upload goes before a path."""

    way: str = "files"
    forget: str = ""
    retain: str = ""
    folder: str = ""
    limit: str = ""
    """Source documents of each set and subtask of the folder that are taken; empty takes all."""
    seed: str = ""
    """Which ones."""
    columns: tuple[tuple[str, str], ...] = ()
    """The file's names of `COLUMNS`, where they are others."""
    kind: str = "guess"
    title: str = ""


class Misplaced(Exception):
    """Something is wrong with one field of the form."""

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.problem = Problem(place(name), FIELDS[name], told)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check: a draft, or what stands in its way."""

    draft: Draft | None = None
    message: Message = field(default_factory=Message)


def check(wish: Wish, model: object = "") -> Checked:
    """Read what the form asks for, and find what is wrong with it.

    Args:
        wish: What is to be read.
        model: Name of the chosen model: rows are held against its context, where that is known.
    """
    try:
        draft = _draft(wish)
        if sizes := catalogue.model(str(model or "")).architecture:
            draft = draft.checked_against(sizes.context)
        return Checked(draft, Message(note=_verdict(draft)) if draft.sound else _unsound(draft))
    except Misplaced as error:
        return Checked(message=Message((error.problem,)))


def _verdict(draft: Draft) -> str:
    warnings = len(draft.findings)
    told = f"{warnings} warning{'s' * (warnings > 1)}, see Findings" if warnings else "No findings"
    return f"{told}. It can be added."


def _unsound(draft: Draft) -> Message:
    errors = sum(finding.severity == "error" for finding in draft.findings)
    what = "1 error" if errors == 1 else f"{errors} errors"
    return Message((Problem("", "", f"{what}: see Findings, mend the file and check again"),))


def _draft(wish: Wish) -> Draft:
    paths = [_path(name, text) for name, text in _asked(wish)]
    try:
        return _read(wish, tuple((path, _state(path)) for path in paths))
    except SourceError as error:
        raise Misplaced(_blamed(wish, paths), str(error)) from error


def _asked(wish: Wish) -> list[tuple[str, str]]:
    if wish.way == "folder":
        return [("folder", wish.folder)]
    return [("forget", wish.forget), *([("retain", wish.retain)] if wish.retain.strip() else [])]


def _path(name: str, text: str) -> Path:
    if not text.strip():
        what = "give a folder" if name == "folder" else "upload a file, or give its path"
        raise Misplaced(name, f"nothing was given: {what}")
    path = Path(text.strip()).expanduser()
    if not path.exists():
        raise Misplaced(name, f"there is no {path} on the machine that runs unlearnlab")
    if path.is_dir() != (name == "folder"):
        is_a, give = ("folder", "a file") if path.is_dir() else ("file", "the folder it is in")
        raise Misplaced(name, f"{path.name} is a {is_a}: give {give}")
    return path


def _state(path: Path) -> tuple[int, int]:
    """Tell a file or a folder from what it was before it changed."""
    inside = (*path.glob("*"), *path.glob("*/*"))  # Not deeper: it may be any folder.
    files = [path] if path.is_file() else [found for found in inside if found.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max((s.st_mtime_ns for s in stats), default=0)


Stated = tuple[tuple[Path, tuple[int, int]], ...]


@lru_cache(maxsize=1)
def _read(wish: Wish, paths: Stated) -> Draft:
    """Read once for the check, the mask and the adding."""
    first, *others = (path for path, _ in paths)
    if wish.way == "folder":
        limit = _whole("limit", wish.limit, least=1)
        seed = _whole("seed", wish.seed, least=0) or 0
        return read_folder(first, title=wish.title.strip(), limit=limit, seed=seed)
    kinds: tuple[KindWish, ...] = get_args(KindWish)
    kind = wish.kind if wish.kind in kinds else "guess"
    return read_files(
        first,
        others[0] if others else None,
        columns=dict(wish.columns) or None,
        kind=kind,
        title=wish.title.strip(),
    )


def _whole(name: str, text: str, *, least: int) -> int | None:
    """Read a number of the form; none where nothing was typed."""
    text = text.strip()
    if text and not (text.isdecimal() and int(text) >= least):
        raise Misplaced(name, f"{text!r} is no whole number from {least} on")
    return int(text) if text else None


def _blamed(wish: Wish, paths: Sequence[Path]) -> str:
    """Find the field whose file cannot be read at all."""
    if wish.way == "folder":
        return "folder"
    for name, path in zip(("forget", "retain"), paths, strict=False):
        try:
            columns_of(path)
        except SourceError:
            return name
    return "columns" if wish.columns else "forget"


def columns(wish: Wish) -> list[str] | None:
    """List the columns to choose from, where the files do not have the usual ones; else none.

    A file that cannot be read has none: the check tells it, and what was chosen for others stays.
    """
    found: list[str] = []
    for name, text in _asked(wish) if wish.way == "files" else ():
        with suppress(SourceError, Misplaced):
            found += columns_of(_path(name, text))
    names = list(dict.fromkeys(found))
    return names if names and not set(COLUMNS) <= set(names) else None


GUESSES: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "question", "prompt", "instruction", "query", "text"),
    "output": ("output", "answer", "completion", "response", "target", "label"),
}


def guessed(role: str, names: Sequence[str], chosen: str | None = None) -> str | None:
    """Guess which column is meant by its name, unless one of them was chosen."""
    if chosen in names:
        return chosen
    lower = {name.lower(): name for name in names}
    return next((lower[guess] for guess in GUESSES[role] if guess in lower), None)


def press_add(wish: Wish) -> tuple[str, Message]:
    """Read the files again if they have changed, and keep them if they are sound.

    Returns:
        The dataset's name, empty if it was not added; and what to tell.
    """
    checked = check(wish)
    if checked.draft is None or not checked.draft.sound:
        return "", checked.message
    try:
        known = add(checked.draft)
    except SourceError as error:
        return "", Message((Problem(place("title"), FIELDS["title"], str(error)),))
    return known.name, Message(note=f"Added as {known.name}: choose it under Data, or press use.")


# ---- findings ----


def findings_html(draft: Draft, *, masked: bool) -> str:
    """Draw what was read and what was found in it."""
    head = "ready to be added" if draft.sound else "it cannot be added as it is"
    mood = "good" if draft.sound else "bad"
    items = "".join(_finding(finding, masked) for finding in _ordered(draft.findings))
    none = "" if items else '<p class="none">Nothing is wrong with it.</p>'
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
        f"{number(len(rows))} {_kinds(rows)}"
        for name, rows in draft.rows.items()
    ]
    if draft.members or draft.nonmembers:
        documents = f"{number(len(draft.members))} members, {number(len(draft.nonmembers))}"
        parts.append(f"{documents} non-members")
    return " · ".join(parts)


def _kinds(rows: Sequence[Row]) -> str:
    found = [row.kind for row in rows]
    counts = [f"{number(found.count(kind))} to {KINDS[kind]}" for kind in KINDS if kind in found]
    return f"({', '.join(counts)})" if len(counts) > 1 else ""


def _finding(finding: Finding, masked: bool) -> str:
    mood = "bad" if finding.severity == "error" else "fair"
    rows = "".join(_offender(row, masked) for row in finding.rows)
    more = finding.count - len(finding.rows)
    further = f'<li class="none">and {number(more)} more</li>' if rows and more > 0 else ""
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
