"""Answers joined, labelled, marked and masked."""

import pytest

from unlearnlab.answers import Filter, chosen, counts, joined, label, marked, mask
from unlearnlab.metrics import Answer, Evidence


def answer(score, *, split="forget", row="r", generated="said", kind="qa", task="Task1"):
    return Answer(
        row=row,
        split=split,
        task=task,
        kind=kind,
        prompt="What is it?",
        expected="blue locket",
        generated=generated,
        nll=0.1,
        ended=True,
        score=score,
    )


@pytest.mark.parametrize(
    ("split", "before", "after", "word"),
    [
        ("forget", 1.0, 1.0, "recited"),
        ("forget", 1.0, 0.7, "partly"),
        ("forget", 1.0, 0.2, "gone"),
        ("forget", 1.0, None, "recited"),
        ("retain", 1.0, 1.0, "kept"),
        ("retain", 1.0, 0.85, "damaged"),
        ("retain", 0.95, 0.9, "kept"),
        ("retain", 0.0, 0.0, "kept"),
        ("retain", 1.0, None, "kept"),
        ("retain", 0.1, None, "not known"),
    ],
)
def test_a_word_says_what_became_of_a_row(split, before, after, word):
    later = None if after is None else answer(after, split=split)
    assert label(answer(before, split=split), later) == word


def test_answers_are_joined_by_row_not_by_place():
    before = Evidence(answers=(answer(1, row="a"), answer(1, row="b")))
    after = Evidence(answers=(answer(0, row="b", generated="B"), answer(1, row="a", generated="A")))
    assert [(r.row, r.unlearned) for r in joined(before, after)] == [("a", "A"), ("b", "B")]


def test_a_row_that_was_not_scored_again_stays():
    before = Evidence(answers=(answer(1, row="a"), answer(1, row="b")))
    after = Evidence(answers=(answer(0, row="b"),))
    assert [r.unlearned for r in joined(before, after)] == [None, "said"]


def rows():
    before = Evidence(
        answers=(
            answer(1, row="leak"),
            answer(1, row="gone", task="Task2", kind="sc"),
            answer(1, row="hurt", split="retain"),
            answer(1, row="fine", split="retain", generated="Yara Brock"),
        )
    )
    after = Evidence(
        answers=(
            answer(1, row="leak"),
            answer(0, row="gone", task="Task2", kind="sc"),
            answer(0, row="hurt", split="retain"),
            answer(1, row="fine", split="retain"),
        )
    )
    return joined(before, after)


def test_leaks_and_damage_are_counted():
    assert counts(rows()) == {"forget": 2, "retain": 2, "leaks": 1, "damaged": 1, "all": 4}


@pytest.mark.parametrize(
    ("by", "found"),
    [
        (Filter(show="leaks"), ["leak"]),
        (Filter(show="damaged"), ["hurt"]),
        (Filter(show="forget", task="Task2"), ["gone"]),
        (Filter(show="all", kind="sc"), ["gone"]),
        (Filter(show="all", text="YARA brock"), ["fine"]),
        (Filter(show="all", text="nobody"), []),
    ],
)
def test_rows_are_filtered(by, found):
    assert [row.row for row in chosen(rows(), by)] == found


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
