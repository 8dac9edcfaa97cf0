"""Summaries of runs: one line in a list, a search text, and labels that tell runs apart."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from unlearnlab.metrics.scores import Scores
from unlearnlab.metrics.verdicts import Verdict
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import ModelSpec, RunSpec, same_settings, written
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.phases import blocks_text, length_text
from unlearnlab.views.scoreboard import at_ends, judged, of_one_test, utility_name

MOST_SETTINGS = 2
"""Most settings in a label; the table of differences shows the others."""

SEPARATOR = re.compile(r"[:,] ")
"""Separates the parts of a title; a title may be cut here."""


Facet = Literal["model", "method", "data", "outcome", "tag"]
"""What a list of runs can be filtered by."""


@dataclass(frozen=True, slots=True, eq=False)
class RunSummary:
    """One run in a list or a comparison. Compared by identity: lists hold thousands."""

    run_id: str
    title: str
    """The name of the run, or the titles of its methods."""
    created: float
    """Unix time."""
    spec: RunSpec
    status: Status
    before: Scores | None
    """Scores of the original model; none for an evaluation-only run."""
    after: Scores | None
    """Scores of the unlearned model, or of the only one; none if it was not scored."""
    verdict: Verdict | None
    seconds: float | None
    """Duration; none until it ended."""
    settings: str = ""
    """Blocks, learning rate and length of the first phase, in a few words."""
    problem: str = ""
    """Why it failed."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    pinned: bool = False
    sweep: str = ""
    """Id of the sweep that it belongs to, if any."""
    origin: str = ""
    """Source of an imported run; empty if it was run here."""
    repeats: str = ""
    """Id of the run that it reproduces, if any."""
    keys: tuple[str, str] = ("", "")
    """Keys of the evidence behind its scores before and after; empty where there is none."""
    personal: bool = False
    """Whether its texts are masked until the reader reveals them."""
    incarnation: str = ""
    """The `incarnation` of its record."""

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.spec.seed

    @property
    def utility_name(self) -> str:
        """Return the name of its utility test: MMLU, or the quiz of the embedded data."""
        return utility_name(self.after or self.before)

    @property
    def aggregate(self) -> tuple[float | None, float | None]:
        """Return the task aggregate before and after."""
        before, after = self.before, self.after
        return before.task_aggregate if before else None, after.task_aggregate if after else None

    @property
    def final(self) -> tuple[float | None, float | None]:
        """Return the final score before and after."""
        before, after = self.before, self.after
        return before.final if before else None, after.final if after else None

    @property
    def verdict_title(self) -> str:
        """Return the title of the verdict; empty without one."""
        return self.verdict.title if self.verdict else ""

    @property
    def outcome(self) -> str:
        """Return the verdict, or the status of an unfinished run."""
        if self.status != "finished":
            return self.status
        return self.verdict_title or ("scored" if self.after else "not scored")

    @property
    def facets(self) -> Mapping[Facet, Mapping[str, str]]:
        """Map each facet to the run's values with their titles."""
        kinds = (phase.method.kind for phase in self.spec.phases)
        return {
            "model": {self.spec.model.name: self.spec.model.known.title},
            "method": {kind: METHODS[kind].card.title for kind in kinds},
            "data": {self.spec.data.source: self.spec.data.known.title},
            "outcome": {self.outcome: self.outcome},
            "tag": {tag: tag for tag in self.tags},
        }

    def matches(self, text: str) -> bool:
        """Return whether every word of `text` occurs in what lists show of the run."""
        titles = (title for values in self.facets.values() for title in values.values())
        texts = (self.title, self.settings, self.status, self.run_id, self.notes, self.origin)
        searched = " ".join((*texts, *titles)).lower()
        return all(word in searched for word in text.lower().split())


def run_summary(row: RunRecord, *, paused: bool = False) -> RunSummary:
    """Summarise a run of the store; the store does not know whether it is `paused`."""
    ending = row.ending
    before, after = at_ends(row.spec, row.before, row.after, None)
    again = f", repeats {row.repeats}" if row.repeats else ""
    return RunSummary(
        run_id=row.run_id,
        title=row.name or row.spec.title,
        created=row.created,
        spec=row.spec,
        status=status_of(began=row.began, alive=row.alive, ending=ending, paused=paused),
        before=before,
        after=after,
        verdict=judged(row.spec, row.before, row.after),
        seconds=ending.seconds if ending else None,
        settings=f"{_in_short(row.spec)}{again}",
        problem=ending.problem if isinstance(ending, Failed) else "",
        tags=row.tags,
        notes=row.notes,
        pinned=row.pinned,
        sweep=row.sweep,
        origin=row.origin,
        repeats=row.repeats,
        keys=at_ends(row.spec, *row.keys, ""),
        personal=row.personal,
        incarnation=row.incarnation,
    )


def _in_short(spec: RunSpec) -> str:
    """Return a run's settings in a few words: those of its first phase."""
    if spec.only_scores:
        return f"{spec.data.known.title}, {spec.data.fold} fold"
    first, *others = spec.phases
    more = f", then {len(others)} more" if others else ""
    where = blocks_text(first, spec.model.blocks)
    rate = written(first.learning_rate)
    length = length_text(spec, first, epochs="ep.", epoch="ep.")
    embedded = spec.model.name == ModelSpec().name
    model = "" if embedded else f"{spec.model.known.title}, "
    return f"{model}{where}, {rate}, {length}{more}"


def usual_seconds(spec: RunSpec, rows: Iterable[RunRecord]) -> float | None:
    """Return the duration of the newest run here that finished with these settings."""
    for row in rows:
        if isinstance(row.ending, Finished) and not row.origin and same_settings(row.spec, spec):
            return row.ending.seconds
    return None


def matches(row: RunRecord, text: str) -> bool:
    """Return whether every word of `text` occurs in what lists show of a run."""
    return not text.strip() or run_summary(row).matches(text)


def utility_test(of: Sequence[RunSummary]) -> str:
    """Return the name of the runs' utility test; "Utility" if there are several or none."""
    names = {run.utility_name for run in of if run.after}
    return names.pop() if len(names) == 1 else "Utility"


def held_against(of: Sequence[RunSummary], reference: Scores | None) -> Scores | None:
    """Return the retrained model's scores without those that are not comparable with all runs."""
    for run in of:
        reference = of_one_test(reference, run.after)
    return reference


def _named(run: RunSummary) -> str:
    return f"{run.title} ({run.origin})" if run.origin else run.title


def labels(of: Sequence[RunSummary]) -> tuple[str, ...]:
    """Return a short unique label for each run: its title, then differing settings, then its id.

    A start that all titles share, as in a sweep, is left out.

    Returns:
        One label per run, in their order.
    """
    titles = _without_shared_start([_named(run) for run in of])
    found = list(titles)
    for title, times in Counter(titles).items():
        if times > 1:
            places = [at for at, one in enumerate(titles) if one == title]
            settings = _differing_settings([of[at] for at in places])
            for at, differing in zip(places, settings, strict=True):
                found[at] = f"{title} · {differing}" if differing else title
    twice = {label for label, times in Counter(found).items() if times > 1}
    return tuple(
        f"{label} · {run.run_id}" if label in twice else label
        for label, run in zip(found, of, strict=True)
    )


def _without_shared_start(titles: Sequence[str]) -> list[str]:
    if len(set(titles)) < 2:
        return list(titles)
    parts = [SEPARATOR.split(title) for title in titles]
    most = min(map(len, parts)) - 1
    shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False)))
    drop = min(shared, most)
    return [SEPARATOR.split(title, drop)[-1] if drop else title for title in titles]


def _differing_settings(of: Sequence[RunSummary]) -> list[str]:
    """Return for each run its values of the first settings that differ; the seed comes last."""
    found = differences([run.spec for run in of])
    shown = ([one for one in found if one.path != "seed"] or found)[:MOST_SETTINGS]
    return [", ".join(f"{one.name} {one.values[at]}" for one in shown) for at in range(len(of))]
