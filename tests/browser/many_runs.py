"""A store full of generated runs, written at once: what lists and comparisons are tried on."""

import math
import os
import random
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.browser.slow_lab import made_evidence
from unlearnlab.metrics.scores import Evidence, Membership, Scores, scores
from unlearnlab.runs.events import Evaluated, Finished, Loaded, PhaseBegan, Started, StepLogged
from unlearnlab.runs.store import Store
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import ModelSpec, RunSpec

DAY_S = 86400.0
FIRST = 1_760_000_000.0
"""When the oldest run was made, in Unix seconds."""

TAGS = ("[]", "[]", '["baseline"]', '["layer sweep"]', '["layer sweep", "paper"]')


def fill(home: Path, runs: int, events: int = 300, *, models: int = 60) -> list[str]:
    """Write finished runs into the store of a folder and return their ids, oldest first.

    So many models share the runs: making and packing what each said takes longest.
    """
    draw = random.Random(0)
    every = (preset.spec for preset in presets().values())
    specs = [spec for spec in every if spec.model.name == ModelSpec().name]
    known, gone = made_evidence(1.0, 12), made_evidence(0.0, 12)
    kept = [_between(known, gone, draw) for _ in range(models)]
    kept.append(known)
    before = scores(known)
    with Store(home):
        pass
    db = sqlite3.connect(home / "unlearnlab.sqlite3")
    for number, found in enumerate(kept):
        body = zlib.compress(found.model_dump_json().encode())
        db.execute("INSERT INTO evidence VALUES (?, ?)", (f"made-{number}", body))
    ids = [_insert(db, number, specs, before, kept, events, draw) for number in range(runs)]
    db.commit()
    db.close()
    return ids


def _insert(
    db: sqlite3.Connection,
    number: int,
    specs: list[RunSpec],
    before: Scores,
    kept: list[Evidence],
    events: int,
    draw: random.Random,
) -> str:
    spec = _varied(specs[number % len(specs)], number, draw)
    run_id = f"250101-000000-{number:06d}"
    made = (os.getpid(), psutil.Process().create_time(), "run", TAGS[number % len(TAGS)])
    row = (run_id, "", FIRST + number * DAY_S / 20, spec.model_dump_json(), *made)
    db.execute(
        """INSERT INTO runs (id, name, created, spec, pid, born, job, tags)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        row,
    )
    which = draw.randrange(len(kept) - 1)
    after = scores(kept[which])
    steps = max(1, events - 6)
    told = (
        Started(versions={"torch": "0"}, device="cpu, 2 threads"),
        Loaded(weights="w", data="d", parameters=7, rows={"forget": 72, "retain": 72}),
        Evaluated(when="before", scores=before, key=f"made-{len(kept) - 1}"),
        PhaseBegan(phase=0, step=0, steps=steps, total_steps=steps, trainable=7, effective_batch=2),
        *_steps(steps, spec, draw),
        Evaluated(when="after", scores=after, key=f"made-{which}"),
        Finished(seconds=40 + 20 * draw.random()),
    )
    rows = [
        (run_id, seq, FIRST + seq, event.kind, event.model_dump_json())
        for seq, event in enumerate(told, start=1)
    ]
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
    return run_id


def _varied(spec: RunSpec, number: int, draw: random.Random) -> RunSpec:
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


def _steps(steps: int, spec: RunSpec, draw: random.Random) -> Iterator[StepLogged]:
    top, middle = draw.uniform(0.5, 4), draw.uniform(0.2, 0.7)
    for step in range(1, steps + 1):
        done = step / steps
        forget = 0.05 + top / (1 + math.exp(-9 * (done - middle))) + 0.1 * draw.random()
        yield StepLogged(
            step=step,
            phase=0,
            epoch=step / 10,
            terms={"forget": forget, "retain": 0.3 * math.exp(-done)},
            weights={"forget": -1.0, "retain": 1.0},
            loss=-forget,
            grad_norm=1 + done,
            learning_rate=spec.phases[0].learning_rate,
            tokens_per_s=4000.0,
            memory_gib=0.4,
            seconds=40 * done,
        )
