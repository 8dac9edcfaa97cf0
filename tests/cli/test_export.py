"""`export` on the command line."""

import pytest

from tests.exports.results import run_of
from tests.fakes import FakeLab, stage
from unlearnlab.cli.main import main
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import RunSpec


@pytest.fixture
def export(tmp_path, capsys):
    """Take a run away on the command line: exit code, names of what is written, stderr."""

    def command(run_id, *words):
        words = ("export", run_id, "--home", str(tmp_path / "home"), *words)
        try:
            code = main([*words, "--out", str(tmp_path / "out")], open_engine=lambda _: FakeLab())
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, [line.rpartition("/")[2] for line in out.splitlines()], err

    return command


@pytest.fixture
def done(tmp_path):
    with run_of(tmp_path / "home") as (_, _, run_id):
        return run_id


def without_weights(job):
    yield stage("loading")


ALL = (
    "report.html",
    "model",
    "delta.safetensors",
    "spec.json",
    "command.txt",
    "unlearn.py",
    "answers",
    "scores",
)


def test_all_that_a_run_has_is_taken_and_told_by_path(export, done, tmp_path):
    code, names, err = export(done, "--what", "all")
    assert (code, err) == (0, "")
    assert names == [f"{done}-{name}" for name in ALL]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert (tmp_path / "out" / f"{done}-model" / "README.md").is_file()
    assert export(done)[:2] == (0, names), "again, over what is there"


def test_what_is_named_is_taken(export, done):
    assert export(done, "--what", "spec", "--what", "command")[:2] == (
        0,
        [f"{done}-spec.json", f"{done}-command.txt"],
    )


def test_the_report_is_masked_unless_asked(export, done, tmp_path):
    export(done, "--what", "report")
    report = tmp_path / "out" / f"{done}-report.html"
    assert "Ada" not in report.read_text(encoding="utf-8")
    export(done, "--what", "report", "--unmask")
    assert "Ada" in report.read_text(encoding="utf-8")


def test_what_is_not_there_is_told_and_the_rest_is_taken(export, tmp_path):
    with run_of(tmp_path / "home", script=without_weights) as (_, _, run_id):
        pass
    code, names, err = export(run_id, "--what", "delta", "--what", "spec")
    assert code == 1
    assert names == [f"{run_id}-spec.json"]
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


def test_a_folder_of_somebody_else_is_not_written_over(export, done, tmp_path):
    mine = tmp_path / "out" / f"{done}-model"
    mine.mkdir(parents=True)
    (mine / "mine").write_text("mine")
    code, _, err = export(done, "--what", "model")
    assert code == 1
    assert "is there already" in err
    assert (mine / "mine").exists()


def test_a_place_that_cannot_be_written_is_told(export, done, tmp_path):
    (tmp_path / "out").write_text("a file")
    code, names, err = export(done, "--what", "spec")
    assert code == 1
    assert names == []
    assert "out" in err
    assert "Traceback" not in err


def test_a_live_run_is_not_taken(export, tmp_path):
    with Store(tmp_path / "home") as store:
        run_id = store.create(RunSpec())
        code, names, err = export(run_id)
    assert code == 1
    assert names == []
    assert "has not ended" in err
