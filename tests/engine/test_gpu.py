"""What only a GPU can show: every precision and adapter, and no needless waits.

Run with `pytest -n0 -m gpu tests/engine/test_gpu.py`, or by `tests/gpu/check.sh`, which measures
real sizes too.
"""

import gc
import itertools
import math
import os
import warnings

import pytest
import torch

from tests.engine.tiny import CPU, IDS, phase, steps, train_on
from unlearnlab.engine.loading import devices, memory_gib, prepare, resolve_device
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.methods.likelihood import GradientDifference
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import PACKED, EvaluationSpec, LoRA, ModelSpec, Optimizer, RunSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

CUDA = torch.device("cuda:0")
LORA = LoRA(r=4, alpha=16)


@pytest.fixture(autouse=True)
def fresh():
    """Begin with an empty device and its peak counted anew."""
    gc.collect()
    torch.cuda.empty_cache()
    prepare(CUDA)


def logits(lm: UnlearningModel) -> torch.Tensor:
    lm.model.eval()
    with torch.no_grad():
        return lm.model(input_ids=IDS.to(lm.device)).logits.float().cpu()


def trained(lm: UnlearningModel, spec: RunSpec, data: Dataset) -> list:
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    return steps(train_on(lm, spec, data))


def spec_of(precision="float32", adapter=None, **settings) -> RunSpec:
    checkpointing = settings.pop("gradient_checkpointing", False)
    model = ModelSpec(
        precision=precision, adapter=adapter, gradient_checkpointing=checkpointing, device="cuda"
    )
    one = phase(GradientDifference(), epochs=2, learning_rate=1e-3, **settings)
    return RunSpec(model=model, phases=(one,), evaluation=EvaluationSpec(probes=0))


@pytest.mark.parametrize("adapter", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", *PACKED])
def test_every_precision_trains_with_and_without_an_adapter(wide, data, precision, adapter):
    if precision in PACKED and adapter is None:
        pytest.skip("packed weights are trained by an adapter; without one the spec refuses them")
    lm = UnlearningModel.open(wide, precision=precision, device=CUDA)
    assert {p.device for p in lm.model.parameters()} == {CUDA}
    before = logits(lm)
    found = trained(lm, spec_of(precision, adapter), data)
    assert all(math.isfinite(step.loss) and step.grad_norm > 0 for step in found)
    assert 0 < found[-1].memory_gib < 2
    assert not torch.equal(logits(lm), before)
    with lm.original():
        assert torch.equal(logits(lm), before)


@pytest.mark.parametrize("optimizer", Optimizer.__args__)
@pytest.mark.parametrize("adapter", [None, LORA], ids=["full", "lora"])
def test_every_optimizer_steps(wide, data, optimizer, adapter):
    lm = UnlearningModel.open(wide, precision="bfloat16", device=CUDA)
    found = trained(lm, spec_of("bfloat16", adapter, optimizer=optimizer), data)
    assert all(math.isfinite(step.loss) for step in found)


@pytest.mark.parametrize("precision", ["float32", "nf4", "int8"])
def test_blocks_computed_anew_give_the_same_steps(wide, data, precision):
    def stepped(checkpointing):
        lm = UnlearningModel.open(wide, precision=precision, device=CUDA)
        spec = spec_of(precision, LORA, gradient_checkpointing=checkpointing)
        return [step.loss for step in trained(lm, spec, data)]

    assert stepped(True) == pytest.approx(stepped(False), rel=1e-3)


def test_a_gpu_answers_as_the_cpu_does(wide):
    torch.backends.cuda.matmul.allow_tf32 = False
    found, wanted = (
        logits(UnlearningModel.open(wide, precision="float32", device=device))
        for device in (CUDA, CPU)
    )
    assert torch.allclose(found, wanted, atol=1e-4)


def test_a_step_waits_for_the_gpu_once(wide, data):
    lm = UnlearningModel.open(wide, precision="float32", device=CUDA)
    spec = spec_of(batch_size=2, gradient_accumulation=3, max_steps=4)
    work = train_on(lm, spec, data)
    found = (event for event in work if event is not None)
    list(itertools.islice(found, 2))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            list(itertools.islice(found, 2))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # transformers has waits of its own, such as asking whether a mask masks anything.
    ours = f"unlearnlab{os.sep}engine"
    waits = [one for one in told if "synchronizing" in str(one.message) and ours in one.filename]
    assert [os.path.basename(one.filename) for one in waits] == ["training.py"] * 2


def test_the_peak_of_memory_is_counted_anew_for_each_run():
    held = torch.empty(2**28, dtype=torch.uint8, device=CUDA)
    assert memory_gib(CUDA) >= 0.25
    del held
    prepare(CUDA)
    assert memory_gib(CUDA) < 0.25


def test_gpus_are_listed_with_their_memory():
    first = devices()[0]
    assert first.id == "cuda:0"
    assert 0 < first.free <= first.total
    assert resolve_device("cuda") == resolve_device("cuda:0") == resolve_device("auto") == CUDA


def test_a_model_can_be_spread_over_all_gpus(wide, data):
    lm = UnlearningModel.open(wide, precision="float32", device=resolve_device("all"), spread=True)
    before = logits(lm)
    found = trained(lm, spec_of(), data)
    assert all(math.isfinite(step.loss) for step in found)
    with lm.original():
        assert torch.equal(logits(lm), before)
