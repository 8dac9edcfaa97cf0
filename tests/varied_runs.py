"""A home with two runs whose answers, losses and questions vary from row to row."""

import random
from pathlib import Path

from tests.exports.results import run_of
from tests.fakes import FakeLab, some_evidence, stage
from unlearnlab.metrics.scores import Membership, scores
from unlearnlab.runs.events import Evaluated
from unlearnlab.spec.run import RunSpec


def varied(evidence, seed):
    """Answers, losses and questions of which no two score alike, so that intervals have width."""
    lot = random.Random(seed)
    answers = [
        one.model_copy(
            update={
                "row": f"{one.row}-{at}",
                "score": min(1.0, max(0.0, one.score + lot.uniform(-0.3, 0.3))),
                "generated": f"{one.generated} {at}",
                "exact_memorization": round(lot.random(), 3),
                "extraction_strength": round(lot.random(), 3),
            }
        )
        for one in evidence.answers
        for at in range(6)
    ]
    choices = [
        evidence.choices[0].model_copy(
            update={"question": f"q{at}", "logprobs": (-lot.random(), -1.2 * lot.random())}
        )
        for at in range(40)
    ]
    losses = [tuple(lot.gauss(mean, 0.5) for _ in range(12)) for mean in (1.6, 2.0)]
    return evidence.model_copy(
        update={
            "answers": tuple(answers),
            "choices": tuple(choices),
            "membership": Membership(member=losses[0], nonmember=losses[1]),
        }
    )


def script(job):
    yield stage("scoring")
    for when in ("before", "after"):
        evidence = varied(
            some_evidence(forgets=when == "after"), job.spec.seed if when == "after" else -1
        )
        yield Evaluated(
            when=when,
            scores=scores(evidence),
            key=f"before-{when}" if when == "before" else job.run_id,
            evidence=evidence,
        )


def two_runs(home: Path) -> tuple[str, str]:
    """Carry out two runs that differ in their seed, and return their ids."""
    with run_of(home, lab=FakeLab(script), name="One") as (_, worker, one):
        other = worker.submit(RunSpec(seed=1), name="Two")
        assert worker.wait(other, 20)
    return one, other
