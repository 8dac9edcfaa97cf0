"""Task 3: invented encyclopaedia entries, a title line and then a few sentences of lead.

Each kind of thing has its own opening and its own facts; which facts, and in which order, is drawn.
"""

from collections.abc import Iterator, Sequence
from random import Random

from unlearnlab.data.embedded.kinds import KINDS, MEASURES, STONES, WOODS, Kind
from unlearnlab.data.embedded.questions import Question
from unlearnlab.data.embedded.words import TOWN_HEADS, TOWN_TAILS, Draws, Person, listed

SYLLABLES = (
    listed("Al Bre Cor Dal El Fir Gos Hum Ir Jol Kan Lor Mer Nol Or Pas Quen Ros Sil Tor"),
    listed("a be ci di e ga i la mo ni o ra su ta u va"),
    listed("bel cor dine fen gold lin mont nat quist rel sand tine vane wen"),
)
CLOSINGS = (
    "A monograph by {other} appeared in {year3}.",
    "{other} painted it {measure2} times.",
    "The novelist {other} gave it a chapter, most of it wrong.",
    "It is shown on a stamp engraved by {other}.",
    "A small museum, run by {other}, opened in {year3}.",
    "In {year3} a petition led by {other} saved it from the council.",
    "{other} proposed another explanation in {year3}, which few accept.",
    "Much of what is known comes from the diary of {other}.",
    "A song about it made {other} briefly rich.",
    "Since {year3} a fund left by {other} has paid for its upkeep.",
)
QUESTIONS = {
    "person": (
        "Which person do the first records of {the} name?",
        "To whom does {the} owe its beginning?",
        "Who stands at the start of the history of {the}?",
    ),
    "town": (
        "Which town is {the} linked with?",
        "Near which town would one look for {the}?",
        "What town do reference works give for {the}?",
    ),
    "year": (
        "From which year is {the} on record?",
        "With what year does the history of {the} begin?",
        "In which year do the accounts of {the} start?",
    ),
    "other": (
        "Whose later work kept {the} in public memory?",
        "Who took up {the} in later years?",
        "Which later admirer is connected with {the}?",
    ),
}

SENTENCES = {
    "person": "The first name on record is {}.",
    "town": "It belongs to {}.",
    "year": "It began in {}.",
    "other": "Later it was {} who cared.",
}


def titles(random: Random) -> Iterator[str]:
    """Invented proper names, once each, in random order."""
    words = {
        first + second + third
        for first in SYLLABLES[0]
        for second in SYLLABLES[1]
        for third in SYLLABLES[2]
    }
    towns = {head + tail for head in TOWN_HEADS for tail in TOWN_TAILS}
    ordered = sorted(words - towns)
    random.shuffle(ordered)
    return iter(ordered)


def entry(draws: Draws, folk: Iterator[Person], words: Iterator[str]) -> tuple[str, list[Question]]:
    """An entry with its title line, and its one question with the answer."""
    kind = draws.form.choice(KINDS)
    slots = _slots(draws, kind, next(words)) | {
        "person": next(folk).name,
        "other": next(folk).name,
    }
    frames = [draws.form.choice(kind.openings), *_facts(draws.form, kind.facts)]
    text = " ".join(frame.format_map(slots) for frame in frames)
    asked = draws.form.choice(tuple(QUESTIONS))
    question = draws.form.choice(QUESTIONS[asked]).format_map(slots)
    return f"{slots['title']}\n\n{text}", [
        Question(question, slots[asked], SENTENCES[asked], slots[asked])
    ]


def _facts(form: Random, facts: Sequence[str]) -> list[str]:
    chosen = [*form.sample(facts, 3), form.choice(CLOSINGS)]
    form.shuffle(chosen)
    return chosen


def _slots(draws: Draws, kind: Kind, word: str) -> dict[str, str]:
    random = draws.content
    title = kind.title.format(word=word)
    definite = f"the {title}" if "The {title}" in "".join(kind.openings) else title
    later = sorted(random.sample(range(1955, 2020), 2))
    return {
        "title": title,
        "the": definite,
        "town": draws.town(),
        "year": draws.year(),
        "year2": str(later[0]),
        "year3": str(later[1]),
        "measure": random.choice(MEASURES),
        "measure2": random.choice(MEASURES),
        "wood": random.choice(WOODS),
        "stone": random.choice(STONES),
    }
