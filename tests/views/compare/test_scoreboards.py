"""The best of each column is marked, and what noise does not tell from it."""

from dataclasses import replace

import pytest

from tests.views.compare.runs import run, scores, spec
from unlearnlab.metrics.intervals import Interval, independent_difference
from unlearnlab.metrics.scores import SCORES
from unlearnlab.spec.run import DataSpec
from unlearnlab.views.compare.scoreboards import scoreboard
from unlearnlab.views.compare.seeds import seed_groups


def marks(lines, name="task_aggregate"):
    return [
        "best" if line.cells[name].best else "alike" if line.cells[name].within_noise else ""
        for line in lines
    ]


ALL = [
    run("a", spec("npo"), scores(0.9, auc=0.9)),
    run("b", spec("rmu"), scores(0.8, auc=0.5)),
    run("c", spec(), scores(0.3, auc=0.6)),
]


def test_the_best_of_each_column_is_marked():
    assert marks(scoreboard(ALL)) == ["best", "", ""]
    assert marks(scoreboard(ALL), "mia_score") == ["", "best", ""]


def test_a_run_without_a_rival_is_no_best():
    other = run("o", spec(data=DataSpec(fold="validation")), scores(0.1))
    assert marks(scoreboard([ALL[0], other])) == ["", ""]
    assert [line.setting.fold for line in scoreboard([ALL[0], other])] == ["train", "validation"]


def test_what_lies_within_the_intervals_of_both_is_alike():
    value = [one.after.task_aggregate for one in ALL]
    wide = {
        one.run_id: {"task_aggregate": Interval(v, v - 0.1, v + 0.1)}
        for one, v in zip(ALL, value, strict=True)
    }
    assert marks(scoreboard(ALL, wide)) == ["best", "alike", ""]


def test_runs_that_differ_in_their_seed_alone_are_alike():
    runs = [run("a", spec(), scores(0.9)), run("b", spec(seed=1), scores(0.5))]
    assert marks(scoreboard(runs)) == ["best", "alike"]


def test_several_seeds_of_two_settings_tell_whether_they_differ():
    def runs(kind, *values):
        return [run(f"{kind}{i}", spec(kind, seed=i), scores(v)) for i, v in enumerate(values)]

    far = [*runs("npo", 0.90, 0.91, 0.92), *runs("rmu", 0.30, 0.31, 0.32)]
    assert marks(scoreboard(far)) == ["alike", "alike", "best", "", "", ""]
    near = [*runs("npo", 0.50, 0.70, 0.90), *runs("rmu", 0.45, 0.70, 0.85)]
    assert marks(scoreboard(near)) == ["alike", "alike", "best", "alike", "alike", "alike"]


def test_a_run_without_scores_has_an_empty_line():
    cell = scoreboard([*ALL, run("d", after=False)])[3].cells["final"]
    assert (cell.after, cell.best, cell.within_noise) == (None, False, False)


def test_half_widths_add_as_squares():
    difference = independent_difference(Interval(0.5, 0.2, 0.8), Interval(0.6, 0.2, 1.0))
    assert (difference.low, difference.high) == (pytest.approx(-0.4), pytest.approx(0.6))


def test_seeds_of_one_setting_are_a_group():
    groups = seed_groups([run("a"), run("b", spec("npo")), run("c", spec(seed=2))])
    assert [[one.run_id for one in group] for group in groups] == [["a", "c"], ["b"]]


def test_a_score_whose_ideal_is_not_one_is_best_where_it_comes_nearest(monkeypatch):
    auc = replace(SCORES["mia_auc"], shown=True)
    monkeypatch.setitem(SCORES, "mia_auc", auc)
    assert marks(scoreboard(ALL), "mia_auc") == ["", "best", ""]
