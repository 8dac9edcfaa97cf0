"""What is made sure of when a model is loaded: room for it, all of its weights, its tokenizer.

What transformers would pass over in silence, it must not: weights that are missing, and would be
drawn at random; a tokenizer of another model; a model without an end of text.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from unlearnlab.data.background import Report
from unlearnlab.data.files import size
from unlearnlab.engine.model.data import Tokenizer
from unlearnlab.engine.model.packing import compute_dtype
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.models.checkpoints import tensors
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.spec.run import PACKED_BYTES, Precision

ALONE = threading.RLock()
"""Held while a model or an adapter is made. Meanwhile transformers changes torch's default dtype,
its functions that initialize weights and its own progress bars for all threads of the process: two
at once would draw wrong weights, or leave the changes behind."""

LOADING, WRITING = "Loading weights", "Writing model shards"
"""How transformers names its progress bars over the tensors and over the files of a model."""


def free_memory(device: torch.device, *, spread: bool = False) -> int | None:
    """Return the bytes that are free on a device, or on all GPUs; none where it does not tell."""
    if device.type == "cuda":
        numbers = range(torch.cuda.device_count()) if spread else [device]
        return sum(torch.cuda.mem_get_info(number)[0] for number in numbers)
    return psutil.virtual_memory().available if device.type == "cpu" else None


def weight_bytes(known: ModelInfo, precision: Precision, device: torch.device) -> int:
    """Return the bytes that a model's weights take in a device's memory."""
    count = sum(numbers for numbers, _ in tensors(known.folder).values())
    plain = compute_dtype(precision, device).itemsize
    sizes = known.architecture
    if precision not in PACKED_BYTES or sizes is None:
        return count * plain
    packed = min(count, sizes.blocks * sizes.block_parameters("all"))
    return int(packed * PACKED_BYTES[precision] + (count - packed) * plain)


def check_memory(
    known: ModelInfo, precision: Precision, device: torch.device, *, spread: bool = False
) -> None:
    """Make sure that a model's weights fit into what a device has free.

    Raises:
        RunFailed: They do not.
    """
    free = free_memory(device, spread=spread)
    needed = weight_bytes(known, precision, device)
    if free is None or needed <= free:
        return
    raise RunFailed(
        f"not enough memory: the weights of {known.title} take {size(needed)} as {precision}, and "
        f"{size(free)} are free on {'all GPUs' if spread else device}",
        _smaller(known, device, needed, free),
    )


def _smaller(known: ModelInfo, device: torch.device, needed: int, free: int) -> str:
    """Say which precision would fit."""
    ways: Mapping[Precision, str] = {
        "bfloat16": "take bfloat16",
        "nf4": "take nf4 under a LoRA adapter",
    }
    for precision, way in ways.items():
        other = weight_bytes(known, precision, device)
        if other < needed and other <= free:
            return f"{way}: {size(other)}"
    return "end other programs, or take a smaller model or another device"


@contextmanager
def explained(folder: Path) -> Generator[None]:
    """Turn what a loader raises into a sentence with the folder."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{folder} cannot be loaded: {reason}") from error


@contextmanager
def counted(report: Report | None, bar: str = LOADING) -> Generator[None]:
    """Report each tensor that transformers loads, or each file it writes, until the block ends."""
    # Older versions of transformers have no such hook, and load without a count.
    hook_with: Any = getattr(transformers_logging, "set_tqdm_hook", None)
    if report is None or hook_with is None:
        yield
        return

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") != bar or not args:
            return factory(*args, **kwargs)
        return _reported(args[0], report)

    before = hook_with(hook)
    try:
        yield
    finally:
        hook_with(before)


def _reported(items: Iterable[Any], report: Report) -> Iterator[Any]:
    listed = list(items)
    for done, item in enumerate(listed):
        report(done, len(listed))
        yield item


def check_complete(folder: Path, info: Mapping[str, Any]) -> None:
    """Make sure that every weight of a model came from its files.

    Args:
        folder: The model's.
        info: What transformers tells of its loading.

    Raises:
        ValueError: Some were not there, or had other shapes.
    """
    for kind, told in (("missing_keys", "lack"), ("mismatched_keys", "have other shapes for")):
        lost: Iterable[Any] = info.get(kind) or ()
        if names := sorted(str(one[0] if isinstance(one, tuple) else one) for one in lost):
            raise ValueError(
                f"{folder}: the weights {told} {len(names)} that config.json asks for "
                f"({names[0]}): fetch or copy the whole model again"
            )


def tokenizer_of(folder: Path, model: PreTrainedModel) -> Tokenizer:
    """Load the tokenizer in `folder` and make sure that it fits the model.

    A tokenizer without a padding token pads with the end of text, as the task's script does:
    padded places are masked everywhere.

    Raises:
        ValueError: It is not one, it knows more tokens than the model, or no end of text.
    """
    with explained(folder):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    rows = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
    if len(tokenizer) > rows:
        raise ValueError(
            f"{folder}: the tokenizer knows {len(tokenizer)} tokens and the model {rows}: copy the "
            "model's own tokenizer there"
        )
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = _end_of_text(folder, model, tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _end_of_text(folder: Path, model: PreTrainedModel, tokenizer: Any) -> str:
    """Return the token that ends a text by the model's config."""
    named = model.config.eos_token_id
    first = named[0] if isinstance(named, list) else named
    token = None if first is None else tokenizer.convert_ids_to_tokens(first)
    if token is None:
        raise ValueError(
            f"{folder}: the tokenizer has no EOS token, so the model could not learn where an "
            "answer ends: name one as eos_token in tokenizer_config.json"
        )
    return token
