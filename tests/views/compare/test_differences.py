"""Specs are compared by dotted path, and only what differs is told."""

from tests.views.compare.runs import spec
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, Phase, RunSpec
from unlearnlab.views.compare.differences import differences


def found(*specs):
    return {one.path: one.values for one in differences(specs)}


def test_equal_specs_have_no_differences():
    assert found(spec(), spec()) == {}


def test_a_difference_has_its_path_its_name_and_every_runs_value():
    (one,) = differences([spec(learning_rate=1e-4), spec(learning_rate=5e-4), spec()])
    assert (one.path, one.name) == ("phases.0.learning_rate", "learning rate")
    assert one.values == ("1e-4", "5e-4", "5e-4")
    assert one.numbers == (1e-4, 5e-4, 5e-4)


def test_a_last_block_that_is_left_open_is_the_models_last():
    assert found(spec(last_layer=None), spec(last_layer=7)) == {}
    assert found(spec(last_layer=None), spec(last_layer=3)) == {"phases.0.last_layer": ("7", "3")}


def test_methods_differ_by_their_titles_and_by_the_settings_that_one_of_them_lacks():
    told = found(spec("npo"), spec("rmu"))
    assert told["phases.0.method.kind"] == ("NPO", "RMU")
    assert told["phases.0.method.beta"][1] == "–"


def test_a_missing_adapter_has_no_settings():
    told = found(spec(), spec(model=ModelSpec(adapter=LoRA(r=8))))
    assert told["model.adapter.r"] == ("–", "8")
    assert "model.adapter" not in told


def test_a_second_phase_is_named_as_such():
    two = RunSpec(phases=(Phase(), Phase(epochs=2)))
    (one, *_) = (d for d in differences([spec(), two]) if d.path == "phases.1.epochs")
    assert (one.name, one.values, one.numbers) == ("phase 2 epochs", ("–", "2"), (None, 2.0))


def test_settings_come_in_the_order_of_the_spec():
    one = spec(epochs=3, seed=1, model=ModelSpec(precision="bfloat16"))
    assert list(found(spec(), one)) == ["model.precision", "phases.0.epochs", "seed"]


def test_as_many_picked_rows_are_not_the_same_rows():
    told = found(*(spec(data=DataSpec(forget=(name,))) for name in ("a", "b")))
    first, second = told["data.forget"]
    assert first != second
    assert "a" not in first.split()
    assert found(spec(), spec(data=DataSpec(forget=("a",))))["data.forget"][0] == "all"
