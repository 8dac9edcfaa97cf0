"""The command line that repeats a run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from unlearnlab.exports.result import Result
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.fields import override
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import RunSpec, parse_spec
from unlearnlab.views.phases import changes

PROGRAM = "python -m unlearnlab run"

MOST = 6
"""Settings on top of a preset that are still read at a glance."""

NEAREST = 3
"""Presets that are tried."""

_GONE = object()


def command_line(result: Result, spec_file: str) -> str:
    """Write the command that repeats a run, and what it would leave out.

    Args:
        result: Of the run.
        spec_file: Name of the file that holds its spec.
    """
    lines = [f"{PROGRAM} --spec {shlex.quote(spec_file)}"]
    if short := one_line(result.spec):
        lines += ["", "# The same without the file:", short]
    if name := result.spec.keep_as:
        lines += ["", f"# It keeps its model as {name!r}: --keep_as gives the next one a name."]
    made = [one for one in changes(result.spec, result.course) if one.step is not None]
    if made:
        lines += ["", "# The run was changed by hand while it went on; this is not repeated:"]
        lines += [f"# after step {one.step}: {one.text}" for one in made]
    return "\n".join(lines) + "\n"


def one_line(spec: RunSpec) -> str:
    """Write the command as a preset and what differs from it; empty if that is long."""
    near = [(one, _wishes(one.spec, spec)) for one in presets().values()]
    near.sort(key=lambda pair: len(pair[1]))
    for one, wishes in near[:NEAREST]:
        if not _leads(one.spec, wishes, spec):
            continue
        fewest = _fewest(one.spec, wishes, spec)
        if len(fewest) <= MOST:
            words = [f"--{path} {shlex.quote(text)}" for path, text in fewest]
            return " ".join([PROGRAM, "--preset", one.name, *words])
    return ""


Wishes = list[tuple[str, str]]
"""Paths and texts of settings."""


def _wishes(start: RunSpec, spec: RunSpec) -> Wishes:
    """Return all settings in which one spec differs from another."""
    return list(_differences("", start.model_dump(mode="json"), spec.model_dump(mode="json")))


def _fewest(start: RunSpec, wishes: Wishes, spec: RunSpec) -> Wishes:
    """Leave out what need not be said: a new method or phase brings most of its values itself."""
    for one in tuple(wishes):
        others = [wish for wish in wishes if wish != one]
        if _leads(start, others, spec):
            wishes = others
    return wishes


def _leads(start: RunSpec, wishes: Wishes, to: RunSpec) -> bool:
    try:
        return parse_spec(override(start.model_dump(mode="json"), wishes)) == to
    except SpecError:
        return False


def _differences(path: str, start: Any, wanted: Any) -> Iterator[tuple[str, str]]:
    """Yield path and text of each setting that must be given, depth first."""
    if isinstance(wanted, Mapping):
        yield from _inside(path, start, cast("Mapping[str, Any]", wanted))
    elif path == "phases":
        known = cast("list[Any]", start)
        for number, phase in enumerate(cast("list[Any]", wanted)):
            before = known[number] if number < len(known) else _GONE
            yield from _differences(f"{path}.{number}", before, phase)
    elif start is _GONE or start != wanted:
        yield path, _text(wanted)


def _inside(path: str, start: Any, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    same = isinstance(start, Mapping) and (
        "kind" not in wanted or cast("Mapping[str, Any]", start)["kind"] == wanted["kind"]
    )
    known: Mapping[str, Any] = cast("Mapping[str, Any]", start) if same else {}
    for name, value in wanted.items():
        inner = f"{path}.{name}" if path else name
        yield from _differences(inner, known.get(name, _GONE), value)


def _text(value: Any) -> str:
    """Write a value as the command line reads it, to the last digit."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(one) for one in cast("Sequence[Any]", value))
    return repr(value) if isinstance(value, float) else str(value)
