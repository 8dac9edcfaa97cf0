"""Adapters with names: each starts at the original weights, and several merge into one."""

import re

import pytest
import torch
from torch.testing import assert_close

from tests.engine.test_loop import phase
from tests.engine.tiny import CPU, tiny_model
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.events import PhaseBegan, StepLogged
from unlearnlab.spec.methods.likelihood import GradientAscent, GradientDescent, TiesMerge
from unlearnlab.spec.run import RESERVED, EvaluationSpec, LoRA, ModelSpec, Phase, RunSpec

IDS = torch.tensor([[5, 6, 7, 8]])

LAYER = "base_model.model.model.layers.0.mlp.up_proj"


def logits(lm: UnlearningModel) -> torch.Tensor:
    return lm.model(input_ids=IDS).logits.detach().clone()


def fresh(tokenizer) -> UnlearningModel:
    return UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)


def prepare_mmlu(tokenizer, *phases: Phase) -> tuple[UnlearningModel, RunSpec]:
    spec = RunSpec(
        model=ModelSpec(adapter=LoRA(r=2, alpha=2)),
        phases=phases,
        evaluation=EvaluationSpec(probes=0),
    )
    lm = fresh(tokenizer)
    lm.adapt(spec)
    return lm, spec


def factors(lm: UnlearningModel, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
    parameters = dict(lm.model.named_parameters())
    down, up = (parameters[f"{LAYER}.lora_{side}.{adapter}.weight"].data for side in "AB")
    return down, up


def two_adapters(tokenizer) -> UnlearningModel:
    phases = [phase(GradientAscent(), adapter_name=name) for name in ("over", "under")]
    lm, spec = prepare_mmlu(tokenizer, *phases, phase(TiesMerge()))
    for one in spec.phases[:2]:
        lm.train_only(one)
    return lm


def test_each_named_adapter_starts_at_the_original_weights_and_at_the_same_matrices(tokenizer):
    lm = two_adapters(tokenizer)
    before = logits(lm)
    assert torch.equal(before, logits(fresh(tokenizer)))
    assert torch.equal(factors(lm, "over")[0], factors(lm, "under")[0])
    lm.train_only(phase(GradientAscent(), adapter_name="over"))
    factors(lm, "over")[1].fill_(1.0)
    assert not torch.equal(logits(lm), before)
    trained = lm.train_only(phase(GradientAscent(), adapter_name="under"))
    assert torch.equal(logits(lm), before)
    names = [n for n, p in lm.model.named_parameters() if p.requires_grad]
    assert len(names) == len(trained) == 28
    assert all(name.endswith(".under.weight") for name in names)


def test_ties_drops_small_entries_elects_signs_and_averages_what_agrees(tokenizer):
    lm = two_adapters(tokenizer)
    over, under = (factors(lm, name)[0].zero_() for name in ("over", "under"))
    # Density 0.25 of 2 x 16 entries keeps the 8 largest of each.
    over[0, :8] = torch.tensor([4.0, 4, 4, 4, 3, 3, 3, 3])
    over[1, :8] = 0.1
    under[0, :8] = torch.tensor([1.0, 1, -1, -5, 2, 2, 2, 2])
    lm.merge("merged", combination="ties", density=0.25)
    merged = factors(lm, "merged")[0]
    assert_close(merged[0, :8], torch.tensor([2.5, 2.5, 4, -5, 2.5, 2.5, 2.5, 2.5]))
    assert not merged[1].any()


def test_linear_merging_adds_up_the_factors(tokenizer):
    lm = two_adapters(tokenizer)
    for value, name in enumerate(("over", "under"), 1):
        factors(lm, name)[1].fill_(value)
    lm.merge("merged", combination="linear", density=1.0)
    assert_close(factors(lm, "merged")[0], 2 * factors(lm, "over")[0])
    assert_close(factors(lm, "merged")[1], torch.full((32, 2), 3.0))


@pytest.mark.parametrize("combination", ["ties", "linear", "dare_ties", "magnitude_prune"])
def test_a_run_that_ends_in_a_merge_saves_the_merged_adapter_alone(
    tokenizer, data, tmp_path, combination
):
    parts = [
        phase(GradientAscent(), adapter_name=name, epochs=epochs)
        for epochs, name in ((2, "over"), (1, "under"))
    ]
    lm, spec = prepare_mmlu(tokenizer, *parts, phase(TiesMerge(combination=combination)))
    before = logits(lm)
    events = list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    began = [event for event in events if isinstance(event, PhaseBegan)]
    assert [(b.steps, b.total_steps) for b in began] == [(6, 9), (3, 9), (0, 9)]
    assert sum(isinstance(event, StepLogged) for event in events) == 9
    after = logits(lm)
    with lm.original():
        assert torch.equal(logits(lm), before)
    assert lm.save(tmp_path).is_file()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    opened = fresh(tokenizer)
    opened.restore(tmp_path)
    assert_close(logits(opened), after)
    with opened.original():
        assert torch.equal(logits(opened), before)


def test_an_adapter_with_another_name_can_be_the_result(tokenizer, tmp_path):
    lm, spec = prepare_mmlu(tokenizer, phase(GradientAscent(), adapter_name="under"))
    for parameter in lm.train_only(spec.phases[0]):
        parameter.data.add_(0.1)
    after = logits(lm)
    assert lm.save(tmp_path).is_file()
    opened = fresh(tokenizer)
    opened.restore(tmp_path)
    assert_close(logits(opened), after)


def test_a_merged_adapter_can_be_trained_on(tokenizer, data):
    parts = [phase(GradientAscent(), adapter_name=name, epochs=1) for name in ("over", "under")]
    repair = phase(GradientDescent(), epochs=1)
    lm, spec = prepare_mmlu(tokenizer, *parts, phase(TiesMerge()), repair)
    list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    names = {n.split(".")[-2] for n, p in lm.model.named_parameters() if p.requires_grad}
    assert names == {"default"}


def test_adapters_are_not_called_as_attributes_of_torch_or_parts_of_the_model(tokenizer):
    parts = {
        part
        for name, _ in two_adapters(tokenizer).model.named_parameters()
        for part in name.split(".")
    } - {"over", "under"}
    taken = set(dir(torch.nn.ModuleDict())) | parts
    assert {name for name in taken if re.fullmatch("[a-z][a-z0-9-]{0,31}", name)} <= RESERVED


def test_a_phase_may_choose_the_rank_of_its_adapter(tokenizer):
    lm, spec = prepare_mmlu(
        tokenizer, phase(GradientAscent(), adapter_rank=5, modules="down_proj", last_layer=0)
    )
    shapes = {tuple(parameter.shape) for parameter in lm.train_only(spec.phases[0])}
    assert shapes == {(5, 32), (16, 5)}
