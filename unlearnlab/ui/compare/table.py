"""The list of all runs on the tab Compare, as HTML. Everything is escaped."""

import json
import time
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from pydantic import ValidationError

from unlearnlab.metrics.scores import SCORES, Score, shown_scores, value_of
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.compare.listing import (
    MOST,
    SINCE,
    SIZE,
    Found,
    Query,
    Sort,
    choices,
    found,
    suggestions,
)
from unlearnlab.ui.compare.runs import Compared, Listed
from unlearnlab.ui.kit.html import clock, duration, escape, origin_tag, pager, score
from unlearnlab.ui.run.scoreboard import MOODS
from unlearnlab.views.compare.rankings import Setting
from unlearnlab.views.runs import RunSummary

UNSCORED = "No such score"


def listing(compared: Compared, asked: Any) -> dict[str, Any]:
    """Answer a page with the part of the list that it asks for.

    Returns:
        The list as HTML with the choices of its filters; only `same` if the page has it already;
        or a problem to tell.
    """
    try:
        query = Query.model_validate(asked)
        runs = compared.all()
    except ValidationError:
        return {"problem": "The page asked for a list that there is not: reload it."}
    except StoreError as error:
        return {"problem": str(error)}
    passing = found(runs, query, now=time.time())
    last = max(0, (len(passing.runs) - 1) // SIZE)
    page = min(query.page, last)
    answer = {
        "html": _table(passing, query, page, last) if runs else _NOTHING,
        "page": page,
        "found": len(passing.runs),
        "total": len(runs),
        "ids": [of.run.run_id for of in passing.runs] if len(passing.runs) <= MOST else [],
        "choices": choices(runs),
        "since": [(value, label) for value, (label, _) in SINCE.items()],
        "suggested": suggestions(runs),
        "most": MOST,
    }
    word = f"{crc32(json.dumps(answer).encode()):08x}"
    return {"same": True} if word == query.word else {**answer, "word": word}


_NOTHING = '<p class="none">No runs yet. Start one on the tab Unlearn.</p>'


def _table(passing: Found, query: Query, page: int, last: int) -> str:
    if not passing.runs:
        return '<p class="none">No run passes these filters.</p>'
    shown = passing.runs[page * SIZE : (page + 1) * SIZE]
    rows = "".join(_rows(shown, passing))
    pages = pager(page, last, page * SIZE, len(passing.runs), SIZE) if last else ""
    return (
        f'<table class="all-runs"><thead><tr>{_head(query)}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{pages}"
    )


def _head(query: Query) -> str:
    scores = "".join(
        _sorter(query, of.key, f"{escape(of.head)} {of.mark}") for of in shown_scores()
    )
    return (
        '<th class="pick"><input type="checkbox" data-all data-key="all" '
        'aria-label="Select all runs on this page"></th>'
        f"{_sorter(query, 'title', 'Run')}{scores}"
        f'<th scope="col">Verdict</th>{_sorter(query, "seconds", "Took")}'
        f'{_sorter(query, "created", "Started")}<th><span class="unseen">Actions</span></th>'
    )


def _sorter(query: Query, name: Sort, title: str) -> str:
    sorting = query.sort == name
    order = ("ascending" if query.up else "descending") if sorting else "none"
    mark = (" ▴" if query.up else " ▾") if sorting else ""
    kind = ' class="number"' if name in SCORES or name == "seconds" else ""
    return (
        f'<th scope="col"{kind} aria-sort="{order}"><button type="button" data-sort="{name}" '
        f'data-key="sort-{name}">{title}{mark}</button></th>'
    )


def _rows(shown: Sequence[Listed], passing: Found) -> list[str]:
    """Draw rows, each setting under a heading of its own if there are several."""
    drawn: list[str] = []
    last: Setting | str | None = ""
    for of in shown:
        setting = passing.group(of)
        if len(passing.settings) > 1 and setting != last:
            drawn.append(_heading(setting, passing.settings[setting]))
        last = setting
        drawn.append(_row(of))
    return drawn


def _heading(setting: Setting | None, count: int) -> str:
    title, width = setting.text if setting else UNSCORED, 5 + len(shown_scores())
    return (
        f'<tr class="group"><th colspan="{width}" scope="colgroup">{escape(title)} '
        f"<small>{count} runs, sorted by themselves</small></th></tr>"
    )


def _row(of: Listed) -> str:
    run = of.run
    run_id, title = escape(run.run_id), escape(run.title)
    scores = "".join(_score(run, of_score) for of_score in shown_scores())
    took = duration(run.seconds) if run.seconds else "–"
    return (
        f'<tr data-run="{run_id}" data-mark="{escape(json.dumps(_mark(of)))}">'
        f'<td class="pick"><input type="checkbox" data-pick="{run_id}" data-key="pick-{run_id}" '
        f'aria-label="Select {title}"></td>'
        f'<td class="what"><div>{_pinned(of)}<button type="button" class="open" '
        f'data-open="{run_id}" data-key="open-{run_id}" title="Show this run">{title}</button>'
        f"{origin_tag(run.origin)}{_tags(of)}</div>"
        f"<small>{escape(of.settings)}, seed {run.seed}</small>{_notes(of)}</td>"
        f'{scores}<td data-label="Verdict">{outcome_pill(of)}</td>'
        f'<td class="number" data-label="Took">{took}</td>'
        f'<td data-label="Started" class="when">{clock(run.created)}</td>'
        f'<td class="acts">{_acts(of)}</td></tr>'
    )


def _mark(of: Listed) -> dict[str, Any]:
    """Return what the reader may change."""
    run = of.run
    return {
        "title": run.title,
        "tags": ", ".join(run.tags),
        "notes": run.notes,
        "pinned": run.pinned,
    }


def _pinned(of: Listed) -> str:
    return '<span class="pinned" title="pinned">★<span class="unseen">pinned</span></span>' * (
        of.run.pinned
    )


def _tags(of: Listed) -> str:
    return "".join(f'<span class="tag">{escape(tag)}</span>' for tag in of.run.tags)


def _notes(of: Listed) -> str:
    return f'<p class="notes">{escape(of.run.notes)}</p>' if of.run.notes else ""


def _score(run: RunSummary, of: Score) -> str:
    before, after = value_of(run.before, of.key), value_of(run.after, of.key)
    was = f' title="{score(before)} before"' if before is not None and after is not None else ""
    return f'<td class="number" data-label="{escape(of.head)}"{was}>{score(after)}</td>'


def outcome_pill(of: Listed) -> str:
    """Draw the verdict, or how far the run came."""
    run = of.run
    if run.status == "finished":
        mood = MOODS[run.verdict.kind] if run.verdict else "plain"
        return f'<span class="tag {mood}">{escape(of.outcome)}</span>'
    why = f' title="{escape(run.problem)}"' if run.problem else ""
    return f'<span class="pill" data-status="{run.status}"{why}>{run.status}</span>'


def _acts(of: Listed) -> str:
    run_id, title = escape(of.run.run_id), escape(of.run.title)
    pin, star = ("Unpin", "★") if of.run.pinned else ("Pin", "☆")
    return (
        f'<button type="button" class="icon" data-pin="{run_id}" data-key="pin-{run_id}" '
        f'aria-label="{pin} {title}" title="{pin}">{star}</button>'
        f'<button type="button" class="icon" data-edit="{run_id}" data-key="edit-{run_id}" '
        f'aria-label="Edit name, tags and notes of {title}" title="Edit name, tags, notes">'
        "✎</button>"
    )
