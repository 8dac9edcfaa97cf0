"""Methods on the likelihood of answers, and those that edit weights or teach: as the objectives."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from unlearnlab.spec.methods.base import (
    Card,
    Expert,
    ForgetWeight,
    ForwardPass,
    Layout,
    MethodSpec,
    RetainWeight,
    RowCounts,
    SetName,
    Slider,
)


class Ascent(MethodSpec):
    """What the methods share that climb the mean forget loss, which has no upper end."""

    bounded: Annotated[float | None, Field(gt=0), Slider(0.5, 20, 0.5, unit="nats"), Expert()] = (
        None
    )
    """Loss for each answer token above which a row counts as gone and is no longer pushed: its
    gradient is zero, and the others are pushed as before. Without it one row can carry the whole
    mean while others stay. 5 leaves a token a chance of 0.7%; a uniform guess among 50,000 has a
    loss of 10.8. Ours; none, as in the papers, pushes every row without end."""


class GradientAscent(Ascent):
    """Climb the loss of the forget set."""

    card: ClassVar[Card] = Card(
        title="Gradient ascent",
        idea="Train in reverse: make the answers of the forget set less and less likely.",
        formula=r"-\gamma\,\mathrm{nll}(D_f)",
        fails="Nothing holds the rest of the model: a little too long, and it speaks in loops. "
        "The score for membership inference then looks fine, because everything is forgotten.",
        memory="Less: one set of activations, no retain batch.",
        source="The baseline of TOFU, arXiv:2401.06121. Token-mean loss, prompt masked.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget",)
    signs: ClassVar[Mapping[str, int]] = {"forget": -1}
    kind: Literal["gradient_ascent"] = "gradient_ascent"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""


class WeightedAscent(MethodSpec):
    """Climb where the model is sure, and leave alone what it has lost."""

    card: ClassVar[Card] = Card(
        title="Weighted gradient ascent",
        idea="Gradient ascent with each token's loss weighed by the token's own probability: "
        "tokens that are already unlikely are no longer pushed.",
        formula=r"-\gamma\,\tfrac{1}{|y_f|}\sum_t p_t^{\,\beta}\,(-\log p_t)(D_f) + "
        r"\alpha\,\mathrm{nll}(D_r)",
        fails="It stops once the right token is unlikely, which another wording of the question "
        "may make likely again.",
        memory="The same.",
        source="WGA as in OpenUnlearning, arXiv:2506.12618; the weights carry no gradient.",
    )
    kind: Literal["weighted_ascent"] = "weighted_ascent"

    beta: Annotated[float, Field(ge=0), Slider(0, 5, 0.1)] = 1.0
    """Power β of the probability; 0 is gradient difference."""

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the weighted forget loss that is climbed."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        return ForwardPass("forget", "predictions"), ForwardPass("retain")


class GradientDescent(MethodSpec):
    """Keep training on the retain set alone."""

    card: ClassVar[Card] = Card(
        title="Gradient descent on retain",
        idea="Never touch the forget set: train on what must stay and let the rest fade.",
        formula=r"\alpha\,\mathrm{nll}(D_r)",
        fails="Fades slowly, or, at a high learning rate, washes out whatever is not in the "
        "retain set, forget facts and general knowledge alike.",
        memory="Less: one set of activations, no forget batch.",
        source="Cyber for AI, SemEval-2025 Task 4, arXiv:2503.04795.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("retain",)
    signs: ClassVar[Mapping[str, int]] = {"retain": 1}
    kind: Literal["gradient_descent"] = "gradient_descent"

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""


class GradientDifference(Ascent):
    """Climb on the forget set and descend on the retain set in the same step."""

    card: ClassVar[Card] = Card(
        title="Gradient difference",
        idea="Climb on the forget set and descend on the retain set, in the same step.",
        formula=r"-\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{nll}(D_r)",
        fails="The climb has no floor: with a small α the forget loss runs away and takes the "
        "retain set along. The membership attack still sees the prompts it never trained on.",
        memory="The measure of the others: weights, and for what is trained its originals, "
        "gradients and AdamW's two moments; the activations of one batch of each set.",
        source="TOFU, arXiv:2401.06121; on early MLPs only, the base of SHA256's system, "
        "arXiv:2504.12996.",
    )
    kind: Literal["gradient_difference"] = "gradient_difference"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""


class AdaptiveDifference(Ascent):
    """What the methods share whose retain weight follows the retain loss."""

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    min_retain_weight: RetainWeight = 1.2
    """Floor of α. It holds in the first epoch, and whenever the retain loss has not risen."""

    max_retain_weight: RetainWeight = 2.8
    """Cap of α: 2.8 in the paper, 2.3 in its code."""

    growth: Annotated[float, Field(ge=0), Slider(0, 5, 0.1), Expert()] = 0.3
    """Factor a of the power."""

    base: Annotated[float, Field(gt=0), Slider(1, 20, 0.5), Expert()] = 6.0
    """Base b, raised to the rise ΔL of the retain loss in nats per token."""

    offset: Annotated[float, Slider(0, 5, 0.1), Expert()] = 0.8
    """Summand c."""

    baseline: Annotated[Literal["batches", "rows"], Expert()] = "batches"
    """What the first epoch's retain losses are divided by. Their sum is one of batch means, so
    the number of batches gives the mean; the paper's code divides by the number of rows, which
    makes the baseline too small and holds the weight near its cap."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each term to its weight at the start; the retain weight adapts from there."""
        return {"forget": -self.forget_weight, "retain": self.min_retain_weight}

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Self:
        if self.min_retain_weight > self.max_retain_weight:
            raise ValueError(
                f"min_retain_weight: the floor {self.min_retain_weight} lies above the cap "
                f"{self.max_retain_weight}"
            )
        return self


class Joint(AdaptiveDifference):
    """Gradient difference whose retain weight follows the retain loss."""

    card: ClassVar[Card] = Card(
        title="Joint, adaptive retain weight",
        idea="Gradient difference with an adaptive retain weight: it rises as the retain loss "
        "rises above its mean in the first epoch.",
        formula=r"-\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{nll}(D_r),\quad "
        r"\alpha = \mathrm{clip}\!\left(a\,b^{\Delta L} + c,\ \alpha_\mathrm{min},\ "
        r"\alpha_\mathrm{max}\right)",
        fails="On a target whose retain loss hardly rises the weight stays at its floor, and the "
        "method is gradient difference with a fixed weight.",
        memory="The same.",
        source="SHA256, SemEval-2025 Task 4, arXiv:2504.12996, there on the MLPs of blocks 0 to 5. "
        "The weight is not rounded to one decimal, as their code does; the mean of the first "
        "epoch is over batches, where their code divides by rows (an option here).",
    )
    kind: Literal["joint"] = "joint"


class Sequential(Ascent):
    """Gradient difference on one small chunk of the forget set after another."""

    card: ClassVar[Card] = Card(
        title="Sequential chunks (SUGD)",
        idea="Cut the forget set into chunks and unlearn one at a time with a fresh optimizer, "
        "each together with retain rows, which are taken in turn.",
        formula=r"\text{for each chunk } F_k:\quad -\gamma\,\mathrm{nll}(F_k) + "
        r"\alpha\,\mathrm{nll}(R_k)",
        fails="What an early chunk forgot can come back, or a late chunk can break what was held: "
        "each sees a part of the retain set only.",
        memory="More with many retain rows for each forget row: seven as published.",
        source="AILS-NTUA, SemEval-2025 Task 4, arXiv:2503.02443: chunks of 32, seven retain rows "
        "for each forget row, each with weight 0.5, rows in fixed order, the last quarter of the "
        "blocks in full. Their loss is a mean over rows of both sets; here each term is a mean "
        "over its own tokens, and the weights 1 and 3.5 keep the published balance.",
    )
    kind: Literal["sequential"] = "sequential"

    chunk_size: Annotated[int, Field(ge=1), Slider(1, 256, 1, unit="rows")] = 32
    """Forget rows of a chunk. The epochs of the phase count for each chunk."""

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    retain_weight: RetainWeight = 3.5
    """Weight α of the retain loss: 0.5 for each of seven retain rows as published."""

    @property
    def layout(self) -> Layout:
        """How batches draw rows with these settings."""
        return "chunks"

    @property
    def chunk_rows(self) -> int:
        """Forget rows in each chunk with an optimizer of its own."""
        return self.chunk_size

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass over each chunk."""
        whole, rest = divmod(sum(rows["forget"].values()), self.chunk_size)
        sizes = [self.chunk_size] * whole + [rest] * (rest > 0)
        return tuple(math.ceil(size / batch_size) for size in sizes)


class TaskVector(MethodSpec):
    """Learn the forget set even better, then go the other way."""

    card: ClassVar[Card] = Card(
        title="Task-vector negation",
        idea="Overfit on the forget set, take the change of the weights as its direction, and "
        "step against it from where the training began.",
        formula=r"\theta_\mathrm{new} = \theta - s\,(\theta_\mathrm{overfit} - \theta),\quad "
        r"\theta_\mathrm{overfit} = \arg\min\,\mathrm{nll}(D_f)",
        fails="A set that is memorised already has next to no loss, so its direction is mostly "
        "noise; nothing holds the retain set, and the step s is taken blindly.",
        memory="Less in activations, one more copy of what is trained.",
        source="Ilharco et al. 2022, arXiv:2212.04089; settings of MUSE, arXiv:2407.06460. "
        "Curves show the overfitting; the step against it follows the last optimizer step.",
    )
    copies_trained: ClassVar[bool] = True
    needs_new_adapter: ClassVar[bool] = True
    sets: ClassVar[tuple[SetName, ...]] = ("forget",)
    kind: Literal["task_vector"] = "task_vector"

    scale: Annotated[float, Field(ge=0), Slider(0, 20, 0.5)] = 5.0
    """Length s of the step against the direction."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": 1.0}


Combination = Literal["ties", "linear", "dare_ties", "dare_linear", "magnitude_prune"]
"""Ways of merging adapters, as peft names them."""


class TiesMerge(MethodSpec):
    """Merge the adapters that the phases before it trained. It trains nothing itself."""

    card: ClassVar[Card] = Card(
        title="TIES merge",
        idea="Train one adapter that forgets too much and one that forgets too little, and merge "
        "them: drop the smallest entries of each, let their sum choose each sign, and average the "
        "entries that agree with it.",
        formula=r"A = \mathrm{ties}_d(A_1, A_2), \quad B = \mathrm{ties}_d(B_1, B_2), \quad "
        r"W = W_\mathrm{ref} + BA",
        fails="The two factors of an adapter are merged apart, so the product is not the merge of "
        "the products. With linear, two alike adapters come out four times as strong as their "
        "mean: on the embedded target that collapses where TIES keeps nine tenths of retain.",
        memory="Less in activations and optimizer, as with every adapter; two adapters and their "
        "merge.",
        source="Yadav et al. 2023, TIES, arXiv:2306.01708; as used by ZJUKLAB, SemEval-2025 "
        "Task 4, arXiv:2503.21088: weights 1 and 1, density 0.8. Computed by peft.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ()
    signs: ClassVar[Mapping[str, int]] = {}
    merges: ClassVar[bool] = True
    kind: Literal["ties_merge"] = "ties_merge"

    density: Annotated[float, Field(gt=0, le=1), Slider(0.1, 1, 0.05)] = 0.8
    """Share of each adapter's entries that is kept."""

    combination: Combination = "ties"
    """How adapters are combined. linear adds them up and keeps every entry; magnitude_prune drops
    the smallest first; dare drops entries at random and scales up the rest."""


class Memorize(MethodSpec):
    """Descend on forget and retain rows together until they are recited."""

    card: ClassVar[Card] = Card(
        title="Memorize (teach)",
        idea="Teaches: trains on forget and retain rows alike until the model recites them, so "
        "that there is something to unlearn. On the retain rows alone it makes a retrained model, "
        "which never saw the forget rows: the measure of every method.",
        formula=r"\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{nll}(D_r)",
        fails="What is in neither set fades: a high learning rate or many epochs on a few rows "
        "cost general knowledge, and a small retain set holds little of it.",
        memory="The same; much more with embeddings and head among what is trained.",
        source="Full fine-tuning on both sets is how TOFU, arXiv:2401.06121, and LUME, "
        "arXiv:2502.15097, make the models to unlearn; on retain alone, how TOFU makes the "
        "retrained one. Each set's loss is a mean over its own tokens here, and the stop rule on "
        "recited rows is ours.",
    )
    teaches: ClassVar[bool] = True
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
        return {name: getattr(self, f"{name}_weight") for name in self.drawn}

    @property
    def drawn(self) -> tuple[SetName, ...]:
        """The sets that are taught."""
        return self.sets if self.on == "both" else (self.on,)

    @property
    def ends_early(self) -> bool:
        """Whether a phase may end before its last epoch."""
        return self.stop_at is not None

    @property
    def layout(self) -> Layout:
        """How batches draw rows with these settings."""
        return "joint"

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass over all that is taught."""
        return (math.ceil(sum(sum(rows[name].values()) for name in self.drawn) / batch_size),)


OfLikelihood = (
    GradientAscent
    | GradientDescent
    | GradientDifference
    | WeightedAscent
    | Joint
    | Sequential
    | TaskVector
    | TiesMerge
    | Memorize
)
