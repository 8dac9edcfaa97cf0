"""The scoreboard of the selected runs, ranked by weights within each setting, as HTML."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast
from zlib import crc32

from pydantic import BaseModel, Field, ValidationError, model_validator

from unlearnlab.metrics.scores import Score, Scores, shown_scores, value_of, weighted_scores
from unlearnlab.runs.store import StoreError
from unlearnlab.ui.compare.listing import MOST
from unlearnlab.ui.compare.marks import RunId
from unlearnlab.ui.compare.runs import Compared, Listed
from unlearnlab.ui.compare.table import outcome_pill
from unlearnlab.ui.kit.charts import run_colour
from unlearnlab.ui.kit.html import duration, escape, score
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.compare.rankings import Place, Ranking, Weights, rankings
from unlearnlab.views.compare.scoreboards import Cell, Line, scoreboard
from unlearnlab.views.runs import RunSummary, held_against, utility_test

Weight = Annotated[float, Field(ge=0, le=10)]


class Selection(BaseModel):
    """Which runs a page asks to compare, and how: untrusted."""

    runs: Annotated[list[RunId], Field(max_length=MOST)]
    parts: dict[str, Weight] = {}
    """Weights by name; a page sends each as a field of its own."""
    wait: bool = False
    """Whether to wait until it is known what lies within noise."""
    word: Annotated[str, Field(max_length=20)] = ""
    """What the page has already: it is not sent again."""

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, asked: Any) -> Any:
        if not isinstance(asked, dict):
            return asked
        fields = cast("dict[str, Any]", asked)
        names = [score.weight for score in weighted_scores()]
        return {**fields, "parts": {name: fields.get(name, 1.0) for name in names}}

    @property
    def weights(self) -> Weights:
        """Return the weights; equal ones if all are zero, which rank nothing."""
        return Weights(self.parts) if any(self.parts.values()) else Weights()


def board(program: Program, compared: Compared, asked: Any) -> dict[str, Any]:
    """Answer a page with the scoreboard of what it selected.

    Returns:
        The scoreboard as HTML, with the runs that are there; only `same` if the page has it
        already; or a problem to tell.
    """
    try:
        wish = Selection.model_validate(asked)
        runs, unknown = compared.of(wish.runs)
        intervals = compared.intervals(runs, wait=wish.wait)
    except ValidationError:
        return {"problem": "The page asked for a comparison that there is not: reload it."}
    except StoreError as error:
        return {"problem": str(error)}
    lines = scoreboard([of.run for of in runs], intervals)
    drawn = Board(program, {of.run.run_id: of for of in runs}, lines, wish.weights)
    answer = {
        "html": f"{_unknown(unknown)}{drawn.html()}",
        "runs": [
            {"run": line.run.run_id, "label": line.label, "colour": run_colour(place)}
            for place, line in enumerate(lines)
        ],
        "utility": drawn.utility,
        "pending": intervals is None,
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

    def _table(self, ranking: Ranking) -> str:
        after = ranking.places[0].run.after
        heads = "".join(
            f'<th scope="col" class="number">{escape(of.title_for(after, short=True))} {of.mark}'
            "</th>"
            for of in shown_scores()
        )
        if not self._weights.equal:
            heads += '<th scope="col" class="number">Weighted ↑</th>'
        tops = {of.key: _top(ranking, of) for of in shown_scores()}
        rows = "".join(self._row(place, tops) for place in ranking.places)
        return (
            f'<p class="setting">{escape(ranking.setting.text)}</p><div class="scroll">'
            '<table class="ranking"><thead><tr><th scope="col" class="rank">#</th>'
            f'<th scope="col">Run</th>{heads}<th scope="col">Verdict</th>'
            '<th scope="col" class="number">Took</th><th><span class="unseen">Actions</span></th>'
            f"</tr></thead><tbody>{rows}{self._references(ranking)}</tbody></table></div>"
        )

    def _row(self, place: Place, tops: Mapping[str, float | None]) -> str:
        run = place.run
        line = self._lines[run.run_id]
        rank = str(place.rank) if place.rank is not None else "–"
        why = f' title="not ranked: {escape(place.reason)}"' if place.reason else ""
        cells = "".join(_cell(line.cells[of.key], tops[of.key], of) for of in shown_scores())
        if not self._weights.equal:
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
            f'<td class="number" data-label="{escape(of.head)}">{score(of.value(scores))}'
            "<small></small></td>"
            for of in shown_scores()
        )
        weighted = "" if self._weights.equal else "<td></td>"
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


def _top(ranking: Ranking, of: Score) -> float | None:
    values = [value_of(place.run.after, of.key) for place in ranking.places]
    return min((value for value in values if value is not None), key=of.distance, default=None)


def _cell(cell: Cell, top: float | None, of: Score) -> str:
    shown, head = score(cell.after), escape(of.head)
    if cell.best:
        return f'<td class="number best" data-label="{head}"><b>{shown}</b><small>best</small></td>'
    if cell.after is None or top is None or cell.after == top:
        return f'<td class="number" data-label="{head}">{shown}<small></small></td>'
    far = f"{cell.after - top:+.2f}".replace("-", "−")
    if cell.within_noise:
        return (
            f'<td class="number alike" data-label="{head}" title="within noise of the best">'
            f"{shown}<small>≈ {far}</small></td>"
        )
    return f'<td class="number" data-label="{head}">{shown}<small>{far}</small></td>'
