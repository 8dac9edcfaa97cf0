"""What an objective is given beside the model."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor, nn

from unlearnlab.engine.data import Tokens
from unlearnlab.methods import MethodSpec, SetName

M = TypeVar("M", bound=MethodSpec)

Terms = dict[str, Tensor]
"""Loss terms by name, unweighted: the keys of the method's `weights`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the sets that the method draws on."""

    sets: dict[SetName, Tokens]

    @property
    def forget(self) -> Tokens:
        """Rows to be forgotten."""
        return self.sets["forget"]

    @property
    def retain(self) -> Tokens:
        """Rows to be kept."""
        return self.sets["retain"]

    @property
    def real(self) -> int:
        """Count the tokens that are not padding."""
        return sum(sum(tokens.lengths) for tokens in self.sets.values())


@dataclass(frozen=True, slots=True)
class Context(Generic[M]):
    """The method's settings, the reference, and what must outlive a step."""

    method: M
    reference: Callable[[], AbstractContextManager[None]]
    """Inside it the model computes with its original weights and without gradients."""
    seed: int
    epoch: Callable[[], int] = lambda: 0
    """The pass over the first set, 0-based."""
    memo: dict = field(default_factory=dict)
    """Values of fixed data and fixed weights, computed once for a phase."""


Objective = Callable[[nn.Module, Batch, Context], Terms]
