"""From a model's name to its weights on the device: fetched if need be, then loaded."""

from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TypeVar

import torch

from unlearnlab import hub
from unlearnlab.background import Amount, carried_out
from unlearnlab.catalogue import KnownModel
from unlearnlab.engine.loop import Clock
from unlearnlab.engine.models import Target
from unlearnlab.events import Event, Progressed, StageBegan
from unlearnlab.spec import ModelSpec

T = TypeVar("T")


def opened(
    spec: ModelSpec, *, device: torch.device, clock: Clock
) -> Generator[Event | None, None, Target]:
    """Open a model, yielding stages and progress, and None wherever it may be stopped.

    Raises:
        RunFailed: The device has too little memory for the weights.
        ValueError: It cannot be fetched, or not be loaded.
    """
    yield from _fetched(spec.known, clock)
    yield StageBegan(stage="loading", seconds=clock.seconds)
    work = carried_out(partial(Target.load, spec, device=device))
    return (yield from _told(work, unit="tensors"))


def _fetched(known: KnownModel, clock: Clock) -> Generator[Event | None, None, None]:
    for repository, only_tokenizer in known.fetches:
        yield StageBegan(stage="downloading", seconds=clock.seconds)
        yield from _told(hub.fetch(repository, only_tokenizer=only_tokenizer), unit="MB")


def _told(
    work: Generator[Amount | None, None, T], *, unit: str
) -> Generator[Event | None, None, T]:
    """Tell of a work's progress as a run does, and give it up with the run."""
    with closing(work):
        while True:
            try:
                amount = next(work)
            except StopIteration as end:
                return end.value
            yield amount and Progressed(done=amount.done, total=amount.total, unit=unit)
