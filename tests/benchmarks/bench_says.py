"""What it costs to show what a model says: CPU seconds at each probe, and the share of a run.

`python -m tests.benchmarks.bench_says [PRESET]` carries out a run of the embedded model, by default
the form's first preset, then times its probe with and without watched rows: as chosen by the
program, and as many as may be named, none of which the probe measures in any case.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from unlearnlab.engine import result_of
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.loading import best_device
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.engine_api import Job
from unlearnlab.spec.presets import preset
from unlearnlab.spec.rows import load, probe_rows, watched_rows

TIMES = 5
MOST = 8
"""Rows that a run may name."""


def main() -> None:
    """Print the seconds and the shares."""
    spec = preset((sys.argv[1:] or ["embedded-early-mlps"])[0]).spec
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        for _ in DeviceEngine(lambda key: None).unlearn(Job("bench", spec, Path(folder))):
            pass
        run_s = time.process_time() - began
    lm = UnlearningModel.load(spec.model, device=best_device())
    fold = load(spec.data)
    probed = {row.id for _, row in probe_rows(fold)}
    others = [row.id for row in fold.forget if row.id not in probed][:MOST]
    named = spec.evaluation.model_copy(update={"watched_rows": tuple(others)})
    kinds = {
        "none": (),
        "chosen by the program": watched_rows(fold, spec),
        f"{MOST} named": watched_rows(fold, spec.model_copy(update={"evaluation": named})),
    }
    seconds = dict.fromkeys(kinds, 0.0)
    for name, watched in kinds.items():
        probe = Probe.of(fold, spec.data.tasks, watched)
        taken: list[float] = []
        for _ in range(TIMES):
            began = time.process_time()
            result_of(probe.run(lm, step=0))
            taken.append(time.process_time() - began)
        seconds[name] = statistics.median(taken)
    probes = spec.evaluation.probes + 1
    print(f"run {run_s:.1f} s, of it {probes} probes")
    for name, one in seconds.items():
        more = probes * (one - seconds["none"])
        print(f"{name:<22} {one:.3f} s a probe, {100 * more / run_s:+.1f} % of the run")


if __name__ == "__main__":
    main()
