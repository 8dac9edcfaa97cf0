import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from tests.fakes import FakeLab, stage, stepped, whole_run
from tests.models.test_catalog import download
from tests.others import other_process
from unlearnlab.cli.commands import table
from unlearnlab.cli.follow import RunProgressBar
from unlearnlab.cli.main import main
from unlearnlab.data.files import EMBEDDED
from unlearnlab.models.catalog import MODEL_NOTE
from unlearnlab.runs.engine_api import EnginePool, RunFailed
from unlearnlab.runs.events import Adjusted, Finished, Kept, Started, StoredEvent
from unlearnlab.runs.store import Store
from unlearnlab.spec.fields import settings
from unlearnlab.spec.run import RunSpec, parse_spec


@pytest.fixture
def run(tmp_path, capsys):
    """Carry out a command on a home of its own and return exit code, stdout and stderr."""

    def command(*words, script=whole_run):
        words = [*words, "--home", str(tmp_path / "home")] if words[0] in NEEDS_HOME else words
        try:
            code = main(words, open_engine=lambda store: FakeLab(script))
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return command


STARTED = Started(versions={}, device="cpu")

NEEDS_HOME = ("run", "teach", "trace", "list", "show")


def test_a_run_prints_its_scores_and_its_verdict(run):
    code, out, err = run("run", "--name", "mine")
    assert code == 0
    assert "mine" in out
    assert "Task aggregate ↑" in out
    assert "0.180" in out, "harmonic mean of 0.1 and 0.9"
    assert "0.900" in out
    assert "Forgotten" in out
    assert "Scoring the original model" in err


def test_run_without_a_word_of_what_prints_its_help_and_ends_with_two(run):
    code, out, err = run("run")
    assert code == 2
    assert out == run("run", "--help")[1]
    assert "nothing was run: name a preset, a file or a setting, such as --seed 0" in err
    assert json.loads(run("list", "--json")[1]) == []


@pytest.mark.parametrize("asked", [["--name", "mine"], ["--json"], ["--seed=0"], ["--score-only"]])
def test_a_run_of_which_anything_is_said_is_carried_out(run, asked):
    assert run("run", *asked)[0] == 0
    assert len(json.loads(run("list", "--json")[1])) == 1


def test_a_run_with_json_prints_one_object_and_nothing_else_on_stdout(run):
    code, out, _ = run("run", "--json", "--seed", "3", "--phases.0.method.kind=npo")
    assert code == 0
    found = json.loads(out)
    assert found["status"] == "finished"
    assert found["seconds"] > 0
    assert found["before"]["task_aggregate"] < found["after"]["task_aggregate"]
    assert found["verdict"]["kind"] == "forgotten"
    assert found["verdict"]["evidence"]
    spec = parse_spec(found["spec"])
    assert (spec.seed, spec.phases[0].method.kind) == (3, "npo")


def test_a_run_is_repeated_from_its_record(run, tmp_path):
    _, out, _ = run("run", "--json", "--seed", "5", "--phases.0.epochs", "2")
    (tmp_path / "record.json").write_text(out)
    code, again, _ = run("run", "--json", "--spec", str(tmp_path / "record.json"))
    assert code == 0
    assert json.loads(again)["spec"] == json.loads(out)["spec"]


def test_a_run_starts_from_a_file_with_settings_on_top(run, tmp_path):
    (tmp_path / "spec.json").write_text('{"seed": 4}')
    arguments = ("--spec", str(tmp_path / "spec.json"), "--evaluation.probes", "1")
    spec = parse_spec(json.loads(run("run", "--json", *arguments)[1])["spec"])
    assert (spec.seed, spec.evaluation.probes) == (4, 1)


def test_runs_are_listed_newest_first_and_shown(run):
    assert run("list")[1] == "No runs yet. Start one: python -m unlearnlab run --preset NAME\n"
    assert json.loads(run("list", "--json")[1]) == []
    first = json.loads(run("run", "--json", "--name", "first")[1])
    second = json.loads(run("run", "--json", "--name", "second")[1])
    _, out, _ = run("list")
    assert out.index("second") < out.index("first")
    assert json.loads(run("show", first["run"], "--json")[1]) == first
    assert first.pop("record")["device"] == second.pop("record")["device"]
    assert first.pop("measures").keys() == second.pop("measures").keys() != set()
    assert json.loads(run("list", "--json")[1]) == [second, first]
    code, out, _ = run("show", first["run"])
    assert code == 0
    assert "first" in out
    assert "finished after" in out


def test_a_run_that_was_changed_while_it_ran_says_so(run):
    def script(job):
        yield stage("training")
        yield stepped(1)
        yield Adjusted(step=1, phase=0, changes={"learning_rate": 1e-5})

    found = json.loads(run("run", "--json", script=script)[1])
    assert found["adjusted"] == [{"step": 1, "phase": 0, "changes": {"learning_rate": 1e-5}}]
    shown = run("show", found["run"])[1]
    assert "changed at step 1: learning rate 5e-4 → 1e-5" in shown


def test_a_run_shows_its_record(run):
    _, out, _ = run("run", "--seed", "4", "--json")
    record = json.loads(out)["record"]
    assert record["effective_batch"] == [2]
    assert record["versions"] == {"torch": "0"}
    assert (record["device"], record["weights"], record["data"]) == ("cpu, 2 threads", "w", "d")
    shown = run("show", json.loads(out)["run"])[1]
    assert "Effective batch: 2 rows for each optimizer step" in shown
    assert "Code: " in shown


def test_a_failed_run_exits_with_one_and_tells_why(run):
    def script(job):
        yield stage("training")
        raise RunFailed("the forget loss became nan at step 3", "lower the learning rate")

    code, out, err = run("run", "--json", script=script)
    assert code == 1
    assert "the forget loss became nan at step 3" in err
    found = json.loads(out)
    assert found["status"] == "failed"
    assert found["problem"] == "the forget loss became nan at step 3"
    assert found["advice"] == "lower the learning rate"
    assert found["before"] is found["after"] is found["verdict"] is None
    assert "lower the learning rate" in run("show", found["run"])[1]


def test_interrupting_a_run_stops_it_in_good_order(run, interruptible):
    def script(job):
        yield stage("training")
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.005)
            yield None

    code, out, err = run("run", "--json", script=script)
    assert code == 130
    assert json.loads(out)["status"] == "stopped"
    assert "stopping" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--preset", "nope"], "preset: unknown preset 'nope'"),
        (["run", "--spec", "/no/such/file"], "spec: /no/such/file cannot be read: No such file"),
        (["run", "--phases.0.first_layer", "31"], "phases.0.first_layer: layer 31 is out of range"),
        (
            ["run", "--phases.0.learning_rate", "-1"],
            "phases.0.learning_rate: must be greater than 0, not -1",
        ),
        (["run", "--phases.0.learning_rate", "fast"], "must be a number, not 'fast'"),
        (["run", "--phases.0.learning_rate"], "phases.0.learning_rate: a value is missing"),
        (["run", "--phases.0.epochs=0"], "phases.0.epochs: must be at least 1, not 0"),
        (["run", "--phases.0.modules", "<b>"], "not '<b>'"),
        (["run", "--phases.0.method.kind", "nop"], "unknown method 'nop': did you mean npo"),
        (["run", "--model.name", "olmo"], "unknown model 'olmo': did you mean"),
        (["run", "--model.name", "olmo-7b"], "model.name: olmo-7b cannot run here"),
        (["run", "--sed", "3"], "sed: there is no such setting: did you mean seed?"),
        (["run", "stray"], "cannot read 'stray'"),
        (["run", "--preset", "a", "--spec", "b"], "not allowed with argument"),
        (["show", "nope"], "unknown run 'nope'"),
        (["list", "--seed", "3"], "unknown option: --seed 3"),
        (["launch"], "invalid choice: 'launch'"),
    ],
)
def test_bad_input_is_told_on_stderr_and_exits_with_two(run, words, message):
    code, out, err = run(*words)
    assert code == 2
    assert message in err
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00binary", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[1, 2]", "holds no spec"),
        (b'{"name": "left-pad", "version": "1.0"}', "name: there is no such setting"),
        (b'{"spec": 3}', "must be a group of settings, not 3"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_a_foreign_file_is_no_spec(run, tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    code, _, err = run("run", "--spec", str(tmp_path / "file"))
    assert code == 2
    assert message in err


def test_a_folder_is_no_spec(run, tmp_path):
    code, _, err = run("run", "--spec", str(tmp_path))
    assert code == 2
    assert "cannot be read: Is a directory" in err


def test_datasets_and_kept_models_follow_the_home_as_runs_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "usual"))
    monkeypatch.delenv("UNLEARNLAB_MODELS", raising=False)
    there = ["--home", str(tmp_path / "there")]
    (tmp_path / "facts.txt").write_text("Who keeps the mill? | Ada Brock\n")
    typed = ["data", "add", "--typed", str(tmp_path / "facts.txt"), "--retain-of", "embedded"]
    assert main([*typed, "--name", "mine", *there]) == 0
    (tmp_path / "there" / "models").mkdir()
    download(tmp_path / "there" / "models" / "kept")
    assert main(["list", *there]) == 0
    assert {path.name for path in tmp_path.glob("*")} == {"facts.txt", "there"}

    def listed(*words):
        capsys.readouterr()
        assert main([*words, "--json"]) == 0
        return {one["name"] for one in json.loads(capsys.readouterr().out)}

    assert "mine" in listed("data", "list", *there)
    assert "kept" in listed("models", *there)
    assert "mine" not in listed("data", "list")
    assert "kept" not in listed("models")
    assert os.environ["UNLEARNLAB_HOME"] == str(tmp_path / "usual")


def test_a_home_that_cannot_be_used_exits_with_two(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["list", "--home", str(tmp_path / "file")]) == 2
    assert "cannot make the folder" in capsys.readouterr().err
    (tmp_path / "unlearnlab.sqlite3").write_text("no database" * 50)
    assert main(["list", "--home", str(tmp_path)]) == 2
    assert "is not a database" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_record_is_read_in_the_encoding_that_a_shell_gave_it(run, tmp_path, encoding):
    path = tmp_path / "spec.json"
    path.write_text(RunSpec(seed=5).model_dump_json(), encoding=encoding)
    code, out, _ = run("run", "--json", "--spec", str(path))
    assert code == 0
    assert json.loads(out)["spec"]["seed"] == 5


def test_a_locked_database_exits_with_two(run, tmp_path, monkeypatch):
    run("list")
    monkeypatch.setattr(Store.__init__, "__kwdefaults__", {"patience_s": 0.05})
    with closing(sqlite3.connect(tmp_path / "home" / "unlearnlab.sqlite3")) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        code, _, err = run("run", "--seed", "3")
    assert code == 2
    assert "is locked by another program" in err


def test_a_database_of_a_newer_version_exits_with_two(run, tmp_path):
    run("list")
    with sqlite3.connect(tmp_path / "home" / "unlearnlab.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    code, _, err = run("run", "--seed", "3")
    assert code == 2
    assert "written by a newer unlearnlab" in err


def test_presets_are_listed(run):
    assert run("presets")[0] == 0
    assert isinstance(json.loads(run("presets", "--json")[1]), list)


def test_help_lists_every_setting(run):
    code, out, _ = run("run", "--help")
    assert code == 0
    assert all(f"--{setting.path} " in out for setting in settings())
    assert "--phases.N.method.beta  number > 0 in 1/nat (default 0.1)" in out


def test_reading_commands_answer_quickly_and_leave_torch_alone(tmp_path):
    code = (
        "import sys; from unlearnlab.cli.main import main; main(['list', '--json']);"
        "heavy = {'torch', 'transformers', 'sklearn', 'gradio', 'scipy', 'pandas'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    environment = {**os.environ, "UNLEARNLAB_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_a_program_that_closes_the_pipe_meets_no_traceback(tmp_path):
    with Store(tmp_path) as store:
        for number in range(300):
            store.create(RunSpec(seed=number))
    environment = {**os.environ, "UNLEARNLAB_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "unlearnlab", "list", "--json"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


def test_a_terminal_that_knows_no_arrows_is_served_all_the_same(tmp_path):
    with Store(tmp_path) as store:
        run_id = store.create(RunSpec(), name="naïve →")
    environment = {**os.environ, "UNLEARNLAB_HOME": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "unlearnlab", "show", run_id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "na?ve ?" in done.stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stored(*events):
    return [StoredEvent(n, 1000.0 + n, event) for n, event in enumerate(events, start=1)]


def show(shown, job):
    facts = (event for event in whole_run(job) if event)
    for item in stored(STARTED, *facts, Finished(seconds=1)):
        shown.take(item)
    shown.close()


class Folder:
    """Stands for a job whose run is only looked at."""

    run_id = "run"
    spec = RunSpec()

    @property
    def folder(self):
        return self

    def __truediv__(self, name):
        return self

    def write_bytes(self, data):
        return len(data)


def test_a_terminal_shows_a_bar_for_each_stage():
    screen = Terminal()
    show(RunProgressBar(screen), Folder())
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n")
    (bar,) = {line for line in last.splitlines() if "Training" in line and "3/3" in line}
    assert "forget 1, retain 0.5" in bar


def test_without_a_terminal_lines_are_few():
    stream = io.StringIO()
    shown = RunProgressBar(stream)
    for item in stored(STARTED, stage("training"), *map(stepped, range(1, 500))):
        shown.take(item)
    assert stream.getvalue().count("\n") < 5
    assert stream.getvalue().startswith("Starting\nTraining\n")
    assert "\x1b" not in stream.getvalue()


def test_a_table_fits_a_terminal_and_is_a_line_for_each_row_anywhere_else(monkeypatch):
    rows = [["one", "word " * 60], ["[red]two", "\x1b[31mred"]]
    lines = table(["name", "text"], rows).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "one", "[red]two"]
    assert lines[2].endswith("\N{REPLACEMENT CHARACTER}[31mred")
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "70")
    lines = table(["name", "text"], rows).splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 70


def test_a_trace_prints_its_effects(run):
    code, out, err = run("trace", "--prompt", "Who is Ada Brock?", "--subject", "Ada Brock")
    assert code == 0
    assert "clean 0.900, corrupted 0.100, total effect 0.800" in out
    assert "indirect effect of mlp, windows of 3 blocks, by block" in out
    assert "Tracing" in err


def test_a_trace_is_one_json_object_and_is_no_run(run):
    _, out, _ = run("trace", "--average", "4", "--set", "forget", "--task", "Task2", "--json")
    found = json.loads(out)
    assert found["status"] == "finished"
    assert found["spec"]["about"] == {
        "kind": "average", "count": 4, "split": "forget", "tasks": ["Task2"],
    }  # fmt: skip
    assert len(found["traced"]["found"]["effects"]["mlp"]) == 8
    assert json.loads(run("list", "--json")[1]) == []
    assert json.loads(run("show", found["trace"], "--json")[1]) == found


def test_interrupting_a_trace_stops_it_in_good_order(tmp_path, capsys, interruptible):
    class Interrupted(FakeLab):
        def trace(self, job):
            yield stage("tracing")
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                time.sleep(0.005)
                yield None

    words = ["trace", "--average", "4", "--json", "--home", str(tmp_path)]
    assert main(words, open_engine=lambda store: Interrupted()) == 130
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "stopped"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", "Who is Ada?"], "subject: is missing: name what the prompt is about"),
        (["--prompt", "Who is Ada?", "--subject", "Bob"], "'Bob' is not in the prompt"),
        (["--id", "nope"], "no fact has the id 'nope'"),
        (["--average", "9999"], "about.count: input should be less than or equal to 1000"),
        (["--average", "900"], "there are only 400 such facts, not 900"),
        (["--average", "3", "--task", "Task9"], "about.tasks"),
        (["--average", "3", "--window", "12"], "window: 12 blocks are more than the model has"),
        (["--average", "3", "--noise", "-1"], "noise: input should be greater than 0, not -1.0"),
        (["--average", "3", "--model", "olmo-7b"], "model.name: olmo-7b cannot run here"),
    ],
)
def test_a_trace_that_cannot_be_made_is_refused_before_it_starts(run, words, message):
    code, out, err = run("trace", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.fixture
def taught(run, tmp_path, monkeypatch):
    """Teach the embedded dataset by a lab that keeps a model at once."""
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))

    def script(job):
        yield from whole_run(job)
        folder = tmp_path / "models" / job.spec.keep_as
        shutil.copytree(EMBEDDED / "original", folder)
        (folder / MODEL_NOTE).write_text(json.dumps({"dataset": job.spec.data.source}))
        yield Kept(name=job.spec.keep_as, megabytes=4.2)

    def command(*words):
        return run("teach", "--data", "embedded", "--keep-as", "mine", *words, script=script)

    return command


def test_a_model_is_taught_kept_and_made_to_forget(run, taught):
    code, out, _ = taught("--seed", "3")
    assert code == 0
    assert "Kept as the model mine, 4.2 MB.\nTo make it forget: python -m unlearnlab run" in out
    code, out, _ = run("run", "--taught", "mine", "--json", "--seed", "4")
    assert code == 0
    spec = parse_spec(json.loads(out)["spec"])
    assert (spec.model.name, spec.data.source, spec.seed) == ("mine", "embedded", 4)


def test_a_model_is_not_kept_under_a_name_that_is_taken_or_none(taught):
    taught()
    code, _, err = taught()
    assert code == 2
    assert "keep_as: a model called 'mine' is there already: choose another name" in err
    assert "keep_as: a model's name has at most 41" in taught("--keep-as", "No Name")[2]
    assert "data.source: unknown dataset 'nope'" in taught("--data", "nope")[2]


def test_what_was_never_taught_cannot_be_forgotten(run, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    code, _, err = run("run", "--taught", "mine")
    assert code == 2
    assert "taught: no run has kept a model called 'mine'" in err


def test_an_estimate_is_printed_and_nothing_is_run(run):
    code, out, _ = run("run", "--estimate", "--preset", "embedded-early-mlps")
    assert code == 0
    assert out.startswith("at most")
    assert "weights" in out
    assert "No earlier run here" in out
    assert "No runs yet" in run("list")[1]


def test_an_estimate_needs_no_model_on_this_machine_but_its_sizes(run):
    code, out, _ = run("run", "--estimate", "--json", "--preset", "olmo-7b-joint")
    assert code == 0
    found = json.loads(out)
    assert found["bytes"] == sum(found["parts"].values()) > 14e9
    assert found["seconds"] is None


def test_models_lists_what_can_be_named_and_how_it_stands(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    download(tmp_path / "mine", num_hidden_layers=2)
    assert main(["models", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (found["tiny-olmo"]["blocks"], found["tiny-olmo"]["ready"]) == (8, True)
    assert (found["mine"]["blocks"], found["mine"]["ready"]) == (2, True)
    assert "give access" in found["olmo-7b"]["missing"]
    assert found["allenai/OLMo-1B-0724-hf"]["fetches"] == ["allenai/OLMo-1B-0724-hf"]
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert "downloaded by the first run" in told
    assert "olmo-1b: it is not on this machine" in told


def test_a_folder_can_be_traced(capsys, tmp_path, monkeypatch):
    download(tmp_path / "small", num_hidden_layers=5)
    home = ["--home", str(tmp_path / "home"), "--model", str(tmp_path / "small")]
    prompt = ["--prompt", "Ada Brock lives in", "--subject", "Ada Brock"]
    assert main(["trace", *prompt, *home, "--json"], open_engine=lambda _: FakeLab()) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["model"]["name"].endswith("small")
    wrong = ["trace", *prompt, "--model", str(tmp_path / "gone")]
    assert main(wrong, open_engine=lambda _: FakeLab()) == 2
    assert "model.name" in capsys.readouterr().err


def test_a_run_that_only_scores_prints_one_column(run):
    code, out, err = run("run", "--score-only", "--name", "mine")
    assert code == 0
    assert "Scoring the model" in err
    assert "Utility: quiz" in out
    heads = next(line for line in out.splitlines() if "score" in line)
    assert "before" not in heads
    code, out, _ = run("run", "--score-only", "--json")
    found = json.loads(out)
    assert (found["after"], found["verdict"], found["spec"]["phases"]) == (None, None, [])


@pytest.fixture
def on_cpu(tmp_path, capsys):
    """Carry out a command with a lab of the CPU, which other processes use too."""

    def command(*words):
        labs = EnginePool(lambda: ("cpu",), lambda _: FakeLab())
        code = main([*words, "--home", str(tmp_path / "home")], open_engine=lambda _: labs)
        return code, *capsys.readouterr()

    return command


USING = (
    ["run", "--seed", "0"],
    ["trace", "--average", "4"],
    ["teach", "--data", "embedded", "--keep-as", "mine"],
    ["sweep", "embedded-layer-windows"],
)


@pytest.mark.parametrize("words", USING, ids=lambda words: words[0])
def test_a_command_that_must_not_wait_for_a_device_exits_with_one_and_leaves_no_run(
    on_cpu, words, tmp_path
):
    with other_process("cpu", run="theirs") as process:
        code, out, err = on_cpu(*words, "--no-wait")
        assert (code, out) == (1, "")
        assert f"unlearnlab: cpu is in use by process {process.pid} (-c, run theirs): try" in err
    with Store(tmp_path / "home") as store:
        assert (store.runs(), store.traces()) == ([], [])


def test_results_of_a_run_are_taken_and_repeated_only_when_its_device_is_free(on_cpu, tmp_path):
    done = json.loads(on_cpu("run", "--json")[1])["run"]
    export = ("export", done, "--what", "model", "--out", str(tmp_path / "out"), "--no-wait")
    reproduce = ("reproduce", done, "--no-wait")
    with other_process("cpu"):
        for words in (export, reproduce):
            code, out, err = on_cpu(*words)
            assert (code, out) == (1, "")
            assert "cpu is in use by process" in err
    assert on_cpu(*export)[0] == on_cpu(*reproduce)[0] == 0


def test_a_command_waits_for_a_device_and_says_once_for_whom(on_cpu):
    with other_process("cpu", run="theirs") as process:
        threading.Timer(1.5, process.kill).start()
        code, _, err = on_cpu("run", "--seed", "0")
    assert code == 0
    told = f"unlearnlab: cpu is in use by process {process.pid} (-c, run theirs): waiting; "
    assert err.count("waiting") == 1
    assert told + "--no-wait refuses instead" in err
    assert err.index("waiting") < err.index("Starting")


def test_a_run_that_waits_for_a_device_is_stopped_by_ctrl_c(on_cpu, interruptible):
    with other_process("cpu"):
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
        code, out, _ = on_cpu("run", "--json")
    assert code == 130
    assert json.loads(out)["status"] == "stopped"


def test_the_help_of_every_command_that_uses_a_device_has_the_option(capsys):
    for words in (*USING, ["export"], ["reproduce"], ["evaluate"], ["mmlu"], ["target", "check"]):
        with pytest.raises(SystemExit):
            main([*words[: 2 if words[0] == "target" else 1], "--help"])
        assert "--no-wait" in capsys.readouterr().out, words
