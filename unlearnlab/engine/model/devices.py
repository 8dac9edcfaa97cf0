"""The devices of this machine: names, free memory, seeds, and what each can do."""

from collections.abc import Iterable

import psutil
import torch

from unlearnlab.runs.engine_api import Device
from unlearnlab.runs.events import GIB
from unlearnlab.spec.run import ModelSpec, RunSpec

PAGED = ("cuda", "xpu")
"""Device types for which bitsandbytes has a paged optimizer, which uses the host's memory."""

EIGHT_BIT = ("cuda", "xpu", "cpu")
"""Device types for which bitsandbytes has an 8-bit optimizer and 8-bit matrices."""


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Return a device's display name, such as "cpu, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


def devices() -> tuple[Device, ...]:
    """List the devices that can hold a model, accelerators first."""
    found: list[Device] = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            found.append(Device(f"cuda:{number}", name, free=free, total=total))
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():  # It shares the host's memory.
        found.append(Device("mps", "Apple GPU", free=memory.available, total=memory.total))
    cpu = Device("cpu", device_name(torch.device("cpu")), memory.available, memory.total)
    return (*found, cpu)


def lock_name(device: str) -> str:
    """Return a device's lock name: the same in all processes, however each numbers its GPUs.

    Args:
        device: Id from `devices`.
    """
    if not device.startswith("cuda"):
        return device
    known = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"gpu-{known}" if known else device


def resolve_device(request: str) -> torch.device:
    """Return the device that `ModelSpec.device` requests; the first of several.

    Raises:
        ValueError: It is not on this machine; the message lists the devices that are.
    """
    if request == "auto":
        return best_device()
    here = devices()
    names = [device.id for device in here]
    cuda = [name for name in names if name.startswith("cuda")]
    if request in ("cuda", "all") and cuda:
        return torch.device(cuda[0])
    if request in names:
        return torch.device(request)
    listed = ", ".join(f"{device.id} ({device.name})" for device in here)
    what = "GPUs are" if request == "all" else f"{request!r} is"
    raise ValueError(f"model.device: {what} not on this machine, which has {listed}")


def prepare(device: torch.device, *, spread: bool = False) -> None:
    """Enable TF32 on a GPU and reset its peak memory counter; do nothing for other devices.

    Args:
        device: The device.
        spread: Whether it stands for all GPUs. If not, others are not touched: they may be in use.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        for gpu in _gpus(device, spread=spread):
            torch.cuda.reset_peak_memory_stats(gpu)


def total_memory(places: Iterable[torch.device]) -> int:
    """Return the total memory of CUDA GPUs, or of the host for all other devices, in bytes."""
    found = set(places)
    gpus = [place for place in found if place.type == "cuda"]
    if gpus:
        return sum(torch.cuda.mem_get_info(gpu)[1] for gpu in gpus)
    return psutil.virtual_memory().total


def seed(device: torch.device, number: int, *, spread: bool = False) -> None:
    """Seed the random generator of a device, and not those of other devices, where possible.

    Args:
        device: Device of the run.
        number: The seed.
        spread: Whether the device stands for all GPUs.
    """
    if device.type == "cuda":
        for gpu in _gpus(device, spread=spread):
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(number)
    elif device.type == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


def _gpus(device: torch.device, *, spread: bool) -> list[torch.device]:
    """Return all GPUs if spread, else `device` alone."""
    count = torch.cuda.device_count() if spread else 0
    return [torch.device("cuda", number) for number in range(count)] or [device]


def memory_gib(*devices: torch.device) -> float:
    """Return the peak allocation of GPUs, or the present memory of the process, in GiB."""
    if all(device.type == "cuda" for device in devices):
        return sum(torch.cuda.max_memory_allocated(device) for device in devices) / GIB
    return psutil.Process().memory_info().rss / GIB


def refuse_model(model: ModelSpec, device: torch.device) -> None:
    """Refuse a precision that the device does not support.

    Raises:
        ValueError: Names the field and the alternatives.
    """
    if model.precision == "int8" and device.type not in EIGHT_BIT:
        raise ValueError(
            f"model.precision: bitsandbytes has no 8-bit matrices on {device.type}: "
            "use nf4, bfloat16, or another device (model.device)"
        )


def refuse_run(spec: RunSpec, device: torch.device) -> None:
    """Refuse a precision or optimizer that the device does not support.

    Raises:
        ValueError: Names the field and the alternatives.
    """
    refuse_model(spec.model, device)
    for number, phase in enumerate(spec.phases):
        field = f"phases.{number}.optimizer"
        if phase.optimizer == "paged_adamw_8bit" and device.type not in PAGED:
            raise ValueError(
                f"{field}: paged_adamw_8bit moves its state between a GPU and the host, and the "
                f"model is on {device.type}: use adamw_8bit or adamw"
            )
        if phase.optimizer == "adamw_8bit" and device.type not in EIGHT_BIT:
            raise ValueError(
                f"{field}: bitsandbytes has no 8-bit optimizer on {device.type}: use adamw"
            )
