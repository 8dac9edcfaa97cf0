"""The loop takes the steps it was asked for, the same ones every time."""

import math
from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import CPU, tiny_model
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.objectives.likelihood import retain_weight
from unlearnlab.engine.training import Clock, TrainingState, plan_phases, probe_steps, train
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import PhaseBegan, Probed, StepLogged
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.distribution import JointKL
from unlearnlab.spec.methods.likelihood import (
    GradientAscent,
    GradientDescent,
    GradientDifference,
    Joint,
    Sequential,
    TaskVector,
)
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.methods.representation import RMU, AdaptiveRMU
from unlearnlab.spec.rows import load
from unlearnlab.spec.run import (
    DataSpec,
    EvaluationSpec,
    LoRA,
    ModelSpec,
    Phase,
    RunSpec,
    planned_steps,
)


def run(tokenizer, data, *phases: Phase, seed: int = 0, probes: int = 0, adapter=None):
    spec = RunSpec(
        model=ModelSpec(adapter=adapter),
        phases=phases,
        evaluation=EvaluationSpec(probes=probes),
        seed=seed,
    )
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    work = train(lm, spec, data, probe=Probe.of(data), clock=Clock())
    return lm, list(work)


def steps(events) -> list[StepLogged]:
    return [event for event in events if isinstance(event, StepLogged)]


def last_terms(events) -> dict:
    return dict(steps(events)[-1].terms)


def phase(method, **settings) -> Phase:
    return Phase(method=method, **{"batch_size": 6, "epochs": 2, "learning_rate": 1e-2, **settings})


TRAINING = [kind for kind, method in METHODS.items() if method.sets]


def default(kind: str):
    """A method with its defaults, made to fit a model of two blocks and a set of 18 rows."""
    settings = {
        "rmu": {"layer": 1, "retain_weight": 1},
        "adaptive_rmu": {"layer": 1, "retain_weight": 1},
        "sequential": {"chunk_size": 18},
        # Alone, it has nothing to learn from a model that knows nothing.
        "undial": {"retain_weight": 1},
        # Taught together, the two sets have twice the batches.
        "memorize": {"on": "forget"},
    }
    return METHODS[kind](**settings.get(kind, {}))


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
    lm, events = run(
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
    names = {n for n, p in lm.model.named_parameters() if p.requires_grad}
    assert all("layers.0.self_attn" in name for name in names)


def test_training_leaves_frozen_weights_untouched(tokenizer, data):
    lm, _ = run(tokenizer, data, phase(RMU(layer=1), modules="down_proj", first_layer=1))
    fresh = dict(tiny_model(len(tokenizer)).named_parameters())
    changed = {n for n, p in lm.model.named_parameters() if not torch.equal(p, fresh[n])}
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
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    lm.model.model.layers[0].mlp.up_proj.weight.data.fill_(math.inf)
    before = lm.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    with pytest.raises(RunFailed, match=r"the retain loss became nan at step 1") as failure:
        list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    assert "learning rate" in failure.value.advice
    assert torch.equal(lm.model.model.layers[1].mlp.up_proj.weight, before)


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_update(tokenizer, data):
    spec = RunSpec(phases=(phase(RMU(layer=1, steering_coeff=1e30)),))
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    before = lm.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    with pytest.raises(RunFailed, match=r"became (inf|nan) at step 1"):
        list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    assert torch.equal(lm.model.model.layers[1].mlp.up_proj.weight, before)


def test_with_an_adapter_a_second_phase_takes_nothing_over_from_the_first(tokenizer, data):
    lora = LoRA(r=4, alpha=16)
    first = phase(NPO(), epochs=1, modules="attention", last_layer=0)
    second = phase(GradientAscent(), epochs=1, modules="mlp", first_layer=1)
    lm, events = run(tokenizer, data, first, second, adapter=lora)
    stray = [
        name
        for name, parameter in lm.model.named_parameters()
        if parameter.grad is not None and not parameter.requires_grad
    ]
    assert stray == []
    assert len(steps(events)) == 6


def test_a_set_without_rows_is_named(tokenizer, data):
    spec = RunSpec(phases=(phase(AdaptiveRMU(layer=1)),))
    with pytest.raises(ValueError, match=r"phases\.0: the retain set has no rows"):
        plan_phases(spec, replace(data, retain=()), tokenizer)


def test_a_chunk_larger_than_the_forget_set_is_named(tokenizer, data):
    spec = RunSpec(phases=(phase(NPO()), phase(Sequential(chunk_size=19))))
    with pytest.raises(ValueError, match=r"phases\.1\.method\.chunk_size: .* 19 .* set of 18"):
        plan_phases(spec, data, tokenizer)


def test_each_chunk_is_trained_for_all_epochs_with_a_fresh_schedule(tokenizer, data):
    settings = phase(Sequential(chunk_size=6), batch_size=3, epochs=2, schedule="linear")
    _, events = run(tokenizer, data, settings)
    rates = [event.learning_rate for event in steps(events)]
    # 18 rows are 3 chunks of 2 batches, each for 2 epochs.
    assert rates == pytest.approx([1e-2, 7.5e-3, 5e-3, 2.5e-3] * 3)
    assert steps(events)[-1].epoch == pytest.approx(2)


def test_a_phase_of_chunks_ends_after_the_steps_it_is_given(tokenizer, data):
    settings = phase(Sequential(chunk_size=6), batch_size=3, epochs=2, max_steps=5)
    _, events = run(tokenizer, data, settings)
    assert [event.step for event in steps(events)] == [1, 2, 3, 4, 5]


def test_a_changed_learning_rate_and_weight_hold_from_the_next_step(tokenizer, data):
    spec = RunSpec(phases=(phase(GradientDifference(), schedule="linear"),))
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    state = TrainingState()
    seen = []
    work = train(lm, spec, data, probe=Probe.of(data), clock=Clock(), state=state)
    for event in work:
        if isinstance(event, StepLogged):
            seen.append(event)
            if event.step == 2:
                changed = GradientDifference(retain_weight=4)
                state.phase = spec.phases[0].model_copy(
                    update={"learning_rate": 5e-3, "method": changed}
                )
    # Six steps of linear decay, at half the rate from the third on.
    expected = [1e-2 * left / 6 for left in (6, 5)] + [5e-3 * left / 6 for left in (4, 3, 2, 1)]
    assert [event.learning_rate for event in seen] == pytest.approx(expected)
    assert [event.weights["retain"] for event in seen] == [1, 1, 4, 4, 4, 4]


def test_negation_steps_against_what_the_phase_learnt(tokenizer, data):
    def down_proj(scale):
        settings = phase(TaskVector(scale=scale), epochs=1, modules="down_proj")
        lm, _ = run(tokenizer, data, settings)
        return lm.model.model.layers[0].mlp.down_proj.weight.detach()

    start, stepped, twice = down_proj(0.0), down_proj(1.0), down_proj(2.0)
    fresh = tiny_model(len(tokenizer)).model.layers[0].mlp.down_proj.weight
    assert torch.equal(start, fresh)
    assert not torch.equal(stepped, start)
    assert torch.allclose(twice - start, 2 * (stepped - start), atol=1e-6)


def test_negating_an_adapter_turns_what_it_adds(tokenizer, data):
    def added(scale):
        settings = phase(TaskVector(scale=scale), epochs=1, modules="down_proj")
        lm, _ = run(tokenizer, data, settings, adapter=LoRA(r=2))
        matrices = dict(lm.model.named_parameters())
        layer = "base_model.model.model.layers.0.mlp.down_proj"
        first, second = (matrices[f"{layer}.lora_{x}.default.weight"] for x in "AB")
        return (second @ first).detach()

    assert torch.allclose(added(3.0), 3 * added(1.0), atol=1e-6)
    assert added(1.0).abs().max() > 0


def test_the_joint_retain_weight_rests_at_its_floor_in_the_first_epoch(tokenizer, data):
    method = Joint(forget_weight=50, growth=3)
    _, events = run(tokenizer, data, phase(method, epochs=4, learning_rate=5e-2))
    weights = [event.weights["retain"] for event in steps(events)]
    assert weights[:3] == [1.2] * 3
    first = sum(event.terms["retain"] for event in steps(events)[:3]) / 3
    for event in steps(events)[3:]:
        rise = event.terms["retain"] - first
        assert event.weights["retain"] == pytest.approx(retain_weight(method, rise))
    assert max(weights) > 1.2


def test_the_multiplier_of_the_constraint_follows_the_excess(tokenizer, data):
    method = JointKL(kl_budget=1e-4, dual_rate=2.0)
    _, events = run(tokenizer, data, phase(method, epochs=3, learning_rate=3e-2))
    multiplier = 0.0
    for event in steps(events):
        assert event.weights["kl"] == pytest.approx(multiplier)
        multiplier = max(0.0, multiplier + 2.0 * (event.terms["kl"] - 1e-4))
    assert multiplier > 0


def test_a_phase_with_subtasks_of_its_own_trains_on_these_alone(tokenizer, data):
    some = phase(GradientAscent(), tasks=("Task2",), epochs=1)
    laid = plan_phases(RunSpec(phases=(phase(NPO()), some)), data, tokenizer)
    assert [course.batches for course in laid] == [[3], [1]]
    _, events = run(tokenizer, data, some)
    _, expected = run(tokenizer, data.only(["Task2"]), phase(GradientAscent(), epochs=1))
    assert last_terms(events) == last_terms(expected)


@pytest.mark.parametrize("fold", ["train", "validation"])
def test_the_page_plans_the_steps_that_the_loop_takes(tokenizer, fold):
    spec = RunSpec(
        data=DataSpec(fold=fold, tasks=("Task1", "Task3")),
        phases=(
            phase(NPO(), gradient_accumulation=2),
            phase(GradientDescent(), tasks=("Task3",), batch_size=5),
            phase(GradientAscent(), max_steps=4),
            phase(Sequential(chunk_size=20), batch_size=8),
            phase(AdaptiveRMU(layer=1, order="by_task"), batch_size=5),
        ),
    )
    laid = plan_phases(spec, load(spec.data).only(spec.data.tasks), tokenizer)
    assert tuple(course.steps for course in laid) == planned_steps(spec)
