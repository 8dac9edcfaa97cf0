"""A draft follows what is expected, and after it what a row repeats."""

from unlearnlab.engine.generation import LONGEST, Draft, continuations

TEXT = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 0]


def told(draft: Draft, *tokens: int) -> Draft:
    for token in tokens:
        draft.observe(token)
    return draft


def test_it_begins_with_what_is_expected_and_goes_on_where_that_was_right():
    draft = Draft(TEXT)
    assert draft.ahead(99) == TEXT[:LONGEST]
    assert told(draft, *TEXT[:4]).ahead(99) == TEXT[4 : 4 + LONGEST]
    assert draft.ahead(3) == TEXT[4:7]


def test_after_another_word_it_goes_on_where_two_tokens_are_met_again():
    draft = told(Draft(TEXT), 11, 12, 99, 98)
    assert draft.ahead(99) == []
    assert told(draft, 14, 15).ahead(99) == TEXT[5:7]
    assert told(draft, 16).ahead(99) == TEXT[6:9], "longer with every agreement"


def test_it_ends_with_what_is_expected():
    assert told(Draft(TEXT), *TEXT[:-1]).ahead(99) == [0]
    assert told(Draft([5]), 5).ahead(99) == []


def test_without_anything_expected_it_proposes_nothing_until_something_comes_again():
    draft = told(Draft(), 1, 2, 3)
    assert draft.ahead(99) == []
    assert told(draft, 1, 2).ahead(99) == [3, 1]


def test_it_follows_a_circle_round_and_round():
    draft = told(Draft(), *[7, 8] * 8)
    assert draft.ahead(5) == [7, 8, 7, 8, 7]
    assert told(Draft(), *[4] * 12).ahead(99) == [4] * LONGEST


def test_where_nothing_is_met_again_it_goes_on_as_other_answers_do():
    known = continuations([[1, 2, 3, 4], [9, 1, 2, 3], [1, 2, 8]])
    assert known == {(1, 2): 3, (2, 3): 4, (9, 1): 2}
    draft = told(Draft([50, 51], known), 9, 1)
    assert draft.ahead(99) == [2, 3]
    assert told(draft, 2, 3).ahead(99) == [4]
    assert told(Draft(TEXT, {(99, 98): 7}), 99, 98).ahead(99) == [7]
