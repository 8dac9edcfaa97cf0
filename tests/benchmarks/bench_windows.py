"""Trains early, middle and late blocks of the embedded model, and traces where its answers arise.

    python -m tests.benchmarks.bench_windows [--seeds 3]

The same settings on three windows of blocks, for the joint objective and for adaptive RMU, on the
train fold. The window that a preset has anyway was measured with the presets: run
`bench_presets.py` first. What is measured goes to `assets/windows.json`;
`python -m unlearnlab docs` writes the README's table, `python -m tests.browser.screenshots` its
picture.
"""

import argparse
import json
from typing import Any

from tests.benchmarks.bench_presets import alone, measure, of_original, varied
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.runs.events import Traced
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import RunSpec, parse_spec
from unlearnlab.spec.trace import ManyFacts, TraceSpec
from unlearnlab.views.benchmarks import RESULTS, WINDOWS

PRESETS = ("embedded-joint", "embedded-adaptive-rmu")
BLOCKS = ((0, 2), (3, 5), (5, 7))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    runs: list[dict[str, Any]] = []
    traced = alone(effects)
    original = dict([alone(of_original, "train")])
    for seed in range(args.seeds):
        for name in PRESETS:
            for first, last in BLOCKS:
                moved_to = moved(presets()[name].spec, first, last)
                if moved_to == presets()[name].spec:
                    row = kept(name, seed)
                else:
                    spec = varied(moved_to, fold="train", seed=seed)
                    row = alone(measure, name, spec, original)
                runs.append({**row, "first_layer": first, "last_layer": last})
                print(
                    f"{name} blocks {first} to {last} seed {seed}: aggregate "
                    f"{row['after']['task_aggregate']:.3f}, {row['verdict']}",
                    flush=True,
                )
                written = json.dumps({"runs": runs, "tracing": traced}, indent=1)
                WINDOWS.write_text(written + "\n", encoding="utf-8")


def kept(name: str, seed: int) -> dict[str, Any]:
    """Return what `bench_presets.py` measured of a preset."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    wanted = {"preset": name, "fold": "train", "seed": seed}
    return next(row for row in rows if wanted.items() <= row.items())


def moved(spec: RunSpec, first: int, last: int) -> RunSpec:
    """Train other blocks; steering reads the last one that is trained."""
    values = spec.model_dump(mode="json")
    (phase,) = values["phases"]
    phase |= {"first_layer": first, "last_layer": last}
    if "layer" in phase["method"]:
        phase["method"]["layer"] = last
    return parse_spec(values)


def effects() -> dict[str, Any]:
    """Trace facts of the forget set: the average indirect effect by state, token role and block."""
    spec = TraceSpec(about=ManyFacts(count=40, split="forget"))
    found = next(e for e in DeviceEngine(lambda key: None).trace(spec) if isinstance(e, Traced))
    return found.model_dump(mode="json")


if __name__ == "__main__":
    main()
