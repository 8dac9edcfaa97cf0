"""Checking and adding data, with real files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import FakeLab
from unlearnlab.data.adding import BORROWED
from unlearnlab.data.datasets import datasets
from unlearnlab.models.catalog import models
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.ui.data.add_card import (
    AddRequest,
    check,
    choices,
    findings_html,
    guessed,
    press_add,
)
from unlearnlab.ui.data.tab import datasets_html, press_remove
from unlearnlab.ui.kit.program import Program

ROWS = [
    {"input": "Who is Ada Brock?", "output": "a pilot"},
    {"input": "Where does Bo live?", "output": "in Nola"},
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path):
    """Write a forget and a retain file, and return what asks for them."""
    forget, retain = tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"
    forget.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    retain.write_text('{"input": "Who is Di?", "output": "a judge"}\n')
    return AddRequest(forget=str(forget), retain=str(retain), title="Two facts")


def test_sound_files_are_checked_added_and_listed(files):
    checked = check(files)
    assert checked.draft.sound
    assert checked.message.note == "No findings. It can be added."
    name, message = press_add(files)
    assert name == "two-facts"
    assert "Added as two-facts" in message.note
    assert "Two facts" in datasets_html("embedded")


def test_errors_come_with_counts_and_rows_and_keep_the_data_out(tmp_path):
    path = tmp_path / "bad.jsonl"
    lines = [*ROWS, {"input": "Who is Cy Feld?", "output": ""}, ROWS[0]]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in lines))
    asked = AddRequest(forget=str(path))
    draft = check(asked).draft
    assert not draft.sound
    assert "forget, train, line 3" in findings_html(draft, masked=False)
    assert "Feld" not in findings_html(draft, masked=True)
    name, message = press_add(asked)
    assert name == ""
    assert message.problems[0].message == "1 error: see Findings, fix the file and check again"
    assert list(datasets()) == ["embedded"]


@pytest.mark.parametrize(
    ("asked", "field", "told"),
    [
        (AddRequest(), "f-data-add-forget", "nothing was given"),
        (AddRequest(way="folder"), "f-data-add-folder", "nothing was given"),
        (AddRequest(forget="no/such/file"), "f-data-add-forget", "there is no no/such/file"),
        (AddRequest(way="folder", folder="no/such"), "f-data-add-folder", "there is no no/such"),
    ],
)
def test_what_is_not_there_is_told_at_its_field(asked, field, told):
    (problem,) = check(asked).message.problems
    assert problem.element == field
    assert told in problem.message


def test_a_file_that_cannot_be_read_is_told_at_its_own_field(files, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"\x00\x01 nothing of the kind")
    asked = AddRequest(forget=files.forget, retain=str(broken))
    (problem,) = check(asked).message.problems
    assert problem.element == "f-data-add-retain"
    assert "broken.parquet" in problem.message
    (tmp_path / "empty").mkdir()
    asked = AddRequest(way="folder", folder=str(tmp_path / "empty"))
    assert check(asked).message.problems[0].element == "f-data-add-folder"
    asked = AddRequest(forget=str(tmp_path))
    assert "is a folder: give a file" in check(asked).message.problems[0].message


def test_a_file_that_was_mended_is_read_again(files, tmp_path):
    path = tmp_path / "forget.jsonl"
    path.write_text('{"input": "Who?", "output": ""}\n')
    assert not check(files).draft.sound
    path.write_text('{"input": "Who is it?", "output": "Ada"}\n')
    assert check(files).draft.sound


@pytest.mark.parametrize(
    ("model", "told"),
    [("tiny-olmo", True), ("olmo-1b", False), ("ada/unknown", False), ("", False)],
)
def test_rows_are_held_against_the_context_of_the_model_that_is_chosen(files, model, told):
    context = models()["tiny-olmo"].architecture.context
    with Path(files.forget).open("a") as file:
        file.write(json.dumps({"input": "Who is Ed?", "output": "a tall man " * context}) + "\n")
    checked = check(files, model)
    found = [one.kind for one in checked.draft.findings]
    assert ("longer than the context" in found) == told
    assert checked.draft.sound
    if told:
        message = checked.draft.findings[-1].message
        assert f"1 row does not fit a context of {context:,} tokens" in message


def test_columns_are_asked_for_only_where_they_are_called_otherwise(files, tmp_path):
    assert choices(files).columns == {}
    path = tmp_path / "other.csv"
    path.write_text("Question,Answer,page\nWho is Ada?,a pilot,7\n")
    names = ["Question", "Answer", "page"]
    assert choices(AddRequest(forget=str(path))).columns == {"forget": names}
    chosen = {role: guessed(role, names) for role in ("input", "output")}
    assert chosen == {"input": "Question", "output": "Answer"}
    asked = AddRequest(forget=str(path), columns=tuple(chosen.items()))
    assert check(asked).draft.rows["forget_train"][0].output == "a pilot"
    absent = str(tmp_path / "absent")
    assert choices(AddRequest(forget=absent)).columns == {}
    assert choices(AddRequest(forget=str(path), retain=absent)).columns == {"forget": names}
    assert guessed("input", names, "page") == "page"


def test_each_file_has_columns_of_its_own(files, tmp_path):
    path = tmp_path / "retain.csv"
    path.write_text("a,b,c\nWho is Di?,a judge,7\n")
    assert choices(replace(files, retain=str(path))).columns == {"retain": ["a", "b", "c"]}
    mapped = replace(files, retain=str(path), retain_columns=(("input", "a"), ("output", "b")))
    assert check(mapped).draft.rows["retain_train"][0].output == "a judge"
    wrong = replace(mapped, retain_columns=(("input", "a"), ("output", "z")))
    (problem,) = check(wrong).message.problems
    assert problem.element == "f-data-add-retain-columns"


def test_a_layout_is_offered_where_a_file_needs_one_and_read_when_it_is_chosen(files, tmp_path):
    path = tmp_path / "chat.jsonl"
    row = {"messages": [{"role": "user", "content": "Who?"}]}
    row["messages"].append({"role": "assistant", "content": "Bo"})
    path.write_text(json.dumps(row) + "\n")
    asked = replace(files, forget=str(path))
    assert (choices(asked).layout, choices(files).layout) == ("messages", "columns")
    assert "--layout messages" in check(asked).message.problems[0].message
    draft = check(replace(asked, layout="messages")).draft
    assert draft.rows["forget_train"][0].output == "Bo"


def test_retain_rows_may_be_borrowed(files):
    draft = check(replace(files, retain="", retain_of="embedded")).draft
    assert len(draft.rows["retain_train"]) == BORROWED


def test_a_dataset_is_removed_but_not_from_under_a_run(files, home):
    press_add(files)

    def endless(job):
        while True:
            yield None

    with Store(home) as store:
        worker = Worker(store, FakeLab(endless))
        program = Program(store, worker, {})
        run_id = worker.submit(RunSpec(data=DataSpec(source="two-facts", tasks=("Task1",))))
        (problem,) = press_remove(program, "two-facts").problems
        assert f"run {run_id} needs it" in problem.message
        worker.stop(run_id)
        worker.wait(run_id, 10)
        assert press_remove(program, "two-facts").note == "two-facts was removed."
        assert "comes with the program" in press_remove(program, "embedded").problems[0].message
        worker.close(5)
    assert list(datasets()) == ["embedded"]


def test_a_part_of_a_folder_is_taken_as_on_the_command_line(tmp_path):
    rows = [{"id": f"d{n}", "input": f"Who is {n}?", "output": "x"} for n in range(6)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "forget_train.jsonl").write_text(lines)

    def asked(**part):
        return check(AddRequest(way="folder", folder=str(tmp_path), **part))

    def taken(**part):
        return [row.id for row in asked(**part).draft.rows["forget_train"]]

    assert len(taken()) == 6
    assert len(taken(limit="2")) == 2
    assert taken(limit="3", seed="1") == taken(limit=" 3 ", seed="1")
    assert len({tuple(taken(limit="2", seed=str(seed))) for seed in range(5)}) > 1
    for part, field in (({"limit": "0"}, "limit"), ({"limit": "2", "seed": "-1"}, "seed")):
        (problem,) = asked(**part).message.problems
        assert problem.element == f"f-data-add-{field}"
        assert "is not a whole number" in problem.message
