"""Answers and scores as files: the official script's CSV and JSON, and the reader's one table.

A model's folder of answers holds what the organisers' script of December 2024 writes and, with
`--compute_metrics_only`, reads: `forget_0.csv` and `retain_0.csv` with its columns, and the losses
of whole documents under `mia_results`. Only `nll` differs: here the answer follows the prompt after
one space, there with no separator. The script does not score it.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from unlearnlab.data.datasets import Split
from unlearnlab.exports.result import Result
from unlearnlab.metrics.official import Report, as_record, flags, score
from unlearnlab.metrics.scores import NO_DOCUMENTS, Evidence, row_score, scores
from unlearnlab.metrics.submission import Finding, MmluScores, Submission
from unlearnlab.runs.progress import points_after
from unlearnlab.views.answers import AnswerRow, mask
from unlearnlab.views.run_table import Cell, Column, RunTable, change_text, row_labels, size_text
from unlearnlab.views.runs import ABSENT
from unlearnlab.views.says import said_record
from unlearnlab.views.scoreboard import KINDS, TASKS

COLUMNS = ("id", "task", "input", "expected_output", "model_output", "nll")
"""Columns of the script's files, in its order."""

LOSS_COLUMNS = ("id", "nll")
"""Columns of its files of document losses."""


def _models(result: Result) -> dict[str, Evidence]:
    """Return the evidence of the models that were scored."""
    found = {"original": result.before, "unlearned": result.after}
    return {model: evidence for model, evidence in found.items() if evidence is not None}


def answers_csv(result: Result) -> dict[str, bytes]:
    """Map the path of each file to its content, under `original/` and `unlearned/`."""
    files: dict[str, bytes] = {}
    for model, evidence in _models(result).items():
        for split in get_args(Split):
            rows = [
                (one.row, one.task, one.prompt, one.expected, one.generated, one.nll)
                for one in evidence.answers
                if one.split == split
            ]
            files[f"{model}/{split}_0.csv"] = csv_table(COLUMNS, rows)
        losses = evidence.membership.model_dump() if evidence.membership else {}
        for name, values in losses.items():
            rows = [(f"{name}-{number}", loss) for number, loss in enumerate(values, 1)]
            files[f"{model}/mia_results/{name}_0.csv"] = csv_table(LOSS_COLUMNS, rows)
    return files


def csv_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Write a table as the script does, so that every reader finds each text as it was."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        # Before Python 3.13, a lone carriage return is not quoted, and ends the row when read.
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoted if returns else plain).writerow(row)
    return text.getvalue().encode()


def official_scores(result: Result) -> dict[str, bytes]:
    """Map the name of a file for each model that was scored to its scores as JSON.

    They are computed again from the evidence, as for a folder of the script. An accuracy on MMLU
    counts as the script's; the embedded model's quiz is not MMLU, and does not count.
    """
    files: dict[str, bytes] = {}
    for model, evidence in _models(result).items():
        ours = scores(evidence)
        mmlu = MmluScores(average=ours.utility if ours.measures_mmlu else None)
        answers = tuple(
            one.model_copy(update={"score": row_score(one.kind, one.expected, one.generated)})
            for one in evidence.answers
        )
        faults: list[Finding] = []
        if not ours.measures_mmlu:
            why = "not asked in this run: set a number of MMLU questions"
            faults.append(Finding("mmlu", why))
        documents = evidence.membership if ours.official_attack else None
        if not documents:
            why = f"not measured: {NO_DOCUMENTS}"
            if evidence.membership:
                why += f"; the run has {ours.mia_score:.3f} with {ours.mia_protocol}"
            faults.append(Finding("mia", why))
        found = score(Submission(answers, 0, documents, mmlu, tuple(faults)))
        record = as_record(Report(found, flags(found, mmlu), ()))
        record["unlearnlab"] |= {
            "model": result.spec.model.known.title,
            "data": result.spec.data.known.title,
            "fold": result.spec.data.fold,
            "utility": ours.utility,
            "utility_protocol": ours.utility_protocol,
        }
        files[f"{model}.json"] = json.dumps(record, indent=2).encode()
    return files


CURVE_COLUMNS = ("series", "step", "value")


def curves_csv(result: Result) -> bytes:
    """Write every point of a run's curves, as the chart names its series; a gap is empty."""
    rows = [
        (name, step, "" if value is None else value)
        for name, (steps, values) in points_after(result.events, most=None).items()
        for step, value in zip(steps, values, strict=True)
    ]
    return csv_table(CURVE_COLUMNS, rows)


SAID_COLUMNS = (
    "step",
    "row",
    "set",
    "prompt",
    "expected",
    "answer",
    "likelihood",
    "label",
    "true_words",
)


def said_csv(result: Result, *, masked: bool) -> bytes:
    """Write what the model said to the watched rows, a line for each row at each probe.

    `true_words` has each word of the true answer with its probability, as JSON.
    """
    rows: list[list[object]] = []
    for one in said_record(result.said, mask if masked else str):
        words = [[word["word"], word["probability"]] for word in one["true_words"]]
        texts = {name: inert(one[name]) for name in ("row", "prompt", "expected", "answer")}
        likely = "" if one["likelihood"] is None else one["likelihood"]
        told = {"likelihood": likely, "true_words": json.dumps(words, ensure_ascii=False)}
        rows.append([(one | texts | told)[name] for name in SAID_COLUMNS])
    return csv_table(SAID_COLUMNS, rows)


# ---- the rows that a reader sees

READER_COLUMNS = (
    "id",
    "set",
    "subtask",
    "type",
    "prompt",
    "expected",
    "original",
    "unlearned",
    "label",
    "secrets",
    "form_only",
    "judged",
    "score_before",
    "score_after",
    "likelihood_before",
    "likelihood_after",
)

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Starts of a cell that a spreadsheet would compute; a model may have written it."""


def inert(text: str) -> str:
    """Return a text as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(FORMULA) else text


def rows_csv(
    rows: Sequence[AnswerRow], titles: Mapping[str, str] = TASKS, *, masked: bool
) -> bytes:
    """Write rows in their order. A text that a spreadsheet would compute begins with '.

    Args:
        rows: Rows of a run.
        titles: Display names of the subtasks.
        masked: Whether names, numbers and addresses in the texts are hidden.
    """

    def number(value: float | None) -> float | str:
        return "" if value is None else value

    table: list[Sequence[object]] = []
    for row in rows:
        texts = (row.prompt, row.expected, row.original, row.unlearned or "")
        numbers = (row.original_score, row.unlearned_score)
        numbers += (row.original_likelihood, row.unlearned_likelihood)
        table.append(
            (
                inert(row.row),
                row.split,
                titles.get(row.task, row.task),
                KINDS[row.kind],
                *(inert(mask(text) if masked else text) for text in texts),
                row.outcome,
                " ".join(dict.fromkeys(secret.kind for secret in row.secrets)),
                row.label.form_only,
                row.judged,
                *map(number, numbers),
            )
        )
    return csv_table(READER_COLUMNS, table)


# ---- tables of runs


def table_csv(table: RunTable) -> bytes:
    """Write a table of runs: a row each, numbers unrounded, an empty cell where there is no value.

    Rows of several runs have a mean, and its standard deviation in a column `… sd`; differences
    from a baseline stand in columns `… change`.
    """
    head = ["run", "name", *(["runs"] if table.folded else [])]
    for column in table.columns:
        head += [column.key, *(f"{column.key} {part}" for part in _parts(table, column))]
    rows: list[Sequence[object]] = []
    for row, label in zip(table.rows, row_labels(table), strict=True):
        cells: list[object] = [inert(row.fold or row.runs[0].run_id), inert(label)]
        cells += [len(row.runs)] if table.folded else []
        for column, cell in zip(table.columns, table.cells(row), strict=True):
            parts = {"sd": cell.spread, "change": cell.change}
            plain = _plain(column, cell)
            cells += [inert(plain) if isinstance(plain, str) else plain]
            cells += [parts[part] for part in _parts(table, column)]
        rows.append(["" if cell is None else cell for cell in cells])
    return csv_table(head, rows)


def _parts(table: RunTable, column: Column) -> Sequence[str]:
    """Name what a column has beside its values."""
    averaged = column.measured or column.key == "seconds"
    found = ["sd"] if table.folded and averaged else []
    compared = column.numeric and column.group != "run"
    return [*found, "change"] if table.baseline and compared else found


def _plain(column: Column, cell: Cell) -> float | str | None:
    """Return what a cell shows: a number unrounded, or a text; None if there is nothing."""
    if cell.text == ABSENT:
        return None
    rounded = cell.number is not None and cell.text == column.write(cell.number)
    return cell.number if rounded and column.key != "created" else cell.text


def table_record(table: RunTable) -> list[dict[str, Any]]:
    """Return a table of runs as plain JSON values: a row each, as `table_csv` has them."""
    return [
        {
            "run": row.fold or row.runs[0].run_id,
            "name": label,
            "runs": [run.run_id for run in row.runs],
            "columns": {
                column.key: {
                    "value": _plain(column, cell),
                    "sd": cell.spread,
                    "change": cell.change,
                }
                for column, cell in zip(table.columns, table.cells(row), strict=True)
            },
        }
        for row, label in zip(table.rows, row_labels(table), strict=True)
    ]


def table_latex(table: RunTable) -> str:
    """Write a table of runs as LaTeX, with the rules of the package booktabs.

    The best of each score and measure is bold; a change from the baseline stands in brackets.
    """

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(cells)} \\\\"

    def written(column: Column, cell: Cell) -> str:
        text = latex(cell.text)
        if cell.spread is not None:
            text += f" $\\pm$ {latex(size_text(column, cell.spread))}"
        text = f"\\textbf{{{text}}}" if cell.best else text
        change = None if cell.change is None else latex(change_text(column, cell.change))
        return f"{text} ({change})" if change else text

    heads = [latex(f"{one.title} {one.mark}".strip()) for one in table.columns]
    rows = [
        line([latex(label), *map(written, table.columns, table.cells(row))])
        for row, label in zip(table.rows, row_labels(table), strict=True)
    ]
    looks = "".join("r" if one.numeric else "l" for one in table.columns)
    baseline = [f"% In brackets: change from {table.baseline.run_id}."] if table.baseline else []
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            *baseline,
            f"\\begin{{tabular}}{{l{looks}}}",
            "\\toprule",
            line(["Run", *heads]),
            "\\midrule",
            *rows,
            "\\bottomrule",
            "\\end{tabular}\n",
        ]
    )


_LATEX = {one: f"\\{one}" for one in "&%$#_{}"} | {
    # At the start of a line, they would belong to the end of the line before.
    "[": "{[}",
    "*": "{*}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "\n": " ",
}


def latex(text: str) -> str:
    """Write a text so that LaTeX sets it as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in text)
