"""What a command does on a device: the device is waited for, and a run is shown until it ends."""

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager

from unlearnlab.cli.commands import DONE, FAILED, STOPPED, tell
from unlearnlab.cli.terminal import Progress, progress
from unlearnlab.runs.device_lock import POLL_S, Held, Holder, InUse, take
from unlearnlab.runs.engine_api import Engine, EnginePool, as_pool
from unlearnlab.runs.events import Ending, Failed, Finished, Stopped
from unlearnlab.runs.queue import candidate_devices
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec

CLOSING_S = 30.0
"""How long a run that was stopped may take to put its weights back."""

EXITS: Mapping[type[Ending], int] = {Finished: DONE, Stopped: STOPPED, Failed: FAILED}
"""What a command's exit code says of the run that it carried out."""


def carried_out(
    store: Store,
    lab: Engine | EnginePool,
    spec: RunSpec | TraceSpec,
    *,
    name: str = "",
    repeats: str = "",
    no_wait: bool = False,
) -> tuple[str, Ending]:
    """Carry out a run or a trace and show it on stderr until it ends.

    Args:
        store: Where it is kept.
        lab: Does the work, or those of all devices.
        spec: What is asked for.
        name: How a list calls it; may be empty.
        repeats: Id of the run whose record it repeats; empty if of none.
        no_wait: Whether to refuse instead of waiting for a device that another process uses.

    Returns:
        Its id and its ending.

    Raises:
        InUse: Another process uses the device, and it must not be waited for.
        KeyboardInterrupt: It was left at once.
    """
    labs = as_pool(lab)
    if no_wait:
        refuse_in_use(labs, spec.model.device)
    worker, patience_s = Worker(store, labs), CLOSING_S
    try:
        run_id = worker.submit(spec, name=name, repeats=repeats)
        with closing(progress(sys.stderr)) as shown:
            return run_id, _follow(store, Patience(worker, no_wait), run_id, shown)
    except KeyboardInterrupt:
        patience_s = 0
        raise
    finally:
        worker.close(patience_s)


class Patience:
    """Tells once which process a worker's run waits for, or refuses to wait."""

    def __init__(self, worker: Worker, no_wait: bool) -> None:
        self.worker = worker
        self._no_wait = no_wait
        self._told: Holder | None = None

    def look(self, run_id: str) -> None:
        """Tell if a run waits for a process that was not told yet.

        Raises:
            InUse: It waits and must not; it is stopped.
        """
        holder = self.worker.state().holder(run_id)
        if holder is None or holder == self._told:
            return
        if self._no_wait:
            self.worker.stop(run_id)
            raise InUse(holder)
        self._told = holder
        tell(_waiting(holder))


def refuse_in_use(labs: EnginePool, wish: str) -> None:
    """Make sure that a device is free.

    Raises:
        InUse: Another process uses it.
    """
    with on_device(labs, wish, no_wait=True):
        pass


@contextmanager
def on_device(labs: EnginePool, wish: str, *, no_wait: bool, run: str = "") -> Generator[str]:
    """Keep other processes from a device; while one uses it, wait, and tell which on stderr.

    Args:
        labs: Know the devices.
        wish: The device, as `model.device` names it.
        no_wait: Whether to refuse instead of waiting.
        run: Id of the run that it is used for, if there is one.

    Yields:
        The device that was taken, of several the first.

    Raises:
        InUse: Another process uses it, and it must not be waited for.
    """
    options, told = candidate_devices(wish, labs.devices()), None
    while True:
        place, held = _taken(labs, options, run)
        if isinstance(held, Held):
            break
        if no_wait:
            raise held
        if held.holder != told:
            tell(_waiting(told := held.holder))
        time.sleep(POLL_S)
    try:
        yield place[0]
    finally:
        held.release()


def _taken(
    labs: EnginePool, options: Sequence[tuple[str, ...]], run: str
) -> tuple[tuple[str, ...], Held | InUse]:
    """Take the first place that is free, or say who uses the best one."""
    refused: list[InUse] = []
    for place in options:
        try:
            return place, take({labs.lock(device): device for device in place}, run=run)
        except InUse as taken:
            refused.append(taken)
    return options[0], refused[0]


def _waiting(holder: Holder) -> str:
    return f"{InUse(holder)}: waiting; --no-wait refuses instead"


def _follow(store: Store, patience: Patience, run_id: str, shown: Progress) -> Ending:
    """Show a run's events until it ends. The first Ctrl-C stops it, the second leaves at once."""
    seen, stopping = 0, False
    while True:
        try:
            for stored in store.events(run_id, after=seen):
                seen = stored.seq
                shown.take(stored)
                if isinstance(stored.event, Ending):
                    return stored.event
            if not seen:
                patience.look(run_id)
            time.sleep(0.1)
        except KeyboardInterrupt:
            if stopping:
                raise
            stopping = True
            tell("stopping; Ctrl-C again leaves at once")
            patience.worker.stop(run_id)
