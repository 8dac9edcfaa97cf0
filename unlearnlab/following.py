"""A run carried out by a command: begun, shown while it goes on, and ended in order."""

import sys
import time
from collections.abc import Mapping
from contextlib import closing

from unlearnlab.commands import DONE, FAILED, STOPPED, tell
from unlearnlab.events import Ending, Failed, Finished, Stopped
from unlearnlab.jobs import Lab
from unlearnlab.runs import Worker
from unlearnlab.spec import RunSpec
from unlearnlab.store import Store
from unlearnlab.terminal import Progress, progress
from unlearnlab.trace_spec import TraceSpec

CLOSING_S = 30.0
"""How long a run that was stopped may take to put its weights back."""

EXITS: Mapping[type[Ending], int] = {Finished: DONE, Stopped: STOPPED, Failed: FAILED}
"""What a command's exit code says of the run that it carried out."""


def carried_out(
    store: Store, lab: Lab, spec: RunSpec | TraceSpec, *, name: str = "", repeats: str = ""
) -> tuple[str, Ending]:
    """Carry out a run or a trace and show it on stderr until it ends.

    Args:
        store: Where it is kept.
        lab: Does the work.
        spec: What is asked for.
        name: How a list calls it; may be empty.
        repeats: Id of the run whose record it repeats; empty if of none.

    Returns:
        Its id and its ending.

    Raises:
        KeyboardInterrupt: It was left at once.
    """
    worker, patience_s = Worker(store, lab), CLOSING_S
    try:
        run_id = worker.submit(spec, name=name, repeats=repeats)
        with closing(progress(sys.stderr)) as shown:
            return run_id, _follow(store, worker, run_id, shown)
    except KeyboardInterrupt:
        patience_s = 0
        raise
    finally:
        worker.close(patience_s)


def _follow(store: Store, worker: Worker, run_id: str, shown: Progress) -> Ending:
    """Show a run's events until it ends. The first Ctrl-C stops it, the second leaves at once."""
    seen, stopping = 0, False
    while True:
        try:
            for stored in store.events(run_id, after=seen):
                seen = stored.seq
                shown.take(stored)
                if isinstance(stored.event, Ending):
                    return stored.event
            time.sleep(0.1)
        except KeyboardInterrupt:
            if stopping:
                raise
            stopping = True
            tell("stopping; Ctrl-C again leaves at once")
            worker.stop(run_id)
