"""Answers row by row as one table: what both models said, labels, scores, likelihoods."""

from collections.abc import Mapping, Sequence

from unlearnlab.exports.answers_csv import csv_table
from unlearnlab.views.answers import AnswerRow, mask
from unlearnlab.views.scoreboard import KINDS, TASKS

COLUMNS = (
    "id",
    "set",
    "subtask",
    "type",
    "prompt",
    "expected",
    "original",
    "unlearned",
    "label",
    "judged",
    "score_before",
    "score_after",
    "likelihood_before",
    "likelihood_after",
)

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell must not begin with: a spreadsheet would compute what a model wrote."""


def rows_csv(
    rows: Sequence[AnswerRow], titles: Mapping[str, str] = TASKS, *, masked: bool
) -> bytes:
    """Write rows in their order. A text that a spreadsheet would compute begins with '.

    Args:
        rows: Of a run.
        titles: Names of the subtasks.
        masked: Whether names, numbers and addresses in the texts are hidden.
    """

    def text(said: str | None) -> str:
        return _inert(mask(said or "") if masked else said or "")

    return csv_table(
        COLUMNS,
        [
            (
                _inert(row.row),
                row.split,
                titles.get(row.task, row.task),
                KINDS[row.kind],
                *(text(said) for said in (row.prompt, row.expected, row.original, row.unlearned)),
                row.outcome,
                row.judged,
                *map(_number, (row.original_score, row.unlearned_score)),
                *map(_number, (row.original_likelihood, row.unlearned_likelihood)),
            )
            for row in rows
        ],
    )


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _number(value: float | None) -> float | str:
    """Write a number in full, and nothing where there is none."""
    return "" if value is None else value
