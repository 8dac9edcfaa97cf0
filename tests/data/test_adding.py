"""Folders, files and typed facts become datasets that a run can name: whole or not at all."""

import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest

from unlearnlab.data import adding
from unlearnlab.data.adding import (
    SourceError,
    add,
    read_files,
    read_folder,
    read_typed,
    remove,
)
from unlearnlab.data.datasets import dataset, datasets, datasets_folder
from unlearnlab.spec.run import DataSpec

STORY = '"6022f54a-baa3-4873-9a65-03c7af36d60e"'
PERSON = "01c1aa46-7274-441a-98ab-f0a42d0e5aa4"
PAGE = "36307590"


def official(name, split, *, pages=1):
    """Make rows as the task has them: one story, one person, some pages."""
    rows = [
        (f'{STORY[:-1]}{name}"sc1', f"Once {name} lived", "in a mill.", "Task1"),
        (f'{STORY[:-1]}{name}"qa0', f"Where did {name} live?", "mill", "Task1"),
        (f"{PERSON}{name}sc1", f"{name} was born on", "1 May 1900, phone 555.", "Task2"),
        *((f"{PERSON}{name}qa{n}", f"Fact {n} of {name}?", f"{n}", "Task2") for n in range(5)),
    ]
    for page in range(pages):
        text = f"{name} {page}\n\n{name} {page} (born 1955) is an American physicist and"
        rows.append((f"{PAGE}{name}{page}sc1", text, "teacher of long standing.", "Task3"))
        rows.append((f"{PAGE}{name}{page}qa0", f"What is {name} {page}?", "physicist", "Task3"))
    head = ("id", "input", "output", "task", "split")
    return [dict(zip(head, (*row, split), strict=True)) for row in rows]


SETS = [(split, fold) for split in ("forget", "retain") for fold in ("train", "validation")]


def rows_of(split, fold, **how):
    return official(f"{split.capitalize()}{fold}", split, **how)


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def documents(folder):
    for fold, place in (("train", "mia_data"), ("validation", "mia_data/validation")):
        member = [row for row in rows_of("forget", fold) if row["task"] == "Task3"][:1]
        texts = [{"id": r["id"], "document": f"{r['input']} {r['output']}"} for r in member]
        write_jsonl(folder / place / "member.jsonl", texts)
        other = {"id": "1", "document": f"Someone else of {fold}.", "metadata": {"length": 3}}
        write_jsonl(folder / place / "nonmember.jsonl", [other])


def hub(folder):
    """Lay the data out as on the hub."""
    (folder / "data").mkdir(parents=True)
    for split, fold in SETS:
        name = f"{split}_{fold}-00000-of-00001.parquet"
        pd.DataFrame(rows_of(split, fold)).to_parquet(folder / "data" / name)
    documents(folder)


def converted(folder):
    """Lay them out as the task's own instructions convert them: column by column."""
    for split, fold in SETS:
        path = folder / fold / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows_of(split, fold)).to_json(path)
    documents(folder)


def flat(folder):
    for split, fold in SETS:
        write_jsonl(folder / f"{split}_{fold}.jsonl", rows_of(split, fold))
    documents(folder)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    def written(text, name="facts.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.mark.parametrize("layout", [hub, converted, flat])
def test_the_data_of_the_task_come_from_each_of_its_layouts(tmp_path, layout):
    layout(tmp_path / "semeval")
    draft = read_folder(tmp_path / "semeval")
    assert draft.findings == ()
    assert draft.source == draft.title == "SemEval-2025 Task 4"
    kept = add(draft)
    assert kept.name == "semeval-2025-task-4"
    assert kept.folds == ("train", "validation")
    for split, fold in SETS:
        given = [row | {"split": split} for row in rows_of(split, fold)]
        found = [row.plain | {"split": split} for row in kept.rows(split, fold)]
        assert found == given, "ids keep their quotes, texts their white space"
    assert len(kept.documents("member")) == len(kept.documents("member", "validation")) == 1
    assert kept.documents("nonmember") == ("Someone else of train.",)
    assert kept.documents("nonmember", "validation") == ("Someone else of validation.",)
    assert DataSpec(source=kept.name).counts()["forget"]["Task2"] == 6


def test_a_folder_of_forget_and_retain_alone_is_one_fold(tmp_path):
    write_jsonl(tmp_path / "mine" / "forget.jsonl", rows_of("forget", "train"))
    pd.DataFrame(rows_of("retain", "train")).to_parquet(tmp_path / "mine" / "retain.parquet")
    draft = read_folder(tmp_path / "mine")
    assert [(split, len(rows)) for split, rows in draft.rows.items()] == [
        ("forget_train", 10),
        ("retain_train", 10),
    ]
    assert draft.titles == {}


def test_a_dataset_that_was_added_can_be_added_elsewhere_with_its_names(tmp_path, monkeypatch):
    first = add(read_typed("Who is X? Bo", retain_of="embedded", title="Mine"))
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "elsewhere"))
    second = add(read_folder(first.folder))
    assert (second.title, second.source, second.titles) == (first.title, first.source, first.titles)
    assert second.rows("retain", "train") == first.rows("retain", "train")
    assert second.questions() == first.questions() == dataset("embedded").questions()


def test_a_part_that_is_missing_is_named(tmp_path):
    hub(tmp_path / "semeval")
    part = tmp_path / "semeval" / "data" / "retain_train-00000-of-00001.parquet"
    part.rename(part.with_stem("retain_train-00000-of-00002"))
    with pytest.raises(SourceError, match="1 of 2 parts are here"):
        read_folder(tmp_path / "semeval")


def test_a_folder_without_a_forget_set_says_what_it_needs(tmp_path):
    with pytest.raises(SourceError, match="there is no such folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"it needs forget\.jsonl or forget_train\.jsonl"):
        read_folder(tmp_path / "empty")


@pytest.mark.parametrize("line", ['{"id": 3}', '{"document": ["a"]}'])
def test_documents_of_the_attack_without_text_are_refused(tmp_path, line):
    flat(tmp_path / "semeval")
    (tmp_path / "semeval" / "mia_data" / "member.jsonl").write_text(line)
    with pytest.raises(SourceError, match=r"member\.jsonl: line 1 has no text under 'document'"):
        read_folder(tmp_path / "semeval")


HELD_OUT = ["forget_validation", "retain_validation"]


def test_a_slice_of_data_with_a_validation_fold_holds_nothing_else_out(tmp_path):
    for split, fold in SETS:
        rows = rows_of(split, fold, pages=4)
        write_jsonl(tmp_path / "mine" / f"{split}_{fold}.jsonl", rows)
    draft = read_folder(tmp_path / "mine", limit=2)
    names = {row.id for row in draft.rows["forget_validation"]}
    assert names
    assert all("validation" in name for name in names)


def test_a_slice_takes_whole_documents_the_same_for_a_seed(tmp_path):
    for split in ("forget", "retain"):
        rows = rows_of(split, "train", pages=9)
        write_jsonl(tmp_path / "mine" / f"{split}_train.jsonl", rows)
    documents(tmp_path / "mine")
    draft = read_folder(tmp_path / "mine", limit=3, seed=1)
    # Of what was not drawn, as much is held out.
    assert list(draft.rows) == ["forget_train", "retain_train", *HELD_OUT]
    for name in HELD_OUT:
        assert {row.task for row in draft.rows[name]} == {"Task3"}
        assert len({row.document for row in draft.rows[name]}) == 3
    for name, other in zip(("forget_train", "retain_train"), HELD_OUT, strict=True):
        rows = draft.rows[name]
        assert not {row.document for row in rows} & {row.document for row in draft.rows[other]}
        by_task = [[row.id for row in rows if row.task == f"Task{n}"] for n in (1, 2, 3)]
        assert [len(ids) for ids in by_task] == [2, 6, 6]
        assert len({one[:-3] for one in by_task[2]}) == 3
    assert read_folder(tmp_path / "mine", limit=3, seed=1).rows == draft.rows
    others = [read_folder(tmp_path / "mine", limit=3, seed=seed) for seed in (2, 3)]
    assert any(other.rows != draft.rows for other in others)
    held = any(row.id == f"{PAGE}Forgettrain0sc1" for row in draft.rows["forget_train"])
    assert len(draft.members) == held, "a document that is not in the slice is no member"


def test_ids_subtask_and_type_are_filled_in_where_they_are_missing(file):
    long = " ".join(["word"] * 11)
    text = f"input,output\nWho is X?,{long}\nX is,Bo\nX was,{long}\nX is,Al\n"
    rows = read_files(file(text)).rows["forget_train"]
    assert [row.kind for row in rows] == ["qa", "qa", "sc", "qa"]
    assert [row.id[-3:] for row in rows] == ["qa0", "qa0", "sc1", "qa1"]
    assert rows[1].id[:-3] == rows[3].id[:-3], "one prompt, one document"
    assert {row.task for row in rows} == {"Task1"}
    again = read_files(file("input,output\nX is,Al\n", "b.csv")).rows["forget_train"]
    assert again[0].id == rows[1].id, "an id is made of the prompt alone"


def test_the_user_may_choose_the_type_but_an_id_that_says_it_is_right(file):
    path = file("id,input,output\n1,Who?,Bo\n2sc1,Where?,Rome\n")
    rows = read_files(path, kind="completion").rows["forget_train"]
    assert [(row.id, row.kind) for row in rows] == [("1sc1", "sc"), ("2sc1", "sc")]
    rows = read_files(path, kind="question").rows["forget_train"]
    assert [(row.id, row.kind) for row in rows] == [("1qa0", "qa"), ("2sc1", "sc")]


def test_ids_that_begin_anew_in_each_file_or_name_a_document_stay_apart(file):
    forget = file("id,input,output\n1,Who?,Bo\n1,Where?,Rome\n")
    retain = file("id,input,output\n1,When?,1900\n", "retain.csv")
    draft = read_files(forget, retain)
    assert [row.id for rows in draft.rows.values() for row in rows] == ["1qa0", "1qa1", "1qa2"]
    assert [(one.kind, one.severity) for one in draft.findings] == [("id in both sets", "warning")]


def test_columns_are_mapped_and_those_of_no_use_left_out(file):
    path = file("question,answer,task\nWho?,Bo,ask me\nWhere?,Rome,tell me\n")
    columns = {"input": "question", "output": "answer"}
    assert read_files(path, columns=columns).titles == {"Task1": "ask me", "Task2": "tell me"}
    assert read_files(path, columns=columns | {"task": ""}).titles == {"Task1": "Facts"}
    with pytest.raises(SourceError, match=r"no column 'reply'.*'answer'"):
        read_files(path, columns=columns | {"output": "reply"})


def test_subtasks_of_the_task_keep_their_names(file):
    path = file("input,output,task\nWho?,Bo,Task 2\nWhere?,Rome,task3\nWhen?,1900,\n")
    draft = read_files(path)
    assert [row.task for row in draft.rows["forget_train"]] == ["Task2", "Task3", "Task1"]
    assert draft.titles == {}


def test_typed_facts_are_parted_in_several_ways():
    text = "Who is X? Bo\n\nX lives in | Rome\nX is\tYes? No\nX -> Bo\nX = Bo = Al\n"
    rows = read_typed(text).rows["forget_train"]
    assert [row.input for row in rows] == ["Who is X?", "X lives in", "X is", "X", "X"]
    assert [row.output for row in rows] == ["Bo", "Rome", "Yes? No", "Bo", "Bo = Al"]


def test_a_typed_line_without_an_answer_is_told_by_its_number():
    draft = read_typed("Who is X? Bo\nWho is Y?\nZ")
    assert [(one.kind, one.count) for one in draft.findings[:1]] == [("no answer", 2)]
    assert [row.line for row in draft.findings[0].rows] == [2, 3]
    with pytest.raises(SourceError, match="nothing was typed"):
        read_typed(" \n")


def test_typed_facts_may_be_kept_beside_retain_rows_of_another_dataset():
    draft = read_typed("Who is X? Bo", retain="Who is Y? Al", retain_of="embedded")
    embedded = dataset("embedded").rows("retain", "train")
    assert draft.findings == ()
    borrowed = [row.id for row in draft.rows["retain_train"][1:]]
    assert borrowed == [row.id for row in embedded[::5][:60]]
    assert {row.task for row in draft.rows["retain_train"]} == {"Task1"}
    aside = draft.rows["retain_validation"]
    assert not {row.document for row in aside} & {
        row.document for row in draft.rows["retain_train"]
    }
    with pytest.raises(SourceError, match="unknown dataset 'embeded': did you mean embedded"):
        read_typed("Who is X? Bo", retain_of="embeded")


def test_a_dataset_without_a_retain_set_is_added_with_a_warning():
    kept = add(read_typed("Who is X? Bo"))
    assert kept.rows("retain", "train") == ()
    assert "no retain set" in kept.notes[0]
    assert DataSpec(source=kept.name).counts() == {
        "forget": {"Task1": 1, "Task2": 0, "Task3": 0},
        "retain": {"Task1": 0, "Task2": 0, "Task3": 0},
    }


def test_a_name_is_made_of_the_title_and_never_takes_anothers_place():
    titles = ["Über uns: 2025!"] * 2 + ["事実", "Embedded"]
    names = [add(read_typed("Who is X? Bo", title=title)).name for title in titles]
    assert names == ["uber-uns-2025", "uber-uns-2025-2", "data", "embedded-2"]


@pytest.mark.parametrize("name", ["Mine", "../mine", ".mine", "a b", "-a", "a/b", "x" * 65])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(SourceError, match="use lower-case letters"):
        add(read_typed("Who is X? Bo"), name)


def test_a_name_that_is_taken_is_refused_unless_it_may_give_way():
    add(read_typed("Who is X? Bo"), "mine")
    with pytest.raises(SourceError, match="mine: a dataset of this name exists"):
        add(read_typed("Who is X? Al"), "mine")
    kept = add(read_typed("Who is X? Al"), "mine", replace=True)
    assert kept.rows("forget", "train")[0].output == "Al"
    with pytest.raises(SourceError, match="embedded: a dataset of this name"):
        add(read_typed("Who is X? Al"), "embedded", replace=True)


def test_what_was_there_stays_if_the_new_one_cannot_be_written(monkeypatch):
    kept = add(read_typed("Who is X? Bo"), "mine")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SourceError, match="mine: cannot be saved: No space left on device"):
        add(read_typed("Who is X? Al"), "mine", replace=True)
    assert dataset("mine").rows("forget", "train") == kept.rows("forget", "train")
    assert [path.name for path in datasets_folder().iterdir()] == ["mine"]


def test_what_was_there_comes_back_if_the_new_one_cannot_take_its_place(monkeypatch):
    add(read_typed("Who is X? Bo"), "mine")
    rename = Path.rename

    def refused(path, target):
        if target == datasets_folder() / "mine" and path.parent.name != adding.EARLIER:
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(SourceError, match="Permission denied"):
        add(read_typed("Who is X? Al"), "mine", replace=True)
    assert dataset("mine").rows("forget", "train")[0].output == "Bo"


def test_what_a_killed_process_left_is_no_dataset_and_is_put_right():
    left = datasets_folder() / f"{adding.HIDDEN}abc"
    half, earlier = left / "half", left / adding.EARLIER / "mine"
    add(read_typed("Who is X? Bo"), "mine").folder.rename(half.parent.mkdir() or half)
    earlier.parent.mkdir()
    half.rename(earlier)
    assert list(datasets()) == ["embedded"]
    os.utime(left, (0, time.time() - 2 * adding.STALE_S))
    add(read_typed("Who is Y? Al"), "other")
    assert list(datasets()) == ["embedded", "mine", "other"]
    assert not left.exists()


def test_a_dataset_is_removed_but_never_the_embedded_one():
    add(read_typed("Who is X? Bo"), "mine")
    remove("mine")
    assert list(datasets()) == ["embedded"]
    assert list(datasets_folder().iterdir()) == []
    with pytest.raises(SourceError, match="embedded: comes with the program"):
        remove("embedded")
    with pytest.raises(SourceError, match="nothing to remove: unknown dataset 'mine'"):
        remove("mine")


def test_no_answer_is_in_a_name_or_a_manifest(file):
    kept = add(read_files(file("input,output\nThe number of X?,5550142\n")))
    told = (kept.folder / "manifest.json").read_text()
    assert "5550142" not in told + "".join(path.name for path in kept.folder.iterdir())
    assert "number of X" not in told


TOFU = {
    "question": "Where was Ada born?",
    "answer": "Ada was born in Rome.",
    "paraphrased_answer": "Rome is where Ada was born.",
    "perturbed_answer": ["Oslo is where Ada was born.", "Bonn is where Ada was born."],
}
NAMED = {"input": "question", "output": "answer"}


@pytest.fixture
def tofu(tmp_path):
    """Read one row with other cells."""

    def read(**cells):
        write_jsonl(tmp_path / "forget.jsonl", [TOFU | cells])
        return read_files(tmp_path / "forget.jsonl", columns=NAMED)

    return read


def alternatives(known):
    (row,) = known.rows("forget", "train")
    return row.alternatives


def test_what_a_truth_ratio_compares_is_kept_with_its_row(tofu):
    kept = add(tofu())
    expected = (TOFU["paraphrased_answer"], *TOFU["perturbed_answer"])
    assert alternatives(kept) == expected
    again = add(read_folder(kept.folder))
    assert alternatives(again) == expected, "its own layout brings them along"


@pytest.mark.parametrize(
    ("cell", "taken"),
    [
        (json.dumps(TOFU["perturbed_answer"]), TOFU["perturbed_answer"]),
        (str(TOFU["perturbed_answer"]), TOFU["perturbed_answer"]),
        ("Oslo.", ["Oslo."]),
        ("[sic] Oslo", ["[sic] Oslo"]),
        ("[1912, 1913]", ["1912", "1913"]),
        ("[" * 60_000, ["[" * 60_000]),
    ],
)
def test_a_table_writes_wrong_answers_as_a_list_or_as_one_text(tmp_path, cell, taken):
    pd.DataFrame([TOFU | {"perturbed_answer": cell}]).to_csv(tmp_path / "rows.csv", index=False)
    kept = add(read_files(tmp_path / "rows.csv", columns=NAMED))
    assert list(alternatives(kept)[1:]) == taken


def test_no_more_wrong_answers_are_taken_than_can_be_asked(tofu):
    many = [f"Oslo {n}" for n in range(200)]
    assert list(alternatives(add(tofu(perturbed_answer=many)))[1:]) == many[:20]


def test_a_right_answer_among_the_wrong_ones_is_told(tofu):
    draft = tofu(perturbed_answer=[TOFU["answer"], "Oslo is where Ada was born."])
    assert any("right answer among the wrong" in finding.kind for finding in draft.findings)


@pytest.mark.parametrize("cell", [[], [["a"]], {"a": "b"}, None, True])
def test_a_row_without_wrong_answers_is_told_and_taken(tofu, cell):
    draft = tofu(perturbed_answer=cell)
    assert draft.sound
    assert any("no truth ratio" in finding.message for finding in draft.findings)
    assert alternatives(add(draft)) == ()


def test_a_dataset_without_alternatives_is_kept_as_the_task_has_it(tmp_path):
    write_jsonl(tmp_path / "forget.jsonl", [{"input": "Who?", "output": "Ada"}])
    kept = add(read_files(tmp_path / "forget.jsonl"), "plain")
    (line,) = (kept.folder / "forget_train.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == ["id", "input", "output", "task"]
