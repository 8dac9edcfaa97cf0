"""Every method, adapters, layer ranges and tracing on a random model of each family."""

import math

import pytest
import torch

from tests.engine.tiny import (
    CPU,
    TRAINING,
    default,
    finish,
    logits,
    phase,
    saved,
    spec_of,
    steps,
    tiny_config,
    tiny_of,
    train_on,
)
from unlearnlab.engine.generation import generate
from unlearnlab.engine.hooks import decoder_blocks
from unlearnlab.engine.tracing import (
    Corruption,
    locate_answer,
    restore_states,
    rows_of,
    run_corrupted,
    trace,
)
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.metrics.tracing import PARTS
from unlearnlab.models.checkpoints import architecture
from unlearnlab.models.families import FAMILIES, Modules
from unlearnlab.spec.methods.likelihood import GradientAscent, GradientDifference
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import PACKED, LoRA, Phase
from unlearnlab.spec.trace import TypedPrompt

PROMPT = TypedPrompt(prompt="What is the birth date of Yorick Garnby?", subject="Yorick Garnby")

MATRICES = {
    "gpt2": {
        "attention": {"attn.c_attn", "attn.c_proj"},
        "mlp": {"mlp.c_fc", "mlp.c_proj"},
        "down_proj": {"mlp.c_proj"},
    },
    "gpt_neox": {
        "attention": {"attention.query_key_value", "attention.dense"},
        "mlp": {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
        "down_proj": {"mlp.dense_4h_to_h"},
    },
    "phi3": {
        "attention": {"self_attn.qkv_proj", "self_attn.o_proj"},
        "mlp": {"mlp.gate_up_proj", "mlp.down_proj"},
        "down_proj": {"mlp.down_proj"},
    },
}

USUAL = {
    "attention": {f"self_attn.{name}_proj" for name in "qkvo"},
    "mlp": {f"mlp.{name}_proj" for name in ("gate", "up", "down")},
    "down_proj": {"mlp.down_proj"},
}

BLOCKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}

BIASED = {
    "gpt2": ("attn", "mlp"),
    "gpt_neox": ("attention", "mlp"),
    "qwen2": ("self_attn.q", "self_attn.k", "self_attn.v"),
}

families = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture
def few(data) -> Dataset:
    return Dataset(data.forget[:2], data.retain[:2], data.members, data.nonmembers, data.quiz)


def made(name: str, tokenizer) -> UnlearningModel:
    return UnlearningModel(tiny_of(tiny_config(name, len(tokenizer))), tokenizer, device=CPU)


def run(lm: UnlearningModel, data: Dataset, *phases: Phase, adapter: LoRA | None = None) -> list:
    spec = spec_of(*phases, adapter=adapter)
    lm.adapt(spec)
    return steps(train_on(lm, spec, data))


def one_step(kind: str) -> Phase:
    method = default(kind)
    if kind == "sequential":
        method = method.model_copy(update={"chunk_size": 2})
    return phase(method, epochs=1, max_steps=1, batch_size=2)


@families
@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_trains_and_leaves_the_original_as_it_was(name, kind, tokenizer, few):
    """By turns with an adapter: `test_training` has every method with and without one."""
    by_turns = TRAINING.index(kind) + list(FAMILIES).index(name)
    adapter = LoRA(r=2, alpha=4) if by_turns % 2 else None
    lm = made(name, tokenizer)
    before = logits(lm)
    (step,) = run(lm, few, one_step(kind), adapter=adapter)
    assert math.isfinite(step.loss)
    assert step.grad_norm > 0
    assert not torch.equal(logits(lm), before)
    with lm.original():
        assert torch.equal(logits(lm), before)


@families
@pytest.mark.parametrize("modules", Modules.__args__)
def test_only_the_matrices_of_the_chosen_layers_change(name, modules, tokenizer, few):
    lm = made(name, tokenizer)
    before = {n: p.detach().clone() for n, p in lm.model.named_parameters()}
    where = {"first_layer": 1, "last_layer": 1, "modules": modules}
    run(lm, few, phase(GradientAscent(), epochs=1, max_steps=1, batch_size=2, **where))
    changed = {n for n, p in lm.model.named_parameters() if not torch.equal(p, before[n])}
    known = MATRICES.get(name, USUAL)
    expected = known["attention"] | known["mlp"] if modules == "all" else known[modules]
    block = f"{BLOCKS.get(name, 'model.layers')}.1"
    weights = {f"{block}.{matrix}.weight" for matrix in expected}
    biases = {
        f"{block}.{matrix}.bias" for matrix in expected if matrix.startswith(BIASED.get(name, ()))
    }
    assert changed == weights | biases


@families
def test_an_adapter_sits_in_the_chosen_layers_and_comes_back(name, tokenizer, few, tmp_path):
    lm = made(name, tokenizer)
    before = logits(lm)
    where = {"first_layer": 1, "modules": "mlp"}
    lora = LoRA(r=2, alpha=4)
    run(lm, few, phase(GradientAscent(), epochs=1, batch_size=2, **where), adapter=lora)
    has_adapter = {n for n, _ in lm.model.named_parameters() if "lora_" in n}
    matrices = MATRICES.get(name, USUAL)["mlp"]
    assert len(has_adapter) == 2 * len(matrices)
    assert all(any(f".1.{matrix}.lora_" in n for matrix in matrices) for n in has_adapter)
    after = logits(lm)
    lm.save(tmp_path)
    again = made(name, tokenizer)
    again.restore(tmp_path)
    assert torch.allclose(logits(again), after, atol=1e-6)
    with again.original():
        assert torch.equal(logits(again), before)


@families
def test_a_run_repeats_and_micro_batches_add_up_to_one_step(name, tokenizer, few):
    """Dropout that a model brings would make every pass another one."""
    settings = {"epochs": 1, "max_steps": 1}
    whole = phase(GradientDifference(), batch_size=2, **settings)
    parts = phase(GradientDifference(), batch_size=1, gradient_accumulation=2, **settings)
    first, again, added = (run(made(name, tokenizer), few, one)[0] for one in (whole, whole, parts))
    assert first.terms == again.terms
    assert added.grad_norm == pytest.approx(first.grad_norm, rel=1e-3)


@families
def test_prompts_are_answered_together_as_alone(name, tokenizer):
    lm = made(name, tokenizer)
    prompts = ["Who is Yorick?", "A long grey morning by the sea began with rain and with wind,"]
    _, together = finish(generate(lm, prompts, max_new_tokens=12))
    alone = [finish(generate(lm, [one], max_new_tokens=12))[1][0] for one in prompts]
    assert together == alone
    begun = [f"{one.text[:9].strip()} and more" for one in alone]
    _, drafted = finish(generate(lm, prompts, max_new_tokens=12, expected=begun))
    assert [one.text for one in drafted] == [one.text for one in alone]


@families
def test_the_keys_and_values_of_a_token_take_the_bytes_that_are_reckoned(name, tokenizer):
    lm = made(name, tokenizer)
    ids = torch.tensor([tokenizer.encode("Who is Yorick?")])
    cache = lm.model(input_ids=ids, use_cache=True).cache
    taken = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert taken == ids.numel() * lm.kv_bytes_per_token


@families
@pytest.mark.parametrize("part", PARTS)
def test_restoring_every_token_gives_the_clean_run_and_none_the_corrupted(name, part, tokenizer):
    lm = made(name, tokenizer)
    runs = run_corrupted(lm, locate_answer(lm, PROMPT), noise=3.0, copies=2, seed=0)
    assert runs.corrupted != pytest.approx(runs.clean, rel=1e-3)
    blocks = len(decoder_blocks(lm.model))
    every = torch.ones(1, runs.width, dtype=torch.bool)
    for block in range(blocks):
        (nothing,) = restore_states(runs, part, range(block, block + 1), ~every)
        assert nothing.mean().item() == pytest.approx(runs.corrupted, rel=1e-4)
    if part == "residual":
        for block in range(blocks):
            (clean,) = restore_states(runs, part, range(block, block + 1), every)
            assert clean.tolist() == pytest.approx([runs.clean] * 2, rel=1e-4)


@families
def test_a_trace_begins_where_the_family_says(name, tokenizer):
    """With nothing left out, what a restored run computes is what the whole model computes."""
    lm = made(name, tokenizer)
    _, found = finish(trace(lm, PROMPT, Corruption(noise=3.0, copies=2, seed=0, span=1)))
    assert rows_of(lm) == 3 * len(decoder_blocks(lm.model))
    assert found.effects["residual"][-1][-1] == pytest.approx(found.total_effect, rel=1e-3)
    assert any(abs(cell) > 0 for row in found.effects["mlp"] for cell in row)
    assert any(abs(cell) > 0 for row in found.effects["attention"] for cell in row)


@families
@pytest.mark.parametrize("precision", PACKED)
def test_packed_weights_train_an_adapter_and_are_written_unpacked(
    name, precision, tokenizer, few, tmp_path
):
    saved(tmp_path, tokenizer, tiny_of(tiny_config(name, len(tokenizer))))
    lm = UnlearningModel.open(tmp_path, precision=precision, device=CPU)
    size = architecture(tmp_path)
    assert lm.parameters == size.parameters
    before = logits(lm)
    (step,) = run(lm, few, one_step("gradient_difference"), adapter=LoRA(r=2, alpha=4))
    assert step.grad_norm > 0
    assert not torch.equal(logits(lm), before)
    with lm.original():
        assert torch.equal(logits(lm), before)
    save_merged(lm, tmp_path / "merged")
    opened = UnlearningModel.open(tmp_path / "merged", precision="float32", device=CPU)
    assert torch.allclose(logits(opened), logits(lm), atol=1e-4)
