"""Reads the values of an axis as somebody types them.

`0.1, 0.5, 1` are values, one by one; `1e-6 to 1e-4 in 5` so many at even distances, with `log`
behind it at even ratios; `x 0.1, 0.5, 2` are multiples of the value that the form has.
"""

import re

from pydantic import ValidationError

from unlearnlab.spec.errors import SpecError, problem_of
from unlearnlab.spec.sweep.axes import (
    Axis,
    FactorsAxis,
    ListAxis,
    RangeAxis,
    SeedAxis,
    ShareAxis,
    WindowAxis,
)
from unlearnlab.spec.sweep.spec import SweepSpec

LAYERS, SHARES, SEEDS = "layers", "forget rows", "seeds"
"""What is swept that is no single setting."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(
    rf"({_NUMBER})\s*(?:to|\.\.\.?|…|–)\s*({_NUMBER})\s+in\s+(\d+)(?:\s+(log|linear)\w*)?", re.I
)
_FACTORS = re.compile(r"[x×*]\s*([\d.].*)", re.I)


def read_axis(what: str, text: str, *, phase: int = 0) -> Axis:
    """Make an axis of what was typed.

    Args:
        what: The dotted path of a setting, or one of `LAYERS`, `SHARES` and `SEEDS`.
        text: Its values.
        phase: The phase whose layers are meant.

    Raises:
        SpecError: The text makes no sense.
    """
    try:
        return _read(what, text.strip(), phase)
    except ValidationError as error:
        problems = [problem_of(detail)[1] for detail in error.errors()]
        raise SpecError([(what, problem) for problem in dict.fromkeys(problems)]) from error


def _read(what: str, text: str, phase: int) -> Axis:
    if not text:
        raise SpecError([(what, "say which values to take, such as 0.1, 0.5, 1")])
    found = _RANGE.fullmatch(text)
    if what == SEEDS:
        return SeedAxis(count=_whole(what, text))
    if what == LAYERS:
        return WindowAxis(width=_whole(what, text), phase=phase)
    if what == SHARES:
        texts = _ranged(what, found).texts if found else _parts(text.replace("%", ""))
        return ShareAxis(percent=tuple(_number(what, part) for part in texts))
    if found:
        return _ranged(what, found)
    if factors := _FACTORS.fullmatch(text):
        return FactorsAxis(path=what, factors=tuple(_number(what, t) for t in _parts(factors[1])))
    return ListAxis(path=what, texts=_parts(text))


def _ranged(what: str, found: re.Match[str]) -> RangeAxis:
    first, last, count, scale = found.groups()
    log = (scale or "").lower() == "log"
    return RangeAxis(path=what, first=float(first), last=float(last), count=int(count), log=log)


def _parts(text: str) -> tuple[str, ...]:
    """Cut a list at its commas; one without any at its spaces."""
    parts = text.split(",") if "," in text else text.split()
    return tuple(part.strip() for part in parts if part.strip())


def _number(what: str, text: str) -> float:
    try:
        return float(re.sub(r"^[x×*]\s*", "", text))
    except ValueError as error:
        raise SpecError([(what, f"{text!r} is not a number")]) from error


def _whole(what: str, text: str) -> int:
    if not text.isdecimal():
        raise SpecError([(what, f"must be a whole number, not {text!r}")])
    return int(text)


def with_more(spec: SweepSpec, number: int, text: str) -> SweepSpec:
    """Return a sweep whose axis has further values behind those it had.

    Args:
        spec: The sweep.
        number: Of the axis, 0-based.
        text: The values, as for `read_axis`; for seeds, how many more.

    Raises:
        SpecError: The text makes no sense, or the axis takes no more values.
    """
    if not 0 <= number < len(spec.axes):
        raise SpecError([("", f"there is no axis {number}")])
    if spec.pick == "random":
        raise SpecError([("", "its runs are drawn at random: ask for more runs instead")])
    axis = spec.axes[number]
    axes = list(spec.axes)
    axes[number] = _longer(axis, text.strip(), spec)
    return spec.model_copy(update={"axes": tuple(axes)})


def _longer(axis: Axis, text: str, spec: SweepSpec) -> Axis:
    match axis:
        case WindowAxis():
            raise SpecError([(axis.path, "the windows cover the whole model: there are no more")])
        case SeedAxis():
            return SeedAxis(count=axis.count + _whole(SEEDS, text))
        case ShareAxis():
            more = read_axis(SHARES, text)
            assert isinstance(more, ShareAxis)
            percent = tuple(dict.fromkeys((*axis.percent, *more.percent)))
            return axis.model_copy(update={"percent": percent})
        case _:
            more = read_axis(axis.path, text)
            texts = [value.text for of in (axis, more) for value in of.values(spec.base)]
            return ListAxis(path=axis.path, texts=tuple(texts))


def with_more_runs(spec: SweepSpec, text: str) -> SweepSpec:
    """Return a random sweep that draws so many more runs.

    Raises:
        SpecError: It is none, or the text is no number.
    """
    if spec.pick != "random" or spec.budget is None:
        raise SpecError([("", "it has every combination already: add values instead")])
    return spec.model_copy(update={"budget": spec.budget + _whole("budget", text)})
