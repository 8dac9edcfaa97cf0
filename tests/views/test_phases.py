"""Phases of a run as the page names and places them."""

import math

import pytest

from tests.fakes import evaluated, phase_began, stage, stepped, stored
from unlearnlab.metrics.documents import probed_document
from unlearnlab.runs.events import Adjusted, AdjustFailed, PhaseEnded, Probed, Started, Stopped
from unlearnlab.runs.progress import RunProgress, advance, run_view
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.run import RECORDED, Phase, RunSpec, planned_steps
from unlearnlab.views.documents import live_documents
from unlearnlab.views.words import (
    blocks_text,
    changes,
    data_text,
    phase_text,
    present_phase,
    timeline,
)

STARTED = Started(versions={}, device="cpu, 2 threads")


def progress(*events):
    return advance(RunProgress(), stored(*events))


def laid(spec, *events):
    stretches = timeline(spec, progress(*events))
    return [(one.first, one.steps, one.state) for one in stretches]


TWO = RunSpec(phases=(Phase(epochs=2), Phase(epochs=1, tasks=("Task1",))))


def test_phases_are_planned_before_they_begin():
    assert planned_steps(TWO) == (38, 5)
    assert laid(TWO) == [(0, 38, "planned"), (38, 5, "planned")]


def test_a_phase_that_began_stands_where_it_phase_began():
    events = [STARTED, stage("training"), phase_began(30, total=37)]
    assert laid(TWO, *events) == [(0, 30, "running"), (30, 7, "planned")]
    events.append(phase_began(7, phase=1, step=30, total=37))
    assert laid(TWO, *events) == [(0, 30, "done"), (30, 7, "running")]
    assert laid(TWO, *events, stage("saving"))[1] == (30, 7, "done")
    assert laid(TWO, *events, Stopped(seconds=3))[1] == (30, 7, "done")


def test_a_phase_that_reached_its_goal_has_the_steps_that_it_took():
    ended = PhaseEnded(phase=0, steps=2, total_steps=9)
    events = [STARTED, stage("training"), phase_began(30, total=37), stepped(2), ended]
    assert laid(TWO, *events) == [(0, 2, "running"), (2, 7, "planned")]
    seen = run_view(progress(*events), alive=True, mine=True, now=0.0)
    assert seen.detail == "step 2 of 9"


def changed(phase=0, step=2, **values):
    paths = {path.replace("__", "."): value for path, value in values.items()}
    return Adjusted(step=step, phase=phase, changes=paths)


def test_changes_are_told_from_which_value_to_which():
    told = changes(
        TWO,
        progress(
            changed(learning_rate=1e-4, method__retain_weight=3.0),
            changed(learning_rate=1e-5, step=5),
            changed(learning_rate=1e-3, step=40, phase=1),
            AdjustFailed(changes={"learning_rate": 1.0}, problem="phase 1 had ended"),
        ),
    )
    assert [(one.step, one.text) for one in told] == [
        (2, "learning rate 5e-4 → 1e-4, retain weight 1 → 3"),
        (5, "learning rate 1e-4 → 1e-5"),
        (40, "learning rate 5e-4 → 1e-3"),
        (None, "learning rate not changed: phase 1 had ended"),
    ]


def test_changed_values_hold_for_the_rest_of_their_phase():
    events = [STARTED, stage("training"), phase_began(2, total=4), changed(learning_rate=1e-4)]
    assert _present_rate(events) == (0, 1e-4)
    events.append(phase_began(2, phase=1, step=2, total=4))
    assert _present_rate(events) == (1, 5e-4)


def _present_rate(events):
    found = present_phase(TWO, progress(*events))
    assert found is not None
    return found[0], found[1].learning_rate


@pytest.mark.parametrize("event", [stage("saving"), Stopped(seconds=1)])
def test_no_phase_is_present_once_training_is_over(event):
    seen = progress(STARTED, stage("training"), phase_began(2), event)
    assert present_phase(TWO, seen) is None
    assert present_phase(TWO, RunProgress()) is None


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


def test_rows_that_the_program_left_out_were_not_picked():
    picked = RunSpec(data={"forget": ["a", "b"]})
    assert data_text(picked, RunProgress()).endswith(", of which 2 were picked")
    before = evaluated("before").model_copy(update={"kept": ("a", "b")})
    told = data_text(picked, RunProgress(before=before))
    assert told.endswith(", of which the model knew 2, the only ones forgotten")


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (3.0, "loss 0.02 → 3.00 nats per token, 0 of"),
        (math.inf, "loss infinite, 0 of"),
        (math.nan, "loss not a number, 0 of"),
    ],
)
def test_a_loss_that_is_no_number_is_told_in_words(loss, told):
    probed = Probed(
        step=4, knowledge={}, regurgitation={}, nll={},
        documents=(probed_document(1, [0.02], [loss]),), of_documents=1,
    )  # fmt: skip
    found = live_documents(RunSpec(), RunProgress(probed=probed))
    assert told in found.cells[0][1]
