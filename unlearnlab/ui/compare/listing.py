"""The list of all runs: its query, filters and sorting, its HTML, and what a reader changes in it.

Sorting by a score sorts within each evaluation setup: scores of different models, data or protocols
are not comparable.
"""

import base64
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from unlearnlab.exports.tables import table_csv, table_latex
from unlearnlab.runs.store import Store
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.charts import run_colour
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.listeners import Answer, answering, unless_same
from unlearnlab.views.comparison import UNRANKED, setting
from unlearnlab.views.run_table import (
    DAY_S,
    NOTHING,
    Fold,
    Known,
    QueryError,
    RunTable,
    change_text,
    columns,
    differing,
    inside,
    needs_measures,
    parse_query,
    passing,
    run_table,
    size_text,
    unmeasured,
)
from unlearnlab.views.runs import Facet, RunSummary
from unlearnlab.views.scoreboard import MOODS

SIZE = 25
"""Runs per page of the list."""

MOST = 250
"""Most runs in a comparison: a sweep of 200 fits, and so does its link."""

UNDO_S = 900.0
"""How long a deleted run can be restored, in seconds. The page offers it for a shorter time."""

OUTDATED = "The page sent an unknown request: reload it."

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


def _column(key: str) -> str:
    if key not in columns():
        raise ValueError(f"{key!r} is no column")
    return key


ColumnKey = Annotated[str, AfterValidator(_column)]

SORT = "created"
"""The column that sorts unless another is chosen."""


def _known_columns(keys: list[str]) -> list[str]:
    return [key for key in keys if key in columns()]


def _known_sort(key: str) -> str:
    return key if key in columns() else SORT


class Query(BaseModel):
    """A page's request for a part of the list; untrusted."""

    text: Annotated[str, Field(max_length=500)] = ""
    """A query as `parse_query` reads it."""
    model: Text = ""
    method: Text = ""
    data: Text = ""
    outcome: Text = ""
    tag: Text = ""
    since: Since = ""
    sort: Annotated[Text, AfterValidator(_known_sort)] = SORT
    """A column; a link or saved view of another version may name one that is not known here."""
    up: bool = False
    """Whether to sort in ascending order."""
    columns: Annotated[list[Text], Field(max_length=60), AfterValidator(_known_columns)] = []
    """Chosen columns, without those that are not known here; the usual ones if empty."""
    fold: Fold = ""
    baseline: Annotated[str, Field(max_length=100)] = ""
    """Id of the run that cells are held against; empty for none."""
    open: Annotated[list[Text], Field(max_length=50)] = []
    """Folded rows whose runs are shown."""
    page: Annotated[int, Field(ge=0)] = 0
    word: Text = ""
    """Checksum of the content that the page already shows; it is not sent again."""


@answering(OUTDATED)
def listing(cached: CachedRuns, asked: Any) -> Answer:
    """Answer a page with the part of the list that it asks for, and the choices of its filters.

    A query that cannot be read is answered with what is `wrong` with it.
    """
    query, runs = Query.model_validate(asked), cached.all()
    try:
        table, pending = _measured(cached, runs, query)
    except QueryError as error:
        return {"wrong": str(error)}
    last = max(0, (len(table.rows) - 1) // SIZE)
    page = min(query.page, last)
    shown = table.rows[page * SIZE : (page + 1) * SIZE]
    html = render(
        "compare/listing_table.html",
        query=query,
        table=table,
        title=columns()["title"],
        groups=[(under, list(group)) for under, group in groupby(shown, key=table.group)],
        inside=inside,
        change_text=change_text,
        size_text=size_text,
        run_colour=run_colour,
        moods=MOODS,
        page=page,
        last=last,
        size=SIZE,
        total=len(runs),
    )
    found = table.runs
    answer = {
        "html": html,
        "page": page,
        "found": len(found),
        "total": len(runs),
        "ids": [run.run_id for run in found] if len(found) <= MOST else [],
        "choices": choices(runs),
        "since": [(value, label) for value, (label, _) in SINCE.items()],
        "suggested": suggestions(runs),
        "columns": [column.key for column in table.columns],
        "differ": _differing(runs),
        "most": MOST,
        "pending": pending,
    }
    return unless_same(answer, query.word)


def _measured(cached: CachedRuns, runs: Sequence[RunSummary], query: Query) -> tuple[RunTable, int]:
    """Lay out the table of a query; count the runs whose measures it lacks until it is asked again.

    Raises:
        QueryError: The query cannot be read.
    """
    known, pending, now = Known({}, cached.sweeps()), 0, time.time()
    wanted = parse_query(query.text)
    if needs_measures(wanted, (*query.columns, query.sort)):
        there = passing(_filtered(runs, query, now), unmeasured(wanted), known)
        base = [run for run in runs if run.run_id == query.baseline]
        measures, pending = cached.measures(list(dict.fromkeys((*base, *there))))
        known = Known(measures, known.sweeps)
    return find(runs, query, now=now, known=known), pending


@lru_cache(maxsize=2)
def _differing(runs: tuple[RunSummary, ...]) -> list[str]:
    return differing(runs)


class TableFile(Query):
    """A page's request for its table as a file; untrusted."""

    kind: Literal["csv", "latex"]


@answering(OUTDATED, QueryError)
def table_file(cached: CachedRuns, asked: Any) -> Answer:
    """Answer with the table as it is shown, but for pages, as a file of CSV or LaTeX."""
    request, runs = TableFile.model_validate(asked), cached.all()
    table, pending = _measured(cached, runs, request)
    if pending:
        some = "1 run" if pending == 1 else f"{pending} runs"
        return {"problem": f"The measures of {some} are being computed: try again soon."}
    data = table_csv(table) if request.kind == "csv" else table_latex(table).encode()
    name = {"csv": "runs.csv", "latex": "runs.tex"}[request.kind]
    return {"name": name, "data": base64.b64encode(data).decode()}


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


def find(
    runs: Iterable[RunSummary], query: Query, *, now: float, known: Known = NOTHING
) -> RunTable:
    """Lay out the runs that pass query and filters, pinned first; by setup if a score sorts.

    Raises:
        QueryError: The query cannot be read.
    """
    runs = list(runs)
    return run_table(
        passing(_filtered(runs, query, now), parse_query(query.text), known),
        query.columns,
        known=known,
        fold=query.fold,
        sort=query.sort,
        up=query.up,
        baseline=next((run for run in runs if run.run_id == query.baseline), None),
    )


def _filtered(runs: Iterable[RunSummary], query: Query, now: float) -> list[RunSummary]:
    """Return the runs that pass the filters beside the query."""
    facets: dict[Facet, str] = {
        facet: value for facet in FACETS if (value := getattr(query, facet))
    }
    return [
        run
        for run in runs
        if run.created >= now - SINCE[query.since][1]
        and (not facets or all(value in run.facets[facet] for facet, value in facets.items()))
    ]


SUGGESTED = 5
"""Number of suggested runs when none is selected."""


@lru_cache(maxsize=2)
def suggestions(runs: tuple[RunSummary, ...]) -> dict[str, list[str]]:
    """Return suggested comparisons by title: the newest runs, and the best run of each method."""
    scored = [(run, under) for run in runs if (under := setting(run)) is not None]
    best: dict[tuple[str, ...], RunSummary] = {}
    usual = Counter(under for _, under in scored).most_common(1)
    for run, under in scored:
        if under != usual[0][0] or (run.verdict and run.verdict.kind in UNRANKED):
            continue
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
