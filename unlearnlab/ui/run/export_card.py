"""The card that exports an ended run: files made on a click, the merged model written as a job.

Files travel through the page's own connection and are saved by the browser, so that no copy of
personal data stays in a folder of the server.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import BaseModel, Field, ValidationError

from unlearnlab.data.files import size
from unlearnlab.exports.kinds import KINDS, Content, NothingThere, What, files
from unlearnlab.exports.model import model_export, model_folder
from unlearnlab.exports.packs.format import PackError
from unlearnlab.exports.packs.writing import fill, packable
from unlearnlab.exports.result import Result, result
from unlearnlab.exports.writing import in_folder, packed, total
from unlearnlab.runs.events import ExportFailed
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.form.form import NAME, Form, form_of, take_model
from unlearnlab.ui.kit.html import render, script
from unlearnlab.ui.kit.program import Program

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


def offers(
    program: Program, row: RunRecord | None, course: RunProgress, state: WorkerState
) -> dict[str, Any]:
    """Return the card's value for a run; an empty run id hides the card."""
    if row is None:
        return {"run": ""}
    run = Result(row, (), course, None, None, program.store.artefacts(row.run_id))
    listed = [
        {"what": one.what, "title": one.title, "about": one.about, "missing": one.missing(run)}
        for one in KINDS.values()
    ]
    listed += [
        {"what": what, "title": title, "about": about, "missing": ""}
        for what, (title, about) in PACKS.items()
    ]
    return {
        "run": row.run_id,
        "ended": run.ended,
        "items": listed if run.ended else [],
        "model": _model(program, run, state),
    }


def _model(program: Program, run: Result, state: WorkerState) -> dict[str, Any]:
    """Return the state of the merged model's folder."""
    if run.run_id in state.exporting:
        shares = dict(zip(state.writing, state.shares, strict=True))
        told = "Waits until the device is free."
        if run.run_id in shares:
            told = f"Being written, {shares[run.run_id]:.0%}"
        return {"state": "busy", "told": told}
    folder = _merged(program, run.run_id)
    last = run.course.exports[-1] if run.course.exports else None
    if isinstance(last, ExportFailed):
        return {"state": "failed", "told": f"Not written: {last.problem}"}
    if last is None or not folder.is_dir():
        return {"state": "none", "told": ""}
    bytes_there = total(in_folder(folder))
    return {
        "state": "there",
        "told": size(bytes_there),
        "path": str(folder),
        "small": bytes_there <= LARGEST,
    }


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


def press_export(program: Program, asked: Any) -> dict[str, Any]:
    """Handle a click on the card.

    Returns:
        A file as `name` and `data` in base64, a `note`, or a `problem`.
    """
    try:
        request = ExportRequest.model_validate(asked)
        run = result(program.store, request.run)
        if not run.ended:
            return {"problem": "The run has not ended: export its results then."}
        if request.action == "stop":
            program.worker.stop_export(run.run_id)
            return {"note": "Stopping."}
        if request.what == "model" and request.action == "folder":
            program.worker.export(run.run_id, model_export(run, _exports(program, run.run_id)))
            return {"note": "Requested."}
        if request.what == "model":
            return _sent(in_folder(_merged(program, run.run_id)))
        return _made(program, run, request.what, masked=request.masked)
    except ValidationError:
        return {"problem": "The page asked for something that cannot be exported: reload it."}
    except (StoreError, NotRunning, NothingThere, PackError) as error:
        return {"problem": str(error)}
    except OSError as error:
        return {"problem": f"A file of the run cannot be read: {error.strerror}."}


def _made(program: Program, run: Result, what: What | PackWhat, *, masked: bool) -> dict[str, Any]:
    """Make files of a run in memory; no pack whose weights are too large for that."""
    if what not in ("pack", "bare-pack"):
        return _sent(files(run, what, masked=masked))
    found = packable(program.store, run.run_id, answers=what == "pack")
    if found.bytes > LARGEST:
        return {
            "problem": f"Weights of {size(found.bytes)} are too much for a download: use "
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
            "problem": f"{size(much)} are too much for a download: the files are in "
            f"{', '.join(sorted(places))}, or use `python -m unlearnlab export`."
        }
    name, content = packed(found)
    return {"name": name, "data": base64.b64encode(content).decode()}


def export_card(program: Program) -> gr.HTML:
    """Draw the card. Its value is that of `offers`."""

    def take_away(asked: Any) -> dict[str, Any]:
        return press_export(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=render("run/export_card.html"),
        js_on_load=script("kit/poll.js", "run/export_card.js"),
        server_functions=[take_away],
        elem_id="takeaway",
        apply_default_css=False,
    )
