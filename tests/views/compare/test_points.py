"""Runs on the plane of forgetting and utility."""

import pytest

from tests.views.compare.runs import run, scores, spec
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import forgotten
from unlearnlab.spec.run import ModelSpec
from unlearnlab.views.compare.points import (
    Point,
    front,
    gate,
    originals,
    points,
    published_points,
)

MMLU = "MMLU: 5 shots"


def at(x, y):
    return Point(f"{x} {y}", "", x, y, None)


def of_7b(**more):
    return run("o", spec(model=ModelSpec(name="olmo-7b")), scores(protocol=MMLU, **more))


def test_forgetting_is_the_mean_of_the_forget_terms():
    assert forgotten(scores(0.6, forget_Task1_sc=0.0)) == pytest.approx(0.5)


def test_a_run_lies_where_its_scores_are():
    (one,) = points([run("a", after=scores(0.7, utility=0.5, auc=0.5))])
    assert (one.x, one.y, one.mia_score) == (pytest.approx(0.7), 0.5, 1.0)
    (other,) = points([run("a", after=scores(aggregate=0.3))], "task_aggregate")
    assert other.x == 0.3


def test_what_was_not_measured_has_no_place():
    assert points([run("a", after=scores(utility=None)), run("b", after=False)]) == ()


def test_originals_come_once():
    assert len(originals([run("a"), run("b", spec("npo"))])) == 1


def test_the_front_holds_what_nothing_beats_in_both_directions():
    kept = front([at(0.1, 0.9), at(0.5, 0.5), at(0.4, 0.4), at(0.9, 0.1), at(0.9, 0.05)])
    assert [(one.x, one.y) for one in kept] == [(0.1, 0.9), (0.5, 0.5), (0.9, 0.1)]
    assert len(front([at(0.5, 0.5), at(0.5, 0.5)])) == 2


def test_the_gate_is_the_tasks_own_or_a_share_of_the_original():
    assert gate([run("a")]) == pytest.approx(0.75 * 0.9)
    assert gate([of_7b()]) == 0.371
    assert gate([run("a"), of_7b()]) is None


def test_published_results_stand_beside_runs_of_their_model_alone():
    assert published_points([run("a")], results()) == ()
    found = published_points([of_7b()], results())
    assert found
    assert all("not comparable" in one.note for one in found if "private" in one.note)
    known = {row.system for row in results() if row.model == "7B"}
    assert {one.label for one in found} <= known
