"""Engines of several devices in one process: none must disturb another.

There is one device here, so both engines compute on it: what they could disturb is the process's.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import torch

from tests.engine.tiny import CPU
from unlearnlab.engine.device_engine import DeviceEngine, engines
from unlearnlab.engine.loading import seed
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import StepLogged
from unlearnlab.spec.run import parse_spec

STEPS = 1


def spec_of(number):
    phase = {"method": {"kind": "gradient_ascent"}, "max_steps": STEPS, "batch_size": 2}
    model = {"precision": ("float32", "bfloat16")[number], "adapter": {"r": 2}}
    return parse_spec(
        {"seed": number, "model": model, "phases": [phase], "evaluation": {"probes": 0}}
    )


@pytest.fixture(autouse=True)
def no_scores(monkeypatch):
    """Leave the scoring out: it only takes long."""
    monkeypatch.setattr(DeviceEngine, "_score_before", lambda *_: iter(()))


def losses(number, folder):
    """Run until training has taken its steps, and return their terms."""
    engine = DeviceEngine(lambda key: None, device=CPU)
    found = []
    with closing(engine.unlearn(Job(str(number), spec_of(number), folder))) as events:
        while len(found) < STEPS:
            event = next(events)
            if isinstance(event, StepLogged):
                found.append(event.terms)
    return found


def test_runs_side_by_side_have_the_losses_of_runs_alone(tmp_path):
    alone = [losses(number, tmp_path) for number in range(2)]
    with ThreadPoolExecutor(2) as threads:
        beside = list(threads.map(lambda number: losses(number, tmp_path), range(2)))
    assert beside == alone
    assert torch.get_default_dtype() == torch.float32


def test_a_seed_fixes_what_is_drawn_next():
    seed(CPU, 1)
    first = torch.rand(3)
    seed(CPU, 1)
    assert torch.equal(torch.rand(3), first)


def test_there_is_a_lab_for_each_device():
    made = engines(lambda key: None)
    assert made.devices()[-1] == "cpu"
    assert made.of("cpu").device_name("auto").startswith("cpu")
    assert made.of("").device_name("auto")
