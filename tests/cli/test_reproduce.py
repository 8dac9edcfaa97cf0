"""`reproduce` on the command line, with a pretended engine."""

import pytest

from tests.exports.results import run_of
from tests.fakes import evaluated, some_evidence, whole_run
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Evaluated, Finished, Loaded, Started
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
def reproduce(cli):
    def command(run_id, *words, script=true_run):
        return cli("reproduce", run_id, *words, script=script)

    return command


@pytest.fixture
def first(home):
    with run_of(home, RunSpec(seed=3, keep_as=""), script=true_run) as (_, _, run_id):
        return run_id


def finished(store, spec=None, *events, name=""):
    """Store a run that ended after these events."""
    run_id = store.create(spec or RunSpec(), name=name)
    for event in (*events, Finished(seconds=1)):
        store.append(run_id, event)
    return run_id


def loaded(weights="v", data="d"):
    return Loaded(weights=weights, data=data, parameters=7, rows={})


def test_a_run_is_repeated_as_a_run_that_names_the_first(reproduce, first, store):
    done = reproduce(first, "--json")
    assert done.code == 0
    found = done.json
    assert found["agrees"]
    assert found["numbers"]["after/final"]["agreement"] == "equal"
    assert found["repeats"] == first
    assert "fingerprint" not in done.err
    row = store.row(found["run"])
    assert (row.repeats, row.spec) == (first, store.spec(first))
    assert (row.name, row.run_id != first) == ("A run", True)
    code, out, _ = reproduce(first)
    assert code == 0
    assert f"repeats run {first}" in out
    assert "All 32 numbers are equal" in out


def test_a_scoring_alone_is_repeated_too(reproduce, home):
    with run_of(home, RunSpec().scoring, script=true_run) as (_, _, run_id):
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

    done = reproduce(first, "--json", script=failing)
    assert done.code == 1
    assert done.json["problem"] == "it failed: the loss is nan"


def test_other_rows_and_other_weights_are_told_before_it_starts(reproduce, home, store):
    with run_of(home) as (_, _, run_id):  # On rows called "d", not those here.
        finished(store, None, loaded())
    code, _, err = reproduce(run_id)
    assert code == 0
    assert f"fingerprint was d and is {HERE} here" in err
    assert "fingerprint was w, and v when they were last loaded here" in err


def test_a_run_that_loaded_nothing_hides_no_other_weights(reproduce, first, store):
    finished(store, None, loaded())
    finished(store)
    assert "fingerprint was w, and v when they were last loaded here" in reproduce(first).err


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
def test_data_that_are_not_what_they_were_are_told(reproduce, home, store, rows, fold, told):
    folder = home / "datasets" / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"title": "Mine", "source": "own", "personal": true}')
    if rows is not None:
        (folder / "forget_train.jsonl").write_text(rows)
    code, _, err = reproduce(finished(store, RunSpec(data=DataSpec(source="mine", fold=fold))))
    assert code == 2
    assert told in err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"data": {"forget": ["picked-1"]}}, "data: 1 of the rows that were picked are not in"),
        ({"phases": [{"first_layer": 20, "last_layer": 21}]}, "layer 21 is out of range"),
    ],
)
def test_what_does_not_fit_what_is_here_is_told_before_it_starts(reproduce, store, asked, told):
    spec = RunSpec.model_validate(RunSpec().model_dump() | asked, context=RECORDED)
    code, _, err = reproduce(finished(store, spec))
    assert code == 2
    assert told in err


def test_what_a_strange_run_noted_steers_no_terminal(reproduce, cli, store):
    bell = "\x1b]0;evil\x07"
    began = Started(versions={f"a{bell}": bell}, device=f"cpu {bell}")
    run_id = finished(store, None, began, loaded(bell, bell), name=f"A {bell}run")
    told = "".join(reproduce(run_id)[1:])
    assert "cpu \N{REPLACEMENT CHARACTER}]0;evil" in told
    compared = cli("compare", run_id, run_id)
    assert compared.code == 0
    told += compared.out
    assert told.count("evil") > 5
    assert "\x1b" not in told
    assert "\x07" not in told


def test_what_cannot_be_repeated_is_told_and_nothing_starts(reproduce, home, store):
    def failing(job):
        raise RunFailed("no")
        yield

    with run_of(home, script=failing) as (_, worker, failed):
        gone = worker.submit(RunSpec(data=DataSpec(source="gone")))
        worker.wait(gone, 10)
    for run_id, told in ((failed, "did not finish"), (gone, "unknown dataset 'gone'"), ("x", "x")):
        code, out, err = reproduce(run_id)
        assert (code, out) == (2, "")
        assert told in err
    assert len(store.runs()) == 2
