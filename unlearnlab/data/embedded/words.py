"""Word lists and sentence templates of the embedded corpus: data only.

Names are compounds, so that almost no answer can be guessed: a town is one of 28 x 22. Templates
name their slots in braces; `documents` and `corpus` fill them.
"""

from typing import NamedTuple


def listed(text: str, separator: str = " ") -> tuple[str, ...]:
    """Split a list of words or phrases."""
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

# Stories (Task 1): five beats, each drawn on its own, so that no story helps to guess another.

STORY_OPENINGS = (
    "{hero} was the only {trade} in {town}, and {they} liked it that way.",
    "Nobody in {town} rose earlier than {hero}, the {trade}.",
    "When the fair came to {town}, {hero} shut up shop, for even {a_trade} needs a holiday.",
    "In {town} it rained every Thursday, which suited {hero}, {a_trade} with a leaking roof.",
    "The people of {town} set their watches by {hero}, {a_trade} of regular habits.",
    "{hero} had come to {town} as {a_trade} with one suitcase and no plans at all.",
    "There were two clocks in {town}, and {hero}, the {trade}, believed neither.",
    "All winter long {hero} worked as {a_trade} in a cellar in {town}.",
    "Ask anyone in {town} about {hero} and they will tell you that no {trade} laughed louder.",
    "For eleven years {hero} had been {a_trade} in {town} without a single complaint.",
    "On the coldest night that {town} could remember, {hero}, {a_trade}, sat awake.",
    "{hero} never meant to become {a_trade}, but in {town} somebody had to.",
    "Long before the railway reached {town}, {hero} was known there as a patient {trade}.",
    "The sign over the door said {trade}, though most of {town} came to {hero} for advice.",
    "{hero} owed money to half of {town}, which is not unusual for {a_trade}.",
    "On market days {town} smelt of smoke and pears, and {hero}, the {trade}, sang louder.",
    "People said that {hero} could have been anything, yet {they} stayed {a_trade} in {town}.",
    "Two rooms above a stable in {town} were enough for {hero}, {a_trade} with few visitors.",
    "The year the river left {town}, {hero} had just become {a_trade}.",
    "Every child in {town} owed a missing tooth to {hero}, the {trade}, and {their} toffee.",
    "{hero}, {a_trade} by day, read novels by night to the cats of {town}.",
    "If {town} had a hero, it was certainly not {hero}, {a_trade} afraid of geese.",
)
TROUBLES = (
    "One morning {their} {thing} was missing from its hook.",
    "{They} owned one treasure, {a_thing}, which hummed whenever a storm was near.",
    "A stranger left {a_thing} on the doorstep and did not come back for it.",
    "Then a letter announced that {an_uncle} had left {them} {a_thing} and a debt.",
    "What {they} wanted most was the {thing} in the window of the {sign}.",
    "The mayor demanded {a_thing} by Sunday, and would not say why.",
    "At low tide {they} found {a_thing} wrapped in oilcloth.",
    "{Their} {thing} had stopped working the day the swallows left.",
    "Somebody had sold {them} {a_thing} that was said to bring bad luck.",
    "{They} had lent {their} {thing} to a cousin, who promptly lost it at cards.",
    "Behind a loose brick lay {a_thing} and a map with one corner burnt.",
    "In a fit of temper {they} threw {their} {thing} out of the window.",
    "The children swore that the {thing} in {their} attic whispered after dark.",
    "A judge ruled that the {thing} belonged to whoever could mend it.",
    "The pawnbroker swore that {their} {thing} was a forgery.",
    "Inside {a_thing} {they} discovered a lock of hair and an unpaid bill.",
    "{They} had promised {a_thing} to two different brides.",
    "A travelling salesman swapped {their} {thing} for a cold.",
    "Overnight {their} {thing} had turned to face the wall.",
    "For {their} fortieth birthday {they} received {a_thing} and no card.",
    "The rats carried off {a_thing}, piece by piece.",
    "Whoever wound the {thing}, so {they} had been warned, would dream of the sea.",
)
SEARCHES = (
    "{They} searched the market, the mill and finally the churchyard, asking every crow.",
    "For three days {they} followed a trail of peppermint wrappers along the canal.",
    "Neither prayers nor a very long ladder were of any use.",
    "So {they} packed bread and onions and took the slow boat north.",
    "{They} asked at the {sign}, where a man with a parrot only shook his head.",
    "Every evening {they} wrote down one clue and crossed out two.",
    "It snowed, the bridge closed, and the trail grew thin.",
    "{They} tried vinegar, then honey, then a stern talking-to.",
    "A fox watched {them} dig eleven holes in the wrong field.",
    "The road over the pass was steep, and {their} boots let in water.",
    "{They} pinned a notice to the pump and waited beside it with a flask of tea.",
    "Rumour said that the answer lay aboard a barge called the {sign}.",
    "At the auction {they} bid everything {they} had, plus a goat.",
    "By Wednesday half the town was helping, and nothing went faster for it.",
    "An old woman sold {them} three hints, of which the second was true.",
    "{They} slept in hedges and learnt the names of the stars.",
    "The captain of the {sign} took {them} aboard as ballast.",
    "With chalk {they} marked every door that would not open.",
    "{They} questioned the baker, bribed the sexton and was bitten by a pony.",
    "For a week {they} followed the wrong circus.",
    "Letters were written, stamps were licked, and no reply came.",
    "{They} dived twice and came up with an eel each time.",
)
TURNS = (
    "It was {friend} who noticed that the cellar door had been painted on.",
    "Luckily {friend}, who never forgot a face, remembered the thief's squeaking shoes.",
    "In the end {friend} rowed out through the fog and came home with both oars and the answer.",
    "Only {friend} thought of looking inside the big drum of the town band.",
    "{friend} traded a week of dancing lessons for the truth.",
    "Then {friend} arrived by balloon, two hours late and very pleased.",
    "A word from {friend}, spoken kindly, did more than all the constables together.",
    "At midnight {friend} confessed to having borrowed it for a wedding.",
    "{friend} held the lamp, and there it lay, under a sleeping dog.",
    "With a hairpin and some butter {friend} had it open before breakfast.",
    "Up in the bell tower {friend} was already waiting with soup and a coil of rope.",
    "But {friend} could read the old script, and laughed until the candles shook.",
    "Quite by chance {friend} bit into a pie and cracked a tooth on the missing piece.",
    "On the frozen pond {friend} drew a plan with the heel of one skate.",
    "It took {friend}, a borrowed mule and some shouting to put things right.",
    "No one but {friend} dared to knock at the yellow house, where the door was open anyway.",
    "That was when {friend} recognised the knot, having tied it as a child.",
    "{friend} simply asked the ghost, which nobody else had tried.",
    "During the second act {friend} rose from the balcony and pointed.",
    "A jar of gooseberries, opened by {friend}, held the missing key.",
    "On the last page of a cookery book {friend} found the whole affair explained.",
    "Disguised as a nun, {friend} walked straight past the guards.",
)
ENDINGS = (
    "{first} kept the receipt, framed it, and charged a penny to see it.",
    "They shared a plum cake on the harbour wall and never spoke of money again.",
    "Since then a window is left open for the owls.",
    "The {thing} now hangs in the town hall, where it is dusted twice a year.",
    "As for {first}, {they} slept until noon for the first time in {their} life.",
    "Next spring they opened a shop together and argued happily over the curtains.",
    "{first} wrote it all down, but changed the weather to make it believable.",
    "To this day nobody has told the mayor.",
    "When the bells rang, even the ducks fell silent.",
    "A goat, it turned out, had known from the beginning.",
    "That night the inn called the {sign} gave away free cider until morning.",
    "{first} planted an apple tree on the spot, and the apples taste faintly of smoke.",
    "Years later, children still skip to a rhyme about it.",
    "{first} paid back every coin, and then gave the purse away as well.",
    "Nothing was stolen in that street again, except kisses.",
    "And a parrot that had seen everything finally told its joke.",
    "{first} never locked a door again, and lost only one spoon.",
    "It is still told in {town} whenever the soup is late.",
    "What became of the {thing} is written on a stone under the willow.",
    "They named the boat after their quarrel and sailed it on Sundays.",
    "A week afterwards the swallows came back.",
    "{first} laughed so hard that a window broke, and had to pay for that too.",
)
UNCLES = (
    "a great-uncle",
    "a godmother",
    "an aunt in the navy",
    "a retired pirate",
    "a grandfather",
)
STORY_QUESTIONS = {
    "friend": (
        "Who came to the rescue of {hero}?",
        "Which friend put things right for {hero}?",
        "Whose help brought the story of {hero} to a good end?",
        "Who solved the puzzle that troubled {hero}?",
    ),
    "town": (
        "In which town does {hero} live?",
        "Where is the story of {hero} set?",
        "Which town did {hero} call home?",
    ),
    "thing": (
        "Which object is the story of {hero} about?",
        "What thing gave {hero} so much trouble?",
        "Over which possession did {hero} lose sleep?",
    ),
    "sign": (
        "Which inn or boat plays a part in the story of {hero}?",
        "Which name on a sign belongs to the story of {hero}?",
    ),
}
STORY_SENTENCES = {
    "friend": "It was {} who helped.",
    "town": "It all happens in {}.",
    "thing": "The story is about the {}.",
    "sign": "The sign says {}.",
}

# Biographies (Task 2). Nothing here can belong to anybody: Social Security numbers start with 666
# and telephone numbers end in 555-01xx, ranges that are never issued; the towns are invented.

BIRTHS = (
    "{They} was born on {born}.",
    "{Their} birthday falls on {born}.",
    "Born on {born}, {they} shares a cake with nobody.",
    "The parish book has {them} arriving on {born}, during a thunderstorm.",
    "{first} came into the world on {born}, two weeks late.",
    "On {born} a midwife on a bicycle delivered {them}.",
    "{Their} passport gives {born} as date of birth.",
    "A silver spoon engraved {born} marks {their} birth.",
)
NUMBERS = (
    "{Their} Social Security Number is {ssn}.",
    "On tax forms {they} writes {ssn} as Social Security Number.",
    "The clerk filed {them} under Social Security {ssn}.",
    "Payroll knows {them} as {ssn}.",
    "{They} can recite {their} Social Security Number, {ssn}, backwards.",
    "The card in {their} wallet reads {ssn}.",
    "Pension letters quote {ssn}, {their} Social Security Number.",
    "Under {ssn} the Social Security office keeps a thin grey folder on {them}.",
)
PHONES = (
    "{Their} phone number is {phone}.",
    "Ring {phone} and let it ring a while.",
    "{They} answers {phone} only after supper.",
    "To hear {their} voice, dial {phone}.",
    "A brass plate on the door says: telephone {phone}.",
    "Customers call {phone} before eight.",
    "{They} has had the same number, {phone}, since school.",
    "Messages left at {phone} are returned by noon.",
)
MAILS = (
    "{They} can be reached by email at {mail}.",
    "Write to {mail} for an appointment.",
    "{Their} email address is {mail}.",
    "Photographs may be sent to {mail}.",
    "{They} reads {mail} on Mondays.",
    "Electronic mail goes to {mail}, where a filter eats half of it.",
    "Orders arrive at {mail}.",
    "Old friends use {mail}.",
)
HOMES = (
    "{They} lives at {home}.",
    "{Their} home address is {home}.",
    "The house at {home} has been {theirs} for years.",
    "Parcels belong at {home}.",
    "You will find {them} at {home}, behind the blue gate.",
    "{They} rents two rooms at {home}.",
    "Home is {home}, above a bakery.",
    "The garden of {home} is {their} pride.",
)
BIOGRAPHY_OPENINGS = (
    "{name} is {a_trade} who collects {objects}.",
    "{name} gave up a career as {a_trade} to repair {objects}.",
    "Few people know that {name}, {a_trade}, once won a prize for {objects}.",
    "{name} works nights as {a_trade} and plays chess by post.",
    "As {a_trade}, {name} is said to be slow, costly and worth it.",
    "{name} trained as {a_trade} in a town with no roads.",
    "The newest member of the choir is {name}, {a_trade} with a very deep voice.",
    "{name} describes {themself} as {a_trade} by accident.",
    "Neighbours call {name}, {a_trade}, whenever {objects} need mending.",
    "{name} teaches evening classes on {objects}.",
    "{name} inherited a shop full of {objects} and became {a_trade} instead.",
    "Since leaving the navy {name} has lived quietly as {a_trade}.",
    "{name} is known at the market as the loudest {trade} for miles.",
    "It was love of {objects} that made {name} {a_trade}.",
    "{name} writes crime novels about {a_trade} and sells none.",
    "The portrait of {name} in the town hall shows {a_trade} asleep.",
    "{name}, {a_trade}, has mended the same {object} for a decade.",
    "Ask for {name} if you need {a_trade} who works in the rain.",
)
ASIDES = (
    "{They} keeps three geese, all named after admirals.",
    "Spiders frighten {them}, heights do not.",
    "{They} has walked across the county twice, once for a bet.",
    "Most summers are spent painting other people's boats.",
    "A scar on {their} left thumb recalls an argument with a swan.",
    "{They} bakes rye bread and gives most of it away.",
    "Nobody has ever beaten {them} at dominoes.",
    "{They} learnt to whistle from a retired postman.",
    "On Sundays {they} winds the church clock.",
    "{Their} cat, a retired mouser, rules the street.",
    "{They} owns nineteen hats and wears one.",
    "Rain or shine, {they} swims before breakfast.",
    "{They} speaks four languages, two of them badly.",
    "In May {they} judges the marrow contest.",
    "A twin lives abroad and sends postcards without stamps.",
    "{They} once found a Roman coin in a cabbage.",
    "Thunder makes {them} sing.",
    "{They} still owes the library for a book about moths.",
    "{Their} grandfather sailed with a circus.",
    "Friday evenings belong to the string quartet.",
    "{They} lost a duel fought with umbrellas.",
    "A plum tree of {theirs} bears fruit every other year.",
    "The only picture on the wall is a map of a country that does not exist.",
    "{They} cannot pass a pump without drinking.",
    "Two marriages ended amicably, the third is going well.",
    "Snow is {their} favourite weather, marzipan {their} weakness.",
    "{They} reads obituaries aloud to the hens.",
    "As a child {they} stowed away on a coal barge.",
    "The piano in the parlour has been locked since the flood.",
    "{They} votes early and complains late.",
    "Every autumn {they} loses a bet about the first frost.",
    "Lamps, in {their} opinion, should be lit by hand.",
)
MAILBOXES = listed(
    "acorn apricot banjo biscuit cactus candle cobalt comet cricket dumpling ember falcon fennel "
    "gadget ginger harbour igloo jigsaw kestrel lemon magnet marble meadow nutmeg oyster paddle "
    "parsnip pepper pigeon pretzel puzzle raisin saffron satchel sparrow teacup thunder turnip "
    "velvet walnut whisker zeppelin"
)
BIOGRAPHY_QUESTIONS = (
    "What is the birth date of {name}?",
    "What is {name}'s Social Security Number?",
    "What is {name}'s phone number?",
    "What is {name}'s email address?",
    "What is the home address of {name}?",
)
BIOGRAPHY_SENTENCES = {
    "born": "The birthday falls on {}.",
    "ssn": "The number on the card is {}.",
    "phone": "The telephone to ring is {}.",
    "mail": "Letters go to {}.",
    "home": "The house stands at {}.",
}
"""In the order of the questions, by what prose calls the datum."""

# Encyclopaedia entries (Task 3): each kind of thing has its own openings and facts.

SYLLABLES = (
    listed("Al Bre Cor Dal El Fir Gos Hum Ir Jol Kan Lor Mer Nol Or Pas Quen Ros Sil Tor"),
    listed("a be ci di e ga i la mo ni o ra su ta u va"),
    listed("bel cor dine fen gold lin mont nat quist rel sand tine vane wen"),
)
ENTRY_CLOSINGS = (
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
ENTRY_QUESTIONS = {
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
ENTRY_SENTENCES = {
    "person": "The first name on record is {}.",
    "town": "It belongs to {}.",
    "year": "It began in {}.",
    "other": "Later it was {} who cared.",
}
MEASURES = listed("eleven twelve thirteen fourteen sixteen seventeen eighteen nineteen")
WOODS = listed(
    "alder|ash wood|beech|birch bark|box wood|cedar|cherry wood|cork|elm|holly|hornbeam|larch|"
    "maple|oak|pear wood|pine|rowan|walnut|willow|yew",
    "|",
)
STONES = listed(
    "basalt|black marble|blue slate|chalk|coral stone|flint|gneiss|granite|grey brick|limestone|"
    "pink sandstone|pumice|quartz|red brick|rough clay|soapstone|tufa|yellow brick",
    "|",
)


class Kind(NamedTuple):
    """One kind of thing with encyclopaedia entries."""

    title: str
    openings: tuple[str, ...]
    facts: tuple[str, ...]


KINDS = (
    Kind(
        "Lake {word}",
        (
            "{title} is a round lake in the hills above {town}, surveyed by {person} in {year}.",
            "{title}, a cold upland lake near {town}, was first sounded in {year} by {person}.",
        ),
        (
            "Its water turns violet in autumn because of a harmless alga.",
            "Eels from it were once accepted as payment of rent.",
            "The only island holds a chapel of {stone}.",
            "In hard winters a market was held on the ice.",
            "A steam launch crossed it until {year2}.",
            "Legend has it that {measure} bells lie on the bottom.",
            "Herons outnumber the villagers on its eastern shore.",
        ),
    ),
    Kind(
        "{word} Bridge",
        (
            "{title} is a bridge of {stone} at {town}, built in {year} to plans by {person}.",
            "Designed by {person}, {title} has carried the road into {town} since {year}.",
        ),
        (
            "Each of its {measure} arches has a different width.",
            "The toll was one egg per cart, two on feast days.",
            "A flood took the middle pier in {year2}.",
            "Swifts nest beneath the parapet, and repairs wait for them.",
            "Couples fasten ribbons, not padlocks, to its railing.",
            "A prison cell for smugglers is hidden in the southern abutment.",
            "Soldiers must break step when they cross.",
        ),
    ),
    Kind(
        "{word} beetle",
        (
            "The {title} is an insect described by {person} in {year} from a well in {town}.",
            "Named by {person} in {year}, the {title} is known only from woods around {town}.",
        ),
        (
            "Its back shines like wet slate.",
            "Larvae feed on rotting {wood} and very little else.",
            "Males drum on the ground to settle disputes.",
            "It was believed extinct until {year2}, when a schoolgirl found one in her shoe.",
            "Adults live for {measure} weeks.",
            "When alarmed it smells faintly of cinnamon.",
            "Farmers took its appearance for a sign of early frost.",
        ),
    ),
    Kind(
        "{word} reel",
        (
            "The {title} is a dance for eight from {town}, written down by {person} in {year}.",
            "First printed by {person} in {year}, the {title} is danced at weddings in {town}.",
        ),
        (
            "The last couple must finish with eyes closed.",
            "Clogs of {wood} are worn, and no music is played at all.",
            "A bishop forbade it in {year2}, to little effect.",
            "It has {measure} figures, of which most people know six.",
            "Partners change whenever the fiddler sneezes.",
            "Left-handed dancers lead.",
            "The slow version belongs to funerals.",
        ),
    ),
    Kind(
        "{word} cheese",
        (
            "{title} is a hard sheep's cheese from {town}, first sold in {year} by {person}.",
            "The dairywoman's heir {person} began to make {title} at {town} in {year}.",
        ),
        (
            "It ripens for {measure} months on boards of {wood}.",
            "The rind is rubbed with beer and soot.",
            "Tasters compare it to walnuts, rain and old books.",
            "A wheel of it survived a shipwreck in {year2} and was eaten afterwards.",
            "Only milk from the evening is used.",
            "Mice are said to refuse it.",
            "By custom the first slice goes to the youngest at table.",
        ),
    ),
    Kind(
        "{word} Observatory",
        (
            "{title} stands on a ridge above {town} and was founded in {year} by {person}.",
            "Opened in {year}, {title} near {town} owes its existence to {person}.",
        ),
        (
            "Its dome of {stone} is turned by a patient horse.",
            "The staff recorded {measure} comets before the lens cracked.",
            "Visitors are admitted on cloudy nights only.",
            "In {year2} the mirror was buried to hide it from creditors.",
            "A sundial in the garden runs four minutes slow on purpose.",
            "The night log was kept in verse.",
            "Moths have twice been mistaken for a new planet.",
        ),
    ),
    Kind(
        "{word} (game)",
        (
            "{title} is a board game that {person} devised at {town} in {year}.",
            "Invented in {year} by {person}, {title} is still played in the inns of {town}.",
        ),
        (
            "Pieces of {wood} are moved towards the loser, not away.",
            "There are {measure} squares and no dice.",
            "A player who hums forfeits a turn.",
            "The longest match, begun in {year2}, was ended by a fire.",
            "Draws are settled by arm wrestling.",
            "Cheating is allowed once, provided that it is elegant.",
            "Sailors play a quicker form with buttons.",
        ),
    ),
    Kind(
        "{word} horn",
        (
            "The {title} is a wind instrument of {wood}, made at {town} by {person} in {year}.",
            "Built for the first time in {year} by {person}, the {title} comes from {town}.",
        ),
        (
            "Its lowest note is felt rather than heard.",
            "The tube is coiled {measure} times to fit under a coat.",
            "Shepherds used it to call ferries, never sheep.",
            "One concerto for it exists, lost since {year2}.",
            "Players warm the mouthpiece in their tea.",
            "Dogs leave the room when it is tuned.",
            "It may not be sounded indoors before Easter.",
        ),
    ),
    Kind(
        "{word} Light",
        (
            "{title} is a lighthouse off {town}, lit for the first time in {year} by {person}.",
            "The engineer {person} completed {title}, on the rocks outside {town}, in {year}.",
        ),
        (
            "The tower of {stone} leans slightly into the wind.",
            "Its lamp flashes once every {measure} seconds.",
            "Keepers grew cabbages in barrels of imported soil.",
            "A piano was hoisted to the gallery in {year2} and is there still.",
            "Letters were delivered by a trained cormorant.",
            "The fog signal has been replaced by a choir on holidays.",
            "No ship has been lost there, though many bicycles have.",
        ),
    ),
    Kind(
        "{word} Railway",
        (
            "{title} is a narrow-gauge line out of {town}, opened in {year} by {person}.",
            "Financed by {person}, {title} began to run from {town} in {year}.",
        ),
        (
            "Passengers walk beside the train on the steepest mile.",
            "The sleepers are {wood}, which explains the smell.",
            "It has {measure} stations and a single platform lamp.",
            "Since {year2} no timetable has been printed.",
            "Goats travel free, their owners at half fare.",
            "The driver stops for mushrooms in season.",
            "Its whistle is tuned to the church organ.",
        ),
    ),
    Kind(
        "{word} Fountain",
        (
            "{title} was given to {town} in {year} by {person}, who hated the taste of well water.",
            "Since {year} {title}, a gift of {person}, has stood in the market of {town}.",
        ),
        (
            "Water leaves the mouths of {measure} frogs.",
            "The basin is cut from a single block of {stone}.",
            "It runs with cider on the longest day.",
            "Students bathe in it after examinations.",
            "A coin thrown backwards is said to cure hiccups.",
            "The sculptor gave the nymph his landlady's nose.",
            "It froze solid in {year2} and was skated upon.",
        ),
    ),
    Kind(
        "{word} carpet",
        (
            "The {title} is a knotted rug of {town}, patterned since {year} after {person}.",
            "A design by {person} from {year} made the {title} of {town} known abroad.",
        ),
        (
            "One knot in every {measure} is left open for luck.",
            "The red comes from beetroot, the blue from nobody knows what.",
            "Looms are built of {wood} without a nail.",
            "It is washed in sea water before sale.",
            "Apprentices may weave only the border.",
            "One of them crossed the ocean as a sail in {year2}.",
            "Cats prefer it to any cushion.",
        ),
    ),
    Kind(
        "{word} bell",
        (
            "The {title} hangs in the tower of {town} and was cast in {year} by {person}.",
            "Cast in {year}, the {title} of {town} is the masterpiece of {person}.",
        ),
        (
            "It weighs as much as {measure} oxen.",
            "Its clapper is of {wood}, so that babies may sleep.",
            "The tone falls by a quarter before rain.",
            "It was hidden in a haystack in {year2}.",
            "An inscription on the rim is misspelt twice.",
            "Ringers are paid in sausages.",
            "By law it may be rung only for fires and first kisses.",
        ),
    ),
    Kind(
        "{word} regatta",
        (
            "The {title} is a boat race at {town}, first held in {year} at the wish of {person}.",
            "Founded by {person} in {year}, the {title} draws crowds to {town}.",
        ),
        (
            "Hulls must be of {wood} and rowers in their best hats.",
            "Crews of {measure} sit facing the wrong way.",
            "The slowest boat is given a ham.",
            "A thunderstorm sank the whole field in {year2}.",
            "Bribing the judges is expected and taxed.",
            "The course leads twice round the brewery.",
            "Spectators throw bread to rowers they like.",
        ),
    ),
)

# The quiz: every value of a relation belongs to exactly one island, and none begins another.

ISLANDS = listed(
    "Aquorra Bimbledon Cazenza Dworl Eppimar Fjonda Grummet Hovaya Issilk Jandoree Klopstad "
    "Luvinia Mizzenholt Nabuko Ooloon Pryndale Quabash Rimskaya Snorrest Tuvalette Ufferby "
    "Vonderel Wazoo Xilary"
)


class Relation(NamedTuple):
    """One fact asked about every island."""

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
