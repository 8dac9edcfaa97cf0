"""Homes with runs in them, made at once: two that vary, thousands, and one that took a minute."""

import math
import os
import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.browser.slow_lab import SlowLab, made_evidence
from tests.exports.results import run_of
from tests.fakes import evaluated, some_evidence, stage, stepped
from unlearnlab.metrics.scores import Evidence, Membership, scores
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import (
    Evaluated,
    Event,
    Finished,
    Loaded,
    PhaseBegan,
    Probed,
    Started,
    StepLogged,
    StoredEvent,
)
from unlearnlab.runs.records import FullRecord
from unlearnlab.runs.store import Store
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import ModelSpec, RunSpec

BEGAN = 1_760_000_000.0
"""When the oldest run was made, in Unix seconds."""

# ---- two runs that differ in their seed, of which no two rows score alike


def two_runs(home: Path) -> tuple[str, str]:
    """Carry out two runs that differ in their seed, and return their ids."""
    with run_of(home, script=_varied_run, name="One") as (_, worker, one):
        other = worker.submit(RunSpec(seed=1), name="Two")
        assert worker.wait(other, 20)
    return one, other


def _varied_run(job: Job) -> Iterator[Event]:
    yield stage("scoring")
    yield evaluated("before", "before", _varied(some_evidence(), -1))
    after = _varied(some_evidence(forgets=True), job.spec.seed)
    yield evaluated("after", evidence=after).model_copy(update={"key": job.run_id})


def _varied(evidence: Evidence, seed: int) -> Evidence:
    """Vary answers, losses and questions so that intervals have width."""
    draw = random.Random(seed)
    answers = [
        one.model_copy(
            update={
                "row": f"{one.row}-{at}",
                "score": min(1.0, max(0.0, one.score + draw.uniform(-0.3, 0.3))),
                "generated": f"{one.generated} {at}",
                "exact_memorization": round(draw.random(), 3),
                "extraction_strength": round(draw.random(), 3),
            }
        )
        for one in evidence.answers
        for at in range(6)
    ]
    choices = [
        evidence.choices[0].model_copy(
            update={"question": f"q{at}", "logprobs": (-draw.random(), -1.2 * draw.random())}
        )
        for at in range(40)
    ]
    member, other = (tuple(draw.gauss(mean, 0.5) for _ in range(12)) for mean in (1.6, 2.0))
    return evidence.model_copy(
        update={
            "answers": tuple(answers),
            "choices": tuple(choices),
            "membership": Membership(member=member, nonmember=other),
        }
    )


# ---- a run of which each step took a second, for replays

RECORDED = "251009-085320-000"
STEPS = 40
STEP_S, ELSE_S = 1.0, 0.25
"""How long a step took, and anything else."""


def record(home: Path) -> None:
    """Put a recorded run into the store of a folder."""
    evidence: dict[str, Evidence] = {}
    events: list[StoredEvent] = []
    at = BEGAN
    with TemporaryDirectory() as folder:
        job = Job(RECORDED, RunSpec(), Path(folder))
        made = [one for one in SlowLab(step_s=0, steps=STEPS).unlearn(job) if one]
    story: list[Event] = [Started(versions={}, device="cuda:0, H100"), *made]
    for seq, event in enumerate(story, 1):
        at += STEP_S if isinstance(event, StepLogged) else ELSE_S
        if isinstance(event, StepLogged):
            event = event.model_copy(update={"seconds": at - BEGAN})
        if isinstance(event, Evaluated) and event.evidence:
            evidence[event.key] = event.evidence
            event = event.model_copy(update={"evidence": None})
        events.append(StoredEvent(seq, at, event))
    events.append(StoredEvent(len(events) + 1, at, Finished(seconds=at - BEGAN)))
    run = FullRecord(RECORDED, "On stage", BEGAN, RunSpec(), (), "", tuple(events), evidence)
    with Store(home) as store, TemporaryDirectory() as part:
        files = Path(part) / RECORDED
        files.mkdir()
        store.import_run(run, files, origin="")


# ---- thousands of runs, for lists and comparisons

DAY_S = 86400.0

TAGS = ("[]", "[]", '["baseline"]', '["layer sweep"]', '["layer sweep", "paper"]')


def fill(home: Path, runs: int, events: int = 300, *, models: int = 60) -> list[str]:
    """Write finished runs into the store of a folder and return their ids, oldest first.

    So many models share the runs: making and packing what each said takes longest.
    """
    draw = random.Random(0)
    every = (preset.spec for preset in presets().values())
    specs = [spec for spec in every if spec.model.name == ModelSpec().name]
    known, gone = made_evidence(1.0, 12), made_evidence(0.0, 12)
    kept = [*(_between(known, gone, draw) for _ in range(models)), known]
    with Store(home):
        pass
    with closing(sqlite3.connect(home / "unlearnlab.sqlite3")) as db:
        for number, found in enumerate(kept):
            body = zlib.compress(found.model_dump_json().encode())
            db.execute("INSERT INTO evidence VALUES (?, ?)", (f"made-{number}", body))
        scored = [scores(found) for found in kept]
        ids: list[str] = []
        for number in range(runs):
            spec, which = _spec(specs[number % len(specs)], number, draw), draw.randrange(models)
            ids.append(f"250101-000000-{number:06d}")
            made = (os.getpid(), psutil.Process().create_time(), "run", TAGS[number % len(TAGS)])
            db.execute(
                """INSERT INTO runs (id, name, created, spec, pid, born, job, tags)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (ids[-1], "", BEGAN + number * DAY_S / 20, spec.model_dump_json(), *made),
            )
            told = (
                Started(versions={"torch": "0"}, device="cpu, 2 threads"),
                Loaded(weights="w", data="d", parameters=7, rows={"forget": 72, "retain": 72}),
                Evaluated(when="before", scores=scored[-1], key=f"made-{models}"),
                *_steps(max(1, events - 6), spec, draw),
                Evaluated(when="after", scores=scored[which], key=f"made-{which}"),
                Finished(seconds=40 + 20 * draw.random()),
            )
            rows = [
                (ids[-1], seq, BEGAN + seq, event.kind, event.model_dump_json())
                for seq, event in enumerate(told, start=1)
            ]
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        db.commit()
    return ids


def _spec(spec: RunSpec, number: int, draw: random.Random) -> RunSpec:
    phase = spec.phases[0]
    rate = float(f"{phase.learning_rate * 10 ** draw.uniform(-0.5, 0.5):.2g}")
    varied = phase.model_copy(update={"learning_rate": rate})
    return spec.model_copy(update={"phases": (varied, *spec.phases[1:]), "seed": number % 5})


def _between(known: Evidence, gone: Evidence, draw: random.Random) -> Evidence:
    """Mix what two models said: how far it forgot, and what it lost, is up to luck."""
    forgot, lost, seen = draw.random(), draw.random() ** 3, draw.random()

    def luck(share: float) -> Evidence:
        return gone if draw.random() < share else known

    of, other = known.membership, gone.membership
    assert of is not None
    assert other is not None
    member = tuple(
        (b if draw.random() < seen else a) for a, b in zip(of.member, other.member, strict=True)
    )
    return known.model_copy(
        update={
            "answers": tuple(
                luck(forgot if answer.split == "forget" else lost).answers[at]
                for at, answer in enumerate(known.answers)
            ),
            "membership": Membership(member=member, nonmember=of.nonmember),
            "choices": tuple(
                choice.model_copy(update={"right": 0 if draw.random() < 1 - lost / 2 else 1})
                for choice in known.choices
            ),
        }
    )


def _steps(steps: int, spec: RunSpec, draw: random.Random) -> Iterator[Event]:
    yield PhaseBegan(
        phase=0, step=0, steps=steps, total_steps=steps, trainable=7, effective_batch=2
    )
    top, middle = draw.uniform(0.5, 4), draw.uniform(0.2, 0.7)
    probes = max(1, steps // 5)
    for step in range(steps + 1):
        done = step / steps
        if step % probes == 0:
            nll = {"forget": 0.1 + top * done**2, "retain": 0.1 + 0.2 * middle * done}
            yield Probed(step=step, knowledge={}, regurgitation={}, nll=nll)
        if step == 0:
            continue
        forget = 0.05 + top / (1 + math.exp(-9 * (done - middle))) + 0.1 * draw.random()
        yield stepped(
            step,
            terms={"forget": forget, "retain": 0.3 * math.exp(-done)},
            loss=-forget,
            learning_rate=spec.phases[0].learning_rate,
            seconds=40 * done,
        )
