"""Runs of one spec with several seeds are one result with a spread."""

from dataclasses import dataclass

import pytest

from tests.fakes import some_evidence
from unlearnlab.metrics.scores import Scores, scores
from unlearnlab.spec.run import DataSpec, RunSpec
from unlearnlab.views.seeds import seed_group, seeds_text

AFTER = scores(some_evidence(forgets=True))


@dataclass
class Run:
    spec: RunSpec
    after: Scores | None = AFTER
    origin: str = ""


def with_aggregate(seed, aggregate):
    return Run(RunSpec(seed=seed), AFTER.model_copy(update={"task_aggregate": aggregate}))


def test_seeds_of_one_spec_are_written_as_mean_and_spread():
    runs = [with_aggregate(0, 0.92), with_aggregate(1, 0.93), with_aggregate(2, 0.94)]
    assert seeds_text(seed_group(RunSpec(seed=1), runs)).startswith(
        "3 seeds of this spec: task aggregate 0.93 ± 0.01, MIA score "
    )


def test_of_runs_with_one_seed_the_newest_counts():
    runs = [with_aggregate(0, 0.9), with_aggregate(0, 0.1), with_aggregate(1, 0.9)]
    assert [one.task_aggregate for one in seed_group(RunSpec(), runs)] == [0.9, 0.9]


@pytest.mark.parametrize(
    "other",
    [Run(RunSpec(seed=1), None), Run(RunSpec(seed=1, data=DataSpec(fold="validation")))],
)
def test_runs_of_other_settings_and_unscored_ones_are_left_out_and_one_seed_has_no_spread(other):
    assert seeds_text(seed_group(RunSpec(), [Run(RunSpec()), other])) == ""
