"""Folds: events in, views out."""

import itertools
import math

import pytest

from tests.fakes import evaluated, phase_began, stage, stepped, stored
from unlearnlab.runs.events import (
    Asked,
    Examined,
    Failed,
    Finished,
    Paused,
    PhaseEnded,
    Probed,
    Progressed,
    Resumed,
    Started,
    StepsTimed,
    Stopped,
)
from unlearnlab.runs.progress import MANY_STEPS, RunProgress, advance, points_after, run_view

STARTED = Started(versions={}, device="cpu, 2 threads")


def view_of(*events, alive=True, mine=True, now=0.0):
    return run_view(advance(RunProgress(), stored(*events)), alive=alive, mine=mine, now=now)


def test_a_run_nobody_took_up_is_queued():
    view = view_of()
    assert (view.status, view.can_stop, view.can_pause) == ("queued", True, False)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((STARTED,), "running"),
        ((STARTED, Paused()), "paused"),
        ((STARTED, Paused(), Resumed()), "running"),
        ((STARTED, Paused(), Stopped(seconds=3)), "stopped"),
        ((STARTED, Finished(seconds=3)), "finished"),
        ((STARTED, Failed(seconds=3, problem="p")), "failed"),
        ((Stopped(seconds=0),), "stopped"),
    ],
)
def test_the_status_follows_from_the_events(events, status):
    assert view_of(*events).status == status


@pytest.mark.parametrize("events", [(), (STARTED,), (STARTED, Paused())])
def test_a_run_whose_process_died_is_interrupted_not_running(events):
    view = view_of(*events, alive=False)
    assert view.status == "interrupted"
    assert not any((view.can_stop, view.can_pause, view.can_resume))


def test_an_ending_outlives_the_process():
    assert view_of(STARTED, Finished(seconds=3), alive=False).status == "finished"


def test_a_run_of_another_process_is_shown_but_not_held_from_here():
    view = view_of(STARTED, mine=False)
    assert (view.status, view.can_pause, view.can_stop) == ("running", False, False)


def test_a_failure_says_what_happened_and_what_to_change():
    view = view_of(STARTED, Failed(seconds=3, problem="loss is nan", advice="lower the rate"))
    assert (view.headline, view.advice) == ("Failed: loss is nan", "lower the rate")


def test_scoring_tells_its_share_and_training_its_step():
    scoring = view_of(STARTED, stage("scoring before"), Progressed(done=3, total=12))
    assert (scoring.headline, scoring.detail) == ("Scoring the original model", "3 of 12")
    assert scoring.progress == (0.25, 0, 0)
    training = view_of(STARTED, evaluated("before"), stage("training"), phase_began(4), stepped(1))
    assert (training.headline, training.detail) == ("Training", "step 1 of 4")
    assert training.progress == (1, 0.25, 0)


def test_a_second_phase_is_named():
    events = (
        stage("training"),
        phase_began(2, total=4),
        stepped(2),
        phase_began(2, phase=1, step=2, total=4),
    )
    assert view_of(STARTED, *events).detail == "step 2 of 4 · phase 2"


def test_the_time_left_follows_the_pace_of_the_last_steps_and_forgets_a_pause():
    steps = [stepped(n) for n in range(1, 6)]
    late = [step.model_copy(update={"seconds": step.seconds + 1000}) for step in steps[3:]]
    view = view_of(STARTED, stage("training"), phase_began(10), *steps[:3], *late)
    assert view.eta_s == pytest.approx(5.0)


def test_the_time_left_counts_the_scoring_to_come():
    before = (stage("scoring before"), Progressed(done=1, total=1), evaluated("before"))
    view = view_of(STARTED, *before, stage("training"), phase_began(10), stepped(1), stepped(2))
    assert view.eta_s == pytest.approx(8.0 + 2.0)


def test_the_time_left_of_a_scoring_follows_its_share():
    events = (STARTED, stage("scoring after"), Progressed(done=1, total=4))
    assert view_of(*events, now=2.0 + 5.0).eta_s == pytest.approx(15.0)


def test_a_first_run_tells_the_time_left_while_it_scores_from_a_few_timed_batches():
    told = (StepsTimed(seconds=60), stage("scoring before"), Progressed(done=1, total=4))
    assert view_of(STARTED, *told, now=3.0 + 5.0).eta_s == pytest.approx(15.0 + 60.0 + 20.0)


def test_the_time_left_is_the_longest_until_a_phase_that_may_end_early_has_ended():
    timed = StepsTimed(seconds=60, at_most=True)
    steps = (stage("training"), phase_began(10), stepped(1), stepped(2))
    assert view_of(STARTED, timed, *steps).eta_words == "at most"
    assert view_of(STARTED, timed, *steps, stage("scoring after")).eta_words == "about"
    sure = timed.model_copy(update={"at_most": False})
    assert view_of(STARTED, sure, *steps).eta_words == "about"


def test_nothing_measured_gives_no_time_left():
    assert view_of(STARTED, stage("training"), phase_began(10)).eta_s is None


def test_a_fold_carried_on_equals_a_fold_from_the_start():
    events = stored(
        STARTED,
        stage("scoring before"),
        Progressed(done=1, total=1),
        evaluated("before"),
        stage("training"),
        phase_began(30),
        *(stepped(n) for n in range(1, 31)),
        Asked(ask_id="a", prompt="p", original="o", unlearned="u", step=3),
        evaluated("after"),
        Finished(seconds=9),
    )
    whole = advance(RunProgress(), events)
    for cut in range(len(events)):
        assert advance(advance(RunProgress(), events[:cut]), events[cut:]) == whole


def test_points_come_by_series_and_step():
    probe = Probed(step=2, knowledge={"forget": 0.5}, regurgitation={"retain": 1.0}, nll={})
    points = points_after(stored(stepped(1), stepped(2, loss=3.0), probe))
    assert points["term.forget"] == ((1, 2), (1.0, 3.0))
    assert points["knowledge.forget"] == ((2,), (0.5,))
    assert points["regurgitation.retain"] == ((2,), (1.0,))
    assert points["learning_rate"] == ((1, 2), (1e-4, 1e-4))
    assert points["weight.forget"] == ((1, 2), (-1.0, -1.0))


def test_what_is_not_finite_leaves_a_gap():
    points = points_after(stored(stepped(1, loss=math.nan), stepped(2, loss=math.inf)))
    assert points["term.forget"] == ((1, 2), (None, None))


def test_a_long_run_is_thinned_but_keeps_its_spike_and_its_ends():
    many = 5 * MANY_STEPS
    steps = [stepped(n, loss=50.0 if n == 1234 else 1.0) for n in range(1, many + 1)]
    xs, ys = points_after(stored(*steps))["term.forget"]
    assert len(xs) <= MANY_STEPS + 2
    assert (xs[0], xs[-1]) == (1, many)
    assert ys[xs.index(1234)] == 50.0
    assert all(a < b for a, b in itertools.pairwise(xs))


def test_a_spike_of_one_curve_alone_survives_the_thinning():
    spikes = {2000: {"grad_norm": 90.0}, 3000: {"terms": {"forget": 1.0, "retain": 70.0}}}
    spikes[4000] = {"terms": {"forget": math.nan, "retain": 0.5}}
    many = range(1, 3 * MANY_STEPS + 1)
    series = points_after(stored(*(stepped(n, **spikes.get(n, {})) for n in many)))
    assert len(series["grad_norm"][0]) <= MANY_STEPS + 2
    for name, step, value in (("grad_norm", 2000, 90.0), ("term.retain", 3000, 70.0)):
        xs, ys = series[name]
        assert ys[xs.index(step)] == value, name


def test_a_phase_that_ended_early_was_all_of_the_training():
    ended = PhaseEnded(phase=0, steps=2, total_steps=2)
    view = view_of(STARTED, stage("training"), phase_began(30), stepped(2), ended)
    assert view.progress[1] == 1


def test_mmlu_is_told_with_an_interval_while_its_questions_are_answered():
    def told(asked: int, right: int) -> str:
        exam = Examined(when="before", asked=asked, of=400, right=right)
        done = Progressed(done=608 + asked, total=1008)
        return view_of(STARTED, stage("scoring before"), exam, done).detail

    assert told(40, 16) == ("648 of 1008 · MMLU 0.400, 0.263 to 0.554, after 40 of 400 questions")
    assert "0.353 to 0.449" in told(400, 160)
    later = view_of(STARTED, stage("scoring before"), stage("training"))
    assert "MMLU" not in later.detail


def test_a_run_that_only_scores_tells_so_and_how_long_it_will_take():
    view = view_of(STARTED, stage("scoring"), Progressed(done=3, total=12))
    assert (view.headline, view.detail) == ("Scoring the model", "3 of 12")
    assert view.progress[0] == 0.25
    assert view.eta_s is not None
