"""Causal tracing: which hidden states carry an answer (terms: `metrics.tracing`).

A prompt is tokenised and its subject located; it is run once clean and several times with noise on
the subject, also where the answer begins with naming it again; then clean states are restored, one
position and window of blocks at a time and once at all tokens of the subject, to measure how much
each recovers of the answer's probability.

Blocks below a restored one compute what they computed in the corrupted run, so each restored run
starts at that block from stored states. Positions before the subject have no noise: they are not
restored, and their keys and values, which all runs share, are computed once. A chat template alone
may put dozens of tokens there.

Shape suffixes: B sequences, C noised copies, N cells, T positions, D model width, A answer tokens,
V vocabulary.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from random import Random

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache

from unlearnlab.engine import relay, silently
from unlearnlab.engine.generation import causal_mask, viewed
from unlearnlab.engine.hooks import (
    beginning_at,
    capturing,
    capturing_input,
    decoder_blocks,
    editing,
    family_of,
)
from unlearnlab.engine.likelihoods import encode_continuation
from unlearnlab.engine.loading import Tokenizer
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.scores import reproduced
from unlearnlab.metrics.tracing import (
    PARTS,
    FactTrace,
    Part,
    Spread,
    TraceAverage,
    average,
    roles,
    window,
)
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Event, Progressed, Traced
from unlearnlab.spec.trace import (
    Fact,
    KnownFact,
    ManyFacts,
    TraceSpec,
    TypedPrompt,
    facts,
    nearest_facts,
    place,
    spots,
)

OWN_ANSWER = 12
"""Longest answer that the model gives itself where none is expected, in tokens."""

TOKENS_AT_ONCE = 8192
"""Most positions in one forward pass of restored runs."""

CARRIES = 0.5
"""A token carries the fact if noise on the subject removes this share of its probability."""

NEAR, OFFERED = 12, 3
"""Similar facts to try where a fact is unknown, and how many known ones to suggest."""


READ_AGAIN = 12
"""Facts whose answers are read to find out why none is known."""

AS_WORDED = "give the answer as the model words it; what is likely anyway is then given to it"
"""Advice where a model answers in a sentence of its own."""


@dataclass(frozen=True, slots=True)
class Located:
    """A tokenised prompt with its answer, and the position of its subject."""

    ids: tuple[int, ...]
    start: int
    """Index of the first answer token."""
    subject: range
    """Indices of the subject's tokens."""
    widened: str
    """Text of these tokens, if the subject shares one with its neighbours; else empty."""
    occurrences: int = 1
    """How often the prompt names the subject; the first is located."""
    again: frozenset[int] = frozenset()
    """Indices of the answer's tokens that name the subject again."""


def locate(prompts: PromptFormat, prompt: str, subject: str, answer: str = "") -> Located:
    """Tokenise a prompt with its answer and find the tokens of the subject.

    The subject is widened to whole tokens; of several occurrences, the first counts.

    Raises:
        ValueError: The subject is not in the prompt, or covers all of it.
    """
    prompt = prompt.rstrip()
    occurrences = spots(prompt, subject)
    if not occurrences:
        raise ValueError(f"subject {subject!r} is not in the prompt: copy it from there")
    read = prompts.tokenized(prompt, answer.rstrip())
    text, ids = read.text, read.ids
    start = encode_continuation(prompts, prompt, answer).start if answer else len(ids)
    found = occurrences[0][0] + read.content, occurrences[0][1] + read.content
    visible = [_visible_span(text, *span) for span in read.spans]
    touched = [at for at in range(start) if visible[at][0] < found[1] and visible[at][1] > found[0]]
    covered = range(touched[0], touched[-1] + 1)
    first, end = read.content, read.content + len(prompt)
    asked = (at for at in range(start) if visible[at][1] > first and visible[at][0] < end)
    if all(at in covered for at in asked):
        raise ValueError(
            f"subject {subject!r} covers the whole prompt, so noise would leave no question: "
            "choose a part of the prompt"
        )
    whole = visible[covered.start][0], visible[covered.stop - 1][1]
    widened = "" if whole == found else text[slice(*whole)]
    again = _named_again(prompts.tokenizer, ids, start, subject) if answer else frozenset[int]()
    return Located(ids, start, covered, widened, len(occurrences), again)


def _named_again(
    tokenizer: Tokenizer, ids: Sequence[int], start: int, subject: str
) -> frozenset[int]:
    """Find the tokens of an answer, from `start` on, that name the subject again."""
    ends = list(accumulate(len(tokenizer.decode([token])) for token in ids[start:]))
    text = "".join(tokenizer.decode([token]) for token in ids[start:])
    return frozenset(
        start + at
        for first, end in (spots(text, subject) if place(text, subject) else ())
        for at, (begin, stop) in enumerate(pairwise([0, *ends]))
        if begin < end and stop > first
    )


def _visible_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span of a token without its leading white space."""
    return end - len(text[start:end].lstrip()), end


def locate_answer(lm: UnlearningModel, asked: Fact | TypedPrompt) -> Located:
    """Locate subject and answer; without an expected answer, use the model's own."""
    if asked.answer.strip():
        found = locate(lm.prompts, asked.prompt, asked.subject, asked.answer.strip())
    else:
        found = with_model_answer(
            lm, locate(lm.prompts, asked.prompt, asked.subject), asked.subject
        )
        if len(found.ids) == found.start:
            raise ValueError(
                "the model gives no answer to this prompt: enter an answer, or another prompt"
            )
    if len(found.ids) > lm.context:
        raise ValueError(
            f"prompt and answer have {len(found.ids)} tokens, the model's context {lm.context}"
        )
    return found


@torch.no_grad()
def with_model_answer(lm: UnlearningModel, found: Located, subject: str) -> Located:
    """Append the model's greedy answer, up to `OWN_ANSWER` tokens; it may be empty.

    Raises:
        ValueError: The prompt is too long.
    """
    ids = list(found.ids)
    if len(ids) + OWN_ANSWER > lm.context:
        raise ValueError(
            f"the prompt has {len(ids)} tokens: with an answer of {OWN_ANSWER} it exceeds the "
            f"model's context of {lm.context}"
        )
    for _ in range(OWN_ANSWER):
        given = torch.tensor([ids], device=lm.device)
        token = int(lm.model(given, use_cache=False, logits_to_keep=1).logits[0, -1].argmax())
        if token in lm.ends:
            break
        ids.append(token)
    return replace(
        found, ids=tuple(ids), again=_named_again(lm.tokenizer, ids, found.start, subject)
    )


@torch.no_grad()
def embedding_sd(lm: UnlearningModel) -> float:
    """Return the standard deviation of the embeddings of all known subjects' tokens.

    Over all tokens and units together, as in the published code, whose `s3` is 3 times this.
    """
    places = [locate(lm.prompts, fact.prompt, fact.subject) for fact in facts().values()]
    ids = [found.ids[at] for found in places for at in found.subject]
    # Call the layer: some families scale the entries of its table.
    embed = lm.model.get_input_embeddings()
    return embed(torch.tensor(ids, device=lm.device)).float().std().item()


class UnknownFact(ValueError):
    """The model's greedy answer is not the expected one, so there is nothing to trace."""


@dataclass(frozen=True)
class TracedRuns:
    """One clean and C corrupted runs of a prompt, computed in one batch."""

    lm: UnlearningModel
    modules: Sequence[nn.Module]
    """Decoder blocks."""
    found: Located
    prefix: Cache
    """Keys and values of what stands before the subject, one row; empty if nothing does."""
    hidden: Sequence[Tensor]
    """[1 + C, T, D] before each block and after the last; the first row is the clean run."""
    parts: Mapping[str, Sequence[Tensor]]
    """Outputs of MLP and attention of each block, [1 + C, T, D]."""
    probability: Tensor
    """Probability of each answer token given those before it, [1 + C, A]."""
    top: Tensor
    """Most likely tokens of the clean run, [A]."""

    @cached_property
    def carrier(self) -> int:
        """Index of the answer token that carries the fact.

        This is the first token that the noise makes unlikely: the beginning that similar answers
        share, such as the first digits of a year, stays likely without the subject. If no token
        becomes unlikely, it is the one that loses most. Tokens that name the subject again are
        copied from the prompt, and the one after them continues a noised name: neither carries it.

        Raises:
            UnknownFact: The clean run gives another answer before that token.
        """
        clean, corrupted = self.probability[0], self.probability[1:].mean(0)
        lost = corrupted <= (1 - CARRIES) * clean
        places, again = range(self.found.start, len(self.found.ids)), self.found.again
        own = torch.tensor(
            [at not in again and at - 1 not in again for at in places], device=self.top.device
        )
        if not bool(own.any()):  # The answer is hardly more than the subject.
            own = torch.ones_like(own)
        answer = torch.tensor(self.found.ids[self.found.start :], device=self.top.device)
        known = (self.top == answer).long().cumprod(0).bool()
        if not bool(known[0]):
            raise UnknownFact
        if bool((lost & known & own).any()):
            return int((lost & known & own).long().argmax())
        if not bool(known.all()):
            raise UnknownFact
        return int((clean - corrupted).where(own, -torch.inf).argmax())

    @property
    def width(self) -> int:
        """Number of tokens before the scored one."""
        return self.found.start + self.carrier

    @property
    def scored(self) -> int:
        """Id of the scored token."""
        return self.found.ids[self.width]

    @property
    def clean(self) -> float:
        """Probability of the scored token in the clean run."""
        return self.probability[0, self.carrier].item()

    @property
    def corrupted_C(self) -> Tensor:  # noqa: N802  (a shape suffix)
        """Probability of the scored token in each corrupted run, [C]."""
        return self.probability[1:, self.carrier]

    @property
    def corrupted(self) -> float:
        """Mean probability of the scored token in the corrupted runs."""
        return self.corrupted_C.mean().item()


@torch.no_grad()
def run_corrupted(
    lm: UnlearningModel, found: Located, *, noise: float, copies: int, seed: int
) -> TracedRuns:
    """Run a prompt clean and with noise on its subject, in one batch.

    Args:
        lm: The model.
        found: The prompt with its answer.
        noise: Standard deviation of the noise on the subject's embeddings, also where the answer
            names it again: read there, it would give the rest of the answer away.
        copies: Number of corrupted runs.
        seed: Seed of the noise.
    """
    model, device = lm.model, lm.device
    ids_T = torch.tensor(found.ids[:-1], device=device)
    embeds_BTD = model.get_input_embeddings()(ids_T).repeat(1 + copies, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (copies, len(found.subject), embeds_BTD.shape[-1])
    drawn = noise * torch.randn(shape, generator=generator, dtype=torch.float32)
    embeds_BTD[1:, found.subject.start : found.subject.stop] += drawn.to(embeds_BTD)
    again = [at for at in sorted(found.again) if at < len(ids_T)]
    shape = (copies, len(again), embeds_BTD.shape[-1])
    drawn = noise * torch.randn(shape, generator=generator, dtype=torch.float32)
    embeds_BTD[1:, again] += drawn.to(embeds_BTD)
    blocks = list(decoder_blocks(model))
    prefix = DynamicCache(config=model.config)
    if before := found.subject.start:
        model(ids_T[None, :before], cache=prefix, use_cache=True, logits_to_keep=1)
    with ExitStack() as stack:
        outputs = [stack.enter_context(capturing(block)) for block in blocks]
        entered = stack.enter_context(capturing_input(blocks[0]))
        parts = {
            part: [stack.enter_context(capturing(module)) for module in modules]
            for part, modules in _parts(model).items()
        }
        keep = len(found.ids) - found.start
        logits_BAV = model(inputs_embeds=embeds_BTD, use_cache=False, logits_to_keep=keep).logits
    answer_A = torch.tensor(found.ids[found.start :], device=device)
    every_BAV = logits_BAV.float().softmax(-1)
    return TracedRuns(
        lm=lm,
        modules=blocks,
        found=found,
        prefix=prefix,
        # A model may be spread over several devices.
        hidden=[one[0].to(device) for one in (entered, *outputs)],
        parts={part: [one[0].to(device) for one in every] for part, every in parts.items()},
        probability=every_BAV.gather(-1, answer_A.expand(1 + copies, -1)[..., None]).squeeze(-1),
        top=logits_BAV[0].argmax(-1),
    )


def _parts(model: nn.Module) -> Mapping[str, Sequence[nn.Module]]:
    """Return the attention and the MLP of every block."""
    of, blocks = family_of(model), decoder_blocks(model)
    names = {"mlp": of.mlp, "attention": of.attention}
    return {part: [b.get_submodule(name) for b in blocks] for part, name in names.items()}


@torch.no_grad()
def restore_states(runs: TracedRuns, part: Part, blocks: range, cells_NT: Tensor) -> Tensor:
    """Restore clean states in the corrupted runs.

    Args:
        runs: The clean and the corrupted runs.
        part: Kind of states to restore.
        blocks: Blocks to restore; of the residual stream, only the last.
        cells_NT: Positions to restore in each cell, [N, T].

    Returns:
        Probability of the scored token in each cell and corrupted run, [N, C].
    """
    copies, begin, width = len(runs.hidden[0]) - 1, runs.found.subject.start, runs.width
    mask_BT1 = cells_NT[:, begin:].repeat_interleave(copies, 0)[..., None]
    first = blocks.stop if part == "residual" else blocks.start
    model = runs.lm.model

    def spread(kept: Tensor) -> Tensor:
        return kept[1:, begin:width].repeat(len(cells_NT), 1, 1)

    with ExitStack() as stack:
        hidden_BTD = spread(runs.hidden[first])
        if part == "residual":
            hidden_BTD = torch.where(mask_BT1, runs.hidden[first][0, begin:width], hidden_BTD)
        else:
            modules = _parts(model)[part]
            for block in blocks:
                clean_TD = runs.parts[part][block][0, begin:width]

                def put_back(output_BTD: Tensor, clean_TD: Tensor = clean_TD) -> Tensor:
                    here = output_BTD.device
                    return torch.where(mask_BT1.to(here), clean_TD.to(here), output_BTD)

                stack.enter_context(editing(modules[block], put_back))
        stack.enter_context(beginning_at(model, first, hidden_BTD))
        logits = model(
            inputs_embeds=hidden_BTD,
            attention_mask=causal_mask(runs.lm, width, width - begin),
            position_ids=torch.arange(begin, width, device=hidden_BTD.device)[None],
            cache=viewed(runs.prefix, len(hidden_BTD)),
            use_cache=True,
            logits_to_keep=1,
        ).logits
    probability_B = logits[:, -1].float().softmax(-1)[:, runs.scored]
    return probability_B.view(len(cells_NT), copies)


@dataclass(frozen=True, slots=True)
class Corruption:
    """Noise and window size of a trace."""

    noise: float
    """Standard deviation of the noise, in units of the embeddings."""
    copies: int
    seed: int
    span: int
    """Number of blocks in a window."""


def rows_of(lm: UnlearningModel) -> int:
    """Count the rows of a trace: one for each part and block."""
    return len(PARTS) * len(decoder_blocks(lm.model))


@dataclass(frozen=True, slots=True)
class Effects:
    """Indirect effects of one part."""

    blocks: tuple[tuple[Spread, ...], ...]
    """By block and token, over the noised copies."""
    whole: tuple[Spread, ...]
    """Of all tokens of the subject at once, by block."""


def trace(
    lm: UnlearningModel, asked: Fact | TypedPrompt, how: Corruption
) -> Generator[int | None, None, FactTrace]:
    """Trace every position, the whole subject, every block and part of one prompt.

    Yields the number of rows done of `rows_of`, and None in between, where it may be paused.

    Raises:
        UnknownFact: The model does not know the answer.
        ValueError: The prompt cannot be traced.
    """
    found = locate_answer(lm, asked)
    runs = run_corrupted(lm, found, noise=how.noise, copies=how.copies, seed=how.seed)
    effects: dict[Part, Effects] = {}
    blocks, start = len(runs.modules), found.subject.start
    cells_NT = _cells(runs)
    at_once = max(1, TOKENS_AT_ONCE // (how.copies * (runs.width - start)))
    for number, part in enumerate(PARTS):
        rows: list[tuple[Spread, ...]] = []
        for block in range(blocks):
            span = 1 if part == "residual" else how.span
            row = [Spread(mean=0.0, sd=0.0)] * start
            for some_NT in cells_NT.split(at_once):
                restored_NC = restore_states(runs, part, window(block, span, blocks), some_NT)
                effects_NC = (restored_NC - runs.corrupted_C).tolist()
                row += map(Spread.of, effects_NC)
                yield None
            rows.append(tuple(row))
            yield number * blocks + block + 1
        effects[part] = Effects(
            blocks=tuple(row[:-1] for row in rows), whole=tuple(row[-1] for row in rows)
        )
    return _fact_trace(lm, asked, runs, effects)


def _cells(runs: TracedRuns) -> Tensor:
    """Make a cell of each position from the subject on, and one of the whole subject, [N, T]."""
    subject, device = runs.found.subject, runs.hidden[0].device
    alone_NT = torch.eye(runs.width, dtype=torch.bool, device=device)
    named = [*subject, *(at for at in runs.found.again if at < runs.width)]
    whole_1T = alone_NT[named].any(0, keepdim=True)
    return torch.cat([alone_NT[subject.start :], whole_1T])


def _fact_trace(
    lm: UnlearningModel,
    asked: Fact | TypedPrompt,
    runs: TracedRuns,
    effects: Mapping[Part, Effects],
) -> FactTrace:
    found, decode = runs.found, lm.tokenizer.decode

    def by_token(value: str) -> dict[Part, tuple[tuple[float, ...], ...]]:
        return {
            part: tuple(tuple(getattr(one, value) for one in block) for block in of.blocks)
            for part, of in effects.items()
        }

    return FactTrace(
        id=asked.id if isinstance(asked, Fact) else "",
        prompt=asked.prompt.rstrip(),
        subject=found.widened or asked.subject,
        answer=asked.answer.strip() or decode(found.ids[found.start :]).strip(),
        tokens=tuple(decode([token]) for token in found.ids[: runs.width]),
        roles=roles(runs.width, found.subject),
        given=runs.carrier,
        scored=decode([runs.scored]),
        clean=runs.clean,
        corrupted=runs.corrupted,
        effects=by_token("mean"),
        sds=by_token("sd"),
        whole={part: of.whole for part, of in effects.items()},
        copies=len(runs.corrupted_C),
        notes=tuple(_notes(asked, runs, lm.tokenizer)),
    )


def _notes(asked: Fact | TypedPrompt, runs: TracedRuns, tokenizer: Tokenizer) -> Iterator[str]:
    found, decode = runs.found, tokenizer.decode
    if found.occurrences > 1:
        yield (
            f"The prompt names {asked.subject!r} {found.occurrences} times: the noise falls on the "
            "first only, and the others may still give the answer away."
        )
    if found.widened:
        yield (
            f"The subject {asked.subject!r} shares a token with its neighbours: "
            f"the noise falls on {found.widened!r}."
        )
    if not asked.answer.strip():
        yield "No answer was given: the model's own is traced."
    tokens, scored = len(found.ids) - found.start, decode([runs.scored]).strip()
    if runs.carrier:
        given = decode(found.ids[found.start : runs.width]).strip()
        yield (
            f"The answer's beginning {given!r} is likely without the subject too, so the model is "
            f"given it and {scored!r} after it is measured, not the whole answer."
        )
    elif tokens > 1:
        yield (
            f"The answer has {tokens} tokens: the probability of its first, {scored!r}, is "
            "measured, not that of all."
        )
    if any(at < runs.width for at in found.again):
        yield (
            "The answer names the subject again before that: the noise falls there too, and the "
            "whole subject is restored in both places."
        )
    if runs.corrupted > (1 - CARRIES) * runs.clean:
        yield "Noise on the subject hardly changes this answer: there is little to find."


def run_trace(lm: UnlearningModel, spec: TraceSpec) -> Generator[Event | None, None, None]:
    """Trace one fact or the mean of many, yielding progress and finally `Traced`.

    Raises:
        RunFailed: The model does not know the answer.
        ValueError: The prompt cannot be traced.
    """
    noise = spec.noise * embedding_sd(lm)
    how = Corruption(noise=noise, copies=spec.copies, seed=spec.seed, span=spec.span)
    if isinstance(spec.about, ManyFacts):
        found = yield from _many(lm, spec.about, how)
    else:
        asked = spec.about.fact if isinstance(spec.about, KnownFact) else spec.about
        found = yield from _one(lm, asked, how)
    yield Traced(weights=lm.fingerprint, noise_sd=noise, window=spec.span, found=found)


def _one(
    lm: UnlearningModel, asked: Fact | TypedPrompt, how: Corruption
) -> Generator[Event | None, None, FactTrace]:
    total = rows_of(lm)
    try:
        return (
            yield from relay(
                trace(lm, asked, how),
                lambda done: None if done is None else Progressed(done=done, total=total),
            )
        )
    except UnknownFact:
        raise _unknown_fact(lm, asked) from None


def _many(
    lm: UnlearningModel, about: ManyFacts, how: Corruption
) -> Generator[Event | None, None, TraceAverage]:
    chosen = Random(how.seed).sample(about.pool, about.count)
    traces: list[FactTrace] = []
    for done, fact in enumerate(chosen, 1):
        try:
            found = yield from silently(trace(lm, fact, how))
            traces.append(found)
        except UnknownFact:
            yield None
        yield Progressed(done=done, total=about.count)
    if not traces:
        raise _all_unknown(lm, chosen)
    return average(traces, unknown=about.count - len(traces))


def _all_unknown(lm: UnlearningModel, asked: Sequence[Fact]) -> RunFailed:
    """Make the error for facts that are all unknown, and say whether their wording is why."""
    read = asked[:READ_AGAIN]
    within = sum(reproduced(fact.answer, _own_words(lm, fact)) for fact in read)
    problem = f"the model knows none of the {len(asked)} facts: nothing to trace"
    if not within:
        return RunFailed(problem)
    words = f"{problem}; {within} of {len(read)} answers hold the expected one further on"
    return RunFailed(words, AS_WORDED)


def _knows(lm: UnlearningModel, fact: Fact) -> bool:
    """Return whether the model's greedy answer is the fact's."""
    found = locate(lm.prompts, fact.prompt, fact.subject, fact.answer)
    with torch.no_grad():
        ids = torch.tensor([found.ids[:-1]], device=lm.device)
        keep = len(found.ids) - found.start
        top = lm.model(ids, use_cache=False, logits_to_keep=keep).logits[0].argmax(-1)
    return top.tolist() == list(found.ids[found.start :])


def _own_words(lm: UnlearningModel, asked: Fact | TypedPrompt) -> str:
    """Return what the model answers, up to `OWN_ANSWER` tokens."""
    found = with_model_answer(lm, locate(lm.prompts, asked.prompt, asked.subject), asked.subject)
    return lm.tokenizer.decode(found.ids[found.start :]).strip()


def _unknown_fact(lm: UnlearningModel, asked: Fact | TypedPrompt) -> RunFailed:
    """Make the error for an unknown answer, with the model's own and similar known facts."""
    text = _own_words(lm, asked)
    says = f"it answers {text!r}" if text else "it gives no answer"
    if reproduced(asked.answer, text):
        problem = f"{says}, which holds {asked.answer.strip()!r} but does not begin with it, so "
        return RunFailed(f"{problem}its first token cannot be traced", AS_WORDED)
    near = nearest_facts(asked.prompt, facts().values(), NEAR)
    known = [fact.prompt for fact in near if _knows(lm, fact)][:OFFERED]
    return RunFailed(
        f"the model does not know this answer: {says}, not {asked.answer.strip()!r}, so "
        "there is nothing to trace",
        f"similar facts that the model knows: {' · '.join(known)}" if known else "",
    )
