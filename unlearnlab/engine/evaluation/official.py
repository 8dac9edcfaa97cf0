"""What the organisers' script measures of a checkpoint: outputs, and losses as it computes them.

Its definitions, in batches. The script (`evaluate_generations.py`, December 2024) goes one row at
a time through a model in bfloat16; the text is the same, see `generation`.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unlearnlab.data.datasets import Row
from unlearnlab.engine.evaluation.generation import expected_readings, generate
from unlearnlab.engine.model.data import Example, Tokenizer, encode_document
from unlearnlab.engine.model.likelihoods import losses
from unlearnlab.engine.model.unlearning_model import Target

MAX_NEW_TOKENS = 256
"""Longest output."""

CLEANED = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)
"""What decoding with `clean_up_tokenization_spaces` replaces, in its order."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What a model made of one row."""

    generated: str
    ended: bool
    """Whether it ended by itself, with EOS."""
    nll: float
    """The script's: mean loss of `input + output` beyond the tokens of `input`, in nats."""
    spaced_nll: float
    """Ours: mean loss of the output after one space, in nats."""


def cleaned(text: str) -> str:
    """Remove the spaces before marks, as the script's decoding does."""
    for old, new in CLEANED:
        text = text.replace(old, new)
    return text


def glued(tokenizer: Tokenizer, row: Row) -> Example:
    """Tokenise `input + output` as the script does: as many tokens masked as `input` alone has."""
    ids = tokenizer.encode(row.input + row.output)
    return Example(tuple(ids), min(len(tokenizer.encode(row.input)), len(ids)))


def said(
    target: Target, rows: Sequence[Row], *, max_new_tokens: int = MAX_NEW_TOKENS
) -> Generator[int, None, list[Said]]:
    """Ask a model every row, yielding how many are answered.

    Raises:
        ValueError: A row leaves no room for an answer in the model's context.
    """
    answers = yield from generate(
        target,
        [row.input for row in rows],
        max_new_tokens=max_new_tokens,
        expected=[row.output for row in rows],
    )
    nlls = yield from _means(target, [glued(target.tokenizer, row) for row in rows], len(rows))
    spaced = [one.loss for one in (yield from expected_readings(target, rows, answers))]
    return [
        Said(cleaned(one.text), one.ended, nll, spaced_nll)
        for one, nll, spaced_nll in zip(answers, nlls, spaced, strict=True)
    ]


def document_losses(target: Target, documents: Sequence[str]) -> Generator[int, None, list[float]]:
    """Compute the mean loss of whole documents in nats per token, yielding how many are done.

    Raises:
        ValueError: A document does not fit the model's context.
    """
    examples = [encode_document(target.tokenizer, text) for text in documents]
    long = [(len(e.ids), n) for n, e in enumerate(examples, 1) if len(e.ids) > target.context]
    if long:
        tokens, number = max(long)
        raise ValueError(
            f"document {number} of the attack has {tokens} tokens, more than the model's context "
            f"of {target.context}: shorten it"
        )
    return (yield from _means(target, examples))


def _means(
    target: Target, examples: Sequence[Example], shown: int | None = None
) -> Generator[int, None, list[float]]:
    """Average losses; nan, as the script has it, where no token counts.

    Args:
        target: The model.
        examples: To be read.
        shown: What to yield instead of how many are done.
    """
    work = losses(target, examples)
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            return _averages(end.value)
        yield done if shown is None else shown


def _averages(losses: Sequence[tuple[float, int]]) -> list[float]:
    return [total / count if count else float("nan") for total, count in losses]
