"""Unlearning from folder to folder, as SemEval-2025 Task 4 asks for it: no store, no scores."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas
import torch

from unlearnlab.disk import check_free
from unlearnlab.engine.data import Dataset
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.hooks import decoder_blocks
from unlearnlab.engine.loop import Clock, train
from unlearnlab.engine.merged import save_merged
from unlearnlab.engine.models import Target, best_device
from unlearnlab.events import PhaseBegan, StepLogged
from unlearnlab.library import Row, Task
from unlearnlab.metrics import Split
from unlearnlab.spec import RunSpec

_LOG = logging.getLogger(__name__)

COLUMNS = ("id", "input", "output", "task")

TOLD = 10
"""Times that the progress of a phase is logged."""


def unlearn_folder(
    spec: RunSpec | Mapping[str, Any],
    model_path: str | Path,
    output_path: str | Path,
    forget_path: str | Path,
    retain_path: str | Path,
    *,
    device: torch.device | None = None,
) -> None:
    """Unlearn the rows of a folder from a model and write the result into another folder.

    All phases of the spec are carried out on the given model and rows; which model, dataset and
    picked rows the spec names does not matter, its subtasks do.

    Args:
        spec: What is done, as a value or as its JSON.
        model_path: Folder of the model and its tokenizer, as safetensors.
        output_path: Folder to be made: it must be empty if it is there.
        forget_path: A .jsonl or .parquet file of rows, or a folder that holds one.
        retain_path: Likewise.
        device: What to compute on; the best there is if not given.

    Raises:
        ValueError: Something does not fit: the folders, the rows, or the spec and the model.
        RunFailed: A loss is not finite.
    """
    asked = spec if isinstance(spec, RunSpec) else RunSpec.model_validate(spec)
    output = Path(output_path)
    check_free(output)
    rows = Dataset(
        forget=tuple(read_rows(Path(forget_path), "forget")),
        retain=tuple(read_rows(Path(retain_path), "retain")),
        members=(),
        nonmembers=(),
        quiz=(),
    )
    chosen = rows.only(asked.data.tasks)
    _LOG.info("%d forget rows, %d retain rows", len(chosen.forget), len(chosen.retain))
    torch.manual_seed(asked.seed)
    target = Target.open(
        Path(model_path), precision=asked.model.precision, device=device or best_device()
    )
    _check_layers(asked, len(decoder_blocks(target.model)))
    target.adapt(asked)
    _train(target, asked, chosen)
    save_merged(target, output)
    _LOG.info("written to %s", output)


def _train(target: Target, spec: RunSpec, rows: Dataset) -> None:
    silent = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"probes": 0})}
    )
    every = 1
    for event in train(target, silent, rows, probe=Probe(()), clock=Clock()):
        if isinstance(event, PhaseBegan):
            every = max(1, event.steps // TOLD)
            _LOG.info("phase %d: %d steps", event.phase + 1, event.steps)
        elif isinstance(event, StepLogged) and event.step % every == 0:
            terms = ", ".join(f"{name} {value:.4g}" for name, value in event.terms.items())
            _LOG.info("step %d: %s", event.step, terms)


def _check_layers(spec: RunSpec, blocks: int) -> None:
    """Make sure that the phases' layers are layers of this model, which the spec does not know.

    Raises:
        ValueError: One is not.
    """
    for number, phase in enumerate(spec.phases):
        if (phase.last_layer or phase.first_layer) >= blocks or not phase.blocks(blocks):
            last = "the last" if phase.last_layer is None else phase.last_layer
            raise ValueError(
                f"phases.{number}: layers {phase.first_layer} to {last} are out of range: this "
                f"model has blocks 0 to {blocks - 1}"
            )


def read_rows(path: Path, split: Split) -> Iterator[Row]:
    """Read the rows of one set.

    Args:
        path: A .jsonl or .parquet file, or a folder that holds one; of several that with the set's
            name in its own.
        split: The set.

    Raises:
        ValueError: There is no such file, or a row is not of the task's form.
    """
    file = _file(path, split)
    for number, row in enumerate(_plain(file), 1):
        lost = [name for name in COLUMNS if not isinstance(row.get(name), str) or not row[name]]
        if lost:
            raise ValueError(f"{file}, row {number}: {', '.join(lost)} is missing or no text")
        if row["task"] not in get_args(Task):
            known = ", ".join(get_args(Task))
            raise ValueError(f"{file}, row {number}: task {row['task']!r} is none of {known}")
        yield Row(**{name: row[name] for name in COLUMNS})


def _file(path: Path, split: Split) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"{split} data: there is no folder {path}")
    for kind in ("*.jsonl", "*.parquet"):
        found = sorted(path.glob(kind))
        named = [file for file in found if split in file.name]
        for files in (found, named):
            if len(files) == 1:
                return files[0]
        if found:
            names = ", ".join(file.name for file in found)
            raise ValueError(f"{split} data: which file of {path}? It holds {names}: give one")
    raise ValueError(f"{split} data: {path} holds no .jsonl and no .parquet file")


def _plain(file: Path) -> Sequence[Mapping[str, Any]]:
    try:
        if file.suffix == ".parquet":
            return pandas.read_parquet(file).to_dict("records")
        with file.open(encoding="utf-8-sig") as lines:
            return [json.loads(line) for line in lines if line.strip()]
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
