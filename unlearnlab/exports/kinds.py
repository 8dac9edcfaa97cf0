"""Everything that can be taken away: what it is, what it is called, and when there is none."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from unlearnlab.exports.answers_csv import answers_csv
from unlearnlab.exports.command_line import command_line
from unlearnlab.exports.official_scores import official_scores
from unlearnlab.exports.report import report
from unlearnlab.exports.result import Result
from unlearnlab.exports.script import script
from unlearnlab.exports.spec_file import spec_file
from unlearnlab.exports.words import model_name

What = Literal["report", "model", "delta", "spec", "command", "script", "answers", "scores"]

WHATS: Sequence[What] = get_args(What)


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be taken away."""

    what: What
    title: str
    about: str
    """A sentence on what is in it."""
    missing: Callable[[Result], str]
    """Says why a run has none; empty if it has."""


def _never(_: Result) -> str:
    return ""


def _no_answers(result: Result) -> str:
    return "" if result.course.before else "no model was scored in this run"


NOTHING_TRAINED = "this run only scored: nothing was trained"


def _nothing_trained(result: Result) -> str:
    return NOTHING_TRAINED if result.spec.only_scores else ""


def _no_weights(result: Result) -> str:
    if result.weights is not None:
        return ""
    if result.spec.only_scores:
        return NOTHING_TRAINED
    return "this run left no weights: it did not come so far as to save them"


def _no_model(result: Result) -> str:
    """Say why the weights cannot be merged into their model."""
    if told := _no_weights(result):
        return told
    return result.spec.model.known.unavailable_reason


KINDS: Mapping[What, Kind] = {
    kind.what: kind
    for kind in (
        Kind(
            "report",
            "Report",
            "One HTML file: verdict, scores, curves, settings, sample answers.",
            _never,
        ),
        Kind(
            "model",
            "Merged model",
            "A folder that transformers opens, with tokenizer and model card.",
            _no_model,
        ),
        Kind(
            "delta", "Changed weights", "What was trained: the delta or the adapter.", _no_weights
        ),
        Kind("spec", "Spec", "All settings as JSON.", _never),
        Kind("command", "Command", "The command line that repeats the run.", _never),
        Kind(
            "script",
            "unlearn.py",
            "The task's entry, unlearn(), with these settings.",
            _nothing_trained,
        ),
        Kind(
            "answers",
            "Answers",
            "Every row as CSV, in the official script's columns, not masked.",
            _no_answers,
        ),
        Kind(
            "scores",
            "Scores",
            "Both models' scores as JSON, under the official script's keys.",
            _no_answers,
        ),
    )
}


FOLDERS: Mapping[What, Callable[[Result], Mapping[str, bytes]]] = {
    "answers": answers_csv,
    "scores": official_scores,
}
"""What makes the files of those that are folders."""


class NothingThere(ValueError):
    """The run has left nothing of what is asked for."""


def check_there(result: Result, what: What) -> None:
    """Make sure that a run has what is asked for.

    Raises:
        NothingThere: It has not; the message says why.
    """
    if why := KINDS[what].missing(result):
        raise NothingThere(f"{KINDS[what].title.lower()}: {why}")


Content = bytes | Path
"""What a file holds, or the file that it is a copy of."""


def files(result: Result, what: What, *, masked: bool) -> Mapping[str, Content]:
    """Make the files of anything but the merged model, by path. Names carry the run's id alone.

    Raises:
        NothingThere: The run has none.
        OSError: Its saved weights cannot be read.
    """
    check_there(result, what)
    run = result.run_id
    match what:
        case "report":
            return {f"{run}-report.html": report(result, masked=masked).encode()}
        case "spec":
            return {f"{run}-spec.json": spec_file(result).encode()}
        case "command":
            return {f"{run}-command.txt": command_line(result, f"{run}-spec.json").encode()}
        case "script":
            return {f"{run}-unlearn.py": script(result).encode()}
        case "answers" | "scores":
            return {f"{run}-{what}/{path}": of for path, of in FOLDERS[what](result).items()}
        case "delta":
            return _delta(result)
        case "model":
            raise AssertionError("the merged model is the engine's work")


def _delta(result: Result) -> Mapping[str, Content]:
    """Find what was trained: one file, or an adapter's folder."""
    weights = result.weights
    assert weights is not None, "looked at before"
    config = weights.with_name("adapter_config.json")
    if not config.is_file():
        return {f"{result.run_id}-delta.safetensors": weights}
    told = json.loads(config.read_text(encoding="utf-8"))
    # Where the model lies on this machine is of no use elsewhere.
    told["base_model_name_or_path"] = model_name(result.spec)
    folder = f"{result.run_id}-adapter"
    return {
        f"{folder}/{weights.name}": weights,
        f"{folder}/{config.name}": json.dumps(told, indent=2).encode(),
    }
