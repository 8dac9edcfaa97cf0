"""Programs that are killed at any moment: what they said was done is there, nothing is broken."""

import random
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ROOT
from unlearnlab.data.datasets import datasets
from unlearnlab.exports.pack_file import read_pack
from unlearnlab.exports.result import result
from unlearnlab.runs import doctor
from unlearnlab.runs.store import Store

WORK = """
import itertools, json, sys
from contextlib import redirect_stdout
from io import StringIO
from tests.fakes import FakeLab, whole_run
from unlearnlab.cli.main import main

def done(*words):
    with redirect_stdout(StringIO()) as out:
        code = main(words, open_engine=lambda _: FakeLab(whole_run))
    assert code == 0, out.getvalue()
    return out.getvalue()

begun = sys.argv[1]
for n in itertools.count():
    run = json.loads(done("run", "--json", "--seed", str(n), "--name", begun))["run"]
    print("run", run, flush=True)
    done("export", run, "--out", "out", "--what", "report", "--what", "delta")
    print("exported", run, flush=True)
    done("pack", run, "--out", f"out/{run}.zip")
    print("packed", run, flush=True)
    done("data", "add", "rows.csv", "--name", f"rows-{begun}-{n}")
    print("added", f"rows-{begun}-{n}", flush=True)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_what_was_done_outlives_kills_at_random_moments(tmp_path, monkeypatch, kills):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "rows.csv").write_text("input,output\nWho?,Ada\nWhere?,Here\n")
    moments, said = random.Random(4), []
    for begun in range(kills):
        told = killed(tmp_path, str(begun), after_s=moments.uniform(0.0, 1.5))
        holds(tmp_path, told)
        said += told
    holds(tmp_path, said)
    for pack in (tmp_path / "out").glob("*.zip"):
        assert read_pack(pack), "a pack is whole or not there"
    assert {what for what, _ in said} >= {"run", "exported", "packed", "added"}
    monkeypatch.setattr(doctor, "STALE_S", 0.0)
    with Store(tmp_path / "home") as store:
        for one in list(doctor.examine(store)):
            assert one.repair, one
            one.repair()
        assert [one.kind for one in doctor.examine(store)] == []


def killed(folder, begun, after_s):
    """Let a program work, kill it after its first run and some time; what it said was done."""
    work = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{WORK}"
    command = [sys.executable, "-c", work, begun]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        time.sleep(after_s)
    finally:
        process.kill()
    # A last line may be cut off.
    lines = (first + process.communicate()[0]).rpartition("\n")[0].splitlines()
    assert lines, "it ended by itself"
    return [tuple(line.split()) for line in lines]


def holds(folder, said):
    of = {what: [name for told, name in said if told == what] for what, _ in said}
    assert set(of.get("added", ())) <= set(datasets())
    out = folder / "out"
    for run in of.get("exported", ()):
        assert (out / f"{run}-report.html").read_text().rstrip().endswith("</html>")
    assert all((out / f"{run}.zip").is_file() for run in of.get("packed", ()))
    with Store(folder / "home") as store:
        there = {row.run_id: row for row in store.runs()}
        assert store.damaged() == []
        for run in of["run"]:
            assert result(store, run).after is not None
        assert {row.status for row in there.values()} <= {"finished", "interrupted"}
        assert set(of["run"]) <= {run for run, row in there.items() if row.status == "finished"}
