"""How much of a float32 run's update a bfloat16 run makes, by the way in which it takes its steps.

    python -m tests.benchmarks.bench_precision [--model FOLDER] [--steps 20] [--rate 1.5e-5]

All runs begin with the same weights, those of the bfloat16 model, and read the same batches. The
cosine is that between the change of all trained weights and the change in the float32 run: once of
what takes the steps (the master weights, where there are any), once of the weights that the model
computes with and that are saved, which bfloat16 rounds in any case. "nearest" is plain bfloat16
AdamW. To be reached: 0.99 for the master weights after 20 steps at 1.5e-5.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.engine.tiny import CPU
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.scores import MovedWeights
from unlearnlab.runs.events import StepLogged
from unlearnlab.spec.rows import Dataset, load
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec, Phase, RunSpec

WAYS = ("float32", "stochastic", "nearest")


@dataclass(frozen=True)
class Update:
    """What a run changed, by weight."""

    stepped: Mapping[str, Tensor]
    """Of what takes the steps."""
    written: Mapping[str, Tensor]
    """Of the model's own weights."""
    moved: MovedWeights


def update(folder: Path, data: Dataset, *, way: str, steps: int, rate: float, **phase) -> Update:
    """Train for some steps; `way` is that of `Phase.bfloat16_updates`, or "exact" for float32."""
    lm = UnlearningModel.open(folder, precision="bfloat16", device=CPU)
    if way == "exact":
        lm.model.float()
    settings = {"modules": "mlp", "last_layer": 2, "batch_size": 6} | phase
    asked = Phase(
        learning_rate=rate,
        max_steps=steps,
        epochs=1000,
        **({} if way == "exact" else {"bfloat16_updates": way}),
        **settings,
    )
    # The spec names no model that is loaded: only its phases are read.
    spec = RunSpec(
        model=ModelSpec(precision="float32" if way == "exact" else "bfloat16"),
        phases=(asked,),
        evaluation=EvaluationSpec(probes=0),
    )
    start = {name: p.detach().float().clone() for name, p in lm.model.named_parameters()}
    stepped: dict[str, Tensor] = {}
    for event in train(lm, spec, data, probe=Probe.of(data), clock=Clock()):
        if isinstance(event, StepLogged) and event.step == steps:
            trained = (n for n, p in lm.model.named_parameters() if p.requires_grad)
            stepped = {n: lm.precise(n).detach().float() - start[n] for n in trained}
    parameters = dict(lm.model.named_parameters())
    written = {name: parameters[name].detach().float() - start[name] for name in stepped}
    return Update(stepped, written, lm.moved())


def cosine(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the cosine between two changes of all weights; 0 where one of them is none."""
    flat, against = (torch.cat([t.flatten().double() for t in of.values()]) for of in (one, other))
    length = flat.norm() * against.norm()
    return float(flat @ against / length) if length else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=EMBEDDED / "original", help="a folder")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1.5e-5)
    args = parser.parse_args()
    data = load(DataSpec())
    settings = {"steps": args.steps, "rate": args.rate}
    exact = update(args.model, data, way="exact", **settings)
    print(f"{args.model.name}, {args.steps} steps at {args.rate:g}, float32: {exact.moved.text}")
    for way in WAYS:
        found = update(args.model, data, way=way, **settings)
        stepped, written = (cosine(of, exact.stepped) for of in (found.stepped, found.written))
        print(
            f"bfloat16, {way}: cosine {stepped:.4f} of what takes the steps, {written:.4f} of the "
            f"rounded weights; {found.moved.text}",
            flush=True,
        )


if __name__ == "__main__":
    main()
