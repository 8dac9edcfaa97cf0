"""Folds: events in, views out."""

import itertools
import math

import pytest

from tests.fakes import evaluated, stage, stepped
from unlearnlab.models.catalog import models
from unlearnlab.runs.events import (
    Adjusted,
    AdjustFailed,
    Asked,
    Examined,
    Failed,
    Finished,
    Paused,
    PhaseBegan,
    PhaseEnded,
    Probed,
    Progressed,
    Resumed,
    Started,
    Stopped,
    StoredEvent,
)
from unlearnlab.runs.progress import MANY_STEPS, RunProgress, advance, points_after, run_view
from unlearnlab.spec.methods import Memorize, TiesMerge
from unlearnlab.spec.plan import planned_steps, trainable_parameters, written
from unlearnlab.spec.run import RECORDED, LoRA, ModelSpec, Phase, RunSpec
from unlearnlab.views.words import blocks_text, changes, phase_text, present_phase, timeline

STARTED = Started(versions={}, device="cpu, 2 threads")


def stored(*events, first=1, every_s=1.0):
    """Number events as the store does, `every_s` seconds apart."""
    return [
        StoredEvent(seq, at=every_s * seq, event=event) for seq, event in enumerate(events, first)
    ]


def began(steps=10, *, phase=0, step=0, total=None):
    return PhaseBegan(
        phase=phase,
        step=step,
        steps=steps,
        total_steps=total or steps,
        trainable=7,
        effective_batch=2,
    )


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
    training = view_of(STARTED, evaluated("before"), stage("training"), began(4), stepped(1))
    assert (training.headline, training.detail) == ("Training", "step 1 of 4")
    assert training.progress == (1, 0.25, 0)


def test_a_second_phase_is_named():
    events = (stage("training"), began(2, total=4), stepped(2), began(2, phase=1, step=2, total=4))
    assert view_of(STARTED, *events).detail == "step 2 of 4 · phase 2"


def test_the_time_left_follows_the_pace_of_the_last_steps_and_forgets_a_pause():
    steps = [stepped(n) for n in range(1, 6)]
    late = [step.model_copy(update={"seconds": step.seconds + 1000}) for step in steps[3:]]
    view = view_of(STARTED, stage("training"), began(10), *steps[:3], *late)
    assert view.eta_s == pytest.approx(5.0)


def test_the_time_left_counts_the_scoring_to_come():
    before = (stage("scoring before"), Progressed(done=1, total=1), evaluated("before"))
    view = view_of(STARTED, *before, stage("training"), began(10), stepped(1), stepped(2))
    assert view.eta_s == pytest.approx(8.0 + 2.0)


def test_the_time_left_of_a_scoring_follows_its_share():
    events = (STARTED, stage("scoring after"), Progressed(done=1, total=4))
    assert view_of(*events, now=2.0 + 5.0).eta_s == pytest.approx(15.0)


def test_nothing_measured_gives_no_time_left():
    assert view_of(STARTED, stage("training"), began(10)).eta_s is None


def test_a_fold_carried_on_equals_a_fold_from_the_start():
    events = stored(
        STARTED,
        stage("scoring before"),
        Progressed(done=1, total=1),
        evaluated("before"),
        stage("training"),
        began(30),
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
    assert points.series["term.forget"] == ((1, 2), (1.0, 3.0))
    assert points.series["knowledge.forget"] == ((2,), (0.5,))
    assert points.series["regurgitation.retain"] == ((2,), (1.0,))
    assert points.series["learning_rate"] == ((1, 2), (1e-4, 1e-4))


def test_what_is_not_finite_leaves_a_gap():
    points = points_after(stored(stepped(1, loss=math.nan), stepped(2, loss=math.inf)))
    assert points.series["term.forget"] == ((1, 2), (None, None))


def laid(spec, *events):
    stretches = timeline(spec, advance(RunProgress(), stored(*events)))
    return [(one.first, one.steps, one.state) for one in stretches]


TWO = RunSpec(phases=(Phase(epochs=2), Phase(epochs=1, tasks=("Task1",))))


def test_phases_are_planned_before_they_begin():
    assert planned_steps(TWO) == (38, 5)
    assert laid(TWO) == [(0, 38, "planned"), (38, 5, "planned")]


def test_a_phase_that_began_stands_where_it_began():
    events = [STARTED, stage("training"), began(30, total=37)]
    assert laid(TWO, *events) == [(0, 30, "running"), (30, 7, "planned")]
    events.append(began(7, phase=1, step=30, total=37))
    assert laid(TWO, *events) == [(0, 30, "done"), (30, 7, "running")]
    assert laid(TWO, *events, stage("saving"))[1] == (30, 7, "done")
    assert laid(TWO, *events, Stopped(seconds=3))[1] == (30, 7, "done")


def test_a_phase_that_reached_its_goal_has_the_steps_that_it_took():
    ended = PhaseEnded(phase=0, steps=2, total_steps=9)
    events = [STARTED, stage("training"), began(30, total=37), stepped(2), ended]
    assert laid(TWO, *events) == [(0, 2, "running"), (2, 7, "planned")]
    assert view_of(*events).detail == "step 2 of 9"
    alone = PhaseEnded(phase=0, steps=2, total_steps=2)
    view = view_of(STARTED, stage("training"), began(30), stepped(2), alone)
    assert view.progress[1] == 1


def changed(phase=0, step=2, **values):
    paths = {path.replace("__", "."): value for path, value in values.items()}
    return Adjusted(step=step, phase=phase, changes=paths)


def test_changes_are_told_from_which_value_to_which():
    told = changes(
        TWO,
        advance(
            RunProgress(),
            stored(
                changed(learning_rate=1e-4, method__retain_weight=3.0),
                changed(learning_rate=1e-5, step=5),
                changed(learning_rate=1e-3, step=40, phase=1),
                AdjustFailed(changes={"learning_rate": 1.0}, problem="phase 1 had ended"),
            ),
        ),
    )
    assert [(one.step, one.text) for one in told] == [
        (2, "learning rate 5e-4 → 1e-4, retain weight 1 → 3"),
        (5, "learning rate 1e-4 → 1e-5"),
        (40, "learning rate 5e-4 → 1e-3"),
        (None, "learning rate not changed: phase 1 had ended"),
    ]


def test_changed_values_hold_for_the_rest_of_their_phase():
    events = [STARTED, stage("training"), began(2, total=4), changed(learning_rate=1e-4)]
    assert _present_rate(events) == (0, 1e-4)
    events.append(began(2, phase=1, step=2, total=4))
    assert _present_rate(events) == (1, 5e-4)


def _present_rate(events):
    found = present_phase(TWO, advance(RunProgress(), stored(*events)))
    assert found is not None
    return found[0], found[1].learning_rate


@pytest.mark.parametrize("event", [stage("saving"), Stopped(seconds=1)])
def test_no_phase_is_present_once_training_is_over(event):
    course = advance(RunProgress(), stored(STARTED, stage("training"), began(2), event))
    assert present_phase(TWO, course) is None
    assert present_phase(TWO, RunProgress()) is None


def test_weights_are_points_of_their_own():
    points = points_after(stored(stepped(1), stepped(2)))
    assert points.series["weight.forget"] == ((1, 2), (-1.0, -1.0))


def test_a_long_run_is_thinned_but_keeps_its_spike_and_its_ends():
    many = 5 * MANY_STEPS
    steps = [stepped(n, loss=50.0 if n == 1234 else 1.0) for n in range(1, many + 1)]
    xs, ys = points_after(stored(*steps)).series["term.forget"]
    assert len(xs) <= MANY_STEPS + 2
    assert (xs[0], xs[-1]) == (1, many)
    assert ys[xs.index(1234)] == 50.0
    assert all(a < b for a, b in itertools.pairwise(xs))


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [(0, None, "blocks 0 to 7"), (2, 5, "blocks 2 to 5"), (3, 3, "block 3")],
)
def test_blocks_are_named(first, last, text):
    assert blocks_text(Phase(first_layer=first, last_layer=last), 8) == text


def told(phase):
    return phase_text(RunSpec(phases=(phase,)), phase)


@pytest.mark.parametrize(
    ("most", "length"),
    [(1, "1 step"), (3, "3 steps"), (10**6, "5 epochs"), (None, "5 epochs")],
)
def test_a_phase_is_as_long_as_it_will_be_not_as_its_epochs_would_have_it(most, length):
    assert told(Phase(max_steps=most)).endswith(f" · {length}")


def test_a_phase_whose_data_are_gone_is_as_long_as_its_bound_allows():
    phase = Phase(max_steps=3)
    spec = RunSpec.model_validate_json(
        RunSpec(phases=(phase,)).model_dump_json().replace('"embedded"', '"gone"'),
        context=RECORDED,
    )
    assert phase_text(spec, phase).endswith(" · 3 steps")


def test_a_phase_fits_in_one_line():
    text = told(Phase(first_layer=0, last_layer=2, modules="mlp"))
    expected = "Gradient difference · blocks 0 to 2, MLP · learning rate 5e-4 · 5 epochs"
    assert text == expected


def test_a_phase_that_may_end_sooner_says_so():
    assert told(Phase(method=Memorize())).endswith("at most 5 epochs")
    assert told(Phase(method=Memorize(stop_at=None))).endswith("· 5 epochs")


@pytest.mark.parametrize(
    ("number", "text"),
    [(5e-4, "5e-4"), (1.5e-5, "1.5e-5"), (0.05, "0.05"), (1, "1"), (1e-6, "1e-6")],
)
def test_small_numbers_are_written_as_people_type_them(number, text):
    assert written(number) == text
    assert float(text) == number


def test_all_blocks_and_the_embeddings_are_all_parameters():
    spec = RunSpec(phases=(Phase(embeddings=True),))
    assert (
        trainable_parameters(spec, spec.phases[0]) == models()["tiny-olmo"].architecture.parameters
    )


def test_an_adapter_trains_rank_times_inputs_and_outputs():
    size = models()["tiny-olmo"].architecture
    spec = RunSpec(
        model=ModelSpec(adapter=LoRA(r=4)), phases=(Phase(last_layer=0, modules="down_proj"),)
    )
    assert trainable_parameters(spec, spec.phases[0]) == 4 * (size.hidden + size.mlp_width)


def test_a_phase_may_choose_the_rank_that_it_trains_and_a_merge_trains_nothing():
    size = models()["tiny-olmo"].architecture
    part = Phase(last_layer=0, modules="down_proj", adapter_rank=8)
    phases = (
        part.model_copy(update={"adapter_name": "over"}),
        part.model_copy(update={"adapter_name": "under"}),
        Phase(method=TiesMerge()),
    )
    spec = RunSpec(model=ModelSpec(adapter=LoRA(r=4)), phases=phases)
    counts = [trainable_parameters(spec, phase) for phase in spec.phases]
    assert counts == [8 * (size.hidden + size.mlp_width)] * 2 + [0]


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
