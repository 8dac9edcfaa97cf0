"""What a run needs, under the layer range: what trains, memory against what is free, and time."""

from collections.abc import Sequence

from unlearnlab.runs.engine_api import Device, find_device
from unlearnlab.runs.estimates import Estimate, bytes_text, earlier, estimate
from unlearnlab.runs.memory import Part
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.run import RunSpec, trainable_parameters
from unlearnlab.ui.form.form import Form, parsed
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.text import NO_BREAK, count, duration, escape
from unlearnlab.views.runs import usual_seconds


def size_note(program: Program, form: Form) -> str:
    """Say how much is trained, and what memory and time that takes. HTML."""
    try:
        spec = parsed(form)
    except SpecError:
        return "<p>Some settings are not valid yet.</p>"
    try:
        return _trained(spec, form) + _needs(program, spec)
    except (StoreError, ValueError) as error:
        return f"<p>Memory and time cannot be estimated: {escape(str(error))}</p>"


def _trained(spec: RunSpec, form: Form) -> str:
    architecture = spec.model.known.architecture
    if not form.trains:
        return "<p>Nothing is trained.</p>"
    if architecture is None:  # The estimate says so.
        return ""
    trained = trainable_parameters(spec, spec.phases[form.editing])
    return f"<p>{count(trained)} of {count(architecture.parameters)} parameters train</p>"


def _needs(program: Program, spec: RunSpec) -> str:
    rows = program.store.runs()
    device = find_device(spec.model.device, program.devices())
    cuda = device is not None and device.cuda
    memory = device.total if device else None
    found = estimate(spec, earlier(spec, rows, program.outline), cuda=cuda, memory=memory)
    short = device is not None and found.peak.total > device.free
    summary = " · ".join(part for part in (_room(found, device), _time(spec, found, rows)) if part)
    advice = f'<p class="short">{escape(found.advice)}</p>' if short else ""
    return (
        f'<details class="needs{" short" if short else ""}"><summary>{summary}</summary>'
        f"{_parts(found)}{_told(found)}</details>{advice}"
    )


def _room(found: Estimate, device: Device | None) -> str:
    needed = _memory(found.peak.total)
    if device is None:
        return f"About {needed}"
    if found.peak.total > device.free:
        return f"About {needed}, more than the {_memory(device.free)} free"
    return f"About {needed} of {_memory(device.free)} free"


def _time(spec: RunSpec, found: Estimate, rows: Sequence[RunRecord]) -> str:
    if took := usual_seconds(spec, rows):
        return f"took {duration(took)} here before"
    return f"about {duration(found.seconds)}" if found.seconds else ""


def _parts(found: Estimate) -> str:
    """Draw the parts at the peak: a bar of their shares, and a list."""
    bar = "".join(
        f'<span class="{_class(part)}" style="flex-grow:{size / found.peak.total:.4f}"></span>'
        for part, size in found.parts
    )
    lines = "".join(
        f'<div><dt><i class="{_class(part)}"></i>{part}</dt><dd>{_memory(size)}</dd></div>'
        for part, size in found.parts
    )
    return f'<div class="needs-bar" aria-hidden="true">{bar}</div><dl>{lines}</dl>'


def _class(part: Part) -> str:
    return f"part-{part.replace(' ', '-')}"


def _told(found: Estimate) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in found.notes)


def _memory(size: float) -> str:
    return bytes_text(size).replace(" ", NO_BREAK)
