"""What a model is asked before a run: what it says now to rows of a dataset."""

from typing import Annotated

from pydantic import Field

from unlearnlab.data.datasets import Fold
from unlearnlab.spec.methods import Spec
from unlearnlab.spec.run import ModelSpec

MOST_ROWS = 100
"""Rows of one preview: more than a page shows of them."""

ANSWER_TOKENS = 128
"""Longest answer."""


class PreviewSpec(Spec):
    """A model as it is, and the forget rows that it shall answer."""

    model: ModelSpec = ModelSpec()
    source: str
    """Name of the dataset."""
    fold: Fold = "train"
    rows: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_ROWS)]
    """Ids of the rows."""
