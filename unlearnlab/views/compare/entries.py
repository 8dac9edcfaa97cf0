"""A run as comparisons see it, and what to call several of them so that none is mistaken."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from unlearnlab.metrics.scores import Scores
from unlearnlab.metrics.verdicts import Verdict
from unlearnlab.runs.events import Failed
from unlearnlab.runs.progress import Status
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.compare.differences import differences
from unlearnlab.views.scoreboard import at_ends, judged, of_one_test, utility_name

TOLD = 2
"""Settings that a label tells at most: more is the business of the table of differences."""

SEPARATOR = re.compile(r"[:,] ")
"""Where a title may be cut: as sweeps join the parts of theirs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run among those that are compared."""

    run_id: str
    title: str
    """The name it was given, or that of its methods."""
    created: float
    """Unix time."""
    spec: RunSpec
    status: Status
    before: Scores | None
    """Of the original model; none of a run that only scores."""
    after: Scores | None
    """Of the unlearned model, or the only one; none if the run did not come so far."""
    verdict: Verdict | None
    seconds: float | None
    """How long it took; none until it ended."""
    problem: str = ""
    """Why it failed."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    pinned: bool = False
    sweep: str = ""
    origin: str = ""
    """Where it was taken in from; empty if it was carried out here."""

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.spec.seed

    @property
    def utility_name(self) -> str:
        """Name its utility test: MMLU, or the embedded data's quiz."""
        return utility_name(self.after or self.before)


def entry(row: RunRecord) -> Entry:
    """Sum up a run of the store."""
    ending = row.ending
    before, after = at_ends(row.spec, row.before, row.after, None)
    return Entry(
        run_id=row.run_id,
        title=row.name or row.spec.title,
        created=row.created,
        spec=row.spec,
        status=row.status,
        before=before,
        after=after,
        verdict=judged(row.spec, row.before, row.after),
        seconds=ending.seconds if ending else None,
        problem=ending.problem if isinstance(ending, Failed) else "",
        tags=row.tags,
        notes=row.notes,
        pinned=row.pinned,
        sweep=row.sweep,
        origin=row.origin,
    )


def utility_test(of: Sequence[Entry]) -> str:
    """Name the utility test of runs that were scored; "Utility" if there are several, or none."""
    names = {run.utility_name for run in of if run.after}
    return names.pop() if len(names) == 1 else "Utility"


def held_against(of: Sequence[Entry], reference: Scores | None) -> Scores | None:
    """Leave out of the retrained model's scores what does not compare with all of these runs."""
    for run in of:
        reference = of_one_test(reference, run.after)
    return reference


def entries(rows: Iterable[RunRecord]) -> tuple[Entry, ...]:
    """Sum up runs, in their order."""
    return tuple(entry(row) for row in rows)


def _named(run: Entry) -> str:
    return f"{run.title} ({run.origin})" if run.origin else run.title


def labels(of: Sequence[Entry]) -> tuple[str, ...]:
    """Name runs shortly, no two alike: by title, then by the settings that differ, then by id.

    What the titles of a sweep all begin with tells nothing apart and is left out.

    Returns:
        One label for each run, in their order.
    """
    titles = _without_shared_start([_named(run) for run in of])
    found = list(titles)
    for title, times in Counter(titles).items():
        if times > 1:
            places = [at for at, one in enumerate(titles) if one == title]
            for at, told in zip(places, _told([of[at] for at in places]), strict=True):
                found[at] = f"{title} · {told}" if told else title
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


def _told(of: Sequence[Entry]) -> list[str]:
    """Tell of each run the first settings in which these runs differ, the seed last of all."""
    found = differences([run.spec for run in of])
    shown = ([one for one in found if one.path != "seed"] or found)[:TOLD]
    return [", ".join(f"{one.name} {one.values[at]}" for one in shown) for at in range(len(of))]
