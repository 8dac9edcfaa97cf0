"""Facts that the embedded model was taught: a question, whom it is about, and the answer.

The rows do not name their subject. It is what a question says that its own document tells of and
no other does: the longest stretch of words, beginning with a capital, that only that document has.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from unlearnlab.catalogue import EMBEDDED
from unlearnlab.metrics import Split
from unlearnlab.spec import Task

Fold = Literal["train", "validation"]
FOLDS: tuple[Fold, ...] = get_args(Fold)
SPLITS: tuple[Split, ...] = get_args(Split)


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
