"""Runs that differ only in the seed, and the spread of their scores."""

import statistics
from collections.abc import Iterable

from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.run import RunSpec, same_settings


def seed_group(spec: RunSpec, rows: Iterable[RunRecord]) -> tuple[Scores, ...]:
    """Return the unlearned models' scores of a spec, one per seed.

    Args:
        spec: The spec; its seed is ignored.
        rows: Runs, newest first. The newest run of a seed counts; imported runs do not.
    """
    found: dict[int, Scores] = {}
    for row in rows:
        # Cheap checks first: this runs for every run in the list.
        if row.after is None or row.spec.seed in found or row.spec.model != spec.model:
            continue
        if not row.origin and row.spec.data == spec.data and same_settings(row.spec, spec):
            found[row.spec.seed] = row.after
    return tuple(found.values())


def seeds_text(group: tuple[Scores, ...]) -> str:
    """Return mean and standard deviation over seeds, in words; empty for fewer than two."""
    if len(group) < 2:
        return ""
    parts: list[str] = []
    for score in shown_scores():
        values = [value for scores in group if (value := score.value(scores)) is not None]
        if len(values) == len(group):
            title = score.title_for(group[0]) if score.variant else score.words
            parts.append(f"{title} {statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}")
    return f"{len(group)} seeds of this spec: {', '.join(parts)}"
