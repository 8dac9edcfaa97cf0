"""Merging a PEFT adapter folder into the weights of its base, which becomes the model."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, get_peft_model
from peft.utils.save_and_load import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearnlab.engine.loading import LOAD_LOCK, load_errors
from unlearnlab.models.adapters import WEIGHTS

IMPORTING = ("megatron_config", "auto_mapping")
"""Fields of an adapter's config by which peft imports modules that the config names."""


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Add the adapter in `folder` to a model's weights, which are changed in place.

    Raises:
        ValueError: The adapter is damaged, or was trained on another model.
    """
    with LOAD_LOCK, load_errors(folder), torch.random.fork_rng(devices=[]):
        weights = load_file(folder / WEIGHTS)
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        for name in IMPORTING:
            if hasattr(config, name):
                setattr(config, name, None)
        _grow_embeddings(model, weights)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What peft warns of is an error below.
                wrapped: Any = get_peft_model(model, config)
                found: Any = set_peft_model_state_dict(wrapped, weights)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
            raise ValueError(_other_base(reason)) from error
        # Those of the base are missing too: an adapter's carry its name.
        if lost := [name for name in found.missing_keys if ".default" in name]:
            raise ValueError(f"it lacks {len(lost)} of its weights, {lost[0]} among them")
        if beyond := list(found.unexpected_keys):
            raise ValueError(_other_base(f"the base has no place for {beyond[0]}"))
        return cast("PreTrainedModel", wrapped.merge_and_unload(safe_merge=True))


def _other_base(reason: str) -> str:
    return (
        f"the adapter does not fit its base ({reason}): name the model that it was trained on as "
        "base_model_name_or_path in its adapter_config.json"
    )


def _grow_embeddings(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Give the embeddings as many rows as those that the adapter brings along have, if it does."""
    embeddings = cast("nn.Embedding", model.get_input_embeddings())
    (name,) = (name for name, module in model.named_modules() if module is embeddings)
    brought = [of for key, of in weights.items() if key.endswith(f"{name}.weight")]
    if brought and len(brought[0]) > embeddings.num_embeddings:
        model.resize_token_embeddings(len(brought[0]), mean_resizing=False)
