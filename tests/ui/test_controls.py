"""From a declared setting to its control, and between a form and a spec."""

import gradio as gr
import pytest

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import LoRA, ModelSpec, Phase, RunSpec, SpecError, same_settings
from unlearnlab.ui.form.form import form_of, parsed, preset_form, problems_of
from unlearnlab.ui.kit.controls import (
    ADAPTER,
    DATA,
    LAYERS,
    LORA,
    METHOD,
    OF_METHOD,
    PATHS,
    PHASE,
    control,
    element,
)


def setting(of, name):
    return next(s for s in of if s.name == name)


def test_every_hyperparameter_of_every_method_has_a_control():
    for kind, method in METHODS.items():
        declared = set(method.model_fields) - {"kind"}
        assert {s.name for s in OF_METHOD[kind]} == declared
        for s in OF_METHOD[kind]:
            assert control(s) is not None


def test_every_field_of_a_phase_is_on_the_form():
    on_form = {path.removeprefix("phase.") for path in PATHS if path.startswith("phase.")}
    declared = set(Phase.model_fields) - {"first_layer", "last_layer"} | {"layers"}
    assert on_form == declared


def test_a_control_takes_its_label_help_and_default_from_the_declaration():
    drawn = control(setting(OF_METHOD["npo"], "beta"))
    assert isinstance(drawn, gr.Number)
    assert (drawn.label, drawn.value) == ("Beta β, 1/nat", 0.1)
    assert drawn.info is not None
    assert drawn.info.startswith("Inverse temperature")


@pytest.mark.parametrize(
    ("of", "name", "kind"),
    [
        (PHASE, "learning_rate", gr.Textbox),
        (PHASE, "epochs", gr.Number),
        (PHASE, "max_steps", gr.Number),
        (PHASE, "embeddings", gr.Checkbox),
        (PHASE, "schedule", gr.Dropdown),
        (LORA, "dropout", gr.Number),
    ],
)
def test_the_type_of_a_setting_chooses_its_control(of, name, kind):
    assert isinstance(control(setting(of, name)), kind)


def test_a_type_without_a_control_is_refused():
    with pytest.raises(TypeError, match=r"data\.tasks: no control"):
        control(setting(DATA, "tasks"))


def test_a_rate_is_shown_as_one_types_it():
    assert control(setting(PHASE, "learning_rate")).value == "5e-4"


@pytest.mark.parametrize("name", presets())
def test_a_preset_survives_the_form(name):
    assert same_settings(parsed(preset_form(name)), presets()[name].spec)


@pytest.mark.parametrize("editing", [0, 1, 2])
def test_the_phases_that_are_not_shown_survive_the_form(editing):
    phases = tuple(
        Phase(method=METHODS[kind](), last_layer=7, epochs=n)
        for n, kind in enumerate(("npo", "rmu", "gradient_ascent"), 1)
    )
    spec = RunSpec(phases=phases, seed=3, model=ModelSpec(adapter=LoRA(r=4)))
    assert parsed(form_of(spec.model_dump(mode="json"), editing=editing)) == spec


DEFAULTS = form_of(RunSpec().model_dump(mode="json"))


def test_a_rate_may_be_typed_as_text():
    form = DEFAULTS.having({"phase.learning_rate": "5e-4"})
    assert parsed(form).phases[0].learning_rate == 5e-4


def test_an_empty_box_is_a_mistake_unless_the_setting_may_be_none():
    (phase,) = DEFAULTS.having({"phase.epochs": None, "phase.max_steps": None}).phases
    assert (phase["epochs"], phase["max_steps"]) == ("", None)


def test_the_adapter_is_left_out_unless_it_is_switched_on():
    assert DEFAULTS.plain["model"]["adapter"] is None
    assert DEFAULTS.having({ADAPTER: True}).plain["model"]["adapter"]["r"] == 16


def test_only_the_chosen_methods_settings_are_asked_for():
    assert DEFAULTS.having({METHOD: "npo"}).phases[0]["method"] == {
        "kind": "npo",
        "beta": 0.1,
        "forget_weight": 1.0,
        "retain_weight": 1.0,
        "kl_weight": 0.0,
        "likelihood": "sequence",
    }


EDITING_SECOND = DEFAULTS.having({METHOD: "npo"}, editing=1)


@pytest.mark.parametrize(
    ("where", "path", "label"),
    [
        ("seed", "seed", "Seed"),
        ("phases.1.epochs", "phase.epochs", "Epochs"),
        ("phases.1.method.beta", "npo.beta", "Beta β, 1/nat"),
        ("phases.1.first_layer", LAYERS, "Layers"),
        ("phases.1.last_layer", LAYERS, "Layers"),
        ("phases.1.method.kind", METHOD, "Method"),
        ("phases.1.method", METHOD, "Method"),
        ("phases.1.tasks", "phase.tasks", "Tasks"),
        ("model.adapter.r", "lora.r", "R"),
        ("data.tasks", "data.tasks", "Tasks"),
    ],
)
def test_a_problem_is_placed_at_its_control(where, path, label):
    (problem,) = problems_of(SpecError([(where, "wrong")]), EDITING_SECOND)
    assert (problem.element, problem.label, problem.message) == (element(path), label, "wrong")


def test_a_problem_in_a_phase_that_is_not_shown_names_the_phase():
    (problem,) = problems_of(SpecError([("phases.0.learning_rate", "wrong")]), EDITING_SECOND)
    assert (problem.element, problem.label) == ("phase-card-0", "Phase 1, learning rate")
