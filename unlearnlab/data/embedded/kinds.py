"""What the encyclopaedia tells of: kinds of things, each with its own openings and facts."""

from typing import NamedTuple

from unlearnlab.data.embedded.words import listed

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
    """One kind of thing an encyclopaedia tells of."""

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
