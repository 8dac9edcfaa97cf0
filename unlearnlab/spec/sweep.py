"""A sweep: one `SweepSpec` holds the run that is varied and the axes that vary it."""

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from unlearnlab.data.files import ASSETS
from unlearnlab.spec.axes import (
    SEEDS,
    SHARES,
    Axis,
    ListAxis,
    SeedAxis,
    ShareAxis,
    Value,
    WindowAxis,
    changed_paths,
    read_axis,
    whole_number,
)
from unlearnlab.spec.errors import SpecError, problem_of, unknown
from unlearnlab.spec.fields import replaced
from unlearnlab.spec.methods import Spec
from unlearnlab.spec.presets import preset
from unlearnlab.spec.run import ModelSpec, RunSpec, parse_spec

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
    try:
        values = json.loads(asked) if isinstance(asked, str) else asked
    except json.JSONDecodeError as error:
        raise SpecError([("", f"this is not JSON: {error}")]) from error
    try:
        return SweepSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError([problem_of(detail) for detail in error.errors()]) from error


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
        for path in changed_paths(of):
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


FOLDER = ASSETS / "sweeps"


class ReadySweep(Spec):
    """A sweep that ships with the program, with its source."""

    name: str
    """Name of its file, and its name on the command line."""
    title: str
    description: str
    """The question it answers, in a sentence or two."""
    source: str
    """Who proposed it, and the source of its values."""
    sweep: SweepSpec

    @property
    def embedded(self) -> bool:
        """Whether it uses the embedded model."""
        return self.sweep.base.model.name == ModelSpec().name


@cache
def ready_sweeps() -> Mapping[str, ReadySweep]:
    """Return the sweeps in `assets/sweeps` by name, those of the embedded model first."""
    found = [
        ReadySweep.model_validate_json(path.read_text(encoding="utf-8"))
        for path in FOLDER.glob("*.json")
    ]
    found.sort(key=lambda one: (not one.embedded, one.name))
    return {one.name: one for one in found}


def ready_sweep(name: str) -> ReadySweep:
    """Return a sweep in `assets/sweeps` by name.

    Raises:
        SpecError: There is none of this name.
    """
    if name not in ready_sweeps():
        raise SpecError([("sweep", unknown(name, ready_sweeps(), "sweep"))])
    return ready_sweeps()[name]
