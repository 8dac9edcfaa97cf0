"""Answers joined, labelled, filtered, sorted, set beside each other, marked and masked."""

import math
from dataclasses import replace

import pytest

from tests.fakes import some_evidence
from unlearnlab.metrics.labels import title
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.runs.events import Asked, Reply
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.run import Phase, RunSpec, parse_spec
from unlearnlab.views.answers import (
    SORT_KEYS,
    Filter,
    Order,
    Span,
    Speaker,
    choices,
    chosen,
    counts,
    example,
    heard,
    hidden_spans,
    in_order,
    joined,
    joined_of,
    label_counts,
    leaks_of,
    likelihood,
    marked,
    mask,
    tally,
)


def answer(score, *, row="r", generated="said", **other):
    plain = {"split": "forget", "task": "Task1", "kind": "qa", "expected": "blue locket"}
    plain |= {"prompt": "What is it?", "nll": 0.1, "ended": True}
    return Answer(row=row, generated=generated, score=score, **plain | other)


def answers(*found):
    return Evidence(answers=found)


TOLD = {1.0: "blue locket", 0.7: "blue lamp", 0.2: "red lamp", 0.0: "red lamp", 0.1: "red lamp"}
"""An answer with so much of the expected one."""


def pair(before, after, **of):
    """Join one row that scores so before and after."""

    def said(score):
        return answers(answer(score, generated=TOLD.get(score, "blue locket"), **of))

    (row,) = joined(said(before), None if after is None else said(after))
    return row


@pytest.mark.parametrize(
    ("split", "before", "after", "name", "mood"),
    [
        ("forget", 1.0, 1.0, "Leaked", "bad"),
        ("forget", 1.0, 0.7, "Partly leaked", "fair"),
        ("forget", 1.0, 0.2, "Different answer", "good"),
        ("forget", 1.0, None, "Leaked", "bad"),
        ("retain", 1.0, 1.0, "Known", "good"),
        ("retain", 1.0, 0.7, "Partly known", "fair"),
        ("retain", 1.0, 0.2, "Different answer", "bad"),
        ("retain", 0.0, 0.0, "Different answer", "plain"),
        ("retain", 0.1, None, "Different answer", "plain"),
    ],
)
def test_a_label_is_of_the_last_answer_and_reads_as_the_set_wishes(
    split, before, after, name, mood
):
    row = pair(before, after, split=split)
    assert (title(row.outcome, split), row.mood) == (name, mood)


@pytest.mark.parametrize(
    ("split", "before", "after", "damaged"),
    [
        ("retain", 1.0, 0.85, True),
        ("retain", 0.95, 0.9, False),
        ("retain", 0.0, 0.0, False),
        ("retain", 1.0, None, False),
        ("forget", 1.0, 0.0, False),
    ],
)
def test_a_retain_row_that_lost_its_score_is_damaged(split, before, after, damaged):
    assert pair(before, after, split=split).damaged is damaged


def test_a_fact_inside_a_sentence_still_leaks():
    said = answers(answer(0, generated="It was a blue locket."))
    (row,) = joined(answers(answer(1, generated="blue locket")), said)
    assert row.leaks
    assert row.unlearned_score == 0


def test_a_secret_that_scores_zero_is_counted_and_marked_red_where_it_stands():
    number = {"expected": "900884993", "row": "number"}
    before = answers(answer(1, generated="900884993", **number), answer(1, row="other"))
    after = answers(answer(0, generated="979m%900884993or", **number), answer(0, row="other"))
    rows = joined(before, after)
    leak = rows[0]
    assert (leak.leaks, leak.unscored_leak) == (True, True)
    assert [one.kind for one in leak.secrets] == ["number"]
    red = [span.text for span in marked("900884993", leak.unlearned, leak.secrets) if span.secret]
    assert red == ["900884993"]
    told = "1 of 2 forget rows still leak, 1 of them with an official score below 0.5"
    assert leaks_of(rows).text == told
    assert leaks_of(joined(before, before)).text == "2 of 2 forget rows still leak"


def test_a_secret_of_a_row_that_should_stay_is_no_leak():
    told = {"expected": "900884993", "split": "retain"}
    before = answers(answer(1, generated="900884993", **told))
    (row,) = joined(before, answers(answer(0, generated="It is 900884993.", **told)))
    assert (row.secrets, row.leaks, row.outcome) == ((), False, "leaked")


@pytest.mark.parametrize(
    ("on", "name", "mood", "secrets"),
    [("both", "Known", "good", 0), ("retain", "Leaked", "bad", 1)],
)
def test_a_row_that_a_run_teaches_is_known_and_does_not_leak(on, name, mood, secrets):
    said = answers(answer(1, expected="900884993", generated="900884993"))
    spec = RunSpec(phases=(Phase(method=Memorize(on=on)),))
    (row,) = joined_of(spec, said, said)
    assert (title(row.outcome, row.wished), row.mood) == (name, mood)
    assert (len(row.secrets), row.leaks) == (secrets, bool(secrets))


def test_a_retain_row_that_differs_in_unicode_form_alone_is_not_damaged():
    told = {"expected": "Caf\u00e9", "split": "retain"}
    before = answers(answer(1, generated="Caf\u00e9", **told))
    (row,) = joined(before, answers(answer(0, generated="Cafe\u0301", **told)))
    assert (row.label.form_only, row.damaged, row.mood) == (True, False, "good")


def test_the_embedded_models_answers_are_labelled_by_its_words_and_its_retrained_model():
    gold = retrained_answers()["train"]
    first = next(one for one in gold.answers if one.split == "forget")
    known = first.model_copy(update={"generated": first.expected, "score": 1.0})
    garbled = first.model_copy(update={"generated": "hing stringher", "score": 0.0})
    rows = joined_of(RunSpec(), answers(known), answers(garbled))
    assert [row.outcome for row in rows] == ["garbled"]
    guessed = first.model_copy(update={"score": 0.0})
    assert joined_of(RunSpec(), answers(known), answers(guessed))[0].outcome != "leaked"
    elsewhere = parse_spec({"model": {"name": "olmo-1b"}})
    (row,) = joined_of(elsewhere, answers(known), answers(garbled))
    assert (row.outcome, row.label.sense) == ("different", "")


def test_the_likelihood_is_the_mean_over_tokens():
    assert likelihood(answer(1, nll=math.log(4))) == pytest.approx(0.25)
    assert likelihood(answer(1, nll=math.inf)) == 0


@pytest.mark.parametrize("of", [{"nll": math.nan}, {"expected": " "}])
def test_where_there_is_no_likelihood_none_is_made_up(of):
    assert likelihood(answer(1, **of)) is None
    assert pair(1.0, 1.0, **of).likelihood_lost is None


def test_answers_are_joined_by_row_not_by_place_and_rows_not_scored_again_stay():
    before = answers(answer(1, row="a"), answer(1, row="b"), answer(1, row="c"))
    after = answers(answer(0, row="b", generated="B"), answer(1, row="a", generated="A"))
    found = [(row.row, row.unlearned) for row in joined(before, after)]
    assert found == [("a", "A"), ("b", "B"), ("c", None)]


def test_a_forget_row_that_was_not_picked_is_read_as_one_that_should_stay():
    before = answers(answer(1, row="a"), answer(1, row="b"), answer(1, row="c"))
    said = answers(answer(1, row="a"), answer(1, row="b"), answer(0, row="c", generated="No."))
    picked, kept, lost = joined(before, said, ("a",))
    assert (picked.leaks, picked.damaged, picked.mood) == (True, False, "bad")
    assert (kept.leaks, kept.damaged, kept.mood) == (False, False, "good")
    assert (lost.leaks, lost.damaged, lost.mood) == (False, True, "bad")
    assert joined(before, said)[1].leaks


# ---- filters, counts, sorting

BEFORE = answers(
    answer(1, row="leak", generated="blue locket", nll=0.2),
    answer(1, row="gone", generated="blue locket", task="Task2", kind="sc"),
    answer(1, row="hurt", generated="blue locket", split="retain", nll=0.4),
    answer(1, row="fine", generated="blue locket", split="retain", nll=0.3),
    answer(0.5, row="late", generated="Yara Brock", split="retain", nll=math.nan),
)
AFTER = answers(
    answer(1, row="leak", generated="blue locket", nll=0.2),
    answer(0, row="gone", generated="", task="Task2", kind="sc", nll=9.0),
    answer(0, row="hurt", generated="I do not know.", split="retain", nll=5.0),
    answer(1, row="fine", generated="Blue locket", split="retain", nll=0.3),
)
ROWS = joined(BEFORE, AFTER)


def ids(rows):
    return [row.row for row in rows]


def test_leaks_and_damage_are_counted():
    found = {show: count for show, count in counts(ROWS).items() if count}
    assert found == {"forget": 2, "retain": 3, "leaks": 1, "damaged": 1, "all": 5}


def test_forget_rows_that_were_not_picked_are_counted_and_shown_apart():
    rows = joined(BEFORE, AFTER, picked=["gone"])
    assert (counts(rows)["forget"], counts(rows)["others"], counts(rows)["leaks"]) == (1, 1, 0)
    assert ids(chosen(rows, Filter(show="forget"))) == ["gone"]
    assert ids(chosen(rows, Filter(show="others"))) == ["leak"]
    washed = joined(BEFORE, AFTER, picked=["leak"])
    assert ids(chosen(washed, Filter(show="damaged"))) == ["gone", "hurt"]


@pytest.mark.parametrize(
    ("by", "found"),
    [
        (Filter(show="leaks"), ["leak"]),
        (Filter(show="damaged"), ["hurt"]),
        (Filter(show="forget", task="Task2"), ["gone"]),
        (Filter(show="all", kind="sc"), ["gone"]),
        (Filter(show="all", text="YARA brock"), ["late"]),
        (Filter(show="all", text="nobody"), []),
        (Filter(show="all", labels=["refused", "empty"]), ["gone", "hurt"]),
        (Filter(show="retain", labels=["leaked"]), ["fine"]),
        (Filter(show="forget", labels=["repetitive"]), []),
    ],
)
def test_rows_are_filtered(by, found):
    assert ids(chosen(ROWS, by)) == found


def test_labels_are_counted_under_the_other_filters_and_not_under_each_other():
    found = label_counts(ROWS, Filter(show="retain", labels=["refused"]))
    there = {label: count for label, count in found.items() if count}
    assert there == {"leaked": 1, "refused": 1, "different": 1}


@pytest.mark.parametrize(
    ("key", "ascending"),
    [
        ("data", ["leak", "gone", "hurt", "fine", "late"]),
        ("score", ["gone", "hurt", "leak", "fine", "late"]),
        ("score_before", ["late", "leak", "gone", "hurt", "fine"]),
        ("score_lost", ["leak", "fine", "gone", "hurt", "late"]),
        ("likelihood", ["gone", "hurt", "fine", "leak", "late"]),
        ("likelihood_before", ["hurt", "fine", "leak", "gone", "late"]),
        ("label", ["leak", "fine", "hurt", "gone", "late"]),
        ("unlearned", ["gone", "leak", "fine", "hurt", "late"]),
    ],
)
def test_rows_are_sorted_and_what_has_no_value_comes_last_either_way(key, ascending):
    assert ids(in_order(ROWS, Order(key))) == ascending
    if key in ("score", "score_lost", "likelihood", "unlearned"):
        assert ids(in_order(ROWS, Order(key, descending=True)))[-1] == "late"


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_order_loses_no_row(key):
    for descending in (False, True):
        assert sorted(ids(in_order(ROWS, Order(key, descending)))) == sorted(ids(ROWS))
        assert len(in_order(joined(BEFORE, None), Order(key, descending))) == 5


def test_until_the_unlearned_model_was_scored_the_originals_scores_sort():
    rows = in_order(joined(BEFORE, None), Order("likelihood", descending=True))
    assert ids(rows)[:2] == ["gone", "leak"]


def test_a_column_is_sorted_the_telling_way_then_the_other_then_not():
    order = Order().pressed("score")
    assert order == Order("score", descending=True)
    assert order.pressed("score") == Order("score", descending=False)
    assert order.pressed("score").pressed("score") == Order()
    assert order.pressed("prompt") == Order("prompt", descending=False)


# ---- recited words, and personal data


@pytest.mark.parametrize(
    ("expected", "generated", "found"),
    [
        ("the blue locket", "The blue locket.", ["The blue locket."]),
        ("her phone is 555", "her mail is 555", ["her", "is 555"]),
        ("one two", "three", []),
        ("one two", "", []),
        ("", "one", []),
        ("No", "I have no idea", []),
        ("No", "No.", ["No."]),
        ("a b", "b a b", ["a b"]),
        ("she saw the sea and the old ship", "the cat is on ship 7", ["ship"]),
        ("her number is 666 since the year 2002", "it was in 2002 that", ["2002"]),
        ("lines and", "  Two\n\nlines,\tand   spaces <b>!</b> ", ["lines,\tand"]),
    ],
)
def test_recited_words_are_marked_in_order_and_no_character_is_lost(expected, generated, found):
    spans = marked(expected, generated)
    assert [span.text.strip() for span in spans if span.recited] == found
    assert "".join(span.text for span in spans) == generated


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("call 555-0142", "call ###-####"),
        ("yara.b7@example.org now", "••••.••@•••••••.••• now"),
        (r"[yara\_b@example.org]", "[•••••••@•••••••.•••]"),
        ("mail yara.b7@exam", "mail ••••.••@••••"),
        ("What is Yara Brock's number?", "What is •••• •••••'• number?"),
        ("Her name is Jean-Luc.", "Her name is ••••-•••."),
        ("Émile lives in Velden", "••••• lives in ••••••"),
        ("Yara", "••••"),
        ("born on January 9, 2002", "born on ••••••• #, ####"),
        ("nothing personal here", "nothing personal here"),
    ],
)
def test_personal_data_are_masked_and_their_shape_stays(text, hidden):
    assert mask(text) == hidden


def test_a_mask_lets_no_digit_and_no_address_through():
    text = "Write to A1.b2+c@mail.example.co.uk or +1 (555) 010-0199, Tomás O'Brien, 4½"
    hidden = mask(text)
    assert not any(letter.isdecimal() for letter in hidden)
    assert "@mail" not in hidden
    assert "Brien" not in hidden


def test_what_a_cut_goes_through_is_masked_as_a_whole():
    found = [Span("ada.brock", True), Span("@other.org and Ada Brock", False), Span("ton", True)]
    shown = hidden_spans(found, mask)
    assert "".join(one.text for one in shown) == mask("ada.brock@other.org and Ada Brockton")
    assert [len(one.text) for one in shown] == [len(one.text) for one in found]
    assert [one.recited for one in shown] == [True, False, True]
    assert hidden_spans((), mask) == ()


# ---- one example, answered by several models

ROW = "forget-Task1-qa"


def speaking(name, text, score):
    said = {"generated": text, "score": score}
    evidence = some_evidence()
    found = (one.model_copy(update=said) if one.row == ROW else one for one in evidence.answers)
    return Speaker(name, evidence.model_copy(update={"answers": tuple(found)}), name)


ALL = (speaking("original", "Ada", 1.0), speaking("one", "nobody", 0.0), Speaker("gone", None))
ASKED = next(one for one in ALL[0].evidence.answers if one.row == ROW)


def test_an_example_has_every_models_answer_with_what_it_recites():
    found = example(ASKED, ALL)
    assert (found.prompt, found.expected) == ("Who?", "Ada")
    assert [said.outcome for said in found.said] == ["leaked", "different", None]
    assert [span.recited for span in found.said[0].spans] == [True]
    assert found.said[2].score is None
    other = Speaker("other data", answers(answer(0.0, row=ROW)), "other")
    assert example(ASKED, [*ALL, other]).said[3].score is None, "its row has the same id alone"
    assert len(choices([*ALL, other])) == len(choices(ALL)) + 1


def test_what_a_run_teaches_or_leaves_is_known_and_has_not_leaked():
    teaching = RunSpec(phases=(Phase(method=Memorize()),))
    leaving = RunSpec(data={"forget": ["another"]})
    specs = (None, RunSpec(), teaching, leaving)
    found = example(ASKED, [replace(ALL[0], spec=spec) for spec in specs])
    told = [title(said.outcome, said.wished) for said in found.said]
    assert told == ["Leaked", "Leaked", "Known", "Known"]


def test_the_rows_that_tell_models_apart_come_first():
    found = choices(ALL)
    assert found[0].row == ROW
    assert len(found) == 12
    assert found[-1].split == "retain"


# ---- lists of free prompts

LIST = (
    Reply(prompt="Who keeps it?", expected="Ada Brock", original="Ada Brock.", unlearned="a cat"),
    Reply(prompt="Who both?", expected="Ada Brock, Yara", original="Ada", unlearned="Ada Brock!"),
    Reply(prompt="And then?", original="Rain.", unlearned="Rain."),
)


def test_expected_answers_to_a_list_of_prompts_are_counted():
    replies = heard(Asked(ask_id="a", prompt="", original="", unlearned="", step=1, replies=LIST))
    assert [one.found for one in replies] == [
        ("found", "not found"),
        ("not found", "in part"),
        None,
    ]
    told = tally(replies, {0: "original model", 1: "unlearned model"})
    assert told == (
        "Expected answers found: original model 1 of 2; unlearned model 0 of 2, 1 more in part."
    )
    assert tally(replies[2:], {0: "model"}) == ""


def test_a_single_prompt_has_no_list():
    assert heard(Asked(ask_id="a", prompt="Who?", original="Ada", unlearned="", step=1)) == ()


def test_words_that_the_other_answer_lacks_are_changed_whether_recited_or_not():
    spans = marked("blue locket", "It is a red locket, or so.", other="It is a blue locket.")
    assert [span.text for span in spans if span.changed] == ["red", "or so."]
    assert [span.text for span in spans if span.recited] == ["locket,"]
    assert not any(span.changed for span in marked("blue", "blue locket"))
    assert all(span.changed for span in marked("", "other words", other=""))
    assert not any(span.changed for span in marked("", "Other words", other="other, words."))


def test_a_list_of_prompts_shows_what_the_unlearned_model_changed():
    reply = Reply(prompt="Who?", expected="", original="Ada Brock", unlearned="Ada Blum")
    asked = Asked(ask_id="a", prompt="", original="", unlearned="", step=-1, replies=(reply,))
    (one,) = heard(asked)
    assert [span.text for span in one.unlearned if span.changed] == ["Blum"]
    assert not any(span.changed for span in one.original)
