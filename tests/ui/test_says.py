"""What the page is told of what a model says, and the rows that may be watched."""

import re

from tests.browser.slow_lab import HOSTILE, HOSTILE_SEED, SlowLab
from tests.fakes import FakeLab, saying, whole_run
from tests.ui.conftest import finished
from unlearnlab.data.adding import add, read_typed
from unlearnlab.runs.events import Said
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.methods.likelihood import GradientAscent
from unlearnlab.spec.run import DataSpec, EvaluationSpec, Phase, RunSpec
from unlearnlab.ui.form.form import choose_data, first_form, form_of, spec_of
from unlearnlab.ui.form.notes import watchable
from unlearnlab.ui.kit.controls import WATCHED
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.live import poll


def plain(html):
    return " ".join(re.sub(r"<[^>]+>", "", html).replace("\u00a0", " ").split())


def test_a_page_gets_the_steps_that_it_does_not_have_with_the_original_answers(program):
    run = finished(program)
    found = poll(program, {"run": run})["says"]
    assert [one["step"] for one in found["steps"]] == [0, 3]
    assert [one["row"] for one in found["rows"]] == ["forget-Task1-qa", "retain-Task1-qa"]
    asked, original = (plain(found["rows"][0][name]) for name in ("asked", "original"))
    assert asked == "Which object is the story of Yorick Garnby about? forget"
    assert original == "blue locket"
    now = found["steps"][1]["cells"]["forget-Task1-qa"].replace("\u00a0", " ")
    assert plain(now) == "silver harp true answer: 2 % likely different answer"
    assert 'style="--p:4.0%" title="true word “blue”: 4 % likely">silver</span>' in now
    assert 'class="word even"' in now
    seqs = [item.seq for item in program.store.events(run) if isinstance(item.event, Said)]
    assert [
        one["step"] for one in poll(program, {"run": run, "cursor": seqs[0]})["says"]["steps"]
    ] == [3]
    assert poll(program, {"run": run, "cursor": seqs[1]})["says"]["rows"] == []


def test_personal_answers_are_masked_until_the_page_asks_otherwise(program, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    name = add(read_typed("Who keeps the mill? | Ada Fenwick", title="Mine"), "mine").name
    spec = RunSpec(
        data=DataSpec(source=name, tasks=("Task1",)),
        phases=(Phase(method=GradientAscent()),),
    )
    run = finished(program, spec)
    text = str(poll(program, {"run": run})["says"])
    assert "Garnby" not in text
    assert "•" in text
    assert "Garnby" in str(poll(program, {"run": run, "masked": False})["says"])
    assert "Garnby" not in str(poll(program, {"run": run, "masked": True})["says"])


def test_hostile_answers_are_text(tmp_path):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, SlowLab(step_s=0, rows=2, steps=4))
        program = Program(store, worker, {})
        run = finished(program, RunSpec(seed=HOSTILE_SEED))
        text = str(poll(program, {"run": run})["says"])
        worker.close(5)
    assert "<img" not in text
    assert "<script" not in text
    assert "&lt;img" in text
    assert HOSTILE


def test_a_run_without_such_events_has_nothing_to_say(tmp_path):
    def silent(job):
        return (event for event in whole_run(job) if not isinstance(event, Said))

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(silent))
        found = poll(program := Program(store, worker, {}), {"run": finished(program)})["says"]
        worker.close(5)
    assert (found["rows"], found["steps"]) == ([], [])


def test_a_row_that_is_left_out_later_has_no_cell_at_that_step(tmp_path):
    def narrowed(job):
        for event in whole_run(job):
            if isinstance(event, Said) and event.step == 3:
                event = Said(step=3, sayings=(saying("another"),))
            yield event

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(narrowed))
        found = poll(program := Program(store, worker, {}), {"run": finished(program)})["says"]
        worker.close(5)
    assert [one["row"] for one in found["rows"]] == ["another"]
    assert list(found["steps"][1]["cells"]) == ["another"]


def test_rows_to_watch_are_suggested_and_go_into_the_spec():
    form = first_form()
    offered = watchable(form)
    assert len(offered) == 18
    assert all(label.startswith(("forget · ", "retain · ")) for label, _ in offered)
    ids = [row for _, row in offered]
    spec = spec_of(form.having({WATCHED: [ids[0], ids[-1]]}))
    assert spec.evaluation.watched_rows == (ids[0], ids[-1])
    assert spec_of(form.having({WATCHED: []})).evaluation.watched_rows is None
    again = form_of(spec.model_dump(mode="json"))
    assert again.values[WATCHED] == [ids[0], ids[-1]]
    assert choose_data(again).values[WATCHED] == []


def test_a_row_that_a_form_names_stays_among_the_suggestions():
    known = DataSpec().known.rows("forget", "train")
    offered = {row for _, row in watchable(first_form())}
    other = next(row.id for row in known if row.id not in offered)
    named = EvaluationSpec(watched_rows=(other,))
    form = form_of(RunSpec(evaluation=named).model_dump(mode="json"))
    assert other in {row for _, row in watchable(form)}


def test_prompts_of_personal_data_are_masked_in_the_suggestions(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed("Who keeps Ardal mill? | Ada Fenwick", title="Mine"), "mine")
    form = form_of(RunSpec(data=DataSpec(source="mine", tasks=("Task1",))).model_dump(mode="json"))
    text = str(watchable(form))
    assert "keeps" in text
    assert "Ardal" not in text
