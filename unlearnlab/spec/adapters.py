"""Which low-rank adapters a run's phases train and merge, and which of that cannot be.

Each name is an adapter of its own that starts at the original weights; phases of the same name go
on with it. A merge makes a new adapter of all those before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from unlearnlab.models.families import ROLES, Modules, Role
from unlearnlab.spec.methods import MethodSpec, TiesMerge

DEFAULT = "default"
"""The adapter of phases that name none."""

RESERVED = frozenset(
    [
        "apply",
        "bfloat16",
        "buffers",
        "children",
        "clear",
        "compile",
        "cpu",
        "cuda",
        "double",
        "eval",
        "float",
        "forward",
        "half",
        "ipu",
        "items",
        "keys",
        "layers",
        "mlp",
        "model",
        "modules",
        "mtia",
        "parameters",
        "pop",
        "to",
        "train",
        "training",
        "type",
        "update",
        "values",
        "weight",
        "xpu",
    ]
)
"""Words that cannot name an adapter: torch keeps adapters beside attributes so called, or a part of
the model has the name, and peft, which tells adapters apart by it, would not save that part."""


class Adapting(Protocol):
    """A phase as far as its adapter goes."""

    @property
    def method(self) -> MethodSpec:
        """Return what is minimised, or the merge."""
        ...

    @property
    def adapter_name(self) -> str:
        """Return the name of the adapter that is trained or made."""
        ...

    @property
    def adapter_rank(self) -> int | None:
        """Return its rank; none is the model's."""
        ...

    @property
    def modules(self) -> Modules:
        """Return the matrices that are trained."""
        ...

    def blocks(self, of: int) -> range:
        """Return the trained blocks of a model with `of` blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where one adapter sits in the model."""

    rank: int
    roles: frozenset[Role]
    """What its matrices are for."""
    blocks: frozenset[int]

    def with_phase(self, phase: Adapting, blocks: int) -> "Adapter":
        """Return it, with room for what a phase trains."""
        roles = self.roles | frozenset(ROLES[phase.modules])
        return Adapter(self.rank, roles, self.blocks | frozenset(phase.blocks(blocks)))


def adapters(phases: Sequence[Adapting], *, blocks: int, rank: int) -> Mapping[str, Adapter]:
    """Map the name of each adapter to where it sits, in the order in which they come up.

    Args:
        phases: In order.
        blocks: Count of the model's blocks.
        rank: Of phases that choose none.
    """
    found: dict[str, Adapter] = {}
    for phase in phases:
        if isinstance(phase.method, TiesMerge):
            found.setdefault(phase.adapter_name, next(iter(found.values())))
        else:
            fresh = Adapter(phase.adapter_rank or rank, frozenset(), frozenset())
            found[phase.adapter_name] = found.get(phase.adapter_name, fresh).with_phase(
                phase, blocks
            )
    return found


def adapter_problems(
    phases: Sequence[Adapting], *, blocks: int, rank: int | None
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the adapters of a run: the field, and the way out.

    Args:
        phases: In order.
        blocks: Count of the model's blocks.
        rank: Of phases that choose none; none if the run has no adapter at all.
    """
    for number, phase in enumerate(phases):
        before = phases[:number]
        if rank is None:
            found = _without(phase)
        elif phase.adapter_name in RESERVED:
            found = _reserved(phase)
        elif isinstance(phase.method, TiesMerge):
            found = _merging(phase, adapters(before, blocks=blocks, rank=rank))
        else:
            found = _training(phase, before, blocks=blocks, rank=rank)
        yield from ((f"phases.{number}.{field}", problem) for field, problem in found)


def _without(phase: Adapting) -> Iterator[tuple[str, str]]:
    if isinstance(phase.method, TiesMerge):
        yield "method.kind", "a merge needs LoRA adapters: switch the adapter on (model.adapter)"
    elif phase.adapter_name != DEFAULT:
        yield (
            "adapter_name",
            f"there is no adapter to call {phase.adapter_name!r}: switch LoRA on (model.adapter), "
            f"or leave the name at {DEFAULT!r}",
        )
    elif phase.adapter_rank is not None:
        yield (
            "adapter_rank",
            f"there is no adapter to give rank {phase.adapter_rank}: switch LoRA on "
            "(model.adapter), or leave the rank out",
        )


def _reserved(phase: Adapting) -> Iterator[tuple[str, str]]:
    yield (
        "adapter_name",
        f"no adapter can be called {phase.adapter_name!r}, which means something to the model: "
        f"take another name, such as '{phase.adapter_name}-1'",
    )


def _training(
    phase: Adapting, before: Sequence[Adapting], *, blocks: int, rank: int
) -> Iterator[tuple[str, str]]:
    name = phase.adapter_name
    known = adapters(before, blocks=blocks, rank=rank).get(name)
    if known is None:
        return
    if phase.adapter_rank not in (None, known.rank):
        yield (
            "adapter_rank",
            f"adapter {name!r} has rank {known.rank} from an earlier phase, "
            f"not {phase.adapter_rank}: leave the rank out, or name another adapter",
        )
    merged = {one.adapter_name for one in before if isinstance(one.method, TiesMerge)}
    if name in merged and known.with_phase(phase, blocks) != known:
        yield (
            "adapter_name",
            f"the merged adapter {name!r} does not reach all layers and modules of this phase: "
            "choose those of its parts",
        )


def _merging(phase: Adapting, before: Mapping[str, Adapter]) -> Iterator[tuple[str, str]]:
    names = " and ".join(repr(name) for name in before)
    if len(before) < 2:
        yield (
            "method.kind",
            f"nothing to merge: {names or 'no adapter'} was trained before it: "
            "let two phases before it train adapters of different names",
        )
    elif len({one.rank for one in before.values()}) > 1:
        ranks = ", ".join(f"{name!r} has {one.rank}" for name, one in before.items())
        yield (
            "method.kind",
            f"adapters of different rank cannot be merged ({ranks}): give their phases one rank",
        )
    elif len({(one.roles, one.blocks) for one in before.values()}) > 1:
        yield (
            "method.kind",
            f"{names} were trained in different layers or modules: let their phases train the same",
        )
    elif phase.adapter_name in before:
        yield (
            "adapter_name",
            f"{phase.adapter_name!r} is the name of an adapter trained before: "
            "call the merged one otherwise",
        )
    elif phase.adapter_rank is not None:
        yield (
            "adapter_rank",
            f"a merged adapter has the rank of its parts, not {phase.adapter_rank}: leave it out",
        )
