"""The interface between the worker and the engine: jobs, requests and the `Engine` protocol."""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from unlearnlab.data.background import Report
from unlearnlab.runs.events import Adjusted, Asked, AskFailed, Event, Exported, ExportFailed
from unlearnlab.spec.run import PreviewSpec, RunSpec
from unlearnlab.spec.trace import TraceSpec


@dataclass(frozen=True, slots=True)
class Job:
    """A run to carry out."""

    run_id: str
    spec: RunSpec
    folder: Path
    """Folder for its files: the delta of the weights."""
    anew: bool = False
    """Whether to score the original model even if an earlier run's scores of it are known."""


class Question(NamedTuple):
    """One prompt of a list."""

    prompt: str
    expected: str = ""
    """The answer that is looked for; empty if none is named."""


def listed(text: str) -> tuple[Question, ...]:
    """Read a list of prompts, one a line, each with the expected answer after a tab or ` => `.

    Returns:
        The prompts; none if no line names an expected answer: then the text is one prompt, which
        may have several lines.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [re.split(r"\s*\t\s*|\s+=>\s+", line, maxsplit=1) for line in lines]
    if not any(len(parts) > 1 for parts in found):
        return ()
    return tuple(Question(*parts) for parts in found)


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A free prompt, or a list of them, for both models of a run."""

    ask_id: str
    prompt: str
    """As it was typed."""
    questions: tuple[Question, ...] = ()
    """The prompts of a list."""
    step: int | None = None
    """Step of the snapshot that answers in place of the unlearned model; None for that itself."""

    def failed(self, problem: str) -> AskFailed:
        """Return the event that reports its failure."""
        return AskFailed(ask_id=self.ask_id, prompt=self.prompt, problem=problem)


@dataclass(frozen=True, slots=True)
class Override:
    """New settings for a phase of an active run."""

    phase: int
    """Number of the phase, 0-based: it must be in training."""
    changes: Mapping[str, float]
    """Values by dotted path in the phase: `learning_rate`, or `method.` and a weight's name."""


@dataclass(frozen=True, slots=True)
class Export:
    """A request to write the merged model of an ended run into a folder."""

    folder: Path
    texts: Mapping[str, str]
    """Further files by name: the model card."""
    replace: bool = False
    """Whether to overwrite what is at the folder's path."""

    def failed(self, problem: str) -> ExportFailed:
        """Return the event that reports its failure."""
        return ExportFailed(name=self.folder.name, problem=problem)


@dataclass(frozen=True, slots=True)
class EndTraining:
    """A request to end the training at its next step, and to go on with saving and scoring."""


PieceKind = Literal["special", "template", "prompt", "answer"]
"""Part of a row that a token belongs to; `template` is text that the chat template adds."""


@dataclass(frozen=True, slots=True)
class TokenPreview:
    """The tokens of one row, as a model reads them in training."""

    row: str
    """Id of the row."""
    templated: bool
    """Whether they are turns of the model's chat template."""
    pieces: tuple[tuple[int, str, PieceKind], ...]
    """Id, text and kind of each token, in order; the last ends the answer."""
    start: int
    """Index of the first token of the answer, which is where the model begins to answer."""


class RunFailed(Exception):
    """A job cannot continue, for a reason that the user can act on."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


ALL = "all"
"""Value of `model.device` for all GPUs together."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that can hold a model."""

    id: str
    """Its value in `model.device`, such as cpu or cuda:0."""
    name: str
    """Display name."""
    free: int
    """Bytes of free memory."""
    total: int
    """Bytes of memory in total."""

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU, or all of them."""
        return self.id.startswith(("cuda", ALL))


def find_device(request: str, here: Sequence[Device]) -> Device | None:
    """Return the device that a value of `model.device` selects; none if it is not available.

    Args:
        request: Such as auto, cuda:1 or all; all GPUs together count as one device.
        here: The devices of this machine, accelerators first.
    """
    if request == ALL:
        gpus = [device for device in here if device.id.startswith("cuda")]
        free, total = (sum(device.free for device in gpus), sum(device.total for device in gpus))
        return Device(ALL, "all GPUs", free, total) if gpus else None
    fits = (device for device in here if request == "auto" or device.id.startswith(request))
    return next(fits, None)


class Engine(Protocol):
    """The only owner of a device. Runs one job at a time, all on the device's thread."""

    def device_name(self, request: str, /) -> str:
        """Return the display name of a value of `model.device`, such as "cpu, 2 threads".

        Raises:
            ValueError: The device is not on this machine.
        """
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that results depend on, by library."""
        ...

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        """Carry out a run, yielding events, and None wherever it may be stopped or paused.

        Closing the generator ends the run and restores the original weights.

        Raises:
            RunFailed: The loss is not finite, or the device's memory is exhausted.
            ValueError: The spec does not fit the model or the data.
        """
        ...

    def trace(self, spec: TraceSpec) -> Generator[Event | None, None, None]:
        """Carry out a trace, yielding events, and None wherever it may be stopped or paused.

        Raises:
            RunFailed: The model does not know the answer, or the device's memory is exhausted.
            ValueError: The prompt cannot be traced.
        """
        ...

    def preview(self, spec: PreviewSpec) -> Generator[Event | None, None, None]:
        """Generate answers to rows, yielding events, and None wherever it may be stopped or paused.

        Raises:
            RunFailed: The device's memory is exhausted.
            ValueError: There is no such model, dataset or row.
        """
        ...

    def ask(self, job: Job, ask: PromptRequest) -> Asked:
        """Answer a prompt with the original and the unlearned model of a run.

        While the run's generator is suspended, its current weights answer; a finished run is
        restored from its folder.

        Raises:
            ValueError: The prompt is too long, or the run left no weights.
        """
        ...

    def adjust(self, job: Job, override: Override, /) -> Adjusted:
        """Change settings of the phase in training, from its next batch to its end.

        Raises:
            ValueError: The run is not training now, or a value is wrong or cannot be changed.
        """
        ...

    def end_training(self, job: Job, /) -> None:
        """End the training at its next step; saving and scoring follow.

        Raises:
            ValueError: The run is not training now.
        """
        ...

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        """Write the merged model of an ended run, restored from its folder.

        Args:
            job: The run.
            export: The target folder and further files.
            report: Called with the progress; an exception from it cancels the export, and no
                partial file is left.

        Raises:
            GivenUp: `report` raised it.
            RunFailed: The device's memory is exhausted.
            ValueError: The run left no weights, the disk is too full, or the place is taken.
        """
        ...

    def release(self) -> None:
        """Free the device's memory."""
        ...


@dataclass(frozen=True, slots=True)
class EnginePool:
    """One engine per device, so that devices work side by side."""

    devices: Callable[[], Sequence[str]]
    """Lists the devices, accelerators first. Called when the first job arrives."""
    of: Callable[[str], Engine]
    """Creates the engine of a device when a job first needs it; "" is the best device."""
    lock: Callable[[str], str] = str
    """Returns the machine-wide name of a device, so that one process at a time uses it; an empty
    name is not locked."""


def as_pool(engine: Engine | EnginePool) -> EnginePool:
    """Return a pool in which a single engine runs everything in turn, without device locks."""
    if isinstance(engine, EnginePool):
        return engine
    return EnginePool(lambda: ("",), lambda _: engine)
