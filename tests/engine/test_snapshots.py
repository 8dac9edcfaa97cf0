"""Snapshots of the weights in training: they answer prompts, and further runs start from them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.tiny import CPU, first_of, only
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.training import snapshot_steps
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.engine_api import Job, PromptRequest
from unlearnlab.runs.estimates import estimate
from unlearnlab.runs.events import Loaded, SnapshotKept, StepLogged
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.presets import branched
from unlearnlab.spec.run import (
    DataSpec,
    ModelSpec,
    RunSpec,
    SpecError,
    parse_spec,
    trainable_parameters,
)

RUN, BRANCH = "251127-000000-001", "251127-000000-002"
PROMPT = "Who"


@pytest.fixture(autouse=True)
def few_rows(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    fold = training_rows.load(DataSpec(fold="validation"))
    some = {"forget": fold.forget[:6], "retain": fold.retain[:6]}
    few = replace(fold, **some, members=fold.members[:2], nonmembers=fold.nonmembers[:2], quiz=())
    monkeypatch.setattr("unlearnlab.spec.rows.load", lambda _: few)


def spec_of(folder, **model) -> RunSpec:
    return parse_spec(
        {
            "model": {"name": str(folder), **model},
            "data": {"fold": "validation", "unknown_rows": "keep"},
            "phases": [{"method": {"kind": "gradient_ascent"}, "max_steps": 6, "batch_size": 2}],
            "evaluation": {"max_new_tokens": 4, "probes": 0, "snapshots": 2},
        }
    )


def job_of(run: str, spec: RunSpec, home: Path) -> Job:
    folder = home / "runs" / run
    folder.mkdir(parents=True)
    return Job(run, spec, folder)


def ask(owner, job, step=None):
    return owner.ask(job, PromptRequest("a", PROMPT, step=step)).unlearned


def test_snapshots_lie_evenly_between_the_ends():
    assert snapshot_steps(12, 3) == {3, 6, 9}
    assert snapshot_steps(12, 0) == set()
    assert snapshot_steps(2, 5) == {1}


def test_a_snapshot_answers_as_the_model_did_then_during_the_run_and_after_it(wide, tmp_path):
    spec = spec_of(wide)
    rate = spec.phases[0].model_copy(update={"learning_rate": 0.05})
    job = job_of(RUN, spec.model_copy(update={"phases": (rate,)}), tmp_path)
    owner, then, late, kept = DeviceEngine(lambda key: None, device=CPU), {}, {}, []
    for event in owner.unlearn(job):
        if isinstance(event, SnapshotKept):
            kept.append(event)
            then[event.step] = ask(owner, job)
        if isinstance(event, StepLogged) and event.step == 6:
            late = {step: ask(owner, job, step) for step in (2, 4)}
            with pytest.raises(ValueError, match="has no snapshot of step 3"):
                ask(owner, job, 3)
    assert [one.step for one in kept] == [2, 4]
    assert then[2] != then[4]
    assert late == then
    assert {step: ask(owner, job, step) for step in then} == then
    assert kept[0].megabytes > 0


@pytest.mark.parametrize("adapter", [None, {"r": 2, "alpha": 4}])
def test_a_run_starts_from_a_snapshot_and_another_from_one_of_its_own(wide, tmp_path, adapter):
    spec, owner = spec_of(wide, adapter=adapter), DeviceEngine(lambda key: None, device=CPU)
    job = job_of(RUN, spec, tmp_path)
    first = [event for event in owner.unlearn(job) if event]
    branch = branched(spec, f"{RUN}@4")
    again = job_of(BRANCH, branch, tmp_path)
    second = [event for event in owner.unlearn(again) if event]
    loaded = first_of(second, Loaded)
    assert loaded.weights != first_of(first, Loaded).weights
    assert f"It starts from step 4 of run {RUN}." in loaded.notes
    assert len(only(second, SnapshotKept)) == 2

    def logits(start):
        lm = UnlearningModel.load(replace_start(spec.model, start), device=CPU)
        ids = torch.tensor([lm.prompts.prompt(PROMPT)])
        with torch.no_grad():
            return lm.model(ids).logits

    lm = UnlearningModel.load(spec.model, device=CPU)
    lm.restore(job.folder / "snapshots" / "4")
    ids = torch.tensor([lm.prompts.prompt(PROMPT)])
    with torch.no_grad():
        expected = lm.model(ids).logits
    torch.testing.assert_close(logits(f"{RUN}@4"), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits(f"{RUN}@4"), logits(f"{BRANCH}@4"))
    if adapter is None:
        saved = load_file(again.folder / "snapshots" / "4" / "delta.safetensors")
        lm = UnlearningModel.load(replace_start(spec.model, f"{BRANCH}@4"), device=CPU)
        for name, value in saved.items():
            assert torch.equal(lm.model.get_parameter(name), value)


@pytest.mark.parametrize("adapter", [None, {"r": 2, "alpha": 4}])
def test_a_damaged_snapshot_is_neither_asked_nor_started_from(wide, tmp_path, adapter):
    spec, owner = spec_of(wide, adapter=adapter), DeviceEngine(lambda key: None, device=CPU)
    job = job_of(RUN, spec, tmp_path)
    assert len(only(list(owner.unlearn(job)), SnapshotKept)) == 2
    (weights,) = (job.folder / "snapshots" / "4").rglob("*.safetensors")
    held = bytearray(weights.read_bytes())
    held[-1] ^= 1
    weights.write_bytes(held)
    with pytest.raises(ValueError, match="step 4 is damaged"):
        ask(owner, job, 4)
    with pytest.raises(ValueError, match="step 4 is damaged"):
        UnlearningModel.load(replace_start(spec.model, f"{RUN}@4"), device=CPU)
    assert ask(owner, job, 2)


def replace_start(model: ModelSpec, start: str) -> ModelSpec:
    return model.model_copy(update={"start_from": start})


def test_a_snapshot_that_is_not_there_or_not_named_rightly_is_refused(wide, tmp_path):
    spec = spec_of(wide)
    with pytest.raises(SpecError, match="there is no snapshot") as refused:
        branched(spec, f"{RUN}@4")
    assert refused.value.problems[0][0] == "model.start_from"
    with pytest.raises(SpecError, match="names no snapshot"):
        branched(spec, "the best one")
    with pytest.raises(ValueError, match=f"step 4 of run {RUN} is gone"):
        UnlearningModel.load(replace_start(spec.model, f"{RUN}@4"), device=CPU)


def test_the_estimate_tells_the_room_that_snapshots_take(wide):
    spec = spec_of(wide)
    found = estimate(spec)
    assert found.disk == 2 * 4 * trainable_parameters(spec, spec.phases[0])
    assert "2 snapshots of the changed weights take" in " ".join(found.notes)
    none = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"snapshots": 0})}
    )
    assert estimate(none).disk == 0
    assert not any("snapshot" in note for note in estimate(none).notes)
