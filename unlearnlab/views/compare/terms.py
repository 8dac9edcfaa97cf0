"""The terms of the task aggregate of several runs, as a matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.data.datasets import Split
from unlearnlab.metrics.verdicts import SPLITS as ORDER
from unlearnlab.views.runs import RunSummary, labels
from unlearnlab.views.scoreboard import KINDS, SPLITS, TASKS, titles_of


@dataclass(frozen=True, slots=True)
class TermColumn:
    """One term."""

    key: str
    """As in the scores: `forget/Task2/qa`."""
    split: Split
    name: str
    """In words, without its set: "People answer"."""

    @property
    def text(self) -> str:
        """Return its name in words."""
        return f"{SPLITS[self.split]} · {self.name}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Runs by terms; the terms of forget come first. 0 to 1, up is good."""

    columns: tuple[TermColumn, ...]
    labels: tuple[str, ...]
    run_ids: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """One row for each run that was scored; a term that was not measured is none."""


def matrix(of: Sequence[RunSummary]) -> Matrix:
    """Lay the terms of all scored runs side by side; what none has gets no column."""
    scored = [(run, name) for run, name in zip(of, labels(of), strict=True) if run.after]
    titles = _titles([run for run, _ in scored])
    measured = {key for run, _ in scored if run.after for key in run.after.terms}
    columns = tuple(
        TermColumn(key, split, f"{title} {words}")
        for split in ORDER
        for task, title in titles.items()
        for kind, words in KINDS.items()
        if (key := f"{split}/{task}/{kind}") in measured
    )
    return Matrix(
        columns,
        tuple(name for _, name in scored),
        tuple(run.run_id for run, _ in scored),
        tuple(
            tuple(run.after.terms.get(one.key) if run.after else None for one in columns)
            for run, _ in scored
        ),
    )


def _titles(of: Sequence[RunSummary]) -> Mapping[str, str]:
    """Name the subtasks as the data do, if all runs have the same data."""
    sources = {run.spec.data.source for run in of}
    return titles_of(of[0].spec.data.known) if len(sources) == 1 else TASKS
