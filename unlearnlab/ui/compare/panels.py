"""The panels of the tab Compare: each sets the selected runs side by side in its own way."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from unlearnlab.metrics.labels import mood, title
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import Evidence, ScoreKey
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.compare.charts import heat_map, overlay, parallel, plane
from unlearnlab.ui.compare.listing import MOST, OUTDATED, RunId, Text
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.charts import figure_html, run_colour
from unlearnlab.ui.kit.html import render, span
from unlearnlab.ui.kit.listeners import Answer, answering, unless_same
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import press_ask
from unlearnlab.views.answers import Speaker, choices, example, heard, mask, tally
from unlearnlab.views.charts import BY, By, curve, offered, track
from unlearnlab.views.comparison import measure_table, subtask_titles
from unlearnlab.views.runs import RunSummary, differences, held_against, labels
from unlearnlab.views.scoreboard import KINDS

Panel = Literal["charts", "settings", "measures", "differences", "answers", "ask"]

PANELS: Mapping[Panel, str] = {
    "charts": "Charts",
    "settings": "Settings and scores",
    "measures": "Further measures",
    "differences": "What differs",
    "answers": "Answers",
    "ask": "Ask",
}
"""Titles of the panels."""

SMOOTHING = 0.9
"""Weight of the earlier points in a smoothed curve."""

SPEAKERS = 12
"""Most runs whose answers stand side by side: more would not be read."""

ASKED = 4
"""Most runs that one free prompt goes to."""


class ExampleRequest(BaseModel):
    """Which example a page asks to see; untrusted."""

    split: Literal["", "forget", "retain"] = "forget"
    task: Text = ""
    kind: Text = ""
    text: Text = ""
    at: Annotated[int, Field(ge=0)] = 0
    """Its place among the examples that pass, 0-based."""
    masked: bool | None = None
    """Whether personal data are masked; if None, only where the data of a run are personal."""


class Waiting(BaseModel):
    """A prompt that a run was asked."""

    run: RunId
    ask: RunId
    prompt: Annotated[str, Field(max_length=8000)]


class PanelRequest(BaseModel):
    """Which panel a page asks for, and how; untrusted."""

    panel: Panel
    runs: Annotated[list[RunId], Field(max_length=MOST)]
    series: Text = ""
    by: By = "step"
    smooth: bool = False
    log: bool = False
    across: ScoreKey = "forgotten"
    example: ExampleRequest = ExampleRequest()
    asked: Annotated[list[RunId], Field(max_length=ASKED)] = []
    """The runs that a free prompt goes to."""
    waiting: Annotated[list[Waiting], Field(max_length=50)] = []
    word: Annotated[str, Field(max_length=20)] = ""
    """Checksum of the panel that the page already shows; it is not sent again."""


@answering(OUTDATED)
def panel(program: Program, cached: CachedRuns, asked: Any) -> Answer:
    """Answer a page with a panel as HTML, and with what its controls need."""
    request = PanelRequest.model_validate(asked)
    runs, _ = cached.of(request.runs)
    match request.panel:
        case "charts":
            answer = _charts(program, cached, runs, request)
        case "settings" if len(runs) > 1:
            answer = {"html": figure_html(parallel(runs))}
        case "settings":
            told = "Select a second run to see which settings go with which scores."
            answer = {"html": f'<p class="none">{told}</p>'}
        case "measures":
            answer = _measures(program, runs)
        case "differences":
            found = differences([run.spec for run in runs]) if len(runs) > 1 else ()
            answer = _html("differences", runs, found=found, labels=labels(runs))
        case "answers":
            answer = _answers(program, runs, request.example)
        case "ask":
            answer = _asks(program, runs, request)
    return unless_same(answer, request.word)


def _html(panel: Panel, runs: Sequence[RunSummary], **values: Any) -> Answer:
    """Render a panel; `colours` maps the ids of all selected runs to their colours."""
    colours = {run.run_id: run_colour(place) for place, run in enumerate(runs)}
    return {"html": render("compare/panel.html", panel=panel, colours=colours, **values)}


def _charts(
    program: Program, cached: CachedRuns, runs: Sequence[RunSummary], request: PanelRequest
) -> Answer:
    """Draw curves and trade-off beside each other, and the terms below them."""
    tracks = cached.tracks(runs)
    series = offered(list(tracks.values()))
    chosen = request.series if request.series in series else next(iter(series), "")
    smoothing = SMOOTHING if request.smooth else 0.0
    html = ""
    if series:
        curves = overlay(
            runs, tracks, series=chosen, by=request.by, smoothing=smoothing, log=request.log
        )
        html = f"<div>{figure_html(curves)}</div>"
    if any(run.after for run in runs):
        reference = held_against(runs, program.reference(runs[0].spec))
        trade_off = plane(runs, by=request.across, reference=reference, published=results())
        html += f"<div>{figure_html(trade_off)}</div>"
        html += f'<div class="wide">{figure_html(heat_map(runs))}</div>'
    none = '<p class="none">These runs have no curves and no scores yet.</p>'
    return {
        "html": f'<div class="charts-grid">{html}</div>' if html else none,
        "series": list(series.items()),
        "by": list(BY.items()),
    }


@answering(OUTDATED)
def curve_rows(program: Program, cached: CachedRuns, asked: Any) -> Answer:
    """Answer a page with every point of a series of runs, for a file: the chart is thinned."""
    request = PanelRequest.model_validate(asked)
    runs, _ = cached.of(request.runs)
    rows: list[tuple[str, float, float | None]] = []
    for run, label in zip(runs, labels(runs), strict=True):
        found = curve(
            track(program.store.events(run.run_id), most=None),
            request.series,
            request.by,
            SMOOTHING if request.smooth else 0.0,
            most=None,
        )
        if found:
            rows += ((label, x, y) for x, y in zip(found.xs, found.ys, strict=True))
    return {"rows": [("run", BY[request.by], request.series), *rows]}


def _measures(program: Program, runs: Sequence[RunSummary]) -> Answer:
    """Lay out further measures: one row for each run, one column for each measure."""
    known = {
        run.run_id: program.statistics.measured(
            run.keys[1],
            run.spec.data.forget,
            run.spec.data.fold if program.retrained(run.spec) else "",
        )
        for run in runs
        if run.keys[1]
    }
    return _html("measures", runs, table=measure_table(runs, known), span=span)


def _masked(runs: Sequence[RunSummary], chosen: bool | None) -> bool:
    return any(run.personal for run in runs) if chosen is None else chosen


def _answers(program: Program, runs: Sequence[RunSummary], request: ExampleRequest) -> Answer:
    """Set the answers of all models to one example side by side."""
    models = speakers(program, runs)
    passing = [
        one
        for one in choices(models)
        if request.split in ("", one.split)
        and request.task in ("", one.task)
        and request.kind in ("", one.kind)
        and all(word in one.prompt.lower() for word in request.text.lower().split())
    ]
    at = min(request.at, len(passing) - 1)
    shown = example(passing[at].row, models) if passing else None
    masked, titles = _masked(runs, request.masked), subtask_titles(runs)
    cut = f"The first {SPEAKERS} of {len(runs)} runs answer here."
    answer = _html(
        "answers",
        runs,
        example=shown,
        kind=f"{titles.get(shown.task, shown.task)} · {KINDS[shown.kind]}" if shown else "",
        at=at,
        count=len(passing),
        hide=mask if masked else str,
        mood=mood,
        title=title,
        cut=cut if len(runs) > SPEAKERS else "",
    )
    return {**answer, "masked": masked}


def speakers(program: Program, runs: Sequence[RunSummary]) -> list[Speaker]:
    """Return the models that answered: the original ones, each once, the retrained, the runs'."""
    heard = runs[:SPEAKERS]
    originals: dict[str, RunSpec] = {}
    for run in heard:
        if run.keys[0]:
            originals.setdefault(run.keys[0], run.spec)
    several = len(originals) > 1
    found = [
        Speaker(
            f"Original model{f', {spec.model.known.title}' if several else ''}",
            program.evidence(key),
            spec=spec,
        )
        for key, spec in originals.items()
    ]
    if retrained := program.retrained_answers([run.spec for run in runs]):
        # Of its answers, those to rows that other models answered.
        rows = {answer.row for one in found if one.evidence for answer in one.evidence.answers}
        answers = tuple(answer for answer in retrained.answers if answer.row in rows)
        found += [Speaker("Retrained model", Evidence(answers=answers))] if answers else []
    return found + [
        Speaker(name, program.evidence(run.keys[1]) if run.keys[1] else None, run.run_id, run.spec)
        for run, name in zip(heard, labels(heard), strict=True)
    ]


def _asks(program: Program, runs: Sequence[RunSummary], request: PanelRequest) -> Answer:
    """Set the answers to free prompts side by side, the latest prompt first."""
    chosen = [run for run in runs if run.run_id in request.asked]
    replies: dict[str, dict[str, Asked | AskFailed]] = {}
    known: set[str] = set()
    for run in chosen:
        for ask in reversed(program.runs.progress(run.run_id).asks):
            replies.setdefault(ask.prompt, {}).setdefault(run.run_id, ask)
            known.add(ask.ask_id)
    waiting = [one for one in request.waiting if one.run in request.asked and one.ask not in known]
    pending = [one.prompt for one in waiting if one.prompt not in replies]
    masked = _masked(runs, request.example.masked)
    answer = _html(
        "ask",
        runs,
        replies={**{prompt: {} for prompt in pending}, **replies},
        labels=dict(zip((run.run_id for run in chosen), labels(chosen), strict=True)),
        heard=heard,
        tally=tally,
        hide=mask if masked else str,
    )
    return {**answer, "masked": masked, "waiting": [one.ask for one in waiting]}


class Question(BaseModel):
    """A free prompt to several runs; untrusted."""

    runs: Annotated[list[RunId], Field(max_length=ASKED)]
    prompt: str


@answering(f"Choose at most {ASKED} runs to ask.")
def ask(program: Program, asked: Any) -> Answer:
    """Ask the models of some runs a prompt.

    Returns:
        The ids of the asks by run, and a problem if one of the runs cannot be asked.
    """
    question = Question.model_validate(asked)
    if not question.runs:
        return {"problem": "No run is chosen: tick at least one to ask."}
    asks: dict[str, str] = {}
    for run_id in question.runs:
        ask_id, message = press_ask(program, run_id, question.prompt)
        if message.problems:
            return {"problem": message.problems[0].message, "asks": asks}
        asks[run_id] = ask_id
    return {"asks": asks}
