"""Facts of one's own: typed, taught, offered to be unlearned; with plain values."""

import threading

import pytest

from tests.fakes import FakeLab, stage, whole_run
from unlearnlab.data.adding import BORROWED
from unlearnlab.data.datasets import dataset, datasets
from unlearnlab.models.catalog import models_folder
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.data.typed_card import free_name, press_teach
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.answers import AnswerFilters
from unlearnlab.ui.run.handlers import Notice, next_form
from unlearnlab.ui.run.panel import build_panel

FACTS = "Who painted Nettle Hall? | Ottilie Brandt\nWho keeps eleven clocks? | Marek Solberg\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    monkeypatch.delenv("UNLEARNLAB_MODELS", raising=False)
    return tmp_path


@pytest.fixture
def program(home):
    with Store(home) as store:
        worker = Worker(store, FakeLab())
        yield Program(store, worker, {})
        worker.close(5)


def test_typed_facts_become_a_dataset_and_a_run_that_teaches_it(program):
    came = press_teach(program, FACTS, "My hall!")
    known = dataset("my-hall")
    assert (known.title, known.personal) == ("My hall!", True)
    counts = known.counts("train")
    assert sum(counts["forget"].values()) == 2
    assert sum(counts["retain"].values()) == BORROWED
    spec = program.store.spec(came.run_id)
    assert (spec.data.source, spec.keep_as, spec.taught) == (
        "my-hall",
        "my-hall",
        ("forget", "retain"),
    )
    assert came.form.values["data.source"] == "my-hall"
    assert came.message == Notice()


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "nothing was typed"), (" \n", "nothing was typed"), ("No answer here", "(line 1)")],
)
def test_what_cannot_be_taught_is_told_at_the_box_and_nothing_is_kept(program, text, told):
    came = press_teach(program, text, "")
    assert came.form is None
    assert came.message.problems[0].element == "f-data-typed"
    assert told in came.message.problems[0].message
    assert list(datasets()) == ["embedded"]
    assert program.store.runs() == []


def test_lines_that_repeat_a_fact_or_answer_it_otherwise_are_told_by_their_numbers(program):
    text = "Who is X? Bo\nWho is Y? Al\nWho is X? | Bo\n\nWho is X? -> Bo\nWho is Y? Cy"
    note = press_teach(program, text, "mine").message.note
    assert "2 rows repeat an earlier row of the same set: only the first is kept" in note
    assert "(lines 3, 5)." in note
    told = "1 row repeats the question of an earlier row of the same set, with another answer"
    assert told in note
    assert "(line 6)." in note
    rows = dataset("mine").rows("forget", "train")
    assert [row.output for row in rows] == ["Bo", "Al", "Cy"]


def test_a_name_that_a_dataset_or_a_model_has_gets_a_number(program):
    assert press_teach(program, FACTS, "").form is not None
    assert free_name("") == "my-facts-2"
    (models_folder() / "hall").mkdir(parents=True)
    assert free_name("Hall") == "hall-2"
    assert free_name("embedded") == "embedded-2"
    assert free_name("tiny-olmo") == "tiny-olmo-2"


def test_behind_another_run_the_teaching_waits_and_the_page_stays(home):
    gate = threading.Event()

    def script(job):
        yield stage("loading")
        while not gate.wait(0.01):
            yield None
        yield from whole_run(job)

    with Store(home) as store:
        worker = Worker(store, FakeLab(script))
        first = worker.submit(RunSpec())
        while worker.state().live != first:
            gate.wait(0.01)
        came = press_teach(Program(store, worker, {}), FACTS, "")
        assert came.run_id == ""
        assert "Queued" in came.message.note
        gate.set()
        worker.close(5)


def test_a_finished_teaching_offers_to_unlearn_and_fills_the_form(program):
    run_id = press_teach(program, FACTS, "hall").run_id
    program.worker.wait(run_id, 10)
    panel = build_panel(program, run_id, AnswerFilters())
    assert "Now unlearn them" in panel.offer
    (models_folder() / "hall").mkdir(parents=True)
    (models_folder() / "hall" / "config.json").write_text("{}")
    values = next_form(program, run_id).values
    assert values["model.name"] == values["data.source"] == "hall"
    assert values["phase.method"] == "npo"
    assert values["keep_as"] == ""
    other = program.worker.submit(RunSpec())
    program.worker.wait(other, 10)
    assert build_panel(program, other, AnswerFilters()).offer == ""


def test_answers_are_masked_from_the_start_if_the_data_are_personal(program):
    run_id = press_teach(program, FACTS, "hall").run_id
    program.worker.wait(run_id, 10)
    assert build_panel(program, run_id, AnswerFilters(masked=False)).masked
    assert not build_panel(program, run_id, AnswerFilters(masked=False, run=run_id)).masked
    other = program.worker.submit(RunSpec())
    program.worker.wait(other, 10)
    assert not build_panel(program, other, AnswerFilters(masked=True, run=run_id)).masked
    assert build_panel(program, other, AnswerFilters(masked=True, run=other)).masked
