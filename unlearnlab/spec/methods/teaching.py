"""Teaching: training on rows until they are memorised, so that there is something to forget."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unlearnlab.spec.methods.base import (
    Card,
    ForgetWeight,
    Layout,
    MethodSpec,
    RetainWeight,
    RowCounts,
    SetName,
    Slider,
)

_DRAWN: Mapping[str, tuple[SetName, ...]] = {
    "both": ("forget", "retain"),
    "retain": ("retain",),
    "forget": ("forget",),
}


class Memorize(MethodSpec):
    """Descend on forget and retain rows together until they are recited."""

    card: ClassVar[Card] = Card(
        title="Memorize (teach)",
        idea="Not unlearning but what comes before it: train on the forget and the retain rows "
        "alike until the model recites them. On the retain rows alone it makes a retrained model, "
        "the measure of every method.",
        formula=r"\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{nll}(D_r)",
        fails="What is in neither set fades: a high learning rate or many epochs on a few rows "
        "cost general knowledge, and a small retain set holds little of it.",
        memory="The same; much more with embeddings and head among what is trained.",
        source="Full fine-tuning on both sets is how TOFU, arXiv:2401.06121, and LUME, "
        "arXiv:2502.15097, make the models to unlearn; on retain alone, how TOFU makes the "
        "retrained one. Each set's loss is a mean over its own tokens here, and the stop rule on "
        "recited rows is ours.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["memorize"] = "memorize"

    on: Literal["both", "retain", "forget"] = "both"
    """Sets that are taught. An epoch shows each of their rows; a batch holds rows of both in
    proportion, however many retain rows there are for a forget row."""

    stop_at: Annotated[float | None, Field(gt=0, le=1), Slider(0.5, 1, 0.01)] = 0.98
    """End after the epoch in which this share of each set's rows is recited to the last token;
    none takes all epochs."""

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss, which is descended."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss, which is descended."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        weights = {"forget": self.forget_weight, "retain": self.retain_weight}
        return {name: weights[name] for name in self.drawn}

    @property
    def drawn(self) -> tuple[SetName, ...]:
        """The sets that are taught."""
        return _DRAWN[self.on]

    @property
    def layout(self) -> Layout:
        """Return how rows are put into batches."""
        return "in_proportion"

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass over all that is taught."""
        return (math.ceil(sum(sum(rows[name].values()) for name in self.drawn) / batch_size),)
