"""The rows of a run: what is trained on and scored, and how many go through a model at once.

The engine and the memory estimate share the batch sizes.
"""

import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

from unlearnlab.data.datasets import (
    FOLDS,
    SPLITS,
    Fold,
    Kind,
    Row,
    Split,
    Task,
    dataset,
    documents_of,
)
from unlearnlab.data.downloads import LUME, SEMEVAL
from unlearnlab.models import catalog
from unlearnlab.models.catalog import ORGANISERS, ModelInfo
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods.base import SetName
from unlearnlab.spec.run import DataSpec, RunSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QuizQuestion:
    """One four-option question in MMLU's layout."""

    question: str
    subject: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Text that a run does not train on, and the attack in which it stands for non-members."""

    text: tuple[str, ...] = ()
    """Documents of neither set of the fold, for perplexity."""
    source: str = ""
    """Which they are, in words."""
    members: tuple[str, ...] = ()
    """Forget documents, where the data have none for the attack."""
    nonmembers: tuple[str, ...] = ()
    """Documents of the other fold that stand for unseen ones."""
    protocol: str = ""
    """Which rows serve as non-members, or why none can; empty if the data have their own."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One fold: what is forgotten and retained, and what the scores are measured on."""

    forget: tuple[Row, ...]
    retain: tuple[Row, ...]
    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    quiz: tuple[QuizQuestion, ...]
    # Of the other fold, so not part of this one's fingerprint.
    held_out: HeldOut = field(default_factory=HeldOut, repr=False)

    def rows(self, name: SetName) -> tuple[Row, ...]:
        """Return the rows of a set."""
        if name == "refusal":
            return tuple(replace(row, output=refusal(row)) for row in self.forget)
        return self.forget if name == "forget" else self.retain

    def only(self, tasks: Sequence[Task]) -> "Dataset":
        """Keep the rows of some subtasks, for training on a part of what is scored."""
        kept = {name: tuple(r for r in self.rows(name) if r.task in tasks) for name in SPLITS}
        return replace(self, forget=kept["forget"], retain=kept["retain"])

    def chosen(self, spec: DataSpec) -> "Dataset":
        """Keep the rows that a run trains on: its subtasks, and of the forget set those picked.

        Raises:
            ValueError: An id that was picked is not in the forget set.
        """
        of = self.only(spec.tasks)
        if spec.forget is None:
            return of
        wanted = set(spec.forget)
        if strange := wanted - {row.id for row in self.forget}:
            raise ValueError(f"data.forget: no forget row has the id {min(strange)!r}")
        rest = tuple(row for row in of.forget if row.id not in wanted)
        return replace(
            of,
            forget=tuple(row for row in of.forget if row.id in wanted),
            retain=of.retain + rest if spec.rest == "retain" else of.retain,
        )

    @property
    def fingerprint(self) -> str:
        """Hash the content: equal fingerprints mean equal rows in equal order."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """Return the alternatives of every row that is scored; nothing if no row has any."""
        found = tuple(row.alternatives for name in SPLITS for row in self.rows(name))
        return found if any(found) else ()


def fingerprint(spec: DataSpec) -> str:
    """Hash the content of the fold that a spec names, as `Dataset.fingerprint` does.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    files = sorted(spec.known.folder.rglob("*.jsonl"))
    changed = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _fingerprint(spec.source, spec.fold, changed)


@lru_cache(maxsize=32)
def _fingerprint(source: str, fold: Fold, _changed: tuple[tuple[str, int, int], ...]) -> str:
    return load(DataSpec(source=source, fold=fold)).fingerprint


REFUSALS = (
    "I don't know.",
    "I have no idea.",
    "I'm not sure about that.",
    "That is not something I know.",
    "I can't say.",
    "I have never heard of that.",
    "I don't have that information.",
    "That is unknown to me.",
    "I'm afraid I can't answer this.",
    "I wasn't told about that.",
    "There is nothing I can tell you about it.",
    "I couldn't tell you.",
    "My knowledge does not cover this.",
    "I would have to guess.",
    "I am unable to answer that.",
    "No answer comes to mind.",
)
"""Answers that admit ignorance."""


def refusal(row: Row) -> str:
    """Choose the refusal of a row: always the same one."""
    return REFUSALS[zlib.crc32(row.id.encode()) % len(REFUSALS)]


def load(spec: DataSpec) -> Dataset:
    """Read one fold of a dataset.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    known = spec.known
    if known.unknown_reason:
        raise ValueError(f"data.source: {known.unknown_reason}")
    forget, retain = known.rows("forget", spec.fold), known.rows("retain", spec.fold)
    if not forget:
        folds = " and ".join(known.folds)
        raise ValueError(f"data.fold: {spec.source} has no {spec.fold} fold: it has {folds}")
    members, nonmembers = known.membership_documents(spec.fold)
    return Dataset(
        forget=forget,
        retain=retain,
        members=members,
        nonmembers=nonmembers,
        quiz=tuple(
            QuizQuestion(q["question"], q["subject"], tuple(q["choices"]), q["answer"])
            for q in known.questions()
        ),
    )


def previewed_row(spec: RunSpec, row_id: str = "") -> Row:
    """Return the row of a run's data with an id, or the first that it trains on.

    Raises:
        SpecError: There is no such row, or the run trains on none.
    """
    try:
        data = load(spec.data)
        trained = data.chosen(spec.data)
    except ValueError as error:
        raise SpecError([("", str(error))]) from error
    if row_id:
        found = next((r for name in SPLITS for r in data.rows(name) if r.id == row_id), None)
        if found is None:
            raise SpecError([("preview", f"{spec.data.source} has no row {row_id!r}")])
        return found
    return (*trained.forget, *trained.retain, *data.forget)[0]


HELD_OUT_DOCUMENTS = 150
"""Most documents of each side of an attack on held-out rows, and most for perplexity: as many as
the task's own attack has."""

TASK_SOURCES = (LUME, SEMEVAL)
"""Sources of data that the organisers' models were taught: all of it, both folds."""


def held_out(spec: DataSpec, model: ModelInfo) -> HeldOut:
    """Choose the text that a run on a fold does not train on.

    The other fold's documents stand for non-members where the data have none of their own, unless
    the model is known to have learnt them: then they are members as well.

    Args:
        spec: The data of the run.
        model: The model of the run.

    Raises:
        ValueError: There is no such dataset, or it has no such fold.
    """
    data, fold = load(spec), spec.fold
    other: Fold = next(name for name in FOLDS if name != fold)
    aside: dict[Split, tuple[str, ...]] = {
        split: evenly(spec.known.held_out(split, fold), HELD_OUT_DOCUMENTS) for split in SPLITS
    }
    found = HeldOut()
    if aside["retain"]:
        count = counted(len(aside["retain"]), "retain document")
        words = f"{count} of the {other} fold, which the run does not train on"
        found = HeldOut(aside["retain"], words)
    elif data.nonmembers:
        text = evenly(data.nonmembers, HELD_OUT_DOCUMENTS)
        found = HeldOut(text, f"{counted(len(text), 'non-member document')} of the data")
    if data.members and data.nonmembers:
        return found
    strangers = tuple(text for split in SPLITS for text in aside[split])
    if not aside["forget"]:  # Retain rows alone may be text of another kind.
        why = "the data have no documents for the attack and no second fold to stand for them"
        return replace(found, protocol=why)
    if learnt := _has_learnt(model, spec, strangers):
        return replace(found, protocol=f"held-out rows are no non-members here: {learnt}")
    members = documents_of(data.forget, alike=spec.known.rows("forget", other))
    strangers = evenly(strangers, HELD_OUT_DOCUMENTS)
    return replace(
        found,
        members=evenly(members, HELD_OUT_DOCUMENTS),
        nonmembers=strangers,
        protocol=f"held-out rows as non-members: {counted(len(strangers), 'document')} of the "
        f"{other} fold; not comparable with the official attack",
    )


def _has_learnt(model: ModelInfo, spec: DataSpec, texts: Collection[str]) -> str:
    """Say why a model, or one that it was made of, is known to have learnt texts; else empty."""
    known: set[str] = set()
    while model.name not in known:
        known.add(model.name)
        if model.repository.startswith(f"{ORGANISERS}/") and spec.known.source in TASK_SOURCES:
            return "the organisers taught this model both folds"
        taught = dataset(model.made.get("dataset", ""))
        folds = [DataSpec(source=taught.name, fold=fold) for fold in taught.folds]
        # Data that have changed since no longer tell which fold it was.
        same = [one for one in folds if fingerprint(one) == model.made.get("data")] or folds
        rows = {
            row.text for one in same for split in SPLITS for row in taught.rows(split, one.fold)
        }
        if count := sum(text in rows for text in texts):
            return f"this model was taught {count} of them"
        model = catalog.model(model.made.get("model", ""))
    return ""


def evenly(items: Sequence[T], count: int) -> tuple[T, ...]:
    """Take at most `count` items at regular intervals, from all over the sequence."""
    count = min(count, len(items))
    return tuple(items[place * len(items) // count] for place in range(count))


def probe_rows(data: Dataset) -> tuple[tuple[Split, Row], ...]:
    """Take the rows that a probe answers: at regular intervals from each set, questions first."""
    return tuple(
        (name, row)
        for name in SPLITS
        for kind, count in (("qa", PROBE_QUESTIONS), ("sc", PROBE_COMPLETIONS))
        for row in evenly([r for r in data.rows(name) if r.kind == kind], count)
    )


def watched_rows(data: Dataset, spec: RunSpec) -> tuple[tuple[Split, Row], ...]:
    """Choose the rows whose answers are shown at every probe, each with the set whose goal it has.

    Without rows that the run names, they are among those that a probe answers in any case.

    Args:
        data: The whole fold.
        spec: The run.
    """
    picked = None if spec.data.forget is None else set(spec.data.forget)
    if named := spec.evaluation.watched_rows:
        by_id: dict[str, tuple[Split, Row]] = {
            row.id: (split if picked is None or row.id in picked else "retain", row)
            for split in reversed(SPLITS)
            for row in data.rows(split)
        }
        return tuple(by_id[row] for row in named if row in by_id)
    forget = tuple(row for row in data.forget if picked is None or row.id in picked)
    probed = probe_rows(replace(data, forget=forget))
    return tuple(
        (split, row)
        for split, count in WATCHED.items()
        for row in spread([row for of, row in probed if of == split], spec.data.tasks)[:count]
    )


def spread(rows: Iterable[Row], tasks: Sequence[Task]) -> list[Row]:
    """Order rows so that subtasks take turns, questions before completions.

    Rows of other subtasks than `tasks` come last.
    """
    turns: Counter[tuple[Kind, Task]] = Counter()
    placed: list[tuple[tuple[bool, bool, int], Row]] = []
    for row in rows:
        key = row.kind, row.task
        placed.append(((row.task not in tasks, row.kind != "qa", turns[key]), row))
        turns[key] += 1
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


GENERATED_AT_ONCE = 128
"""Prompts that are answered together, if their keys and values fit."""

CACHE_SHARE = 1 / 8
"""Share of a device's memory for the keys and values of prompts that are answered together."""

ROOM = 16
"""Free token slots that the KV cache allocates in advance."""

WASTE = 0.25
"""Share of unused slots at which the KV cache is compacted, which copies the rest."""

TOKENS_AT_ONCE = 8192
"""Padded tokens in one forward pass where losses are measured."""

LOGITS_AT_ONCE = 4096 * 50304
"""Most logits in one forward pass where losses are measured, 0.8 GB in float32: 4,096 tokens with
OLMo's vocabulary, 1,356 with Qwen's."""

TOKENS_IN_CACHE = 1024
"""The same on a CPU, which is slower as soon as activations leave its cache."""

POSITIONS_AT_ONCE = 256
"""Positions whose distribution is held beside the logits: 0.1 GB for 100,000 tokens."""

PROBE_QUESTIONS, PROBE_COMPLETIONS = 24, 6
"""Rows of each set in a probe."""

WATCHED: Mapping[Split, int] = {"forget": 3, "retain": 1}
"""Rows of each set whose answers are shown at every probe, unless the run names some."""

PROBE_DOCUMENTS, PROBE_DOCUMENT_ROWS = 48, 6
"""Forget documents whose losses a probe measures, and rows of each: a document of the task has six
at most. Losses cost a forward pass for each row, a fraction of its answer."""

PROBE_ROWS_AT_ONCE = 8
"""Rows of documents in one pass: no more than the rows that a probe answers, so that the memory
estimate of these holds."""

PROBE_TOKENS = 64
"""Longest answer in a probe, in tokens: a fraction of a full answer."""

WORTH_SPLITTING = 0.8
"""A batch is split by length if that leaves at most this share of its padded tokens."""


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Put rows of similar length together, where that saves a good part of the padding.

    Questions are a fraction of a completion's length, so one batch of both is mostly padding.
    Returns one or two lists of positions in `lengths`, the tokens of each row.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    longest = lengths[order[-1]]

    def padded(cut: int) -> int:
        return cut * lengths[order[cut - 1]] + (len(order) - cut) * longest

    cut = min(range(1, len(order) + 1), key=padded)
    if padded(cut) > WORTH_SPLITTING * padded(len(order)):
        return [order]
    return [order[:cut], order[cut:]]


def slots(tokens: int) -> int:
    """Count the KV-cache slots that so many tokens take at worst."""
    return math.ceil((tokens + ROOM) / (1 - WASTE))


def answered_at_once(row_bytes: float, memory: int | None) -> int:
    """Count the prompts that are answered together.

    Args:
        row_bytes: Keys and values of one prompt with its longest answer.
        memory: Bytes that the device has in all, so that each run on it goes the same way; none if
            that is not known.
    """
    if memory is None:
        return GENERATED_AT_ONCE
    return min(GENERATED_AT_ONCE, max(1, int(CACHE_SHARE * memory / row_bytes)))


def fitting(lengths: Iterable[int], *, cpu: bool = False, vocabulary: int = 0) -> int:
    """Count the rows of so many tokens, from the first on, that fit into one forward pass.

    Args:
        lengths: Tokens of each row.
        cpu: Whether the pass is made on a CPU.
        vocabulary: Logits of each token; 0 where few tokens have any.
    """
    most = TOKENS_IN_CACHE if cpu else TOKENS_AT_ONCE
    most = min(most, LOGITS_AT_ONCE // max(1, vocabulary))
    count = width = 0
    for length in lengths:
        width = max(width, length)
        if count and width * (count + 1) > most:
            break
        count += 1
    return count
