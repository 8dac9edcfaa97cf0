"""Access to a model's blocks: capture or replace their hidden states, or skip the first ones."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearnlab.models.families import Family, family


class StopForward(Exception):
    """Ends a forward pass after the captured block."""


def base_model(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside an adapter's wrapper, or the model itself."""
    return next(m for m in model.modules() if isinstance(m, PreTrainedModel))


def family_of(model: nn.Module) -> Family:
    """Return the family of a causal language model, with or without an adapter.

    Raises:
        ValueError: The family is unknown.
    """
    return family(base_model(model).config.model_type)


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Return the blocks of a causal language model, with or without an adapter.

    Raises:
        ValueError: The family is unknown.
    """
    return cast("nn.ModuleList", base_model(model).get_submodule(family_of(model).blocks))


@contextmanager
def capturing(module: nn.Module, *, stop: bool = False) -> Generator[list[Tensor]]:
    """Collect the output hidden states of a block or a part of one inside the `with` block.

    With `stop`, the forward pass ends there, and later blocks are not computed.
    """
    captured: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        captured.append(output[0] if isinstance(output, tuple) else output)
        if stop:
            raise StopForward

    handle = module.register_forward_hook(keep)
    try:
        with suppress(StopForward):
            yield captured
    finally:
        handle.remove()


@contextmanager
def editing(module: nn.Module, edit: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Apply `edit` to the output hidden states of `module` inside the `with` block."""

    def replace(
        _module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]
    ) -> Tensor | tuple[Tensor, ...]:
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def capturing_input(module: nn.Module) -> Generator[list[Tensor]]:
    """Collect the input hidden states of a decoder block inside the `with` block."""
    captured: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Any, ...]) -> None:
        captured.append(args[0])

    handle = module.register_forward_pre_hook(keep)
    try:
        yield captured
    finally:
        handle.remove()


class _Fixed(nn.Module):
    """Replaces a block: returns given hidden states for any input."""

    def __init__(self, hidden_BTD: Tensor) -> None:
        super().__init__()
        self._hidden_BTD = hidden_BTD

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._hidden_BTD


@contextmanager
def beginning_at(model: nn.Module, block: int, hidden_BTD: Tensor) -> Generator[None]:
    """Skip the blocks before `block` inside the `with` block.

    Args:
        model: A causal language model.
        block: First block to compute; the number of blocks skips all.
        hidden_BTD: Input of that block, [B, T, D]; replaces what the model computes from its own
            input up to there.
    """
    blocks = decoder_blocks(model)
    # Blocks keep their index: masks and rotary embeddings may depend on it.
    skipped = list(blocks[:block])

    def begin(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden_BTD, *args[1:])

    handle = None if skipped else blocks[0].register_forward_pre_hook(begin)
    for place in range(len(skipped)):
        blocks[place] = _Fixed(hidden_BTD)
    try:
        yield
    finally:
        for place, module in enumerate(skipped):
            blocks[place] = module
        if handle:
            handle.remove()
