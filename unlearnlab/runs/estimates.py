"""Memory and time of a run before it starts, corrected by what earlier runs here measured."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import get_args

from unlearnlab.models.families import Architecture
from unlearnlab.runs.events import GIB, Event, Finished, StageBegan, Started, StepLogged
from unlearnlab.runs.memory import FLOAT32, WEIGHT, Lengths, Moment, Part, lengths, moments
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.run import Phase, RunSpec, planned_steps, trainable_parameters

PROGRAM = 0.5 * GIB
"""Default bytes of the process beside the tensors on a CPU: the libraries."""

AT_ONCE = 5
"""Most earlier runs that correct an estimate, the latest ones."""

LOOKED_AT = 4 * AT_ONCE
"""Most earlier runs whose events are read: some measured nothing."""

RECALLED_S = 0.5
"""Scores that took less than this, in seconds, were recalled from an earlier run."""

SCORING = {
    "scoring": "the model is scored",
    "scoring before": "the original model is scored",
    "scoring after": "the unlearned model is scored",
}
"""Descriptions of the moments of evaluation."""

NO_TIME = "No earlier run here to tell the time from: the run says it after its first steps."

SHORT = "Take a smaller batch, fewer layers, a LoRA adapter, or 4 bits under one (precision nf4)."
SHORT_ANSWERS = "Scoring needs most: shorten the longest answer, or take fewer bits (precision)."


@dataclass(frozen=True, slots=True)
class PastRun:
    """Memory and time that a finished run measured."""

    spec: RunSpec
    device: str
    """Name of the device."""
    memory: float
    """Bytes at the last step: the allocator's peak so far; on a CPU, the memory of the process."""
    loading_s: float
    before_s: float
    """Seconds for scoring the original model; near 0 if its scores were recalled."""
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
                ended = event.seconds if event.stopped_at is None else 0.0
            case _:
                pass
    stages = ("loading", "scoring before", "training", "saving", "scoring after")
    if not (ended and memory and set(stages) <= set(began)):
        return None
    loading, before, training, saving, after = (began[stage] for stage in stages)
    return PastRun(
        spec, device, memory, before - loading, training - before, saving - training, ended - after
    )


def earlier(
    spec: RunSpec, rows: Iterable[RunRecord], outline: Callable[[str], Iterable[Event]]
) -> list[PastRun]:
    """Return what the latest comparable runs measured: same model, precision, device and adapter.

    Args:
        spec: The run to estimate.
        rows: All runs, newest first.
        outline: Reads the events of a run by its id.
    """

    def setup(of: RunSpec) -> object:
        model = of.model
        adapted = model.adapter is not None
        return model.name, model.precision, model.device, adapted, model.gradient_checkpointing

    same = (
        row
        for row in rows
        if isinstance(row.ending, Finished)
        and not row.origin
        and any(phase.method.sets for phase in row.spec.phases)
        and setup(row.spec) == setup(spec)
        and row.spec.data.fold in row.spec.data.known.folds
    )
    found = (past_run(row.spec, outline(row.run_id)) for row in islice(same, LOOKED_AT))
    return list(islice((run for run in found if run is not None), AT_ONCE))


def _correction(
    past: Sequence[PastRun], *, cuda: bool, memory: int | None
) -> tuple[float, float, int]:
    """Compare the memory that earlier runs on the same kind of device measured with its estimate.

    Returns:
        `factor`, `program` and `runs` of `Estimate`.
    """
    found: list[float] = []
    for run in past:
        size = run.spec.model.known.architecture
        if size is None:
            continue
        of = lengths(run.spec.data, run.spec.model.name)
        computed = moments(run.spec, size, of, cuda=run.cuda, memory=memory)
        # The last step was logged before saving, and recalled scores needed no memory.
        names = ("training", "probing", *(["scoring before"] * (run.before_s >= RECALLED_S)))
        peak = max(one.total for one in computed if one.name.startswith(names))
        found.append(run.memory / peak if cuda else run.memory - peak)
    if not found:
        return 1.0, 0.0 if cuda else PROGRAM, 0
    middle = statistics.median(found)
    if cuda:
        return min(max(middle, 0.5), 2.0), 0.0, len(found)
    return 1.0, min(max(middle, PROGRAM / 2), 4 * PROGRAM), len(found)


def _seconds(
    spec: RunSpec, of: Lengths, size: Architecture, past: Sequence[PastRun]
) -> float | None:
    """Estimate the seconds of a run from comparable runs; none without any."""

    def evaluation(spec: RunSpec) -> tuple[object, ...]:
        """Return the settings that the scores of the original model depend on."""
        evaluation, data = spec.evaluation, spec.data
        return (
            evaluation.max_new_tokens,
            evaluation.mmlu_questions,
            evaluation.score_in_float32,
            data.source,
            data.fold,
        )

    known = any(evaluation(run.spec) == evaluation(spec) for run in past)
    found: list[float] = []
    for run in past:
        theirs = lengths(run.spec.data, run.spec.model.name)
        trained = _work(spec, of, size) / max(1.0, _work(run.spec, theirs, size))
        scored = run.after_s * of.scored / theirs.scored
        before = 0.0 if known else scored
        after = 0.0 if spec.only_scores else scored
        found.append(run.loading_s + before + run.training_s * trained + after)
    return statistics.median(found) if found else None


def training_seconds(spec: RunSpec, batch_s: float) -> float:
    """Estimate the seconds of a run's training from one batch of its first phase with steps.

    Batches of other phases take as long as they compute more or less; where the sizes are not
    known, as long.

    Args:
        spec: The run.
        batch_s: Measured seconds of one batch.
    """
    steps = planned_steps(spec)
    taken = [
        (phase, count * phase.gradient_accumulation)
        for phase, count in zip(spec.phases, steps, strict=True)
        if count
    ]
    size = spec.model.known.architecture
    if size is None or len(taken) < 2:
        return batch_s * sum(count for _, count in taken)
    of = lengths(spec.data, spec.model.name)
    first = max(1.0, _of_a_batch(taken[0][0], of, size))
    return sum(batch_s * count * _of_a_batch(phase, of, size) / first for phase, count in taken)


def snapshot_bytes(spec: RunSpec) -> float:
    """Return the bytes of a run's snapshots on the disk, at most; 0 without any.

    Each holds the trained tensors of all phases so far, or the adapter of the present one.
    """
    size, count = spec.model.known.architecture, spec.evaluation.snapshots
    if size is None or not count or spec.only_scores:
        return 0.0
    trained = [trainable_parameters(spec, phase) for phase in spec.phases]
    if spec.model.adapter:
        return count * FLOAT32 * float(max(trained))
    return count * WEIGHT[spec.model.precision] * float(min(sum(trained), size.parameters))


def _work(spec: RunSpec, of: Lengths, size: Architecture) -> float:
    """Return the computation of a run's training, in parameters times tokens."""
    return sum(
        steps * phase.gradient_accumulation * _of_a_batch(phase, of, size)
        for phase, steps in zip(spec.phases, planned_steps(spec), strict=True)
    )


def _of_a_batch(phase: Phase, of: Lengths, size: Architecture) -> float:
    """Return the computation of a batch, in parameters times tokens.

    The backward pass computes gradients of the activations down to the lowest trained block, and
    gradients of the trained weights.
    """
    block, head = size.block_parameters("all"), size.vocabulary * size.hidden
    forward = (phase.method.last_block(size.blocks) + 1) * block + head * (not phase.method.steers)
    first = 0 if phase.embeddings else phase.first_layer
    trained = len(phase.blocks(size.blocks)) * size.block_parameters(phase.modules)
    back = forward - first * block + trained
    total = 0.0
    for kind in phase.method.passes:
        rows = phase.batch_size * (1 if kind.rows == phase.method.sets[0] else phase.retain_rows)
        tokens = rows * of.mean(kind.rows, phase.tasks)
        total += tokens * (forward * (2 if kind.compared else 1) + back)
    return total


@dataclass(frozen=True, slots=True)
class Estimate:
    """Memory and time that a run will need."""

    moments: tuple[Moment, ...]
    """Computed moments, in the order of the run, before the correction."""
    factor: float
    """Ratio of measured to computed memory in earlier runs, on a GPU."""
    program: float
    """Bytes of the process beside the tensors, on a CPU."""
    runs: int
    """Number of earlier runs that corrected it."""
    seconds: float | None
    """Seconds; none without a comparable run."""
    snapshots: int = 0
    """Number of snapshots that are kept."""
    disk: float = 0.0
    """Bytes of the snapshots on the disk."""

    @property
    def peak(self) -> Moment:
        """Return the moment that needs most, with corrected parts."""
        most = max(self.moments, key=lambda moment: moment.total)
        parts: dict[Part, float] = {
            part: size * self.factor for part, size in most.parts.items() if size
        }
        if self.program:
            parts["program"] = self.program
        return Moment(most.name, parts)

    @property
    def parts(self) -> list[tuple[Part, float]]:
        """Return the parts of the peak in display order, in bytes."""
        order: tuple[Part, ...] = get_args(Part)
        return [(part, self.peak.parts[part]) for part in order if part in self.peak.parts]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences on when the peak occurs and how the estimate was corrected."""
        if self.peak.name in SCORING:
            when = f"Most while {SCORING[self.peak.name]}, if no answer ends before it must."
        else:
            when = f"Most while {self.peak.name}."
        runs = "an earlier run" if self.runs == 1 else f"{self.runs} earlier runs"
        corrected = f"Corrected by {runs} of this model here." if self.runs else ""
        timeless = NO_TIME if self.seconds is None else ""
        kept = ""
        if self.snapshots:
            many = "A snapshot" if self.snapshots == 1 else f"{self.snapshots} snapshots"
            takes = "takes" if self.snapshots == 1 else "take"
            kept = f"{many} of the changed weights {takes} {bytes_text(self.disk)} on the disk."
        return tuple(note for note in (when, kept, corrected, timeless) if note)

    @property
    def advice(self) -> str:
        """Return what to change if the peak does not fit."""
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
        past: Comparable runs on this machine, from `earlier`.
        cuda: Whether it will run on a GPU.
        memory: Total bytes of the device; none if unknown.

    Raises:
        ValueError: The model's sizes are not known here, or the data cannot be read.
    """
    size = spec.model.known.architecture
    if size is None:
        raise ValueError(f"the sizes of {spec.model.name} are not known on this machine yet")
    of = lengths(spec.data, spec.model.name)
    runs = [run for run in past if run.cuda == cuda]
    return Estimate(
        moments(spec, size, of, cuda=cuda, memory=memory),
        *_correction(runs, cuda=cuda, memory=memory),
        _seconds(spec, of, size, runs),
        0 if spec.only_scores else spec.evaluation.snapshots,
        snapshot_bytes(spec),
    )
