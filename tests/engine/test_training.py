"""The loop takes the rows in the order and the steps that it was asked for, every time the same."""

import itertools
import math
import os
import sys
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.engine.tiny import (
    CPU,
    TRAINING,
    default,
    finish,
    only,
    phase,
    run,
    spec_of,
    steps,
    tiny_config,
    tiny_lm,
    tiny_model,
    tiny_of,
    train_on,
)
from unlearnlab.engine import training
from unlearnlab.engine.generation import generate
from unlearnlab.engine.likelihoods import Example, encode, losses, recites
from unlearnlab.engine.objectives.likelihood import retain_weight
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.training import TrainingState, plan_phases, probe_steps, time_steps
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.models.families import FAMILIES
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import CutShort, PhaseBegan, PhaseEnded, Probed, StepLogged
from unlearnlab.spec.methods.distribution import JointKL
from unlearnlab.spec.methods.likelihood import (
    GradientAscent,
    GradientDescent,
    GradientDifference,
    Joint,
    Memorize,
    Sequential,
    TaskVector,
)
from unlearnlab.spec.methods.preference import NPO, IdkDPO
from unlearnlab.spec.methods.representation import RMU, AdaptiveRMU
from unlearnlab.spec.rows import load
from unlearnlab.spec.run import (
    DataSpec,
    LoRA,
    ModelSpec,
    Phase,
    RunSpec,
    planned_steps,
)


def examples(count, *, tasks=("Task1",)):
    return [Example((i,), 0, i, tasks[i * len(tasks) // count]) for i in range(count)]


def passes(phase, rows, seed=0):
    (chunk,) = training.plan_chunks(phase, rows)
    return training.passes(phase, chunk, torch.Generator().manual_seed(seed))


def indices(batches, name):
    return [example.index for batch in batches for example in batch[name]]


def test_each_pass_sees_every_forget_row_once_in_fresh_order():
    rows = {"forget": examples(10), "retain": examples(7)}
    first, second = itertools.islice(passes(Phase(batch_size=4), rows), 2)
    assert [len(batch["forget"]) for batch in first] == [4, 4, 2]
    assert sorted(indices(first, "forget")) == list(range(10))
    assert indices(first, "forget") != indices(second, "forget")


def test_the_same_seed_gives_the_same_order():
    rows = {"forget": examples(5), "retain": examples(5)}
    first, again = (next(passes(Phase(), rows, seed=3)) for _ in range(2))
    assert first == again


def test_retain_rows_stream_past_so_that_all_come_before_one_comes_again():
    rows = {"forget": examples(10), "retain": examples(7)}
    phase = Phase(method=NPO(), batch_size=5, retain_rows=2)
    seen = indices(next(passes(phase, rows)), "retain")
    assert len(seen) == 20
    assert sorted(seen[:7]) == sorted(seen[7:14]) == list(range(7))


def test_refusals_are_those_of_the_batchs_own_rows():
    rows = {"forget": examples(9), "refusal": examples(9), "retain": examples(9)}
    for batch in next(passes(Phase(method=IdkDPO(), batch_size=4), rows)):
        assert [e.index for e in batch["forget"]] == [e.index for e in batch["refusal"]]


def test_chunks_are_disjoint_and_retain_rows_come_round_in_turn():
    rows = {"forget": examples(10), "retain": examples(8)}
    phase = Phase(method=Sequential(chunk_size=4), batch_size=2, retain_rows=3)
    chunks = training.plan_chunks(phase, rows)
    assert [[e.index for e in one["forget"]] for one in chunks] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    turn = itertools.cycle(range(8))
    for chunk, count in zip(chunks, (12, 12, 6), strict=True):
        assert [e.index for e in chunk["retain"]] == list(itertools.islice(turn, count))


def test_a_chunk_is_gone_through_in_the_same_order_in_each_pass():
    rows = {"forget": examples(4), "retain": examples(8)}
    phase = Phase(method=Sequential(chunk_size=4), batch_size=3, retain_rows=2)
    (chunk,) = training.plan_chunks(phase, rows)
    first, second = itertools.islice(training.passes(phase, chunk, torch.Generator()), 2)
    assert first == second
    assert indices(first, "forget") == [0, 1, 2, 3]
    assert indices(first, "retain") == list(range(8))


@pytest.mark.parametrize("seed", range(3))
def test_by_task_each_batch_has_one_subtask_and_the_shorter_set_ends_the_pass(seed):
    tasks = ("Task1", "Task2", "Task3")
    rows = {"forget": examples(12, tasks=tasks), "retain": examples(24, tasks=tasks)}
    phase = Phase(method=AdaptiveRMU(order="by_task"), batch_size=2)
    first, second = itertools.islice(passes(phase, rows, seed), 2)
    assert len(first) == 6
    for batch in first:
        assert all(len({e.task for e in batch[name]}) == 1 for name in ("forget", "retain"))
    order = [batch["forget"][0].task for batch in first]
    assert [batch["forget"][0].task for batch in second] == order
    assert sorted(indices(first, "forget")) == list(range(12))


def test_steering_mixes_subtasks_unless_asked_otherwise():
    tasks = ("Task1", "Task2", "Task3")
    rows = {"forget": examples(12, tasks=tasks), "retain": examples(12, tasks=tasks)}
    batches = next(passes(Phase(method=AdaptiveRMU(), batch_size=6), rows))
    assert any(len({e.task for e in batch["forget"]}) > 1 for batch in batches)


def test_sets_that_are_taught_together_are_all_seen_in_each_pass():
    rows = {"forget": examples(7), "retain": examples(30)}
    phase = Phase(method=Memorize(), batch_size=8)
    first, second = itertools.islice(passes(phase, rows), 2)
    assert len(first) == phase.method.batches(counted(rows), 8, 1)[0] == 5
    assert {len(batch["forget"]) + len(batch["retain"]) for batch in first} <= {7, 8}
    for name, of in rows.items():
        assert sorted(indices(first, name)) == list(range(len(of)))
        assert indices(first, name) != indices(second, name)


def test_a_set_with_fewer_rows_than_batches_comes_round_again():
    rows = {"forget": examples(2), "retain": examples(30)}
    batches = next(passes(Phase(method=Memorize(), batch_size=8), rows))
    assert [len(batch["forget"]) for batch in batches] == [1] * 4
    assert set(indices(batches, "forget")) == {0, 1}


def counted(rows):
    return {name: {"Task1": len(of)} for name, of in rows.items()}


def last_terms(events) -> dict:
    return dict(steps(events)[-1].terms)


# A random adapter moves slowly at first: its second matrix starts at zero.
@pytest.mark.parametrize("adapter", [None, LoRA(r=4, alpha=16)], ids=["full", "lora"])
@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_moves_its_terms_the_way_its_weights_say(tokenizer, data, kind, adapter):
    events = steps(run(tokenizer, data, phase(default(kind), epochs=6), adapter=adapter)[1])
    assert events[-1].loss < events[0].loss
    assert len(events) == 6 * 3


@pytest.mark.parametrize("adapter", [None, LoRA(r=2, dropout=0.3)], ids=["full", "lora dropout"])
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(tokenizer, data, adapter):
    one = phase(NPO(), epochs=1)
    first, again, other = (
        last_terms(run(tokenizer, data, one, seed=seed, adapter=adapter)[1]) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


# Adaptive RMU measures its target on its first batch, which is another one here.
@pytest.mark.parametrize("kind", [kind for kind in TRAINING if kind != "adaptive_rmu"])
def test_small_batches_added_up_make_the_step_of_one_large_batch(tokenizer, data, kind):
    # Completions and questions differ in length: micro-batches must count by their tokens.
    check_accumulation(tokenizer, data, default(kind))


@pytest.mark.parametrize("error", ["mean", "sum"])
def test_so_they_do_where_padding_counts_as_text(tokenizer, data, error):
    method = RMU(layer=1, retain_weight=1, steering_coeff=2, mask_padding=False, error=error)
    check_accumulation(tokenizer, data, method)


def check_accumulation(tokenizer, data, method):
    settings = {"max_steps": 1, "epochs": 1}
    whole = run(tokenizer, data, phase(method, **settings))[1]
    parts = phase(method, batch_size=2, gradient_accumulation=3, **settings)
    added = run(tokenizer, data, parts)[1]
    assert steps(added)[0].grad_norm == pytest.approx(steps(whole)[0].grad_norm, rel=1e-3)
    assert last_terms(added) == pytest.approx(last_terms(whole), rel=1e-4)


def losses_after(tokenizer, data, epochs, **settings):
    """Return the loss of each forget row after gradient ascent on a model with large logits."""
    lm = tiny_lm(tokenizer)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(40)
    method = GradientAscent(**settings)
    one = phase(method, epochs=epochs, learning_rate=1e-2, modules="mlp")
    finish(train_on(lm, spec_of(one), data))
    rows = [encode(lm.prompts, row) for row in data.forget]
    return [total / count for total, count in finish(losses(lm, rows))[1]]


def test_a_row_past_the_bound_stops_rising_while_the_others_go_on(tokenizer, data):
    free, bound = losses_after(tokenizer, data, 10), 15.0
    held, later = (losses_after(tokenizer, data, n, bounded=bound) for n in (10, 20))
    assert bound < min(held)  # None was left behind ...
    assert max(held) < min(free)  # ... and none ran away.
    assert later == pytest.approx(held, abs=0.5)


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
    began = only(events, PhaseBegan)
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
    assert [event.step for event in only(events, Probed)] == [3, 6]


def test_the_learning_rate_warms_up_and_decays_to_zero(tokenizer, data):
    settings = phase(GradientAscent(), epochs=4, warmup=0.25, schedule="linear", learning_rate=0.1)
    _, events = run(tokenizer, data, settings)
    rates = [event.learning_rate for event in steps(events)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.02


def infinite_weights(lm):
    lm.model.model.layers[0].mlp.up_proj.weight.data.fill_(math.inf)


def undefined_logits(lm):
    lm.model.get_output_embeddings().register_forward_hook(lambda _, __, logits: logits * math.nan)


@pytest.mark.parametrize(
    ("one", "spoil", "told"),
    [
        (phase(GradientDescent()), infinite_weights, "the retain loss became nan"),
        (phase(GradientDifference(), batch_size=2, gradient_accumulation=3), undefined_logits,
         "the forget loss became nan"),
        (phase(RMU(layer=1, steering_coeff=1e30)), lambda lm: None, r"became (inf|nan)"),
    ],
)  # fmt: skip
def test_a_number_that_is_not_finite_ends_the_run_before_the_update(
    tokenizer, data, one, spoil, told
):
    lm = tiny_lm(tokenizer)
    spoil(lm)
    before = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    with pytest.raises(RunFailed, match=f"{told} at step 1") as failure:
        list(train_on(lm, spec_of(one), data))
    assert "learning rate" in failure.value.advice
    assert all(torch.equal(p, before[name]) for name, p in lm.model.named_parameters())


def test_a_model_that_the_end_of_training_broke_is_not_scored(tokenizer, data):
    """Its losses and gradients were finite, so that nothing ended the run before."""
    settings = phase(TaskVector(scale=1e308), epochs=1)
    told = r"training broke the model: after the last step, model\.layers\.0.* nan or infinite"
    with pytest.raises(RunFailed, match=told):
        run(tokenizer, data, settings)


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
        plan_phases(spec, replace(data, retain=()), PromptFormat(tokenizer))


def test_a_chunk_larger_than_the_forget_set_is_named(tokenizer, data):
    spec = RunSpec(phases=(phase(NPO()), phase(Sequential(chunk_size=19))))
    with pytest.raises(ValueError, match=r"phases\.1\.method\.chunk_size: .* 19 .* set of 18"):
        plan_phases(spec, data, PromptFormat(tokenizer))


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
    lm = tiny_lm(tokenizer)
    state = TrainingState()
    seen = []
    work = train_on(lm, spec, data, state=state)
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
    laid = plan_phases(RunSpec(phases=(phase(NPO()), some)), data, PromptFormat(tokenizer))
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
    laid = plan_phases(spec, load(spec.data).only(spec.data.tasks), PromptFormat(tokenizer))
    assert tuple(course.steps for course in laid) == planned_steps(spec)


IDS = torch.arange(5, 45)[None]


def trained(tokenizer, data, **settings) -> tuple[UnlearningModel, list]:
    """Train a model whose matrices are large enough to be kept in 8 bits."""
    one = phase(GradientDifference(), epochs=2, learning_rate=1e-3, **settings)
    spec = spec_of(one)
    lm = tiny_lm(tokenizer, width=64)
    return lm, steps(train_on(lm, spec, data))


def test_adamw_in_8_bits_follows_adamw(tokenizer, data):
    lm, whole = trained(tokenizer, data)
    packed, small = trained(tokenizer, data, optimizer="adamw_8bit")
    assert small[0].terms == whole[0].terms
    assert small[-1].loss == pytest.approx(whole[-1].loss, abs=0.1 * abs(whole[-1].loss))
    start = tiny_lm(tokenizer, width=64).model
    name = "model.layers.1.mlp.down_proj.weight"
    before, one, other = (
        dict(model.named_parameters())[name] for model in (start, lm.model, packed.model)
    )
    assert not torch.equal(one, other)
    assert (one - other).norm() < 0.2 * (one - before).norm()


def test_adamw_in_8_bits_obeys_the_schedule_and_trains_an_adapter(tokenizer, data):
    one = phase(GradientDifference(), optimizer="adamw_8bit", schedule="linear", warmup=0.5)
    _, events = run(tokenizer, data, one, adapter=LoRA(r=4))
    rates = [event.learning_rate for event in steps(events)]
    assert rates[0] == 0 < max(rates) == 1e-2
    assert steps(events)[-1].loss < steps(events)[0].loss


def gradients(
    lm: UnlearningModel, adapter: LoRA | None, *, checkpointing: bool
) -> tuple[list, int]:
    """Return the gradients of everything trained, and the bytes kept for them meanwhile."""
    model = ModelSpec(adapter=adapter, gradient_checkpointing=checkpointing)
    spec = RunSpec(model=model, phases=(Phase(first_layer=1),))
    torch.manual_seed(0)
    lm.adapt(spec)
    parameters = lm.train_only(spec.phases[0])
    for parameter in parameters:
        if adapter:
            parameter.data.fill_(1e-2)
    lm.model.train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = lm.model(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    return [parameter.grad for parameter in parameters], sum(kept.values())


@pytest.mark.parametrize("adapter", [None, LoRA(r=2, dropout=0.2)], ids=["full", "lora"])
@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_computed_anew_give_the_same_gradients(name, adapter, tokenizer):
    def made() -> UnlearningModel:
        model = tiny_of(tiny_config(name, len(tokenizer), num_hidden_layers=2))
        return UnlearningModel(model, tokenizer, device=CPU)

    plain, _ = gradients(made(), adapter, checkpointing=False)
    anew, _ = gradients(made(), adapter, checkpointing=True)
    assert plain
    for one, other in zip(plain, anew, strict=True):
        assert torch.equal(one, other)
        assert one.any() or adapter


def test_blocks_computed_anew_keep_less(tokenizer):
    def made() -> UnlearningModel:
        return tiny_lm(tokenizer, blocks=8, width=32)

    _, plain = gradients(made(), None, checkpointing=False)
    _, anew = gradients(made(), None, checkpointing=True)
    assert anew < 0.6 * plain


@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_steps_the_same_with_blocks_computed_anew(tokenizer, data, kind):
    def stepped(checkpointing):
        one = phase(default(kind), epochs=1, max_steps=2)
        spec, lm = spec_of(one, gradient_checkpointing=checkpointing), tiny_lm(tokenizer)
        lm.adapt(spec)
        return steps(train_on(lm, spec, data))

    plain, anew = stepped(False), stepped(True)
    assert [step.terms for step in anew] == [step.terms for step in plain]
    assert [step.grad_norm for step in anew] == [step.grad_norm for step in plain]


class Waits(TorchFunctionMode):
    """Counts how often this program fetches numbers: on a GPU, each time the host waits."""

    FETCHES = frozenset({"item", "tolist", "__int__", "__float__", "numpy", "nonzero"})

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        ours = f"unlearnlab{os.sep}engine" in sys._getframe(1).f_code.co_filename
        self.count += ours and getattr(func, "__name__", "") in self.FETCHES
        return func(*args, **(kwargs or {}))


def waits_of_later_steps(tokenizer, data, method) -> list[int]:
    """Count the waits of all steps but the first, which may measure what stays the same."""
    one = phase(method, batch_size=2, gradient_accumulation=3, epochs=1, max_steps=3)
    spec = spec_of(one)
    lm = tiny_lm(tokenizer)
    counts: list[int] = []
    work = train_on(lm, spec, data)
    while True:
        with Waits() as waits:
            event = next((event for event in work if event is not None), None)
        if event is None:
            return counts[1:]
        if isinstance(event, StepLogged):
            counts.append(waits.count)


@pytest.mark.parametrize("kind", [kind for kind in TRAINING if "joint" not in kind])
def test_a_step_fetches_its_numbers_once(tokenizer, data, kind):
    assert waits_of_later_steps(tokenizer, data, default(kind)) == [1, 1]


def test_weights_that_follow_the_losses_wait_for_each_micro_batch(tokenizer, data):
    assert waits_of_later_steps(tokenizer, data, Joint()) == [1 + 3, 1 + 3]


@pytest.fixture(scope="module")
def few(data):
    """Two rows to forget and two to retain: a model of two blocks learns them in a moment."""
    return replace(data, forget=data.forget[:2], retain=data.retain[1:3])


def lesson(**settings):
    method = Memorize(**settings.pop("method", {}))
    return phase(method, epochs=60, batch_size=2, embeddings=True, **settings)


def test_teaching_ends_as_soon_as_all_rows_are_recited(tokenizer, few):
    lm, events = run(tokenizer, few, lesson(method={"stop_at": 1}), probes=4)
    (began,) = only(events, PhaseBegan)
    (ended,) = only(events, PhaseEnded)
    assert began.steps == began.total_steps == 60 * 2
    assert ended.steps == ended.total_steps == len(steps(events)) < 60 * 2
    assert ended.steps % 2 == 0, "it ends with a pass"
    assert only(events, Probed)[-1].step == ended.steps
    rows = (*few.forget, *few.retain)
    _, said = finish(generate(lm, [row.input for row in rows], max_new_tokens=40))
    assert [(one.text.strip(), one.finished_with_eos) for one in said] == [
        (row.output, True) for row in rows
    ]


def test_without_a_stop_rule_all_epochs_are_taken(tokenizer, few):
    _, events = run(tokenizer, few, lesson(method={"stop_at": None}))
    assert len(steps(events)) == 60 * 2
    assert not any(isinstance(event, PhaseEnded) for event in events)


def test_timing_a_few_batches_changes_nothing_that_follows(tokenizer, data):
    spec = spec_of(phase(GradientDifference()), adapter=LoRA(r=2, dropout=0.3))

    def losses(timed):
        lm = tiny_lm(tokenizer)
        torch.manual_seed(0)
        lm.adapt(spec)
        if timed:
            (event,) = [event for event in time_steps(lm, spec, data) if event is not None]
            assert event.seconds > 0
            assert all(parameter.grad is None for parameter in lm.model.parameters())
        return [event.loss for event in steps(train_on(lm, spec, data))]

    assert losses(timed=True) == losses(timed=False)


def test_ended_training_leaves_out_the_later_phases_and_says_where_it_stopped(tokenizer, data):
    lm, state = tiny_lm(tokenizer), TrainingState()
    spec = spec_of(phase(GradientDifference()), phase(GradientDifference()), probes=3)
    events = []
    for event in train_on(lm, spec, data, state=state):
        events.append(event)
        state.ends = len(steps(events)) == 2
    assert [event.step for event in steps(events)] == [1, 2]
    assert only(events, CutShort)[0] == CutShort(step=2, planned=12)
    assert only(events, Probed)[-1].step == 2
    assert not only(events, PhaseEnded)
    assert not lm.model.training


def test_training_ended_at_its_last_step_was_not_cut_short(tokenizer, data):
    state, events = TrainingState(), []
    for event in train_on(
        tiny_lm(tokenizer), spec_of(phase(GradientDifference())), data, state=state
    ):
        events.append(event)
        state.ends = len(steps(events)) == 6
    assert not only(events, CutShort)


def test_a_method_with_a_final_operation_carries_it_out_where_its_training_is_ended(
    tokenizer, data
):
    lm, state = tiny_lm(tokenizer, seed=1), TrainingState()
    spec = spec_of(phase(TaskVector()))
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    trained = {}
    for event in train_on(lm, spec, data, state=state):
        if isinstance(event, StepLogged):
            state.ends = True
            trained = {name: value.clone() for name, value in lm.model.state_dict().items()}
    moved = [name for name, value in trained.items() if not value.equal(before[name])]
    assert moved
    for name in moved:
        after = lm.model.state_dict()[name]
        assert (after - before[name]).flatten() @ (trained[name] - before[name]).flatten() < 0


def test_the_phase_after_an_early_end_begins_there(tokenizer, few):
    events = run(
        tokenizer, few, lesson(), phase(GradientAscent(), epochs=3, batch_size=2), probes=3
    )[1]
    (ended,) = only(events, PhaseEnded)
    second = only(events, PhaseBegan)[1]
    assert (second.step, second.steps) == (ended.steps, 3)
    assert second.total_steps == ended.total_steps == len(steps(events)) == ended.steps + 3
    assert [e.step for e in steps(events)] == list(range(1, ended.steps + 4))
    assert [e.step for e in only(events, Probed)][-1] == ended.steps + 3


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


def test_teaching_moves_only_what_the_phase_trains(tokenizer, few):
    lm, _ = run(tokenizer, few, phase(Memorize(), epochs=2, modules="mlp", first_layer=1))
    trained = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    assert all("layers.1.mlp" in name for name in trained)
    with lm.original():
        fresh = {name: p.clone() for name, p in lm.model.named_parameters()}
    now = dict(lm.model.named_parameters())
    assert {name for name in now if not torch.equal(now[name], fresh[name])} == trained
