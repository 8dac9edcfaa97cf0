"""What every method is made of: settings that declare themselves, and a card that explains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

SetName = Literal["forget", "retain", "refusal"]
"""Sets that a batch can draw on; `refusal` is the forget set with answers that admit ignorance."""

Layout = Literal["shuffled", "chunks", "by_task", "joint"]
"""How batches draw rows: shuffled beside streams of the other sets; in fixed order, chunk by chunk;
one subtask after another; or all sets together."""

RowCounts = Mapping[str, Mapping[str, int]]
"""Rows of each set by subtask."""


@dataclass(frozen=True, slots=True)
class Slider:
    """Range of a number's control on the page, at most as wide as the bounds of its `Field`."""

    minimum: float
    maximum: float
    step: float | None = None
    unit: str = ""
    log: bool = False
    """Whether the values span orders of magnitude: the page then takes it as text like 5e-4."""


@dataclass(frozen=True, slots=True)
class Expert:
    """Marks a field that the page folds away under the expert settings."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the page tells of a method."""

    title: str
    idea: str
    """One or two sentences."""
    formula: str
    """What is minimised, in LaTeX."""
    fails: str
    """When it goes wrong."""
    memory: str
    """What it holds beside what gradient difference holds."""
    source: str
    """Paper, with its identifier, and where this implementation departs from it."""


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """A forward pass of a training step, described for the memory estimate."""

    rows: SetName
    reads: Literal["losses", "predictions", "states"] = "losses"
    """What is kept of it: losses of all tokens, predictions of those with a loss, or one block's
    states."""
    compared: bool = False
    """Whether the original model's values are held as well."""


class Spec(BaseModel):
    """Base of everything a user can set: immutable, closed, documented by its own docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class MethodSpec(Spec):
    """Base of the methods. The terms of `weights` are those that the method's objective returns."""

    card: ClassVar[Card]
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    """The sets its batches draw on; an epoch is one pass over the first of them. A method without
    sets takes no steps."""
    signs: ClassVar[Mapping[str, int]] = {"forget": -1, "retain": 1}
    """Sign of each loss term in the sum that is minimised; its size is the field `TERM_weight`."""
    steers: ClassVar[bool] = False
    """Whether it steers the activations of one block, `layer`, and computes no block above it."""
    copies_trained: ClassVar[bool] = False
    """Whether it keeps a copy of the trained weights from the start of the phase."""
    needs_new_adapter: ClassVar[bool] = False
    """Whether an adapter that it trains must be new, so that its phase is the first."""
    merges: ClassVar[bool] = False
    """Whether it makes one adapter of those that the phases before it trained."""
    teaches: ClassVar[bool] = False
    """Whether its rows are learnt, so that there is something to forget."""

    @property
    def drawn(self) -> tuple[SetName, ...]:
        """The sets that it draws on with these settings: all, unless a method says otherwise."""
        return self.sets

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised, at the start."""
        return {term: sign * getattr(self, f"{term}_weight") for term, sign in self.signs.items()}

    @property
    def ends_early(self) -> bool:
        """Whether a phase may end before its last epoch."""
        return False

    @property
    def layout(self) -> Layout:
        """How batches draw rows with these settings."""
        return "shuffled"

    @property
    def chunk_rows(self) -> int | None:
        """Forget rows in each chunk with an optimizer of its own; None trains on all at once."""
        return None

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order: what they keep is there at once."""
        return tuple(ForwardPass(name) for name in self.drawn)

    @property
    def splits_by_length(self) -> bool:
        """Return whether rows of different length may go through the model apart."""
        return True

    def layer_problem(self, trained: range, blocks: int) -> str:
        """Say which setting does not fit the trained blocks of a model; empty if all do.

        Args:
            trained: Blocks that the phase trains.
            blocks: Count of the model's blocks.
        """
        return ""

    def last_block(self, blocks: int) -> int:
        """Return the last block, 0-based, that its passes compute in a model of `blocks` blocks."""
        return blocks - 1

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass over each part that has an optimizer of its own.

        Args:
            rows: Rows of each set by subtask.
            batch_size: Rows of the first set in a batch.
            retain_rows: Retain rows for each forget row.
        """
        if not self.sets:
            return ()
        return (math.ceil(sum(rows[self.sets[0]].values()) / batch_size),)


ForgetWeight = Annotated[float, Field(ge=0), Slider(0, 10, 0.1)]

RetainWeight = Annotated[float, Field(ge=0), Slider(0, 20, 0.1)]


def slider(field: FieldInfo) -> Slider | None:
    """Return the field's `Slider`, if it has one."""
    return next((item for item in field.metadata if isinstance(item, Slider)), None)


def expert(field: FieldInfo) -> bool:
    """Tell whether the field belongs to the expert settings."""
    return any(isinstance(item, Expert) for item in field.metadata)
