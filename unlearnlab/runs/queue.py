"""What is wished of the worker and what goes on: the state that its threads share.

Whatever waits begins in the order it came, as soon as the device it needs is free. What needs
another device may overtake it; what needs the same, or one of several that it waits for, may not.
"""

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from unlearnlab.runs.device_lock import POLL_S, Held, Holder, InUse, take
from unlearnlab.runs.engine_api import ALL, Adjustment, Ask, Export
from unlearnlab.spec.run import Phase

ANY = ""
"""The device of a lab that carries everything out."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do on a device."""

    run_id: str
    device: str
    """As `model.device` of its spec names it."""
    wish: Ask | Export | None = None
    """What is wished of the run's result; none if the run itself is to be carried out."""


@dataclass(frozen=True, slots=True)
class Change:
    """A wish to change the phase that a live run trains."""

    number: int
    """The phase it was meant for, 0-based."""
    wish: Adjustment


@dataclass(slots=True, eq=False)
class Live:
    """A task that a device is at, and what is wished of it meanwhile."""

    task: Task
    devices: tuple[str, ...]
    """Those that it holds."""
    held: Held
    """Their locks: they keep other processes from them."""
    hold: bool = False
    stop: bool = False
    present: tuple[int, Phase] | None = None
    """Number and values of the phase that the run trains; none while it does not."""
    share: float = 0.0
    """How much of a model is written, 0 to 1, where that is the task."""
    changes: deque[Change] = field(default_factory=deque[Change])


class Agenda:
    """What waits and what goes on. `changed` guards all of it and is notified of every change."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: list[Task] = []
        """Runs, traces and previews that wait."""
        self.asks: list[Task] = []
        """Wishes about a run's result."""
        self.live: list[Live] = []
        self.devices: tuple[str, ...] = ()
        """None before the first job has come."""
        self.locks: Mapping[str, str] = {}
        """What each is called among all processes of the machine."""
        self._others: dict[str, tuple[Holder, float]] = {}
        """Devices that another process uses, and when that was found, in monotonic seconds."""
        self.closing = False

    def awaited(self) -> bool:
        """Wait until there is something to do, and tell whether there is."""
        with self.changed:
            while not (self.closing or self.queue or self.asks):
                self.changed.wait()
            return not self.closing

    def take(self, device: str) -> Live | None:
        """Wait for a task whose turn it is on a device; none once the worker is closed."""
        with self.changed:
            while not self.closing:
                if live := self._begun(device):
                    return live
                # Other processes do not tell when they free a device.
                self.changed.wait(POLL_S if self._others and self.waiting() else None)
            return None

    def _begun(self, device: str) -> Live | None:
        self._look_again()
        while found := self._next(device):
            task, place = found
            try:
                held = take({self.locks.get(one, ""): one for one in place}, run=task.run_id)
            except InUse as taken:
                # What is next takes another device, or waits for this one.
                self._others[taken.holder.device] = taken.holder, time.monotonic()
                self.changed.notify_all()
                continue
            (self.queue if task.wish is None else self.asks).remove(task)
            self.live.append(live := Live(task, place, held))
            self.changed.notify_all()
            return live
        return None

    def _look_again(self) -> None:
        """Forget what was found of other processes a while ago: whose turn it is will see."""
        now = time.monotonic()
        old = [device for device, (_, at) in self._others.items() if now - at >= POLL_S]
        for device in old:
            del self._others[device]
        if old:
            self.changed.notify_all()

    def _next(self, device: str) -> tuple[Task, tuple[str, ...]] | None:
        found = zip(self.waiting(), self.placed()[0], strict=True)
        # Of several devices, the first one's thread works.
        return next(((task, place) for task, place in found if place[:1] == (device,)), None)

    def placed(self) -> tuple[list[tuple[str, ...]], set[str]]:
        """Give each of those that wait its devices: see the function of this name."""
        busy = {device for live in self.live for device in live.devices}
        wishes = [task.device for task in self.waiting()]
        return placed(wishes, self.devices, busy | self._others.keys())

    def blocked(self) -> dict[str, Holder]:
        """Map the id of each run that waits for another process to that process."""
        found: dict[str, Holder] = {}
        for task in self.waiting() if self._others else ():
            for device in chain(*places(task.device, self.devices)):
                if device in self._others:
                    found.setdefault(task.run_id, self._others[device][0])
        return found

    def waiting(self) -> list[Task]:
        """List what may begin, in its order: first wishes about results.

        What is asked of a run that waits or goes on is answered by that run.
        """
        going = {task.run_id for task in self.queue} | {live.task.run_id for live in self.runs()}
        return [task for task in self.asks if task.run_id not in going] + self.queue

    def runs(self) -> list[Live]:
        """List the runs, traces and previews that go on, those asked for first in front."""
        runs = [live for live in self.live if live.task.wish is None]
        return sorted(runs, key=lambda live: live.task.run_id)

    def run(self, run_id: str) -> Live | None:
        """Return the run, trace or preview of this id, if it goes on."""
        return next((live for live in self.runs() if live.task.run_id == run_id), None)

    def export(self, run_id: str) -> Live | None:
        """Return the writing of a run's merged model, if it goes on."""
        exports = (live for live in self.live if isinstance(live.task.wish, Export))
        return next((live for live in exports if live.task.run_id == run_id), None)

    def written(self, live: Live, share: float) -> bool:
        """Take in how much of a model is written, and tell whether more of it is wished."""
        with self.changed:
            live.share = share
            return not (live.stop or self.closing)

    def done(self, live: Live) -> None:
        """Free the devices of a task."""
        with self.changed:
            live.held.release()
            self.live.remove(live)
            self.changed.notify_all()

    def left(self) -> Task | None:
        """Take away a wish that nobody will answer any more, if there is one."""
        with self.changed:
            return self.asks.pop(0) if self.asks else None

    def wish(self, live: Live, *, held: bool) -> Ask | Change | Literal["stop", "hold", "go on"]:
        """Return what is wished of a live run; while it is held, wait for something new."""
        with self.changed:
            while not live.stop:
                if live.changes:
                    return live.changes.popleft()
                for task in self.asks:
                    if task.run_id == live.task.run_id and isinstance(task.wish, Ask):
                        self.asks.remove(task)
                        return task.wish
                if not live.hold:
                    return "go on"
                if not held:
                    return "hold"
                self.changed.wait()
            return "stop"


def places(wish: str, devices: Sequence[str]) -> list[tuple[str, ...]]:
    """List the places that a job may take, the best first; each is one device or several.

    What is not there counts as the first device, whose lab knows how to refuse it.

    Args:
        wish: As `model.device` names it: auto is any accelerator if there is one.
        devices: Those that can work side by side, the accelerators first; at least one.
    """
    gpus = tuple(device for device in devices if device.startswith("cuda"))
    if wish == "auto":
        return [(device,) for device in devices if device != "cpu"] or [(devices[0],)]
    if wish == ALL and gpus:
        return [gpus]
    named = (device for device in devices if device and device.startswith(wish))
    return [(next(named, devices[0]),)]


def placed(
    wishes: Sequence[str], devices: Sequence[str], busy: Collection[str]
) -> tuple[list[tuple[str, ...]], set[str]]:
    """Give each of those that wait its devices, as far as they are free.

    Args:
        wishes: The device that each asks for, in their order.
        devices: Those that can work side by side, the accelerators first.
        busy: Those of them that are at work.

    Returns:
        The devices that each takes now, none if it has to wait; and all that are then at work or
        waited for.
    """
    found: list[tuple[str, ...]] = []
    kept = set(busy)
    for wish in wishes:
        options = places(wish, devices)
        place = next((option for option in options if kept.isdisjoint(option)), ())
        kept.update(place or chain(*options))
        found.append(place)
    return found, kept
