"""Runs worth starting from: each a spec as JSON in `assets/presets`, with its source."""

from collections.abc import Mapping
from functools import cache

from unlearnlab.data.files import ASSETS
from unlearnlab.spec.errors import SpecError, unknown
from unlearnlab.spec.methods import METHODS, Spec
from unlearnlab.spec.run import ModelSpec, RunSpec


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
