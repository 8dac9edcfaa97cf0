"""The scores of a run as HTML: scoreboard, strip of terms, MMLU by subject, published results."""

import re
from collections.abc import Sequence

from unlearnlab.metrics.mmlu import SubjectChange
from unlearnlab.metrics.published import SPLITS, results
from unlearnlab.metrics.scores import Scores
from unlearnlab.metrics.verdicts import THRESHOLDS, TITLES
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.html import render, span
from unlearnlab.views.scoreboard import MOODS, Others, Scoreboard, Term

OFFICIAL = "SemEval-2025 Task 4"
"""Source of the datasets that are the task's own."""

_LINKS = re.compile(r"(arXiv:\d{4}\.\d{4,5}|github\.com/[\w.-]+/[\w.-]*\w)")


def scoreboard_html(
    board: Scoreboard,
    *,
    ended: bool,
    key: str = "",
    subjects: Sequence[SubjectChange] = (),
    leaks: str = "",
) -> str:
    """Draw the scores before and after, the verdict, and MMLU by subject if it was measured.

    Args:
        board: The view.
        ended: Whether the run is over, so that no further score will come.
        key: Names the scores that are shown, for the page's script.
        subjects: Accuracy in each MMLU subject.
        leaks: How many forget rows still leak, in words; empty if none does.
    """
    verdict = board.verdict
    return render(
        "run/scoreboard.html",
        board=board,
        ended=ended,
        key=key,
        subjects=subjects,
        leaks=leaks,
        moods=MOODS,
        thresholds=THRESHOLDS if verdict and verdict.kind in THRESHOLDS else {},
        titles=TITLES,
        references=any(card.reference is not None for card in board.cards),
        intervals=any(card.interval for card in board.cards),
        span=span,
        percent=lambda value: f"{100 * min(1.0, max(0.0, value or 0.0)):.1f}",
    )


def strip_html(terms: Sequence[Term], others: Others | None = None) -> str:
    """Draw the terms of the task aggregate as a heat strip.

    Args:
        terms: The terms of both sets.
        others: Scores of the forget rows that were not picked; none if all were.
    """
    return render(
        "run/strip.html",
        terms=terms,
        others=others,
        columns=dict.fromkeys(term.column for term in terms),
        known=sum(term.value is not None for term in terms) or len(terms),
        zero=[f"{term.split} · {term.column}" for term in terms if term.zeroes],
        intervals=any(term.interval for term in terms),
        noise=any(term.within_noise for term in terms),
        span=span,
    )


def published_html(spec: RunSpec, scores: Scores | None) -> str:
    """Draw the published results of the task, comparable ones first.

    Args:
        spec: The run that they are compared with.
        scores: Scores of its unlearned model.
    """
    split = spec.data.fold if spec.data.known.source == OFFICIAL else "other"
    listed = sorted(
        ((row.differs(spec.model.name, split), row) for row in results()),
        key=lambda pair: (bool(pair[0]), pair[1].model, -(pair[1].final or 0.0)),
    )
    own = None
    if scores:  # A quiz is not MMLU, held-out rows are not the attack's, and a mean not final.
        mmlu = scores.utility if scores.measures_mmlu else None
        mia = scores.mia_score if scores.official_attack else None
        final = None if mmlu is None or mia is None else scores.final
        own = (scores.task_aggregate, mia, mmlu, final)
    return render(
        "run/published.html",
        spec=spec,
        own=own,
        listed=listed,
        comparable=sum(not differs for differs, _ in listed),
        splits=SPLITS,
        linked=_LINKS.split,
    )
