"""`evaluate` and `mmlu` on the command line, on the embedded model."""

import csv
import json

import pandas as pd
import pytest

from unlearnlab.cli.main import main
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


@pytest.fixture
def command(capsys):
    def carry_out(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return carry_out


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def few(name, count):
    """Take a few rows of every subtask and kind."""
    taken = {}
    for line in read(DATA / f"{name}.jsonl"):
        taken.setdefault((line.get("task"), line.get("id", "")[-3:-1]), []).append(line)
    return [line for of in taken.values() for line in of[:count]]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder in the script's own layout, one of the attack, one of MMLU's."""
    base = tmp_path_factory.mktemp("files")
    for split in ("forget", "retain"):
        write(base / "data" / f"{split}.jsonl", few(f"{split}_validation", 2))
    for side in ("member", "nonmember"):
        rows = read(DATA / "mia" / f"{side}.jsonl")[:6]
        write(
            base / "mia" / f"{side}.jsonl",
            [{"id": f"doc {i}", "document": row["document"]} for i, row in enumerate(rows)],
        )
    (base / "mmlu").mkdir()
    for split, count in (("dev", 5), ("test", 8)):
        rows = [
            {"question": f"Why {i}?", "subject": s, "choices": list("wxyz"), "answer": i % 4}
            for s in ("anatomy", "virology")
            for i in range(count)
        ]
        pd.DataFrame(rows).to_parquet(base / "mmlu" / f"{split}.parquet")
    return base


def test_an_evaluation_has_the_scripts_keys_and_its_files_score_the_same(command, files, tmp_path):
    out = tmp_path / "out"
    words = ["--data", files / "data", "--mia", files / "mia", "--mmlu", files / "mmlu"]
    code, text, told = command("evaluate", *words, "--json", "--outputs", out)
    assert code == 0
    assert "answering" in told
    found = json.loads(text)
    assert set(found) >= KEYS
    assert found["retain-set"]["Task1"]["knowledge-score"] == 1
    assert found["unlearnlab"]["nll"]["forget"]["official"] > 1
    assert found["unlearnlab"]["nll"]["forget"]["after_space"] < 0.1
    assert found["unlearnlab"]["mmlu"]["questions"] == 16
    _, text, _ = command("score", out, "--json")
    again = json.loads(text)
    assert {key: found[key] for key in KEYS} == {key: again[key] for key in KEYS}
    with (out / "forget_0.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["id", "task", "input", "expected_output", "model_output", "nll"]
    asked = read(files / "data" / "forget.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in asked]
    with (out / "mia_results" / "member_0.csv").open(newline="") as lines:
        assert [row["id"] for row in csv.DictReader(lines)][:2] == ["doc 0", "doc 1"]


def test_what_was_not_asked_says_how_to_ask_it(command, files):
    code, text, _ = command("evaluate", "--data", files / "data")
    assert code == 0
    assert "not asked: name a folder with --mia" in text
    assert "not asked: name a folder of cais/mmlu with --mmlu" in text
    assert "NLL after one space" in text


def test_mmlu_is_told_by_subject_with_its_protocol(command, files):
    code, text, _ = command("mmlu", "--mmlu", files / "mmlu", "--questions", 8, "--json")
    assert code == 0
    found = json.loads(text)
    assert [one["questions"] for one in found["subjects"]] == [4, 4]
    assert found["protocol"].startswith("MMLU: 5 shots")
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert found["notes"][0].startswith("55 of 57 subjects are missing")
    _, text, _ = command("mmlu", "--mmlu", files / "mmlu", "--shots", 0)
    assert "variant of MMLU with 0 shots" in text
    assert "standard error" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "--data", "nowhere"], "'nowhere' is no folder, and unknown dataset"),
        (["evaluate", "--data", "embedded", "--questions", "5"], "say of which test: --mmlu DIR"),
        (["evaluate", "--data", "embedded", "--mia", "nowhere"], "there is no such file"),
        (["mmlu", "--mmlu", "nowhere"], "nowhere is not a folder"),
        (["evaluate", "--data", "embedded", "--model", "no/such/model"], "no/such/model"),
    ],
)
def test_what_cannot_be_done_says_why_and_ends_with_2(command, words, told):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert told in err


def test_a_row_without_text_or_kind_is_named(command, tmp_path):
    row = {"id": "xqa0", "input": "a", "output": "b", "task": "Task1"}
    write(tmp_path / "retain.jsonl", [row])
    write(tmp_path / "forget.jsonl", [row, row | {"id": "x"}])
    _, _, err = command("evaluate", "--data", tmp_path)
    assert "forget.jsonl, column id, row 2: the id ends in neither sc nor qa" in err
    write(tmp_path / "forget.jsonl", [row | {"output": None}])
    _, _, err = command("evaluate", "--data", tmp_path)
    assert "forget.jsonl, column output, row 1: there is no text" in err


def test_a_folder_with_other_outputs_is_refused_before_any_work(command, files, tmp_path):
    (tmp_path / "forget_1.csv").write_text("id\n")
    code, _, err = command("evaluate", "--data", files / "data", "--outputs", tmp_path)
    assert code == 2
    assert "has files of another evaluation" in err
