"""Methods on whole predictions, not only on the probability of the right token."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unlearnlab.spec.methods.base import (
    Card,
    ForgetWeight,
    ForwardPass,
    MethodSpec,
    RetainWeight,
    Slider,
)
from unlearnlab.spec.methods.likelihood import AdaptiveDifference, Ascent


class JointKL(AdaptiveDifference):
    """The joint objective under a bound on how far retain predictions may move."""

    card: ClassVar[Card] = Card(
        title="Joint under a KL constraint",
        idea="The joint objective with a KL budget: where retain predictions diverge from the "
        "original model's by more than that, a growing weight pulls them back.",
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

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        return (*super().passes, ForwardPass("retain", "predictions", compared=True))


class KLMinimization(Ascent):
    """Climb on the forget set, and keep every retain prediction where it was."""

    card: ClassVar[Card] = Card(
        title="KL minimisation",
        idea="Climb on the forget set while a KL term holds the predictions on the retain set to "
        "the original model's: the whole distribution, not only the right token.",
        formula=r"-\gamma\,\mathrm{nll}(D_f) + \alpha\,\mathrm{KL}(p_\mathrm{ref}\,\|\,p)(D_r)",
        fails="The climb has no floor, as in gradient difference, and the divergence costs nothing "
        "until it is large: by then the model is elsewhere.",
        memory="More: the original model's predictions of the retain batch, one number for each "
        "token and vocabulary entry, and the forward pass that gives them.",
        source="TOFU, arXiv:2401.06121. The divergence is averaged over answer tokens; their code "
        "averages over all positions, prompt and padding included.",
    )
    signs: ClassVar[Mapping[str, int]] = {"forget": -1, "kl": 1}
    kind: Literal["kl_minimization"] = "kl_minimization"

    forget_weight: ForgetWeight = 1.0
    """Weight γ of the forget loss that is climbed."""

    kl_weight: RetainWeight = 1.0
    """Weight α of the divergence on the retain set."""

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        return (
            ForwardPass("forget"),
            ForwardPass("retain", "predictions", compared=True),
        )


class Undial(MethodSpec):
    """Self-distillation on forget answers with the memorised token pushed down."""

    card: ClassVar[Card] = Card(
        title="UNDIAL",
        idea="Self-distillation: train on the model's own predictions of forget answers, with the "
        "logit of each memorised token lowered.",
        formula=r"\mathrm{CE}\!\left(\mathrm{softmax}(z_\mathrm{ref} - \beta\,e_{y_f}),\ p\right)"
        r"(D_f) + \alpha\,\mathrm{nll}(D_r)",
        fails="With a small β the memorised token still leads; with a large one the second guess "
        "of a model that overfits is noise, and it is learnt.",
        memory="More: the original model's predictions of the forget batch, one number for each "
        "token and vocabulary entry, and the forward pass that gives them.",
        source="Dong et al. 2024, arXiv:2402.10052. Averaged over answer tokens only; "
        "OpenUnlearning averages over masked positions as well.",
    )
    signs: ClassVar[Mapping[str, int]] = {"forget": 1, "retain": 1}
    kind: Literal["undial"] = "undial"

    beta: Annotated[float, Field(ge=0), Slider(0, 30, 0.5, unit="logits")] = 10.0
    """How far the memorised token's logit is lowered."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the distillation."""

    retain_weight: RetainWeight = 0.0
    """Weight α of the retain loss; 0 as published."""

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        return ForwardPass("forget", "predictions", compared=True), ForwardPass("retain")


OfDistribution = JointKL | KLMinimization | Undial
