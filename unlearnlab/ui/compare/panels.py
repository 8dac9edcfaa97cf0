"""The panels of the tab Compare: each sets the selected runs side by side in its own way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from unlearnlab.data.datasets import SPLITS, Split
from unlearnlab.metrics.labels import mood, title
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import Answer as ScoredAnswer
from unlearnlab.metrics.scores import Evidence, ScoreKey
from unlearnlab.models.weights import READ_FROM
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.compare.charts import (
    heat_map,
    layer_pairs,
    overlay,
    parallel,
    plane,
    term_pairs,
)
from unlearnlab.ui.compare.listing import MOST, OUTDATED, ColumnKey, RunId, Text
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.charts import figure_html, run_colour
from unlearnlab.ui.kit.html import render, span
from unlearnlab.ui.kit.listeners import Answer, answering, unless_same
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import press_ask
from unlearnlab.views.answers import (
    Speaker,
    choices,
    example,
    heard,
    likelihood,
    marked,
    mask,
    question,
    tally,
)
from unlearnlab.views.charts import (
    ANSWERS,
    BOTH,
    BY,
    By,
    comparable_series,
    coordinates,
    curve,
    track,
)
from unlearnlab.views.comparison import (
    Which,
    measure_table,
    row_pairs,
    score_pairs,
    subtask_titles,
)
from unlearnlab.views.run_table import Known, columns, needs_measures, offered_columns
from unlearnlab.views.runs import (
    RunSummary,
    difference_groups,
    held_against,
    labels,
    run_summary,
)
from unlearnlab.views.scoreboard import KINDS
from unlearnlab.views.words import start_text

Panel = Literal["charts", "settings", "measures", "differences", "contrast", "answers", "ask"]

PANELS: Mapping[Panel, str] = {
    "charts": "Charts",
    "settings": "Settings and scores",
    "measures": "Further measures",
    "differences": "What differs",
    "contrast": "Contrast two",
    "answers": "Answers",
    "ask": "Ask",
}
"""Titles of the panels."""

WHICH: Mapping[Which, str] = {
    "differ": "one run misses its goal",
    "first": "only the first misses it",
    "second": "only the second misses it",
    "both": "both miss it",
    "all": "all",
}
"""Titles of the rows of a contrast."""

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


class ContrastRequest(BaseModel):
    """Which two runs a page sets side by side, and which of their rows; untrusted."""

    first: RunId | Literal[""] = ""
    second: RunId | Literal[""] = ""
    """Empty takes the first of the selected runs, and the next one."""
    which: Which = "differ"
    page: Annotated[int, Field(ge=0)] = 0


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
    whole: bool = False
    """Whether the plane shows all that scores can be, not the runs alone."""
    axes: Annotated[list[ColumnKey], Field(max_length=16)] = []
    """Axes of the parallel coordinates, in order; the usual ones if empty."""
    example: ExampleRequest = ExampleRequest()
    contrast: ContrastRequest = ContrastRequest()
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
            answer = _parallel(cached, runs, request.axes)
        case "settings":
            told = "Select a second run to see which settings go with which scores."
            answer = {"html": f'<p class="none">{told}</p>'}
        case "measures":
            answer = _measures(cached, runs)
        case "differences":
            found = difference_groups([run.spec for run in runs]) if len(runs) > 1 else ()
            answer = _html("differences", runs, found=found, labels=labels(runs))
        case "contrast" if len(runs) > 1:
            answer = _contrast(program, cached, runs, request)
        case "contrast":
            told = "Select a second run to set two side by side."
            answer = {"html": f'<p class="none">{told}</p>'}
        case "answers":
            answer = _answers(program, runs, request.example)
        case "ask":
            answer = _asks(program, runs, request)
    return unless_same(answer, request.word)


def _html(panel: Panel, runs: Sequence[RunSummary], **values: Any) -> Answer:
    """Render a panel; `looks` maps the ids of all selected runs to their colours and numbers."""
    looks = {run.run_id: (run_colour(run.look), run.number) for run in runs}
    return {"html": render("compare/panel.html", panel=panel, looks=looks, **values)}


def _parallel(cached: CachedRuns, runs: Sequence[RunSummary], axes: Sequence[str]) -> Answer:
    """Draw settings and scores, and list the axes that are shown and could be."""
    measures, pending = cached.measures(runs) if needs_measures((), axes) else ({}, 0)
    known = Known(measures, cached.sweeps())
    shown = [axis.key for axis in coordinates(runs, axes, known).axes]
    return {
        "html": figure_html(parallel(runs, axes, known)),
        "pending": pending,
        "axes": [(key, columns()[key].title) for key in shown],
        "more": {
            title: [(one.key, one.title) for one in offered if one.key not in shown]
            for title, offered in offered_columns().items()
        },
    }


def _charts(
    program: Program, cached: CachedRuns, runs: Sequence[RunSummary], request: PanelRequest
) -> Answer:
    """Draw curves and trade-off beside each other, and the terms below them."""
    tracks = cached.tracks(runs)
    series = comparable_series(runs, tracks)
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
        trade_off = plane(
            runs,
            by=request.across,
            reference=reference,
            published=results(),
            zoom=not request.whole,
        )
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
    parts = tuple(ANSWERS) if request.series == BOTH else (request.series,)
    smoothing = SMOOTHING if request.smooth else 0.0
    rows: list[tuple[str | float | None, ...]] = []
    for run, label in zip(runs, labels(runs), strict=True):
        whole = track(program.store.events(run.run_id), most=None)
        found = [curve(whole, part, request.by, smoothing, most=None) for part in parts]
        values = [dict(zip(one.xs, one.ys, strict=True)) if one else {} for one in found]
        places = sorted({x for of in values for x in of})
        rows += ((label, x, *(of.get(x) for of in values)) for x in places)
    return {"rows": [("run", BY[request.by], *parts), *rows]}


def _measures(cached: CachedRuns, runs: Sequence[RunSummary]) -> Answer:
    """Lay out further measures: one row for each run, one column for each measure."""
    known, pending = cached.measures(runs)
    answer = _html("measures", runs, table=measure_table(runs, known), span=span, pending=pending)
    return {**answer, "pending": pending}


PAIRS = 8
"""Rows per page of a contrast."""


def _contrast(
    program: Program, cached: CachedRuns, runs: Sequence[RunSummary], request: PanelRequest
) -> Answer:
    """Set two runs side by side: scores, terms, layers, settings, and rows that differ."""
    asked, known = request.contrast, {run.run_id: run for run in runs}
    first = known.get(asked.first) or runs[0]
    second = known.get(asked.second) or next(run for run in runs if run is not first)
    if first is second:
        second = next(run for run in runs if run is not first)
    pair = (first, second)
    one, other = (
        program.rows(run.keys[0] or run.keys[1], run.keys[1] if run.keys[0] else "", run.spec)
        if run.keys[1]
        else ()
        for run in pair
    )
    found = row_pairs(one, other)
    shown = [row for row in found if row.shown(asked.which)]
    last = max(0, (len(shown) - 1) // PAIRS)
    page, masked = min(asked.page, last), _masked(pair, request.example.masked)
    counts = {
        split: {which: sum(row.shown(which) for row in of) for which in get_args(Which)}
        for split in SPLITS
        if (of := [row for row in found if row.first.wished == split])
    }
    changes = {run.run_id: moved for run in pair if (moved := _moved(program, run))}
    answer = _html(
        "contrast",
        runs,
        pair=pair,
        names=labels(pair),
        scores=score_pairs(first, second, cached.intervals(pair, wait=True)),
        figures=[term_pairs(first, second), layer_pairs(first, second, changes)],
        unread="" if len(changes) == len(pair) else READ_FROM,
        missing=(
            "No row of both runs is of this kind."
            if counts
            else "These runs have no row in common."
            if one and other
            else "The answers of these runs are not kept."
        ),
        found=difference_groups([run.spec for run in pair]),
        counts=counts,
        pairs=shown[page * PAIRS : (page + 1) * PAIRS],
        page=page,
        last=last,
        size=PAIRS,
        total=len(shown),
        hide=mask if masked else str,
        marked=marked,
        title=title,
        titles=subtask_titles(pair),
        kinds=KINDS,
    )
    names = list(
        zip(
            known, (f"{r.number} {n}" for r, n in zip(runs, labels(runs), strict=True)), strict=True
        )
    )
    return {
        **answer,
        "masked": masked,
        "pair": {"runs": names, "first": first.run_id, "second": second.run_id, "page": page},
    }


def _moved(program: Program, run: RunSummary) -> Mapping[int, float]:
    """Return how far the weights of each block moved; empty where that cannot be read."""
    if run.spec.model.start_from:  # Its original is a snapshot: trained weights alone.
        return {}
    files = (one.path for one in program.store.artefacts(run.run_id).values())
    kept = [path for path in files if path.name == "delta.safetensors"]
    return program.moved(run.spec.model.known.folder, kept[0], run.incarnation) if kept else {}


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
    shown = example(passing[at], models) if passing else None
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
            f"Original model{f', {spec.model.known.title}' if several else ''}{start_text(spec)}",
            program.evidence(key),
            spec=spec,
        )
        for key, spec in originals.items()
    ]
    if retrained := program.retrained_answers([run.spec for run in runs]):
        # Of its answers, those to rows that other models answered.
        rows = {question(row) for one in found if one.evidence for row in one.evidence.answers}
        answers = tuple(answer for answer in retrained.answers if question(answer) in rows)
        found += [Speaker("Retrained model", Evidence(answers=answers))] if answers else []
    return found + [
        Speaker(name, program.evidence(run.keys[1]) if run.keys[1] else None, run.run_id, run.spec)
        for run, name in zip(heard, labels(heard), strict=True)
    ]


def _asks(program: Program, runs: Sequence[RunSummary], request: PanelRequest) -> Answer:
    """Set the answers to free prompts side by side, the latest prompt first.

    Where a prompt is a row of the data, its true answer is known, and how likely each model finds
    it, as it was scored.
    """
    chosen = [run for run in runs if run.run_id in request.asked]
    replies: dict[str, dict[str, Asked | AskFailed]] = {}
    known: set[str] = set()
    for run in chosen:
        for ask in reversed(program.runs.progress(run.run_id).asks):
            replies.setdefault(ask.prompt, {}).setdefault(run.run_id, ask)
            known.add(ask.ask_id)
    waiting = [one for one in request.waiting if one.run in request.asked and one.ask not in known]
    places: dict[str, dict[str, int]] = {}
    for place, one in enumerate(waiting):
        places.setdefault(one.prompt, {})[one.run] = place
    pending = {prompt: {} for prompt in places if prompt not in replies}
    masked = _masked(runs, request.example.masked)
    answers = _scored_answers(program, chosen)
    answer = _html(
        "ask",
        runs,
        replies={**pending, **replies},
        queues=places,
        truths=_truths({**pending, **replies}, answers),
        suggested=_suggested(program, chosen, [*pending, *replies]),
        labels=dict(zip((run.run_id for run in chosen), labels(chosen), strict=True)),
        starts={run.run_id: start_text(run.spec) for run in chosen},
        heard=heard,
        tally=tally,
        hide=mask if masked else str,
        likelihood=likelihood,
    )
    return {**answer, "masked": masked, "waiting": [one.ask for one in waiting]}


ORIGINAL = ""
"""Stands for the original model where runs are named by their ids."""


def _scored_answers(program: Program, of: Sequence[RunSummary]) -> dict[str, Evidence]:
    """Return the stored answers of the original model of the first run, and of all runs."""
    keys = {ORIGINAL: of[0].keys[0]} if of else {}
    keys |= {run.run_id: run.keys[1] for run in of}
    found = {who: program.evidence(key) for who, key in keys.items() if key}
    return {who: evidence for who, evidence in found.items() if evidence is not None}


def _truths(
    prompts: Iterable[str], answers: Mapping[str, Evidence]
) -> dict[str, dict[str, ScoredAnswer]]:
    """Find the scored answers to prompts that are rows of the data, by prompt and model."""
    wanted = {prompt.strip(): prompt for prompt in prompts}
    found: dict[str, dict[str, ScoredAnswer]] = {}
    for who, evidence in answers.items():
        for answer in evidence.answers:
            if prompt := wanted.get(answer.prompt.strip()):
                found.setdefault(prompt, {})[who] = answer
    return found


SUGGESTED: Mapping[Split, int] = {"forget": 3, "retain": 1}
"""Prompts of each set that are suggested."""


def _suggested(
    program: Program, of: Sequence[RunSummary], asked: Sequence[str]
) -> list[tuple[str, Split, str]]:
    """Suggest questions of the data as id, set and prompt: those on which the models differ most.

    Nobody knows invented facts by heart.
    """
    there = {prompt.strip() for prompt in asked}
    found = [Speaker("", program.evidence(run.keys[1])) for run in of if run.keys[1]]
    # What is asked by its id is looked up in the first run.
    first = found[0].evidence if found else None
    known = {question(one) for one in (first.answers if first else ())}
    rows = [
        one
        for one in choices(found)
        if one.kind == "qa" and one.prompt.strip() not in there and question(one) in known
    ]
    return [
        (one.row, split, one.prompt)
        for split, count in SUGGESTED.items()
        for one in [row for row in rows if row.split == split][:count]
    ]


class Question(BaseModel):
    """A free prompt to several runs; untrusted."""

    runs: Annotated[list[RunId], Field(max_length=ASKED)]
    prompt: str = ""
    row: Text = ""
    """Id of a suggested row, whose prompt is asked."""


@answering(f"Choose at most {ASKED} runs to ask.")
def ask(program: Program, asked: Any) -> Answer:
    """Ask the models of some runs a prompt.

    Returns:
        The prompt, the ids of the asks by run, and a problem if one of the runs cannot be asked.
    """
    question = Question.model_validate(asked)
    if not question.runs:
        return {"problem": "No run is chosen: tick at least one to ask."}
    prompt, asks = question.prompt, dict[str, str]()
    if question.row:
        found = _scored_answers(program, [run_summary(program.store.row(question.runs[0]))])
        rows = (answer for evidence in found.values() for answer in evidence.answers)
        prompt = next((answer.prompt for answer in rows if answer.row == question.row), "")
    for run_id in question.runs:
        ask_id, message = press_ask(program, run_id, prompt)
        if message.problems:
            return {"problem": message.problems[0].message, "asks": asks, "prompt": prompt}
        asks[run_id] = ask_id
    return {"asks": asks, "prompt": prompt}
