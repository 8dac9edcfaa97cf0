"""Search, filters and sorting of the list on the tab Compare.

Sorting by a score sorts within each evaluation setup: scores of different models, data or protocols
are not comparable.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from unlearnlab.metrics.scores import ScoreKey, value_of
from unlearnlab.ui.compare.runs import FACETS, Facet, Listed
from unlearnlab.views.comparison import Setting

SIZE = 25
"""Runs per page of the list."""

MOST = 100
"""Most runs in a comparison: more are unreadable, and too long for a URL."""

DAY_S = 86400.0

Since = Literal["", "day", "week", "month"]

SINCE: Mapping[Since, tuple[str, float]] = {
    "": ("any time", float("inf")),
    "day": ("last 24 hours", DAY_S),
    "week": ("last 7 days", 7 * DAY_S),
    "month": ("last 30 days", 30 * DAY_S),
}
"""Time spans of the filter: display name and seconds."""

Sort = Literal["title", "created", "seconds"] | ScoreKey

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
    sort: Sort = "created"
    up: bool = False
    """Whether to sort in ascending order."""
    page: Annotated[int, Field(ge=0)] = 0
    word: Text = ""
    """Checksum of the content that the page already shows; it is not sent again."""


@lru_cache(maxsize=2)
def choices(runs: tuple[Listed, ...]) -> dict[Facet, list[tuple[str, str]]]:
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

    runs: Sequence[Listed]
    settings: Mapping[Setting | None, int]
    """Number of runs of each setup, in the order of the groups; the key None holds runs without
    the sorting score. Empty if no score sorts."""
    sorting: str | None = None
    """The sorting score, if any."""

    def group(self, of: Listed) -> Setting | None:
        """Return the setup under which a run is listed; none if it lacks the sorting score."""
        scored = self.sorting is not None and value_of(of.run.after, self.sorting) is not None
        return of.setting if scored else None


def found(runs: Iterable[Listed], query: Query, *, now: float) -> Found:
    """Return the runs that pass all filters, pinned first; grouped by setup if a score sorts."""
    passing = [run for run in runs if _passes(run, query, now)]
    key = _key(query.sort)
    known = [run for run in passing if key(run) is not None]
    rest = [run for run in passing if key(run) is None]
    known.sort(key=lambda run: key(run) or 0, reverse=not query.up)
    known = sorted(known, key=lambda run: not run.run.pinned)
    if query.sort in ("title", "created", "seconds"):
        return Found([*known, *sorted(rest, key=lambda run: not run.run.pinned)], {})
    groups = Counter(run.setting for run in known)
    order = {setting: place for place, (setting, _) in enumerate(groups.most_common())}
    known.sort(key=lambda run: order[run.setting])
    settings = {setting: groups[setting] for setting in order}
    return Found([*known, *rest], settings | ({None: len(rest)} if rest else {}), query.sort)


def _key(sort: Sort) -> Callable[[Listed], float | str | None]:
    match sort:
        case "title":
            return lambda of: of.run.title.lower()
        case "created":
            return lambda of: of.run.created
        case "seconds":
            return lambda of: of.run.seconds
        case _:
            return lambda of: value_of(of.run.after, sort)


def _passes(listed: Listed, query: Query, now: float) -> bool:
    wanted: dict[Facet, str] = {facet: getattr(query, facet) for facet in FACETS}
    return (
        listed.run.created >= now - SINCE[query.since][1]
        and all(not value or value in listed.facets[facet] for facet, value in wanted.items())
        and all(word in listed.said for word in query.text.lower().split())
    )


SUGGESTED = 5
"""Number of suggested runs when none is selected."""


@lru_cache(maxsize=2)
def suggestions(runs: tuple[Listed, ...]) -> dict[str, list[str]]:
    """Return suggested comparisons by title: the newest runs, and the best run of each method."""
    scored = [of for of in runs if of.setting is not None]
    best: dict[tuple[str, ...], Listed] = {}
    if scored:
        usual = Counter(of.setting for of in scored).most_common(1)[0][0]
        for of in (of for of in scored if of.setting == usual):
            kinds = tuple(of.facets["method"])
            if kinds not in best or _final(of) > _final(best[kinds]):
                best[kinds] = of
    found = {
        f"The {min(SUGGESTED, len(scored))} newest": [of.run.run_id for of in scored[:SUGGESTED]],
        "The best of each method": [of.run.run_id for of in best.values()][:MOST],
    }
    return {title: ids for title, ids in found.items() if len(ids) > 1}


def _final(of: Listed) -> float:
    return value_of(of.run.after, "final") or 0.0
