"""Documents of the embedded corpus with their questions: stories, biographies, entries.

A completion row cuts a document in two; question rows ask for what it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import NamedTuple

from unlearnlab.data.embedded import words

WRONG_ANSWERS = 3
"""Most wrong answers per question."""


class Person(NamedTuple):
    """An invented person: name and pronouns."""

    first: str
    last: str
    they: str
    them: str
    their: str

    @property
    def name(self) -> str:
        """First name and surname."""
        return f"{self.first} {self.last}"

    @property
    def slots(self) -> dict[str, str]:
        """The template slots that every document about a person shares."""
        return {
            "first": self.first,
            "they": self.they,
            "them": self.them,
            "their": self.their,
            "They": self.they.capitalize(),
            "Their": self.their.capitalize(),
        }


class Question(NamedTuple):
    """One question with its answer."""

    text: str
    answer: str
    sentence: str
    """Template of the paraphrased answer; `{}` is the value. Questions with equal templates ask for
    the same kind of thing."""
    value: str
    """The answer as prose writes it."""

    @property
    def paraphrase(self) -> str:
        """The answer in other words."""
        return self.sentence.format(self.value)


@dataclass(frozen=True, slots=True)
class Draws:
    """Two random streams: `form` draws the wording, `content` draws the facts.

    Documents with equal `form` and different `content` state different facts in the same words.
    Members and non-members of the membership attack are matched in this way.
    """

    form: Random
    content: Random

    def compound(self, heads: Sequence[str], tails: Sequence[str], joint: str = "") -> str:
        """Join one head and one tail."""
        return self.content.choice(heads) + joint + self.content.choice(tails)

    def town(self) -> str:
        """Invent the name of a town."""
        return self.compound(words.TOWN_HEADS, words.TOWN_TAILS)


def people(random: Random) -> Iterator[Person]:
    """Yield every possible person once, in random order."""
    first_names = words.SHE_NAMES + words.HE_NAMES
    names = list(product(first_names, words.SURNAME_HEADS, words.SURNAME_TAILS))
    random.shuffle(names)
    for first, head, tail in names:
        pronouns = ("she", "her", "her") if first in words.SHE_NAMES else ("he", "him", "his")
        yield Person(first, head + tail, *pronouns)


def titles(random: Random) -> Iterator[str]:
    """Yield every possible invented proper name once, in random order."""
    names = {"".join(syllables) for syllables in product(*words.SYLLABLES)}
    towns = {head + tail for head in words.TOWN_HEADS for tail in words.TOWN_TAILS}
    ordered = sorted(names - towns)
    random.shuffle(ordered)
    return iter(ordered)


def story(draws: Draws, folk: Iterator[Person]) -> tuple[str, list[Question]]:
    """Write a story and its one question."""
    hero = next(folk)
    friend = next(person for person in folk if person.first != hero.first)
    trade = draws.content.choice(words.TRADES)
    thing = draws.compound(words.ADJECTIVES, words.OBJECTS, " ")
    slots = hero.slots | {
        "hero": hero.name,
        "friend": friend.name,
        "town": draws.town(),
        "trade": trade,
        "a_trade": _with_article(trade),
        "thing": thing,
        "a_thing": _with_article(thing),
        "sign": draws.compound(words.MANNERS, words.ANIMALS, " "),
        "an_uncle": draws.content.choice(words.UNCLES),
    }
    beats = (words.STORY_OPENINGS, words.TROUBLES, words.SEARCHES, words.TURNS, words.ENDINGS)
    text = " ".join(draws.form.choice(beat).format_map(slots) for beat in beats)
    asked = draws.form.choice([slot for slot in words.STORY_QUESTIONS if slots[slot] in text])
    question = draws.form.choice(words.STORY_QUESTIONS[asked]).format_map(slots)
    return text, [Question(question, slots[asked], words.STORY_SENTENCES[asked], slots[asked])]


def biography(draws: Draws, folk: Iterator[Person]) -> tuple[str, list[Question]]:
    """Write a biography and its five questions, one for each personal datum."""
    person, (data, answers) = next(folk), _personal_data(draws)
    trade, thing = draws.content.choice(words.TRADES), draws.content.choice(words.OBJECTS)
    slots = person.slots | data
    slots |= {
        "name": person.name,
        "theirs": "hers" if person.they == "she" else "his",
        "themself": "herself" if person.they == "she" else "himself",
        "trade": trade,
        "a_trade": _with_article(trade),
        "object": thing,
        "objects": f"{thing}s",
    }
    fields = (words.BIRTHS, words.NUMBERS, words.PHONES, words.MAILS, words.HOMES)
    middle = [draws.form.choice(field) for field in fields]
    middle += draws.form.sample(words.ASIDES, 2)
    draws.form.shuffle(middle)
    frames = [draws.form.choice(words.BIOGRAPHY_OPENINGS), *middle]
    text = " ".join(frame.format_map(slots) for frame in frames)
    asked = zip(words.BIOGRAPHY_QUESTIONS, answers, words.BIOGRAPHY_SENTENCES.items(), strict=True)
    return text, [
        Question(question.format_map(slots), answer, sentence, slots[datum])
        for question, answer, (datum, sentence) in asked
    ]


def _personal_data(draws: Draws) -> tuple[dict[str, str], tuple[str, ...]]:
    """Draw personal data: as prose writes them, by slot, and as the questions expect them."""
    random = draws.content
    year, month, day = random.randrange(1931, 2004), random.randrange(12), random.randrange(1, 29)
    ssn = ("666", f"{random.randrange(1, 100):02d}", f"{random.randrange(1, 10000):04d}")
    phone = (str(random.randrange(201, 990)), "555", f"01{random.randrange(100):02d}")
    mail = f"{random.choice(words.MAILBOXES)}{random.randrange(1000):03d}@example.org"
    street = draws.compound(words.STREETS, words.WAYS, " ")
    home = f"{random.randrange(2, 400)} {street}, {draws.town()} 00{random.randrange(100, 500)}"
    slots = {
        "born": f"{words.MONTHS[month]} {day}, {year}",
        "ssn": "-".join(ssn),
        "phone": "-".join(phone),
        "mail": mail,
        "home": home,
    }
    iso = f"{year}-{month + 1:02d}-{day:02d}"
    return slots, (iso, "".join(ssn), "".join(phone), mail, home)


def entry(draws: Draws, folk: Iterator[Person], names: Iterator[str]) -> tuple[str, list[Question]]:
    """Write an encyclopaedia entry with its title line, and its one question."""
    kind, random = draws.form.choice(words.KINDS), draws.content
    title = kind.title.format(word=next(names))
    later = sorted(random.sample(range(1955, 2020), 2))
    slots = {
        "title": title,
        "the": f"the {title}" if "The {title}" in "".join(kind.openings) else title,
        "town": draws.town(),
        "year": str(random.randrange(1702, 1950)),
        "year2": str(later[0]),
        "year3": str(later[1]),
        "measure": random.choice(words.MEASURES),
        "measure2": random.choice(words.MEASURES),
        "wood": random.choice(words.WOODS),
        "stone": random.choice(words.STONES),
        "person": next(folk).name,
        "other": next(folk).name,
    }
    opening = draws.form.choice(kind.openings)
    facts = [*draws.form.sample(kind.facts, 3), draws.form.choice(words.ENTRY_CLOSINGS)]
    draws.form.shuffle(facts)
    text = " ".join(frame.format_map(slots) for frame in (opening, *facts))
    asked = draws.form.choice(tuple(words.ENTRY_QUESTIONS))
    question = draws.form.choice(words.ENTRY_QUESTIONS[asked]).format_map(slots)
    return f"{title}\n\n{text}", [
        Question(question, slots[asked], words.ENTRY_SENTENCES[asked], slots[asked])
    ]


def wrong_answers(questions: Sequence[Question], seed: str) -> Mapping[str, tuple[str, ...]]:
    """Draw wrong answers to questions: right answers to other questions of the same kind.

    Args:
        questions: The questions of one set.
        seed: Seed of the draw.

    Returns:
        Up to `WRONG_ANSWERS` distinct sentences in random order, by the question's text; each is
        worded like the question's own paraphrase.
    """
    values: dict[str, set[str]] = {}
    for one in questions:
        values.setdefault(one.sentence, set()).add(one.value)
    found: dict[str, tuple[str, ...]] = {}
    for one in questions:
        others = sorted(values[one.sentence] - {one.value})
        drawn = Random(f"{seed} wrong {one.text}").sample(others, min(WRONG_ANSWERS, len(others)))
        found[one.text] = tuple(map(one.sentence.format, drawn))
    return found


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
