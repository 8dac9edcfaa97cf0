"""The kinds of exports of a run: what each is, why there may be none, how it is written."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

from unlearnlab.data.files import bytes_of, check_room, copy_whole, whole_folder, write_whole
from unlearnlab.exports.repeat import command_line, script, spec_file
from unlearnlab.exports.report import report
from unlearnlab.exports.result import Result
from unlearnlab.exports.tables import answers_csv, curves_csv, official_scores, said_csv
from unlearnlab.models.catalog import MODEL_NOTE, ModelInfo

What = Literal[
    "report", "model", "delta", "spec", "command", "script", "answers", "scores", "curves", "says"
]

WHATS: Sequence[What] = get_args(What)

Content = bytes | Path
"""Content of a file, or the file that it is a copy of."""

NOTHING_TRAINED = "this run only scored: nothing was trained"


def _no_answers(result: Result) -> str:
    return "" if result.progress.before else "no model was scored in this run"


def _no_weights(result: Result) -> str:
    if result.weights is not None:
        return result.weights.problem
    if result.spec.only_scores:
        return NOTHING_TRAINED
    return "this run left no weights: it did not come so far as to save them"


def _delta(result: Result) -> Mapping[str, Content]:
    """Find what was trained: one file, or an adapter's folder."""
    weights = result.weights
    assert weights is not None, "looked at before"
    weights.check()
    weights = weights.path
    config = weights.with_name("adapter_config.json")
    if not config.is_file():
        return {"delta.safetensors": weights}
    told = json.loads(config.read_text(encoding="utf-8"))
    told["base_model_name_or_path"] = base = portable_base(result.spec.model.known)
    note = {"model": base, "dataset": result.spec.data.source, "run": result.run_id}
    if result.progress.loaded:
        note["weights"] = result.progress.loaded.weights
    texts = {config.name: told, MODEL_NOTE: note}
    written = {f"adapter/{name}": _as_json(of) for name, of in texts.items()}
    return {f"adapter/{weights.name}": weights, **written, "adapter/README.md": _readme(base)}


def portable_base(known: ModelInfo) -> str:
    """Name a model so that an adapter finds it as its base: no path of this machine.

    Returns:
        Its id on the hub, its name in the catalog, or the folder of its name beside the adapter.
    """
    if known.repository:
        return known.repository
    folder = known.place
    return known.name if folder is None else f"../{folder.name}"


def _as_json(held: Mapping[str, Any]) -> bytes:
    return json.dumps(held, indent=2).encode()


def _readme(base: str) -> bytes:
    beside = " (a folder beside this one)" if base.startswith("../") else ""
    return (
        "---\nlibrary_name: peft\ntags:\n- machine-unlearning\n- unlearnlab\n---\n\n"
        f"An adapter that unlearnlab trained on `{base}`{beside}, to be merged into that model's "
        "weights. unlearnlab takes this folder as a model. For peft, `base_model_name_or_path` in "
        "adapter_config.json must be the base's id on the hub or its folder.\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be exported."""

    what: What
    title: str
    about: str
    """A sentence on its contents."""
    make: Callable[[Result, bool], Mapping[str, Content]] | None
    """Makes its files from a run and whether personal data are masked, by name or path behind the
    run's id; None for the merged model, which the engine writes."""
    missing: Callable[[Result], str] = lambda _: ""
    """Says why a run has none; empty if it has."""
    masks: bool = False
    """Whether personal data are masked in it unless the user asks otherwise."""


KINDS: Mapping[What, Kind] = {
    kind.what: kind
    for kind in (
        Kind(
            "report",
            "Report",
            "One HTML file: verdict, scores, curves, settings, sample answers.",
            lambda result, masked: {"report.html": report(result, masked=masked).encode()},
            masks=True,
        ),
        Kind(
            "model",
            "Merged model",
            "A folder that transformers opens, with tokenizer and model card.",
            None,
            lambda result: _no_weights(result) or result.spec.model.known.unavailable_reason,
        ),
        Kind(
            "delta",
            "Changed weights",
            "What was trained: the delta or the adapter.",
            lambda result, _: _delta(result),
            _no_weights,
        ),
        Kind(
            "spec",
            "Spec",
            "All settings as JSON.",
            lambda result, _: {"spec.json": spec_file(result).encode()},
        ),
        Kind(
            "command",
            "Command",
            "The command line that repeats the run.",
            lambda result, _: {
                "command.txt": command_line(result, f"{result.run_id}-spec.json").encode()
            },
        ),
        Kind(
            "script",
            "unlearn.py",
            "The task's entry, unlearn(), with these settings.",
            lambda result, _: {"unlearn.py": script(result).encode()},
            lambda result: NOTHING_TRAINED if result.spec.only_scores else "",
        ),
        Kind(
            "answers",
            "Answers",
            "Every row as CSV, in the official script's columns, not masked.",
            lambda result, _: {f"answers/{path}": of for path, of in answers_csv(result).items()},
            _no_answers,
        ),
        Kind(
            "scores",
            "Scores",
            "Both models' scores as JSON, under the official script's keys.",
            lambda result, _: {
                f"scores/{path}": of for path, of in official_scores(result).items()
            },
            _no_answers,
        ),
        Kind(
            "curves",
            "Curves",
            "Every step of the curves as CSV.",
            lambda result, _: {"curves.csv": curves_csv(result)},
            lambda result: "" if result.progress.step else "this run took no step",
        ),
        Kind(
            "says",
            "What it says",
            "The answers to the watched rows at every probe, with likelihoods, as CSV.",
            lambda result, masked: {"says.csv": said_csv(result, masked=masked)},
            lambda result: "" if result.progress.said else "no probe asked the watched rows",
            masks=True,
        ),
    )
}


class NothingThere(ValueError):
    """The run does not have what was asked for."""


def check_there(result: Result, what: What) -> None:
    """Make sure that a run has what is asked for.

    Raises:
        NothingThere: It has not; the message says why.
    """
    if why := KINDS[what].missing(result):
        raise NothingThere(f"{KINDS[what].title.lower()}: {why}")


def files(result: Result, what: What, *, masked: bool) -> Mapping[str, Content]:
    """Make the files of anything but the merged model, by path. Names carry the run's id alone.

    Raises:
        NothingThere: The run has none.
        OSError: Its saved weights cannot be read.
        Spoiled: They are no longer what was saved.
    """
    check_there(result, what)
    make = KINDS[what].make
    assert make is not None, "the merged model is written by the engine"
    return {f"{result.run_id}-{path}": content for path, content in make(result, masked).items()}


# ---- writing them


def write(found: Mapping[str, Content], out: Path) -> list[Path]:
    """Write files into a folder, each as a whole or not at all, and a sub-folder likewise.

    Names carry the run's id, so what has one already is an earlier copy and is replaced.

    Args:
        found: What to write, by path in the folder.
        out: The folder. It is made.

    Returns:
        The files and sub-folders.

    Raises:
        NoRoom: The disk has too little space.
        OSError: The folder cannot be written.
    """
    check_room(out, total(found))
    written: list[Path] = []
    for top, paths in groupby(found, key=lambda path: path.split("/")[0]):
        members = list(paths)
        if members == [top]:
            _put(found[top], out / top)
        else:
            with whole_folder(out / top) as part:
                for path in members:
                    _put(found[path], part / path.partition("/")[2])
        written.append(out / top)
    return written


def _put(content: Content, target: Path) -> None:
    if isinstance(content, bytes):
        write_whole(target, content)
    else:
        copy_whole(content, target)


def packed(found: Mapping[str, Content]) -> tuple[str, bytes]:
    """Return files as one: the only file itself, else an archive named after their folder."""
    read = {
        path: content if isinstance(content, bytes) else content.read_bytes()
        for path, content in found.items()
    }
    first = next(iter(read))
    if len(read) == 1:
        return first, read[first]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        for path, content in read.items():
            into.writestr(path, content)
    return f"{first.split('/')[0]}.zip", archive.getvalue()


def in_folder(folder: Path) -> Mapping[str, Content]:
    """Map the files of a folder, by path from its parent."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder.parent).as_posix(): path for path in paths}


def total(found: Mapping[str, Content]) -> int:
    """Count the bytes of files."""
    return sum(len(of) if isinstance(of, bytes) else bytes_of(of) for of in found.values())
