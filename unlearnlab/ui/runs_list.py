"""The list of past runs, as HTML. Everything is escaped."""

from collections.abc import Sequence

from unlearnlab.results import RunLine
from unlearnlab.ui.answers import pager
from unlearnlab.ui.text import ago, duration, escape, score

SIZE = 10
"""Runs on one page of the list."""


def runs_html(lines: Sequence[RunLine], page: int, total: int, *, shown: str, now: float) -> str:
    """Draw one page of the list.

    Args:
        lines: The runs on this page, newest first.
        page: 0-based.
        total: Number of runs on all pages.
        shown: The run that the page shows.
        now: Unix seconds.
    """
    if not lines:
        return '<p class="none">No run matches.</p>'
    last = (total - 1) // SIZE
    rows = "".join(_line(line, shown, now) for line in lines)
    pages = pager(page, last, page * SIZE, total, SIZE) if last else ""
    return f'<ul class="runs">{rows}</ul>{pages}'


def _line(line: RunLine, shown: str, now: float) -> str:
    run = escape(line.run_id)
    here = ' class="here" aria-current="true"' if line.run_id == shown else ""
    return (
        f'<li{here}><div class="run-row"><button type="button" class="open" data-open="{run}">'
        f"{escape(line.title)}</button>"
        f'<span class="pill" data-status="{line.status}">{line.status}</span></div>'
        f'<div class="run-row"><small>{escape(line.settings)}</small></div>'
        f'<div class="run-row"><small>{_outcome(line)} {_times(line, now)}</small>'
        f'<button type="button" class="quiet" data-load="{run}" '
        f'title="Fill the form with the settings of this run">load settings</button></div></li>'
    )


def _outcome(line: RunLine) -> str:
    if line.problem:
        return f"<span>{escape(line.problem)}</span> ·"
    before, after = line.aggregate
    if after is None:
        return ""
    if before is None:  # It only scored.
        return f"aggregate <b>{score(after)}</b> ·"
    return f"aggregate {score(before)} → <b>{score(after)}</b> · {escape(line.verdict)} ·"


def _times(line: RunLine, now: float) -> str:
    took = f" · {duration(line.seconds)}" if line.seconds else ""
    return f"{ago(line.created, now)}{took}"
