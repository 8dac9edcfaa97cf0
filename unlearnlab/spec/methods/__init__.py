"""The unlearning methods and their hyperparameters, each declared once.

A field's annotation holds its bounds, its control and its unit; the docstring under it is the
tooltip, the help text and the row of the docs. The form, the command line, validation and the docs
all read these classes. To add a method: one class in a module here, one objective, one test.
"""

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from unlearnlab.spec.methods.base import MethodSpec
from unlearnlab.spec.methods.distribution import OfDistribution
from unlearnlab.spec.methods.likelihood import OfLikelihood
from unlearnlab.spec.methods.preference import OfPreference
from unlearnlab.spec.methods.representation import OfRepresentation

Method = Annotated[
    OfLikelihood | OfDistribution | OfPreference | OfRepresentation, Field(discriminator="kind")
]

METHODS: Mapping[str, type[MethodSpec]] = {
    cls.model_fields["kind"].default: cls
    for cls in sorted(get_args(get_args(Method)[0]), key=lambda cls: (cls.teaches, cls.merges))
}
"""Every method by its `kind`, in the order the page offers them: last those that do not unlearn."""
