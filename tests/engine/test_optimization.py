"""Small steps on weights in 16 bits are not lost, and what is decayed is what should be."""

import pytest
import torch
from torch import nn

from tests.engine.tiny import finish, phase, run, spec_of, tiny_lm, train_on
from unlearnlab.engine.likelihoods import encode, losses
from unlearnlab.engine.optimization import Optimizer, rounded_stochastically
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.spec.methods.likelihood import GradientDifference, TaskVector
from unlearnlab.spec.run import RECORDED, LoRA, Phase, RunSpec

SMALL = {"learning_rate": 1.5e-5, "epochs": 7}
"""21 steps."""


def stepped(weights, gradients, *, masters=None, **settings):
    """Take a step for each gradient; return the weight."""
    weight = nn.Parameter(weights.clone())
    asked = Phase(**{"learning_rate": 1.5e-5, **settings})
    made = Optimizer(
        [weight], asked, len(gradients), masters={weight: masters} if masters is not None else {}
    )
    for gradient in gradients:
        (weight.float() * gradient).sum().backward()
        made.clip(1e9)
        made.step()
    made.close()
    return weight


@pytest.fixture
def weights():
    return torch.randn(200, 50, generator=torch.Generator().manual_seed(0)).mul(0.1).bfloat16()


@pytest.fixture
def gradients():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(200, 50, generator=generator).bfloat16().float() for _ in range(20)]


def test_master_weights_take_the_steps_that_float32_takes(weights, gradients):
    masters = weights.float()
    weight = stepped(weights, gradients, masters=masters)
    exact = stepped(weights.float(), gradients)
    assert torch.equal(masters, exact)
    assert torch.equal(weight, exact.bfloat16())


def test_to_the_nearest_most_of_them_are_lost(weights, gradients):
    weight = stepped(weights, gradients, bfloat16_updates="nearest")
    exact = stepped(weights.float(), gradients).float()
    assert (weight != weights).float().mean() < (exact.bfloat16() != weights).float().mean() / 2


def test_rounded_stochastically_they_arrive_on_average(weights, gradients):
    weight = stepped(weights, [torch.ones(200, 50)] * 20, bfloat16_updates="stochastic")
    exact = stepped(weights.float(), [torch.ones(200, 50)] * 20)
    change, wanted = ((w.float() - weights.float()).mean().item() for w in (weight, exact))
    assert change == pytest.approx(wanted, rel=0.1)
    assert wanted == pytest.approx(-20 * 1.5e-5, rel=0.01)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
def test_stochastic_rounding_takes_one_step_a_time_for_each_weight(optimizer):
    """The copies that AdamW steps on come and go: its moments and counts must stay apart."""
    weights = [nn.Parameter(torch.full((64, 64 + n), 1.0).bfloat16()) for n in range(3)]
    asked = Phase(learning_rate=0.1, bfloat16_updates="stochastic", optimizer=optimizer)
    made = Optimizer(weights, asked, 4, masters={})
    for _ in range(4):
        sum(weight.float().sum() for weight in weights).backward()
        made.step()
    for weight in weights:
        assert weight.grad is None
        assert weight.float().mean().item() == pytest.approx(0.6, abs=0.01)


def test_a_rounded_number_is_one_of_its_neighbours_with_the_chance_that_keeps_the_mean():
    generator = torch.Generator().manual_seed(0)
    value = 1 + 2**-7 * 0.3  # bfloat16 knows 1 and 1 + 2 ** -7.
    for sign in (1, -1):
        found = rounded_stochastically(torch.full((10000,), sign * value), generator).float()
        assert set(found.tolist()) == {sign * 1.0, sign * (1 + 2**-7)}
        assert found.mean().item() == pytest.approx(sign * value, abs=2**-7 * 0.02)
    exact = torch.randn(100).bfloat16()
    assert torch.equal(rounded_stochastically(exact.float(), generator), exact)


def test_gradients_of_small_batches_add_up_in_float32():
    weight = nn.Parameter(torch.zeros(1, 1).bfloat16())
    masters = weight.detach().float()
    made = Optimizer([weight], Phase(), 1, masters={weight: masters})
    for gradient in (1.0, *[2**-9] * 8):
        (weight * gradient).sum().backward()
    assert made.clip(1e9).item() == 1 + 8 * 2**-9
    made.close()


def test_biases_do_not_decay():
    parts = [nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3))]
    made = Optimizer(parts, Phase(weight_decay=0.5, learning_rate=0.1), 1, masters={})
    for part in parts:
        part.grad = torch.zeros_like(part)
    made.step()
    assert parts[0].unique().tolist() == [pytest.approx(0.95)]
    assert parts[1].unique().tolist() == [1]


def test_epsilon_shrinks_the_steps_of_small_gradients():
    def step(epsilon):
        gradient = torch.full((2, 2), 1e-6)
        return stepped(torch.zeros(2, 2), [gradient], adam_epsilon=epsilon)[0, 0].item()

    assert step(1e-8) == pytest.approx(-1.5e-5, rel=0.02)
    assert step(1e-5) == pytest.approx(-1.5e-5 / 11, rel=0.02)


def half(tokenizer, **sizes):
    lm = tiny_lm(tokenizer, **sizes)
    lm.model.bfloat16()
    return lm


def trained_half(tokenizer, data, *phases, **model):
    lm = half(tokenizer)
    spec = spec_of(*phases, **model)
    lm.adapt(spec)
    masters = {}
    for _ in train_on(lm, spec, data):
        masters = {name: lm.precise(name).clone() for name in lm._masters} or masters
    return lm, masters


def test_the_model_computes_with_the_rounded_master_weights(tokenizer, data):
    lm, masters = trained_half(tokenizer, data, phase(GradientDifference(), **SMALL))
    parameters = dict(lm.model.named_parameters())
    assert masters
    for name, master in masters.items():
        assert master.dtype == torch.float32
        assert torch.equal(parameters[name], master.bfloat16())
    assert not lm.masters, "they are freed when training ends"


def test_steps_of_many_short_phases_add_up(tokenizer, data):
    """Rounding between phases would lose what no single phase moves far enough."""
    short = [phase(GradientDifference(), max_steps=1, learning_rate=1e-6) for _ in range(6)]
    _, masters = trained_half(tokenizer, data, *short)
    start = dict(half(tokenizer).model.named_parameters())
    change = torch.cat([(masters[name] - start[name]).abs().flatten() for name in masters])
    # Six steps of one direction, where none alone is larger than the learning rate.
    assert change.max().item() == pytest.approx(6e-6, rel=0.05)


def test_the_negated_change_is_that_of_the_master_weights(tokenizer, data):
    one = phase(TaskVector(scale=3), **SMALL)
    lm, masters = trained_half(tokenizer, data, one)
    start = dict(half(tokenizer).model.named_parameters())
    plain = trained_half(tokenizer, data, phase(TaskVector(scale=0), **SMALL))[0]
    name = next(iter(masters))
    assert torch.equal(dict(plain.model.named_parameters())[name], start[name])
    assert torch.equal(dict(lm.model.named_parameters())[name], masters[name].bfloat16())
    assert lm.moved().moved > 0


def test_the_factors_of_an_adapter_are_in_float32_whatever_the_models_format(tokenizer, data):
    lm, masters = trained_half(
        tokenizer, data, phase(GradientDifference(), **SMALL), adapter=LoRA(r=2)
    )
    factors = [p for n, p in lm.model.named_parameters() if "lora_" in n]
    assert {factor.dtype for factor in factors} == {torch.float32}
    assert not masters
    assert any(factor.any() for n, factor in lm.model.named_parameters() if "lora_B" in n)
    found = lm.moved()
    assert found.merged
    assert found.format == "bfloat16"
    assert 0 < found.moved < found.trained


def test_the_weights_that_moved_are_counted(tokenizer, data):
    lm, _ = run(tokenizer, data, phase(GradientDifference(), modules="down_proj"))
    found = lm.moved()
    assert (found.format, found.merged) == ("float32", False)
    assert found.moved == found.trained == 2 * 16 * 32
    none = trained_half(
        tokenizer,
        data,
        phase(GradientDifference(), learning_rate=1e-9, bfloat16_updates="nearest"),
    )[0].moved()
    assert none.moved == 0
    assert "0 of" in none.text
    assert "in bfloat16 changes this small are lost" in none.text


def test_a_stored_bfloat16_run_keeps_the_way_in_which_it_took_its_steps():
    def read(model, phases=({"method": {"kind": "npo"}},), context=RECORDED):
        found = RunSpec.model_validate({"model": model, "phases": phases}, context=context)
        return [one.bfloat16_updates for one in found.phases]

    assert read({"precision": "bfloat16"}) == ["nearest"]
    assert read({"precision": "bfloat16"}, context=None) == ["float32"]
    assert read({"precision": "bfloat16"}, [{"bfloat16_updates": "float32"}]) == ["float32"]
    assert read({"precision": "bfloat16", "adapter": {"r": 2}}) == ["float32"]
    assert read({"precision": "float32"}) == read({}) == ["float32"]


def test_a_bfloat16_model_is_scored_in_float32_with_the_same_weights(tokenizer, data, tmp_path):
    lm, _ = trained_half(tokenizer, data, phase(GradientDifference(), learning_rate=1e-3))
    examples = [encode(lm.prompts, row) for row in data.forget]
    before = [p.clone() for p in lm.model.parameters()]
    exact = half(tokenizer)
    exact.model.load_state_dict(lm.model.state_dict())
    exact.model.float()
    with lm.in_float32():
        found = finish(losses(lm, examples))
        with lm.original():
            finish(losses(lm, examples))
    assert found == finish(losses(exact, examples))
    assert all(map(torch.equal, lm.model.parameters(), before))
    assert {p.dtype for p in lm.model.parameters()} == {torch.bfloat16}
    with lm.original():
        assert not all(map(torch.equal, lm.model.parameters(), before))


def test_without_room_for_float32_weights_the_setting_is_named(tokenizer, monkeypatch):
    monkeypatch.setattr("unlearnlab.engine.loading.free_memory", lambda *_, **__: 10)
    lm = half(tokenizer)
    with pytest.raises(RunFailed, match="to score in float32") as failed, lm.in_float32():
        pass
    assert "evaluation.score_in_float32" in failed.value.advice
