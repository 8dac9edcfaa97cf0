"""`ask` on the command line."""

import json
from pathlib import Path

import pytest

from tests.exports.results import run_of


@pytest.fixture
def done(home):
    with run_of(home) as (_, _, run_id):
        return run_id


def test_prompts_are_asked_in_one_go_and_expected_answers_counted(cli, done):
    code, out, err = cli("ask", done, "Who keeps it? => KEEPS", "And who runs it?")
    assert (code, err) == (0, "")
    assert "Who keeps it?" in out
    assert "And who runs it?" in out
    assert "Expected answers found: original model 1 of 1; unlearned model 0 of 1." in out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("asked.txt", "Who keeps it?\tKEEPS\n\nAnd who?\n"),
        ("asked.md", "Who keeps it? => KEEPS\nAnd who?"),
        ("asked.jsonl", '{"input": "Who keeps it?", "output": "KEEPS"}\n{"input": "And who?"}\n'),
        ("asked.ndjson", '{"input": "Who keeps it?", "output": "KEEPS"}\n{"input": "And who?"}\n'),
        ("asked.csv", "input,output\nWho keeps it?,KEEPS\nAnd who?,\n"),
    ],
)
def test_prompts_come_from_a_file_of_lines_or_of_rows(cli, done, name, text):
    Path(name).write_text(text, encoding="utf-8")
    code, out, _ = cli("ask", done, "--file", name, "--json")
    assert code == 0
    asked = [(one["prompt"], one["expected"], one["found"]) for one in json.loads(out)]
    assert asked == [
        ("Who keeps it?", "KEEPS", ["found", "not found"]),
        ("And who?", "", None),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "there is nothing to ask"),
        ((" ",), "there is nothing to ask"),
        (("--file", "none.txt"), "none.txt"),
        (("--file", "rows.jsonl"), "row 1 of rows.jsonl has no `input`"),
        (("--file", "broken.jsonl"), "broken.jsonl: 1 line is not a JSON object"),
        (("--file", "latin.txt"), "latin.txt: 1 line is not UTF-8"),
    ],
)
def test_what_cannot_be_asked_is_told(cli, done, words, told):
    Path("rows.jsonl").write_text('{"question": "Who?"}\n', encoding="utf-8")
    Path("broken.jsonl").write_text('{"input": "Who?"}\n{"input": \n', encoding="utf-8")
    Path("latin.txt").write_bytes(b"Who?\nCaf\xe9?\n")
    code, _, err = cli("ask", done, *words)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_a_prompt_that_the_models_cannot_answer_is_told(cli, done):
    code, _, err = cli("ask", done, "x" * 2000)
    assert code == 1
    assert "too long" in err


def test_an_unknown_run_is_told(cli, done):
    assert cli("ask", "nothing", "Who?")[0] == 2
