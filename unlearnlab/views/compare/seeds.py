"""Runs of the same settings with different seeds: what lies between them is luck."""

from collections.abc import Sequence

from unlearnlab.spec.run import settled
from unlearnlab.views.runs import RunSummary


def seed_groups(of: Sequence[RunSummary]) -> tuple[tuple[RunSummary, ...], ...]:
    """Put runs together that differ in nothing but their seed and name, in order of appearance."""
    groups: dict[str, list[RunSummary]] = {}
    for run in of:
        groups.setdefault(settled(run.spec, seed=0).model_dump_json(), []).append(run)
    return tuple(tuple(group) for group in groups.values())
