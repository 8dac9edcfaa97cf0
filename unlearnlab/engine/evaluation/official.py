"""Answers and losses as the organisers' script defines them, computed in batches.

The script, `evaluate_generations.py` of December 2024, reads one row at a time with a model in
bfloat16; the answers are the same (see `generation`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from unlearnlab.data.datasets import Row
from unlearnlab.engine.evaluation.generation import expected_stats, generate
from unlearnlab.engine.generators import relay
from unlearnlab.engine.model.likelihoods import losses
from unlearnlab.engine.model.tokens import Example, Tokenizer, encode_document
from unlearnlab.engine.model.unlearning_model import UnlearningModel

MAX_NEW_TOKENS = 256
"""Longest answer, in tokens."""

CLEANED = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)
"""Replacements of `clean_up_tokenization_spaces`, in its order."""


@dataclass(frozen=True, slots=True)
class Said:
    """Answer and losses of one row."""

    generated: str
    ended: bool
    """Whether the answer ended with EOS before the limit."""
    nll: float
    """The script's loss: mean over `input + output` after the tokens of `input`, in nats."""
    spaced_nll: float
    """Our loss: mean over the output after one space, in nats."""


def cleaned(text: str) -> str:
    """Remove spaces before punctuation as the script's decoding does."""
    for old, new in CLEANED:
        text = text.replace(old, new)
    return text


def glued(tokenizer: Tokenizer, row: Row) -> Example:
    """Tokenise `input + output` as the script does, masking as many tokens as `input` alone has."""
    ids = tokenizer.encode(row.input + row.output)
    return Example(tuple(ids), min(len(tokenizer.encode(row.input)), len(ids)))


def said(
    lm: UnlearningModel, rows: Sequence[Row], *, max_new_tokens: int = MAX_NEW_TOKENS
) -> Generator[int, None, list[Said]]:
    """Answer every row and compute both losses, yielding how many rows are answered.

    Raises:
        ValueError: A row leaves no room for an answer in the model's context.
    """
    answers = yield from generate(
        lm,
        [row.input for row in rows],
        max_new_tokens=max_new_tokens,
        expected=[row.output for row in rows],
    )
    nlls = yield from relay(
        _mean_losses(lm, [glued(lm.tokenizer, row) for row in rows]), lambda _: len(rows)
    )
    spaced = [one.loss for one in (yield from expected_stats(lm, rows, answers))]
    return [
        Said(cleaned(one.text), one.finished_with_eos, nll, spaced_nll)
        for one, nll, spaced_nll in zip(answers, nlls, spaced, strict=True)
    ]


def document_losses(
    lm: UnlearningModel, documents: Sequence[str]
) -> Generator[int, None, list[float]]:
    """Compute the mean loss of each document in nats per token, yielding how many are done.

    Raises:
        ValueError: A document does not fit the model's context.
    """
    examples = [encode_document(lm.tokenizer, text) for text in documents]
    long = [(len(e.ids), n) for n, e in enumerate(examples, 1) if len(e.ids) > lm.context]
    if long:
        tokens, number = max(long)
        raise ValueError(
            f"document {number} of the attack has {tokens} tokens, more than the model's context "
            f"of {lm.context}: shorten it"
        )
    return (yield from _mean_losses(lm, examples))


def _mean_losses(
    lm: UnlearningModel, examples: Sequence[Example]
) -> Generator[int, None, list[float]]:
    """Compute mean losses, yielding how many are done; nan without tokens, as in the script."""
    sums = yield from losses(lm, examples)
    return [total / count if count else float("nan") for total, count in sums]
