"""A trace in words: its parts and rows, the noised tokens, and where most of an answer returns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearnlab.metrics.intervals import LEVEL
from unlearnlab.metrics.tracing import (
    SUBJECT,
    FactTrace,
    MapRow,
    Part,
    Row,
    Site,
    TraceAverage,
    map_rows,
    strongest,
    window,
)
from unlearnlab.runs.events import Traced
from unlearnlab.views.answers import hidden, mask

Result = FactTrace | TraceAverage

PART_TITLES: Mapping[Part, str] = {
    "residual": "Residual stream",
    "mlp": "MLP",
    "attention": "Attention",
}

ROW_NAMES: Mapping[Row, str] = {
    "before": "before subject",
    "first": "first subject",
    "middle": "middle subject",
    "last subject": "last subject",
    "after": "after subject",
    "last": "last token",
    "whole subject": "whole subject",
}
"""Names of the rows of a map, short enough for its edge."""


def row_label(found: Result, at: MapRow | Site, *, masked: bool) -> str:
    """Name a row of a map: the text of its token, or what stands for several tokens.

    Args:
        found: The trace.
        at: The row, or a site in it.
        masked: Whether personal data are hidden.
    """
    if at.token is None or isinstance(found, TraceAverage):
        return ROW_NAMES[at.row]
    shown = found.tokens[at.token].strip() or "␣"
    if not masked:
        return shown
    personal = at.row in SUBJECT or at.token >= len(found.tokens) - found.given
    return hidden(shown) if personal else mask(shown)


def noised(found: FactTrace, *, masked: bool) -> Sequence[str]:
    """List the tokens on which the noise fell."""
    said = [
        token.strip() or "␣"
        for token, role in zip(found.tokens, found.roles, strict=True)
        if role in SUBJECT
    ]
    return [hidden(token) for token in said] if masked else said


def strongest_sites(found: Result) -> Iterator[tuple[str, Site]]:
    """Yield the strongest site, and the strongest at the subject unless it is the same."""
    best, at_subject = strongest(found), strongest(found, SUBJECT)
    if best:
        yield "Strongest site", best
    if at_subject and at_subject != best:
        yield "Strongest at the subject", at_subject


def strongest_lines(traced: Traced, *, masked: bool = False) -> list[str]:
    """Say where one MLP or attention brings back most of the answer, a line for each site."""
    found, over = traced.found, "facts"
    if isinstance(found, FactTrace):
        over = "noised copies"
    return [
        f"{title}: {_place(traced, site, masked)}: {site.effect:z.2f}{_interval(site, over)}"
        for title, site in strongest_sites(found)
    ]


def _place(traced: Traced, site: Site, masked: bool) -> str:
    label = row_label(traced.found, site, masked=masked)
    where = label if site.token is None else f"{ROW_NAMES[site.row]} {label!r}"
    blocks = _window(traced, site)
    reach = f" (window {blocks[0]} to {blocks[-1]})" if len(blocks) > 1 else ""
    return f"{PART_TITLES[site.part]} at block {site.block}{reach}, {where}"


def _interval(site: Site, over: str) -> str:
    if site.interval is None:
        return ""
    low, high = site.interval.low, site.interval.high
    return f" ({LEVEL:.0%} interval {low:z.2f} to {high:z.2f}, over {over})"


def _window(traced: Traced, site: Site) -> range:
    depth = len(map_rows(traced.found, site.part)[0].effects)
    return window(site.block, traced.window, depth)


def strongest_records(traced: Traced) -> list[dict[str, Any]]:
    """Return the strongest sites as plain JSON values."""
    return [
        {
            "title": title,
            "part": site.part,
            "block": site.block,
            "window": [_window(traced, site)[0], _window(traced, site)[-1]],
            "row": site.row,
            "token": site.token,
            "effect": site.effect,
            "low": site.interval and site.interval.low,
            "high": site.interval and site.interval.high,
        }
        for title, site in strongest_sites(traced.found)
    ]
