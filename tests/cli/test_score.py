"""`score` and `published` on the command line."""

import json

import pytest

from tests.metrics import folders
from unlearnlab.cli.main import main


@pytest.fixture
def command(capsys):
    def carry_out(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return carry_out


def test_a_folder_is_scored_in_words_and_as_json(command, tmp_path):
    folders.submission(tmp_path)
    code, out, _ = command("score", tmp_path)
    assert code == 0
    assert "aggregate score" in out
    code, out, _ = command("score", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["harmonic-mean-task-aggregate"] == pytest.approx(folders.AGGREGATE)


@pytest.mark.parametrize("as_folder", [False, True])
def test_an_mmlu_file_elsewhere_is_named(command, tmp_path, as_folder):
    folders.submission(tmp_path / "out", average=0.5)
    (tmp_path / "mmlu").mkdir()
    path = tmp_path / "mmlu" / "metrics.json"
    path.write_text('{"average_acc": 0.4}')
    _, out, _ = command(
        "score", tmp_path / "out", "--json", "--mmlu", path.parent if as_folder else path
    )
    assert json.loads(out)["mmlu_average"] == 0.4


def test_an_mmlu_file_that_is_not_there_is_told_of(command, tmp_path):
    folders.submission(tmp_path)
    code, out, _ = command("score", tmp_path, "--mmlu", tmp_path / "none.json")
    assert code == 0
    assert "none.json: cannot be read: No such file or directory" in out


def test_a_folder_that_is_none_is_bad_input(command, tmp_path):
    code, _, err = command("score", tmp_path / "none")
    assert code == 2
    assert "none is not a folder" in err


def test_a_folder_without_the_files_is_bad_input_and_names_them(command, tmp_path):
    code, out, _ = command("score", tmp_path)
    assert code == 2
    assert "no file forget_*.csv" in out


def test_published_results_are_listed(command):
    code, out, _ = command("published")
    assert code == 0
    assert "AILS-NTUA" in out
    assert "\n  1  task website" in out
    assert len(json.loads(command("published", "--json")[1])) == 85
