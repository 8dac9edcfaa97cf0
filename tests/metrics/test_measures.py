"""Measures by hand and on evidence: memorisation, attacks, distance to a retrained model."""

import json
import math
import statistics
import zlib

import pytest

from tests.fakes import some_evidence
from unlearnlab.data.files import EMBEDDED
from unlearnlab.metrics import measures
from unlearnlab.metrics.measures import (
    BEFORE_THEM,
    MEASURES,
    Retrained,
    as_retrained,
    exact_memorization,
    extraction_strength,
    forget_quality,
    forget_truth_ratio,
    measured,
    min_k,
    min_k_plus_plus,
    privleak,
    probability,
    reason_missing,
    reference_loss,
    retain_truth_ratio,
    retrained_models,
    taken,
    taken_records,
    truth_ratio,
    zlib_loss,
)
from unlearnlab.metrics.scores import Evidence, HeldOutText, Membership, mia_auc

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


# ---- measures of evidence

MEMBERS = Membership(member=(1.0, 2.0), nonmember=(3.0, 1.5))


def evidence(**rows):
    """Answers of which those of the forget set have the given values, others none."""
    answers = [
        answer.model_copy(update=rows if answer.split == "forget" else {})
        for answer in some_evidence().answers
    ]
    return Evidence(answers=tuple(answers), membership=MEMBERS, attacks={"min_k": MEMBERS})


def reasons(found):
    return {one.measure.name: one.missing for one in found}


def test_measures_by_row_are_means_over_the_forget_rows():
    found = measured(evidence(nll=math.log(2), exact_memorization=0.25, extraction_strength=0.5))
    values = {name: span.value for name, span in found.items()}
    assert values == pytest.approx(
        {
            "probability": 0.5,
            "exact_memorization": 0.25,
            "extraction_strength": 0.5,
            "min_k": mia_auc(MEMBERS),
        }
    )


def held_out(*losses, tokens=(10, 30)):
    text = HeldOutText(source="2 retain documents", losses=losses, tokens=tokens)
    return evidence().model_copy(update={"held_out": text})


def test_perplexity_of_held_out_text_is_over_tokens_and_names_its_text():
    found = measured(held_out(1.0, 3.0))["held_out_perplexity"]
    assert found.value == pytest.approx(math.exp((10 * 1.0 + 30 * 3.0) / 40))
    assert found.low <= found.value <= found.high
    one = next(t for t in taken(held_out(1.0, 3.0), None, None) if t.note)
    assert (one.measure.name, one.note) == ("held_out_perplexity", "2 retain documents")
    assert taken_records([one])["held_out_perplexity"]["note"] == "2 retain documents"


@pytest.mark.parametrize("loss", [math.inf, math.nan, 1e6])
def test_the_perplexity_of_a_destroyed_model_stays_json(loss):
    records = taken_records(taken(held_out(1.0, 3.0), held_out(loss, loss), None))
    after = json.loads(json.dumps(records, allow_nan=False))["held_out_perplexity"]["after"]
    assert after["value"] is None


def test_without_held_out_text_the_reason_is_given():
    assert "second fold" in reasons(taken(evidence(), None, None))["held_out_perplexity"]


def test_an_answer_without_a_finite_loss_has_no_probability():
    assert measured(evidence(nll=math.nan))["probability"].value == 0
    assert measured(evidence(nll=math.inf))["probability"].value == 0


def test_what_needs_a_retrained_model_compares_document_by_document():
    other = Membership(member=(2.0, 2.0), nonmember=(2.0, 2.0))
    found = measured(evidence(), Retrained(membership=other, measures={}))
    # Losses above the retrained model's: members -1 and 0, others 1 and -0.5.
    assert found["reference_loss"].value == 0.75
    # AUC 0.75 against 0.5: 100 (0.25 - 0.5) / 0.5.
    assert found["privleak"].value == -50
    assert found["privleak"].low <= -50 <= found["privleak"].high


def test_each_set_has_its_own_average_of_truth_ratios():
    of = evidence()
    ratios = {"forget": 4.0, "retain": 0.25}
    answers = tuple(
        answer.model_copy(update={"truth_ratio": ratios[answer.split]}) for answer in of.answers
    )
    found = measured(of.model_copy(update={"answers": answers}))
    assert found["forget_truth_ratio"].value == pytest.approx(1 / 4)
    assert found["retain_truth_ratio"].value == pytest.approx(3 / 4)


def test_forget_quality_compares_truth_ratios_with_the_retrained_models():
    rows = [answer.row for answer in evidence().answers if answer.split == "forget"]
    never = dict.fromkeys(rows, 1.0)

    def quality(own, other):
        retrained = Retrained(membership=MEMBERS, measures={}, truth_ratios=other)
        return measured(evidence(truth_ratio=own), retrained).get("forget_quality")

    assert quality(1.0, never).value == 1
    assert quality(0.1, never).value < 0.01
    assert quality(1.0, never | {"one more": 5.0}).value == 1, "without a finite loss here"
    assert quality(None, never) is None
    assert quality(1.0, dict.fromkeys(rows[1:], 1.0)) is None, "those are other rows"


def test_alternatives_of_forget_rows_alone_give_no_ratio_of_retain_rows():
    why = reasons(taken(evidence(truth_ratio=1.0), None, None))
    assert why["forget_truth_ratio"] == ""
    assert "which the retain rows did not have" in why["retain_truth_ratio"]
    assert why["forget_quality"] == "needs a model retrained without the forget set"


def test_a_retrained_model_of_other_documents_is_not_compared_with():
    other = Membership(member=(2.0,), nonmember=(2.0,))
    assert "privleak" not in measured(evidence(), Retrained(membership=other, measures={}))


def test_all_measures_are_listed_and_those_not_taken_say_why():
    found = taken(evidence(), evidence(exact_memorization=0.5), None)
    assert [one.measure for one in found] == list(MEASURES.values())
    why = reasons(found)
    assert why["probability"] == why["exact_memorization"] == why["min_k"] == ""
    assert why["extraction_strength"] == why["zlib_loss"] == BEFORE_THEM
    assert why["privleak"] == "needs a model retrained without the forget set"
    assert "paraphrased and wrong answers" in why["forget_quality"]
    bare = taken(Evidence(answers=evidence().answers), None, None)
    assert reasons(bare)["min_k"] == "needs documents of members and non-members"


def test_of_the_embedded_retrained_model_losses_and_measures_are_at_hand_by_fold():
    found = retrained_models()
    assert set(found) == {"train", "validation"}
    assert 0.42 <= mia_auc(found["train"].membership) <= 0.58
    assert found["train"].measures["extraction_strength"] < 0.3
    assert 0.8 < statistics.median(found["train"].truth_ratios.values()) < 1.25, (
        "it prefers neither"
    )
    assert retrained_models(EMBEDDED / "nowhere.json") == {}


def test_what_is_kept_of_a_retrained_model_is_what_its_evidence_measures():
    kept = as_retrained(evidence(nll=0.0, truth_ratio=0.5))
    assert kept.membership == MEMBERS
    assert set(kept.truth_ratios.values()) == {0.5}
    assert kept.measures["probability"] == 1
    with pytest.raises(ValueError, match="losses"):
        as_retrained(Evidence(answers=evidence().answers))
