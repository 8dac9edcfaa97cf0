"""The record of a run beyond its spec: what it computed on and with, as far as it noted that."""

from typing import Any

from unlearnlab.runs.events import Revision
from unlearnlab.runs.progress import RunProgress
from unlearnlab.spec.run import RunSpec


def facts(spec: RunSpec, course: RunProgress) -> list[tuple[str, str]]:
    """List what is noted, as names and values in words."""
    found = [("Seed", str(spec.seed))]
    if course.phases:
        found.append(("Effective batch", batches_text(course)))
    if loaded := course.loaded:
        found += [("Rows' fingerprint", loaded.data), ("Weights' fingerprint", loaded.weights)]
    if started := course.started:
        found.append(("Device", started.device))
        found.append(("Versions", ", ".join(f"{k} {v}" for k, v in started.versions.items())))
        found.append(("Code", code_text(started.code)))
    return found


def batches_text(course: RunProgress) -> str:
    """Tell the rows of an optimizer step, phase by phase if they differ."""
    rows = [phase.effective_batch for phase in course.phases]
    shown = rows if len({*rows}) > 1 else rows[:1]
    return f"{', '.join(map(str, shown))} rows for each optimizer step"


def code_text(code: Revision | None) -> str:
    """Name the state of the program's code."""
    if code is None:
        return "not noted: git did not tell"
    return f"commit {code.commit[:12]}{', with changes' if code.dirty else ''}"


def noted(course: RunProgress) -> dict[str, Any]:
    """Return what is noted as plain JSON values; none where it was not."""
    started, loaded = course.started, course.loaded
    return {
        "effective_batch": [phase.effective_batch for phase in course.phases],
        "versions": dict(started.versions) if started else None,
        "device": started.device if started else None,
        "code": started.code.model_dump() if started and started.code else None,
        "data": loaded.data if loaded else None,
        "weights": loaded.weights if loaded else None,
    }
