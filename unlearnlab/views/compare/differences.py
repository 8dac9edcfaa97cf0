"""In which settings runs differ, and with which values: dotted paths, only what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from zlib import crc32

from unlearnlab.spec.fields import settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import RunSpec, written

ABSENT = "–"
"""Stands where a run has no such setting: its method, or its model, knows none."""

SHORT: Mapping[str, str] = {
    "model.name": "model",
    "model.adapter.r": "adapter rank",
    "model.adapter.alpha": "adapter alpha",
    "model.adapter.dropout": "adapter dropout",
    "data.source": "data",
    "data.forget": "rows picked",
    "data.rest": "other forget rows",
    "keep_as": "kept as",
}
"""Names of settings whose last part alone would say too little."""

Leaf = str | float | bool | tuple[str, ...] | None
"""A value of a setting."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting in which runs differ."""

    path: str
    """Such as `phases.0.learning_rate`."""
    name: str
    """In words."""
    values: tuple[str, ...]
    """One for each run, in words."""
    numbers: tuple[float | None, ...] | None
    """The same as numbers; none if any of them is something else."""


def differences(specs: Sequence[RunSpec]) -> tuple[Difference, ...]:
    """List the settings in which specs differ, in the order of the spec.

    A last block that is left open counts as the number it stands for.
    """
    flat = [leaves(spec) for spec in specs]
    return tuple(
        Difference(
            path,
            path_text(path),
            tuple(leaves_text(one, path) for one in flat),
            _numbers([one.get(path, ABSENT) for one in flat]),
        )
        for path in differing(flat)
    )


def differing(flat: Sequence[Mapping[str, Leaf]]) -> list[str]:
    """Return the paths on which flattened specs do not agree."""
    paths: dict[str, None] = {}
    for one in flat:
        paths.update(dict.fromkeys(one))
    missing = object()
    return [
        path for path in _in_order(paths) if len({repr(one.get(path, missing)) for one in flat}) > 1
    ]


def _in_order(paths: Mapping[str, None]) -> list[str]:
    """Put what is set first where a spec has it first: model, data, phases by number."""
    tops = list(RunSpec.model_fields)

    def place(path: str) -> tuple[int, int]:
        top, _, rest = path.partition(".")
        return tops.index(top), int(rest.partition(".")[0]) if top == "phases" else 0

    return sorted(paths, key=place)


def leaves(spec: RunSpec) -> Mapping[str, Leaf]:
    """Flatten a spec: value by dotted path."""
    found: dict[str, Leaf] = {}
    _flatten("", spec.model_dump(), found)
    blocks = spec.model.blocks
    for number, phase in enumerate(spec.phases):
        if phase.last_layer is None and blocks is not None:
            found[f"phases.{number}.last_layer"] = blocks - 1
    return {path: value for path, value in found.items() if not _no_group(path, value)}


def _flatten(path: str, value: Any, found: dict[str, Leaf]) -> None:
    if isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            _flatten(f"{path}.{name}" if path else name, inner, found)
    elif path == "phases":
        for number, inner in enumerate(cast("Sequence[Any]", value)):
            _flatten(f"{path}.{number}", inner, found)
    else:
        found[path] = value


def _no_group(path: str, value: Leaf) -> bool:
    """Tell whether a group of settings is set to none: then its settings are absent."""
    return value is None and path in _groups()


@cache
def _groups() -> frozenset[str]:
    return frozenset(one.path for one in settings() if one.shape == "group")


def leaves_text(flat: Mapping[str, Leaf], path: str) -> str:
    """Write the value that a flattened spec has at a path."""
    return _text(path, flat[path]) if path in flat else ABSENT


def _text(path: str, value: Leaf) -> str:
    if path.endswith("method.kind"):
        return METHODS[str(value)].card.title
    match value:
        case None:
            return "all" if path.endswith(("tasks", "forget")) else "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return written(value)
        case tuple() if path == "data.forget":
            # Two choices of as many rows are not the same choice.
            return f"{len(value)} ({crc32(repr(value).encode()) & 0xFFFF:04x})"
        case tuple():
            return ", ".join(value)
        case _:
            return value or "none"


def _numbers(values: Sequence[Leaf]) -> tuple[float | None, ...] | None:
    """Return values as numbers, absent ones as none; none at all if one is no number."""
    plain = [value for value in values if value not in (ABSENT, None)]
    if not plain or not all(_is_number(value) for value in plain):
        return None
    return tuple(float(cast("float", v)) if _is_number(v) else None for v in values)


def _is_number(value: Leaf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def path_text(path: str) -> str:
    """Name a setting in words: `phases.1.method.beta` is "phase 2 beta"."""
    if path in SHORT:
        return SHORT[path]
    parts = path.split(".")
    phase = int(parts[1]) if parts[0] == "phases" else 0
    name = "method" if parts[-1] == "kind" else parts[-1].replace("_", " ")
    return f"phase {phase + 1} {name}" if phase else name
