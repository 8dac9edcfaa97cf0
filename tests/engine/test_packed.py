"""Weights packed into 8 or 4 bits: what is packed, counted, trained, and what comes back."""

import math

import pytest
import torch

from tests.engine.tiny import CPU, IDS, TRAINING, default, finish, logits, phase, steps, train_on
from unlearnlab.engine.evaluation import evaluate
from unlearnlab.engine.loading import compute_dtype
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.methods.likelihood import GradientDifference
from unlearnlab.spec.run import (
    PACKED,
    EvaluationSpec,
    LoRA,
    ModelSpec,
    Phase,
    RunSpec,
    SpecError,
    parse_spec,
)

STORED = {"int8": torch.int8, "nf4": torch.uint8}


@pytest.fixture(params=PACKED)
def packed(wide, request) -> UnlearningModel:
    lm = UnlearningModel.open(wide, precision=request.param, device=CPU)
    lm.precision = request.param
    return lm


def has_adapter(lm: UnlearningModel, *phases: Phase) -> RunSpec:
    model = ModelSpec(precision="nf4", adapter=LoRA(r=4, alpha=16))
    spec = RunSpec(model=model, phases=phases, evaluation=EvaluationSpec(probes=0))
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    return spec


def test_only_the_linear_layers_of_the_blocks_are_packed(packed):
    formats = {name: p.dtype for name, p in packed.model.named_parameters()}
    whole = {name for name, dtype in formats.items() if dtype == torch.float32}
    assert whole == {"model.embed_tokens.weight", "lm_head.weight"}
    assert {dtype for name, dtype in formats.items() if name not in whole} == {
        STORED[packed.precision]
    }
    assert logits(packed).dtype == torch.float32


def test_packed_weights_are_counted_as_what_they_stand_for(packed, wide):
    whole = UnlearningModel.open(wide, precision="float32", device=CPU)
    assert packed.parameters == whole.parameters
    has_adapter(packed, Phase())
    assert packed.parameters == whole.parameters


def test_packing_rounds_the_model_but_leaves_it_recognisable(packed, wide):
    whole = logits(UnlearningModel.open(wide, precision="float32", device=CPU))
    error = (logits(packed) - whole).norm() / whole.norm()
    assert {"int8": 0.001, "nf4": 0.01}[packed.precision] < error
    assert error < {"int8": 0.03, "nf4": 0.3}[packed.precision]


def test_answering_changes_neither_the_packed_weights_nor_what_training_computes(packed):
    clean = packed.fingerprint
    with torch.no_grad():
        answering = logits(packed)
    assert UnlearningModel(packed.model, packed.tokenizer, device=CPU).fingerprint == clean
    packed.model.train()
    assert torch.equal(logits(packed), answering)


def test_a_fingerprint_tells_packed_weights_apart(packed):
    packed.model.model.layers[1].mlp.up_proj.weight.data[0] ^= 1
    touched = UnlearningModel(packed.model, packed.tokenizer, device=CPU)
    assert touched.fingerprint != packed.fingerprint


def dequantized(parameter, state, name) -> torch.Tensor:
    """Return the matrix that a packed one stands for."""
    if parameter.dtype == torch.int8:
        return parameter.data * (state[name.replace("weight", "SCB")] / 127)[:, None]
    from bitsandbytes.functional import dequantize_4bit  # noqa: PLC0415  (loud when imported)

    return dequantize_4bit(parameter.data, parameter.quant_state)


@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_takes_a_step_on_packed_weights(packed, data, kind):
    spec = has_adapter(packed, phase(default(kind), epochs=1, max_steps=1))
    state = packed.model.state_dict()
    kept = {name: value.clone() for name, value in state.items() if "lora_" not in name}
    work = train_on(packed, spec, data)
    (step,) = steps(work)
    assert math.isfinite(step.loss)
    assert step.grad_norm > 0
    after = packed.model.state_dict()
    assert all(
        torch.equal(after[name], value) for name, value in kept.items() if "lora" not in name
    )
    moved = [name for name in after if "lora_B" in name and after[name].any()]
    assert moved


def test_gradients_through_packed_weights_equal_those_through_the_rounded_ones(packed, wide):
    """Replace each packed matrix by what it stands for: the adapter's gradients stay the same."""
    whole = UnlearningModel.open(wide, precision="float32", device=CPU)
    rounded = dict(whole.model.named_parameters())
    for name, parameter in packed.model.named_parameters():
        if parameter.dtype == STORED[packed.precision]:
            rounded[name].data = dequantized(parameter, packed.model.state_dict(), name)
    gradients = []
    for lm in (packed, whole):
        spec = has_adapter(lm, Phase())
        trained = lm.train_only(spec.phases[0])
        for parameter in trained:
            parameter.data = torch.ones_like(parameter) * 1e-3
        lm.model(input_ids=IDS, labels=IDS).loss.backward()
        gradients.append([parameter.grad for parameter in trained])
    for through_packed, through_rounded in zip(*gradients, strict=True):
        assert torch.allclose(through_packed, through_rounded, rtol=1e-3, atol=1e-7)


def test_a_run_on_packed_weights_can_be_scored_saved_and_opened_again(packed, wide, data, tmp_path):
    before = logits(packed)
    spec = has_adapter(packed, phase(GradientDifference(), epochs=2))
    list(train_on(packed, spec, data))
    _, evidence = finish(evaluate(packed, data, max_new_tokens=4))
    assert evidence
    after = logits(packed)
    assert not torch.equal(before, after)
    with packed.original():
        assert torch.equal(logits(packed), before)
    packed.save(tmp_path)
    opened = UnlearningModel.open(wide, precision=packed.precision, device=CPU)
    assert opened.fingerprint == packed.fingerprint
    opened.restore(tmp_path)
    assert torch.equal(logits(opened), after)
    with opened.original():
        assert torch.equal(logits(opened), before)


def test_on_a_gpu_packed_weights_compute_in_bfloat16():
    for precision in PACKED:
        assert compute_dtype(precision, torch.device("cuda")) == torch.bfloat16
        assert compute_dtype(precision, CPU) == torch.float32


@pytest.mark.parametrize("precision", PACKED)
def test_packed_weights_without_an_adapter_are_refused_with_the_way_out(precision):
    with pytest.raises(SpecError, match=rf"^model\.precision: .*{precision}.* add a LoRA adapter"):
        parse_spec({"model": {"precision": precision}})


def test_what_is_answered_does_not_depend_on_the_company(packed):
    alone = packed.model(input_ids=IDS).logits
    together = packed.model(input_ids=torch.cat([IDS + 7, IDS])).logits[1:]
    assert torch.allclose(alone, together, atol=1e-5)
