"""MMLU's files, prompts, parts and scores, without a model."""

import re

import pandas as pd
import pytest

from tests.outside import REAL, needs_real
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import Choice, Scores
from unlearnlab.views.scoreboard import utility_name


def rows(subject, count, *, text="What is it?"):
    return [
        {"question": f"{text} {i}", "subject": subject, "choices": list("wxyz"), "answer": i % 4}
        for i in range(count)
    ]


@pytest.fixture
def folder(tmp_path):
    def write(dev=(), test=()):
        pd.DataFrame(dev or rows("anatomy", 5)).to_parquet(tmp_path / "dev.parquet")
        pd.DataFrame(test or rows("anatomy", 9)).to_parquet(tmp_path / "test.parquet")
        return tmp_path

    return write


def question(subject="us_foreign_policy", answer=2):
    return mmlu.Question(subject, "Why?\nSay it.", ("a", "b", "c", "d"), answer)


def choice(pick, right=0, subject="anatomy"):
    logprobs = tuple(0.0 if i == pick else -1.0 for i in range(4))
    options = tuple("wxyz")
    return Choice(question="q", subject=subject, options=options, right=right, logprobs=logprobs)


def test_a_prompt_has_the_header_with_its_two_spaces_the_shots_and_the_question():
    assert mmlu.prompt(question(), [question()]) == (
        "The following are multiple choice questions (with answers) about  us foreign policy.\n\n"
        "Why?\nSay it.\nA. a\nB. b\nC. c\nD. d\nAnswer: C\n\n"
        "Why?\nSay it.\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )


def test_a_folder_is_read_with_five_shots_a_subject(folder):
    found = mmlu.load(folder(dev=rows("anatomy", 7)))
    assert len(found.shots["anatomy"]) == 5
    assert len(found.questions) == 9
    assert found.questions[2] == mmlu.Question("anatomy", "What is it? 2", tuple("wxyz"), 2)


def test_subjects_that_are_missing_are_listed_and_the_rest_is_kept(folder):
    (note,) = mmlu.load(folder()).notes
    assert note.startswith("56 of 57 subjects are missing: abstract_algebra, astronomy")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": ["w", "x"]}, "test.parquet, column choices, row 2: expected 4 options"),
        ({"answer": 4}, "test.parquet, column answer, row 2: '4' is none of 0 to 3"),
        ({"question": float("nan")}, "test.parquet, column question, row 2: 'nan' is no text"),
    ],
)
def test_a_row_that_is_wrong_is_named(folder, change, told):
    test = rows("anatomy", 3)
    test[1] |= change
    with pytest.raises(mmlu.MmluError, match=told):
        mmlu.load(folder(test=test))


@pytest.mark.parametrize("answer", ["C", "c", " C ", "2", 2, 2.0])
def test_answers_are_read_as_numbers_and_as_letters(folder, answer):
    test = [row | {"answer": answer} for row in rows("anatomy", 2)]
    assert [one.answer for one in mmlu.load(folder(test=test)).questions] == [2, 2]


@pytest.mark.parametrize("answer", ["AB", "", "E", "4", True, 1.5, None])
def test_answers_that_are_neither_are_refused(folder, answer):
    test = [row | {"answer": answer} for row in rows("anatomy", 2)]
    told = f"column answer, row 1: '{answer}' is none of 0 to 3, and none of A to D"
    with pytest.raises(mmlu.MmluError, match=re.escape(told)):
        mmlu.load(folder(test=test))


def test_files_that_are_no_mmlu_say_what_is_missing(folder, tmp_path):
    with pytest.raises(mmlu.MmluError, match=r"has no dev\.parquet"):
        mmlu.load(tmp_path)
    with pytest.raises(mmlu.MmluError, match="subject anatomy has 4 questions, and 5"):
        mmlu.load(folder(dev=rows("anatomy", 4)))
    with pytest.raises(mmlu.MmluError, match=r"test\.parquet: no column subject, choices, answer"):
        mmlu.load(folder(test=[{"question": "a"}]))
    (tmp_path / "dev.parquet").write_bytes(b"no table")
    with pytest.raises(mmlu.MmluError, match=r"dev\.parquet cannot be read"):
        mmlu.load(tmp_path)


def test_a_part_is_drawn_from_every_subject_in_proportion_and_always_the_same():
    questions = [question(s, i % 4) for s, n in (("a", 60), ("b", 30), ("c", 10)) for i in range(n)]
    drawn = mmlu.subset(questions, 20, seed=3)
    assert [sum(q.subject == s for q in drawn) for s in "abc"] == [12, 6, 2]
    assert drawn == mmlu.subset(questions, 20, seed=3)
    with pytest.raises(ValueError, match="101 questions are asked for: take 1 to 100"):
        mmlu.subset(questions, 101)


def test_all_questions_are_pooled_and_each_subject_is_told():
    choices = [choice(0, 0, "a"), choice(0, 1, "a"), choice(1, 1, "b"), choice(2, 2, "b")]
    found = mmlu.result(choices, mmlu.protocol(5))
    assert found.accuracy.value == 0.75
    assert found.standard_error == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
    assert [(one.subject, one.questions, one.accuracy) for one in found.subjects] == [
        ("a", 2, 0.5),
        ("b", 2, 1.0),
    ]
    assert found.letters == {"A": 0.5, "B": 0.25, "C": 0.25, "D": 0.0}
    assert not found.constant


def test_a_letter_that_is_always_chosen_is_told():
    found = mmlu.result([choice(3, i % 4) for i in range(8)], "x")
    assert found.constant == "D"
    assert found.at_chance


def test_a_letter_is_called_constant_only_if_it_was_chosen_and_chance_by_its_interval():
    # As many right answers as always saying A would give, with all letters chosen alike.
    level = mmlu.result([choice(i % 4, 0 if i % 1000 < 230 * 4 else 1) for i in range(4000)], "x")
    assert not level.constant
    knows = mmlu.result([choice(i % 4, i % 4 if i % 2 else 0) for i in range(400)], "x")
    assert not knows.at_chance


def test_only_five_shots_are_called_mmlu():
    scored = Scores(
        terms={},
        task_aggregate=0,
        mia_auc=None,
        mia_score=None,
        utility=0.5,
        utility_protocol=mmlu.protocol(5),
        utility_questions=4,
        final=None,
        rows=0,
        distinct=0,
        ended=0,
    )
    assert utility_name(scored) == "MMLU"
    assert not mmlu.protocol(0).startswith("MMLU")
    assert "at most 1024 tokens" in mmlu.protocol(5, 1024)


@needs_real
def test_a_model_that_always_says_a_scores_its_share_of_the_whole_test():
    questions = mmlu.load(REAL).questions
    found = mmlu.result([choice(0, q.answer, q.subject) for q in questions], mmlu.protocol(5))
    assert found.questions == 14042
    assert len(found.subjects) == 57
    assert round(found.accuracy.value, 4) == 0.2295
    assert found.constant == "A"
    assert found.letters["A"] == 1


def test_subjects_are_compared_before_and_after():
    before = [choice(0), choice(0), choice(1, subject="world_religions")]
    after = [choice(0), choice(1), choice(1, subject="world_religions")]
    anatomy, religions = mmlu.subject_changes(before, after)
    assert (anatomy.subject, anatomy.questions) == ("anatomy", 2)
    assert (anatomy.before, anatomy.after) == (1.0, 0.5)
    assert 0.5 in anatomy.interval
    assert (religions.subject, religions.after) == ("world religions", 0.0)
    assert mmlu.subject_changes(before, ())[0].after is None
    assert mmlu.subject_changes((), ()) == ()
