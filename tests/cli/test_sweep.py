import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import write
from tests.fakes import stage, whole_run
from unlearnlab.cli.docs import layer_windows_table
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Finished
from unlearnlab.views.benchmarks import sweep_record


def written(path, base, setting, *values):
    """Write a sweep over one setting."""
    axes = [{"kind": "list", "path": setting, "texts": values}]
    return write(path, {"title": "Epochs", "base": base, "axes": axes})


@pytest.fixture
def sweep(cli, tmp_path):
    """Carry out a sweep of two runs."""
    file = written(tmp_path / "epochs.json", {}, "phases.0.epochs", 1, 2)
    return lambda *words, **options: cli("sweep", file, *words, **options)


def test_a_sweep_prints_its_runs_and_a_second_call_repeats_none(sweep, store):
    code, out, err = sweep()
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["epochs", "status"]
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        [epochs, "finished", "0.900"] for epochs in ("1", "2")
    ]
    assert "run 2 of 2: epochs 2" in err
    again = sweep("--json")
    assert again.code == 0
    assert "2 of 2 runs were there already" in again.err
    assert [run["status"] for run in again.json["runs"]] == ["finished"] * 2
    assert again.json["axes"] == [{"name": "epochs", "values": ["1", "2"]}]
    assert len(store.runs()) == 2


def test_what_a_sweep_prints_as_json_becomes_a_table_and_a_sentence(sweep, tmp_path):
    file = write(tmp_path / "record.json", sweep("--json").json)
    made = sweep_record(file)
    assert made.summary(0).startswith(
        "Highest by epochs, in the mean over seeds: task aggregate at 1 "
    )
    assert "| 2 | 0.90 |" in layer_windows_table(file)
    assert sweep_record(tmp_path / "none.json") is None


def test_a_failing_run_is_told_and_the_rest_goes_on(sweep, store):
    def script(job):
        yield stage("training")
        if job.spec.phases[0].epochs == 1:
            raise RunFailed("the loss is not finite")
        yield from whole_run(job)

    code, out, err = sweep(script=script)
    assert code == 1
    assert "epochs 1 failed: the loss is not finite" in err
    assert "finished" in out
    assert sweep("--failed").code == 0
    assert len(store.runs()) == 3


def test_an_interrupt_stops_cleanly_and_the_next_call_goes_on(sweep, store, interruptible):
    def script(job):
        yield stage("training")
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield None

    code, _, err = sweep(script=script)
    assert code == 130
    assert "the same command continues later" in err
    assert sweep().code == 0
    finished = [row for row in store.runs() if isinstance(row.ending, Finished)]
    assert sorted(row.spec.phases[0].epochs for row in finished) == [1, 2]


def test_settings_change_the_run_that_is_varied_and_an_estimate_runs_nothing(sweep, store):
    assert sweep("--seed", "4").code == 0
    assert {row.spec.seed for row in store.runs()} == {4}
    code, out, _ = sweep("--estimate")
    assert code == 0
    assert out.startswith("2 runs, 0 of them finished already: ")
    assert sweep("--estimate", "--json", "--seed", "4").json["finished"] == 2
    assert len(store.runs()) == 2


def test_a_sweep_of_runs_that_only_score_tells_what_they_scored(cli):
    path, base = Path("lengths.json"), {"phases": []}
    out = cli("sweep", written(path, base, "evaluation.max_new_tokens", 16, 32)).out
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        [tokens, "finished", "0.180"] for tokens in ("16", "32")
    ]
    code, _, err = cli("sweep", written(path, base, "phases.0.epochs", 1))
    assert (code, "only scores: it has no phases" in err) == (2, True)


def test_all_that_come_with_the_program_are_listed(cli):
    assert "embedded-layer-windows      12 " in cli("sweep").out
    assert {"name", "sweep"} <= set(cli("sweep", "--json").json[0])
