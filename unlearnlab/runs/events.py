"""Events of runs, traces and previews: a closed union of immutable values.

A run is its spec and the list of its events; status, curves, scores and verdicts are folds of the
events. The engine yields all events but the endings, which only the worker decides. NaN and
infinity are legitimate results (gradient ascent diverges) and are written to JSON as strings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.metrics.documents import DocumentProbe
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.metrics.tracing import FactTrace, TraceAverage
from unlearnlab.metrics.verdicts import Knowledge

GIB = 2**30
"""Bytes in a GiB, the unit of memory in events."""

Stage = Literal[
    "downloading",
    "loading",
    "checking",
    "scoring",
    "scoring before",
    "training",
    "scoring after",
    "saving",
    "keeping",
    "tracing",
    "answering",
]
"""Stages of a run, a trace or a preview."""

When = Literal["before", "after"]
"""Which model is measured: the original one or the trained one."""


class EventBase(BaseModel):
    """Base of all events."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Revision(BaseModel):
    """A version of this program's code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    """Git commit hash."""
    dirty: bool
    """Whether files differed from the commit."""


class Started(EventBase):
    """The worker started the run."""

    kind: Literal["started"] = "started"
    versions: Mapping[str, str]
    """Version of each library that numbers depend on."""
    device: str
    """Such as "cpu, 2 threads"."""
    code: Revision | None = None
    """None if the program was in no repository, and in runs older than this field."""


class Loaded(EventBase):
    """Model and data were loaded."""

    kind: Literal["loaded"] = "loaded"
    weights: str
    """Fingerprint of the original weights."""
    data: str
    """Fingerprint of the rows."""
    parameters: int
    rows: Mapping[str, int]
    """Number of rows by set: `forget` and `retain`."""
    template: str = ""
    """Digest of the chat template that prompts went through; empty for plain text, and in runs
    older than this field."""
    has_template: bool = False
    """Whether the model has a chat template, used or not."""
    notes: tuple[str, ...] = ()
    """What the model's files brought along unexpectedly, such as an adapter that was merged."""


class KnowledgeChecked(EventBase):
    """The original model was asked which of the forget rows it knows, before training.

    A sample first, then, once it is scored, all of them.
    """

    kind: Literal["knowledge_checked"] = "knowledge_checked"
    questions: tuple[int, int]
    """Questions answered, of those asked."""
    texts: tuple[int, int]
    """Completions recited, of those begun."""
    of: int
    """Forget rows that are to be unlearned; more than were asked, in a sample."""
    left_out: int = 0
    """Rows that the model does not know and that the run leaves out."""

    @property
    def knowledge(self) -> Knowledge:
        """What the model knows, with its classification and words."""
        return Knowledge(questions=self.questions, texts=self.texts)


class StepsTimed(EventBase):
    """A few gradients were timed before the training, which estimates how long it takes."""

    kind: Literal["steps_timed"] = "steps_timed"
    seconds: float
    """Of all steps of all phases, without probes."""
    at_most: bool = False
    """Whether a phase may end before its last step, once it has reached its goal."""


class StageBegan(EventBase):
    """A stage began."""

    kind: Literal["stage_began"] = "stage_began"
    stage: Stage
    seconds: float
    """Since the run was taken up."""


class Progressed(EventBase):
    """Progress within the current stage. Training sends `StepLogged` instead."""

    kind: Literal["progressed"] = "progressed"
    done: int
    total: int
    unit: str = ""
    """Unit of the counts, such as "MB"; empty where the stage implies it."""


class PhaseBegan(EventBase):
    """A training phase began after `step` optimizer steps."""

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
    """Rows of the first set per optimizer step."""


class PhaseEnded(EventBase):
    """A phase ended before its last step: its rows are recited."""

    kind: Literal["phase_ended"] = "phase_ended"
    phase: int
    """0-based."""
    steps: int
    """Optimizer steps taken in this phase."""
    total_steps: int
    """Optimizer steps in all phases, updated."""


class CutShort(EventBase):
    """The user ended the training; the run went on with saving and scoring."""

    kind: Literal["cut_short"] = "cut_short"
    step: int
    """Optimizer steps taken in all phases."""
    planned: int
    """Optimizer steps that all phases would have taken."""


class StepLogged(EventBase):
    """An optimizer step was taken."""

    kind: Literal["step_logged"] = "step_logged"
    step: int
    """1-based, counted through all phases."""
    phase: int
    epoch: float
    """Epochs completed after this step, as passes over the phase's first set."""
    terms: Mapping[str, float]
    """Unweighted loss terms by name."""
    weights: Mapping[str, float]
    """Signed weight of each term."""
    loss: float
    """Weighted sum of the terms, which is minimised."""
    grad_norm: float
    """Global gradient norm before clipping."""
    learning_rate: float
    tokens_per_s: float
    """Tokens per second, padding excluded."""
    memory_gib: float
    """Peak of the device's allocator so far; on a CPU, the memory of the process."""
    seconds: float
    """Since the run was taken up."""


class Probed(EventBase):
    """The live probe measured a few rows after `step` optimizer steps.

    Means are by set: `forget` and `retain`.
    """

    kind: Literal["probed"] = "probed"
    step: int
    knowledge: Mapping[str, float]
    """Share of questions answered exactly, 0 to 1; a set without questions is omitted."""
    regurgitation: Mapping[str, float]
    """Mean ROUGE-L recall of completions, 0 to 1."""
    nll: Mapping[str, float]
    """Mean loss of the expected answers, in nats per token."""
    documents: tuple[DocumentProbe, ...] = ()
    """Forget documents; none in runs older than this field."""
    of_documents: int = 0
    """Count of the forget documents, of which so many are probed."""


class Saying(BaseModel):
    """The answer to a watched row, with the probability of each word of the true answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    row: str
    """Id of the row."""
    split: Split
    """The set whose goal the row has: a forget row that was not picked should stay."""
    task: str
    row_kind: Kind
    prompt: str
    expected: str
    """The true answer."""
    text: str
    """What the model answers, greedily."""
    ended: bool
    """Whether the answer ended before the limit of a probe."""
    words: tuple[tuple[str, float], ...]
    """Words of the true answer, each with its probability after the prompt and the true words
    before it: the product over its tokens, 0 to 1; nan where it is not known."""
    likelihood: float
    """Probability of the whole true answer, 0 to 1: the product over all of its tokens."""


class Said(EventBase):
    """The model answered the watched rows after `step` optimizer steps, at a live probe.

    Step 0 is the original model. A later event of the same step replaces an earlier one.
    """

    kind: Literal["said"] = "said"
    step: int
    sayings: tuple[Saying, ...]
    """In the order in which they are shown."""


class Examined(EventBase):
    """MMLU questions answered so far, subject by subject."""

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
    """Key of the evidence: equal keys mean equal weights, data and evaluation settings."""
    kept: tuple[str, ...] | None = None
    """Ids of the forget rows that the run goes on with, where it leaves out unknown ones; None for
    those that its spec names."""
    evidence: Evidence | None = None
    """Answers and losses behind the scores. The store keeps them separately, so that reading a
    run's events stays cheap."""


class Saved(EventBase):
    """A file was written into the run's folder."""

    kind: Literal["saved"] = "saved"
    name: str
    megabytes: float


class SnapshotKept(EventBase):
    """A copy of the changed weights was kept, as they were after `step` optimizer steps."""

    kind: Literal["snapshot_kept"] = "snapshot_kept"
    step: int
    megabytes: float


class Kept(EventBase):
    """The trained model was saved under a name that a spec can use."""

    kind: Literal["kept"] = "kept"
    name: str
    megabytes: float


class Traced(EventBase):
    """A trace was computed."""

    kind: Literal["traced"] = "traced"
    weights: str
    """Fingerprint of the model's weights."""
    noise_sd: float
    """Standard deviation of the noise, in units of the embeddings."""
    window: int
    """Number of adjacent blocks whose MLPs or attentions were restored together."""
    found: Annotated[FactTrace | TraceAverage, Field(discriminator="kind")]


class Previewed(EventBase):
    """A model answered rows before any unlearning."""

    kind: Literal["previewed"] = "previewed"
    answers: Mapping[str, str]
    """Answers by row id. A row that exceeds the model's context has none."""


class Reply(BaseModel):
    """The answers of both models to one prompt of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    expected: str = ""
    """The answer that was looked for; empty if none was named."""
    original: str
    unlearned: str


class Asked(EventBase):
    """Both models answered a free prompt, or a list of them."""

    kind: Literal["asked"] = "asked"
    ask_id: str
    prompt: str
    original: str
    unlearned: str
    step: int
    """Optimizer steps taken by the model that answered; -1 for a finished run's final one."""
    replies: tuple[Reply, ...] = ()
    """The answers to a list of prompts; `original` and `unlearned` are empty then."""


class AskFailed(EventBase):
    """A free prompt could not be answered."""

    kind: Literal["ask_failed"] = "ask_failed"
    ask_id: str
    prompt: str
    problem: str


class Adjusted(EventBase):
    """Settings of the current phase were changed while it ran, until the phase ends."""

    kind: Literal["adjusted"] = "adjusted"
    step: int
    """Last optimizer step with the old values."""
    phase: int
    """0-based."""
    changes: Mapping[str, float]
    """New values by dotted path in the phase: `learning_rate`, `method.retain_weight`."""


class AdjustFailed(EventBase):
    """Settings of the current phase could not be changed; the run continued unchanged."""

    kind: Literal["adjust_failed"] = "adjust_failed"
    changes: Mapping[str, float]
    problem: str


class Exported(EventBase):
    """The merged model of an ended run was written into a folder."""

    kind: Literal["exported"] = "exported"
    name: str
    """Name of the folder."""
    megabytes: float
    """Size of the weights."""


class ExportFailed(EventBase):
    """The merged model could not be written; no partial file is left."""

    kind: Literal["export_failed"] = "export_failed"
    name: str
    problem: str


class Paused(EventBase):
    """The worker paused the run between two batches."""

    kind: Literal["paused"] = "paused"


class Resumed(EventBase):
    """The worker resumed the run."""

    kind: Literal["resumed"] = "resumed"


class Finished(EventBase):
    """The run finished."""

    kind: Literal["finished"] = "finished"
    seconds: float
    stopped_at: int | None = None
    """Optimizer steps taken, if the user ended the training before its last."""
    planned: int | None = None
    """Optimizer steps that it would have taken, if the user ended it."""


class Stopped(EventBase):
    """The user stopped the run."""

    kind: Literal["stopped"] = "stopped"
    seconds: float


class Failed(EventBase):
    """The run failed."""

    kind: Literal["failed"] = "failed"
    seconds: float
    problem: str
    """What went wrong, with the offending value."""
    advice: str = ""
    """What to change."""


Ending = Finished | Stopped | Failed

Event = Annotated[
    Started
    | Loaded
    | KnowledgeChecked
    | StepsTimed
    | StageBegan
    | Progressed
    | PhaseBegan
    | PhaseEnded
    | CutShort
    | StepLogged
    | Probed
    | Said
    | Examined
    | Evaluated
    | Saved
    | SnapshotKept
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


class Unread(EventBase):
    """A stored event that cannot be read: it is damaged, or a later version wrote it.

    No engine yields it and no pack holds it.
    """

    kind: Literal["unread"] = "unread"
    was: str = ""
    """Kind of the event, as the store has it."""
    problem: str
    """What is wrong with it. It quotes no value, which may be personal."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a run, with its place and time."""

    seq: int
    """1-based, without gaps."""
    at: float
    """Unix time."""
    event: Event | Unread

    @property
    def known(self) -> Event:
        """Return the event of a run all of whose events can be read."""
        assert not isinstance(self.event, Unread), "a full record has none"
        return self.event


def read_event(text: str) -> Event | Unread:
    """Read a stored event; fields that a later version added are left out."""
    try:
        return _ADAPTER.validate_json(text, extra="ignore")
    except ValidationError as error:
        return Unread(problem=fault(error))


TOLD = 200
"""Longest description of what cannot be read, in characters."""


def fault(error: ValidationError) -> str:
    """Say which field of a stored value is wrong, without quoting any value."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, found["loc"]))
    # Messages of our own validators quote the value.
    what = "it does not fit" if found["type"] == "value_error" else found["msg"]
    return f"{where}: {what}"[:TOLD] if where else what[:TOLD]
