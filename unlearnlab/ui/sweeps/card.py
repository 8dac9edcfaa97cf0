"""The card of a sweep: its status, the chart that fills in as its runs end, its runs and buttons.

One axis of numbers is a line, one of words or of seeds a box each, two and more are heat maps of
one score. Seeds are averaged: lines and cells are means, dots the runs themselves. The axes hold
all values from the start, so that nothing moves when a run ends.
"""

import itertools
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.metrics.scores import SCORES, ScoreKey, shown_scores, value_of, weighted_scores
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
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.sweep import SeedAxis, SweepSpec, WindowAxis, expand_grid, shown_axes
from unlearnlab.ui.kit.charts import TAKE, Cell, Figure, Trace, plain
from unlearnlab.ui.kit.html import clock, render, script
from unlearnlab.ui.kit.html import score as written
from unlearnlab.ui.kit.listeners import Answer, answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.scoreboard import at_ends
from unlearnlab.views.words import duration

LISTED = 50
"""Most sweeps that can be chosen, the latest ones."""

ROWS = 200
"""Most runs that the card lists."""

FRESH_S = 5.0
"""Maximum age of the rows while nothing happened here, in seconds: programs may share a store."""

Id = Annotated[str, Field(max_length=100)]


class SweepPoll(BaseModel):
    """What a page asks for; untrusted."""

    sweep: Id = ""
    """Empty for the latest one."""
    score: ScoreKey = "task_aggregate"
    turn: Id = ""
    """Change token of the chart and the runs that the page already shows."""


class SweepPress(BaseModel):
    """What a button asks for; untrusted."""

    sweep: Id
    action: Literal["go_on", "retry", "cancel", "next", "drop", "add"]
    run: Id = ""
    axis: int | None = None
    """Number of the axis to extend; none draws more runs of a random sweep."""
    text: Annotated[str, Field(max_length=2000)] = ""


class SweepBoard:
    """The sweeps as pages show them. Shared by all pages."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.sweeping = Sweeping(program.store, program.worker)
        self._known: tuple[object, float, list[RunRecord]] = (None, 0.0, [])

    @answering("The page sent an unknown request: reload it.")
    def poll(self, asked: Any) -> Answer:
        """Answer a page with a sweep's status, and with what has to be drawn anew."""
        request = SweepPoll.model_validate(asked)
        sweeps = self._program.store.sweeps.rows()
        if not sweeps:
            return {"sweeps": [], "sweep": "", "turn": ""}
        row = next((row for row in sweeps if row.sweep_id == request.sweep), sweeps[0])
        answer: Answer = {
            "sweeps": [
                {"id": one.sweep_id, "title": f"{one.name}, {clock(one.created)}"}
                for one in sweeps[:LISTED]
            ],
            "sweep": row.sweep_id,
            "title": row.name,
        }
        try:
            found = sweep_status(row.spec, row.sweep_id, self.rows())
        except SpecError as error:
            return {**answer, "turn": "gone", "gone": str(error)}
        turn = _change_token(row, found, request.score)
        answer |= {"turn": turn, **_status(found, row.spec)}
        if turn != request.turn:
            figure = asdict(sweep_figure(row.name, row.spec, found, request.score))
            answer |= {"figure": figure, "runs": runs_html(row.spec, found)}
        return answer

    @answering("The page sent an unknown request: reload it.", SpecError, NotRunning)
    def press(self, asked: Any) -> Answer:
        """Do what a button asks for, and answer with a note."""
        request = SweepPress.model_validate(asked)
        sweeping, worker = self.sweeping, self._program.worker
        match request.action:
            case "cancel":
                count = sweeping.cancel(request.sweep)
                return {"note": f"{_runs(count)} taken from the queue. Active runs go on."}
            case "next":
                worker.move(request.run, 0)
                return {"note": "Moved: it is the next one."}
            case "drop":
                worker.stop(request.run)
                return {"note": "Taken out of the queue. “Go on” queues it again."}
            case "add":
                count = sweeping.add(request.sweep, request.axis, request.text)
            case "go_on" | "retry":
                count = sweeping.go_on(request.sweep, failed=request.action == "retry")
        none = "Nothing is left to do: all runs are there."
        return {"note": f"{_runs(count)} queued." if count else none}

    def rows(self) -> list[RunRecord]:
        """Return all runs, as they were when something last happened.

        Raises:
            StoreError: The store cannot be read.
        """
        key = self._program.runs.stored_counts(), self._program.worker.state()
        known, at, rows = self._known
        if known != key or time.monotonic() - at > FRESH_S:
            rows = self._program.store.runs()
            self._known = key, time.monotonic(), rows
        return rows


def _change_token(row: SweepRow, found: SweepStatus, key: ScoreKey) -> str:
    """Return a word that changes when the chart or the list of runs must be drawn anew."""
    seen = tuple((one.status, one.row.run_id if one.row else "") for one in found.points)
    return f"{row.sweep_id} {key} {hash((row.spec, seen))}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


_WORDS: Mapping[PointState, str] = {
    "running": "running",
    "paused": "paused",
    "queued": "waiting",
    "failed": "failed",
    "stopped": "stopped",
    "interrupted": "interrupted",
}
"""Words for the states that the status line counts besides finished runs."""


def _status(found: SweepStatus, spec: SweepSpec) -> Answer:
    counts, total, left = found.counts, len(found.points), len(found.open)
    live = next((one.row.run_id for one in found.of("running", "paused") if one.row), "")
    words = [f"{counts.get('finished', 0)} of {total} finished"]
    words += [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts.get(status)]
    if found.going and found.seconds_left:
        words.append(f"about {duration(found.seconds_left)} left")
    if found.going:
        pill = "running" if found.of("running", "paused") else "queued"
    else:
        pill = "interrupted" if left else "failed" if counts.get("failed") else "finished"
    failed, waiting = counts.get("failed", 0), counts.get("queued", 0)
    tools = {
        "go_on": f"Go on with {_runs(left)}" if left else "",
        "retry": f"Run {failed} failed again" if failed else "",
        "cancel": f"Cancel {_runs(waiting)} that wait" if waiting else "",
    }
    return {
        "status": " · ".join(words),
        "share": counts.get("finished", 0) / total,
        "pill": pill,
        "going": found.going,
        "live": live,
        "open": left,
        "tools": tools,
        "axes": _addable(spec),
        "scores": [[of.key, of.title] for of in shown_scores()] if mapped(spec) else [],
    }


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
    grid, scores = expand_grid(spec), shown_scores()
    lines = [
        (grid.label(spec, one.point), one, [score_at(one, score.key) for score in scores])
        for one in found.points[:ROWS]
    ]
    more = len(found.points) - ROWS
    return render("sweeps/runs.html", lines=lines, scores=scores, failure_of=failure_of, more=more)


def sweep_card(board: SweepBoard) -> gr.HTML:
    """Lay the card out.

    Its value is `{"sweep": id, "follow": ...}`; `open` fires with the `run` to show.
    """

    def poll_sweep(asked: Any) -> Answer:
        return board.poll(asked)

    def press_sweep(asked: Any) -> Answer:
        return board.press(asked)

    return gr.HTML(
        {"sweep": "", "follow": False},
        html_template=render("sweeps/card.html", take=TAKE),
        js_on_load=script("kit/poll.js", "sweeps/card.js"),
        server_functions=[poll_sweep, press_sweep],
        elem_id="sweep",
        apply_default_css=False,
    )


# ---- the chart

Place = tuple[int, ...]

Found = Mapping[Place, Sequence[float]]
"""Scores of runs by their place on the axes that are shown."""

Drawn = tuple[list[Trace], dict[str, Any]]
"""Traces and layout."""

OFFSETS = (0.0, -0.05, 0.05)
"""Offset of the dots of the first, second and third score from the line's points, as shares of the
distance between values: so that they do not cover each other."""

SPANS = 50
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""

CELL_PX, TITLE_PX, FOOT_PX = 34, 30, 54
"""Heights of a heat map's cell, its title, and the labels under it."""


def mapped(spec: SweepSpec) -> bool:
    """Tell whether a sweep is drawn as heat maps, which show one score at a time."""
    return len(shown_axes(spec)) > 1


def sweep_figure(title: str, spec: SweepSpec, found: SweepStatus, key: str) -> Figure:
    """Draw what is known of a sweep by now.

    Args:
        title: Name of the sweep.
        spec: The sweep.
        found: Its status.
        key: The score that heat maps show.

    Raises:
        SpecError: The sweep cannot be expanded any more.
    """
    narrow: dict[str, Any] = {}
    axis = shown_axes(spec)[0]
    if mapped(spec):
        data, layout, narrow = _maps(spec, found, key)
        title = f"{title}: {SCORES[key].words}"
    elif isinstance(spec.axes[axis], SeedAxis) or any(
        value.number is None for value in expand_grid(spec).values[axis]
    ):
        data, layout = _boxes(spec, found, axis)
    else:
        data, layout = _lines(spec, found, axis)
    return Figure(
        name="sweep",
        title=title,
        summary=summary(title, spec, found, key),
        data=data,
        layout=layout,
        narrow=narrow,
        table=table(spec, found),
    )


def summary(title: str, spec: SweepSpec, found: SweepStatus, key: str) -> str:
    """Say how far a sweep is, and where a score is highest in the mean over seeds."""
    told = f"{title}: {len(found.of('finished'))} of {len(found.points)} runs finished."
    means = {place: statistics.fmean(of) for place, of in _grouped(spec, found, key).items()}
    if not means:
        return told
    place = max(means, key=lambda one: means[one])
    values = expand_grid(spec).values
    at = ", ".join(
        f"{spec.axes[axis].name} {values[axis][n].text}"
        for axis, n in zip(shown_axes(spec), place, strict=True)
    )
    return f"{told} Highest {SCORES[key].words} {written(means[place])} at {at}."


def table(spec: SweepSpec, found: SweepStatus) -> list[list[Cell]]:
    """Lay the runs out as rows of a table, heads first."""
    scores, values = shown_scores(), expand_grid(spec).values
    head: list[Cell] = [axis.name for axis in spec.axes]
    rows: list[list[Cell]] = [[*head, "status", *(score.key for score in scores)]]
    for one in found.points:
        texts = [of[at].text for of, at in zip(values, one.point.place, strict=True)]
        rows.append([*texts, one.status, *(score_at(one, score.key) for score in scores)])
    return rows


def score_at(one: PointStatus, key: str) -> float | None:
    """Return a score of a point's run; none before it has finished."""
    if one.row is None or one.status != "finished":
        return None
    return value_of(at_ends(one.row.spec, one.row.before, one.row.after, None)[1], key)


def _grouped(spec: SweepSpec, found: SweepStatus, key: str) -> Found:
    """Gather a score by the place on the axes that are shown: seeds fall together."""
    axes, groups = shown_axes(spec), defaultdict[Place, list[float]](list)
    for one in found.points:
        value = score_at(one, key)
        if value is not None:
            groups[tuple(one.point.place[axis] for axis in axes)].append(value)
    return groups


def _layout(x: Mapping[str, Any], *, legend: bool = True) -> dict[str, Any]:
    return {
        "height": 330,
        "margin": {"l": 50, "r": 14, "t": 40 if legend else 14, "b": 52},
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 13, "color": "--ink"},
        },
        "xaxis": {**x, "showgrid": False},
        "yaxis": {
            "range": [-0.03, 1.04],
            "title": "score, up is good",
            "tickformat": ".1f",
            "dtick": 0.2,
        },
    }


def _lines(spec: SweepSpec, found: SweepStatus, axis: int) -> Drawn:
    """Draw the means of each score as a line, with a dot for each run where there are several."""
    values = expand_grid(spec).values[axis]
    numbers = [value.number or 0.0 for value in values]
    log = min(numbers) > 0 and max(numbers) / min(numbers) >= SPANS
    scaled = sorted({math.log(number) if log else number for number in numbers})
    gap = min((b - a for a, b in itertools.pairwise(scaled)), default=1.0)
    traces: list[Trace] = []
    # The parts of the final score, which is their mean.
    for score, offset in zip(weighted_scores(), itertools.cycle(OFFSETS), strict=False):
        groups = _grouped(spec, found, score.key)
        known = sorted(
            (number, groups[at,]) for at, number in enumerate(numbers) if (at,) in groups
        )
        means: Trace = {
            "type": "scatter",
            "x": [number for number, _ in known],
            "y": [statistics.fmean(of) for _, of in known],
            "name": score.title,
            "mode": "lines+markers",
            "line": {"color": f"--{score.role}", "width": 2.5},
            "marker": {"size": 7},
            "customdata": [
                f" ({written(min(of))} to {written(max(of))}, {len(of)} seeds)"
                if len(of) > 1
                else ""
                for _, of in known
            ],
            "hovertemplate": "%{y:.2f}%{customdata}",
        }
        traces.append(means)
        if not any(len(of) > 1 for _, of in known):
            continue
        shift = offset * gap
        dots: Trace = {
            "type": "scatter",
            "x": [
                number * math.exp(shift) if log else number + shift
                for number, of in known
                for _ in of
            ],
            "y": [value for _, of in known for value in of],
            "name": f"{score.title}, runs",
            "showlegend": False,
            "mode": "markers",
            "marker": {"color": f"--{score.role}", "size": 6, "symbol": "circle-open"},
            "hoverinfo": "skip",
        }
        traces.append(dots)
    first, last = min(numbers), max(numbers)
    margin = 0.08 * (last - first) or 0.5
    x = {
        "title": spec.axes[axis].name,
        "tickvals": numbers,
        "ticktext": [plain(value.text) for value in values],
        "type": "log" if log else "linear",
        "range": [math.log10(first) - 0.15, math.log10(last) + 0.15]
        if log
        else [first - margin, last + margin],
    }
    return traces, _layout(x)


def _categories(texts: Sequence[str], title: str) -> dict[str, Any]:
    return {
        "title": title,
        "type": "category",
        "categoryorder": "array",
        "categoryarray": texts,
        "range": [-0.5, len(texts) - 0.5],
    }


def _boxes(spec: SweepSpec, found: SweepStatus, axis: int) -> Drawn:
    """Draw a box for each score: beside each other over each value, or one over all seeds."""
    seeds = isinstance(spec.axes[axis], SeedAxis)
    words = [plain(value.text) for value in expand_grid(spec).values[axis]]
    traces: list[Trace] = []
    for score in weighted_scores():
        groups = sorted(_grouped(spec, found, score.key).items())
        dots = [(words[at], value) for (at,), of in groups for value in of]
        box: Trace = {
            "type": "box",
            "x": [score.title if seeds else word for word, _ in dots],
            "y": [value for _, value in dots],
            "name": score.title,
            "boxpoints": "all",
            "jitter": 0.4,
            "pointpos": 0,
            "line": {"color": f"--{score.role}", "width": 1.5},
            "fillcolor": f"--{score.role}/0.12",
            "marker": {"color": f"--{score.role}", "size": 6},
            "text": [f"seed {word}" if seeds else "" for word, _ in dots],
            "hovertemplate": "%{y:.2f} %{text}",
        }
        traces.append(box)
    texts = [score.title for score in weighted_scores()] if seeds else words
    x = _categories(texts, f"{len(words)} seeds" if seeds else spec.axes[axis].name)
    boxmode = "overlay" if seeds else "group"
    return traces, {**_layout(x, legend=not seeds), "boxmode": boxmode}


def _maps(
    spec: SweepSpec, found: SweepStatus, key: str
) -> tuple[list[Trace], dict[str, Any], dict[str, Any]]:
    """Draw means over seeds: a heat map of two axes for each combination of the others' values.

    Returns:
        Traces, layout, and the layout on a phone, where the maps stand below each other.
    """
    shown, grid, role = shown_axes(spec), expand_grid(spec).values, SCORES[key].role
    # The longest axis has most room across, the next one down.
    *others, down, across = sorted(shown, key=lambda axis: len(grid[axis]))
    others.sort()
    order = [shown.index(axis) for axis in (*others, down, across)]
    groups = {
        tuple(place[at] for at in order): of for place, of in _grouped(spec, found, key).items()
    }
    columns, rows = ([plain(value.text) for value in grid[axis]] for axis in (across, down))
    places = list(itertools.product(*(range(len(grid[axis])) for axis in others)))
    titles = [
        ", ".join(
            f"{spec.axes[axis].name} {plain(grid[axis][at].text)}"
            for axis, at in zip(others, place, strict=True)
        )
        for place in places
    ]
    suffixes = ["", *(str(number + 1) for number in range(1, len(places)))]
    traces: list[Trace] = []
    for place, title, suffix in zip(places, titles, suffixes, strict=True):
        cells = [
            [groups.get((*place, row, column), ()) for column in range(len(columns))]
            for row in range(len(rows))
        ]
        heat: Trace = {
            "type": "heatmap",
            "x": columns,
            "y": rows,
            "z": [[statistics.fmean(of) if of else None for of in row] for row in cells],
            "text": [[f"{statistics.fmean(of):.2f}" if of else "" for of in row] for row in cells],
            "texttemplate": "%{text}",
            "customdata": [[len(of) for of in row] for row in cells],
            "hovertemplate": "%{z:.3f}, %{customdata} runs<extra></extra>",
            "name": title,
            "zmin": 0,
            "zmax": 1,
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "colorscale": [[0, f"--{role}/0.06"], [1, f"--{role}"]],
            "xaxis": f"x{suffix}",
            "yaxis": f"y{suffix}",
        }
        traces.append(heat)
    each, maps = TITLE_PX + CELL_PX * len(rows) + FOOT_PX, len(places)

    def layout(stacked: bool) -> dict[str, Any]:
        height, beside = each * (maps if stacked else 1), 1 if stacked else maps
        made: dict[str, Any] = {
            "height": height,
            "margin": {"l": 62, "r": 10, "t": 0, "b": 0},
            "annotations": [],
        }
        for number, (title, suffix) in enumerate(zip(titles, suffixes, strict=True)):
            left = 0.0 if stacked else number / maps
            right = left + 1 / beside - (0.04 if beside > 1 else 0)
            top = 1 - ((number if stacked else 0) * each + TITLE_PX) / height
            bottom = max(0.0, top - CELL_PX * len(rows) / height)
            first = stacked or number == 0
            bare = {"showgrid": False, "ticks": ""}
            made[f"xaxis{suffix}"] = {
                **_categories(columns, spec.axes[across].name),
                **bare,
                "domain": [left, right],
                "anchor": f"y{suffix}",
            }
            made[f"yaxis{suffix}"] = {
                **_categories(rows, spec.axes[down].name if first else ""),
                **bare,
                "domain": [bottom, top],
                "anchor": f"x{suffix}",
                "showticklabels": first,
            }
            caption = {
                "text": title,
                "x": left,
                "y": top,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 13, "color": "--ink"},
            }
            made["annotations"] += [caption] if title else []
        return made

    return traces, layout(stacked=False), layout(stacked=True)
