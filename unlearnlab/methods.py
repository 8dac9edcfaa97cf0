"""The unlearning methods and their hyperparameters, each declared once.

A field's annotation holds its bounds, its control and its unit; the docstring under it is the
tooltip, the help text and the README row. The form, the command line, the README and validation
all read these classes. To add a method: one class here, one objective, one test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

SetName = Literal["forget", "retain"]

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


class NPO(MethodSpec):
    """Negative preference optimization: ascent that stops pushing once it has won."""

    card: ClassVar[Card] = Card(
        title="NPO",
        idea="Treat forget answers as dispreferred: push each below its original probability, "
        "and let go once it is there.",
        formula=r"-\tfrac{2}{\beta}\log\sigma\!\left(-\beta\log\tfrac{p(y_f|x_f)}"
        r"{p_\mathrm{ref}(y_f|x_f)}\right) + \alpha\,\mathrm{nll}(D_r)",
        fails="Answers go, but whole documents stay recognisable to the membership attack; with "
        "a small α it also takes short retain answers along.",
        source="Zhang et al. 2024, arXiv:2404.05868: log-probabilities summed over the answer. "
        "The retain term is the token-mean loss, as in its +RT variant.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["npo"] = "npo"

    beta: Annotated[float, Field(gt=0), Slider(0.01, 1.0, 0.01, unit="1/nat")] = 0.1
    """Inverse temperature β. Towards 0 it becomes gradient ascent; a larger β lets go sooner."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


class RMU(MethodSpec):
    """Representation misdirection: steer forget activations to a random direction and length."""

    card: ClassVar[Card] = Card(
        title="RMU",
        idea="At one block, push the activations of forget text towards a random direction of "
        "length c, and hold those of retain text where they were.",
        formula=r"\left\|h_\ell(x_f) - c\,u\right\|^2 + \alpha\left\|h_\ell(x_r) - "
        r"h_\ell^\mathrm{ref}(x_r)\right\|^2",
        fails="c below the natural length of the activations shrinks instead of steering, and "
        "α is in units of that length squared: published values do not carry over between models.",
        source="Li et al. 2024, WMDP, arXiv:2403.03218. Squared error averaged over hidden units "
        "and over real tokens; padding is masked, unlike in the released code.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["rmu"] = "rmu"

    layer: Annotated[int, Field(ge=0), Slider(0, 31, 1)] = 7
    """Block ℓ whose output is steered, 0-based. Blocks above it are not computed."""

    steering_coeff: Annotated[float, Field(gt=0), Slider(1, 1000, 1)] = 20.0
    """Length c of the target vector."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the steering term."""

    retain_weight: Annotated[float, Field(ge=0), Slider(0, 2000, 0.5)] = 100.0
    """Weight α of the term that holds retain activations."""

    directions: Annotated[Literal["one", "per_task"], Expert()] = "one"
    """One random direction for all forget text, or one for each subtask."""

    centred: Annotated[bool, Expert()] = False
    """Draw the direction around zero. As published it is uniform on [0, 1), hence mostly mean,
    and a model whose LayerNorm removes the mean (OLMo) does not see most of the push."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


class AdaptiveRMU(MethodSpec):
    """RMU whose target length follows the natural length of the forget activations."""

    card: ClassVar[Card] = Card(
        title="Adaptive RMU",
        idea="As RMU, but the target is a multiple of the length that forget activations have "
        "anyway, so that one setting serves early and late blocks.",
        formula=r"\left\|h_\ell(x_f) - \beta\,\overline{\|h_\ell(x_f)\|}\,u\right\|^2 + "
        r"\alpha\left\|h_\ell(x_r) - h_\ell^\mathrm{ref}(x_r)\right\|^2",
        fails="The steered block feeds everything above it: retain answers that share its "
        "activations, such as short personal facts, suffer first.",
        source="Dang et al. 2024, arXiv:2408.06223; Mr. Snuffleupagus, SemEval-2025 Task 4, "
        "arXiv:2506.16548. Padding is masked, unlike in the released code.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "retain")
    kind: Literal["adaptive_rmu"] = "adaptive_rmu"

    layer: Annotated[int, Field(ge=0), Slider(0, 31, 1)] = 7
    """Block ℓ whose output is steered, 0-based. Blocks above it are not computed."""

    scale: Annotated[float, Field(gt=0), Slider(0.5, 20, 0.5)] = 5.0
    """Target length β as a multiple of the mean length of forget activations."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the steering term."""

    retain_weight: Annotated[float, Field(ge=0), Slider(0, 2000, 0.5)] = 1200.0
    """Weight α of the term that holds retain activations."""

    measured: Annotated[Literal["once", "each_epoch"], Expert()] = "once"
    """When the natural length is measured: on the first forget batch of each direction, once for
    the phase (the paper's code) or anew in each epoch (Mr. Snuffleupagus), where it can drift."""

    directions: Annotated[Literal["one", "per_task"], Expert()] = "one"
    """One random direction for all forget text, or one for each subtask."""

    centred: Annotated[bool, Expert()] = False
    """Draw the direction around zero. As published it is uniform on [0, 1), hence mostly mean,
    and a model whose LayerNorm removes the mean (OLMo) does not see most of the push."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Map each loss term to its signed weight in the sum that is minimised."""
        return {"forget": self.forget_weight, "retain": self.retain_weight}


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
    GradientAscent | GradientDescent | GradientDifference | NPO | RMU | AdaptiveRMU | TiesMerge,
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
