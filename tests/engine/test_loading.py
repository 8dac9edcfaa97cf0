"""From a name to a model on a device: what is refused and how, what is fetched, what stops it."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.engine.tiny import CPU, changed, copied, finish, logits, only, saved
from unlearnlab.data.background import GivenUp
from unlearnlab.engine import loading
from unlearnlab.engine.device_engine import DeviceEngine, opened
from unlearnlab.engine.loading import (
    best_device,
    check_memory,
    devices,
    lock_name,
    refuse_run,
    resolve_device,
    weight_bytes,
)
from unlearnlab.engine.training import Clock
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.models import catalog
from unlearnlab.runs.engine_api import Job, RunFailed
from unlearnlab.runs.events import Progressed, StageBegan
from unlearnlab.spec.run import (
    EvaluationSpec,
    LoRA,
    ModelSpec,
    Phase,
    RunSpec,
    SpecError,
    parse_spec,
)
from unlearnlab.spec.trace import TraceSpec

MPS = torch.device("mps")


def test_devices_have_names_and_memory():
    found = devices()
    assert found[-1].id == "cpu"
    assert "thread" in found[-1].name
    for device in found:
        assert 0 < device.free <= device.total
        assert resolve_device(device.id) == torch.device(device.id)


def test_a_gpu_has_one_name_in_all_processes_however_they_number_it(monkeypatch):
    class Properties:
        uuid = "0f3a"

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    assert [lock_name(device) for device in ("cuda:1", "cpu", "mps")] == ["gpu-0f3a", "cpu", "mps"]
    monkeypatch.delattr(Properties, "uuid")
    assert lock_name("cuda:1") == "cuda:1", "an older torch does not tell"


def test_auto_takes_the_best():
    assert resolve_device("auto") == best_device()


@pytest.mark.parametrize("wish", ["cuda:77", "all", "mps"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(wish, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^model\.device: .* which has cpu \(cpu, \d+ thread"):
        resolve_device(wish)


@pytest.mark.parametrize("wish", ["gpu", "cuda:", "", "cuda:-1"])
def test_a_name_that_is_no_devices_is_refused_in_the_spec(wish):
    with pytest.raises(SpecError, match=rf"^model\.device: no device is called '{wish}'"):
        parse_spec({"model": {"device": wish}})


@pytest.mark.parametrize(
    ("device", "model", "optimizer", "told"),
    [
        (CPU, {}, "paged_adamw_8bit", r"phases\.0\.optimizer: .*on cpu: use adamw_8bit or adamw"),
        (MPS, {}, "adamw_8bit", r"phases\.0\.optimizer: .*on mps: use adamw"),
        (MPS, {"precision": "int8", "adapter": LoRA()}, "adamw", r"model\.precision: .* use nf4"),
    ],
)
def test_what_a_device_cannot_do_is_refused_with_the_way_out(device, model, optimizer, told):
    spec = RunSpec(model=ModelSpec(**model), phases=(Phase(optimizer=optimizer),))
    with pytest.raises(ValueError, match=f"^{told}"):
        refuse_run(spec, device)


def test_what_a_device_can_do_is_not_refused():
    model = ModelSpec(precision="int8", adapter=LoRA())
    refuse_run(RunSpec(model=model, phases=(Phase(optimizer="adamw_8bit"),)), CPU)
    paged = RunSpec(phases=(Phase(optimizer="paged_adamw_8bit"),))
    refuse_run(paged, torch.device("cuda"))


def test_a_run_that_its_device_cannot_do_ends_before_the_model_is_loaded(tmp_path):
    engine = DeviceEngine(lambda key: None, device=CPU)
    spec = RunSpec(phases=(Phase(optimizer="paged_adamw_8bit"),))
    with pytest.raises(ValueError, match=r"^phases\.0\.optimizer"):
        list(engine.unlearn(Job("one", spec, tmp_path)))


def test_an_engine_names_the_device_that_a_run_asks_for():
    engine = DeviceEngine(lambda key: None, device=CPU)
    assert engine.device_name("auto") == engine.device_name("cpu") == devices()[-1].name
    with pytest.raises(ValueError, match="not on this machine"):
        engine.device_name("cuda:77")
    assert TraceSpec(model=ModelSpec(device="cpu")).model.device == "cpu"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tokenizer):
    return saved(tmp_path_factory.mktemp("whole") / "model", tokenizer)


@pytest.fixture
def folder(whole, tmp_path):
    return copied(whole, tmp_path / "model")


def load(folder) -> UnlearningModel:
    return UnlearningModel.load(ModelSpec(name=str(folder)), device=CPU)


def opening(name, **phase):
    short = EvaluationSpec(max_new_tokens=8)
    model = ModelSpec(name=str(name))
    spec = RunSpec(model=model, phases=(Phase(**phase),), evaluation=short)
    return opened(spec, device=CPU, clock=Clock())


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def headless(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(b"x" * len(weights.read_bytes()))


def without_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))


def bad_index(folder):
    (folder / "model.safetensors.index.json").write_text("{}")


def config(**values):
    return lambda folder: changed(folder / "config.json", **values)


def tokens(**values):
    return lambda folder: changed(folder / "tokenizer_config.json", **values)


def without_eos(folder):
    tokens(eos_token=None)(folder)
    config(eos_token_id=None)(folder)
    changed(folder / "generation_config.json", eos_token_id=None)


def larger_tokenizer(folder):
    words = AutoTokenizer.from_pretrained(folder)
    words.add_tokens([f"<{number}>" for number in range(9)])
    words.save_pretrained(folder)


def weights(change):
    def spoil(folder):
        path = folder / "model.safetensors"
        found = load_file(path)
        change(found)
        save_file(found, path, metadata={"format": "pt"})

    return spoil


def one_nan(found):
    found["model.layers.1.mlp.up_proj.weight"][3, 4] = math.nan


def overflowing(found):
    for name in ("up", "down"):
        found[f"model.layers.1.mlp.{name}_proj.weight"] *= 1e30


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def lost(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (pickled, r"holds only pickled weights \(pytorch_model.bin\).* choose a model with safe"),
        (lost("model.safetensors"), "holds no weights as model.safetensors"),
        (cut, r"model.safetensors is damaged \(it holds .*: copy or download it again"),
        (headless, r"model.safetensors is damaged \(its header is cut off\)"),
        (without_a_shard, r"lacks 1 of the 2 files of its weights \(model-00002-of-00002"),
        (bad_index, "model.safetensors.index.json is damaged"),
        (text("config.json", "{"), "config.json is not JSON"),
        (text("config.json", "[]"), "config.json holds no config"),
        (config(model_type="bert"), "model_type 'bert': not a supported family; supported are"),
        (config(model_type=None), "config.json names no model_type"),
        (config(model_type="zork", auto_map={"AutoConfig": "z.Z"}), "is never run here"),
        (config(architectures=["LlamaForSequenceClassification"]), "not a causal language model"),
        (config(quantization_config={"quant_method": "gptq"}), r"already quantized \(gptq\)"),
        (config(num_hidden_layers=3), r"weights lack 7 .*\(model.layers.2.*download or copy"),
        (config(intermediate_size=8), "weights have other shapes for"),
        (lost("tokenizer.json"), "holds no tokenizer"),
        (text("tokenizer.json", "{"), "cannot be loaded"),
        (without_eos, "no EOS token.*set eos_token in tokenizer_config.json"),
        (weights(one_nan), r"broken: model\.layers\.1\.mlp\.up_proj\.weight holds .* nan or inf"),
        (weights(overflowing), "as float32, block 1 gives nan or infinite .* take another model"),
        (larger_tokenizer, r"the tokenizer knows 2057 tokens.* 2048 rows.* token 2048, '<0>'"),
        (config(tie_word_embeddings=False), r"the weights hold none \(lm_head.weight\)"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_a_model_says_why_and_what_to_do(folder, spoil, told):
    spoil(folder)
    with pytest.raises(ValueError, match=f"(?s){told}"):
        load(folder)


def test_a_weight_that_is_nan_is_found_before_it_is_packed(wide, tmp_path):
    folder = copied(wide, tmp_path / "model")
    weights(one_nan)(folder)
    for precision in ("int8", "nf4"):
        with pytest.raises(ValueError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds"):
            UnlearningModel.open(folder, precision=precision, device=CPU)


def test_a_whole_folder_answers_like_the_model_that_was_saved(folder):
    lm = load(folder)
    assert lm.context == 256
    assert lm.model.config.num_hidden_layers == 2
    assert lm.tokenizer.eos_token_id == 0


def test_without_a_padding_token_the_end_of_text_pads(folder):
    tokens(pad_token=None)(folder)
    assert load(folder).tokenizer.pad_token_id == 0


def test_an_end_of_text_that_only_the_config_names_will_do(folder):
    tokens(eos_token=None)(folder)
    assert load(folder).tokenizer.eos_token_id == 0


def test_an_end_of_text_that_only_the_generation_config_names_will_do(folder):
    without_eos(folder)
    changed(folder / "generation_config.json", eos_token_id=[0, 5])
    lm = load(folder)
    assert lm.tokenizer.eos_token_id == 0
    assert lm.ends == {0, 5}
    assert lm.notes[0].startswith("Answers end at any of its end tokens: ")


def test_a_head_unlike_the_embeddings_is_kept_told_and_written_again(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    own = -weights["model.embed_tokens.weight"]
    save_file(weights | {"lm_head.weight": own}, folder / "model.safetensors", {"format": "pt"})
    lm = load(folder)
    assert lm.model.get_output_embeddings().weight.equal(own)
    assert any("a head of their own" in note for note in lm.notes)
    save_merged(lm, tmp_path / "written")
    again = load(tmp_path / "written")
    assert again.model.get_output_embeddings().weight.equal(own)
    assert logits(again).equal(logits(lm))
    assert again.notes == (), "its config says so now"


def test_pickled_weights_beside_safetensors_are_never_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    (folder / "modeling_olmo.py").write_text("raise SystemExit")
    load(folder)


def test_weights_that_do_not_fit_the_memory_are_refused_with_what_would_fit(folder, monkeypatch):
    known = catalog.model(str(folder))
    full, half = (weight_bytes(known, name, CPU) for name in ("float32", "bfloat16"))
    assert full == 2 * half
    monkeypatch.setattr(loading, "free_memory", lambda *_, **__: full - 1)
    with pytest.raises(RunFailed, match="not enough memory: the weights of model take") as failed:
        check_memory(known, "float32", CPU)
    assert "use bfloat16" in failed.value.advice
    check_memory(known, "bfloat16", CPU)
    monkeypatch.setattr(loading, "free_memory", lambda *_, **__: 10)
    with pytest.raises(RunFailed) as failed:
        check_memory(known, "nf4", CPU)
    assert "smaller model" in failed.value.advice


def test_four_bits_pack_the_blocks_and_nothing_else(folder):
    known, gpu = catalog.model(str(folder)), torch.device("cuda")
    sizes = known.architecture
    blocks, rest = 2 * sizes.block_parameters("all"), sizes.embedding_parameters
    assert weight_bytes(known, "nf4", gpu) == int(blocks * 0.5625 + rest * 2)
    assert weight_bytes(known, "nf4", CPU) == int(blocks * 0.5625 + rest * 4)


def test_loading_tells_its_progress_and_ends_with_the_model(folder):
    seen, lm = finish(opening(folder))
    assert isinstance(seen[0], StageBegan)
    assert seen[0].stage == "loading"
    assert isinstance(lm, UnlearningModel)
    told = only(seen, Progressed)
    assert all(event.unit == "tensors" for event in told)


def test_loading_can_be_given_up_between_two_tensors(folder):
    def report(done, total):
        seen.append(done)
        if done == 3:
            raise GivenUp

    seen = []
    with pytest.raises(GivenUp):
        UnlearningModel.load(ModelSpec(name=str(folder)), report, device=CPU)
    assert seen == [0, 1, 2, 3]


def test_a_model_of_the_hub_is_fetched_by_its_run_and_found_afterwards(hub, folder):
    hub.models["ada/tiny"] = folder
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    assert catalog.model("ada/tiny").to_download == (("ada/tiny", False),)
    seen, lm = finish(opening("ada/tiny"))
    stages = [event.stage for event in only(seen, StageBegan)]
    assert stages == ["downloading", "loading"]
    assert lm.model.config.num_hidden_layers == 2
    asked = " ".join(hub.asked)
    assert "model.safetensors" in asked
    assert not any(name in asked for name in ("pytorch_model", "modeling", "onnx"))
    hub.asked.clear()
    assert catalog.model("ada/tiny").to_download == ()
    finish(opening("ada/tiny"))
    assert hub.asked == []


def test_a_spec_is_checked_again_once_the_sizes_of_a_fetched_model_are_known(hub, folder):
    hub.models["ada/tiny"] = folder
    with pytest.raises(ValueError, match="layer 7 is out of range: the model has blocks 0 to 1"):
        finish(opening("ada/tiny", last_layer=7))


def test_a_download_tells_megabytes_and_stops_in_the_middle_of_a_file(hub, folder):
    (folder / "model.safetensors").write_bytes(bytes(8 << 20))
    hub.models["ada/big"], hub.pause_s = folder, 0.02
    run = opening("ada/big")
    for event in run:
        if isinstance(event, Progressed) and event.done:
            assert (event.total, event.unit) == (9, "MB")
            break
    run.close()
    cache = [path.name for path in (folder.parent / "hub-cache").rglob("*")]
    assert not any(name.endswith(".incomplete") for name in cache)
    assert catalog.model("ada/big").to_download


def test_weights_and_tokenizer_may_come_from_two_repositories(hub, folder, tmp_path, monkeypatch):
    words = copied(folder, tmp_path / "words")
    hub.models |= {"ada/weights": folder, "ada/words": words}
    lost("tokenizer.json", "tokenizer_config.json")(folder)
    known = replace(catalog.model("ada/weights"), name="two", tokenizer="ada/words")
    monkeypatch.setattr(catalog, "models", lambda: {"two": known})
    assert known.to_download == (("ada/weights", False), ("ada/words", True))
    _, lm = finish(opening("two"))
    assert lm.tokenizer.eos_token_id == 0
    assert known.to_download == ()
    assert known.tokenizer_folder != known.folder
    assert "GET ada/words/resolve/main/model.safetensors" not in hub.asked


@pytest.mark.parametrize(
    ("arrange", "told"),
    [
        (lambda hub, _: hub.models.clear(), "the hub has no such model, or it is private"),
        (lambda hub, _: hub.gated.add("ada/tiny"), "its owners grant access on request.*HF_TOKEN"),
        (lambda hub, _: setattr(hub, "broken", 503), "answered with status 503: try again later"),
        (lambda _, folder: pickled(folder), "ada/tiny holds only pickled weights"),
        (lambda _, folder: lost("config.json")(folder), "it has no config.json"),
    ],
)
def test_a_hub_that_does_not_give_a_model_says_why_and_what_to_do(hub, folder, arrange, told):
    hub.models["ada/tiny"] = folder
    arrange(hub, folder)
    with pytest.raises(ValueError, match=f"(?s){told}"):
        finish(opening("ada/tiny"))


def test_without_a_connection_the_model_and_the_way_out_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"model 'ada/none': the hub cannot be reached.*copy on"):
        finish(opening("ada/none"))


def test_a_forbidden_hub_is_not_asked(hub, monkeypatch):
    monkeypatch.delenv("UNLEARNLAB_MAY_ASK_HUB")
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE"):
        finish(opening("ada/tiny"))
    assert hub.asked == []


def test_the_hub_is_closed_again_once_a_model_was_fetched(hub, folder):
    hub.models["ada/tiny"] = folder
    finish(opening("ada/tiny"))
    assert constants.HF_HUB_OFFLINE is True


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(hub, folder, monkeypatch):
    hub.models["ada/tiny"] = folder
    full = SimpleNamespace(total=10, used=10, free=0)
    monkeypatch.setattr("unlearnlab.data.files.shutil.disk_usage", lambda _path: full)
    with pytest.raises(ValueError, match="not enough room on the disk"):
        finish(opening("ada/tiny"))
    assert not any(asked.startswith("GET ada/") for asked in hub.asked)


def test_a_finished_run_is_asked_without_fetching_its_model(hub, folder):
    hub.models["ada/tiny"] = folder
    with pytest.raises(ValueError, match="'ada/tiny': it is not on this machine"):
        UnlearningModel.load(ModelSpec(name="ada/tiny"), device=CPU)
    assert hub.asked == []


def test_nothing_of_the_loading_draws_random_numbers(folder):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    finish(opening(folder))
    assert torch.equal(torch.rand(1), expected)
