"""Parallel coordinates."""

import pytest

from tests.views.compare.runs import run, scores, spec
from unlearnlab.views.compare.coordinates import MOST, coordinates


def axes(*runs):
    return {axis.name: axis for axis in coordinates(runs).axes}


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
