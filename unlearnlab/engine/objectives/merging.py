"""Methods that train nothing, but make one adapter of several."""

from torch import nn

from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.spec.methods import TiesMerge


def no_terms(model: nn.Module, batch: Batch, ctx: Context[TiesMerge]) -> Terms:
    """Return no loss terms."""
    return {}


def ties_merge(target: Target, ctx: Context[TiesMerge]) -> None:
    """Merge the adapters of the phases before, weights 1.

    Source: Yadav et al. 2023, arXiv:2306.01708; ZJUKLAB, arXiv:2503.21088.
    """
    target.merge(ctx.adapter, combination=ctx.method.combination, density=ctx.method.density)
