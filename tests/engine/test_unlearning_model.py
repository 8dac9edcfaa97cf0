"""One copy of the weights: what is trained, what stays, what is saved, and the way back."""

import re
import shutil

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.tiny import (
    CPU,
    finish,
    logits,
    only,
    phase,
    saved,
    spec_of,
    steps,
    tiny_config,
    tiny_lm,
    tiny_model,
    tiny_of,
    train_on,
)
from unlearnlab.data import files as disk
from unlearnlab.data.files import NoRoom, Taken
from unlearnlab.engine.generation import generate
from unlearnlab.engine.unlearning_model import UnlearningModel, fingerprint, save_merged
from unlearnlab.exports.pack_file import Adapter
from unlearnlab.models.families import FAMILIES
from unlearnlab.runs.events import PhaseBegan
from unlearnlab.spec.methods.likelihood import (
    GradientAscent,
    GradientDescent,
    GradientDifference,
    TiesMerge,
)
from unlearnlab.spec.run import RESERVED, LoRA, ModelSpec, Phase, RunSpec


def disturb(parameters) -> None:
    for parameter in parameters:
        parameter.data.add_(0.1)


@pytest.mark.parametrize(
    ("phase", "trained"),
    [
        (
            Phase(modules="mlp", first_layer=1, last_layer=1),
            {"layers.1.mlp.gate_proj", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj"},
        ),
        (Phase(modules="down_proj"), {"layers.0.mlp.down_proj", "layers.1.mlp.down_proj"}),
        (
            Phase(modules="attention", last_layer=0),
            {f"layers.0.self_attn.{m}_proj" for m in "qkvo"},
        ),
        (Phase(modules="down_proj", last_layer=0, embeddings=True),
         {"layers.0.mlp.down_proj", "embed_tokens"}),
    ],
)  # fmt: skip
def test_a_phase_trains_what_its_layers_and_modules_say_and_nothing_else(lm, phase, trained):
    lm.train_only(phase)
    assert trained_names(lm) == {f"model.{name}.weight" for name in trained}


def test_inside_original_the_model_is_as_it_was_and_outside_as_it_became(lm):
    before = logits(lm)
    disturb(lm.train_only(Phase(modules="mlp")))
    after = logits(lm)
    with lm.original():
        assert torch.equal(logits(lm), before)
        assert not torch.is_grad_enabled()
    assert torch.equal(logits(lm), after)
    assert not torch.equal(before, after)


def test_the_original_survives_a_failure_inside_and_a_second_phase(lm):
    before = logits(lm)
    disturb(lm.train_only(Phase(modules="mlp", last_layer=0)))
    with pytest.raises(ZeroDivisionError), lm.original():
        raise ZeroDivisionError
    disturb(lm.train_only(Phase(modules="attention", first_layer=1)))
    with lm.original():
        assert torch.equal(logits(lm), before)


def test_swapping_copies_nothing(lm):
    parameters = lm.train_only(Phase(modules="mlp"))
    places = [p.data_ptr() for p in parameters]
    with lm.original():
        assert all(p.data_ptr() != place for p, place in zip(parameters, places, strict=True))
    assert [p.data_ptr() for p in parameters] == places


TWO = Phase(modules="attention", last_layer=0), Phase(modules="mlp", last_layer=1)


def adapted(tokenizer, *phases: Phase) -> tuple[UnlearningModel, RunSpec]:
    lm, spec = tiny_lm(tokenizer), spec_of(*phases, adapter=LoRA(r=2, alpha=2))
    lm.adapt(spec)
    return lm, spec


def restored(tokenizer, folder) -> UnlearningModel:
    lm = tiny_lm(tokenizer)
    lm.restore(folder)
    return lm


def trained_names(lm) -> set[str]:
    return {name for name, parameter in lm.model.named_parameters() if parameter.requires_grad}


def test_with_an_adapter_a_phase_trains_its_low_rank_matrices_only(tokenizer):
    lm, spec = adapted(tokenizer, *TWO)
    lm.train_only(spec.phases[0])
    names = trained_names(lm)
    assert len(names) == 8
    assert all(".layers.0.self_attn." in name and "lora_" in name for name in names)
    with lm.original():
        pass
    assert trained_names(lm) == names, "looking at the original changes nothing"


def test_a_phase_begins_without_gradients_of_the_one_before(lm):
    for parameter in lm.train_only(Phase(modules="mlp")):
        parameter.grad = torch.ones_like(parameter)
    lm.train_only(Phase(modules="mlp", last_layer=0))
    assert all(parameter.grad is None for parameter in lm.model.parameters())


@pytest.mark.parametrize("kind", ["full", "lora", "named", "packed"])
def test_what_was_saved_brings_back_the_unlearned_model_beside_the_original(
    tokenizer, tmp_path, kind
):
    phases = (*TWO, phase(GradientAscent(), adapter_name="under")) if kind == "named" else TWO
    lm, spec = (
        adapted(tokenizer, *phases) if kind != "full" else (tiny_lm(tokenizer), spec_of(*TWO))
    )
    before = logits(lm)
    disturb(lm.train_only(spec.phases[-1]))
    after = logits(lm)
    assert not torch.equal(after, before)
    weights = lm.save(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".safetensors"] == [weights]
    if kind == "packed":  # Its configuration went through a pack of runs.
        config = weights.with_name("adapter_config.json")
        packed = Adapter.model_validate_json(config.read_bytes())
        config.write_text(packed.model_dump_json(), encoding="utf-8")
    for one in (lm, restored(tokenizer, tmp_path)):
        assert_close(logits(one), after, rtol=0, atol=0 if kind == "full" else 1e-6)
        with one.original():
            assert torch.equal(logits(one), before)


def test_weights_of_another_model_are_refused(lm, tokenizer, tmp_path):
    lm.train_only(Phase(modules="mlp"))
    lm.save(tmp_path)
    for other in (
        tiny_model(len(tokenizer), width=32),
        tiny_model(len(tokenizer), blocks=1),
    ):
        fresh = UnlearningModel(other, tokenizer, device=CPU)
        before = logits(fresh)
        with pytest.raises(ValueError, match="belong to another model"):
            fresh.restore(tmp_path)
        assert torch.equal(logits(fresh), before)


def test_a_run_that_left_no_weights_says_so(lm, tmp_path):
    with pytest.raises(ValueError, match="this run left no weights"):
        lm.restore(tmp_path)


def test_a_fingerprint_tells_clean_weights_from_touched_ones(tokenizer):
    model = tiny_model(len(tokenizer))
    clean = fingerprint(model)
    assert clean == fingerprint(tiny_model(len(tokenizer)))
    dict(model.named_parameters())["model.layers.1.mlp.up_proj.weight"].data[0, 0] += 1e-6
    assert fingerprint(model) != clean


def test_a_model_that_is_not_here_says_why():
    with pytest.raises(ValueError, match="olmo-1b"):
        UnlearningModel.load(ModelSpec(name="olmo-1b"), device=CPU)


LAYER = "base_model.model.model.layers.0.mlp.up_proj"


def factors(lm: UnlearningModel, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
    parameters = dict(lm.model.named_parameters())
    down, up = (parameters[f"{LAYER}.lora_{side}.{adapter}.weight"].data for side in "AB")
    return down, up


def two_adapters(tokenizer) -> UnlearningModel:
    phases = [phase(GradientAscent(), adapter_name=name) for name in ("over", "under")]
    lm, spec = adapted(tokenizer, *phases, phase(TiesMerge()))
    for one in spec.phases[:2]:
        lm.train_only(one)
    return lm


def test_each_named_adapter_starts_at_the_original_weights_and_at_the_same_matrices(tokenizer):
    lm = two_adapters(tokenizer)
    before = logits(lm)
    assert torch.equal(before, logits(tiny_lm(tokenizer)))
    assert torch.equal(factors(lm, "over")[0], factors(lm, "under")[0])
    lm.train_only(phase(GradientAscent(), adapter_name="over"))
    factors(lm, "over")[1].fill_(1.0)
    assert not torch.equal(logits(lm), before)
    trained = lm.train_only(phase(GradientAscent(), adapter_name="under"))
    assert torch.equal(logits(lm), before)
    names = trained_names(lm)
    assert len(names) == len(trained) == 28
    assert all(name.endswith(".under.weight") for name in names)


def test_ties_drops_small_entries_elects_signs_and_averages_what_agrees(tokenizer):
    lm = two_adapters(tokenizer)
    over, under = (factors(lm, name)[0].zero_() for name in ("over", "under"))
    # Density 0.25 of 2 x 16 entries keeps the 8 largest of each.
    over[0, :8] = torch.tensor([4.0, 4, 4, 4, 3, 3, 3, 3])
    over[1, :8] = 0.1
    under[0, :8] = torch.tensor([1.0, 1, -1, -5, 2, 2, 2, 2])
    lm.merge("merged", combination="ties", density=0.25)
    merged = factors(lm, "merged")[0]
    assert_close(merged[0, :8], torch.tensor([2.5, 2.5, 4, -5, 2.5, 2.5, 2.5, 2.5]))
    assert not merged[1].any()


def test_linear_merging_adds_up_the_factors(tokenizer):
    lm = two_adapters(tokenizer)
    for value, name in enumerate(("over", "under"), 1):
        factors(lm, name)[1].fill_(value)
    lm.merge("merged", combination="linear", density=1.0)
    assert_close(factors(lm, "merged")[0], 2 * factors(lm, "over")[0])
    assert_close(factors(lm, "merged")[1], torch.full((32, 2), 3.0))


@pytest.mark.parametrize("combination", ["ties", "linear", "dare_ties", "magnitude_prune"])
def test_a_run_that_ends_in_a_merge_saves_the_merged_adapter_alone(
    tokenizer, data, tmp_path, combination
):
    parts = [
        phase(GradientAscent(), adapter_name=name, epochs=epochs)
        for epochs, name in ((2, "over"), (1, "under"))
    ]
    lm, spec = adapted(tokenizer, *parts, phase(TiesMerge(combination=combination)))
    before = logits(lm)
    events = list(train_on(lm, spec, data))
    began = only(events, PhaseBegan)
    assert [(b.steps, b.total_steps) for b in began] == [(6, 9), (3, 9), (0, 9)]
    assert len(steps(events)) == 9
    after = logits(lm)
    with lm.original():
        assert torch.equal(logits(lm), before)
    assert lm.save(tmp_path).is_file()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    opened = restored(tokenizer, tmp_path)
    assert_close(logits(opened), after)
    with opened.original():
        assert torch.equal(logits(opened), before)


def test_a_merged_adapter_can_be_trained_on(tokenizer, data):
    parts = [phase(GradientAscent(), adapter_name=name, epochs=1) for name in ("over", "under")]
    repair = phase(GradientDescent(), epochs=1)
    lm, spec = adapted(tokenizer, *parts, phase(TiesMerge()), repair)
    list(train_on(lm, spec, data))
    assert {name.split(".")[-2] for name in trained_names(lm)} == {"default"}


def test_adapters_are_not_called_as_attributes_of_torch_or_parts_of_the_model(tokenizer):
    parts = {
        part
        for name, _ in two_adapters(tokenizer).model.named_parameters()
        for part in name.split(".")
    } - {"over", "under"}
    taken = set(dir(torch.nn.ModuleDict())) | parts
    assert {name for name in taken if re.fullmatch("[a-z][a-z0-9-]{0,31}", name)} <= RESERVED


def test_a_phase_may_choose_the_rank_of_its_adapter(tokenizer):
    lm, spec = adapted(
        tokenizer, phase(GradientAscent(), adapter_rank=5, modules="down_proj", last_layer=0)
    )
    shapes = {tuple(parameter.shape) for parameter in lm.train_only(spec.phases[0])}
    assert shapes == {(5, 32), (16, 5)}


PROMPTS = ("alpha story 1 began on a", "Who is beta 2 in Task1?", "x")

LORA = LoRA(r=4, alpha=16)

KINDS = {
    "full": ModelSpec(),
    "full-bfloat16": ModelSpec(precision="bfloat16"),
    "lora": ModelSpec(adapter=LORA),
    "lora-int8": ModelSpec(precision="int8", adapter=LORA),
    "lora-nf4": ModelSpec(precision="nf4", adapter=LORA),
}


def trained(folder, data, model: ModelSpec, **settings) -> UnlearningModel:
    """Change the weights a lot, so that answers change with them."""
    lm = UnlearningModel.open(folder, precision=model.precision, device=CPU)
    quick = {"max_steps": 2, "learning_rate": 0.1, "batch_size": 4}
    spec = spec_of(phase(GradientDifference(), **quick, **settings), **dict(model))
    torch.manual_seed(0)
    lm.adapt(spec)
    list(train_on(lm, spec, data))
    return lm


def said(lm: UnlearningModel) -> list[str]:
    return [one.text for one in finish(generate(lm, PROMPTS, max_new_tokens=20))[1]]


def said_by(model, tokenizer) -> list[str]:
    texts = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        out = model.generate(**ids, max_new_tokens=20, do_sample=False)
        texts.append(
            tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        )
    return texts


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_opened_by_transformers_alone_gives_the_same_answers(wide, data, tmp_path, kind):
    lm = trained(wide, data, KINDS[kind])
    with lm.original():
        before = said(lm)
    after = said(lm)
    assert after != before
    save_merged(lm, tmp_path / "merged")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert said_by(opened, AutoTokenizer.from_pretrained(tmp_path / "merged")) == after
    assert said(lm) == after
    with lm.original():
        assert said(lm) == before
    number_format = torch.bfloat16 if kind == "full-bfloat16" else torch.float32
    assert {parameter.dtype for parameter in opened.parameters()} == {number_format}
    assert not hasattr(opened.config, "quantization_config")
    assert not list((tmp_path / "merged").glob("adapter*"))
    if KINDS[kind].adapter is None:
        mine = dict(lm.model.named_parameters())
        for name, parameter in opened.named_parameters():
            assert_close(parameter, mine[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_folder_of_every_family_computes_what_the_trained_model_does(
    name, data, tokenizer, tmp_path
):
    saved(tmp_path / "base", tokenizer, tiny_of(tiny_config(name, len(tokenizer))))
    ids = torch.arange(5, 35)[None]
    for adapter in (None, LORA):
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
    saved(tmp_path / "base", tokenizer, tied=tied)
    lm = trained(tmp_path / "base", data, ModelSpec(), embeddings=True)
    size = save_merged(lm, tmp_path / "merged")
    assert size == sum(p.nbytes for p in lm.model.parameters())
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    for ends in ("get_input_embeddings", "get_output_embeddings"):
        mine, its = getattr(lm.model, ends)().weight, getattr(opened, ends)().weight
        assert_close(its, mine, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_names_no_place_of_this_machine(wide, data, tmp_path, kind):
    save_merged(trained(wide, data, KINDS[kind]), tmp_path / "merged")
    for path in (tmp_path / "merged").iterdir():
        assert str(wide.parent).encode() not in path.read_bytes(), path.name


def test_texts_lie_beside_the_weights(wide, tmp_path):
    lm = UnlearningModel.open(wide, precision="float32", device=CPU)
    size = save_merged(lm, tmp_path / "merged", texts={"README.md": "# A card\n"})
    assert (tmp_path / "merged" / "README.md").read_text() == "# A card\n"
    assert size == sum(p.nbytes for p in lm.model.parameters())


def test_a_folder_with_something_in_it_is_refused_unless_it_may_be_replaced(wide, tmp_path):
    lm = UnlearningModel.open(wide, precision="float32", device=CPU)
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


def test_a_full_disk_is_told_before_anything_is_written(wide, tmp_path, monkeypatch):
    lm = UnlearningModel.open(wide, precision="float32", device=CPU)
    usage = shutil.disk_usage(tmp_path)._replace(free=70 * 10**6)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoRoom, match=r"are needed .* but only 70\.0 MB are"):
        save_merged(lm, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_breaks_off_leaves_no_folder_and_the_next_one_works(
    wide, tmp_path, monkeypatch
):
    lm = UnlearningModel.open(wide, precision="float32", device=CPU)
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
