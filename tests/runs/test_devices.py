"""Who may use a device: locks between processes, and the queue of one."""

import json
import os
import platform
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.outside import holder, other_process
from unlearnlab.runs import devices as locks
from unlearnlab.runs.devices import (
    ANY,
    FOLDER,
    InUse,
    assign_devices,
    candidate_devices,
    elsewhere,
    folder,
    holders,
    take,
)

CPU = {"cpu": "cpu"}


@pytest.fixture(autouse=True)
def locks_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "locks"))
    return tmp_path / "locks"


def test_a_device_that_another_process_holds_is_refused_with_who_it_is():
    with other_process("cpu", run="261126-1") as process:
        with pytest.raises(InUse) as refused:
            take(CPU)
        assert str(refused.value) == f"cpu is in use by process {process.pid} (-c, run 261126-1)"
        (found,) = elsewhere({})
        assert (found, elsewhere(CPU)) == (refused.value.holder, (found,))
        assert elsewhere({"gpu-1": "cuda:0"}) == (), "a device that this program does not see"


@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_lock_is_gone_with_its_process_however_that_ends(end):
    with other_process("cpu") as process:
        process.kill() if end == "kill" else process.stdin.close()
        process.wait()
        assert (holders(), elsewhere({})) == ({}, ())
        take(CPU).release()


def test_several_devices_are_taken_all_or_none():
    both = {"gpu-1": "cuda:0", "gpu-2": "cuda:1"}
    with other_process("gpu-2"):
        with pytest.raises(InUse, match="cuda:1 is in use"):
            take(both)
        take({"gpu-1": "cuda:0"}).release()
    held = take(both)
    assert sorted(holders()) == ["gpu-1", "gpu-2"]
    assert elsewhere({}) == (), "this process is nobody else"
    held.release()
    held.release()
    assert holders() == {}


def test_two_parts_of_one_process_exclude_each_other_too():
    held = take(CPU, run="mine")
    with pytest.raises(InUse, match=f"process {os.getpid()} .*run mine"):
        take(CPU)
    held.release()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"device": 3}', '{"device": "cpu", "pid": -1}'])
def test_a_note_that_makes_no_sense_is_no_holder_and_keeps_nobody_out(locks_folder, text):
    take(CPU).release()
    (locks_folder / "cpu.json").write_text(text)
    assert holders() == {}
    held = take(CPU)
    (locks_folder / "cpu.json").write_text(text)
    with pytest.raises(InUse, match=r"^cpu is in use by another process$"):
        take(CPU)
    held.release()


def test_a_process_that_has_the_number_of_an_earlier_one_is_not_taken_for_it(locks_folder):
    held = take(CPU)
    (note,) = holders().values()
    older = replace(note, born=note.born - 1000)
    (locks_folder / "cpu.json").write_text(json.dumps(asdict(older)))
    assert holders() == {}
    held.release()


def test_a_device_without_a_name_is_locked_by_nobody(locks_folder):
    for _ in range(2):
        take({"": "any"})
    assert not locks_folder.exists()


def test_where_no_lock_can_be_made_the_work_goes_on_and_a_warning_says_so(tmp_path, caplog):
    (tmp_path / "locks").write_text("a file")
    take(CPU).release()
    assert "devices are not locked against other processes" in caplog.text
    assert FOLDER in caplog.text
    assert holders() == {}


def test_the_folder_is_the_users_on_this_machine_whatever_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER)
    monkeypatch.setattr(locks, "user_state_path", lambda *_, **__: tmp_path / "state")
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    assert folder() == tmp_path / "state" / "locks" / platform.node()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    monkeypatch.setattr(locks, "user_state_path", lambda *_, **__: tmp_path / "file")
    assert folder().parent == tmp_path
    assert folder().name.startswith("unlearnlab-locks-")


def test_a_program_is_called_as_it_was_started(monkeypatch):
    package = Path("/somewhere/unlearnlab/__main__.py")
    for words, called in (
        (["app.py", "--no-open"], "app.py"),
        ([str(package), "run", "--seed", "3"], "unlearnlab run"),
        ([str(package)], "unlearnlab"),
        ([""], ""),
    ):
        monkeypatch.setattr("sys.argv", words)
        assert locks.program() == called


def test_a_holder_is_named_as_far_as_it_is_known():
    assert holder().who == "process 1234 (app.py, run one)"
    assert holder(run="").who == "process 1234 (app.py)"
    assert holder(run="", program="").who == "process 1234"
    assert holder(pid=0).who == "another process"


# ---- the queue of one process

ONE_GPU = ("cuda:0", "cpu")
TWO_GPUS = ("cuda:0", "cuda:1", "cpu")


@pytest.mark.parametrize(
    ("wish", "devices", "expected"),
    [
        ("auto", TWO_GPUS, [("cuda:0",), ("cuda:1",)]),
        ("auto", ("mps", "cpu"), [("mps",)]),
        ("auto", ("cpu",), [("cpu",)]),
        ("all", TWO_GPUS, [("cuda:0", "cuda:1")]),
        ("cuda", TWO_GPUS, [("cuda:0",)]),
        ("cuda:1", TWO_GPUS, [("cuda:1",)]),
        ("cpu", TWO_GPUS, [("cpu",)]),
    ],
)
def test_a_job_takes_the_device_it_names_and_auto_any_accelerator(wish, devices, expected):
    assert candidate_devices(wish, devices) == expected


@pytest.mark.parametrize("wish", ["all", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_left_to_the_first_one_to_refuse(wish):
    assert candidate_devices(wish, ("cpu",)) == [("cpu",)]


@pytest.mark.parametrize("wish", ["auto", "all", "cuda:1", "cpu"])
def test_a_single_lab_takes_everything(wish):
    assert candidate_devices(wish, (ANY,)) == [(ANY,)]


@pytest.mark.parametrize(
    ("wishes", "busy", "expected", "kept"),
    [
        (["auto", "auto", "auto"], [], [("cuda:0",), ("cuda:1",), ()], {"cuda:0", "cuda:1"}),
        (["auto"], ["cuda:0"], [("cuda:1",)], {"cuda:0", "cuda:1"}),
        (["cuda:0", "cpu"], ["cuda:0"], [(), ("cpu",)], {"cuda:0", "cpu"}),
        ([], ["cuda:0"], [], {"cuda:0"}),
    ],
)
def test_what_waits_takes_what_is_free_in_its_order(wishes, busy, expected, kept):
    assert assign_devices(wishes, TWO_GPUS, busy) == (expected, kept)


def test_a_job_for_all_gpus_is_not_overtaken_for_ever():
    """Later ones leave alone what it waits for; a job for the CPU is in nobody's way."""
    found, kept = assign_devices(["all", "auto", "cuda:1", "cpu"], TWO_GPUS, ["cuda:0"])
    assert found == [(), (), (), ("cpu",)]
    assert kept == set(TWO_GPUS)


def test_the_only_gpu_is_waited_for_while_the_cpu_idles():
    assert assign_devices(["auto"], ONE_GPU, ["cuda:0"]) == ([()], {"cuda:0"})
