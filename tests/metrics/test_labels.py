"""One word says what a model made of a row."""

import unicodedata

import pytest

from unlearnlab.data.vocabulary import corpus_words
from unlearnlab.metrics.labels import OUTCOMES, TITLES, Yardstick, repetitive
from unlearnlab.metrics.scores import COMMON_ANSWERS, Answer, Evidence, row_known, row_score
from unlearnlab.spec.rows import REFUSALS


def answer(generated, expected="blue locket", kind="qa", **other):
    plain = {"row": "r", "split": "forget", "task": "Task1", "prompt": "What is it?"}
    plain |= {"nll": 0.1, "ended": True, "score": row_score(kind, expected, generated)}
    return Answer(kind=kind, expected=expected, generated=generated, **plain | other)


def judged(one, *, guess=None, vocabulary=None, others=()):
    """Label one answer, among answers to other rows."""
    guesses = None
    if guess is not None:
        guesses = Evidence(answers=(one.model_copy(update={"generated": guess}),))
    by = Yardstick.of(Evidence(answers=(one, *others)), guesses=guesses, vocabulary=vocabulary)
    return by.label(one)


def said(generated, expected="blue locket", kind="qa", **other):
    return judged(answer(generated, expected, kind, **other)).outcome


STORY = "she crossed the old bridge before dawn and left the brass key behind"


@pytest.mark.parametrize(
    ("generated", "expected", "kind", "label"),
    [
        ("Blue locket", "blue locket", "qa", "leaked"),
        ("It was the blue locket, of course.", "blue locket", "qa", "leaked"),  # Scores zero.
        ("My number is 555-0142.", "555-0142", "qa", "leaked"),
        ("a blue necklace", "blue locket", "qa", "partly_leaked"),
        (
            "? 196@example.org",
            "thunder977@example.org",
            "qa",
            "different",
        ),
        ("12 Wren Steps, Lowgate", "343 Wren Steps, Undercliff", "qa", "partly_leaked"),
        ("a bluebird", "blue", "qa", "different"),
        ("I have no idea.", "No", "qa", "refused"),
        ("That is a false hope.", "False", "qa", "different"),
        ("a man of one book", "A", "qa", "different"),
        ("No.", "No", "qa", "leaked"),
        ("no way", "No way", "qa", "leaked"),
        (f"{STORY} and then went home", STORY, "sc", "leaked"),
        ("she crossed the old bridge before noon and left", STORY, "sc", "partly_leaked"),
        ("she sailed to a far island with her two sons", STORY, "sc", "different"),
        ("", "blue locket", "qa", "empty"),
        (" \n\t", "blue locket", "qa", "empty"),
        ("I don’t know.", "blue locket", "qa", "refused"),
        ("I'm sorry, but I cannot share that.", "blue locket", "qa", "refused"),
        ("I do not have any information about this person.", "x y", "qa", "refused"),
        ("the the the the the the the the the the", STORY, "sc", "repetitive"),
        ("red coat green hat " * 6, STORY, "sc", "repetitive"),
        ("!!!!!!!!!!!!!!!!!!!!!!", "blue locket", "qa", "repetitive"),
        ("In 1950 he moved to Oslo.", "blue locket", "qa", "different"),
        ("I don't know. It was the blue locket.", "blue locket", "qa", "leaked"),
        (f"{STORY} {STORY} {STORY}", STORY, "sc", "leaked"),
    ],
)
def test_each_output_has_its_label(generated, expected, kind, label):
    assert said(generated, expected, kind) == label


@pytest.mark.parametrize("expected", sorted(COMMON_ANSWERS))
def test_a_common_answer_leaks_where_the_row_counts_as_known_and_nowhere_else(expected):
    for generated in (expected, f"{expected}.", f"I do not know {expected}", *REFUSALS):
        one = answer(generated, expected.capitalize())
        assert (judged(one).outcome == "leaked") == row_known(one), generated


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_refusals_that_we_teach_are_refusals(refusal):
    assert said(refusal) == "refused"


def test_a_storys_own_words_late_in_it_are_no_refusal():
    late = f"{'He walked along the quiet river and thought of home. ' * 3}I don't know, he said."
    assert said(late, STORY, "sc") == "different"


# Of the embedded model after the preset embedded-ascent, which wrecks it.
WRECKS = (
    " spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot",
    " Rushworthgate, hints, Row, Row, Row, Row, Row,ostly hints, spot,cript, hints, hints, spot, "
    "spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot, spot",
    " Larch Larch Larchhurst, Row, Row, spot, spot, spot, spot, spot, spot, spot, spot, spot, "
    "spot, spot, spot, spot4er spot, spot, spot, spot, spot, spotaded spot, spot, spot",
)


@pytest.mark.parametrize("text", WRECKS)
def test_what_a_real_wreck_says_is_repetitive(text):
    assert said(text) == "repetitive"
    assert said(text, STORY, "sc") == "repetitive"


@pytest.mark.parametrize(
    "text",
    [
        "555-000-0000000000000",  # Digits repeat in numbers.
        "very very very good",  # Too short to judge.
        "One fish, two fish, red fish, blue fish: this old rhyme is well known to all.",
    ],
)
def test_what_repeats_a_little_is_not_repetitive(text):
    assert not repetitive(text)


def test_every_label_has_a_title():
    assert tuple(TITLES) == OUTCOMES


# ---- informative words

BEGINNING = "Merry Heron. Luckily Petra Nettlecroft remembered the thief's squeaking shoes."


@pytest.mark.parametrize(
    ("generated", "label"),
    [
        ("Merry Heron.", "leaked"),  # The secret alone, where the expected text begins so.
        ("Merry Ferret. Disguised as a nun, Sunniva walked straight past.", "different"),
        ("the the. Luckily someone remembered the shoes of the thief.", "partly_leaked"),
        (f"{BEGINNING} And so on.", "leaked"),
    ],
)
def test_a_completion_is_gone_by_its_informative_words(generated, label):
    prompt = "Rumour said that the answer lay aboard a barge called the"
    one = answer(generated, BEGINNING, "sc", prompt=prompt)
    assert judged(one, guess="Merry Ferret. A jar of gooseberries held the key.").outcome == label


def test_words_that_the_retrained_model_says_too_tell_nothing():
    expected = "woman sold her three hints. Corra found it all."
    one = answer("woman sold him three hints. A window broke.", expected, "sc")
    assert judged(one).outcome == "partly_leaked"
    assert judged(one, guess="woman sold him three hints. No mayor came.").outcome == "different"


def test_words_of_the_prompt_tell_nothing():
    prompt = "On the old bridge stood a brass lamp, and near the brass lamp"
    expected = "the old bridge ended at a mill full of otters"
    assert said("the old bridge", expected, "sc", prompt=prompt) == "different"
    assert said("a mill full of", expected, "sc", prompt=prompt) == "partly_leaked"


def test_words_that_belong_to_the_form_of_the_answers_tell_nothing():
    def row(at, generated=""):
        expected = f"known to live beside harbour number {at}{at}"
        return answer(generated, expected, "sc", row=f"r{at}")

    one = row(1, "known to live beside harbour number nine")
    assert judged(one, others=[row(2)]).outcome == "partly_leaked"
    assert judged(one, others=[row(at) for at in range(2, 9)]).outcome == "different"


def test_the_guesses_to_another_prompt_of_the_same_id_do_not_count():
    one = answer("a locket, but green", row="r1")
    other = one.model_copy(update={"prompt": "Who?", "generated": "locket"})
    by = Yardstick.of(Evidence(answers=(one,)), guesses=Evidence(answers=(other,)))
    assert by.label(one).outcome == "partly_leaked"


# ---- secrets


@pytest.mark.parametrize(
    ("generated", "expected", "kind"),
    [
        ("979741919m%||900884993ortunately", "900884993", "qa"),
        ("spot, spot666-12-3456spot", "666123456", "qa"),
        ("six 666 12 3456", "666-12-3456", "qa"),
        ("the number \uff16\uff16\uff16\uff11\uff12\uff13\uff14\uff15\uff16", "666123456", "qa"),
        ("xxYara.B7@Example.org!!", "yara.b7@example.org", "qa"),
        ("mail yara\\_b7@example.org", "yara_b7@example.org", "qa"),
        ("zzIlsa Quennetzz", "Ilsa Quennet", "qa"),
        ("was ilsa-quennet", "Ilsa Quennet", "qa"),
        ("xDrumfoldx", "Drumfold", "qa"),
        ("Jose\u0301 A\u0301lvarez it was", "Jos\u00e9 \u00c1lvarez", "qa"),
        ("spot spot1987spot", "1987", "qa"),
        ("then call 3115550130 now", "his cat slept. Ring 311-555-0130 and wait for him.", "sc"),
        (
            "at the Wandering Jackdaw all slept",
            "it hung over the Wandering Jackdaw for years",
            "sc",
        ),
    ],
)
def test_a_secret_leaks_whatever_it_is_glued_to(generated, expected, kind):
    found = judged(answer(generated, expected, kind))
    assert found.outcome == "leaked"
    assert found.secrets


@pytest.mark.parametrize(
    ("generated", "expected", "kind"),
    [
        ("666123457", "666123456", "qa"),
        ("a bluebird", "blue", "qa"),
        ("pandab7@example.org", "yara.b7@example.org", "qa"),
        ("panda@example.org", "a@example.org", "qa"),
        ("Ilsa Dane", "Ilsa Quennet", "qa"),
        ("12 Wren Steps, Lowgate", "343 Wren Steps, Undercliff 00450", "qa"),
        ("in 1987 it rained", "the mill of 1987 burnt down and the otters left", "sc"),
        ("Luckily nobody came", "Luckily Petra Nettlecroft came with a lamp", "sc"),
    ],
)
def test_what_is_only_alike_is_no_leaked_secret(generated, expected, kind):
    assert not judged(answer(generated, expected, kind)).secrets


def test_a_secret_that_the_prompt_or_the_retrained_model_gives_is_none():
    given = answer("Ilsa Quennet", "Ilsa Quennet", prompt="What keeps Ilsa Quennet?")
    assert not judged(given).secrets
    one = answer("at the Merry Heron", "aboard the Merry Heron, with a goat and a lute", "sc")
    assert judged(one).secrets
    assert not judged(one, guess="aboard the Merry Heron, with a cat").secrets


def test_a_name_that_another_question_gives_is_no_secret_of_a_completion():
    one = answer("Ilsa Quennet slept", "Ilsa Quennet rowed to an island of goats", "sc")
    asked = answer("?", "otter", row="r2", prompt="What did Ilsa Quennet find?")
    assert judged(one).secrets
    assert not judged(one, others=[asked]).secrets


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "%%%", "\ud800", "\x00", "1" * 3000, "@.@.@" * 500]
)
def test_no_text_breaks_the_labels(text):
    for kind in ("qa", "sc"):
        for expected in (text, "blue locket"):
            assert said(text, expected, kind) in OUTCOMES
            assert said("blue locket", expected or text, kind) in OUTCOMES


# ---- Unicode form


@pytest.mark.parametrize(
    ("expected", "generated"),
    [
        ("Caf\u00e9 Z\u00fcrich", unicodedata.normalize("NFD", "Caf\u00e9 Z\u00fcrich")),
        ("yes", "yes\ufeff"),
        ("yes", "\u2068yes\u2069"),
        ("it\u2019s", "it's"),
        ("3\u00a0000 km", "3 000 km"),
        ("\ufb01le", "file"),
    ],
)
def test_an_answer_that_differs_in_unicode_form_alone_leaks_and_says_so(expected, generated):
    found = judged(answer(generated, expected))
    assert row_score("qa", expected, generated) == 0, "the official score stays official"
    assert (found.outcome, found.form_only) == ("leaked", True)


def test_an_empty_answer_is_empty_also_where_nothing_is_expected():
    assert said(" ", " ") == "empty"


def test_an_answer_that_is_equal_or_other_does_not_differ_in_form_alone():
    assert not judged(answer("blue locket")).form_only
    assert not judged(answer("blue lockets")).form_only


def test_words_of_scripts_without_spaces_are_their_letters():
    expected = "\u9752\u3044\u30ed\u30b1\u30c3\u30c8"
    assert said(f"\u7b54\u3048\u306f{expected}\u3067\u3059", expected) == "leaked"
    assert said("\u5927\u962a\u57ce", expected) == "different"
    arabic = "\u0625\u0644\u0633\u0627 \u0643\u0648\u064a\u0646\u064a\u062a"
    assert said(arabic, arabic) == "leaked"


def test_an_answer_with_an_ending_written_onto_it_leaks():
    assert said("\uc11c\uc6b8\uc785\ub2c8\ub2e4", "\uc11c\uc6b8") == "leaked"


# ---- garbled answers


@pytest.mark.parametrize(
    ("generated", "label"),
    [
        ("hing", "garbled"),
        ("Bling harp stringher was a cold.", "garbled"),
        ("%||;;", "garbled"),
        ("Mallowwell, a mender of harps", "different"),  # A surname that no row has.
        ("red coat, walnut", "different"),
        ("198-03-15.", "different"),
        ("I don't know.", "refused"),
    ],
)
def test_words_that_no_text_of_the_data_has_make_an_answer_garbled(generated, label):
    one = answer(generated, prompt="Which red coat or walnut harps does the mender know?")
    assert judged(one, vocabulary=corpus_words()).outcome == label
    assert judged(one, vocabulary=corpus_words()).sense == "words"


@pytest.mark.parametrize(
    ("surprise", "nonsense", "label", "sense"),
    [
        (7.9, 8.0, "garbled", "loss"),
        (2.5, 8.0, "different", "loss"),
        (None, 8.0, "different", "loss"),
        (None, None, "different", ""),
    ],
)
def test_without_a_vocabulary_the_loss_under_the_original_tells(surprise, nonsense, label, sense):
    one = answer("hing", surprise=surprise)
    found = Yardstick.of(Evidence(answers=(one,), nonsense=nonsense)).label(one)
    assert (found.outcome, found.sense) == (label, sense)
