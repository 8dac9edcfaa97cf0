"""A sweep is one `SweepSpec`: the run that is varied, and the axes along which it is."""

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from unlearnlab.spec.errors import SpecError, problem_of
from unlearnlab.spec.fields import replaced
from unlearnlab.spec.methods import Spec
from unlearnlab.spec.presets import preset
from unlearnlab.spec.run import RunSpec, parse_spec
from unlearnlab.spec.sweep.axes import Axis, SeedAxis, Value, changed_paths

LARGEST = 1000
"""Runs that a sweep may have."""

TOLD = 5
"""Problems that are told at once: a wrong setting is wrong in many runs."""


class SweepSpec(Spec):
    """One run, varied along axes."""

    base: RunSpec
    """The run that is varied; a file may name a preset instead."""

    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=5)]
    """What is varied; the first axis changes slowest."""

    pick: Literal["grid", "random"] = "grid"
    """Every combination of values, or some drawn at random."""

    budget: Annotated[int | None, Field(ge=1)] = None
    """Runs at most; none takes every combination."""

    draw: Annotated[int, Field(ge=0)] = 0
    """Seed of the random draw."""

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
    """Which value of each axis, 0-based."""
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep laid out."""

    values: tuple[tuple[Value, ...], ...]
    """Of each axis."""
    points: tuple[Point, ...]
    """In the order in which they run."""

    def label(self, spec: SweepSpec, point: Point) -> str:
        """Name a point by its values."""
        return ", ".join(
            f"{axis.name} {values[at].text}"
            for axis, values, at in zip(spec.axes, self.values, point.place, strict=True)
        )


def parse_sweep(asked: Mapping[str, Any] | str) -> SweepSpec:
    """Make a sweep of JSON text or of plain values.

    Raises:
        SpecError: One line for every field that is wrong, with its value.
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
    """A sweep as a key: equal ones are laid out once."""

    spec: SweepSpec


def laid_out(spec: SweepSpec) -> Grid:
    """Return the runs that a sweep asks for.

    Raises:
        SpecError: An axis fits nothing, two set the same, there are too many runs, or values of
            some of the runs are wrong.
    """
    return _laid_out(_Asked(spec))


@lru_cache(maxsize=64)
def _laid_out(asked: _Asked) -> Grid:
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
        told = list(problems)[:TOLD]
        more = len(problems) - len(told)
        raise SpecError([*told, *([("", f"and {more} more like these")] if more else [])])
    return Grid(values, tuple(points))


def _apart(spec: SweepSpec, values: tuple[tuple[Value, ...], ...]) -> None:
    """Make sure that no two axes set the same."""
    taken: dict[str, int] = {}
    for number, of in enumerate(values):
        for path in changed_paths(of):
            if path in taken:
                twice = f"{path} is set by the axis {spec.axes[taken[path]].name!r} already"
                raise SpecError([(f"axes.{number}", twice)])
            taken[path] = number


def _places(spec: SweepSpec, sizes: list[int], count: int) -> Iterator[tuple[int, ...]]:
    """Yield the place of each run, in the order in which they run."""
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
    """Draw numbers below `total`, each once: a longer draw begins as a shorter one does."""
    source, seen = random.Random(seed), set[int]()
    while len(seen) < count:
        number = source.randrange(total)
        if number not in seen:
            seen.add(number)
            yield number


def shown_axes(spec: SweepSpec) -> tuple[int, ...]:
    """Return the numbers of the axes that a chart lays out: all but the seeds, over which it sums.

    A sweep of nothing but seeds shows those.
    """
    found = tuple(n for n, axis in enumerate(spec.axes) if not isinstance(axis, SeedAxis))
    return found or (0,)
