"""Intervals cover what they should, and differences are told from noise."""

import random
import statistics

import pytest

from tests.browser.slow_lab import made_evidence
from tests.fakes import some_evidence
from unlearnlab.metrics.intervals import (
    Interval,
    aggregate_interval,
    auc_interval,
    mean_interval,
    score_intervals,
    seed_difference,
    share_interval,
    term_intervals,
)
from unlearnlab.metrics.membership import auc_reading
from unlearnlab.metrics.scores import SCORES, Membership, scored_evidence, scores, term_rows


def test_a_means_interval_is_as_wide_as_theory_says():
    rows = [0.0] * 60 + [1.0] * 40
    found = mean_interval(rows)
    error = (0.4 * 0.6 / 100) ** 0.5
    assert found.value == 0.4
    assert found.low == pytest.approx(0.4 - 1.96 * error, abs=0.015)
    assert found.high == pytest.approx(0.4 + 1.96 * error, abs=0.015)


def test_rows_that_score_alike_have_no_width():
    assert mean_interval([1.0] * 7) == Interval(1.0, 1.0, 1.0)


def test_an_interval_is_the_same_each_time_and_shrinks_with_more_rows():
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 1000
    assert mean_interval(few) == mean_interval(few)
    wide, narrow = mean_interval(few), mean_interval(many)
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5


def test_an_interval_knows_its_rows():
    assert mean_interval([1.0]).rows == 1
    assert share_interval(3, 7).rows == 7
    found = score_intervals(some_evidence(forgets=True)).before
    assert {one.rows for key, one in found.items() if "/" in key} == {1}
    assert found["task_aggregate"].rows == 1


def test_the_aggregate_has_the_rows_of_its_terms_however_few_documents_are_attacked():
    alone = Membership(member=(1.0,), nonmember=(2.0,))
    found = score_intervals(made_evidence(1.0, 12).model_copy(update={"membership": alone})).before
    assert found["task_aggregate"].rows == found["forget/Task1/qa"].rows
    assert found["task_aggregate"].rows == 12
    assert found["mia_score"].rows == 1


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        mean_interval([])
    with pytest.raises(ValueError, match="at least one term"):
        aggregate_interval({})


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw = random.Random(0)
    hits = 0
    for seed in range(200):
        rows = [float(draw.random() < 0.3) for _ in range(80)]
        hits += 0.3 in mean_interval(rows, str(seed))
    assert 0.88 <= hits / 200 <= 0.99


ROWS = {
    "forget/Task1/sc": [0.2, 0.4] * 20,
    "forget/Task1/qa": [0.0] * 30 + [1.0] * 10,
    "retain/Task1/sc": [0.9] * 40,
    "retain/Task1/qa": [1.0] * 36 + [0.0] * 4,
}


def test_forget_terms_are_turned_round_and_each_has_its_interval():
    found = term_intervals(ROWS)
    assert [found[key].value for key in ROWS] == pytest.approx([0.7, 0.75, 0.9, 0.9])
    assert all(span.low <= span.value <= span.high for span in found.values())
    assert found["forget/Task1/qa"].low < 0.7 < 0.8 < found["forget/Task1/qa"].high


def test_the_aggregates_interval_holds_the_harmonic_mean():
    found = aggregate_interval(ROWS)
    assert found.value == pytest.approx(statistics.harmonic_mean([0.7, 0.75, 0.9, 0.9]))
    assert found.low < found.value < found.high


def test_an_aggregate_that_is_zero_stays_zero_in_every_sample():
    rows = ROWS | {"forget/Task1/sc": [1.0] * 30}
    assert aggregate_interval(rows) == Interval(0.0, 0.0, 0.0)


def test_the_attacks_interval_holds_its_auc_and_narrows_with_documents():
    few = auc_interval(Membership(member=(1.0, 3.0), nonmember=(2.0, 4.0)))
    assert (few.value, few.low, few.high) == (0.75, 0.0, 1.0)
    draw = random.Random(2)
    losses = Membership(
        member=tuple(draw.gauss(0, 1) for _ in range(150)),
        nonmember=tuple(draw.gauss(0, 1) for _ in range(150)),
    )
    many = auc_interval(losses)
    assert 0.5 in many
    # Hanley and McNeil's standard error at one half: ((n + m + 1) / (12 n m)) ** 0.5.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.0334, rel=0.1)


def test_infinite_losses_count_as_the_highest():
    most = float("inf")
    found = auc_interval(Membership(member=(most, most), nonmember=(1.0, most)))
    assert found.value == 0.25


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        (Interval(0.95, 0.9, 0.99), "lower loss is the member in 95% of pairs"),
        (Interval(0.95, 0.9, 0.99), "still remembered"),
        (Interval(0.56, 0.52, 0.59), "slightly remembered"),
        (Interval(0.1, 0.05, 0.2), "higher loss is the member in 90% of pairs"),
        (Interval(0.1, 0.05, 0.2), "clearly pushed too far"),
        (Interval(0.52, 0.4, 0.6), "cannot be told apart"),
    ],
)
def test_the_attack_is_read_in_both_directions(auc, words):
    assert words in auc_reading(auc)


def test_two_settings_are_compared_over_their_seeds():
    # By hand: means 0.5 and 0.8, standard errors 0.1 / 3 ** 0.5 each, so t with 4 degrees: 2.776.
    found = seed_difference([0.4, 0.5, 0.6], [0.7, 0.8, 0.9])
    assert found.value == pytest.approx(0.3)
    assert found.high - 0.3 == pytest.approx(2.7764451 * (2 * 0.01 / 3) ** 0.5)
    assert (found.low, found.high) == pytest.approx((0.073, 0.527), abs=1e-3)
    overlapping = seed_difference([0.2, 0.9], [0.3, 0.8])
    assert overlapping.low < 0 < overlapping.high


def test_one_seed_tells_nothing_and_equal_seeds_have_no_width():
    assert seed_difference([0.5], [0.4, 0.6]) is None
    assert seed_difference([0.5, 0.5], [0.7, 0.7]) == Interval(
        pytest.approx(0.2), *[pytest.approx(0.2)] * 2
    )


def test_a_share_has_wilsons_interval():
    # By hand, z = 1.96: (3 + 1.9207) / 13.8415 and 1.96 / 13.8415 * sqrt(2.1 + 0.9604).
    found = share_interval(3, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.10779, 0.60322), abs=1e-4)
    assert share_interval(0, 5).high > 0.4
    assert share_interval(300, 1000).high - share_interval(300, 1000).low < 0.06
    with pytest.raises(ValueError, match="at least one question"):
        share_interval(0, 0)


# ---- all scores of a run

BEFORE, AFTER = made_evidence(1.0, 12), made_evidence(0.0, 12)
RUN = score_intervals(BEFORE, AFTER)


def test_every_score_lies_in_its_interval():
    found = scores(AFTER)
    known = dict(found.terms) | {key: score.value(found) for key, score in SCORES.items()}
    assert {key: span.value for key, span in RUN.after.items()} == pytest.approx(known)
    assert all(span.low <= span.value <= span.high for span in RUN.after.values())


def test_intervals_are_those_of_each_score_by_itself():
    rows = term_rows(AFTER.answers)
    assert RUN.after["task_aggregate"] == aggregate_interval(rows)
    key = "retain/Task1/qa"
    assert RUN.after[key] == term_intervals(rows)[key] == mean_interval(rows[key], key)
    assert RUN.after["mia_auc"] == auc_interval(AFTER.membership)


def test_a_folded_interval_reaches_one_where_the_auc_may_be_one_half():
    assert score_intervals(some_evidence(forgets=True)).before["mia_score"].high == 1.0


def test_a_model_has_the_same_intervals_alone_and_beside_another():
    assert score_intervals(AFTER).before == RUN.after == score_intervals(AFTER, BEFORE).before


def test_thousands_of_questions_are_drawn_in_blocks_of_bounded_memory():
    found = mean_interval([float(at % 4 == 0) for at in range(14_000)])
    error = (0.25 * 0.75 / 14_000) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_what_was_forgotten_moved_and_what_was_kept_did_not_move():
    assert not RUN.within_noise("forget/Task1/qa")
    assert not RUN.within_noise("task_aggregate")
    assert score_intervals(AFTER, AFTER).within_noise("task_aggregate")
    assert score_intervals(AFTER, AFTER).change["task_aggregate"].high == 0


def test_a_change_is_judged_over_the_same_rows_and_so_more_sharply_than_two_models_apart():
    def model(drop):
        answers = [
            answer.model_copy(update={"score": (at % 5) / 4 * (1 - drop)})
            for at, answer in enumerate(AFTER.answers)
        ]
        return AFTER.model_copy(update={"answers": tuple(answers)})

    found, key = score_intervals(model(0.0), model(0.1)), "retain/Task1/qa"
    assert found.before[key].low < found.after[key].high
    assert not found.within_noise(key)


def test_models_that_were_asked_other_rows_have_intervals_and_no_change():
    found = score_intervals(BEFORE, some_evidence())
    assert found.change == {}
    assert found.before["task_aggregate"].value == 0
    assert not found.within_noise("task_aggregate")


def test_until_the_unlearned_model_was_scored_the_originals_intervals_are_shown():
    found = score_intervals(BEFORE)
    assert found.shown == found.before
    assert found.after == found.change == {}


def test_with_picked_rows_the_intervals_are_those_of_the_terms_they_make():
    picked = [answer.row for answer in AFTER.answers if answer.split == "forget"][::3]
    found = score_intervals(scored_evidence(AFTER, picked)).before
    assert found["forget/Task1/sc"].value == scores(AFTER, picked).terms["forget/Task1/sc"]
    assert found["task_aggregate"].value == scores(AFTER, picked).task_aggregate
