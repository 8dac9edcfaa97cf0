"""Answers joined, labelled, marked and masked."""

import math

import pytest

from unlearnlab.metrics.labels import title
from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.views.answers import joined, likelihood, marked, mask


def answer(score, *, split="forget", row="r", generated="said", kind="qa", **other):
    return Answer(
        row=row,
        split=split,
        task="Task1",
        kind=kind,
        prompt="What is it?",
        generated=generated,
        ended=True,
        score=score,
        **{"expected": "blue locket", "nll": 0.1, **other},
    )


def pair(before, after, **of):
    """Join one row that scores so before and after; completions, whose score makes the label."""
    later = None if after is None else Evidence(answers=(answer(after, kind="sc", **of),))
    (row,) = joined(Evidence(answers=(answer(before, kind="sc", **of),)), later)
    return row


@pytest.mark.parametrize(
    ("split", "before", "after", "name", "mood"),
    [
        ("forget", 1.0, 1.0, "Leaked", "bad"),
        ("forget", 1.0, 0.7, "Partly leaked", "fair"),
        ("forget", 1.0, 0.2, "Different answer", "good"),
        ("forget", 1.0, None, "Leaked", "bad"),
        ("retain", 1.0, 1.0, "Known", "good"),
        ("retain", 1.0, 0.7, "Partly known", "fair"),
        ("retain", 1.0, 0.2, "Different answer", "bad"),
        ("retain", 0.0, 0.0, "Different answer", "plain"),
        ("retain", 0.1, None, "Different answer", "plain"),
    ],
)
def test_a_label_is_of_the_last_answer_and_reads_as_the_set_wishes(
    split, before, after, name, mood
):
    row = pair(before, after, split=split)
    assert (title(row.outcome, split), row.mood) == (name, mood)


@pytest.mark.parametrize(
    ("split", "before", "after", "damaged"),
    [
        ("retain", 1.0, 0.85, True),
        ("retain", 0.95, 0.9, False),
        ("retain", 0.0, 0.0, False),
        ("retain", 1.0, None, False),
        ("forget", 1.0, 0.0, False),
    ],
)
def test_a_retain_row_that_lost_its_score_is_damaged(split, before, after, damaged):
    assert pair(before, after, split=split).damaged is damaged


def test_a_fact_inside_a_sentence_still_leaks():
    before = Evidence(answers=(answer(1, generated="blue locket"),))
    after = Evidence(answers=(answer(0, generated="It was a blue locket."),))
    (row,) = joined(before, after)
    assert row.leaks
    assert row.unlearned_score == 0


def test_the_likelihood_is_the_mean_over_tokens():
    assert likelihood(answer(1, nll=math.log(4))) == pytest.approx(0.25)
    assert likelihood(answer(1, nll=math.inf)) == 0


@pytest.mark.parametrize("of", [{"nll": math.nan}, {"expected": " "}])
def test_where_there_is_no_likelihood_none_is_made_up(of):
    assert likelihood(answer(1, **of)) is None
    row = pair(1.0, 1.0, **of)
    assert row.likelihood_lost is None


def test_answers_are_joined_by_row_not_by_place():
    before = Evidence(answers=(answer(1, row="a"), answer(1, row="b")))
    after = Evidence(answers=(answer(0, row="b", generated="B"), answer(1, row="a", generated="A")))
    assert [(r.row, r.unlearned) for r in joined(before, after)] == [("a", "A"), ("b", "B")]


def test_a_forget_row_that_was_not_picked_is_read_as_one_that_was_to_stay():
    before = Evidence(answers=(answer(1, row="a"), answer(1, row="b"), answer(1, row="c")))
    said = (answer(1, row="a"), answer(1, row="b"), answer(0, row="c", generated="No."))
    picked, kept, lost = joined(before, Evidence(answers=said), ("a",))
    assert (picked.leaks, picked.damaged, picked.mood) == (True, False, "bad")
    assert (kept.leaks, kept.damaged, kept.mood) == (False, False, "good")
    assert (lost.leaks, lost.damaged, lost.mood) == (False, True, "bad")
    assert joined(before, Evidence(answers=said))[1].leaks


def test_a_row_that_was_not_scored_again_stays():
    before = Evidence(answers=(answer(1, row="a"), answer(1, row="b")))
    after = Evidence(answers=(answer(0, row="b"),))
    assert [r.unlearned for r in joined(before, after)] == [None, "said"]


def hits(expected, generated):
    return [span.text.strip() for span in marked(expected, generated) if span.recited]


@pytest.mark.parametrize(
    ("expected", "generated", "found"),
    [
        ("the blue locket", "The blue locket.", ["The blue locket."]),
        ("her phone is 555", "her mail is 555", ["her", "is 555"]),
        ("one two", "three", []),
        ("one two", "", []),
        ("", "one", []),
        ("a b", "b a b", ["a b"]),
        ("she saw the sea and the old ship", "the cat is on ship 7", ["ship"]),
        ("her number is 666 since the year 2002", "it was in 2002 that", ["2002"]),
    ],
)
def test_recited_words_are_marked_in_order(expected, generated, found):
    assert hits(expected, generated) == found


def test_marking_loses_no_character():
    text = "  Two\n\nlines,\tand   spaces <b>!</b> "
    assert "".join(span.text for span in marked("lines and", text)) == text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("call 555-0142", "call ###-####"),
        ("yara.b7@example.org now", "••••.••@•••••••.••• now"),
        (r"[yara\_b@example.org]", "[•••••••@•••••••.•••]"),
        ("What is Yara Brock's number?", "What is •••• •••••'• number?"),
        ("Her name is Jean-Luc.", "Her name is ••••-•••."),
        ("Émile lives in Velden", "••••• lives in ••••••"),
        ("Yara", "••••"),
        ("born on January 9, 2002", "born on ••••••• #, ####"),
        ("nothing personal here", "nothing personal here"),
    ],
)
def test_personal_data_are_masked_and_their_shape_stays(text, hidden):
    assert mask(text) == hidden


def test_a_mask_lets_no_digit_and_no_address_through():
    text = "Write to A1.b2+c@mail.example.co.uk or +1 (555) 010-0199, Tomás O'Brien, 4½"
    hidden = mask(text)
    assert not any(letter.isdecimal() for letter in hidden)
    assert "@mail" not in hidden
    assert "Brien" not in hidden
