"""Store, worker and caches that the page's handlers share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from unlearnlab.data.datasets import Row
from unlearnlab.metrics.labels import Yardstick
from unlearnlab.metrics.measures import Retrained, retrained_answers, retrained_models
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.models.weights import block_changes
from unlearnlab.runs.engine_api import Device, TokenPreview
from unlearnlab.runs.events import Event
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import ModelSpec, RunSpec, Template
from unlearnlab.ui.kit.run_source import RunSource, Statistics, remembered
from unlearnlab.views.answers import AnswerRow, joined_of, yardstick
from unlearnlab.views.reproduction import Reproduction, reproduction
from unlearnlab.views.says import SaidStep, said_steps
from unlearnlab.views.scoreboard import compares_with_retrained

EVIDENCE = 32
"""Models whose answers stay in memory: drawing a comparison reads a dozen."""


@dataclass(frozen=True)
class Program:
    """Store, worker, scores of the retrained model, and caches."""

    store: Store
    worker: Worker
    references: Mapping[str, Scores]
    """Scores of the retrained model, by fold."""
    devices: Callable[[], Sequence[Device]] = tuple
    """Lists the devices and their free memory; empty until the engine is loaded."""
    tokens: Callable[[ModelSpec, Template, Row], TokenPreview] | None = None
    """Returns the exact tokens of a row, or raises a ValueError; none without an engine."""
    replays: Replays = field(default_factory=Replays)
    """Active replays of recorded runs."""
    life: str = field(default_factory=lambda: uuid4().hex)
    """Id of this program start, so that a page can tell that its program was restarted."""
    runs: RunSource = field(init=False)
    """Reads runs, replays and guest recordings."""
    evidence: Callable[[str], Evidence | None] = field(init=False)
    """Reads evidence by key; cached, since filters read it repeatedly."""
    statistics: Statistics = field(init=False)
    """Statistics derived from evidence; cached."""

    rows: Callable[[str, str, RunSpec], tuple[AnswerRow, ...]] = field(init=False)
    """Joins and labels the answers of two evidence keys of a run, the second of which may be empty;
    cached."""

    _yardsticks: Callable[[str, RunSpec], Yardstick] = field(init=False)
    """By the key of the original model's evidence."""

    moved: Callable[[Path, Path, str], Mapping[int, float]] = field(init=False)
    """How far the weights of each block moved, by the folder of the original, the file of a run and
    the run's incarnation; cached."""

    _outlines: Callable[[str, str], Sequence[Event]] = field(init=False)
    """By id and incarnation of the run."""

    _repeats: Callable[..., Reproduction] = field(init=False)
    """By ids and incarnations of both runs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", RunSource(self.store, self.replays))
        object.__setattr__(self, "evidence", remembered(EVIDENCE, self.runs.evidence))
        object.__setattr__(self, "statistics", Statistics(self.evidence))
        object.__setattr__(self, "rows", remembered(6, self._rows))
        object.__setattr__(self, "_yardsticks", remembered(6, self._yardstick))
        object.__setattr__(self, "moved", lru_cache(maxsize=64)(_moved))
        object.__setattr__(self, "_outlines", lru_cache(maxsize=64)(self._outline))
        object.__setattr__(self, "_repeats", lru_cache(maxsize=16)(self._repeat))

    def reference(self, spec: RunSpec) -> Scores | None:
        """Return the scores of the retrained model, if it is the ideal result of a run."""
        return self.references.get(spec.data.fold) if compares_with_retrained(spec) else None

    def retrained(self, spec: RunSpec) -> Retrained | None:
        """Return the measures of the retrained model, if `reference` applies."""
        return None if self.reference(spec) is None else retrained_models().get(spec.data.fold)

    def retrained_answers(self, specs: Sequence[RunSpec]) -> Evidence | None:
        """Return the retrained model's answers, if the same reference applies to all specs."""
        folds = {spec.data.fold if self.reference(spec) else None for spec in specs}
        return retrained_answers().get(str(folds.pop())) if len(folds) == 1 else None

    def answers(self, spec: RunSpec, progress: RunProgress) -> tuple[AnswerRow, ...]:
        """Join both models' answers of a run; empty before the first evaluation."""
        if progress.before is None:
            return ()
        after = progress.after.key if progress.after else ""
        return self.rows(progress.before.key, after, spec)

    def said(self, spec: RunSpec, progress: RunProgress) -> tuple[SaidStep, ...]:
        """Return what a run's model said at each probe, labelled as its answers are."""
        before = progress.before
        by = self._yardsticks(before.key, spec) if before and progress.said else None
        return said_steps(spec, progress.said, by)

    def _yardstick(self, before_key: str, spec: RunSpec) -> Yardstick:
        before = self.evidence(before_key)
        return yardstick(spec, before) if before else Yardstick()

    def outline(self, run_id: str) -> Sequence[Event]:
        """Return the outline of a finished run; cached, since it no longer changes."""
        return self._outlines(run_id, self.store.incarnation(run_id))

    def _outline(self, run_id: str, _incarnation: str) -> Sequence[Event]:
        return self.store.outline(run_id)

    def reproduced(self, first: str, again: str) -> Reproduction:
        """Compare an ended reproduction, `again`, with the original run; cached.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        return self._repeats(*((run, self.store.incarnation(run)) for run in (first, again)))

    def _repeat(self, *runs: tuple[str, str]) -> Reproduction:
        return reproduction(*(self.store.full_record(run_id) for run_id, _ in runs))

    def _rows(self, before_key: str, after_key: str, spec: RunSpec) -> tuple[AnswerRow, ...]:
        before = self.evidence(before_key)
        after = self.evidence(after_key) if after_key else None
        return joined_of(spec, before, after) if before else ()


def _moved(original: Path, changed: Path, _incarnation: str) -> Mapping[int, float]:
    return block_changes(original, changed)
