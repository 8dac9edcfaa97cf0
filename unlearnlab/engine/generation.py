"""Greedy generation for many prompts at once.

The text is the same as one prompt at a time gives: prompts are padded to the left with a mask and
positions counted from it. Prompts of similar length share a batch, and rows that have ended leave
it, which is where the time goes. Where an answer is expected, one pass tells how much of it the
model would say: if each token of it is the likeliest after those before, greedy decoding says it.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from unlearnlab.batches import GENERATED_AT_ONCE, answered_at_once, fitting
from unlearnlab.engine.data import Example, collate, encode_continuation, on
from unlearnlab.engine.devices import total_memory
from unlearnlab.engine.models import Target

COMPACT = 0.15
"""Ended rows leave the batch once they are this share of it: every departure copies the cache."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the model said to one prompt."""

    text: str
    ended: bool
    """Whether it ended by itself, with EOS."""


def generate(
    target: Target,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = GENERATED_AT_ONCE,
    expected: Sequence[str] | None = None,
) -> Generator[int, None, list[Generation]]:
    """Continue each prompt greedily, yielding the number of finished prompts now and then.

    Args:
        target: The model.
        prompts: Texts to be continued.
        max_new_tokens: Longest answer.
        batch_size: Prompts that are answered together at most: fewer, where their keys and values
            would take too much of the device's memory.
        expected: What each prompt may be answered with, after a space. It changes no answer: it
            only spares the steps to those that are given.

    Raises:
        ValueError: A prompt leaves no room for an answer in the model's context.
    """
    encoded = [target.tokenizer.encode(prompt) for prompt in prompts]
    for ids in encoded:
        _check_fits(len(ids), max_new_tokens, target.context)
    said: list[list[int]] = [[] for _ in prompts]
    if expected is not None:
        guesses = [_guess(target, *pair) for pair in zip(prompts, expected, strict=True)]
        cut = [guess[:max_new_tokens] for guess in guesses]
        said = yield from _agreed(target, encoded, cut)
    eos = target.tokenizer.eos_token_id
    going = [i for i, ids in enumerate(said) if len(ids) < max_new_tokens and eos not in ids]
    order = sorted(going, key=lambda i: -len(encoded[i]) - len(said[i]))
    finished = len(prompts) - len(going)
    memory = total_memory(target.places)
    while order:
        longest = len(encoded[order[0]]) + len(said[order[0]]) + max_new_tokens
        together = answered_at_once(longest * target.cached_bytes, memory)
        rows = order[: min(batch_size, together)]
        order = order[len(rows) :]
        begun = [[*encoded[i], *said[i]] for i in rows]
        batch = _Batch(target, begun, [max_new_tokens - len(said[i]) for i in rows])
        while batch.step():
            yield finished + batch.finished
        finished += len(rows)
        for row, more in zip(rows, batch.tokens, strict=True):
            said[row] += more
    return [_answer(target, ids) for ids in said]


def _answer(target: Target, ids: Sequence[int]) -> Generation:
    """Decode what was said, without the EOS that may end it."""
    ended = bool(ids) and ids[-1] == target.tokenizer.eos_token_id
    text = target.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    return Generation(text, ended)


def _guess(target: Target, prompt: str, text: str) -> tuple[int, ...]:
    """Tokenise an answer and its end; none if it would change the tokens of the prompt."""
    example = encode_continuation(target.tokenizer, prompt, text)
    if example.start < len(target.tokenizer.encode(prompt)):
        return ()
    return (*example.ids[example.start :], target.tokenizer.eos_token_id)


@torch.no_grad()
def _agreed(
    target: Target, prompts: Sequence[Sequence[int]], guesses: Sequence[Sequence[int]]
) -> Generator[int, None, list[list[int]]]:
    """Find how much of each guess the model would say, and what it says next instead.

    Yields 0 now and then: what is found out here is not counted as finished.
    """
    said: list[list[int]] = [[] for _ in prompts]
    examples = [
        Example((*prompt, *guess), len(prompt), index)
        for index, (prompt, guess) in enumerate(zip(prompts, guesses, strict=True))
        if guess
    ]
    order = sorted(examples, key=lambda example: len(example.ids))
    while order:
        batch = order[: fitting((len(example.ids) for example in order), cpu=target.on_cpu)]
        order = order[len(batch) :]
        tokens = collate(batch, pad=target.tokenizer.pad_token_id, device=target.device)
        rows_N, positions_N = tokens.answers
        logits_BTV = target.model(
            input_ids=tokens.ids_BT, attention_mask=tokens.mask_BT, use_cache=False
        ).logits
        likeliest = iter(logits_BTV[rows_N, positions_N - 1].argmax(-1).tolist())
        for example in batch:
            guess = example.ids[example.start :]
            found = [next(likeliest) for _ in guess]
            pairs = zip(guess, found, strict=True)
            wrong = next((i for i, (a, b) in enumerate(pairs) if a != b), len(guess))
            said[example.index] = found[: wrong + 1]
        yield 0
    return said


def _check_fits(length: int, max_new_tokens: int, context: int) -> None:
    if length == 0:
        raise ValueError("the prompt is empty: type something for the models to continue")
    if length + max_new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens: with an answer of up to {max_new_tokens} it does not "
            f"fit the model's {context}; shorten it to {context - max_new_tokens}"
        )


class _Batch:
    """A batch under way. Suffixes: B rows still going, T positions."""

    def __init__(
        self, target: Target, prompts: Sequence[Sequence[int]], most: Sequence[int]
    ) -> None:
        self.target = target
        self.tokens: list[list[int]] = [[] for _ in prompts]
        """What each row said, EOS included."""
        self.most = most
        """How many tokens each row may say."""
        self.done = [False] * len(prompts)
        self.rows = list(range(len(prompts)))
        width = max(map(len, prompts))
        pad, device = target.tokenizer.pad_token_id, target.device
        grid = [[pad] * (width - len(ids)) + list(ids) for ids in prompts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
        self.ids_BT, self.mask_BT = on(device, grid), on(device, mask)
        self.positions_BT = (self.mask_BT.cumsum(1) - 1).clamp(min=0)
        self.cache = DynamicCache(config=target.model.config)

    @property
    def finished(self) -> int:
        return sum(self.done)

    @torch.no_grad()
    def step(self) -> bool:
        """Add a token to every row still going. Returns whether any row is left."""
        logits = self.target.model(
            input_ids=self.ids_BT,
            attention_mask=self.mask_BT,
            position_ids=self.positions_BT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        next_B = logits[:, -1].argmax(-1)
        self._take(next_B.tolist())
        self.ids_BT = next_B[:, None]
        self.mask_BT = torch.cat([self.mask_BT, torch.ones_like(self.ids_BT)], dim=1)
        self.positions_BT = self.positions_BT[:, -1:] + 1
        if all(self.done):
            return False
        self._drop_ended()
        return True

    def _take(self, tokens: list[int]) -> None:
        for row, token in zip(self.rows, tokens, strict=True):
            if self.done[row]:
                continue
            said = self.tokens[row]
            said.append(token)
            ended = token == self.target.tokenizer.eos_token_id
            self.done[row] = ended or len(said) == self.most[row]

    def _drop_ended(self) -> None:
        going = [i for i, row in enumerate(self.rows) if not self.done[row]]
        if len(self.rows) - len(going) < COMPACT * len(self.rows):
            return
        keep_B: Tensor = torch.tensor(going)  # On the host: the cache may be on several devices.
        self.cache.batch_select_indices(keep_B)
        self.ids_BT, self.mask_BT = self.ids_BT[keep_B], self.mask_BT[keep_B]
        self.positions_BT = self.positions_BT[keep_B]
        self.rows = [self.rows[i] for i in going]
