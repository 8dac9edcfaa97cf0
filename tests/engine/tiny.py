"""A random two-block OLMo of width 16 with the embedded target's tokenizer: no downloads, fast."""

import torch
from transformers import OlmoConfig, OlmoForCausalLM

CPU = torch.device("cpu")


def tiny_model(
    vocabulary: int, seed: int = 0, *, blocks: int = 2, width: int = 16, tied: bool = True
) -> OlmoForCausalLM:
    torch.manual_seed(seed)
    config = OlmoConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        eos_token_id=0,
        pad_token_id=1,
    )
    return OlmoForCausalLM(config)


def finish(work):
    """Run a generator to its end: what it yielded, and what it returned."""
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            return seen, end.value
