"""An adapter folder as a model: merged into its base, as peft merges it, and told in the record."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.tiny import CPU, IDS, logits, phase, saved, tiny_config, tiny_of
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.models.catalog import model
from unlearnlab.models.families import FAMILIES
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import Loaded
from unlearnlab.spec.methods.likelihood import GradientAscent
from unlearnlab.spec.run import EvaluationSpec, LoRA, ModelSpec, RunSpec

SHORT = EvaluationSpec(max_new_tokens=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("adapters") / "base"
    return saved(folder, tokenizer, tiny_of(tiny_config("llama", len(tokenizer))))


def adapter_of(base, folder, **settings):
    """Train nothing, but save an adapter whose matrices are random; return what peft computes."""
    plain = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], **settings)
    wrapped = get_peft_model(plain, config)
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(folder)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text()) | {"base_model_name_or_path": "../base"}
    config.write_text(json.dumps(told))
    return wrapped.eval()(input_ids=IDS).logits.detach()


def load(folder, **settings) -> UnlearningModel:
    return UnlearningModel.load(ModelSpec(name=str(folder), **settings), device=CPU)


@pytest.mark.parametrize(
    "settings",
    [{}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]}],
    ids=["lora", "dora", "rank-stabilised", "a head of its own"],
)
def test_a_merged_adapter_computes_what_peft_does(base, settings, request):
    folder = base.parent / request.node.callspec.id.replace(" ", "-")
    expected = adapter_of(base, folder, **settings)
    lm = load(folder)
    assert torch.allclose(logits(lm), expected, atol=1e-4)
    assert not torch.allclose(expected, logits(load(base)), atol=1e-2)
    assert not any("lora_" in name for name, _ in lm.model.named_parameters())
    assert lm.notes[0].startswith("An adapter (LoRA, r 4) on base: it is merged")


def test_a_seed_draws_the_same_with_and_without_an_adapter(base):
    adapter_of(base, base.parent / "seeded")
    drawn = []
    for folder in (base, base.parent / "seeded"):
        torch.manual_seed(3)
        load(folder)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]


def test_an_adapter_of_another_model_is_refused_with_what_to_change(base, tokenizer):
    wide = tiny_config("llama", len(tokenizer), hidden_size=32)
    adapter_of(base, base.parent / "lost")
    config = base.parent / "lost" / "adapter_config.json"
    for name, made in (("wide", tiny_of(wide)), ("gpt2", tiny_of(tiny_config("gpt2", 2048)))):
        saved(base.parent / name, tokenizer, made)
        told = json.loads(config.read_text()) | {"base_model_name_or_path": f"../{name}"}
        config.write_text(json.dumps(told))
        with pytest.raises(ValueError, match=r"(?s)does not fit its base \(.*adapter_config.json"):
            load(base.parent / "lost")


def test_packed_weights_take_no_adapter_and_the_way_out_is_named(base):
    adapter_of(base, base.parent / "unpacked")
    spec = ModelSpec(name=str(base.parent / "unpacked"), precision="nf4", adapter=LoRA())
    engine = DeviceEngine(lambda key: None, device=CPU)
    with pytest.raises(ValueError, match=r"^model\.precision: .* is an adapter .*: use bfloat16"):
        list(engine.unlearn(Job("one", RunSpec(model=spec, evaluation=SHORT), base.parent)))


def test_an_adapter_that_brings_its_tokenizer_and_new_tokens_along_is_read_with_both(base):
    words = AutoTokenizer.from_pretrained(base)
    words.add_tokens(["<one>", "<two>"])
    plain = AutoModelForCausalLM.from_pretrained(base)
    plain.resize_token_embeddings(len(words))
    wrapped = get_peft_model(plain, LoraConfig(r=2, target_modules=["q_proj"]))
    folder = base.parent / "grown"
    wrapped.save_pretrained(folder, save_embedding_layers=True)
    words.save_pretrained(folder)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text()) | {"base_model_name_or_path": "../base"}
    config.write_text(json.dumps(told))
    assert model(str(folder)).unavailable_reason == ""
    lm = load(folder)
    assert len(lm.tokenizer.encode("<one>")) == 1
    assert torch.allclose(logits(lm), wrapped(input_ids=IDS).logits, atol=1e-5)


def test_a_run_on_an_adapter_records_that_it_was_merged(base, tmp_path, monkeypatch):
    adapter_of(base, base.parent / "recorded")
    name = str(base.parent / "recorded")
    spec = RunSpec(model=ModelSpec(name=name), phases=(), evaluation=SHORT)
    run = DeviceEngine(lambda key: None, device=CPU).unlearn(Job("one", spec, tmp_path))
    loaded = next(event for event in run if isinstance(event, Loaded))
    run.close()
    assert loaded.notes == model(str(base.parent / "recorded")).notes
    assert str(base.parent) not in loaded.model_dump_json(), "no place of this machine"


def test_every_family_is_merged_by_the_names_of_its_own_matrices(tokenizer, tmp_path):
    for name, family in FAMILIES.items():
        folder = saved(
            tmp_path / name / "base", tokenizer, tiny_of(tiny_config(name, len(tokenizer)))
        )
        lm = UnlearningModel.open(folder, precision="float32", device=CPU)
        spec = RunSpec(
            model=ModelSpec(adapter=LoRA(r=2)), phases=(phase(GradientAscent(), modules="mlp"),)
        )
        lm.adapt(spec)
        for parameter_name, parameter in lm.model.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.3)
        expected = logits(lm)
        written = lm.save(tmp_path / name)
        assert not (written.parent / "README.md").exists(), "it names the base's folder"
        found = load(written.parent)
        assert torch.allclose(logits(found), expected, atol=1e-4), family.title
