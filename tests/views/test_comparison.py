"""Scores of several runs: the best of each column, what lies within noise of it, terms, ranks."""

from dataclasses import replace

import pytest

from tests.views.runs import run, scores, spec
from unlearnlab.metrics.intervals import Interval, independent_difference
from unlearnlab.metrics.labels import Label
from unlearnlab.metrics.scores import SCORES
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec
from unlearnlab.views.answers import AnswerRow
from unlearnlab.views.comparison import (
    Weights,
    comparable,
    matrix,
    rankings,
    row_pairs,
    scoreboard,
    setting,
    weighted,
)


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


def test_an_attack_on_held_out_rows_is_never_compared_with_the_official_one():
    protocol = {"mia_protocol": "held-out rows as non-members"}
    other = run("h", spec("rmu"), scores(0.8, auc=0.5).model_copy(update=protocol))
    assert len(comparable([ALL[0], other])) == 2
    assert marks(scoreboard([ALL[0], other]), "mia_score") == ["", ""]
    assert "held-out rows as non-members" in setting(other).text
    unmeasured = scores(0.8, auc=None).model_copy(update={"mia_protocol": "no second fold"})
    assert setting(run("n", spec(), unmeasured)).attack == ""


def test_what_lies_within_the_intervals_of_both_is_alike():
    value = [one.after.task_aggregate or 0.0 for one in ALL]
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


def test_a_rerun_of_a_seed_tells_nothing_apart():
    def runs(kind, value):
        return [run(f"{kind}{at}", spec(kind), scores(value)) for at in range(2)]

    once = [*runs("npo", 0.5)[:1], *runs("rmu", 0.51)[:1]]
    wide = {one.run_id: {"task_aggregate": Interval(0.5, 0.4, 0.6)} for one in once}
    wide |= {again: wide[one] for again, one in (("npo1", "npo0"), ("rmu1", "rmu0"))}
    assert marks(scoreboard(once, wide)) == ["alike", "best"]
    twice = [*runs("npo", 0.5), *runs("rmu", 0.51)]
    assert marks(scoreboard(twice, wide)) == ["alike", "alike", "best", "best"]


def test_rows_of_different_data_are_no_pair_though_their_ids_are_equal():
    one = AnswerRow(
        row="1",
        split="forget",
        task="Task1",
        kind="qa",
        prompt="Who?",
        expected="Ada",
        original="Ada",
        original_score=1.0,
        original_likelihood=None,
        unlearned=None,
        unlearned_score=None,
        unlearned_likelihood=None,
        label=Label("leaked"),
    )
    assert len(row_pairs([one], [one])) == 1
    assert row_pairs([one], [replace(one, prompt="Where?", expected="Here")]) == ()


def test_a_run_without_scores_has_an_empty_line():
    cell = scoreboard([*ALL, run("d", after=False)])[3].cells["final"]
    assert (cell.after, cell.best, cell.within_noise) == (None, False, False)


def test_half_widths_add_as_squares():
    difference = independent_difference(Interval(0.5, 0.2, 0.8), Interval(0.6, 0.2, 1.0))
    assert (difference.low, difference.high) == (pytest.approx(-0.4), pytest.approx(0.6))


def test_a_score_whose_ideal_is_not_one_is_best_where_it_comes_nearest(monkeypatch):
    auc = replace(SCORES["mia_auc"], shown=True)
    monkeypatch.setitem(SCORES, "mia_auc", auc)
    assert marks(scoreboard(ALL), "mia_auc") == ["", "best", ""]


# ---- terms


def test_the_matrix_has_a_row_for_each_scored_run_and_forget_first():
    found = matrix([run("a"), run("b", after=False), run("c", spec("npo"), scores(0.5))])
    assert found.run_ids == ("a", "c")
    assert len(found.columns) == 12
    assert [column.split for column in found.columns] == ["forget"] * 6 + ["retain"] * 6
    assert found.columns[0].text == "Forget · Stories recite"
    assert found.values[1][:2] == (0.5, 0.5)


def test_no_runs_make_an_empty_matrix():
    assert matrix([]).columns == ()


# ---- ranking


def places(*runs, **weights):
    (ranking,) = rankings(runs, Weights({**Weights().of, **weights}))
    return [(place.run.run_id, place.rank) for place in ranking.places]


def test_equal_weights_give_the_tasks_final_score():
    one = scores()
    assert weighted(one, Weights()) == pytest.approx(one.final)


def test_weights_decide_who_is_first():
    forgets, hides = run("f", after=scores(0.95, auc=0.9)), run("h", after=scores(0.5, auc=0.5))
    assert places(forgets, hides, mia=0) == [("f", 1), ("h", 2)]
    assert places(forgets, hides, aggregate=0, utility=0) == [("h", 1), ("f", 2)]


def test_equals_share_a_rank():
    assert places(run("a"), run("b"), run("c", after=scores(0.3))) == [("a", 1), ("b", 1), ("c", 3)]


def test_a_wreck_takes_no_place_however_high_its_score():
    wreck = scores(1.0, 0.01, auc=0.5, utility=0.25, aggregate=0.0)
    (ranking,) = rankings([run("w", after=wreck), run("p", after=scores(0.2, auc=0.99))])
    assert [(p.run.run_id, p.rank, p.reason) for p in ranking.places] == [
        ("p", 1, ""),
        ("w", None, "collapsed"),
    ]


def test_a_part_that_counts_must_have_been_measured():
    blind = run("b", after=scores(auc=None))
    (ranking,) = rankings([blind])
    assert ranking.places[0].rank is None
    assert "not measured" in ranking.places[0].reason
    assert places(blind, mia=0) == [("b", 1)]


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, -1, 1)])
def test_weights_that_cannot_rank_are_refused(weights):
    with pytest.raises(ValueError, match="cannot rank"):
        Weights(dict(zip(("aggregate", "mia", "utility"), weights, strict=True)))


@pytest.mark.parametrize(
    "other",
    [
        run("b", spec(model=ModelSpec(name="olmo-1b"))),
        run("b", spec(data=DataSpec(fold="validation"))),
        run("b", spec(data=DataSpec(tasks=("Task1",)))),
        run("b", spec(data=DataSpec(forget=("x",)))),
        run("b", spec().model_copy(update={"evaluation": EvaluationSpec(max_new_tokens=32)})),
        run("b", after=scores(protocol="MMLU 5-shot")),
        run("b", spec("memorize")),
    ],
    ids=["model", "fold", "subtasks", "picked rows", "answer length", "utility", "teaches"],
)
def test_what_was_measured_otherwise_is_ranked_apart(other):
    assert len(rankings([run("a"), other])) == 2


def test_runs_with_and_without_the_chat_template_are_ranked_apart():
    model = ModelSpec(name="olmo-1b")
    plain, turns = spec(model=model), spec(model=model, data=DataSpec(chat_template="on"))
    assert len(rankings([run("a", plain), run("b", turns)])) == 2
    assert "chat template, " in setting(run("b", turns)).text
    assert "chat template" not in setting(run("a", plain)).text
    # The embedded model has none to use.
    assert len(rankings([run("a"), run("b", spec(data=DataSpec(chat_template="auto")))])) == 1


def test_method_settings_seed_and_precision_do_not_part_runs():
    others = [
        run("b", spec("npo", seed=4, epochs=2)),
        run("c", spec(model=ModelSpec(precision="bfloat16"))),
    ]
    assert len(comparable([run("a"), *others])) == 1


def test_a_run_without_scores_belongs_nowhere():
    assert setting(run(after=False)) is None
    assert rankings([run(after=False)]) == ()
