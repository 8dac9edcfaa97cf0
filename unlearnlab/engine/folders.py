"""Unlearning from folder to folder, as SemEval-2025 Task 4 requires: no store, no scores."""

import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas
import torch

from unlearnlab.data.datasets import Row, Split, Task
from unlearnlab.data.files import check_free, open_regular
from unlearnlab.data.reading import MAX_BYTES
from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.loading import prepare, refuse_run, resolve_device
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.runs.engine_api import ALL
from unlearnlab.runs.events import PhaseBegan, StepLogged
from unlearnlab.spec.errors import SpecError, validated
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import RunSpec

_LOG = logging.getLogger(__name__)

COLUMNS = ("id", "input", "output", "task")

UPDATES = 10
"""Progress messages of each phase."""


def unlearn_folder(
    spec: RunSpec | Mapping[str, Any],
    model_path: str | Path,
    output_path: str | Path,
    forget_path: str | Path,
    retain_path: str | Path,
    *,
    device: torch.device | None = None,
) -> None:
    """Unlearn the forget rows from a model and write the merged model into another folder.

    Runs all phases of the spec on the given model and rows. Of the spec's data, only the subtasks
    and the chat template apply; its model is replaced by `model_path`; its device matters only if
    it is all GPUs.

    Args:
        spec: The run, as a value or as its JSON.
        model_path: Folder of the model and its tokenizer, as safetensors.
        output_path: Output folder; must not exist or be empty.
        forget_path: A .jsonl or .parquet file of rows, or a folder that holds one.
        retain_path: Likewise.
        device: Device to compute on; default the best one.

    Raises:
        ValueError: A folder or a row is invalid, or the spec does not fit the model.
        RunFailed: A loss is not finite.
    """
    output = Path(output_path)
    check_free(output)
    asked = _for_model(spec, Path(model_path))
    rows = Dataset(
        forget=tuple(read_rows(Path(forget_path), "forget")),
        retain=tuple(read_rows(Path(retain_path), "retain")),
        members=(),
        nonmembers=(),
        quiz=(),
    )
    rows = rows.only(asked.data.tasks)
    _LOG.info("%d forget rows, %d retain rows", len(rows.forget), len(rows.retain))
    torch.manual_seed(asked.seed)
    device = device or resolve_device(asked.model.device)
    refuse_run(asked, device)
    prepare(device, spread=asked.model.device == ALL)
    lm = UnlearningModel.load(asked.model, device=device)
    lm.use_template(asked.data.chat_template)
    lm.adapt(asked)
    _train(lm, asked, rows)
    save_merged(lm, output)
    _LOG.info("written to %s", output)


def _for_model(spec: RunSpec | Mapping[str, Any], folder: Path) -> RunSpec:
    """Replace the spec's model by the one in a folder, and switch all measurements off.

    Raises:
        SpecError: The folder has no model, or the spec does not fit it.
    """
    plain = spec.model_dump(mode="json") if isinstance(spec, RunSpec) else dict(spec)
    model = dict(plain.get("model", {}))
    device = "all" if model.get("device") == "all" else "auto"
    plain["model"] = model | {"name": str(folder.absolute()), "device": device}
    plain["evaluation"] = {"probes": 0, "max_new_tokens": 1}
    asked = validated(RunSpec, plain)
    if missing := asked.model.known.unavailable_reason:
        raise SpecError([("model", missing)])
    return asked


def _train(lm: UnlearningModel, spec: RunSpec, rows: Dataset) -> None:
    every = 1
    for event in train(lm, spec, rows, probe=Probe(()), clock=Clock()):
        if isinstance(event, PhaseBegan):
            every = max(1, event.steps // UPDATES)
            _LOG.info("phase %d: %d steps", event.phase + 1, event.steps)
        elif isinstance(event, StepLogged) and event.step % every == 0:
            terms = ", ".join(f"{name} {value:.4g}" for name, value in event.terms.items())
            _LOG.info("step %d: %s", event.step, terms)


def read_rows(path: Path, split: Split) -> Iterator[Row]:
    """Read the rows of one set from a .jsonl or .parquet file, or from a folder with one.

    Of several files, the one with the set's name in its file name is read.

    Raises:
        ValueError: There is no such file, or a row does not have the task's columns.
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
        with open_regular(file, MAX_BYTES) as opened:
            if file.suffix == ".parquet":
                return pandas.read_parquet(opened).to_dict("records")
            lines = io.TextIOWrapper(opened, encoding="utf-8-sig")
            return [json.loads(line) for line in lines if line.strip()]
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
