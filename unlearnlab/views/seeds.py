"""Runs that differ in nothing but the seed: how far one number depends on luck."""

import statistics
from collections.abc import Iterable

from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.spec.plan import same_settings
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.runs import Row


def seed_group(spec: RunSpec, rows: Iterable[Row]) -> tuple[Scores, ...]:
    """Return the scores of unlearned models of one spec, one for each seed.

    Args:
        spec: What they were asked to do, whatever its seed.
        rows: Runs, newest first: of several with one seed the newest counts. Those from elsewhere
            do not.
    """
    found: dict[int, Scores] = {}
    for row in rows:
        # Cheap questions first: this is asked of every run in the list.
        if row.after is None or row.spec.seed in found or row.spec.model != spec.model:
            continue
        if not row.origin and row.spec.data == spec.data and same_settings(row.spec, spec):
            found[row.spec.seed] = row.after
    return tuple(found.values())


def seeds_text(group: tuple[Scores, ...]) -> str:
    """Say how far runs of one spec spread; empty for fewer than two seeds."""
    if len(group) < 2:
        return ""
    parts: list[str] = []
    for score in shown_scores():
        values = [value for scores in group if (value := score.value(scores)) is not None]
        if len(values) == len(group):
            title = score.title_for(group[0]) if score.variant else score.words
            parts.append(f"{title} {statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}")
    return f"{len(group)} seeds of this spec: {', '.join(parts)}"
