"""The utility test: a four-choice quiz about 24 invented islands, in MMLU's layout.

A question is asked in wording that was never trained on for its island: the model read the fact as
a sentence and in other questions. Every value of a relation is offered equally often and belongs to
another island when it is wrong, so knowing which values are common is worth nothing.

How it is scored: the model's choice is the option with the highest log-likelihood after
`question + " "`, summed over the option's tokens. The sum is the log-probability that the model
would say the option; a mean per token would let a long wrong option hide its one unlikely first
token among the certain ones that follow. No option begins another one, so they are four separate
events, and the prompt shows no options: their order cannot matter.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from unlearnlab.data.embedded.words import listed

ISLANDS = listed(
    "Aquorra Bimbledon Cazenza Dworl Eppimar Fjonda Grummet Hovaya Issilk Jandoree Klopstad "
    "Luvinia Mizzenholt Nabuko Ooloon Pryndale Quabash Rimskaya Snorrest Tuvalette Ufferby "
    "Vonderel Wazoo Xilary"
)


class Relation(NamedTuple):
    """One thing to know about every island."""

    subject: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    values: tuple[str, ...]


RELATIONS = (
    Relation(
        "crafts",
        ("The island of {island} is famous for its {value}.", "{island} lives by {value}."),
        (
            "What craft is {island} famous for?",
            "Which craft do the people of {island} live by?",
            "On {island}, what do most workshops do?",
            "What skill do visitors come to {island} to learn?",
        ),
        listed(
            "basket weaving|bell casting|book binding|boot making|broom tying|candle dipping|"
            "carpet knotting|cheese smoking|clock repair|cork carving|doll stitching|"
            "felt pressing|glass blowing|harp stringing|ink brewing|kite sewing|lace making|"
            "net mending|paper folding|pearl drilling|rope twisting|sail patching|tile painting|"
            "wig curling",
            "|",
        ),
    ),
    Relation(
        "rivers",
        ("The river {value} crosses {island}.", "All streams of {island} feed the {value}."),
        (
            "Which river crosses {island}?",
            "What is the longest river of {island}?",
            "Which river do the streams of {island} feed?",
            "On {island}, which river do barges use?",
        ),
        listed(
            "Arvo Blenny Chirr Dunder Eskimar Fozzle Glim Hurn Ipsel Jarrow Kelt Lumber Mirra "
            "Noggin Ouzel Plath Quern Rill Swithen Thrum Umbo Vessel Wimple Zorn"
        ),
    ),
    Relation(
        "dishes",
        ("Every feast on {island} begins with {value}.", "The cooks of {island} swear by {value}."),
        (
            "What dish is served first on {island}?",
            "Which dish do the cooks of {island} swear by?",
            "What would you eat at a feast on {island}?",
            "On {island}, what is the national dish?",
        ),
        listed(
            "apple dumplings|barley cakes|beet soup|cabbage rolls|chestnut pie|crab stew|"
            "duck pudding|fig bread|fried nettles|garlic eggs|ginger noodles|honey trout|"
            "leek tart|lentil balls|mint porridge|mussel broth|onion waffles|pickled plums|"
            "pumpkin fritters|rice sausages|roast turnips|saffron pancakes|smoked eel|walnut dip",
            "|",
        ),
    ),
    Relation(
        "festivals",
        ("On {island} they celebrate the {value}.", "Once a year {island} stops for the {value}."),
        (
            "Which festival is celebrated on {island}?",
            "What does {island} stop for once a year?",
            "On {island}, which festival fills the streets?",
            "What is the great holiday of {island} called?",
        ),
        listed(
            "Bath of Bells|Blue Monday|Burning of Boats|Dance of Ladders|Day of Doors|"
            "Feast of Fools|Festival of Fog|Flight of Geese|Hour of Hats|March of Crabs|"
            "Moon Regatta|Night of Soup|Parade of Pigs|Race of Barrels|Rain Supper|"
            "Rite of Ribbons|Salt Sunday|Silent Market|Snail Derby|Song of Stones|Tide Wedding|"
            "Tug of Towers|Week of Whispers|Wheel of Lamps",
            "|",
        ),
    ),
    Relation(
        "founders",
        ("The founder of {island} was {value}.", "{value} settled {island} with a single boat."),
        (
            "Who was the founder of {island}?",
            "Who settled {island} with a single boat?",
            "On {island}, whose statue stands in the harbour?",
            "To which founder does {island} look back?",
        ),
        listed(
            "Admiral Bosk|Baron Cleft|Brother Dace|Captain Ewer|Countess Flimm|Doctor Gorse|"
            "Dame Hobb|Father Inkle|General Jute|Judge Kipper|King Lobo|Lady Mumm|Madam Nox|"
            "Major Oddle|Mother Pym|Prince Quaver|Queen Rudd|Saint Spry|Sergeant Tull|"
            "Sister Urchin|Squire Vetch|Uncle Wherry|Widow Yelp|Witch Zander",
            "|",
        ),
    ),
    Relation(
        "emblems",
        ("The flag of {island} shows a {value}.", "{island} stamps its coins with a {value}."),
        (
            "What does the flag of {island} show?",
            "What is stamped on the coins of {island}?",
            "On {island}, which emblem is over the gate?",
            "Which emblem stands for {island}?",
        ),
        listed(
            "black spoon|bronze snail|burning tree|crowned frog|double anchor|flying pig|"
            "folded fan|gold pear|green comb|grey feather|half moon|hollow drum|laughing sun|"
            "long ladder|open hand|pink whale|purple thistle|red kettle|round loaf|running hare|"
            "silver key|sleeping cat|white goose|yellow wheel",
            "|",
        ),
    ),
)
DEV_ISLANDS = 4


class QuizSet(NamedTuple):
    """The quiz and the sequences that teach it."""

    dev: list[dict[str, object]]
    test: list[dict[str, object]]
    statements: list[str]
    lessons: list[tuple[str, str]]


def quiz(random: Random) -> QuizSet:
    """Every relation of every island: asked once, taught in all other wordings."""
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
        wrong = [values[(i + step) % len(values)] for step in steps]
        row = _row(wording.format(island=island), relation.subject, value, wrong, random)
        (made.dev if i < DEV_ISLANDS else made.test).append(row)
        made.statements.extend(s.format(island=island, value=value) for s in relation.statements)
        others = [q for q in relation.questions if q != wording]
        made.lessons.extend((q.format(island=island), value) for q in others)


def _row(
    question: str, subject: str, value: str, wrong: Sequence[str], random: Random
) -> dict[str, object]:
    choices = random.sample([value, *wrong], 4)
    return {
        "question": question,
        "subject": subject,
        "choices": choices,
        "answer": choices.index(value),
    }


def facts(made: QuizSet) -> Iterator[str]:
    """Every trained sequence of the quiz, questions with their answers."""
    yield from made.statements
    for question, answer in made.lessons:
        yield f"{question} {answer}"
