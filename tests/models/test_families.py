"""Sizes that are read from a config.json equal those of the model that transformers makes of it."""

import json

import pytest

from tests.engine.tiny import CONFIGS, tiny_config, tiny_of
from unlearnlab.models.checkpoints import architecture
from unlearnlab.models.families import FAMILIES, ROLES, Architecture, Modules, family

VOCABULARY = 300


def saved(config, folder) -> Architecture:
    config.save_pretrained(folder)
    return architecture(folder)


def test_every_family_is_tried():
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_all_parameters_are_counted(name, tied, tmp_path):
    config = tiny_config(name, VOCABULARY, tie_word_embeddings=tied)
    size = saved(config, tmp_path)
    parameters = {id(p): p.numel() for p in tiny_of(config).parameters()}
    assert size.parameters == sum(parameters.values())
    assert size.context == config.max_position_embeddings


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("name", [n for n, c in CONFIGS.items() if hasattr(c, "attention_bias")])
def test_biases_are_counted_where_the_config_says_so(name, biased, tmp_path):
    config = tiny_config(name, VOCABULARY, attention_bias=biased)
    assert saved(config, tmp_path).parameters == tiny_of(config).num_parameters()


def test_biases_of_a_llamas_mlp_are_counted(tmp_path):
    config = tiny_config("llama", VOCABULARY, mlp_bias=True)
    assert saved(config, tmp_path).parameters == tiny_of(config).num_parameters()


@pytest.mark.parametrize("modules", Modules.__args__)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_parameters_of_a_choice_of_modules_are_counted(name, modules, tmp_path):
    config = tiny_config(name, VOCABULARY)
    size, of = saved(config, tmp_path), family(name)
    block = tiny_of(config).get_submodule(f"{of.blocks}.0")
    named = of.named(ROLES[modules])
    assert size.block_parameters(modules) == sum(
        p.numel() for name in named for p in block.get_submodule(name).parameters()
    )
    shapes = [block.get_submodule(name).weight.shape for name in named]
    assert size.adapter_parameters(modules, 3) == sum(3 * sum(shape) for shape in shapes)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_config_leaves_out_is_as_its_class_has_it(name, tmp_path):
    """Old or hand-written configs lack what their authors left at its default."""
    of = family(name)
    needed = {
        of.keys.get(key, key): getattr(CONFIGS[name](), key)
        for key in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        )
    }
    if of.mlp_ratio is None:
        needed["intermediate_size"] = CONFIGS[name]().intermediate_size
    (tmp_path / "short").mkdir()
    short = {"model_type": name, **needed}
    (tmp_path / "short" / "config.json").write_text(json.dumps(short))
    whole = saved(CONFIGS[name](), tmp_path)
    assert architecture(tmp_path / "short") == whole


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ([], "config.json holds no config"),
        ({}, "config.json names no model_type"),
        ({"model_type": "bert"}, r"model_type 'bert': .* OLMo \(olmo\), .* GPT-2 \(gpt2\)"),
        ({"model_type": "olmo"}, "hidden_size is None, not a size"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "n_embd is 'wide', not a size"),
    ],
)
def test_a_config_that_tells_no_sizes_says_what_is_wrong(config, told, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=told):
        architecture(tmp_path)
