"""Runs every embedded preset with several seeds on both folds: the table of results in the README.

    python -m tests.benchmarks.bench_presets [PRESET ...] [--seeds 3] [--folds train validation]

Each run is a process of its own that loads, trains without live probes, and scores; what the
original model scores is measured once a fold. With `--jobs 2` two runs go on at once: set
OMP_NUM_THREADS to the threads of each. What is measured goes to `assets/results.json`, run by run,
and `python -m unlearnlab docs` writes the table.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from unlearnlab.data.datasets import SPLITS
from unlearnlab.data.files import ASSETS
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.embedded import known_wordings
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.scores import Evidence, Scores
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import Evaluated, StepLogged
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import RunSpec, parse_spec
from unlearnlab.views.scoreboard import judged

T = TypeVar("T")

RESULTS = ASSETS / "results.json"

FOLDS = ("train", "validation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    embedded = [name for name, one in presets().items() if one.embedded]
    parser.add_argument("presets", nargs="*", default=embedded)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", nargs="+", choices=FOLDS, default=FOLDS)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    with processes(args.jobs) as pool:
        known = dict(pool.map(of_original, args.folds))
        runs = [
            pool.submit(measure, name, varied(presets()[name].spec, fold=fold, seed=seed), known)
            for fold in args.folds
            for name in args.presets
            for seed in range(args.seeds)
        ]
        for run in as_completed(runs):
            row = run.result()
            keep(row)
            print(
                "{preset} {fold} seed {seed}: ".format(**row)
                + f"aggregate {row['after']['task_aggregate']:.3f}, "
                f"{row['verdict']}, {row['seconds']:.0f} s",
                flush=True,
            )


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return a pool in which every call is a fresh process: its memory is its own."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1)


def alone(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a fresh process."""
    with processes(1) as pool:
        return pool.submit(function, *args).result()


def varied(spec: RunSpec, *, fold: str, seed: int) -> RunSpec:
    """Return a spec with another fold and seed, and without live probes."""
    values = spec.model_dump(mode="json")
    values["data"]["fold"] = fold
    values["evaluation"]["probes"] = 0
    return parse_spec({**values, "seed": seed})


def of_original(fold: str) -> tuple[str, Evidence]:
    """Score the original model, and return the key of its evidence beside it."""
    spec = varied(RunSpec(phases=()), fold=fold, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for event in DeviceEngine(lambda key: None).unlearn(Job("original", spec, Path(folder))):
            if isinstance(event, Evaluated) and event.evidence:
                return event.key, event.evidence
    raise AssertionError("the run scored nothing")


def measure(name: str, spec: RunSpec, known: Mapping[str, Evidence]) -> dict[str, Any]:
    """Make a run; `known` maps keys to evidence that is not measured again."""
    lab = DeviceEngine(known.get)
    found: dict[str, Scores] = {}
    memory = 0.0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for event in lab.unlearn(Job(name, spec, Path(folder))):
            if isinstance(event, Evaluated):
                found[event.when] = event.scores
            if isinstance(event, StepLogged):
                memory = max(memory, event.memory_gib)
        seconds = round(time.perf_counter() - began, 1)
        # As long as a scoring, so one seed must do.
        wordings = in_other_words(spec, Path(folder)) if spec.seed == 0 else []
    return {
        "preset": name,
        "fold": spec.data.fold,
        "seed": spec.seed,
        "device": lab.device_name("auto"),
        "seconds": seconds,
        "memory_gib": round(memory, 2),
        "verdict": verdict_of(spec, found["before"], found["after"]),
        **{when: scores.model_dump(mode="json") for when, scores in found.items()},
        "wordings": wordings,
    }


def verdict_of(spec: RunSpec, before: Scores, after: Scores) -> str:
    found = judged(spec, before, after)
    assert found is not None
    return found.kind


def in_other_words(spec: RunSpec, folder: Path) -> list[dict[str, Any]]:
    """Ask an unlearned model for the facts in other words than the rows'."""
    lm = UnlearningModel.load(spec.model, device=torch.device("cpu"))
    lm.restore(folder)
    return [
        {"split": split, "task": task, "form": form, "taught": taught, "known": round(known, 4)}
        for split in SPLITS
        for (task, form, taught), known in known_wordings(lm, split, spec.data.fold, most=1).items()
    ]


def keep(row: dict[str, Any]) -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    same = ("preset", "fold", "seed")
    rows = [old for old in rows if any(old[key] != row[key] for key in same)] + [row]
    order = list(presets())
    rows = [old for old in rows if old["preset"] in order]
    rows.sort(key=lambda r: (order.index(r["preset"]), r["fold"], r["seed"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
