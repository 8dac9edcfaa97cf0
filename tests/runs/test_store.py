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
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import evaluated, some_evidence, some_trace, stage, stepped
from unlearnlab.data.files import home
from unlearnlab.runs.events import (
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
from unlearnlab.runs.store import APPLICATION_ID, MIGRATIONS, Store, StoreError, UnknownRun
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "home") as store:
        yield store


def in_another_process(code, *arguments, wait=True):
    """Run code in a fresh interpreter, with what it needs of ours imported."""
    head = (
        "import os, sys, time; from pathlib import Path; from unlearnlab.runs.store import Store;"
        "from unlearnlab.spec.run import RunSpec; from unlearnlab.runs.events import *;"
    )
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if wait:
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        return output.strip()
    return process


def test_a_new_home_is_made_for_its_owner_alone(tmp_path):
    with Store(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_run_is_read_back_as_it_was_asked_for(store):
    spec = RunSpec(seed=7)
    run_id = store.create(spec, name="seventh")
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
    with sqlite3.connect(store.home / "unlearnlab.sqlite3") as db:
        assert db.execute("SELECT COUNT(*) FROM evidence").fetchone() == (1,)
    db.close()


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
    store.append(run_id, Saved(name="delta.safetensors", megabytes=1.5))
    assert store.artefacts(run_id) == {"delta.safetensors": folder / "delta.safetensors"}


def test_a_list_of_two_thousand_runs_is_quick(store):
    after = evaluated("after").model_copy(update={"evidence": None})
    with sqlite3.connect(store.home / "unlearnlab.sqlite3") as db:
        for number in range(2000):
            run_id, seed = f"run-{number:05}", RunSpec(seed=number).model_dump_json()
            query = (
                "INSERT INTO runs (id, name, created, spec, pid, born) VALUES (?, '', ?, ?, 1, 0)"
            )
            db.execute(query, (run_id, number, seed))
            body = after.model_copy(update={"key": run_id}).model_dump_json()
            events = [(run_id, 1, 0, "evaluated", body)]
            events += [(run_id, n, 0, "paused", '{"kind":"paused"}') for n in range(2, 22)]
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events)
    db.close()
    began = time.perf_counter()
    assert len(store.runs()) == 2000
    assert time.perf_counter() - began < 2.0


def filled(home, runs):
    """Insert ended runs, each with a spec of its own."""
    with sqlite3.connect(home / "unlearnlab.sqlite3") as db:
        plain = RunSpec().model_dump_json()
        for number in range(runs):
            spec = plain.replace('"seed":0', f'"seed":{number}')
            query = (
                "INSERT INTO runs (id, name, created, spec, pid, born) VALUES (?, '', ?, ?, 1, 0)"
            )
            run_id = f"run-{number:05}"
            db.execute(query, (run_id, number, spec))
            body = Finished(seconds=number).model_dump_json()
            db.execute("INSERT INTO events VALUES (?, 1, 0, 'finished', ?)", (run_id, body))
    db.close()


def test_a_second_list_of_six_thousand_runs_parses_nothing_anew(store):
    filled(store.home, 6000)
    first, second = store.runs(), store.runs()
    assert len({row.spec for row in first}) == len(second) == 6000
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
    process = in_another_process(code, store.home, mine, wait=False)
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
    process = in_another_process(code, store.home, wait=False)
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
    with sqlite3.connect(store.home / "unlearnlab.sqlite3") as db:
        db.execute("UPDATE runs SET born = born - 1")
    db.close()
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
    path = tmp_path / "unlearnlab.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    db.close()


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "unlearnlab.sqlite3") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreError, match=rf"newer unlearnlab .* version {len(MIGRATIONS) + 1}"):
        Store(tmp_path)


def test_a_locked_database_is_reported_not_waited_for_without_end(tmp_path):
    with Store(tmp_path, patience_s=0.05) as store:
        run_id = store.create(RunSpec())
        holder = sqlite3.connect(tmp_path / "unlearnlab.sqlite3", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is locked by another program"):
            store.append(run_id, Paused())
        assert store.row(run_id).ending is None, "reading goes on"
        holder.execute("ROLLBACK")
        holder.close()
        assert store.append(run_id, Paused()) == 1


def test_a_database_locked_before_it_was_made_is_reported(tmp_path):
    holder = sqlite3.connect(tmp_path / "unlearnlab.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="is locked by another program"):
        Store(tmp_path, patience_s=0.05)
    holder.close()


def test_several_processes_may_make_the_same_store_at_once(tmp_path):
    code = "store = Store(Path(sys.argv[1])); store.create(RunSpec()); store.close()"
    processes = [in_another_process(code, tmp_path, wait=False) for _ in range(4)]
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


def test_what_is_stored_is_plain_json(store):
    run_id = store.create(RunSpec(seed=3))
    with sqlite3.connect(store.home / "unlearnlab.sqlite3") as db:
        (body,) = db.execute("SELECT spec FROM runs WHERE id = ?", (run_id,)).fetchone()
    db.close()
    assert json.loads(body)["seed"] == 3


def test_traces_and_runs_are_kept_apart_and_numbered_together(store):
    run_id, trace_id = store.create(RunSpec()), store.create(TraceSpec(seed=4))
    store.append(trace_id, Started(versions={}, device="cpu"))
    found = Traced(weights="w", noise_sd=0.3, window=3, found=some_trace())
    store.append(trace_id, found)
    store.append(trace_id, Finished(seconds=1))
    assert [row.run_id for row in store.runs()] == [run_id]
    (row,) = store.traces()
    assert (row.run_id, row.spec, row.began) == (trace_id, TraceSpec(seed=4), True)
    assert row == store.trace(trace_id) == store.job(trace_id)
    assert isinstance(row.ending, Finished)
    assert store.events(trace_id)[1].event == found
    assert store.job(run_id) == store.row(run_id)
    with pytest.raises(UnknownRun):
        store.row(trace_id)
    with pytest.raises(UnknownRun):
        store.trace(run_id)


def test_previews_are_kept_apart_from_runs_and_numbered_together_with_them(store):
    spec = PreviewSpec(source="mine", rows=("a", "b"))
    preview_id, run_id = store.create(spec), store.create(RunSpec())
    store.append(preview_id, Previewed(answers={"a": "Ada"}))
    store.append(preview_id, Finished(seconds=1))
    (row,) = store.previews()
    assert (row.run_id, row.spec, row.ending) == (preview_id, spec, Finished(seconds=1))
    assert row == store.job(preview_id)
    assert store.events(preview_id)[0].event == Previewed(answers={"a": "Ada"})
    assert [row.run_id for row in store.runs()] == [run_id]
    assert store.traces() == []


def test_a_database_from_before_there_were_traces_keeps_its_runs(tmp_path):
    spec = RunSpec(seed=5)
    with sqlite3.connect(tmp_path / "unlearnlab.sqlite3") as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        run = ("run-1", "old", 1.0, spec.model_dump_json(), 1, 0.0)
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", run)
        event = ("run-1", 1, 1.0, "finished", Finished(seconds=2).model_dump_json())
        db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", event)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with Store(tmp_path) as store:
        (row,) = store.runs()
        assert (row.run_id, row.name, row.spec) == ("run-1", "old", spec)
        assert row.ending == Finished(seconds=2)
        assert store.traces() == []
        store.create(TraceSpec())
        assert len(store.traces()) == 1


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_database_of_every_earlier_version_keeps_its_runs(tmp_path, version):
    with sqlite3.connect(tmp_path / "unlearnlab.sqlite3") as db:
        for statement in (one for step in MIGRATIONS[:version] for one in step):
            db.execute(statement)
        insert = "INSERT INTO runs (id, name, created, spec, pid, born) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(insert, ("run-1", "old", 1.0, RunSpec().model_dump_json(), 1, 0.0))
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with Store(tmp_path) as store:
        (row,) = store.runs()
        assert (row.run_id, row.name, row.repeats, row.origin) == ("run-1", "old", "", "")


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
