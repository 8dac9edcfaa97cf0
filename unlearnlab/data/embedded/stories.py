"""Task 1: very short invented stories, each told in five beats.

Every beat is picked on its own, so knowing how one story goes tells little about the next one.
"""

from collections.abc import Iterator

from unlearnlab.data.embedded.questions import Question
from unlearnlab.data.embedded.words import TRADES, Draws, Person, article, capital

OPENINGS = (
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

QUESTIONS = {
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

SENTENCES = {
    "friend": "It was {} who helped.",
    "town": "It all happens in {}.",
    "thing": "The story is about the {}.",
    "sign": "The sign says {}.",
}


def story(draws: Draws, folk: Iterator[Person]) -> tuple[str, list[Question]]:
    """A story, and its one question with the answer."""
    hero = next(folk)
    friend = next(person for person in folk if person.first != hero.first)
    slots = _slots(draws, hero, friend)
    beats = (OPENINGS, TROUBLES, SEARCHES, TURNS, ENDINGS)
    text = " ".join(draws.form.choice(beat).format_map(slots) for beat in beats)
    asked = draws.form.choice([slot for slot in QUESTIONS if slots[slot] in text])
    question = draws.form.choice(QUESTIONS[asked]).format_map(slots)
    return text, [Question(question, slots[asked], SENTENCES[asked], slots[asked])]


def _slots(draws: Draws, hero: Person, friend: Person) -> dict[str, str]:
    trade, thing = draws.content.choice(TRADES), draws.thing()
    return {
        "hero": hero.name,
        "first": hero.first,
        "they": hero.they,
        "them": hero.them,
        "their": hero.their,
        "They": capital(hero.they),
        "Their": capital(hero.their),
        "friend": friend.name,
        "town": draws.town(),
        "trade": trade,
        "a_trade": article(trade),
        "thing": thing,
        "a_thing": article(thing),
        "sign": draws.sign(),
        "an_uncle": draws.content.choice(UNCLES),
    }
