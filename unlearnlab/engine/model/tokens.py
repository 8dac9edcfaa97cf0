"""Texts as tokens: tokenised examples and right-padded batches of them.

The training text of a row is `input + " " + output + EOS` with the loss on output and EOS only.
Shape suffixes: B sequences, T positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from unlearnlab.data.datasets import SPLITS, Row
from unlearnlab.spec.rows import Dataset, buckets

IGNORE = -100
"""Label of positions that carry no loss."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that the engine uses."""

    eos_token_id: int
    pad_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""
        ...

    def __call__(self, text: str, *, return_offsets_mapping: bool) -> Mapping[str, Any]:
        """Return a text's `input_ids` and their character spans, the `offset_mapping`."""
        ...

    def save_pretrained(self, save_directory: Path) -> object:
        """Write the tokenizer's files into a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised text with the loss on positions from `start` on."""

    ids: tuple[int, ...]
    start: int
    index: int = 0
    """Index of the row in its set."""
    task: str = ""
    """Subtask of the row."""


def encode(tokenizer: Tokenizer, row: Row, index: int = 0) -> Example:
    """Tokenise a row as training text, with the loss on the output and its EOS."""
    prompt = tokenizer.encode(row.input)
    text = tokenizer.encode(f"{row.input} {row.output}")
    return Example((*text, tokenizer.eos_token_id), _shared_prefix(prompt, text), index, row.task)


def encode_continuation(tokenizer: Tokenizer, prompt: str, text: str, index: int = 0) -> Example:
    """Tokenise `prompt`, one space and `text` without EOS, with the loss on `text`."""
    head, whole = tokenizer.encode(prompt), tokenizer.encode(f"{prompt} {text}")
    return Example(tuple(whole), _shared_prefix(head, whole), index)


def encode_document(tokenizer: Tokenizer, text: str, index: int = 0) -> Example:
    """Tokenise a whole text, with the loss on every token but the first."""
    return Example(tuple(tokenizer.encode(text)), 0, index)


def _shared_prefix(prompt: Sequence[int], text: Sequence[int]) -> int:
    """Count the shared leading ids: a token across the border belongs to the answer."""
    pairs = zip(prompt, text, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(text)))


@dataclass(frozen=True, slots=True)
class Tokens:
    """A right-padded batch."""

    ids_BT: Tensor
    mask_BT: Tensor
    """1 at real tokens, 0 at padding."""
    labels_BT: Tensor
    """Token ids at positions with a loss, `IGNORE` elsewhere."""
    examples: tuple[Example, ...]
    """The rows on the host: counting them does not synchronise with the GPU."""

    @property
    def index(self) -> tuple[int, ...]:
        """Index of each row in its set."""
        return tuple(example.index for example in self.examples)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Subtask of each row."""
        return tuple(example.task for example in self.examples)

    @property
    def lengths(self) -> list[int]:
        """Number of real tokens of each row."""
        return [len(example.ids) for example in self.examples]

    @property
    def answer_lengths(self) -> list[int]:
        """Number of tokens with a loss in each row; a row's first token is never predicted."""
        return [len(example.ids) - max(example.start, 1) for example in self.examples]

    @property
    def answers(self) -> tuple[Tensor, Tensor]:
        """Row and position of every token with a loss: [N], [N]."""
        places = [
            (row, position)
            for row, example in enumerate(self.examples)
            for position in range(max(example.start, 1), len(example.ids))
        ]
        rows, positions = zip(*places, strict=True) if places else ((), ())
        return on(self.ids_BT.device, rows), on(self.ids_BT.device, positions)

    def take(self, rows: Sequence[int]) -> "Tokens":
        """Return a batch of some rows, with no more padding than they need."""
        lengths = self.lengths
        width = max(lengths[row] for row in rows)
        keep_B = on(self.ids_BT.device, rows)
        return Tokens(
            self.ids_BT[keep_B, :width],
            self.mask_BT[keep_B, :width],
            self.labels_BT[keep_B, :width],
            tuple(self.examples[row] for row in rows),
        )

    def buckets(self) -> list[list[int]]:
        """Split the rows by length where that saves much padding: indices of each part."""
        return buckets(self.lengths)


def collate(examples: Sequence[Example], *, pad: int, device: torch.device) -> Tokens:
    """Make one right-padded batch of examples, `pad` being the padding token."""
    width = max(len(example.ids) for example in examples)

    def grid(rows: list[list[int]], fill: int) -> Tensor:
        return on(device, [row + [fill] * (width - len(row)) for row in rows])

    return Tokens(
        ids_BT=grid([list(e.ids) for e in examples], pad),
        mask_BT=grid([[1] * len(e.ids) for e in examples], 0),
        labels_BT=grid([[IGNORE] * e.start + list(e.ids[e.start :]) for e in examples], IGNORE),
        examples=tuple(examples),
    )


def on(device: torch.device, whole: Sequence) -> Tensor:
    """Make an integer tensor on a device without synchronising with a GPU."""
    made = torch.tensor(whole, dtype=torch.long)
    if device.type == "cuda":
        return made.pin_memory().to(device, non_blocking=True)
    return made.to(device)


def refuse_too_long(data: Dataset, tokenizer: Tokenizer, *, context: int, answer: int) -> None:
    """Refuse a dataset with rows that exceed the model's context.

    Args:
        data: The rows.
        tokenizer: The model's tokenizer.
        context: Context length of the model, in tokens.
        answer: Longest answer generated to a prompt, in tokens.

    Raises:
        ValueError: Some rows are too long.
    """
    lengths: list[tuple[int, str, str]] = []
    for name in SPLITS:
        for row in data.rows(name):
            prompt, text = tokenizer.encode(row.input), encode(tokenizer, row).ids
            other = (encode_continuation(tokenizer, row.input, one) for one in row.alternatives)
            longest = max((len(text), *(len(one.ids) for one in other)))
            lengths.append((max(longest, len(prompt) + answer), name, row.id))
    long = [one for one in lengths if one[0] > context]
    if long:
        tokens, name, row_id = max(long)
        raise ValueError(
            f"data.source: rows longer than the model's context of {context} tokens: {len(long)}, "
            f"the longest the {name} row {row_id} with {tokens}, counting an answer of up to "
            f"{answer}: shorten them, or set evaluation.max_new_tokens lower"
        )
