"""An adapter folder is a model: its base is found, or one line says where to put it."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.models.stored import tiny_folder
from unlearnlab.models.catalog import model, names


def adapter_folder(folder, base, **config):
    folder.mkdir(parents=True)
    told = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": base} | config
    (folder / "adapter_config.json").write_text(json.dumps(told))
    weights = {"base_model.model.model.layers.0.q.lora_A.weight": np.ones((4, 4), np.float32)}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def base(tmp_path):
    return tiny_folder(tmp_path / "base")


@pytest.mark.parametrize("named", ["../base", "absolute", "from here"])
def test_the_base_is_found_from_the_adapters_folder_by_its_path_or_from_here(
    named, base, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = {"absolute": str(base), "from here": "base"}.get(named, named)
    known = model(str(adapter_folder(tmp_path / "runs" / ".." / "adapter", path)))
    assert known.unavailable_reason == ""
    assert known.base is not None
    assert known.folder == base
    assert known.architecture == model(str(base)).architecture
    assert known.tokenizer_folder == base
    assert known.notes == (
        "An adapter (LoRA, r 4) on base: it is merged into the weights when they are loaded.",
    )


def test_a_base_on_the_hub_is_what_a_run_downloads(hub, tmp_path):
    known = model(str(adapter_folder(tmp_path / "adapter", "ada/base")))
    assert known.to_download == (("ada/base", False),)
    assert known.unavailable_reason == ""
    assert hub.asked == []


@pytest.mark.parametrize("named", ["tiny-olmo", "tiny-olmo (embedded)", "mine"])
def test_a_base_may_be_a_model_of_this_program(named, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    tiny_folder(tmp_path / "models" / "mine")
    known = model(str(adapter_folder(tmp_path / "adapter", named)))
    assert known.base is not None
    assert known.base.name == named.removesuffix(" (embedded)")
    assert known.unavailable_reason == ""


@pytest.mark.parametrize("named", ["/data/of/somebody/llama", "../llama", r"C:\models\llama"])
def test_a_base_that_is_gone_is_told_in_one_line_with_the_way_out(named, tmp_path):
    folder = adapter_folder(tmp_path / "adapter", named)
    known = model(str(folder))
    assert known.unknown_reason == ""
    told = known.unavailable_reason
    assert told.startswith(f"{folder} is an adapter for {named}, which cannot be used: it is not")
    assert "base_model_name_or_path" in told
    assert "\n" not in told


def test_an_adapter_on_an_adapter_or_on_itself_is_refused(base, tmp_path):
    adapter_folder(tmp_path / "first", "../base")
    second = adapter_folder(tmp_path / "second", "../first")
    round_ = adapter_folder(tmp_path / "round", ".")
    for folder in (second, round_):
        assert "that is an adapter itself" in model(str(folder)).unavailable_reason


def test_the_tokenizer_beside_the_adapter_is_the_one_it_was_trained_with(base, tmp_path):
    folder = adapter_folder(tmp_path / "adapter", "../base")
    (folder / "tokenizer.json").write_text((base / "tokenizer.json").read_text())
    assert model(str(folder)).tokenizer_folder == folder


def test_a_tokenizer_beside_the_adapter_that_is_no_file_is_told_and_not_passed_over(base, tmp_path):
    folder = adapter_folder(tmp_path / "adapter", "../base")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1")
    assert "is a Git LFS pointer" in model(str(folder)).unavailable_reason


def pickled(folder):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def config(text):
    return lambda folder: (folder / "adapter_config.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (pickled, "holds the adapter's weights pickled (adapter_model.bin)"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "holds no adapter_model.safetens"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"x"), "is damaged"),
        (config("{"), "is not JSON"),
        (config("[]"), "holds no config"),
        (config("version https://git-lfs.github.com/spec/v1"), "is a Git LFS pointer"),
        (config('{"peft_type": "PROMPT_TUNING"}'), "is an adapter of kind 'PROMPT_TUNING'"),
        (config('{"peft_type": "LORA"}'), "names no base model: set base_model_name_or_path"),
    ],
)
def test_an_adapter_that_cannot_be_merged_says_why(spoil, told, base, tmp_path):
    folder = adapter_folder(tmp_path / "adapter", "../base")
    spoil(folder)
    known = model(str(folder))
    assert told in (known.unknown_reason or known.unavailable_reason)


def test_a_base_whose_weights_are_packed_is_told_with_what_to_name_instead(base, tmp_path):
    packed = json.loads((base / "config.json").read_text())
    packed["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(packed))
    told = model(str(adapter_folder(tmp_path / "adapter", "../base"))).unavailable_reason
    assert "is an adapter for base" in told
    assert "already quantized (bitsandbytes): choose the model that they were made from" in told


def test_an_adapter_in_the_models_folder_is_listed(base, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    adapter_folder(tmp_path / "mine", "../base")
    assert names()[-2:] == ["base", "mine"]
    assert model("mine").base is not None


def test_whole_weights_beside_an_adapters_config_are_the_model(base):
    (base / "adapter_config.json").write_text("{}")
    assert model(str(base)).base is None
    assert model(str(base)).unavailable_reason == ""


def test_whole_weights_beside_an_adapters_config_alone_are_no_model_of_the_list(
    base, tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (base / "adapter_config.json").write_text("{}")
    (base / "config.json").unlink()
    assert "base" not in names()
    assert "holds weights but no config.json" in model(str(base)).unknown_reason
