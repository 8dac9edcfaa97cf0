"""The choice of a device: those of this machine with the memory they have free."""

from collections.abc import Sequence

from unlearnlab.runs.engine_api import ALL, Device, find_device
from unlearnlab.runs.estimates import bytes_text

DEVICE = "model.device"

AUTO = ("auto: a GPU if there is one", "auto")


def device_choices(here: Sequence[Device]) -> list[tuple[str, str]]:
    """List what a model can be put on, in words and as the spec names it.

    Args:
        here: The devices of this machine; none as long as the engine is not there.
    """
    listed = list(here)
    gpus = [device for device in here if device.cuda]
    if len(gpus) > 1 and (together := find_device(ALL, here)):
        listed.insert(len(gpus), together)
    return [AUTO, *((_worded(device), device.id) for device in listed)]


def _worded(device: Device) -> str:
    named = device.name if device.name.startswith(device.id) else f"{device.id}: {device.name}"
    return f"{named} · {bytes_text(device.free)} of {bytes_text(device.total)} free"
