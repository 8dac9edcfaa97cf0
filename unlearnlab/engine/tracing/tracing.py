"""Causal tracing: which states of which block carry an answer. See `traces` for the terms.

Blocks below the one that is restored compute what they computed in the corrupted run, so each
restored run begins at that block with the states kept from there; and what stands before the
subject sees no noise, so restoring it changes nothing and is not tried.

Shape suffixes: B sequences, C noised copies, N cells, T positions, D model width, A answer tokens,
V vocabulary.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from unlearnlab.engine.model.data import Tokenizer
from unlearnlab.engine.model.hooks import (
    beginning_at,
    capturing,
    capturing_input,
    decoder_blocks,
    editing,
    family_of,
)
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.tracing.subject_span import Located, located
from unlearnlab.metrics.tracing import PARTS, FactTrace, Part, roles
from unlearnlab.spec.facts import Fact
from unlearnlab.spec.trace import TypedPrompt

TOKENS_AT_ONCE = 8192
"""Positions in one forward pass of restored runs."""

CARRIES = 0.5
"""A token carries the fact if noise on the subject takes at least this share of its probability."""


class UnknownFact(ValueError):
    """The clean model's top token is not the answer's, so there is nothing to trace."""


@dataclass(frozen=True)
class Runs:
    """The clean run and the corrupted ones of one prompt, made in one batch."""

    model: nn.Module
    modules: Sequence[nn.Module]
    """The blocks."""
    found: Located
    hidden: Sequence[Tensor]
    """[1 + C, T, D] before each block and after the last; the clean run is the first row."""
    parts: Mapping[str, Sequence[Tensor]]
    """[1 + C, T, D] by block: what MLP and attention put out."""
    probability: Tensor
    """[1 + C, A] of each answer token, given those before it."""
    top: Tensor
    """[A] the clean run's most likely token."""

    @cached_property
    def carrier(self) -> int:
        """Find the answer's token that carries the fact.

        The first that the noise makes unlikely: what all answers of a kind begin with, such as the
        first digits of a number, is as likely without the subject. If there is none, the one that
        loses most.

        Raises:
            UnknownFact: The clean run would have said something else by then.
        """
        clean, corrupted = self.probability[0], self.probability[1:].mean(0)
        lost = corrupted <= (1 - CARRIES) * clean
        answer = torch.tensor(self.found.ids[self.found.start :], device=self.top.device)
        known = (self.top == answer).long().cumprod(0).bool()
        if not bool(known[0]):
            raise UnknownFact
        if bool((lost & known).any()):
            return int((lost & known).long().argmax())
        if not bool(known.all()):
            raise UnknownFact
        return int((clean - corrupted).argmax())

    @property
    def width(self) -> int:
        """Number of tokens that the scored one is predicted from."""
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
    def corrupted(self) -> float:
        """The same, in the mean over the corrupted runs."""
        return self.probability[1:, self.carrier].mean().item()


@torch.no_grad()
def disturb(target: Target, found: Located, *, noise: float, copies: int, seed: int) -> Runs:
    """Run a prompt clean and corrupted, in one batch.

    Args:
        target: The model.
        found: The prompt with its answer.
        noise: Standard deviation of the noise on the subject's embeddings.
        copies: Number of corrupted runs.
        seed: Of the noise.
    """
    model, device = target.model, target.device
    ids_T = torch.tensor(found.ids[:-1], device=device)
    embeds_BTD = model.get_input_embeddings()(ids_T).repeat(1 + copies, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (copies, len(found.subject), embeds_BTD.shape[-1])
    drawn = noise * torch.randn(shape, generator=generator, dtype=torch.float32)
    embeds_BTD[1:, found.subject.start : found.subject.stop] += drawn.to(embeds_BTD)
    blocks = list(decoder_blocks(model))
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
    return Runs(
        model=model,
        modules=blocks,
        found=found,
        # A model may be spread over several devices.
        hidden=[one[0].to(device) for one in (entered, *outputs)],
        parts={part: [one[0].to(device) for one in every] for part, every in parts.items()},
        probability=every_BAV.gather(-1, answer_A.expand(1 + copies, -1)[..., None]).squeeze(-1),
        top=logits_BAV[0].argmax(-1),
    )


def _parts(model: nn.Module) -> Mapping[str, Sequence[nn.Module]]:
    """Return attention and MLP of every block."""
    of, blocks = family_of(model), decoder_blocks(model)
    names = {"mlp": of.mlp, "attention": of.attention}
    return {part: [b.get_submodule(name) for b in blocks] for part, name in names.items()}


@torch.no_grad()
def restored(runs: Runs, part: Part, blocks: range, cells_NT: Tensor) -> list[float]:
    """Put clean states back into the corrupted runs.

    Args:
        runs: What was computed without restoring.
        part: Which states.
        blocks: Where; for the residual stream the last of them counts.
        cells_NT: [N, T] in each cell, the positions that are restored.

    Returns:
        For each cell the probability of the scored token, in the mean over the copies.
    """
    copies, width = len(runs.hidden[0]) - 1, runs.width
    mask_BT1 = cells_NT.repeat_interleave(copies, 0)[..., None]
    first = blocks.stop if part == "residual" else blocks.start

    def spread(kept: Tensor) -> Tensor:
        return kept[1:, :width].repeat(len(cells_NT), 1, 1)

    with ExitStack() as stack:
        hidden_BTD = spread(runs.hidden[first])
        if part == "residual":
            hidden_BTD = torch.where(mask_BT1, runs.hidden[first][0, :width], hidden_BTD)
        else:
            modules = _parts(runs.model)[part]
            for block in blocks:
                clean_TD = runs.parts[part][block][0, :width]

                def put_back(output_BTD: Tensor, clean_TD: Tensor = clean_TD) -> Tensor:
                    here = output_BTD.device
                    return torch.where(mask_BT1.to(here), clean_TD.to(here), output_BTD)

                stack.enter_context(editing(modules[block], put_back))
        stack.enter_context(beginning_at(runs.model, first, hidden_BTD))
        logits = runs.model(inputs_embeds=hidden_BTD, use_cache=False, logits_to_keep=1).logits
    probability_B = logits[:, -1].float().softmax(-1)[:, runs.scored]
    return probability_B.view(len(cells_NT), copies).mean(1).tolist()


def window(centre: int, span: int, blocks: int) -> range:
    """Return the blocks of a window, cut at the model's ends."""
    return range(max(0, centre - span // 2), min(blocks, centre + span - span // 2))


@dataclass(frozen=True, slots=True)
class Disturbance:
    """How every prompt of a trace is disturbed and restored."""

    noise: float
    """Standard deviation of the noise, in units of the embeddings."""
    copies: int
    seed: int
    span: int
    """Blocks in a window."""


def rows_of(target: Target) -> int:
    """Count the rows of a trace: one for each block and part."""
    return len(PARTS) * len(decoder_blocks(target.model))


def trace(
    target: Target, asked: Fact | TypedPrompt, how: Disturbance
) -> Generator[int | None, None, FactTrace]:
    """Trace one prompt: every token, every block, each part.

    Yields how many of its `rows_of` are done, and none wherever it may be stopped in between.

    Raises:
        UnknownFact: The clean model does not know the answer.
        ValueError: The prompt cannot be traced.
    """
    found = located(target, asked)
    runs = disturb(target, found, noise=how.noise, copies=how.copies, seed=how.seed)
    effects: dict[Part, tuple[tuple[float, ...], ...]] = {}
    blocks = len(runs.modules)
    for number, part in enumerate(PARTS):
        rows: list[tuple[float, ...]] = []
        for block in range(blocks):
            span = 1 if part == "residual" else how.span
            row = yield from _row(runs, part, window(block, span, blocks))
            rows.append(row)
            yield number * blocks + block + 1
        effects[part] = tuple(rows)
    return _told(target, asked, runs, effects)


def _row(runs: Runs, part: Part, blocks: range) -> Generator[None, None, tuple[float, ...]]:
    """Compute the indirect effect of each token at one block."""
    start, copies = runs.found.subject.start, len(runs.hidden[0]) - 1
    device = runs.hidden[0].device
    cells_NT = torch.eye(runs.width, dtype=torch.bool, device=device)[start:]
    at_once = max(1, TOKENS_AT_ONCE // (copies * runs.width))
    found: list[float] = [0.0] * start
    for some_NT in cells_NT.split(at_once):
        found += [p - runs.corrupted for p in restored(runs, part, blocks, some_NT)]
        yield None
    return tuple(found)


def _told(
    target: Target,
    asked: Fact | TypedPrompt,
    runs: Runs,
    effects: dict[Part, tuple[tuple[float, ...], ...]],
) -> FactTrace:
    found, decode = runs.found, target.tokenizer.decode
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
        effects=effects,
        notes=tuple(_notes(asked, runs, target.tokenizer)),
    )


def _notes(asked: Fact | TypedPrompt, runs: Runs, tokenizer: Tokenizer) -> Iterator[str]:
    found, decode = runs.found, tokenizer.decode
    if found.widened:
        yield (
            f"The subject {asked.subject!r} shares a token with its neighbours: "
            f"the noise falls on {found.widened!r}."
        )
    if not asked.answer.strip():
        yield "No answer was given: the model's own is traced."
    if runs.carrier:
        given = decode(found.ids[found.start : runs.width]).strip()
        yield (
            f"The answer's beginning {given!r} is likely without the subject too, so the model is "
            f"given it and {decode([runs.scored]).strip()!r} after it is measured."
        )
    if runs.corrupted > (1 - CARRIES) * runs.clean:
        yield "Noise on the subject hardly changes this answer: there is little to find."
