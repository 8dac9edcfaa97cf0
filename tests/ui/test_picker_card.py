"""Searching, ticking and previewing forget rows, with plain values on a real store and worker."""

import threading
from dataclasses import replace

import pytest

from tests.fakes import FakeLab, whole_run
from unlearnlab.data.adding import add, read_typed
from unlearnlab.data.datasets import dataset
from unlearnlab.metrics.scores import Answer
from unlearnlab.runs.events import Evaluated
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.ui.data.picker_card import (
    Search,
    picker,
    poll,
    press_preview,
    press_stop,
    tick_found,
    ticked_ids,
    ticks_of,
)
from unlearnlab.ui.data.tab import use_data
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.form import use_rows
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice

FACTS = "Who is Ada Brock? | a pilot\nWho is Bo? | a baker\nWho is Cy? | a diver"
ALL = Search(masked=False)


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed(FACTS, retain="Who is Di? | a judge", title="Mine"))
    with Store(tmp_path) as store:
        worker = Worker(store, FakeLab())
        yield Program(store, worker, {})
        worker.close(5)


@pytest.fixture
def form(program):
    return use_data(forms.first_form(), "mine")


def ids():
    return [row.id for row in dataset("mine").rows("forget", "train")]


def test_all_rows_are_ticked_until_some_are_unticked(form):
    ticks = ticks_of(form, {})
    assert ticked_ids(form, ticks) is None
    first = ids()[0]
    assert ticked_ids(form, ticks.model_copy(update={"ids": [first]})) == ids()[1:]


def test_what_is_found_is_ticked_and_unticked_at_once(form):
    ticks = tick_found(form, ticks_of(form, {}), Search(), on=False)
    assert ticked_ids(form, ticks) == []
    ticks = tick_found(form, ticks, Search(text="brock"), on=True)
    assert ticked_ids(form, ticks) == ids()[:1]
    ticks = tick_found(form, ticks, Search(text="who is", kind="qa"), on=True)
    assert ticked_ids(form, ticks) is None
    ticks = tick_found(form, ticks, Search(text="CY"), on=False)
    assert ticked_ids(form, ticks) == ids()[:2]


def test_the_picker_starts_from_the_rows_of_the_form_and_follows_them(form):
    picked = use_rows(form, ids()[1:2], "leave")
    ticks = ticks_of(picked, {})
    assert ticked_ids(picked, ticks) == ids()[1:2]
    held = ticks.model_copy(update={"ids": ids()[:1]}).model_dump()
    assert ticked_ids(picked, ticks_of(picked, held)) == ids()[:1]
    assert ticked_ids(form, ticks_of(form, held)) is None


@pytest.mark.parametrize("held", [None, "x", {"ids": 7}, {"ids": [1]}, {"inverted": "perhaps"}])
def test_ticks_that_make_no_sense_are_left_aside(form, held):
    assert ticked_ids(form, ticks_of(form, held)) is None


def test_a_page_of_rows_is_searched_and_masked(program, form):
    value = picker(program, form, ticks_of(form, {}), ALL)
    assert (value["total"], value["found"], value["shown"]) == (3, 3, ids())
    found = picker(program, form, ticks_of(form, {}), Search(text="ada", masked=True))
    assert found["shown"] == ids()[:1]
    assert "Brock" not in found["html"]
    none = picker(program, form, ticks_of(form, {}), Search(text="nobody"))
    assert "No forget row matches" in none["html"]


def test_twenty_rows_are_on_a_page_and_a_page_beyond_the_last_is_the_last(program):
    form = forms.first_form()
    value = picker(program, form, ticks_of(form, {"page": 0}), ALL)
    assert len(value["shown"]) == 20
    last = ticks_of(form, {}).model_copy(update={"page": 999})
    value = picker(program, form, last, ALL)
    assert (value["page"], len(value["shown"])) == (15, 4)


def test_the_model_is_asked_by_a_job_and_its_answers_stay(program, form):
    assert press_preview(program, form, ids()[:2]) == Notice()
    (row,) = program.store.previews()
    assert program.worker.wait(row.run_id, 10).kind == "finished"
    assert poll(program, {"preview": row.run_id}) == {"live": False, "failed": False, "told": ""}
    value = picker(program, form, ticks_of(form, {}), ALL)
    assert value["preview"] == ""
    assert value["html"].count("the answer to") == 2
    assert value["html"].count("not asked") == 1


def test_a_question_is_stopped_or_taken_from_the_queue(program, form):
    held = threading.Event()

    def script(job):
        held.wait(10)
        yield from whole_run(job)

    worker = Worker(program.store, FakeLab(script))
    busy = replace(program, worker=worker)
    worker.submit(RunSpec())
    press_preview(busy, form, ids()[:1])
    (row,) = program.store.previews()
    assert press_stop(busy, {"preview": row.run_id}) == {}
    assert program.store.job(row.run_id).ending.kind == "stopped"
    assert poll(busy, {"preview": row.run_id})["live"] is False
    assert press_stop(busy, {"preview": row.run_id}) == {}, "what has ended stays so"
    assert "strange" in press_stop(busy, {"preview": "strange"})["problem"]
    assert "reload" in press_stop(busy, {"preview": 7})["problem"]
    held.set()
    worker.close(5)


def test_answers_that_were_scored_before_a_run_are_shown_without_asking(program, tmp_path):
    row = dataset("mine").rows("forget", "train")[0]

    def script(job):
        for event in whole_run(job):
            if isinstance(event, Evaluated) and event.when == "before":
                mine = Answer(
                    row=row.id,
                    split="forget",
                    task="Task1",
                    kind="qa",
                    prompt=row.input,
                    expected=row.output,
                    generated="a sailor",
                    nll=1.0,
                    ended=True,
                    score=0.0,
                )
                evidence = event.evidence.model_copy(update={"answers": (mine,)})
                yield event.model_copy(update={"evidence": evidence})
            else:
                yield event

    worker = Worker(program.store, FakeLab(script))
    run_id = worker.submit(RunSpec(data=DataSpec(source="mine", tasks=("Task1",))))
    assert worker.wait(run_id, 10).kind == "finished"
    worker.close(5)
    form = use_data(forms.first_form(), "mine")
    # This model has no template: auto means off.
    for template, known in (("auto", True), ("off", True), ("on", False)):
        asked = form.having({forms.TEMPLATE: template})
        html = picker(program, asked, ticks_of(asked, {}), ALL)["html"]
        assert ("a sailor" in html.replace("<mark>", "").replace("</mark>", "")) is known


@pytest.mark.parametrize("shown", [None, [], ["strange"], "x"])
def test_nothing_is_asked_about_no_row(program, form, shown):
    assert "no row is shown" in press_preview(program, form, shown).problems[0].message
    assert program.store.previews() == []


def test_a_model_that_is_not_known_is_not_asked(program, form):
    message = press_preview(program, form.having({"model.name": "nothing-like-it"}), ids())
    assert "nothing-like-it" in message.problems[0].message


@pytest.mark.parametrize("asked", [None, {}, {"preview": 7}, {"preview": "strange"}])
def test_a_poll_that_makes_no_sense_is_refused_in_words(program, asked):
    assert poll(program, asked)["problem"]
