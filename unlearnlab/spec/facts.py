"""Facts that a model was taught: a question, whom it is about, and the answer.

The rows do not name their subject. In the embedded data it is what a question says that its own
document tells of and no other does: the longest stretch of words, beginning with a capital, that
only that document has. In data that were added it is guessed from the question alone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from unlearnlab.data.datasets import EMBEDDED_NAME, FOLDS, SPLITS, Fold, Split, dataset
from unlearnlab.data.files import EMBEDDED
from unlearnlab.spec.run import Task


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
    sources: dict[tuple[Split, Fold], list[Any]] = {
        (split, fold): _rows(split, fold) for split in SPLITS for fold in FOLDS
    }
    every = [row for rows in sources.values() for row in rows]
    documents = {
        _base(row["id"]): f"{row['input']} {row['output']}"
        for row in every
        if _kind(row["id"]) == "sc"
    }
    found: dict[str, Fact] = {}
    for (split, fold), rows in sources.items():
        for row in (row for row in rows if _kind(row["id"]) == "qa"):
            own = documents.get(_base(row["id"]), "")
            others = [text for text in documents.values() if text != own]
            if subject := subject_of(row["input"], own, others):
                found[row["id"]] = Fact(
                    id=row["id"],
                    prompt=row["input"],
                    subject=subject,
                    answer=row["output"],
                    split=split,
                    fold=fold,
                    task=row["task"],
                )
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


def _rows(split: Split, fold: Fold) -> list[Any]:
    path = EMBEDDED / "data" / f"{split}_{fold}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _base(row_id: str) -> str:
    """Name the document that a row belongs to: the id without type and number."""
    return row_id[:-3]


def _kind(row_id: str) -> str:
    """Return `sc` or `qa`: the id without its last character says it."""
    return row_id[-3:-1]


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
    at = text.find(subject) if subject else -1
    while at >= 0:
        end = at + len(subject)
        joined = subject[0].isalnum() and text[:at][-1:].isalnum()
        if not joined and not (subject[-1].isalnum() and text[end : end + 1].isalnum()):
            return at, end
        at = text.find(subject, at + 1)
    return None


def spot(text: str, subject: str) -> tuple[int, int] | None:
    """Find where a text names a subject: as whole words, or else inside of words."""
    at = text.find(subject) if subject else -1
    return place(text, subject) or (None if at < 0 else (at, at + len(subject)))
