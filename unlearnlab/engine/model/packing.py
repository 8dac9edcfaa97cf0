"""Weights packed into 8 or 4 bits by bitsandbytes: the blocks' matrices; the rest stays whole."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from unlearnlab.spec.run import PACKED, Precision


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the activations, and of all weights that are not packed."""
    if precision in PACKED:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def packing(precision: Precision, device: torch.device) -> BitsAndBytesConfig | None:
    """Say how to pack the linear layers of the blocks; embeddings and head stay as they are."""
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    if precision == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=compute_dtype(precision, device),
        )
    return None


def compute_alike_when_training(model: nn.Module, device: torch.device) -> None:
    """Keep packed layers from computing otherwise in inference than in training, on a CPU.

    For 4 bits, inference would rewrite the weights in a form that rounds to bfloat16 and has no
    gradient, which nothing undoes before the next step. For 8 bits, it would round activations as
    well, by the largest of the batch, so that answers depended on their company.
    """
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt  # noqa: PLC0415  (loud)

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, Linear8bitLt) and device.type == "cpu":
            module.register_forward_pre_hook(_as_in_training)


def _as_in_training(module: nn.Module, _args: object) -> None:
    module.training = True


def count(parameter: nn.Parameter) -> int:
    """Count the weights of a tensor, packed or not."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)


def unpacked(module: nn.Module) -> Tensor:
    """Return the weight of a linear layer as it computes with it, packed or not."""
    weight = cast("nn.Parameter", module.weight).detach()
    if weight.is_floating_point():
        return weight
    from bitsandbytes import functional  # noqa: PLC0415  (loud)

    packed: Any = module.weight
    if weight.dtype == torch.int8:
        # Its first use moves the scales of the rows from the weight to the layer.
        scales = cast("Any", module).state.SCB if packed.SCB is None else packed.SCB
        return functional.int8_vectorwise_dequant(weight, scales)
    return functional.dequantize_4bit(weight, packed.quant_state)
