"""The tab Trace with plain values, on a real store and worker: its form, requests and results."""

import threading

import pytest

from tests.fakes import FakeLab, some_trace, stage, whole_run
from tests.models.test_catalog import download
from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.metrics.tracing import PARTS, FactTrace, Spread, average
from unlearnlab.runs.events import Traced
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec, facts, parse_trace
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.notes import model_note
from unlearnlab.ui.kit.controls import LAYERS
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.trace.form import (
    EXPERT,
    PATHS,
    fact_choices,
    load_draft,
    offered_facts,
    press_trace,
    to_trace_dict,
    window_note,
)
from unlearnlab.ui.trace.maps import curves_figure, trace_html, windows_figure
from unlearnlab.ui.trace.tab import draw, poll
from unlearnlab.views.benchmarks import windows

HOSTILE = "<img src=x onerror=alert(1)>"

AVERAGE = {"about": {"kind": "average", "count": 4}}

VALUES = dict.fromkeys(PATHS, "") | {"source": "embedded", "count": 40, "model.name": "tiny-olmo"}
VALUES |= {setting.name: getattr(TraceSpec(), setting.name) for setting in EXPERT}


@pytest.fixture
def program(tmp_path):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab())
        yield Program(store, worker, {})
        worker.close(5)


def test_trace_queues_a_trace_and_shows_what_it_found(program):
    run_id, message = press_trace(program, AVERAGE)
    assert message == handlers.Notice()
    assert program.worker.wait(run_id, 10).kind == "finished"
    panel = draw(program, run_id, masked=False)
    assert panel.live["trace"] == run_id
    assert panel.found.count('class="heat"') == 3
    assert "<b>0.90</b>" in panel.found
    assert "<b>0.10</b>" in panel.found
    assert "<b>0.80</b>" in panel.found
    assert f'data-open="{run_id}"' in panel.traces
    assert not panel.can_stop
    answer = poll(program, {"trace": run_id})
    assert (answer["change_token"], answer["live"]) == (panel.live["change_token"], False)
    assert answer["status"]["share"] == 1.0


@pytest.mark.parametrize(
    ("asked", "element", "told"),
    [
        (
            {"kind": "prompt", "prompt": "Who is Ada?", "subject": "Bob"},
            "f-trace-subject",
            "'Bob' is not in the prompt: copy it from there",
        ),
        ({"kind": "prompt", "prompt": "", "subject": ""}, "f-trace-prompt", "it is empty"),
        ({"kind": "fact", "id": ""}, "f-trace-id", "no fact has the id ''"),
        ({"kind": "average", "count": 1}, "f-trace-count", "greater than or equal to 2"),
        ({"kind": "average", "count": None}, "f-trace-count", "valid integer"),
        ({"kind": "average", "count": 9, "tasks": []}, "f-trace-tasks", "no subtask chosen"),
    ],
)
def test_what_cannot_be_traced_is_told_at_its_field_and_nothing_is_queued(
    program, asked, element, told
):
    run_id, message = press_trace(program, {"about": asked})
    assert run_id == ""
    (problem,) = message.problems
    assert problem.element == element
    assert told in problem.message
    assert program.store.traces() == []


def test_a_bad_expert_setting_is_told_at_its_field(program):
    _, message = press_trace(program, AVERAGE | {"window": 12})
    assert message.problems[0].element == "f-trace-window"


def test_an_unknown_or_absent_trace_shows_the_newest(program):
    assert "Nothing has been traced yet" in draw(program, "", masked=False).found
    run_id, _ = press_trace(program, AVERAGE)
    program.worker.wait(run_id, 10)
    assert draw(program, "gone", masked=False).live["trace"] == run_id
    assert poll(program, {"trace": "gone"})["trace"] == ""
    assert "problem" in poll(program, {"trace": 5})


@pytest.fixture
def held(tmp_path):
    """A program whose jobs wait until the test lets them go."""
    gate = threading.Event()

    def waiting():
        while not gate.wait(0.01):
            yield None

    def script(job):
        yield stage("loading")
        yield from waiting()
        yield from whole_run(job)

    class Held(FakeLab):
        def trace(self, spec):
            yield from waiting()
            yield from super().trace(spec)

    with Store(tmp_path / "home") as store:
        worker = Worker(store, Held(script))
        yield Program(store, worker, {}), gate
        gate.set()
        worker.close(5)


def test_a_trace_behind_a_run_waits_and_leaves_the_run_on_its_own_tab(held):
    program, gate = held
    run_id = program.worker.submit(RunSpec())
    trace_id, message = press_trace(program, AVERAGE)
    assert message.note.startswith("Queued: it starts")
    assert draw(program, trace_id, masked=False).can_stop
    assert "queued" in draw(program, trace_id, masked=False).traces
    gate.set()
    program.worker.wait(trace_id, 10)
    assert handlers.first_run(program, "") == run_id


def test_unlearn_stays_with_its_run_while_a_trace_goes_on(held):
    program, gate = held
    trace_id, _ = press_trace(program, AVERAGE)
    while program.worker.state().live != trace_id:
        gate.wait(0.01)
    assert handlers.first_run(program, "") == ""
    run_id, message = handlers.press_unlearn(program, "", forms.first_form())
    assert run_id == program.store.runs()[0].run_id
    assert "starts after the running one" in message.note
    gate.set()
    program.worker.wait(run_id, 10)


def traced(found):
    return Traced(weights="w", noise_sd=0.3, window=3, found=found)


def test_text_of_models_and_users_is_escaped():
    one = some_trace(f"Who is {HOSTILE} ?")
    said = {"answer": HOSTILE, "scored": HOSTILE, "notes": (HOSTILE,)}
    one = one.model_copy(update=said | {"tokens": (HOSTILE,) * len(one.tokens)})
    assert "<img" not in trace_html(TraceSpec(), traced(one), masked=False)


def test_personal_data_are_masked_in_tokens_answer_and_choices():
    one = some_trace("Who is Yara Brock ?").model_copy(update={"answer": "555-0142"})
    text = trace_html(TraceSpec(), traced(one), masked=True)
    assert not any(secret in text for secret in ("Yara", "Brock", "555", "Nola"))
    fact = next(fact for fact in facts().values() if fact.fold == "train")
    plain, masked = (fact_choices("embedded", masked=on) for on in (False, True))
    assert any(fact.subject in label for label, _ in plain)
    assert not any(fact.subject in label for label, _ in masked)
    assert [row for _, row in plain] == [row for _, row in masked]


def test_an_average_has_a_row_for_each_role_and_says_who_lacks_one():
    two = average([some_trace(), some_trace("Who is Ada Brock")], unknown=1)
    text = trace_html(TraceSpec(window=2), traced(two), masked=False)
    assert "1 fact was left out" in text
    assert text.count("<tbody><tr>") == 3
    assert "(as chosen)" in text
    figure = curves_figure(two)
    named = [trace["name"] for trace in figure.data if trace.get("showlegend")]
    assert named == ["before subject", "last subject", "last token", "whole subject"]
    assert {len(trace["y"]) for trace in figure.data} == {8}
    assert len(figure.table) == 1 + 3 * 4 * 8
    wide = {role: [Spread(mean=0.2, sd=0.1)] * 8 for role in two.having}
    banded = two.model_copy(update={"curves": dict.fromkeys(PARTS, wide)})
    fills = [sum("fill" in line for line in curves_figure(one).data) for one in (two, banded)]
    assert fills == [0, 6], "where facts differ, two bands in each panel"


def test_the_whole_subject_is_a_row_of_each_map_and_earlier_traces_open_without_it():
    one = some_trace()
    text = trace_html(TraceSpec(), traced(one), masked=False)
    assert text.count('title="whole subject"') == 3
    assert "Noise on <b>Ada</b>" in text
    assert "Strongest site: MLP at block 7 (window 6 to 7)" in text
    assert "Strongest at the subject: MLP at block 0 (window 0 to 1), whole subject: 0.30" in text
    old = FactTrace.model_validate(one.model_dump(exclude={"sds", "whole", "copies"}))
    text = trace_html(TraceSpec(), traced(old), masked=False)
    assert "whole subject" not in text
    assert "Strongest site: MLP at block 7 (window 6 to 7)" in text


def test_the_page_does_not_promise_that_the_traced_layers_unlearn_best():
    text = trace_html(TraceSpec(), traced(some_trace()), masked=False)
    assert "are not always the best ones to train" in text


def test_layers_of_a_trace_are_taken_to_the_phase_that_is_shown():
    form = forms.use_layers(forms.first_form(), 7, 5)
    assert form.values[LAYERS] == {"first": 5, "last": 7, "blocks": 8}
    assert forms.spec_of(form).phases[0].blocks(8) == range(5, 8)
    assert forms.use_layers(form, -3, 99).values[LAYERS]["last"] == 7


def test_each_window_has_its_bar_and_a_dot_for_each_seed():
    found = windows()
    assert found is not None
    figure = windows_figure(found)
    dots = [trace for trace in figure.data if trace["mode"] == "markers"]
    bars = [trace for trace in figure.data if trace["mode"] == "lines"]
    assert sum(len(trace["y"]) for trace in dots) == len(found.runs)
    assert len(bars) == sum(len(found.of(preset)) for preset in found.presets)
    assert {len(trace["y"]) for trace in figure.data[:3]} == {8}


def test_the_window_follows_the_depth_of_the_model(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    window, reason = window_note(f" {tmp_path / 'deep'} ")
    assert window == 4
    assert "4 of 12 blocks" in reason


def test_a_model_of_unknown_depth_leaves_the_window_to_the_run(hub):
    window, reason = window_note("ada/none")
    assert window is None
    assert "depth is known" in reason
    assert "<button" not in model_note("ada/none", offers=False)
    assert hub.asked == []


def test_the_form_asks_for_the_model_that_it_shows(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    typed = {"kind": "prompt", "prompt": "Ada Brock lives in", "subject": "Ada Brock"}
    made = parse_trace(to_trace_dict(VALUES | typed | {"model.name": str(tmp_path / "deep")}))
    assert made.model.name == str(tmp_path / "deep")
    assert made.span == 4


def test_the_facts_of_an_added_dataset_are_offered_masked_and_traced_as_prompts(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed("Who is Ada Brock? | a pilot", title="Mine"), "mine")
    ((label, row),), masked = offered_facts("mine")
    assert masked
    assert label.startswith("Forget · Facts · Who is ")
    assert "Brock" not in label
    values = VALUES | {"kind": "fact", "source": "mine", "id": row}
    about = parse_trace(to_trace_dict(values)).about
    assert (about.prompt, about.subject, about.answer) == (
        "Who is Ada Brock?",
        "Ada Brock",
        "a pilot",
    )
    assert load_draft({"values": values}) == values
    early = values | {"id": next(iter(facts()))}
    assert load_draft({"values": early}) == values, "kept before its own fact was shown"
    assert load_draft({"values": list(values.values())}) == {}, "of an earlier version"
    remove("mine")
    assert load_draft({"values": values}) == {}, "a form of what is gone is left aside"
