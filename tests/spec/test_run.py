import json

import pytest

from unlearnlab.spec.fields import override, settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import preset, presets
from unlearnlab.spec.run import (
    ModelSpec,
    Phase,
    RunSpec,
    SpecError,
    adjustable,
    adjusted,
    parse_spec,
)


def with_settings(*wishes):
    return parse_spec(override(RunSpec().model_dump(mode="json"), wishes))


def problems(*wishes):
    with pytest.raises(SpecError) as caught:
        with_settings(*wishes)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("path", "text", "where", "what"),
    [
        ("phases.0.first_layer", "31", "phases.0.first_layer", "layer 31 is out of range"),
        ("phases.0.last_layer", "8", "phases.0.last_layer", "the model has blocks 0 to 7"),
        ("phases.0.first_layer", "-1", "", "must be at least 0, not -1"),
        ("phases.0.learning_rate", "0", "", "must be greater than 0, not 0"),
        ("phases.0.learning_rate", "-1e-4", "", "must be greater than 0, not -0.0001"),
        ("phases.0.learning_rate", "nan", "", "must be a finite number, not nan"),
        ("phases.0.learning_rate", "inf", "", "must be a finite number, not inf"),
        ("phases.0.learning_rate", "fast", "", "must be a number, not 'fast'"),
        ("phases.0.learning_rate", "", "", "must be a number, not empty"),
        ("phases.0.epochs", "0", "", "must be at least 1, not 0"),
        ("phases.0.epochs", "1.5", "", "must be a whole number, not 1.5"),
        ("phases.0.method.kind", "nop", "", "unknown method 'nop': did you mean npo"),
        ("phases.0.method.beta", "0.1", "", "there is no such setting"),
        (
            "phases.0.modules",
            "mpl",
            "",
            "must be 'all', 'mlp', 'attention' or 'down_proj', not 'mpl'",
        ),
        ("phases.0.embeddings", "maybe", "", "must be true or false, not 'maybe'"),
        ("phases.0.learning_rat", "1", "", "did you mean phases.N.learning_rate?"),
        ("phases.2.epochs", "1", "phases.2", "the next phase would be phases.1"),
        ("model.name", "tiny", "", "unknown model 'tiny': did you mean tiny-olmo?"),
        ("model.adapter", "yes", "", "must be a group of settings, not 'yes'"),
        ("data.tasks", "Task1,Task9", "data.tasks.1", "not 'Task9'"),
        ("data.tasks", "", "", "no subtask chosen"),
        ("phases.0.tasks", "", "", "no subtask chosen"),
        ("phases.0.tasks", "Task4", "phases.0.tasks.0", "not 'Task4'"),
        ("phases.0.learning_rate", "2", "", "must be at most 1, not 2"),
        ("keep_as", "A_B", "keep_as", "at most 41 lower-case letters, digits and hyphens"),
        ("keep_as", "x" * 42, "keep_as", "at most 41 lower-case letters"),
        ("keep_as", "../x", "keep_as", "not '../x'"),
        ("keep_as", "tiny-olmo", "keep_as", "'tiny-olmo' is a model of the catalog"),
        ("seed", "9999999999", "", "must be less than 2147483648, not 9999999999"),
        ("seed", "-1", "", "must be at least 0, not -1"),
        ("color", "red", "", "there is no such setting"),
    ],
)
def test_a_bad_value_is_answered_with_its_field_and_itself(path, text, where, what):
    ((field, message),) = problems((path, text))
    assert field == (where or path)
    assert what in message


def test_first_layer_after_last_is_refused():
    found = problems(("phases.0.first_layer", "5"), ("phases.0.last_layer", "3"))
    assert found == [("phases.0.first_layer", "first layer 5 comes after last layer 3")]


@pytest.mark.parametrize("kind", ["rmu", "adaptive_rmu"])
def test_a_steered_block_must_exist_and_be_reachable_by_training(kind):
    method = ("phases.0.method.kind", kind)
    ((field, message),) = problems(method, ("phases.0.method.layer", "8"))
    assert (field, message[:8]) == ("phases.0.method.layer", "layer 8 ")
    ((field, message),) = problems(
        method, ("phases.0.method.layer", "2"), ("phases.0.first_layer", "4")
    )
    assert field == "phases.0.method.layer"
    assert "block 2 lies below the first trained block 4" in message


def test_a_chunk_larger_than_what_the_phase_forgets_is_refused_before_anything_is_loaded():
    some = ("data.fold", "validation"), ("phases.0.tasks", "Task3")
    method = ("phases.0.method.kind", "sequential")
    ((field, message),) = problems(method, ("phases.0.method.chunk_size", "17"), *some)
    assert field == "phases.0.method.chunk_size"
    assert message.startswith("a chunk of 17 rows is larger than the forget set of 16: take")
    with_settings(method, ("phases.0.method.chunk_size", "16"), *some)


def test_a_floor_above_the_cap_is_told_at_the_floor():
    method = ("phases.0.method.kind", "joint")
    ((field, message),) = problems(method, ("phases.0.method.min_retain_weight", "3"))
    assert (field, message) == (
        "phases.0.method.min_retain_weight",
        "the floor 3.0 lies above the cap 2.8",
    )
    with pytest.raises(SpecError) as refused:
        adjusted(Phase(method=METHODS["joint"]()), {"method.min_retain_weight": 3})
    assert refused.value.problems[0][0] == "method.min_retain_weight"


def test_a_phase_cannot_train_on_what_the_run_does_not_forget():
    ((field, message),) = problems(("data.tasks", "Task1"), ("phases.0.tasks", "Task1,Task2"))
    assert field == "phases.0.tasks"
    assert message.startswith("Task2 is not among what the run forgets (Task1)")


def test_what_may_be_changed_while_a_phase_runs_is_its_rate_and_its_weights():
    phase = Phase(method=METHODS["npo"](retain_weight=2))
    assert adjustable(phase) == {
        "learning_rate": 5e-4,
        "method.forget_weight": 1.0,
        "method.retain_weight": 2.0,
        "method.kl_weight": 0.0,
    }
    changed = adjusted(phase, {"learning_rate": "1e-3", "method.forget_weight": 0})
    assert (changed.learning_rate, changed.method.forget_weight) == (1e-3, 0)
    assert changed.method.retain_weight == 2


def test_every_wrong_change_is_told():
    with pytest.raises(SpecError) as refused:
        adjusted(Phase(), {"learning_rate": 5, "method.retain_weight": "x"})
    assert refused.value.problems == (
        ("method.retain_weight", "must be a number, not 'x'"),
        ("learning_rate", "must be at most 1, not 5"),
    )


def test_several_bad_values_are_all_told():
    found = problems(("phases.0.epochs", "0"), ("seed", "-1"), ("evaluation.probes", "x"))
    assert [field for field, _ in found] == ["phases.0.epochs", "evaluation.probes", "seed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is not JSON"),
        ("[]", "must be a group of settings"),
        ('{"phases": [], "keep_as": "mine"}', "keep_as: a run that only scores makes no model"),
        ('{"phases": [{"method": {"beta": 1}}]}', "phases.0.method.kind: is missing"),
        ('{"colour": 1}', "colour: there is no such setting"),
        ('{"seed": 1e999}', "seed: must be a finite number"),
    ],
)
def test_text_that_is_no_spec_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        parse_spec(text)


def test_settings_are_set_by_their_dotted_path():
    spec = with_settings(
        ("phases.0.learning_rate", "1e-4"),
        ("phases.0.last_layer", "3"),
        ("phases.0.max_steps", "none"),
        ("phases.0.embeddings", "true"),
        ("data.tasks", "Task3, Task1"),
        ("seed", "7"),
    )
    phase = spec.phases[0]
    assert (phase.learning_rate, phase.last_layer, phase.max_steps) == (1e-4, 3, None)
    assert phase.embeddings
    assert spec.data.tasks == ("Task1", "Task3")
    assert spec.seed == 7


def test_another_method_begins_with_its_own_defaults():
    spec = with_settings(("phases.0.method.beta", "0.3"), ("phases.0.method.kind", "npo"))
    assert spec.phases[0].method == METHODS["npo"](beta=0.3)
    assert with_settings(("phases.0.method.kind", "rmu")).phases[0].method == METHODS["rmu"]()


def test_the_same_method_keeps_what_was_set():
    base = with_settings(("phases.0.method.forget_weight", "3")).model_dump(mode="json")
    changed = parse_spec(override(base, [("phases.0.method.kind", "gradient_difference")]))
    assert changed.phases[0].method.weights["forget"] == -3


def test_the_phase_after_the_last_begins_with_the_defaults():
    spec = with_settings(("phases.1.method.kind", "npo"), ("phases.1.epochs", "2"))
    assert spec.phases == (Phase(), Phase(method=METHODS["npo"](), epochs=2))


def test_one_value_of_an_adapter_turns_it_on_and_none_turns_it_off():
    spec = with_settings(("model.adapter.r", "4"))
    assert spec.model.adapter.r == 4
    base = spec.model_dump(mode="json")
    assert parse_spec(override(base, [("model.adapter", "none")])).model.adapter is None


def test_overriding_leaves_the_original_alone():
    base = RunSpec().model_dump(mode="json")
    override(base, [("phases.0.epochs", "9"), ("phases.1.epochs", "9")])
    assert base == RunSpec().model_dump(mode="json")


def test_a_spec_survives_json():
    spec = with_settings(("phases.0.method.kind", "adaptive_rmu"), ("model.adapter.r", "4"))
    assert parse_spec(spec.model_dump_json()) == spec
    assert parse_spec(json.loads(spec.model_dump_json())) == spec


def test_every_setting_says_what_it_is_and_what_it_may_be():
    for setting in settings():
        assert setting.help, setting.path
        assert setting.values, setting.path
        assert setting.default, setting.path


def test_every_default_is_a_value_the_command_line_takes():
    for setting in settings():
        wishes = [(setting.path.replace("N", "0"), setting.default)]
        if setting.method and not METHODS[setting.method].sets:
            continue  # A merge cannot be the first phase.
        if setting.method:
            wishes.append(("phases.0.method.kind", setting.method))
        if setting.path.startswith("model.adapter."):
            with_settings(*wishes)
        else:
            expected = wishes[1:] and with_settings(*wishes[1:])
            assert with_settings(*wishes) == (expected or RunSpec()), setting.path


def test_values_and_units_are_read_off_the_declarations():
    by_path = {(one.path, one.method): one for one in settings()}
    beta = by_path["phases.N.method.beta", "npo"]
    assert (beta.values, beta.default, beta.unit) == ("number > 0", "0.1", "1/nat")
    assert by_path["phases.N.learning_rate", ""].values == "number > 0 and ≤ 1"
    assert by_path["phases.N.last_layer", ""].values == "integer ≥ 0, or none"
    assert by_path["data.fold", ""].values == "train | validation"
    assert by_path["phases.N.schedule", ""].expert


def test_an_unknown_preset_is_refused():
    with pytest.raises(SpecError, match=r"preset: unknown preset 'x'"):
        preset("x")


def test_presets_are_found_by_their_names():
    assert [preset(name).name for name in presets()] == list(presets())


def test_answers_that_leave_no_room_for_a_prompt_are_refused_at_their_field():
    with pytest.raises(SpecError, match=r"^evaluation\.max_new_tokens: 1000 leave too little"):
        parse_spec({"evaluation": {"max_new_tokens": 1000}})


def merging(**parts):
    """Two phases and their merge, as plain values; `parts` change the second phase."""
    phases = [{"adapter_name": "over"}, {"adapter_name": "under", **parts}]
    return {
        "model": {"adapter": {"r": 8}},
        "phases": [*phases, {"method": {"kind": "ties_merge"}}],
    }


def test_two_adapters_can_be_merged_and_the_result_trained_on():
    plain = merging()
    spec = parse_spec({**plain, "phases": [*plain["phases"], {"method": {"kind": "npo"}}]})
    assert [phase.adapter_name for phase in spec.phases] == ["over", "under", "default", "default"]


@pytest.mark.parametrize(
    ("plain", "where", "message"),
    [
        (
            {**merging(), "model": {}},
            "phases.0.adapter_name",
            "there is no adapter to call 'over': switch LoRA on",
        ),
        ({"phases": [{"adapter_rank": 4}]}, "phases.0.adapter_rank", "no adapter to give rank 4"),
        (
            {"phases": [{"method": {"kind": "ties_merge"}}]},
            "phases.0.method.kind",
            "a merge needs LoRA adapters",
        ),
        (
            {"model": {"adapter": {}}, "phases": [{"method": {"kind": "ties_merge"}}]},
            "phases.0.method.kind",
            "nothing to merge: no adapter was trained before it",
        ),
        (
            merging(adapter_name="over"),
            "phases.2.method.kind",
            "nothing to merge: 'over' was trained before it",
        ),
        (
            merging(adapter_rank=16),
            "phases.2.method.kind",
            "different rank cannot be merged ('over' has 8, 'under' has 16): give their phases one",
        ),
        (
            merging(modules="mlp"),
            "phases.2.method.kind",
            "'over' and 'under' were trained in different layers or modules",
        ),
        (
            merging(adapter_name="default"),
            "phases.2.adapter_name",
            "'default' is the name of an adapter trained before",
        ),
        (
            merging(adapter_name="over", adapter_rank=9),
            "phases.1.adapter_rank",
            "adapter 'over' has rank 8 from an earlier phase, not 9",
        ),
        (
            merging(adapter_name="train"),
            "phases.1.adapter_name",
            "no adapter can be called 'train', which means something to the model: take",
        ),
        (
            merging(adapter_name="2"),
            "phases.1.adapter_name",
            "should match pattern '^[a-z]",
        ),
        (
            merging(adapter_name="Down Under"),
            "phases.1.adapter_name",
            "not 'Down Under'",
        ),
    ],
)
def test_adapters_that_cannot_be_trained_or_merged_are_refused_at_their_field(
    plain, where, message
):
    with pytest.raises(SpecError) as caught:
        parse_spec(plain)
    ((field, what),) = caught.value.problems
    assert field == where
    assert message in what


def test_a_merged_adapter_cannot_train_layers_that_its_parts_do_not_have():
    plain = merging(last_layer=3)
    plain["phases"][0]["last_layer"] = 3
    later = {"method": {"kind": "npo"}}
    with pytest.raises(SpecError, match=r"^phases\.3\.adapter_name: the merged adapter 'default'"):
        parse_spec({**plain, "phases": [*plain["phases"], later]})
    parse_spec({**plain, "phases": [*plain["phases"], {**later, "last_layer": 3}]})


def test_embeddings_beside_an_adapter_are_refused_at_their_field():
    with pytest.raises(SpecError, match=r"^phases\.0\.embeddings: an adapter trains no embeddings"):
        parse_spec({"model": {"adapter": {}}, "phases": [{"embeddings": True}]})


def test_a_run_teaches_if_all_its_phases_do():
    def taught(*methods):
        return parse_spec({"phases": [{"method": method} for method in methods]}).taught

    memorize = {"kind": "memorize"}
    assert taught(memorize) == ("forget", "retain")
    assert taught(memorize | {"on": "retain"}) == ("retain",)
    assert taught(memorize | {"on": "retain"}, memorize | {"on": "forget"}) == ("forget", "retain")
    assert taught({"kind": "npo"}, memorize) == ()


def test_a_run_that_kept_a_model_still_reads_when_the_model_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert parse_spec({"keep_as": "mine"}).keep_as == "mine"


def test_a_run_without_phases_only_scores_its_model():
    spec = parse_spec({"phases": []})
    assert spec.only_scores
    assert spec.title == "Scores of tiny-olmo (embedded)"
    assert RunSpec(keep_as="mine").scoring == spec
    assert RunSpec(model=ModelSpec(name="/gone/mine")).scoring.title == "Scores of mine"
