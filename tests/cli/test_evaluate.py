"""`evaluate` and `mmlu` on the embedded model; `score` and `published`."""

import csv
import json

import pandas as pd
import pytest

from tests.cli.conftest import write
from tests.metrics import folders
from unlearnlab.data.files import EMBEDDED

KEYS = {
    "forget-set",
    "retain-set",
    "aggregated-terms",
    "mia_loss_acc",
    "mia_final_score",
    "mmlu_average",
    "harmonic-mean-task-aggregate",
    "aggregate-score",
}

DATA = EMBEDDED / "data"

ROW = {"id": "xqa0", "input": "a", "output": "b", "task": "Task1"}


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def few(name):
    """Take two rows of every subtask and kind."""
    taken = {}
    for line in read(DATA / f"{name}.jsonl"):
        taken.setdefault((line.get("task"), line.get("id", "")[-3:-1]), []).append(line)
    return [line for of in taken.values() for line in of[:2]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder in the script's own layout, one of the attack, one of MMLU's."""
    base = tmp_path_factory.mktemp("files")
    for split in ("forget", "retain"):
        write(base / "data" / f"{split}.jsonl", *few(f"{split}_validation"))
    for side in ("member", "nonmember"):
        rows = enumerate(read(DATA / "mia" / f"{side}.jsonl")[:6])
        documents = ({"id": f"doc {i}", "document": row["document"]} for i, row in rows)
        write(base / "mia" / f"{side}.jsonl", *documents)
    (base / "mmlu").mkdir()
    for split, count in (("dev", 5), ("test", 8)):
        rows = [
            {"question": f"Why {i}?", "subject": s, "choices": list("wxyz"), "answer": i % 4}
            for s in ("anatomy", "virology")
            for i in range(count)
        ]
        pd.DataFrame(rows).to_parquet(base / "mmlu" / f"{split}.parquet")
    return base


def test_an_evaluation_has_the_scripts_keys_and_its_files_score_the_same(cli, files, tmp_path):
    words = ["--data", files / "data", "--mia", files / "mia", "--mmlu", files / "mmlu"]
    done = cli("evaluate", *words, "--json", "--outputs", "out")
    assert done.code == 0
    assert "answering" in done.err
    found = done.json
    assert set(found) >= KEYS
    assert found["retain-set"]["Task1"]["knowledge-score"] == 1
    assert found["unlearnlab"]["nll"]["forget"]["official"] > 1
    assert found["unlearnlab"]["nll"]["forget"]["after_space"] < 0.1
    assert found["unlearnlab"]["mmlu"]["questions"] == 16
    again = cli("score", "out", "--json").json
    assert {key: found[key] for key in KEYS} == {key: again[key] for key in KEYS}
    rows = read(tmp_path / "out" / "forget_0.csv")
    assert list(rows[0]) == ["id", "task", "input", "expected_output", "model_output", "nll"]
    asked = read(files / "data" / "forget.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in asked]
    members = read(tmp_path / "out" / "mia_results" / "member_0.csv")
    assert [row["id"] for row in members][:2] == ["doc 0", "doc 1"]


def test_what_was_not_asked_says_how_to_ask_it(cli, files):
    code, text, _ = cli("evaluate", "--data", files / "data")
    assert code == 0
    assert "not asked: name a folder with --mia" in text
    assert "not asked: name a folder of cais/mmlu with --mmlu" in text
    assert "NLL after one space" in text


def test_mmlu_is_told_by_subject_with_its_protocol(cli, files):
    done = cli("mmlu", "--mmlu", files / "mmlu", "--questions", 8, "--json")
    assert done.code == 0
    found = done.json
    assert [one["questions"] for one in found["subjects"]] == [4, 4]
    assert found["protocol"].startswith("MMLU: 5 shots")
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert found["notes"][0].startswith("55 of 57 subjects are missing")
    text = cli("mmlu", "--mmlu", files / "mmlu", "--shots", 0).out
    assert "variant of MMLU with 0 shots" in text
    assert "standard error" in text


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"id": "x"}, "column id, row 2: the id must end in sc (completion) or qa (question)"),
        ({"output": None}, "column output, row 2: there is no text"),
    ],
)
def test_a_row_without_text_or_kind_is_named(cli, tmp_path, second, message):
    write(tmp_path / "retain.jsonl", ROW)
    write(tmp_path / "forget.jsonl", ROW, ROW | second)
    assert f"forget.jsonl, {message}" in cli("evaluate", "--data", ".").err


def test_a_folder_with_other_outputs_is_refused_before_any_work(cli, files, tmp_path):
    (tmp_path / "forget_1.csv").write_text("id\n")
    code, _, err = cli("evaluate", "--data", files / "data", "--outputs", ".")
    assert code == 2
    assert "has files of another evaluation" in err


# ---- score, published


def test_a_folder_is_scored_in_words(cli, tmp_path):
    folders.submission(tmp_path)
    code, out, _ = cli("score", ".")
    assert code == 0
    assert "aggregate score" in out


@pytest.mark.parametrize("named", ["mmlu", "mmlu/metrics.json"])
def test_an_mmlu_file_elsewhere_is_named(cli, tmp_path, named):
    folders.submission(tmp_path / "out", average=0.5)
    write(tmp_path / "mmlu" / "metrics.json", {"average_acc": 0.4})
    assert cli("score", "out", "--json", "--mmlu", named).json["mmlu_average"] == 0.4


def test_an_mmlu_file_that_is_not_there_is_told_of(cli, tmp_path):
    folders.submission(tmp_path)
    code, out, _ = cli("score", ".", "--mmlu", "none.json")
    assert code == 0
    assert "none.json: cannot be read: No such file or directory" in out


def test_a_folder_without_the_files_is_bad_input_and_names_them(cli):
    code, out, _ = cli("score", ".")
    assert code == 2
    assert "no file forget_*.csv" in out


def test_published_results_are_listed(cli):
    code, out, _ = cli("published")
    assert code == 0
    assert "AILS-NTUA" in out
    assert "\n  1  task website" in out
    assert len(cli("published", "--json").json) == 85
