"""Tables of runs: columns by name, queries, runs folded into rows, differences from a baseline."""

import dataclasses
from datetime import datetime

import pytest

from tests.views.runs import run, scores, spec
from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.measures import MEASURES
from unlearnlab.metrics.scores import SCORES
from unlearnlab.spec.fields import settings
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.views.run_table import (
    Known,
    QueryError,
    change_text,
    column_named,
    columns,
    differing,
    inside,
    needs_measures,
    offered_columns,
    parse_query,
    passing,
    row_labels,
    run_table,
    size_text,
    unmeasured,
    usual_columns,
)

RUNS = [
    run("a", spec("npo", learning_rate=1e-4), scores(aggregate=0.9), tags=("layer sweep",)),
    run("b", spec("rmu", epochs=9), scores(aggregate=0.5, auc=None), sweep="s"),
    run("c", spec("npo", seed=3), after=False, sweep="s", title="<b>Mine</b>"),
]
SWEEPS = Known(sweeps={"s": "Layers"})


def found(text, runs=RUNS, known=SWEEPS):
    return "".join(one.run_id for one in passing(runs, parse_query(text), known))


# ---- columns


def test_every_score_measure_and_setting_is_a_column():
    there = columns()
    assert set(SCORES) | set(MEASURES) <= set(there)
    plain = {one.path for one in settings() if one.shape != "group"}
    assert sum(one.group == "settings" for one in there.values()) == len(plain) - 1, "the method"
    assert all(key in there for key in usual_columns())
    assert sum(map(len, offered_columns().values())) == len(there) - 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lr", "learning_rate"),
        ("bs", "batch_size"),
        ("aggregate", "task_aggregate"),
        ("agg", "task_aggregate"),
        ("AUC", "mia_auc"),
        ("mia", "mia_score"),
        ("method", "method"),
        ("model", "model"),
        ("took", "seconds"),
        ("beta", "beta"),
        ("Extraction-Strength", "extraction_strength"),
        ("id", "run"),
    ],
)
def test_a_column_goes_by_its_key_other_names_initials_and_the_start_of_a_name(name, key):
    assert column_named(name).key == key


def test_a_setting_of_several_phases_shows_each_value_once():
    two = run("t", RunSpec(phases=(Phase(epochs=2), Phase(epochs=3), Phase(epochs=3))))
    assert columns()["epochs"].text(two) == "2 → 3"
    assert columns()["epochs"].number(two) == 2
    assert columns()["layers"].text(run("a", spec(first_layer=2, last_layer=5))) == "2–5"


def test_a_day_is_compared_as_a_whole():
    noon = datetime(2026, 1, 31, 12).timestamp()
    runs = [dataclasses.replace(RUNS[0], created=noon)]
    told = {sign: bool(found(f"created{sign}2026-01-31", runs)) for sign in ("<", "<=", ">", ">=")}
    assert told == {"<": False, "<=": True, ">": False, ">=": True}


def test_the_text_of_several_phases_finds_its_runs():
    phases = (Phase(learning_rate=5e-4), Phase(learning_rate=1e-4))
    runs = [run("t", RunSpec(phases=phases)), run("o", spec(learning_rate=5e-4))]
    assert found('lr="5e-4 → 1e-4"', runs) == "t"


def test_the_settings_that_differ_are_known():
    assert {"method", "learning_rate", "epochs", "seed"} <= set(differing(RUNS))
    assert "batch_size" not in differing(RUNS)
    assert differing(RUNS[:1]) == []


# ---- queries


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", "abc"),
        ("method:npo", "ac"),
        ("method:npo,rmu epochs:9", "b"),
        ("method:npo lr>1e-5 aggregate>0.8", "a"),
        ("lr = 1e-4", "a"),
        ("lr:1e-5..2e-4", "a"),
        ("lr:..1e-4", "a"),
        ("aggregate>=50%", "ab"),
        ("aggregate<0.9", "b"),
        ("aggregate:none", "c"),
        ("auc:none", "bc"),
        ("-method:npo", "b"),
        ("method!=npo", "b"),
        ("seed:3", "c"),
        ('tag:"layer sweep"', "a"),
        ("sweep:layers", "bc"),
        ("took<2min", "abc"),
        ("started<2001-01-01", "abc"),
        ("started:1970-01-01..", "abc"),
        ("lr=1e-4,60", "a"),
        ('took="60 s"', "abc"),
        ('took!="60 s"', ""),
        ("npo", "ac"),
        ("-mine npo", "a"),
        ('"no such words"', ""),
        ("data.tasks:task2", "abc"),
        ("max_steps:none", "abc"),
        ("<b>mine", "c"),
    ],
)
def test_a_query_finds_runs_by_column_sign_and_value(text, ids):
    assert found(text) == ids


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agregate>0.8", "did you mean aggregate"),
        ("zebra:1", "no column “zebra”"),
        ("lr>", "“lr>” needs a value"),
        ("lr>fast", "fast is not one number"),
        ("lr>1,2", "not one number"),
        ("lr:fast", "fast is not a number"),
        ("lr=5x", "5x is not a number"),
        ("method>3", "write method:3"),
        ("m:1", "write more of it"),
        ('"open', "quotation mark is missing"),
    ],
)
def test_a_query_that_cannot_be_read_says_which_part_and_what_to_write(text, told):
    with pytest.raises(QueryError, match=told):
        parse_query(text)


def test_what_reads_measures_is_known():
    assert needs_measures(parse_query("min_k>0.6"), ())
    assert needs_measures((), ["title", "privleak"])
    assert not needs_measures(parse_query("npo aggregate>0.5"), usual_columns())
    (plain,) = unmeasured(parse_query("min_k>0.6 -probability:none aggregate>0.5"))
    assert plain.column.key == "task_aggregate"


# ---- tables


def titles(table):
    return [row.title for row in table.rows]


def texts(table, row=0):
    return [cell.text for cell in table.cells(table.rows[row])]


def test_rows_are_sorted_by_any_column_and_those_without_a_value_come_last():
    ids = [one.run_id for one in run_table(RUNS, sort="task_aggregate").runs]
    assert ids == ["a", "b", "c"]
    assert [one.run_id for one in run_table(RUNS, sort="epochs", up=True).runs][-1] == "b"
    pinned = [RUNS[0], dataclasses.replace(RUNS[1], pinned=True)]
    assert run_table(pinned, sort="task_aggregate").runs[0].run_id == "b"


def seeds(*aggregates, **more):
    return [
        run(f"s{seed}", spec(seed=seed, **more), scores(aggregate=value))
        for seed, value in enumerate(aggregates)
    ]


def test_seeds_fold_into_one_row_with_mean_and_spread():
    runs = [*seeds(0.6, 0.8), RUNS[0]]
    table = run_table(runs, ["task_aggregate", "seed", "epochs"], fold="seed", sort="title")
    row = next(row for row in table.rows if row.fold)
    aggregate, seed, epochs = table.cells(row)
    assert (aggregate.text, round(aggregate.spread, 3)) == ("0.70", 0.141)
    assert seed.text == "0 to 1"
    assert epochs.text == "5"
    assert [one.runs[0].run_id for one in inside(row)] == ["s0", "s1"]
    assert len(table.rows) == 2


def test_a_rerun_of_a_seed_counts_once():
    runs = [*seeds(0.6, 0.8), run("again", spec(seed=1), scores(aggregate=0.8))]
    table = run_table(runs, ["task_aggregate"], fold="seed")
    (cell,) = table.cells(table.rows[0])
    assert (cell.text, round(cell.spread, 3)) == ("0.70", 0.141)
    assert cell.note == "mean ± standard deviation of 2 seeds; 1 rerun does not count"


def test_folded_seeds_are_told_apart_by_their_settings_not_by_the_name_of_one_run():
    rates = [one for rate in (1e-4, 5e-4) for one in seeds(0.6, 0.8, learning_rate=rate)]
    named = [dataclasses.replace(one, title=f"Sweep: seed {one.seed}") for one in rates]
    table = run_table(named, fold="seed")
    method = spec().title
    assert titles(table) == [f"{method} · learning rate {rate}" for rate in ("1e-4", "5e-4")]
    assert "1e-4" in table.rows[0].settings
    assert "1e-4" in row_labels(table)[0]
    swept = [dataclasses.replace(one, sweep=str(at % 2)) for at, one in enumerate(rates)]
    same = Known(sweeps={"0": "Layers", "1": "Layers"})
    assert len(set(row_labels(run_table(swept, fold="sweep", known=same)))) == 2


def test_a_spread_has_no_sign_and_a_change_the_unit_of_its_column():
    percent, share = columns()["privleak"], columns()["task_aggregate"]
    assert size_text(percent, 3.2) == "3%"
    assert (change_text(percent, 3.2), change_text(percent, -3.2)) == ("+3%", "−3%")
    assert (size_text(share, 0.1), change_text(share, -0.1)) == ("0.10", "−0.10")
    assert size_text(columns()["seconds"], 12.0) == "12 s"


def test_runs_of_a_sweep_fold_under_its_name():
    table = run_table(RUNS, ["method"], fold="sweep", known=SWEEPS, sort="title")
    assert "Layers" in titles(table)
    row = next(row for row in table.rows if row.fold)
    assert table.cells(row)[0].text == "RMU, NPO"


def test_scores_of_different_setups_are_not_averaged():
    other = run("v", spec(seed=9, max_steps=None), scores(protocol="MMLU: 5 shots"), sweep="s")
    table = run_table([RUNS[1], other], ["task_aggregate"], fold="sweep", known=SWEEPS)
    (cell,) = table.cells(table.rows[0])
    assert (cell.text, cell.number) == ("–", None)
    assert "different setups" in cell.note


def test_the_best_of_comparable_rows_is_marked():
    table = run_table(RUNS[:2], ["task_aggregate", "mia_auc"])
    best = [[cell.best for cell in table.cells(row)] for row in table.rows]
    assert sorted(best) == [[False, False], [True, False]]


def test_cells_are_held_against_a_baseline_that_was_measured_alike():
    base, *others = seeds(0.6, 0.8, learning_rate=1e-3)
    table = run_table(others, ["task_aggregate", "learning_rate", "method"], baseline=base)
    aggregate, rate, method = table.cells(table.rows[0])
    assert (round(aggregate.change, 3), aggregate.better) == (0.2, True)
    assert (rate.change, rate.differs, method.differs) == (0.0, False, False)
    quiz = run_table([run("m", after=scores(protocol="MMLU: 5 shots"))], baseline=base)
    assert {cell.change for cell in quiz.cells(quiz.rows[0])[:4]} == {None}


def test_nearer_to_chance_is_better_where_chance_is_the_ideal():
    base = run("x", after=scores(auc=0.9))
    table = run_table([run("y", after=scores(auc=0.6))], ["mia_auc"], baseline=base)
    (cell,) = table.cells(table.rows[0])
    assert (change_text(table.columns[0], cell.change), cell.better) == ("−0.30", True)


def test_measures_stand_in_columns_once_they_are_known():
    known = Known({"a": {"privleak": Interval(40.0, 30.0, 50.0)}})
    table = run_table(RUNS[:2], ["privleak"], known=known, sort="privleak")
    assert [texts(table, at) for at in (0, 1)] == [["+40%"], ["–"]]
    assert found("privleak>10", known=known) == "a"
