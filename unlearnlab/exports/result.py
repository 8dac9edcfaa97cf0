"""All that a run has left: what every export is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.metrics.measures import Taken, taken
from unlearnlab.metrics.scores import Evidence, scored_evidence
from unlearnlab.runs.events import Evaluated, Loaded, StoredEvent
from unlearnlab.runs.progress import RunProgress, Status, advance
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.answers import AnswerRow, joined
from unlearnlab.views.scoreboard import Scoreboard, retrained_of, scoreboard


@dataclass(frozen=True, slots=True)
class Result:
    """A run with its events and its evidence."""

    row: RunRecord
    events: Sequence[StoredEvent]
    course: RunProgress
    before: Evidence | None
    after: Evidence | None
    saved: Mapping[str, Path]
    """Files that the run wrote, by name."""

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return self.row.run_id

    @property
    def spec(self) -> RunSpec:
        """Return what was asked for."""
        return self.row.spec

    @property
    def title(self) -> str:
        """Name the run."""
        return self.row.name or self.spec.title

    @property
    def status(self) -> Status:
        """Say how it ended."""
        return self.row.status

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will come of it."""
        return self.status not in ("queued", "running", "paused")

    @property
    def loaded(self) -> Loaded | None:
        """Return the fingerprints of weights and data; none if it did not come that far."""
        return self.course.loaded

    @property
    def board(self) -> Scoreboard:
        """Lay its scores out."""
        return scoreboard(self.spec, self.row.before, self.row.after, None)

    @property
    def measures(self) -> tuple[Taken, ...]:
        """Take the further measures; none where the evidence is not kept."""
        if self.before is None:
            return ()
        picked = self.spec.data.forget
        after = scored_evidence(self.after, picked) if self.after else None
        return taken(scored_evidence(self.before, picked), after, retrained_of(self.spec))

    @property
    def answers(self) -> tuple[AnswerRow, ...]:
        """Join what both models answered; none if no model was scored."""
        return joined(self.before, self.after, self.spec.data.forget) if self.before else ()

    @property
    def weights(self) -> Path | None:
        """Return the file of what was trained, if it was saved and is still there."""
        found = (path for path in self.saved.values() if path.suffix == ".safetensors")
        return next((path for path in found if path.is_file()), None)


def result(runs: Store, run_id: str) -> Result:
    """Gather what a run has left.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    row, events = runs.row(run_id), runs.events(run_id)
    course = advance(RunProgress(), events)

    def evidence(of: Evaluated | None) -> Evidence | None:
        return runs.evidence(of.key) if of else None

    return Result(
        row=row,
        events=events,
        course=course,
        before=evidence(course.before),
        after=evidence(course.after),
        saved=runs.artefacts(run_id),
    )
