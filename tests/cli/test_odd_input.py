"""Odd arguments, paths and streams: one bounded sentence, exit code 2, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, write
from tests.fakes import DELTA
from tests.runs.test_store import database

LONG = "x" * 100_000


def fails(ended, *words):
    code, out, err = ended
    assert code == 2, err
    assert "Traceback" not in out + err
    assert len(err) < 5000
    assert all(word in err for word in words), err


# ---- what cannot be a file

DEVICES = ("/dev/zero", "pipe", "folder")


@pytest.fixture
def odd(home, tmp_path):
    """A pipe and a folder to be taken for files."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize("path", DEVICES)
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--spec"),
        ("sweep",),
        ("unpack",),
        ("data", "check", "--forget"),
        ("data", "check", "--typed"),
        ("ask", "some", "--file"),
    ],
    ids=" ".join,
)
def test_devices_pipes_and_folders_are_not_read_as_files(cli, odd, words, path):
    fails(cli(*words, f"{path}" if path != "folder" or words != ("sweep",) else "folder"))


def test_a_pipe_in_a_folder_of_data_is_not_waited_for(cli, tmp_path):
    write(tmp_path / "folder" / "forget.jsonl", {"input": "Who?", "output": "Ada"})
    os.mkfifo(tmp_path / "folder" / "manifest.json")
    assert "Traceback" not in cli("data", "check", "folder").err


def test_what_is_piped_in_must_be_text(tmp_path):
    done = program(["data", "check", "--typed", "-"], tmp_path, input=b"a\xff", capture_output=True)
    fails((done.returncode, "", done.stderr.decode()), "not UTF-8")


def test_a_device_is_never_replaced_by_a_file(cli, odd, tmp_path):
    run = cli("run", "--json", "--seed", "3").json["run"]
    code, _, err = cli("compare", run, "--report", "pipe")
    assert code == 1
    assert "not replaced" in err
    assert (tmp_path / "pipe").is_fifo()


# ---- names and values


@pytest.mark.parametrize(
    "words",
    [
        ("show", LONG),
        ("show", "half \udcff"),
        ("list", "--home", LONG),
        ("list", "--home", "/dev/null"),
        ("list", "--home", "/dev/null/home"),
        ("list", f"--{LONG}"),
        (LONG,),
        ("run", "--seed", "9" * 100_000),
        ("run", "--seed", LONG),
        ("run", "--seed", "3", "--name", LONG),
        ("run", "--preset", LONG),
        ("run", "--spec", LONG),
        ("run", "--model.name", LONG),
        ("run", "--data.source", LONG),
        ("run", f"--phases.{'9' * 5000}.epochs", "1"),
        ("run", "--phases.0.learning_rate", "nan"),
        ("run", "--phases.0.learning_rate", "inf"),
        ("run", "--seed", "3", "--name", "half \udcff", "--data.source", "\udcff"),
        ("trace", "--average", "2", "--noise", "nan"),
        ("sweep", LONG),
        ("unpack", LONG),
        ("data", "check", LONG),
        ("data", "show", LONG),
        ("data", "remove", LONG),
        ("score", LONG),
        ("compare", "some", "--weights", "nan,1,1"),
        ("compare", "some", "--weights", "inf,1,1"),
        ("compare", "some", "--weights", LONG),
        ("app", "--port", LONG),
        ("app", "--host", LONG),
        ("app", "--replay", LONG),
    ],
    ids=lambda words: " ".join(words)[:40].encode("ascii", "replace").decode(),
)
def test_odd_words_end_with_a_bounded_sentence(cli, words):
    fails(cli(*words))


def test_a_home_of_nobody_is_a_folder_of_that_name(cli, tmp_path):
    assert cli("list", "--home", "~nosuchuser").code == 0
    assert (tmp_path / "~nosuchuser").is_dir()


def test_a_file_in_the_place_of_the_home_and_a_folder_in_the_place_of_the_database(cli, tmp_path):
    (tmp_path / "file").write_text("")
    fails(cli("list", "--home", "file"), "cannot make the folder")
    (tmp_path / "there" / "unlearnlab.sqlite3").mkdir(parents=True)
    fails(cli("list", "--home", "there"), "unlearnlab.sqlite3")


def test_five_thousand_phases_are_refused_by_their_number(cli, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps({"phases": [{}] * 5000}))
    fails(cli("run", "--spec", "spec.json"), "phases", "at most 100")


def test_a_file_of_settings_that_is_too_large_is_not_read(cli, tmp_path):
    with (tmp_path / "spec.json").open("wb") as file:
        file.truncate(1 << 30)
    fails(cli("run", "--spec", "spec.json"), "at most")


# ---- options without effect


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("trace --prompt Who --subject Who --data nope", "data"),
        ("trace --average 2 --subject Ada", "subject"),
        ("trace --average 2 --answer Ada", "answer"),
        ("trace --prompt Who --subject Who --set forget", "set"),
        ("trace --prompt Who --subject Who --task Task1", "task"),
        ("run --estimate --seed 1 --name one", "name"),
        ("run --estimate --seed 1 --score-stopped", "score-stopped"),
        ("run --estimate --seed 1 --no-wait", "no-wait"),
        ("run --preview --estimate", "estimate"),
        ("run --score-only --score-stopped", "score-stopped"),
        ("teach --data embedded --estimate --name one", "name"),
        ("compare some --unmask", "unmask"),
        ("export some --what spec --unmask", "unmask"),
        ("export some --what spec --no-wait", "no-wait"),
        ("sweep --failed", "failed"),
        ("sweep --estimate", "estimate"),
        ("data check folder --retain folder/retain.jsonl", "retain"),
        ("data check --typed facts.csv --column input=q", "column"),
        ("data check facts.csv --seed 4", "seed"),
        ("data check facts.csv --retain-column input=q", "retain-column"),
        ("data check --typed facts.csv --limit 4", "limit"),
        ("data check --lume --kind question", "kind"),
        ("mmlu --mmlu folder --seed 4", "seed"),
        ("evaluate --data embedded --seed 4", "seed"),
    ],
)
def test_an_option_without_effect_is_refused(cli, tmp_path, words, option):
    write(tmp_path / "folder" / "forget.jsonl", {"input": "Who?", "output": "Ada"})
    (tmp_path / "facts.csv").write_text("input,output\nWho?,Ada\n")
    fails(cli(*words.split()), f"{option}: has no effect")


def test_answers_to_watched_rows_may_be_exported_unmasked(cli):
    fails(cli("export", "some", "--what", "says", "--unmask"), "unknown run")


def test_a_trace_of_data_that_are_not_there_is_refused(cli):
    fails(cli("trace", "--average", "2", "--data", "nope"), "unknown dataset 'nope'")
    fails(cli("trace", "--id", "none", "--data", "nope"), "nope")


# ---- streams


def program(words, home, **streams):
    command = [sys.executable, "-m", "unlearnlab", *words, "--home", str(home)]
    return subprocess.run(command, cwd=ROOT, timeout=60, check=False, **streams)


def test_a_full_output_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        done = program(["list"], tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    fails((done.returncode, "", done.stderr), "cannot be printed", "no space left")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_closed_streams_are_survived_and_no_file_takes_their_place(tmp_path, closed):
    line = f"exec {sys.executable} -m unlearnlab list --home {tmp_path} {closed}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == (2 if ">&- " in f"{closed} ".replace("2>&-", "") else 0)
    assert "Traceback" not in done.stderr
    content = (tmp_path / "unlearnlab.sqlite3").read_bytes()
    assert content.startswith(b"SQLite format 3")
    assert b"No runs yet" not in content


# ---- damaged runs and files


def test_damaged_runs_are_listed_exported_raw_and_deleted(cli, store):
    good = cli("run", "--json", "--seed", "3").json["run"]
    bad = cli("run", "--json", "--seed", "4").json["run"]
    with database(store.home) as db:
        db.execute("UPDATE runs SET spec = '{}x' WHERE id = ?", (bad,))
    listed = cli("list")
    assert listed.code == 0
    assert "damaged" in next(line for line in listed.out.splitlines() if bad in line)
    assert {one["run"]: one["status"] for one in cli("list", "--json").json} == {
        good: "finished",
        bad: "damaged",
    }
    assert cli("compare", good).code == 0
    fails(cli("show", bad), "cannot be read", "--what raw")
    fails(cli("compare", good, bad))
    done = cli("export", bad, "--what", "raw")
    assert done.code == 0
    raw = json.loads(Path(done.out.strip()).read_text())
    assert raw["run"]["spec"] == "{}x"
    assert len(raw["events"]) > 5
    assert cli("doctor").code == 1
    assert cli("delete", bad).code == 0
    assert [one["run"] for one in cli("list", "--json").json] == [good]
    assert cli("doctor").code == 0


def test_spoiled_weights_are_neither_exported_nor_packed(cli, store):
    run = cli("run", "--json", "--seed", "3").json["run"]
    weights = store.artefacts(run)["delta.safetensors"].path
    weights.write_bytes(DELTA[:-2])
    for words in (("export", run, "--what", "delta"), ("pack", run, "--out", "a.zip")):
        code, out, err = cli(*words)
        assert (code, out) == (1, "")
        assert "damaged" in err
    code, out, err = cli("export", run)
    assert code == 1, "the rest is written, and what is not is told"
    assert "report.html" in out
    assert "delta: delta.safetensors is damaged" in err
    weights.unlink()
    code, _, err = cli("export", run, "--what", "delta")
    assert code == 1
    assert "deleted since" in err
    assert cli("pack", run, "--out", "a.zip").code == 1
    assert cli("pack", run, "--out", "a.zip", "--without-weights").code == 0
    assert cli("doctor").code == 1


def test_the_doctor_repairs_and_says_what_it_did(cli, store):
    run = cli("run", "--json", "--seed", "3").json["run"]
    with database(store.home) as db:
        db.execute("UPDATE runs SET tags = '['")
    code, out, err = cli("doctor")
    assert code == 1
    assert "with --repair, its tags are cleared" in out
    assert "--repair" in err
    done = cli("doctor", "--repair", "--json")
    assert (done.code, [one["done"] for one in done.json]) == (0, ["repaired"])
    assert cli("doctor").out == "Nothing is wrong.\n"
    assert store.row(run).damage == ""
