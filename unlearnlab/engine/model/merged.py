"""A trained model as a folder of its own, which transformers opens without this program.

What was trained is put into the weights: adapters are added to them, packed weights are unpacked
as they were computed with. So the folder gives the answers that were measured, up to rounding.
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
from unlearnlab.engine.model.loading import WRITING, counted
from unlearnlab.engine.model.packing import unpacked
from unlearnlab.engine.model.unlearning_model import Target

LARGEST_FILE = "1GB"
"""Weights are spread over several files above this size: between two, the writing can be given
up."""

BESIDE = 16 * 10**6
"""Bytes for tokenizer and configuration, generously."""


def save_merged(
    target: Target,
    folder: Path,
    *,
    texts: Mapping[str, str] | None = None,
    replace: bool = False,
    report: Report | None = None,
) -> int:
    """Write the trained model and its tokenizer into `folder`, as safetensors.

    The target stays as it was. The folder appears as a whole or not at all.

    Args:
        target: Trained, or restored from a finished run.
        folder: To be made; a folder that is there already must be empty.
        texts: Further files by name, such as a model card.
        replace: Write over what is in the folder's place.
        report: Told of each weight that is put together and of each file that is written; may end
            the work by raising, and nothing of it is left.

    Returns:
        Bytes of the weights.

    Raises:
        NoRoom: The disk has too little space.
        Taken: Something is in the folder's place.
        ValueError: The model has weights that cannot be written out.
    """
    if not replace:
        check_free(folder)
    check_room(folder.parent, target.bytes_merged + BESIDE)
    with torch.no_grad():
        plain = _plain(target, stretch(report, 0, 50))
    size = sum(parameter.nbytes for parameter in plain.parameters())
    with whole_folder(folder) as part, counted(stretch(report, 50, 100), WRITING):
        plain.save_pretrained(part, max_shard_size=LARGEST_FILE)
        target.tokenizer.save_pretrained(part)
        for name, text in (texts or {}).items():
            (part / name).write_text(text, encoding="utf-8")
    del plain
    gc.collect()
    return size


def _plain(target: Target, report: Report | None) -> PreTrainedModel:
    """Make a model without adapters and packing that shares all tensors it can with the target."""
    base = target.model.get_base_model() if isinstance(target.model, PeftModel) else target.model
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
    for name in _turned(base, plain):
        found[name] = found[name].T.contiguous()
    missing = plain.load_state_dict(found, strict=False, assign=True).missing_keys
    plain.tie_weights()
    if lost := [name for name in missing if dict(plain.named_parameters())[name].is_meta]:
        raise ValueError(f"the weights cannot be written out: {', '.join(lost[:3])} not found")
    plain.generation_config = base.generation_config
    return plain


def _turned(base: PreTrainedModel, plain: PreTrainedModel) -> set[str]:
    """Name the weights that packing turned: GPT-2 keeps inputs before outputs, packed ones not."""
    packed = {
        name.removesuffix(".weight").removesuffix(".base_layer")
        for name, parameter in base.named_parameters()
        if not parameter.is_floating_point()
    }
    return {f"{name}.weight" for name in packed if isinstance(plain.get_submodule(name), Conv1D)}


def _weights(base: PreTrainedModel, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield each weight under its plain name, adapters added and unpacked."""
    for name, module in base.named_modules():
        if isinstance(module, LoraLayer):
            yield f"{name}.weight", _merged(module, dtype)
        elif ".lora_" not in name:
            for kind, parameter in module.named_parameters(recurse=False):
                if not (name.endswith(".base_layer") and kind == "weight"):
                    whole = parameter.detach()
                    if not whole.is_floating_point():
                        whole = unpacked(module).to(dtype).cpu()
                    yield f"{name}.{kind}".replace(".base_layer.", "."), whole


def _merged(layer: LoraLayer, dtype: torch.dtype) -> Tensor:
    """Add what the acting adapter changes to the weights of a layer, in single precision."""
    weight = unpacked(layer.get_base_layer())
    acting = [name for name in layer.active_adapters if name in layer.lora_A]
    if not acting or layer.disable_adapters:
        return weight.to(dtype).cpu()
    changes = [cast("Any", layer).get_delta_weight(name).float() for name in acting]
    return torch.stack([weight.float(), *changes]).sum(0).to(dtype).cpu()
