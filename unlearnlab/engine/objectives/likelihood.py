"""Ascent, descent and their difference: objectives on the likelihood of answers."""

from torch import nn

from unlearnlab.engine.likelihoods import mean_nll
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.methods import GradientAscent, GradientDescent, GradientDifference


def gradient_ascent(model: nn.Module, batch: Batch, ctx: Context[GradientAscent]) -> Terms:
    """Return the forget loss, token mean; its weight is negative, so it is climbed.

    Source: TOFU, arXiv:2401.06121.
    """
    return {"forget": mean_nll(model, batch.forget)}


def gradient_descent(model: nn.Module, batch: Batch, ctx: Context[GradientDescent]) -> Terms:
    """Return the retain loss, token mean.

    Source: Cyber for AI, arXiv:2503.04795.
    """
    return {"retain": mean_nll(model, batch.retain)}


def gradient_difference(model: nn.Module, batch: Batch, ctx: Context[GradientDifference]) -> Terms:
    """Return both losses, token means; the weight of the forget loss is negative.

    Source: TOFU, arXiv:2401.06121.
    """
    return {"forget": mean_nll(model, batch.forget), "retain": mean_nll(model, batch.retain)}
