"""What is compared of a selection: the scoreboard, the rooms, and free prompts to several runs."""

import re

import pytest

from tests.browser.slow_lab import retrained_scores
from tests.fakes import FakeLab, evaluated
from tests.stored_runs import fill
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Finished
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.ui.compare.answers import ASKED, SPEAKERS
from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.layout import LIST, ROOMS
from unlearnlab.ui.compare.panels import ask, room
from unlearnlab.ui.compare.runs import Compared
from unlearnlab.ui.kit.program import Program

RUNS = 14


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    home = tmp_path_factory.mktemp("some")
    return home, fill(home, RUNS, 20, models=4)


@pytest.fixture
def program(filled, tmp_path):
    (tmp_path / "unlearnlab.sqlite3").write_bytes((filled[0] / "unlearnlab.sqlite3").read_bytes())
    with Store(tmp_path) as store:
        worker = Worker(store, FakeLab())
        yield Program(store, worker, retrained_scores())
        worker.close(5)


@pytest.fixture
def compared(program):
    return Compared(program.store)


@pytest.fixture
def drawn(program, compared, filled):
    """Draw a room of the first runs."""

    def draw(name, count=4, **wish):
        return room(program, compared, {"room": name, "runs": filled[1][:count], **wish})

    return draw


def ranks(html):
    return re.findall(r'class="rank"[^>]*>(\d+|–)<', html)


# ---- the scoreboard


def test_the_scoreboard_ranks_runs_and_holds_them_against_the_reference_models(
    program, compared, filled
):
    answer = board(program, compared, {"runs": filled[1][:5], "wait": True})
    assert len(answer["runs"]) == 5
    assert "Original model" in answer["html"]
    assert "Retrained model" in answer["html"]
    assert answer["utility"] == "Quiz"
    assert "best</small>" in answer["html"]
    numbers = [int(rank) for rank in ranks(answer["html"]) if rank != "–"]
    assert numbers == sorted(numbers)


def test_other_weights_rank_otherwise_and_show_what_they_rank_by(program, compared, filled):
    equal = board(program, compared, {"runs": filled[1]})
    other = board(program, compared, {"runs": filled[1], "aggregate": 0, "mia": 4})
    assert "Weighted ↑" not in equal["html"]
    assert "Weighted ↑" in other["html"]
    order = [re.findall(r'data-drop="([^"]+)"', answer["html"]) for answer in (equal, other)]
    assert order[0] != order[1]
    assert sorted(order[0]) == sorted(order[1])


def test_all_weights_at_zero_rank_as_equal_ones(program, compared, filled):
    none = board(program, compared, {"runs": filled[1], "aggregate": 0, "mia": 0, "utility": 0})
    assert none["html"] == board(program, compared, {"runs": filled[1]})["html"]


def test_the_scoreboard_comes_at_once_and_what_is_noise_when_it_is_known(program, compared, filled):
    wish = {"runs": filled[1][:3]}
    assert board(program, compared, wish)["pending"]
    known = board(program, compared, wish | {"wait": True})
    assert not known["pending"]
    assert board(program, compared, wish | {"word": known["word"]}) == {"same": True}


def test_unknown_runs_of_a_link_are_told_and_the_others_shown(program, compared, filled):
    answer = board(program, compared, {"runs": [filled[1][0], "<b>nope"]})
    assert "1 run of this link is not in this store" in answer["html"]
    assert "&lt;b&gt;nope" in answer["html"]
    assert len(answer["runs"]) == 1


def test_a_single_run_and_one_without_scores_have_a_scoreboard_too(program, compared, filled):
    alone = board(program, compared, {"runs": filled[1][:1]})["html"]
    assert "Select a second run" in alone
    waiting = program.store.create(RunSpec())
    compared.forget()
    html = board(program, compared, {"runs": [filled[1][0], waiting]})["html"]
    assert "Without scores" in html


def test_different_settings_have_rankings_of_their_own(program, compared, filled):
    other = program.store.create(RunSpec(data=DataSpec(fold="validation")))
    for event in (evaluated("before"), evaluated("after"), Finished(seconds=1)):
        program.store.append(other, event)
    html = board(program, compared, {"runs": [filled[1][0], other]})["html"]
    assert "2 different settings" in html
    assert html.count("<table") == 2
    assert "best</small>" not in html


@pytest.mark.parametrize("wrong", [None, {"runs": ["a"] * 101}, {"runs": [], "mia": -1}])
def test_a_broken_selection_is_told(program, compared, wrong):
    assert "reload" in board(program, compared, wrong)["problem"]


# ---- the rooms


def test_charts_show_curves_trade_off_and_terms(drawn):
    answer = drawn("charts")
    assert answer["html"].count("data-figure") == 3
    assert ["term.forget", "forget loss"] in [list(one) for one in answer["series"]]
    again = drawn("charts", series="term.retain", by="tokens", smooth=True, log=True)
    assert "Retain loss by tokens" in again["html"]


def test_charts_of_runs_without_events_say_that_there_is_nothing_yet(program, compared):
    waiting = program.store.create(RunSpec())
    answer = room(program, compared, {"room": "charts", "runs": [waiting]})
    assert "no curves and no scores yet" in answer["html"]


@pytest.mark.parametrize("name", ["settings", "differences"])
def test_rooms_that_need_two_runs_say_so(drawn, name):
    assert "Select a second run" in drawn(name, count=1)["html"]
    assert "Select a second run" not in drawn(name, count=3)["html"]


def test_only_settings_that_differ_are_listed(drawn):
    html = drawn("differences", count=3)["html"]
    assert "learning rate" in html
    assert "fold" not in html


def test_an_example_is_answered_by_the_original_and_every_run(drawn):
    answer = drawn("answers", count=3)
    assert answer["html"].count('<th scope="row">') == 4
    assert "Original model" in answer["html"]
    assert '<mark class="forget">' in answer["html"]
    assert not answer["masked"]


def test_the_retrained_model_answers_too_where_it_was_asked_the_same_rows(program, compared):
    gold = retrained_answers()["train"].answers[:3]
    knew = Evidence(answers=tuple(one.model_copy(update={"generated": "x"}) for one in gold))
    run = program.store.create(RunSpec())
    before = evaluated("before").model_copy(update={"key": "embedded", "evidence": knew})
    for event in (before, evaluated("after"), Finished(seconds=1)):
        program.store.append(run, event)
    wish = {"room": "answers", "runs": [run], "example": {"text": gold[0].prompt[:60]}}
    html = room(program, compared, wish)["html"]
    assert "example 1 of 1" in html
    rows = re.findall(r'<th scope="row">(.*?)</th>', html, re.DOTALL)
    assert ["Original model" in rows[0], "Retrained model" in rows[1]] == [True, True]


def test_examples_are_turned_and_filtered(drawn):
    first = drawn("answers")["html"]
    assert "example 1 of 72" in first
    assert "example 72 of 72" in drawn("answers", example={"at": 500})["html"]
    retain = drawn("answers", example={"split": "retain", "kind": "qa", "task": "Task2"})["html"]
    assert "example 1 of 12" in retain
    assert "No example passes" in drawn("answers", example={"text": "zebra"})["html"]


def test_personal_data_are_hidden_where_that_is_asked(drawn):
    plain = drawn("answers", example={"at": 0, "masked": False})["html"]
    hidden = drawn("answers", example={"at": 0, "masked": True})["html"]
    assert "555-0" in plain
    assert "555-0" not in hidden


def test_as_many_runs_answer_as_can_be_read(drawn):
    html = drawn("answers", count=RUNS)["html"]
    assert f"first {SPEAKERS} of {RUNS}" in html
    assert html.count('<th scope="row">') == SPEAKERS + 1


def test_a_room_that_has_not_changed_is_not_sent_again(drawn):
    word = drawn("charts")["word"]
    assert drawn("charts", word=word) == {"same": True}


@pytest.mark.parametrize("wrong", [None, {"room": "cellar", "runs": []}, {"runs": []}])
def test_a_room_that_there_is_not_is_told(program, compared, wrong):
    assert "reload" in room(program, compared, wrong)["problem"]


# ---- free prompts


def answered(program, compared, runs, asks, prompt):
    waiting = [{"run": run, "ask": asks[run], "prompt": prompt} for run in runs]
    wish = {"room": "ask", "runs": runs, "asked": runs, "waiting": waiting}
    for _ in range(500):
        answer = room(program, compared, wish)
        if not answer["waiting"]:
            return answer
        program.worker.wait(runs[0], 0.01)
    raise AssertionError("no answer came")


def test_a_prompt_goes_to_several_runs_and_their_answers_stand_together(program, compared, filled):
    runs = filled[1][:3]
    asks = ask(program, {"runs": runs, "prompt": "who <b>is</b> ada"})["asks"]
    assert set(asks) == set(runs)
    html = answered(program, compared, runs, asks, "who <b>is</b> ada")["html"]
    assert html.count('<th scope="row">') == 4
    assert "WHO &lt;B&gt;IS" in html
    assert "<b>is" not in html


def test_a_prompt_that_waits_is_shown_as_waiting(program, compared, filled):
    waiting = [{"run": filled[1][0], "ask": "later", "prompt": "who is bo"}]
    wish = {"room": "ask", "runs": filled[1][:2], "asked": filled[1][:2], "waiting": waiting}
    answer = room(program, compared, wish)
    assert answer["waiting"] == ["later"]
    assert "who is bo" in answer["html"]
    assert "waits for the device" in answer["html"]


@pytest.mark.parametrize(
    ("runs", "prompt", "told"),
    [
        ([], "who", "No run is chosen"),
        (["a"] * (ASKED + 1), "who", "at most 4"),
        (None, " ", "empty"),
    ],
)
def test_what_cannot_be_asked_is_told(program, filled, runs, prompt, told):
    wish = {"runs": filled[1][:1] if runs is None else runs, "prompt": prompt}
    assert told in ask(program, wish)["problem"]


def test_the_layout_has_a_place_for_every_room():
    assert ROOMS.count('role="tab"') == 6
    assert LIST.count("<select") == 6
