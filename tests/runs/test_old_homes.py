"""Homes that earlier versions made open in this one, with all that they hold.

`homes/v0.1.0.zip`: a tiny random model, taught three typed facts and made to forget them again in
runs of a few steps; a sweep over seeds, a trace, and a pack. To keep the home of another version:
make one with it, set the database's journal mode to DELETE, and zip the folder.
"""

import zipfile
from pathlib import Path

import pytest

from unlearnlab.cli.main import main
from unlearnlab.data.datasets import datasets
from unlearnlab.exports.packs import add_pack
from unlearnlab.exports.report import report
from unlearnlab.exports.result import result
from unlearnlab.models.catalog import model
from unlearnlab.runs.store import Store

HOMES = sorted((Path(__file__).parent / "homes").glob("*.zip"))


@pytest.fixture(params=HOMES, ids=lambda path: path.stem)
def home(request, tmp_path, monkeypatch):
    zipfile.ZipFile(request.param).extractall(tmp_path / "home")
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_its_runs_traces_and_sweeps_are_there(home):
    with Store(home) as store:
        rows = store.runs()
        assert [row.name for row in rows][-2:] == ["first", ""]
        assert len(rows) == 5
        assert all(row.ending is not None and row.after is not None for row in rows)
        assert len(store.traces()) == 1
        (sweep,) = store.sweeps.rows()
        assert {row.sweep for row in rows} == {"", sweep.sweep_id}


def test_each_run_gives_its_result_and_its_report(home):
    with Store(home) as store:
        for row in store.runs():
            found = result(store, row.run_id)
            assert len(found.answers) == 63
            assert "Ardal" not in report(found, masked=True), "forget data stay masked"


def test_its_dataset_and_its_models_can_be_named(home):
    assert datasets()["facts"].personal
    assert model("taught").unavailable_reason == ""
    assert model("taught").made["dataset"] == "facts"


def test_its_pack_is_taken_in_elsewhere(home, tmp_path):
    with Store(tmp_path / "other") as store:
        (added,) = add_pack(store, home / "first.zip")
        assert added.outcome == "imported"
        assert result(store, added.run_id).after is not None


def test_the_command_line_shows_what_is_in_it(home, capsys):
    with Store(home) as store:
        ids = [row.run_id for row in (*store.runs(), *store.traces())]
    for run_id in ids:
        assert main(["show", run_id]) == 0
    assert main(["list"]) == 0
    assert capsys.readouterr().err == ""
