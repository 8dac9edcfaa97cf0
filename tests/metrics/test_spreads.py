"""Intervals of a run's scores, and changes told from noise."""

import pytest

from tests.browser.slow_lab import made_evidence
from tests.fakes import some_evidence
from unlearnlab.metrics.noise import aggregate_interval, auc_interval, mean_interval
from unlearnlab.metrics.scores import judged, scores, term_rows
from unlearnlab.metrics.spreads import spreads

BEFORE, AFTER = made_evidence(1.0, 12), made_evidence(0.0, 12)
RUN = spreads(BEFORE, AFTER)


def test_every_score_lies_in_its_interval():
    found = scores(AFTER)
    known = dict(found.terms) | {
        "task_aggregate": found.task_aggregate,
        "mia_score": found.mia_score,
        "utility": found.utility,
        "final": found.final,
    }
    assert {key: span.value for key, span in RUN.after.items()} == pytest.approx(known)
    assert all(span.low <= span.value <= span.high for span in RUN.after.values())


def test_intervals_are_those_of_each_score_by_itself():
    rows = term_rows(AFTER.answers)
    alone = aggregate_interval(rows)
    together = RUN.after["task_aggregate"]
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.03)
    alone = mean_interval(rows["retain/Task1/qa"])
    together = RUN.after["retain/Task1/qa"]
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.04)
    alone = auc_interval(AFTER.membership)
    assert RUN.after["mia_score"].low == pytest.approx(1 - 2 * (alone.high - 0.5), abs=0.03)


def test_what_was_forgotten_moved_and_what_was_kept_did_not_move():
    assert not RUN.within_noise("forget/Task1/qa")
    assert not RUN.within_noise("task_aggregate")
    assert spreads(AFTER, AFTER).within_noise("task_aggregate")
    assert spreads(AFTER, AFTER).change["task_aggregate"].high == 0


def test_a_change_is_judged_over_the_same_rows_and_so_more_sharply_than_two_models_apart():
    def model(drop):
        answers = [
            answer.model_copy(update={"score": (at % 5) / 4 * (1 - drop)})
            for at, answer in enumerate(AFTER.answers)
        ]
        return AFTER.model_copy(update={"answers": tuple(answers)})

    found, key = spreads(model(0.0), model(0.1)), "retain/Task1/qa"
    assert found.before[key].low < found.after[key].high
    assert not found.within_noise(key)


def test_models_that_were_asked_other_rows_have_intervals_and_no_change():
    found = spreads(BEFORE, some_evidence())
    assert found.change == {}
    assert found.before["task_aggregate"].value == 0
    assert not found.within_noise("task_aggregate")


def test_until_the_unlearned_model_was_scored_the_originals_intervals_are_shown():
    found = spreads(BEFORE)
    assert found.shown == found.before
    assert found.after == found.change == {}


def test_with_picked_rows_the_intervals_are_those_of_the_terms_they_make():
    picked = [answer.row for answer in AFTER.answers if answer.split == "forget"][::3]
    found = spreads(judged(AFTER, picked)).before
    assert found["forget/Task1/sc"].value == scores(AFTER, picked).terms["forget/Task1/sc"]
    assert found["task_aggregate"].value == scores(AFTER, picked).task_aggregate
