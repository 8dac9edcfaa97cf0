"""Each objective's arithmetic against numbers worked out by hand, and against its limits."""

import math
from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import CPU
from unlearnlab.data.datasets import SPLITS
from unlearnlab.engine.hooks import decoder_blocks
from unlearnlab.engine.likelihoods import IGNORE, collate, encode, row_nll
from unlearnlab.engine.objectives import OBJECTIVES
from unlearnlab.engine.objectives.context import Batch, Context
from unlearnlab.engine.objectives.distribution import distillation_loss, kl_divergence
from unlearnlab.engine.objectives.likelihood import (
    joint_weights,
    remember_first_epoch,
    retain_weight,
    weighted_loss,
)
from unlearnlab.engine.objectives.preference import (
    dpo_loss,
    log_ratio,
    npo_loss,
    reference_logprob,
    simnpo_loss,
)
from unlearnlab.engine.objectives.representation import (
    activations,
    direction,
    masked_mse,
    natural_length,
)
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.likelihood import GradientDifference, Joint
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.methods.representation import RMU, AdaptiveRMU
from unlearnlab.spec.rows import REFUSALS
from unlearnlab.spec.run import Phase


@pytest.fixture
def batch(lm, data) -> Batch:
    def tokens(name):
        rows = data.rows(name)[:6]
        return collate(
            [encode(lm.prompts, row, i) for i, row in enumerate(rows)], pad=1, device=CPU
        )

    return Batch({name: tokens(name) for name in (*SPLITS, "refusal")})


def context(lm, method) -> Context:
    return Context(method, lm.original, seed=0)


def terms(lm, kind: str, batch: Batch, method=None, ctx=None):
    """Return the terms of a method, with block 1 read where one is."""
    if method is None:
        method = METHODS[kind](**({"layer": 1} if "rmu" in kind else {}))
    return OBJECTIVES[kind].terms(lm.model, batch, ctx or context(lm, method))


def nudge(lm, amount: float = 0.3) -> None:
    """Train-only the MLPs and move them, so that the model is no longer its own reference."""
    torch.manual_seed(1)
    for parameter in lm.train_only(Phase(modules="mlp")):
        parameter.data.add_(amount * torch.randn_like(parameter))


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (npo_loss(torch.tensor([-2.0, 1.0]), beta=0.5), 4 * (softplus(-1) + softplus(0.5)) / 2),
        *((npo_loss(torch.zeros(3), beta=b), 2 * math.log(2) / b) for b in (0.05, 0.1, 1.0)),
        (
            simnpo_loss(torch.tensor([0.5, 2.0]), beta=4.5, margin=1.0),
            (2 / 4.5) * (softplus(4.5 * 0.5) + softplus(-4.5)) / 2,
        ),
        (
            dpo_loss(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 3.0]), beta=0.1),
            20 * (softplus(-0.3) + softplus(0.3)) / 2,
        ),
        # The divergence is taken under the original model's predictions, the first argument.
        (
            kl_divergence(torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.5, 0.5]]).log()),
            0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5),
        ),
    ],
)
def test_a_loss_equals_its_formula_on_hand_made_numbers(loss, by_hand):
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


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


def test_npo_on_an_untouched_model_starts_at_two_ln_two_over_beta(lm, batch):
    found = OBJECTIVES["npo"].terms(lm.model, batch, context(lm, NPO(beta=0.1)))
    assert found["forget"].item() == pytest.approx(20 * math.log(2), rel=1e-5)


def test_npo_asks_the_reference_once_for_each_row(lm, batch):
    ctx = context(lm, NPO())
    before = reference_logprob(lm.model, batch.forget, ctx)
    nudge(lm)
    assert torch.equal(reference_logprob(lm.model, batch.forget, ctx), before)
    fresh = reference_logprob(lm.model, batch.forget, context(lm, NPO()))
    assert fresh.tolist() == pytest.approx(before.tolist(), rel=1e-5)


def test_gradient_difference_climbs_on_forget_and_descends_on_retain(lm, batch):
    method = GradientDifference(forget_weight=0.5, retain_weight=2.0)
    found = OBJECTIVES["gradient_difference"].terms(lm.model, batch, context(lm, method))
    ascent = OBJECTIVES["gradient_ascent"].terms(
        lm.model, batch, context(lm, METHODS["gradient_ascent"]())
    )
    assert found["forget"].item() == pytest.approx(ascent["forget"].item())
    assert method.weights == {"forget": -0.5, "retain": 2.0}


CLIMBING = [kind for kind, method in METHODS.items() if "bounded" in method.model_fields]


@pytest.mark.parametrize("kind", CLIMBING)
def test_rows_above_the_bound_count_in_the_mean_but_have_no_gradient(lm, batch, kind):
    parameters = lm.train_only(Phase())
    sums, counts = row_nll(lm.model, batch.forget)
    bound = (sums / counts).sort().values[2:4].mean().item()
    pushed = (sums / counts).detach() < bound
    assert pushed.tolist().count(True) == 3
    wanted = torch.autograd.grad(sums[pushed].sum() / counts.sum(), parameters, allow_unused=True)

    bounded = terms(lm, kind, batch, METHODS[kind](bounded=bound))["forget"]
    assert bounded.item() == pytest.approx((sums.sum() / counts.sum()).item(), rel=1e-5)
    found = torch.autograd.grad(bounded, parameters, allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-7)

    all_gone = terms(lm, kind, batch, METHODS[kind](bounded=1e-3))["forget"]
    for gradient in torch.autograd.grad(all_gone, parameters):
        assert not gradient.any()


def test_gradient_descent_sees_the_retain_set_alone(lm, batch):
    method = METHODS["gradient_descent"]()
    only = Batch({"retain": batch.retain})
    found = OBJECTIVES["gradient_descent"].terms(lm.model, only, context(lm, method))
    assert list(found) == ["retain"]


def test_every_objective_returns_the_terms_its_method_weighs(lm, batch):
    for kind, method in METHODS.items():
        spec = method(layer=1) if kind in ("rmu", "adaptive_rmu") else method()
        assert (
            OBJECTIVES[kind].terms(lm.model, batch, context(lm, spec)).keys() == spec.weights.keys()
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


def test_rmu_holds_retain_activations_where_they_are_and_measures_how_far_they_moved(lm, batch):
    method = RMU(layer=1, steering_coeff=3.0)
    assert terms(lm, "rmu", batch, method)["retain"].item() == 0
    original = activations(lm.model, batch.retain, 1).detach()
    nudge(lm)
    moved = terms(lm, "rmu", batch, method)["retain"].item()
    mask = batch.retain.mask_BT
    by_hand = masked_mse(activations(lm.model, batch.retain, 1), original, mask).item()
    assert moved == pytest.approx(by_hand, rel=1e-4)


def test_rmu_forget_term_is_the_distance_to_the_scaled_direction(lm, batch):
    method = RMU(layer=0, steering_coeff=3.0)
    term = terms(lm, "rmu", batch, method)["forget"].item()
    hidden = activations(lm.model, batch.forget, 0)
    wanted = 3.0 * direction(16, "", seed=0, centred=False)
    assert term == pytest.approx(masked_mse(hidden, wanted, batch.forget.mask_BT).item(), rel=1e-5)


def test_adaptive_rmu_is_rmu_at_the_natural_length_times_the_scale(lm, batch):
    method = AdaptiveRMU(layer=1, scale=4.0)
    ctx = context(lm, method)
    length = natural_length(lm.model, batch.forget, "", ctx)
    hidden = activations(lm.model, batch.forget, 1)
    real = [hidden[b, t].norm().item() for b, t in batch.forget.mask_BT.nonzero().tolist()]
    assert length == pytest.approx(sum(real) / len(real), rel=1e-5)
    adaptive = OBJECTIVES["adaptive_rmu"].terms(lm.model, batch, ctx)
    fixed = OBJECTIVES["rmu"].terms(
        lm.model, batch, context(lm, RMU(layer=1, steering_coeff=4.0 * length))
    )
    assert adaptive["forget"].item() == pytest.approx(fixed["forget"].item(), rel=1e-5)


def test_adaptive_rmu_measures_once_or_in_each_epoch(lm, batch):
    once, anew = (context(lm, AdaptiveRMU(layer=1, measured=m)) for m in ("once", "each_epoch"))
    first = [terms(lm, "adaptive_rmu", batch, ctx=c)["forget"].item() for c in (once, anew)]
    assert first[0] == pytest.approx(first[1])
    length = natural_length(lm.model, batch.forget, "", once)
    nudge(lm)
    once.epoch = anew.epoch = 1
    moved = natural_length(lm.model, batch.forget, "", once)
    assert moved != pytest.approx(length, rel=0.01)
    for ctx, wanted in ((once, length), (anew, moved)):
        fixed = terms(lm, "rmu", batch, RMU(layer=1, steering_coeff=5.0 * wanted))
        adaptive = terms(lm, "adaptive_rmu", batch, ctx=ctx)
        assert adaptive["forget"].item() == pytest.approx(fixed["forget"].item(), rel=1e-5)


def with_a_sink(lm, length: float = 300.0) -> None:
    """Make the first position's activations far longer than those of all others."""

    def lengthen(_module, _args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        first = torch.zeros_like(hidden)
        first[:, 0] = length
        return (hidden + first, *output[1:]) if isinstance(output, tuple) else hidden + first

    decoder_blocks(lm.model)[1].register_forward_hook(lengthen)


def test_an_attention_sink_dominates_the_natural_length_unless_it_is_skipped_or_the_median_taken(
    lm, batch
):
    def length(positions):
        ctx = context(lm, AdaptiveRMU(layer=1, positions=positions))
        return natural_length(lm.model, batch.forget, "", ctx)

    plain = length("all")
    with_a_sink(lm)
    assert length("all") > 5 * plain
    assert length("skip_first") == pytest.approx(plain, rel=0.2)
    assert length("median") == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("mask_padding", [True, False])
def test_without_the_first_position_no_term_depends_on_it(lm, batch, mask_padding):
    def found(positions):
        settings = {"layer": 1, "positions": positions, "mask_padding": mask_padding}
        relative = {**settings, "normalised": True}
        return [
            term.item()
            for one in (RMU(**settings), RMU(**relative), AdaptiveRMU(**settings))
            for term in terms(lm, one.kind, batch, one).values()
        ]

    lm.train_only(Phase())
    nudge(lm)
    rest, whole = found("skip_first"), found("all")
    with_a_sink(lm)
    assert found("skip_first") == pytest.approx(rest, rel=1e-4)
    assert found("all")[0] > 100 * whole[0]


def test_rmu_gives_no_gradient_to_blocks_above_the_one_it_reads(lm, batch):
    parameters = lm.train_only(Phase())
    found = OBJECTIVES["rmu"].terms(lm.model, batch, context(lm, RMU(layer=0)))
    found["forget"].backward()
    names = {id(p): n for n, p in lm.model.named_parameters()}
    moved = {names[id(p)] for p in parameters if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved
    assert all("layers.0." in name for name in moved)


def test_directions_per_subtask_steer_each_row_its_own_way(lm, batch):
    one = RMU(layer=0, directions="one")
    each = RMU(layer=0, directions="per_task")
    found = [terms(lm, "rmu", batch, m)["forget"] for m in (one, each)]
    assert found[0].item() != pytest.approx(found[1].item(), rel=1e-6)


def test_padding_changes_no_term(lm, batch):
    def widened(tokens):
        more = (len(tokens.index), 40)
        return replace(
            tokens,
            ids_BT=torch.cat([tokens.ids_BT, torch.full(more, 7)], dim=1),
            mask_BT=torch.cat([tokens.mask_BT, torch.zeros(more, dtype=torch.long)], dim=1),
            labels_BT=torch.cat([tokens.labels_BT, torch.full(more, IGNORE)], dim=1),
        )

    wide = Batch({name: widened(tokens) for name, tokens in batch.sets.items()})
    for kind in METHODS:
        for a, b in zip(
            terms(lm, kind, batch).values(), terms(lm, kind, wide).values(), strict=True
        ):
            assert a.item() == pytest.approx(b.item(), rel=1e-5)


def test_a_term_over_two_halves_is_weighed_by_what_it_is_a_mean_of(lm, batch):
    def part(rows):
        return Batch({name: tokens.take(rows) for name, tokens in batch.sets.items()})

    halves = part([0, 1]), part([2, 3, 4, 5])
    kinds = [(kind, None) for kind in METHODS]
    # The other one measures its target on its first batch.
    kinds += [("rmu", RMU(layer=1, positions="skip_first"))]
    for kind, method in kinds:
        if kind == "adaptive_rmu":
            continue
        whole = terms(lm, kind, part([0, 1, 2, 3, 4, 5]), method)
        found = [terms(lm, kind, half, method) for half in halves]
        for name in whole:
            count = OBJECTIVES[kind].counts[name]
            counts = [count(half, context(lm, method or METHODS[kind]())) for half in halves]
            joined = sum(n * one[name].item() for n, one in zip(counts, found, strict=True))
            assert joined / sum(counts) == pytest.approx(whole[name].item(), rel=1e-4)


def test_simnpo_takes_the_mean_loss_of_each_row_whatever_its_length(lm, batch):
    found = terms(lm, "simnpo", batch)["forget"].item()
    rows = [
        terms(lm, "gradient_ascent", Batch({"forget": batch.forget.take([row])}))["forget"]
        for row in range(6)
    ]
    assert found == pytest.approx(simnpo_loss(torch.stack(rows), beta=4.5, margin=0.0).item())


def test_dpo_pairs_each_forget_row_with_its_own_refusal(lm, data, batch):
    assert batch.sets["refusal"].index == batch.forget.index
    refusals, forget = data.rows("refusal")[:6], data.forget[:6]
    assert [row.input for row in refusals] == [row.input for row in forget]
    assert all(row.output in REFUSALS for row in refusals)
    found = terms(lm, "idk_dpo", batch)["forget"].item()
    assert found == pytest.approx(20 * math.log(2), rel=1e-5)


def test_kl_divergence_does_not_care_about_a_constant_added_to_the_logits():
    # MUSE hands raw logits to a function that wants log-probabilities.
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    assert kl_divergence(logits + 3.0, logits - 7.0).item() == pytest.approx(0, abs=1e-6)


def test_the_divergence_of_the_original_model_from_itself_is_zero(lm, batch):
    assert terms(lm, "kl_minimization", batch)["kl"].item() == pytest.approx(0, abs=1e-6)
    nudge(lm)
    assert terms(lm, "kl_minimization", batch)["kl"].item() > 1e-3


def test_npo_gains_a_divergence_term_only_where_it_weighs_something(lm, batch):
    assert "kl" not in terms(lm, "npo", batch)
    assert "kl" in terms(lm, "npo", batch, NPO(kl_weight=0.5))


def test_npo_on_token_means_divides_each_rows_ratio_by_its_length(lm, batch):
    nudge(lm)
    ratio = log_ratio(lm.model, batch, "forget", context(lm, NPO()))
    lengths = (batch.forget.labels_BT[:, 1:] != IGNORE).sum(1)
    found = terms(lm, "npo", batch, NPO(likelihood="token_mean"))["forget"].item()
    assert found == pytest.approx(npo_loss(ratio / lengths, beta=0.1).item(), rel=1e-5)


def test_distillation_lowers_the_true_token_before_the_softmax():
    wanted, ids = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
    logits = torch.tensor([[0.3, -0.2, 0.9]])
    lowered = [math.exp(2.0 - 3.0), math.exp(1.0), math.exp(0.0)]
    total = sum(math.exp(x) for x in (0.3, -0.2, 0.9))
    by_hand = -sum(
        weight / sum(lowered) * math.log(math.exp(x) / total)
        for weight, x in zip(lowered, (0.3, -0.2, 0.9), strict=True)
    )
    assert distillation_loss(logits, wanted, ids, beta=3.0).item() == pytest.approx(by_hand)


def test_undial_averages_over_answer_tokens_only(lm, batch):
    # OpenUnlearning averages over the masked prompt as well, where the target is not lowered.
    found = terms(lm, "undial", batch)["forget"].item()
    with torch.no_grad():
        output = lm.model(input_ids=batch.forget.ids_BT, attention_mask=batch.forget.mask_BT)
    logits, labels = output.logits[:, :-1], batch.forget.labels_BT[:, 1:]
    answers = labels != IGNORE
    one_by_one = [
        distillation_loss(row[None], row[None], label[None], beta=10.0).item()
        for row, label in zip(logits[answers], labels[answers], strict=True)
    ]
    assert found == pytest.approx(sum(one_by_one) / len(one_by_one), rel=1e-4)


def test_the_retain_weight_equals_its_formula_between_floor_and_cap():
    method = Joint()
    assert retain_weight(method, -1.0) == retain_weight(method, 0.0) == 1.2
    assert retain_weight(method, 0.1) == 1.2  # 0.3 * 6 ** 0.1 + 0.8 = 1.159
    assert retain_weight(method, 0.5) == pytest.approx(0.3 * math.sqrt(6) + 0.8)
    assert retain_weight(method, 1.06) == pytest.approx(2.8, abs=0.01)
    assert retain_weight(method, 1.2) == retain_weight(method, 1e6) == 2.8
    assert retain_weight(Joint(max_retain_weight=2.3), 0.95) == 2.3


def test_the_baseline_is_the_mean_over_batches_and_only_the_slip_divides_by_rows(lm, batch):
    def weight_of(baseline):
        ctx = context(lm, Joint(baseline=baseline))
        for rows, loss in (([0, 1, 2, 3, 4, 5], 0.4), ([0, 1], 0.6)):
            part = Batch({name: tokens.take(rows) for name, tokens in batch.sets.items()})
            terms(lm, "joint", part, ctx=ctx)
            remember_first_epoch({"retain": loss}, ctx)
        assert joint_weights({"retain": 9.0}, ctx)["retain"] == 1.2
        ctx.epoch = 1
        terms(lm, "joint", part, ctx=ctx)
        remember_first_epoch({"retain": 100.0}, ctx)
        return joint_weights({"retain": 1.0}, ctx)

    # Baseline 0.5, hence a rise of 0.5; the slip makes it 1.0 / 8 = 0.125, a rise of 0.875.
    assert weight_of("batches")["retain"] == pytest.approx(0.3 * 6**0.5 + 0.8)
    assert weight_of("rows")["retain"] == pytest.approx(0.3 * 6**0.875 + 0.8)
    assert weight_of("batches")["forget"] == -1


def test_a_summed_error_is_the_mean_one_times_the_width(lm, batch):
    mean, fetch = (terms(lm, "rmu", batch, RMU(layer=1, error=error)) for error in ("mean", "sum"))
    assert fetch["forget"].item() == pytest.approx(16 * mean["forget"].item(), rel=1e-5)


def test_normalised_terms_are_relative_to_the_original_activations(lm, batch):
    plain, relative = (terms(lm, "rmu", batch, RMU(layer=1, normalised=on)) for on in (False, True))
    hidden = activations(lm.model, batch.forget, 1).detach()
    zero = torch.zeros_like(hidden)
    unit = masked_mse(hidden, zero, batch.forget.mask_BT).item()
    assert relative["forget"].item() == pytest.approx(plain["forget"].item() / unit, rel=1e-4)
    fetch = terms(lm, "rmu", batch, RMU(layer=1, normalised=True, error="sum"))
    assert fetch["forget"].item() == pytest.approx(relative["forget"].item(), rel=1e-4)


def test_padding_counts_as_text_only_where_the_released_code_is_reproduced(lm, batch):
    method = RMU(layer=0, steering_coeff=0.05, mask_padding=False)
    found = terms(lm, "rmu", batch, method)["forget"].item()
    hidden = activations(lm.model, batch.forget, 0)
    wanted = 0.05 * direction(16, "", seed=0, centred=False)
    assert found == pytest.approx((hidden - wanted).pow(2).mean().item(), rel=1e-5)
    masked = terms(lm, "rmu", batch, RMU(layer=0, steering_coeff=0.05))["forget"].item()
    assert found != pytest.approx(masked, rel=1e-3)


def test_weighted_ascent_weighs_each_token_by_its_probability_without_gradient():
    nll = torch.tensor([math.log(2), math.log(4)], requires_grad=True)
    loss = weighted_loss(nll, beta=1.0)
    assert loss.item() == pytest.approx((0.5 * math.log(2) + 0.25 * math.log(4)) / 2)
    loss.backward()
    assert nll.grad is not None
    assert nll.grad.tolist() == pytest.approx([0.25, 0.125])


def test_weighted_ascent_without_power_is_gradient_difference(lm, batch):
    plain = terms(lm, "gradient_difference", batch)
    weighted = terms(lm, "weighted_ascent", batch, METHODS["weighted_ascent"](beta=0))
    assert weighted["forget"].item() == pytest.approx(plain["forget"].item(), rel=1e-5)
    assert weighted["retain"].item() == pytest.approx(plain["retain"].item(), rel=1e-5)
