"""A recorded run that took a minute, made in a moment: what replays are tried on."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.browser.slow_lab import SlowLab
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.engine_api import Job
from unlearnlab.runs.events import Evaluated, Event, Finished, Started, StepLogged, StoredEvent
from unlearnlab.runs.records import FullRecord
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import RunSpec

BEGAN = 1_760_000_000.0
RUN = "251009-085320-000"
STEPS = 40
STEP_S, ELSE_S = 1.0, 0.25
"""How long a step took, and anything else."""


def recorded_run() -> FullRecord:
    """Make a run of which each step took a second."""
    evidence: dict[str, Evidence] = {}
    events: list[StoredEvent] = []
    at = BEGAN
    with TemporaryDirectory() as folder:
        job = Job(RUN, RunSpec(), Path(folder))
        made = [one for one in SlowLab(step_s=0, steps=STEPS).unlearn(job) if one]
    story: list[Event] = [Started(versions={}, device="cuda:0, H100"), *made]
    for seq, event in enumerate(story, 1):
        at += STEP_S if isinstance(event, StepLogged) else ELSE_S
        if isinstance(event, StepLogged):
            event = event.model_copy(update={"seconds": at - BEGAN})
        if isinstance(event, Evaluated) and event.evidence:
            evidence[event.key] = event.evidence
            event = event.model_copy(update={"evidence": None})
        events.append(StoredEvent(seq, at, event))
    events.append(StoredEvent(len(events) + 1, at, Finished(seconds=at - BEGAN)))
    return FullRecord(RUN, "On stage", BEGAN, RunSpec(), (), "", tuple(events), evidence)


def record(home: Path) -> None:
    """Put the run into the store of a folder."""
    with Store(home) as store, TemporaryDirectory() as part:
        files = Path(part) / RUN
        files.mkdir()
        store.import_run(recorded_run(), files, origin="")
