"""Words that the corpus is made of, and the streams of chance that pick them.

Names are compounds, so that almost no answer can be guessed: a town is one of 28 x 22.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import NamedTuple


def listed(text: str, separator: str = " ") -> tuple[str, ...]:
    """The words or phrases that `text` lists."""
    return tuple(text.split(separator))


SHE_NAMES = listed(
    "Adela Brisa Corra Delphine Esme Fenella Greta Hesper Idony Junia Keziah Linnet Maren Nerys "
    "Odalys Petra Quilla Rosalba Sunniva Tamsin Ursel Verity Willa Xanthe Ysolde Zillah"
)
HE_NAMES = listed(
    "Anselm Bertil Caspar Dorian Emrys Florian Gideon Hamish Ivo Jasper Kit Lorcan Magnus Nestor "
    "Osric Piers Quentin Rufus Silas Tobias Ulric Viggo Wendell Yorick Zeno Corin"
)
SURNAME_HEADS = listed(
    "Amber Bram Cinder Dapple Elder Fenni Garn Hollin Ivel Jarra Kettle Larch Mallow Nettle Orrin "
    "Pell Quill Rush Sorrel Tarn Umber Vesper Whin Yarrow"
)
SURNAME_TAILS = listed(
    "by croft dyke garth gate hurst ley lock ridge shaw stead thorn ton well wick worth"
)
TOWN_HEADS = listed(
    "Abber Brack Cald Dunnow Esk Fallow Gull Harrow Inch Juniper Kirn Lamb Moss Nar Otter Pebble "
    "Quay Raven Salt Tansy Under Vail Winter Yew Candle Bell Copper Drift"
)
TOWN_TAILS = listed(
    "bridge bury cliff combe den fell ferry gill haven holm lea market mere minster mouth port "
    "reach sands strand wold worthy heath"
)
ADJECTIVES = listed(
    "amber brass blue broken carved copper crooked dented ebony enamel forgotten gilded glass "
    "green iron ivory leather marble painted paper pewter porcelain red rusty silver striped tin "
    "velvet walnut wooden"
)
OBJECTS = listed(
    "accordion almanac anchor astrolabe barometer bell birdcage button candlestick crown drum "
    "fiddle flute globe hourglass kaleidoscope kite ladle lantern locket mask medal metronome "
    "mirror musket pepper-mill puppet sundial teapot telescope thimble trumpet umbrella whistle "
    "zither"
)
MANNERS = listed(
    "Drowsy Faithful Gallant Hasty Humble Jolly Laughing Lonely Merry Muddy Nimble Patient Proud "
    "Quiet Ragged Sleepy Solemn Thirsty Wandering Wise"
)
ANIMALS = listed(
    "Badger Bittern Carp Curlew Dormouse Ferret Goose Hare Heron Jackdaw Lamb Magpie Otter Owl "
    "Pike Raven Salmon Snail Stoat Toad Walrus Weasel"
)
TRADES = listed(
    "apprentice baker|basket weaver|beekeeper|bell founder|bookbinder|bridge keeper|chess teacher|"
    "chimney sweep|clock mender|cobbler|eel catcher|ferry pilot|fiddle maker|fortune teller|"
    "glass blower|hat maker|kite builder|lamplighter|librarian|lighthouse keeper|map maker|"
    "mushroom picker|night porter|organ tuner|owl keeper|pastry cook|piano teacher|postmistress|"
    "potter|puppeteer|rope maker|salt raker|seed merchant|sign painter|stage prompter|tea blender|"
    "tide reader|toy maker|well digger|wig maker",
    "|",
)
STREETS = listed(
    "Acorn Barley Chapel Clover Cobbler Dovecote Fiddler Gooseberry Hawthorn Juniper Kiln Lantern "
    "Marigold Mill Orchard Plum Quince Rectory Saddler Tanner Tinker Wharf Windmill Wren"
)
WAYS = ("Alley", "Close", "Court", "Hill", "Lane", "Parade", "Row", "Steps", "Street", "Walk")
MONTHS = listed(
    "January February March April May June July August September October November December"
)


class Person(NamedTuple):
    """An invented person: the names and the pronouns that prose needs."""

    first: str
    last: str
    they: str
    them: str
    their: str

    @property
    def name(self) -> str:
        """First name and surname."""
        return f"{self.first} {self.last}"


@dataclass(frozen=True, slots=True)
class Draws:
    """Two streams of chance: `form` picks phrasings, `content` picks what they say.

    Documents with equal `form` and different `content` are told in the same words about other
    things: that is how a non-member is matched to a member.
    """

    form: Random
    content: Random

    def compound(self, heads: Sequence[str], tails: Sequence[str], joint: str = "") -> str:
        """One head and one tail, joined."""
        return self.content.choice(heads) + joint + self.content.choice(tails)

    def town(self) -> str:
        """Name of an invented town."""
        return self.compound(TOWN_HEADS, TOWN_TAILS)

    def thing(self) -> str:
        """An object with one adjective, without article."""
        return self.compound(ADJECTIVES, OBJECTS, " ")

    def sign(self) -> str:
        """Name of an inn or a boat, without article."""
        return self.compound(MANNERS, ANIMALS, " ")

    def year(self) -> str:
        """A year from 1702 to 1949."""
        return str(self.content.randrange(1702, 1950))


def people(random: Random) -> Iterator[Person]:
    """Every person there can be, once each, in random order."""
    names = list(product(SHE_NAMES + HE_NAMES, SURNAME_HEADS, SURNAME_TAILS))
    random.shuffle(names)
    for first, head, tail in names:
        pronouns = ("she", "her", "her") if first in SHE_NAMES else ("he", "him", "his")
        yield Person(first, head + tail, *pronouns)


def capital(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[0].upper() + text[1:]


def article(noun: str) -> str:
    """`noun` with "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def number(random: Random, digits: int) -> str:
    """A string of `digits` random digits."""
    return f"{random.randrange(10**digits):0{digits}d}"
