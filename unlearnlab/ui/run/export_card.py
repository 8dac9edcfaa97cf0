"""What can be taken away from a run that has ended: files made on a click, the model as a job.

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
from unlearnlab.runs.progress import Course
from unlearnlab.runs.records import RunRow
from unlearnlab.runs.store import StoreError
from unlearnlab.runs.worker import NotRunning, WorkerState
from unlearnlab.ui.form.choices import NAME, take_model
from unlearnlab.ui.form.form import Form, form_of
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.script import script

LARGEST = 100 * 10**6
"""Bytes that still go through the page; of what is larger it tells the place."""


PackWhat = Literal["pack", "bare-pack"]

PACKS: Mapping[PackWhat, tuple[str, str]] = {
    "pack": (
        "Pack",
        "The whole run as one file, to be taken in or replayed elsewhere. It holds rows and "
        "answers, not masked.",
    ),
    "bare-pack": (
        "Pack without answers",
        "The same without rows, answers, free prompts and what went wrong.",
    ),
}
"""Title of each kind of pack, and what is in it."""


class Wish(BaseModel):
    """What a page asks for: untrusted."""

    run: Annotated[str, Field(max_length=100)]
    what: What | PackWhat
    action: Literal["file", "folder", "stop"] = "file"
    """A file to download, the model's folder to be written, or its writing to be given up."""
    masked: bool = True


def offers(
    program: Program, row: RunRow | None, course: Course, state: WorkerState
) -> dict[str, Any]:
    """Return what the card shows of a run, as plain values; an empty run hides it."""
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
    """Say how the folder of the merged model stands."""
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


def _place(program: Program, run_id: str) -> Path:
    return program.store.folder(run_id) / "exports"


def _merged(program: Program, run_id: str) -> Path:
    return _place(program, run_id) / model_folder(run_id)


def merged_form(program: Program, run_id: str) -> Form:
    """Return a form with a run's settings that starts from what the run made of its model.

    To be scored with other settings, or trained on.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    form = form_of(program.store.row(run_id).spec.model_dump(mode="json") | {"keep_as": ""})
    values = form.draft["values"] | {NAME: str(_merged(program, run_id))}
    return take_model(Form(form.draft | {"values": values}), program.devices())


def take(program: Program, asked: Any) -> dict[str, Any]:
    """Answer a click: with a file, with a note that the model is being written, or a problem."""
    try:
        wish = Wish.model_validate(asked)
        run = result(program.store, wish.run)
        if not run.ended:
            return {"problem": "The run has not ended: take its results away then."}
        if wish.action == "stop":
            program.worker.stop_export(run.run_id)
            return {"note": "Stopping."}
        if wish.what == "model" and wish.action == "folder":
            program.worker.export(run.run_id, model_export(run, _place(program, run.run_id)))
            return {"note": "Asked for."}
        if wish.what in ("pack", "bare-pack"):
            return _pack(program, run.run_id, wish.what)
        return _sent(_files(program, run, wish.what, masked=wish.masked))
    except ValidationError:
        return {"problem": "The page asked for something that cannot be taken: reload it."}
    except (StoreError, NotRunning, NothingThere, PackError) as error:
        return {"problem": str(error)}
    except OSError as error:
        return {"problem": f"A file of the run cannot be read: {error.strerror}."}


def _pack(program: Program, run_id: str, what: PackWhat) -> dict[str, Any]:
    """Pack a run in memory, unless its weights are too large for that."""
    found = packable(program.store, run_id, answers=what == "pack")
    if found.bytes > LARGEST:
        return {
            "problem": f"Weights of {size(found.bytes)} are too much for a download: use "
            f"`python -m unlearnlab pack {run_id} --out FILE.zip`."
        }
    made = io.BytesIO()
    fill([found], made)
    return _sent({f"{run_id}-{what}.zip": made.getvalue()})


def _files(program: Program, run: Result, what: What, *, masked: bool) -> dict[str, Content]:
    if what == "model":
        return dict(in_folder(_merged(program, run.run_id)))
    return dict(files(run, what, masked=masked))


def _sent(found: dict[str, Content]) -> dict[str, Any]:
    if not found:
        return {"problem": "It is not there any more: have it written again."}
    if (much := total(found)) > LARGEST:
        places = {str(one.parent) for one in found.values() if isinstance(one, Path)}
        return {
            "problem": f"{size(much)} are too much for a download: they lie in "
            f"{', '.join(sorted(places))}, or use `python -m unlearnlab export`."
        }
    name, content = packed(found)
    return {"name": name, "data": base64.b64encode(content).decode()}


def takeaway_card(program: Program) -> gr.HTML:
    """Draw the card. Its value is that of `offers`."""

    def take_away(asked: Any) -> dict[str, Any]:
        return take(program, asked)

    return gr.HTML(
        {"run": ""},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "run/export_card.js"),
        server_functions=[take_away],
        elem_id="takeaway",
        apply_default_css=False,
    )


_TEMPLATE = """
<section class="card takeaway" aria-labelledby="takeaway-title" hidden>
  <div class="card-head"><h2 id="takeaway-title">Take away</h2><span data-part="later">
    when the run has ended: a report, the weights, the settings</span>
    <label data-part="mask"><input type="checkbox" checked> mask personal data in the report</label>
  </div>
  <ul class="takeaway-items"></ul>
  <div class="takeaway-model" data-part="model" hidden>
    <b></b><code></code><span role="status"></span>
    <button type="button" class="quiet" data-part="stop">Stop</button>
    <button type="button" class="quiet" data-part="use">Use in the form</button>
    <button type="button" class="quiet" data-part="copy">Copy path</button>
    <button type="button" class="quiet" data-part="zip">Download</button>
  </div>
  <p class="takeaway-said" role="status"></p>
</section>
"""
