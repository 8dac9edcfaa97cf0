"""What is on this machine, what a spec may ask of it, and what is refused before loading."""

import pytest
import torch

from tests.engine.tiny import CPU
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.loading import (
    best_device,
    devices,
    lock_name,
    refuse_run,
    resolve_device,
)
from unlearnlab.runs.engine_api import Job
from unlearnlab.spec.run import LoRA, ModelSpec, Phase, RunSpec, SpecError, parse_spec
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


def test_a_lab_names_the_device_that_a_run_asks_for():
    engine = DeviceEngine(lambda key: None, device=CPU)
    assert engine.device_name("auto") == engine.device_name("cpu") == devices()[-1].name
    with pytest.raises(ValueError, match="not on this machine"):
        engine.device_name("cuda:77")
    assert TraceSpec(model=ModelSpec(device="cpu")).model.device == "cpu"
