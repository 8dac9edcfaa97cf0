"""The files of answers, read as the task's script reads them."""

import io
import statistics

import pandas
import pytest

from tests.browser.slow_lab import SlowLab
from tests.exports.outcomes import hostile_outcome, outcome_of
from tests.fakes import stage
from unlearnlab.exports.answers_csv import COLUMNS, answers_csv
from unlearnlab.metrics import mia_auc, row_score


def read(content):
    return pandas.read_csv(io.BytesIO(content))


def official_terms(files, model):
    """Compute the terms as the script does: by task, from the id, with its two scores."""
    found = {}
    for split in ("forget", "retain"):
        for row in read(files[f"{model}/{split}_0.csv"]).to_dict("records"):
            kind = "sc" if row["id"][:-1].endswith("sc") else "qa"
            score = row_score(kind, str(row["expected_output"]), str(row["model_output"]))
            found.setdefault(f"{split}/{row['task']}/{kind}", []).append(score)
    return {
        name: 1 - statistics.fmean(of) if name.startswith("forget") else statistics.fmean(of)
        for name, of in found.items()
    }


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    lab = SlowLab(step_s=0, rows=4, steps=2)
    return outcome_of(tmp_path_factory.mktemp("home"), lab=lab)


def test_the_scripts_own_scores_come_out_of_the_files(outcome):
    files = answers_csv(outcome)
    for model, scores in (("original", outcome.row.before), ("unlearned", outcome.row.after)):
        assert official_terms(files, model) == pytest.approx(dict(scores.terms))


def test_the_columns_are_those_of_the_script(outcome):
    files = answers_csv(outcome)
    table = read(files["unlearned/forget_0.csv"])
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 24
    assert set(table["task"]) == {"Task1", "Task2", "Task3"}


def test_the_losses_of_the_attack_are_there(outcome):
    files = answers_csv(outcome)
    losses = read(files["unlearned/mia_results/member_0.csv"])
    assert tuple(losses.columns) == ("id", "nll")
    assert tuple(losses["nll"]) == pytest.approx(outcome.after.membership.member)
    assert mia_auc(outcome.after.membership) == outcome.row.after.mia_auc


def test_text_with_quotes_lines_and_commas_survives(tmp_path):
    outcome = hostile_outcome(tmp_path)
    table = read(answers_csv(outcome)["unlearned/retain_0.csv"])
    said = [one.generated for one in outcome.after.answers if one.split == "retain"]
    assert list(table["model_output"]) == said


def stopped_early(job):
    yield stage("loading")


def test_a_run_without_scores_has_no_files(tmp_path):
    assert answers_csv(outcome_of(tmp_path, script=stopped_early)) == {}
