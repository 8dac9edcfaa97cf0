"""Teaching: descent on the rows to be memorised, and whether they are recited by now."""

from collections.abc import Generator

from torch import nn

from unlearnlab.engine.model.likelihoods import mean_nll, recited
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.objectives.context import Batch, Context, Terms
from unlearnlab.engine.training.schedules import Rows
from unlearnlab.spec.methods import Memorize


def memorize(model: nn.Module, batch: Batch, ctx: Context[Memorize]) -> Terms:
    """Return the loss of each set that is taught, token means, all of them descended."""
    return {name: mean_nll(model, batch.sets[name]) for name in ctx.method.drawn}


def memorized(target: Target, rows: Rows, ctx: Context[Memorize]) -> Generator[None, None, bool]:
    """Tell whether the wished share of each set's rows is recited."""
    if ctx.method.stop_at is None:
        return False
    for examples in rows.values():
        if not (yield from recited(target, examples, share=ctx.method.stop_at)):
            return False
    return True
