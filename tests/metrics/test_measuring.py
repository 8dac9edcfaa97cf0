"""What further measures come to on evidence, and why one was not taken."""

import math
import statistics

import pytest

from tests.fakes import some_evidence
from unlearnlab.data.files import EMBEDDED
from unlearnlab.metrics.measures import (
    BEFORE_THEM,
    MEASURES,
    Retrained,
    as_retrained,
    measured,
    retrained_models,
    taken,
)
from unlearnlab.metrics.scores import Evidence, Membership, mia_auc

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


def test_truth_ratios_are_averaged_by_what_is_good_on_each_set():
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
