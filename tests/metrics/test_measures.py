"""Measures by hand: memorisation, attacks, distance to a retrained model."""

import math
import zlib

import pytest

from unlearnlab.metrics import measures
from unlearnlab.metrics.measures import (
    MEASURES,
    exact_memorization,
    extraction_strength,
    forget_quality,
    forget_truth_ratio,
    min_k,
    min_k_plus_plus,
    privleak,
    probability,
    reason_missing,
    reference_loss,
    retain_truth_ratio,
    truth_ratio,
    zlib_loss,
)
from unlearnlab.metrics.scores import Membership, mia_auc

HALF, QUARTER = math.log(1 / 2), math.log(1 / 4)


def test_probability_is_the_geometric_mean_over_tokens():
    assert probability([HALF, QUARTER, QUARTER, HALF]) == pytest.approx(1 / 8**0.5)
    assert probability([0.0]) == 1


def test_exact_memorization_counts_likeliest_tokens():
    assert exact_memorization([1, 2, 9, 4], [1, 2, 3, 4]) == 3 / 4
    assert exact_memorization([1], [2]) == 0


@pytest.mark.parametrize(
    ("likeliest", "strength"),
    [
        ([1, 2, 3, 4], 1.0),
        ([9, 2, 3, 4], 3 / 4),
        ([1, 2, 9, 4], 1 / 4),
        ([9, 9, 9, 9], 0.0),
        ([1, 2, 3, 9], 0.0),
    ],
)
def test_extraction_strength_is_the_share_that_follows_by_itself(likeliest, strength):
    assert extraction_strength(likeliest, [1, 2, 3, 4]) == strength


def test_the_truth_ratio_sets_wrong_answers_against_the_right_one():
    # p(right) = 1/2; the wrong ones have 1/4 and 1 per token, of losses averaged: 1/2.
    assert truth_ratio([HALF, HALF], [[QUARTER], [0.0, 0.0]]) == pytest.approx(1)
    assert truth_ratio([0.0], [[QUARTER]]) == pytest.approx(1 / 4)


def test_truth_ratios_are_averaged_by_what_is_good_on_each_set():
    assert forget_truth_ratio([0.5, 1.0, 4.0]) == pytest.approx((0.5 + 1 + 0.25) / 3)
    assert retain_truth_ratio([0.25, 3.0]) == pytest.approx((0.75 + 0) / 2)


def test_min_k_looks_at_the_least_likely_tokens():
    logprobs = [-1.0, -5.0, -2.0, -4.0, -3.0, -0.5, -0.1, -0.2, -0.3, -0.4]
    assert min_k(logprobs) == 4.5
    assert min_k(logprobs, 0.4) == 3.5
    assert min_k([-2.0, -1.0]) == 2.0  # At least one token.


def test_min_k_plus_plus_standardises_first():
    # (logp - mean) / std: -1, -2, 0, 1, 3.
    found = min_k_plus_plus(
        [-3.0, -6.0, -1.0, -1.0, -0.5], [-2.0, -2.0, -1.0, -2.0, -2.0], [1.0, 2.0, 1.0, 1.0, 0.5]
    )
    assert found == 2.0


def test_min_k_plus_plus_does_not_divide_by_nothing():
    assert min_k_plus_plus([-1.0], [-0.5], [0.0]) == pytest.approx(0.5 / 1e-3)


def test_zlib_weighs_a_loss_by_the_compressed_length():
    text = "äh, aha, aha, aha"
    assert zlib_loss(3.0, text) == 3.0 / len(zlib.compress(text.encode()))


def test_the_reference_attack_is_the_gap_to_the_retrained_model():
    assert reference_loss(1.5, 2.0) == -0.5


def test_attack_scores_become_an_auc_like_losses():
    members = tuple(reference_loss(*pair) for pair in ((0.1, 2.0), (0.2, 1.0)))
    others = tuple(reference_loss(*pair) for pair in ((2.1, 2.0), (0.9, 1.0)))
    assert mia_auc(Membership(member=members, nonmember=others)) == 1


@pytest.mark.parametrize(
    ("auc", "retrained", "percent"),
    [(1.0, 0.5, -100), (0.5, 0.5, 0), (0.0, 0.5, 100), (0.6, 0.6, 0), (0.8, 0.6, -50)],
)
def test_privleak_is_zero_at_the_retrained_models_auc(auc, retrained, percent):
    assert privleak(auc, retrained) == pytest.approx(percent)


def test_privleak_without_a_scale_is_refused():
    with pytest.raises(ValueError, match="AUC is 1"):
        privleak(0.5, 1.0)


def test_forget_quality_is_high_for_like_samples_and_low_for_unlike_ones():
    assert forget_quality([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == 1
    # All five of one below all five of the other: 2 of the 10! / (5! 5!) = 252 orders.
    assert forget_quality([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)


@pytest.mark.parametrize(
    "measure",
    [
        lambda: probability([]),
        lambda: exact_memorization([], []),
        lambda: extraction_strength([], []),
        lambda: truth_ratio([0.0], []),
        lambda: min_k([]),
        lambda: forget_quality([], [1.0]),
    ],
)
def test_a_measure_of_nothing_is_refused(measure):
    with pytest.raises(ValueError, match="at least one value"):
        measure()


def test_every_measure_is_a_function_with_a_source():
    for measure in MEASURES.values():
        assert callable(getattr(measures, measure.name))
        assert measure.source
        assert measure.needs


def test_a_measure_that_cannot_be_taken_says_what_it_needs():
    assert reason_missing(MEASURES["min_k"], frozenset({"tokens", "documents"})) == ""
    assert reason_missing(MEASURES["forget_quality"], frozenset({"retrained model"})) == (
        "needs paraphrased and wrong answers, which the forget rows did not have when scored"
    )
