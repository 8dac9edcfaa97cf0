"""What a pack leaves out: rows and what tells of them, and places on the machine of the run."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from unlearnlab.data import downloads
from unlearnlab.runs.events import AdjustFailed, Asked, AskFailed, Event, ExportFailed, Failed
from unlearnlab.runs.records import FullRecord
from unlearnlab.spec.run import RunSpec

LEFT_OUT = "what went wrong was left out of the pack, for it may tell of rows"


def without_answers(run: FullRecord) -> FullRecord:
    """Leave out what the models said, and whatever else may tell of single rows.

    Picked rows are counted only: their ids may be names.
    """
    said = [item for item in run.events if not isinstance(item.event, Asked | AskFailed)]
    events = tuple(
        replace(item, seq=seq, event=_reticent(item.event)) for seq, item in enumerate(said, 1)
    )
    return replace(run, spec=_counted(run.spec), events=events, evidence={})


def _reticent(event: Event) -> Event:
    match event:
        case Failed():
            return event.model_copy(update={"problem": LEFT_OUT, "advice": ""})
        case AdjustFailed() | ExportFailed():
            return event.model_copy(update={"problem": LEFT_OUT})
        case _:
            return event


def _counted(spec: RunSpec) -> RunSpec:
    picked = spec.data.forget
    if picked is None:
        return spec
    stand_ins = tuple(f"picked-{number}" for number in range(1, len(picked) + 1))
    return spec.model_copy(update={"data": spec.data.model_copy(update={"forget": stand_ins})})


def without_place(run: FullRecord) -> FullRecord:
    """Name the model's folder, and any file that a message tells of, by its last part only.

    `/my-model` stays a path, so that it is not taken for a model of the catalogue or the hub.
    """
    model = run.spec.model
    *above, last = re.split(r"[/\\]+", model.name.rstrip("/\\"))
    placed = bool(above) and not downloads.REPOSITORY_ID.fullmatch(model.name)
    known = (model.name,) if placed else ()
    events = tuple(replace(one, event=_moved(one.event, known)) for one in run.events)
    if not placed:
        return replace(run, events=events)
    there = model.model_copy(update={"name": f"/{last}"})
    return replace(run, events=events, spec=run.spec.model_copy(update={"model": there}))


def _moved(event: Event, known: Sequence[str]) -> Event:
    match event:
        case Failed():
            fields = {"problem": event.problem, "advice": event.advice}
        case AdjustFailed() | AskFailed() | ExportFailed():
            fields = {"problem": event.problem}
        case _:
            return event
    return event.model_copy(update={name: placeless(text, known) for name, text in fields.items()})


_START = r"(?:file:|~|[A-Za-z]:)?[/\\]"

_PLACE = re.compile(
    r"(?P<address>https?://\S+)"
    rf"|(?P<mark>['\"])(?P<quoted>{_START}[^'\"]*)(?P=mark)"
    rf"|(?<![\w.])(?P<bare>{_START}+(?:[^\s/\\:'\"<>|,;]+[/\\]+)+[^\s/\\:'\"<>|,;]*)"
)
"""An address of the web, which stays; or a path from a root or a home folder, in quotes whole."""


def placeless(text: str, known: Sequence[str] = ()) -> str:
    """Shorten paths to their last part. Without quotes, one that is not known ends at a space."""
    for path in known:
        text = text.replace(path, _last(path))
    user = os.path.expanduser("~")
    if len(user) > 1:  # No user at all lives in the root.
        text = re.sub(rf"{re.escape(user)}(?!\w)", "~", text)
    return _PLACE.sub(_shortened, text)


def _shortened(found: re.Match[str]) -> str:
    if found["address"]:
        return found.group()
    mark = found["mark"] or ""
    return f"{mark}{_last(found['quoted'] or found['bare'])}{mark}"


def _last(path: str) -> str:
    return "/" + re.split(r"[/\\]+", path.rstrip("/\\"))[-1]
