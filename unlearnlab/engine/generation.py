"""Greedy generation for many prompts at once.

The text is the same as one prompt at a time gives: prompts are padded to the left with a mask and
positions counted from it. Prompts of similar length share a batch, and rows that have ended leave
it, which is where the time goes.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from unlearnlab.batches import GENERATED_AT_ONCE
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
) -> Generator[int, None, list[Generation]]:
    """Continue each prompt greedily, yielding the number of finished prompts now and then.

    Raises:
        ValueError: A prompt leaves no room for an answer in the model's context.
    """
    encoded = [target.tokenizer.encode(prompt) for prompt in prompts]
    for ids in encoded:
        _check_fits(len(ids), max_new_tokens, target.context)
    order = sorted(range(len(prompts)), key=lambda i: -len(encoded[i]))
    answers: dict[int, Generation] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = _Batch(target, [encoded[i] for i in rows])
        for _ in range(max_new_tokens):
            if not batch.step():
                break
            yield len(answers) + batch.ended
        answers.update(zip(rows, batch.answers(), strict=True))
    return [answers[i] for i in range(len(prompts))]


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

    def __init__(self, target: Target, prompts: Sequence[Sequence[int]]) -> None:
        self.target = target
        self.tokens: list[list[int]] = [[] for _ in prompts]
        self.done = [False] * len(prompts)
        self.rows = list(range(len(prompts)))
        width = max(map(len, prompts))
        pad, device = target.tokenizer.pad_token_id, target.device
        grid = [[pad] * (width - len(ids)) + list(ids) for ids in prompts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
        self.ids_BT = torch.tensor(grid, device=device)
        self.mask_BT = torch.tensor(mask, device=device)
        self.positions_BT = (self.mask_BT.cumsum(1) - 1).clamp(min=0)
        self.cache = DynamicCache(config=target.model.config)

    @property
    def ended(self) -> int:
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
            if token == self.target.tokenizer.eos_token_id:
                self.done[row] = True
            else:
                self.tokens[row].append(token)

    def _drop_ended(self) -> None:
        going = [i for i, row in enumerate(self.rows) if not self.done[row]]
        if len(self.rows) - len(going) < COMPACT * len(self.rows):
            return
        keep_B: Tensor = torch.tensor(going)  # On the host: the cache may be on several devices.
        self.cache.batch_select_indices(keep_B)
        self.ids_BT, self.mask_BT = self.ids_BT[keep_B], self.mask_BT[keep_B]
        self.positions_BT = self.positions_BT[keep_B]
        self.rows = [self.rows[i] for i in going]

    def answers(self) -> list[Generation]:
        decode = self.target.tokenizer.decode
        texts = [decode(ids, skip_special_tokens=True) for ids in self.tokens]
        return [Generation(text, ended) for text, ended in zip(texts, self.done, strict=True)]
