"""Where to start from when a model is taught something, and when it is to forget that again.

The settings did well on 5 to 20 typed facts with 60 retain rows of the embedded dataset: taught to
the embedded model in 5 to 16 epochs, and forgotten with the retain rows and the quiz held.
"""

import json
import math

from unlearnlab.data.datasets import dataset
from unlearnlab.models.catalog import MODEL_NOTE, models_folder
from unlearnlab.spec.methods import NPO, Memorize
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec, Phase, RunSpec

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
