"""A folder of the official script's output scores as the script would score it."""

import json
import re
import shutil
import statistics

import pandas
import pytest
from rouge_score.rouge_scorer import RougeScorer

from tests.metrics import folders
from unlearnlab.cli.evaluate import as_text
from unlearnlab.metrics.official import as_record, official, report, score
from unlearnlab.metrics.scores import task_aggregate
from unlearnlab.metrics.submission import load

EXACTLY = {"rel": 0, "abs": 1e-12}


@pytest.fixture
def folder(tmp_path):
    return folders.submission(tmp_path)


def flagged(made):
    return [flag.kind for flag in made.flags]


def test_a_folder_scores_what_was_worked_out_by_hand(folder):
    found = official(score(load(folder)))
    assert found["aggregated-terms"] == pytest.approx(folders.TERMS, **EXACTLY)
    assert found["harmonic-mean-task-aggregate"] == pytest.approx(folders.AGGREGATE, **EXACTLY)
    assert found["mia_loss_acc"] == pytest.approx(0.75, **EXACTLY)
    assert found["mia_final_score"] == pytest.approx(0.5, **EXACTLY)
    assert found["mmlu_average"] == 0.5
    assert found["aggregate-score"] == pytest.approx((folders.AGGREGATE + 1) / 3, **EXACTLY)


def test_the_sets_hold_means_by_subtask_and_over_all_rows(folder):
    found = official(score(load(folder)))
    assert found["forget-set"] == {
        # Not one minus them, and every row counts alike: 1, 1/2, 1/4, 0 and 2 of 9.
        "overall-regurgitation-score": pytest.approx(1.75 / 4, **EXACTLY),
        "overall-knowledge-score": pytest.approx(2 / 9, **EXACTLY),
        "Task1": {"regurgitation-score": 0.75, "knowledge-score": 0.5},
        "Task2": {"regurgitation-score": 0.25, "knowledge-score": pytest.approx(0.2, **EXACTLY)},
        "Task3": {"regurgitation-score": 0.0, "knowledge-score": 0.0},
    }
    assert list(found["retain-set"]["Task3"].values()) == [0.5, 0.25]


def test_the_keys_are_the_scripts_and_ours_stand_apart(folder):
    assert set(as_record(report(folder))) == {
        "forget-set",
        "retain-set",
        "aggregated-terms",
        "mia_loss_acc",
        "mmlu_average",
        "harmonic-mean-task-aggregate",
        "aggregate-score",
        "mia_final_score",
        "unlearnlab",
    }


def plainly(folder):
    """Score as the script is described to do: pandas, a loop, means by task."""
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    terms = []
    for split in ("forget", "retain"):
        rows = pandas.concat([pandas.read_csv(path) for path in folder.glob(f"{split}_*.csv")])
        for _, mine in sorted(rows.groupby("task"), key=lambda pair: pair[0]):
            kinds = {"sc": [], "qa": []}
            for row in mine.itertuples():
                want, got = str(row.expected_output), str(row.model_output)
                if row.id[:-1].endswith("sc"):
                    kinds["sc"].append(rouge.score(want, got)["rougeL"].recall)
                else:
                    kinds["qa"].append(want.strip().lower() == got.strip().lower())
            means = [statistics.fmean(kinds["sc"]), statistics.fmean(kinds["qa"])]
            terms += [1 - mean for mean in means] if split == "forget" else means
    return terms


@pytest.mark.parametrize(
    "said",
    [
        "",
        "nan",
        "NULL",
        "N/A",
        "007",
        "7",
        "True",
        '"',
        "''",
        "a,b\r\nc",
        " ",
        "ﬁ ' \u2028",
        "None.",
    ],
)
def test_what_the_script_makes_of_odd_outputs_is_told_as_a_plain_reading_with_pandas_has_it(
    folder, said
):
    for split in ("forget", "retain"):
        rows = [
            (f"{kind}-{n}{kind}0", f"Task{n}", want, said)
            for n in (1, 2, 3)
            for kind in ("sc", "qa")
            for want in ("7", "nan", "a, b c", "True none", "''")
        ]
        folders.write_outputs(folder / f"{split}_9.csv", rows)
    found = score(load(folder))
    theirs = official(found.by_script or found)
    assert theirs["aggregated-terms"] == pytest.approx(plainly(folder), **EXACTLY)


def test_a_column_of_numbers_keeps_its_zeros_and_what_the_script_made_of_it_is_told(tmp_path):
    rows = [(f"{n}{kind}0", "Task1", "007", "7") for n in range(2) for kind in ("sc", "qa")]
    for split in ("forget", "retain"):
        folders.write_outputs(tmp_path / f"{split}_0.csv", rows)
    made = report(tmp_path)
    assert made.scored.overall["retain", "qa"] == 0
    assert made.scored.by_script.overall["retain", "qa"] == 1
    told = next(flag.text for flag in made.flags if flag.kind == "read_otherwise")
    assert "retain/Task1/qa 1.0000 (here 0.0000)" in told
    stored = official(made.scored.by_script)
    (tmp_path / "evaluation_results.json").write_text(json.dumps(stored))
    assert report(tmp_path).stored == (), "the script's own scores are compared with the script's"


def test_a_folder_that_every_reading_scores_alike_tells_of_no_other_reading(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        plain = [row for row in rows if row[0] != "77qa0"]
        folders.write_outputs(tmp_path / f"{split}_0.csv", plain)
    made = report(tmp_path)
    assert made.scored.missing == 3
    assert made.scored.by_script is None
    assert "read_otherwise" not in flagged(made)


# Of a team's public evaluation_results.jsonl and metrics.json (github.com/MAL-TO).
REAL_TERMS = [
    *(0.951278524837654, 0.9583333333333334, 0.7945559214489167),
    *(0.8260869565217391, 0.8387127329439761, 0.7058823529411764),
    *(0.07961245250106845, 0.07407407407407407, 0.18636681522270102),
    *(0.152, 0.14673715074529023, 0.10810810810810811),
]
REAL_AGGREGATE = 0.19594005219661187
REAL_MMLU = 0.25523429710867396


def test_a_real_submissions_terms_give_its_stored_aggregate():
    named = {str(i): value for i, value in enumerate(REAL_TERMS)}
    assert task_aggregate(named) == pytest.approx(REAL_AGGREGATE, **EXACTLY)


def test_without_mia_or_mmlu_there_is_no_final_score_and_the_reason_is_told(folder):
    (folder / "metrics.json").unlink()
    made = report(folder)
    record = as_record(made)
    assert record["aggregate-score"] is None
    assert record["unlearnlab"]["aggregate_score_needs"] == "needs MMLU"
    assert "mmlu_average" not in record
    assert record["harmonic-mean-task-aggregate"] == pytest.approx(folders.AGGREGATE)
    assert re.search(r"^aggregate score +- +needs MMLU$", as_text(made), re.MULTILINE)
    shutil.rmtree(folder / "mia_results")
    assert report(folder).scored.final_needs == "needs the MIA score and MMLU"


def test_the_scripts_minus_one_for_no_score_is_no_difference(folder):
    (folder / "metrics.json").unlink()
    stored = {"harmonic-mean-task-aggregate": folders.BY_PANDAS, "aggregate-score": -1}
    (folder / "evaluation_results.json").write_text(json.dumps(stored))
    assert report(folder).stored == ()


def test_a_whole_folder_needs_nothing_more_for_its_final_score(folder):
    record = as_record(report(folder))
    assert record["aggregate-score"] is not None
    assert record["unlearnlab"]["aggregate_score_needs"] is None


def test_fewer_subtasks_give_fewer_terms_and_a_flag(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        folders.write_outputs(tmp_path / f"{split}_0.csv", [row for row in rows if "1" in row[1]])
    made = report(tmp_path)
    assert as_record(made)["aggregated-terms"] == pytest.approx([0.25, 0.5, 1, 0.5])
    assert "fewer_terms" in flagged(made)


def test_a_zero_term_is_named(folder):
    folders.write_outputs(
        folder / "retain_0.csv",
        [
            (i, t, want, "no" if i.startswith("c") and "qa" in i else got)
            for i, t, want, got in folders.RETAIN
        ],
    )
    made = report(folder)
    assert official(made.scored)["harmonic-mean-task-aggregate"] == 0
    assert [f.text for f in made.flags if f.kind == "zero_term"] == [
        "The task aggregate is 0 because of retain/Task1/qa."
    ]


def test_a_wreck_is_told_from_a_success(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        wrecked = [(i, t, want, "w w w") for i, t, want, _ in rows]
        folders.write_outputs(tmp_path / f"{split}_0.csv", wrecked)
    folders.write_mia(tmp_path, (1.0, 4.0), (2.0, 3.0))
    (tmp_path / "metrics.json").write_text(json.dumps({"average_acc": 3222 / 14042}))
    made = report(tmp_path)
    assert flagged(made) == [
        "collapsed",
        "zero_term",
        "few_outputs",
        "below_gate",
        "constant_letter",
    ]
    assert "at_chance" not in flagged(made), "less than a guesser is not chance"
    assert made.scored.final == pytest.approx((0 + 1 + 3222 / 14042) / 3)


def test_an_untouched_model_is_no_wreck_whatever_its_attack(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        recited = [(i, t, want, want) for i, t, want, _ in rows]
        folders.write_outputs(tmp_path / f"{split}_0.csv", recited)
    folders.write_mia(tmp_path, (1.0, 1.0), (1.0, 1.0))
    made = report(tmp_path)
    assert made.scored.mia_score == 1
    assert "collapsed" not in flagged(made)


def test_accuracy_at_chance_is_told_by_its_interval(folder):
    for average, chance in ((0.2551, True), (0.26, False), (0.24, False)):
        (folder / "metrics.json").write_text(json.dumps({"average_acc": average}))
        assert ("at_chance" in flagged(report(folder))) is chance


def test_recitations_that_rouge_does_not_see_are_counted(tmp_path):
    text = "Река течёт через старый город"
    rows = [("a1sc1", "Task1", text, text), ("a2sc1", "Task1", text, "нет")]
    folders.write_outputs(tmp_path / "forget_0.csv", [*rows, *folders.FORGET])
    folders.write_outputs(tmp_path / "retain_0.csv", folders.RETAIN)
    made = report(tmp_path)
    told = next(flag.text for flag in made.flags if flag.kind == "blind_rouge")
    assert told.startswith("2 of 9 expected texts hold hardly a letter")
    assert "1 of 2 are recited word for word" in told


def test_one_row_has_no_interval(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        few = [
            next(row for row in rows if row[1] == "Task1" and kind in row[0])
            for kind in ("sc", "qa")
        ]
        folders.write_outputs(tmp_path / f"{split}_0.csv", few)
    line = next(one for one in as_text(report(tmp_path)).splitlines() if "regurgitation" in one)
    assert "n = 1" in line


def test_an_untouched_model_is_told(tmp_path):
    for split, rows in (("forget", folders.FORGET), ("retain", folders.RETAIN)):
        recited = [(i, t, want, want) for i, t, want, _ in rows]
        folders.write_outputs(tmp_path / f"{split}_0.csv", recited)
    folders.write_mia(tmp_path, (0.1, 0.2), (2.0, 3.0))
    assert "no_effect" in flagged(report(tmp_path))


def test_a_real_mmlu_file_is_near_a_constant_letter(folder):
    (folder / "metrics.json").write_text(json.dumps({"average_acc": REAL_MMLU}))
    texts = [f.text for f in report(folder).flags if f.kind == "constant_letter"]
    assert "always answers C (0.2551); a model at chance" in texts[0]


def test_missing_outputs_are_counted(folder):
    made = report(folder)
    assert made.scored.missing == 4
    assert "4 of 23 outputs" in next(f.text for f in made.flags if f.kind == "missing_outputs")


def test_the_scripts_own_scores_are_compared(folder):
    found = official(score(load(folder)).by_script)
    path = folder / "evaluation_results.jsonl"
    path.write_text(json.dumps(found))
    assert report(folder).stored == ()
    path.write_text(json.dumps(found | {"mmlu_average": 0.4, "forget-set": {}}))
    differences = report(folder).stored
    assert len(differences) == 2
    assert "mmlu_average 0.4, recomputed 0.5" in differences[1]
    path.write_text(json.dumps({"aggregate-score": 0.3}))
    assert "before December 2024" in report(folder).stored[0]


def test_intervals_hold_their_values(folder):
    ours = as_record(report(folder))["unlearnlab"]
    spans = [*ours["terms"].values(), ours["task_aggregate"], ours["mia_auc"]]
    assert len(spans) == 14
    assert all(span["low"] <= span["value"] <= span["high"] for span in spans)


def test_the_text_shows_terms_totals_and_the_attack_in_words(folder):
    text = as_text(report(folder))
    assert "forget  Task2    knowledge      0.800" in text
    assert "task aggregate      0.548" in text
    assert "MIA score           0.500" in text
    assert "AUC 0.75" in text
    assert "Not scored" not in text
