import math

import pytest

from unlearnlab.metrics.scores import (
    Answer,
    Choice,
    Evidence,
    Membership,
    Picked,
    accuracy,
    always_picked,
    argmax_option,
    mia_auc,
    mia_score,
    row_score,
    scores,
    task_aggregate,
    terms,
)


def answer(split, task, kind, score, generated="out", ended=True):
    return Answer(
        row="r",
        split=split,
        task=task,
        kind=kind,
        prompt="p",
        expected="e",
        generated=generated,
        nll=1.0,
        ended=ended,
        score=score,
    )


def choice(right, *logprobs):
    options = tuple("abcd"[: len(logprobs)])
    return Choice(question="q", subject="s", options=options, right=right, logprobs=logprobs)


@pytest.mark.parametrize(
    ("expected", "generated", "score"),
    [
        ("the cat sat down", "the cat sat down", 1.0),
        ("the cat sat down", "the cat sat down and then it slept", 1.0),  # Extra text is free.
        ("the cat sat down", "the dog sat", 2 / 4),  # the, sat
        ("the cat sat down", "down sat the cat", 2 / 4),  # Order counts: the cat.
        (
            "the cat sat down",
            "THE CATS SITTING DOWN!",
            3 / 4,
        ),  # Stems: cats is cat; sit is not sat.
        ("the cat sat down", "", 0.0),
        ("the cat sat down", "nothing of it", 0.0),
    ],
)
def test_a_completion_scores_the_share_of_expected_words_in_their_order(expected, generated, score):
    assert row_score("sc", expected, generated) == pytest.approx(score)


@pytest.mark.parametrize(
    ("generated", "score"),
    [("Ada Lovelace", 1), ("  ada LOVELACE\n", 1), ("Ada Lovelace.", 0), ("It is Ada Lovelace", 0)],
)
def test_a_question_scores_only_the_whole_answer(generated, score):
    assert row_score("qa", "Ada Lovelace", generated) == score


def test_terms_are_means_on_retain_and_one_minus_them_on_forget_in_the_official_order():
    answers = [
        answer("retain", "Task1", "qa", 1.0),
        answer("retain", "Task1", "qa", 0.0),
        answer("retain", "Task1", "sc", 0.8),
        answer("forget", "Task2", "qa", 0.25),
        answer("forget", "Task1", "sc", 0.9),
        answer("forget", "Task1", "sc", 0.5),
    ]
    found = terms(answers)
    assert list(found) == [
        "forget/Task1/sc",
        "forget/Task2/qa",
        "retain/Task1/sc",
        "retain/Task1/qa",
    ]
    assert list(found.values()) == pytest.approx([0.3, 0.75, 0.8, 0.5])


def test_a_complete_evaluation_has_twelve_terms():
    answers = [
        answer(split, f"Task{number}", kind, 0.5)
        for split in ("forget", "retain")
        for number in (1, 2, 3)
        for kind in ("sc", "qa")
    ]
    assert len(terms(answers)) == 12


def test_the_task_aggregate_is_the_harmonic_mean():
    assert task_aggregate({"a": 1.0, "b": 0.5}) == pytest.approx(2 / (1 / 1 + 1 / 0.5))
    assert task_aggregate({"a": 0.2, "b": 0.3, "c": 0.6}) == pytest.approx(3 / (5 + 10 / 3 + 5 / 3))


def test_one_zero_term_makes_the_task_aggregate_zero():
    assert task_aggregate({"a": 1.0, "b": 0.0, "c": 1.0}) == 0


def test_the_attack_ranks_members_by_their_lower_loss():
    def auc(member, nonmember):
        return mia_auc(Membership(member=member, nonmember=nonmember))

    assert auc((0.1, 0.2), (1.0, 2.0)) == 1
    assert auc((1.0, 2.0), (0.1, 0.2)) == 0
    assert auc((1.0, 3.0), (2.0,)) == 0.5
    assert auc((1.0, 3.0), (2.0, 4.0)) == 3 / 4  # Pairs won: 1<2, 1<4, 3<4.
    assert auc((1.0, 1.0), (1.0, 1.0)) == 0.5  # Ties count half.


def test_infinite_losses_count_as_the_highest():
    member, nonmember = (math.inf, math.inf), (1.0, 2.0)
    assert mia_auc(Membership(member=member, nonmember=nonmember)) == 0
    assert mia_auc(Membership(member=nonmember, nonmember=member)) == 1


@pytest.mark.parametrize(
    ("auc", "score"), [(0.5, 1.0), (1.0, 0.0), (0.0, 0.0), (0.75, 0.5), (0.25, 0.5)]
)
def test_the_mia_score_is_best_where_the_attack_guesses(auc, score):
    assert mia_score(auc) == pytest.approx(score)


def test_the_likeliest_option_is_picked_and_the_first_of_equals():
    assert argmax_option(choice(0, -3.0, -1.0, -2.0)) == 1
    assert argmax_option(choice(0, -1.0, -1.0)) == 0


def test_accuracy_is_the_share_of_right_picks():
    assert accuracy([choice(1, -3.0, -1.0), choice(0, -3.0, -1.0), choice(0, -1.0, -2.0)]) == 2 / 3


def evidence(**more):
    answers = (
        answer("forget", "Task1", "sc", 0.2, generated="same", ended=False),
        answer("forget", "Task1", "qa", 0.0, generated="same"),
        answer("retain", "Task1", "sc", 0.8, generated="x"),
        answer("retain", "Task1", "qa", 1.0, generated="y"),
    )
    return Evidence(answers=answers, **more)


def test_the_final_score_is_the_mean_of_aggregate_attack_and_utility():
    found = scores(
        evidence(
            membership=Membership(member=(1.0, 3.0), nonmember=(2.0, 4.0)),
            choices=(choice(0, -1.0, -2.0), choice(1, -1.0, -2.0)),
            utility_protocol="quiz",
        )
    )
    aggregate = 4 / (1 / 0.8 + 1 / 1 + 1 / 0.8 + 1 / 1)
    assert found.task_aggregate == pytest.approx(aggregate)
    assert (found.mia_auc, found.mia_score, found.utility) == (0.75, 0.5, 0.5)
    assert found.final == pytest.approx((aggregate + 0.5 + 0.5) / 3)
    assert (found.utility_protocol, found.utility_questions) == ("quiz", 2)
    assert (found.rows, found.distinct, found.ended) == (4, 0.75, 0.75)


def test_there_is_no_final_score_without_all_three_parts():
    found = scores(evidence())
    assert found.final is found.mia_auc is found.mia_score is found.utility is None
    assert found.task_aggregate is not None
    assert found.task_aggregate > 0


def test_scores_of_nothing_are_refused():
    for compute, empty in ((task_aggregate, {}), (scores, Evidence(answers=()))):
        with pytest.raises(ValueError, match="at least one term"):
            compute(empty)
    for compute in (accuracy, always_picked):
        with pytest.raises(ValueError, match="at least one question"):
            compute([])


def picking():
    """Two of four forget rows were picked, and a retain row is called as another one."""
    rows = (("a", "forget", 0.0), ("b", "forget", 0.4), ("c", "forget", 1.0), ("d", "forget", 0.8))
    return Evidence(
        answers=tuple(
            answer(split, "Task1", "sc", score).model_copy(update={"row": name})
            for name, split, score in (*rows, ("c", "retain", 0.5))
        )
    )


def test_where_rows_were_picked_the_forget_terms_are_over_them_and_the_others_told_apart():
    found = scores(picking(), ("a", "b"), "retain")
    assert found.terms == pytest.approx({"forget/Task1/sc": 0.8, "retain/Task1/sc": 0.5})
    assert found.picked == Picked(rows=2, others=2, rest="retain", kept={"Task1/sc": 0.9})
    assert found.rows == 5
    everything = scores(picking())
    assert everything.terms["forget/Task1/sc"] == pytest.approx(1 - 2.2 / 4)
    assert everything.picked is None


def test_terms_are_averaged_by_set_and_kind():
    found = scores(evidence())
    assert found.mean("forget", "sc") == pytest.approx(0.8)
    assert found.mean("retain", "qa") == 1
    with pytest.raises(ValueError, match="no holdout qa terms"):
        found.mean("holdout", "qa")
