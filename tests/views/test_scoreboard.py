"""What the page shows of a run's scores."""

import pytest

from tests.fakes import evaluated
from unlearnlab.metrics.scores import Answer, Evidence, Picked, scores
from unlearnlab.metrics.verdicts import remains
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.run import EvaluationSpec, Phase, RunSpec
from unlearnlab.ui.run.scoreboard import scoreboard_html, strip_html
from unlearnlab.views.scoreboard import others_of, scoreboard, term_name, terms_strip

BEFORE, AFTER = evaluated("before").scores, evaluated("after").scores


def test_the_scoreboard_has_before_after_and_the_retrained_model():
    board = scoreboard(RunSpec(), BEFORE, AFTER, AFTER)
    aggregate = board.cards[0]
    assert aggregate.before == BEFORE.task_aggregate
    assert aggregate.after == aggregate.reference == AFTER.task_aggregate
    assert board.verdict is not None


def test_there_is_no_verdict_before_the_end():
    assert scoreboard(RunSpec(), BEFORE, None, None).verdict is None


def test_the_embedded_utility_is_never_called_mmlu():
    titles = [card.title for card in scoreboard(RunSpec(), BEFORE, AFTER, None).cards]
    assert "Quiz" in titles
    assert "MMLU" not in titles


def test_the_attack_is_read_in_words():
    note = scoreboard(RunSpec(), BEFORE, None, None).cards[1].note
    assert note.endswith("still remembered")


def card_of(key, before, after):
    board = scoreboard(RunSpec(), before, after, None)
    return next(card for card in board.cards if card.score.key == key)


HELD_OUT = {"mia_protocol": "held-out rows as non-members: 6 documents of the validation fold"}


def test_an_attack_on_held_out_rows_never_goes_by_the_name_of_the_official_one():
    before, after = (one.model_copy(update=HELD_OUT) for one in (BEFORE, AFTER))
    assert card_of("mia_score", BEFORE, AFTER).title == "MIA score"
    assert card_of("mia_score", before, after).title == "MIA, held-out rows"
    assert card_of("final", before, after).title == "Final, held-out rows"
    board = scoreboard(RunSpec(), before, after, BEFORE)
    assert board.attack == HELD_OUT["mia_protocol"]
    assert {card.reference for card in board.cards if card.score.key != "utility"} == {
        BEFORE.task_aggregate, None
    }  # fmt: skip
    assert HELD_OUT["mia_protocol"] in scoreboard_html(board, ended=True)


def test_an_original_that_cannot_be_attacked_by_held_out_rows_is_told():
    before, after = (
        one.model_copy(update={**HELD_OUT, "mia_auc": 0.52, "mia_score": 0.96})
        for one in (BEFORE, AFTER)
    )
    assert "has seen the held-out rows as well" in card_of("mia_score", before, after).note
    official = BEFORE.model_copy(update={"mia_auc": 0.52, "mia_score": 0.96})
    assert "has seen" not in card_of("mia_score", official, AFTER).note


def test_perplexity_of_held_out_text_stands_beside_the_utility():
    before, after = (
        one.model_copy(update={"perplexity": value, "perplexity_text": "text"})
        for one, value in ((BEFORE, 12.3), (AFTER, 14.6))
    )
    assert card_of("utility", before, after).note.endswith("held-out perplexity 12.3 → 14.6")
    assert "perplexity" not in card_of("utility", BEFORE, AFTER).note


def test_an_accuracy_on_mmlu_at_chance_says_that_it_says_little():
    def note(right):
        known = {"utility": right, "utility_protocol": "MMLU", "utility_questions": 400}
        return card_of("utility", BEFORE, AFTER.model_copy(update=known)).note

    assert "chance lies in its interval" in note(0.27)
    assert "chance" not in note(0.45).replace("chance 0.25", "")


def test_every_number_carries_its_setting():
    board = scoreboard(RunSpec(evaluation=EvaluationSpec(max_new_tokens=64)), BEFORE, AFTER, None)
    assert board.setting == "12 rows of Embedded, train fold, greedy, up to 64 tokens"
    assert board.protocol == "quiz"


def test_rows_that_were_not_picked_have_a_card_of_their_own():
    assert "not picked" not in strip_html((), others_of(BEFORE, AFTER))
    split = Picked(rows=1, others=2, rest="retain", kept={"Task2/qa": 1.0, "Task2/sc": 0.9})
    before = BEFORE.model_copy(update={"picked": split})
    after = before.model_copy(
        update={"picked": split.model_copy(update={"kept": {"Task2/qa": 0.5, "Task2/sc": 0.9}})}
    )
    assert "forget terms over 1 of 3 forget rows, train" in (
        scoreboard(RunSpec(), before, after, None).setting
    )
    found = others_of(before, after)
    assert found.columns == (("People recite", 0.9, 0.9), ("People answer", 1.0, 0.5))
    drawn = strip_html((), found)
    assert "The 2 forget rows that were not picked" in drawn
    assert "should have stayed" in drawn
    assert "0.50<small>from 1.00</small>" in drawn


def test_the_strip_has_twelve_terms_in_two_rows():
    strip = terms_strip(BEFORE, AFTER)
    assert [term.split for term in strip] == ["forget"] * 6 + ["retain"] * 6
    assert strip[3].column == "People answer"
    assert strip[0].value == strip[0].after == pytest.approx(0.9)


def test_the_term_that_zeroes_the_aggregate_is_named():
    zero = AFTER.model_copy(update={"terms": {**AFTER.terms, "retain/Task2/qa": 0.0}})
    found = [term.column for term in terms_strip(BEFORE, zero) if term.zeroes]
    assert found == ["People answer"]
    assert "Retain · People answer" in scoreboard(RunSpec(), BEFORE, zero, None).cards[0].note


def test_the_zeroes_of_an_untouched_model_are_no_alarm():
    zero = BEFORE.model_copy(update={"terms": {**BEFORE.terms, "forget/Task2/qa": 0.0}})
    assert not any(term.zeroes for term in terms_strip(zero, None))


def test_a_term_that_only_the_other_set_has_is_none():
    partial = BEFORE.model_copy(update={"terms": {"forget/Task1/sc": 0.5, "retain/Task1/qa": 1.0}})
    values = [term.value for term in terms_strip(partial, None)]
    assert values == [0.5, None, None, 1.0]


def test_a_term_is_named_in_words():
    assert term_name("forget/Task3/sc") == "Forget · Entries recite"


def test_what_the_data_have_nothing_for_is_told_and_gets_no_column():
    nothing = {
        "mia_auc": None,
        "mia_documents": None,
        "mia_score": None,
        "utility": None,
        "final": None,
    }
    few = BEFORE.model_copy(
        update={"terms": {"forget/Task2/qa": 0.0, "retain/Task2/qa": 1.0}, **nothing}
    )
    after = few.model_copy(
        update={"terms": {"forget/Task2/qa": 0.9, "retain/Task2/qa": 0.8}, "task_aggregate": 0.85}
    )
    notes = [card.note for card in scoreboard(RunSpec(), few, after, None).cards]
    assert notes == [
        "over 2 of the task's 12 terms",
        "not measured: the data have no documents for the attack",
        "not measured: the data have no questions for it",
        "needs all three",
    ]
    strip = terms_strip(few, after)
    assert [(term.split, term.column) for term in strip] == [
        ("forget", "People answer"),
        ("retain", "People answer"),
    ]


def test_a_run_that_teaches_is_judged_by_what_is_known():
    spec = RunSpec(phases=(Phase(method=Memorize()),))
    board = scoreboard(spec, AFTER, BEFORE, None)
    assert board.verdict.kind == "memorised"
    assert [card.score.key for card in board.cards] == ["mia_score", "utility"]


MMLU = {"utility_protocol": "MMLU: 5 shots, the likeliest letter", "utility_questions": 400}


def test_mmlu_has_no_reference_of_another_test():
    before = BEFORE.model_copy(update={**MMLU, "utility": 0.5})
    after = AFTER.model_copy(update={**MMLU, "utility": 0.3})
    board = scoreboard(RunSpec(), before, after, AFTER)
    card = board.cards[2]
    assert (card.title, card.note) == ("MMLU", "400 questions, chance 0.25")
    assert (card.reference, board.cards[3].reference) == (None, None)
    assert board.cards[0].reference is not None
    assert board.verdict is not None
    assert any("MMLU 0.300 is below 0.375" in line for line in board.verdict.evidence)


def test_one_letter_for_all_questions_is_pointed_out():
    after = AFTER.model_copy(update={**MMLU, "utility": 0.23, "constant_letter": "A"})
    card = scoreboard(RunSpec(), BEFORE, after, None).cards[2]
    assert card.note == "400 questions, all answered A: no knowledge shows"


def some_answers(*said: tuple[str, str], kind="qa", cut=False) -> Evidence:
    """Answers to forget rows: what was expected, and what was said."""
    return Evidence(
        answers=tuple(
            Answer(
                row=f"r{at}",
                split="forget",
                task="Task1",
                kind=kind,
                prompt=f"Which town is meant by {expected}?",
                expected=expected,
                generated=generated,
                nll=1.0,
                ended=True,
                score=float(expected == generated),
                cut=cut,
            )
            for at, (expected, generated) in enumerate(said)
        )
    )


NAMES = ("Nola", "Vara", "Tirn", "Odem", "Kest")


@pytest.mark.parametrize("masked", [True, False])
def test_a_verdict_names_what_stayed_masked_where_it_is_personal(masked):
    before = some_answers(*((name, name) for name in NAMES))
    after = some_answers(*((name, name if name != "Kest" else "no") for name in NAMES))
    board = scoreboard(
        RunSpec(),
        scores(before),
        scores(after),
        None,
        found=remains(before, after),
        masked=masked,
    )
    line = board.verdict.evidence[1]
    assert line.startswith("Stayed, 4 of 5 known rows: ")
    assert line.endswith(" and 1 more.")
    assert ("“Nola” for “Which town is meant by Nola?”" in line) is not masked
    assert ("Nola" in line) is not masked


def test_a_verdict_masks_an_address_before_it_cuts_it_short():
    told = "the keeper of the old mill writes from jo.queller@example.org"
    before = some_answers((told, told))
    found = remains(before, before)
    board = scoreboard(RunSpec(), scores(before), scores(before), None, found=found, masked=True)
    assert "writes from ••" in board.verdict.evidence[1]


def test_a_verdict_on_what_is_gone_names_nothing():
    before, after = some_answers(("Nola", "Nola")), some_answers(("Nola", "no"))
    board = scoreboard(RunSpec(), scores(before), scores(after), None, found=remains(before, after))
    assert not any("Stayed" in line for line in board.verdict.evidence)


def test_answers_that_the_limit_cuts_are_told_beside_the_scores():
    found = scores(some_answers(("Nola", "Nola"), ("Vara", "Va"), cut=True))
    spec = RunSpec(evaluation=EvaluationSpec(max_new_tokens=24))
    setting = scoreboard(spec, found, found, None).setting
    assert setting.endswith("; 2 of 2 expected answers are longer than the limit of 24 tokens")
    assert "longer" not in scoreboard(spec, BEFORE, AFTER, None).setting


def test_a_set_without_rows_leaves_the_aggregate_out_with_the_reason():
    found = scores(some_answers(("Nola", "Nola")))
    card = scoreboard(RunSpec(), found, found, None).cards[0]
    assert (card.before, card.after, card.note) == (
        None,
        None,
        "not given: there are no retain rows",
    )
    # Scores of earlier versions held a mean over one set.
    older = found.model_copy(update={"task_aggregate": 0.7})
    assert scoreboard(RunSpec(), older, older, None).cards[0].after is None


def test_a_run_that_only_scores_has_one_column_and_no_verdict():
    spec = RunSpec().scoring
    board = scoreboard(spec, BEFORE, None, None)
    assert board.alone
    assert board.verdict is None
    assert [(one.before, one.after) for one in board.cards[:1]] == [(None, BEFORE.task_aggregate)]
    drawn = scoreboard_html(board, ended=True)
    assert "Scores only" in drawn
    assert "before" not in drawn.replace("before –, after", "")
