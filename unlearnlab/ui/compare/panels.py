"""The rooms of the tab Compare: each sets the selected runs side by side in its own way."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import ScoreKey
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.compare.answers import (
    ASKED,
    ExampleWish,
    asks_html,
    example_html,
    masks,
    speakers,
)
from unlearnlab.ui.compare.board import run_dot
from unlearnlab.ui.compare.charts import heat_map, overlay, parallel, plane
from unlearnlab.ui.compare.listing import MOST
from unlearnlab.ui.compare.marks import RunId
from unlearnlab.ui.compare.runs import Compared, Listed
from unlearnlab.ui.kit.charts import figure_html
from unlearnlab.ui.kit.html import escape
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import press_ask
from unlearnlab.ui.run.measures_table import measure_cell
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.compare.overlays import BY, By, offered
from unlearnlab.views.compare.scoreboards import measure_table
from unlearnlab.views.runs import held_against, labels

Room = Literal["charts", "settings", "measures", "differences", "answers", "ask"]

ROOMS: Mapping[Room, str] = {
    "charts": "Charts",
    "settings": "Settings and scores",
    "measures": "Further measures",
    "differences": "What differs",
    "answers": "Answers",
    "ask": "Ask",
}
"""What the page calls the rooms."""

SMOOTHING = 0.9
"""Of smoothed curves: the weight of what came before."""

Text = Annotated[str, Field(max_length=100)]


class Wait(BaseModel):
    """A prompt that was asked of a run."""

    run: RunId
    ask: Text
    prompt: Annotated[str, Field(max_length=8000)]


class RoomWish(BaseModel):
    """Which room a page asks for, and how: untrusted."""

    room: Room
    runs: Annotated[list[RunId], Field(max_length=MOST)]
    series: Text = ""
    by: By = "step"
    smooth: bool = False
    log: bool = False
    across: ScoreKey = "forgotten"
    example: ExampleWish = ExampleWish()
    asked: Annotated[list[RunId], Field(max_length=ASKED)] = []
    """The runs that a free prompt goes to."""
    waiting: Annotated[list[Wait], Field(max_length=50)] = []
    word: Annotated[str, Field(max_length=20)] = ""
    """What the page has already: it is not sent again."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a room is drawn from."""

    program: Program
    compared: Compared
    runs: Sequence[Listed]
    wish: RoomWish


def room(program: Program, compared: Compared, asked: Any) -> dict[str, Any]:
    """Answer a page with a room.

    Returns:
        The room as HTML, and what its controls need; only `same` if the page has it already; or a
        problem to tell.
    """
    try:
        wish = RoomWish.model_validate(asked)
        runs, _ = compared.of(wish.runs)
        answer = _ROOMS[wish.room](Visit(program, compared, runs, wish))
    except ValidationError:
        return {"problem": "The page asked for a comparison that there is not: reload it."}
    except StoreError as error:
        return {"problem": str(error)}
    word = f"{crc32(json.dumps(answer).encode()):08x}"
    return {"same": True} if word == wish.word else {**answer, "word": word}


def _charts(visit: Visit) -> dict[str, Any]:
    """Draw curves and trade-off beside each other, and the terms below them."""
    wish, runs = visit.wish, [of.run for of in visit.runs]
    tracks = visit.compared.tracks(visit.runs)
    series = offered(list(tracks.values()))
    chosen = wish.series if wish.series in series else next(iter(series), "")
    smoothing = SMOOTHING if wish.smooth else 0.0
    curves = overlay(runs, tracks, series=chosen, by=wish.by, smoothing=smoothing, log=wish.log)
    reference = held_against(runs, visit.program.reference(runs[0].spec)) if runs else None
    figures = [("", curves if series else None)]
    if any(of.setting for of in visit.runs):
        figures.append(("", plane(runs, by=wish.across, reference=reference, published=results())))
        figures.append(("wide", heat_map(runs)))
    drawn = "".join(
        f'<div class="{kind}">{figure_html(figure)}</div>'
        for kind, figure in figures
        if figure is not None
    )
    none = '<p class="none">These runs have no curves and no scores yet.</p>'
    return {
        "html": f'<div class="charts-grid">{drawn}</div>' if drawn else none,
        "series": list(series.items()),
        "by": list(BY.items()),
    }


def _settings(visit: Visit) -> dict[str, Any]:
    """Draw each run as a line through the settings that differ and its scores."""
    if len(visit.runs) < 2:
        told = "Select a second run to see which settings go with which scores."
        return {"html": f'<p class="none">{told}</p>'}
    return {"html": figure_html(parallel([of.run for of in visit.runs]))}


def _measures(visit: Visit) -> dict[str, Any]:
    """Draw a table of further measures: one row for each run, one column for each measure."""
    derived, program = visit.program.derived, visit.program
    found = measure_table(
        [of.run for of in visit.runs],
        {
            of.run.run_id: derived.measured(
                of.keys[1],
                of.run.spec.data.forget,
                of.run.spec.data.fold if program.retrained(of.run.spec) else "",
            )
            for of in visit.runs
            if of.keys[1]
        },
    )
    if not found.columns:
        return {"html": '<p class="none">The evidence of these runs is not kept.</p>'}
    heads = "".join(
        f'<th scope="col">{escape(one.title)}<small>best: {escape(one.ideal)}</small></th>'
        for one in found.columns
    )
    rows = "".join(
        f'<tr><th scope="row">{run_dot(at)}{escape(label)}</th>'
        + "".join(
            f"<td>{measure_cell(value, one)}</td>"
            for value, one in zip(row, found.columns, strict=True)
        )
        + "</tr>"
        for at, (label, row) in enumerate(zip(found.labels, found.rows, strict=True))
    )
    return {
        "html": '<div class="scroll" tabindex="0"><table class="measures"><thead><tr>'
        f'<th scope="col">Unlearned model</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        '</div><p class="setting">Ranges: 95% bootstrap intervals over rows or documents.</p>'
    }


def _differences(visit: Visit) -> dict[str, Any]:
    """Draw a table of the settings that differ: one row for each, one column for each run."""
    runs = [of.run for of in visit.runs]
    if len(runs) < 2:
        return {
            "html": '<p class="none">Select a second run to see in which settings they differ.</p>'
        }
    found = differences([run.spec for run in runs])
    if not found:
        return {"html": '<p class="none">These runs have the same settings, seed and all.</p>'}
    heads = "".join(
        f'<th scope="col">{run_dot(at)}{escape(label)}</th>'
        for at, label in enumerate(labels(runs))
    )
    rows = "".join(
        f'<tr><th scope="row" title="{escape(one.path)}">{escape(one.name)}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in one.values)
        + "</tr>"
        for one in found
    )
    return {
        "html": '<div class="scroll" tabindex="0"><table class="differences"><thead><tr>'
        f'<th scope="col">Setting</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    }


def _answers(visit: Visit) -> dict[str, Any]:
    wish = visit.wish.example
    masked = masks(visit.runs, wish.masked)
    retrained = visit.program.retrained_answers([of.run.spec for of in visit.runs])
    heard = speakers(visit.runs, visit.compared.evidence, retrained)
    html = example_html(heard, wish, masked=masked, of=len(visit.runs))
    return {"html": html, "masked": masked}


def _ask(visit: Visit) -> dict[str, Any]:
    wish = visit.wish
    asked, courses = set(wish.asked), visit.program.courses
    chosen = [of for of in visit.runs if of.run.run_id in asked]
    heard = [(of, courses.of(of.run.run_id).asks) for of in chosen]
    known = {ask.ask_id for _, asks in heard for ask in asks}
    waiting = [one for one in wish.waiting if one.run in asked and one.ask not in known]
    masked = masks(visit.runs, wish.example.masked)
    prompts = [one.prompt for one in waiting]
    return {
        "html": asks_html(heard, prompts, masked=masked),
        "masked": masked,
        "waiting": [one.ask for one in waiting],
    }


_ROOMS: Mapping[Room, Callable[[Visit], dict[str, Any]]] = {
    "charts": _charts,
    "settings": _settings,
    "measures": _measures,
    "differences": _differences,
    "answers": _answers,
    "ask": _ask,
}


class Question(BaseModel):
    """A free prompt to several runs: untrusted."""

    runs: Annotated[list[RunId], Field(max_length=ASKED)]
    prompt: str


def ask(program: Program, asked: Any) -> dict[str, Any]:
    """Have the models of some runs answer a prompt.

    Returns:
        The ids of the questions by run, and a problem if one of them cannot be asked.
    """
    try:
        question = Question.model_validate(asked)
    except ValidationError:
        return {"problem": f"Choose at most {ASKED} runs to ask.", "asks": {}}
    if not question.runs:
        return {"problem": "No run is chosen: tick at least one to ask.", "asks": {}}
    asks: dict[str, str] = {}
    for run_id in question.runs:
        ask_id, message = press_ask(program, run_id, question.prompt)
        if message.problems:
            return {"problem": message.problems[0].message, "asks": asks}
        asks[run_id] = ask_id
    return {"asks": asks}
