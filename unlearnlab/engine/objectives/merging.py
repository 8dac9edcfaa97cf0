"""Merging adapters, without training."""

from torch import nn

from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.spec.methods import TiesMerge


def no_terms(model: nn.Module, batch: Batch, ctx: Context[TiesMerge]) -> Terms:
    """Return no loss terms: the method takes no steps."""
    return {}


def ties_merge(lm: UnlearningModel, ctx: Context[TiesMerge]) -> None:
    """Merge the adapters of all earlier phases with weights 1.

    Source: Yadav et al. 2023, arXiv:2306.01708; ZJUKLAB, arXiv:2503.21088.
    """
    lm.merge(ctx.adapter, combination=ctx.method.combination, density=ctx.method.density)
