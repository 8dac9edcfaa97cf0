"""A run goes from one home to another as a file, and is there what it was here."""

import json
import shutil
import stat
import zipfile
from dataclasses import replace

import pytest

from tests.exports.packs import contents, pack_of
from tests.exports.results import run_of
from tests.fakes import DELTA, FakeLab, evaluated, saying, some_evidence, stepped
from unlearnlab.cli.main import main
from unlearnlab.data.files import EMBEDDED, Taken
from unlearnlab.exports.pack_file import PackError, open_pack, read_pack
from unlearnlab.exports.packs import add_pack, packable, placeless, write_pack
from unlearnlab.exports.report import report
from unlearnlab.exports.result import result
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import AdjustFailed, Asked, Failed, Loaded, Said, Started, Stopped
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import sweep_status
from unlearnlab.spec.run import (
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    Phase,
    RunSpec,
    SpecError,
    parse_spec,
)
from unlearnlab.spec.sweep import SeedAxis, SweepSpec
from unlearnlab.views.runs import labels, run_summary, seed_group, usual_seconds


@pytest.fixture
def pack(tmp_path):
    return tmp_path / "demo.zip"


@pytest.fixture
def there(tmp_path):
    with Store(tmp_path / "there") as store:
        yield store


@pytest.fixture
def taken(tmp_path, pack, there):
    """A run that was packed in one home and taken into another: its id."""
    run_id = pack_of(tmp_path / "here", pack)
    assert outcomes(add_pack(there, pack)) == ["imported"]
    return run_id


def outcomes(found):
    return [one.outcome for one in found]


def test_a_run_is_the_same_in_another_home(tmp_path, pack, there):
    with run_of(tmp_path / "here") as (store, worker, run_id):
        ask_id = worker.ask(run_id, "Who?")
        while not any(isinstance(e.event, Asked) for e in store.events(run_id)):
            pass
        store.update(run_id, tags=["demo"])
        write_pack([packable(store, run_id)], pack)
        here = result(store, run_id)
        assert outcomes(add_pack(there, pack)) == ["imported"]
        found = result(there, run_id)
        assert found.board == here.board
        assert found.answers == here.answers
        assert found.status == "finished"
        row, ours = there.row(run_id), store.row(run_id)
        assert row.origin == "from demo.zip"
        assert not row.alive
        same = {"origin": "", "alive": ours.alive, "keys": ours.keys, "incarnation": ""}
        assert row.incarnation
        assert replace(row, **same) == ours
    times = [(one.seq, one.at) for one in found.events]
    assert times == [(one.seq, one.at) for one in here.events]
    assert any(isinstance(e.event, Asked) and e.event.ask_id == ask_id for e in found.events)
    assert found.weights.path.read_bytes() == DELTA
    assert there.artefacts(run_id) == {"delta.safetensors": found.weights}
    assert sorted(path.name for path in (tmp_path / "there" / "runs").iterdir()) == [run_id]


def test_a_run_that_is_there_is_skipped_and_one_that_differs_is_refused(tmp_path, pack):
    with run_of(tmp_path / "here") as (store, _, run_id):
        write_pack([packable(store, run_id, answers=False)], pack)
        assert outcomes(add_pack(store, pack)) == ["already here"]
        assert store.row(run_id).origin == ""
        store.delete([run_id])
        assert outcomes(add_pack(store, pack)) == ["already here"]
        assert [row.run_id for row in store.runs()] == [run_id]
    with Store(tmp_path / "there") as there:
        (run,) = read_pack(pack)
        (tmp_path / "files").mkdir()
        there.import_run(replace(run, spec=RunSpec(seed=5)), tmp_path / "files", origin="x")
        (refused,) = add_pack(there, pack)
        assert refused.outcome == "refused"
        assert "is already here, and is another" in refused.told
        assert there.spec(run_id).seed == 5


def test_a_whole_run_takes_the_place_of_a_thin_one_once_that_is_deleted(tmp_path, pack, there):
    with run_of(tmp_path / "here") as (store, _, run_id):
        thin = tmp_path / "thin.zip"
        write_pack([packable(store, run_id, answers=False, weights=False)], thin)
        write_pack([packable(store, run_id)], pack)
    add_pack(there, thin)
    (told,) = add_pack(there, pack)
    assert told.outcome == "refused"
    assert "already here, without its answers and weights: delete that one first" in told.told
    there.delete([run_id])
    assert outcomes(add_pack(there, pack)) == ["imported"]
    assert there.row(run_id).origin == "from demo.zip"
    assert not there.row(run_id).deleted
    found = result(there, run_id)
    assert found.after is not None
    assert found.weights is not None
    assert found.weights.path.read_bytes() == DELTA
    assert outcomes(add_pack(there, thin)) == ["already here"], "it has less"
    there.delete([run_id])
    assert outcomes(add_pack(there, thin)) == ["already here"]
    assert result(there, run_id).after is not None


def test_taking_in_twice_changes_nothing(taken, pack, there):
    before = result(there, taken)
    assert outcomes(add_pack(there, pack)) == ["already here"]
    assert result(there, taken) == before


def test_a_pack_of_what_was_taken_in_is_the_same_pack(taken, tmp_path, pack, there):
    write_pack([packable(there, taken)], tmp_path / "again.zip")
    assert contents(tmp_path / "again.zip") == contents(pack)


def test_without_weights_and_answers_a_pack_holds_neither(tmp_path, pack, there):
    with run_of(tmp_path / "here") as (store, worker, run_id):
        worker.ask(run_id, "Who is Ada?")
        while not any(isinstance(e.event, Asked) for e in store.events(run_id)):
            pass
        write_pack([packable(store, run_id, weights=False, answers=False)], pack)
    names = contents(pack)
    assert not any("evidence/" in name or "safetensors" in name for name in names)
    assert b"Ada" not in b"".join(names.values())
    add_pack(there, pack)
    found = result(there, run_id)
    assert found.row.after is not None
    assert found.after is None
    assert found.weights is None


def test_without_answers_a_pack_names_no_row_and_no_place(tmp_path, pack, there):
    def failing(job):
        yield Loaded(weights="w", data="d", parameters=1, rows={})
        yield Said(step=0, sayings=(saying("ada-lovelace"),))
        yield AdjustFailed(changes={}, problem="row ada-lovelace is in /home/somebody/rows")
        raise RunFailed("row ada-lovelace does not fit", "shorten ada-lovelace")

    spec = RunSpec(
        model=ModelSpec(name="/home/somebody/private/my-model/"),
        data=DataSpec(forget=("ada-lovelace", "edward")),
        evaluation=EvaluationSpec(watched_rows=("ada-lovelace",)),
    )
    run_id = pack_of(tmp_path / "here", pack, failing, spec=spec, answers=False)
    held = b"".join(contents(pack).values())
    for told in (b"lovelace", b"edward", b"home", b"somebody", b"locket"):
        assert told not in held
    assert outcomes(add_pack(there, pack)) == ["imported"]
    found = there.spec(run_id)
    assert found.data.forget is not None
    assert len(found.data.forget) == 2
    assert found.model.name == "/my-model"
    with Store(tmp_path / "here") as store:
        assert outcomes(add_pack(store, pack)) == ["already here"]
        assert store.spec(run_id) == spec
        write_pack([packable(store, run_id)], tmp_path / "full.zip")
    held = b"".join(contents(tmp_path / "full.zip").values())
    assert b"shorten ada-lovelace" in held
    assert b"private" not in held


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("/home/ada/rows.csv: no such file", "/rows.csv: no such file"),
        ("'/mnt/My Drive/ada/m': gone", "'/m': gone"),
        ("in C:\\Users\\ada\\m.", "in /m."),
        (r"PermissionError: 'C:\\Users\\ada\\m'", "PermissionError: '/m'"),
        (r"\\server\share\ada\m and //server/share/ada/n", "/m and /n"),
        ("file:///home/ada/x", "/x"),
        ("~/models/m, ~/other/n", "/m, /n"),
        ("no room in /srv/My Models/m: 3 GiB are free", "no room in /m: 3 GiB are free"),
        ("forget/Task1/sc is 0 at step 1/2/3", "forget/Task1/sc is 0 at step 1/2/3"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("learning_rate: 1e-3, 1/2", "learning_rate: 1e-3, 1/2"),
    ],
)
def test_a_message_is_packed_without_the_folders_of_the_machine(tmp_path, problem, told):
    with Store(tmp_path / "here") as store:
        run_id = store.create(RunSpec(model=ModelSpec(name="/srv/My Models/m")))
        store.append(run_id, Failed(seconds=1, problem=problem, advice=problem))
        (ending,) = packable(store, run_id).run.events
        assert (ending.event.problem, ending.event.advice) == (told, told)


@pytest.mark.parametrize(
    ("user", "problem", "told"),
    [
        ("/", "1/2 rows of https://a.b/c are in /data/x", "1/2 rows of https://a.b/c are in /x"),
        ("/my ada", "/my ada/private/m is full", "/m is full"),
        ("/my ada", "/my adam/private/m is full", "/my adam/private/m is full"),
    ],
)
def test_the_users_own_folder_is_not_told_whatever_it_is_called(monkeypatch, user, problem, told):
    monkeypatch.setenv("HOME", user)
    monkeypatch.setenv("USERPROFILE", user)
    assert placeless(problem) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tiny-olmo", "tiny-olmo"),
        ("mine", "mine"),
        ("org/model", "org/model"),
        ("allenai/OLMo-1B-0724-hf", "allenai/OLMo-1B-0724-hf"),
        ("/home/ada/tiny-olmo", "/tiny-olmo"),
        ("~/tiny-olmo", "/tiny-olmo"),
        ("C:\\Users\\ada\\m", "/m"),
        ("a/b/c", "/c"),
        ("/m", "/m"),
    ],
)
def test_a_models_folder_is_packed_by_its_last_part_and_stays_a_folder(tmp_path, name, told):
    with Store(tmp_path / "here") as store:
        run_id = store.create(RunSpec(model=ModelSpec(name=name)))
        store.append(run_id, Stopped(seconds=1))
        assert packable(store, run_id).run.spec.model.name == told


def test_others_of_the_machine_may_not_read_a_pack_and_what_came_in_one(taken, pack, there):
    assert stat.S_IMODE(pack.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.folder(taken).stat().st_mode) == 0o700


def test_runs_of_one_model_share_its_evidence(tmp_path, pack):
    with run_of(tmp_path / "here") as (store, worker, first):
        second = worker.submit(RunSpec(seed=2))
        worker.wait(second, 20)
        write_pack([packable(store, one) for one in (first, second)], pack)
    kept = [name for name in contents(pack) if name.startswith("evidence/")]
    assert len(kept) == 2
    runs = read_pack(pack)
    assert [run.run_id for run in runs] == [first, second]
    one, other = (set(map(id, run.evidence.values())) for run in runs)
    assert one == other, "what they share is in memory once"


def test_what_a_stranger_says_of_our_model_is_not_taken_for_our_measurement(tmp_path, pack, there):
    pack_of(tmp_path / "here", pack)
    ours = there.create(RunSpec())
    mine = evaluated("before").model_copy(update={"evidence": some_evidence(forgets=True)})
    there.append(ours, mine)
    add_pack(there, pack)
    assert there.evidence("key-before") == some_evidence(forgets=True)
    (theirs,) = (row for row in there.runs() if row.origin)
    assert theirs.keys[0] != "key-before"
    assert there.evidence(theirs.keys[0]) == some_evidence()


def test_the_same_measurement_keeps_its_key(tmp_path, pack, there):
    run_id = pack_of(tmp_path / "here", pack)
    there.append(there.create(RunSpec()), evaluated("before"))
    add_pack(there, pack)
    assert there.row(run_id).keys[0] == "key-before"


@pytest.mark.parametrize(("source", "personal"), [("embedded", False), ("somebody", True)])
def test_answers_from_elsewhere_are_masked_unless_the_data_come_with_the_program(
    tmp_path, pack, there, source, personal
):
    run_id = pack_of(tmp_path / "here", pack, spec=RunSpec(data=DataSpec(source=source)))
    add_pack(there, pack)
    assert there.row(run_id).personal is personal


def test_infinity_survives_a_pack(tmp_path, pack):
    def diverging(job):
        yield evaluated("before")
        yield stepped(1, loss=float("inf"))

    pack_of(tmp_path / "here", pack, diverging)
    (run,) = read_pack(pack)
    assert any(getattr(e.event, "loss", 0) == -float("inf") for e in run.events)


def test_a_run_that_goes_on_is_not_packed_and_one_that_waited_is_none(tmp_path):
    with Store(tmp_path / "here") as store:
        run_id = store.create(RunSpec())
        with pytest.raises(PackError, match="has not ended"):
            packable(store, run_id)
        store.append(run_id, Started(versions={}, device="cpu"))
        with pytest.raises(PackError, match="has not ended"):
            packable(store, run_id)
        store.append(run_id, Stopped(seconds=1))
        assert packable(store, run_id).run.run_id == run_id


def test_nothing_is_written_over(tmp_path, pack):
    pack.write_text("mine")
    with pytest.raises(Taken):
        pack_of(tmp_path / "here", pack)
    assert pack.read_text() == "mine"


def test_a_pack_tells_nothing_of_this_machine(taken, tmp_path, pack):
    with zipfile.ZipFile(pack) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert str(tmp_path).encode() not in b"".join(map(archive.read, archive.namelist()))


def test_text_that_is_all_alike_does_not_look_like_a_bomb(tmp_path, pack):
    def repeating(job):
        said = some_evidence()
        answers = tuple(a.model_copy(update={"generated": "the " * 20_000}) for a in said.answers)
        evidence = said.model_copy(update={"answers": answers})
        yield evaluated("before").model_copy(update={"evidence": evidence})

    pack_of(tmp_path / "here", pack, repeating)
    assert len(read_pack(pack)) == 1


@pytest.fixture
def command(tmp_path, capsys):
    def run(*words):
        try:
            code = main(list(map(str, words)), open_engine=lambda _: FakeLab())
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_pack_and_unpack_on_the_command_line(tmp_path, pack, command):
    with run_of(tmp_path / "here") as (_, _, run_id):
        pass
    here, there = ("--home", tmp_path / "here"), ("--home", tmp_path / "there")
    code, out, err = command("pack", run_id, "--out", pack, *here)
    assert (code, out.strip()) == (0, str(pack))
    assert "forget rows" in err
    assert "not masked" in err
    assert command("pack", run_id, "--out", pack, *here)[0] == 1, "it is there"
    code, out, _ = command("unpack", pack, "--json", *there)
    (told,) = json.loads(out)["runs"]
    assert (code, told["run_id"], told["outcome"]) == (0, run_id, "imported")
    assert set(told) == {"run_id", "outcome", "told"}
    assert "already here" in command("unpack", pack, *there)[1]
    assert json.loads(command("show", run_id, "--json", *there)[1])["origin"] == "from demo.zip"
    assert "from demo.zip" in command("list", *there)[1]
    bare = tmp_path / "bare.zip"
    assert command("pack", run_id, "--without-answers", "--out", bare, *here)[2] == ""


def test_what_is_no_pack_is_told_in_a_sentence(tmp_path, command):
    other = tmp_path / "other.zip"
    for body in (b"", b"no zip at all, but long enough to look at its end" * 9):
        other.write_bytes(body)
        code, out, err = command("unpack", other, "--home", tmp_path / "there")
        assert (code, out) == (2, "")
        assert "no zip" in err
    assert command("unpack", tmp_path / "none.zip", "--home", tmp_path / "there")[0] == 2
    code, _, err = command("pack", "nobody", "--out", other, "--home", tmp_path / "there")
    assert code == 2
    assert "unknown run" in err


def test_a_pack_is_read_run_by_run(taken, pack):
    with open_pack(pack) as found:
        assert found.run_ids == (taken,)
        assert found.files(taken) == ["delta.safetensors"]
        assert found.read(taken).row.ending is not None


def test_a_run_from_elsewhere_says_so_and_tells_nothing_of_this_machine(taken, there):
    rows, spec = there.runs(), RunSpec()
    assert usual_seconds(spec, rows) is None
    assert seed_group(spec, rows) == ()
    sweep = SweepSpec(base=spec, axes=(SeedAxis(count=2),))
    assert not sweep_status(sweep, "s", rows).of("finished")
    assert labels([run_summary(row) for row in rows]) == ("A run (from demo.zip)",)
    assert "imported from demo.zip" in report(result(there, taken), masked=True)


def test_a_run_that_only_scored_is_packed_as_any_other(tmp_path, pack, there):
    run_id = pack_of(tmp_path / "here", pack, spec=RunSpec().scoring)
    assert outcomes(add_pack(there, pack)) == ["imported"]
    assert there.row(run_id).after is None


def test_a_model_that_gets_here_later_and_has_fewer_blocks_breaks_no_list(tmp_path, pack, there):
    folder = tmp_path / "later"
    spec = RunSpec(
        model=ModelSpec(name=str(folder)), phases=(Phase(first_layer=20, last_layer=21),)
    )
    there.create(spec)
    there.sweeps.create(SweepSpec(base=spec, axes=(SeedAxis(count=2),)), name="")
    run_id = pack_of(tmp_path / "here", pack, spec=spec)
    shutil.copytree(EMBEDDED / "original", folder)
    assert outcomes(add_pack(there, pack)) == ["imported"]
    lines = [run_summary(row) for row in there.runs()]
    assert len(lines) == 2
    assert len(there.sweeps.rows()) == 1
    there.delete([run_id])
    with pytest.raises(SpecError, match="layer 21 is out of range"):
        parse_spec(spec.model_dump_json())
