"""Methods that steer the activations of one block."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unlearnlab.spec.methods.base import (
    Card,
    Expert,
    ForgetWeight,
    ForwardPass,
    Layout,
    MethodSpec,
    RowCounts,
    Slider,
)


class Steering(MethodSpec):
    """What the methods that steer the activations of one block share."""

    steers: ClassVar[bool] = True
    signs: ClassVar[Mapping[str, int]] = {"forget": 1, "retain": 1}

    layer: Annotated[int, Field(ge=0), Slider(0, 31, 1)] = 7
    """Block ℓ whose output is steered, 0-based. Blocks above it are not computed."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the steering term."""

    retain_weight: Annotated[float, Field(ge=0), Slider(0, 2000, 0.5)] = 100.0
    """Weight α of the term that holds retain activations."""

    directions: Annotated[Literal["one", "per_task"], Expert()] = "one"
    """One random direction for all forget text (both papers' text), or one for each subtask (the
    code of Mr. Snuffleupagus)."""

    centred: Annotated[bool, Expert()] = False
    """Draw the direction around zero. As published it is uniform on [0, 1), hence mostly mean,
    and a model whose LayerNorm removes the mean (OLMo) does not see most of the push."""

    error: Annotated[Literal["mean", "sum"], Expert()] = "mean"
    """Squared error over the hidden units: their mean (all released code, to which the published
    α belong) or their sum, the squared length of the papers' formulas."""

    normalised: Annotated[bool, Expert()] = False
    """Divide both terms by the block's mean squared length on the first forget batch, so that
    they are relative errors whatever the model's activations. AdamW hardly notices: it is the
    limit on the gradient norm that does."""

    mask_padding: Annotated[bool, Expert()] = True
    """Average over real tokens only. The released code counts padding as text; reproduce that
    with false."""

    positions: Annotated[Literal["all", "skip_first", "median"], Expert()] = "all"
    """Token positions that count. The first of a text is often an attention sink: its activations
    are a hundred times as long as all others, so that it makes up nearly all of a mean. skip_first
    leaves it out of both terms and of measured lengths; median keeps it in the terms, and measures
    the median length of tokens, not the mean. As published: all."""

    order: Annotated[Literal["mixed", "by_task"], Expert()] = "mixed"
    """Rows of all subtasks in one random order, or one subtask after another in an order drawn
    once for each set and cut to the shorter set (Mr. Snuffleupagus)."""

    @property
    def layout(self) -> Layout:
        """How batches draw rows with these settings."""
        return "shuffled" if self.order == "mixed" else "by_task"

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        return ForwardPass("forget", "states"), ForwardPass("retain", "states", compared=True)

    @property
    def splits_by_length(self) -> bool:
        """Return whether rows of different length may go apart: not if padding counts as text."""
        return self.mask_padding

    def layer_problem(self, trained: range, blocks: int) -> str:
        """Say whether the steered block lies outside the model or below the trained ones."""
        if self.layer >= blocks:
            last = blocks - 1
            return f"layer: layer {self.layer} is out of range: the model has blocks 0 to {last}"
        if self.layer < trained.start:
            return (
                f"layer: block {self.layer} lies below the first trained block {trained.start}: "
                f"its output would never change; read at block {trained.start} or above"
            )
        return ""

    def last_block(self, blocks: int) -> int:
        """Return the steered block: those above it are not computed."""
        return self.layer

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass: by subtask, the shorter set ends it."""
        if self.order == "mixed":
            return super().batches(rows, batch_size, retain_rows)
        forget = sum(math.ceil(n / batch_size) for n in rows["forget"].values())
        retain = sum(math.ceil(n / (batch_size * retain_rows)) for n in rows["retain"].values())
        return (min(forget, retain),)


class RMU(Steering):
    """Representation misdirection: steer forget activations to a random direction and length."""

    card: ClassVar[Card] = Card(
        title="RMU",
        idea="At one block, push the activations of forget text towards a random direction of "
        "length c, and hold those of retain text where they were.",
        formula=r"\left\|h_\ell(x_f) - c\,u\right\|^2 + \alpha\left\|h_\ell(x_r) - "
        r"h_\ell^\mathrm{ref}(x_r)\right\|^2",
        fails="c below the natural length of the activations shrinks instead of steering, and "
        "α is in units of that length squared: published values do not carry over between models.",
        memory="Less: blocks above the steered one are neither computed nor kept; one forward pass "
        "of the original model up to it for each retain batch.",
        source="Li et al. 2024, WMDP, arXiv:2403.03218. Squared error averaged over hidden units "
        "and over real tokens; padding is masked, unlike in the released code.",
    )
    kind: Literal["rmu"] = "rmu"

    steering_coeff: Annotated[float, Field(gt=0), Slider(1, 1000, 1)] = 20.0
    """Length c of the target vector."""


class AdaptiveRMU(Steering):
    """RMU whose target length follows the natural length of the forget activations."""

    card: ClassVar[Card] = Card(
        title="Adaptive RMU",
        idea="RMU with a target length that is a multiple of the forget activations' own length, "
        "so that one setting suits early and late blocks.",
        formula=r"\left\|h_\ell(x_f) - \beta\,\overline{\|h_\ell(x_f)\|}\,u\right\|^2 + "
        r"\alpha\left\|h_\ell(x_r) - h_\ell^\mathrm{ref}(x_r)\right\|^2",
        fails="The steered block feeds everything above it: retain text is held, so what is in "
        "neither set pays, which retain scores do not show; and forget text is pushed further "
        "than never having seen it would.",
        memory="Less: blocks above the steered one are neither computed nor kept; one forward pass "
        "of the original model up to it for each retain batch.",
        source="Dang et al. 2024, arXiv:2408.06223; Mr. Snuffleupagus, SemEval-2025 Task 4, "
        "arXiv:2506.16548. Padding is masked, unlike in the released code.",
    )
    kind: Literal["adaptive_rmu"] = "adaptive_rmu"

    scale: Annotated[float, Field(gt=0), Slider(0.5, 20, 0.5)] = 5.0
    """Target length β as a multiple of the mean length of forget activations."""

    retain_weight: Annotated[float, Field(ge=0), Slider(0, 2000, 0.5)] = 1200.0
    """Weight α of the term that holds retain activations: 1200 in the paper, 900 in the code of
    Mr. Snuffleupagus, whose paper speaks of 0.1 to 5."""

    measured: Annotated[Literal["once", "each_epoch"], Expert()] = "once"
    """When the natural length is measured: on the first forget batch of each direction, once for
    the phase (the paper's code) or anew in each epoch (the code of Mr. Snuffleupagus, whose paper
    speaks of a fixed length), where it can drift upward with the model."""


OfRepresentation = RMU | AdaptiveRMU
