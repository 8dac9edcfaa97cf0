"""The scoreboard of the selected runs, ranked by weights within each setting, as HTML."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from zlib import crc32

from pydantic import BaseModel, Field, ValidationError

from unlearnlab.metrics.scores import Scores
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.compare.listing import MOST
from unlearnlab.ui.compare.marks import RunId
from unlearnlab.ui.compare.runs import Compared, Listed
from unlearnlab.ui.compare.table import HEADS, outcome_pill
from unlearnlab.ui.kit.charts import run_colour
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.text import duration, escape, score
from unlearnlab.views.compare.rankings import Place, Ranking, Weights, rankings
from unlearnlab.views.compare.scoreboards import COLUMNS, Cell, Column, Line, column, scoreboard
from unlearnlab.views.runs import RunSummary, held_against, utility_test

Weight = Annotated[float, Field(ge=0, le=10)]


class Selection(BaseModel):
    """Which runs a page asks to compare, and how: untrusted."""

    runs: Annotated[list[RunId], Field(max_length=MOST)]
    aggregate: Weight = 1.0
    mia: Weight = 1.0
    utility: Weight = 1.0
    wait: bool = False
    """Whether to wait until it is known what lies within noise."""
    word: Annotated[str, Field(max_length=20)] = ""
    """What the page has already: it is not sent again."""

    @property
    def weights(self) -> Weights:
        """Return the weights; equal ones if all are zero, which rank nothing."""
        parts = (self.aggregate, self.mia, self.utility)
        return Weights(*parts) if any(parts) else Weights()


def board(program: Program, compared: Compared, asked: Any) -> dict[str, Any]:
    """Answer a page with the scoreboard of what it selected.

    Returns:
        The scoreboard as HTML, with the runs that are there; only `same` if the page has it
        already; or a problem to tell.
    """
    try:
        wish = Selection.model_validate(asked)
        runs, unknown = compared.of(wish.runs)
        margins = compared.margins(runs, wait=wish.wait)
    except ValidationError:
        return {"problem": "The page asked for a comparison that there is not: reload it."}
    except StoreError as error:
        return {"problem": str(error)}
    lines = scoreboard([of.run for of in runs], margins)
    drawn = Board(program, {of.run.run_id: of for of in runs}, lines, wish.weights)
    answer = {
        "html": f"{_unknown(unknown)}{drawn.html()}",
        "runs": [
            {"run": line.run.run_id, "label": line.label, "colour": run_colour(place)}
            for place, line in enumerate(lines)
        ],
        "utility": drawn.utility,
        "pending": margins is None,
    }
    word = f"{crc32(json.dumps(answer).encode()):08x}"
    return {"same": True} if word == wish.word else {**answer, "word": word}


def _unknown(ids: Sequence[str]) -> str:
    if not ids:
        return ""
    few = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    said = "run of this link is" if len(ids) == 1 else "runs of this link are"
    return (
        f'<p class="caution">{len(ids)} {said} not in this store, or deleted: {escape(few)}. '
        '<button type="button" class="link" data-act="known">Leave out</button></p>'
    )


def run_dot(place: int) -> str:
    """Draw the colour of a run by its place among those selected."""
    return f'<i class="dot run" style="--run: var({run_colour(place)})"></i>'


class Board:
    """What is drawn of one selection."""

    def __init__(
        self,
        program: Program,
        listed: Mapping[str, Listed],
        lines: Sequence[Line],
        weights: Weights,
    ) -> None:
        self._program = program
        self._listed = listed
        self._lines = {line.run.run_id: line for line in lines}
        self._places = {line.run.run_id: place for place, line in enumerate(lines)}
        self._weights = weights
        self._rankings = rankings([line.run for line in lines], weights)

    @property
    def utility(self) -> str:
        """Name the utility test of all these runs."""
        return utility_test([line.run for line in self._lines.values()])

    def html(self) -> str:
        """Draw a table for each setting, and a list of runs without scores."""
        tables = "".join(self._table(ranking) for ranking in self._rankings)
        apart = (
            '<p class="caution">These runs were measured in '
            f"{len(self._rankings)} different settings: each has a ranking of its own.</p>"
        )
        unscored = [line for line in self._lines.values() if line.setting is None]
        return (
            f"{apart if len(self._rankings) > 1 else ''}{tables}{self._unscored(unscored)}"
            f"{self._legend()}"
        )

    @property
    def _weighted(self) -> bool:
        by = self._weights
        return not by.aggregate == by.mia == by.utility

    def _table(self, ranking: Ranking) -> str:
        name = ranking.places[0].run.utility_name
        titles = [*HEADS.values()]
        titles[titles.index(HEADS["utility"])] = name
        heads = "".join(f'<th scope="col" class="number">{title} ↑</th>' for title in titles)
        if self._weighted:
            heads += '<th scope="col" class="number">Weighted ↑</th>'
        tops: dict[Column, float | None] = {of: _top(ranking, of) for of in COLUMNS}
        rows = "".join(self._row(place, tops) for place in ranking.places)
        return (
            f'<p class="setting">{escape(ranking.setting.text)}</p><div class="scroll">'
            '<table class="ranking"><thead><tr><th scope="col" class="rank">#</th>'
            f'<th scope="col">Run</th>{heads}<th scope="col">Verdict</th>'
            '<th scope="col" class="number">Took</th><th><span class="unseen">Actions</span></th>'
            f"</tr></thead><tbody>{rows}{self._references(ranking)}</tbody></table></div>"
        )

    def _row(self, place: Place, tops: Mapping[Column, float | None]) -> str:
        run = place.run
        line = self._lines[run.run_id]
        rank = str(place.rank) if place.rank is not None else "–"
        why = f' title="not ranked: {escape(place.reason)}"' if place.reason else ""
        cells = "".join(_cell(line.cells[of], tops[of], HEADS[of]) for of in COLUMNS)
        if self._weighted:
            cells += f'<td class="number" data-label="Weighted"><b>{score(place.value)}</b></td>'
        return (
            f'<tr><td class="rank"{why}>{rank}</td><th scope="row">{self._name(run)}</th>{cells}'
            f'<td data-label="Verdict">{outcome_pill(self._listed[run.run_id])}</td>'
            f'<td class="number" data-label="Took">{duration(run.seconds or 0)}</td>'
            f"{self._drop(run)}</tr>"
        )

    def _name(self, run: RunSummary) -> str:
        return f"{run_dot(self._places[run.run_id])}{escape(self._lines[run.run_id].label)}"

    def _drop(self, run: RunSummary) -> str:
        return (
            f'<td class="acts"><button type="button" class="icon" data-drop="{escape(run.run_id)}" '
            f'aria-label="Take {escape(self._lines[run.run_id].label)} out of the comparison" '
            'title="Take out of the comparison">✕</button></td>'
        )

    def _references(self, ranking: Ranking) -> str:
        """Draw the models that the runs are held against: the original, and the retrained one."""
        runs = [place.run for place in ranking.places]
        retrained = held_against(runs, self._program.reference(runs[0].spec))
        rows = [("Original model", runs[0].before), ("Retrained model", retrained)]
        return "".join(self._reference(name, of) for name, of in rows if of is not None)

    def _reference(self, name: str, scores: Scores) -> str:
        cells = "".join(
            f'<td class="number" data-label="{HEADS[of]}">{score(column(scores, of))}'
            "<small></small></td>"
            for of in COLUMNS
        )
        weighted = "<td></td>" if self._weighted else ""
        return (
            '<tr class="reference"><td class="rank"></td><th scope="row"><i class="dot ring"></i>'
            f'{name}</th>{cells}{weighted}<td data-label="Verdict"><span class="tag">reference'
            "</span></td><td></td><td></td></tr>"
        )

    def _unscored(self, lines: Sequence[Line]) -> str:
        if not lines:
            return ""
        rows = "".join(
            f"<li>{self._name(line.run)} {outcome_pill(self._listed[line.run.run_id])}</li>"
            for line in lines
        )
        return f'<p class="setting">Without scores</p><ul class="unscored">{rows}</ul>'

    def _legend(self) -> str:
        alone = len(self._lines) == 1
        more = "Select a second run to see which is better. " if alone else ""
        return (
            f'<p class="setting">{more}Bold: best of its column. Small: how far from it, with ≈ in '
            "grey where that is within noise, over rows or over seeds. Collapsed runs and those "
            "below the gate have no rank.</p>"
        )


def _top(ranking: Ranking, of: Column) -> float | None:
    values = [column(place.run.after, of) for place in ranking.places]
    return max((value for value in values if value is not None), default=None)


def _cell(cell: Cell, top: float | None, head: str) -> str:
    shown = score(cell.after)
    if cell.best:
        return f'<td class="number best" data-label="{head}"><b>{shown}</b><small>best</small></td>'
    if cell.after is None or top is None or cell.after == top:
        return f'<td class="number" data-label="{head}">{shown}<small></small></td>'
    far = f"−{top - cell.after:.2f}"
    if cell.alike:
        return (
            f'<td class="number alike" data-label="{head}" title="within noise of the best">'
            f"{shown}<small>≈ {far}</small></td>"
        )
    return f'<td class="number" data-label="{head}">{shown}<small>{far}</small></td>'
