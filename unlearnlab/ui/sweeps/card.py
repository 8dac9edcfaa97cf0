"""The card of a sweep: how it stands, its chart, its runs, and what its buttons ask for."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.metrics.scores import ScoreKey, shown_scores
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import SweepRow
from unlearnlab.runs.sweeps import (
    PointState,
    PointStatus,
    Sweeping,
    SweepStatus,
    failure_of,
    sweep_status,
)
from unlearnlab.runs.worker import NotRunning
from unlearnlab.spec.axes import SeedAxis, WindowAxis
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.sweep import SweepSpec, expand_grid
from unlearnlab.ui.kit.charts import TAKE
from unlearnlab.ui.kit.html import clock, duration, escape, script
from unlearnlab.ui.kit.html import score as written
from unlearnlab.ui.kit.listeners import answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.sweeps.chart import mapped, score_at, sweep_figure

LISTED = 50
"""Sweeps that can be chosen, the latest ones."""

ROWS = 200
"""Runs that the card lists."""

FRESH_S = 5.0
"""How long the rows are good while nothing happened here: other programs share the store."""

Id = Annotated[str, Field(max_length=100)]


class SweepPoll(BaseModel):
    """What a page asks: untrusted."""

    sweep: Id = ""
    """Empty for the latest one."""
    score: ScoreKey = "task_aggregate"
    turn: Id = ""
    """What the page has drawn already."""


class SweepWish(BaseModel):
    """What a button asks: untrusted."""

    sweep: Id
    action: Literal["go_on", "retry", "cancel", "next", "drop", "add"]
    run: Id = ""
    axis: int | None = None
    """Number of the axis to add to; none draws more runs of a random sweep."""
    text: Annotated[str, Field(max_length=2000)] = ""


class Board:
    """The sweeps as pages show them. Shared by all pages."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.sweeping = Sweeping(program.store, program.worker)
        self._known: tuple[object, float, list[RunRecord]] = (None, 0.0, [])

    @answering("the page asked for something that is no sweep: reload it")
    def poll(self, asked: Any) -> dict[str, Any]:
        """Answer a page with a sweep's status, and with what has to be drawn anew."""
        request = SweepPoll.model_validate(asked)
        rows = self._program.store.sweeps.rows()
        if not rows:
            return {"sweeps": [], "sweep": "", "turn": ""}
        shown = next((row for row in rows if row.sweep_id == request.sweep), rows[0])
        return {"sweeps": _choices(rows)} | self._told(shown, request)

    @answering("the page asked for something that it cannot: reload it", SpecError, NotRunning)
    def press(self, asked: Any) -> dict[str, Any]:
        """Do what a button asks, and say what came of it."""
        return {"note": self._done(SweepWish.model_validate(asked))}

    def rows(self) -> list[RunRecord]:
        """Return all runs, as they were when something last happened.

        Raises:
            StoreError: The store cannot be read.
        """
        key = self._program.courses.run_counts(), self._program.worker.state()
        known, at, rows = self._known
        if known != key or time.monotonic() - at > FRESH_S:
            rows = self._program.store.runs()
            self._known = key, time.monotonic(), rows
        return rows

    def _told(self, row: SweepRow, request: SweepPoll) -> dict[str, Any]:
        head = {"sweep": row.sweep_id, "title": row.name}
        try:
            found = sweep_status(row.spec, row.sweep_id, self.rows())
        except SpecError as error:
            return {**head, "turn": "gone", "gone": str(error)}
        turn = _turn(row, found, request.score)
        told = {**head, "turn": turn, **_status(found, row.spec)}
        if turn != request.turn:
            figure = asdict(sweep_figure(row.name, row.spec, found, request.score))
            told |= {"figure": figure, "runs": runs_html(row.spec, found)}
        return told

    def _done(self, wish: SweepWish) -> str:
        match wish.action:
            case "go_on":
                return _queued(self.sweeping.go_on(wish.sweep))
            case "retry":
                return _queued(self.sweeping.go_on(wish.sweep, failed=True))
            case "add":
                return _queued(self.sweeping.add(wish.sweep, wish.axis, wish.text))
            case "cancel":
                count = self.sweeping.cancel(wish.sweep)
                return f"{_runs(count)} taken from the queue. What runs goes on to its end."
            case "next":
                self._program.worker.move(wish.run, 0)
                return "Moved: it is the next one."
            case "drop":
                self._program.worker.stop(wish.run)
                return "Taken out. “Go on” would bring it back."


def _choices(rows: Sequence[SweepRow]) -> list[dict[str, str]]:
    return [
        {"id": row.sweep_id, "title": f"{row.name}, {clock(row.created)}"} for row in rows[:LISTED]
    ]


def _turn(row: SweepRow, found: SweepStatus, score: ScoreKey) -> str:
    """Return a word that changes when the chart or the list of runs must be drawn anew."""
    seen = tuple((one.status, one.row.run_id if one.row else "") for one in found.points)
    return f"{row.sweep_id} {score} {hash((row.spec, seen))}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _queued(count: int) -> str:
    return f"{_runs(count)} queued." if count else "Nothing is left to do: all runs are there."


_WORDS: Mapping[PointState, str] = {
    "running": "running",
    "paused": "paused",
    "queued": "waiting",
    "failed": "failed",
    "stopped": "stopped",
    "interrupted": "interrupted",
}
"""Words for the states that the status line counts besides finished runs."""


def _status(found: SweepStatus, spec: SweepSpec) -> dict[str, Any]:
    counts, total = found.counts, len(found.points)
    live = next((one.row.run_id for one in found.of("running", "paused") if one.row), "")
    words = [f"{counts.get('finished', 0)} of {total} finished"]
    words += [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts.get(status)]
    if found.going and found.seconds_left:
        words.append(f"about {duration(found.seconds_left)} left")
    return {
        "status": " · ".join(words),
        "share": counts.get("finished", 0) / total,
        "pill": _pill(found),
        "going": found.going,
        "live": live,
        "open": len(found.open),
        "failed": counts.get("failed", 0),
        "waiting": counts.get("queued", 0),
        "axes": _addable(spec),
        "random": spec.pick == "random",
        "scores": [[of.key, of.title] for of in shown_scores()] if mapped(spec) else [],
    }


def _pill(found: SweepStatus) -> str:
    if found.going:
        return "running" if found.of("running", "paused") else "queued"
    if found.open:
        return "interrupted"
    return "failed" if found.of("failed") else "finished"


def _addable(spec: SweepSpec) -> list[dict[str, Any]]:
    """List the axes that take further values, and what to type."""
    if spec.pick == "random":
        return [{"axis": None, "name": "runs drawn at random", "hint": "how many more"}]
    return [
        {
            "axis": number,
            "name": "seeds" if isinstance(axis, SeedAxis) else axis.name,
            "hint": "how many more" if isinstance(axis, SeedAxis) else "0.1, 0.5",
        }
        for number, axis in enumerate(spec.axes)
        if not isinstance(axis, WindowAxis)
    ]


def runs_html(spec: SweepSpec, found: SweepStatus) -> str:
    """List the runs of a sweep. HTML."""
    lines = "".join(_line(spec, one) for one in found.points[:ROWS])
    more = len(found.points) - ROWS
    rest = f'<p class="none">and {more} more</p>' if more > 0 else ""
    heads = "".join(f'<th scope="col">{escape(of.title)}</th>' for of in shown_scores())
    return (
        '<div class="sweep-scroll"><table class="sweep-runs"><thead><tr><th scope="col">Run</th>'
        f'<th scope="col">Status</th>{heads}<td></td></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>{rest}"
    )


def _line(spec: SweepSpec, one: PointStatus) -> str:
    label = escape(expand_grid(spec).label(spec, one.point))
    run = escape(one.row.run_id) if one.row else ""
    name = (
        f'<button type="button" class="open" data-open="{run}">{label}</button>' if run else label
    )
    problem = failure_of(one)
    told = f"<small>{escape(problem)}</small>" if problem else ""
    cells = "".join(f"<td>{written(score_at(one, of.key))}</td>" for of in shown_scores())
    return (
        f'<tr><th scope="row">{name}{told}</th>'
        f'<td><span class="pill" data-status="{one.status}">{one.status}</span></td>'
        f"{cells}<td>{_tools(one, run)}</td></tr>"
    )


def _tools(one: PointStatus, run: str) -> str:
    if one.status != "queued":
        return ""
    return (
        f'<button type="button" class="quiet" data-act="next" data-run="{run}">next</button>'
        f'<button type="button" class="quiet" data-act="drop" data-run="{run}">cancel</button>'
    )


def sweep_card(board: Board) -> gr.HTML:
    """Draw the card.

    Its value is `{"sweep": id, "follow": ...}`; `open` fires with the `run` to show.
    """

    def poll_sweep(asked: Any) -> dict[str, Any]:
        return board.poll(asked)

    def press_sweep(asked: Any) -> dict[str, Any]:
        return board.press(asked)

    return gr.HTML(
        {"sweep": "", "follow": False},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "sweeps/card.js"),
        server_functions=[poll_sweep, press_sweep],
        elem_id="sweep",
        apply_default_css=False,
    )


_TEMPLATE = f"""
<section class="card sweep" data-part="card" aria-label="Sweep" hidden>
  <div class="run-head">
    <button type="button" class="sweep-fold" data-part="fold" aria-expanded="true"
      aria-controls="sweep-body"><h2 data-part="title"></h2></button>
    <select data-part="choose" aria-label="Sweep to show"></select>
    <span class="pill" data-part="pill"></span></div>
  <div class="status-line"><span data-part="status" role="status"></span>
    <div class="bars" role="progressbar" aria-label="Runs finished" aria-valuemin="0"
      aria-valuemax="100"><i><u></u></i></div></div>
  <p class="lost" data-part="lost" role="alert" hidden></p>
  <div id="sweep-body" data-part="body">
    <figure class="figure"><div class="sweep-tools">
      <button type="button" class="quiet" data-act="go_on" hidden></button>
      <button type="button" class="quiet" data-act="retry" hidden></button>
      <button type="button" class="quiet" data-act="cancel" hidden></button>
      <label data-part="following" hidden><input type="checkbox" data-part="follow">
        show each run as it begins</label>
      <div class="segments" role="group" aria-label="Score" data-part="scores" hidden></div>
      {TAKE}</div><div class="plot"></div></figure>
    <details class="sweep-list"><summary>Runs</summary><div data-part="runs"></div></details>
    <details class="sweep-add" data-part="add"><summary>Add values</summary>
      <form><select data-part="axis" aria-label="What to add to"></select>
        <input type="text" data-part="text" aria-label="Values to add" maxlength="2000">
        <button type="submit" class="quiet">Add to the sweep</button></form></details>
    <p class="sweep-said" data-part="said" role="status"></p>
  </div>
</section>
"""
