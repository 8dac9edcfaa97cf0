"""AdamW in 32 and in 8 bits, blocks computed anew for their gradients, and one wait in a step."""

import math
import os
import sys

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.engine.families import tiny_config, tiny_of
from tests.engine.test_loop import TRAINING, default, phase, run, steps
from tests.engine.tiny import CPU, tiny_model
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.models.families import FAMILIES
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import StepLogged
from unlearnlab.spec.methods.likelihood import GradientDifference, Joint
from unlearnlab.spec.run import EvaluationSpec, LoRA, ModelSpec, Phase, RunSpec

IDS = torch.arange(5, 45)[None]


def trained(tokenizer, data, **settings) -> tuple[UnlearningModel, list]:
    """Train a model whose matrices are large enough to be kept in 8 bits."""
    one = phase(GradientDifference(), epochs=2, learning_rate=1e-3, **settings)
    spec = RunSpec(phases=(one,), evaluation=EvaluationSpec(probes=0))
    lm = UnlearningModel(tiny_model(len(tokenizer), width=64), tokenizer, device=CPU)
    return lm, steps(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))


def test_adamw_in_8_bits_follows_adamw(tokenizer, data):
    lm, whole = trained(tokenizer, data)
    packed, small = trained(tokenizer, data, optimizer="adamw_8bit")
    assert small[0].terms == whole[0].terms
    assert small[-1].loss == pytest.approx(whole[-1].loss, abs=0.1 * abs(whole[-1].loss))
    start = UnlearningModel(tiny_model(len(tokenizer), width=64), tokenizer, device=CPU).model
    name = "model.layers.1.mlp.down_proj.weight"
    before, one, other = (
        dict(model.named_parameters())[name] for model in (start, lm.model, packed.model)
    )
    assert not torch.equal(one, other)
    assert (one - other).norm() < 0.2 * (one - before).norm()


def test_adamw_in_8_bits_obeys_the_schedule_and_trains_an_adapter(tokenizer, data):
    one = phase(GradientDifference(), optimizer="adamw_8bit", schedule="linear", warmup=0.5)
    _, events = run(tokenizer, data, one, adapter=LoRA(r=4))
    rates = [event.learning_rate for event in steps(events)]
    assert rates[0] == 0 < max(rates) == 1e-2
    assert steps(events)[-1].loss < steps(events)[0].loss


def gradients(
    lm: UnlearningModel, adapter: LoRA | None, *, checkpointing: bool
) -> tuple[list, int]:
    """Return the gradients of everything trained, and the bytes kept for them meanwhile."""
    model = ModelSpec(adapter=adapter, gradient_checkpointing=checkpointing)
    spec = RunSpec(model=model, phases=(Phase(first_layer=1),))
    torch.manual_seed(0)
    lm.adapt(spec)
    parameters = lm.train_only(spec.phases[0])
    for parameter in parameters:
        if adapter:
            parameter.data.fill_(1e-2)
    lm.model.train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = lm.model(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    return [parameter.grad for parameter in parameters], sum(kept.values())


@pytest.mark.parametrize("adapter", [None, LoRA(r=2, dropout=0.2)], ids=["full", "lora"])
@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_computed_anew_give_the_same_gradients(name, adapter, tokenizer):
    def made() -> UnlearningModel:
        model = tiny_of(tiny_config(name, len(tokenizer), num_hidden_layers=2))
        return UnlearningModel(model, tokenizer, device=CPU)

    plain, _ = gradients(made(), adapter, checkpointing=False)
    anew, _ = gradients(made(), adapter, checkpointing=True)
    assert plain
    for one, other in zip(plain, anew, strict=True):
        assert torch.equal(one, other)
        assert one.any() or adapter


def test_blocks_computed_anew_keep_less(tokenizer):
    def made() -> UnlearningModel:
        return UnlearningModel(
            tiny_model(len(tokenizer), blocks=8, width=32), tokenizer, device=CPU
        )

    _, plain = gradients(made(), None, checkpointing=False)
    _, anew = gradients(made(), None, checkpointing=True)
    assert anew < 0.6 * plain


@pytest.mark.parametrize("kind", TRAINING)
def test_every_method_steps_the_same_with_blocks_computed_anew(tokenizer, data, kind):
    def stepped(checkpointing):
        one = phase(default(kind), epochs=1, max_steps=2)
        spec = RunSpec(
            model=ModelSpec(gradient_checkpointing=checkpointing),
            phases=(one,),
            evaluation=EvaluationSpec(probes=0),
        )
        lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
        lm.adapt(spec)
        return steps(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))

    plain, anew = stepped(False), stepped(True)
    assert [step.terms for step in anew] == [step.terms for step in plain]
    assert [step.grad_norm for step in anew] == [step.grad_norm for step in plain]


class Waits(TorchFunctionMode):
    """Counts how often this program fetches numbers: on a GPU, each time the host waits."""

    FETCHES = frozenset({"item", "tolist", "__int__", "__float__", "numpy", "nonzero"})

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        ours = f"unlearnlab{os.sep}engine" in sys._getframe(1).f_code.co_filename
        self.count += ours and getattr(func, "__name__", "") in self.FETCHES
        return func(*args, **(kwargs or {}))


def waits_of_later_steps(tokenizer, data, method) -> list[int]:
    """Count the waits of all steps but the first, which may measure what stays the same."""
    one = phase(method, batch_size=2, gradient_accumulation=3, epochs=1, max_steps=3)
    spec = RunSpec(phases=(one,), evaluation=EvaluationSpec(probes=0))
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    counts: list[int] = []
    work = train(lm, spec, data, probe=Probe.of(data), clock=Clock())
    while True:
        with Waits() as waits:
            event = next((event for event in work if event is not None), None)
        if event is None:
            return counts[1:]
        if isinstance(event, StepLogged):
            counts.append(waits.count)


@pytest.mark.parametrize("kind", [kind for kind in TRAINING if "joint" not in kind])
def test_a_step_fetches_its_numbers_once(tokenizer, data, kind):
    assert waits_of_later_steps(tokenizer, data, default(kind)) == [1, 1]


def test_weights_that_follow_the_losses_wait_for_each_micro_batch(tokenizer, data):
    assert waits_of_later_steps(tokenizer, data, Joint()) == [1 + 3, 1 + 3]


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(tokenizer, data):
    one = phase(GradientDifference(), batch_size=2, gradient_accumulation=3)
    spec = RunSpec(phases=(one,), evaluation=EvaluationSpec(probes=0))
    lm = UnlearningModel(tiny_model(len(tokenizer)), tokenizer, device=CPU)
    head = lm.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _module, _args, logits: logits * math.nan)
    before = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    with pytest.raises(RunFailed, match="the forget loss became nan at step 1"):
        list(train(lm, spec, data, probe=Probe.of(data), clock=Clock()))
    handle.remove()
    assert all(torch.equal(p, before[name]) for name, p in lm.model.named_parameters())
