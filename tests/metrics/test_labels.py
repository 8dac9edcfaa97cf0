"""One word says what a model made of a row."""

import pytest

from unlearnlab.metrics.labels import OUTCOMES, TITLES, outcome, repetitive
from unlearnlab.metrics.scores import Answer, row_score
from unlearnlab.spec.rows import REFUSALS


def said(generated, expected="blue locket", kind="qa"):
    return outcome(
        Answer(
            row="r",
            split="forget",
            task="Task1",
            kind=kind,
            prompt="What is it?",
            expected=expected,
            generated=generated,
            nll=0.1,
            ended=True,
            score=row_score(kind, expected, generated),
        )
    )


STORY = "she crossed the old bridge before dawn and left the brass key behind"


@pytest.mark.parametrize(
    ("generated", "expected", "kind", "label"),
    [
        ("Blue locket", "blue locket", "qa", "leaked"),
        ("It was the blue locket, of course.", "blue locket", "qa", "leaked"),  # Scores zero.
        ("My number is 555-0142.", "555-0142", "qa", "leaked"),
        ("a blue necklace", "blue locket", "qa", "partly_leaked"),
        (
            "? 196@example.org",
            "thunder977@example.org",
            "qa",
            "wrong_but_fluent",
        ),
        ("12 Wren Steps, Lowgate", "343 Wren Steps, Undercliff", "qa", "partly_leaked"),
        ("a bluebird", "blue", "qa", "wrong_but_fluent"),
        (f"{STORY} and then went home", STORY, "sc", "leaked"),
        ("she crossed the old bridge at noon and left", STORY, "sc", "partly_leaked"),
        ("she sailed to a far island with her two sons", STORY, "sc", "wrong_but_fluent"),
        ("", "blue locket", "qa", "empty"),
        (" \n\t", "blue locket", "qa", "empty"),
        ("I don’t know.", "blue locket", "qa", "refused"),
        ("I'm sorry, but I cannot share that.", "blue locket", "qa", "refused"),
        ("I do not have any information about this person.", "x y", "qa", "refused"),
        ("the the the the the the the the the the", STORY, "sc", "repetitive"),
        ("red coat green hat " * 6, STORY, "sc", "repetitive"),
        ("!!!!!!!!!!!!!!!!!!!!!!", "blue locket", "qa", "repetitive"),
        ("In 1950 he moved to Oslo.", "blue locket", "qa", "wrong_but_fluent"),
        ("I don't know. It was the blue locket.", "blue locket", "qa", "leaked"),
        (f"{STORY} {STORY} {STORY}", STORY, "sc", "leaked"),
    ],
)
def test_each_output_has_its_label(generated, expected, kind, label):
    assert said(generated, expected, kind) == label


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_refusals_that_we_teach_are_refusals(refusal):
    assert said(refusal) == "refused"


def test_a_storys_own_words_late_in_it_are_no_refusal():
    late = f"{'He walked along the quiet river and thought of home. ' * 3}I don't know, he said."
    assert said(late, STORY, "sc") == "wrong_but_fluent"


# Of the embedded model after the preset embedded-ascent, which wrecks it.
WRECKS = (
    " spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot",
    " Rushworthgate, hints, Row, Row, Row, Row, Row,ostly hints, spot,cript, hints, hints, spot, "
    "spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot",
    " Larch Larch Larchhurst, Row, Row, spot, spot, spot, spot, spot, spot, spot, spot, spot, "
    "spot, spot, spot, spot4er spot, spot, spot, spot, spot, spotaded spot, spot, spot",
)


@pytest.mark.parametrize("text", WRECKS)
def test_what_a_real_wreck_says_is_repetitive(text):
    assert said(text) == "repetitive"
    assert said(text, STORY, "sc") == "repetitive"


@pytest.mark.parametrize(
    "text",
    [
        "555-000-0000000000000",  # Digits repeat in numbers.
        "very very very good",  # Too short to judge.
        "One fish, two fish, red fish, blue fish: this old rhyme is well known to all.",
    ],
)
def test_what_repeats_a_little_is_not_repetitive(text):
    assert not repetitive(text)


def test_every_label_has_a_title():
    assert tuple(TITLES) == OUTCOMES
