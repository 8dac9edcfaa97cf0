import pytest

from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.spec.sweep import (
    LAYERS,
    SEEDS,
    SHARES,
    FactorsAxis,
    ListAxis,
    RangeAxis,
    ShareAxis,
    SweepSpec,
    WindowAxis,
    expand_grid,
    parse_sweep,
    read_axis,
    with_more,
    with_more_runs,
)

RATE = "phases.0.learning_rate"
RMU = presets()["embedded-adaptive-rmu"].spec


def texts(axis, base=None):
    return [value.text for value in axis.values(base or RunSpec())]


def specs(*axes, base=None, **more):
    return [
        point.spec
        for point in expand_grid(SweepSpec(base=base or RunSpec(), axes=axes, **more)).points
    ]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("1e-4, 5e-4", ["1e-4", "5e-4"]),
        ("1e-4 5e-4 1e-4", ["1e-4", "5e-4"]),
        ("0.1 to 0.5 in 3", ["0.1", "0.3", "0.5"]),
        ("1e-6 … 1e-4 in 3 log", ["1e-6", "1e-5", "1e-4"]),
        ("x 0.1, 2", ["5e-5", "1e-3"]),
        ("×0.1, ×2", ["5e-5", "1e-3"]),
    ],
)
def test_values_are_read_as_they_are_typed(typed, wanted):
    assert texts(read_axis(RATE, typed)) == wanted


@pytest.mark.parametrize(
    ("what", "typed", "told"),
    [
        (RATE, " ", "say which values"),
        (RATE, "1 to 2 in 1", "at least 2"),
        (RATE, "x 2, fast", "'fast' is not a number"),
        (RATE, "-1 to 1 in 3 log", "above 0, not -1"),
        (LAYERS, "three", "whole number, not 'three'"),
        (LAYERS, "9", "wider than the model's 8 blocks"),
        (SHARES, "0, 50", "greater than 0"),
        (SEEDS, "0", "at least 1"),
        ("phases.0.rate", "1", "no such setting"),
        ("phases.3.epochs", "1", "no phase 3"),
        ("phases.0.method.beta", "1", "has no such setting"),
        ("model.precision", "x 2", "'float32' is not a number"),
        ("phases.0.epochs", "1.5", "whole number, not 1.5"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_value(what, typed, told):
    with pytest.raises(SpecError, match=told):
        specs(read_axis(what, typed))


def test_windows_slide_over_the_model_and_steering_reads_their_last_block():
    found = specs(WindowAxis(width=3), base=RMU)
    phases = [spec.phases[0] for spec in found]
    assert [(p.first_layer, p.last_layer, p.method.layer) for p in phases] == [
        (first, first + 2, first + 2) for first in range(6)
    ]
    assert texts(WindowAxis(width=4, stride=2), RMU) == ["0–3", "2–5", "4–7"]


def test_shares_of_the_forget_set_hold_whole_documents_and_each_other():
    axis = ShareAxis(percent=(25, 50, 100))
    base = RunSpec(data=DataSpec(tasks=("Task2", "Task1")))
    rows = {row.id: row for row in base.data.known.rows("forget", "train")}
    quarter, half, whole = (spec.data.forget for spec in specs(axis, base=base))
    assert whole is None
    assert quarter is not None
    assert half is not None
    assert set(quarter) < set(half)
    documents = {rows[id].document for id in half}
    assert {i for i, row in rows.items() if row.document in documents} == set(half)
    assert {rows[id].task for id in quarter} == {"Task1", "Task2"}
    assert 0.2 < len(quarter) / sum(base.data.counts()["forget"].values()) < 0.3
    assert specs(axis, base=base) == specs(axis, base=base)


def test_every_combination_runs_and_the_first_axis_changes_slowest():
    found = specs(read_axis(SEEDS, "2"), ListAxis(path="phases.0.epochs", texts=(1, 2, 3)))
    assert [(spec.seed, spec.phases[0].epochs) for spec in found] == [
        (seed, epochs) for seed in range(2) for epochs in (1, 2, 3)
    ]


def test_a_random_sweep_draws_the_same_runs_each_once_and_a_larger_one_begins_with_them():
    axes = (
        RangeAxis(path=RATE, first=1e-5, last=1e-3, count=20, log=True),
        ListAxis(path="phases.0.epochs", texts=tuple(str(n) for n in range(1, 51))),
    )
    few = specs(*axes, pick="random", budget=10)
    assert len(set(few)) == 10
    sweep = SweepSpec(base=RunSpec(), axes=axes, pick="random", budget=10)
    longer = with_more_runs(sweep, "5")
    assert [point.spec for point in expand_grid(longer).points][:10] == few
    with pytest.raises(SpecError, match="every combination"):
        with_more_runs(SweepSpec(base=RunSpec(), axes=axes[:1]), "5")
    with pytest.raises(SpecError, match="drawn at random"):
        with_more(sweep, 0, "1e-2")


def test_more_values_come_behind_those_that_were_there():
    sweep = SweepSpec(
        base=RunSpec(),
        axes=(
            FactorsAxis(path=RATE, factors=(1, 2)),
            read_axis(SEEDS, "2"),
            read_axis(SHARES, "50"),
        ),
    )
    longer = with_more(with_more(with_more(sweep, 0, "2e-3, 5e-4"), 1, "1"), 2, "50, 100")
    assert [[v.text for v in of] for of in expand_grid(longer).values] == [
        ["5e-4", "1e-3", "2e-3"],
        ["0", "1", "2"],
        ["50", "100"],
    ]
    with pytest.raises(SpecError, match="cover the whole model"):
        with_more(SweepSpec(base=RMU, axes=(WindowAxis(width=3),)), 0, "4")


def test_a_sweep_that_cannot_run_says_why():
    epochs = ListAxis(path="phases.0.epochs", texts=tuple(str(n) for n in range(1, 60)))
    rates = RangeAxis(path=RATE, first=1e-5, last=1e-3, count=60)
    with pytest.raises(SpecError, match="3,540 runs are too many"):
        specs(epochs, rates)
    with pytest.raises(SpecError, match="set by the axis 'epochs' already"):
        specs(epochs, epochs)
    with pytest.raises(SpecError, match="more like these"):
        specs(ListAxis(path="phases.0.epochs", texts=tuple(f"-{n}" for n in range(9))))
    with pytest.raises(SpecError, match=r"base\.keep_as.*leave it empty"):
        parse_sweep({"base": {"keep_as": "mine"}, "axes": [{"kind": "seeds", "count": 2}]})
    with pytest.raises(SpecError, match="unknown preset 'embedded-rmo'"):
        parse_sweep({"base": "embedded-rmo", "axes": [{"kind": "seeds", "count": 2}]})


def test_a_sweep_is_read_back_from_its_json():
    axes = (WindowAxis(width=2), read_axis(SEEDS, "2"), read_axis(SHARES, "10 to 100 in 4"))
    sweep = SweepSpec(base=RMU, axes=axes, pick="random", budget=7)
    assert parse_sweep(sweep.model_dump_json()) == sweep
    assert len(expand_grid(sweep).points) == 7
