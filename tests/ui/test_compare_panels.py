"""What is compared of a selection: the scoreboard, the panels, and free prompts to several runs."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.browser.slow_lab import retrained_scores
from tests.fakes import FakeLab, evaluated
from tests.stored_runs import fill
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Finished, StepLogged
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import DataSpec, ModelSpec, RunSpec
from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.panels import ASKED, PANELS, SPEAKERS, ask, curve_rows, panel
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.program import Program

RUNS = 14
START = "251009-085320-000@40"


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
def cached(program):
    return CachedRuns(program.store)


@pytest.fixture
def scored(program, cached, filled):
    """Answer with the scoreboard of some runs: their ids, or how many of the first."""

    def answer(runs=RUNS, **wish):
        ids = filled[1][:runs] if isinstance(runs, int) else runs
        return board(program, cached, {"runs": ids, **wish})

    return answer


@pytest.fixture
def shown(program, cached, filled):
    """Answer with a panel of some runs: their ids, or how many of the first."""

    def answer(name, runs=4, **wish):
        ids = filled[1][:runs] if isinstance(runs, int) else runs
        return panel(program, cached, {"panel": name, "runs": ids, **wish})

    return answer


def test_the_file_of_the_curves_has_every_step_of_every_run(program, cached, filled):
    ids = filled[1][:2]
    asked = {"panel": "charts", "runs": ids, "series": "term.forget", "by": "step"}
    head, *rows = curve_rows(program, cached, asked)["rows"]
    assert head == ("run", "optimizer step", "term.forget")
    steps = [
        sum(isinstance(one.event, StepLogged) for one in program.store.events(run)) for run in ids
    ]
    assert len(rows) == sum(steps) > 0
    assert len({name for name, _, _ in rows}) == 2
    assert "problem" in curve_rows(program, cached, {"panel": "cellar", "runs": []})


# ---- the scoreboard


def test_the_scoreboard_ranks_runs_and_holds_them_against_the_reference_models(scored):
    answer = scored(5, wait=True)
    html = answer["html"]
    assert len(answer["runs"]) == 5
    assert "Original model" in html
    assert "Retrained model" in html
    assert answer["utility"] == "Quiz"
    assert "best</small>" in html
    numbers = [int(rank) for rank in re.findall(r'class="rank"[^>]*>(\d+)<', html)]
    assert numbers == sorted(numbers) != []


def test_other_weights_rank_otherwise_and_show_what_they_rank_by(scored):
    equal, other = scored()["html"], scored(aggregate=0, mia=4)["html"]
    assert ["Weighted ↑" in html for html in (equal, other)] == [False, True]
    first, second = (re.findall(r'data-drop="([^"]+)"', html) for html in (equal, other))
    assert first != second
    assert sorted(first) == sorted(second)
    assert scored(aggregate=0, mia=0, utility=0)["html"] == equal, "all at zero rank as equal ones"


def test_the_scoreboard_comes_at_once_and_what_is_noise_when_it_is_known(scored):
    assert scored(3)["pending"]
    known = scored(3, wait=True)
    assert not known["pending"]
    assert scored(3, word=known["word"]) == {"same": True}


def test_two_pages_that_wait_compute_the_intervals_once(program, cached, filled, monkeypatch):
    runs, _ = cached.of(filled[1][:4])
    read = []
    real = program.store.evidence
    monkeypatch.setattr(program.store, "evidence", lambda key: read.append(key) or real(key))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(cached.intervals, runs, wait=True) for _ in range(2)]
    assert both[0].result() == both[1].result() != {}
    assert len(read) == len(set(read))


def test_the_original_model_is_that_of_a_run_from_no_snapshot(program, scored):
    runs = [program.store.create(RunSpec(model=ModelSpec(start_from=START)))]
    runs += [program.store.create(RunSpec())]
    for run, key in zip(runs, ("snapshot", "whole"), strict=True):
        before = evaluated("before").model_copy(update={"key": key})
        for event in (before, evaluated("after"), Finished(seconds=1)):
            program.store.append(run, event)
    assert f"Original model, from step 40 of run {START[:-3]}" in scored(runs[:1])["html"]
    assert "Original model<" in scored(runs)["html"]


def test_a_run_that_has_not_ended_took_no_time_yet(program, scored):
    run = program.store.create(RunSpec())
    for event in (evaluated("before"), evaluated("after")):
        program.store.append(run, event)
    assert 'data-label="Took">–<' in scored([run])["html"]


def test_unknown_runs_of_a_link_are_told_and_the_others_shown(scored, filled):
    answer = scored([filled[1][0], "<b>nope"])
    assert "1 run of this link is not in this store" in answer["html"]
    assert "&lt;b&gt;nope" in answer["html"]
    assert len(answer["runs"]) == 1


def test_a_single_run_and_one_without_scores_have_a_scoreboard_too(program, scored, filled):
    waiting = program.store.create(RunSpec())
    assert "Select a second run" in scored(1)["html"]
    assert "Without scores" in scored([filled[1][0], waiting])["html"]


def test_different_settings_have_rankings_of_their_own(program, scored, filled):
    other = program.store.create(RunSpec(data=DataSpec(fold="validation")))
    for event in (evaluated("before"), evaluated("after"), Finished(seconds=1)):
        program.store.append(other, event)
    html = scored([filled[1][0], other])["html"]
    assert "2 different settings" in html
    assert html.count("<table") == 2
    assert "best</small>" not in html


@pytest.mark.parametrize("asked", [board, panel])
@pytest.mark.parametrize(
    "wrong", [None, {"runs": ["a"] * 251}, {"runs": [], "mia": -1, "panel": "cellar"}]
)
def test_a_malformed_request_is_answered_with_a_problem(program, cached, asked, wrong):
    assert "reload" in asked(program, cached, wrong)["problem"]


# ---- the panels


def test_charts_show_curves_trade_off_and_terms(shown):
    answer = shown("charts")
    assert answer["html"].count("data-figure") == 3
    series = dict(answer["series"])
    assert next(iter(series)) == "answers", "objective terms do not compare across methods"
    assert "term.retain" not in series
    again = shown("charts", series="learning_rate", by="tokens", smooth=True, log=True)
    assert "Learning rate by tokens" in again["html"]
    assert "term.retain" in dict(shown("charts", 1)["series"])


def test_charts_of_runs_without_events_say_that_there_is_nothing_yet(program, shown):
    waiting = program.store.create(RunSpec())
    assert "no curves and no scores yet" in shown("charts", [waiting])["html"]


@pytest.mark.parametrize("name", ["settings", "differences", "contrast"])
def test_panels_that_need_two_runs_say_so(shown, name):
    assert "Select a second run" in shown(name, 1)["html"]
    assert "Select a second run" not in shown(name, 3)["html"]


def test_axes_are_offered_with_those_that_are_shown(shown):
    answer = shown("settings", 3, axes=["utility", "learning_rate"])
    assert [key for key, _ in answer["axes"]] == ["utility", "learning_rate"]
    more = [key for offered in answer["more"].values() for key, _ in offered]
    assert "utility" not in more
    assert {"method", "privleak", "epochs"} <= set(more)
    assert "reload" in shown("settings", 3, axes=["zebra"])["problem"]


def test_two_runs_are_contrasted_by_scores_terms_layers_settings_and_rows(shown, filled):
    first, second, third = filled[1][:3]
    answer = shown("contrast", 3)
    assert (answer["pair"]["first"], answer["pair"]["second"]) == (first, second)
    assert answer["html"].count("data-figure") == 2
    assert "learning rate" in answer["html"]
    asked = {"first": third, "second": first, "which": "all"}
    other = shown("contrast", 3, contrast=asked)
    assert (other["pair"]["first"], other["pair"]["second"]) == (third, first)
    assert "1 to 8 of 144" in other["html"]
    assert "1 to 8" not in shown("contrast", 3, contrast=asked | {"page": 99})["html"]
    twice = shown("contrast", 3, contrast={"first": second, "second": second})["pair"]
    assert twice["first"] != twice["second"]


def test_a_contrast_masks_what_is_personal_and_says_what_is_not_kept(program, shown, filled):
    asked, waiting = {"which": "all"}, program.store.create(RunSpec())
    plain = shown("contrast", 2, contrast=asked, example={"masked": False})["html"]
    assert "555-0" in plain
    assert "555-0" not in shown("contrast", 2, contrast=asked, example={"masked": True})["html"]
    html = shown("contrast", [filled[1][0], waiting])["html"]
    assert "answers of these runs are not kept" in html


def test_only_settings_that_differ_are_listed(shown):
    html = shown("differences", 3)["html"]
    assert "learning rate" in html
    assert "fold" not in html


def test_an_example_is_answered_by_the_original_and_every_run(shown):
    answer = shown("answers", 3)
    assert answer["html"].count('<th scope="row">') == 4
    assert "Original model" in answer["html"]
    assert '<mark class="secret"' in answer["html"]
    assert not answer["masked"]


def test_the_retrained_model_answers_too_where_it_was_asked_the_same_rows(program, shown):
    gold = retrained_answers()["train"].answers[:3]
    knew = Evidence(answers=tuple(one.model_copy(update={"generated": "x"}) for one in gold))
    run = program.store.create(RunSpec())
    before = evaluated("before").model_copy(update={"key": "embedded", "evidence": knew})
    for event in (before, evaluated("after"), Finished(seconds=1)):
        program.store.append(run, event)
    html = shown("answers", [run], example={"text": gold[0].prompt[:60]})["html"]
    assert "example 1 of 1" in html
    rows = re.findall(r'<th scope="row">(.*?)</th>', html, re.DOTALL)
    assert ["Original model" in rows[0], "Retrained model" in rows[1]] == [True, True]


def test_examples_are_turned_and_filtered(shown):
    first = shown("answers")["html"]
    assert "example 1 of 72" in first
    assert "example 72 of 72" in shown("answers", example={"at": 500})["html"]
    retain = shown("answers", example={"split": "retain", "kind": "qa", "task": "Task2"})["html"]
    assert "example 1 of 12" in retain
    assert "No example passes" in shown("answers", example={"text": "zebra"})["html"]


def test_personal_data_are_hidden_where_that_is_asked(shown):
    plain = shown("answers", example={"at": 0, "masked": False})["html"]
    hidden = shown("answers", example={"at": 0, "masked": True})["html"]
    assert "555-0" in plain
    assert "555-0" not in hidden


def test_as_many_runs_answer_as_can_be_read(shown):
    html = shown("answers", RUNS)["html"]
    assert f"first {SPEAKERS} of {RUNS}" in html
    assert html.count('<th scope="row">') == SPEAKERS + 1


def test_a_panel_that_has_not_changed_is_not_sent_again(shown):
    word = shown("charts")["word"]
    assert shown("charts", word=word) == {"same": True}


def test_names_are_escaped_on_the_scoreboard_and_in_every_panel(program, scored, shown, filled):
    program.store.update(filled[1][0], name="<img src=x>")
    drawn = [shown(name, 3, asked=filled[1][:3])["html"] for name in PANELS]
    drawn += [scored(3)[part] for part in ("html", "asked")]
    assert not [html for html in drawn if "<img" in html]
    assert sum("&lt;img" in html for html in drawn) == 8, "nothing was asked yet"


# ---- free prompts


def test_a_prompt_goes_to_several_runs_and_their_answers_stand_together(program, shown, filled):
    runs, prompt = filled[1][:3], "who <b>is</b> ada"
    asks = ask(program, {"runs": runs, "prompt": prompt})["asks"]
    waiting = [{"run": run, "ask": asks[run], "prompt": prompt} for run in runs]
    answer = {"waiting": asks}
    for _ in range(500):
        if answer["waiting"]:
            program.worker.wait(runs[0], 0.01)
            answer = shown("ask", runs, asked=runs, waiting=waiting)
    assert answer["waiting"] == []
    assert answer["html"].count('<th scope="row">') == 4
    assert "WHO &lt;B&gt;IS" in answer["html"]
    assert "<b>is" not in answer["html"]


def test_prompts_that_wait_tell_how_many_models_are_before_each(shown, filled):
    runs = filled[1][:2]
    waiting = [{"run": run, "ask": f"ask {run}", "prompt": "who is bo"} for run in runs]
    answer = shown("ask", 2, asked=runs, waiting=waiting)
    assert answer["waiting"] == [f"ask {run}" for run in runs]
    assert "who is bo" in answer["html"]
    assert "0 of 2 models have answered" in answer["html"]
    assert "waits for the device, then answers" in answer["html"]
    assert "waits for the device: 1 before it" in answer["html"]


def test_rows_of_the_data_are_suggested_and_their_true_answer_is_rated(program, shown, filled):
    runs = filled[1][:2]
    html = shown("ask", runs, asked=runs)["html"]
    rows = re.findall(r'data-row="([^"]+)"', html)
    assert len(rows) == 4
    answer = ask(program, {"runs": runs, "row": rows[0]})
    assert answer["prompt"]
    waiting = [{"run": r, "ask": i, "prompt": answer["prompt"]} for r, i in answer["asks"].items()]
    html = shown("ask", runs, asked=runs, waiting=waiting)["html"]
    assert "True answer:" in html
    assert html.count(" likely</span>") == 3
    assert rows[0] not in re.findall(r'data-row="([^"]+)"', html)
    assert "empty" in ask(program, {"runs": runs, "row": "no such row"})["problem"]


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
