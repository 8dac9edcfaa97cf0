"""What the page's handlers need of the program, in one value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

from unlearnlab.metrics.measures import Retrained, retrained_answers, retrained_models
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.runs.engine_api import Device
from unlearnlab.runs.events import Event
from unlearnlab.runs.progress import Course
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.cache import Derived, remembered
from unlearnlab.ui.kit.run_source import Courses, Shown
from unlearnlab.views.answers import AnswerRow, joined
from unlearnlab.views.reproduction.agreement import Reproduction, reproduction
from unlearnlab.views.reproduction.sides import side
from unlearnlab.views.scoreboard import compares_with_retrained


@dataclass(frozen=True)
class Program:
    """Store and worker, the retrained model's scores, and what is kept at hand for speed."""

    store: Store
    worker: Worker
    references: Mapping[str, Scores]
    """Scores of the retrained model by fold."""
    devices: Callable[[], Sequence[Device]] = tuple
    """Lists the devices and what they have free; none as long as the engine is not there."""
    replays: Replays = field(default_factory=Replays)
    """Recorded runs that are shown as if live."""
    life: str = field(default_factory=lambda: uuid4().hex)
    """Another after each start: a page that outlived its program is told so."""
    courses: Courses = field(init=False)
    shown: Shown = field(init=False)
    """Reads runs as the tab Unlearn shows them."""
    evidence: Callable[[str], Evidence | None] = field(init=False)
    """Reads evidence by key; the last few stay in memory, for filters ask again and again."""
    derived: Derived = field(init=False)
    """What evidence amounts to beyond the scores."""

    rows: Callable[[str, str, tuple[str, ...] | None], tuple[AnswerRow, ...]] = field(init=False)
    """Joins the answers of two keys, the second of which may be empty, and marks the rows that were
    picked; the last few stay too."""

    _outlines: Callable[[str, str], Sequence[Event]] = field(init=False)
    """By id and incarnation of the run."""

    _repeats: Callable[..., Reproduction] = field(init=False)
    """By ids and incarnations of both runs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "courses", Courses(self.store))
        object.__setattr__(self, "shown", Shown(self.store, self.courses, self.replays))
        object.__setattr__(self, "evidence", remembered(6, self.shown.evidence))
        object.__setattr__(self, "derived", Derived(self.evidence))
        object.__setattr__(self, "rows", remembered(6, self._rows))
        object.__setattr__(self, "_outlines", lru_cache(maxsize=64)(self._outline))
        object.__setattr__(self, "_repeats", lru_cache(maxsize=16)(self._repeat))

    def reference(self, spec: RunSpec) -> Scores | None:
        """Return the scores of the model retrained without what a run forgets, if it is the one."""
        return self.references.get(spec.data.fold) if compares_with_retrained(spec) else None

    def retrained(self, spec: RunSpec) -> Retrained | None:
        """Return what measures compare with, where `reference` has a model."""
        return None if self.reference(spec) is None else retrained_models().get(spec.data.fold)

    def retrained_answers(self, specs: Sequence[RunSpec]) -> Evidence | None:
        """Return what the retrained model said, where `reference` has the same for all of them."""
        folds = {spec.data.fold if self.reference(spec) else None for spec in specs}
        return retrained_answers().get(str(folds.pop())) if len(folds) == 1 else None

    def answers(self, spec: RunSpec, course: Course) -> tuple[AnswerRow, ...]:
        """Join both models' answers of a run; none before the first scoring."""
        if course.before is None:
            return ()
        after = course.after.key if course.after else ""
        return self.rows(course.before.key, after, spec.data.forget)

    def outline(self, run_id: str) -> Sequence[Event]:
        """Return how a finished run went, which changes no more."""
        return self._outlines(run_id, self.store.incarnation(run_id))

    def _outline(self, run_id: str, _incarnation: str) -> Sequence[Event]:
        return self.store.outline(run_id)

    def reproduced(self, first: str, again: str) -> Reproduction:
        """Compare an ended run, the second, with the one that it repeats.

        Raises:
            StoreError: There is no such run, or the store cannot be read.
        """
        return self._repeats(*((run, self.store.incarnation(run)) for run in (first, again)))

    def _repeat(self, *runs: tuple[str, str]) -> Reproduction:
        return reproduction(*(side(self.store.recorded(run_id)) for run_id, _ in runs))

    def _rows(
        self, before_key: str, after_key: str, picked: tuple[str, ...] | None
    ) -> tuple[AnswerRow, ...]:
        before = self.evidence(before_key)
        after = self.evidence(after_key) if after_key else None
        return joined(before, after, picked) if before else ()
