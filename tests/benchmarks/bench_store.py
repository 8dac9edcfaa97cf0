"""Times the list of all runs as the store gives it: it must grow with the runs, and no faster.

    python -m tests.benchmarks.bench_store [RUNS ...] [--alike]

Each store is fresh, opened in a process of its own, and its runs have ten events each. The first
call parses what it lists; later ones find it known (the median of several). With `--alike` all
runs have one spec. The last columns are what a run costs in a later call, and how much the process
grows by for each.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.bench_presets import alone
from tests.stored_runs import fill
from unlearnlab.runs.store import Store

RUNS = (1_000, 4_000, 6_000, 10_000, 20_000)
EVENTS = 10
TRIES = 5
MADE = 100
"""Runs that are made; the others repeat them under other seeds."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("runs", nargs="*", type=int, default=RUNS)
    options.add_argument("--alike", action="store_true")
    asked = options.parse_args()
    print("   runs    first    again    count  per run  memory per run")
    for runs in asked.runs:
        first, again, count, held = alone(measure, runs, asked.alike)
        print(
            f"{runs:>7,} {first:>6.3f} s {again:>6.3f} s {count:>6.3f} s "
            f"{1e6 * again / runs:>5.1f} µs {held / runs / 1024:>7.1f} KiB",
            flush=True,
        )


def measure(runs: int, alike: bool) -> tuple[float, float, float, float]:
    """Return seconds of a first call, of a later one and of a count, and the bytes held."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), MADE, EVENTS, models=4)
        repeat(Path(folder) / "unlearnlab.sqlite3", runs, alike=alike)
        with Store(Path(folder)) as store:
            before = psutil.Process().memory_info().rss
            first = timed(store.runs)
            again = statistics.median(timed(store.runs) for _ in range(TRIES))
            held = psutil.Process().memory_info().rss - before
            count = statistics.median(timed(store.count) for _ in range(TRIES))
            assert len(store.runs()) == store.count()[0] == runs
    return first, again, count, held


def repeat(path: Path, runs: int, *, alike: bool) -> None:
    """Repeat the runs of a database until there are so many, each with a spec of its own."""
    db = sqlite3.connect(path)
    ids = [run_id for (run_id,) in db.execute("SELECT id FROM runs")]
    for number in range(len(ids), runs):
        new, old = f"260101-000000-{number:06}", ids[number % len(ids)]
        db.execute(
            """INSERT INTO runs (id, name, created, spec, pid, born, job, tags)
            SELECT ?, name, ?, json_set(spec, '$.seed', ?), pid, born, job, tags
            FROM runs WHERE id = ?""",
            (new, number, number, old),
        )
        # Scores of its own too: no run says to the last digit what another said.
        db.execute(
            """INSERT INTO events SELECT ?, seq, at, kind, CASE
                WHEN kind = 'evaluated' AND json_extract(body, '$.when') = 'after'
                THEN json_set(body, '$.key', ?) ELSE body END
            FROM events WHERE run = ?""",
            (new, new, old),
        )
    if alike:
        db.execute("UPDATE runs SET spec = (SELECT spec FROM runs LIMIT 1)")
    db.commit()
    db.close()


def timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
