"""Rows of the forget and retain sets, and the tensors made of them.

Training text is `input + " " + output + EOS` with the prompt masked, right-padded, the attention
mask always given. Shape suffixes: B sequences, T positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from unlearnlab.data.datasets import Row
from unlearnlab.spec.batches import buckets
from unlearnlab.spec.rows import SETS, Dataset

IGNORE = -100
"""Label of positions that carry no loss."""


class Tokenizer(Protocol):
    """What the engine asks of a tokenizer: text to ids and back."""

    eos_token_id: int
    pad_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Turn text into ids."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Turn ids into text."""
        ...

    def __call__(self, text: str, *, return_offsets_mapping: bool) -> Mapping[str, Any]:
        """Turn text into `input_ids` and the `offset_mapping` of each: its span of characters."""
        ...

    def save_pretrained(self, save_directory: Path) -> object:
        """Write its files into a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised text: the loss counts from position `start` on."""

    ids: tuple[int, ...]
    start: int
    index: int = 0
    """Position in the list that it came from."""
    task: str = ""


def encode(tokenizer: Tokenizer, row: Row, index: int = 0) -> Example:
    """Tokenise a row as training text: the loss counts on the output and the EOS after it."""
    prompt = tokenizer.encode(row.input)
    text = tokenizer.encode(f"{row.input} {row.output}")
    return Example((*text, tokenizer.eos_token_id), _common(prompt, text), index, row.task)


def encode_continuation(tokenizer: Tokenizer, prompt: str, text: str, index: int = 0) -> Example:
    """Tokenise `prompt`, one space and `text`, without EOS: the loss counts on `text`."""
    head, whole = tokenizer.encode(prompt), tokenizer.encode(f"{prompt} {text}")
    return Example(tuple(whole), _common(head, whole), index)


def encode_document(tokenizer: Tokenizer, text: str, index: int = 0) -> Example:
    """Tokenise a whole text: the loss counts on every token but the first."""
    return Example(tuple(tokenizer.encode(text)), 0, index)


def _common(prompt: Sequence[int], text: Sequence[int]) -> int:
    """Count the leading ids that two sequences share: a merge at the border is the answer's."""
    pairs = zip(prompt, text, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(text)))


@dataclass(frozen=True, slots=True)
class Tokens:
    """A right-padded batch."""

    ids_BT: Tensor
    mask_BT: Tensor
    """1 at real tokens, 0 at padding."""
    labels_BT: Tensor
    """The ids where the loss counts, `IGNORE` elsewhere."""
    examples: tuple[Example, ...]
    """What the rows were made of: to count them, no GPU need be asked, which would have to end its
    work first."""

    @property
    def index(self) -> tuple[int, ...]:
        """Where in its set each row stands."""
        return tuple(example.index for example in self.examples)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the subtask of each row."""
        return tuple(example.task for example in self.examples)

    @property
    def lengths(self) -> list[int]:
        """Count the real tokens of each row."""
        return [len(example.ids) for example in self.examples]

    @property
    def answer_lengths(self) -> list[int]:
        """Count the tokens of each row on which the loss counts; the first has no prediction."""
        return [len(example.ids) - max(example.start, 1) for example in self.examples]

    @property
    def answers(self) -> tuple[Tensor, Tensor]:
        """Return row and position of every token on which the loss counts: [N], [N]."""
        places = [
            (row, position)
            for row, example in enumerate(self.examples)
            for position in range(max(example.start, 1), len(example.ids))
        ]
        rows, positions = zip(*places, strict=True) if places else ((), ())
        return on(self.ids_BT.device, rows), on(self.ids_BT.device, positions)

    def take(self, rows: Sequence[int]) -> "Tokens":
        """Keep some rows, and no more padding than they need."""
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
        """Put rows of similar length together, where that saves a good part of the padding."""
        return buckets(self.lengths)


def collate(examples: Sequence[Example], *, pad: int, device: torch.device) -> Tokens:
    """Pad examples to the right into one batch."""
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
    """Put whole numbers on a device, without waiting for a GPU to end what it is at."""
    made = torch.tensor(whole, dtype=torch.long)
    if device.type == "cuda":
        return made.pin_memory().to(device, non_blocking=True)
    return made.to(device)


def refuse_too_long(data: Dataset, tokenizer: Tokenizer, *, context: int, answer: int) -> None:
    """Refuse a fold with rows that the model's context cannot hold.

    Args:
        data: The fold.
        tokenizer: Of the model.
        context: Longest sequence that the model takes, in tokens.
        answer: Longest answer that will be generated to a prompt, in tokens.

    Raises:
        ValueError: There are such rows.
    """
    lengths: list[tuple[int, str, str]] = []
    for name in SETS:
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


def shuffled(count: int, *, generator: torch.Generator) -> list[int]:
    """Return 0 to `count` - 1 in random order."""
    return torch.randperm(count, generator=generator).tolist()


def endless(examples: Sequence[Example], *, generator: torch.Generator) -> Iterator[Example]:
    """Yield examples in fresh random order, pass after pass."""
    while True:
        for index in shuffled(len(examples), generator=generator):
            yield examples[index]
