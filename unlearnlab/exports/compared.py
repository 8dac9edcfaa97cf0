"""All that a comparison is made of: several runs with their curves and their evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.measures import measured
from unlearnlab.metrics.scores import Evidence, scored_evidence
from unlearnlab.runs.events import Evaluated, StoredEvent
from unlearnlab.runs.store import Store
from unlearnlab.views.compare.examples import Speaker
from unlearnlab.views.compare.overlays import Track, track
from unlearnlab.views.compare.scoreboards import Intervals
from unlearnlab.views.runs import RunSummary, labels, run_summary
from unlearnlab.views.scoreboard import at_ends, retrained_of


@dataclass(frozen=True, slots=True)
class Compared:
    """Several runs, in the order they were named."""

    entries: tuple[RunSummary, ...]
    tracks: Mapping[str, Track]
    """Curves by id of the run."""
    evidence: Mapping[str, Evidence]
    """What the unlearned models said, by id of the run; as far as it is kept."""
    original: Evidence | None
    """What the original model said; none if the runs did not start from the same one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Name the runs so that none is mistaken for another."""
        return labels(self.entries)

    @property
    def intervals(self) -> Mapping[str, Intervals]:
        """Return the confidence intervals of each run's scores, by id of the run."""
        return {
            run.run_id: score_intervals(scored_evidence(found, run.spec.data.forget)).before
            for run in self.entries
            if (found := self.evidence.get(run.run_id))
        }

    @property
    def measures(self) -> Mapping[str, Mapping[str, Interval]]:
        """Return the further measures of each unlearned model, by id of the run."""
        return {
            run.run_id: measured(
                scored_evidence(found, run.spec.data.forget), retrained_of(run.spec)
            )
            for run in self.entries
            if (found := self.evidence.get(run.run_id))
        }

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """List the models whose answers are set beside each other, the original first."""
        first = [Speaker("Original model", self.original)] if self.original else []
        named = zip(self.entries, self.labels, strict=True)
        runs = (Speaker(label, self.evidence.get(run.run_id), run.run_id) for run, label in named)
        return (*first, *runs)


def compared(runs: Store, run_ids: Sequence[str]) -> Compared:
    """Gather runs from a store, each once.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    ids = tuple(dict.fromkeys(run_ids))
    events = {run: runs.events(run) for run in ids}
    rows = {run: runs.row(run) for run in ids}
    keys = {run: at_ends(rows[run].spec, *_keys(stored), "") for run, stored in events.items()}
    before = {original for original, _ in keys.values() if original}
    evidence = {run: runs.evidence(key) for run, (_, key) in keys.items() if key}
    return Compared(
        entries=tuple(map(run_summary, rows.values())),
        tracks={run: track(stored) for run, stored in events.items()},
        evidence={run: one for run, one in evidence.items() if one is not None},
        original=runs.evidence(before.pop()) if len(before) == 1 else None,
    )


def _keys(stored: Sequence[StoredEvent]) -> tuple[str, str]:
    """Return the keys of the evidence before and after; empty where there is none."""
    scored = [item.event for item in stored if isinstance(item.event, Evaluated)]
    found = {one.when: one.key for one in scored}
    return found.get("before", ""), found.get("after", "")
