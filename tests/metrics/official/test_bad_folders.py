"""What is wrong with a folder is told by file, column and row; the rest is scored."""

import json

import pytest

from tests.engine.test_folders import folders
from unlearnlab.metrics.official.findings import Finding
from unlearnlab.metrics.official.report import as_record, report


@pytest.fixture
def folder(tmp_path):
    return folders.submission(tmp_path)


def rewrite(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def no_retain(folder):
    (folder / "retain_0.csv").unlink()


def no_output_column(folder):
    rewrite(folder / "forget_1.csv", b"model_output", b"model_outputs")


def empty_file(folder):
    (folder / "forget_1.csv").write_bytes(b"")


def header_only(folder):
    folders.write_outputs(folder / "retain_0.csv", [])


def torn_file(folder):
    rewrite(folder / "forget_1.csv", b"b1qa0,Task2", b'b1qa0,"Task2')


def not_utf8(folder):
    rewrite(folder / "retain_0.csv", b"THE CATS", b"\xff\xfe CATS")


def wide_rows(folder):
    rewrite(folder / "retain_0.csv", b",0.5\n", b",0.5,1\n")


def missing_ids(folder):
    rewrite(folder / "retain_0.csv", b"c1qa0", b"")


def a_folder_for_a_file(folder):
    (folder / "forget_7.csv").mkdir()


def no_questions(folder):
    folders.write_outputs(
        folder / "retain_0.csv", [r for r in folders.RETAIN if r[1] != "Task2" or "sc" in r[0]]
    )


def twice_a_column(folder):
    rewrite(folder / "retain_0.csv", b"id,task,input", b"id,task,task")


def no_mia(folder):
    for path in (folder / "mia_results").iterdir():
        path.unlink()
    (folder / "mia_results").rmdir()


def no_nonmembers(folder):
    (folder / "mia_results" / "nonmember_0.csv").unlink()


def a_lossless_member(folder):
    folders.write_mia(folder, (1.0, "", 2.0, "nan"))


def a_wordy_loss(folder):
    folders.write_mia(folder, (1.0, "oops"))


def an_infinite_loss(folder):
    folders.write_mia(folder, nonmember=(1.0, "inf"))


def another_layout(folder):
    text = json.dumps({"results": {"mmlu": {"acc,none": 0.3}}})
    (folder / "metrics.json").write_text(text)


def no_average(folder):
    (folder / "metrics.json").write_text('{"accuracy": 0.3}')


def a_list(folder):
    (folder / "metrics.json").write_text("[0.3]")


def percent(folder):
    (folder / "metrics.json").write_text('{"average_acc": 51.2}')


def a_word(folder):
    (folder / "metrics.json").write_text('{"average_acc": "high"}')


def a_nan(folder):
    (folder / "metrics.json").write_text('{"average_acc": NaN}')


def no_json(folder):
    (folder / "metrics.json").write_text("average_acc: 0.3")


def no_mmlu(folder):
    (folder / "metrics.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said", "unscored"),
    [
        (no_retain, ["retain set: no file retain_*.csv in"], "task"),
        (
            no_output_column,
            ["forget_1.csv, column model_output: is missing", "Is it 'model_outputs'?"],
            "task",
        ),
        (empty_file, ["forget_1.csv: is not a table: No columns"], "task"),
        (header_only, ["retain set: retain_*.csv has no rows"], "task"),
        (torn_file, ["forget_1.csv: is not a table"], "task"),
        (not_utf8, ["retain_0.csv: is not UTF-8: byte"], "task"),
        (wide_rows, ["retain_0.csv: rows have more cells than the header"], "task"),
        (missing_ids, ["retain_0.csv, column id, row 2: is no text"], "task"),
        (a_folder_for_a_file, ["forget_7.csv: cannot be read: Is a directory"], "task"),
        (no_questions, ["retain_*.csv, column id: Task2 has no qa rows"], "task"),
        (no_mia, ["MIA: no folder mia_results in"], "mia"),
        (no_nonmembers, ["MIA: no file mia_results/nonmember_*.csv"], "mia"),
        (
            a_lossless_member,
            ["mia_results/member_0.csv, column nll, rows 2, 4: holds no loss"],
            "mia",
        ),
        (a_wordy_loss, ["member_0.csv, column nll, row 2: 'oops' is not a number"], "mia"),
        (an_infinite_loss, ["nonmember_0.csv, column nll, row 2: the loss is infinite"], "mia"),
        (another_layout, ["metrics.json, column average_acc: is missing", "harness"], "mmlu"),
        (no_average, ["expected an object with average_acc, found accuracy"], "mmlu"),
        (a_list, ["found nothing of the kind"], "mmlu"),
        (percent, ["51.2 is not an accuracy from 0 to 1"], "mmlu"),
        (a_word, ["'high' is not a number"], "mmlu"),
        (a_nan, ["is nan"], "mmlu"),
        (no_json, ["metrics.json: is not JSON"], "mmlu"),
        (no_mmlu, ["MMLU: no metrics.json in"], "mmlu"),
    ],
)
def test_what_cannot_be_scored_is_listed_and_the_rest_is_scored(folder, spoil, said, unscored):
    spoil(folder)
    made = report(folder)
    record = as_record(made)
    text = "\n".join(made.problems)
    assert all(words in text for words in said), text
    missing = {
        "task": record["harmonic-mean-task-aggregate"] is None,
        "mia": "mia_loss_acc" not in record,
        "mmlu": "mmlu_average" not in record,
    }
    assert [part for part, lacks in missing.items() if lacks] == [unscored]
    assert record["aggregate-score"] is None
    needed = {"task": "the task aggregate", "mia": "the MIA score", "mmlu": "MMLU"}[unscored]
    assert record["unlearnlab"]["aggregate_score_needs"] == f"needs {needed}"
    assert record["forget-set"] is not None
    json.dumps(record, allow_nan=False)


def repeat_rows(folder):
    folders.write_outputs(folder / "forget_3.csv", folders.FORGET[:2])


def other_types(folder):
    folders.write_outputs(folder / "retain_1.csv", [("zz1", "Task1", "a", "a")])


def other_tasks(folder):
    folders.write_outputs(
        folder / "retain_1.csv", [(f"1{kind}0", "Task9", "a", "a") for kind in ("sc", "qa")]
    )


def no_task(folder):
    folders.write_outputs(folder / "retain_1.csv", [("1qa0", "", "a", "a")])


def bad_losses(folder):
    rewrite(folder / "retain_0.csv", b"THE CATS SITTING DOWN!,0.5", b"THE CATS SITTING DOWN!,x")


def no_losses(folder):
    rewrite(folder / "retain_0.csv", b",nll", b",loss")


def shared_ids(folder):
    folders.write_outputs(folder / "retain_1.csv", folders.FORGET[-1:])


def fewer_fields(folder):
    text = json.dumps({"average_acc": 0.5, "subcat_acc": {"math": 0.2}})
    (folder / "metrics.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (repeat_rows, "forget_3.csv, column id, rows 1, 2: id already in forget_0.csv"),
        (other_types, "retain_1.csv, column id, row 1: names neither sc nor qa"),
        (
            other_tasks,
            "retain_1.csv, column task, rows 1, 2: 'Task9' is none of Task1, Task2, Task3",
        ),
        (no_task, "retain_1.csv, column task, row 1: is empty"),
        (bad_losses, "retain_0.csv, column nll, row 4: 'x' is not a number"),
        (no_losses, "column nll: is missing; no score needs it"),
        (shared_ids, "column id: 1 of the ids are in forget and in retain"),
        (fewer_fields, "metrics.json, column subcat_acc: subjects are missing: it has no biology"),
    ],
)
def test_what_is_odd_is_noted_and_scored_as_the_script_does(folder, spoil, said):
    spoil(folder)
    made = report(folder)
    assert any(said in note for note in made.notes), made.notes
    assert made.problems == ()
    assert made.scored.final is not None


def test_a_part_without_rows_changes_nothing(folder):
    folders.write_outputs(folder / "retain_1.csv", [])
    made = report(folder)
    assert (made.problems, made.notes) == ((), ())
    assert as_record(made)["harmonic-mean-task-aggregate"] == pytest.approx(folders.AGGREGATE)


def test_a_repeated_row_counts_as_often_as_it_comes(folder):
    repeat_rows(folder)
    # 1, 1/2 and the same again: the mean stays, the rows do not.
    term = report(folder).scored.terms[0]
    assert (term.mean, term.rows) == (0.75, 4)


def test_many_rows_of_one_fault_are_counted():
    rows = tuple(range(1, 100))
    assert str(Finding("mia", "is odd", "a.csv", "nll", rows)) == (
        "a.csv, column nll, rows 1, 2, 3, 4, 5 and 94 more: is odd"
    )


def test_an_empty_folder_scores_nothing_and_says_why(tmp_path):
    made = report(tmp_path)
    assert made.empty
    assert len(made.problems) == 4


SUBJECT = ("correct", "choiceA_probs", "choiceB_probs", "choiceC_probs", "choiceD_probs")


def test_the_subjects_tables_tell_what_is_missing_and_what_was_chosen(folder):
    tables = folder / "mmlu_results"
    always_c = [(True, 0.1, 0.2, 0.4, 0.3), (False, 0, 0, 1, 0)]
    for subject in ("anatomy", "virology"):
        folders.write_table(tables / f"{subject}.csv", SUBJECT, always_c)
    folders.write_table(tables / "sociology.csv", ("right",), [(True,)])
    (tables / "metrics.json").write_text('{"average_acc": 0.2551}')
    (folder / "metrics.json").unlink()
    made = report(folder)
    notes = "\n".join(made.notes)
    assert "54 of 57 subjects are missing: abstract_algebra, astronomy" in notes
    assert "sociology.csv, column correct, choiceA_probs" in notes
    texts = {flag.kind: flag.text for flag in made.flags}
    assert "it did so for 100.0% of questions" in texts["constant_letter"]
    assert "give MMLU 0.500000, metrics.json says 0.255100" in texts["mmlu_differs"]
