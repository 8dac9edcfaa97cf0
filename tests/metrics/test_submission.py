"""What is wrong with a folder is told by file, column and row; the rest is scored."""

import json
import shutil

import pytest

from tests.metrics import folders
from unlearnlab.metrics.official import as_record, report
from unlearnlab.metrics.submission import Finding


@pytest.fixture
def folder(tmp_path):
    return folders.submission(tmp_path)


def delete(name):
    return lambda folder: (folder / name).unlink()


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def swap(name, old, new):
    """Replace bytes in a file."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes().replace(old, new)
    )


def outputs(name, rows):
    return lambda folder: folders.write_outputs(folder / name, rows)


def losses(**sides):
    return lambda folder: folders.write_mia(folder, **sides)


QUESTIONLESS = [row for row in folders.RETAIN if row[1] != "Task2" or "sc" in row[0]]
LAYOUT = json.dumps({"results": {"mmlu": {"acc,none": 0.3}}})


FAULTS = {
    "task": [
        (delete("retain_0.csv"), "retain set: no file retain_*.csv in"),
        (
            swap("forget_1.csv", b"model_output", b"model_outputs"),
            "forget_1.csv, column model_output: is missing",
            "Is it 'model_outputs'?",
        ),
        (text("forget_1.csv", ""), "forget_1.csv: is not a table: No columns"),
        (outputs("retain_0.csv", []), "retain set: retain_*.csv has no rows"),
        (swap("forget_1.csv", b"b1qa0,", b'b1qa0,"'), "forget_1.csv: is not a table"),
        (swap("retain_0.csv", b"THE", b"\xff\xfe"), "retain_0.csv: is not UTF-8: byte"),
        (swap("retain_0.csv", b",0.5\n", b",0.5,1\n"), "rows have more cells than the header"),
        (swap("retain_0.csv", b"c1qa0", b""), "retain_0.csv, column id, row 2: is no text"),
        (
            lambda folder: (folder / "forget_7.csv").mkdir(),
            "forget_7.csv: cannot be read: a folder where a file is expected: name a file in it",
        ),
        (outputs("retain_0.csv", QUESTIONLESS), "retain_*.csv, column id: Task2 has no qa rows"),
    ],
    "mia": [
        (lambda folder: shutil.rmtree(folder / "mia_results"), "MIA: no folder mia_results in"),
        (delete("mia_results/nonmember_0.csv"), "MIA: no file mia_results/nonmember_*.csv"),
        (
            losses(member=(1.0, "", 2.0, "nan")),
            "mia_results/member_0.csv, column nll, rows 2, 4: holds no loss",
        ),
        (losses(member=(1.0, "oops")), "member_0.csv, column nll, row 2: 'oops' is not a number"),
        (losses(nonmember=(1.0, "inf")), "column nll, row 2: the loss is infinite"),
    ],
    "mmlu": [
        (text("metrics.json", LAYOUT), "metrics.json, column average_acc: is missing", "harness"),
        (
            text("metrics.json", '{"accuracy": 0.3}'),
            "expected an object with average_acc, found accuracy",
        ),
        (text("metrics.json", "[0.3]"), "found nothing of the kind"),
        (text("metrics.json", '{"average_acc": 51.2}'), "51.2 is not an accuracy from 0 to 1"),
        (text("metrics.json", '{"average_acc": "high"}'), "'high' is not a number"),
        (text("metrics.json", '{"average_acc": NaN}'), "is nan"),
        (text("metrics.json", "average_acc: 0.3"), "metrics.json: is not JSON"),
        (delete("metrics.json"), "MMLU: no metrics.json in"),
    ],
}
"""By what is not scored then: what spoils a folder, and words of what is said of it."""


@pytest.mark.parametrize(
    ("unscored", "spoil", "said"),
    [(part, spoil, said) for part, cases in FAULTS.items() for spoil, *said in cases],
)
def test_what_cannot_be_scored_is_listed_and_the_rest_is_scored(folder, unscored, spoil, said):
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


FEWER_FIELDS = json.dumps({"average_acc": 0.5, "subcat_acc": {"math": 0.2}})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            outputs("forget_3.csv", folders.FORGET[:2]),
            "forget_3.csv, column id, rows 1, 2: id already in forget_0.csv",
        ),
        (
            outputs("retain_1.csv", [("zz1", "Task1", "a", "a")]),
            "retain_1.csv, column id, row 1: names neither sc nor qa",
        ),
        (
            outputs("retain_1.csv", [(f"1{kind}0", "Task9", "a", "a") for kind in ("sc", "qa")]),
            "retain_1.csv, column task, rows 1, 2: 'Task9' is none of Task1, Task2, Task3",
        ),
        (
            outputs("retain_1.csv", [("1qa0", "", "a", "a")]),
            "retain_1.csv, column task, row 1: is empty",
        ),
        (
            swap("retain_0.csv", b"SITTING DOWN!,0.5", b"SITTING DOWN!,x"),
            "retain_0.csv, column nll, row 4: 'x' is not a number",
        ),
        (
            swap("retain_0.csv", b",nll", b",loss"),
            "column nll: is missing; no score needs it",
        ),
        (
            outputs("retain_1.csv", folders.FORGET[-1:]),
            "column id: 1 of the ids are in forget and in retain",
        ),
        (
            text("metrics.json", FEWER_FIELDS),
            "metrics.json, column subcat_acc: subjects are missing: it has no biology",
        ),
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
    folders.write_outputs(folder / "forget_3.csv", folders.FORGET[:2])
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
