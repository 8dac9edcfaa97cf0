"""What the buttons do: handlers called with plain values on a real store and worker."""

import base64
import math
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from tests.fakes import stage, stepped, whole_run
from tests.ui.conftest import answers_of, finished, panel_of
from unlearnlab.runs.engine_api import Device
from unlearnlab.runs.events import PhaseBegan, SnapshotKept, StepLogged
from unlearnlab.runs.progress import MANY_STEPS
from unlearnlab.runs.store import UnknownRun
from unlearnlab.runs.worker import Running, WorkerState
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, Phase, RunSpec, SpecError
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import notes
from unlearnlab.ui.form.notes import model_note, size_note
from unlearnlab.ui.kit.controls import METHOD, PATHS
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.run.answers import AnswerFilters, answers_file
from unlearnlab.ui.run.live import (
    all_points,
    buttons,
    earlier_runs,
    poll,
    press_adjust,
    press_replay,
    references,
)
from unlearnlab.ui.run.membership_card import membership_of, wrong_documents
from unlearnlab.ui.run.record import press_export
from unlearnlab.ui.run.runs_list import past_runs
from unlearnlab.views.answers import PAGE
from unlearnlab.views.words import present_phase


@pytest.fixture
def held(program, lab):
    """A program whose runs wait until the test lets them go."""
    gate = threading.Event()

    def script(job):
        yield stage("loading")
        while not gate.wait(0.01):
            yield None
        yield from whole_run(job)

    lab.script = script
    yield program, gate
    gate.set()


def live(program):
    """Queue a run and return its id when it has begun."""
    run_id, _ = handlers.press_unlearn(program, "", forms.first_form())
    while not program.runs.shown(run_id).view(program.worker.state()).can_pause:
        time.sleep(0.005)
    return run_id


def typed(form, **values):
    found = form.values | {path.replace("__", "."): value for path, value in values.items()}
    return forms.collect_form(form.draft, [found[path] for path in PATHS])


def test_unlearn_queues_a_run_and_shows_it(program):
    run_id, message = handlers.press_unlearn(program, "", forms.first_form())
    assert message == handlers.Notice()
    assert program.worker.wait(run_id, 10).kind == "finished"


def test_the_file_of_a_long_runs_curves_has_steps_that_its_chart_leaves_out(program, lab):
    steps = MANY_STEPS + 500
    lab.script = lambda job: (stepped(step) for step in range(1, steps + 1))
    run_id = finished(program)
    drawn = poll(program, {"run": run_id})["points"]["series"]["term.forget"][0]
    whole = all_points(program, {"run": run_id})["series"]["term.forget"][0]
    assert len(drawn) <= MANY_STEPS + 2 < len(whole) == steps
    assert "problem" in all_points(program, {"run": "gone"})


def test_score_only_queues_a_run_that_trains_nothing_and_gives_its_settings_back(program):
    form = typed(forms.first_form(), phase__epochs=0, evaluation__max_new_tokens=64)
    run_id, message = handlers.press_score(program, "", form)
    assert message == handlers.Notice()
    assert program.worker.wait(run_id, 10).kind == "finished"
    panel = panel_of(program, run_id)
    assert "Scores only" in panel.board
    assert "Unlearned model" not in answers_of(program, run_id).answers
    assert panel.strip.count("<td class") == 12
    again = forms.spec_of(handlers.settings_of(program, run_id))
    assert again.evaluation.max_new_tokens == 64
    assert len(again.phases) == 1
    answer = poll(program, {"run": run_id})
    assert (answer["steps"], answer["phases"]) == (0, [])


def test_a_prompt_goes_to_both_models_or_to_the_only_one(program):
    unlearned = program.store.create(RunSpec())
    scored = program.store.create(RunSpec().scoring)
    assert panel_of(program, unlearned).ask == "Ask both models"
    assert panel_of(program, scored).ask == "Ask the model"


def test_a_further_run_waits_and_the_page_stays_with_the_live_one(held):
    program, _ = held
    first = live(program)
    shown, message = handlers.press_unlearn(program, first, forms.first_form())
    assert shown == first
    assert message.note == "Queued: it starts after the running one."
    assert len(program.worker.state().queue) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"phase__learning_rate": "fast", "phase__epochs": 0},
            {"f-phase-learning_rate": "number", "f-phase-epochs": "at least 1"},
        ),
        (
            {"phase__layers": {"first": 0, "last": 31, "blocks": 32}},
            {"f-phase-layers": "layer 31 is out of range"},
        ),
        (
            {"phase__layers": {"first": 5, "last": 2, "blocks": 8}},
            {"f-phase-layers": "first layer 5 comes after last layer 2"},
        ),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_nothing_is_queued(program, values, told):
    shown, notice = handlers.press_unlearn(program, "before", typed(forms.first_form(), **values))
    assert (shown, program.store.runs()) == ("before", [])
    assert {problem.element for problem in notice.problems} == set(told)
    for problem in notice.problems:
        assert told[problem.element] in problem.message


@pytest.mark.parametrize("press", [handlers.press_unlearn, handlers.press_score])
def test_a_model_that_is_not_here_is_refused_with_the_reason(program, press):
    layers = {"first": 0, "last": 3, "blocks": 16}
    form = typed(forms.first_form(), model__name="olmo-1b", phase__layers=layers)
    shown, notice = press(program, "before", form)
    (problem,) = notice.problems
    assert (shown, problem.element, problem.label) == ("before", "f-model-name", "Model")
    assert "OLMo 1B is not ready" in problem.message


def test_a_preset_whose_model_is_not_here_says_how_to_get_it(program):
    form = forms.preset_form("olmo-1b-ascent")
    values = form.values
    note = model_note(values["model.name"], values["model.precision"])
    assert "OLMo 1B: it is not on this machine" in note
    assert "<code>hf auth login</code>" in note
    assert "Changed from the preset" not in notes.preset_note(form)
    assert "parameters train" in size_note(program, form)


def test_choosing_another_model_takes_the_layers_along():
    first = forms.preset_form("embedded-ascent")
    form = forms.choose_model(typed(first, model__name="olmo-1b"))
    assert form.values["phase.layers"] == {"first": 0, "last": 15, "blocks": 16}


def test_a_locked_database_is_told_and_the_form_kept(program):
    form = forms.first_form()
    with closing(sqlite3.connect(program.store.home / "unlearnlab.sqlite3")) as other:
        other.execute("BEGIN EXCLUSIVE")
        shown, message = handlers.press_unlearn(program, "", form)
        assert shown == ""
        assert "lock" in message.problems[0].message
    assert handlers.press_unlearn(program, "", form)[0] != ""


def test_pause_and_resume_alternate(held):
    program, gate = held
    run_id = live(program)
    handlers.press_hold(program, run_id)
    assert program.worker.state().running[0].paused
    handlers.press_hold(program, run_id)
    assert not program.worker.state().running[0].paused
    gate.set()
    assert program.worker.wait(run_id, 10).kind == "finished"


def test_a_wish_that_comes_too_late_is_told(program):
    run_id, _ = handlers.press_unlearn(program, "", forms.first_form())
    program.worker.wait(run_id, 10)
    assert "is not running" in handlers.press_hold(program, run_id).problems[0].message
    assert handlers.press_stop(program, run_id).problems == ()
    assert "unknown run" in handlers.press_stop(program, "no such run").problems[0].message


@pytest.fixture
def training(program, lab):
    """A program whose run trains its first phase until the test lets it go."""
    gate = threading.Event()

    def script(job):
        yield stage("training")
        yield PhaseBegan(phase=0, step=0, steps=1, total_steps=1, trainable=7, effective_batch=2)
        while not gate.wait(0.01):
            yield None
        yield stage("saving")

    lab.script = script
    run_id = program.worker.submit(RunSpec(phases=(Phase(), Phase())))
    while present_phase(program.store.spec(run_id), program.runs.progress(run_id)) is None:
        pass
    yield program, run_id, gate
    gate.set()


def wish(run_id, *, phase=0, **changes):
    paths = {path.replace("__", "."): text for path, text in changes.items()}
    return {"run": run_id, "phase": phase, "changes": paths}


def fields(value):
    return {field["label"]: field["value"] for field in value["fields"]}


def test_the_values_that_may_be_changed_are_those_that_hold(training):
    program, run_id, _ = training
    assert fields(panel_of(program, run_id).adjust) == {
        "Learning rate": "5e-4",
        "Forget weight γ": "1",
        "Retain weight α": "1",
    }
    value = press_adjust(program, wish(run_id, learning_rate="1e-4"))
    assert (value["problems"], value["note"]) == ([], "Requested: applies from the next batch.")
    while not program.runs.progress(run_id).changes:
        pass
    assert fields(panel_of(program, run_id).adjust)["Learning rate"] == "1e-4"


def test_nothing_may_be_changed_once_the_training_is_over(training):
    program, run_id, gate = training
    gate.set()
    program.worker.wait(run_id, 10)
    assert fields(panel_of(program, run_id).adjust) == {}
    value = press_adjust(program, wish(run_id, learning_rate="1e-4"))
    assert "is not running" in value["problems"][0]["message"]


@pytest.mark.parametrize(
    ("changes", "path", "told"),
    [
        ({"learning_rate": "fast"}, "learning_rate", "must be a number, not 'fast'"),
        ({"method__retain_weight": "-1"}, "method.retain_weight", "must be at least 0, not '-1'"),
        ({"learning_rate": ""}, "learning_rate", "must be a number, not empty"),
        ({"learning_rate": "1e-4", "phase": 1}, "", "Phase 2 has ended"),
    ],
)
def test_a_wrong_change_is_told_at_its_field(training, changes, path, told):
    program, run_id, _ = training
    value = press_adjust(program, wish(run_id, **changes))
    (problem,) = value["problems"]
    assert problem["path"] == path
    assert told in problem["message"]
    assert program.runs.progress(run_id).changes == ()


def test_a_change_of_nothing_says_so(training):
    program, run_id, _ = training
    assert "has these values already" in press_adjust(program, wish(run_id))["note"]


@pytest.mark.parametrize("asked", [None, 7, {}, {"run": 1}, {"run": "x" * 200, "phase": 0}])
def test_a_change_that_makes_no_sense_is_left_aside(program, asked):
    assert press_adjust(program, asked)["fields"] == []


@pytest.mark.parametrize("prompt", ["", "  \n", "x" * 8001])
def test_a_bad_prompt_is_told_at_its_field(program, prompt):
    run_id, _ = handlers.press_unlearn(program, "", forms.first_form())
    ask_id, message = handlers.press_ask(program, run_id, prompt)
    assert ask_id == ""
    assert message.problems[0].element == handlers.PROMPT


def test_a_list_of_prompts_is_called_one_and_a_run_that_waits_for_it_as_well(held):
    program, gate = held
    run_id = live(program)
    text = "Who? => Ada\nWhat is 2 => 3 in C?\nAnd when?"
    _, notice = handlers.press_ask(program, run_id, text)
    told = "Asked as a list: 3 prompts, 2 of them with an expected answer after => or a tab."
    assert notice.note == f"{told} The run waits until all are answered."
    gate.set()
    program.worker.wait(run_id)
    assert handlers.press_ask(program, run_id, text)[1].note == told
    assert handlers.press_ask(program, run_id, "Who?\nAnd when?")[1].note == ""


def with_snapshots(job):
    for event in whole_run(job):
        yield event
        if isinstance(event, StepLogged) and event.step < 3:
            (job.folder / "snapshots" / str(event.step)).mkdir(parents=True)
            yield SnapshotKept(step=event.step, megabytes=0.1)


def test_a_run_with_snapshots_offers_them_to_be_asked_and_to_start_from(program, lab, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(program.store.home))
    assert panel_of(program, finished(program)).snapshots == ()
    lab.script = with_snapshots
    run_id = finished(program, RunSpec(seed=3))
    assert panel_of(program, run_id).snapshots == (1, 2)
    ask_id, _ = handlers.press_ask(program, run_id, "Who?", 2)
    while not program.runs.progress(run_id).asks:
        time.sleep(0.01)
    (asked,) = program.runs.progress(run_id).asks
    assert (asked.ask_id, asked.step) == (ask_id, 2)
    assert "at step 2" in answers_of(program, run_id).asks
    spec = forms.spec_of(handlers.branch_form(program, run_id, 2))
    assert spec.model.start_from == f"{run_id}@2"
    assert spec.seed == 3
    shutil.rmtree(program.store.folder(run_id) / "snapshots" / "2")
    assert panel_of(program, run_id).snapshots == (1,)
    with pytest.raises(SpecError, match="there is no snapshot"):
        handlers.branch_form(program, run_id, 2)


def test_another_model_does_not_start_from_a_snapshot_of_the_first():
    form = forms.first_form().having({forms.START: "251127-000000-001@4"})
    assert forms.take_model(form, ()).values[forms.START] == ""


def test_a_page_opens_with_the_live_run_else_the_remembered_else_the_newest(held):
    program, _ = held
    assert handlers.first_run(program, "gone") == ""
    old = program.store.create(RunSpec())
    new = program.store.create(RunSpec())
    assert handlers.first_run(program, old) == old
    assert handlers.first_run(program, "gone") == new
    active = live(program)
    assert handlers.first_run(program, old) == active


def test_a_finished_runs_panel_has_scores_answers_and_the_list(program):
    run_id, _ = handlers.press_unlearn(program, "", forms.first_form())
    program.worker.wait(run_id, 10)
    panel = panel_of(program, run_id)
    assert "Task aggregate" in panel.board
    assert panel.strip.count("<td class") == 12
    assert panel.shows[0] == ("Forget 6", "forget")
    assert answers_of(program, run_id).answers.count("<tr>") == 1 + 6
    assert "Early MLPs" in past_runs(program, run_id, "")
    assert (panel.scored, panel.run, panel.any_runs) == (True, True, True)


def test_without_a_run_the_panel_is_empty(program):
    panel = panel_of(program, "")
    assert (panel.board, panel.strip, answers_of(program, "").asks) == (
        "",
        "",
        "",
    )
    assert (panel.scored, panel.run, panel.any_runs) == (False, False, False)


def test_filters_from_the_page_are_not_trusted(program):
    run_id = finished(program)
    seen = answers_of(program, run_id, 10**9, show="drop table", task="Task9", text=None)
    assert "No row passes" in seen.answers
    assert past_runs(program, run_id, None, -5).count("<li") == 1


@pytest.mark.parametrize(
    ("term", "shown"),
    [
        ("forget/Task2/qa", ("forget", "Task2", "qa")),
        ("retain/Task1/sc", ("retain", "Task1", "sc")),
        ("all", ("all", "", "")),
        ("<b>/x", ("forget", "x", "")),
    ],
)
def test_a_term_opens_into_its_rows_whatever_was_filtered_before(term, shown):
    look = AnswerFilters(show="damaged", task="Task3", text="river", labels=["empty"], sort="score")
    found = look.opening(term)
    assert (found.rows.show, found.rows.task, found.rows.kind) == shown
    assert (found.rows.text, found.rows.labels, found.sort) == ("", [], "score")


def test_labels_are_counted_among_the_rows_that_are_shown(program):
    run_id = finished(program)
    seen = answers_of(program, run_id, show="retain")
    assert [text for text, _ in seen.labels][:2] == ["Known 6", "Partly known 0"]
    seen = answers_of(program, run_id, show="all", task="Task1", labels=["leaked", "no such"])
    assert seen.labels[0] == ("Leaked or known 2", "leaked")
    assert seen.answers.count("<tr>") == 1 + 2
    assert answers_of(program, "").labels[0] == ("Leaked 0", "leaked")


def test_rows_that_were_not_picked_are_shown_apart(program):
    spec = RunSpec(data=DataSpec(forget=("forget-Task2-qa",)))
    run_id = program.worker.submit(spec)
    program.worker.wait(run_id, 10)
    panel = panel_of(program, run_id)
    assert panel.shows[:2] == [("Forget 1", "forget"), ("Not picked 5", "others")]
    text = answers_of(program, run_id, show="others").answers
    assert text.count("not picked<") == 5
    whole = [show for _, show in panel_of(program, finished(program)).shows]
    assert "others" not in whole


def test_the_table_is_sorted_as_asked_and_a_wrong_order_is_the_datas(program):
    run_id = finished(program)
    text = answers_of(program, run_id, show="all", sort="score", descending=True).answers
    assert 'class="col-score" aria-sort="descending"' in text
    assert text.index(">retain<") < text.index(">forget<")
    unsorted = answers_of(program, run_id, sort="drop", descending=True).answers
    assert 'sort="descending"' not in unsorted


def test_the_file_has_the_rows_of_the_table_masked_as_on_the_page(program):
    run_id = finished(program)
    filters = AnswerFilters(show="retain", task="Task2", text="ada", run=run_id)
    masked = replace(filters, masked=True)
    files = [answers_file(program, run_id, one) for one in (filters, masked)]
    names = [file["name"].removeprefix(run_id) for file in files]
    assert names == ["-retain-Task2-found.csv", "-retain-Task2-found-masked.csv"]
    shown, hidden = (base64.b64decode(file["data"]).decode() for file in files)
    assert (shown.count("Ada"), hidden.count("Ada"), hidden.count(",•••,")) == (2, 0, 2)


def test_a_run_that_is_not_on_the_page_yet_is_masked_as_its_data_ask(program):
    run_id = finished(program)
    file = answers_file(program, run_id, AnswerFilters(masked=True, run="another"))
    assert file["name"] == f"{run_id}-forget.csv", "the embedded data are made up: nothing to hide"


def test_a_page_beyond_the_last_is_the_last(program):
    text = answers_of(program, finished(program), 99, show="all").answers
    assert f"1 to {min(PAGE, 12)} of 12" in text


def test_buttons_follow_the_state_of_the_run_and_of_the_worker(held):
    program, gate = held
    earlier, run_id = program.store.create(RunSpec()), live(program)

    def texts(run_id, state=None):
        run, state = program.runs.shown(run_id), state or program.worker.state()
        return {one["text"]: one["on"] for one in buttons(run, run.view(state), state)}

    assert texts(earlier) == {}
    assert texts(earlier, WorkerState(queue=(earlier,))) == {"Remove": True}
    assert texts(run_id) == {"Pause": True, "Stop": True}
    stopping = WorkerState((Running(run_id, stopping=True),))
    assert texts(run_id, stopping) == {"Pause": False, "Stopping…": False}
    gate.set()
    program.worker.wait(run_id, 10)
    assert texts(run_id) == {}


def test_the_main_button_says_that_a_run_would_wait(held):
    program, _ = held
    assert panel_of(program, "").unlearn == "Unlearn"
    assert panel_of(program, live(program)).unlearn == "Queue"


def test_a_poll_names_the_runs_that_go_on_while_another_is_shown(held):
    program, _ = held
    earlier = program.store.create(RunSpec())
    run_id = live(program)
    (line,) = poll(program, {"run": earlier, "cursor": 0})["running"]
    assert line["run"] == run_id
    assert [one["event"] for one in line["buttons"]] == ["hold", "stop"]
    assert poll(program, {"run": run_id, "cursor": 0})["running"] == []


def test_a_poll_brings_only_what_is_new(program):
    run_id = finished(program)
    first = poll(program, {"run": run_id, "cursor": 0})
    assert first["points"]["series"]["term.forget"] == ((1, 2, 3), (1.0, 1.0, 1.0))
    assert first["status"]["status"] == "finished"
    again = poll(program, {"run": run_id, "cursor": first["cursor"]})
    assert again["points"]["series"] == {}
    assert again["turn"] == first["turn"]


def test_a_poll_tells_which_forget_documents_stand_and_a_lesson_has_none(program):
    run_id = finished(program)
    found = poll(program, {"run": run_id})["documents"]
    assert found["text"] == (
        "2 of 9 at step 3: 1 stands, 1 gone; half of the rise in loss comes from 1 document"
    )
    assert [state for state, _ in found["cells"]] == ["stands", "gone"]
    assert "loss 0.10 → 6.10 nats per token, 0 of 2 rows stand" in found["cells"][1][1]
    taught = program.worker.submit(RunSpec(phases=(Phase(method=Memorize()),)))
    program.worker.wait(taught, 10)
    assert poll(program, {"run": taught})["documents"] is None
    card = membership_of(
        program, program.store.row(taught), program.runs.progress(taught), masked=False
    )
    assert "forget documents" not in card["documents"]
    assert answers_of(program, taught).labels[0] == ("Known 0", "leaked")


def test_a_page_that_outlived_its_program_can_tell(program):
    run_id = finished(program)
    own = poll(program, {})["life"]
    assert poll(program, {"run": run_id})["life"] == own
    next_start = Program(program.store, program.worker, {})
    assert poll(next_start, {"run": run_id})["life"] != own


WRONG = {"run": "r", "model": "original", "threshold": 2.0}


@pytest.mark.parametrize(
    ("handler", "asked"),
    [
        (poll, 7),
        (poll, []),
        (poll, {"run": 5}),
        (poll, {"run": "a", "cursor": -1}),
        (press_replay, {"run": "r", "action": "dance"}),
        (press_replay, {"run": "r", "action": "start", "speed": 4}),
        (press_export, "x"),
        (press_export, {"run": "r", "what": "all"}),
        (press_export, {"run": "x" * 200, "what": "spec"}),
        (wrong_documents, {}),
        (wrong_documents, WRONG | {"model": "both"}),
        (wrong_documents, WRONG | {"threshold": "x"}),
        (wrong_documents, WRONG | {"threshold": math.nan}),
        *(
            (handler, asked)
            for handler in (poll, press_replay, press_export, wrong_documents)
            for asked in (None, {"run": "x" * 200})
        ),
    ],
)
def test_a_malformed_request_is_answered_in_words(program, handler, asked):
    assert "reload" in handler(program, asked)["problem"]


@pytest.mark.parametrize(
    ("handler", "asked"),
    [
        (press_replay, {"run": "never", "action": "start"}),
        (press_export, {"run": "never", "what": "spec"}),
        (wrong_documents, WRONG | {"run": "never"}),
    ],
)
def test_a_request_for_an_unknown_run_says_so(program, handler, asked):
    assert "unknown run 'never'" in handler(program, asked)["problem"]


def test_a_page_on_a_run_that_was_deleted_for_good_turns_to_another(program):
    gone, kept = finished(program), finished(program)
    program.store.delete([gone])
    program.store.erase(deleted_before=time.time() + 1)
    answer = poll(program, {"run": gone})
    assert answer["run"] == ""
    assert answer["turn"]
    assert handlers.existing_run(program, gone) == kept
    assert handlers.existing_run(program, kept) == kept


def test_a_poll_survives_values_that_json_cannot_hold(program, lab):
    lab.script = lambda _: iter([stepped(1, loss=float("nan"))])
    answer = poll(program, {"run": finished(program)})
    assert answer["points"]["series"]["term.forget"] == ((1,), (None,))


def test_a_runs_settings_fill_the_form_with_all_its_phases(program):
    spec = RunSpec(
        model=ModelSpec(adapter=LoRA(r=4)),
        phases=(Phase(last_layer=3), Phase(last_layer=7)),
        seed=5,
    )
    run_id = program.store.create(spec)
    form = handlers.settings_of(program, run_id)
    assert forms.spec_of(form) == spec
    with pytest.raises(UnknownRun):
        handlers.settings_of(program, "nope")


def titles(form):
    return [card["title"] for card in notes.phase_cards(form)["cards"]]


def of_method(form, kind):
    return typed(form, **{METHOD.replace(".", "__"): kind})


def test_phases_are_added_edited_and_removed_without_loss():
    form = typed(forms.first_form(), phase__epochs=3)
    form = of_method(forms.change_phases(form, "add"), "npo")
    assert titles(form) == ["Gradient difference", "NPO"]
    form = forms.change_phases(form, "show", 0)
    assert forms.spec_of(form).phases[0].epochs == 3
    assert forms.spec_of(form).phases[1].method.kind == "npo"
    form = forms.change_phases(form, "remove")
    assert titles(form) == ["NPO"]


def test_the_last_phase_stays():
    form = forms.first_form()
    assert forms.change_phases(form, "remove") == form


def test_a_new_phase_begins_with_the_defaults_and_a_duplicate_with_the_shown_ones_settings():
    form = typed(forms.first_form(), phase__epochs=3)
    assert forms.spec_of(forms.change_phases(form, "duplicate")).phases[1].epochs == 3
    assert forms.spec_of(forms.change_phases(form, "add")).phases[1].epochs == Phase().epochs


def test_a_phase_moves_up_and_down_and_stays_the_one_that_is_shown():
    form = of_method(
        forms.change_phases(of_method(forms.first_form(), "gradient_ascent"), "add"), "npo"
    )
    form = forms.change_phases(form, "earlier")
    assert (titles(form), form.editing) == (["NPO", "Gradient ascent"], 0)
    assert forms.change_phases(form, "earlier") == form
    form = forms.change_phases(form, "later")
    assert (titles(form), form.editing, form.method) == (["Gradient ascent", "NPO"], 1, "npo")


@pytest.mark.parametrize("click", [("show", None), ("show", 99), ("explode", 0), (None, None)])
def test_a_click_on_the_phases_that_makes_no_sense_changes_nothing(click):
    form = forms.first_form()
    assert forms.spec_of(forms.change_phases(form, *click)) == forms.spec_of(form)


def test_the_cards_tell_each_phases_settings_and_planned_steps_at_a_glance():
    form = typed(
        forms.change_phases(forms.first_form(), "add"),
        phase__tasks=["Task2"],
        phase__learning_rate="fast",
    )
    value = notes.phase_cards(form)
    assert value["cards"][1]["settings"] == "blocks 0 to 7 · learning rate fast · 5 epochs · People"
    assert value["steps"] == ()
    bounded = notes.phase_cards(typed(form, phase__max_steps=3))
    assert " · 5 epochs, at most 3 steps · " in bounded["cards"][1]["settings"]
    value = notes.phase_cards(typed(form, phase__learning_rate="1e-3"))
    assert len(value["steps"]) == 2


def test_subtasks_of_a_phase_are_its_own_and_none_chosen_means_all():
    form = typed(forms.change_phases(forms.first_form(), "add"), phase__tasks=["Task2"])
    assert [phase.tasks for phase in forms.spec_of(form).phases] == [None, ("Task2",)]
    again = forms.form_of(forms.spec_of(form).model_dump(mode="json"), editing=1)
    assert again.values["phase.tasks"] == ["Task2"]


def test_a_problem_in_a_phase_that_is_not_shown_is_told_at_its_card(program):
    form = forms.change_phases(
        typed(forms.change_phases(forms.first_form(), "add"), phase__epochs=0), "show", 0
    )
    _, message = handlers.press_unlearn(program, "", form)
    (problem,) = message.problems
    assert (problem.element, problem.label) == ("phase-card-1", "Phase 2, epochs")


def test_a_wrong_value_survives_a_change_of_phase():
    form = typed(forms.change_phases(forms.first_form(), "add"), phase__learning_rate="fast")
    back = forms.change_phases(forms.change_phases(form, "show", 0), "show", 1)
    assert back.values["phase.learning_rate"] == "fast"


@pytest.mark.parametrize(
    "draft",
    [
        None,
        "text",
        {},
        {"values": {"seed": 1}, "phases": [{}], "editing": 0, "preset": ""},
        {**forms.first_form().draft, "editing": 4},
        {**forms.first_form().draft, "phases": [{"method": {"kind": "magic"}}]},
    ],
)
def test_a_draft_of_another_version_is_left_aside(draft):
    assert forms.load_draft(draft) == forms.first_form()


def test_a_draft_comes_back_as_it_was():
    form = typed(forms.first_form(), phase__learning_rate="nonsense")
    assert forms.load_draft(form.draft) == form


def test_the_note_tells_when_the_form_has_left_the_preset():
    form = forms.first_form()
    assert "Changed" not in notes.preset_note(form)
    assert "Changed" not in notes.preset_note(typed(form, seed=9))
    assert "Changed" in notes.preset_note(typed(form, phase__epochs=9))


def test_the_size_note_counts_and_remembers_the_time(program):
    form = forms.first_form()
    assert "here before" not in size_note(program, form)
    finished(program, forms.spec_of(form))
    note = size_note(program, form)
    assert "parameters train" in note
    assert "here before" in note


def test_the_size_note_tells_what_is_needed_of_what_is_free(program):
    here = [Device("cpu", "cpu, 2 threads", free=20 * 2**30, total=30 * 2**30)]
    known = replace(program, devices=lambda: here)
    small = size_note(known, forms.first_form())
    assert "; 20\u00a0GiB free" in small
    assert "<dt><i class=" in small
    assert "short" not in small
    large = size_note(known, forms.preset_form("olmo-7b-joint"))
    assert "; only 20\u00a0GiB free" in large
    assert "Take a smaller batch" in large


def test_the_size_note_of_a_model_that_is_not_known_says_why_there_is_no_estimate(program):
    note = size_note(program, typed(forms.first_form(), model__name="no/such"))
    assert "parameters train" not in note


def test_a_merge_shows_no_layers_rates_or_epochs_and_asks_for_none():
    form = forms.change_phases(forms.preset_form("embedded-ties-merge"), "show", 2)
    assert not form.trains
    assert not form.tells_tasks
    assert notes.phase_cards(form)["cards"][2]["settings"] == "merges the adapters before it"
    left = typed(form, phase__learning_rate="fast")
    assert forms.spec_of(left).phases[2] == presets()["embedded-ties-merge"].spec.phases[2]


def test_the_last_block_is_named_in_phases_out_of_sight():
    form = forms.preset_form("embedded-ascent-repair")
    glances = [card["settings"] for card in notes.phase_cards(form)["cards"]]
    assert [glance.split(" · ")[0] for glance in glances] == ["blocks 0 to 7"] * 2


def test_a_run_is_named_after_its_preset_and_what_was_changed(program):
    first = forms.first_form()
    assert forms.title_of(first, forms.parsed(first)) == "Early MLPs"
    changed = typed(first, phase__epochs=3, seed=2)
    told = forms.title_of(changed, forms.parsed(changed))
    assert told == "Early MLPs, epochs 3, seed 2"
    other = typed(first, phase__method="npo")
    assert forms.title_of(other, forms.parsed(other)) == ""
    handlers.press_unlearn(program, "", changed)
    assert [row.name for row in program.store.runs()] == [told]


def test_a_poll_tells_where_the_training_was_and_what_an_ideal_model_would_lose(program):
    run_id = finished(program)
    answer = poll(program, {"run": run_id, "cursor": 0})
    pace = answer["pace"]
    assert pace["step"] == [1, 2, 3]
    assert len(pace["epoch"]) == len(pace["seconds"]) == len(pace["tokens"]) == 3
    assert answer["references"]["nll.forget"] > 5 * answer["references"]["nll.retain"]
    own = RunSpec(model=ModelSpec(name="olmo-1b"))
    assert references(own) == {}


def test_only_ended_runs_other_than_the_shown_one_lie_under_its_curves(held):
    program, gate = held
    running = live(program)
    gate.set()
    program.worker.wait(running, 10)
    later = finished(program)
    asked = {"run": later, "cursor": 0}
    assert [one["run"] for one in earlier_runs(program, asked)["runs"]] == [running]
    assert all_points(program, {"run": running, "cursor": 0})["pace"]["step"] == [1, 2, 3]
