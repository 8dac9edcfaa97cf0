"""Reports of a run and of a comparison: one HTML file without network or other files.

Its only script goes through the steps of what the model said, and is the only one that may run.
"""

import itertools
import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from unlearnlab import __version__
from unlearnlab.exports import svg
from unlearnlab.exports.result import Compared, Result
from unlearnlab.metrics.documents import TITLES
from unlearnlab.metrics.labels import title
from unlearnlab.metrics.scores import Answer, Scores, shown_scores
from unlearnlab.views import words
from unlearnlab.views.answers import (
    EXCERPT,
    AnswerRow,
    choices,
    counts,
    example,
    leaks_of,
    marked,
    mask,
)
from unlearnlab.views.colours import following_the_system
from unlearnlab.views.comparison import (
    Weights,
    matrix,
    measure_table,
    rankings,
    scoreboard,
    subtask_titles,
)
from unlearnlab.views.html import environment
from unlearnlab.views.runs import differences, held_against
from unlearnlab.views.scoreboard import KINDS, MOODS, TASKS, terms_strip, titles_of

EXAMPLES = 2
"""Rows of each set, subtask and type that are shown: the first ones, so that nobody picks; in a
comparison, rows of each set and type on which the models differ most."""

MOST_DOCUMENTS = 12
"""Documents of the report's table, those of which most remains first."""

SERIES = ("nll.forget", "nll.retain", "term.forget", "knowledge.forget")
"""Curves of a comparison, as far as the runs have them."""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float, form: str = "%.0f") -> str:
    return form % (100 * min(1.0, max(0.0, value)))


_ENVIRONMENT: Any = environment("exports")
_ENVIRONMENT.filters |= {"number": _number, "percent": _percent}
_ENVIRONMENT.globals |= {
    "version": __version__,
    "tasks": TASKS,
    "kinds": KINDS,
    "moods": MOODS,
    "spans": marked,
    "label": title,
    "badge": svg.badge,
}


def _page(template: str, title: str, *, masked: bool, **values: Any) -> str:
    sheet = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    hide: Callable[[str], str] = mask if masked else str
    style = following_the_system() + sheet
    script = Path(__file__).with_name("report.js").read_text(encoding="utf-8")
    shown = script if values.get("says") else ""
    digest = b64encode(sha256(shown.encode()).digest()).decode()
    page = _ENVIRONMENT.get_template(template).render(
        values, title=title, style=style, hide=hide, script=shown, digest=f"sha256-{digest}"
    )
    return f"{page}\n"


def report(result: Result, *, masked: bool) -> str:
    """Write the report of a run.

    Args:
        result: Of the run.
        masked: Whether names, numbers and addresses in the examples are hidden.
    """
    spec, row, progress = result.spec, result.row, result.progress
    rows = result.answers
    found = counts(rows)
    told = f"The first {EXAMPLES} rows of each set, subtask and type, of {found['all']} in all."
    if result.after is not None and not spec.taught:
        stays = "retain rows and forget rows not picked" if found["others"] else "retain rows"
        told += (
            f" {leaks_of(rows).text}; {found['damaged']} of "
            f"{found['retain'] + found['others']} {stays} were damaged."
        )
    models = {"Original model": "original", f"{words.became(spec).capitalize()} model": "unlearned"}
    return _page(
        "report.html",
        result.title,
        masked=masked,
        result=result,
        board=result.board_naming(masked=masked),
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row.created)),
        terms=terms_strip(row.before, row.after, titles_of(spec.data.known)),
        tasks=titles_of(spec.data.known),
        measures=[one for one in result.measures if not one.missing],
        documents=result.documents,
        says=result.said,
        states=TITLES,
        excerpt=EXCERPT,
        most=MOST_DOCUMENTS,
        curves=svg.chart(result, "terms", label="Loss terms, unweighted")
        + svg.chart(result, "probe", label="Live probe: share right or recited"),
        phases=zip(words.phases_text(spec, progress), map(words.details, spec.phases), strict=True),
        facts=[
            ("Model", words.model_text(spec)),
            ("Trained", words.training_text(spec)),
            ("Data", words.data_text(spec, progress)),
            *words.record_lines(spec, progress),
            *(("Changed by hand", text) for text in words.changes_text(spec, progress)),
        ],
        plain=json.dumps(spec.model_dump(mode="json"), indent=1, ensure_ascii=False),
        rows=shown(rows),
        told=f"{told}{_hidden(masked)}",
        models={"Model": "original"} if spec.only_scores else models,
        limits=words.limits(spec),
    )


def _hidden(masked: bool) -> str:
    return " Names, numbers and addresses are hidden." if masked else ""


def shown(rows: Sequence[AnswerRow]) -> list[AnswerRow]:
    """Return the rows that the report of a run shows."""
    groups: dict[tuple[str, str, str], list[AnswerRow]] = {}
    for row in rows:
        groups.setdefault((row.split, row.task, row.kind), []).append(row)
    return list(itertools.chain.from_iterable(group[:EXAMPLES] for group in groups.values()))


def comparison(
    of: Compared,
    *,
    masked: bool,
    weights: Weights | None = None,
    reference: Scores | None = None,
) -> str:
    """Write the report of a comparison.

    Args:
        of: The runs.
        masked: Whether names, numbers and addresses in the examples are hidden.
        weights: Weights of the ranking; equal weights if None.
        reference: Scores of the retrained model, which never saw the forget set.
    """
    scored = [run.after for run in of.entries]
    terms, speakers = matrix(of.entries), of.speakers
    groups: dict[tuple[str, str], list[Answer]] = {}
    for choice in choices(speakers):
        groups.setdefault((choice.split, choice.kind), []).append(choice)
    return _page(
        "comparison.html",
        f"{len(of.entries)} runs compared",
        masked=masked,
        entries=of.entries,
        ids=[run.run_id for run in of.entries],
        labels=of.labels,
        heads=[f"{one.title_for(*scored)} {one.mark}" for one in shown_scores()],
        lines=scoreboard(of.entries, of.intervals),
        weights=weights or Weights(),
        rankings=rankings(of.entries, weights),
        drawn=svg.plane(of, held_against(of.entries, reference))
        + "".join(svg.curves(of, series) for series in SERIES),
        terms=terms,
        tasks=subtask_titles(of.entries),
        term_rows=zip(terms.run_ids, terms.labels, terms.values, strict=True),
        measures=measure_table(of.entries, of.measures),
        differences=differences([run.spec for run in of.entries]),
        examples=[example(one, speakers) for rows in groups.values() for one in rows[:EXAMPLES]],
        hidden=_hidden(masked),
    )
