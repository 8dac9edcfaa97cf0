"""Reaching into a model: its blocks, and what a block puts out."""

from collections.abc import Generator
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
