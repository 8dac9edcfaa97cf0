"""The attack's curve, its thresholds, and the documents that it gets wrong."""

import math
from itertools import pairwise

import pytest

from tests.fakes import some_evidence
from unlearnlab.metrics.membership import attack, best_threshold, misclassified, rates, roc
from unlearnlab.metrics.scores import (
    SCORES,
    Membership,
    attackable,
    mia_auc,
    mia_score,
    scores,
)

MIXED = Membership(member=(1.0, 2.0, 5.0), nonmember=(3.0, 4.0, 6.0, 1.5))
BROKEN = Membership(member=(math.inf, 1.0), nonmember=(math.inf, 2.0))


def test_rates_count_what_lies_below_the_threshold():
    found = rates(MIXED, 3.0)
    assert (found.tpr, found.fpr) == (2 / 3, 1 / 4)
    assert all(rates(MIXED, one.threshold) == one for one in roc(MIXED)[:-2])


@pytest.mark.parametrize("losses", [MIXED, BROKEN])
def test_the_area_under_the_curve_is_the_auc(losses):
    points = roc(losses)
    area = sum((b.fpr - a.fpr) * (a.tpr + b.tpr) / 2 for a, b in pairwise(points))
    assert (points[0].tpr, points[0].fpr) == (0, 0)
    assert (points[-1].tpr, points[-1].fpr) == (1, 1)
    assert area == pytest.approx(mia_auc(losses))


def test_the_best_threshold_parts_members_from_the_unseen_in_either_direction():
    low = Membership(member=(1.0, 1.2), nonmember=(3.0, 3.2))
    assert 1.2 < best_threshold(low) < 3.0
    high = Membership(member=low.nonmember, nonmember=low.member)
    assert best_threshold(high) == best_threshold(low)
    assert best_threshold(Membership(member=(math.nan,), nonmember=(math.inf,))) == 0


def test_documents_on_the_wrong_side_come_the_farthest_first():
    assert [one.number for one in misclassified(MIXED, 1.8, "member")] == [2, 1]
    assert [one.loss for one in misclassified(MIXED, 3.5, "nonmember")] == [1.5, 3.0]
    assert [one.number for one in misclassified(BROKEN, 1.5, "member")] == [0]


@pytest.mark.parametrize(
    "losses",
    [
        Membership(member=(math.nan, 1.0), nonmember=(2.0, 3.0)),
        Membership(member=(), nonmember=(2.0, 3.0)),
        Membership(member=(1.0,), nonmember=()),
    ],
)
def test_there_is_no_attack_without_both_sides_and_a_number_for_each_loss(losses):
    assert not attackable(losses)
    with pytest.raises(ValueError, match="both sides, and a number for each loss"):
        attack(losses)
    found = scores(some_evidence(forgets=True).model_copy(update={"membership": losses}))
    assert (found.mia_auc, found.mia_score) == (None, None)
    told = "is not a number" if all((losses.member, losses.nonmember)) else "no documents"
    assert told in SCORES["mia_score"].note(found)


def test_equal_losses_share_their_rank():
    assert mia_auc(Membership(member=(1.0,) * 5, nonmember=(1.0,) * 3)) == 0.5
    assert mia_auc(Membership(member=(1.0, 2.0), nonmember=(1.0, 2.0))) == 0.5


def test_an_attack_that_inverts_is_called_over_unlearned():
    found = attack(Membership(member=(2.0,) * 9, nonmember=(1.0,) * 9))
    assert (found.auc.value, mia_score(found.auc.value)) == (0, 0)
    assert "Over-unlearned" in found.reading


def test_one_document_has_no_interval():
    assert "n = 1" in attack(Membership(member=(1.0,), nonmember=(2.0, 3.0))).reading


def test_the_attack_is_read_in_words():
    assert "still remembered" in attack(Membership(member=(1.0,) * 9, nonmember=(2.0,) * 9)).reading
