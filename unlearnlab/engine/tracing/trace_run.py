"""A whole trace: one fact or many, with its progress, and what to say of a fact not known."""

from collections.abc import Generator
from random import Random
from typing import TypeVar

import torch

from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.tracing.subject_span import embedding_sd, locate, with_own_answer
from unlearnlab.engine.tracing.tracing import Disturbance, UnknownFact, rows_of, trace
from unlearnlab.metrics.tracing import FactTrace, TraceAverage, average
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Event, Progressed, Traced
from unlearnlab.spec.facts import Fact, facts
from unlearnlab.spec.trace import KnownFact, ManyFacts, TraceSpec, TypedPrompt, nearest_facts

T = TypeVar("T")

NEAR, OFFERED = 12, 3
"""Facts that are tried as a way out of an unknown one, and how many are told."""


def investigate(target: Target, spec: TraceSpec) -> Generator[Event | None, None, None]:
    """Carry out a trace, yielding progress and in the end what was found.

    Raises:
        RunFailed: The model does not know the answer.
        ValueError: The prompt cannot be traced.
    """
    noise = spec.noise * embedding_sd(target)
    how = Disturbance(noise=noise, copies=spec.copies, seed=spec.seed, span=spec.span)
    if isinstance(spec.about, ManyFacts):
        found = yield from _many(target, spec.about, how)
    else:
        asked = spec.about.fact if isinstance(spec.about, KnownFact) else spec.about
        found = yield from _one(target, asked, how)
    yield Traced(weights=target.fingerprint, noise_sd=noise, window=spec.span, found=found)


def _one(
    target: Target, asked: Fact | TypedPrompt, how: Disturbance
) -> Generator[Event | None, None, FactTrace]:
    work, total = trace(target, asked, how), rows_of(target)
    try:
        while True:
            done = next(work)
            yield None if done is None else Progressed(done=done, total=total)
    except StopIteration as end:
        return end.value
    except UnknownFact:
        raise unknown(target, asked) from None


def _many(
    target: Target, about: ManyFacts, how: Disturbance
) -> Generator[Event | None, None, TraceAverage]:
    chosen = Random(how.seed).sample(about.pool, about.count)
    traces: list[FactTrace] = []
    for done, fact in enumerate(chosen, 1):
        try:
            found = yield from _silently(trace(target, fact, how))
            traces.append(found)
        except UnknownFact:
            yield None
        yield Progressed(done=done, total=about.count)
    if not traces:
        raise ValueError(f"the model knows none of the {about.count} facts: nothing to trace")
    return average(traces, unknown=about.count - len(traces))


def _silently(work: Generator[object, None, T]) -> Generator[None, None, T]:
    """Pass on that a trace may be stopped here, and nothing else."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        yield None


def knows(target: Target, fact: Fact) -> bool:
    """Tell whether the model's top token is the answer's at every token of it."""
    found = locate(target.tokenizer, fact.prompt, fact.subject, fact.answer)
    with torch.no_grad():
        ids = torch.tensor([found.ids[:-1]], device=target.device)
        keep = len(found.ids) - found.start
        top = target.model(ids, use_cache=False, logits_to_keep=keep).logits[0].argmax(-1)
    return top.tolist() == list(found.ids[found.start :])


def unknown(target: Target, asked: Fact | TypedPrompt) -> RunFailed:
    """Say that the model does not know an answer, what it says, and what it knows instead."""
    said = with_own_answer(target, locate(target.tokenizer, asked.prompt, asked.subject))
    own = target.tokenizer.decode(said.ids[said.start :]).strip()
    says = f"it says {own!r}" if own else "it says nothing"
    near = nearest_facts(asked.prompt, facts().values(), NEAR)
    known = [fact.prompt for fact in near if knows(target, fact)][:OFFERED]
    return RunFailed(
        f"the model does not know this answer: {says}, not {asked.answer.strip()!r}, so "
        "there is nothing to trace",
        f"a fact near to it that the model knows: {' · '.join(known)}" if known else "",
    )
