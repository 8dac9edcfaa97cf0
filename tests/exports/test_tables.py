"""Tables of answers: the official script's files, and the rows that a reader sees."""

import csv
import io
import json
from dataclasses import replace

import pandas
import pytest

from tests.browser.slow_lab import SlowLab
from tests.exports.results import hostile_result, result_of
from tests.fakes import stage
from unlearnlab.exports.kinds import files, write
from unlearnlab.exports.tables import (
    COLUMNS,
    READER_COLUMNS,
    answers_csv,
    csv_table,
    rows_csv,
    said_csv,
)
from unlearnlab.metrics.labels import Label
from unlearnlab.metrics.official import official, score
from unlearnlab.metrics.scores import Answer, mia_auc, row_score
from unlearnlab.metrics.submission import load
from unlearnlab.views.answers import AnswerRow


def read(content):
    return pandas.read_csv(io.BytesIO(content))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    lab = SlowLab(step_s=0, rows=4, steps=2)
    return result_of(tmp_path_factory.mktemp("home"), lab=lab)


def test_the_scripts_scores_come_out_of_the_folder(result, tmp_path):
    (folder,) = write(files(result, "answers", masked=True), tmp_path)
    for model, scores in (("original", result.row.before), ("unlearned", result.row.after)):
        found = official(score(load(folder / model)))
        assert found["aggregated-terms"] == pytest.approx(list(scores.terms.values()))
        assert found["harmonic-mean-task-aggregate"] == pytest.approx(scores.task_aggregate)
        assert found["mia_loss_acc"] == pytest.approx(scores.mia_auc)


def test_the_columns_are_those_of_the_script(result):
    table = read(answers_csv(result)["unlearned/forget_0.csv"])
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 24
    assert set(table["task"]) == {"Task1", "Task2", "Task3"}


def test_the_losses_of_the_attack_are_there(result):
    losses = read(answers_csv(result)["unlearned/mia_results/member_0.csv"])
    assert tuple(losses.columns) == ("id", "nll")
    assert tuple(losses["nll"]) == pytest.approx(result.after.membership.member)
    assert mia_auc(result.after.membership) == result.row.after.mia_auc


def test_text_with_quotes_lines_and_commas_survives(tmp_path):
    result = hostile_result(tmp_path)
    table = read(answers_csv(result)["unlearned/retain_0.csv"])
    said = [one.generated for one in result.after.answers if one.split == "retain"]
    assert list(table["model_output"]) == said


ODD = (
    *("nan", "NaN", "NA", "N/A", "n/a", "null", "None", "<NA>", "#N/A", "", " ", "-", "inf"),
    *("True", "007", "7", "7.0", "1e5", "100000", "-0", "+1", "0x1f", "1_000", "1,000", "٣", "½"),
    *('"', "''", 'a"b', "a,b", "a\nb", "a\r\nb", "a\rb", "\r", "\n", "\ta", "a ", "=1+1", "'=1"),
    *("1990-01-02", "\u2028", "\ufeffa", "a\u00a0b", "caf\u00e9", "cafe\u0301", "\u200bא", "😀"),
    *("\x1c", "\x85", "a\x00b"),
)
"""Texts that a table may change."""


@pytest.mark.parametrize("kind", ["qa", "sc"])
@pytest.mark.parametrize("alone", ODD)
def test_every_answer_scores_in_its_folder_as_it_did_in_the_run(tmp_path, kind, alone):
    # A column of one text alone is where pandas makes numbers of texts.
    for name, texts in (("alone", (alone, alone)), ("among", ODD)):
        rows = [
            Answer(
                row=f"{at}{kind}0",
                split="retain",
                task="Task1",
                kind=kind,
                prompt="p",
                expected=alone,
                generated=said,
                nll=0.5,
                ended=True,
                score=row_score(kind, alone, said),
            )
            for at, said in enumerate(texts)
        ]
        cells = [(a.row, a.task, a.prompt, a.expected, a.generated, a.nll) for a in rows]
        (tmp_path / name).mkdir()
        (tmp_path / name / "retain_0.csv").write_bytes(csv_table(COLUMNS, cells))
        back = load(tmp_path / name).answers
        assert [(a.row, a.expected, a.generated, a.score) for a in back] == [
            (a.row, a.expected, a.generated, a.score) for a in rows
        ]


def stopped_early(job):
    yield stage("loading")


def test_a_run_without_scores_has_no_files(tmp_path):
    assert answers_csv(result_of(tmp_path, script=stopped_early)) == {}


# ---- the rows that a reader sees

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
    label=Label("different"),
)


def table(*rows, masked=False, **options):
    text = rows_csv(rows, masked=masked, **options).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_column_comes_back_as_it_was():
    (row,) = table(ROW, titles={"Task2": "Patients"})
    assert tuple(row) == READER_COLUMNS
    assert row["unlearned"] == ROW.unlearned
    assert (row["subtask"], row["type"], row["label"]) == (
        "Patients",
        "answer",
        "different",
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
    (row,) = table(replace(ROW, unlearned=said))
    assert row["unlearned"] == f"'{said}"


def test_before_the_unlearned_model_was_scored_its_cells_are_empty():
    (row,) = table(replace(ROW, unlearned=None, unlearned_score=None))
    assert (row["unlearned"], row["score_after"], row["likelihood_after"]) == ("", "", "")


def test_what_was_said_is_a_table_of_rows_and_probes(result):
    table = read(said_csv(result, masked=False))
    steps = [one.step for one in result.said]
    assert list(table["step"].unique()) == steps
    assert len(table) == 4 * len(steps)
    first = table.iloc[0]
    assert (first["set"], first["answer"], first["label"]) == ("forget", "555-588-6866", "leaked")
    assert json.loads(first["true_words"])[0][0] == "555-588-6866"
    assert all(0 <= likelihood <= 1 for likelihood in table["likelihood"])
    masked = said_csv(result, masked=True).decode()
    assert "###-###-####" in masked
    assert "555-588" not in masked
