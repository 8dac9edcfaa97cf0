"""What an objective is given beside the model."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor, nn

from unlearnlab.engine.model.data import Tokens
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.training.schedules import SHUFFLED, Rows, Schedule
from unlearnlab.spec.adapters import DEFAULT
from unlearnlab.spec.methods import MethodSpec, SetName

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


@dataclass(slots=True)
class Context(Generic[M]):
    """The method's settings, the reference, and what must outlive a step."""

    method: M
    """As in force: a user may change its weights while it runs."""
    reference: Callable[[], AbstractContextManager[None]]
    """Inside it the model computes with its original weights and without gradients."""
    seed: int
    epoch: int = 0
    """The pass over the first set, 0-based."""
    adapter: str = DEFAULT
    """Name of the adapter that the phase trains or makes, if there are adapters."""
    memo: dict = field(default_factory=dict)
    """Values of fixed data and fixed weights, and what adapts, for the length of a phase."""


Count = Callable[[Batch], int]
"""How many things of a batch a term is the mean of."""

Values = Mapping[str, float]
"""Numbers by loss term."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a method asks of the model, and what each of its terms is the mean of.

    The counts let batches of unequal size add up to what one large batch would have given.
    """

    terms: Callable[[nn.Module, Batch, Context], Terms]
    counts: Mapping[str, Count]
    """By term; a term that the settings leave out has its count all the same."""
    weights: Callable[[Values, Context], Values] | None = None
    """Signed weight of each term, given the values that it takes on a batch; none is as the
    method's settings say, whatever the values."""
    observe: Callable[[Values, Context], None] | None = None
    """Told the values of each optimizer step, for weights that adapt."""
    finish: Callable[[Target, Context], None] | None = None
    """What is done after the last step; for a method without sets, all that it does."""
    done: Callable[[Target, Rows, Context], Generator[None, None, bool]] | None = None
    """Asked after each pass but the last whether what was to be reached is reached."""
    schedule: Schedule = SHUFFLED
    """In which order rows come."""


def answer_tokens(name: SetName) -> Count:
    """Count the tokens of a set on which the loss counts."""
    return lambda batch: sum(batch.sets[name].answer_lengths)


def real_tokens(name: SetName) -> Count:
    """Count the tokens of a set that are not padding."""
    return lambda batch: sum(batch.sets[name].lengths)


def rows(name: SetName) -> Count:
    """Count the rows of a set."""
    return lambda batch: len(batch.sets[name].index)
