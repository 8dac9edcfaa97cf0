"""Formats of numbers and times, and what cards say of answers that are missing or masked."""

import re
from dataclasses import replace

import pytest

from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.runs.events import Asked, Reply
from unlearnlab.ui.kit.html import ago, count, probability, score
from unlearnlab.ui.run.answers import answers_html, asks_html
from unlearnlab.views.answers import joined
from unlearnlab.views.says import NO_BREAK
from unlearnlab.views.words import duration


def joined_rows():
    answer = Answer(
        row="a",
        split="forget",
        task="Task1",
        kind="sc",
        prompt="Who?",
        expected="Ada",
        generated="Ada",
        nll=0.0,
        ended=True,
        score=1.0,
    )
    evidence = Evidence(answers=(answer,))
    return joined(evidence, evidence)


@pytest.mark.parametrize(
    ("scored", "ended", "told"),
    [
        (False, False, "scored after training"),
        (False, True, "not scored"),
        (True, True, "not meas"),
    ],
)
def test_an_answer_that_is_missing_is_promised_only_while_the_run_goes_on(scored, ended, told):
    rows = [replace(row, unlearned=None) for row in joined_rows()]
    assert told in answers_html(rows, 0, masked=False, scored=scored, ended=ended)


def test_a_tiny_probability_is_not_written_as_zero():
    written = [probability(value) for value in (None, 1.0, 0.005, 0.0049, 3.4e-12, 1e-120, 0.0)]
    assert written == ["–", "1.00", "0.01", "5e-3", "3e-12", "1e-120", "0.00"]


def test_masking_reaches_prompts_and_answers():
    asked = Asked(ask_id="a", prompt="Who is Yara?", original="Yara, 555", unlearned="-", step=1)
    html = asks_html([asked], [], masked=True)
    assert "Yara" not in html
    assert "555" not in html


def test_masking_reaches_lists_of_prompts_and_the_counts_stay():
    reply = Reply(
        prompt="Who is Yara?", expected="Yara Brock", original="Yara Brock", unlearned="a cat"
    )
    asked = Asked(ask_id="a", prompt="", original="", unlearned="", step=-1, replies=(reply,))
    html = asks_html([asked], [], masked=True)
    assert "Yara" not in html
    assert "original model 1 of 1; unlearned model 0 of 1" in html
    assert "Yara Brock" in asks_html([asked], [], masked=False)


def test_a_leaked_secret_is_red_wherever_it_stands_and_old_runs_say_what_they_cannot_tell():
    told = {"expected": "900884993", "row": "r", "split": "forget", "task": "Task1", "kind": "qa"}
    told |= {"prompt": "Which number?", "nll": 1.0, "ended": True}
    before = Evidence(answers=(Answer(generated="900884993", score=1, **told),))
    after = Evidence(answers=(Answer(generated="979m%900884993or", score=0, **told),))
    html = answers_html(joined(before, after), 0, masked=False, scored=True)
    red = '<mark class="secret" title="a secret of the expected answer">900884993</mark>'
    assert f"979m%{red}or" in re.sub(r"</?u\b[^>]*>", "", html)  # Changed words are underlined.
    assert '<span class="tag bad">secret number</span>' in html
    assert "garbled answers count as different" in html
    measured = after.model_copy(update={"nonsense": 7.0})
    assert "than words in random order" in answers_html(
        joined(before, measured), 0, masked=False, scored=True
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_durations_are_written_in_two_units(seconds, text):
    assert duration(seconds).replace(NO_BREAK, " ") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12"), (4123, "4.1 k"), (999_999, "1 M"), (1_840_000, "1.84 M"), (6.888e9, "6.89 B")],
)
def test_large_numbers_are_shortened(number, text):
    assert count(number) == text


def test_what_was_not_measured_is_a_dash():
    assert (score(None), score(0.0)) == ("–", "0.00")


def test_recent_moments_are_told_by_their_distance():
    assert [ago(0, now) for now in (5, 300, 7200)] == ["just now", "5 min ago", "2 h ago"]
