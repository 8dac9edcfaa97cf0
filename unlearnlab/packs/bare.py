"""What a pack leaves out: rows and what tells of them, and places on the machine of the run."""

import re
from dataclasses import replace

from unlearnlab import hub
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
    """Name a model's folder by its last part only: `/my-model`.

    It stays a path, so that it is not taken for a model of the catalogue or the hub.
    """
    model = run.spec.model
    *above, last = re.split(r"[/\\]+", model.name.rstrip("/\\"))
    if not above or hub.ID.fullmatch(model.name):
        return run
    placed = model.model_copy(update={"name": f"/{last}"})
    return replace(run, spec=run.spec.model_copy(update={"model": placed}))
