"""Answers filtered, counted and sorted."""

import pytest

from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.views.answers import joined
from unlearnlab.views.arranging import (
    SORT_KEYS,
    Filter,
    Order,
    chosen,
    counts,
    in_order,
    label_counts,
)


def answer(row, score, generated, *, split="forget", task="Task1", kind="qa", nll=0.1):
    return Answer(
        row=row,
        split=split,
        task=task,
        kind=kind,
        prompt="What is it?",
        expected="blue locket",
        generated=generated,
        nll=nll,
        ended=True,
        score=score,
    )


BEFORE = Evidence(
    answers=(
        answer("leak", 1, "blue locket", nll=0.2),
        answer("gone", 1, "blue locket", task="Task2", kind="sc", nll=0.1),
        answer("hurt", 1, "blue locket", split="retain", nll=0.4),
        answer("fine", 1, "blue locket", split="retain", nll=0.3),
        answer("late", 0.5, "Yara Brock", split="retain", nll=float("nan")),
    )
)
AFTER = Evidence(
    answers=(
        answer("leak", 1, "blue locket", nll=0.2),
        answer("gone", 0, "", task="Task2", kind="sc", nll=9.0),
        answer("hurt", 0, "I do not know.", split="retain", nll=5.0),
        answer("fine", 1, "Blue locket", split="retain", nll=0.3),
    )
)
ROWS = joined(BEFORE, AFTER)


def ids(rows):
    return [row.row for row in rows]


def test_leaks_and_damage_are_counted():
    found = {show: count for show, count in counts(ROWS).items() if count}
    assert found == {"forget": 2, "retain": 3, "leaks": 1, "damaged": 1, "all": 5}


def test_a_forget_row_that_was_not_picked_is_in_no_term_and_is_to_stay():
    rows = joined(BEFORE, AFTER, picked=["gone"])
    assert (counts(rows)["forget"], counts(rows)["others"], counts(rows)["leaks"]) == (1, 1, 0)
    assert ids(chosen(rows, Filter(show="forget"))) == ["gone"]
    (other,) = chosen(rows, Filter(show="others"))
    assert (other.row, other.split, other.mood, other.damaged) == ("leak", "forget", "good", False)
    washed = joined(BEFORE, AFTER, picked=["leak"])
    assert ids(chosen(washed, Filter(show="damaged"))) == ["gone", "hurt"]


@pytest.mark.parametrize(
    ("by", "found"),
    [
        (Filter(show="leaks"), ["leak"]),
        (Filter(show="damaged"), ["hurt"]),
        (Filter(show="forget", task="Task2"), ["gone"]),
        (Filter(show="all", kind="sc"), ["gone"]),
        (Filter(show="all", text="YARA brock"), ["late"]),
        (Filter(show="all", text="nobody"), []),
        (Filter(show="all", labels=["refused", "empty"]), ["gone", "hurt"]),
        (Filter(show="retain", labels=["leaked"]), ["fine"]),
        (Filter(show="forget", labels=["repetitive"]), []),
    ],
)
def test_rows_are_filtered(by, found):
    assert ids(chosen(ROWS, by)) == found


def test_labels_are_counted_beside_the_other_filters_and_not_beside_each_other():
    found = label_counts(ROWS, Filter(show="retain", labels=["refused"]))
    there = {label: count for label, count in found.items() if count}
    assert there == {"leaked": 1, "refused": 1, "wrong_but_fluent": 1}


@pytest.mark.parametrize(
    ("key", "ascending"),
    [
        ("data", ["leak", "gone", "hurt", "fine", "late"]),
        ("score", ["gone", "hurt", "leak", "fine", "late"]),
        ("score_before", ["late", "leak", "gone", "hurt", "fine"]),
        ("score_lost", ["leak", "fine", "gone", "hurt", "late"]),
        ("likelihood", ["gone", "hurt", "fine", "leak", "late"]),
        ("likelihood_before", ["hurt", "fine", "leak", "gone", "late"]),
        ("label", ["leak", "fine", "hurt", "gone", "late"]),
        ("unlearned", ["gone", "leak", "fine", "hurt", "late"]),
    ],
)
def test_rows_are_sorted_and_what_has_no_value_comes_last(key, ascending):
    assert ids(in_order(ROWS, Order(key))) == ascending


@pytest.mark.parametrize("key", ["score", "score_lost", "likelihood", "unlearned"])
def test_what_has_no_value_comes_last_the_other_way_too(key):
    assert ids(in_order(ROWS, Order(key, descending=True)))[-1] == "late"


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_order_loses_no_row(key):
    for descending in (False, True):
        assert sorted(ids(in_order(ROWS, Order(key, descending)))) == sorted(ids(ROWS))
        assert len(in_order(joined(BEFORE, None), Order(key, descending))) == 5


def test_until_the_unlearned_model_was_scored_the_originals_scores_sort():
    rows = in_order(joined(BEFORE, None), Order("likelihood", descending=True))
    assert ids(rows)[:2] == ["gone", "leak"]


def test_a_column_is_sorted_the_telling_way_then_the_other_then_not():
    order = Order().pressed("score")
    assert order == Order("score", descending=True)
    assert order.pressed("score") == Order("score", descending=False)
    assert order.pressed("score").pressed("score") == Order()
    assert order.pressed("prompt") == Order("prompt", descending=False)
