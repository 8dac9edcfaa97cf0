"""Damaged rows, rows of a later version, and damaged files: what else is there stays in use."""

import json
import os
import time

import pytest

from tests.exports.results import run_of
from tests.fakes import DELTA, evaluated, some_evidence
from tests.runs.test_store import database
from unlearnlab.data.files import home as home_folder
from unlearnlab.exports.packs import packable
from unlearnlab.exports.result import compared, result
from unlearnlab.runs.artefacts import Spoiled
from unlearnlab.runs.doctor import ASIDE, examine
from unlearnlab.runs.events import Failed, Unread
from unlearnlab.runs.store import DamagedRun, Store, StoreError
from unlearnlab.spec.run import RunSpec

SECRET = "the name of a person"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    return home_folder()


@pytest.fixture
def runs(home):
    """Two finished runs."""
    with run_of(home) as (_, worker, one):
        other = worker.submit(RunSpec(seed=1), name="Two")
        assert worker.wait(other, 20)
    return one, other


def broken(home, *statement):
    with database(home) as db:
        assert db.execute(*statement).rowcount > 0


def refusal(attempt, run_id):
    """Return why the store cannot give what was asked; empty if it can."""
    try:
        attempt(run_id)
    except StoreError as error:
        return str(error)
    return ""


DAMAGE = {
    "tags": "UPDATE runs SET tags = 'no list' WHERE id = ?",
    "created": "UPDATE runs SET created = 1e300 WHERE id = ?",
    "bytes": "UPDATE runs SET name = CAST(x'ff41' AS TEXT) WHERE id = ?",
    "spec": f"""UPDATE runs SET spec = '{{"seed": "{SECRET}"}}' WHERE id = ?""",
    "no json": "UPDATE runs SET spec = '{' WHERE id = ?",
    "job": "UPDATE runs SET job = 'dream' WHERE id = ?",
    "start": "UPDATE events SET body = '[' WHERE kind = 'started' AND run = ?",
    "score": "UPDATE events SET body = '{}' WHERE kind = 'evaluated' AND run = ?",
    "ending": "UPDATE events SET body = 'x' WHERE kind = 'finished' AND run = ?",
    "newer event": """UPDATE events SET body = '{"kind": "dreamt"}', kind = 'dreamt'
        WHERE kind = 'loaded' AND run = ?""",
    "newer setting": "UPDATE runs SET spec = json_set(spec, '$.mood', 'good') WHERE id = ?",
    "newer field": """UPDATE events SET body = json_set(body, '$.mood', 'good')
        WHERE kind = 'started' AND run = ?""",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_one_damaged_run_takes_no_other_down_and_is_listed(home, runs, statement):
    one, other = runs
    broken(home, statement, (other,))
    with Store(home) as store:
        assert one in [row.run_id for row in store.runs()]
        assert {one, other} == {row.run_id for row in (*store.runs(), *store.damaged())}
        assert result(store, one).after is not None
        assert compared(store, [one]).entries
        for attempt in (store.row, store.job, store.events, store.outline, store.full_record):
            assert SECRET not in refusal(attempt, other)
        told = json.dumps(store.raw(other))
        assert other in told
        store.delete([other])
        assert store.erase(deleted_before=time.time() + 1) == (other,)
        assert result(store, one).before is not None, "its answers stay"


def test_what_can_be_read_of_a_damaged_run_is_shown(home, runs):
    one, other = runs
    broken(home, DAMAGE["tags"], (one,))
    broken(home, DAMAGE["ending"], (other,))
    with Store(home) as store:
        row = store.row(one)
        assert row.damage == "its tags cannot be read"
        assert (row.status, row.tags, row.after is not None) == ("finished", (), True)
        assert isinstance(store.row(other).ending, Failed)
        assert "how it ended" in store.row(other).ending.problem


def test_an_event_that_cannot_be_read_is_told_and_the_others_are_folded(home, runs):
    one, _ = runs
    broken(home, DAMAGE["newer event"], (one,))
    with Store(home) as store:
        assert any(isinstance(item.event, Unread) for item in store.events(one))
        found = result(store, one)
        assert "dreamt" in found.progress.unread
        assert found.progress.step.step == 3
        with pytest.raises(DamagedRun, match="cannot be read"):
            store.full_record(one)


def test_a_setting_of_a_later_version_is_left_out_and_told(home, runs):
    one, _ = runs
    broken(home, DAMAGE["newer setting"], (one,))
    with Store(home) as store:
        assert store.row(one).spec == RunSpec()
        assert "later version" in store.row(one).damage


def test_a_damaged_sweep_takes_no_other_down(home, runs):
    with Store(home) as store:
        with database(home) as db:
            db.execute("INSERT INTO sweeps VALUES ('bad', 'Bad', 1.0, '{}')")
        assert store.sweeps.rows() == []
        with pytest.raises(StoreError, match="sweep bad cannot be read"):
            store.sweeps.row("bad")


def test_damaged_answers_count_as_none_and_are_replaced_when_they_are_measured_again(home, runs):
    one, _ = runs
    broken(home, "UPDATE evidence SET body = x'00'")
    with Store(home) as store:
        found = result(store, one)
        assert (found.before, found.after) == (None, None)
        assert found.row.after is not None
        again = store.create(RunSpec())
        store.append(again, evaluated("before"))
        assert store.evidence("key-before") == some_evidence()


def test_a_number_beyond_what_a_database_holds_is_told(home, runs):
    with Store(home) as store, pytest.raises(StoreError, match="larger than a database can hold"):
        store.events(runs[0], after=2**63)


# ---- files


def test_a_truncated_or_changed_file_is_not_handed_on(home, runs):
    one, other = runs
    short, changed = (home / "runs" / run / "delta.safetensors" for run in runs)
    short.write_bytes(DELTA[:-2])
    changed.write_bytes(DELTA[:-1] + b"\1")
    with Store(home) as store:
        assert "is damaged" in result(store, one).weights.problem
        assert result(store, other).weights.problem == "", "its size is the same"
        for run in runs:
            with pytest.raises(Spoiled, match="is damaged"):
                packable(store, run)
            packable(store, run, weights=False)


def test_a_file_of_a_run_older_than_digests_is_checked_by_its_header(home, runs):
    one, _ = runs
    broken(home, "UPDATE artefacts SET bytes = NULL, digest = ''")
    with Store(home) as store:
        packable(store, one)
        (home / "runs" / one / "delta.safetensors").write_bytes(DELTA[:-2])
        with pytest.raises(Spoiled, match="is damaged"):
            packable(store, one)


# ---- doctor


def kinds(store):
    return sorted(one.kind for one in examine(store))


def test_the_doctor_finds_nothing_in_a_sound_home(home, runs):
    with Store(home) as store:
        assert kinds(store) == []


def test_the_doctor_finds_what_is_wrong_and_puts_right_what_can_be(home, runs):
    one, other = runs
    broken(home, DAMAGE["tags"], (one,))
    broken(home, DAMAGE["newer event"], (other,))
    broken(home, "UPDATE evidence SET body = x'00' WHERE key LIKE '%-before'")
    (home / "runs" / other / "delta.safetensors").unlink()
    old = time.time() - 3600
    for left in ("runs/.abc", "runs/250101-000000-000", "datasets/.adding-x"):
        (home / left).mkdir(parents=True)
        os.utime(home / left, (old, old))
    half = home / "runs" / one / "snapshots" / "2" / "delta.safetensors.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    os.utime(half, (old, old))
    fresh = home / "runs" / other / "report.html.part"
    fresh.write_bytes(b"half")
    with Store(home) as store:
        assert kinds(store) == [
            "damaged answers",
            "damaged events",
            "damaged run",
            "half-added dataset",
            "half-written file",
            "half-written file",
            "half-written file",
            "orphan",
            "spoiled file",
        ]
        assert SECRET not in str(list(examine(store)))
        for finding in list(examine(store)):
            if finding.repair:
                finding.repair()
        assert kinds(store) == ["damaged events", "half-written file", "spoiled file"]
    assert not half.exists()
    assert fresh.exists(), "it may still be written"
    assert (home / ASIDE / "250101-000000-000").is_dir()


def test_the_doctor_notes_digests_of_runs_that_are_older(home, runs):
    broken(home, "UPDATE artefacts SET bytes = NULL, digest = ''")
    with Store(home) as store:
        found = list(examine(store))
        assert {one.kind for one in found} == {"unchecked file"}
        for one in found:
            assert one.repair
            one.repair()
        assert kinds(store) == []
        assert all(len(one.digest) == 64 for one in store.artefacts(runs[0]).values())


# ---- permissions


def test_a_home_that_was_open_to_others_is_closed(home, runs):
    home.chmod(0o755)
    for path in home.glob("unlearnlab.sqlite3*"):
        path.chmod(0o644)
    with Store(home) as store:
        store.runs()
        modes = {path.name: path.stat().st_mode & 0o777 for path in (home, *home.glob("unl*"))}
    assert modes.pop(home.name) == 0o700
    assert set(modes.values()) == {0o600}


def test_a_folder_that_all_users_share_stays_shared(tmp_path):
    tmp_path.chmod(0o1777)
    with Store(tmp_path):
        assert tmp_path.stat().st_mode & 0o7777 == 0o1777
