"""The rows that a reader sees, as one CSV file."""

import csv
import io
from dataclasses import replace

import pytest

from unlearnlab.exports.rows_csv import COLUMNS, rows_csv
from unlearnlab.views.answers import AnswerRow

ROW = AnswerRow(
    row="Task2-qa0",
    split="forget",
    task="Task2",
    kind="qa",
    prompt="What is Yara Brock's number?",
    expected="555-0142",
    original="555-0142",
    original_score=1.0,
    original_likelihood=0.1 + 0.2,
    unlearned='She said "no",\nand left.',
    unlearned_score=0.0,
    unlearned_likelihood=None,
    outcome="wrong_but_fluent",
)


def read(*rows, masked=False, **options):
    text = rows_csv(rows, masked=masked, **options).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_column_comes_back_as_it_was():
    (row,) = read(ROW, titles={"Task2": "Patients"})
    assert tuple(row) == COLUMNS
    assert row["unlearned"] == ROW.unlearned
    assert (row["subtask"], row["type"], row["label"]) == (
        "Patients",
        "answer",
        "wrong_but_fluent",
    )
    assert float(row["likelihood_before"]) == ROW.original_likelihood
    assert row["likelihood_after"] == ""


def test_masking_reaches_every_text():
    text = rows_csv([replace(ROW, unlearned="Yara 555")], masked=True).decode()
    assert "Yara" not in text
    assert "555" not in text
    assert "Task2-qa0" in text


@pytest.mark.parametrize("said", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_computes_nothing_that_a_model_wrote(said):
    (row,) = read(replace(ROW, unlearned=said))
    assert row["unlearned"] == f"'{said}"


def test_before_the_unlearned_model_was_scored_its_cells_are_empty():
    (row,) = read(replace(ROW, unlearned=None, unlearned_score=None))
    assert (row["unlearned"], row["score_after"], row["likelihood_after"]) == ("", "", "")
