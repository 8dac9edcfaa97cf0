"""The cards of what a run leaves: its record with its reproductions, and its exports.

Files are made on a click, the merged model is written as a job. They travel through the page's own
connection and are saved by the browser, so that no copy of personal data stays in a folder of the
server.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field

from unlearnlab.data.files import size
from unlearnlab.exports.kinds import (
    KINDS,
    Content,
    NothingThere,
    What,
    files,
    in_folder,
    packed,
    total,
)
from unlearnlab.exports.model import model_export, model_folder
from unlearnlab.exports.pack_file import PackError
from unlearnlab.exports.packs import fill, packable
from unlearnlab.exports.result import Result, result
from unlearnlab.runs.artefacts import Spoiled
from unlearnlab.runs.events import ExportFailed, Finished
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import UnknownRun
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.form.form import NAME, Form, form_of, take_model
from unlearnlab.ui.kit.html import render, script
from unlearnlab.ui.kit.listeners import answering
from unlearnlab.ui.kit.program import Program
from unlearnlab.views.reproduction import (
    WORDS,
    Agreement,
    Reproduction,
    outlook,
    reading,
    weights_here,
)
from unlearnlab.views.words import record_lines

_MOODS: dict[Agreement, str] = {
    "equal": "good",
    "noise": "good",
    "other": "bad",
    "unknown": "fair",
    "missing": "fair",
}


def record_html(
    program: Program, row: RunRecord | None, progress: RunProgress, rows: Sequence[RunRecord]
) -> str:
    """Draw the record; nothing without a run, or before it has begun.

    Args:
        program: Of the page.
        row: The run that is shown.
        progress: Its progress, as far as it is shown.
        rows: All runs.

    Raises:
        StoreError: The store cannot be read.
    """
    if row is None or progress.started is None:
        return ""
    values: dict[str, Any] = {"of": None, "finished": isinstance(progress.ending, Finished)}
    if row.repeats and progress.ending is not None:
        with suppress(UnknownRun):
            values |= _comparison(program.reproduced(row.repeats, row.run_id))
    if values["finished"]:
        known = outlook(row, progress, weights=weights_here(row, rows, program.runs.progress))
        lines = (*known.problems, *known.warnings)
        remarks = [f"{line[0].upper()}{line[1:]}." for line in lines]
        values |= {"outlook": known, "remarks": remarks}
    repeating = [other.run_id for other in rows if other.repeats == row.run_id]
    return render(
        "run/record.html",
        row=row,
        facts=record_lines(row.spec, progress),
        links=(("Repeats", [row.repeats] if row.repeats else []), ("Repeated by", repeating)),
        here={other.run_id for other in rows},
        exact=lambda value: "–" if value is None else f"{value:.4g}",
        words=WORDS,
        moods=_MOODS,
        **values,
    )


def _comparison(of: Reproduction) -> dict[str, Any]:
    """Return what the template shows of a comparison."""
    if of.problem:
        mood, verdict, met = "fair", "It has no result", "has no result"
    elif of.agrees:
        mood, verdict, met = "good", "It agrees", "agrees with it"
    else:
        mood, verdict, met = "bad", "It does not agree", "does not agree with it"
    return {
        "of": of,
        "mood": mood,
        "verdict": verdict,
        "met": met,
        "lines": reading(of),
        "apart": [number for number in of.numbers if number.agreement != "equal"],
        "equal": of.of("equal"),
    }


LARGEST = 100 * 10**6
"""Most bytes to send through the page; of larger files it shows the path."""


PackWhat = Literal["pack", "bare-pack"]

PACKS: Mapping[PackWhat, tuple[str, str]] = {
    "pack": (
        "Pack",
        "The whole run as one file, to import or replay elsewhere. It holds rows and "
        "answers, not masked.",
    ),
    "bare-pack": (
        "Pack without answers",
        "The same without rows, answers, free prompts and error messages.",
    ),
}
"""Title and content of each kind of pack."""


class ExportRequest(BaseModel):
    """A click on the card: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    what: What | PackWhat
    action: Literal["file", "folder", "stop"] = "file"
    """Download a file, write the model's folder, or stop writing it."""
    masked: bool = True


def export_value(
    program: Program, row: RunRecord | None, progress: RunProgress, state: WorkerState
) -> dict[str, Any]:
    """Return the value of the card of exports for a run; an empty run id hides the card."""
    if row is None:
        return {"run": ""}
    run = Result(row, (), progress, None, None, program.store.artefacts(row.run_id))
    items: list[dict[str, str]] = []
    if run.ended:
        items = [
            {"what": one.what, "title": one.title, "about": one.about, "missing": one.missing(run)}
            for one in KINDS.values()
        ]
        items += [
            {"what": what, "title": title, "about": about, "missing": ""}
            for what, (title, about) in PACKS.items()
        ]
    busy = row.run_id in state.exports
    return {
        "run": row.run_id,
        "ended": run.ended,
        "items": render("run/export_items.html", items=items, busy=busy),
        "model": _model_html(program, run, state),
    }


def _model_html(program: Program, run: Result, state: WorkerState) -> str:
    """Draw the state of the merged model's folder; nothing before it was asked for."""
    folder = _merged(program, run.run_id)
    shown: dict[str, Any] = {"state": "there", "path": "", "small": False}
    last = run.progress.exports[-1] if run.progress.exports else None
    if run.run_id in state.exports:
        share = state.exports[run.run_id]
        told = "Waits until the device is free." if share is None else f"Being written, {share:.0%}"
        shown |= {"state": "busy", "told": told}
    elif isinstance(last, ExportFailed):
        shown |= {"state": "failed", "told": f"Not written: {last.problem}"}
    elif last is None or not folder.is_dir():
        return ""
    else:
        bytes_there = total(in_folder(folder))
        shown |= {"path": str(folder), "small": bytes_there <= LARGEST, "told": size(bytes_there)}
    return render("run/export_model.html", **shown)


def _exports(program: Program, run_id: str) -> Path:
    return program.store.folder(run_id) / "exports"


def _merged(program: Program, run_id: str) -> Path:
    return _exports(program, run_id) / model_folder(run_id)


def merged_form(program: Program, run_id: str) -> Form:
    """Return a form with a run's settings that starts from the model that the run made.

    Such a form scores the model with other settings, or trains it further.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    form = form_of(program.store.row(run_id).spec.model_dump(mode="json") | {"keep_as": ""})
    return take_model(form.having({NAME: str(_merged(program, run_id))}), program.devices())


@answering(
    "The page asked for something that cannot be exported: reload it.",
    NotRunning,
    NothingThere,
    PackError,
    Spoiled,
)
def press_export(program: Program, asked: Any) -> dict[str, Any]:
    """Handle a click on the card.

    Returns:
        A file as `name` and `data` in base64, the state of the `model` as HTML, or a `problem`.
    """
    request = ExportRequest.model_validate(asked)
    run = result(program.store, request.run)
    if not run.ended:
        return {"problem": "The run has not ended: export its results then."}
    try:
        if request.action == "stop":
            program.worker.stop_export(run.run_id)
            return _busy("Stopping.")
        if request.what == "model" and request.action == "folder":
            program.worker.export(run.run_id, model_export(run, _exports(program, run.run_id)))
            return _busy("Requested.")
        if request.what == "model":
            return _sent(in_folder(_merged(program, run.run_id)))
        return _made(program, run, request.what, masked=request.masked)
    except OSError as error:
        return {"problem": f"A file of the run cannot be read: {error.strerror}."}


def _busy(told: str) -> dict[str, Any]:
    shown = {"state": "busy", "told": told, "path": "", "small": False}
    return {"model": render("run/export_model.html", **shown)}


def _made(program: Program, run: Result, what: What | PackWhat, *, masked: bool) -> dict[str, Any]:
    """Make files of a run in memory; no pack whose weights are too large for that."""
    if what not in ("pack", "bare-pack"):
        return _sent(files(run, what, masked=masked))
    saved = all(one.path.exists() for one in run.saved.values())  # A pack may lack what is gone.
    found = packable(program.store, run.run_id, weights=saved, answers=what == "pack")
    if found.bytes > LARGEST:
        return {
            "problem": f"Weights of {size(found.bytes)} are too large to download: use "
            f"`python -m unlearnlab pack {run.run_id} --out FILE.zip`."
        }
    made = io.BytesIO()
    fill([found], made)
    return _sent({f"{run.run_id}-{what}.zip": made.getvalue()})


def _sent(found: Mapping[str, Content]) -> dict[str, Any]:
    """Return files as one download, or the reason why they cannot be downloaded."""
    if not found:
        return {"problem": "The folder is not there any more: write the model again."}
    if (much := total(found)) > LARGEST:
        places = {str(one.parent) for one in found.values() if isinstance(one, Path)}
        return {
            "problem": f"{size(much)} is too large to download: the files are in "
            f"{', '.join(sorted(places))}, or use `python -m unlearnlab export`."
        }
    name, content = packed(found)
    return {"name": name, "data": base64.b64encode(content).decode()}


def export_card(program: Program) -> gr.HTML:
    """Draw the card of exports. Its value is that of `export_value`."""

    def take_away(asked: Any) -> dict[str, Any]:
        return press_export(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=render("run/export.html"),
        js_on_load=script("kit/poll.js", "run/export.js"),
        server_functions=[take_away],
        elem_id="takeaway",
        apply_default_css=False,
    )
