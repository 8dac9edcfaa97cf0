"""A sweep: one `SweepSpec` holds the run that is varied and the axes that vary it.

An axis is a setting, or several that move together, with its values. It is written as JSON in a
file or read from typed text by `read_axis`.
"""

import itertools
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from unlearnlab.spec.errors import SpecError, named, problem_of, validated
from unlearnlab.spec.fields import Setting, general_path, replaced, settings
from unlearnlab.spec.methods.base import Spec
from unlearnlab.spec.presets import Shipped, preset, shipped
from unlearnlab.spec.run import ModelSpec, RunSpec, parse_spec, written

MOST = 100
"""Most values of an axis."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis."""

    text: str
    """Label in charts."""
    changes: tuple[tuple[str, Any], ...]
    """Paths in the spec and the plain values to set there."""
    number: float | None = None
    """Position on a numeric scale; none if the value is no number."""


def _as_text(value: Any) -> Any:
    """Write a plain value as the command line takes it: files may hold numbers."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class ListAxis(Spec):
    """A list of values of a setting."""

    kind: Literal["list"] = "list"
    path: str
    """Dotted path of the setting, such as `phases.0.learning_rate`."""
    texts: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST)]
    """Its values, as the command line takes them."""

    @property
    def name(self) -> str:
        """Return its name in charts."""
        return setting_name(self.path)

    @field_validator("texts")
    @classmethod
    def _once(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(texts))

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run.

        Raises:
            SpecError: There is no such setting.
        """
        setting = known_setting(self.path, base)
        found: list[Value] = []
        for text in self.texts:
            value = setting.parse(text)
            number = float(value) if isinstance(value, int | float) else None
            found.append(Value(text, ((self.path, value),), number))
        return tuple(found)


class RangeAxis(Spec):
    """Evenly spaced values of a setting, on a linear or a logarithmic scale."""

    kind: Literal["range"] = "range"
    path: str
    first: float
    last: float
    count: Annotated[int, Field(ge=2, le=MOST)]
    """Number of values, first and last included."""
    log: bool = False
    """Whether the scale is logarithmic."""

    @property
    def name(self) -> str:
        """Return its name in charts."""
        return setting_name(self.path)

    @property
    def texts(self) -> tuple[str, ...]:
        """Write the values out."""
        steps = [n / (self.count - 1) for n in range(self.count)]
        if self.log:
            low, high = math.log(self.first), math.log(self.last)
            found = [math.exp(low + (high - low) * step) for step in steps]
        else:
            found = [self.first + (self.last - self.first) * step for step in steps]
        return tuple(dict.fromkeys(written(float(f"{value:.3g}")) for value in found))

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run.

        Raises:
            SpecError: There is no such setting, or a logarithmic range is not above 0.
        """
        if self.log and min(self.first, self.last) <= 0:
            low = f"a logarithmic range needs numbers above 0, not {min(self.first, self.last):g}"
            raise SpecError([(self.path, low)])
        return ListAxis(path=self.path, texts=self.texts).values(base)


class FactorsAxis(Spec):
    """Multiples of the base run's value of a setting."""

    kind: Literal["factors"] = "factors"
    path: str
    factors: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]

    @property
    def name(self) -> str:
        """Return its name in charts."""
        return setting_name(self.path)

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run.

        Raises:
            SpecError: There is no such setting, or its value is not a number.
        """
        known_setting(self.path, base)
        present = value_at(base, self.path)
        if isinstance(present, bool) or not isinstance(present, int | float):
            raise SpecError([(self.path, f"{present!r} is not a number that can be multiplied")])
        texts = tuple(written(float(f"{present * factor:.6g}")) for factor in self.factors)
        return ListAxis(path=self.path, texts=texts).values(base)


class WindowAxis(Spec):
    """The trained blocks, as a window that slides over the model.

    A method that steers the activations of one block steers the last block of the window.
    """

    name: ClassVar[str] = "blocks trained"
    kind: Literal["window"] = "window"
    width: Annotated[int, Field(ge=1)]
    """Number of blocks in the window."""
    stride: Annotated[int, Field(ge=1)] = 1
    """Number of blocks between windows."""
    phase: Annotated[int, Field(ge=0)] = 0

    @property
    def path(self) -> str:
        """Return the path that error messages name."""
        return f"phases.{self.phase}.first_layer"

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run.

        Raises:
            SpecError: There is no such phase, or the window does not fit the model.
        """
        method = _phase_of(base, self.path).method
        blocks = base.model.blocks
        if blocks is None:
            unknown = f"how many blocks {base.model.name} has is not known on this machine yet"
            raise SpecError([(self.path, unknown)])
        if self.width > blocks:
            wide = f"a window of {self.width} is wider than the model's {blocks} blocks"
            raise SpecError([(self.path, wide)])
        starts = range(0, blocks - self.width + 1, self.stride)
        found: list[Value] = []
        for first in starts:
            last, phase = first + self.width - 1, f"phases.{self.phase}"
            changes = [(f"{phase}.first_layer", first), (f"{phase}.last_layer", last)]
            if method.steers:
                changes.append((f"{phase}.method.layer", last))
            text = f"{first}" if first == last else f"{first}–{last}"
            found.append(Value(text, tuple(changes), (first + last) / 2))
        return tuple(found)


class SeedAxis(Spec):
    """Seeds 0 to n - 1, for the order of rows, dropout and random directions."""

    name: ClassVar[str] = "seed"
    path: ClassVar[str] = "seed"
    kind: Literal["seeds"] = "seeds"
    count: Annotated[int, Field(ge=1, le=MOST)]

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run."""
        del base
        return tuple(Value(str(n), (("seed", n),), float(n)) for n in range(self.count))


class ShareAxis(Spec):
    """Random shares of the forget documents of each subtask; larger shares contain smaller ones."""

    name: ClassVar[str] = "forget rows, %"
    path: ClassVar[str] = "data.forget"
    kind: Literal["forget_share"] = "forget_share"
    percent: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1, max_length=MOST)
    ]
    draw: Annotated[int, Field(ge=0)] = 0
    """Seed of the draw."""

    def values(self, base: RunSpec) -> tuple[Value, ...]:
        """Return the values of the axis for a base run.

        Raises:
            SpecError: The dataset is not available.
        """
        known = base.data.known
        if known.unknown_reason:
            raise SpecError([("data.source", known.unknown_reason)])
        found: list[Value] = []
        for percent in self.percent:
            ids = base.data.forget if percent == 100 else tuple(self._drawn(base, percent))
            value = ("data.forget", ids and list(ids))
            found.append(Value(f"{percent:g}", (value,), percent))
        return tuple(found)

    def _drawn(self, base: RunSpec, percent: float) -> Iterator[str]:
        """Yield the ids of the drawn rows, in the order of the data."""
        data, picked = base.data, base.data.forget and set(base.data.forget)
        rows = [
            row
            for row in data.known.rows("forget", data.fold)
            if row.task in data.tasks and (picked is None or row.id in picked)
        ]
        documents: dict[str, dict[str, None]] = defaultdict(dict)
        for row in rows:
            documents[row.task][row.document] = None
        chosen: set[tuple[str, str]] = set()
        for task, of in documents.items():
            order = list(of)
            # A string seeds the same draw on every machine, and another one for each subtask.
            random.Random(f"{self.draw} {task}").shuffle(order)
            some = max(1, round(len(order) * percent / 100))
            chosen.update((task, document) for document in order[:some])
        yield from (row.id for row in rows if (row.task, row.document) in chosen)


Axis = Annotated[
    ListAxis | RangeAxis | FactorsAxis | WindowAxis | SeedAxis | ShareAxis,
    Field(discriminator="kind"),
]


def setting_name(path: str) -> str:
    """Name a setting in words, with its phase if that is not the first."""
    parts = path.split(".")
    name = parts[-1].replace("_", " ")
    later = parts[0] == "phases" and len(parts) > 1 and parts[1] != "0"
    return f"{name}, phase {int(parts[1]) + 1}" if later and parts[1].isdecimal() else name


def known_setting(path: str, base: RunSpec) -> Setting:
    """Return the setting at a path of the run that is varied.

    Raises:
        SpecError: There is none, or the run's method or adapter has none.
    """
    found = [one for one in settings() if one.path == general_path(path)]
    if not found:
        raise SpecError([(path, "there is no such setting: `run --help` lists them all")])
    if path.startswith("phases."):
        method = _phase_of(base, path).method.kind
        found = [one for one in found if one.method in ("", method)]
        if not found:
            raise SpecError([(path, f"the method {method} has no such setting")])
    return found[0]


def _phase_of(base: RunSpec, path: str) -> Any:
    number = int(path.split(".")[1])
    if base.only_scores:
        raise SpecError([(path, "the run that is varied only scores: it has no phases")])
    if number >= len(base.phases):
        raise SpecError([(path, f"there is no phase {number}: the last is {len(base.phases) - 1}")])
    return base.phases[number]


def value_at(base: RunSpec, path: str) -> Any:
    """Return the plain value that a run has at a path; none if it has no such group."""
    at: Any = base.model_dump(mode="json")
    for part in path.split("."):
        if at is None:
            return None
        if isinstance(at, list):
            at = cast("list[Any]", at)[int(part)]
        else:
            at = cast("dict[str, Any]", at).get(part)
    return at


LAYERS, SHARES, SEEDS = "layers", "forget rows", "seeds"
"""Names of axes that set more than one setting."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(
    rf"({_NUMBER})\s*(?:to|\.\.\.?|…|–)\s*({_NUMBER})\s+in\s+(\d+)(?:\s+(log|linear)\w*)?", re.I
)
_FACTORS = re.compile(r"[x×*]\s*([\d.].*)", re.I)


def read_axis(what: str, text: str, *, phase: int = 0) -> Axis:
    """Parse an axis from typed text.

    `0.1, 0.5, 1` lists values. `1e-6 to 1e-4 in 5` is a linear range of 5 values, or a logarithmic
    one with `log` at its end. `x 0.1, 0.5, 2` lists multiples of the base run's value.

    Args:
        what: Dotted path of a setting, or one of `LAYERS`, `SHARES` and `SEEDS`.
        text: Its values.
        phase: Phase of a layer axis, 0-based.

    Raises:
        SpecError: The text is not a valid list or range of values.
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
        return SeedAxis(count=whole_number(what, text))
    if what == LAYERS:
        return WindowAxis(width=whole_number(what, text), phase=phase)
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
    """Split a list at its commas, or at its spaces if it has none."""
    parts = text.split(",") if "," in text else text.split()
    return tuple(part.strip() for part in parts if part.strip())


def _number(what: str, text: str) -> float:
    try:
        return float(re.sub(r"^[x×*]\s*", "", text))
    except ValueError as error:
        raise SpecError([(what, f"{text!r} is not a number")]) from error


def whole_number(what: str, text: str) -> int:
    """Parse a whole number.

    Raises:
        SpecError: The text is not one; `what` names it.
    """
    if not text.isdecimal():
        raise SpecError([(what, f"must be a whole number, not {text!r}")])
    return int(text)


LARGEST = 1000
"""Most runs of a sweep."""

MOST_PROBLEMS = 5
"""Most problems in one message: a wrong setting is wrong in many runs."""


class SweepSpec(Spec):
    """One base run, varied along axes."""

    base: RunSpec
    """The run that is varied; a file may name a preset here."""

    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=5)]
    """Axes of the grid; the first one changes slowest."""

    pick: Literal["grid", "random"] = "grid"
    """Whether to run every combination of values or a random sample."""

    budget: Annotated[int | None, Field(ge=1)] = None
    """Most runs; none runs every combination."""

    draw: Annotated[int, Field(ge=0)] = 0
    """Seed of the random sample."""

    @field_validator("base", mode="before")
    @classmethod
    def _named(cls, base: Any) -> Any:
        return preset(base).spec if isinstance(base, str) else base

    @field_validator("base")
    @classmethod
    def _keeps_nothing(cls, base: RunSpec) -> RunSpec:
        if base.keep_as:
            raise ValueError(
                f"keep_as: all runs of a sweep would be kept as {base.keep_as!r}: leave it empty"
            )
        return base


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep."""

    place: tuple[int, ...]
    """Index of its value on each axis, 0-based."""
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Grid:
    """All runs of a sweep."""

    values: tuple[tuple[Value, ...], ...]
    """Values of each axis."""
    points: tuple[Point, ...]
    """Runs in their order of execution."""

    def label(self, spec: SweepSpec, point: Point) -> str:
        """Name a point by its values."""
        return ", ".join(
            f"{axis.name} {values[at].text}"
            for axis, values, at in zip(spec.axes, self.values, point.place, strict=True)
        )


def parse_sweep(asked: Mapping[str, Any] | str) -> SweepSpec:
    """Parse a sweep from JSON text or plain values.

    Raises:
        SpecError: One line per wrong field, with its value.
    """
    return validated(SweepSpec, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A hashable key, so that equal sweeps are expanded once."""

    spec: SweepSpec


def expand_grid(spec: SweepSpec) -> Grid:
    """Expand a sweep into its runs. Cached.

    Raises:
        SpecError: An axis does not fit the base run, two axes set the same path, there are too many
            runs, or some runs are invalid.
    """
    return _expand_grid(_Asked(spec))


@lru_cache(maxsize=64)
def _expand_grid(asked: _Asked) -> Grid:
    spec = asked.spec
    values = tuple(axis.values(spec.base) for axis in spec.axes)
    _apart(spec, values)
    sizes = [len(of) for of in values]
    count = min(math.prod(sizes), spec.budget or math.prod(sizes))
    if count > LARGEST:
        many = f"{count:,} runs are too many: take fewer values, or a budget of {LARGEST:,} at most"
        raise SpecError([("budget", many)])
    points, problems = list[Point](), dict[tuple[str, str], None]()
    plain = spec.base.model_dump(mode="json")
    for place in _places(spec, sizes, count):
        changes = [
            change for of, at in zip(values, place, strict=True) for change in of[at].changes
        ]
        try:
            points.append(Point(place, parse_spec(replaced(plain, changes))))
        except SpecError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        first = list(problems)[:MOST_PROBLEMS]
        more = len(problems) - len(first)
        raise SpecError([*first, *([("", f"and {more} more like these")] if more else [])])
    return Grid(values, tuple(points))


def _apart(spec: SweepSpec, values: tuple[tuple[Value, ...], ...]) -> None:
    """Check that no two axes set the same path."""
    taken: dict[str, int] = {}
    for number, of in enumerate(values):
        for path in {path for value in of for path, _ in value.changes}:
            if path in taken:
                twice = f"{path} is set by the axis {spec.axes[taken[path]].name!r} already"
                raise SpecError([(f"axes.{number}", twice)])
            taken[path] = number


def _places(spec: SweepSpec, sizes: list[int], count: int) -> Iterator[tuple[int, ...]]:
    """Yield the place of each run, in order of execution."""
    if spec.pick == "grid":
        yield from itertools.islice(itertools.product(*map(range, sizes)), count)
        return
    for number in _drawn(spec.draw, math.prod(sizes), count):
        place: list[int] = []
        for size in reversed(sizes):
            number, at = divmod(number, size)
            place.append(at)
        yield tuple(reversed(place))


def _drawn(seed: int, total: int, count: int) -> Iterator[int]:
    """Draw distinct numbers below `total`; a longer draw starts with the shorter one."""
    source, seen = random.Random(seed), set[int]()
    while len(seen) < count:
        number = source.randrange(total)
        if number not in seen:
            seen.add(number)
            yield number


def shown_axes(spec: SweepSpec) -> tuple[int, ...]:
    """Return the numbers of the axes that a chart shows.

    Charts average over seeds, so they show the seed axis only if there is no other.
    """
    found = tuple(n for n, axis in enumerate(spec.axes) if not isinstance(axis, SeedAxis))
    return found or (0,)


def with_more(spec: SweepSpec, number: int, text: str) -> SweepSpec:
    """Return a copy of a sweep with values appended to an axis.

    Args:
        spec: The sweep.
        number: Number of the axis, 0-based.
        text: The values, as for `read_axis`; for seeds, how many more.

    Raises:
        SpecError: The text is invalid, or the axis takes no more values.
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
            return SeedAxis(count=axis.count + whole_number(SEEDS, text))
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
    """Return a copy of a random sweep that draws more runs.

    Args:
        spec: The sweep.
        text: The number of further runs.

    Raises:
        SpecError: The sweep is not random, or the text is not a number.
    """
    if spec.pick != "random" or spec.budget is None:
        raise SpecError([("", "it has every combination already: add values instead")])
    return spec.model_copy(update={"budget": spec.budget + whole_number("budget", text)})


class ReadySweep(Shipped):
    """A sweep that comes with the program."""

    sweep: SweepSpec

    @property
    def embedded(self) -> bool:
        """Whether it uses the embedded model."""
        return self.sweep.base.model.name == ModelSpec().name


@cache
def ready_sweeps() -> Mapping[str, ReadySweep]:
    """Map the name of each sweep in `assets/sweeps` to it, those of the embedded model first."""
    return shipped("sweeps", ReadySweep, lambda one: (not one.embedded, one.name))


def ready_sweep(name: str) -> ReadySweep:
    """Return a sweep in `assets/sweeps` by name.

    Raises:
        SpecError: There is none of this name.
    """
    return named(name, ready_sweeps(), "sweep")
