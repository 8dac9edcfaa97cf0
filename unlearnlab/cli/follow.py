"""Work on a device: wait for the device, carry a run out, and show progress on stderr."""

import math
import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from unlearnlab.cli.commands import DONE, FAILED, STOPPED, ToldToEnd, tell
from unlearnlab.metrics.documents import standing
from unlearnlab.runs.devices import POLL_S, Holder, InUse, candidate_devices, take
from unlearnlab.runs.engine_api import Engine, EnginePool, as_pool
from unlearnlab.runs.events import (
    Ending,
    Failed,
    Finished,
    KnowledgeChecked,
    Said,
    StageBegan,
    Stopped,
)
from unlearnlab.runs.progress import RunProgress, advance, run_view
from unlearnlab.runs.store import Busy, Store, StoredEvent
from unlearnlab.runs.worker import NotRunning, Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec
from unlearnlab.views.words import duration, knowledge_text

T = TypeVar("T")
Y = TypeVar("Y")

LINE_EVERY_S = 5.0
"""Seconds between lines of progress where there is no terminal."""

CLOSING_S = 30.0
"""How long a stopped run may take to restore its weights, in seconds."""

EXITS: Mapping[type[Ending], int] = {Finished: DONE, Stopped: STOPPED, Failed: FAILED}
"""Exit code of a command by the ending of its run."""


class Progress:
    """Progress of a piece of work: a bar per stage in a terminal, an occasional line elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lines, self._next = stream, not stream.isatty(), 0.0
        self._task: TaskID | None = None
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            # Where the terminal is narrow, a long remark is cut, not the count.
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=len("1000/1000"))),
            TextColumn(
                "{task.fields[remark]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=Console(file=stream),
            disable=self._lines,
        )
        self._bars.start()

    def stage(self, title: str, remark: str = "") -> None:
        """Begin the next stage; the bars of those before stay as they are."""
        if self._lines:
            self._line(", ".join(filter(None, (title, remark))))
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._task = self._bars.add_task(title, total=None, remark=remark)

    def move(self, done: float, total: float | None, remark: str, *, line: str) -> None:
        """Show how much of the stage is done.

        Args:
            done: How much.
            total: Of how much; none if it is not known.
            remark: What else a bar shows.
            line: All of it in words, for where there are no bars.
        """
        if self._lines and time.monotonic() >= self._next:
            self._line(line)
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total, remark=remark)

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._next = time.monotonic() + LINE_EVERY_S

    def close(self) -> None:
        """Leave the terminal in order."""
        if not self._lines:  # Some versions of rich end even a disabled progress with a newline.
            self._bars.stop()


class RunProgressBar(Progress):
    """Progress of a run, read from its events."""

    def __init__(
        self,
        stream: TextIO,
        spec: RunSpec | TraceSpec,
        says: Callable[[RunProgress], Sequence[str]] | None = None,
    ) -> None:
        """Start it.

        Args:
            stream: Where to write.
            spec: Of the run; it tells how to teach what the model lacks.
            says: Writes what the model says at a probe, as lines; None leaves it out.
        """
        super().__init__(stream)
        self._spec = spec
        self._says = says
        self._progress = RunProgress()
        self._known = ""
        self.seen = 0
        """Number of the last event shown."""

    def take(self, stored: StoredEvent) -> None:
        """Show one more event."""
        self._progress = progress = advance(self._progress, [stored])
        view = run_view(progress, alive=True, mine=True, now=stored.at)
        done, total, terms = 0, None, ""
        if progress.stage == "training":
            done, total = progress.step.step if progress.step else 0, progress.total_steps or None
            found = progress.step.terms.items() if progress.step else ()
            told = [f"{name} {value:.3g}" for name, value in found]
            if progress.probed and (known := standing(progress.probed.documents)):
                told.append(known)
            terms = ", ".join(told)
        elif progress.progressed:
            done, total = progress.progressed.done, progress.progressed.total
        if view.eta_s is not None and progress.stage in ("scoring before", "training"):
            left = f"{view.eta_words} {duration(view.eta_s, ' ')} left"
            terms = ", ".join(filter(None, (terms, left)))
        if isinstance(stored.event, KnowledgeChecked):
            self._tell_knowledge(stored.event)
        if isinstance(stored.event, Said) and self._says:
            tell("\n".join(self._says(progress)))
        if isinstance(stored.event, StageBegan):
            self.stage(view.headline, terms)
        line = ", ".join(part for part in (view.headline, view.detail, terms) if part)
        self.move(done, total, terms, line=line)
        self.seen = stored.seq

    def _tell_knowledge(self, checked: KnowledgeChecked) -> None:
        """Say what the model knows of the forget rows, unless the sample has said the same."""
        text = knowledge_text(checked)
        if text != self._known:
            self._known = text
            tell(text)
            if checked.knowledge.kind == "never_knew" and isinstance(self._spec, RunSpec):
                data, model = self._spec.data.source, shlex.quote(self._spec.model.name)
                tell(f"`teach --data {data} --model {model} --keep-as NAME` teaches them")


def shown(
    work: Generator[Y, None, T],
    what: str,
    *,
    done: Callable[[Y], tuple[int, int | None, str] | None],
) -> T:
    """Carry out work to its end, and show its progress on stderr.

    Args:
        work: Yields values that `done` can read.
        what: Its name.
        done: Maps a value to the amount done, the total and a remark; none shows nothing new.
    """
    with closing(work), closing(Progress(sys.stderr)) as progress:
        progress.stage(what)
        while True:
            try:
                told = done(next(work))
            except StopIteration as end:
                return end.value
            if told is not None:
                amount, total, remark = told
                of = f" of {total}" if total else ""
                line = f"{what}: {amount}{of}, {remark}".rstrip(", ")
                progress.move(amount, total, remark, line=line)


def carried_out(
    store: Store,
    engine: Engine | EnginePool,
    spec: RunSpec | TraceSpec,
    *,
    name: str = "",
    repeats: str = "",
    no_wait: bool = False,
    score_stopped: bool = False,
    says: Callable[[RunProgress], Sequence[str]] | None = None,
) -> tuple[str, Ending]:
    """Carry out a run or a trace, show it on stderr, and return its id and its ending.

    The first Ctrl-C stops it, the second leaves at once. A signal of the system stops it, too, and
    what does not stop within `CLOSING_S` is left behind with an ending in the store. With
    `score_stopped`, a Ctrl-C before these ends the training of a run, which goes on with scoring.

    Args:
        store: Where to keep it.
        engine: The engine, or the engines of all devices.
        spec: The run or trace.
        name: Its name in lists; may be empty.
        repeats: Id of the run that it repeats; empty if none.
        no_wait: Refuse instead of waiting for a device that another process uses.
        score_stopped: Whether to score what is trained when Ctrl-C stops the training.
        says: Writes what the model says at a probe, as lines; None leaves it out.

    Raises:
        InUse: Another process uses the device, and it must not be waited for.
        KeyboardInterrupt: The user left at once.
    """
    engines = as_pool(engine)
    if no_wait:
        refuse_in_use(engines, spec.model.device)
    worker, patience_s = Worker(store, engines), CLOSING_S
    patience = Patience(no_wait)
    try:
        run_id = worker.submit(spec, name=name, repeats=repeats)
        with closing(RunProgressBar(sys.stderr, spec, says)) as progress:
            try:
                ending = watch(store, worker, run_id, progress, patience)
            except KeyboardInterrupt as told:
                ending, systems = None, isinstance(told, ToldToEnd)
                if score_stopped and not systems and _ends_training(worker, run_id):
                    with suppress(KeyboardInterrupt):
                        ending = watch(store, worker, run_id, progress, patience)
                if ending is None:
                    tell("stopping; Ctrl-C again leaves at once")
                    worker.stop(run_id)
                    late = time.monotonic() + CLOSING_S if systems else math.inf
                    ending = watch(store, worker, run_id, progress, patience, until=late)
                    if ending is None:
                        worker.give_up()
                        ending, patience_s = store.job(run_id).ending or Stopped(seconds=0), 0
        assert ending is not None, "a live process ends its runs"
        return run_id, ending
    except KeyboardInterrupt:
        patience_s = 0
        raise
    finally:
        worker.close(patience_s)


def _ends_training(worker: Worker, run_id: str) -> bool:
    """End the training of a run, unless it is not training now; tell which."""
    try:
        worker.stop_and_score(run_id)
    except NotRunning:
        return False
    tell("the training ends at its next step, then the model is scored; Ctrl-C again stops")
    return True


class Patience:
    """Reports once which process is waited for, or refuses to wait."""

    def __init__(self, no_wait: bool) -> None:
        self._no_wait = no_wait
        self._told: Holder | None = None

    def look(self, holder: Holder) -> None:
        """Report the process that uses a device, unless it was reported already.

        Raises:
            InUse: It must not be waited for.
        """
        if self._no_wait:
            raise InUse(holder)
        if holder != self._told:
            self._told = holder
            tell(f"{InUse(holder)}: waiting; --no-wait refuses instead")


def watch(
    store: Store,
    worker: Worker,
    run_id: str,
    progress: RunProgressBar,
    patience: Patience,
    *,
    until: float = math.inf,
) -> Ending | None:
    """Show the events of a run until it ends; return None if its process is gone before.

    So it does once a moment of the monotonic clock has passed, `until`.

    A locked database is waited for: the run waits for it, too, and says so.

    Raises:
        InUse: Another process uses the device and must not be waited for; the run is stopped.
    """
    while True:
        try:
            alive = store.job(run_id).alive
            events = store.events(run_id, after=progress.seen)
        except Busy:
            time.sleep(POLL_S)
            continue
        for stored in events:
            progress.take(stored)
            if isinstance(stored.event, Ending):
                return stored.event
        if problem := worker.lost(run_id):
            return Failed(seconds=0.0, problem=f"how it ended could not be stored: {problem}")
        if not alive or time.monotonic() > until:
            return None
        if not progress.seen and (holder := worker.state().holder(run_id)):
            try:
                patience.look(holder)
            except InUse:
                worker.stop(run_id)
                raise
        time.sleep(0.1)


def refuse_in_use(engines: EnginePool, request: str) -> None:
    """Make sure that a device is free.

    Raises:
        InUse: Another process uses it.
    """
    with on_device(engines, request, no_wait=True):
        pass


@contextmanager
def on_device(engines: EnginePool, request: str, *, no_wait: bool, run: str = "") -> Generator[str]:
    """Lock a device; while another process uses it, wait, and name that process on stderr.

    Args:
        engines: The engines of all devices.
        request: The device, as `model.device` names it.
        no_wait: Refuse instead of waiting.
        run: Id of the run that uses it; empty if none.

    Yields:
        The locked device; the first if there are several.

    Raises:
        InUse: Another process uses it, and it must not be waited for.
    """
    places, held = candidate_devices(request, engines.devices()), None
    patience = Patience(no_wait)
    while held is None:
        refused: list[InUse] = []
        for place in places:
            try:
                held = place[0], take({engines.lock(device): device for device in place}, run=run)
                break
            except InUse as taken:
                refused.append(taken)
        else:
            patience.look(refused[0].holder)
            time.sleep(POLL_S)
    device, locks = held
    try:
        yield device
    finally:
        locks.release()
