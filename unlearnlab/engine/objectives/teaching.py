"""Teaching: train on rows until the model recites them."""

from collections.abc import Generator

from torch import nn

from unlearnlab.engine.model.likelihoods import mean_nll, recites
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.engine.training.schedules import Rows
from unlearnlab.spec.methods import Memorize


def memorize(model: nn.Module, batch: Batch, ctx: Context[Memorize]) -> Terms:
    """Return the token-mean loss of each taught set; all weights are positive."""
    return {name: mean_nll(model, batch.sets[name]) for name in ctx.method.drawn}


def memorized(
    lm: UnlearningModel, rows: Rows, ctx: Context[Memorize]
) -> Generator[None, None, bool]:
    """Return whether the model recites at least `stop_at` of the rows of each set."""
    if ctx.method.stop_at is None:
        return False
    for examples in rows.values():
        if not (yield from recites(lm, examples, share=ctx.method.stop_at)):
            return False
    return True
