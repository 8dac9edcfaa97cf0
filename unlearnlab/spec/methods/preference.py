"""Methods that prefer one answer to another, or none to a forget answer."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unlearnlab.spec.methods.base import (
    Card,
    Expert,
    ForgetWeight,
    ForwardPass,
    MethodSpec,
    RetainWeight,
    SetName,
    Slider,
)


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
    signs: ClassVar[Mapping[str, int]] = {"forget": 1, "retain": 1}
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
        return {**super().weights, **({"kl": self.kl_weight} if self.kl_weight else {})}

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """List the forward passes of a step, in order."""
        held = ForwardPass("retain", "predictions", compared=True)
        return (*super().passes, held) if self.kl_weight else super().passes


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
    signs: ClassVar[Mapping[str, int]] = {"forget": 1, "retain": 1}
    kind: Literal["simnpo"] = "simnpo"

    beta: Annotated[float, Field(gt=0), Slider(0.1, 10.0, 0.1, unit="1/nat")] = 4.5
    """Inverse temperature β of the mean loss for each token: far above NPO's, which is a sum."""

    margin: Annotated[float, Field(ge=0), Slider(0, 5, 0.1, unit="nats")] = 0.0
    """Margin δ that the loss for each token should pass."""

    forget_weight: ForgetWeight = 0.125
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""


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
        "questions are refused as well unless α holds them. Where the model thought the refusal "
        "nearly impossible, its gain alone satisfies the loss while the fact is still likelier, "
        "and hardly any question is refused.",
        memory="More: two answers for each forget row, and two reference numbers for each.",
        source="TOFU, arXiv:2401.06121, and OpenUnlearning, arXiv:2506.12618. The admissions are "
        "our own list, one for each row.",
    )
    sets: ClassVar[tuple[SetName, ...]] = ("forget", "refusal", "retain")
    signs: ClassVar[Mapping[str, int]] = {"forget": 1, "retain": 1}
    kind: Literal["idk_dpo"] = "idk_dpo"

    beta: Annotated[float, Field(gt=0), Slider(0.01, 1.0, 0.01, unit="1/nat")] = 0.1
    """Inverse temperature β of the preference."""

    forget_weight: ForgetWeight = 1.0
    """Weight of the preference term."""

    retain_weight: RetainWeight = 1.0
    """Weight α of the retain loss."""


OfPreference = NPO | SimNPO | IdkDPO
