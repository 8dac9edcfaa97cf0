"""Curves of several runs."""

from dataclasses import dataclass

import pytest

from tests.fakes import stepped
from unlearnlab.runs.events import Event, Probed
from unlearnlab.views.compare.overlays import curve, offered, smoothed, track


@dataclass
class Stored:
    event: Event
    seq: int = 1
    at: float = 0.0


def probe(step):
    return Probed(step=step, knowledge={"forget": 0.5}, regurgitation={}, nll={})


TRACK = track([Stored(e) for e in (probe(0), stepped(1), stepped(2, loss=3.0), stepped(3))])


def test_every_series_that_a_run_has_is_offered_by_name():
    assert offered([TRACK])["term.forget"] == "forget loss"
    assert next(iter(offered([TRACK]))) == "term.forget"
    assert "knowledge.forget" in offered([TRACK])


def test_a_curve_runs_over_steps_tokens_or_seconds():
    assert curve(TRACK, "term.forget").xs == (1, 2, 3)
    assert curve(TRACK, "term.forget", "seconds").xs == (1, 2, 3)
    assert curve(TRACK, "term.forget", "tokens").xs == (100, 200, 300)
    assert curve(TRACK, "knowledge.forget", "tokens").xs == (0,)


def test_a_pause_is_no_training():
    late = stepped(4).model_copy(update={"seconds": 500.0})
    found = track([Stored(e) for e in (stepped(1), stepped(2), stepped(3), late)])
    assert found.seconds == (1, 2, 3, 5)


def test_a_series_that_a_run_lacks_is_no_curve():
    assert curve(TRACK, "term.kl") is None
    assert curve(track([]), "term.forget") is None


def test_smoothing_leaves_a_constant_alone_and_keeps_gaps():
    assert smoothed((2.0, None, 2.0), 0.9) == (pytest.approx(2.0), None, pytest.approx(2.0))
    assert smoothed((1.0, 3.0), 0.0) == (1.0, 3.0)


def test_smoothing_out_of_range_is_refused():
    with pytest.raises(ValueError, match="smoothing 1 is out of range"):
        smoothed((1.0,), 1)


def test_a_long_curve_is_thinned_and_keeps_its_end():
    long = track([Stored(stepped(step)) for step in range(1, 1001)])
    found = curve(long, "term.forget", most=100)
    assert (len(found.xs), found.xs[0], found.xs[-1]) == (101, 1, 1000)
