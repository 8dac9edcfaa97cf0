"""Reaching into a model: its blocks, what a part of it puts out, and other values in its place."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearnlab.models.families import Family, family


class StopForward(Exception):
    """Ends a forward pass at the block whose output is all that is wanted."""


def bare(model: nn.Module) -> PreTrainedModel:
    """Return the model without what an adapter wraps around it."""
    return next(m for m in model.modules() if isinstance(m, PreTrainedModel))


def family_of(model: nn.Module) -> Family:
    """Return the family of a causal language model, also under an adapter.

    Raises:
        ValueError: It is none of those known.
    """
    return family(bare(model).config.model_type)


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Return the blocks of a causal language model, also under an adapter.

    Raises:
        ValueError: Its family is not known.
    """
    return cast("nn.ModuleList", bare(model).get_submodule(family_of(model).blocks))


@contextmanager
def capturing(module: nn.Module, *, stop: bool = False) -> Generator[list[Tensor]]:
    """Collect the hidden states that `module` puts out. Undone on exit, whatever happens.

    Args:
        module: A decoder block.
        stop: End the forward pass there. What lies above is then not computed.
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
    """Replace the hidden states that `module` puts out by `edit` of them, until the block ends."""

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
    """Collect the hidden states that a decoder block takes in."""
    captured: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Any, ...]) -> None:
        captured.append(args[0])

    handle = module.register_forward_pre_hook(keep)
    try:
        yield captured
    finally:
        handle.remove()


class _Given(nn.Module):
    """Stands in for a block: puts out what it was given, whatever comes in."""

    def __init__(self, hidden_BTD: Tensor) -> None:
        super().__init__()
        self._hidden_BTD = hidden_BTD

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._hidden_BTD


@contextmanager
def beginning_at(model: nn.Module, block: int, hidden_BTD: Tensor) -> Generator[None]:
    """Leave the blocks below `block` out until the `with` block ends: they need no second run.

    Args:
        model: A causal language model.
        block: The first that computes; past the last, none does.
        hidden_BTD: What it takes in, [B, T, D]. What the model makes of its own input, such as
            embeddings with positions added, is not used.
    """
    blocks = decoder_blocks(model)
    # Every block keeps its place: masks and rotations may depend on it.
    skipped = list(blocks[:block])

    def begin(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden_BTD, *args[1:])

    handle = None if skipped else blocks[0].register_forward_pre_hook(begin)
    for place in range(len(skipped)):
        blocks[place] = _Given(hidden_BTD)
    try:
        yield
    finally:
        for place, module in enumerate(skipped):
            blocks[place] = module
        if handle:
            handle.remove()
