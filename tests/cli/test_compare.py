"""The command `compare`: runs found by a query, and their table as text, CSV and LaTeX."""

import csv
import io
import json

import pytest

from tests.stored_runs import two_runs
from unlearnlab.cli.main import main


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("compared")
    return home, *two_runs(home)


@pytest.fixture
def compare(home, capsys):
    def run(*args, code=0):
        assert main(["compare", *args, "--home", str(home[0])]) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def test_runs_are_found_by_a_query(compare, home):
    text = compare("--query", "seed=1 aggregate>0.5")
    assert home[2] in text
    assert home[1] not in text
    assert home[1] in compare(*home[1:], "--query=-two")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "no run is named"),
        (("--query", "agregate>1"), "did you mean aggregate"),
        (("--query", "seed>7"), "no run passes"),
        (("--query", "seed:0", "--columns", "zebra"), "no column “zebra”"),
        (("--query", "seed:0", "--fold", "seed", "--report", "x.html"), "report"),
        (("--query", "seed:0", "--sort", "seed", "--weights", "1,2,3"), "weights"),
        (("--query", "seed:0", "--csv", "--json"), "json"),
    ],
)
def test_what_cannot_be_compared_is_told(compare, args, told):
    assert told in compare(*args, code=2)


def test_a_table_has_the_chosen_columns_and_changes_from_a_baseline(compare, home):
    text = compare("--query", "gradient", "--columns", "lr,auc,probability", "--sort", "seed")
    head, one, two = text.splitlines()
    assert ("learning rate" in head, "MIA AUC" in head, "Probability" in head) == (True,) * 3
    assert (home[2] in one, home[1] in two) == (True, True), "the highest seed first"
    assert "(+" in compare("--query", "seed=1", "--columns", "final", "--baseline", home[1]) or (
        "(−" in compare("--query", "seed=1", "--columns", "final", "--baseline", home[1])
    )


def test_seeds_are_folded_and_the_table_is_written_as_csv_and_latex(compare):
    args = ("--query", "gradient", "--fold", "seed", "--columns", "aggregate,epochs")
    head, row = csv.reader(io.StringIO(compare(*args, "--csv")))
    assert head == ["run", "name", "runs", "task_aggregate", "task_aggregate sd", "epochs"]
    assert row[2] == "2"
    assert float(row[4]) > 0
    (row,) = json.loads(compare(*args, "--json"))
    assert (len(row["runs"]), row["columns"]["epochs"]["value"]) == (2, 5)
    assert row["columns"]["task_aggregate"]["sd"] > 0
    latex = compare(*args, "--latex")
    assert r"$\pm$" in latex
    assert r"\bottomrule" in latex
