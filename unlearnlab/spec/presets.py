"""Runs to start from: presets in `assets/presets`; teaching a dataset, and unlearning it again."""

import json
import math
from collections.abc import Mapping
from functools import cache

from unlearnlab.data.datasets import dataset
from unlearnlab.data.files import ASSETS
from unlearnlab.models.catalog import MODEL_NOTE, models_folder
from unlearnlab.spec.errors import SpecError, unknown
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import Spec
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec, Phase, RunSpec


class Preset(Spec):
    """A spec worth starting from."""

    name: str
    """Name of its file and on the command line."""
    title: str
    description: str
    """What to expect of it, in a sentence."""
    source: str
    """Where its settings come from."""
    published: Mapping[str, float] | None = None
    """The paper's own numbers for it, where known."""
    spec: RunSpec

    @property
    def embedded(self) -> bool:
        """Whether it runs on the model that comes with the program."""
        return self.spec.model.name == ModelSpec().name


@cache
def presets() -> Mapping[str, Preset]:
    """Map the name of each preset in `assets/presets` to it.

    The embedded model's come first, and then they go in the order of the methods.
    """
    found = [
        Preset.model_validate_json(path.read_text(encoding="utf-8"))
        for path in (ASSETS / "presets").glob("*.json")
    ]
    kinds = list(METHODS)
    found.sort(
        key=lambda one: (
            not one.embedded,
            kinds.index(one.spec.phases[0].method.kind),
            one.name,
        )
    )
    return {one.name: one for one in found}


def preset(name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        SpecError: There is none.
    """
    if name not in presets():
        raise SpecError([("preset", unknown(name, presets(), "preset"))])
    return presets()[name]


PROBES = EvaluationSpec(probes=6)
"""On rows that few, probes take as long as the steps."""

SMALL = 100_000_000
"""Parameters up to which a model takes the embedded model's learning rates."""

STEPS = 40
"""Optimizer steps that forgetting a handful of rows takes at least."""


def teach_spec(data: str, *, model: str = "tiny-olmo", keep_as: str = "") -> RunSpec:
    """Make the spec that teaches a dataset to a model.

    Args:
        data: Name of a dataset; one without retain rows is taught as it is.
        model: Name of a model, as a spec gives it.
        keep_as: Name under which the taught model is kept; see `catalogue.save_name_problem`.

    Raises:
        pydantic.ValidationError: `keep_as` cannot be a name.
    """
    retain = sum(dataset(data).counts("train")["retain"].values())
    phase = Phase(
        method=Memorize(on="both" if retain else "forget"),
        learning_rate=5e-4 if _small(model) else 2e-5,
        epochs=100,
        batch_size=16,
    )
    return RunSpec(
        model=ModelSpec(name=model),
        data=DataSpec(source=data),
        phases=(phase,),
        evaluation=PROBES,
        keep_as=keep_as,
    )


def unlearn_spec(model: str, data: str) -> RunSpec:
    """Make the spec that unlearns the forget rows of a dataset that a model was taught.

    Args:
        model: Name of the taught model.
        data: Name of the dataset.
    """
    spec = ModelSpec(name=model)
    rows, size = sum(dataset(data).counts("train")["forget"].values()), 4
    phase = Phase(
        method=NPO(),
        modules="mlp",
        # The early blocks, three of the embedded model's eight.
        last_layer=math.ceil(spec.blocks * 3 / 8) - 1 if spec.blocks else None,
        learning_rate=1e-3 if _small(model) else 5e-5,
        epochs=max(10, math.ceil(STEPS / math.ceil(max(rows, 1) / size))),
        batch_size=size,
        retain_rows=4,
    )
    return RunSpec(model=spec, data=DataSpec(source=data), phases=(phase,), evaluation=PROBES)


def taught_data(model: str) -> str:
    """Return the name of the dataset that a kept model was made with.

    Raises:
        ValueError: The model was not kept by a run.
    """
    try:
        note = json.loads((models_folder() / model / MODEL_NOTE).read_bytes())
        return str(note["dataset"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"no run has kept a model called {model!r}: `teach --data NAME --keep-as {model}` "
            "makes one"
        ) from error


def _small(model: str) -> bool:
    sizes = ModelSpec(name=model).known.architecture
    return sizes is not None and sizes.parameters <= SMALL
