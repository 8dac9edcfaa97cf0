"""The loop takes the steps it was asked for, the same ones every time."""

import math
from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import CPU, tiny_model
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.loop import Batches, Clock, courses, probe_steps, train
from unlearnlab.engine.models import Target
from unlearnlab.events import PhaseBegan, Probed, StepLogged
from unlearnlab.jobs import RunFailed
from unlearnlab.methods import METHODS, NPO, RMU, AdaptiveRMU, GradientAscent, GradientDescent
from unlearnlab.spec import EvaluationSpec, LoRA, ModelSpec, Phase, RunSpec


def run(tokenizer, data, *phases: Phase, seed: int = 0, probes: int = 0, adapter=None):
    spec = RunSpec(
        model=ModelSpec(adapter=adapter),
        phases=phases,
        evaluation=EvaluationSpec(probes=probes),
        seed=seed,
    )
    target = Target(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    torch.manual_seed(spec.seed)
    target.adapt(spec)
    work = train(target, spec, data, probe=Probe.of(data), clock=Clock())
    return target, list(work)


def steps(events) -> list[StepLogged]:
    return [event for event in events if isinstance(event, StepLogged)]


def last_terms(events) -> dict:
    return dict(steps(events)[-1].terms)


def phase(method, **settings) -> Phase:
    return Phase(method=method, **{"batch_size": 6, "epochs": 2, "learning_rate": 1e-2, **settings})


TRAINING = [kind for kind, method in METHODS.items() if method.sets]


def default(kind: str):
    return METHODS[kind](layer=1, retain_weight=1) if "rmu" in kind else METHODS[kind]()


@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_moves_its_terms_the_way_its_weights_say(tokenizer, data, kind):
    _, events = run(tokenizer, data, phase(default(kind), epochs=6))
    first, last = steps(events)[0], steps(events)[-1]
    assert last.loss < first.loss
    assert len(steps(events)) == 6 * 3


@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_trains_an_adapter_too(tokenizer, data, kind):
    # A random adapter moves slowly at first: its second matrix starts at zero.
    lora = LoRA(r=4, alpha=16)
    _, events = run(tokenizer, data, phase(default(kind), epochs=6), adapter=lora)
    assert steps(events)[-1].loss < steps(events)[0].loss


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(tokenizer, data):
    settings = phase(NPO(), epochs=1)
    first, again, other = (
        last_terms(run(tokenizer, data, settings, seed=seed)[1]) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_adapter_dropout_is_covered_by_the_seed(tokenizer, data):
    lora = LoRA(r=2, dropout=0.3)
    first, again = (
        last_terms(run(tokenizer, data, phase(NPO(), epochs=1), adapter=lora)[1]) for _ in range(2)
    )
    assert first == again


# Adaptive RMU measures its target on its first batch, which is another one here.
@pytest.mark.parametrize("kind", [kind for kind in TRAINING if kind != "adaptive_rmu"])
def test_small_batches_added_up_make_the_step_of_one_large_batch(tokenizer, data, kind):
    # Completions and questions differ in length: micro-batches must count by their tokens.
    settings = {"max_steps": 1, "epochs": 1}
    whole = run(tokenizer, data, phase(default(kind), **settings))[1]
    parts = phase(default(kind), batch_size=2, gradient_accumulation=3, **settings)
    added = run(tokenizer, data, parts)[1]
    assert steps(added)[0].grad_norm == pytest.approx(steps(whole)[0].grad_norm, rel=1e-3)
    assert last_terms(added) == pytest.approx(last_terms(whole), rel=1e-4)


def test_an_epoch_ends_with_a_step_even_when_batches_are_left_over(tokenizer, data):
    settings = phase(GradientAscent(), batch_size=4, gradient_accumulation=2, epochs=2)
    _, events = run(tokenizer, data, settings)
    # 18 rows: 5 batches, hence 3 steps an epoch.
    assert [event.epoch for event in steps(events)] == pytest.approx([0.4, 0.8, 1, 1.4, 1.8, 2])


def test_phases_follow_one_another_on_the_same_weights(tokenizer, data):
    target, events = run(
        tokenizer,
        data,
        phase(GradientAscent(), epochs=1, modules="mlp"),
        phase(GradientDescent(), epochs=1, modules="attention", last_layer=0),
    )
    began = [event for event in events if isinstance(event, PhaseBegan)]
    assert [(b.phase, b.step, b.steps, b.total_steps) for b in began] == [
        (0, 0, 3, 6),
        (1, 3, 3, 6),
    ]
    assert [event.step for event in steps(events)] == [1, 2, 3, 4, 5, 6]
    assert [list(event.terms) for event in steps(events)[2:4]] == [["forget"], ["retain"]]
    names = {n for n, p in target.model.named_parameters() if p.requires_grad}
    assert all("layers.0.self_attn" in name for name in names)


def test_training_leaves_frozen_weights_untouched(tokenizer, data):
    target, _ = run(tokenizer, data, phase(RMU(layer=1), modules="down_proj", first_layer=1))
    fresh = dict(tiny_model(len(tokenizer)).named_parameters())
    changed = {n for n, p in target.model.named_parameters() if not torch.equal(p, fresh[n])}
    assert changed == {"model.layers.1.mlp.down_proj.weight"}


def test_the_probe_runs_evenly_and_at_the_last_step(tokenizer, data):
    assert probe_steps(10, 3) == {3, 7, 10}
    assert probe_steps(2, 12) == {1, 2}
    assert probe_steps(5, 0) == set()
    _, events = run(tokenizer, data, phase(GradientAscent(), epochs=2), probes=2)
    assert [event.step for event in events if isinstance(event, Probed)] == [3, 6]


def test_the_learning_rate_warms_up_and_decays_to_zero(tokenizer, data):
    settings = phase(GradientAscent(), epochs=4, warmup=0.25, schedule="linear", learning_rate=0.1)
    _, events = run(tokenizer, data, settings)
    rates = [event.learning_rate for event in steps(events)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.02


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(tokenizer, data):
    spec = RunSpec(phases=(phase(GradientDescent()),))
    target = Target(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    target.model.model.layers[0].mlp.up_proj.weight.data.fill_(math.inf)
    before = target.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    with pytest.raises(RunFailed, match=r"the retain loss became nan at step 1") as failure:
        list(train(target, spec, data, probe=Probe.of(data), clock=Clock()))
    assert "learning rate" in failure.value.advice
    assert torch.equal(target.model.model.layers[1].mlp.up_proj.weight, before)


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_update(tokenizer, data):
    spec = RunSpec(phases=(phase(RMU(layer=1, steering_coeff=1e30)),))
    target = Target(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    before = target.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    with pytest.raises(RunFailed, match=r"became (inf|nan) at step 1"):
        list(train(target, spec, data, probe=Probe.of(data), clock=Clock()))
    assert torch.equal(target.model.model.layers[1].mlp.up_proj.weight, before)


def test_with_an_adapter_a_second_phase_takes_nothing_over_from_the_first(tokenizer, data):
    lora = LoRA(r=4, alpha=16)
    first = phase(NPO(), epochs=1, modules="attention", last_layer=0)
    second = phase(GradientAscent(), epochs=1, modules="mlp", first_layer=1)
    target, events = run(tokenizer, data, first, second, adapter=lora)
    stray = [
        name
        for name, parameter in target.model.named_parameters()
        if parameter.grad is not None and not parameter.requires_grad
    ]
    assert stray == []
    assert len(steps(events)) == 6


def test_a_set_without_rows_is_named(data):
    spec = RunSpec(phases=(phase(AdaptiveRMU(layer=1)),))
    with pytest.raises(ValueError, match=r"phases\.0: the retain set has no rows"):
        courses(spec, replace(data, retain=()))


def test_retain_rows_are_drawn_as_many_times_as_asked(target, data):
    for count in (1, 3):
        batches = Batches(target, phase(NPO(), retain_rows=count), data, seed=0)
        _, _, batch = next(iter(batches))
        assert len(batch.forget.index) == 6
        assert len(batch.retain.index) == 6 * count
