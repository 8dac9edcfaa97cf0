"""Which models can be named, and what is said of one that is not here, or is here by half."""

import json

import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, Qwen3Config

from unlearnlab.data.downloads import has_token
from unlearnlab.data.files import EMBEDDED
from unlearnlab.models.catalog import ORGANISERS, model, models, names
from unlearnlab.models.checkpoints import look_up, looked_up
from unlearnlab.spec.run import ModelSpec


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (tmp_path / "olmo-1b").mkdir()
    return tmp_path / "olmo-1b"


SIZES = {
    "model_type": "olmo",
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 16,
    "vocab_size": 50304,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}


def download(folder, **sizes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SIZES | sizes))
    save_file({}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text("{}")


def test_organisers_models_tell_how_to_get_access_and_where_a_copy_can_go(folder, hub):
    told = models()["olmo-1b"].unavailable_reason
    assert "the organisers of SemEval-2025 Task 4 give access" in told
    assert "`hf auth login` or set HF_TOKEN" in told
    assert f"can go to {folder}, or UNLEARNLAB_MODELS" in told


def test_with_a_token_the_run_fetches_the_organisers_model_and_the_tokenizer(
    folder, hub, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    known = models()["olmo-7b"]
    assert known.unavailable_reason == ""
    assert known.to_download == (
        (f"{ORGANISERS}/olmo-finetuned-semeval25-unlearning", False),
        ("allenai/OLMo-7B-0724-Instruct-hf", True),
    )
    assert hub.asked == []


def test_models_lie_in_the_home_folder_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("UNLEARNLAB_MODELS", raising=False)
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    assert models()["olmo-7b"].folder == tmp_path / "models" / "olmo-7b"


def test_a_copy_is_found_without_a_restart(folder, hub):
    assert models()["olmo-1b"].unavailable_reason
    download(folder)
    assert models()["olmo-1b"].unavailable_reason == ""
    assert models()["olmo-1b"].to_download == ()


def test_a_copy_without_weights_says_so(folder):
    download(folder)
    (folder / "model.safetensors").unlink()
    assert "holds no weights as model.safetensors" in models()["olmo-1b"].unavailable_reason


def test_the_tokenizer_that_a_copy_lacks_is_fetched_from_the_base_model(folder):
    download(folder)
    (folder / "tokenizer.json").unlink()
    assert models()["olmo-1b"].unavailable_reason == ""
    assert models()["olmo-1b"].to_download == (("allenai/OLMo-1B-0724-hf", True),)


def test_a_folder_with_another_model_is_told(folder):
    download(folder, num_hidden_layers=32)
    assert "holds another model" in models()["olmo-1b"].unavailable_reason
    (folder / "config.json").write_text("")
    assert "config.json is empty" in models()["olmo-1b"].unavailable_reason


def test_a_folder_is_a_model_and_a_kept_one_is_known_by_its_name(folder, monkeypatch):
    kept = folder.parent / "mine"
    download(kept, num_hidden_layers=3)
    (kept / "unlearnlab.json").write_text(
        '{"model": "tiny-olmo", "dataset": "facts", "scores": {}}'
    )
    assert names()[-1] == "mine"
    assert model("mine").architecture.blocks == 3
    assert model("mine").made == {"model": "tiny-olmo", "dataset": "facts"}
    assert model(str(kept)).architecture == model("mine").architecture
    monkeypatch.chdir(kept.parent)
    assert model("./mine").folder == kept
    assert ModelSpec(name=str(kept)).blocks == 3


def test_a_hub_id_is_a_model_whose_sizes_are_known_once_it_was_looked_up(hub, tmp_path):
    download(tmp_path / "served", num_hidden_layers=5)
    hub.models["ada/five"] = tmp_path / "served"
    found = model("ada/five")
    assert (found.unknown_reason, found.unavailable_reason, found.architecture) == ("", "", None)
    assert hub.asked == []
    size = look_up("ada/five")
    assert size == sum(path.stat().st_size for path in hub.models["ada/five"].iterdir())
    assert looked_up("ada/five") == size
    assert model("ada/five").architecture.blocks == 5
    assert model("ada/five").to_download == (("ada/five", False),)
    assert not any("safetensors" in asked or "tokenizer" in asked for asked in hub.asked)


def test_what_another_program_left_pickled_in_the_cache_is_fetched_as_safetensors(hub, tmp_path):
    download(tmp_path / "served")
    hub.models["ada/old"] = tmp_path / "served"
    look_up("ada/old")
    (model("ada/old").folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert model("ada/old").unavailable_reason == ""
    assert model("ada/old").to_download == (("ada/old", False),)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "no model is named"),
        ("olmo1b", "unknown model 'olmo1b': did you mean olmo-1b"),
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("no/such/folder", "there is no folder"),
        ("../folder", "there is no folder"),
        (str(EMBEDDED), "holds no config.json, but folders that do: name one of them"),
        (str(EMBEDDED / "original" / "config.json"), "is a file: name the folder"),
        ("https://example.org/ada/tiny", "is an address: a model on the hub is written org/name"),
    ],
)
def test_a_name_that_is_no_model_says_what_it_is_instead(name, told):
    assert told in model(name).unknown_reason


def test_the_base_models_of_the_task_are_named_by_their_ids():
    assert model("allenai/OLMo-1B-0724-hf").architecture == models()["olmo-1b"].architecture
    assert model("allenai/OLMo-7B-0724-Instruct-hf").architecture.blocks == 32


SMALL = {
    "HuggingFaceTB/SmolLM2-135M": LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    ),
    "EleutherAI/pythia-160m": GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        tie_word_embeddings=False,
    ),
    "Qwen/Qwen3-0.6B": Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "meta-llama/Llama-3.2-1B": LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    ),
}
"""Sizes in the `config.json` of each on the hub."""


@pytest.mark.parametrize("name", SMALL)
def test_the_sizes_of_small_models_are_those_of_transformers(name):
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(SMALL[name])
    known = models()[name]
    assert known.architecture is not None
    assert known.architecture.parameters == plain.num_parameters()
    assert known.architecture.tied == SMALL[name].tie_word_embeddings
    assert known.licence


def test_a_small_model_is_fetched_by_its_run_unless_its_makers_grant_access(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert model("Qwen/Qwen3-0.6B").unavailable_reason == ""
    assert model("Qwen/Qwen3-0.6B").to_download == (("Qwen/Qwen3-0.6B", False),)
    assert "Meta grants access" in model("meta-llama/Llama-3.2-1B").unavailable_reason
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert model("meta-llama/Llama-3.2-1B").unavailable_reason == ""
    assert hub.asked == []


def test_sizes_that_are_not_known_here_are_those_of_the_hub_once_looked_up(hub, tmp_path):
    name = "allenai/OLMo-2-0425-1B"
    assert model(name).architecture is None
    download(tmp_path / "served", num_hidden_layers=5)
    hub.models[name] = tmp_path / "served"
    look_up(name)
    assert model(name).architecture.blocks == 5
    assert model(name).licence == "Apache 2.0"


def test_whether_there_is_a_token_is_all_that_is_known_of_it(hub, monkeypatch):
    assert not has_token()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert has_token()
    assert "hf_secret" not in repr([model(name) for name in names()])
