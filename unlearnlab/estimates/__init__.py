"""Memory and time of a run before it starts, corrected by what earlier runs here measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.estimates.history import (
    GIB,
    PastRun,
    comparable,
    correction,
    past_run,
    seconds,
)
from unlearnlab.estimates.memory import Moment, Part, moments
from unlearnlab.estimates.rows import lengths
from unlearnlab.spec import RunSpec

__all__ = ["GIB", "Estimate", "Moment", "Part", "PastRun", "estimate", "past_run"]

SHORT = "Take a smaller batch, fewer layers, a LoRA adapter, or 4 bits under one (precision nf4)."
SHORT_ANSWERS = "Scoring needs most: shorten the longest answer, or take fewer bits (precision)."


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will need."""

    moments: tuple[Moment, ...]
    """In the order of the run, as computed."""
    factor: float
    """What earlier runs on a GPU measured over what was computed for them."""
    program: float
    """Bytes that the process holds beside the tensors, on a CPU."""
    runs: int
    """Earlier runs that corrected it."""
    seconds: float | None
    """None without an earlier run to tell it from."""

    @property
    def peak(self) -> Moment:
        """Return the moment at which most is needed, with the parts corrected."""
        most = max(self.moments, key=lambda moment: moment.total)
        parts: dict[Part, float] = {}
        for part, size in most.parts.items():
            if size:
                parts[part] = size * self.factor
        if self.program:
            parts["program"] = self.program
        return Moment(most.name, parts)

    @property
    def advice(self) -> str:
        """Say what to change if the peak does not fit."""
        return SHORT_ANSWERS if "evaluation" in self.peak.parts else SHORT


def estimate(
    spec: RunSpec, past: Sequence[PastRun] = (), *, device: Literal["cpu", "cuda"] = "cpu"
) -> Estimate:
    """Estimate memory and time of a run.

    Args:
        spec: The run.
        past: Finished runs of this machine, the latest first.
        device: What it will run on.

    Raises:
        ValueError: The model's sizes are not known here, or the data cannot be read.
    """
    size = spec.model.known.architecture
    if size is None:
        raise ValueError(
            f"memory and time are not known: the sizes of {spec.model.name} are not here"
        )
    cuda = device == "cuda"
    of = lengths(spec.data, spec.model.name)
    runs = [run for run in comparable(spec, past) if run.cuda == cuda]
    corrected = correction(runs, cuda=cuda)
    return Estimate(
        moments(spec, size, of, cuda=cuda),
        corrected.factor,
        corrected.program,
        corrected.runs,
        seconds(spec, of, size, runs),
    )
