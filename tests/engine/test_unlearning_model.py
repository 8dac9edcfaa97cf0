"""One copy of the weights: what is trained, what stays, and the way back."""

import pytest
import torch

from tests.engine.tiny import CPU, tiny_model
from unlearnlab.engine.model.unlearning_model import UnlearningModel, fingerprint
from unlearnlab.exports.pack_file import Adapter
from unlearnlab.spec.run import LoRA, ModelSpec, Phase, RunSpec

IDS = torch.tensor([[5, 6, 7, 8]])


def logits(lm: UnlearningModel) -> torch.Tensor:
    return lm.model(input_ids=IDS).logits.detach().clone()


def disturb(parameters) -> None:
    for parameter in parameters:
        parameter.data.add_(0.1)


@pytest.mark.parametrize(
    ("phase", "trained"),
    [
        (
            Phase(modules="mlp", first_layer=1, last_layer=1),
            {"layers.1.mlp.gate_proj", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj"},
        ),
        (Phase(modules="down_proj"), {"layers.0.mlp.down_proj", "layers.1.mlp.down_proj"}),
        (
            Phase(modules="attention", last_layer=0),
            {f"layers.0.self_attn.{m}_proj" for m in "qkvo"},
        ),
        (Phase(modules="down_proj", last_layer=0, embeddings=True),
         {"layers.0.mlp.down_proj", "embed_tokens"}),
    ],
)  # fmt: skip
def test_a_phase_trains_what_its_layers_and_modules_say_and_nothing_else(lm, phase, trained):
    lm.train_only(phase)
    names = {n for n, p in lm.model.named_parameters() if p.requires_grad}
    assert names == {f"model.{name}.weight" for name in trained}


def test_inside_original_the_model_is_as_it_was_and_outside_as_it_became(lm):
    before = logits(lm)
    disturb(lm.train_only(Phase(modules="mlp")))
    after = logits(lm)
    with lm.original():
        assert torch.equal(logits(lm), before)
        assert not torch.is_grad_enabled()
    assert torch.equal(logits(lm), after)
    assert not torch.equal(before, after)


def test_the_original_survives_a_failure_inside_and_a_second_phase(lm):
    before = logits(lm)
    disturb(lm.train_only(Phase(modules="mlp", last_layer=0)))
    with pytest.raises(ZeroDivisionError), lm.original():
        raise ZeroDivisionError
    disturb(lm.train_only(Phase(modules="attention", first_layer=1)))
    with lm.original():
        assert torch.equal(logits(lm), before)


def test_swapping_copies_nothing(lm):
    parameters = lm.train_only(Phase(modules="mlp"))
    places = [p.data_ptr() for p in parameters]
    with lm.original():
        assert all(p.data_ptr() != place for p, place in zip(parameters, places, strict=True))
    assert [p.data_ptr() for p in parameters] == places


def has_adapter(tokenizer, **lora) -> tuple[UnlearningModel, RunSpec]:
    spec = RunSpec(
        model=ModelSpec(adapter=LoRA(r=2, **lora)),
        phases=(Phase(modules="attention", last_layer=0), Phase(modules="mlp", last_layer=1)),
    )
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    lm.adapt(spec)
    return lm, spec


def test_with_an_adapter_a_phase_trains_its_low_rank_matrices_only(tokenizer):
    lm, spec = has_adapter(tokenizer)
    lm.train_only(spec.phases[0])
    names = [n for n, p in lm.model.named_parameters() if p.requires_grad]
    assert len(names) == 8
    assert all(".layers.0.self_attn." in name and "lora_" in name for name in names)


def test_with_an_adapter_the_original_is_the_model_without_it(tokenizer):
    lm, spec = has_adapter(tokenizer)
    before = logits(lm)
    disturb(lm.train_only(spec.phases[1]))
    assert not torch.equal(logits(lm), before)
    with lm.original():
        assert torch.equal(logits(lm), before)


def test_looking_at_the_original_changes_nothing_in_what_is_trained(tokenizer):
    lm, spec = has_adapter(tokenizer)
    lm.train_only(spec.phases[0])
    before = {n for n, p in lm.model.named_parameters() if p.requires_grad}
    with lm.original():
        pass
    assert {n for n, p in lm.model.named_parameters() if p.requires_grad} == before


def test_a_phase_begins_without_gradients_of_the_one_before(lm):
    for parameter in lm.train_only(Phase(modules="mlp")):
        parameter.grad = torch.ones_like(parameter)
    lm.train_only(Phase(modules="mlp", last_layer=0))
    assert all(parameter.grad is None for parameter in lm.model.parameters())


def test_saved_weights_bring_back_the_unlearned_model_beside_the_original(lm, tokenizer, tmp_path):
    before = logits(lm)
    disturb(lm.train_only(Phase(modules="mlp")))
    after = logits(lm)
    assert lm.save(tmp_path).suffix == ".safetensors"
    fresh = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    fresh.restore(tmp_path)
    assert torch.equal(logits(fresh), after)
    with fresh.original():
        assert torch.equal(logits(fresh), before)


def test_a_saved_adapter_brings_back_the_unlearned_model_beside_the_original(tokenizer, tmp_path):
    lm, spec = has_adapter(tokenizer)
    before = logits(lm)
    disturb(lm.train_only(spec.phases[1]))
    after = logits(lm)
    assert lm.save(tmp_path).suffix == ".safetensors"
    fresh = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    fresh.restore(tmp_path)
    assert torch.allclose(logits(fresh), after, atol=1e-6)
    with fresh.original():
        assert torch.equal(logits(fresh), before)


def test_an_adapter_that_went_through_a_pack_is_the_same(tokenizer, tmp_path):
    lm, spec = has_adapter(tokenizer)
    disturb(lm.train_only(spec.phases[1]))
    after = logits(lm)
    config = lm.save(tmp_path).with_name("adapter_config.json")
    packed = Adapter.model_validate_json(config.read_bytes())
    config.write_text(packed.model_dump_json(), encoding="utf-8")
    fresh = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    fresh.restore(tmp_path)
    assert torch.allclose(logits(fresh), after, atol=1e-6)


def test_weights_of_another_model_are_refused(lm, tokenizer, tmp_path):
    lm.train_only(Phase(modules="mlp"))
    lm.save(tmp_path)
    for other in (
        tiny_model(len(tokenizer), width=32),
        tiny_model(len(tokenizer), blocks=1),
    ):
        fresh = UnlearningModel(other, tokenizer, device=CPU)
        before = logits(fresh)
        with pytest.raises(ValueError, match="belong to another model"):
            fresh.restore(tmp_path)
        assert torch.equal(logits(fresh), before)


def test_a_run_that_left_no_weights_says_so(lm, tmp_path):
    with pytest.raises(ValueError, match="this run left no weights"):
        lm.restore(tmp_path)


def test_a_fingerprint_tells_clean_weights_from_touched_ones(tokenizer):
    model = tiny_model(len(tokenizer))
    clean = fingerprint(model)
    assert clean == fingerprint(tiny_model(len(tokenizer)))
    dict(model.named_parameters())["model.layers.1.mlp.up_proj.weight"].data[0, 0] += 1e-6
    assert fingerprint(model) != clean


def test_a_model_that_is_not_here_says_why():
    with pytest.raises(ValueError, match="olmo-1b"):
        UnlearningModel.load(ModelSpec(name="olmo-1b"), device=CPU)
