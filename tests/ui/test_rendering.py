"""HTML drawn from views: everything a model or a user wrote is escaped."""

from dataclasses import replace

import pytest

from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.mmlu import SubjectChange
from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.ui.kit.text import NO_BREAK, ago, count, duration, probability, score
from unlearnlab.ui.run.answers import answers_html, asks_html
from unlearnlab.ui.run.runs_list import runs_html
from unlearnlab.ui.run.scoreboard import subjects_html
from unlearnlab.views.answers import joined
from unlearnlab.views.arranging import Order
from unlearnlab.views.runs import RunLine

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def evil_rows():
    answer = Answer(
        row=EVIL,
        split="forget",
        task=EVIL,
        kind="sc",
        prompt=EVIL,
        expected=EVIL,
        generated=EVIL,
        nll=0.0,
        ended=True,
        score=1.0,
    )
    evidence = Evidence(answers=(answer,))
    return joined(evidence, evidence)


EVIL_LINE = RunLine(
    run_id=EVIL,
    title=EVIL,
    settings=EVIL,
    status="failed",
    created=0.0,
    aggregate=(0.0, None),
    final=(0.0, None),
    verdict=EVIL,
    problem=EVIL,
    seconds=1.0,
)

ASKED = Asked(ask_id=EVIL, prompt=EVIL, original=EVIL, unlearned=EVIL, step=3)


@pytest.mark.parametrize(
    "html",
    [
        answers_html(evil_rows(), 0, masked=False, scored=True),
        answers_html(evil_rows(), 0, masked=True, scored=True),
        asks_html([ASKED, AskFailed(ask_id="a", prompt=EVIL, problem=EVIL)], [], masked=False),
        asks_html([], [("a", EVIL)], masked=False),
        runs_html([EVIL_LINE], 0, 1, shown=EVIL, now=0.0),
    ],
)
def test_hostile_text_is_inert(html):
    assert "<script" not in html
    assert "<img" not in html
    assert 'data-open="<' not in html


def test_an_empty_answer_is_shown_as_such():
    asked = Asked(ask_id="a", prompt="p", original=" ", unlearned="", step=-1)
    html = asks_html([asked], [], masked=False)
    assert html.count("(empty)") == 2
    assert "step" not in html


def test_a_prompt_waits_until_its_answer_comes():
    waiting = [("a", "first"), ("b", "second")]
    answered = Asked(ask_id="a", prompt="first", original="o", unlearned="u", step=1)
    html = asks_html([answered], waiting, masked=False)
    assert html.count("pending") == 1
    assert html.index("second") < html.index("first")


@pytest.mark.parametrize(
    ("scored", "ended", "told"),
    [
        (False, False, "scored after training"),
        (False, True, "not scored"),
        (True, True, "not meas"),
    ],
)
def test_an_answer_that_is_missing_is_promised_only_while_the_run_goes_on(scored, ended, told):
    rows = [replace(row, unlearned=None) for row in evil_rows()]
    assert told in answers_html(rows, 0, masked=False, scored=scored, ended=ended)


def test_the_column_that_sorts_says_so():
    rows = evil_rows()
    html = answers_html(rows, 0, masked=False, scored=True, order=Order("likelihood", True))
    assert html.count('aria-sort="descending"') == 1
    assert html.count('aria-sort="none"') == 5
    assert html.count('data-event="sort"') == 6


def test_the_score_is_called_what_it_is():
    (row,) = evil_rows()
    names = {"sc": "ROUGE-L recall", "qa": "Exact match"}
    for kind, name in names.items():
        html = answers_html([replace(row, kind=kind)], 0, masked=False, scored=True)
        assert f">{name}<" in html
    both = [replace(row, kind=kind) for kind in names]
    assert ">Score<" in answers_html(both, 0, masked=False, scored=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"expected": " "}, "nothing is expected"), ({}, "the loss is not a number")],
)
def test_a_likelihood_that_is_missing_says_why(change, reason):
    rows = [replace(row, unlearned_likelihood=None, **change) for row in evil_rows()]
    assert reason in answers_html(rows, 0, masked=False, scored=True)
    assert reason not in answers_html(evil_rows(), 0, masked=False, scored=True)


def test_a_tiny_probability_is_not_written_as_zero():
    written = [probability(value) for value in (None, 1.0, 0.005, 0.0049, 3.4e-12, 1e-120, 0.0)]
    assert written == ["–", "1.00", "0.01", "5e-3", "3e-12", "1e-120", "0.00"]


def test_masking_reaches_prompts_and_answers():
    asked = Asked(ask_id="a", prompt="Who is Yara?", original="Yara, 555", unlearned="-", step=1)
    html = asks_html([asked], [], masked=True)
    assert "Yara" not in html
    assert "555" not in html


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


def test_mmlu_opens_into_its_subjects():
    change = SubjectChange("law <of> sea", 4, 0.25, None, Interval(0.25, 0.05, 0.7))
    html = subjects_html([change])
    assert "MMLU by subject · 1 subjects" not in html
    assert "MMLU by subject · 1 subject<" in html
    assert "law &lt;of&gt; sea" in html
    assert "<td>0.25</td><td>–</td><td>0.05 to 0.70</td>" in html
    assert subjects_html(()) == ""
