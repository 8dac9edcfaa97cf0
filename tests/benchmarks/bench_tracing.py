"""Times causal tracing of the embedded model: one fact of nine tokens, and an average over 40.

    python -m tests.benchmarks.bench_tracing

Loading is not counted. What is to be reached on two cores: 3 s and 60 s. OMP_NUM_THREADS chooses
the number of threads.
"""

import time

from unlearnlab.engine.loading import best_device, device_name
from unlearnlab.engine.tracing import locate_answer, run_trace
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.events import Traced
from unlearnlab.spec.trace import KnownFact, ManyFacts, TraceSpec, facts

TOKENS = 9


def main() -> None:
    spec = TraceSpec()
    target = UnlearningModel.load(spec.model, device=best_device())
    print(device_name(target.device))
    short = next(f.id for f in facts().values() if locate_answer(target, f).start == TOKENS)
    for name, about, most in (
        (f"one fact of {TOKENS} tokens", KnownFact(id=short), 3),
        ("average over 40 facts", ManyFacts(count=40), 60),
    ):
        began = time.perf_counter()
        *_, last = run_trace(target, TraceSpec(about=about))
        seconds = time.perf_counter() - began
        assert isinstance(last, Traced)
        print(f"{name}: {seconds:.2f} s (at most {most} s)")
    found = last.found
    assert found.kind == "average"
    print(
        f"total effect {found.total_effect.mean:.2f}; indirect effect at the last token, by block:"
    )
    for part, curves in found.curves.items():
        print(f"  {part:10}", " ".join(f"{spread.mean:5.2f}" for spread in curves["last"]))


if __name__ == "__main__":
    main()
