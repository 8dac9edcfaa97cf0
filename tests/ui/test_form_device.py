"""The choice of a device as the page words it."""

from unlearnlab.runs.engine_api import Device
from unlearnlab.ui.form.choices import device_choices

CPU = Device("cpu", "cpu, 8 threads", free=20 * 2**30, total=32 * 2**30)


def gpu(number: int, free: int) -> Device:
    return Device(f"cuda:{number}", "Big GPU", free=free * 2**30, total=80 * 2**30)


def test_before_the_engine_is_there_only_the_best_can_be_chosen():
    assert [value for _, value in device_choices(())] == ["auto"]


def test_every_device_is_offered_with_the_memory_it_has_free():
    (_, first, second) = device_choices((gpu(0, 79), CPU))
    assert first == ("cuda:0: Big GPU · 79 GiB of 80 GiB free", "cuda:0")
    assert second == ("cpu, 8 threads · 20 GiB of 32 GiB free", "cpu")


def test_several_gpus_can_be_taken_together():
    names = dict(device_choices((gpu(0, 79), gpu(1, 40), CPU)))
    assert list(names.values()) == ["auto", "cuda:0", "cuda:1", "all", "cpu"]
    assert "all GPUs · 119 GiB of 160 GiB free" in next(n for n, v in names.items() if v == "all")
