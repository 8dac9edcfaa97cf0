"""Real processes that are told to end: what they leave behind, and what they print."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ROOT
from tests.runs.waiting import until
from unlearnlab.runs.store import Store

PATIENCE_S = 60

ENGINE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background process lacks it.
from tests.fakes import FakeLab, stage
from unlearnlab.cli import app, follow, main
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.spec.run import RunSpec

def script(job):
    try:
        yield stage("training")
        while True:
            time.sleep(0.01)
            yield None
    finally:
        time.sleep(PAUSE_S)  # Putting the weights back.

main._torch_engines = lambda _: EnginePool(lambda: ("cpu",), lambda _: FakeLab(script))
home, PAUSE_S = sys.argv[2], float(sys.argv[1])
"""

COMMAND = ENGINE + 'main.program(["run", "--json", "--home", home])'

PAGE = (
    ENGINE
    + """
class Busy(app.Worker):
    def __init__(self, store, engines):
        super().__init__(store, engines)
        self.submit(RunSpec())

app.Worker = Busy
app.import_engine = lambda *_: time.sleep(1000)  # As if torch were being imported.
main.program(["app", "--no-open", "--home", home])
"""
)


def started(code, home, *, ends_s=0.0, **pipes):
    """Start a program whose run goes on, and wait until a run does."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
    command = [sys.executable, "-c", code, str(ends_s), str(home)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    with Store(home) as store:
        deadline = time.monotonic() + PATIENCE_S
        while not any(row.began for row in store.runs()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return process


def status(home):
    with Store(home) as store:
        (row,) = store.runs()
        return row.ending.kind if row.ending else row.alive


def told_to_end(process, *signals):
    for number in signals:
        process.send_signal(number)
        time.sleep(0.4)
    out, err = process.communicate(timeout=PATIENCE_S)
    for ugly in ("Traceback", "terminate called", "Fatal", "WARNING"):
        assert ugly not in out + err
    return process.returncode, err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_command_that_is_told_to_end_stops_its_run_in_good_order(tmp_path, name):
    process = started(COMMAND, tmp_path)
    code, err = told_to_end(process, getattr(signal, name))
    assert (code, status(tmp_path)) == (130, "stopped")
    assert "unlearnlab: stopping; Ctrl-C again leaves at once" in err


def test_a_command_that_the_system_ends_writes_an_ending_though_its_run_does_not_stop(tmp_path):
    process = started(
        COMMAND.replace("main.program", "follow.CLOSING_S = 1; main.program"), tmp_path, ends_s=1000
    )
    assert told_to_end(process, signal.SIGTERM)[0] == 130
    assert status(tmp_path) == "stopped"


def test_a_page_writes_an_ending_though_its_run_does_not_stop(tmp_path):
    process = started(
        PAGE.replace("main.program", "app.CLOSING_S = 1; main.program"), tmp_path, ends_s=1000
    )
    assert "the page is at" in process.stderr.readline()
    assert told_to_end(process, signal.SIGTERM)[0] == 0
    assert status(tmp_path) == "stopped"


@pytest.mark.parametrize("other", [COMMAND, PAGE], ids=["a command", "another page"])
def test_a_page_shares_its_home_with(tmp_path, other):
    page = started(PAGE, tmp_path)
    beside = started(other, tmp_path)
    with Store(tmp_path) as store:
        until(lambda: len(store.runs()) == 2)
        assert [row.began for row in store.runs()] == [False, True], "it waits for the device"
        assert told_to_end(page, signal.SIGTERM)[0] == 0
        until(lambda: all(row.began for row in store.runs()))
        told_to_end(beside, signal.SIGTERM)
        assert [row.ending.kind for row in store.runs()] == ["stopped", "stopped"]
        for row in store.runs():
            assert [one.event.kind for one in store.events(row.run_id)][-1] == "stopped"
            assert store.unread(row.run_id) == []


def test_the_system_does_not_wait_for_scores(tmp_path):
    scored = COMMAND.replace('"--json"', '"--json", "--score-stopped"')
    process = started(scored, tmp_path)
    code, err = told_to_end(process, signal.SIGTERM)
    assert (code, status(tmp_path)) == (130, "stopped")
    assert "then the model is scored" not in err


@pytest.mark.parametrize("again", [["SIGINT"], ["SIGTERM", "SIGINT", "SIGINT"]])
def test_a_command_that_is_told_twice_leaves_at_once(tmp_path, again):
    process = started(COMMAND, tmp_path, ends_s=1000)
    code, err = told_to_end(process, signal.SIGINT, *(getattr(signal, name) for name in again))
    assert (code, status(tmp_path)) == (130, False)
    assert err.endswith("unlearnlab: stopped\n")


def test_a_command_whose_terminal_is_closed_stops_its_run(tmp_path):
    pty = pytest.importorskip("pty")
    own, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = started(COMMAND, tmp_path, start_new_session=True, **streams)
    os.close(theirs)
    os.close(own)  # The kernel tells only a session that has the terminal for its own.
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE_S) == 130
    assert status(tmp_path) == "stopped"


def test_a_command_that_nohup_keeps_from_hanging_up_goes_on(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = started(COMMAND, tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert told_to_end(process, signal.SIGTERM)[0] == 130


@pytest.mark.parametrize(
    "name",
    [
        "SIGTERM",
        pytest.param("SIGHUP", marks=pytest.mark.slow),
        pytest.param("SIGINT", marks=pytest.mark.slow),
    ],
)
def test_a_page_that_is_told_to_end_stops_its_run_in_good_order(tmp_path, name):
    process = started(PAGE, tmp_path)
    assert "the page is at" in process.stderr.readline()
    code, err = told_to_end(process, getattr(signal, name))
    assert (code, status(tmp_path)) == (0, "stopped")
    assert err == "unlearnlab: ending; Ctrl-C again leaves at once\n"


@pytest.mark.slow
def test_a_page_that_is_told_twice_leaves_at_once(tmp_path):
    process = started(PAGE, tmp_path, ends_s=1000)
    assert "the page is at" in process.stderr.readline()
    code, err = told_to_end(process, *[signal.SIGINT] * 4)
    assert (code, status(tmp_path)) == (130, False)
    assert "left at once: the running run counts as interrupted" in err
