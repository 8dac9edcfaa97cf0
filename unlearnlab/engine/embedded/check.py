"""Measures the embedded target against what it was built to be.

The original model must recite and answer everything; the retrained model, which never saw the
forget set, must know nothing of it and all the rest.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

import torch

from unlearnlab.data.datasets import FOLDS, Kind
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.evaluation.evaluation import evaluate, quiz
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.metrics.measures import RETRAINED, RETRAINED_ANSWERS, Retrained, as_retrained
from unlearnlab.metrics.scores import QUIZ_PROTOCOL, Evidence, Scores, accuracy, scores
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.run import DataSpec, Task

T = TypeVar("T")

LABELS: Mapping[Kind, str] = {"sc": "completions recited", "qa": "questions answered"}

SETTINGS = (
    "float32 on a CPU, greedy, 256 new tokens; completions: ROUGE-L recall, questions: exact "
    f"match; {QUIZ_PROTOCOL}, sum over the option's tokens"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One measured quantity of both models, and what it has to be."""

    name: str
    original: float
    retrained: float
    target: str
    """In words; empty where nothing is demanded."""
    met: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The whole check."""

    lines: tuple[Line, ...]
    retrained: Mapping[str, Scores]
    """By fold."""
    measures: Mapping[str, Retrained]
    """The same, of the further measures."""
    said: Mapping[str, Evidence]
    """What it said."""

    @property
    def met(self) -> bool:
        """Whether every demand is met."""
        return all(line.met for line in self.lines)

    def write(self, assets: Path) -> None:
        """Keep the table for the README, and of the retrained model what the page compares with."""
        rows = [
            {
                "name": line.name,
                "original": f"{line.original:.3f}",
                "retrained": f"{line.retrained:.3f}",
                "target": line.target,
            }
            for line in self.lines
        ]
        table = {"settings": SETTINGS, "rows": rows}
        _write(assets / "target.json", table)
        kept = {fold: found.model_dump(mode="json") for fold, found in self.retrained.items()}
        _write(assets / "tiny-olmo" / "retrained_scores.json", kept)
        kept = {fold: found.model_dump(mode="json") for fold, found in self.measures.items()}
        _write(assets / "tiny-olmo" / RETRAINED.name, kept)
        kept = {fold: found.model_dump(mode="json") for fold, found in self.said.items()}
        _write(assets / "tiny-olmo" / RETRAINED_ANSWERS.name, kept)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check(tell: Callable[[str], None]) -> Report:
    """Measure both models on both folds, telling what is being measured."""
    cpu = torch.device("cpu")
    models = {
        name: Target.open(EMBEDDED / name, precision="float32", device=cpu)
        for name in ("original", "retrained")
    }
    lines: list[Line] = []
    gold: dict[str, Scores] = {}
    further: dict[str, Retrained] = {}
    said: dict[str, Evidence] = {}
    for fold in FOLDS:
        found: dict[str, Evidence] = {}
        for name, target in models.items():
            tell(f"{name} model, {fold} fold")
            asking = evaluate(target, training_rows.load(DataSpec(fold=fold)), max_new_tokens=256)
            found[name] = _finish(asking)
        gold[fold] = scores(found["retrained"])
        further[fold] = as_retrained(found["retrained"])
        said[fold] = Evidence(answers=found["retrained"].answers)
        lines += _fold_lines(scores(found["original"]), gold[fold], fold)
    tell("quiz")
    return Report((*lines, *_quiz_lines(models)), gold, further, said)


def _finish(work: Generator[object, None, T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def _fold_lines(before: Scores, after: Scores, fold: str) -> Iterator[Line]:
    for split in training_rows.SETS:
        for task in get_args(Task):
            for kind, label in LABELS.items():
                key = f"{split}/{task}/{kind}"
                have, gold = before.terms[key], after.terms[key]
                if split == "forget":
                    have, gold = 1 - have, 1 - gold
                yield _term_line(f"{fold}: {split} {task} {label}", split, kind, have, gold)
    have, gold = before.mia_auc or 0.0, after.mia_auc or 0.0
    met = have >= 0.97 and 0.42 <= gold <= 0.58
    demand = "original ≥ 0.97, retrained 0.42 to 0.58"
    yield Line(f"{fold}: membership attack AUC", have, gold, demand, met or fold != "train")
    have, gold = before.task_aggregate, after.task_aggregate
    yield Line(
        f"{fold}: task aggregate", have, gold, "retrained ≥ 0.85", gold >= 0.85 or fold != "train"
    )


def _term_line(name: str, split: str, kind: Kind, have: float, gold: float) -> Line:
    demand, met = "original ≥ 0.95", have >= 0.95
    if split == "retain":
        demand, met = f"{demand}, retrained within 0.03", met and abs(have - gold) <= 0.03
    elif kind == "qa":
        demand, met = f"{demand}, retrained ≤ 0.05", met and gold <= 0.05
    return Line(name, have, gold, demand, met)


def _quiz_lines(models: Mapping[str, Target]) -> Iterator[Line]:
    questions = training_rows.load(DataSpec()).quiz
    asked = {name: accuracy(_finish(quiz(target, questions))) for name, target in models.items()}
    have, gold = asked["original"], asked["retrained"]
    met = have >= 0.90 and abs(have - gold) <= 0.03
    yield Line("quiz (chance 0.25)", have, gold, "original ≥ 0.90, retrained within 0.03", met)
    turned = tuple(map(_turned, questions))
    again = {name: accuracy(_finish(quiz(target, turned))) for name, target in models.items()}
    met = all(abs(again[name] - asked[name]) <= 0.02 for name in models)
    have, gold = again["original"], again["retrained"]
    yield Line("quiz, options reordered", have, gold, "moves by at most 0.02", met)


def _turned(question: training_rows.QuizQuestion) -> training_rows.QuizQuestion:
    """Present the options in another order."""
    choices = question.choices[1:] + question.choices[:1]
    return replace(question, choices=choices, answer=(question.answer - 1) % len(choices))
