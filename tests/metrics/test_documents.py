"""Which forget documents stand, which are gone, and which carry a mean."""

import json
import math

import pytest

from tests.fakes import some_evidence
from unlearnlab.metrics.documents import (
    by_document,
    carriers,
    counted,
    document_records,
    document_state,
    probed_document,
    row_state,
    standing,
)
from unlearnlab.metrics.scores import Answer, Evidence


def answer(row, *, nll, score, split="forget", task="Task1"):
    return Answer(
        row=row, split=split, task=task, kind="qa", prompt=f"Who is {row}?", expected="Ada",
        generated="", nll=nll, ended=True, score=score,
    )  # fmt: skip


def evidence(*answers):
    return Evidence(answers=answers)


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (0.1, 0.1, "stands"),
        (0.1, 0.1 + math.log(1.9), "stands"),
        (0.1, 0.1 + math.log(2.1), "fading"),
        (0.1, 0.1 + math.log(9), "fading"),
        (0.1, 0.1 + math.log(11), "gone"),
        (0.1, math.nan, "gone"),
        (0.1, math.inf, "gone"),
        (3.0, 9.0, "unknown"),
        (math.nan, 9.0, "unknown"),
    ],
)
def test_a_row_is_judged_by_what_became_of_its_tokens_probability(before, after, state):
    assert row_state(before, after) == state


def test_a_document_is_gone_only_if_all_that_was_known_of_it_is():
    assert document_state(["gone", "gone", "unknown"]) == "gone"
    assert document_state(["gone", "stands"]) == document_state(["fading"]) == "partly"
    assert document_state(["stands", "unknown"]) == "stands"
    assert document_state(["unknown"]) == document_state([]) == "unknown"


def test_a_probe_tells_loss_rise_and_rows_that_stand():
    found = probed_document(7, [0.1, 0.3], [0.1, 6.3])
    assert (found.number, found.rows, found.standing, found.state) == (7, 2, 1, "partly")
    assert (found.loss, found.rise) == pytest.approx((3.2, 3.0))


def test_documents_come_by_what_remains_and_keep_their_place_in_the_data():
    before = evidence(
        *(answer(f"{name}qa{n}", nll=0.1, score=1.0) for name in "abc" for n in (0, 1)),
        answer("dqa0", nll=5.0, score=0.0),
        answer("kept qa0", nll=0.1, score=1.0, split="retain"),
    )
    after = evidence(
        *(answer(f"aqa{n}", nll=9.0, score=0.0) for n in (0, 1)),
        answer("bqa0", nll=9.0, score=0.0),
        answer("bqa1", nll=0.1, score=1.0),
        *(answer(f"cqa{n}", nll=0.2, score=1.0) for n in (0, 1)),
        answer("dqa0", nll=9.0, score=0.0),
        answer("kept qa0", nll=9.0, score=0.0, split="retain"),
    )
    found = by_document(before, after)
    assert [(one.document, one.number, one.state) for one in found] == [
        ("c", 3, "stands"),
        ("b", 2, "partly"),
        ("a", 1, "gone"),
        ("d", 4, "unknown"),
    ]
    assert [one.standing for one in found] == [2, 1, 0, 0]
    assert [one.score_after for one in found] == [1.0, 0.5, 0.0, 0.0]
    assert found[0].rise == pytest.approx(0.1)


def test_an_answer_that_is_still_given_stands_whatever_its_loss():
    before = evidence(answer("aqa0", nll=0.1, score=1.0))
    assert by_document(before, evidence(answer("aqa0", nll=9.0, score=1.0)))[0].state == "stands"
    known = evidence(answer("aqa0", nll=5.0, score=1.0))
    assert by_document(known, evidence(answer("aqa0", nll=9.0, score=0.0)))[0].state == "gone"


def test_before_the_unlearned_model_is_scored_nothing_is_said_to_stand_or_to_be_gone():
    for one in by_document(some_evidence(), None):
        assert (one.states, one.loss_after, one.rise) == ((), None, 0.0)


def test_few_documents_that_carry_the_mean_are_counted():
    assert carriers([0.0, 0.1, 0.1, 9.0, -3.0]) == 1
    assert carriers([1.0] * 10) == 5
    assert carriers([math.nan, math.inf, 3.0]) == 2
    assert carriers([]) == carriers([0.0, -1.0]) == carriers([0.2, 0.0, 0.0]) == 0
    told = counted(["gone", "stands", "stands"], [9.0, 0.1, 0.1])
    assert told == "2 stand, 1 gone; half of the rise in loss comes from 1 document"


def test_records_are_plain_json_even_of_a_model_without_finite_losses():
    before = evidence(answer("aqa0", nll=0.1, score=1.0))
    after = evidence(answer("aqa0", nll=math.nan, score=0.0))
    (record,) = json.loads(
        json.dumps(document_records(by_document(before, after)), allow_nan=False)
    )
    assert record["state"] == "gone"
    assert record["loss"] == {"before": 0.1, "after": None}


def test_a_line_of_progress_counts_what_is_gone_among_what_was_known():
    of = [probed_document(n, [start], [9.0]) for n, start in ((1, 0.1), (2, 5.0))]
    assert standing(of) == "1 of 1 documents gone"
    assert standing(of[1:]) == standing([]) == ""
