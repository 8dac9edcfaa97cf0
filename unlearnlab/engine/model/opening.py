"""From a model's name to its weights on the device: fetched if need be, then loaded."""

from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TypeVar

import torch

from unlearnlab.data.background import Amount, carried_out
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.training.loop import Clock
from unlearnlab.models import hub as hub_models
from unlearnlab.runs.events import Event, Progressed, StageBegan
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import ModelSpec, RunSpec, parse_spec
from unlearnlab.spec.trace import TraceSpec, parse_trace

T = TypeVar("T")


def opened(
    spec: RunSpec | TraceSpec | PreviewSpec, *, device: torch.device, clock: Clock
) -> Generator[Event | None, None, Target]:
    """Open a spec's model, yielding stages and progress, and None wherever it may be stopped.

    Raises:
        RunFailed: The device has too little memory for the weights.
        ValueError: It cannot be fetched, cannot be loaded, or the spec does not fit it.
    """
    if spec.model.known.to_download:
        yield from _fetched(spec.model, clock)
        _check_again(spec)
    return (yield from _loaded(spec.model, device, clock))


def opened_alone(
    model: ModelSpec, *, device: torch.device, clock: Clock
) -> Generator[Event | None, None, Target]:
    """Open a model that no spec asks anything of, as `opened` does."""
    yield from _fetched(model, clock)
    return (yield from _loaded(model, device, clock))


def _fetched(model: ModelSpec, clock: Clock) -> Generator[Event | None, None, None]:
    for repository, only_tokenizer in model.known.to_download:
        yield StageBegan(stage="downloading", seconds=clock.seconds)
        work = hub_models.fetch(repository, only_tokenizer=only_tokenizer)
        yield from _told(work, unit="MB")


def _loaded(
    model: ModelSpec, device: torch.device, clock: Clock
) -> Generator[Event | None, None, Target]:
    yield StageBegan(stage="loading", seconds=clock.seconds)
    load = carried_out(partial(Target.load, model, device=device))
    return (yield from _told(load, unit="tensors"))


def _check_again(spec: RunSpec | TraceSpec | PreviewSpec) -> None:
    """Check a spec against the sizes of its model, which may be known only now."""
    plain = spec.model_dump(mode="json")
    if isinstance(spec, RunSpec):
        parse_spec(plain)
    elif isinstance(spec, TraceSpec):
        parse_trace(plain)


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
