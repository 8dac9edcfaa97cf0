"""Where teaching and forgetting again start from."""

import json
import shutil

import pytest

from unlearnlab.data import datasets as library
from unlearnlab.data.datasets import TYPED
from unlearnlab.data.files import EMBEDDED
from unlearnlab.models import catalog
from unlearnlab.runs.estimates import estimate
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.presets import (
    asks_first,
    presets,
    taught_data,
    teach_spec,
    unlearn_spec,
    usual_template,
)
from unlearnlab.spec.run import DataSpec, ModelSpec, Phase, RunSpec, planned_steps


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Add datasets of so many forget and retain rows."""
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))

    def added(name, forget, retain, source="own files"):
        folder = library.datasets_folder() / name
        folder.mkdir(parents=True)
        for split, count in (("forget", forget), ("retain", retain)):
            rows = [
                {"id": f"{i}qa0", "input": f"Who is {i}?", "output": "Ada", "task": "Task1"}
                for i in range(count)
            ]
            text = "".join(f"{json.dumps(row)}\n" for row in rows)
            (folder / f"{split}_train.jsonl").write_text(text)
        manifest = {"title": name, "source": source, "personal": True}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return name

    return added


def test_a_dataset_is_taught_with_its_retain_rows_if_it_has_any(typed):
    spec = teach_spec(typed("both", 5, 60), keep_as="mine")
    assert (spec.data.source, spec.keep_as, spec.model.name) == ("both", "mine", "tiny-olmo")
    assert spec.taught == ("forget", "retain")
    assert teach_spec(typed("alone", 5, 0)).taught == ("forget",)


def test_a_large_model_is_taught_in_small_steps(typed):
    name = typed("data", 5, 5)
    assert teach_spec(name, model="olmo-1b").phases[0].learning_rate < 1e-4
    assert teach_spec(name).phases[0].learning_rate > 1e-4


@pytest.mark.parametrize(("rows", "steps"), [(1, 40), (5, 40), (10, 42), (20, 50), (100, 250)])
def test_a_handful_of_facts_gets_steps_enough_to_be_forgotten(typed, rows, steps):
    spec = unlearn_spec("tiny-olmo", typed("data", rows, 60))
    assert isinstance(spec.phases[0].method, NPO)
    assert planned_steps(spec) == (steps,)
    assert spec.phases[0].blocks(8) == range(3)


def test_presets_are_listed_model_after_model_and_say_which_in_their_titles():
    listed = list(presets().values())
    order = [one.spec.model.name for one in listed]
    assert [*dict.fromkeys(order)] == [name for name in catalog.models() if name in order]
    assert order == sorted(order, key=list(catalog.models()).index)
    titles = [one.title for one in listed]
    assert len({*titles}) == len(titles)
    for one in listed:
        if not one.embedded:
            assert one.title.endswith(catalog.model(one.spec.model.name).title)


def test_every_small_model_has_a_preset_that_says_how_far_it_was_tested():
    for model in catalog.SMALL_MODELS:
        own = [one for one in presets().values() if one.spec.model.name == model.name]
        assert own, model.name
        assert all(one.source.startswith(("Not tested here", "Tried once")) for one in own)


@pytest.mark.parametrize("name", ["qwen3-0.6b-npo", "llama-3.2-1b-npo"])
def test_a_preset_for_a_gpu_of_8_gb_fits_it(name):
    assert estimate(presets()[name].spec, cuda=True, memory=8 * 10**9).peak.total < 7 * 10**9


@pytest.mark.parametrize("name", [name for name in presets() if "135m" in name or "160m" in name])
def test_a_preset_for_a_laptop_fits_it(name):
    assert estimate(presets()[name].spec, memory=8 * 10**9).peak.total < 7 * 10**9


def test_a_kept_model_knows_what_it_was_taught(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no run has kept a model called 'mine'"):
        taught_data("mine")
    (tmp_path / "mine" / catalog.MODEL_NOTE).write_text('{"dataset": "data"}')
    assert taught_data("mine") == "data"


def kept(folder, name, **note):
    """Keep a model by its note alone."""
    (folder / name).mkdir()
    shutil.copy(EMBEDDED / "original" / "config.json", folder / name)
    (folder / name / catalog.MODEL_NOTE).write_text(json.dumps(note))


def test_typed_facts_and_what_is_taught_go_through_a_template_and_the_tasks_data_do_not(typed):
    facts, files = typed("facts", 2, 0, TYPED), typed("files", 2, 0)
    assert usual_template(facts, "tiny-olmo") == "auto"
    assert usual_template(files, "tiny-olmo") == usual_template("embedded", "tiny-olmo") == "off"
    assert teach_spec(files).data.chat_template == "auto"
    assert RunSpec().data.chat_template == "off"


def test_a_model_is_asked_as_it_was_taught(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    facts, files = typed("facts", 2, 0, TYPED), typed("files", 2, 0)
    kept(tmp_path / "models", "chat", dataset=files, template="0123")
    kept(tmp_path / "models", "plain", dataset=facts, template="")
    assert unlearn_spec("chat", files).data.chat_template == "auto"
    assert unlearn_spec("plain", facts).data.chat_template == "off"
    assert usual_template(facts, "chat") == "auto"


def test_a_model_is_asked_what_it_knows_unless_it_was_taught_it(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    files = typed("files", 2, 0)
    kept(tmp_path / "models", "taught", dataset=files, taught="forget,retain")
    kept(tmp_path / "models", "early", dataset=files)
    kept(tmp_path / "models", "unlearned", dataset=files, taught="")
    kept(tmp_path / "models", "other", dataset="other", taught="forget")

    def asks(model="tiny-olmo", source=files, **data):
        spec = RunSpec(model=ModelSpec(name=model), data=DataSpec(source=source, **data))
        return asks_first(spec)

    assert not asks(source="embedded")
    assert asks()
    assert not asks(unknown_rows="keep")
    assert {name: asks(name) for name in ("taught", "early", "unlearned", "other")} == {
        "taught": False,
        "early": False,
        "unlearned": True,
        "other": True,
    }
    assert asks("taught", unknown_rows="leave_out")
    data = DataSpec(source=files)
    assert not asks_first(RunSpec(data=data, phases=(Phase(method=Memorize()),)))
    assert not asks_first(RunSpec(data=data, phases=()))


def test_a_name_that_is_taken_cannot_be_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert "is there already" in catalog.save_name_problem("mine")
    assert "of the catalog" in catalog.save_name_problem("olmo-7b")
    assert catalog.save_name_problem("another") == ""


@pytest.mark.parametrize("make", [teach_spec, lambda data, model: unlearn_spec(model, data)])
def test_a_model_with_a_short_context_gets_shorter_answers(typed, tmp_path, monkeypatch, make):
    sizes = {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 64,
    }
    folder = tmp_path / "models" / "short"
    folder.mkdir(parents=True)
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(folder.parent))
    (folder / "config.json").write_text(json.dumps(sizes | {"max_position_embeddings": 100}))
    assert make(typed("data", 5, 60), model=str(folder)).evaluation.max_new_tokens == 50
    assert make("data", model="tiny-olmo").evaluation.max_new_tokens == 256


def test_a_name_that_cannot_be_one_is_told_without_a_traceback(typed):
    with pytest.raises(SpecError, match="at most 41 lower-case letters"):
        teach_spec(typed("data", 5, 5), keep_as="No Name")
