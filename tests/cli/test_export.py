"""`export` on the command line."""

from pathlib import Path

import pytest

from tests.exports.results import run_of
from tests.fakes import stage
from unlearnlab.spec.run import RunSpec

ALL = (
    "report.html",
    "model",
    "delta.safetensors",
    "spec.json",
    "command.txt",
    "unlearn.py",
    "answers",
    "scores",
    "curves.csv",
    "says.csv",
)


@pytest.fixture
def export(cli):
    """Export a run into the folder `out`: exit code, names of what is written, stderr."""

    def command(run_id, *words):
        code, out, err = cli("export", run_id, *words, "--out", "out")
        return code, [Path(line).name for line in out.splitlines()], err

    return command


@pytest.fixture
def done(home):
    with run_of(home) as (_, _, run_id):
        return run_id


def test_all_that_a_run_has_is_taken_and_told_by_path(export, done):
    code, names, err = export(done, "--what", "all")
    assert (code, err) == (0, "")
    assert names == [f"{done}-{name}" for name in ALL]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(names)
    assert Path("out", f"{done}-model", "README.md").is_file()
    assert export(done)[:2] == (0, names), "again, over what is there"


def test_what_is_named_is_taken(export, done):
    names = [f"{done}-spec.json", f"{done}-command.txt"]
    assert export(done, "--what", "spec", "--what", "command")[:2] == (0, names)


@pytest.mark.parametrize(("words", "named"), [((), False), (("--unmask",), True)])
def test_the_report_is_masked_unless_asked(export, done, words, named):
    export(done, "--what", "report", *words)
    report = Path("out", f"{done}-report.html").read_text(encoding="utf-8")
    assert ("Ada" in report) is named


def test_what_is_not_there_is_told_and_the_rest_is_taken(export, home):
    with run_of(home, script=lambda job: iter([stage("loading")])) as (_, _, run_id):
        pass
    code, names, err = export(run_id, "--what", "delta", "--what", "spec")
    assert (code, names) == (1, [f"{run_id}-spec.json"])
    assert "changed weights: this run left no weights" in err
    code, names, err = export(run_id)
    assert (code, err) == (0, "")
    assert len(names) == 4


def test_an_unknown_run_and_an_unknown_kind_are_bad_input(export, done):
    code, _, err = export(f"{done[:-1]}x")
    assert code == 2
    assert f"did you mean {done}" in err
    code, _, err = export(done, "--what", "reprot")
    assert code == 2
    assert "report" in err


def test_a_folder_of_somebody_else_is_not_written_over(export, done):
    mine = Path("out", f"{done}-model", "mine")
    mine.parent.mkdir(parents=True)
    mine.touch()
    code, _, err = export(done, "--what", "model")
    assert code == 1
    assert "is there already" in err
    assert mine.exists()


def test_a_place_that_cannot_be_written_is_told(export, done):
    Path("out").write_text("a file")
    code, names, err = export(done, "--what", "spec")
    assert (code, names) == (1, [])
    assert "out" in err
    assert "Traceback" not in err


def test_a_live_run_is_not_taken(export, store):
    code, names, err = export(store.create(RunSpec()))
    assert (code, names) == (1, [])
    assert "has not ended" in err
