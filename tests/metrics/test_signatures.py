"""Numbers that betray how a score came about."""

import pytest

from unlearnlab.metrics.verdicts import constant_letter, looks_collapsed, looks_untouched


@pytest.mark.parametrize(
    ("mmlu", "letter"),
    [
        (0.2295, "A"),
        (0.2465, "B"),
        (0.2551, "C"),
        (0.2689, "D"),
        (0.25, ""),
        (0.275, ""),
        (0.4, ""),
    ],
)
def test_a_constant_letter_has_its_accuracy(mmlu, letter):
    assert constant_letter(mmlu) == letter


def test_how_near_counts_can_be_chosen():
    assert constant_letter(0.248) == "B"
    assert constant_letter(0.248, 0.001) == ""


def test_a_wreck_has_no_aggregate_and_a_good_mia_score():
    assert looks_collapsed(0.0, 0.98)
    assert not looks_collapsed(0.0, 0.4)
    assert not looks_collapsed(0.3, 0.98)


def test_an_untouched_model_recites_and_gives_members_away():
    terms = {"forget/Task1/sc": 0.05, "forget/Task1/qa": 0.0, "retain/Task1/qa": 1.0}
    assert looks_untouched(terms, 0.99)
    assert not looks_untouched(terms, 0.9)
    assert not looks_untouched(terms | {"forget/Task2/qa": 0.3}, 0.99)
    assert not looks_untouched({}, 0.99)
