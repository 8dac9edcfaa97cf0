"""Roles of tokens, averages over many traces, and the blocks that matter most."""

import pytest

from unlearnlab.metrics.tracing import (
    PARTS,
    SUBJECT,
    FactTrace,
    Spread,
    average,
    map_rows,
    peak_blocks,
    roles,
    strongest,
)


def traced(subject, rows, *, clean=0.9, corrupted=0.1, **more):
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
        effects=dict.fromkeys(PARTS, rows),
        **more,
    )


def whole(*means, sd=0.0):
    """The effects of the whole subject, by block, the same for every part."""
    return dict.fromkeys(PARTS, tuple(Spread(mean=mean, sd=sd) for mean in means))


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


def test_the_whole_subject_is_a_row_of_its_own_and_no_token_of_a_role():
    one = traced(range(2), ((0.1, 0.2, 0.0),), whole=whole(0.7))
    two = traced(range(2), ((0.3, 0.4, 0.0),), whole=whole(0.5))
    before = traced(range(2), ((0.9, 0.9, 0.0),))
    found = average([one, two, before], unknown=0)
    assert found.curves["mlp"]["whole subject"][0].mean == pytest.approx(0.6)
    assert found.having["whole subject"] == 2, "earlier versions did not measure it"
    assert found.curves["mlp"]["last subject"][0].mean == pytest.approx((0.2 + 0.4 + 0.9) / 3)
    assert [row.row for row in map_rows(one, "mlp")] == [
        "first", "last subject", "last", "whole subject",
    ]  # fmt: skip
    assert [row.row for row in map_rows(before, "mlp")] == ["first", "last subject", "last"]


def test_a_trace_without_the_whole_subject_is_still_read():
    old = traced(range(1), ((0.1, 0.2),)).model_dump(exclude={"sds", "whole", "copies"})
    read = FactTrace.model_validate(old)
    (site,) = [strongest(read)]
    assert (site.effect, site.interval) == (0.2, None)
    assert "whole subject" not in average([read, read], unknown=0).having


def test_the_strongest_site_is_no_residual_state_and_has_its_interval():
    """Student's t for two values of standard deviation 0.2: 12.706 * 0.2 / sqrt(2)."""
    rows = ((0.1, 0.2, 0.0), (0.0, 0.1, 0.6))
    one = traced(range(2), rows, whole=whole(0.4, 0.1, sd=0.2), copies=2)
    one = one.model_copy(
        update={
            "effects": {**one.effects, "residual": ((0.9, 0.9, 0.9),) * 2},
            "sds": dict.fromkeys(PARTS, ((0.2, 0.2, 0.2),) * 2),
        }
    )
    best = strongest(one)
    assert (best.part, best.block, best.token, best.effect) == ("mlp", 1, 2, 0.6)
    assert best.interval.high - best.effect == pytest.approx(12.7062 * 0.2 / 2**0.5, abs=1e-3)
    at_subject = strongest(one, SUBJECT)
    assert (at_subject.row, at_subject.block, at_subject.token) == ("whole subject", 0, None)
    many = strongest(average([one, one], unknown=0))
    assert (many.row, many.block, many.effect) == ("last", 1, 0.6)
    assert many.interval.low == many.interval.high == 0.6, "facts that are alike have no width"


def test_the_peak_blocks_count_the_whole_subject():
    one = traced(range(1), ((0.1, 0.1), (0.1, 0.2), (0.1, 0.1)), whole=whole(0.8, 0.1, 0.1))
    assert peak_blocks(one) == range(1)
