"""Every setting of a spec under its dotted path, read off the spec's own classes.

The command line's options and help and the README's tables come from here, so that a setting is
declared once, in `spec` or `methods`.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.base import Spec, expert, slider
from unlearnlab.spec.run import Phase, RunSpec, SpecError

PHASE = "N"
"""Stands for the number of a phase, from 0, in the path of a setting."""

EMPTY = '""'
"""How a text without a sign is written."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that a user can set."""

    path: str
    """Such as `phases.N.learning_rate`."""
    method: str
    """The method that has it; empty for what every run has."""
    values: str
    """What it may be, such as `number > 0 and ≤ 1`."""
    default: str
    unit: str
    help: str
    expert: bool
    shape: Literal["text", "number", "list", "group"]
    """How its text is read. A group is only ever set to none as a whole."""
    optional: bool
    """Whether it may be none."""

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition(".")[2]

    def parse(self, text: str) -> Any:
        """Read the value in a command line; whether it is valid, the spec will say."""
        if self.optional and text.lower() == "none":
            return None
        if self.shape == "number":
            return _as_number(text)
        if self.shape == "list":
            return [part.strip() for part in text.split(",") if part.strip()]
        return "" if text == EMPTY else text


@cache
def settings() -> tuple[Setting, ...]:
    """Return all settings in the order of the spec, each method's own after `method.kind`."""
    return tuple(_of(RunSpec, "", ""))


def override(spec: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Set values in a spec's JSON.

    A change of method drops the other method's hyperparameters. The phase after the last may be
    set too, and begins with the defaults.

    Args:
        spec: As `RunSpec.model_dump(mode="json")` gives it.
        pairs: Each a path and the value's text.

    Raises:
        SpecError: There is no such setting or phase.
    """
    by_path = {setting.path: setting for setting in settings()}
    values: list[tuple[str, Any]] = []
    for path, text in pairs:
        general = general_path(path)
        if general not in by_path:
            raise SpecError([(path, _unknown(general, list(by_path)))])
        values.append((path, by_path[general].parse(text)))
    return replaced(spec, values)


def general_path(path: str) -> str:
    """Return the path that a setting is declared under: `phases.N.epochs` for `phases.1.epochs`."""
    return ".".join(PHASE if part.isdecimal() else part for part in path.split("."))


def replaced(spec: Mapping[str, Any], values: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Set plain values in a spec's JSON; see `override`.

    Args:
        spec: As `RunSpec.model_dump(mode="json")` gives it.
        values: Pairs of the path of a setting that there is, and its value.

    Raises:
        SpecError: There is no such phase.
    """
    changed = copy.deepcopy(dict(spec))
    for path, value in sorted(values, key=lambda one: not one[0].endswith(".method.kind")):
        _assign(changed, path.split("."), value)
    return changed


def _assign(spec: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Set the value at a path, making what lies on the way."""
    at: Any = spec
    for depth, part in enumerate(parts[:-1]):
        if part.isdecimal():
            at = _phase(at, int(part[:9]), ".".join(parts[: depth + 1]))
        else:
            if at[part] is None:  # An adapter: its other values take their defaults.
                at[part] = {}
            at = at[part]
    if parts[-1] == "kind" and at.get("kind") != value:
        at.clear()
    at[parts[-1]] = value


def _phase(phases: list[Any], number: int, path: str) -> Any:
    if number > len(phases):
        raise SpecError([(path, f"the next phase would be phases.{len(phases)}")])
    if number == len(phases):
        phases.append(Phase().model_dump(mode="json"))
    return phases[number]


def _unknown(path: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(path[:200], known, n=3, cutoff=0.7)
    hint = f": did you mean {' or '.join(near)}?" if near else ": `run --help` lists them all"
    return "there is no such setting" + hint


def _as_number(text: str) -> int | float | str:
    """Read a number; text that is none is left for the spec to refuse."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _of(spec: type[Spec], prefix: str, method: str) -> Iterator[Setting]:
    """Yield the settings of a class, depth first."""
    for name, field in spec.model_fields.items():
        path, kinds = prefix + name, _alternatives(field.annotation)
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Spec)]
        if field.discriminator:
            tag, kind = f"{path}.{field.discriminator}", field.get_default().kind
            one = _setting(field, tag, "")
            yield replace(one, values=" | ".join(METHODS), default=kind, shape="text")
            for kind, cls in METHODS.items():
                yield from _of(cls, f"{path}.", kind)
        elif nested:
            if NoneType in kinds:
                yield _setting(field, path, method)
            yield from _of(nested[0], f"{path}.", method)
        elif any(_is_phases(kind) for kind in kinds):
            yield from _of(get_args(kinds[0])[0], f"{path}.{PHASE}.", method)
        elif not (method and name == "kind"):
            yield _setting(field, path, method)


def _setting(field: FieldInfo, path: str, method: str) -> Setting:
    kinds = _alternatives(field.annotation)
    drawn = slider(field)
    return Setting(
        path=path,
        method=method,
        values=_values(field, kinds),
        default=_text(field.get_default()),
        unit=drawn.unit if drawn else "",
        help=" ".join((field.description or "").split()),
        expert=expert(field),
        shape=_shape(kinds[0]),
        optional=NoneType in kinds,
    )


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)


def _is_phases(kind: Any) -> bool:
    of = get_args(kind)[0] if get_origin(kind) is tuple else None
    return isinstance(of, type) and issubclass(of, Spec)


def _shape(kind: Any) -> Literal["text", "number", "list", "group"]:
    if kind in (int, float):
        return "number"
    if get_origin(kind) is tuple:
        return "list"
    return "group" if isinstance(kind, type) and issubclass(kind, Spec) else "text"


def _values(field: FieldInfo, kinds: Sequence[Any]) -> str:
    text = " ".join(part for part in (_words(kinds[0]), _bounds(field)) if part)
    if NoneType not in kinds:
        return text
    return f"{text}, or none" if text else "none"


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if get_origin(kind) is tuple:
        of = get_args(kind)[0]
        return "a list" if of is str else f"some of {_words(of).replace(' | ', ', ')}"
    return {int: "integer", float: "number", bool: "true | false", str: "text"}.get(kind, "")


def _bounds(field: FieldInfo) -> str:
    found: list[str] = []
    for bound in field.metadata:
        match bound:
            case Gt():
                found.append(f"> {_text(bound.gt)}")
            case Ge():
                found.append(f"≥ {_text(bound.ge)}")
            case Lt():
                found.append(f"< {_text(bound.lt)}")
            case Le():
                found.append(f"≤ {_text(bound.le)}")
            case _:
                pass
    return " and ".join(found)


def _text(value: Any) -> str:
    """Write a value as the command line takes it."""
    match value:
        case None | bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case "":
            return EMPTY
        case tuple():
            return ",".join(cast("tuple[str, ...]", value))
        case _:
            return str(value)
