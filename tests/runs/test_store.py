import gc
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import DELTA, evaluated, some_evidence, some_trace, stage, stepped
from tests.runs.waiting import locked
from unlearnlab.data.files import home
from unlearnlab.runs.artefacts import Artefact
from unlearnlab.runs.events import (
    Adjusted,
    Failed,
    Finished,
    Paused,
    Previewed,
    Probed,
    Saved,
    Started,
    Stopped,
    Traced,
)
from unlearnlab.runs.records import Interned
from unlearnlab.runs.store import MIGRATIONS, Store, StoreError, UnknownRun
from unlearnlab.spec.run import PreviewSpec, RunSpec
from unlearnlab.spec.trace import TraceSpec


@contextmanager
def database(home):
    """Open the database of a home as another program would."""
    with closing(sqlite3.connect(home / "unlearnlab.sqlite3")) as db, db:
        yield db


def in_another_process(code, *arguments):
    """Start code in a fresh interpreter, with what it needs of ours imported."""
    head = (
        "import os, sys, time; from pathlib import Path; from unlearnlab.runs.store import Store;"
        "from unlearnlab.spec.run import RunSpec; from unlearnlab.runs.events import *;"
    )
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_new_home_is_made_for_its_owner_alone(tmp_path):
    with Store(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_run_is_read_back_as_it_was_asked_for(store):
    spec = RunSpec(seed=7)
    run_id = store.create(spec, name="seventh")
    with database(store.home) as db:
        assert json.loads(db.execute("SELECT spec FROM runs").fetchone()[0])["seed"] == 7
    row = store.row(run_id)
    assert store.spec(run_id) == row.spec == spec
    assert (row.run_id, row.name) == (run_id, "seventh")
    assert row.alive
    assert not row.began
    assert row.ending is row.before is row.after is None


def test_run_ids_sort_as_they_were_made_and_are_safe_file_names(store):
    ids = [store.create(RunSpec()) for _ in range(20)]
    assert ids == sorted(set(ids))
    assert all(set(run_id) <= set("0123456789-") and len(run_id) < 20 for run_id in ids)
    assert [row.run_id for row in store.runs()] == ids[::-1]


def test_events_are_numbered_from_one_and_read_by_cursor(store):
    run_id, other = store.create(RunSpec()), store.create(RunSpec())
    assert [store.append(run_id, stepped(n)) for n in (1, 2, 3)] == [1, 2, 3]
    assert store.append(other, stepped(1)) == 1
    assert [(e.seq, e.event) for e in store.events(run_id, after=1)] == [
        (2, stepped(2)),
        (3, stepped(3)),
    ]
    assert store.events(run_id, after=3) == []
    assert abs(store.events(run_id)[0].at - time.time()) < 60


def test_nan_and_infinity_survive_the_disk(store):
    run_id = store.create(RunSpec())
    store.append(run_id, stepped(1, loss=math.inf))
    nothing = Probed(step=1, knowledge={}, regurgitation={}, nll={"forget": math.nan})
    store.append(run_id, nothing)
    step, probe = (stored.event for stored in store.events(run_id))
    assert step.terms["forget"] == math.inf
    assert step.loss == -math.inf
    assert math.isnan(probe.nll["forget"])


def test_evidence_is_kept_apart_once_for_each_key(store):
    first, second = store.create(RunSpec()), store.create(RunSpec())
    for run_id in (first, second):
        store.append(run_id, evaluated("before"))
    assert store.events(first)[0].event.evidence is None
    assert store.evidence("key-before") == some_evidence()
    assert store.evidence("no such key") is None
    with database(store.home) as db:
        assert db.execute("SELECT COUNT(*) FROM evidence").fetchone() == (1,)


def test_a_row_shows_the_milestones_of_its_run(store):
    run_id = store.create(RunSpec())
    store.append(run_id, Started(versions={}, device="cpu"))
    assert store.row(run_id).began
    for event in (evaluated("before"), stepped(1), evaluated("after"), Finished(seconds=3)):
        store.append(run_id, event)
    row = store.row(run_id)
    assert row == store.runs()[0]
    assert row.ending == Finished(seconds=3)
    assert row.before == evaluated("before").scores
    assert row.after == evaluated("after").scores


@pytest.mark.parametrize("second", [Finished, Stopped, partial(Failed, problem="x")])
def test_a_run_has_one_ending(store, second):
    run_id = store.create(RunSpec())
    store.append(run_id, Stopped(seconds=0))
    with pytest.raises(StoreError, match=f"run {run_id} has ended"):
        store.append(run_id, second(seconds=1))
    assert len(store.events(run_id)) == 1


def test_prompts_may_be_answered_after_the_ending(store):
    run_id = store.create(RunSpec())
    store.append(run_id, Finished(seconds=1))
    assert store.append(run_id, Paused()) == 2


def test_an_unknown_run_is_named_with_those_near_it(store):
    run_id = store.create(RunSpec())
    near = run_id[:-1] + "x"
    for attempt in (store.spec, store.row, store.events, store.folder, store.artefacts):
        with pytest.raises(UnknownRun, match=f"unknown run '{near}': did you mean {run_id}?"):
            attempt(near)
    with pytest.raises(UnknownRun, match="shows all runs"):
        store.append("../../etc/passwd", stage("loading"))


def test_a_saved_file_is_found_in_the_folder_of_its_run(store):
    run_id = store.create(RunSpec())
    folder = store.folder(run_id)
    assert folder.is_dir()
    assert folder.parent == store.home / "runs"
    (folder / "delta.safetensors").write_bytes(DELTA)
    store.append(run_id, Saved(name="delta.safetensors", megabytes=1.5))
    (found,) = store.artefacts(run_id).values()
    assert found == Artefact.noted(folder / "delta.safetensors")
    assert found.bytes == len(DELTA)


def filled(home, runs):
    """Insert ended and scored runs, each with a spec of its own and twenty further events."""
    after = evaluated("after").model_copy(update={"evidence": None}).model_dump_json()
    plain = RunSpec().model_dump_json()
    with database(home) as db:
        for number in range(runs):
            run_id = f"run-{number:05}"
            db.execute(
                "INSERT INTO runs (id, name, created, spec, pid, born) VALUES (?, '', ?, ?, 1, 0)",
                (run_id, number, plain.replace('"seed":0', f'"seed":{number}')),
            )
            body = Finished(seconds=number).model_dump_json()
            events = [(run_id, 1, 0, "finished", body), (run_id, 2, 0, "evaluated", after)]
            events += [(run_id, n, 0, "paused", '{"kind":"paused"}') for n in range(3, 23)]
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events)


def test_a_list_of_two_thousand_runs_is_quick_and_a_second_one_parses_nothing_anew(store):
    filled(store.home, 2000)
    began = time.perf_counter()
    first = store.runs()
    assert time.perf_counter() - began < 2.0
    second = store.runs()
    assert len({row.spec for row in first}) == len(second) == 2000
    pairs = list(zip(first, second, strict=True))
    assert all(a.spec is b.spec and a.ending is b.ending for a, b in pairs)


def test_of_a_list_only_the_rows_that_changed_are_made_anew(store):
    filled(store.home, 3)
    newest, other, oldest = store.runs()
    store.update(other.run_id, name="seen")
    store.delete([oldest.run_id])
    kept, changed = store.runs()
    assert kept is newest
    assert (changed.name, changed.spec) == ("seen", other.spec)
    store.restore([oldest.run_id])
    assert store.runs()[2] == oldest


def test_equal_specs_of_a_list_are_parsed_once(store):
    for _ in range(3):
        store.create(RunSpec(seed=7))
    one, *others = (row.spec for row in store.runs())
    assert all(spec is one for spec in others)


def test_what_no_list_holds_any_more_is_dropped():
    known = Interned(RunSpec.model_validate_json)
    text = RunSpec(seed=7).model_dump_json()
    first = known(text)
    assert known(text) is first
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert known(text) == RunSpec(seed=7)


def test_runs_are_counted_as_the_list_has_them(store):
    assert store.count() == (0, 0)
    filled(store.home, 3)
    waiting = store.create(RunSpec())
    trace = store.create(TraceSpec())
    store.append(trace, Finished(seconds=1))
    store.append(waiting, Started(versions={}, device="cpu"))
    assert store.count() == (4, 3)
    store.delete(["run-00001"])
    assert store.count() == (3, 2)
    assert len(store.runs()) == 3


def test_several_threads_read_by_cursor_while_others_write(store):
    run_ids = [store.create(RunSpec()) for _ in range(3)]
    seen = {run_id: [] for run_id in run_ids}

    def write(run_id):
        for step in range(1, 101):
            store.append(run_id, stepped(step))

    def read(run_id):
        while len(seen[run_id]) < 100:
            seen[run_id] += store.events(run_id, after=len(seen[run_id]))

    threads = [threading.Thread(target=f, args=(r,)) for r in run_ids for f in (write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for events in seen.values():
        assert [stored.seq for stored in events] == list(range(1, 101))
        assert [stored.event.step for stored in events] == list(range(1, 101))


def test_two_processes_append_to_one_store_and_see_each_other(store):
    mine = store.create(RunSpec())
    code = (
        "store = Store(Path(sys.argv[1])); theirs = store.create(RunSpec(), name='theirs');"
        "[store.append(sys.argv[2], Paused()) for _ in range(50)];"
        "print(theirs, store.row(sys.argv[2]).alive, store.row(theirs).alive); store.close()"
    )
    process = in_another_process(code, store.home, mine)
    for _ in range(50):
        store.append(mine, Paused())
    output, _ = process.communicate(timeout=30)
    theirs, mine_alive, theirs_alive = output.split()
    assert (mine_alive, theirs_alive) == ("True", "True")
    assert [stored.seq for stored in store.events(mine)] == list(range(1, 101))
    assert store.row(theirs).name == "theirs"
    assert not store.row(theirs).alive


def test_a_run_whose_process_was_killed_is_not_alive_and_its_history_is_intact(store):
    code = (
        "store = Store(Path(sys.argv[1])); run = store.create(RunSpec());"
        "store.append(run, Started(versions={}, device='cpu')); store.append(run, Paused());"
        "print(run, flush=True); time.sleep(60)"
    )
    process = in_another_process(code, store.home)
    run_id = process.stdout.readline().strip()
    assert store.row(run_id).alive
    process.kill()
    process.communicate()
    row = store.row(run_id)
    assert not row.alive
    assert row.began
    assert row.ending is None
    assert [stored.event.kind for stored in store.events(run_id)] == ["started", "paused"]
    assert store.row(store.create(RunSpec())).alive


def test_a_process_with_a_reused_number_is_not_taken_for_the_owner(store):
    run_id = store.create(RunSpec())
    with database(store.home) as db:
        db.execute("UPDATE runs SET born = born - 1")
    assert not store.row(run_id).alive


def test_a_home_inside_a_file_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot make the folder .*file/home.*--home"):
        Store(tmp_path / "file" / "home")


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root, or no such permissions here"
)
def test_a_home_that_is_not_writable_is_refused(tmp_path):
    (tmp_path / "home").mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"is not writable: choose another folder"):
        Store(tmp_path / "home")


def test_a_file_that_is_not_a_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "unlearnlab.sqlite3"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StoreError, match=r"unlearnlab\.sqlite3 is not a database"):
        Store(tmp_path)
    assert path.read_text() == "Dear diary, " * 100


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    with database(tmp_path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path)
    with database(tmp_path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    Store(tmp_path).close()
    with database(tmp_path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match=rf"newer unlearnlab .* version {len(MIGRATIONS) + 1}"):
        Store(tmp_path)


def test_a_locked_database_is_reported_not_waited_for_without_end(tmp_path):
    with Store(tmp_path, patience_s=0.05) as store:
        run_id = store.create(RunSpec())
        with locked(tmp_path, "EXCLUSIVE"):
            with pytest.raises(StoreError, match="is locked by another program"):
                store.append(run_id, Paused())
            assert store.row(run_id).ending is None, "reading goes on"
        assert store.append(run_id, Paused()) == 1


def test_a_database_locked_before_it_was_made_is_reported(tmp_path):
    with (
        locked(tmp_path, "EXCLUSIVE"),
        pytest.raises(StoreError, match="is locked by another program"),
    ):
        Store(tmp_path, patience_s=0.05)


def test_several_processes_may_make_the_same_store_at_once(tmp_path):
    code = "store = Store(Path(sys.argv[1])); store.create(RunSpec()); store.close()"
    processes = [in_another_process(code, tmp_path) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=30)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    with Store(tmp_path) as store:
        assert len(store.runs()) == 4


def test_a_store_survives_being_opened_again(tmp_path):
    with Store(tmp_path) as store:
        run_id = store.create(RunSpec(), name="kept")
        store.append(run_id, evaluated("before"))
    with Store(tmp_path) as store:
        assert store.row(run_id).name == "kept"
        assert store.evidence("key-before") == some_evidence()


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.runs()


def test_home_is_the_option_then_the_environment_then_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "environment"))
    assert home(tmp_path / "option") == tmp_path / "option"
    assert home() == tmp_path / "environment"
    monkeypatch.setenv("UNLEARNLAB_HOME", "")
    assert home().name == "unlearnlab"
    assert home("~/x") == Path.home() / "x"


TRACED = Traced(weights="w", noise_sd=0.3, window=3, found=some_trace())


@pytest.mark.parametrize(
    ("spec", "listed", "event"),
    [
        (TraceSpec(seed=4), Store.traces, TRACED),
        (
            PreviewSpec(source="mine", rows=("a", "b")),
            Store.previews,
            Previewed(answers={"a": "Ada"}),
        ),
    ],
)
def test_traces_previews_and_runs_are_kept_apart_and_numbered_together(store, spec, listed, event):
    run_id, job_id = store.create(RunSpec()), store.create(spec)
    for each in (Started(versions={}, device="cpu"), event, Finished(seconds=1)):
        store.append(job_id, each)
    assert [row.run_id for row in store.runs()] == [run_id]
    (row,) = listed(store)
    assert (row.run_id, row.spec, row.began) == (job_id, spec, True)
    assert (row.ending, row) == (Finished(seconds=1), store.job(job_id))
    assert len(store.traces()) + len(store.previews()) == 1
    assert store.events(job_id)[1].event == event
    assert store.job(run_id) == store.row(run_id)
    for read, other in ((store.row, job_id), (store.trace, run_id)):
        with pytest.raises(UnknownRun):
            read(other)
    if listed is Store.traces:
        assert row == store.trace(job_id)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_database_of_every_earlier_version_keeps_its_runs(tmp_path, version):
    with database(tmp_path) as db:
        for statement in (one for step in MIGRATIONS[:version] for one in step):
            db.execute(statement)
        insert = "INSERT INTO runs (id, name, created, spec, pid, born) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(insert, ("run-1", "old", 1.0, RunSpec(seed=5).model_dump_json(), 1, 0.0))
        event = ("run-1", 1, 1.0, "finished", Finished(seconds=2).model_dump_json())
        db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", event)
        db.execute(f"PRAGMA user_version = {version}")
    with Store(tmp_path) as store:
        (row,) = store.runs()
        assert (row.run_id, row.name, row.repeats, row.origin) == ("run-1", "old", "", "")
        assert (row.spec, row.ending) == (RunSpec(seed=5), Finished(seconds=2))
        assert store.traces() == []
        store.create(TraceSpec())
        assert len(store.traces()) == 1


def test_a_record_tells_whether_a_run_was_changed_by_hand(store):
    run, other = store.create(RunSpec()), store.create(RunSpec())
    store.append(run, Adjusted(step=1, phase=0, changes={"learning_rate": 1e-5}))
    assert {row.run_id: row.adjusted for row in store.runs()} == {run: True, other: False}
    assert (store.row(run).adjusted, store.full_record(run).row.adjusted) == (True, True)


def test_what_a_reader_writes_about_a_run_is_kept_apart_from_its_record(store):
    run = store.create(RunSpec(), name="first")
    store.update(run, tags=("talk", "rmu", "talk"), notes="shown in Vienna", pinned=True)
    store.update(run, name="second")
    row = store.row(run)
    assert (row.name, row.tags, row.notes, row.pinned) == (
        "second",
        ("talk", "rmu"),
        "shown in Vienna",
        True,
    )
    with pytest.raises(UnknownRun):
        store.update("no-such-run", name="x")


def test_a_deleted_run_comes_back_until_it_is_erased(store):
    run, other = store.create(RunSpec()), store.create(RunSpec(seed=1))
    for each in (run, other):
        store.append(each, evaluated("before"))
        store.append(each, Finished(seconds=1.0))
    (store.folder(run) / "delta.safetensors").write_bytes(b"x")
    store.delete([run])
    assert [row.run_id for row in store.runs()] == [other]
    store.restore([run])
    assert [row.run_id for row in store.runs()] == [other, run]
    store.delete([run])
    assert store.erase(deleted_before=0.0) == ()
    assert store.erase(deleted_before=time.time() + 1) == (run,)
    assert not (store.home / "runs" / run).exists()
    with pytest.raises(UnknownRun):
        store.row(run)


def test_evidence_goes_with_the_last_run_that_used_it(store):
    run, other = store.create(RunSpec()), store.create(RunSpec(seed=1))
    shared = evaluated("before")
    for each in (run, other):
        store.append(each, shared)
        store.append(each, Finished(seconds=1.0))
    store.delete([run])
    store.erase(deleted_before=time.time() + 1)
    assert store.evidence(shared.key) is not None
    store.delete([other])
    store.erase(deleted_before=time.time() + 1)
    assert store.evidence(shared.key) is None


def test_a_run_that_goes_on_is_not_deleted(store):
    run, done = store.create(RunSpec()), store.create(RunSpec(seed=1))
    store.append(done, Finished(seconds=1.0))
    with pytest.raises(StoreError, match="has not ended: stop it first"):
        store.delete([done, run])
    assert len(store.runs()) == 2


def test_the_spec_of_a_run_that_left_rows_out_names_those_it_went_on_with(store):
    run_id = store.create(RunSpec())
    store.append(run_id, evaluated("before").model_copy(update={"kept": ("a", "b")}))
    assert store.spec(run_id).data.forget == ("a", "b")
    (row,) = store.runs()
    assert row.spec == store.full_record(run_id).spec == store.full_record(run_id).row.spec
    assert row.spec.phases == RunSpec().phases
