"""What happens in a run or a trace, as a closed union of immutable facts.

A run is its spec and the list of its events; status, curves, scores and verdicts are folds of
them. The engine yields what happened, the worker alone says how a run ended. NaN and infinity are
results here (ascent diverges), so they survive JSON as strings.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.metrics.tracing import FactTrace, TraceAverage

GIB = 2**30
"""Bytes of the unit in which events tell memory."""

Stage = Literal[
    "downloading",
    "loading",
    "scoring",
    "scoring before",
    "training",
    "scoring after",
    "saving",
    "keeping",
    "tracing",
    "answering",
]
"""What a run or a trace is busy with."""

When = Literal["before", "after"]
"""Which model is measured: the original, or the one that was trained."""


class EventBase(BaseModel):
    """Base of all events."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Revision(BaseModel):
    """A state of this program's code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    """Of git."""
    dirty: bool
    """Whether files differed from it."""


class Started(EventBase):
    """The worker took the run up."""

    kind: Literal["started"] = "started"
    versions: Mapping[str, str]
    """Version of each library that numbers depend on."""
    device: str
    """Such as "cpu, 2 threads"."""
    code: Revision | None = None
    """None where the program was in no repository, and in runs of before it was noted."""


class Loaded(EventBase):
    """Model and data are in memory, and their fingerprints name them."""

    kind: Literal["loaded"] = "loaded"
    weights: str
    """Fingerprint of the untouched weights."""
    data: str
    """Fingerprint of the rows."""
    parameters: int
    rows: Mapping[str, int]
    """Number of rows in `forget` and in `retain`."""


class StageBegan(EventBase):
    """The run turned to another stage."""

    kind: Literal["stage_began"] = "stage_began"
    stage: Stage
    seconds: float
    """Since the run was taken up."""


class Progressed(EventBase):
    """So much of the present stage is done. Not sent for training: steps say it."""

    kind: Literal["progressed"] = "progressed"
    done: int
    total: int
    unit: str = ""
    """What is counted, such as "MB"; empty where the stage says it."""


class PhaseBegan(EventBase):
    """A phase of training begins after `step` optimizer steps."""

    kind: Literal["phase_began"] = "phase_began"
    phase: int
    """0-based."""
    step: int
    steps: int
    """Optimizer steps in this phase."""
    total_steps: int
    """Optimizer steps in all phases."""
    trainable: int
    """Parameters that this phase trains."""
    effective_batch: int
    """Rows of the first set for each optimizer step."""


class PhaseEnded(EventBase):
    """A phase reached its goal before its last step: what it was to teach is recited."""

    kind: Literal["phase_ended"] = "phase_ended"
    phase: int
    """0-based."""
    steps: int
    """Optimizer steps that it took."""
    total_steps: int
    """Optimizer steps in all phases, as they are now."""


class StepLogged(EventBase):
    """One optimizer step was taken."""

    kind: Literal["step_logged"] = "step_logged"
    step: int
    """1-based, counted through all phases."""
    phase: int
    epoch: float
    """Passes over the set that defines the phase's epochs, after this step."""
    terms: Mapping[str, float]
    """Loss terms by name, unweighted."""
    weights: Mapping[str, float]
    """Signed weight of each term."""
    loss: float
    """The weighted sum that was minimised."""
    grad_norm: float
    """Global norm before it was limited."""
    learning_rate: float
    tokens_per_s: float
    """Real tokens, padding not counted."""
    memory_gib: float
    """Peak of the device's allocator so far; on a CPU, what the process holds."""
    seconds: float
    """Since the run was taken up."""


class Probed(EventBase):
    """The live probe measured a few rows after `step` optimizer steps."""

    kind: Literal["probed"] = "probed"
    step: int
    knowledge: Mapping[str, float]
    """By set: share of questions answered exactly, 0 to 1; a set without questions is left out."""
    regurgitation: Mapping[str, float]
    """By set: mean ROUGE-L recall of completions, 0 to 1."""
    nll: Mapping[str, float]
    """By set: mean loss of the expected answers, in nats per token."""


class Examined(EventBase):
    """So many MMLU questions are answered, subject by subject."""

    kind: Literal["examined"] = "examined"
    when: When
    asked: int
    of: int
    right: int


class Evaluated(EventBase):
    """All scores were measured."""

    kind: Literal["evaluated"] = "evaluated"
    when: When
    scores: Scores
    key: str
    """Names the evidence: equal keys mean the same weights, data and measurement."""
    evidence: Evidence | None = None
    """The answers and losses behind the scores; the store keeps them apart, so that reading a
    run's events stays light."""


class Saved(EventBase):
    """A file was written into the run's folder."""

    kind: Literal["saved"] = "saved"
    name: str
    megabytes: float


class Kept(EventBase):
    """The trained model was kept as a model of its own, which a spec can name."""

    kind: Literal["kept"] = "kept"
    name: str
    megabytes: float


class Traced(EventBase):
    """A trace found what it was asked for."""

    kind: Literal["traced"] = "traced"
    weights: str
    """Fingerprint of the model's weights."""
    noise_sd: float
    """Standard deviation of the noise, in units of the embeddings."""
    window: int
    """Blocks whose MLPs or attentions were restored together."""
    found: Annotated[FactTrace | TraceAverage, Field(discriminator="kind")]


class Previewed(EventBase):
    """A model said what it makes of rows before anything is unlearned."""

    kind: Literal["previewed"] = "previewed"
    answers: Mapping[str, str]
    """By id of the row. A row that does not fit the model's context has none."""


class Asked(EventBase):
    """Both models answered a free prompt."""

    kind: Literal["asked"] = "asked"
    ask_id: str
    prompt: str
    original: str
    unlearned: str
    step: int
    """Optimizer steps taken by then; -1 when a finished run was asked."""


class AskFailed(EventBase):
    """A free prompt could not be answered."""

    kind: Literal["ask_failed"] = "ask_failed"
    ask_id: str
    prompt: str
    problem: str


class Adjusted(EventBase):
    """Values of the present phase were changed while it ran, and hold until it ends."""

    kind: Literal["adjusted"] = "adjusted"
    step: int
    """The last optimizer step with the old values."""
    phase: int
    """0-based."""
    changes: Mapping[str, float]
    """New values by dotted path in the phase: `learning_rate`, `method.retain_weight`."""


class AdjustFailed(EventBase):
    """A change of the present phase could not be made; the run went on as it was."""

    kind: Literal["adjust_failed"] = "adjust_failed"
    changes: Mapping[str, float]
    problem: str


class Exported(EventBase):
    """The merged model of an ended run was written into a folder."""

    kind: Literal["exported"] = "exported"
    name: str
    """Of the folder."""
    megabytes: float
    """Of the weights."""


class ExportFailed(EventBase):
    """The merged model could not be written; nothing of it is left."""

    kind: Literal["export_failed"] = "export_failed"
    name: str
    problem: str


class Paused(EventBase):
    """The worker holds the run between two batches."""

    kind: Literal["paused"] = "paused"


class Resumed(EventBase):
    """The worker goes on with it."""

    kind: Literal["resumed"] = "resumed"


class Finished(EventBase):
    """The run came to its end."""

    kind: Literal["finished"] = "finished"
    seconds: float


class Stopped(EventBase):
    """The user stopped the run."""

    kind: Literal["stopped"] = "stopped"
    seconds: float


class Failed(EventBase):
    """The run broke off."""

    kind: Literal["failed"] = "failed"
    seconds: float
    problem: str
    """What went wrong, with the value."""
    advice: str = ""
    """What to change."""


Ending = Finished | Stopped | Failed

Event = Annotated[
    Started
    | Loaded
    | StageBegan
    | Progressed
    | PhaseBegan
    | PhaseEnded
    | StepLogged
    | Probed
    | Examined
    | Evaluated
    | Saved
    | Kept
    | Traced
    | Previewed
    | Asked
    | AskFailed
    | Adjusted
    | AdjustFailed
    | Exported
    | ExportFailed
    | Paused
    | Resumed
    | Finished
    | Stopped
    | Failed,
    Field(discriminator="kind"),
]

EVENTS: tuple[type[EventBase], ...] = get_args(get_args(Event)[0])

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def parse_event(text: str | bytes) -> Event:
    """Read one event from its JSON.

    Raises:
        pydantic.ValidationError: It is none of the known events.
    """
    return _ADAPTER.validate_json(text)
