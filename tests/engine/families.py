"""A random two-block model of each family, a few thousand weights each."""

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OlmoConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

CONFIGS: dict[str, type[PreTrainedConfig]] = {
    config.model_type: config
    for config in (
        OlmoConfig,
        Olmo2Config,
        LlamaConfig,
        Qwen2Config,
        Qwen3Config,
        MistralConfig,
        Gemma2Config,
        Gemma3TextConfig,
        Phi3Config,
        GPTNeoXConfig,
        GPT2Config,
    )
}

GROUPED = {"num_key_value_heads": 2}
"""Two heads of queries share one of keys."""

OWN = {
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "llama": GROUPED,
    "qwen2": {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {**GROUPED, "head_dim": 6},
    "mistral": {**GROUPED, "head_dim": 6, "sliding_window": 8},
    # Blocks differ in their window, and Gemma 3's in their positions too.
    "gemma2": {**GROUPED, "head_dim": 6, "sliding_window": 8},
    "gemma3_text": {
        **GROUPED,
        "head_dim": 6,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi3": GROUPED,
    "gpt_neox": {},
    "gpt2": {"n_inner": 40},
}


def tiny_config(name: str, vocabulary: int, **settings) -> PreTrainedConfig:
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    return CONFIGS[name](**{**sizes, **OWN[name], **settings})


def tiny_of(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)
