"""The controls of model and device: names, folders and hub ids, and what is said of each."""

import json
from html import unescape

import pytest

from tests.models.test_catalog import SIZES, download
from tests.ui.test_handlers import typed
from unlearnlab.models.catalog import models
from unlearnlab.runs.engine_api import Device
from unlearnlab.spec.errors import SpecError
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import notes
from unlearnlab.ui.form.form import take_model
from unlearnlab.ui.form.notes import HINT, device_choices, looked_up, model_choices, model_note

CPU = (Device("cpu", "cpu, 8 threads", free=20 * 2**30, total=32 * 2**30),)
GPU = (Device("cuda:0", "Big GPU", free=79 * 2**30, total=80 * 2**30), *CPU)
MORE = Device("cuda:1", "Big GPU", free=40 * 2**30, total=80 * 2**30)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    download(tmp_path / "small", num_hidden_layers=5)
    return tmp_path / "small"


def chosen(name, **values):
    return forms.choose_model(typed(forms.first_form(), model__name=name, **values))


def layers(form):
    return form.values["phase.layers"]


def test_a_folder_gives_the_layer_range_its_blocks_and_the_run_its_name(folder):
    form = chosen(str(folder), phase__layers={"first": 1, "last": 7, "blocks": 8})
    assert layers(form) == {"first": 1, "last": 4, "blocks": 5}
    spec = forms.spec_of(form)
    assert spec.model.name == str(folder)
    assert spec.model.blocks == 5


def test_blanks_around_a_typed_name_do_not_matter(folder):
    assert forms.spec_of(chosen(f" {folder} ")).model.name == str(folder)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("", "no model is named"),
        (None, "no model is named"),
        ("gone-model", "unknown model 'gone-model'"),
    ],
)
def test_a_wrong_name_is_told_at_its_field_and_under_it(name, told):
    form = chosen(name)
    with pytest.raises(SpecError) as error:
        forms.spec_of(form)
    (problem,) = forms.problems_of(error.value, form)
    assert (problem.element, problem.label) == ("f-model-name", "Model")
    assert told in problem.message
    assert told in unescape(model_note(name))


def test_a_model_of_unknown_sizes_trains_all_blocks_until_it_is_looked_up(hub, folder):
    hub.models["ada/five"] = folder
    form = chosen("ada/five", phase__layers={"first": 0, "last": 7, "blocks": 8})
    assert layers(form) == {"first": 0, "last": None, "blocks": 0}
    assert "all blocks" in str(notes.phase_cards(form))
    spec = forms.spec_of(form)
    assert (spec.phases[0].first_layer, spec.phases[0].last_layer) == (0, None)
    note = model_note("ada/five")
    assert "the run downloads it." in note
    assert "Look it up</button>" in note
    assert hub.asked == []
    assert looked_up("ada/five") == ""
    assert layers(forms.fit_to_model(form)) == {"first": 0, "last": 4, "blocks": 5}
    note = model_note("ada/five")
    assert "Not on this machine: the run downloads it, " in note
    assert "<button" not in note


def test_a_look_up_that_fails_is_told_and_the_run_can_still_be_queued(hub):
    told = looked_up("ada/none")
    assert "the hub has no such model" in told
    note = model_note("ada/none", told=told)
    assert "the hub has no such model" in note
    assert "<button" in note
    assert forms.spec_of(chosen("ada/none")).model.name == "ada/none"


def test_kept_models_stand_behind_the_embedded_one_as_soon_as_they_are_there(folder, tmp_path):
    before = [name for _, name in model_choices()]
    assert before == list(models())
    (tmp_path / "models").mkdir()
    download(tmp_path / "models" / "mine", num_hidden_layers=2)
    note = {"model": "tiny-olmo", "dataset": "<b>", "date": "2026-01-02T03:04:05", "scores": {}}
    (tmp_path / "models" / "mine" / "unlearnlab.json").write_text(json.dumps(note))
    assert [name for _, name in model_choices()] == ["tiny-olmo", "mine", *before[1:]]
    assert "Made by unlearnlab from tiny-olmo with the data &lt;b&gt;, 2026-01-02." in model_note(
        "mine"
    )


def test_a_large_model_in_full_precision_is_told_what_would_be_less(folder):
    (folder / "config.json").write_text(json.dumps(SIZES))
    assert "As float32 its weights take 5.1 GB" in model_note(str(folder), "float32")
    assert "As bfloat16 its weights take 2.6 GB" in model_note(str(folder), "bfloat16")
    assert model_note(str(folder), "nf4") == f"<p>{HINT}</p>"
    assert model_note("tiny-olmo", "float32") == f"<p>{HINT}</p>"


def test_what_was_typed_outlives_a_reload(folder):
    form = chosen(str(folder))
    again = forms.fit_to_model(forms.load_draft(json.loads(json.dumps(form.draft))))
    assert again.values["model.name"] == str(folder)
    (folder / "config.json").write_text(json.dumps(SIZES | {"num_hidden_layers": 7}))
    assert layers(forms.fit_to_model(again))["blocks"] == 7


def test_a_script_in_a_name_or_in_a_setting_of_a_phase_stays_text():
    evil = "<script>alert(1)</script>"
    assert "<script>" not in model_note(evil)
    html = notes.phases_html(typed(forms.first_form(), phase__learning_rate=evil))
    assert evil not in html
    assert f"learning rate {evil}" in unescape(html)


@pytest.mark.parametrize(
    ("name", "held", "here", "taken"),
    [
        ("allenai/OLMo-1B-0724-hf", "float32", GPU, "bfloat16"),
        ("ada/five", "float32", GPU, "bfloat16"),
        ("tiny-olmo", "bfloat16", GPU, "float32"),
        ("ada/five", "nf4", GPU, "nf4"),
        ("ada/five", "float32", CPU, "float32"),
        ("tiny-olmo", "bfloat16", CPU, "bfloat16"),
        ("ada/five", "float32", (), "float32"),
    ],
)
def test_a_model_of_the_hub_is_taken_in_bfloat16_on_a_gpu_and_nothing_changes_elsewhere(
    name, held, here, taken
):
    form = typed(forms.first_form(), model__name=name, model__precision=held)
    assert take_model(form, here).values["model.precision"] == taken


def test_on_the_cpu_of_a_machine_with_a_gpu_the_format_is_left_as_it_is():
    form = typed(forms.first_form(), model__name="ada/five", model__device="cpu")
    assert take_model(form, GPU).values["model.precision"] == "float32"


@pytest.mark.parametrize(
    ("here", "offered"),
    [
        ((), {}),
        (
            GPU,
            {
                "cuda:0": "cuda:0: Big GPU · 79 GiB of 80 GiB free",
                "cpu": "cpu, 8 threads · 20 GiB of 32 GiB free",
            },
        ),
        ((GPU[0], MORE, *CPU), {"all": "all GPUs · 119 GiB of 160 GiB free"}),
    ],
)
def test_devices_are_offered_with_their_free_memory_and_several_gpus_together(here, offered):
    auto, *named = [(device, words) for words, device in device_choices(here)]
    assert auto[0] == "auto"
    assert [device for device, _ in named] == (
        ["cuda:0", "cuda:1", "all", "cpu"] if len(here) > 2 else list(offered)
    )
    assert dict(named) | offered == dict(named)
