"""What earlier runs on this machine measured: it corrects the estimate and tells the time."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from unlearnlab.models.families import Architecture
from unlearnlab.runs.estimates.memory import Moment, moments
from unlearnlab.runs.estimates.rows import Lengths, lengths
from unlearnlab.runs.events import GIB, Ending, Event, Finished, StageBegan, Started, StepLogged
from unlearnlab.spec.methods import Steering
from unlearnlab.spec.plan import planned_steps
from unlearnlab.spec.run import Phase, RunSpec

PROGRAM = 0.5 * GIB
"""What a process holds beside the tensors on a CPU, where nothing was measured: the libraries."""

AT_ONCE = 5
"""Earlier runs that are taken into account, the latest ones."""

LOOKED_AT = 4 * AT_ONCE
"""Earlier runs whose events are read, at most: some have measured nothing."""

RECALLED_S = 0.5
"""Scores that were there within this time were not measured but taken from an earlier run."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """What a finished run measured."""

    spec: RunSpec
    device: str
    """Its name."""
    memory: float
    """At the last step, in bytes: the allocator's peak so far; on a CPU what the process held."""
    loading_s: float
    before_s: float
    """Scoring the original model; next to nothing if its scores were known."""
    training_s: float
    after_s: float

    @property
    def cuda(self) -> bool:
        """Whether it ran on a GPU."""
        return not self.device.startswith("cpu")


def past_run(spec: RunSpec, events: Iterable[Event]) -> PastRun | None:
    """Fold a run's events; none if it did not finish or took no step."""
    device, memory, ended, began = "", 0.0, 0.0, dict[str, float]()
    for event in events:
        match event:
            case Started():
                device = event.device
            case StageBegan():
                began[event.stage] = event.seconds
            case StepLogged():
                memory = event.memory_gib * GIB
            case Finished():
                ended = event.seconds
            case _:
                pass
    stages = ("loading", "scoring before", "training", "saving", "scoring after")
    if not (ended and memory and set(stages) <= set(began)):
        return None
    loading, before, training, saving, after = (began[stage] for stage in stages)
    return PastRun(
        spec, device, memory, before - loading, training - before, saving - training, ended - after
    )


class Row(Protocol):
    """A run as the store lists it."""

    @property
    def run_id(self) -> str:
        """Return its id."""
        ...

    @property
    def spec(self) -> RunSpec:
        """Return what was asked for."""
        ...

    @property
    def ending(self) -> Ending | None:
        """Return how it ended."""
        ...

    @property
    def origin(self) -> str:
        """Return where it was taken in from; empty if it was carried out here."""
        ...


def earlier(
    spec: RunSpec, rows: Iterable[Row], outline: Callable[[str], Iterable[Event]]
) -> list[PastRun]:
    """Tell what the latest runs measured that finished with the same model in the same way.

    Args:
        spec: The run that is estimated.
        rows: All runs, newest first.
        outline: Reads the events of a run by its id.
    """

    def way(of: RunSpec) -> object:
        model = of.model
        adapted = model.adapter is not None
        return model.name, model.precision, model.device, adapted, model.gradient_checkpointing

    same = (
        row
        for row in rows
        if isinstance(row.ending, Finished)
        and not row.origin
        and any(phase.method.sets for phase in row.spec.phases)
        and way(row.spec) == way(spec)
        and row.spec.data.fold in row.spec.data.known.folds
    )
    found = (past_run(row.spec, outline(row.run_id)) for row in islice(same, LOOKED_AT))
    return list(islice((run for run in found if run is not None), AT_ONCE))


@dataclass(frozen=True, slots=True)
class Correction:
    """What earlier runs say of the estimate."""

    factor: float = 1.0
    """Measured over estimated, on a GPU."""
    program: float = 0.0
    """Bytes held beside the tensors, on a CPU."""
    runs: int = 0
    """Earlier runs behind it."""


def correction(past: Sequence[PastRun], *, cuda: bool, memory: int | None = None) -> Correction:
    """Compare what earlier runs measured with what would have been estimated for them.

    Args:
        past: The earlier runs.
        cuda: Whether it will run on a GPU: only such runs, or only others, are compared.
        memory: Bytes that the device has in all; none if that is not known.
    """
    found: list[float] = []
    for run in past:
        size = run.spec.model.known.architecture
        if size is None or run.cuda != cuda:
            continue
        known = run.before_s < RECALLED_S  # Then only training was measured.
        until = _until_saving(_moments_of(run, size, memory), scored=not known)
        found.append(run.memory / until if cuda else run.memory - until)
    if not found:
        return Correction(program=0.0 if cuda else PROGRAM)
    middle = statistics.median(found)
    if cuda:
        return Correction(min(max(middle, 0.5), 2.0), 0.0, len(found))
    return Correction(1.0, min(max(middle, PROGRAM / 2), 4 * PROGRAM), len(found))


def _moments_of(run: PastRun, size: Architecture, memory: int | None) -> Sequence[Moment]:
    of = lengths(run.spec.data, run.spec.model.name)
    return moments(run.spec, size, of, cuda=run.cuda, memory=memory)


def _until_saving(found: Sequence[Moment], *, scored: bool) -> float:
    names = ("training", "probing", *(["scoring before"] if scored else []))
    return max(one.total for one in found if one.name.startswith(names))


def seconds(
    spec: RunSpec, of: Lengths, size: Architecture, past: Sequence[PastRun]
) -> float | None:
    """Tell how long a run will take from what comparable runs took; none without any."""
    found: list[float] = []
    for run in past:
        theirs = lengths(run.spec.data, run.spec.model.name)
        trained = work(spec, of, size) / max(1.0, work(run.spec, theirs, size))
        scored = of.scored / theirs.scored
        known = any(_same_start(run.spec, spec) for run in past)
        before = 0.0 if known else run.after_s * scored
        after = 0.0 if spec.only_scores else run.after_s * scored
        found.append(run.loading_s + before + run.training_s * trained + after)
    return statistics.median(found) if found else None


def _same_start(one: RunSpec, other: RunSpec) -> bool:
    """Tell whether two runs measure the same scores of the original model."""
    same = _measured(one) == _measured(other)
    return same and (one.data.source, one.data.fold) == (other.data.source, other.data.fold)


def _measured(spec: RunSpec) -> tuple[int, int]:
    return spec.evaluation.max_new_tokens, spec.evaluation.mmlu_questions


def work(spec: RunSpec, of: Lengths, size: Architecture) -> float:
    """Return how much a run computes while it trains: parameters times tokens."""
    return sum(
        steps * phase.gradient_accumulation * _of_a_batch(phase, of, size)
        for phase, steps in zip(spec.phases, planned_steps(spec), strict=True)
    )


def _of_a_batch(phase: Phase, of: Lengths, size: Architecture) -> float:
    """Return that of a batch. Backwards is once to the lowest block, once for what trains."""
    block, head = size.block_parameters("all"), size.vocabulary * size.hidden
    last = phase.method.layer + 1 if isinstance(phase.method, Steering) else size.blocks
    forward = last * block + (0 if isinstance(phase.method, Steering) else head)
    first = 0 if phase.embeddings else phase.first_layer
    trained = len(phase.blocks(size.blocks)) * size.block_parameters(phase.modules)
    back = forward - first * block + trained
    total = 0.0
    for kind in phase.method.passes:
        rows = phase.batch_size * (1 if kind.rows == phase.method.sets[0] else phase.retain_rows)
        tokens = rows * of.mean(kind.rows, phase.tasks)
        total += tokens * (forward * (2 if kind.compared else 1) + back)
    return total
