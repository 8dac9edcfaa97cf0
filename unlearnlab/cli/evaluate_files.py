"""The files of an evaluation: those of the organisers' script, MMLU's, and likelihoods of ours."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearnlab.cli.evaluate_asked import Asked
from unlearnlab.data.datasets import Split
from unlearnlab.data.files import write_whole
from unlearnlab.engine.evaluation.official import Said
from unlearnlab.exports.answers_csv import COLUMNS, LOSS_COLUMNS, csv_table
from unlearnlab.metrics.mmlu import LETTERS, SHOTS, MmluResult
from unlearnlab.metrics.scores import Choice, picked
from unlearnlab.spec.run import SpecError

OURS = ("split", "id", "nll", "nll_after_space", "ended")
"""Columns of our likelihoods."""


def answer_files(asked: Asked, said: Mapping[Split, Sequence[Said]]) -> dict[str, bytes]:
    """Write outputs as the script does, and our likelihoods of the same rows beside them."""
    files: dict[str, bytes] = {}
    ours: list[tuple[object, ...]] = []
    for split, rows in asked.rows.items():
        pairs = list(zip(rows, said[split], strict=True))
        files[f"{split}_0.csv"] = csv_table(
            COLUMNS,
            [(r.id, r.task, r.input, r.output, one.generated, one.nll) for r, one in pairs],
        )
        ours += [(split, r.id, one.nll, one.spaced_nll, one.ended) for r, one in pairs]
    return {**files, "likelihoods.csv": csv_table(OURS, ours)}


def loss_files(asked: Asked, losses: Sequence[float]) -> dict[str, bytes]:
    """Write document losses as the script does, given those of all documents in order."""
    left = iter(losses)
    return {
        f"mia_results/{side}_0.csv": csv_table(
            LOSS_COLUMNS, [(name, next(left)) for name, _ in documents]
        )
        for side, documents in asked.documents.items()
    }


def mmlu_files(result: MmluResult, choices: Sequence[Choice], shots: int) -> dict[str, bytes]:
    """Write what Open Instruct's evaluation leaves; a variant's where no score looks for it."""
    folder = "mmlu" if shots == SHOTS else f"mmlu_{shots}_shots"
    metrics = {
        "average_acc": result.accuracy.value,
        "protocol": result.protocol,
        "questions": result.questions,
    }
    files = {f"{folder}/metrics.json": json.dumps(metrics, indent=2).encode()}
    columns = ("question", "answer", "correct", *(f"choice{letter}_probs" for letter in LETTERS))
    for subject in result.subjects:
        rows = [_row(one) for one in choices if one.subject == subject.subject]
        files[f"{folder}/{subject.subject}.csv"] = csv_table(columns, rows)
    return files


def _row(choice: Choice) -> tuple[object, ...]:
    right = picked(choice) == choice.right
    # Log-probabilities would order alike, but the columns are called probabilities.
    probabilities = [math.exp(value) for value in choice.logprobs]
    return (choice.question, LETTERS[choice.right], right, *probabilities)


def refuse_used(folder: Path) -> None:
    """Refuse a folder with the files of another evaluation, which would be scored as well.

    Raises:
        SpecError: It has some.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError([("outputs", f"{folder} is no folder")])
    for pattern in ("forget_*.csv", "retain_*.csv", "mia_results", "mmlu"):
        if next(folder.glob(pattern), None):
            what = f"{folder} has files of another evaluation ({pattern}): name another folder"
            raise SpecError([("outputs", what)])


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
