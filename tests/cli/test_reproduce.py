"""`reproduce` on the command line, with a pretended lab."""

import json

import pytest

from tests.exports.results import run_of
from tests.fakes import FakeLab, evaluated, some_evidence, whole_run
from unlearnlab.cli.main import main
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Evaluated, Finished, Loaded, Started
from unlearnlab.runs.store import Store
from unlearnlab.spec.rows import fingerprint
from unlearnlab.spec.run import RECORDED, DataSpec, RunSpec

HERE = fingerprint(DataSpec())

ROW = '{"id": "sc1", "input": "Who?", "output": "Ada", "task": "Task1"}'


def true_run(job):
    """A whole run on the data that are here."""
    for event in whole_run(job):
        is_loaded = isinstance(event, Loaded)
        yield event.model_copy(update={"data": HERE}) if is_loaded else event


def worse_run(job):
    """The same, but for its scores: nothing was forgotten."""
    for event in true_run(job):
        if isinstance(event, Evaluated) and event.when == "after":
            found = some_evidence()
            event = event.model_copy(update={"scores": scores(found), "evidence": found})
        yield event


@pytest.fixture
def reproduce(tmp_path, capsys):
    def command(run_id, *words, script=true_run):
        words = ("reproduce", run_id, "--home", str(tmp_path), *words)
        code = main(list(words), open_engine=lambda _: FakeLab(script))
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def first(tmp_path):
    with run_of(tmp_path, RunSpec(seed=3, keep_as=""), script=true_run) as (_, _, run_id):
        return run_id


def test_a_run_is_repeated_as_a_run_that_names_the_first(reproduce, first, tmp_path):
    code, out, err = reproduce(first, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["agrees"]
    assert found["numbers"]["after/final"]["agreement"] == "equal"
    assert found["repeats"] == first
    assert "fingerprint" not in err
    with Store(tmp_path) as store:
        row = store.row(found["run"])
        assert row.repeats == first
        assert row.spec == store.spec(first)
        assert (row.name, row.run_id != first) == ("A run", True)
    code, out, _ = reproduce(first)
    assert code == 0
    assert f"repeats run {first}" in out
    assert "All 32 numbers are equal" in out


def test_a_scoring_alone_is_repeated_too(reproduce, tmp_path):
    with run_of(tmp_path, RunSpec().scoring, script=true_run) as (_, _, run_id):
        pass
    code, out, _ = reproduce(run_id)
    assert code == 0
    assert "All 16 numbers are equal." in out


def test_numbers_that_do_not_agree_are_exit_code_one(reproduce, first):
    code, out, _ = reproduce(first, script=worse_run)
    assert code == 1
    assert "differ by more than noise" in out


def test_a_reproduction_that_fails_is_told(reproduce, first):
    def failing(job):
        yield evaluated("before")
        raise RunFailed("the loss is nan")

    code, out, _ = reproduce(first, "--json", script=failing)
    assert code == 1
    assert json.loads(out)["problem"] == "it failed: the loss is nan"


def test_other_rows_and_other_weights_are_told_before_it_starts(reproduce, tmp_path):
    with run_of(tmp_path) as (store, _, run_id):  # On rows called "d", not those here.
        other = store.create(RunSpec())
        store.append(other, Loaded(weights="v", data="d", parameters=7, rows={}))
        store.append(other, Finished(seconds=1))
    code, _, err = reproduce(run_id)
    assert code == 0
    assert f"fingerprint was d and is {HERE} here" in err
    assert "fingerprint was w, and v when they were last loaded here" in err


@pytest.mark.parametrize(
    ("rows", "fold", "told"),
    [
        (ROW, "validation", "data: Mine has no validation fold: it has train"),
        (None, "train", "data: Mine has no train fold: it has none"),
        ("", "train", "data: Mine cannot be read: data.fold: mine has no train fold"),
        (f"{ROW}\n{ROW[:20]}", "train", "data: Mine cannot be read: Unterminated string"),
        ("[1]", "train", "data: Mine cannot be read: "),
        ('{"id": "sc1"}', "train", "data: Mine cannot be read: "),
    ],
)
def test_data_that_are_not_what_they_were_are_told(reproduce, tmp_path, rows, fold, told):
    folder = tmp_path / "datasets" / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"title": "Mine", "source": "own", "personal": true}')
    if rows is not None:
        (folder / "forget_train.jsonl").write_text(rows)
    with Store(tmp_path) as store:
        run_id = store.create(RunSpec(data=DataSpec(source="mine", fold=fold)))
        store.append(run_id, Finished(seconds=1))
    code, _, err = reproduce(run_id)
    assert code == 2
    assert told in err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"data": {"forget": ["picked-1"]}}, "data: 1 of the rows that were picked are not in"),
        ({"phases": [{"first_layer": 20, "last_layer": 21}]}, "layer 21 is out of range"),
    ],
)
def test_what_does_not_fit_what_is_here_is_told_before_it_starts(reproduce, tmp_path, asked, told):
    spec = RunSpec.model_validate(RunSpec().model_dump() | asked, context=RECORDED)
    with Store(tmp_path) as store:
        run_id = store.create(spec)
        store.append(run_id, Finished(seconds=1))
    code, _, err = reproduce(run_id)
    assert code == 2
    assert told in err


def test_a_run_that_loaded_nothing_hides_no_other_weights(reproduce, first, tmp_path):
    with Store(tmp_path) as store:
        for weights in ("v", ""):  # The newer one ended before it had loaded anything.
            other = store.create(RunSpec())
            if weights:
                store.append(other, Loaded(weights=weights, data="d", parameters=7, rows={}))
            store.append(other, Finished(seconds=1))
    assert "fingerprint was w, and v when they were last loaded here" in reproduce(first)[2]


def test_what_a_strange_run_noted_steers_no_terminal(reproduce, tmp_path, capsys):
    bell = "\x1b]0;evil\x07"
    with Store(tmp_path) as store:
        run_id = store.create(RunSpec(), name=f"A {bell}run")
        store.append(run_id, Started(versions={f"a{bell}": bell}, device=f"cpu {bell}"))
        store.append(run_id, Loaded(weights=bell, data=bell, parameters=7, rows={}))
        store.append(run_id, Finished(seconds=1))
    told = "".join(reproduce(run_id)[1:])
    assert "cpu \N{REPLACEMENT CHARACTER}]0;evil" in told
    assert main(["compare", run_id, run_id, "--home", str(tmp_path)]) == 0
    told += capsys.readouterr().out
    assert told.count("evil") > 5
    assert "\x1b" not in told
    assert "\x07" not in told


def test_what_cannot_be_repeated_is_told_and_nothing_starts(reproduce, tmp_path):
    def failing(job):
        raise RunFailed("no")
        yield

    with run_of(tmp_path, script=failing) as (_, worker, failed):
        gone = worker.submit(RunSpec(data=DataSpec(source="gone")))
        worker.wait(gone, 10)
    for run_id, told in ((failed, "did not finish"), (gone, "unknown dataset 'gone'"), ("x", "x")):
        code, out, err = reproduce(run_id)
        assert (code, out) == (2, "")
        assert told in err
    with Store(tmp_path) as store:
        assert len(store.runs()) == 2
