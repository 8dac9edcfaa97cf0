"""Each objective's arithmetic against numbers worked out by hand, and against its limits."""

import math
from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import CPU
from unlearnlab.engine.data import IGNORE, SETS, collate, encode
from unlearnlab.engine.objectives import OBJECTIVES, Batch, Context
from unlearnlab.engine.objectives.preference import npo_loss, reference_logprob
from unlearnlab.engine.objectives.representation import (
    activations,
    direction,
    masked_mse,
    natural_length,
)
from unlearnlab.methods import METHODS, NPO, RMU, AdaptiveRMU, GradientDifference
from unlearnlab.spec import Phase


@pytest.fixture
def batch(target, data) -> Batch:
    def tokens(name):
        rows = data.rows(name)[:6]
        return collate(
            [encode(target.tokenizer, row, i) for i, row in enumerate(rows)], pad=1, device=CPU
        )

    return Batch({name: tokens(name) for name in SETS})


def context(target, method) -> Context:
    return Context(method, target.original, seed=0)


def terms(target, kind: str, batch: Batch, method=None, ctx=None):
    """Return the terms of a method, with block 1 read where one is."""
    if method is None:
        method = METHODS[kind](**({"layer": 1} if "rmu" in kind else {}))
    return OBJECTIVES[kind].terms(target.model, batch, ctx or context(target, method))


def nudge(target, amount: float = 0.3) -> None:
    """Train-only the MLPs and move them, so that the model is no longer its own reference."""
    torch.manual_seed(1)
    for parameter in target.train_only(Phase(modules="mlp")):
        parameter.data.add_(amount * torch.randn_like(parameter))


def test_npo_loss_at_the_original_model_is_two_ln_two_over_beta():
    for beta in (0.05, 0.1, 1.0):
        assert npo_loss(torch.zeros(3), beta=beta).item() == pytest.approx(2 * math.log(2) / beta)


def test_npo_loss_equals_its_formula_on_hand_made_numbers():
    ratios = torch.tensor([-2.0, 1.0])
    by_hand = [(2 / 0.5) * math.log(1 + math.exp(0.5 * r)) for r in (-2.0, 1.0)]
    assert npo_loss(ratios, beta=0.5).item() == pytest.approx(sum(by_hand) / 2)


def test_npo_gradient_becomes_gradient_ascent_as_beta_vanishes():
    ratios = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    npo_loss(ratios, beta=1e-6).backward()
    # Ascent on the mean of log p has gradient 1/3 for each row.
    assert ratios.grad.tolist() == pytest.approx([1 / 3] * 3, rel=1e-4)


def test_npo_lets_go_of_an_answer_already_forgotten():
    ratios = torch.tensor([-200.0, 0.0], requires_grad=True)
    npo_loss(ratios, beta=0.1).backward()
    assert ratios.grad is not None
    assert abs(ratios.grad[0].item()) < 1e-8 < ratios.grad[1].item()


def test_npo_on_an_untouched_model_starts_at_two_ln_two_over_beta(target, batch):
    found = OBJECTIVES["npo"].terms(target.model, batch, context(target, NPO(beta=0.1)))
    assert found["forget"].item() == pytest.approx(20 * math.log(2), rel=1e-5)


def test_npo_asks_the_reference_once_for_each_row(target, batch):
    ctx = context(target, NPO())
    before = reference_logprob(target.model, batch.forget, ctx)
    nudge(target)
    assert torch.equal(reference_logprob(target.model, batch.forget, ctx), before)
    fresh = reference_logprob(target.model, batch.forget, context(target, NPO()))
    assert fresh.tolist() == pytest.approx(before.tolist(), rel=1e-5)


def test_gradient_difference_climbs_on_forget_and_descends_on_retain(target, batch):
    method = GradientDifference(forget_weight=0.5, retain_weight=2.0)
    found = OBJECTIVES["gradient_difference"].terms(target.model, batch, context(target, method))
    ascent = OBJECTIVES["gradient_ascent"].terms(
        target.model, batch, context(target, METHODS["gradient_ascent"]())
    )
    assert found["forget"].item() == pytest.approx(ascent["forget"].item())
    assert method.weights == {"forget": -0.5, "retain": 2.0}


def test_gradient_descent_sees_the_retain_set_alone(target, batch):
    method = METHODS["gradient_descent"]()
    only = Batch({"retain": batch.retain})
    found = OBJECTIVES["gradient_descent"].terms(target.model, only, context(target, method))
    assert list(found) == ["retain"]


def test_every_objective_returns_the_terms_its_method_weighs(target, batch):
    for kind, method in METHODS.items():
        spec = method(layer=1) if kind in ("rmu", "adaptive_rmu") else method()
        assert (
            OBJECTIVES[kind].terms(target.model, batch, context(target, spec)).keys()
            == spec.weights.keys()
        )


def test_masked_mse_averages_over_width_and_real_tokens_only():
    value = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    wanted = torch.tensor([[[0.0, 1.0]]])
    # (1 + 4) / 2 at the real token; the padding counts nothing.
    assert masked_mse(value, wanted, torch.tensor([[1, 0]])).item() == pytest.approx(2.5)


def test_the_control_vector_is_a_unit_vector_of_the_seed_and_the_group():
    drawn = direction(64, "Task1", seed=0, centred=False)
    assert drawn.norm().item() == pytest.approx(1.0)
    assert drawn.min() >= 0
    assert torch.equal(drawn, direction(64, "Task1", seed=0, centred=False))
    assert not torch.equal(drawn, direction(64, "Task2", seed=0, centred=False))
    assert not torch.equal(drawn, direction(64, "Task1", seed=1, centred=False))
    assert direction(64, "", seed=0, centred=True).min() < 0


def test_rmu_holds_retain_activations_where_they_are_and_measures_how_far_they_moved(target, batch):
    method = RMU(layer=1, steering_coeff=3.0)
    assert terms(target, "rmu", batch, method)["retain"].item() == 0
    original = activations(target.model, batch.retain, 1).detach()
    nudge(target)
    moved = terms(target, "rmu", batch, method)["retain"].item()
    mask = batch.retain.mask_BT
    by_hand = masked_mse(activations(target.model, batch.retain, 1), original, mask).item()
    assert moved == pytest.approx(by_hand, rel=1e-4)


def test_rmu_forget_term_is_the_distance_to_the_scaled_direction(target, batch):
    method = RMU(layer=0, steering_coeff=3.0)
    term = terms(target, "rmu", batch, method)["forget"].item()
    hidden = activations(target.model, batch.forget, 0)
    wanted = 3.0 * direction(16, "", seed=0, centred=False)
    assert term == pytest.approx(masked_mse(hidden, wanted, batch.forget.mask_BT).item(), rel=1e-5)


def test_adaptive_rmu_is_rmu_at_the_natural_length_times_the_scale(target, batch):
    method = AdaptiveRMU(layer=1, scale=4.0)
    ctx = context(target, method)
    length = natural_length(target.model, batch.forget, "", ctx)
    hidden = activations(target.model, batch.forget, 1)
    real = [hidden[b, t].norm().item() for b, t in batch.forget.mask_BT.nonzero().tolist()]
    assert length == pytest.approx(sum(real) / len(real), rel=1e-5)
    adaptive = OBJECTIVES["adaptive_rmu"].terms(target.model, batch, ctx)
    fixed = OBJECTIVES["rmu"].terms(
        target.model, batch, context(target, RMU(layer=1, steering_coeff=4.0 * length))
    )
    assert adaptive["forget"].item() == pytest.approx(fixed["forget"].item(), rel=1e-5)


def test_adaptive_rmu_measures_once_or_in_each_epoch(target, batch):
    epoch = [0]
    once, anew = (
        Context(AdaptiveRMU(layer=1, measured=m), target.original, 0, epoch=lambda: epoch[0])
        for m in ("once", "each_epoch")
    )
    first = [terms(target, "adaptive_rmu", batch, ctx=c)["forget"].item() for c in (once, anew)]
    assert first[0] == pytest.approx(first[1])
    length = natural_length(target.model, batch.forget, "", once)
    nudge(target)
    epoch[0] = 1
    moved = natural_length(target.model, batch.forget, "", once)
    assert moved != pytest.approx(length, rel=0.01)
    for ctx, wanted in ((once, length), (anew, moved)):
        fixed = terms(target, "rmu", batch, RMU(layer=1, steering_coeff=5.0 * wanted))
        adaptive = terms(target, "adaptive_rmu", batch, ctx=ctx)
        assert adaptive["forget"].item() == pytest.approx(fixed["forget"].item(), rel=1e-5)


def test_rmu_gives_no_gradient_to_blocks_above_the_one_it_reads(target, batch):
    parameters = target.train_only(Phase())
    found = OBJECTIVES["rmu"].terms(target.model, batch, context(target, RMU(layer=0)))
    found["forget"].backward()
    names = {id(p): n for n, p in target.model.named_parameters()}
    moved = {names[id(p)] for p in parameters if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved
    assert all("layers.0." in name for name in moved)


def test_directions_per_subtask_steer_each_row_its_own_way(target, batch):
    one = RMU(layer=0, directions="one")
    each = RMU(layer=0, directions="per_task")
    found = [terms(target, "rmu", batch, m)["forget"] for m in (one, each)]
    assert found[0].item() != pytest.approx(found[1].item(), rel=1e-6)


def test_padding_changes_no_term(target, batch):
    def widened(tokens):
        more = (len(tokens.index), 40)
        return replace(
            tokens,
            ids_BT=torch.cat([tokens.ids_BT, torch.full(more, 7)], dim=1),
            mask_BT=torch.cat([tokens.mask_BT, torch.zeros(more, dtype=torch.long)], dim=1),
            labels_BT=torch.cat([tokens.labels_BT, torch.full(more, IGNORE)], dim=1),
        )

    wide = Batch({name: widened(batch.sets[name]) for name in SETS})
    for kind in METHODS:
        for a, b in zip(
            terms(target, kind, batch).values(), terms(target, kind, wide).values(), strict=True
        ):
            assert a.item() == pytest.approx(b.item(), rel=1e-5)


def test_a_term_over_two_halves_is_weighed_by_what_it_is_a_mean_of(target, batch):
    def part(rows):
        return Batch({name: batch.sets[name].take(rows) for name in SETS})

    halves = part([0, 1]), part([2, 3, 4, 5])
    for kind in ("gradient_difference", "npo", "rmu"):
        whole = terms(target, kind, part([0, 1, 2, 3, 4, 5]))
        found = [terms(target, kind, half) for half in halves]
        for name, count in OBJECTIVES[kind].counts.items():
            counts = [count(half) for half in halves]
            joined = sum(n * one[name].item() for n, one in zip(counts, found, strict=True))
            assert joined / sum(counts) == pytest.approx(whole[name].item(), rel=1e-4)
