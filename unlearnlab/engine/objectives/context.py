"""What an objective is given beside the model."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor, nn

from unlearnlab.adapters import DEFAULT
from unlearnlab.engine.data import IGNORE, Tokens
from unlearnlab.engine.models import Target
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
    adapter: str = DEFAULT
    """Name of the adapter that the phase trains or makes, if there are adapters."""
    memo: dict = field(default_factory=dict)
    """Values of fixed data and fixed weights, computed once for a phase."""


Count = Callable[[Batch], int]
"""How many things of a batch a term is the mean of."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a method asks of the model, and what each of its terms is the mean of.

    The counts let batches of unequal size add up to what one large batch would have given.
    """

    terms: Callable[[nn.Module, Batch, Context], Terms]
    counts: Mapping[str, Count]
    """By term."""
    finish: Callable[[Target, Context], None] | None = None
    """What a method without sets does in place of steps."""


def answer_tokens(name: SetName) -> Count:
    """Count the tokens of a set on which the loss counts."""
    return lambda batch: int((batch.sets[name].labels_BT[:, 1:] != IGNORE).sum())


def real_tokens(name: SetName) -> Count:
    """Count the tokens of a set that are not padding."""
    return lambda batch: sum(batch.sets[name].lengths)


def rows(name: SetName) -> Count:
    """Count the rows of a set."""
    return lambda batch: len(batch.sets[name].index)
