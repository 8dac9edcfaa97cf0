"""Replays: recorded events on a clock of their own."""

import itertools
from dataclasses import replace

import pytest

from tests.fakes import evaluated, phase_began, stage, stepped
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.events import (
    Asked,
    Failed,
    Finished,
    Paused,
    Probed,
    Progressed,
    Resumed,
    Started,
    StoredEvent,
)
from unlearnlab.runs.progress import RunProgress, advance, run_view
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.replay import (
    AT_ONCE,
    BEAT_S,
    SILENCE_S,
    Clock,
    ReplayError,
    Replays,
    played,
    recording,
)
from unlearnlab.spec.run import RunSpec

BEGAN = 1_700_000_000.0

ASKED = Asked(ask_id="a", prompt="Who?", original="Ada", unlearned="?", step=-1)

STORY = (
    (0.0, Started(versions={}, device="cuda:0")),
    (0.0, stage("scoring before")),
    (4.0, evaluated("before").model_copy(update={"evidence": None})),
    (4.0, stage("training")),
    (4.0, phase_began(3)),
    (5.0, stepped(1)),
    (6.0, stepped(2)),
    (6.0, Probed(step=2, knowledge={"forget": 0.5}, regurgitation={}, nll={})),
    (7.0, stepped(3)),
    (7.0, stage("scoring after")),
    (8.0, Progressed(done=1, total=2)),
    (9.0, evaluated("after").model_copy(update={"evidence": None})),
    (9.0, Finished(seconds=9.0)),
)
"""Seconds since the beginning, and what happened."""


def events(story=STORY):
    return [StoredEvent(seq, BEGAN + at, event) for seq, (at, event) in enumerate(story, 1)]


def row(**changes):
    found = RunRecord(
        run_id="r",
        name="",
        created=BEGAN,
        spec=RunSpec(),
        alive=False,
        began=True,
        ending=Finished(seconds=9.0),
        before=evaluated("before").scores,
        after=evaluated("after").scores,
    )
    return replace(found, **changes)


def recorded(story=STORY, **changes):
    return recording(row(**changes), events(story))


@pytest.fixture
def replays(hand):
    return Replays(clock=hand)


def story(*moments):
    """Steps at moments."""
    return [(at, stepped(number)) for number, at in enumerate(moments, 1)]


def test_events_come_when_they_came():
    assert played(events(story(0, 1, 2.5, 4))) == (0, 1, 2.5, 4)
    assert played([]) == ()


def test_events_come_in_their_order_also_when_the_clock_was_set_back():
    times = played(events(story(5, 6, 2, 3)))
    assert times == (0, 1, 1, 2)


def test_a_long_silence_is_cut_short():
    paused = [(0, stepped(1)), (1, Paused()), (3600, Resumed()), (3601, stepped(2))]
    assert played(events(paused)) == (0, 1, 1 + SILENCE_S, 2 + SILENCE_S)


def test_slow_steps_are_no_silence():
    slow = [(30.0 * n, stepped(30 * n)) for n in range(1, 5)]
    assert played(events(slow)) == (0, 30, 60, 90)


def test_stages_scores_and_endings_that_came_at_once_come_one_after_another():
    times = played(events(STORY))
    by_kind = dict(zip([item.event.kind for item in events(STORY)], times, strict=True))
    assert by_kind["finished"] - by_kind["evaluated"] == BEAT_S
    assert all(later >= earlier for earlier, later in itertools.pairwise(times))


def test_what_came_after_the_ending_is_not_waited_for():
    told = recorded([*STORY, (9000.0, ASKED)])
    assert told.length_s == recorded().length_s
    assert told.progress.asks == (ASKED,)


@pytest.mark.parametrize("position", [0, 3.3, 7, 10, 99])
def test_the_moment_of_a_position_lies_between_the_recorded_events(position):
    told = recorded()
    come = told.come(position)
    moment = told.moment(position)
    assert told.events[come - 1].at <= moment
    assert come == len(told.events) or moment <= told.events[come].at


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", "", "1e9", "1,5"])
def test_a_speed_that_is_none_is_refused_with_what_was_typed(text):
    with pytest.raises(ReplayError, match=r"is not a number from 0\.01 to 1000"):
        recorded().pace(text)


@pytest.mark.parametrize("text", ["0", "-60", "nan", "a minute", "1e9"])
def test_a_length_that_is_none_is_refused(text):
    with pytest.raises(ReplayError, match="is not a number from 1 to 86400 seconds"):
        recorded().pace(seconds=text)


def test_a_replay_lasts_as_long_as_was_asked():
    told = recorded()
    assert told.length_s / told.pace(seconds="60") == pytest.approx(60)
    assert told.pace("20") == 20
    assert told.pace() == 1


def test_a_clock_goes_on_from_where_it_is_when_its_speed_changes():
    clock = Clock(4.0).begun(10)
    assert clock.at(12) == 8
    faster = clock.changed(12, speed=20)
    assert faster.at(12.5) == 18
    held = faster.changed(13, held=True)
    assert held.at(1000) == held.at(13) == 28
    assert held.changed(1000, held=False).at(1001) == 48


@pytest.mark.parametrize(
    ("changes", "story", "why"),
    [
        ({"ending": None, "alive": True, "began": False}, (), "has not started"),
        ({"ending": None, "alive": True}, STORY[:6], "watch it live"),
        ({}, (*STORY[:2], (1, Failed(seconds=1, problem="no room"))), "before its first step"),
        ({"ending": None}, (), "before its first step"),
    ],
)
def test_what_has_no_course_is_not_replayed(changes, story, why):
    with pytest.raises(ReplayError, match=f"run r cannot be replayed: .*{why}"):
        recorded(story, **changes)


def test_a_replay_shows_only_what_has_come(replays, hand):
    replays.start(recorded(), 1.0)
    begun = replays.of("r")
    assert begun.row.before is None
    assert begun.row.ending is None
    hand.now += 5.2
    scored = replays.of("r")
    assert scored.row.before == scores(evaluated("before").evidence)
    assert scored.row.after is None
    assert run_view(scored.progress, alive=True, mine=True, now=scored.moment).status == "running"
    hand.now += 3
    assert [item.event for item in replays.of("r").events(scored.progress.seq)] == [
        STORY[number][1] for number in (3, 4, 5, 6, 7)
    ]


def test_the_rest_of_the_time_is_told_as_it_was_then(replays, hand):
    replays.start(recorded(), 1000.0)
    replays.change("r", speed=1.0)
    live, told = RunProgress(), recorded()
    for seq in range(1, len(STORY)):
        live = advance(live, events()[seq - 1 : seq])
        hand.now += told.times[seq - 1] - replays.of("r").position + 1e-6
        seen = replays.of("r")
        if seen.progress.seq != seq:  # What came at once comes at once.
            continue
        then = run_view(live, alive=True, mine=True, now=BEGAN + STORY[seq - 1][0])
        now = run_view(seen.progress, alive=True, mine=True, now=seen.moment)
        assert (now.eta_s or 0) == pytest.approx(then.eta_s or 0, abs=1e-3)


def test_at_its_end_a_replay_is_the_run(replays, hand):
    told = recorded()
    replays.start(told, 4.0)
    hand.now += told.length_s / 4 - 1e-6
    last = replays.of("r")
    assert last.progress == advance(RunProgress(), events()[:-1])
    hand.now += 1e-3
    assert replays.of("r") is None
    assert replays.active() == ()
    assert told.progress == advance(RunProgress(), events())


def test_an_unfinished_run_is_replayed_as_far_as_it_came(replays, hand):
    replays.start(recorded(STORY[:8], ending=None), 1.0)
    hand.now += 7.5
    assert replays.of("r").progress.step.step == 1
    hand.now += 60
    assert replays.of("r") is None


def test_a_replay_that_waits_to_be_seen_begins_when_it_is(replays, hand):
    replays.start(recorded(), 1.0, when_seen=True)
    hand.now += 500
    assert replays.of("r").position == 0
    replays.seen("r")
    hand.now += 1
    replays.seen("r")
    hand.now += 1
    assert replays.of("r").position == 2


def test_a_replay_is_held_let_go_and_ended(replays, hand):
    replays.start(recorded(), 1.0)
    hand.now += 2
    replays.change("r", held=True)
    hand.now += 500
    assert replays.of("r").position == 2
    replays.change("r", held=False, speed=20)
    assert replays.of("r").clock.speed == 20
    replays.end("r")
    assert replays.of("r") is None
    replays.change("r", speed=4)
    replays.end("r")


def test_a_replay_that_is_started_again_is_another_take(replays, hand):
    replays.start(recorded(), 1.0)
    hand.now += 8
    first = replays.of("r")
    replays.start(recorded(), 1.0)
    again = replays.of("r")
    assert again.take != first.take
    assert again.progress.seq < first.progress.seq


def test_the_oldest_of_too_many_replays_gives_way(replays):
    for number in range(AT_ONCE + 1):
        replays.start(recorded(run_id=f"r{number}"), 1.0)
    assert replays.of("r0") is None
    assert len(replays.active()) == AT_ONCE
