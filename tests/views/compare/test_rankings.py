"""Runs are ranked by weights, and never together with what does not compare."""

import pytest

from tests.views.compare.runs import run, scores, spec
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec
from unlearnlab.views.compare.rankings import Weights, comparable, rankings, setting, weighted


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


def test_method_settings_seed_and_precision_do_not_part_runs():
    others = [
        run("b", spec("npo", seed=4, epochs=2)),
        run("c", spec(model=ModelSpec(precision="bfloat16"))),
    ]
    assert len(comparable([run("a"), *others])) == 1


def test_a_run_without_scores_belongs_nowhere():
    assert setting(run(after=False)) is None
    assert rankings([run(after=False)]) == ()
