"""Runs to start from: presets in `assets/presets`; teaching a dataset, and unlearning it again.

The settings of teaching and unlearning did well on 5 to 20 typed facts with 60 retain rows of the
embedded dataset: the embedded model learned them in 5 to 16 epochs, and forgot them with the retain
rows and the quiz held.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from unlearnlab.data.datasets import dataset
from unlearnlab.data.files import ASSETS
from unlearnlab.models import catalog
from unlearnlab.models.catalog import MODEL_NOTE, models_folder
from unlearnlab.models.catalog import model as model_info
from unlearnlab.spec.errors import named, validated
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import Spec
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.run import (
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    Phase,
    RunSpec,
    Template,
    parse_spec,
)


class Shipped(Spec):
    """Base of what comes with the program: it names its source."""

    name: str
    """Name of its file and on the command line."""
    title: str
    description: str
    """What to expect of it, or the question that it answers, in a sentence or two."""
    source: str
    """Where its settings come from."""


class Preset(Shipped):
    """A spec worth starting from."""

    published: Mapping[str, float] | None = None
    """The paper's own numbers for it, where known."""
    spec: RunSpec

    @property
    def embedded(self) -> bool:
        """Whether it runs on the model that comes with the program."""
        return self.spec.model.name == ModelSpec().name


S = TypeVar("S", bound=Shipped)


def shipped(folder: str, cls: type[S], order: Callable[[S], Any]) -> Mapping[str, S]:
    """Map the name of each JSON file in a folder of `assets` to what it holds, in order."""
    files = (ASSETS / folder).glob("*.json")
    found = [cls.model_validate_json(path.read_text(encoding="utf-8")) for path in files]
    return {one.name: one for one in sorted(found, key=order)}


@cache
def presets() -> Mapping[str, Preset]:
    """Map each preset's name to it: model after model, each in the order of the methods."""
    kinds, models = list(METHODS), list(catalog.models())

    def order(one: Preset) -> tuple[int, int, str]:
        first = one.spec.phases[0].method.kind
        return models.index(one.spec.model.name), kinds.index(first), one.name

    return shipped("presets", Preset, order)


def preset(name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        SpecError: There is none.
    """
    return named(name, presets(), "preset")


PROBES = 6
"""On rows that few, probes take as long as the steps."""

SMALL = 100_000_000
"""Parameters up to which a model takes the embedded model's learning rates."""

STEPS = 40
"""Optimizer steps that forgetting a handful of rows takes at least."""


def usual_template(data: str, model: str) -> Template:
    """Choose whether prompts go through the chat template, as long as nobody does.

    The task's data are read as plain text, as the task asks. Typed facts go through the template
    where the model has one, since an instruct model answers nothing without it. A model that was
    taught the data here is asked as it was taught.
    """
    made = model_info(model).made
    if made.get("dataset") == data:
        return "auto" if made.get("template") else "off"
    return "auto" if dataset(data).typed else "off"


def teach_spec(data: str, *, model: str = "tiny-olmo", keep_as: str = "") -> RunSpec:
    """Make the spec that teaches a dataset, with its retain rows if it has any, to a model.

    Raises:
        SpecError: `keep_as` cannot be a name.
    """
    retain = sum(dataset(data).counts("train")["retain"].values())
    phase = Phase(
        method=Memorize(on="both" if retain else "forget"),
        learning_rate=5e-4 if _small(model) else 2e-5,
        epochs=100,
        batch_size=16,
    )
    spec = ModelSpec(name=model)
    return validated(
        RunSpec,
        {
            "model": spec,
            "data": DataSpec(source=data, chat_template="auto"),
            "phases": (phase,),
            "evaluation": _evaluation(spec),
            "keep_as": keep_as,
        },
    )


def _evaluation(model: ModelSpec) -> EvaluationSpec:
    """Return what is measured on a few rows: answers are shorter where the context is short."""
    sizes = model.known.architecture
    longest = EvaluationSpec().max_new_tokens
    half = max(1, sizes.context // 2) if sizes else longest
    return EvaluationSpec(probes=PROBES, max_new_tokens=min(longest, half))


def unlearn_spec(model: str, data: str) -> RunSpec:
    """Make the spec that unlearns the forget rows of a dataset that a model was taught."""
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
    return validated(
        RunSpec,
        {
            "model": spec,
            "data": DataSpec(source=data, chat_template=usual_template(data, model)),
            "phases": (phase,),
            "evaluation": _evaluation(spec),
        },
    )


def asks_first(spec: RunSpec) -> bool:
    """Tell whether a run asks the model before training what it knows of the forget rows.

    Not where nothing is unlearned, and, unless unknown rows shall be left out, not where the rows
    are known to be known: the embedded model's own, and those that a model was taught here.
    """
    if spec.only_scores or spec.taught or spec.data.unknown_rows == "keep":
        return False
    if spec.data.unknown_rows == "leave_out":
        return True
    own = RunSpec()
    if (spec.model.name, spec.data.source) == (own.model.name, own.data.source):
        return False
    made = model_info(spec.model.name).made
    return made.get("dataset") != spec.data.source or "forget" not in made.get("taught", "forget")


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


def branched(spec: RunSpec, snapshot: str) -> RunSpec:
    """Return a run with a run's settings that starts from one of its snapshots.

    Args:
        spec: The run that kept the snapshot.
        snapshot: The snapshot, as RUN@STEP.

    Raises:
        SpecError: There is no such snapshot.
    """
    plain: dict[str, Any] = spec.model_dump(mode="json")
    plain["keep_as"], plain["model"]["start_from"] = "", snapshot
    return parse_spec(plain)
