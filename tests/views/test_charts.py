"""Charts of several runs: curves, the plane of forgetting and utility, parallel coordinates."""

import pytest

from tests.fakes import stepped
from tests.views.runs import run, scores, spec
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import forgotten
from unlearnlab.runs.events import Probed, StoredEvent
from unlearnlab.runs.progress import MANY_STEPS, thinned
from unlearnlab.spec.run import ModelSpec
from unlearnlab.views.charts import (
    MOST,
    Point,
    comparable_series,
    coordinates,
    curve,
    front,
    fronts,
    gate,
    offered,
    originals,
    points,
    published_points,
    smoothed,
    track,
)


def probe(step):
    return Probed(step=step, knowledge={"forget": 0.5}, regurgitation={}, nll={})


def tracked(*events):
    return track([StoredEvent(1, 0.0, event) for event in events])


TRACK = tracked(probe(0), stepped(1), stepped(2, loss=3.0), stepped(3))


def test_every_series_that_a_run_has_is_offered_by_name():
    assert offered([TRACK])["term.forget"] == "forget loss"
    assert next(iter(offered([TRACK]))) == "term.forget"
    assert "knowledge.forget" in offered([TRACK])


def test_objective_terms_are_offered_within_one_method_alone_and_answers_come_first():
    answers = {"forget": 1.0, "retain": 0.5}
    probed = Probed(step=0, knowledge={}, regurgitation={}, nll=answers)
    tracks = dict.fromkeys("ab", tracked(probed, stepped(1)))
    same = comparable_series([run("a"), run("b", spec(seed=1))], tracks)
    assert list(same)[:2] == ["answers", "term.forget"]
    mixed = comparable_series([run("a"), run("b", spec("npo"))], tracks)
    assert next(iter(mixed)) == "answers"
    assert not [name for name in mixed if name.startswith(("term", "weight"))]
    assert "nll.retain" in mixed
    assert comparable_series([run("c")], {}) == {}


def test_a_curve_runs_over_steps_tokens_or_seconds():
    assert curve(TRACK, "term.forget").xs == (1, 2, 3)
    assert curve(TRACK, "term.forget", "seconds").xs == (1, 2, 3)
    assert curve(TRACK, "term.forget", "tokens").xs == (100, 200, 300)
    assert curve(TRACK, "knowledge.forget", "tokens").xs == (0,)


def test_a_pause_is_no_training():
    late = stepped(4).model_copy(update={"seconds": 500.0})
    assert tracked(stepped(1), stepped(2), stepped(3), late).seconds == (1, 2, 3, 5)


def test_a_series_that_a_run_lacks_is_no_curve():
    assert curve(TRACK, "term.kl") is None
    assert curve(track([]), "term.forget") is None


def test_smoothing_leaves_a_constant_alone_and_keeps_gaps():
    assert smoothed((2.0, None, 2.0), 0.9) == (pytest.approx(2.0), None, pytest.approx(2.0))
    assert smoothed((1.0, 3.0), 0.0) == (1.0, 3.0)


def test_smoothing_out_of_range_is_refused():
    with pytest.raises(ValueError, match="smoothing 1 is out of range"):
        smoothed((1.0,), 1)


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_a_spike_of_one_step():
    steps = [stepped(n, loss=90.0 if n == 503 else 1.0) for n in range(1, 1001)]
    long = tracked(*steps)
    found = curve(long, "term.forget", most=100)
    assert len(found.xs) <= 102
    assert (found.xs[0], found.xs[-1]) == (1, 1000)
    assert found.ys[found.xs.index(503)] == max(found.ys) > 80
    assert len(curve(long, "term.forget", most=None).xs) == 1000


def test_every_series_of_a_long_run_keeps_its_own_extremes():
    steps = [stepped(n) for n in range(1, 5001)]
    steps[3332] = steps[3332].model_copy(update={"grad_norm": 77.0})
    thin, whole = tracked(*steps), track([StoredEvent(1, 0.0, one) for one in steps], most=None)
    assert 77.0 in thin.series["grad_norm"][1]
    assert len(thin.series["grad_norm"][0]) <= MANY_STEPS + 2
    assert len(whole.series["term.forget"][0]) == 5000


def test_a_run_that_measured_nothing_finite_is_thinned_too():
    assert len(thinned([None] * 9000, 100)) <= 102
    assert thinned([1.0], 100) == range(1)


# ---- forgetting against utility

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


def test_runs_that_were_measured_otherwise_beat_none():
    runs = [run("a", after=scores(0.9)), of_7b(forget=0.5), run("b", after=scores(0.4))]
    found = fronts(runs, points(runs))
    assert [[one.run_id for one in each] for each in found] == [["a"], ["o"]]


def test_a_snapshot_is_an_original_of_its_own():
    begun = ModelSpec(start_from="251009-085320-000@40")
    found = originals([run("a"), run("b", spec(model=begun), before=scores(0.5))])
    names = [one.label for one in found]
    assert names[1] == f"{names[0]}, from step 40 of run 251009-085320-000"


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


# ---- parallel coordinates


def axes(*runs):
    return {axis.name: axis for axis in coordinates(runs).axes}


def test_axes_begin_with_the_settings_that_are_varied_most_and_end_with_the_scores():
    one, two = spec("npo", epochs=2, first_layer=3), spec("rmu", learning_rate=1e-3, seed=2)
    found = [axis.key for axis in coordinates([run("a", one), run("b", two)]).axes]
    assert found[:4] == ["learning_rate", "epochs", "layers", "method"]
    assert found[-4:] == ["task_aggregate", "mia_score", "utility", "final"]
    assert "first_layer" not in found


def test_axes_are_chosen_in_any_order():
    found = coordinates([run("a"), run("b", spec(epochs=9))], ["final", "epochs", "verdict"])
    assert [(axis.key, axis.score) for axis in found.axes] == [
        ("final", True),
        ("epochs", False),
        ("verdict", False),
    ]
    assert (found.axes[1].low, found.axes[1].high) == (5, 9)
    assert found.axes[2].choices == ((0.0, found.axes[2].texts[0]),)


def test_settings_that_differ_come_first_and_then_the_scores():
    found = coordinates([run("a"), run("b", spec(epochs=9))])
    assert [axis.name for axis in found.axes] == [
        "epochs",
        "task aggregate",
        "MIA score",
        "Quiz",
        "final",
    ]
    assert [axis.score for axis in found.axes] == [False, True, True, True, True]


def test_numbers_that_span_decades_lie_on_a_logarithmic_axis():
    runs = [run(str(i), spec(learning_rate=10.0**-i)) for i in (2, 3, 6)]
    assert axes(*runs)["learning rate"].places == pytest.approx((1.0, 0.75, 0.0))


def test_choices_are_spread_evenly():
    found = axes(run("a", spec("npo")), run("b", spec("rmu")), run("c", spec()))["method"]
    assert found.places == (0.0, 0.5, 1.0)
    assert found.ticks[0] == (0.0, "NPO")


def test_a_run_without_a_setting_does_not_cross_its_axis():
    found = axes(run("a", spec("npo", seed=0)), run("b", spec("gradient_ascent"), scores()))
    missing = [axis for axis in found.values() if None in axis.places or "–" in axis.texts]
    assert missing


def test_what_has_no_room_is_named():
    one = spec("npo", epochs=2, learning_rate=1e-5, batch_size=4, weight_decay=0.1, first_layer=1)
    two = spec("rmu", last_layer=5, seed=3)
    found = coordinates([run("a", one), run("b", two)])
    assert len([axis for axis in found.axes if not axis.score]) == MOST
    assert found.left_out
