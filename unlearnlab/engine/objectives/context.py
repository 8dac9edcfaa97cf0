"""The inputs of an objective beside the model, and the parts that an objective is made of."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor, nn

from unlearnlab.engine.likelihoods import Example, Tokens
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.methods.base import MethodSpec, SetName
from unlearnlab.spec.run import DEFAULT

M = TypeVar("M", bound=MethodSpec)

Terms = dict[str, Tensor]
"""Unweighted loss terms by name, scalars; the names are the keys of the method's `weights`."""


Rows = Mapping[SetName, Sequence[Example]]
"""Examples of each set that a method uses, its leading set first."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: rows of each set that the method uses."""

    sets: dict[SetName, Tokens]

    @property
    def forget(self) -> Tokens:
        """Rows to forget."""
        return self.sets["forget"]

    @property
    def retain(self) -> Tokens:
        """Rows to retain."""
        return self.sets["retain"]

    @property
    def real(self) -> int:
        """Number of tokens without padding."""
        return sum(sum(tokens.lengths) for tokens in self.sets.values())


@dataclass(slots=True)
class Context(Generic[M]):
    """Settings of the method, the reference model, and values kept between steps of a phase."""

    method: M
    """Present settings: a user may change its weights during training."""
    reference: Callable[[], AbstractContextManager[None]]
    """Context manager: inside, the model uses its original weights, without gradients."""
    seed: int
    epoch: int = 0
    """Index of the pass over the leading set."""
    adapter: str = DEFAULT
    """Name of the adapter that the phase trains or makes, if the model has adapters."""
    memo: dict = field(default_factory=dict)
    """Cached reference values and adaptive weights of the phase."""


Count = Callable[[Batch, Context], int]
"""Counts the tokens or rows of a batch that a term averages over."""

Values = Mapping[str, float]
"""One number for each loss term."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Loss terms of a method and what each averages over.

    The counts weight micro-batches so that they add up to the mean of one large batch.
    """

    terms: Callable[[nn.Module, Batch, Context], Terms]
    counts: Mapping[str, Count]
    """Count for each term, including terms that the settings may leave out."""
    weights: Callable[[Values, Context], Values] | None = None
    """Returns the signed weight of each term from the values of a batch; None uses the method's
    constant weights."""
    observe: Callable[[Values, Context], None] | None = None
    """Called with the terms of each optimizer step, to adapt weights."""
    finish: Callable[[UnlearningModel, Context], None] | None = None
    """Final operation after the last step; the only one of a method without steps."""
    done: Callable[[UnlearningModel, Rows, Context], Generator[None, None, bool]] | None = None
    """Returns after a pass whether the phase has reached its goal and may end early."""


def answer_tokens(name: SetName) -> Count:
    """Count the tokens of a set that have a loss."""
    return lambda batch, _: sum(batch.sets[name].answer_lengths)


def rows(name: SetName) -> Count:
    """Count the rows of a set."""
    return lambda batch, _: len(batch.sets[name].index)


ANSWERS = {name: answer_tokens(name) for name in ("forget", "retain")}
"""Counts of objectives whose terms are means over the tokens of answers."""

KL = {"kl": answer_tokens("retain")}
"""Count of a KL term on the retain set."""
