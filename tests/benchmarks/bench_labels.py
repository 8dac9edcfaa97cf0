"""Counts the labels of answers of models whose answers are known to be of a kind.

    python -m tests.benchmarks.bench_labels [--fold train]

The original model recites, the retrained one never saw the forget set, ascent leaves garbage, and
so on. Every label is given twice: by the words of the data and the retrained model's guesses, and
as for a model that has neither. What is counted goes to `assets/labels.json`, and `python -m
unlearnlab docs` writes the table. Run it again when the embedded model or a threshold changes.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.bench_presets import varied
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine import result_of
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.evaluation import with_surprise
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.labels import OUTCOMES, Yardstick
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import Evaluated
from unlearnlab.spec.presets import preset
from unlearnlab.spec.run import RunSpec
from unlearnlab.views.answers import yardstick
from unlearnlab.views.benchmarks import LABELS

PRESETS: Mapping[str, str] = {
    "embedded-descent": "knows nearly all",
    "embedded-npo": "other facts, some of them garbled",
    "embedded-idk-dpo": "recites half, refuses little",
    "embedded-ascent": "garbage",
}
"""What each preset makes of the forget answers, by construction."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", choices=("train", "validation"), default="train")
    fold = parser.parse_args().fold
    rows = [row for found in models(fold) for row in counted(fold, *found)]
    LABELS.write_text(json.dumps({"fold": fold, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def models(fold: str) -> Iterator[tuple[str, str, Evidence]]:
    """Yield name, truth and evidence of each model."""
    kept: dict[str, Evidence] = {}
    later: list[tuple[str, str, Evidence]] = []
    for name, truth in PRESETS.items():
        print(name, flush=True)
        spec = varied(preset(name).spec, fold=fold, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            for event in DeviceEngine(kept.get).unlearn(Job(name, spec, Path(folder))):
                if isinstance(event, Evaluated) and event.evidence:
                    if event.when == "before":
                        kept[event.key] = event.evidence
                    else:
                        later.append((name, truth, event.evidence))
    (original,) = kept.values()
    lm = UnlearningModel.open(
        EMBEDDED / "original", precision="float32", device=torch.device("cpu")
    )
    yield "original", "recites", result_of(with_surprise(lm, original))
    gold = result_of(with_surprise(lm, retrained_answers()[fold]))
    yield "retrained", "never saw them", gold
    yield from later


def counted(fold: str, name: str, truth: str, found: Evidence) -> Iterator[dict[str, Any]]:
    """Yield the counts of a model's labels of forget answers, by each yardstick.

    The retrained model's own answers are no guesses for itself: they would excuse all it says.
    """
    spec = varied(RunSpec(), fold=fold, seed=0)
    own = Yardstick.of(found, vocabulary=yardstick(spec, found).vocabulary)
    full = own if name == "retrained" else yardstick(spec, found)
    for by, measure in (("data and retrained model", full), ("text and loss", Yardstick.of(found))):
        labels = [measure.label(one) for one in found.answers if one.split == "forget"]
        counts = Counter(label.outcome for label in labels)
        yield {
            "model": name,
            "truth": truth,
            "by": by,
            "counts": {outcome: counts[outcome] for outcome in OUTCOMES},
            "secrets": sum(bool(label.secrets) for label in labels),
        }


if __name__ == "__main__":
    main()
