"""From folder to folder, as the task asks for it: the entry, the exported script, bad folders."""

import json
import runpy

import pandas
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine.tiny import CPU, saved
from tests.exports.results import result_of
from unlearnlab.data.files import Taken
from unlearnlab.engine.folders import read_rows, unlearn_folder
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.exports.repeat import script
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.methods.likelihood import (
    GradientAscent,
    GradientDescent,
    GradientDifference,
    Sequential,
)
from unlearnlab.spec.methods.representation import RMU
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, Phase, RunSpec

QUICK = {"max_steps": 3, "learning_rate": 0.05, "batch_size": 8}

SPECS = {
    "two phases": RunSpec(
        phases=(
            Phase(method=GradientDifference(), last_layer=0, **QUICK),
            Phase(method=GradientDescent(), **QUICK),
        )
    ),
    "lora": RunSpec(
        model=ModelSpec(adapter=LoRA(r=4)), phases=(Phase(method=GradientAscent(), **QUICK),)
    ),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return saved(tmp_path_factory.mktemp("model"), tokenizer)


@pytest.fixture
def folders(tmp_path, data):
    """The forget rows as JSONL, the retain rows as Parquet."""
    rows = {
        name: [
            {"id": r.id, "input": r.input, "output": r.output, "task": r.task}
            for r in data.rows(name)
        ]
        for name in ("forget", "retain")
    }
    for name in rows:
        (tmp_path / name).mkdir()
    text = "\n".join(json.dumps(row) for row in rows["forget"])
    (tmp_path / "forget" / "forget.jsonl").write_text(text, encoding="utf-8-sig")
    pandas.DataFrame(rows["retain"]).to_parquet(tmp_path / "retain" / "retain-00000.parquet")
    return tmp_path / "forget", tmp_path / "retain"


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def changed(folder, original):
    """List the tensors that differ."""
    before, after = weights(original), weights(folder)
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("kind", SPECS)
def test_the_output_is_a_model_that_forgot_and_otherwise_the_same(kind, model, folders, tmp_path):
    unlearn_folder(SPECS[kind], model, tmp_path / "out", *folders, device=CPU)
    assert changed(tmp_path / "out", model)
    assert not any("embed" in name for name in changed(tmp_path / "out", model))
    opened = UnlearningModel.open(tmp_path / "out", precision="float32", device=CPU)
    assert opened.tokenizer.eos_token_id == 0
    assert not opened.has_adapter


def test_the_layers_of_the_spec_are_trained_and_no_others(model, folders, tmp_path):
    spec = RunSpec(phases=(Phase(method=GradientAscent(), first_layer=1, modules="mlp", **QUICK),))
    unlearn_folder(spec, model, tmp_path / "out", *folders, device=CPU)
    assert all("layers.1.mlp" in name for name in changed(tmp_path / "out", model))


def test_the_exported_script_does_it_with_nothing_but_four_folders(model, folders, tmp_path):
    file = tmp_path / "unlearn.py"
    file.write_text(script(result_of(tmp_path / "home", SPECS["two phases"])), encoding="utf-8")
    entry = runpy.run_path(str(file))["unlearn"]
    entry(str(model), str(tmp_path / "out"), *(str(folder) for folder in folders))
    unlearn_folder(SPECS["two phases"], model, tmp_path / "again", *folders)
    assert changed(tmp_path / "out", model)
    assert not changed(tmp_path / "out", tmp_path / "again")


def test_only_the_subtasks_of_the_spec_are_forgotten(model, folders, tmp_path, caplog):
    caplog.set_level("INFO")
    spec = SPECS["lora"].model_copy(update={"data": DataSpec(tasks=("Task2",))})
    unlearn_folder(spec, model, tmp_path / "out", *folders, device=CPU)
    assert "6 forget rows, 6 retain rows" in caplog.text


def test_what_was_picked_and_which_model_was_named_does_not_matter(model, folders, tmp_path):
    spec = RunSpec(
        model=ModelSpec(name="gone"),
        data=DataSpec(source="gone", forget=("none-of-these",)),
        phases=SPECS["lora"].phases,
    )
    unlearn_folder(spec, model, tmp_path / "out", *folders, device=CPU)
    assert changed(tmp_path / "out", model)


def test_a_spec_that_does_not_fit_the_model_is_refused_before_anything_is_written(
    model, folders, tmp_path
):
    for phase, told in (
        (Phase(last_layer=5), "layer 5 is out of range: the model has blocks 0 to 1"),
        (Phase(method=RMU(layer=4)), "layer 4 is out of range"),
    ):
        with pytest.raises(SpecError, match=told):
            unlearn_folder(RunSpec(phases=(phase,)), model, tmp_path / "out", *folders, device=CPU)
    assert not (tmp_path / "out").exists()


def test_a_chunk_larger_than_the_rows_is_refused(model, folders, tmp_path):
    spec = RunSpec(phases=(Phase(method=Sequential(chunk_size=32)),))
    with pytest.raises(ValueError, match="chunk"):
        unlearn_folder(spec, model, tmp_path / "out", *folders, device=CPU)


def test_an_output_that_is_taken_or_a_model_that_is_missing_is_told(model, folders, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(Taken, match="is there already"):
        unlearn_folder(RunSpec(), model, tmp_path / "out", *folders)
    with pytest.raises(SpecError, match="there is no folder"):
        unlearn_folder(RunSpec(), tmp_path / "nowhere", tmp_path / "new", *folders)


GOOD = '{"id": "a-sc1", "input": "in", "output": "out", "task": "Task1"}\n'


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no .jsonl and no .parquet"),
        ({"a.jsonl": GOOD, "b.jsonl": GOOD}, "which file"),
        ({"a.jsonl": "{"}, "cannot be read"),
        ({"a.parquet": "not parquet"}, "cannot be read"),
        ({"a.jsonl": GOOD + '{"id": "b"}'}, "row 2: input, output, task is missing or no text"),
        ({"a.jsonl": GOOD.replace("Task1", "Task9")}, "task 'Task9' is none of Task1, Task2"),
    ],
)
def test_a_bad_folder_is_told_with_its_file_and_row(tmp_path, files, told):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        list(read_rows(tmp_path, "forget"))


def test_of_several_files_the_one_of_the_set_is_taken(tmp_path):
    (tmp_path / "forget.jsonl").write_text(GOOD)
    (tmp_path / "retain.jsonl").write_text(GOOD.replace("a-sc1", "b-sc1"))
    (tmp_path / "forget.parquet").write_text("a copy that nobody reads")
    assert [row.id for row in read_rows(tmp_path, "retain")] == ["b-sc1"]
    assert [row.id for row in read_rows(tmp_path / "forget.jsonl", "forget")] == ["a-sc1"]
    with pytest.raises(ValueError, match="there is no folder"):
        list(read_rows(tmp_path / "nowhere", "forget"))
