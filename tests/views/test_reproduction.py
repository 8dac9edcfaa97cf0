"""Which numbers of two runs of one record agree."""

from dataclasses import replace

import pytest

from tests.fakes import evaluated, some_evidence, stepped
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.events import (
    Adjusted,
    Evaluated,
    Failed,
    Finished,
    Loaded,
    PhaseBegan,
    Revision,
    Started,
    Stopped,
    StoredEvent,
)
from unlearnlab.runs.records import FullRecord
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.reproduction import reading, reproduction

STARTED = Started(
    versions={"torch": "2.11"}, device="cpu, 2 threads", code=Revision(commit="a" * 40, dirty=False)
)
LOADED = Loaded(weights="w", data="d", parameters=7, rows={})
PHASE = PhaseBegan(phase=0, step=0, steps=3, total_steps=3, trainable=7, effective_batch=2)
STEPS = tuple(stepped(step) for step in (1, 2, 3))


def after(evidence):
    return Evaluated(when="after", scores=scores(evidence), key="after", evidence=evidence)


def run(
    evidence=None, *, run_id="a", steps=STEPS, started=STARTED, loaded=LOADED, more=(), ending=None
):
    evidence = evidence or some_evidence(forgets=True)
    events = (started, loaded, evaluated("before"), PHASE, *steps, *more, after(evidence))
    kept = {"key-before": some_evidence(), "after": evidence}
    stored = [*events, ending or Finished(seconds=1)]
    return FullRecord(
        run_id=run_id,
        name="",
        created=1.0,
        spec=RunSpec(),
        tags=(),
        repeats="",
        events=tuple(StoredEvent(n, float(n), event) for n, event in enumerate(stored, 1)),
        evidence=kept,
    )


def rescored(count, score, *, of=None):
    """Change the row score of the first answers of each of many rows."""
    found = of or many()
    answers = [
        a.model_copy(update={"score": score}) if i < count else a
        for i, a in enumerate(found.answers)
    ]
    return found.model_copy(update={"answers": tuple(answers)})


def many():
    """Answers to twenty rows of each kind, those of one kind beside each other."""
    found = some_evidence(forgets=True)
    answers = tuple(
        answer.model_copy(update={"row": f"{answer.row}-{n}", "score": n % 2})
        for answer in found.answers
        for n in range(20)
    )
    return found.model_copy(update={"answers": answers})


def agreements(of):
    return {number.name: number.agreement for number in of.numbers}


def test_the_same_run_again_agrees_in_all_numbers():
    found = reproduction(run(), run(run_id="b"))
    assert found.agrees
    assert set(agreements(found).values()) == {"equal"}
    assert len(found.numbers) == 32, "twelve terms and four scores, before and after"
    assert {"before/forget/Task1/sc", "after/final", "after/mia_score"} <= set(agreements(found))
    assert (found.record, found.steps, found.same_steps) == ((), 3, 3)
    assert list(reading(found)) == [
        "All 32 numbers are equal.",
        "The loss terms of all 3 steps are equal.",
        "The records are the same.",
    ]


def test_a_difference_that_other_rows_could_turn_round_is_noise():
    found = reproduction(run(many()), run(rescored(1, 1.0), run_id="b"))
    assert agreements(found)["after/forget/Task1/sc"] == "noise"
    assert agreements(found)["after/final"] == "noise"
    assert agreements(found)["after/retain/Task1/sc"] == "equal"
    assert found.agrees
    assert "within noise" in next(reading(found))


def test_a_difference_of_most_rows_is_none():
    found = reproduction(run(many()), run(rescored(20, 1.0), run_id="b"))
    (number,) = (one for one in found.numbers if one.name == "after/forget/Task1/sc")
    assert number.agreement == "other"
    assert (number.first, number.again) == (0.5, 0.0)
    assert number.interval.high < 0
    assert not found.agrees
    assert "by more than noise" in next(reading(found))


def test_without_the_answers_noise_cannot_be_told():
    bare = replace(run(many()), evidence={})
    found = reproduction(bare, run(rescored(1, 1.0), run_id="b"))
    assert agreements(found)["after/forget/Task1/sc"] == "unknown"
    assert not found.agrees
    assert reproduction(bare, replace(bare, run_id="b")).agrees, "equal is equal"


def test_a_number_that_only_one_has_was_not_measured_and_does_not_agree():
    lost = many().model_copy(update={"membership": None})
    found = reproduction(run(many()), run(lost, run_id="b"))
    assert agreements(found)["after/mia_score"] == "missing"
    assert not found.agrees
    assert "measured in one of the runs alone" in next(reading(found))


@pytest.mark.parametrize(
    ("ending", "told"),
    [(Stopped(seconds=1), "it was stopped"), (Failed(seconds=1, problem="nan"), "it failed: nan")],
)
def test_a_run_that_did_not_end_well_agrees_with_nothing(ending, told):
    found = reproduction(run(), run(run_id="b", ending=ending))
    assert not found.agrees
    assert told in next(reading(found))


def test_it_is_told_from_which_step_on_the_training_differs():
    parted = (*STEPS[:2], stepped(3, loss=1.0 + 1e-12))
    found = reproduction(run(), run(run_id="b", steps=parted))
    assert found.same_steps == 2
    assert "equal up to step 2 of 3" in " ".join(reading(found))


def cut(after_step):
    """A run that was stopped after a step, before it was scored."""
    whole = run(run_id="b", steps=STEPS[:after_step], ending=Stopped(seconds=1))
    events = tuple(one for one in whole.events if getattr(one.event, "when", "") != "after")
    return replace(whole, events=events)


@pytest.mark.parametrize(
    ("after_step", "told"),
    [
        (2, "The loss terms are equal as far as the second run came: step 2 of 3."),
        (0, "Steps of training: 3 in the first run, 0 in the second."),
    ],
)
def test_a_run_that_was_stopped_is_equal_as_far_as_it_came(after_step, told):
    found = reproduction(run(), cut(after_step))
    assert (found.steps, found.steps_again, found.same_steps) == (3, after_step, after_step)
    assert {number.agreement for number in found.numbers} == {"equal", "missing"}
    assert not found.agrees
    assert list(reading(found))[1:3] == [
        "16 of 32 numbers are equal, 16 measured in one of the runs alone.",
        told,
    ]


def test_a_run_that_took_more_steps_does_not_agree():
    found = reproduction(run(), run(run_id="b", steps=(*STEPS, stepped(4))))
    assert not found.agrees
    assert "of all 3 steps are equal, but the second run took 4." in " ".join(reading(found))


def test_loss_that_is_no_number_is_equal_to_itself():
    steps = (stepped(1, loss=float("nan")),)
    assert reproduction(run(steps=steps), run(run_id="b", steps=steps)).same_steps == 1


def test_what_differs_in_the_record_is_told():
    other = Started(
        versions={"torch": "2.12", "peft": "1"},
        device="cuda",
        code=Revision(commit="b" * 40, dirty=True),
    )
    hand = Adjusted(step=1, phase=0, changes={"learning_rate": 1e-5})
    found = reproduction(
        run(more=(hand,)),
        run(run_id="b", started=other, loaded=LOADED.model_copy(update={"data": "e"})),
    )
    assert {change.name: (change.first, change.again) for change in found.record} == {
        "Rows' fingerprint": ("d", "e"),
        "Device": ("cpu, 2 threads", "cuda"),
        "Version of torch": ("2.11", "2.12"),
        "Version of peft": ("not noted", "1"),
        "Code": ("commit aaaaaaaaaaaa", "commit bbbbbbbbbbbb, with changes"),
        "Changed by hand": ("after step 1: learning rate 5e-4 → 1e-5", "nothing"),
    }
