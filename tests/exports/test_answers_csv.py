"""The files of answers, read as the task's script reads them."""

import io

import pandas
import pytest

from tests.browser.slow_lab import SlowLab
from tests.exports.results import hostile_result, result_of
from tests.fakes import stage
from unlearnlab.exports.answers_csv import COLUMNS, answers_csv
from unlearnlab.exports.kinds import files
from unlearnlab.exports.writing import write
from unlearnlab.metrics.official import official, score
from unlearnlab.metrics.scores import mia_auc
from unlearnlab.metrics.submission import load


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


def stopped_early(job):
    yield stage("loading")


def test_a_run_without_scores_has_no_files(tmp_path):
    assert answers_csv(result_of(tmp_path, script=stopped_early)) == {}
