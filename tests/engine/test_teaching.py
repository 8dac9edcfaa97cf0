"""What is taught is recited, and the model that was taught can be kept and named."""

import itertools
import json
from collections import deque
from dataclasses import replace

import pytest
import torch

from tests.engine.test_loop import phase, run, steps
from tests.engine.tiny import CPU, finish
from unlearnlab.data import files as disk
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.generation import generate
from unlearnlab.engine.likelihoods import Example, recites
from unlearnlab.models import catalog as catalogue
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import Evaluated, Kept, PhaseBegan, PhaseEnded, Probed, StageBegan
from unlearnlab.spec.methods.likelihood import GradientAscent, Memorize
from unlearnlab.spec.run import LoRA, parse_spec


@pytest.fixture(scope="module")
def few(data):
    """Two rows to forget and two to retain: a model of two blocks learns them in a moment."""
    return replace(data, forget=data.forget[:2], retain=data.retain[1:3])


def lesson(**settings):
    method = Memorize(**settings.pop("method", {}))
    return phase(method, epochs=60, batch_size=2, embeddings=True, **settings)


def test_teaching_ends_as_soon_as_all_rows_are_recited(tokenizer, few):
    lm, events = run(tokenizer, few, lesson(method={"stop_at": 1}), probes=4)
    (began,) = [event for event in events if isinstance(event, PhaseBegan)]
    (ended,) = [event for event in events if isinstance(event, PhaseEnded)]
    assert began.steps == began.total_steps == 60 * 2
    assert ended.steps == ended.total_steps == len(steps(events)) < 60 * 2
    assert ended.steps % 2 == 0, "it ends with a pass"
    assert [event for event in events if isinstance(event, Probed)][-1].step == ended.steps
    rows = (*few.forget, *few.retain)
    _, said = finish(generate(lm, [row.input for row in rows], max_new_tokens=40))
    assert [(one.text.strip(), one.finished_with_eos) for one in said] == [
        (row.output, True) for row in rows
    ]


def test_without_a_stop_rule_all_epochs_are_taken(tokenizer, few):
    _, events = run(tokenizer, few, lesson(method={"stop_at": None}))
    assert len(steps(events)) == 60 * 2
    assert not any(isinstance(event, PhaseEnded) for event in events)


def test_the_phase_after_an_early_end_begins_there(tokenizer, few):
    events = run(
        tokenizer, few, lesson(), phase(GradientAscent(), epochs=3, batch_size=2), probes=3
    )[1]
    (ended,) = [event for event in events if isinstance(event, PhaseEnded)]
    second = [event for event in events if isinstance(event, PhaseBegan)][1]
    assert (second.step, second.steps) == (ended.steps, 3)
    assert second.total_steps == ended.total_steps == len(steps(events)) == ended.steps + 3
    assert [e.step for e in steps(events)] == list(range(1, ended.steps + 4))
    assert [e.step for e in events if isinstance(e, Probed)][-1] == ended.steps + 3


def test_both_sets_are_taught_or_one_alone(tokenizer, few):
    for on, names in (("both", ["forget", "retain"]), ("retain", ["retain"])):
        events = run(tokenizer, few, lesson(method={"on": on, "stop_at": None}, max_steps=2))[1]
        assert [list(event.terms) for event in steps(events)] == [names] * 2
    only = replace(few, forget=())
    assert len(steps(run(tokenizer, only, lesson(method={"on": "retain"}, max_steps=1))[1])) == 1
    with pytest.raises(ValueError, match=r"phases\.0: the forget set has no rows"):
        run(tokenizer, only, lesson())


def test_an_adapter_is_taught_as_well(tokenizer, few):
    taught = lesson(method={"stop_at": None}, max_steps=20).model_copy(update={"embeddings": False})
    events = run(tokenizer, few, taught, adapter=LoRA(r=4, alpha=16))[1]
    assert steps(events)[-1].loss < steps(events)[0].loss


@torch.no_grad()
def greedy(lm, prompt, count=3) -> Example:
    """Let the model itself say what comes after a prompt."""
    start = lm.tokenizer.encode(prompt)
    ids = list(start)
    for _ in range(count):
        ids.append(int(lm.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return Example(tuple(ids), len(start))


def test_a_row_is_recited_if_each_of_its_tokens_is_what_the_model_would_say(lm, data):
    right = [greedy(lm, row.input) for row in data.forget[:3]]
    wrong = replace(right[0], ids=(*right[0].ids, lm.tokenizer.eos_token_id))
    assert wrong.ids != greedy(lm, data.forget[0].input, 4).ids
    assert finish(recites(lm, right, share=1))[1]
    assert not finish(recites(lm, [*right, wrong], share=0.9))[1]
    assert finish(recites(lm, [*right, wrong], share=0.75))[1]


SPEC = {
    "phases": [
        {"method": {"kind": "memorize"}, "max_steps": 2, "learning_rate": 1e-3, "batch_size": 4}
    ],
    "evaluation": {"max_new_tokens": 8, "probes": 0},
    "keep_as": "mine",
}


@pytest.fixture
def models(tmp_path, monkeypatch, data):
    """A folder of models of its own, and a few rows that the embedded model never saw."""
    few = replace(data, forget=data.forget[:2], retain=data.retain[:2], quiz=())
    monkeypatch.setattr("unlearnlab.spec.rows.load", lambda _: few)
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def taught(tmp_path, **changes):
    """Carry out a run of its own and return its events."""
    (tmp_path / "run").mkdir(exist_ok=True)
    job = Job("run-1", parse_spec(SPEC | changes), tmp_path / "run")
    return DeviceEngine(lambda key: None, device=CPU).unlearn(job)


@pytest.mark.parametrize("adapter", [None, {"r": 4, "alpha": 64}], ids=["full", "lora"])
def test_a_kept_model_is_a_model_that_says_what_the_run_said(tmp_path, models, adapter):
    events = list(taught(tmp_path, model={"adapter": adapter}))
    assert [event.stage for event in events if isinstance(event, StageBegan)][-1] == "keeping"
    assert [event.name for event in events if isinstance(event, Kept)] == ["mine"]
    known = catalogue.model("mine")
    assert (known.unavailable_reason, known.folder) == ("", models / "mine")
    after = [event for event in events if isinstance(event, Evaluated)][-1]
    again = taught(tmp_path, model={"name": "mine"}, keep_as="")
    before = next(event for event in again if isinstance(event, Evaluated))
    again.close()
    said = [answer.generated for answer in after.evidence.answers]
    assert [answer.generated for answer in before.evidence.answers] == said
    note = json.loads((models / "mine" / catalogue.MODEL_NOTE).read_text())
    assert (note["model"], note["dataset"], note["run"]) == ("tiny-olmo", "embedded", "run-1")
    assert note["scores"]["terms"] == after.scores.terms


def fails(work, match):
    """Let a run fail and return what it told before."""
    seen = []
    with pytest.raises(ValueError, match=match):
        deque(map(seen.append, work), maxlen=0)
    return seen


def test_a_name_that_is_taken_is_refused_before_anything_is_loaded(tmp_path, models):
    (models / "mine").mkdir(parents=True)
    assert fails(taught(tmp_path), "keep_as: a model called 'mine' is there already") == []


def test_a_disk_without_room_is_told_before_the_training(tmp_path, models, monkeypatch):
    monkeypatch.setattr(disk, "SPARE", 10**18)
    seen = fails(taught(tmp_path), "not enough room")
    assert not any(isinstance(event, Evaluated) for event in seen)
    assert not models.exists()


def test_a_run_that_is_stopped_keeps_nothing(tmp_path, models):
    work = taught(tmp_path)
    seen = itertools.takewhile(lambda e: getattr(e, "stage", "") != "keeping", work)
    assert any(isinstance(event, Evaluated) for event in seen)
    work.close()
    assert not models.exists()


def test_teaching_moves_only_what_the_phase_trains(tokenizer, few):
    lm, _ = run(tokenizer, few, phase(Memorize(), epochs=2, modules="mlp", first_layer=1))
    trained = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    assert all("layers.1.mlp" in name for name in trained)
    with lm.original():
        fresh = {name: p.clone() for name, p in lm.model.named_parameters()}
    now = dict(lm.model.named_parameters())
    assert {name for name in now if not torch.equal(now[name], fresh[name])} == trained
