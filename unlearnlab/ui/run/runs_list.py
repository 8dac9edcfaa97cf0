"""The list of past runs as HTML; everything is escaped."""

from collections.abc import Collection, Sequence

from unlearnlab.ui.kit.html import ago, duration, escape, origin_tag, pager, score
from unlearnlab.views.runs import RunSummary

SIZE = 10
"""Runs on one page of the list."""


def runs_html(
    lines: Sequence[RunSummary],
    page: int,
    total: int,
    *,
    shown: str,
    replayed: Collection[str] = (),
    now: float,
) -> str:
    """Render one page of the list.

    Args:
        lines: The runs on this page, newest first.
        page: 0-based.
        total: Number of runs on all pages.
        shown: Id of the run on display.
        replayed: Ids of the runs with an active replay.
        now: Unix time.
    """
    if not lines:
        return '<p class="none">No run matches.</p>'
    last = (total - 1) // SIZE
    rows = "".join(_line(line, shown, line.run_id in replayed, now) for line in lines)
    pages = pager(page, last, page * SIZE, total, SIZE) if last else ""
    return f'<ul class="runs">{rows}</ul>{pages}'


def _line(line: RunSummary, shown: str, replayed: bool, now: float) -> str:
    run = escape(line.run_id)
    pill = f'<span class="pill" data-status="{line.status}">{line.status}</span>'
    if replayed:
        pill = '<span class="badge">Replay</span>'
    tools = "" if replayed else _replay(line, run)
    here = ' class="here" aria-current="true"' if line.run_id == shown else ""
    return (
        f'<li{here}><div class="run-row"><button type="button" class="open" data-open="{run}">'
        f"{escape(line.title)}</button>{origin_tag(line.origin)}{pill}</div>"
        f'<div class="run-row"><small>{escape(line.settings)}</small></div>'
        f'<div class="run-row"><small>{_outcome(line)} {_times(line, now)}</small>'
        f'<span class="run-tools"><button type="button" class="quiet" data-load="{run}" '
        f'title="Fill the form with the settings of this run">load settings</button>{tools}</span>'
        "</div></li>"
    )


def _replay(line: RunSummary, run: str) -> str:
    """Return a replay button for an ended run; pressing it reports a run without steps."""
    if line.seconds is None and line.status != "interrupted":
        return ""
    return (
        f'<button type="button" class="quiet" data-replay="{run}" '
        'title="Show this run again as it went, in one minute">replay</button>'
    )


def _outcome(line: RunSummary) -> str:
    if line.problem:
        return f"<span>{escape(line.problem)}</span> ·"
    before, after = line.aggregate
    if after is None:
        return ""
    if before is None:  # It only scored.
        return f"aggregate <b>{score(after)}</b> ·"
    return f"aggregate {score(before)} → <b>{score(after)}</b> · {escape(line.verdict_title)} ·"


def _times(line: RunSummary, now: float) -> str:
    took = f" · {duration(line.seconds)}" if line.seconds else ""
    return f"{ago(line.created, now)}{took}"
