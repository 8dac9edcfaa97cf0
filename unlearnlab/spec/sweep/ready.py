"""Sweeps worth starting from: each as JSON in `assets/sweeps`, with its source."""

from collections.abc import Mapping
from functools import cache

from unlearnlab.data.files import ASSETS
from unlearnlab.spec.errors import SpecError, unknown
from unlearnlab.spec.methods import Spec
from unlearnlab.spec.run import ModelSpec
from unlearnlab.spec.sweep.spec import SweepSpec

FOLDER = ASSETS / "sweeps"


class ReadySweep(Spec):
    """A sweep worth starting from."""

    name: str
    """Name of its file and on the command line."""
    title: str
    description: str
    """What it asks, in a sentence or two."""
    source: str
    """Who proposed it, and where its values come from."""
    sweep: SweepSpec

    @property
    def embedded(self) -> bool:
        """Whether it runs on the model that comes with the program."""
        return self.sweep.base.model.name == ModelSpec().name


@cache
def ready_sweeps() -> Mapping[str, ReadySweep]:
    """Map the name of each sweep in `assets/sweeps` to it, the embedded model's first."""
    found = [
        ReadySweep.model_validate_json(path.read_text(encoding="utf-8"))
        for path in FOLDER.glob("*.json")
    ]
    found.sort(key=lambda one: (not one.embedded, one.name))
    return {one.name: one for one in found}


def ready_sweep(name: str) -> ReadySweep:
    """Return the sweep called `name`.

    Raises:
        SpecError: There is none.
    """
    if name not in ready_sweeps():
        raise SpecError([("sweep", unknown(name, ready_sweeps(), "sweep"))])
    return ready_sweeps()[name]
