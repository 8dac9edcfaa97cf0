"""The scoreboard of the selected runs, ranked by weights within each setting, and their report."""

import base64
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, model_validator

from unlearnlab.exports.report import comparison
from unlearnlab.exports.result import compared
from unlearnlab.metrics.scores import Score, shown_scores, value_of, weighted_scores
from unlearnlab.ui.compare.listing import MOST, OUTDATED, RunId
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.charts import run_colour
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.listeners import Answer, answering, unless_same
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.comparison import Ranking, Weights, rankings, scoreboard
from unlearnlab.views.runs import RunSummary, held_against, utility_test
from unlearnlab.views.scoreboard import MOODS
from unlearnlab.views.words import start_text

Weight = Annotated[float, Field(ge=0, le=10)]


class Selection(BaseModel):
    """A page's request to compare runs; untrusted."""

    runs: Annotated[list[RunId], Field(max_length=MOST)]
    parts: dict[str, Weight] = {}
    """Weights by name; a page sends each as a field of its own."""
    wait: bool = False
    """Whether to wait for the intervals that tell what lies within noise."""
    word: Annotated[str, Field(max_length=20)] = ""
    """Checksum of the scoreboard that the page already shows; it is not sent again."""

    @model_validator(mode="before")
    @classmethod
    def _gather_weights(cls, asked: Any) -> Any:
        if not isinstance(asked, dict):
            return asked
        fields = cast("dict[str, Any]", asked)
        names = [score.weight for score in weighted_scores()]
        return {**fields, "parts": {name: fields.get(name, 1.0) for name in names}}

    @property
    def weights(self) -> Weights:
        """Return the weights; equal ones if all are zero, which rank nothing."""
        return Weights(self.parts) if any(self.parts.values()) else Weights()


@answering(OUTDATED)
def board(program: Program, cached: CachedRuns, asked: Any) -> Answer:
    """Answer a page with the scoreboard of the runs that it selected."""
    request = Selection.model_validate(asked)
    runs, unknown = cached.of(request.runs)
    intervals = cached.intervals(runs, wait=request.wait)
    lines = {line.run.run_id: line for line in scoreboard(runs, intervals)}

    def references(ranking: Ranking) -> list[tuple[str, Any]]:
        ranked = [place.run for place in ranking.places]
        retrained = held_against(ranked, program.reference(ranked[0].spec))
        # For runs that start from snapshots, other models are the original.
        first = min(ranked, key=lambda run: bool(run.spec.model.start_from))
        original = f"Original model{start_text(first.spec)}"
        return [(original, first.before), ("Retrained model", retrained)]

    def cell(ranking: Ranking, run: RunSummary, score: Score) -> tuple[str, float | None, str]:
        """Return the class of a cell, its value, and its distance from the best in words."""
        values = (value_of(place.run.after, score.key) for place in ranking.places)
        top = min((v for v in values if v is not None), key=score.distance, default=None)
        own = lines[run.run_id].cells[score.key]
        if own.best:
            return "best", own.after, "best"
        if own.after is None or top is None or own.after == top:
            return "", own.after, ""
        distance = f"{own.after - top:+.2f}".replace("-", "−")
        if own.within_noise:
            return "alike", own.after, f"≈ {distance}"
        return "", own.after, distance

    found = rankings(runs, request.weights)
    colours = {run_id: run_colour(line.run.look) for run_id, line in lines.items()}
    html = render(
        "compare/board.html",
        unknown=unknown,
        rankings=[(ranking, references(ranking)) for ranking in found],
        lines=lines,
        colours=colours,
        scores=shown_scores(),
        weighted=not request.weights.equal,
        cell=cell,
        moods=MOODS,
    )
    answer = {
        "html": html,
        "runs": list(lines),
        "asked": render(
            "compare/panel.html",
            panel="asked",
            lines=lines,
            looks={run_id: (colours[run_id], line.run.number) for run_id, line in lines.items()},
        ),
        "utility": utility_test(runs),
        "pending": intervals is None,
    }
    return unless_same(answer, request.word)


class ReportRequest(Selection):
    """A page's request for a report on runs; untrusted."""

    runs: Annotated[list[RunId], Field(min_length=1, max_length=MOST)]
    masked: bool = True
    """Whether personal data are masked."""


@answering("Select at least one run for a report.")
def report(program: Program, asked: Any) -> Answer:
    """Answer with the report as one HTML file, which travels through the page's own connection."""
    request = ReportRequest.model_validate(asked)
    found = compared(program.store, request.runs)
    reference = program.reference(found.entries[0].spec)
    page = comparison(found, masked=request.masked, weights=request.weights, reference=reference)
    return {"name": "comparison.html", "data": base64.b64encode(page.encode()).decode()}
