import json
import os
import signal

import pytest

from tests.fakes import FakeLab, stage, whole_run
from unlearnlab.cli.docs import layer_windows_table
from unlearnlab.cli.main import main
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Finished
from unlearnlab.runs.store import Store
from unlearnlab.views.sweep_record import sweep_record


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def sweep(home, tmp_path, capsys):
    """Carry out the command and return exit code, stdout and stderr."""
    file = tmp_path / "epochs.json"
    axes = [{"kind": "list", "path": "phases.0.epochs", "texts": [1, 2]}]
    file.write_text(json.dumps({"title": "Epochs", "base": {}, "axes": axes}), encoding="utf-8")

    def command(*words, script=whole_run, named=file):
        words = ["sweep", str(named), *words, "--home", str(home)]
        code = main(words, open_engine=lambda store: FakeLab(script))
        return code, *capsys.readouterr()

    return command


def runs(home):
    with Store(home) as store:
        return store.runs()


def test_a_sweep_prints_its_runs_and_a_second_call_repeats_none(sweep, home):
    code, out, err = sweep()
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["epochs", "status"]
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        [epochs, "finished", "0.900"] for epochs in ("1", "2")
    ]
    assert "run 2 of 2: epochs 2" in err
    code, out, err = sweep("--json")
    assert code == 0
    assert "2 of 2 runs were there already" in err
    found = json.loads(out)
    assert [run["status"] for run in found["runs"]] == ["finished"] * 2
    assert found["axes"] == [{"name": "epochs", "values": ["1", "2"]}]
    assert len(runs(home)) == 2


def test_what_a_sweep_prints_as_json_becomes_a_table_and_a_sentence(sweep, tmp_path):
    file = tmp_path / "record.json"
    file.write_text(sweep("--json")[1], encoding="utf-8")
    made = sweep_record(file)
    assert made.summary(0).startswith("Highest by epochs, in the mean over seeds: aggregate at 1 ")
    assert "| 2 | 0.90 (0.90–0.90) |" in layer_windows_table(file)
    assert sweep_record(tmp_path / "none.json") is None


def test_a_failing_run_is_told_and_the_rest_goes_on(sweep, home):
    def script(job):
        yield stage("training")
        if job.spec.phases[0].epochs == 1:
            raise RunFailed("the loss is not finite")
        yield from whole_run(job)

    code, out, err = sweep(script=script)
    assert code == 1
    assert "epochs 1 failed: the loss is not finite" in err
    assert "finished" in out
    assert sweep("--failed")[0] == 0
    assert len(runs(home)) == 3


def test_an_interrupt_stops_cleanly_and_the_next_call_goes_on(sweep, home, interruptible):
    def script(job):
        yield stage("training")
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield None

    code, _, err = sweep(script=script)
    assert code == 130
    assert "the same command continues later" in err
    code, _, _ = sweep()
    assert code == 0
    finished = [row for row in runs(home) if isinstance(row.ending, Finished)]
    assert sorted(row.spec.phases[0].epochs for row in finished) == [1, 2]


def test_settings_change_the_run_that_is_varied_and_an_estimate_runs_nothing(sweep, home):
    assert sweep("--seed", "4")[0] == 0
    assert {row.spec.seed for row in runs(home)} == {4}
    code, out, _ = sweep("--estimate")
    assert code == 0
    assert out.startswith("2 runs, 0 of them finished already: ")
    assert json.loads(sweep("--estimate", "--json", "--seed", "4")[1])["finished"] == 2
    assert len(runs(home)) == 2


def test_a_sweep_of_runs_that_only_score_tells_what_they_scored(sweep, tmp_path):
    file = tmp_path / "lengths.json"
    axes = [{"kind": "list", "path": "evaluation.max_new_tokens", "texts": [16, 32]}]
    file.write_text(json.dumps({"base": {"phases": []}, "axes": axes}), encoding="utf-8")
    _, out, _ = sweep(named=file)
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        [tokens, "finished", "0.180"] for tokens in ("16", "32")
    ]
    axes[0]["path"] = "phases.0.epochs"
    file.write_text(json.dumps({"base": {"phases": []}, "axes": axes}), encoding="utf-8")
    code, _, err = sweep(named=file)
    assert (code, "only scores: it has no phases" in err) == (2, True)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("embedded-alpa", "did you mean embedded-alpha"),
        ("no.json", "cannot be read"),
        (__file__, "is not JSON"),
    ],
)
def test_a_sweep_that_there_is_not_is_told(sweep, named, told):
    code, _, err = sweep(named=named)
    assert code == 2
    assert told in err


def test_all_that_come_with_the_program_are_listed(capsys):
    assert main(["sweep"]) == 0
    assert "embedded-layer-windows      12 " in capsys.readouterr().out
