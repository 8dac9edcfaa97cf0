"""What a pack leaves out: rows and what tells of them, and places on the machine of the run."""

import re
from dataclasses import replace
from pathlib import Path

from unlearnlab import hub
from unlearnlab.catalogue import home, models_folder
from unlearnlab.events import AdjustFailed, Asked, AskFailed, Event, ExportFailed, Failed
from unlearnlab.recorded import Recorded
from unlearnlab.spec import RunSpec

LEFT_OUT = "what went wrong was left out of the pack, for it may tell of rows"


def without_answers(run: Recorded) -> Recorded:
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


def without_place(run: Recorded) -> Recorded:
    """Name the model's folder, and any file that a message tells of, by its last part only.

    `/my-model` stays a path, so that it is not taken for a model of the catalogue or the hub.
    """
    run = replace(run, events=tuple(replace(one, event=_moved(one.event)) for one in run.events))
    model = run.spec.model
    *above, last = re.split(r"[/\\]+", model.name.rstrip("/\\"))
    if not above or hub.ID.fullmatch(model.name):
        return run
    placed = model.model_copy(update={"name": f"/{last}"})
    return replace(run, spec=run.spec.model_copy(update={"model": placed}))


def _moved(event: Event) -> Event:
    match event:
        case Failed():
            told = {"problem": _placeless(event.problem), "advice": _placeless(event.advice)}
        case AdjustFailed() | AskFailed() | ExportFailed():
            told = {"problem": _placeless(event.problem)}
        case _:
            return event
    return event.model_copy(update=told)


_PLACE = re.compile(r"""(?<![\w./:\\~-])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:'"<>|]+){2,}""")
"""A path from the root or a home folder, of two parts and more."""


def _placeless(text: str) -> str:
    """Shorten paths to their last part. Those of this machine's user may have spaces in them."""
    for folder in (home(), models_folder(), Path.home()):
        text = text.replace(str(folder), "~")
    return _PLACE.sub(lambda found: "/" + re.split(r"[/\\]", found.group())[-1], text)
