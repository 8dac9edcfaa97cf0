"""What both models answered, row by row, as the task's evaluation script leaves it.

The folder of one model holds what the script of December 2024 writes and, with
`--compute_metrics_only`, reads: `forget_0.csv` and `retain_0.csv` with its columns, and the losses
of whole documents under `mia_results`. Only `nll` differs: here the answer follows the prompt after
one space, there with no separator. The script does not score it.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import get_args

from unlearnlab.data.datasets import Split
from unlearnlab.exports.result import Result
from unlearnlab.metrics.scores import Evidence

COLUMNS = ("id", "task", "input", "expected_output", "model_output", "nll")
"""Of the script's files, in its order."""

LOSS_COLUMNS = ("id", "nll")
"""Of its files of document losses."""


def answers_csv(result: Result) -> dict[str, bytes]:
    """Map the path of each file to its content, under `original/` and `unlearned/`."""
    models = {"original": result.before, "unlearned": result.after}
    return {
        f"{model}/{path}": content
        for model, evidence in models.items()
        if evidence is not None
        for path, content in _files(evidence).items()
    }


def _files(evidence: Evidence) -> Mapping[str, bytes]:
    splits: Sequence[Split] = get_args(Split)
    files = {f"{split}_0.csv": _answers(evidence, split) for split in splits}
    if evidence.membership is not None:
        for name, losses in evidence.membership.model_dump().items():
            rows = [(f"{name}-{number}", loss) for number, loss in enumerate(losses, 1)]
            files[f"mia_results/{name}_0.csv"] = csv_table(LOSS_COLUMNS, rows)
    return files


def _answers(evidence: Evidence, split: Split) -> bytes:
    rows = [
        (one.row, one.task, one.prompt, one.expected, one.generated, one.nll)
        for one in evidence.answers
        if one.split == split
    ]
    return csv_table(COLUMNS, rows)


def csv_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Write a table as the script does."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
