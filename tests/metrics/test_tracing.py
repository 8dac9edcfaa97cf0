"""Roles of tokens, averages over many traces, and the blocks that matter most."""

import pytest

from unlearnlab.metrics.tracing import FactTrace, average, peak_blocks, roles


def traced(subject, rows, *, clean=0.9, corrupted=0.1):
    """A trace whose indirect effects are the same for every part."""
    tokens = len(rows[0])
    return FactTrace(
        id="",
        prompt="p",
        subject="s",
        answer="a",
        tokens=tuple("abcdefgh"[:tokens]),
        roles=roles(tokens, subject),
        given=0,
        scored="a",
        clean=clean,
        corrupted=corrupted,
        effects=dict.fromkeys(("residual", "mlp", "attention"), rows),
    )


def test_every_token_plays_one_role():
    assert roles(8, range(2, 5)) == (
        "before", "before", "first", "middle", "last subject", "after", "after", "last",
    )  # fmt: skip
    assert roles(3, range(1, 2)) == ("before", "last subject", "last")
    assert roles(3, range(1, 3)) == ("before", "first", "last subject")


def test_averages_take_each_role_from_its_own_tokens():
    """The published plots repeat the first subject token for the last, and shift what follows.

    By hand, for tokens: before, first, middle, last subject, after, after, last. The plots' slip
    would give 0.1 for the last subject token, and mix 0.5 into what follows it.
    """
    one = traced(range(1, 4), ((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.2),))
    two = traced(range(2), ((0.3, 0.9, 0.1, 0.4),), clean=0.7)
    found = average([one, two], unknown=3)
    means = {role: curve[0].mean for role, curve in found.curves["mlp"].items()}
    assert means == pytest.approx(
        {
            "before": 0.0,
            "first": (0.1 + 0.3) / 2,
            "middle": 0.3,
            "last subject": (0.5 + 0.9) / 2,
            "after": ((0.7 + 0.9) / 2 + 0.1) / 2,
            "last": (0.2 + 0.4) / 2,
        }
    )
    assert found.curves["mlp"]["last"][0].sd == pytest.approx(0.2 / 2**0.5)
    assert found.having == {
        "before": 1, "first": 2, "middle": 1, "last subject": 2, "after": 2, "last": 2,
    }  # fmt: skip
    assert (found.facts, found.unknown) == (2, 3)
    assert found.total_effect.mean == pytest.approx((0.8 + 0.6) / 2)


def test_a_long_subject_counts_no_more_than_a_short_one():
    short = traced(range(3), ((0.0, 1.0, 0.0, 0.0),))
    long = traced(range(5), ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0),))
    assert average([short, long], unknown=0).curves["mlp"]["middle"][0].mean == 0.5


def test_the_peak_blocks_are_those_around_the_peak():
    rows = tuple((value, 0.0) for value in (0.5, 0.1, 0.4, 0.8, 0.5, 0.3))
    one = traced(range(1), rows)
    assert peak_blocks(one) == range(2, 5)
    assert peak_blocks(average([one, one], unknown=0)) == range(2, 5)
