"""Write a trained model as one merged checkpoint that plain transformers loads.

The active adapter is added to the weights, and quantized weights are written as the values they
compute with. So the checkpoint gives the answers that were measured, up to rounding.
"""

import copy
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unlearnlab.data.background import Report, stretch
from unlearnlab.data.files import check_free, check_room, whole_folder
from unlearnlab.engine.model.loading import WRITING, dequantized, reported
from unlearnlab.engine.model.unlearning_model import UnlearningModel

LARGEST_FILE = "1GB"
"""Larger weights are split into files of this size: writing can be cancelled between two."""

EXTRA_BYTES = 16 * 10**6
"""Generous allowance for tokenizer and configuration."""


def save_merged(
    lm: UnlearningModel,
    folder: Path,
    *,
    texts: Mapping[str, str] | None = None,
    replace: bool = False,
    report: Report | None = None,
) -> int:
    """Write the merged model and its tokenizer into `folder`, as safetensors.

    `lm` is not changed. The folder appears complete or not at all.

    Args:
        lm: The model, trained or restored from a finished run.
        folder: Output folder; must not exist or be empty.
        texts: Further files by name, such as a model card.
        replace: Whether to overwrite an existing folder.
        report: Called for each merged weight and each written file; cancels by raising, and leaves
            nothing behind.

    Returns:
        Size of the weights, in bytes.

    Raises:
        NoRoom: The disk has too little space.
        Taken: The folder exists and is not empty.
        ValueError: Some weights cannot be written.
    """
    if not replace:
        check_free(folder)
    check_room(folder.parent, lm.merged_bytes + EXTRA_BYTES)
    with torch.no_grad():
        plain = _merged_model(lm, stretch(report, 0, 50))
    size = sum(parameter.nbytes for parameter in plain.parameters())
    with whole_folder(folder) as part, reported(stretch(report, 50, 100), WRITING):
        plain.save_pretrained(part, max_shard_size=LARGEST_FILE)
        lm.tokenizer.save_pretrained(part)
        for name, text in (texts or {}).items():
            (part / name).write_text(text, encoding="utf-8")
    del plain
    gc.collect()
    return size


def _merged_model(lm: UnlearningModel, report: Report | None) -> PreTrainedModel:
    """Build a model without adapters or quantization that shares tensors with `lm`."""
    base = lm.model.get_base_model() if isinstance(lm.model, PeftModel) else lm.model
    assert isinstance(base, PreTrainedModel)
    dtype = cast("nn.Embedding", base.get_input_embeddings()).weight.dtype
    config = copy.deepcopy(base.config)
    vars(config).pop("quantization_config", None)
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
    found: dict[str, Tensor] = {}
    expected = sum(1 for name, _ in base.named_parameters() if ".lora_" not in name)
    for name, weight in _weights(base, dtype):
        found[name] = weight
        if report is not None:
            report(len(found), expected)
    # GPT-2's Conv1D stores weights as [inputs, outputs]; quantized layers as [outputs, inputs].
    quantized = {
        name.removesuffix(".weight").removesuffix(".base_layer")
        for name, parameter in base.named_parameters()
        if not parameter.is_floating_point()
    }
    transposed = (name for name in quantized if isinstance(plain.get_submodule(name), Conv1D))
    for name in (f"{name}.weight" for name in transposed):
        found[name] = found[name].T.contiguous()
    missing = plain.load_state_dict(found, strict=False, assign=True).missing_keys
    plain.tie_weights()
    if lost := [name for name in missing if dict(plain.named_parameters())[name].is_meta]:
        raise ValueError(f"the weights cannot be written: {', '.join(lost[:3])} not found")
    plain.generation_config = base.generation_config
    return plain


def _weights(base: PreTrainedModel, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield each weight by its name without adapters, merged and dequantized."""
    for name, module in base.named_modules():
        if isinstance(module, LoraLayer):
            yield f"{name}.weight", _merged_weight(module, dtype)
        elif ".lora_" not in name:
            for kind, parameter in module.named_parameters(recurse=False):
                if not (name.endswith(".base_layer") and kind == "weight"):
                    whole = parameter.detach()
                    if not whole.is_floating_point():
                        whole = dequantized(module).to(dtype).cpu()
                    yield f"{name}.{kind}".replace(".base_layer.", "."), whole


def _merged_weight(layer: LoraLayer, dtype: torch.dtype) -> Tensor:
    """Add the active adapters to the weight of a layer, in float32."""
    weight = dequantized(layer.get_base_layer())
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not active or layer.disable_adapters:
        return weight.to(dtype).cpu()
    changes = [cast("Any", layer).get_delta_weight(name).float() for name in active]
    return torch.stack([weight.float(), *changes]).sum(0).to(dtype).cpu()
