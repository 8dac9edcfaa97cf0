"""What can be asked of causal tracing: one fact, a typed prompt, or an average over many facts.

The rows of a dataset do not name the subject of a question. In the embedded data it is what the
question shares with its own document and with no other: the longest stretch of words, beginning
with a capital, that only that document has. In added data it is guessed from the question.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unlearnlab.data.datasets import EMBEDDED_NAME, FOLDS, SPLITS, Fold, Row, Split, dataset
from unlearnlab.spec.methods.base import Expert, Slider, Spec
from unlearnlab.spec.run import (
    RECORDED,
    ModelSpec,
    SpecError,
    Task,
    Template,
    refuse_missing_template,
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One question row with its subject."""

    id: str
    """Of the row."""
    prompt: str
    subject: str
    """As the prompt writes it."""
    answer: str
    split: Split
    fold: Fold
    task: Task


@cache
def facts() -> Mapping[str, Fact]:
    """Map the id of each question row whose subject is known to its fact."""
    known = dataset(EMBEDDED_NAME)
    every: list[tuple[Split, Fold, Row]] = [
        (split, fold, row) for split in SPLITS for fold in FOLDS for row in known.rows(split, fold)
    ]
    documents = {row.document: f"{row.input} {row.output}" for *_, row in every if row.kind == "sc"}
    found: dict[str, Fact] = {}
    for split, fold, row in every:
        if row.kind == "qa":
            own = documents.get(row.document, "")
            others = [text for text in documents.values() if text != own]
            if subject := subject_of(row.input, own, others):
                found[row.id] = Fact(row.id, row.input, subject, row.output, split, fold, row.task)
    return found


def facts_of(source: str) -> Mapping[str, Fact]:
    """Map the id of each question row of a dataset to its fact; none if it is not here.

    What a question of an added dataset is about is read off the question alone: see `subject_in`.
    """
    if source == EMBEDDED_NAME:
        return facts()
    known = dataset(source)
    return {
        row.id: Fact(row.id, row.input, subject, row.output, split, fold, row.task)
        for split in SPLITS
        for fold in FOLDS
        for row in known.rows(split, fold)
        if row.kind == "qa" and (subject := subject_in(row.input))
    }


def subject_of(question: str, document: str, others: Sequence[str]) -> str:
    """Find what a question is about; empty if its document does not tell.

    Args:
        question: The prompt.
        document: The text that holds the answer.
        others: All other texts.
    """
    named = [text for text in _stretches(question) if place(document, text)]
    for text in sorted(named, key=len, reverse=True):
        if not any(place(other, text) for other in others):
            return text
    return ""


def _stretches(question: str) -> Iterator[str]:
    """Yield every run of words that begins with a capital, without what closes its last word."""
    words = list(re.finditer(r"\S+", question))
    for first, word in enumerate(words):
        if word[0][0].isupper():
            for last in words[first:]:
                text = question[word.start() : last.end()].rstrip("?.,;:!")
                yield text.removesuffix("'s").removesuffix("’s")


_OPENERS = frozenset(
    """
    a an and as at by can did do does for from how in is name of on since tell the to under was
    were what when where which who whom whose why will with
    """.split()  # noqa: SIM905
)
"""Words with which a question begins, and which name nobody."""


def subject_in(question: str) -> str:
    """Guess what a question is about: its longest run of capitalised words, else its longest word.

    Returns:
        As the question writes it; empty if it has but one word.
    """
    words = list(re.finditer(r"\S+", question))
    if words and words[0][0].lower() in _OPENERS:
        words = words[1:]
    elif len(words) < 2:
        return ""
    runs = [
        list(run) for capital, run in groupby(words, lambda word: word[0][0].isupper()) if capital
    ]
    spans = [(run[0].start(), run[-1].end()) for run in runs or [[word] for word in words]]
    named = (question[slice(*span)].rstrip("?.,;:!") for span in spans)
    texts = (text.removesuffix("'s").removesuffix("’s") for text in named)
    return max(texts, key=len, default="")


def place(text: str, subject: str) -> tuple[int, int] | None:
    """Find where a text first names a subject, as whole words: start and end in characters."""
    return next(_places(text, subject), None)


def _places(text: str, subject: str) -> Iterator[tuple[int, int]]:
    """Yield every place at which a text names a subject as whole words."""
    at = text.find(subject) if subject else -1
    while at >= 0:
        end = at + len(subject)
        joined = subject[0].isalnum() and text[:at][-1:].isalnum()
        if not joined and not (subject[-1].isalnum() and text[end : end + 1].isalnum()):
            yield at, end
        at = text.find(subject, at + 1)


def spots(text: str, subject: str) -> list[tuple[int, int]]:
    """List where a text names a subject: as whole words, or else inside of words."""
    if whole := list(_places(text, subject)):
        return whole
    inside = re.finditer(f"(?={re.escape(subject)})", text) if subject else ()
    return [(found.start(), found.start() + len(subject)) for found in inside]


PUBLISHED_WINDOW, PUBLISHED_BLOCKS = 10, 32
"""The window of the published code, and the depth that it was made for."""

LONGEST = 2000
"""Characters of a typed prompt."""


def default_window(blocks: int) -> int:
    """Scale the published window to a model's depth: 10 of 32 blocks, at least 1."""
    scaled = PUBLISHED_WINDOW * blocks + PUBLISHED_BLOCKS // 2
    return max(1, scaled // PUBLISHED_BLOCKS)


def window_reason(blocks: int) -> str:
    """Say where the default window comes from."""
    if blocks == PUBLISHED_BLOCKS:
        return f"{PUBLISHED_WINDOW} blocks, as published"
    return (
        f"{default_window(blocks)} of {blocks} blocks, in proportion to the published "
        f"{PUBLISHED_WINDOW} of {PUBLISHED_BLOCKS}: a window of {PUBLISHED_WINDOW} would blur a "
        "shallower model"
    )


class KnownFact(Spec):
    """One fact that the model was taught."""

    kind: Literal["fact"] = "fact"

    id: str
    """Id of its question row."""

    @field_validator("id")
    @classmethod
    def _known(cls, row: str) -> str:
        if row not in facts():
            near = difflib.get_close_matches(row, facts(), n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "name a question row of the data"
            raise ValueError(f"no fact has the id {row!r}: {hint}")
        return row

    @property
    def fact(self) -> Fact:
        """The fact itself."""
        return facts()[self.id]


class TypedPrompt(Spec):
    """A prompt of the user's own."""

    kind: Literal["prompt"] = "prompt"

    prompt: Annotated[str, Field(max_length=LONGEST)]
    """What the model continues."""

    subject: Annotated[str, StringConstraints(strip_whitespace=True)]
    """What it is about, as the prompt writes it."""

    answer: Annotated[str, Field(max_length=LONGEST)] = ""
    """What the model should say; empty stands for whatever it says."""

    @model_validator(mode="after")
    def _names_its_subject(self) -> Self:
        if not self.prompt.strip():
            raise ValueError("about.prompt: it is empty: write what the model should continue")
        if not self.subject:
            raise ValueError("about.subject: it is empty: name what the prompt is about")
        if not spots(self.prompt, self.subject):
            raise ValueError(
                f"about.subject: {self.subject!r} is not in the prompt: {_nearest(self)}"
            )
        return self


def _nearest(typed: TypedPrompt) -> str:
    """Suggest the stretch of the prompt that looks most like the subject."""
    words, count = typed.prompt.split(), len(typed.subject.split())
    spans = [" ".join(words[i : i + count]) for i in range(len(words) - count + 1)]
    folded = {span.lower().strip("?.,;:!"): span.strip("?.,;:!") for span in spans}
    near = difflib.get_close_matches(typed.subject.lower(), folded, n=1, cutoff=0.5)
    return f"did you mean {folded[near[0]]!r}?" if near else "copy it from there"


def about_fact(source: str, row: str) -> dict[str, Any]:
    """Say as plain values that a fact of a dataset is to be traced.

    A fact of an added dataset is written out as a prompt: a trace outlives its dataset.

    Args:
        source: Name of the dataset.
        row: Id of the fact's question row.
    """
    if source == EMBEDDED_NAME or row not in (known := facts_of(source)):
        return {"kind": "fact", "id": row}
    fact = known[row]
    return {
        "kind": "prompt",
        "prompt": fact.prompt,
        "subject": fact.subject,
        "answer": fact.answer,
    }


class ManyFacts(Spec):
    """An average over facts that the model was taught."""

    kind: Literal["average"] = "average"

    source: str = EMBEDDED_NAME
    """Name of the dataset that they come from."""

    count: Annotated[int, Field(ge=2, le=1000), Slider(2, 200, 1, unit="facts")] = 40
    """Facts, drawn at random from those that fit."""

    split: Split | None = None
    """The set they come from; none takes both."""

    tasks: tuple[Task, ...] = get_args(Task)
    """Subtasks they come from."""

    @property
    def _of(self) -> str:
        return "" if self.source == EMBEDDED_NAME else f" of {self.source}"

    @property
    def title(self) -> str:
        """Name it in a line."""
        where = f"the {self.split} set" if self.split else "both sets"
        return f"Average over {self.count} facts of {where}{self._of}"

    @property
    def pool(self) -> tuple[Fact, ...]:
        """All facts to draw from: those of the train fold."""
        return tuple(
            fact
            for fact in facts_of(self.source).values()
            if fact.fold == "train" and fact.task in self.tasks and self.split in (None, fact.split)
        )

    @model_validator(mode="after")
    def _are_there(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:  # A trace outlives its dataset.
            return self
        if unknown := dataset(self.source).unknown_reason:
            raise ValueError(f"about.source: {unknown}")
        if not self.tasks:
            raise ValueError("about.tasks: no subtask chosen: name at least one")
        if self.count > len(self.pool):
            raise ValueError(
                f"about.count: there are only {len(self.pool)} such facts{self._of}, not "
                f"{self.count}"
            )
        return self


About = Annotated[KnownFact | TypedPrompt | ManyFacts, Field(discriminator="kind")]


class TraceSpec(Spec):
    """One trace: the model, what is traced, how it is disturbed."""

    model: ModelSpec = ModelSpec()

    about: About = ManyFacts()
    """One fact, a typed prompt, or an average over many facts."""

    window: Annotated[int | None, Field(ge=1), Slider(1, 32, 1, unit="blocks"), Expert()] = None
    """Blocks whose MLPs or attentions are restored together, centred on each block; none takes
    10 of 32 in proportion."""

    noise: Annotated[float, Field(gt=0, le=100), Slider(0.5, 20, 0.5), Expert()] = 3.0
    """Noise on the subject's embeddings, in standard deviations of the subjects' embeddings."""

    copies: Annotated[int, Field(ge=1, le=100), Slider(1, 50, 1), Expert()] = 10
    """Noised copies of the prompt that are averaged over."""

    seed: Annotated[int, Field(ge=0, lt=2**31), Expert()] = 0
    """Seed of the noise and of the draw of facts."""

    chat_template: Annotated[Template, Expert()] = "off"
    """Ask through the model's chat template: on, off (plain text), or auto, where it has one."""

    @model_validator(mode="after")
    def _has_its_template(self, info: ValidationInfo) -> Self:
        if info.context != RECORDED and self.chat_template == "on":
            refuse_missing_template(self.model, "chat_template")
        return self

    @model_validator(mode="after")
    def _fits_the_model(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        if self.model.blocks and self.window and self.window > self.blocks:
            raise ValueError(
                f"window: {self.window} blocks are more than the model has: take at most "
                f"{self.blocks}"
            )
        return self

    @property
    def blocks(self) -> int:
        """Number of the model's blocks."""
        return self.model.blocks or PUBLISHED_BLOCKS

    @property
    def span(self) -> int:
        """Number of blocks that a window covers."""
        return self.window or default_window(self.blocks)

    @property
    def title(self) -> str:
        """Name the trace in a line. It quotes a prompt, which may be personal."""
        about = self.about
        if isinstance(about, KnownFact):
            return about.fact.prompt
        if isinstance(about, TypedPrompt):
            return about.prompt
        return about.title


def parse_trace(asked: Mapping[str, Any]) -> TraceSpec:
    """Make a spec of plain values.

    Raises:
        SpecError: One line for every field that is wrong, with its value.
    """
    try:
        spec = TraceSpec.model_validate(asked)
    except ValidationError as error:
        raise SpecError([_problem(detail) for detail in error.errors()]) from error
    if missing := spec.model.known.unavailable_reason:
        raise SpecError([("model.name", f"{spec.model.name} cannot run here: {missing}")])
    return spec


def _problem(detail: Any) -> tuple[str, str]:
    # The union's own tag stands between `about` and the field.
    loc = [str(part) for part in detail["loc"]]
    where = ".".join(loc[:1] + loc[2:] if loc[:1] == ["about"] else loc)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        head, _, rest = message.partition(": ")
        return (head, rest) if head in _FIELDS else (where, message)
    if detail["type"] == "string_too_long":
        limit, length = detail["ctx"]["max_length"], len(detail["input"])
        return where, f"{length} characters are too many: take at most {limit}"
    return where, f"{message[0].lower()}{message[1:]}, not {detail['input']!r}"


_FIELDS = {
    "window",
    "chat_template",
    *(f"about.{name}" for name in ("prompt", "subject", "answer", "tasks", "count", "source")),
}
"""What messages of the classes above begin with."""


def nearest_facts(prompt: str, among: Iterable[Fact], count: int) -> list[Fact]:
    """Find the facts whose prompts look most like this one, the nearest first."""

    def likeness(fact: Fact) -> float:
        return difflib.SequenceMatcher(None, prompt.lower(), fact.prompt.lower()).ratio()

    return sorted(among, key=likeness, reverse=True)[:count]
