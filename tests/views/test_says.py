"""What a model says at probes, word by word, with likelihoods and labels in words."""

import math

from tests.fakes import saying, stored
from unlearnlab.runs.events import Said
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.views.says import percent_words, said_record, said_steps, said_words

TRUTH = (("blue", 0.04), ("locket", 0.5))


def said(step, *sayings):
    return Said(step=step, sayings=sayings)


def test_a_word_stands_for_the_true_word_that_it_is_or_in_whose_place_it_is():
    def pairs(text):
        return [(word.text, word.truth, word.probability) for word in said_words(text, TRUTH)]

    assert pairs("blue locket") == [("blue", "blue", 0.04), ("locket", "locket", 0.5)]
    assert pairs("silver harp") == [("silver", "blue", 0.04), ("harp", "locket", 0.5)]
    assert pairs("It is a Blue Locket.") == [
        ("It", "", None),
        ("is", "", None),
        ("a", "", None),
        ("Blue", "blue", 0.04),
        ("Locket.", "locket", 0.5),
    ]
    assert pairs("") == []


def test_likelihoods_are_told_in_plain_words():
    told = [percent_words(p).replace("\u00a0", " ") for p in (1, 0.998, 0.42, 0.04, 0.0031, 1e-9)]
    assert told == ["100 %", "over 99 %", "42 %", "4 %", "0.3 %", "less than 0.1 %"]


def test_an_answer_still_leaks_or_is_kept_or_lost_and_the_originals_is_only_known():
    steps = said_steps(
        RunSpec(),
        [
            said(0, saying("a"), saying("b", split="retain"), saying("c", split="retain")),
            said(
                7,
                saying("a", "a blue locket"),
                saying("b", split="retain"),
                saying("c", "silver harp", 0.01, 0.2, split="retain"),
            ),
        ],
    )
    before, after = ([(one.title, one.mood) for one in step.answers.values()] for step in steps)
    assert before == [("known", "plain")] * 3
    assert after == [("still leaks", "bad"), ("kept", "good"), ("lost", "bad")]


def test_a_run_that_teaches_has_learnt_an_answer_or_not_yet():
    spec = RunSpec(phases=(Phase(method=Memorize()),))
    steps = said_steps(
        spec,
        [said(0, saying("a", "no idea")), said(1, saying("a", "no idea")), said(2, saying("a"))],
    )
    assert [step.answers["a"].title for step in steps] == ["not known", "not yet", "learnt"]


def test_numbers_that_are_none_are_said_to_be_none():
    (step,) = said_steps(RunSpec(), [said(0, saying("a", "x y", math.nan, math.nan))])
    one = step.answers["a"]
    assert one.likelihood is None
    assert "not a number" in one.told
    assert [word.probability for word in one.words] == [None, None]


def test_a_later_event_of_the_same_step_replaces_the_earlier_one():
    events = (said(0, saying("a")), said(0, saying("b")), said(3, saying("b")))
    progress = advance(RunProgress(), stored(*events))
    assert progress.said == events[1:]


def test_the_record_of_what_was_said_can_be_masked():
    steps = said_steps(RunSpec(), [said(0, saying("a", "Ada Fenwick", 0.25, 0.5))])
    (plain,) = said_record(steps, str)
    assert (plain["step"], plain["answer"], plain["likelihood"]) == (0, "Ada Fenwick", 0.125)
    assert plain["true_words"][0] == {"word": "blue", "probability": 0.25}
    (masked,) = said_record(steps, lambda text: "•")
    assert {masked[key] for key in ("prompt", "expected", "answer")} == {"•"}
