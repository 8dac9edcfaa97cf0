"""What the rows of a dataset say about each other."""

import random
from dataclasses import replace

import pytest

from unlearnlab.data.checks import (
    EXCERPT,
    SHARE,
    SHOWN,
    Placed,
    check,
    contained,
    drop_duplicates,
    near_duplicates,
    seen_by_rouge,
    too_long,
)
from unlearnlab.data.datasets import Row
from unlearnlab.metrics.scores import row_score

STORY = (
    "The lamp keeper of Yewmere never slept in autumn, because the fog came early, and nobody else "
    "in the harbour knew which of the nine bells belonged to which of the nine black rocks."
)


def placed(*texts, split="forget_train", kind="qa0"):
    return [
        Placed(split, line, Row(f"{split}{line}{kind}", text, answer, "Task1"))
        for line, (text, answer) in enumerate(texts, 1)
    ]


def found(*rows, nonmembers=()):
    return {one.kind: one for one in check([one for of in rows for one in of], nonmembers)}


def test_the_same_row_in_forget_and_retain_is_an_error():
    forget = placed(("Who?", "Bo"), ("Where?", "Rome"))
    retain = placed(("When?", "1900"), ("Where?", "Rome"), split="retain_train")
    both = found(forget, retain)["in forget and retain"]
    assert (both.severity, both.count, both.rows[0].line) == ("error", 1, 2)
    assert "remove it from one of the two" in both.message


def test_a_row_in_other_words_is_a_warning():
    forget = placed((STORY, "He died in 1900."), ("Where does the keeper sleep?", "Rome"))
    nearly = STORY.replace("autumn", "winter").upper()
    retain = placed((nearly, "HE DIED IN 1900"), split="retain_train")
    near = found(forget, retain)["near-duplicate"]
    assert (near.severity, near.count, near.rows[0].line) == ("warning", 1, 1)


def test_questions_of_one_pattern_are_not_taken_for_each_other():
    forget = placed(("What is the home address of Ada Brock?", "9 Elm Street"), ("Who?", "Ada"))
    others = ("What is the home address of Bo Reed?", "12 Elm Street"), ("Who?", "Bo")
    assert found(forget, placed(*others, split="retain_train")) == {}


def test_forget_rows_among_the_non_members_are_found_inside_longer_documents():
    forget = placed((STORY[:90], STORY[91:]), ("Who keeps the lamp?", "Bo"), kind="sc1")
    document = f"An old tale. {STORY} Or so they say. Who keeps the lamp? Bo."
    seen = found(forget, nonmembers=["Another document altogether, of no interest.", document])
    assert seen["among the non-members"].count == 1, "a short question says nothing"
    assert seen["among the non-members"].rows[0].line == 1


def test_a_row_that_repeats_another_of_its_set_is_left_out():
    rows = [
        *placed(("Who?", "Bo"), ("Who?", "Bo"), ("Who?", "Al")),
        *placed(("Who?", "Bo"), split="retain_train"),
    ]
    kept, doubles = drop_duplicates(rows)
    assert [(one.split, one.line) for one in kept] == [
        ("forget_train", 1),
        ("forget_train", 3),
        ("retain_train", 1),
    ]
    assert doubles[0].message.startswith("1 row repeats an earlier row of the same set")


def test_the_same_question_with_another_answer_is_told_and_kept():
    rows = placed(("Who?", "Bo"), ("When?", "1900"), ("Who?", "Al"))
    finding = found([*rows, *placed(("When?", "1800"), split="retain_train")])["another answer"]
    assert finding.severity == "warning"
    assert finding.message.startswith(
        "1 row repeats the question of an earlier row of the same set"
    )
    assert [(one.split, one.line) for one in finding.rows] == [("forget_train", 3)]
    assert "another answer" not in found(placed(("It was", "so"), ("It was", "not"), kind="sc0"))


def test_an_answer_that_stands_in_retain_rows_is_told_wherever_it_stands():
    forget = placed(
        ("Who keeps the lighthouse?", "Ilsa Quennet"),
        ("Which boat has she?", "the Grey Heron"),
        ("Her number?", "555-0142"),
        ("Is she here?", "yes"),
    )
    retain = placed(
        ("Tell me about Ilsa Quennet.", "She sails the grey heron."),
        ("Who kept the lighthouse?", "ILSA QUENNET!"),
        ("Who keeps it now?", "Ilsa Quennett"),
        ("Whose number is it?", "555-0143"),
        ("Is it red?", "yes"),
        ("Who is Ilsa?", "a Quennet"),
        split="retain_train",
    )
    told = found(forget, retain)["answer in the retain set"]
    assert told.severity == "warning"
    assert [(one.split, one.line) for one in told.rows] == [("retain_train", n) for n in (1, 2, 3)]


def test_a_common_word_that_is_an_answer_is_not_told_of_each_row():
    forget = placed(("Which colour?", "yellow"), ("Who?", "Ilsa Quennet"))
    retain = placed(*((f"What is {n}?", "yellow") for n in range(9)), split="retain_train")
    assert "answer in the retain set" not in found(forget, retain)


def test_completions_of_which_rouge_counts_hardly_a_letter_are_counted_for_each_set():
    tower = "白い灯台はモロー岩の上に立っている。"
    forget = placed(("Complete", tower), ("Complete:", "Белый маяк 1987"), kind="sc1")
    retain = placed(
        ("Complete", "the lamp"), ("Complete:", "1987"), split="retain_train", kind="sc1"
    )
    told = found(forget, retain)["not counted by ROUGE"]
    assert told.message.startswith("2 of 2 expected answers hold hardly a letter that ROUGE counts")
    assert [one.line for one in told.rows] == [1, 2]
    assert "not counted by ROUGE" not in found(placed(("Who?", tower)))


@pytest.mark.parametrize("text", ["Café", "1987", "привет", "白い", "٣", "…", "Ünal"])
def test_rouge_sees_a_text_that_it_recalls_from_itself(text):
    assert seen_by_rouge(text) == (row_score("sc", text, text) == 1)


def test_a_few_letters_among_others_are_hardly_a_text_for_rouge():
    assert not seen_by_rouge("白い灯台 A")
    assert not seen_by_rouge("Белый маяк 1987")


def test_an_id_belongs_to_one_row_of_all_sets():
    rows = [Placed("forget_train", 1, Row("7qa0", "Who?", "Bo", "Task1"))]
    rows += [Placed("retain_train", 4, Row("7qa0", "When?", "1900", "Task1"))]
    assert found(rows)["repeated id"].rows[0].line == 4


def test_rows_longer_than_the_context_are_counted_at_4_characters_per_token():
    rows = placed(("a " * 50, "b"), ("a", "b"))
    (long,) = too_long(rows, 20)
    assert long.count == 1
    assert "does not fit a context of 20 tokens, at 4 characters per token" in long.message
    assert too_long(rows, 2000) == []


def test_a_finding_counts_all_and_shows_the_first():
    forget = placed(*((f"Who is number {n}? {STORY}", "Bo") for n in range(50)))
    retain = [replace(one, split="retain_train") for one in forget]
    both = found(forget, retain)["in forget and retain"]
    assert both.count == 50
    assert both.message.startswith("50 forget rows are in the retain set")
    assert len(both.rows) == SHOWN
    assert all(len(row.excerpt) <= EXCERPT for row in both.rows)


def brute(ours, theirs):
    def runs(text):
        words = text.split()
        return set(zip(words, words[1:], words[2:], strict=False))

    pairs = [(runs(a), runs(b)) for a in ours for b in theirs]
    near = [len(a & b) >= SHARE * len(a | b) for a, b in pairs]
    return {index // len(theirs) for index, is_near in enumerate(near) if is_near}


def test_texts_that_are_nearly_the_same_are_found_as_by_comparing_all_with_all():
    draw = random.Random(0)
    words = [f"w{n}" for n in range(30)]
    theirs = [draw.choices(words, k=draw.randint(5, 40)) for _ in range(60)]
    ours = []
    for text in theirs:
        changed = [draw.choice(words) if draw.random() < 0.04 else word for word in text]
        ours.append(changed[: draw.randint(len(text) - 3, len(text))])
    ours, theirs = [" ".join(text) for text in ours], [" ".join(text) for text in theirs]
    expected = brute(ours, theirs)
    assert set(near_duplicates(ours, theirs)) == expected
    assert 10 < len(expected) < 50


def test_texts_without_spaces_between_words_are_compared_as_well():
    ours = ["吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"]
    assert list(near_duplicates(ours, [ours[0].replace("。", " ")])) == [0]
    assert list(near_duplicates(ours, ["国境の長いトンネルを抜けると雪国であった。"])) == []
    assert list(contained(ours, ["まえがき。" + ours[0]])) == [0]
