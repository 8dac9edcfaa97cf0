"""The list of all runs: its search, filters and sorting, its HTML, and what a reader changes in it.

Sorting by a score sorts within each evaluation setup: scores of different models, data or protocols
are not comparable.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.metrics.scores import ScoreKey, shown_scores, value_of
from unlearnlab.runs.store import Store
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.listeners import Answer, answering, unless_same
from unlearnlab.views.comparison import Setting, setting
from unlearnlab.views.runs import Facet, RunSummary
from unlearnlab.views.scoreboard import MOODS

SIZE = 25
"""Runs per page of the list."""

MOST = 100
"""Most runs in a comparison: more are unreadable, and too long for a URL."""

UNDO_S = 900.0
"""How long a deleted run can be restored, in seconds. The page offers it for a shorter time."""

OUTDATED = "The page sent an unknown request: reload it."

DAY_S = 86400.0

Since = Literal["", "day", "week", "month"]

SINCE: Mapping[Since, tuple[str, float]] = {
    "": ("any time", float("inf")),
    "day": ("last 24 hours", DAY_S),
    "week": ("last 7 days", 7 * DAY_S),
    "month": ("last 30 days", 30 * DAY_S),
}
"""Time spans of the filter: display name and seconds."""

FACETS: tuple[Facet, ...] = get_args(Facet)

RunId = Annotated[str, Field(max_length=100)]

Text = Annotated[str, Field(max_length=200)]


class Query(BaseModel):
    """A page's request for a part of the list; untrusted."""

    text: Text = ""
    model: Text = ""
    method: Text = ""
    data: Text = ""
    outcome: Text = ""
    tag: Text = ""
    since: Since = ""
    sort: Literal["title", "created", "seconds"] | ScoreKey = "created"
    up: bool = False
    """Whether to sort in ascending order."""
    page: Annotated[int, Field(ge=0)] = 0
    word: Text = ""
    """Checksum of the content that the page already shows; it is not sent again."""


@answering(OUTDATED)
def listing(cached: CachedRuns, asked: Any) -> Answer:
    """Answer a page with the part of the list that it asks for, and the choices of its filters."""
    query = Query.model_validate(asked)
    runs = cached.all()
    found = find(runs, query, now=time.time())
    last = max(0, (len(found.runs) - 1) // SIZE)
    page = min(query.page, last)
    shown = found.runs[page * SIZE : (page + 1) * SIZE]
    html = render(
        "compare/listing_table.html",
        query=query,
        groups=[(under, list(group)) for under, group in groupby(shown, key=found.group)],
        counts=found.counts,
        scores=shown_scores(),
        value_of=value_of,
        moods=MOODS,
        page=page,
        last=last,
        size=SIZE,
        found=len(found.runs),
        total=len(runs),
    )
    answer = {
        "html": html,
        "page": page,
        "found": len(found.runs),
        "total": len(runs),
        "ids": [run.run_id for run in found.runs] if len(found.runs) <= MOST else [],
        "choices": choices(runs),
        "since": [(value, label) for value, (label, _) in SINCE.items()],
        "suggested": suggestions(runs),
        "most": MOST,
    }
    return unless_same(answer, query.word)


@lru_cache(maxsize=2)
def choices(runs: tuple[RunSummary, ...]) -> dict[Facet, list[tuple[str, str]]]:
    """Return the choices of each filter: values and labels with counts, sorted by label."""
    counts: dict[Facet, Counter[tuple[str, str]]] = {facet: Counter() for facet in FACETS}
    for run in runs:
        for facet, values in run.facets.items():
            counts[facet].update(values.items())
    return {
        facet: [
            (value, f"{label} ({times})")
            for (value, label), times in sorted(found.items(), key=lambda one: one[0][1].lower())
        ]
        for facet, found in counts.items()
    }


@dataclass(frozen=True, slots=True)
class Found:
    """The runs that pass all filters, in order."""

    runs: Sequence[RunSummary]
    counts: Mapping[Setting | None, int]
    """Number of runs of each setup, in the order of the groups; the key None holds runs without
    the sorting score. Empty if no score sorts."""
    group: Callable[[RunSummary], Setting | None]
    """Returns the setup under which a run is listed; None if it lacks the sorting score."""


def find(runs: Iterable[RunSummary], query: Query, *, now: float) -> Found:
    """Return the runs that pass all filters, pinned first; grouped by setup if a score sorts."""
    wanted: dict[Facet, str] = {
        facet: value for facet in FACETS if (value := getattr(query, facet))
    }
    passing = [
        run
        for run in runs
        if run.created >= now - SINCE[query.since][1]
        and (not wanted or all(value in run.facets[facet] for facet, value in wanted.items()))
        and (not query.text or run.matches(query.text))
    ]
    key = _sort_key(query.sort)
    known = [run for run in passing if key(run) is not None]
    rest = [run for run in passing if key(run) is None]
    known.sort(key=lambda run: key(run) or 0, reverse=not query.up)
    known.sort(key=lambda run: not run.pinned)
    if query.sort in ("title", "created", "seconds"):
        rest.sort(key=lambda run: not run.pinned)
        return Found([*known, *rest], {}, lambda _: None)
    under = {run: setting(run) for run in known}
    counts = dict[Setting | None, int](Counter(under.values()).most_common())
    order = {one: place for place, one in enumerate(counts)}
    known.sort(key=lambda run: order[under[run]])
    return Found([*known, *rest], counts | ({None: len(rest)} if rest else {}), under.get)


def _sort_key(sort: str) -> Callable[[RunSummary], float | str | None]:
    match sort:
        case "title":
            return lambda run: run.title.lower()
        case "created":
            return lambda run: run.created
        case "seconds":
            return lambda run: run.seconds
        case _:
            return lambda run: value_of(run.after, sort)


SUGGESTED = 5
"""Number of suggested runs when none is selected."""


@lru_cache(maxsize=2)
def suggestions(runs: tuple[RunSummary, ...]) -> dict[str, list[str]]:
    """Return suggested comparisons by title: the newest runs, and the best run of each method."""
    scored = [(run, under) for run in runs if (under := setting(run)) is not None]
    best: dict[tuple[str, ...], RunSummary] = {}
    usual = Counter(under for _, under in scored).most_common(1)
    for run in (run for run, under in scored if under == usual[0][0]):
        kinds = tuple(run.facets["method"])
        if kinds not in best or (run.final[1] or 0.0) > (best[kinds].final[1] or 0.0):
            best[kinds] = run
    found = {
        f"The {min(SUGGESTED, len(scored))} newest": [run.run_id for run, _ in scored[:SUGGESTED]],
        "The best of each method": [run.run_id for run in best.values()][:MOST],
    }
    return {title: ids for title, ids in found.items() if len(ids) > 1}


# ---- what a reader changes


class Change(BaseModel):
    """A page's request to change runs; untrusted."""

    action: Literal["amend", "tag", "delete", "restore"]
    runs: Annotated[list[RunId], Field(min_length=1, max_length=MOST)]
    name: Annotated[str, Field(max_length=200)] | None = None
    tags: Annotated[str, Field(max_length=500)] | None = None
    """Separated by commas."""
    notes: Annotated[str, Field(max_length=10_000)] | None = None
    pinned: bool | None = None


@answering(OUTDATED)
def change(store: Store, asked: Any) -> Answer:
    """Carry out a change, and answer with a problem or with nothing.

    Runs that were deleted long ago are erased when others are deleted.
    """
    try:
        request = Change.model_validate(asked)
    except ValidationError as error:
        return {"problem": _explained(error)}
    match request.action:
        case "delete":
            store.delete(request.runs)
            store.erase(deleted_before=time.time() - UNDO_S)
        case "restore":
            store.restore(request.runs)
        case "tag":
            more = tags_of(request.tags or "")
            for run_id in request.runs:
                store.update(run_id, tags=[*store.row(run_id).tags, *more])
        case "amend":
            tags = None if request.tags is None else tags_of(request.tags)
            notes = None if request.notes is None else request.notes.strip()
            name = None if request.name is None else request.name.strip()
            for run_id in request.runs:
                # The run's own title is no name.
                own = name and name == store.row(run_id).spec.title
                store.update(
                    run_id, name="" if own else name, tags=tags, notes=notes, pinned=request.pinned
                )
    return {}


def tags_of(text: str) -> tuple[str, ...]:
    """Read tags that are separated by commas or lines."""
    parts = (" ".join(part.split()) for part in re.split(r"[,\n]", text))
    return tuple(dict.fromkeys(part for part in parts if part))


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    limit = first.get("ctx", {}).get("max_length")
    if not limit:
        return OUTDATED
    if first["loc"] == ("runs",):
        return f"{len(first['input'])} runs at once: {limit} is the most"
    field = str(first["loc"][0]).capitalize()
    return f"{field}: {len(first['input'])} characters: {limit} is the most"
