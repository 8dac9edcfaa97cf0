"""What the catalogue says of a model that is not here, is here by half, or is here."""

import json

import pytest
from safetensors.torch import save_file

from unlearnlab.catalogue import models


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (tmp_path / "olmo-1b").mkdir()
    return tmp_path / "olmo-1b"


def download(folder, *, layers=16) -> None:
    sizes = {
        "model_type": "olmo",
        "num_hidden_layers": layers,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 16,
        "vocab_size": 50304,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(sizes))
    save_file({}, folder / "model.safetensors")
    (folder / "tokenizer_config.json").write_text("{}")


def test_a_model_that_is_not_here_says_what_to_run_and_where_to_put_a_copy(folder):
    told = models()["olmo-1b"].missing
    repository = "llmunlearningsemeval2025organization/olmo-1B-model-semeval25-unlearning"
    assert f"hf download {repository} --local-dir {folder}" in told
    assert "hf download allenai/OLMo-1B-0724-hf" in told
    assert "HF_TOKEN" in told
    assert "UNLEARNLAB_MODELS" in told


def test_models_lie_in_the_home_folder_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("UNLEARNLAB_MODELS", raising=False)
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    assert models()["olmo-7b"].folder == tmp_path / "models" / "olmo-7b"


def test_a_downloaded_model_is_found_without_a_restart(folder):
    assert models()["olmo-1b"].missing
    download(folder)
    assert models()["olmo-1b"].missing == ""


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("model.safetensors", "holds no weights as safetensors"),
        ("tokenizer_config.json", "holds no tokenizer: `hf download allenai/OLMo-1B-0724-hf"),
    ],
)
def test_a_download_that_lacks_a_part_names_it(folder, lost, told):
    download(folder)
    (folder / lost).unlink()
    assert told in models()["olmo-1b"].missing


@pytest.mark.parametrize("text", ["", "[]", '{"model_type": "olmo"}', '{"model_type": "bert"}'])
def test_a_folder_with_another_model_is_told(folder, text):
    download(folder, layers=32)
    assert "holds another model" in models()["olmo-1b"].missing
    (folder / "config.json").write_text(text)
    assert "holds another model" in models()["olmo-1b"].missing
