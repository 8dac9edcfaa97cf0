"""What the worker asks of the engine, and the engine of its caller: the seam between the two."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unlearnlab.data.background import Report
from unlearnlab.runs.events import Adjusted, Asked, Event, Exported
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be carried out."""

    run_id: str
    spec: RunSpec
    folder: Path
    """Where its files go: the delta of the weights."""
    anew: bool = False
    """Whether the original model is scored also where an earlier run's scores of it are known."""


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One trace to be carried out."""

    run_id: str
    """Its id: traces and runs are numbered together."""
    spec: TraceSpec


@dataclass(frozen=True, slots=True)
class PreviewJob:
    """One preview to be carried out."""

    run_id: str
    """Its id: previews are numbered together with runs."""
    spec: PreviewSpec


@dataclass(frozen=True, slots=True)
class Ask:
    """One free prompt for both models of a run."""

    ask_id: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """New values for the present phase of the live run."""

    changes: Mapping[str, float]
    """By dotted path in the phase: `learning_rate`, or `method.` and the name of a weight."""


@dataclass(frozen=True, slots=True)
class Export:
    """The merged model of an ended run, to be written into a folder."""

    folder: Path
    texts: Mapping[str, str]
    """Further files by name: the model card."""
    replace: bool = False
    """Whether to write over what is in the folder's place."""


class RunFailed(Exception):
    """A run or a trace cannot go on, for a reason the user can act on."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


ALL = "all"
"""Stands for all GPUs in `model.device`."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a model can be put on."""

    id: str
    """As `model.device` names it: cpu, cuda:0."""
    name: str
    """In words."""
    free: int
    """Bytes of memory that nothing holds at present."""
    total: int
    """Bytes of memory."""

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU, or all of them."""
        return self.id.startswith(("cuda", ALL))


def meant(wish: str, here: Sequence[Device]) -> Device | None:
    """Return the device that `model.device` asks for, all GPUs taken together; none if not here.

    Args:
        wish: Such as auto, cuda:1 or all.
        here: The devices of this machine, the accelerators first.
    """
    if wish == ALL:
        gpus = [device for device in here if device.id.startswith("cuda")]
        free, total = (sum(device.free for device in gpus), sum(device.total for device in gpus))
        return Device(ALL, "all GPUs", free, total) if gpus else None
    fits = (device for device in here if wish == "auto" or device.id.startswith(wish))
    return next(fits, None)


class Lab(Protocol):
    """The only owner of a device. One job at a time, all on the device's thread."""

    def device_name(self, wish: str) -> str:
        """Name the device that `model.device` asks for in words, such as "cpu, 2 threads".

        Raises:
            ValueError: It is not on this machine.
        """
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Map each library that numbers depend on to its version."""
        ...

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        """Carry out a run, yielding facts, and None wherever it may be stopped or held.

        Closing the generator ends the run and undoes its changes of the weights.

        Raises:
            RunFailed: The loss is not finite, or the device's memory is exhausted.
            ValueError: The spec does not fit the model or the data.
        """
        ...

    def trace(self, job: TraceJob) -> Generator[Event | None, None, None]:
        """Carry out a trace, yielding facts, and None wherever it may be stopped or held.

        Raises:
            RunFailed: The model does not know the answer, or the device's memory is exhausted.
            ValueError: The prompt cannot be traced.
        """
        ...

    def preview(self, job: PreviewJob) -> Generator[Event | None, None, None]:
        """Let a model answer rows, yielding facts, and None wherever it may be stopped or held.

        Raises:
            RunFailed: The device's memory is exhausted.
            ValueError: There is no such model, dataset or row.
        """
        ...

    def ask(self, job: Job, ask: Ask) -> Asked:
        """Answer a prompt with the original and the unlearned model of a run.

        While the run's generator is suspended, its present weights answer; a finished run is
        restored from its folder.

        Raises:
            ValueError: The prompt is too long, or the run left no weights.
        """
        ...

    def adjust(self, job: Job, wish: Adjustment) -> Adjusted:
        """Change values of the phase that the live run trains, from its next batch to its end.

        Raises:
            ValueError: The run is not training now, or a value is wrong or cannot be changed.
        """
        ...

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        """Write the merged model of an ended run: it is restored from its folder.

        Args:
            job: The run.
            export: Where to, and what else.
            report: Told how much is done; ends the work by raising, and nothing of it is left.

        Raises:
            GivenUp: By `report`.
            RunFailed: The device's memory is exhausted.
            ValueError: The run left no weights, the disk is too full, or the place is taken.
        """
        ...

    def release(self) -> None:
        """Free the device's memory."""
        ...


@dataclass(frozen=True, slots=True)
class Labs:
    """One lab for each device, so that they work side by side."""

    devices: Callable[[], Sequence[str]]
    """Lists the devices, the accelerators first. Called when the first job comes."""
    of: Callable[[str], Lab]
    """Makes the lab of a device, as soon as a job needs it; an empty name stands for the best."""
    lock: Callable[[str], str] = str
    """Names a device as all processes of the machine do, so that one at a time uses it; an empty
    name is used by all at once."""


def as_labs(lab: Lab | Labs) -> Labs:
    """Let a single lab do everything, one thing at a time; no other process is kept from it."""
    return lab if isinstance(lab, Labs) else Labs(lambda: ("",), lambda _: lab)
