"""Folders with the files of a model of no use: sizes, matrices at both ends, words."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 1,
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


def tiny_folder(
    folder: Path,
    *,
    rows: int = 8,
    words=(),
    added=None,
    scored=(),
    tied: bool = True,
    head: str | None = None,
) -> Path:
    """Write a folder whose files pass for a model's as long as nobody loads it.

    Args:
        folder: Where to.
        rows: Of the embeddings.
        words: Vocabulary of the tokenizer.
        added: Further tokens by id.
        scored: Vocabulary as a list of words with scores, in place of `words`.
        tied: What the config says of the head.
        head: Whether the file has one like the embeddings (same), unlike them (other), or none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = LLAMA | {"vocab_size": rows, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    embeddings = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    weights = {"model.embed_tokens.weight": embeddings}
    if head:
        weights["lm_head.weight"] = embeddings.copy() if head == "same" else embeddings + 1
    save_file(weights, folder / "model.safetensors")
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = {
        "model": {"vocab": [[word, -1.0] for word in scored] if scored else vocabulary},
        "added_tokens": [{"id": n, "content": word} for n, word in (added or {}).items()],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def header_of(length: int) -> bytes:
    return length.to_bytes(8, "little")
