"""Keeping a draft as a dataset, and removing one: whole or not at all."""

import itertools
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unlearnlab.data.adding.drafts import Draft
from unlearnlab.data.adding.files import SourceError
from unlearnlab.data.datasets import (
    EMBEDDED_NAME,
    MANIFEST,
    KnownDataset,
    Row,
    dataset,
    datasets,
    datasets_folder,
)

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

HIDDEN = ".adding-"
"""How folders begin that are being written; a dataset's name begins with no dot."""

EARLIER = "earlier"
"""Where in such a folder the dataset waits that is being replaced."""

LEFT_S = 3600.0
"""Age from which such a folder belongs to no living process."""


def add(draft: Draft, name: str = "", *, replace: bool = False) -> KnownDataset:
    """Keep a draft as a dataset that a spec can name.

    It is whole or not there: what was there before stays until the new one is written.

    Args:
        draft: A sound one.
        name: Lower-case letters, digits and hyphens; made of the title if not given.
        replace: Whether a dataset of this name gives way.

    Raises:
        SourceError: The draft is not sound, the name is taken or is none, or the disk is full.
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
                # Out of the way, not deleted: should the next step fail, it comes back.
                place.rename(earlier := Path(temporary) / EARLIER / name)
                try:
                    written.rename(place)
                except OSError:
                    earlier.rename(place)
                    raise
            else:
                written.rename(place)
    except OSError as error:
        raise SourceError(f"{name}: cannot be kept: {error.strerror}") from error
    return dataset(name)


def remove(name: str) -> None:
    """Delete a dataset that was added.

    Raises:
        SourceError: There is none of this name, or it is the embedded one.
    """
    if name == EMBEDDED_NAME:
        raise SourceError(f"{name}: comes with the program and stays")
    known = dataset(name)
    if known.gone:
        raise SourceError(f"{name}: nothing to remove: {known.gone}")
    try:
        with TemporaryDirectory(prefix=HIDDEN, dir=datasets_folder()) as temporary:
            known.folder.rename(Path(temporary) / name)
    except OSError as error:
        raise SourceError(f"{name}: cannot be removed: {error.strerror}") from error


def _name(wanted: str, title: str, *, replace: bool) -> str:
    """Return a name that is free, or may give way."""
    known = datasets()
    if wanted:
        if not NAME.fullmatch(wanted):
            raise SourceError(
                f"{wanted}: no name of a dataset: take lower-case letters, digits and hyphens, "
                "at most 64"
            )
        if wanted == EMBEDDED_NAME or (wanted in known and not replace):
            raise SourceError(f"{wanted}: there is such a dataset already: choose another name")
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
        split: map(_told, rows) for split, rows in draft.rows.items()
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
        _write_text(folder / f"{name}.jsonl", "".join(map(_line, lines)))
    _write_text(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


def _told(row: Row) -> dict[str, Any]:
    """Return the fields of a row that say something."""
    return {name: value for name, value in asdict(row).items() if value}


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    """Make the folder, and clear up where a killed process left something half done."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{HIDDEN}*"):
        if time.time() - left.stat().st_mtime > LEFT_S:
            for earlier in left.glob(f"{EARLIER}/*"):
                if not (folder / earlier.name).exists():
                    earlier.rename(folder / earlier.name)
            shutil.rmtree(left, ignore_errors=True)
