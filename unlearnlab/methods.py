"""The unlearning methods and their hyperparameters, each declared once.

A field's annotation holds its bounds, its control and its unit; the docstring under it is the
tooltip, the help text and the README row. The form, the command line, the README and validation
all read these classes. To add a method: one class here, one objective, one test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

SetName = Literal["forget", "retain", "refusal"]
"""Sets that a batch can draw on; `refusal` is the forget set with answers that admit ignorance."""


RowCounts = Mapping[str, Mapping[str, int]]
"""Rows of each set by subtask."""

Combination = Literal["ties", "linear", "dare_ties", "dare_linear", "magnitude_prune"]
"""Ways of merging adapters, as peft names them."""


@dataclass(frozen=True, slots=True)
class Slider:
    """How a number is offered on the page; `Field` bounds are the truth, these may be narrower."""

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


class Spec(BaseModel):
    """Base of everything a user can set: immutable, closed, documented by its own docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class MethodSpec(Spec):
    """Base of the methods. The terms of `weights` are those that the method's objective returns."""

    card: ClassVar[Card]
    sets: ClassVar[tuple[SetName, ...]]
    """The sets its batches draw on; an epoch is one pass over the first of them. A method without
    sets takes no steps."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        raise TypeError(f"{type(self).__name__} declares no weights")

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


class GradientAscent(MethodSpec):
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
    kind: Literal["gradient_ascent"] = "gradient_ascent"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": -self.forget_weight}


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
    kind: Literal["gradient_descent"] = "gradient_descent"

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"retain": self.retain_weight}


class GradientDifference(MethodSpec):
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
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["gradient_difference"] = "gradient_difference"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": -self.forget_weight, "retain": self.retain_weight}


class AdaptiveDifference(MethodSpec):
    """What the methods share whose retain weight follows the retain loss."""

    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")

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
        idea="Gradient difference that minds its step: as the retain loss rises above its first "
        "epoch's mean, the retain weight rises with it.",
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


class JointKL(AdaptiveDifference):
    """The joint objective under a bound on how far retain predictions may move."""

    card: ClassVar[Card] = Card(
        title="Joint under a KL constraint",
        idea="The joint objective, and a budget: retain predictions may drift from the original "
        "model's by so much divergence; beyond it a growing weight pulls them back.",
        formula=r"-\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{nll}(D_r) + "
        r"\lambda\,\mathrm{KL}(p_\mathrm{ref}\,\|\,p)(D_r),\quad "
        r"\lambda \leftarrow \max\!\left(0,\ \lambda + \eta\,(\mathrm{KL} - \varepsilon)\right)",
        fails="A budget below what a batch's noise gives lets λ grow without end, and nothing is "
        "forgotten any more; a loose one never binds.",
        memory="More: the original model's predictions of the retain batch, one number for each "
        "token and vocabulary entry, and the forward pass that gives them.",
        source="The future work that SHA256 names, arXiv:2504.12996; the constraint is met by dual "
        "ascent, one step for each optimizer step. Ours.",
    )
    kind: Literal["joint_kl"] = "joint_kl"

    kl_budget: Annotated[float, Field(ge=0), Slider(0, 1, 0.01, unit="nats")] = 0.05
    """Divergence ε for each answer token of the retain set that is free of charge."""

    dual_rate: Annotated[float, Field(ge=0), Slider(0, 10, 0.1)] = 1.0
    """Step η by which λ follows the excess over the budget."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each term to its weight at the start; those of retain and KL adapt from there."""
        return {**super().weights, "kl": 0.0}


class KLMinimization(MethodSpec):
    """Climb on the forget set, and keep every retain prediction where it was."""

    card: ClassVar[Card] = Card(
        title="KL minimisation",
        idea="Climb on the forget set while the predictions on the retain set are held to the "
        "original model's, the whole distribution and not only the right token.",
        formula=r"-\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{KL}(p_\mathrm{ref}\,\|\,p)(D_r)",
        fails="The climb has no floor, as in gradient difference, and the divergence costs nothing "
        "until it is large: by then the model is elsewhere.",
        memory="More: the original model's predictions of the retain batch, one number for each "
        "token and vocabulary entry, and the forward pass that gives them.",
        source="TOFU, arXiv:2401.06121. The divergence is averaged over answer tokens; their code "
        "averages over all positions, prompt and padding included.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["kl_minimization"] = "kl_minimization"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    kl_weight: RetainWeight = 1.0
    """Weight α of the divergence on the retain set."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": -self.forget_weight, "kl": self.kl_weight}


class Sequential(MethodSpec):
    """Gradient difference on one small chunk of the forget set after another."""

    card: ClassVar[Card] = Card(
        title="Sequential chunks (SUGD)",
        idea="Cut the forget set into chunks and unlearn one at a time with a fresh optimizer, "
        "each beside retain rows that come round in turn.",
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
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["sequential"] = "sequential"

    chunk_size: Annotated[int, Field(ge=1), Slider(1, 256, 1, unit="rows")] = 32
    """Forget rows of a chunk. The epochs of the phase count for each chunk."""

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    retain_weight: RetainWeight = 3.5
    """Weight α of the retain loss: 0.5 for each of seven retain rows as published."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": -self.forget_weight, "retain": self.retain_weight}

    def batches(self, rows: RowCounts, batch_size: int, retain_rows: int) -> tuple[int, ...]:
        """Count the batches of one pass over each chunk."""
        whole, rest = divmod(sum(rows["forget"].values()), self.chunk_size)
        sizes = [self.chunk_size] * whole + [rest] * (rest > 0)
        return tuple(math.ceil(size / batch_size) for size in sizes)


class NPO(MethodSpec):
    """Negative preference optimization: ascent that stops pushing once it has won."""

    card: ClassVar[Card] = Card(
        title="NPO",
        idea="Treat forget answers as dispreferred: push each below its original probability, "
        "and let go once it is there.",
        formula=r"-\tfrac{2}{\beta}\log\sigma\!\left(-\beta\log\tfrac{p(y_f|x_f)}"
        r"{p_\mathrm{ref}(y_f|x_f)}\right) + \alpha\,\mathrm{nll}(D_r) + "
        r"\delta\,\mathrm{KL}(p_\mathrm{ref}\,\|\,p)(D_r)",
        fails="Answers go, but whole documents stay recognisable to the membership attack; with "
        "a small α it also takes short retain answers along.",
        memory="The same, and one reference number for each forget row; with a KL term, the "
        "original model's predictions of the retain batch.",
        source="Zhang et al. 2024, arXiv:2404.05868: log-probabilities summed over the answer. "
        "The retain term is the token-mean loss, as in its +RT variant. With the KL term and the "
        "mean over tokens it is the loss of ZJUKLAB, arXiv:2503.21088.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["npo"] = "npo"

    beta: Annotated[float, Field(gt=0), Slider(0.01, 1.0, 0.01, unit="1/nat")] = 0.1
    """Inverse temperature β. Towards 0 it becomes gradient ascent; a larger β lets go sooner."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    kl_weight: Annotated[RetainWeight, Expert()] = 0.0
    """Weight δ of the divergence from the original model on the retain set; 0 leaves it out."""

    likelihood: Annotated[Literal["sequence", "token_mean"], Expert()] = "sequence"
    """Log-probability of an answer: the sum over its tokens (the paper) or their mean (ZJUKLAB).
    A β for one does not suit the other."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        kl = {"kl": self.kl_weight} if self.kl_weight else {}
        return {"forget": self.forget_weight, "retain": self.retain_weight, **kl}


class SimNPO(MethodSpec):
    """NPO without a reference model: the mean loss of an answer is pushed above a margin."""

    card: ClassVar[Card] = Card(
        title="SimNPO",
        idea="NPO without the original model: the loss for each token of an answer is pushed up "
        "until it is large by itself, long answers and short ones alike.",
        formula=r"-\tfrac{2}{\beta}\log\sigma\!\left(\beta\left(\tfrac{\mathrm{NLL}(y_f|x_f)}"
        r"{|y_f|} - \delta\right)\right) + \alpha\,\mathrm{nll}(D_r)",
        fails="Without a reference it cannot tell what the model knew: text that anyone would "
        "guess is pushed as hard as what was memorised.",
        memory="The same: no reference is needed.",
        source="SimNPO, arXiv:2410.07163. Defaults as in OpenUnlearning, "
        "arXiv:2506.12618; some texts call δ gamma.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["simnpo"] = "simnpo"

    beta: Annotated[float, Field(gt=0), Slider(0.1, 10.0, 0.1, unit="1/nat")] = 4.5
    """Inverse temperature β of the mean loss for each token: far above NPO's, which is a sum."""

    margin: Annotated[float, Field(ge=0), Slider(0, 5, 0.1, unit="nats")] = 0.0
    """Margin δ that the loss for each token should pass."""

    forget_weight: ForgetWeight = 0.125
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


class IdkDPO(MethodSpec):
    """Direct preference for "I don't know" over the forget answer."""

    card: ClassVar[Card] = Card(
        title="DPO with “I don't know”",
        idea="Prefer an admission of ignorance to each forget answer, measured against what the "
        "original model thought of both.",
        formula=r"-\tfrac{2}{\beta}\log\sigma\!\left(\beta\left[\log\tfrac{p(y_\mathrm{idk}|x_f)}"
        r"{p_\mathrm{ref}(y_\mathrm{idk}|x_f)} - \log\tfrac{p(y_f|x_f)}{p_\mathrm{ref}(y_f|x_f)}"
        r"\right]\right) + \alpha\,\mathrm{nll}(D_r)",
        fails="The refusal is learnt faster than the fact is lost, and it spreads: retain "
        "questions are refused as well unless α holds them.",
        memory="More: two answers for each forget row, and two reference numbers for each.",
        source="TOFU, arXiv:2401.06121, and OpenUnlearning, arXiv:2506.12618. The admissions are "
        "our own list, one for each row.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "refusal", "retain")
    kind: Literal["idk_dpo"] = "idk_dpo"

    beta: Annotated[float, Field(gt=0), Slider(0.01, 1.0, 0.01, unit="1/nat")] = 0.1
    """Inverse temperature β of the preference."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


class Undial(MethodSpec):
    """Self-distillation on forget answers with the memorised token pushed down."""

    card: ClassVar[Card] = Card(
        title="UNDIAL",
        idea="Teach the model its own predictions of forget answers, with the logit of each "
        "memorised token lowered: what it would say if it did not know.",
        formula=r"\mathrm{CE}\!\left(\mathrm{softmax}(z_\mathrm{ref} - \beta\,e_{y_f}),\ p\right)"
        r"(D_f) + \alpha\,\mathrm{nll}(D_r)",
        fails="With a small β the memorised token still leads; with a large one the second guess "
        "of a model that overfits is noise, and it is learnt.",
        memory="More: the original model's predictions of the forget batch, one number for each "
        "token and vocabulary entry, and the forward pass that gives them.",
        source="Dong et al. 2024, arXiv:2402.10052. Averaged over answer tokens only; "
        "OpenUnlearning averages over masked positions as well.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["undial"] = "undial"

    beta: Annotated[float, Field(ge=0), Slider(0, 30, 0.5, unit="logits")] = 10.0
    """How far the memorised token's logit is lowered."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the distillation."""

    retain_weight: RetainWeight = 0.0
    """Weight α of the retain loss; 0 as published."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


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
    sets: ClassVar[tuple[SetName, ...]] = ("forget",)
    kind: Literal["task_vector"] = "task_vector"

    scale: Annotated[float, Field(ge=0), Slider(0, 20, 0.5)] = 5.0
    """Length s of the step against the direction."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": 1.0}


class Steering(MethodSpec):
    """What the methods that steer the activations of one block share."""

    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")

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

    order: Annotated[Literal["mixed", "by_task"], Expert()] = "mixed"
    """Rows of all subtasks in one random order, or one subtask after another in an order drawn
    once for each set and cut to the shorter set (Mr. Snuffleupagus)."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}

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
        idea="As RMU, but the target is a multiple of the length that forget activations have "
        "anyway, so that one setting serves early and late blocks.",
        formula=r"\left\|h_\ell(x_f) - \beta\,\overline{\|h_\ell(x_f)\|}\,u\right\|^2 + "
        r"\alpha\left\|h_\ell(x_r) - h_\ell^\mathrm{ref}(x_r)\right\|^2",
        fails="The steered block feeds everything above it: retain answers that share its "
        "activations, such as short personal facts, suffer first.",
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


class TiesMerge(MethodSpec):
    """Merge the adapters that the phases before it trained. It trains nothing itself."""

    card: ClassVar[Card] = Card(
        title="TIES merge",
        idea="Train one adapter that forgets too much and one that forgets too little, and merge "
        "them: drop the smallest entries of each, let their sum choose each sign, and average the "
        "entries that agree with it.",
        formula=r"A = \mathrm{ties}_d(A_1, A_2), \quad B = \mathrm{ties}_d(B_1, B_2), \quad "
        r"W = W_\mathrm{ref} + BA",
<<<<<<< HEAD
        fails="The two factors of an adapter are merged apart, so that the product is not the "
        "merge of the products: adapters that have grown apart cancel instead of meeting halfway.",
        memory="Less in activations and optimizer, as with every adapter; two adapters and their "
        "merge.",
=======
        fails="The two factors of an adapter are merged apart, so the product is not the merge of "
        "the products. With linear, two alike adapters come out four times as strong as their "
        "mean: on the embedded target that collapses where TIES keeps nine tenths of retain.",
>>>>>>> lora
        source="Yadav et al. 2023, TIES, arXiv:2306.01708; as used by ZJUKLAB, SemEval-2025 "
        "Task 4, arXiv:2503.21088: weights 1 and 1, density 0.8. Computed by peft.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ()
    kind: Literal["ties_merge"] = "ties_merge"

    density: Annotated[float, Field(gt=0, le=1), Slider(0.1, 1, 0.05)] = 0.8
    """Share of each adapter's entries that is kept."""

    combination: Combination = "ties"
    """How adapters are combined. linear adds them up and keeps every entry; magnitude_prune drops
    the smallest first; dare drops entries at random and scales up the rest."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Return no weights: nothing is minimised."""
        return {}


Method = Annotated[
    GradientAscent
    | GradientDescent
    | GradientDifference
    | Joint
    | JointKL
    | KLMinimization
    | Sequential
    | NPO
    | SimNPO
    | IdkDPO
    | Undial
    | TaskVector
    | RMU
    | AdaptiveRMU
    | TiesMerge,
    Field(discriminator="kind"),
]

METHODS: Mapping[str, type[MethodSpec]] = {
    cls.model_fields["kind"].default: cls for cls in get_args(get_args(Method)[0])
}
"""Every method by its `kind`, in the order the page offers them."""


def slider(field: FieldInfo) -> Slider | None:
    """Return the field's `Slider`, if it has one."""
    return next((item for item in field.metadata if isinstance(item, Slider)), None)


def expert(field: FieldInfo) -> bool:
    """Tell whether the field belongs to the expert settings."""
    return any(isinstance(item, Expert) for item in field.metadata)
