"""The matrix of terms."""

from tests.views.compare.runs import run, scores, spec
from unlearnlab.views.compare.terms import matrix


def test_the_matrix_has_a_row_for_each_scored_run_and_forget_first():
    found = matrix([run("a"), run("b", after=False), run("c", spec("npo"), scores(0.5))])
    assert found.run_ids == ("a", "c")
    assert len(found.columns) == 12
    assert [column.split for column in found.columns] == ["forget"] * 6 + ["retain"] * 6
    assert found.columns[0].text == "Forget · Stories recite"
    assert found.values[1][:2] == (0.5, 0.5)


def test_no_runs_make_an_empty_matrix():
    assert matrix([]).columns == ()
