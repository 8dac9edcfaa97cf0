"""Reaching into a model: its blocks, what a part of it puts out, and other values in its place."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from torch import Tensor, nn
from transformers import PreTrainedModel


class StopForward(Exception):
    """Ends a forward pass at the block whose output is all that is wanted."""


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Return the blocks of a causal language model, also under an adapter.

    Raises:
        ValueError: The model keeps its blocks in a place this program does not know.
    """
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    config = next(m for m in model.modules() if isinstance(m, PreTrainedModel)).config
    found = [blocks for blocks in lists if len(blocks) == config.num_hidden_layers]
    if not found:
        raise ValueError(
            f"{type(model).__name__}: found no list of {config.num_hidden_layers} blocks"
        )
    return found[0]


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
def beginning_at(model: nn.Module, block: int) -> Generator[None]:
    """Leave the blocks below `block` out until the `with` block ends: they need no second run.

    The model is then given, as `inputs_embeds`, what the block takes in. This holds for models that
    hand their embeddings to the first block as they are, such as OLMo and Llama.
    """
    blocks = decoder_blocks(model)
    owner, name = next(
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if child is blocks
    )
    setattr(owner, name, blocks[block:])
    try:
        yield
    finally:
        setattr(owner, name, blocks)
