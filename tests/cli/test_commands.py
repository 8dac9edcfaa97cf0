"""What holds for all commands: bad input, homes, devices that others use, streams, help."""

import io
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import ROOT
from tests.fakes import FakeLab, stage, stepped, whole_run
from tests.models.test_catalog import download
from tests.outside import other_process
from unlearnlab.cli import access, app
from unlearnlab.cli.commands import table, wide_table
from unlearnlab.cli.follow import RunProgressBar
from unlearnlab.runs.engine_api import EnginePool, Job
from unlearnlab.runs.events import Finished, KnowledgeChecked, Started, StoredEvent
from unlearnlab.runs.store import Store
from unlearnlab.spec.fields import settings
from unlearnlab.spec.run import RunSpec


def under(command, rows):
    return [((*command.split(), *words.split("  ")), message) for words, message in rows]


BAD_INPUT = [
    *under(
        "run",
        [
            ("--preset  nope", "preset: unknown preset 'nope'"),
            ("--spec  /no/such/file", "spec: /no/such/file cannot be read: No such file"),
            ("--spec  .", "cannot be read: a folder where a file is expected"),
            ("--phases.0.first_layer  31", "phases.0.first_layer: layer 31 is out of range"),
            (
                "--phases.0.learning_rate  -1",
                "phases.0.learning_rate: must be greater than 0, not -1",
            ),
            ("--phases.0.learning_rate  fast", "must be a number, not 'fast'"),
            ("--phases.0.learning_rate", "phases.0.learning_rate: a value is missing"),
            ("--phases.0.epochs=0", "phases.0.epochs: must be at least 1, not 0"),
            ("--phases.0.modules  <b>", "not '<b>'"),
            ("--phases.0.method.kind  nop", "unknown method 'nop': did you mean npo"),
            ("--model.name  olmo", "unknown model 'olmo': did you mean"),
            ("--model.name  olmo-7b", "model.name: olmo-7b cannot run here"),
            ("--sed  3", "sed: there is no such setting: did you mean seed?"),
            ("stray", "cannot read 'stray'"),
            ("--preset  a  --spec  b", "not allowed with argument"),
            ("--taught  mine", "taught: no run has kept a model called 'mine'"),
        ],
    ),
    *under(
        "trace",
        [
            ("--prompt  Who is Ada?", "subject: is missing: name what the prompt is about"),
            ("--prompt  Who is Ada?  --subject  Bob", "'Bob' is not in the prompt"),
            ("--id  nope", "no fact has the id 'nope'"),
            ("--average  9999", "about.count: input should be less than or equal to 1000"),
            ("--average  900", "there are only 400 such facts, not 900"),
            ("--average  3  --task  Task9", "about.tasks"),
            ("--average  3  --window  12", "window: 12 blocks are more than the model has"),
            ("--average  3  --noise  -1", "noise: input should be greater than 0, not -1.0"),
            ("--average  3  --model  olmo-7b", "model.name: olmo-7b cannot run here"),
            ("--average  3  --model  ./gone", "model.name"),
        ],
    ),
    *under("show", [("nope", "unknown run 'nope'")]),
    *under("list", [("--seed  3", "unknown option: --seed 3")]),
    *under("launch", [("it", "invalid choice: 'launch'")]),
    *under(
        "sweep",
        [
            ("embedded-alpa", "did you mean embedded-alpha"),
            ("no.json", "cannot be read"),
            (__file__, "is not JSON"),
        ],
    ),
    *under(
        "data",
        [
            ("check  nowhere", "nowhere: there is no such folder"),
            ("check  --forget  nowhere.csv", "nowhere.csv: there is no such file"),
            ("check  --forget  facts.csv  --column  answer=x", "--column answer"),
            ("show  nothing", "unknown dataset 'nothing'"),
            ("remove  embedded", "embedded: comes with the program"),
            ("check", "one of the arguments"),
            ("check  facts.csv  --lume", "not allowed with"),
            ("check  facts.csv  --limit  0", "--limit"),
            ("add  --semeval  a b", "not the id of a dataset on the hub: write it as org/name"),
        ],
    ),
    *under(
        "evaluate",
        [
            ("--data  nowhere", "'nowhere' is no folder, and unknown dataset"),
            ("--data  embedded  --questions  5", "questions: needs --mmlu DIR, the folder"),
            ("--data  embedded  --mia  nowhere", "there is no such file"),
            ("--data  embedded  --model  no/such/model", "no/such/model"),
        ],
    ),
    *under("mmlu", [("--mmlu  nowhere", "nowhere is not a folder")]),
    *under("score", [("none", "none is not a folder")]),
    *under(
        "app",
        [
            ("--auth  ada", "--auth takes USER:PASSWORD"),
            ("--auth  :secret", "--auth takes USER:PASSWORD"),
            ("--auth  ada:", "--auth takes USER:PASSWORD"),
            ("--replay  nothing", "nothing"),
            ("--speed  4", "--speed and --in belong to a replay: name its run with --replay"),
        ],
    ),
]


@pytest.mark.parametrize(("words", "message"), BAD_INPUT, ids=lambda value: "")
def test_bad_input_is_told_on_stderr_and_exits_with_two(cli, words, message):
    Path("facts.csv").write_text("input,output\nWho?,Bo\n")
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert message in err
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
def test_a_foreign_file_is_no_spec(cli, content, message):
    Path("file").write_bytes(content)
    code, _, err = cli("run", "--spec", "file")
    assert code == 2
    assert message in err


# ---- homes


def test_datasets_and_kept_models_follow_the_home_as_runs_do(cli, home, tmp_path):
    there = ("--home", tmp_path / "there")
    Path("facts.txt").write_text("Who keeps the mill? | Ada Brock\n")
    typed = ("data", "add", "--typed", "facts.txt", "--retain-of", "embedded", "--name", "mine")
    assert cli(*typed, *there).code == 0
    (tmp_path / "there" / "models").mkdir()
    download(tmp_path / "there" / "models" / "kept")
    assert cli("list", *there).code == 0
    assert {path.name for path in tmp_path.glob("*")} == {"facts.txt", "there"}

    def listed(*words):
        return {one["name"] for one in cli(*words, "--json").json}

    assert "mine" in listed("data", "list", *there)
    assert "kept" in listed("models", *there)
    assert "mine" not in listed("data", "list")
    assert "kept" not in listed("models")
    assert os.environ["UNLEARNLAB_HOME"] == str(home)


@pytest.mark.parametrize("command", ["list", "app"])
def test_a_home_that_cannot_be_used_exits_with_two(cli, tmp_path, command):
    Path("file").touch()
    assert cli(command, "--home", "file").code == 2
    assert f"cannot make the folder {tmp_path / 'file'}" in cli(command, "--home", "file").err
    Path("unlearnlab.sqlite3").write_text("no database" * 50)
    code, _, err = cli(command, "--home", ".")
    assert code == 2
    assert "is not a database" in err


def test_a_locked_database_exits_with_two(cli, home, monkeypatch):
    cli("list")
    monkeypatch.setattr(Store.__init__, "__kwdefaults__", {"patience_s": 0.05})
    with closing(sqlite3.connect(home / "unlearnlab.sqlite3")) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        code, _, err = cli("run", "--seed", "3")
    assert code == 2
    assert "is locked by another program" in err


def test_a_database_of_a_newer_version_exits_with_two(cli, home):
    cli("list")
    with closing(sqlite3.connect(home / "unlearnlab.sqlite3")) as db:
        db.execute("PRAGMA user_version = 99")
    code, _, err = cli("run", "--seed", "3")
    assert code == 2
    assert "written by a newer unlearnlab" in err


# ---- devices that other processes use

USING = (
    ("run", "--seed", "0"),
    ("trace", "--average", "4"),
    ("teach", "--data", "embedded", "--keep-as", "mine"),
    ("sweep", "embedded-layer-windows"),
)
"""Commands that begin runs."""


@pytest.fixture
def on_cpu(cli):
    """Carry out a command with an engine of the CPU, which other processes use too."""
    engines = EnginePool(lambda: ("cpu",), lambda _: FakeLab())
    return lambda *words: cli(*words, engine=engines)


@pytest.mark.parametrize("words", USING, ids=lambda words: words[0])
def test_a_command_that_must_not_wait_for_a_device_exits_with_one_and_leaves_no_run(
    on_cpu, store, words
):
    with other_process("cpu", run="theirs") as process:
        code, out, err = on_cpu(*words, "--no-wait")
    assert (code, out) == (1, "")
    assert f"unlearnlab: cpu is in use by process {process.pid} (-c, run theirs): try" in err
    assert (store.runs(), store.traces()) == ([], [])


def test_results_of_a_run_are_taken_and_repeated_only_when_its_device_is_free(on_cpu):
    done = on_cpu("run", "--json").json["run"]
    export = ("export", done, "--what", "model", "--out", "out", "--no-wait")
    reproduce = ("reproduce", done, "--no-wait")
    with other_process("cpu"):
        for words in (export, reproduce):
            code, out, err = on_cpu(*words)
            assert (code, out) == (1, "")
            assert "cpu is in use by process" in err
    assert on_cpu(*export).code == on_cpu(*reproduce).code == 0


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
        done = on_cpu("run", "--json")
    assert done.code == 130
    assert done.json["status"] == "stopped"


# ---- help, streams and terminals


def test_help_lists_every_setting(cli):
    code, out, _ = cli("run", "--help")
    assert code == 0
    assert all(f"--{setting.path} " in out for setting in settings())
    assert "--phases.N.method.beta  number > 0 in 1/nat (default 0.1)" in out


@pytest.mark.parametrize(
    "command",
    [words[0] for words in USING] + ["export", "reproduce", "evaluate", "mmlu", "target check"],
)
def test_the_help_of_every_command_that_uses_a_device_has_the_option(cli, command):
    assert "--no-wait" in cli(*command.split(), "--help").out


def as_process(*words, **environment):
    """Start the program with pipes for its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "unlearnlab", *words],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_reading_commands_answer_quickly_and_leave_torch_alone(home):
    code = (
        "import sys; from unlearnlab.cli.main import main; main(['list', '--json']);"
        "heavy = {'torch', 'transformers', 'sklearn', 'gradio', 'scipy', 'pandas'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_a_program_that_closes_the_pipe_meets_no_traceback(store):
    for number in range(300):
        store.create(RunSpec(seed=number))
    with as_process("list", "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_terminal_that_knows_no_arrows_is_served_all_the_same(store):
    run_id = store.create(RunSpec(), name="naïve →")
    with as_process("show", run_id, PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "na?ve ?" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(stream, *events):
    shown = RunProgressBar(stream, RunSpec())
    for seq, event in enumerate((Started(versions={}, device="cpu"), *events), 1):
        shown.take(StoredEvent(seq, 1000.0 + seq, event))
    shown.close()
    return stream.getvalue()


def test_a_terminal_shows_a_bar_for_each_stage(tmp_path):
    events = filter(None, whole_run(Job("run", RunSpec(), tmp_path)))
    drawn = progress(Terminal(), *events, Finished(seconds=1))
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn).replace("\r", "\n")
    bars = {line for line in last.splitlines() if "Training" in line and "3/3" in line}
    assert bars
    assert all("forget 1, retain 0.5" in bar for bar in bars)


def test_rows_that_the_model_does_not_know_come_with_the_command_that_teaches_them(capsys):
    progress(io.StringIO(), KnowledgeChecked(questions=(0, 4), texts=(0, 0), of=4))
    told = "`teach --data embedded --model tiny-olmo --keep-as NAME` teaches them"
    assert told in capsys.readouterr().err


def test_without_a_terminal_lines_are_few():
    lines = progress(io.StringIO(), stage("training"), *map(stepped, range(1, 500)))
    assert lines.count("\n") < 5
    assert lines.startswith("Starting\nTraining\n")
    assert "\x1b" not in lines


def test_a_table_fits_a_terminal_and_is_a_line_for_each_row_anywhere_else(monkeypatch):
    rows = [["one", "word " * 60], ["[red]two", "\x1b[31mred"]]
    lines = table(["name", "text"], rows).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "one", "[red]two"]
    assert lines[2].endswith("\N{REPLACEMENT CHARACTER}[31mred")
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "70")
    lines = table(["name", "text"], rows).splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 70


def test_a_wide_table_of_numbers_goes_on_below_in_a_terminal(monkeypatch):
    head = ["", *map(str, range(32))]
    rows = [["one", *["0.12"] * 32], ["a label " * 9, *["-0.10"] * 32]]
    assert len(wide_table(head, rows).splitlines()) == 3, "a pipe has room for all"
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    lines = wide_table(head, rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("0.12") for line in lines) == 32, "no number is folded"
    assert {line.split(" ")[0] for line in lines if line.strip()} == {"", "one", "a"}


# ---- the page


@pytest.fixture
def taken():
    """Port that another program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_a_taken_port_is_named(cli, taken):
    code, _, err = cli("app", "--port", taken)
    assert code == 2
    assert f"port {taken} on 127.0.0.1 cannot be used" in err


@pytest.mark.parametrize("port", ["99999", "0", "-1"])
def test_a_port_that_is_none_is_told_in_one_line(cli, port):
    code, _, err = cli("app", f"--port={port}")
    assert (code, err) == (2, f"unlearnlab: port: {port} is no port: take one from 1 to 65535\n")


@pytest.mark.parametrize("host", ["256.0.0.1", "::2:zz", "a" * 70, "[::1"])
def test_a_host_that_is_none_is_told_in_one_line(cli, host):
    code, _, err = cli("app", "--host", host, "--port", "7955")
    assert code == 2
    assert err.count("\n") == 1
    assert host.strip("[")[:20] in err


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_the_page_is_served_on_the_host_that_is_named_and_no_proxy_is_asked_for_it(home, taken):
    host = "[::1]" if has_ipv6() else "127.0.0.1"
    deaf = f"http://127.0.0.1:{taken}"
    named = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), deaf)
    past = dict.fromkeys(("NO_PROXY", "no_proxy"), "example.org")
    with as_process("app", "--no-open", "--host", host, **named, **past) as process:
        try:
            line = process.stderr.readline()
            assert f"the page is at http://{host}:" in line
            address = line.split("the page is at ")[1].split()[0]
            assert httpx.get(address, trust_env=False, timeout=60).status_code == 200
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("", ""),
        ("/", ""),
        ("lab", "/lab"),
        ("/lab/", "/lab"),
        ("https://example.org/lab/", "https://example.org/lab"),
    ],
)
def test_a_path_of_a_proxy_is_taken_as_people_write_it(asked, path):
    assert app.root_path(asked) == path


def test_what_is_no_path_is_told_in_one_line(cli):
    code, _, err = cli("app", "--root-path", "/lab?x=1")
    assert (code, err.count("\n")) == (2, 1)
    assert "'/lab?x=1' is no path" in err


def test_colons_after_the_first_belong_to_the_password():
    assert access.credentials("ana:p:a:ss wörd") == ("ana", "p:a:ss wörd")
    assert access.credentials(" ana :x") == ("ana", "x"), "the login page strips the name too"
    assert access.credentials(None) is None


@pytest.mark.parametrize("auth", ["ana", ":x", "ana:", " :x", ""])
def test_a_malformed_password_is_told_in_one_line(cli, auth):
    code, _, err = cli("app", "--auth", auth)
    assert (code, err) == (2, "unlearnlab: --auth takes USER:PASSWORD, both not empty\n")


@pytest.mark.parametrize(
    ("host", "open_to_others"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("x", True)],
)
def test_only_this_machine_is_no_other(host, open_to_others):
    assert access.open_to_others(host) is open_to_others
