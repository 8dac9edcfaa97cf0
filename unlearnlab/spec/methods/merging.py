"""Methods that train nothing, but make one adapter of several."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unlearnlab.spec.methods.base import Card, MethodSpec, SetName, Slider

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
