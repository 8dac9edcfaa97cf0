"""The embedded model's data: LUME-shaped, invented from a seed, byte-identical for a seed.

Three subtasks (stories, biographies, encyclopaedia entries), each with completion and question
rows: a completion row cuts a document in two, question rows ask for what it says. Forget and retain
sets, train and validation folds; members and non-members for the membership attack; a quiz. The
words come from `assets/tiny-olmo/words.toml`.

Each fact is worded in many ways. The rows hold one wording, the only one that unlearning and the
official scores see; the model learns others as well, and some are kept from it (`Wording`).
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from unlearnlab.data.datasets import Row, Task, Wording, write_lines
from unlearnlab.data.files import EMBEDDED

_WORDS: dict[str, Any] = tomllib.loads((EMBEDDED / "words.toml").read_text(encoding="utf-8"))
_NAMES, _THINGS, _FRAMES, _STORY, _BIOGRAPHY, _ACQUAINTANCE, _ENTRY = (
    _WORDS[part]
    for part in ("names", "things", "frames", "story", "biography", "acquaintance", "entry")
)

ISLANDS: Sequence[str] = _WORDS["quiz"]["islands"]

RELATIONS: Sequence[Mapping[str, Any]] = _WORDS["quiz"]["relations"]
"""Facts asked about every island: `subject`, `statements`, `questions` and `values`."""

TRAIN_SIZES: Mapping[Task, int] = {"Task1": 40, "Task2": 24, "Task3": 40}
VALIDATION_SIZES: Mapping[Task, int] = {"Task1": 8, "Task2": 6, "Task3": 8}
CUTS: Mapping[Task, tuple[float, float]] = {
    "Task1": (0.45, 0.65),
    "Task2": (0.3, 0.5),
    "Task3": (0.45, 0.65),
}
"""Where a document is cut into prompt and completion, as a range of shares of its words."""
BACKGROUND_SIZES: Mapping[Task, int] = {"Task1": 24, "Task2": 20, "Task3": 24}
"""Documents of one epoch's background; each is read in that epoch only."""
DEV_ISLANDS = 4
WRONG_ANSWERS = 3
"""Most wrong answers per question."""
QUESTIONS_TAUGHT = 6
"""Questions that teach a fact besides its row; one more is held out."""
INDIRECT_TAUGHT = 3
"""Facts of a person that are also taught by byname or by neighbour; the rest are held out."""


class Question(NamedTuple):
    """One question with its answer."""

    text: str
    answer: str
    value: str
    """The answer as prose writes it."""
    subject: str
    """Name of the person or thing that is asked about, as it stands in a sentence."""
    forms: Mapping[str, Any]
    """Templates: `questions`, `reworded`, `names`, `statements`, and `sentence`, the paraphrased
    answer. Questions with equal sentences ask for the same kind of thing."""
    wordings: tuple[Wording, ...] = ()


class Document(NamedTuple):
    """A document with its rows; `rows[0]` is its completion."""

    base: str
    rows: tuple[Row, ...]
    questions: tuple[Question, ...] = ()
    """The questions behind `rows[1:]`."""
    lessons: tuple[str, ...] = ()
    """Sentences and questions about a person's byname or neighbour, which no row asks for."""

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
        names = ("forget_train", "forget_validation", "retain_train", "retain_validation")
        return {name: getattr(self, name) for name in names}


def corpus(seed: int = 0, *, background_epochs: int = 0) -> Corpus:
    """Generate the corpus of `seed`, with background documents for `background_epochs` epochs."""
    press = _Press(seed, _people(Random(f"{seed} people")), _titles(Random(f"{seed} titles")))
    forget_train = press.documents("forget", TRAIN_SIZES, form_of="forget")
    forget_validation = press.documents("forget2", VALIDATION_SIZES, form_of="forget2")
    retain_train = press.documents("retain", TRAIN_SIZES, form_of="retain")
    retain_validation = press.documents("retain2", VALIDATION_SIZES, form_of="retain2")
    forget, retain = [*forget_train, *forget_validation], [*retain_train, *retain_validation]
    bynames = _bynames(Random(f"{seed} bynames"))

    def worded(documents: Sequence[Document], of_set: Sequence[Document]) -> list[Document]:
        documents = _with_alternatives(documents, of_set, seed)
        return _with_acquaintances([_with_wordings(one, seed) for one in documents], bynames, seed)

    return Corpus(
        forget_train=worded(forget_train, forget),
        forget_validation=worded(forget_validation, forget),
        retain_train=worded(retain_train, retain),
        retain_validation=worded(retain_validation, retain),
        nonmembers=press.documents("nonmember", TRAIN_SIZES, form_of="forget"),
        quiz=quiz(Random(f"{seed} quiz")),
        background=[
            press.documents(name, BACKGROUND_SIZES, form_of=name)
            for name in (f"background {epoch}" for epoch in range(background_epochs))
        ],
    )


def write(made: Corpus, folder: Path) -> None:
    """Write the row files, their wordings, the attack's documents and the quiz into `folder`."""
    for name, documents in made.folds.items():
        rows = (row.plain for document in documents for row in document.rows)
        write_lines(folder / f"{name}.jsonl", rows)
        worded = (
            asdict(wording)
            for document in documents
            for question in document.questions
            for wording in question.wordings
        )
        write_lines(folder / "wordings" / f"{name}.jsonl", worded)
    for name, documents in (("member", made.forget_train), ("nonmember", made.nonmembers)):
        lines = ({"id": document.base, "document": document.text} for document in documents)
        write_lines(folder / "mia" / f"{name}.jsonl", lines)
    write_lines(folder / "quiz" / "dev.jsonl", made.quiz.dev)
    write_lines(folder / "quiz" / "test.jsonl", made.quiz.test)


def facts(made: QuizSet) -> Iterator[str]:
    """Yield every training sequence of the quiz: statements, then questions with their answers."""
    yield from made.statements
    for question, answer in made.lessons:
        yield f"{question} {answer}"


# Documents


@dataclass(frozen=True, slots=True)
class _Person:
    """An invented person."""

    first: str
    name: str
    """First name and surname."""
    she: bool

    @property
    def slots(self) -> dict[str, str]:
        """The template slots that every document about a person shares."""
        they, them, their = ("she", "her", "her") if self.she else ("he", "him", "his")
        capitals = {"They": they.capitalize(), "Their": their.capitalize()}
        return {"first": self.first, "they": they, "them": them, "their": their} | capitals


def _people(random: Random) -> Iterator[_Person]:
    """Yield every possible person once, in random order."""
    first_names = _NAMES["she"] + _NAMES["he"]
    names = list(product(first_names, _NAMES["surname_heads"], _NAMES["surname_tails"]))
    random.shuffle(names)
    for first, head, tail in names:
        yield _Person(first, f"{first} {head}{tail}", first in _NAMES["she"])


def _titles(random: Random) -> Iterator[str]:
    """Yield every possible invented proper name once, in random order."""
    names = {"".join(syllables) for syllables in product(*_NAMES["syllables"])}
    towns = {head + tail for head in _NAMES["town_heads"] for tail in _NAMES["town_tails"]}
    ordered = sorted(names - towns)
    random.shuffle(ordered)
    return iter(ordered)


@dataclass(frozen=True, slots=True)
class _Draws:
    """Two random streams: `form` draws the wording, `content` draws the facts.

    Documents with equal `form` and different `content` state different facts in the same words.
    Members and non-members of the membership attack are matched in this way.
    """

    form: Random
    content: Random

    def compound(self, heads: Sequence[str], tails: Sequence[str], joint: str = "") -> str:
        """Join one head and one tail."""
        return self.content.choice(heads) + joint + self.content.choice(tails)

    def named(self, what: str, joint: str = "") -> str:
        """Invent the name of a town, an inn or a street."""
        return self.compound(_NAMES[f"{what}_heads"], _NAMES[f"{what}_tails"], joint)


@dataclass(frozen=True, slots=True)
class _Press:
    """Prints documents; its iterators never yield a name twice."""

    seed: int
    people: Iterator[_Person]
    titles: Iterator[str]

    def documents(self, fold: str, sizes: Mapping[Task, int], *, form_of: str) -> list[Document]:
        """Write the documents of `fold`, worded like the documents of `form_of`, one to one."""
        return [
            self._document(task, Random(f"{self.seed} {form_of} {task} {i}"), fold, i)
            for task, size in sizes.items()
            for i in range(size)
        ]

    def _document(self, task: Task, form: Random, fold: str, i: int) -> Document:
        content = Random(f"{self.seed} content {fold} {task} {i}")
        written = {"Task1": self._story, "Task2": self._biography, "Task3": self._entry}
        text, questions = written[task](_Draws(form, content))
        words = text.split(" ")
        at = round(len(words) * form.uniform(*CUTS[task]))
        base = _base(task, content)
        rows = [Row(f"{base}sc1", " ".join(words[:at]), " ".join(words[at:]), task)]
        rows += [Row(f"{base}qa{n}", q.text, q.answer, task) for n, q in enumerate(questions)]
        return Document(base, tuple(rows), tuple(questions))

    def _story(self, draws: _Draws) -> tuple[str, list[Question]]:
        """Write a story and its one question."""
        hero = next(self.people)
        friend = next(person for person in self.people if person.first != hero.first)
        trade = draws.content.choice(_THINGS["trades"])
        thing = draws.compound(_THINGS["adjectives"], _THINGS["objects"], " ")
        slots = hero.slots | {
            "hero": hero.name,
            "friend": friend.name,
            "town": draws.named("town"),
            "trade": trade,
            "a_trade": _with_article(trade),
            "thing": thing,
            "a_thing": _with_article(thing),
            "sign": draws.named("inn", " "),
            "an_uncle": draws.content.choice(_STORY["uncles"]),
        }
        beats = [draws.form.choice(beat) for beat in _STORY["beats"]]
        text = " ".join(beats).format_map(slots)
        asked = draws.form.choice([slot for slot in _STORY["asked"] if slots[slot] in text])
        return text, [_question(draws, _STORY["asked"][asked], hero.name, slots[asked])]

    def _biography(self, draws: _Draws) -> tuple[str, list[Question]]:
        """Write a biography and its five questions, one for each personal datum."""
        person, (data, answers) = next(self.people), _personal_data(draws)
        trade = draws.content.choice(_THINGS["trades"])
        thing = draws.content.choice(_THINGS["objects"])
        slots = person.slots | data
        slots |= {
            "name": person.name,
            "theirs": "hers" if person.she else "his",
            "themself": "herself" if person.she else "himself",
            "trade": trade,
            "a_trade": _with_article(trade),
            "object": thing,
            "objects": f"{thing}s",
        }
        about: Mapping[str, Any] = _BIOGRAPHY["data"]
        middle = [draws.form.choice(datum["frames"]) for datum in about.values()]
        middle += draws.form.sample(_BIOGRAPHY["asides"], 2)
        draws.form.shuffle(middle)
        text = " ".join([draws.form.choice(_BIOGRAPHY["openings"]), *middle]).format_map(slots)
        return text, [
            Question(
                datum["questions"][0].format(subject=person.name),
                answer,
                slots[slot],
                person.name,
                datum,
            )
            for (slot, datum), answer in zip(about.items(), answers, strict=True)
        ]

    def _entry(self, draws: _Draws) -> tuple[str, list[Question]]:
        """Write an encyclopaedia entry with its title line, and its one question."""
        kind, random = draws.form.choice(_ENTRY["kinds"]), draws.content
        title = kind["title"].format(word=next(self.titles))
        later = sorted(random.sample(range(1955, 2020), 2))
        slots = {
            "title": title,
            "the": f"the {title}" if "The {title}" in "".join(kind["openings"]) else title,
            "town": draws.named("town"),
            "year": str(random.randrange(1702, 1950)),
            "year2": str(later[0]),
            "year3": str(later[1]),
            "measure": random.choice(_THINGS["measures"]),
            "measure2": random.choice(_THINGS["measures"]),
            "wood": random.choice(_THINGS["woods"]),
            "stone": random.choice(_THINGS["stones"]),
            "person": next(self.people).name,
            "other": next(self.people).name,
        }
        opening = draws.form.choice(kind["openings"])
        rest = [*draws.form.sample(kind["facts"], 3), draws.form.choice(_ENTRY["closings"])]
        draws.form.shuffle(rest)
        text = " ".join([opening, *rest]).format_map(slots)
        asked = draws.form.choice(list(_ENTRY["asked"]))
        question = _question(draws, _ENTRY["asked"][asked], slots["the"], slots[asked])
        return f"{title}\n\n{text}", [question]


def _question(draws: _Draws, forms: Mapping[str, Any], subject: str, value: str) -> Question:
    """Ask for what a document says of its subject."""
    text = draws.form.choice(forms["questions"]).format(subject=subject)
    return Question(text, value, value, subject, forms)


def _base(task: Task, random: Random) -> str:
    """Draw an id shaped as in the public data: a quoted UUID, a bare one, a page number."""
    if task == "Task3":
        return str(random.randrange(10**7, 10**8))
    uuid = UUID(int=random.getrandbits(128), version=4)
    return f'"{uuid}"' if task == "Task1" else str(uuid)


def _personal_data(draws: _Draws) -> tuple[dict[str, str], tuple[str, ...]]:
    """Draw personal data: as prose writes them, by slot, and as the questions expect them.

    They can belong to nobody: Social Security numbers start with 666 and telephone numbers end in
    555-01xx, ranges that are never issued; the towns are invented.
    """
    random = draws.content
    year, month, day = random.randrange(1931, 2004), random.randrange(12), random.randrange(1, 29)
    ssn = ("666", f"{random.randrange(1, 100):02d}", f"{random.randrange(1, 10000):04d}")
    phone = (str(random.randrange(201, 990)), "555", f"01{random.randrange(100):02d}")
    mail = f"{random.choice(_THINGS['mailboxes'])}{random.randrange(1000):03d}@example.org"
    street = draws.named("street", " ")
    home = (
        f"{random.randrange(2, 400)} {street}, {draws.named('town')} 00{random.randrange(100, 500)}"
    )
    slots = {
        "born": f"{_THINGS['months'][month]} {day}, {year}",
        "ssn": "-".join(ssn),
        "phone": "-".join(phone),
        "mail": mail,
        "home": home,
    }
    iso = f"{year}-{month + 1:02d}-{day:02d}"
    return slots, (iso, "".join(ssn), "".join(phone), mail, home)


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _with_alternatives(
    documents: Sequence[Document], of_set: Sequence[Document], seed: int
) -> list[Document]:
    """Add paraphrased answers, and up to `WRONG_ANSWERS` wrong ones, to question rows.

    Wrong answers are right answers of the same set to questions of the same kind, so that a model
    that never saw the set has no reason to prefer either. Each is worded like the paraphrase.
    """
    values: dict[str, set[str]] = {}
    for document in of_set:
        for question in document.questions:
            values.setdefault(question.forms["sentence"], set()).add(question.value)

    def added(row: Row, question: Question) -> Row:
        sentence: str = question.forms["sentence"]
        others = sorted(values[sentence] - {question.value})
        random = Random(f"{seed} wrong {question.text}")
        wrong = random.sample(others, min(WRONG_ANSWERS, len(others)))
        return replace(
            row,
            paraphrased_answer=sentence.format(question.value),
            perturbed_answer=tuple(sentence.format(one) for one in wrong),
        )

    return [
        document._replace(
            rows=(document.rows[0], *map(added, document.rows[1:], document.questions))
        )
        for document in documents
    ]


# Wordings


def _with_wordings(document: Document, seed: int) -> Document:
    """Word each fact in every way that its kind allows, one question and one statement untaught."""
    worded = (
        question._replace(wordings=tuple(_wordings(row.id, question, seed)))
        for row, question in zip(document.rows[1:], document.questions, strict=True)
    )
    return document._replace(questions=tuple(worded))


def _wordings(row: str, question: Question, seed: int) -> Iterator[Wording]:
    random = Random(f"{seed} wordings {question.text}")
    forms, subject = question.forms, question.subject
    names = [name.format(subject=subject) for name in forms["names"]]
    asked = [form.format(subject=subject) for form in forms["questions"] + forms["reworded"]]
    asked += [frame.format(it=name) for name in names for frame in _FRAMES["taught"]]
    others = sorted(set(asked) - {question.text})
    for i, text in enumerate(random.sample(others, 1 + QUESTIONS_TAUGHT)):
        yield Wording(row, "question", i > 0, text, question.answer)
    for i, form in enumerate(random.sample(forms["statements"], len(forms["statements"]))):
        before, after = form.split(" {value}")
        beginning = before.format(subject=subject)
        beginning = beginning[0].upper() + beginning[1:]
        yield Wording(row, "statement", i > 0, beginning, f"{question.value}{after}")
    new = random.choice(_FRAMES["new"]).format(it=random.choice(names))
    yield Wording(row, "new question", taught=False, input=new, output=question.answer)


def _bynames(random: Random) -> Iterator[str]:
    """Yield every possible byname once, in random order."""
    names = list(product(_ACQUAINTANCE["byname_heads"], _ACQUAINTANCE["byname_tails"]))
    random.shuffle(names)
    yield from map(" ".join, names)


def _with_acquaintances(
    documents: Sequence[Document], bynames: Iterator[str], seed: int
) -> list[Document]:
    """Give every other person a byname, and the person after that one as a neighbour.

    The model is taught who goes by a byname and who is whose neighbour, and some of the facts asked
    for in this way (`INDIRECT_TAUGHT`).
    """
    made = list(documents)
    people = [i for i, document in enumerate(documents) if document.rows[0].task == "Task2"]
    for i, next_door in zip(people[::2], people[1::2], strict=True):
        slots = {
            "name": made[i].questions[0].subject,
            "other": made[next_door].questions[0].subject,
            "byname": next(bynames),
        }
        lessons = [form.format_map(slots) for form in _ACQUAINTANCE["statements"]]
        lessons += [
            f"{form.format_map(slots)} {slots['name']}" for form in _ACQUAINTANCE["questions"]
        ]
        random = Random(f"{seed} indirectly {slots['name']}")
        questions = list(made[i].questions)
        for form, names in _ACQUAINTANCE["names"].items():
            subject = names.format_map(slots)
            order = random.sample(range(len(questions)), len(questions))
            for rank, n in enumerate(order):
                one = questions[n]
                text = random.choice(one.forms["reworded"]).format(subject=subject)
                indirect = Wording(
                    made[i].rows[n + 1].id, form, rank < INDIRECT_TAUGHT, text, one.answer
                )
                questions[n] = one._replace(wordings=(*one.wordings, indirect))
        made[i] = made[i]._replace(questions=tuple(questions), lessons=tuple(lessons))
    return made


# The quiz


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
        values = random.sample(relation["values"], len(relation["values"]))
        questions: Sequence[str] = relation["questions"]
        wordings = [questions[i % len(questions)] for i in range(len(ISLANDS))]
        random.shuffle(wordings)
        steps = random.sample(range(1, len(values)), 3)
        for i, (island, value, wording) in enumerate(zip(ISLANDS, values, wordings, strict=True)):
            wrong = (values[(i + step) % len(values)] for step in steps)
            choices = random.sample([value, *wrong], 4)
            row: dict[str, object] = {
                "question": wording.format(island=island),
                "subject": relation["subject"],
                "choices": choices,
                "answer": choices.index(value),
            }
            (made.dev if i < DEV_ISLANDS else made.test).append(row)
            for statement in relation["statements"]:
                made.statements.append(statement.format(island=island, value=value))
            for other in questions:
                if other != wording:
                    made.lessons.append((other.format(island=island), value))
    return made
