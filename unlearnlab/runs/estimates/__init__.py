"""Memory and time of a run before it starts, corrected by what earlier runs here measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from unlearnlab.runs.estimates.history import GIB, PastRun, correction, earlier, seconds
from unlearnlab.runs.estimates.memory import Moment, Part, moments
from unlearnlab.runs.estimates.rows import lengths
from unlearnlab.spec.run import RunSpec

__all__ = ["Estimate", "Part", "PastRun", "bytes_text", "earlier", "estimate"]

SCORING = {
    "scoring": "the model is scored",
    "scoring before": "the original model is scored",
    "scoring after": "the unlearned model is scored",
}
"""Moments of scoring, in words."""

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
    def parts(self) -> list[tuple[Part, float]]:
        """List the parts of the peak in their usual order, in bytes."""
        order: tuple[Part, ...] = get_args(Part)
        return [(part, self.peak.parts[part]) for part in order if part in self.peak.parts]

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which moment the peak is, and what the numbers rest on."""
        if self.peak.name in SCORING:
            when = f"Most while {SCORING[self.peak.name]}, if no answer ends before it must."
        else:
            when = f"Most while {self.peak.name}."
        runs = "an earlier run" if self.runs == 1 else f"{self.runs} earlier runs"
        corrected = f"Corrected by {runs} of this model here." if self.runs else ""
        timeless = "No earlier run here to tell the time from." if self.seconds is None else ""
        return tuple(note for note in (when, corrected, timeless) if note)

    @property
    def advice(self) -> str:
        """Say what to change if the peak does not fit."""
        return SHORT_ANSWERS if "evaluation" in self.peak.parts else SHORT


def bytes_text(size: float) -> str:
    """Write a number of bytes in GiB, or in MiB if it is small."""
    if size < 0.1 * GIB:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / GIB:.{0 if size >= 10 * GIB else 1}f} GiB"


def estimate(
    spec: RunSpec,
    past: Sequence[PastRun] = (),
    *,
    cuda: bool = False,
    memory: int | None = None,
) -> Estimate:
    """Estimate memory and time of a run.

    Args:
        spec: The run.
        past: What comparable runs measured here, see `earlier`.
        cuda: Whether it will run on a GPU.
        memory: Bytes that the device has in all; none if that is not known.

    Raises:
        ValueError: The model's sizes are not known here, or the data cannot be read.
    """
    size = spec.model.known.architecture
    if size is None:
        raise ValueError(f"the sizes of {spec.model.name} are not known on this machine yet")
    of = lengths(spec.data, spec.model.name)
    runs = [run for run in past if run.cuda == cuda]
    corrected = correction(runs, cuda=cuda, memory=memory)
    return Estimate(
        moments(spec, size, of, cuda=cuda, memory=memory),
        corrected.factor,
        corrected.program,
        corrected.runs,
        seconds(spec, of, size, runs),
    )
