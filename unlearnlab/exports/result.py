"""What runs left, gathered from a store for exports: one run, or several that are compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.measures import Taken, measured, taken
from unlearnlab.metrics.scores import Evidence, scored_evidence
from unlearnlab.metrics.verdicts import remains
from unlearnlab.runs.artefacts import Artefact
from unlearnlab.runs.events import StoredEvent
from unlearnlab.runs.progress import RunProgress, Status, advance
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.answers import AnswerRow, Speaker, joined_of, yardstick
from unlearnlab.views.charts import Track, track
from unlearnlab.views.comparison import Intervals
from unlearnlab.views.documents import Documents, documents
from unlearnlab.views.runs import RunSummary, labels, run_summary
from unlearnlab.views.says import SaidStep, said_steps
from unlearnlab.views.scoreboard import Scoreboard, at_ends, retrained_of, scoreboard
from unlearnlab.views.words import start_text


@dataclass(frozen=True, slots=True)
class Result:
    """A run with its events and its evidence."""

    row: RunRecord
    events: Sequence[StoredEvent]
    progress: RunProgress
    before: Evidence | None
    after: Evidence | None
    saved: Mapping[str, Artefact]
    """Files that the run wrote, by name."""

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return self.row.run_id

    @property
    def spec(self) -> RunSpec:
        """Return its spec."""
        return self.row.spec

    @property
    def title(self) -> str:
        """Return its name, or the titles of its methods."""
        return self.row.name or self.spec.title

    @property
    def status(self) -> Status:
        """Return its status."""
        return self.row.status

    @property
    def ended(self) -> bool:
        """Return whether it has ended."""
        return self.status not in ("queued", "running", "paused")

    @property
    def board(self) -> Scoreboard:
        """Lay out its scores."""
        return scoreboard(self.spec, self.row.before, self.row.after, None, ending=self.row.ending)

    def board_naming(self, *, masked: bool) -> Scoreboard:
        """Lay out its scores with a verdict that names the facts that stayed, perhaps masked."""
        row, left = self.row, None
        if self.before and self.after:
            ends, picked = (self.before, self.after), self.spec.data.forget
            left = remains(*(scored_evidence(of, picked) for of in ends))
        return scoreboard(
            self.spec, row.before, row.after, None, ending=row.ending, found=left, masked=masked
        )

    @property
    def measures(self) -> tuple[Taken, ...]:
        """Compute the further measures; none without stored evidence."""
        if self.before is None:
            return ()
        picked = self.spec.data.forget
        after = scored_evidence(self.after, picked) if self.after else None
        return taken(scored_evidence(self.before, picked), after, retrained_of(self.spec))

    @property
    def documents(self) -> Documents | None:
        """Compare its forget documents; None without stored evidence or forget rows.

        Those of a run that teaches are not compared: nothing is to be gone.
        """
        data, after = self.spec.data, None if self.spec.taught else self.after
        return documents(self.before, after, data.forget, data.tasks)

    @property
    def said(self) -> tuple[SaidStep, ...]:
        """Return what the model said at each probe; nothing in runs older than that."""
        by = yardstick(self.spec, self.before) if self.before and self.progress.said else None
        return said_steps(self.spec, self.progress.said, by)

    @property
    def answers(self) -> tuple[AnswerRow, ...]:
        """Join the answers of both models; none if no model was scored."""
        return joined_of(self.spec, self.before, self.after) if self.before else ()

    @property
    def weights(self) -> Artefact | None:
        """Return the file of the trained weights, if it was saved; it may be damaged since."""
        found = [one for one in self.saved.values() if one.path.suffix == ".safetensors"]
        return next((one for one in found if not one.problem), found[0] if found else None)


def measures_of(runs: Store, run: RunSummary) -> Mapping[str, Interval]:
    """Take the further measures of an unlearned model; empty if its evidence is not kept.

    Raises:
        StoreError: The store cannot be read.
    """
    evidence = runs.evidence(run.keys[1]) if run.keys[1] else None
    if evidence is None:
        return {}
    return measured(scored_evidence(evidence, run.spec.data.forget), retrained_of(run.spec))


def result(runs: Store, run_id: str) -> Result:
    """Gather one run.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    row, events = runs.row(run_id), runs.events(run_id)
    progress = advance(RunProgress(), events)

    scored = (progress.before, progress.after)
    before, after = (runs.evidence(of.key) if of else None for of in scored)
    return Result(row, events, progress, before, after, runs.artefacts(run_id))


@dataclass(frozen=True, slots=True)
class Compared:
    """Several runs, in the order they were named."""

    entries: tuple[RunSummary, ...]
    tracks: Mapping[str, Track]
    """Curves by id of the run."""
    evidence: Mapping[str, Evidence]
    """Answers of the unlearned models by id of the run, as far as they are stored."""
    original: Evidence | None
    """Answers of the original model; None if the runs did not start from the same one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return a unique label for each run."""
        return labels(self.entries)

    @property
    def intervals(self) -> Mapping[str, Intervals]:
        """Return the confidence intervals of each run's scores, by id of the run."""
        return {run: score_intervals(found).before for run, _, found in self._judged()}

    @property
    def measures(self) -> Mapping[str, Mapping[str, Interval]]:
        """Return the further measures of each unlearned model, by id of the run."""
        return {run: measured(found, retrained_of(spec)) for run, spec, found in self._judged()}

    def _judged(self) -> Iterator[tuple[str, RunSpec, Evidence]]:
        for run in self.entries:
            if found := self.evidence.get(run.run_id):
                yield run.run_id, run.spec, scored_evidence(found, run.spec.data.forget)

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """List the models with their answers, the original first."""
        first: list[Speaker] = []
        if self.original:
            spec = self.entries[0].spec
            first = [Speaker(f"Original model{start_text(spec)}", self.original, spec=spec)]
        runs = (
            Speaker(label, self.evidence.get(run.run_id), run.run_id, run.spec)
            for run, label in zip(self.entries, self.labels, strict=True)
        )
        return (*first, *runs)


def compared(runs: Store, run_ids: Sequence[str]) -> Compared:
    """Gather several runs, each once.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    ids = tuple(dict.fromkeys(run_ids))
    rows = {run: runs.row(run) for run in ids}
    keys = {run: at_ends(row.spec, *row.keys, "") for run, row in rows.items()}
    before = {original for original, _ in keys.values() if original}
    evidence = {run: runs.evidence(key) for run, (_, key) in keys.items() if key}
    return Compared(
        entries=tuple(map(run_summary, rows.values())),
        tracks={run: track(runs.events(run)) for run in ids},
        evidence={run: one for run, one in evidence.items() if one is not None},
        original=runs.evidence(before.pop()) if len(before) == 1 else None,
    )
