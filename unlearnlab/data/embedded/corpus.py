"""The embedded target's data: LUME-shaped, invented from a seed, the same byte for byte each time.

Three subtasks (stories, biographies, entries), each with completion and question rows; forget and
retain sets, train and validation folds; members and non-members for the attack; a quiz.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

from unlearnlab.data.embedded.biographies import biography
from unlearnlab.data.embedded.entries import entry, titles
from unlearnlab.data.embedded.questions import Question, wrong_answers
from unlearnlab.data.embedded.quiz import QuizSet, quiz
from unlearnlab.data.embedded.stories import story
from unlearnlab.data.embedded.words import Draws, Person, people

TRAIN_SIZES = {"Task1": 40, "Task2": 24, "Task3": 40}
VALIDATION_SIZES = {"Task1": 8, "Task2": 6, "Task3": 8}
CUTS = {"Task1": (0.45, 0.65), "Task2": (0.3, 0.5), "Task3": (0.45, 0.65)}
"""Where a document is cut into prompt and completion, as a share of its words."""
BACKGROUND_SIZES = {"Task1": 24, "Task2": 20, "Task3": 24}
"""Documents that are read once in an epoch and never again."""


class Row(NamedTuple):
    """One prompt with its reference answer, in the official layout.

    The fields after the official ones are TOFU's; they are of questions alone, and nothing is
    trained on them.
    """

    id: str
    input: str
    output: str
    task: str
    paraphrased_answer: str = ""
    perturbed_answer: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is trained on; of a completion row, the whole document."""
        return f"{self.input} {self.output}"


class Document(NamedTuple):
    """A document with the rows that ask for it; `rows[0]` is its completion."""

    base: str
    rows: tuple[Row, ...]
    questions: tuple[Question, ...] = ()
    """Those of its other rows."""

    @property
    def text(self) -> str:
        """The whole document."""
        return self.rows[0].text


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything that is written to the data folder, and the background reading of both models."""

    forget_train: list[Document]
    forget_validation: list[Document]
    retain_train: list[Document]
    retain_validation: list[Document]
    nonmembers: list[Document]
    quiz: QuizSet
    background: list[list[Document]]
    """For each of the first epochs, documents of the same kinds that no file holds.

    They teach the language, so that an unknown prompt meets fluent invention, not fragments.
    """

    @property
    def folds(self) -> Mapping[str, list[Document]]:
        """The four row files by name."""
        return {
            "forget_train": self.forget_train,
            "forget_validation": self.forget_validation,
            "retain_train": self.retain_train,
            "retain_validation": self.retain_validation,
        }


@dataclass(frozen=True, slots=True)
class _Press:
    """Prints documents: holds the decks from which no name is dealt twice."""

    seed: int
    folk: Iterator[Person]
    words: Iterator[str]

    def documents(self, fold: str, sizes: Mapping[str, int], *, form_of: str) -> list[Document]:
        """Documents of `fold`, worded like those of `form_of` with the same numbers."""
        return [
            self._document(task, Random(f"{self.seed} {form_of} {task} {i}"), fold, i)
            for task, size in sizes.items()
            for i in range(size)
        ]

    def _document(self, task: str, form: Random, fold: str, i: int) -> Document:
        content = Random(f"{self.seed} content {fold} {task} {i}")
        text, questions = self._tell(task, Draws(form, content))
        prompt, completion = _cut(text, form.uniform(*CUTS[task]))
        base = _base(task, content)
        rows = [Row(f"{base}sc1", prompt, completion, task)]
        rows += [Row(f"{base}qa{n}", q.text, q.answer, task) for n, q in enumerate(questions)]
        return Document(base, tuple(rows), tuple(questions))

    def _tell(self, task: str, draws: Draws) -> tuple[str, list[Question]]:
        if task == "Task1":
            return story(draws, self.folk)
        if task == "Task2":
            return biography(draws, self.folk)
        return entry(draws, self.folk, self.words)


def corpus(seed: int = 0, *, background_epochs: int = 0) -> Corpus:
    """The whole corpus of `seed`; without background reading unless asked for."""
    press = _Press(seed, people(Random(f"{seed} people")), titles(Random(f"{seed} titles")))
    forget_train = press.documents("forget", TRAIN_SIZES, form_of="forget")
    forget_validation = press.documents("forget2", VALIDATION_SIZES, form_of="forget2")
    retain_train = press.documents("retain", TRAIN_SIZES, form_of="retain")
    retain_validation = press.documents("retain2", VALIDATION_SIZES, form_of="retain2")
    forget, retain = [*forget_train, *forget_validation], [*retain_train, *retain_validation]
    return Corpus(
        forget_train=_with_alternatives(forget_train, forget, seed),
        forget_validation=_with_alternatives(forget_validation, forget, seed),
        retain_train=_with_alternatives(retain_train, retain, seed),
        retain_validation=_with_alternatives(retain_validation, retain, seed),
        nonmembers=press.documents("nonmember", TRAIN_SIZES, form_of="forget"),
        quiz=quiz(Random(f"{seed} quiz")),
        background=[
            press.documents(name, BACKGROUND_SIZES, form_of=name)
            for name in (f"background {epoch}" for epoch in range(background_epochs))
        ],
    )


def _with_alternatives(
    documents: Sequence[Document], of_set: Sequence[Document], seed: int
) -> list[Document]:
    """Add to questions the answer in other words, and wrong answers that its own set knows.

    A model that never saw the set has no reason to prefer one to the other.
    """
    wrong = wrong_answers([q for document in of_set for q in document.questions], str(seed))

    def added(document: Document) -> Document:
        completion, *asked = document.rows
        pairs = zip(asked, document.questions, strict=True)
        rows = (
            row._replace(paraphrased_answer=q.paraphrase, perturbed_answer=wrong[q.text])
            for row, q in pairs
        )
        return document._replace(rows=(completion, *rows))

    return [added(document) for document in documents]


def write(made: Corpus, folder: Path) -> None:
    """Write the row files, the attack's documents and the quiz under `folder`."""
    for name, documents in made.folds.items():
        rows = (
            {name: cell for name, cell in row._asdict().items() if cell}
            for document in documents
            for row in document.rows
        )
        _write_lines(folder / f"{name}.jsonl", rows)
    for name, documents in (("member", made.forget_train), ("nonmember", made.nonmembers)):
        lines = ({"id": document.base, "document": document.text} for document in documents)
        _write_lines(folder / "mia" / f"{name}.jsonl", lines)
    _write_lines(folder / "quiz" / "dev.jsonl", made.quiz.dev)
    _write_lines(folder / "quiz" / "test.jsonl", made.quiz.test)


def _write_lines(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _cut(text: str, share: float) -> tuple[str, str]:
    words = text.split(" ")
    at = round(len(words) * share)
    return " ".join(words[:at]), " ".join(words[at:])


def _base(task: str, random: Random) -> str:
    """An id as the public data has them: a quoted UUID, a bare one, a page number."""
    if task == "Task3":
        return str(random.randrange(10**7, 10**8))
    uuid = UUID(int=random.getrandbits(128), version=4)
    return f'"{uuid}"' if task == "Task1" else str(uuid)
