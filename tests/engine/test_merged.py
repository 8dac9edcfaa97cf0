"""The trained model as a folder: transformers alone opens it and says the same."""

import shutil

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.families import tiny_config, tiny_of
from tests.engine.test_loop import phase
from tests.engine.tiny import CPU, tiny_model
from unlearnlab.data import files as disk
from unlearnlab.data.files import NoRoom, Taken
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.generation import generate
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.models.families import FAMILIES
from unlearnlab.spec.methods.likelihood import GradientDifference
from unlearnlab.spec.run import EvaluationSpec, LoRA, ModelSpec, RunSpec

PROMPTS = ("alpha story 1 began on a", "Who is beta 2 in Task1?", "x")

KINDS = {
    "full": ModelSpec(),
    "full-bfloat16": ModelSpec(precision="bfloat16"),
    "lora": ModelSpec(adapter=LoRA(r=4, alpha=16)),
    "lora-int8": ModelSpec(precision="int8", adapter=LoRA(r=4, alpha=16)),
    "lora-nf4": ModelSpec(precision="nf4", adapter=LoRA(r=4, alpha=16)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    where = tmp_path_factory.mktemp("model")
    tiny_model(len(tokenizer), width=64).save_pretrained(where)
    tokenizer.save_pretrained(where)
    return where


def trained(folder, data, model: ModelSpec, **settings) -> UnlearningModel:
    """Change the weights a lot, so that answers change with them."""
    lm = UnlearningModel.open(folder, precision=model.precision, device=CPU)
    quick = {"max_steps": 2, "learning_rate": 0.1, "batch_size": 4}
    steps = phase(GradientDifference(), **quick, **settings)
    spec = RunSpec(model=model, phases=(steps,), evaluation=EvaluationSpec(probes=0))
    torch.manual_seed(0)
    lm.adapt(spec)
    list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    return lm


def said(lm: UnlearningModel) -> list[str]:
    work = generate(lm, PROMPTS, max_new_tokens=20)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return [one.text for one in end.value]


def said_by_transformers(folder) -> list[str]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        out = model.generate(**ids, max_new_tokens=20, do_sample=False)
        texts.append(
            tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        )
    return texts


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_opened_by_transformers_alone_gives_the_same_answers(
    folder, data, tmp_path, kind
):
    lm = trained(folder, data, KINDS[kind])
    with lm.original():
        before = said(lm)
    after = said(lm)
    assert after != before
    save_merged(lm, tmp_path / "merged")
    assert said_by_transformers(tmp_path / "merged") == after
    assert said(lm) == after
    with lm.original():
        assert said(lm) == before


@pytest.mark.parametrize("name", FAMILIES)
def test_the_folder_of_every_family_computes_what_the_trained_model_does(
    name, data, tokenizer, tmp_path
):
    tiny_of(tiny_config(name, len(tokenizer))).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    ids = torch.arange(5, 35)[None]
    for adapter in (None, LoRA(r=4, alpha=16)):
        lm = trained(tmp_path / "base", data, ModelSpec(adapter=adapter))
        save_merged(lm, tmp_path / "merged", replace=True)
        opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        with torch.no_grad():
            mine, its = lm.model(input_ids=ids).logits, opened(input_ids=ids).logits
            with lm.original():
                before = lm.model(input_ids=ids).logits
        assert_close(its, mine, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(before, mine, rtol=1e-3, atol=1e-3)
        assert opened.config.model_type == name


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_trained_embeddings_are_in_the_folder(data, tokenizer, tmp_path, tied):
    tiny_model(len(tokenizer), tied=tied).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    lm = trained(tmp_path / "base", data, ModelSpec(), embeddings=True)
    size = save_merged(lm, tmp_path / "merged")
    assert size == sum(p.nbytes for p in lm.model.parameters())
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    for ends in ("get_input_embeddings", "get_output_embeddings"):
        mine, its = getattr(lm.model, ends)().weight, getattr(opened, ends)().weight
        assert_close(its, mine, rtol=0, atol=0)


def test_the_folder_keeps_the_number_format_and_no_trace_of_packing(folder, data, tmp_path):
    for kind in ("full-bfloat16", "lora-nf4"):
        save_merged(trained(folder, data, KINDS[kind]), tmp_path / kind)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / kind)
        formats = {parameter.dtype for parameter in model.parameters()}
        assert formats == {torch.bfloat16 if kind == "full-bfloat16" else torch.float32}
        assert not hasattr(model.config, "quantization_config")
        assert not list((tmp_path / kind).glob("adapter*"))


def test_what_was_not_trained_is_the_same_to_the_bit(folder, data, tmp_path):
    lm = trained(folder, data, KINDS["full"])
    save_merged(lm, tmp_path / "merged")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    mine = dict(lm.model.named_parameters())
    for name, parameter in opened.named_parameters():
        assert_close(parameter, mine[name], rtol=0, atol=0)


def test_texts_lie_beside_the_weights(folder, tmp_path):
    lm = UnlearningModel.open(folder, precision="float32", device=CPU)
    size = save_merged(lm, tmp_path / "merged", texts={"README.md": "# A card\n"})
    assert (tmp_path / "merged" / "README.md").read_text() == "# A card\n"
    assert size == sum(p.nbytes for p in lm.model.parameters())


def test_a_folder_with_something_in_it_is_refused_unless_it_may_be_replaced(folder, tmp_path):
    lm = UnlearningModel.open(folder, precision="float32", device=CPU)
    there = tmp_path / "merged"
    there.mkdir()
    save_merged(lm, there)
    (there / "mine.txt").write_text("mine")
    with pytest.raises(Taken, match="merged is there already"):
        save_merged(lm, there)
    assert (there / "mine.txt").exists()
    save_merged(lm, there, replace=True)
    assert not (there / "mine.txt").exists()
    AutoModelForCausalLM.from_pretrained(there)


def test_a_full_disk_is_told_before_anything_is_written(folder, tmp_path, monkeypatch):
    lm = UnlearningModel.open(folder, precision="float32", device=CPU)
    usage = shutil.disk_usage(tmp_path)._replace(free=70 * 10**6)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoRoom, match=r"are needed .* but only 70\.0 MB are"):
        save_merged(lm, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_breaks_off_leaves_no_folder_and_the_next_one_works(
    folder, tmp_path, monkeypatch
):
    lm = UnlearningModel.open(folder, precision="float32", device=CPU)
    (tmp_path / "merged.part").mkdir()
    (tmp_path / "merged.part" / "half").write_text("")

    def broken(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(lm.tokenizer), "save_pretrained", broken)
        with pytest.raises(OSError, match="no space"):
            save_merged(lm, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []
    save_merged(lm, tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
