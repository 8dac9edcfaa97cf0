"""A run as a spec: model, data, phases, measurements and seed; what it rules out and amounts to.

Every setting is a field with bounds and control in its annotation and help in its docstring,
written once and read by form, command line, help and validation (see `methods`).
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unlearnlab.data.datasets import SPLITS, DatasetInfo, Fold, Task, dataset
from unlearnlab.data.files import home
from unlearnlab.models.catalog import ModelInfo, model, models, save_name_problem
from unlearnlab.models.families import ROLES, Modules, Role
from unlearnlab.spec.errors import SpecError, validated
from unlearnlab.spec.methods import Method
from unlearnlab.spec.methods.base import Expert, RowCounts, SetName, Slider, Spec
from unlearnlab.spec.methods.likelihood import GradientDifference

Precision = Literal["float32", "bfloat16", "int8", "nf4"]

PACKED_BYTES: Mapping[Precision, float] = {"int8": 1.0, "nf4": 0.5 + 4 / 64}
"""Bytes of a packed weight; nf4 has a float32 scale for every 64 of them."""

PACKED: tuple[Precision, ...] = tuple(PACKED_BYTES)
"""Precisions whose matrices are packed, and cannot be trained themselves."""

Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]

RECORDED = {"recorded": True}
"""Validation context of a stored spec: it was checked when it was submitted, against models and
data that may be missing or changed by now."""

Template = Literal["off", "on", "auto"]
"""Whether prompts go through the model's chat template; `auto`: where it has one."""

DEFAULT = "default"
"""Name of the adapter of phases that name none."""

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
"""Names that a kept model may have, safe as folder names on every system."""


def in_order(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Put subtasks in their usual order, each once.

    Raises:
        ValueError: There are none.
    """
    if not tasks:
        raise ValueError(f"no subtask chosen: name at least one of {', '.join(get_args(Task))}")
    return tuple(task for task in get_args(Task) if task in tasks)


class Phase(Spec):
    """One stretch of training with one method on one choice of weights."""

    method: Method = GradientDifference()
    """Unlearning method: the loss that is minimised."""

    tasks: tuple[Task, ...] | None = None
    """Subtasks that the phase trains on; none takes all that the run forgets."""

    first_layer: Annotated[int, Field(ge=0), Slider(0, 31, 1)] = 0
    """First block that is trained, 0-based."""

    last_layer: Annotated[int | None, Field(ge=0), Slider(0, 31, 1)] = None
    """Last block that is trained, 0-based, inclusive; none is the model's last."""

    modules: Modules = "all"
    """Matrices trained in those blocks: MLP and attention, one of them, or `down_proj` alone."""

    embeddings: Annotated[bool, Expert()] = False
    """Train the embeddings and the head as well."""

    learning_rate: Annotated[float, Field(gt=0, le=1), Slider(1e-6, 1e-2, log=True)] = 5e-4
    """Peak learning rate of AdamW."""

    epochs: Annotated[int, Field(ge=1, le=1000), Slider(1, 30, 1)] = 5
    """Passes over the forget set, or over the retain set for a method that sees no other."""

    max_steps: Annotated[int | None, Field(ge=1), Expert()] = None
    """Stop the phase after this many optimizer steps; none runs all epochs."""

    batch_size: Annotated[int, Field(ge=1, le=1024), Slider(1, 64, 1, unit="rows")] = 16
    """Rows of each set in one forward pass."""

    gradient_accumulation: Annotated[int, Field(ge=1, le=256), Slider(1, 32, 1), Expert()] = 1
    """Batches whose gradients are added up before one optimizer step."""

    retain_rows: Annotated[int, Field(ge=1, le=16), Slider(1, 8, 1), Expert()] = 1
    """Retain rows for every forget row."""

    weight_decay: Annotated[float, Field(ge=0, le=1), Slider(0, 0.1, 0.001)] = 0.0
    """Decoupled weight decay of AdamW; biases and norms do not decay."""

    optimizer: Annotated[Optimizer, Expert()] = "adamw"
    """AdamW, or AdamW of bitsandbytes with its state in 8 bits, a quarter of the memory; paged, the
    state moves to the host while a GPU's memory is short."""

    adam_epsilon: Annotated[float, Field(gt=0, le=1), Slider(1e-12, 1e-3, log=True), Expert()] = (
        1e-8
    )
    """Epsilon of AdamW: steps on weights whose gradients are smaller than this shrink."""

    bfloat16_updates: Annotated[Literal["float32", "stochastic", "nearest"], Expert()] = "float32"
    """How weights of a bfloat16 model take steps smaller than their rounding. float32: copies in
    float32 take them, and the model computes with the rounded copies (10 more bytes for each
    trained weight). stochastic: each is rounded up or down at random, without copies (4 more
    bytes). nearest: they are lost, as in plain bfloat16 training. The presets of papers take
    float32 whatever the papers' code did. Adapters and float32 models need none of it."""

    schedule: Annotated[Literal["constant", "linear", "cosine"], Expert()] = "constant"
    """Learning rate after the warm-up: constant, or falling to zero linearly or as a cosine."""

    warmup: Annotated[float, Field(ge=0, le=1), Slider(0, 0.5, 0.01), Expert()] = 0.0
    """Share of the steps in which the learning rate rises from zero."""

    max_grad_norm: Annotated[float, Field(gt=0), Slider(0.1, 10, 0.1), Expert()] = 1.0
    """Gradients are clipped to this global norm."""

    adapter_name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$"), Expert()] = DEFAULT
    """With LoRA: name of the adapter that the phase trains. Each name starts at the original
    weights; the run's result is the adapter of its last phase."""

    adapter_rank: Annotated[int | None, Field(ge=1, le=512), Expert()] = None
    """With LoRA: rank of this phase's adapter; none takes the model's."""

    @field_validator("tasks")
    @classmethod
    def _some(cls, tasks: tuple[Task, ...] | None) -> tuple[Task, ...] | None:
        return None if tasks is None else in_order(tasks)

    def blocks(self, of: int) -> range:
        """Return the trained blocks of a model with `of` blocks."""
        return range(self.first_layer, (of - 1 if self.last_layer is None else self.last_layer) + 1)


DEVICE = re.compile(r"auto|all|cpu|mps|cuda(:\d{1,2})?")


SNAPSHOT = re.compile(r"(?P<run>[0-9]{6}-[0-9]{6}-[0-9]{3})@(?P<step>[0-9]{1,9})")
"""A run and one of its steps, as `ModelSpec.start_from` names a snapshot."""

SNAPSHOTS = "snapshots"
"""Folder of a run's snapshots in its own, each named by its step."""


def snapshot_folder(named: str) -> Path:
    """Return the folder of the snapshot that `ModelSpec.start_from` names."""
    run, _, step = named.partition("@")
    return home() / "runs" / run / SNAPSHOTS / str(int(step))


class LoRA(Spec):
    """Low-rank adapter in place of full training."""

    r: Annotated[int, Field(ge=1, le=512), Slider(1, 128, 1)] = 16
    """Rank."""

    alpha: Annotated[int, Field(ge=1, le=1024), Slider(1, 256, 1)] = 32
    """Numerator of the scale alpha / r."""

    dropout: Annotated[float, Field(ge=0, lt=1), Slider(0, 0.5, 0.01)] = 0.0
    """Dropout on the adapter's input."""


class ModelSpec(Spec):
    """The model to start from."""

    name: Annotated[str, StringConstraints(strip_whitespace=True)] = "tiny-olmo"
    """Name of a known or saved model, a folder's path, or the id of a model on the hub."""

    precision: Annotated[Precision, Expert()] = "float32"
    """Number format of weights and computation. int8 and nf4 quantise the blocks' matrices to
    8 and 4 bits, need an adapter to train, and compute in bfloat16, on a CPU in float32."""

    start_from: Annotated[str, StringConstraints(strip_whitespace=True), Expert()] = ""
    """Snapshot of an earlier run to start from, as RUN@STEP: the weights that the run had after so
    many steps are this one's original ones. Empty starts from the model itself."""

    device: Annotated[str, Expert()] = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda, cuda:1 and so on, mps, or all: spread over
    all GPUs, for a model that is too large for one."""

    gradient_checkpointing: Annotated[bool, Expert()] = False
    """Recompute the activations of each block in the backward pass instead of keeping them: less
    memory, more time, the same results."""

    adapter: LoRA | None = None
    """Train a low-rank adapter instead of the weights; none trains the weights themselves."""

    @field_validator("start_from")
    @classmethod
    def _a_snapshot(cls, named: str) -> str:
        if named and not SNAPSHOT.fullmatch(named):
            raise ValueError(
                f"{named!r} names no snapshot: write the id of the run and the step, RUN@STEP"
            )
        return named

    @field_validator("device")
    @classmethod
    def _a_device(cls, device: str) -> str:
        if not DEVICE.fullmatch(device):
            raise ValueError(
                f"no device is called {device!r}: take auto, cpu, cuda, cuda:0, mps or all"
            )
        return device

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.precision in PACKED and self.adapter is None:
            raise ValueError(
                f"model.precision: weights packed as {self.precision} cannot be trained "
                "themselves: add a LoRA adapter (model.adapter), or take bfloat16"
            )
        return self

    @property
    def known(self) -> ModelInfo:
        """Return what the catalog knows of the model."""
        return model(self.name)

    @property
    def blocks(self) -> int | None:
        """Count of its blocks; none where its sizes are not known on this machine."""
        architecture = self.known.architecture
        return architecture and architecture.blocks


def refuse_missing_template(model: ModelSpec, field: str) -> None:
    """Refuse a model on this machine that lacks the chat template that a setting asks for.

    Raises:
        ValueError: It has none.
    """
    if model.known.chat_template is False:
        raise ValueError(
            f"{field}: on: {model.name} has no chat template: take off, or auto, which uses one "
            "where there is one"
        )


class DataSpec(Spec):
    """What is forgotten, what is kept, and what the scores are measured on."""

    source: str = "embedded"
    """Name of the dataset: the embedded one, or one that was added."""

    fold: Fold = "train"
    """Fold that is unlearned and scored."""

    tasks: Annotated[tuple[Task, ...], AfterValidator(in_order)] = get_args(Task)
    """Subtasks to unlearn; the scores always cover all of them."""

    forget: Annotated[tuple[str, ...] | None, Expert()] = None
    """Ids of the forget rows to unlearn; none takes all of the subtasks."""

    rest: Annotated[Literal["leave", "retain"], Expert()] = "leave"
    """What becomes of forget rows that were not picked: left alone, or moved to the retain set."""

    unknown_rows: Annotated[Literal["keep", "warn", "leave_out"], Expert()] = "warn"
    """Forget rows that the model does not know: `warn` asks some of them before training and says
    what it knows, unless it was taught them here; `leave_out` asks all, and unlearns only those
    that it knows; `keep` asks nothing."""

    chat_template: Annotated[Template, Expert()] = "off"
    """Put prompts and answers through the model's chat template, as the turns of a user and an
    assistant: on, off (plain text, as the task does), or auto, where the model has one."""

    @field_validator("forget")
    @classmethod
    def _picked(cls, ids: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if ids is not None and not ids:
            raise ValueError("no row was picked: pick at least one, or leave it to the subtasks")
        return ids if ids is None else tuple(dict.fromkeys(ids))

    @property
    def known(self) -> DatasetInfo:
        """What is known of the dataset."""
        return dataset(self.source)

    def counts(self, tasks: Sequence[Task] | None = None) -> RowCounts:
        """Count the rows of subtasks, or of all that the run forgets, by set and subtask."""
        known, wanted = self.known, self.tasks if tasks is None else tasks
        found = {split: Counter[str](known.counts(self.fold)[split]) for split in SPLITS}
        if self.forget is not None:
            chosen = set(self.forget)
            picked = Counter(r.task for r in known.rows("forget", self.fold) if r.id in chosen)
            if self.rest == "retain":
                found["retain"] += found["forget"] - picked
            found["forget"] = picked
        return {split: {task: of[task] for task in wanted} for split, of in found.items()}


class EvaluationSpec(Spec):
    """How much is measured."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1024), Slider(16, 256, 16), Expert()] = 256
    """Longest answer, in tokens. The task's own script uses 256."""

    probes: Annotated[int, Field(ge=0, le=200), Slider(0, 40, 1), Expert()] = 12
    """How many times the live probe runs during training, evenly spaced."""

    watched_rows: Annotated[tuple[str, ...] | None, Field(max_length=8), Expert()] = None
    """Ids of rows, forget or retain, that every probe answers again, to show what the model says as
    it changes; at most 8. None takes three forget rows and a retain row: of each subtask, questions
    first."""

    snapshots: Annotated[int, Field(ge=0, le=50), Slider(0, 20, 1), Expert()] = 0
    """How many copies of the changed weights are kept from during the training, evenly spaced,
    beside the final ones: any prompt can be asked of each, and a run can start from one."""

    mmlu_questions: Annotated[
        int, Field(ge=0, le=14042), Slider(0, 1000, 50, unit="questions"), Expert()
    ] = 0
    """MMLU questions asked before and after, in place of the dataset's own utility test: drawn
    from every subject in proportion, always the same. The test is read from the folder that
    UNLEARNLAB_MMLU names, or fetched from the hub once. 0 asks none."""

    score_in_float32: Annotated[bool, Expert()] = False
    """Score a bfloat16 model in float32: with the same weights, but without the rounding that makes
    some answers depend on the other rows of a batch. The weights take twice the memory while they
    are scored. The task's own script scores in bfloat16."""

    @field_validator("watched_rows")
    @classmethod
    def _watched(cls, ids: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(dict.fromkeys(ids)) if ids else None


class RunSpec(Spec):
    """One run: the model, the data, the phases in order, the measurements and the seed."""

    model: ModelSpec = ModelSpec()
    data: DataSpec = DataSpec()
    phases: Annotated[tuple[Phase, ...], Field(max_length=100)] = (Phase(),)
    """What is done, in order; with none, the model is scored as it is."""
    evaluation: EvaluationSpec = EvaluationSpec()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the order of rows, of dropout and of random directions."""

    keep_as: Annotated[str, Expert()] = ""
    """Name under which the trained model is saved for further runs: lower-case letters, digits and
    hyphens. Empty saves no model; the run keeps its changed weights in any case."""

    @field_validator("keep_as")
    @classmethod
    def _may_be_a_name(cls, name: str) -> str:
        if name and not NAME.fullmatch(name):
            allowed = "at most 41 lower-case letters, digits and hyphens, and no hyphen first"
            raise ValueError(f"a model's name has {allowed}, not {name!r}")
        # Whether the name is taken by a kept model is no matter here: the run may have kept it.
        if name in models():
            raise ValueError(save_name_problem(name))
        return name

    @model_validator(mode="before")
    @classmethod
    def _as_it_was(cls, plain: Any, info: ValidationInfo) -> Any:
        """Keep the meaning of stored bfloat16 runs that are older than `bfloat16_updates`."""
        if info.context != RECORDED or not isinstance(plain, dict):
            return plain
        found = cast("dict[str, Any]", plain)
        model: Any = found.get("model")
        phases: Any = found.get("phases")
        if not isinstance(model, dict) or not isinstance(phases, list | tuple):
            return found
        asked = cast("dict[str, Any]", model)
        if asked.get("precision") != "bfloat16" or asked.get("adapter"):
            return found
        older: Any = {"bfloat16_updates": "nearest"}
        filled = [
            older | phase if isinstance(phase, dict) else phase
            for phase in cast("Sequence[Any]", phases)
        ]
        return found | {"phases": filled}

    @model_validator(mode="after")
    def _contradicts_nothing(self) -> Self:
        if self.keep_as and self.only_scores:
            raise ValueError("keep_as: a run that only scores makes no model: leave it empty")
        if self.evaluation.score_in_float32 and self.model.precision in PACKED:
            raise ValueError(
                "evaluation.score_in_float32: weights packed as "
                f"{self.model.precision} cannot be scored in float32: switch it off, or take "
                "bfloat16 (model.precision)"
            )
        for number, phase in enumerate(self.phases):
            if beyond := [task for task in phase.tasks or () if task not in self.data.tasks]:
                raise ValueError(
                    f"phases.{number}.tasks: {', '.join(beyond)} is not among what the run "
                    f"forgets ({', '.join(self.data.tasks)}): choose it there as well"
                )
            if phase.embeddings and self.model.adapter:
                raise ValueError(
                    f"phases.{number}.embeddings: an adapter trains no embeddings: "
                    "switch one of the two off"
                )
            if phase.method.needs_new_adapter and self.model.adapter and number:
                raise ValueError(
                    f"phases.{number}.method.kind: an adapter can be negated only as it was "
                    "learnt from zero: make this the first phase, or train without an adapter"
                )
        return self

    @model_validator(mode="after")
    def _fits_its_sizes(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        architecture, lora = self.model.known.architecture, self.model.adapter
        if architecture is None:  # The engine will know them.
            return self
        blocks, rank = architecture.blocks, lora and lora.r
        for number, phase in enumerate(self.phases):
            if problem := _layer_problem(phase, blocks):
                raise ValueError(f"phases.{number}.{problem}")
        for number, phase in enumerate(self.phases):
            if problem := _adapter_problem(phase, self.phases[:number], blocks, rank):
                raise ValueError(f"phases.{number}.{problem}")
        if self.evaluation.max_new_tokens > architecture.context // 2:
            raise ValueError(
                f"evaluation.max_new_tokens: {self.evaluation.max_new_tokens} leave too little of "
                f"the model's {architecture.context} tokens to a prompt: "
                f"take at most {architecture.context // 2}"
            )
        return self

    @model_validator(mode="after")
    def _has_its_template(self, info: ValidationInfo) -> Self:
        if info.context != RECORDED and self.data.chat_template == "on":
            refuse_missing_template(self.model, "data.chat_template")
        return self

    @model_validator(mode="after")
    def _fits_the_data(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        for number, phase in enumerate(self.phases):
            size = phase.method.chunk_rows
            if size is None or self.data.known.unknown_reason:
                continue
            forget = sum(self.rows(phase)["forget"].values())
            if size > forget:
                raise ValueError(
                    f"phases.{number}.method.chunk_size: a chunk of {size} rows is larger than the "
                    f"forget set of {forget}: take at most that, or another method"
                )
        return self

    def rows(self, phase: Phase) -> RowCounts:
        """Count the rows that one of its phases trains on, by set and subtask."""
        return self.data.counts(phase.tasks)

    @property
    def only_scores(self) -> bool:
        """Tell whether it trains nothing: its model is scored as it is."""
        return not self.phases

    @property
    def scoring(self) -> "RunSpec":
        """Return the run that only scores what this one starts from."""
        return self.model_copy(update={"phases": (), "keep_as": ""})

    @property
    def uses_template(self) -> bool | None:
        """Whether prompts go through the model's chat template; None while that is not known."""
        if self.data.chat_template != "auto":
            return self.data.chat_template == "on"
        return self.model.known.chat_template

    @property
    def taught(self) -> tuple[SetName, ...]:
        """The sets that the run teaches; none if any of its phases does something else."""
        if not all(phase.method.teaches for phase in self.phases):
            return ()
        return tuple(n for n in SPLITS if any(n in phase.method.drawn for phase in self.phases))

    @property
    def title(self) -> str:
        """Name the run by its methods, in order; one that only scores, by its model."""
        if self.only_scores:
            known = self.model.known  # A folder that is gone has its whole path for a title.
            return f"Scores of {Path(known.title).name if known.unknown_reason else known.title}"
        return " → ".join(phase.method.card.title for phase in self.phases)


def data_problem(spec: RunSpec) -> tuple[str, str] | None:
    """Find a field that asks for rows that the data do not have: its path, and what to do.

    Stored specs are not checked so: their data may be gone. Nor is a dataset that is not here.
    """
    data, known = spec.data, spec.data.known
    if known.unknown_reason:
        return None
    if data.fold not in known.folds:
        folds = " and ".join(known.folds) or "no forget rows"
        return "data.fold", f"{data.source} has no {data.fold} fold: it has {folds}"
    there = {row.id for row in known.rows("forget", data.fold)} if data.forget else set[str]()
    if strange := set(data.forget or ()) - there:
        what = f"no forget row has the id {min(strange)!r}: pick rows of {data.source}"
        return "data.forget", what
    if watched := set(spec.evaluation.watched_rows or ()):
        every = {row.id for split in SPLITS for row in known.rows(split, data.fold)}
        if strange := watched - every:
            what = f"no row has the id {min(strange)!r}: take ids of rows of {data.source}"
            return "evaluation.watched_rows", what
    for number, phase in enumerate(spec.phases):
        counts = {name: sum(of.values()) for name, of in spec.rows(phase).items()}
        for name in phase.method.drawn:
            if not counts["retain" if name == "retain" else "forget"]:
                field, what = _rows_missing(phase, name, data)
                return f"phases.{number}.{field}", what
    return None


def _rows_missing(phase: Phase, name: SetName, data: DataSpec) -> tuple[str, str]:
    title = phase.method.card.title
    if name == "retain" and not sum(data.known.counts(data.fold)["retain"].values()):
        return "method.kind", (
            f"{title} needs retain rows, and {data.source} has none: add it again with a retain "
            "file or rows of the embedded data (--retain-of embedded), or choose a method that "
            "needs none, such as gradient ascent"
        )
    tasks = ", ".join(data.tasks if phase.tasks is None else phase.tasks)
    return "tasks", (
        f"{title} needs {name} rows, and {data.source} has none of {tasks}: choose subtasks that "
        "have some, or another method"
    )


def _layer_problem(phase: Phase, blocks: int) -> str:
    """Say which field of a phase does not fit the layers of a model, and why; empty if all do."""
    trained = phase.blocks(blocks)
    for field, layer in (("last_layer", phase.last_layer), ("first_layer", phase.first_layer)):
        if layer is not None and layer >= blocks:
            return f"{field}: layer {layer} is out of range: the model has blocks 0 to {blocks - 1}"
    if not trained:
        return (
            f"first_layer: first layer {phase.first_layer} comes after last layer "
            f"{trained.stop - 1}"
        )
    problem = phase.method.layer_problem(trained, blocks)
    return problem and f"method.{problem}"


RESERVED = frozenset(
    """
    apply bfloat16 buffers children clear compile cpu cuda double eval float forward half ipu
    items keys layers mlp model modules mtia parameters pop to train training type update values
    weight xpu
    """.split()  # noqa: SIM905
)
"""Words that cannot name an adapter: torch keeps adapters beside attributes so called, or a part of
the model has the name, and peft, which tells adapters apart by it, would not save that part."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Rank of an adapter, and the matrices that it adds to."""

    rank: int
    roles: frozenset[Role]
    """Roles of the matrices."""
    blocks: frozenset[int]

    def with_phase(self, phase: Phase, blocks: int) -> "Adapter":
        """Return a copy that also covers the matrices of a phase."""
        roles = self.roles | frozenset(ROLES[phase.modules])
        return Adapter(self.rank, roles, self.blocks | frozenset(phase.blocks(blocks)))


def adapters(phases: Sequence[Phase], *, blocks: int, rank: int) -> Mapping[str, Adapter]:
    """Map the name of each adapter to where it sits, in the order in which they come up.

    Each adapter starts at the original weights; phases of the same name go on with it. A merge
    makes a new adapter of all those before it.

    Args:
        phases: In order.
        blocks: Count of the model's blocks.
        rank: Of phases that choose none.
    """
    found: dict[str, Adapter] = {}
    for phase in phases:
        name = phase.adapter_name
        if phase.method.merges:
            found.setdefault(name, next(iter(found.values())))
        else:
            fresh = Adapter(phase.adapter_rank or rank, frozenset(), frozenset())
            found[name] = found.get(name, fresh).with_phase(phase, blocks)
    return found


def _adapter_problem(phase: Phase, before: Sequence[Phase], blocks: int, rank: int | None) -> str:
    """Say which field of a phase asks for an impossible adapter, and the way out; empty if none.

    Args:
        phase: The phase.
        before: All earlier phases.
        blocks: Count of the model's blocks.
        rank: Of phases that choose none; none if the run has no adapter at all.
    """
    name, merges = phase.adapter_name, phase.method.merges
    if rank is None:
        return _missing_adapter(phase)
    if name in RESERVED:
        return (
            f"adapter_name: no adapter can be called {name!r}, which means something to the model: "
            f"take another name, such as '{name}-1'"
        )
    earlier = adapters(before, blocks=blocks, rank=rank)
    if merges:
        return _merge_problem(phase, earlier)
    known = earlier.get(name)
    if known and phase.adapter_rank not in (None, known.rank):
        return (
            f"adapter_rank: adapter {name!r} has rank {known.rank} from an earlier phase, "
            f"not {phase.adapter_rank}: leave the rank out, or name another adapter"
        )
    merged = {one.adapter_name for one in before if one.method.merges}
    if known and name in merged and known.with_phase(phase, blocks) != known:
        return (
            f"adapter_name: the merged adapter {name!r} does not reach all layers and modules of "
            "this phase: choose those of its parts"
        )
    return ""


def _missing_adapter(phase: Phase) -> str:
    if phase.method.merges:
        return "method.kind: a merge needs LoRA adapters: switch the adapter on (model.adapter)"
    if phase.adapter_name != DEFAULT:
        return (
            f"adapter_name: there is no adapter to call {phase.adapter_name!r}: switch LoRA on "
            f"(model.adapter), or leave the name at {DEFAULT!r}"
        )
    if phase.adapter_rank is not None:
        return (
            f"adapter_rank: there is no adapter to give rank {phase.adapter_rank}: switch LoRA on "
            "(model.adapter), or leave the rank out"
        )
    return ""


def _merge_problem(phase: Phase, before: Mapping[str, Adapter]) -> str:
    names = " and ".join(repr(name) for name in before)
    if len(before) < 2:
        return (
            f"method.kind: nothing to merge: {names or 'no adapter'} was trained before it: "
            "let two phases before it train adapters of different names"
        )
    if len({one.rank for one in before.values()}) > 1:
        ranks = ", ".join(f"{name!r} has {one.rank}" for name, one in before.items())
        return (
            f"method.kind: adapters of different rank cannot be merged ({ranks}): "
            "give their phases one rank"
        )
    if len({(one.roles, one.blocks) for one in before.values()}) > 1:
        return (
            f"method.kind: {names} were trained in different layers or modules: "
            "let their phases train the same"
        )
    if phase.adapter_name in before:
        return (
            f"adapter_name: {phase.adapter_name!r} is the name of an adapter trained before: "
            "call the merged one otherwise"
        )
    if phase.adapter_rank is not None:
        return (
            f"adapter_rank: a merged adapter has the rank of its parts, not {phase.adapter_rank}: "
            "leave it out"
        )
    return ""


def parse_spec(asked: Mapping[str, Any] | str) -> RunSpec:
    """Make a spec of JSON text or of plain values.

    Raises:
        SpecError: One line for every field that is wrong, with its value.
    """
    spec = validated(RunSpec, asked)
    unknown = [
        ("model.name", spec.model.known.unknown_reason),
        ("data.source", spec.data.known.unknown_reason),
    ]
    if problems := [(where, what) for where, what in unknown if what]:
        raise SpecError(problems)
    if lacking := data_problem(spec):
        raise SpecError([lacking])
    if (named := spec.model.start_from) and not snapshot_folder(named).is_dir():
        what = f"there is no snapshot {named} here: its run was deleted, or kept none at this step"
        raise SpecError([("model.start_from", what)])
    return spec


WEIGHT = "weight"
"""Name ending of the method settings that may be changed during training."""


def adjustable(phase: Phase) -> dict[str, float]:
    """Map what may be changed while a phase runs to its value, by its dotted path in the phase."""
    method = phase.method
    weights = {name: getattr(method, name) for name in type(method).model_fields}
    return {"learning_rate": phase.learning_rate} | {
        f"method.{name}": value for name, value in weights.items() if name.endswith(WEIGHT)
    }


def adjusted(phase: Phase, changes: Mapping[str, Any]) -> Phase:
    """Return a phase with some of its values changed, checked as if it had been asked for so.

    Args:
        phase: As it runs at present.
        changes: New values by dotted path: `learning_rate`, or `method.` and the name of a weight.

    Raises:
        SpecError: One line for every path that cannot be changed and every value that is wrong.
    """
    known = adjustable(phase)
    if unknown := [path for path in changes if path not in known]:
        may = f"while it runs, only {', '.join(known)} may be changed"
        raise SpecError([(path, may) for path in unknown])
    plain = phase.model_dump()
    for path, value in changes.items():
        *inside, name = path.split(".")
        (plain["method"] if inside else plain)[name] = value
    return validated(Phase, plain)


def planned_steps(spec: RunSpec) -> tuple[int, ...]:
    """Count the optimizer steps that each phase will take."""
    counts = ((steps_of_epochs(spec, phase), phase.max_steps) for phase in spec.phases)
    return tuple(steps if most is None else min(steps, most) for steps, most in counts)


def steps_of_epochs(spec: RunSpec, phase: Phase) -> int:
    """Count the optimizer steps of a phase's epochs; 0 where its rows are not on this machine."""
    parts = phase.method.batches(spec.rows(phase), phase.batch_size, phase.retain_rows)
    return phase.epochs * sum(math.ceil(n / phase.gradient_accumulation) for n in parts)


def trainable_parameters(spec: RunSpec, phase: Phase) -> int:
    """Count the parameters that a phase trains.

    Raises:
        ValueError: The model's sizes are not known on this machine.
    """
    size = spec.model.known.architecture
    if size is None:
        raise ValueError(f"the sizes of {spec.model.name} are not known here")
    blocks = len(phase.blocks(size.blocks))
    if not phase.method.sets:
        return 0
    if lora := spec.model.adapter:
        sits = adapters(spec.phases, blocks=size.blocks, rank=lora.r)
        return blocks * size.adapter_parameters(phase.modules, sits[phase.adapter_name].rank)
    whole = size.embedding_parameters if phase.embeddings else 0
    return whole + blocks * size.block_parameters(phase.modules)


def same_settings(one: RunSpec, other: RunSpec) -> bool:
    """Tell whether two specs differ in no more than the seed and what changes no result."""
    return settled(one, seed=0) == settled(other, seed=0)


def settled(spec: RunSpec, *, seed: int | None = None) -> RunSpec:
    """Fill in what depends on the model, drop what changes no result, and set a given `seed`."""
    blocks = spec.model.blocks
    last = None if blocks is None else blocks - 1
    phases = tuple(
        phase.model_copy(update={"last_layer": last}) if phase.last_layer is None else phase
        for phase in spec.phases
    )
    changes: dict[str, Any] = {
        "phases": phases,
        "keep_as": "",
        "seed": spec.seed if seed is None else seed,
    }
    nothing = {"watched_rows": None, "snapshots": 0}
    changes["evaluation"] = spec.evaluation.model_copy(update=nothing)
    return spec.model_copy(update=changes)


def written(number: float) -> str:
    """Write a number that spans orders of magnitude: 0.0005 as 5e-4."""
    mantissa, exponent = f"{number:.6e}".split("e")
    if -2 <= int(exponent) <= 3:
        return f"{number:g}"
    return f"{float(mantissa):g}e{int(exponent)}"


ANSWER_TOKENS = 128
"""Longest answer to a previewed row or a free prompt."""


class PreviewSpec(Spec):
    """A model as it is, and the forget rows that it shall answer."""

    model: ModelSpec = ModelSpec()
    source: str
    """Name of the dataset."""
    fold: Fold = "train"
    rows: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    """Ids of the rows."""
    chat_template: Template = "off"
    """As in a run's data."""
