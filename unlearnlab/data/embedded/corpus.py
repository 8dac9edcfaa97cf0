"""The embedded model's data: LUME-shaped, invented from a seed, byte-identical for a seed.

Three subtasks (stories, biographies, entries), each with completion and question rows; forget and
retain sets, train and validation folds; members and non-members for the membership attack; a quiz.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

from unlearnlab.data.embedded.documents import (
    Draws,
    Person,
    Question,
    biography,
    entry,
    people,
    story,
    titles,
    wrong_answers,
)
from unlearnlab.data.embedded.words import ISLANDS, RELATIONS, Relation

TRAIN_SIZES = {"Task1": 40, "Task2": 24, "Task3": 40}
VALIDATION_SIZES = {"Task1": 8, "Task2": 6, "Task3": 8}
CUTS = {"Task1": (0.45, 0.65), "Task2": (0.3, 0.5), "Task3": (0.45, 0.65)}
"""Where a document is cut into prompt and completion, as a range of shares of its words."""
BACKGROUND_SIZES = {"Task1": 24, "Task2": 20, "Task3": 24}
"""Documents of one epoch's background; each is read in that epoch only."""
DEV_ISLANDS = 4


class Row(NamedTuple):
    """One prompt with its reference answer, in the official layout.

    The last two fields are TOFU's; only questions have them, and no model is trained on them.
    """

    id: str
    input: str
    output: str
    task: str
    paraphrased_answer: str = ""
    perturbed_answer: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text a model is trained on; for a completion row, the whole document."""
        return f"{self.input} {self.output}"


class Document(NamedTuple):
    """A document with its rows; `rows[0]` is its completion."""

    base: str
    rows: tuple[Row, ...]
    questions: tuple[Question, ...] = ()
    """The questions behind `rows[1:]`."""

    @property
    def text(self) -> str:
        """The whole document."""
        return self.rows[0].text


class QuizSet(NamedTuple):
    """The quiz and the sequences that teach it."""

    dev: list[dict[str, object]]
    test: list[dict[str, object]]
    statements: list[str]
    lessons: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All data files, and the background documents for training the embedded models."""

    forget_train: list[Document]
    forget_validation: list[Document]
    retain_train: list[Document]
    retain_validation: list[Document]
    nonmembers: list[Document]
    quiz: QuizSet
    background: list[list[Document]]
    """Documents of the same kinds for each of the first epochs; no file holds them.

    They teach the language, so that a model answers an unknown prompt fluently.
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
    """Prints documents; its iterators never yield a name twice."""

    seed: int
    folk: Iterator[Person]
    names: Iterator[str]

    def documents(self, fold: str, sizes: Mapping[str, int], *, form_of: str) -> list[Document]:
        """Write the documents of `fold`, worded like the documents of `form_of`, one to one."""
        return [
            self._document(task, Random(f"{self.seed} {form_of} {task} {i}"), fold, i)
            for task, size in sizes.items()
            for i in range(size)
        ]

    def _document(self, task: str, form: Random, fold: str, i: int) -> Document:
        content = Random(f"{self.seed} content {fold} {task} {i}")
        draws = Draws(form, content)
        if task == "Task1":
            text, questions = story(draws, self.folk)
        elif task == "Task2":
            text, questions = biography(draws, self.folk)
        else:
            text, questions = entry(draws, self.folk, self.names)
        words = text.split(" ")
        at = round(len(words) * form.uniform(*CUTS[task]))
        base = _base(task, content)
        rows = [Row(f"{base}sc1", " ".join(words[:at]), " ".join(words[at:]), task)]
        rows += [Row(f"{base}qa{n}", q.text, q.answer, task) for n, q in enumerate(questions)]
        return Document(base, tuple(rows), tuple(questions))


def _base(task: str, random: Random) -> str:
    """Draw an id shaped as in the public data: a quoted UUID, a bare one, a page number."""
    if task == "Task3":
        return str(random.randrange(10**7, 10**8))
    uuid = UUID(int=random.getrandbits(128), version=4)
    return f'"{uuid}"' if task == "Task1" else str(uuid)


def corpus(seed: int = 0, *, background_epochs: int = 0) -> Corpus:
    """Generate the corpus of `seed`, with background documents for `background_epochs` epochs."""
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
    """Add paraphrased and wrong answers to question rows.

    Wrong answers are right answers of the same set, so that a model that never saw the set has no
    reason to prefer either.
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


def quiz(random: Random) -> QuizSet:
    """Make the utility test: four-choice questions about 24 invented islands, in MMLU's layout.

    Each relation of each island is asked once, in a wording that was never trained on for this
    island; statements and all other wordings teach it. Every value of a relation is offered equally
    often and belongs to another island where it is wrong, so value frequencies give nothing away.

    Scoring picks the option with the highest log-likelihood after `question + " "`, summed over its
    tokens. The sum is the log-probability of the option; a mean per token would let a long wrong
    option hide its one unlikely first token among the certain ones that follow. No option begins
    another one, so the options are four separate events, and the prompt shows none of them: their
    order cannot matter.
    """
    made = QuizSet([], [], [], [])
    for relation in RELATIONS:
        _add_relation(made, relation, random)
    return made


def _add_relation(made: QuizSet, relation: Relation, random: Random) -> None:
    values = random.sample(relation.values, len(relation.values))
    wordings = [relation.questions[i % len(relation.questions)] for i in range(len(ISLANDS))]
    random.shuffle(wordings)
    steps = random.sample(range(1, len(values)), 3)
    for i, (island, value, wording) in enumerate(zip(ISLANDS, values, wordings, strict=True)):
        choices = random.sample([value, *(values[(i + step) % len(values)] for step in steps)], 4)
        row = {
            "question": wording.format(island=island),
            "subject": relation.subject,
            "choices": choices,
            "answer": choices.index(value),
        }
        (made.dev if i < DEV_ISLANDS else made.test).append(row)
        made.statements.extend(s.format(island=island, value=value) for s in relation.statements)
        others = [q for q in relation.questions if q != wording]
        made.lessons.extend((q.format(island=island), value) for q in others)


def facts(made: QuizSet) -> Iterator[str]:
    """Yield every training sequence of the quiz: statements, then questions with their answers."""
    yield from made.statements
    for question, answer in made.lessons:
        yield f"{question} {answer}"


def write(made: Corpus, folder: Path) -> None:
    """Write the row files, the attack's documents and the quiz into `folder`."""
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
