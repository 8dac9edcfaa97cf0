"""What a reader changes in the list of runs: names, tags, notes, pins; deleting and undoing it."""

import re
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.runs.store import Store, StoreError
from unlearnlab.ui.compare.listing import MOST

UNDO_S = 900.0
"""How long what was deleted can be brought back. The page offers it for less."""

RunId = Annotated[str, Field(max_length=100)]


class Change(BaseModel):
    """What a page asks to change: untrusted."""

    action: Literal["amend", "tag", "delete", "restore"]
    runs: Annotated[list[RunId], Field(min_length=1, max_length=MOST)]
    name: Annotated[str, Field(max_length=200)] | None = None
    tags: Annotated[str, Field(max_length=500)] | None = None
    """Separated by commas."""
    notes: Annotated[str, Field(max_length=10_000)] | None = None
    pinned: bool | None = None


def change(store: Store, asked: Any) -> dict[str, Any]:
    """Do what a page asks, and answer with what to tell: a problem, or nothing.

    What was deleted long ago is erased on the way, when something else is deleted.
    """
    try:
        wish = Change.model_validate(asked)
        _done(store, wish)
    except ValidationError as error:
        return {"problem": _explained(error)}
    except StoreError as error:
        return {"problem": str(error)}
    return {}


def _done(store: Store, wish: Change) -> None:
    match wish.action:
        case "delete":
            store.delete(wish.runs)
            store.erase(deleted_before=time.time() - UNDO_S)
        case "restore":
            store.restore(wish.runs)
        case "tag":
            more = tags_of(wish.tags or "")
            for run_id in wish.runs:
                store.update(run_id, tags=[*store.row(run_id).tags, *more])
        case "amend":
            _amend(store, wish)


def _amend(store: Store, wish: Change) -> None:
    """Change what is given. A name that is the run's own title is no name."""
    tags = None if wish.tags is None else tags_of(wish.tags)
    for run_id in wish.runs:
        name = wish.name
        if name is not None:
            name = "" if name.strip() == store.row(run_id).spec.title else name.strip()
        notes = None if wish.notes is None else wish.notes.strip()
        store.update(run_id, name=name, tags=tags, notes=notes, pinned=wish.pinned)


def tags_of(text: str) -> tuple[str, ...]:
    """Read tags that are separated by commas or lines."""
    parts = (" ".join(part.split()) for part in re.split(r"[,\n]", text))
    return tuple(dict.fromkeys(part for part in parts if part))


_FIELDS = {"name": "Name", "tags": "Tags", "notes": "Notes"}


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    field, limit = str(first["loc"][0]), first.get("ctx", {}).get("max_length")
    if field in _FIELDS and limit:
        return f"{_FIELDS[field]}: {len(str(first['input']))} characters: {limit} is the most"
    if field == "runs" and limit:
        return f"{len(first['input'])} runs at once: {limit} is the most"
    return "The page asked for a change that there is not: reload it."
