"""Log-likelihoods of tokens, shared by objectives, probes and scores.

Shape suffixes: B sequences, T positions, N counted tokens of a batch, V vocabulary.
"""

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.model.data import IGNORE, Example, Tokens, collate, on
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.spec.batches import fitting

ROWS_AT_ONCE = 16
"""Rows in one forward pass of `recited`."""


def all_logits(model: nn.Module, tokens: Tokens) -> Tensor:
    """Compute the logits at every position: [B, T, V]. Keys and values are not kept beside them."""
    return model(input_ids=tokens.ids_BT, attention_mask=tokens.mask_BT, use_cache=False).logits


def token_nll(model: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Compute the loss of every token that counts.

    Returns:
        nll_BT: [B, T - 1] in nats, 0 where no loss counts.
        counted_BT: [B, T - 1], whether position t + 1 counts.
    """
    logits_BTV = all_logits(model, tokens)[:, :-1]
    labels_BT = tokens.labels_BT[:, 1:]
    nll_BT = F.cross_entropy(
        logits_BTV.float().transpose(1, 2), labels_BT, ignore_index=IGNORE, reduction="none"
    )
    return nll_BT, labels_BT != IGNORE


def row_nll(model: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Add up the loss of each row's counted tokens.

    Returns:
        nll_B: [B] in nats.
        count_B: [B], how many tokens counted.
    """
    sums: list[Tensor] = []
    counts: list[Tensor] = []
    buckets = tokens.buckets()
    for rows in buckets:
        nll_BT, counted_BT = token_nll(model, tokens.take(rows))
        sums.append(nll_BT.sum(1))
        counts.append(counted_BT.sum(1))
    flat = [row for rows in buckets for row in rows]
    back_B = on(tokens.ids_BT.device, sorted(range(len(flat)), key=lambda place: flat[place]))
    return torch.cat(sums)[back_B], torch.cat(counts)[back_B]


def answer_logits(model: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Predict every counted token of a batch.

    Returns:
        logits_NV: [N, V] in float32, N the counted tokens of all rows; the same order for every
            model that sees the same batch.
        ids_N: [N], the tokens themselves.
    """
    logits: list[Tensor] = []
    ids: list[Tensor] = []
    for rows in tokens.buckets():
        part = tokens.take(rows)
        rows_N, positions_N = part.answers
        logits.append(all_logits(model, part)[rows_N, positions_N - 1].float())
        ids.append(part.ids_BT[rows_N, positions_N])
    return torch.cat(logits), torch.cat(ids)


def mean_nll(model: nn.Module, tokens: Tokens) -> Tensor:
    """Average the loss over all counted tokens of the batch: [] in nats per token."""
    nll_B, count_B = row_nll(model, tokens)
    return nll_B.sum() / count_B.sum()


def sequence_logprob(model: nn.Module, tokens: Tokens) -> Tensor:
    """Sum the log-probabilities of each row's counted tokens: [B] in nats."""
    nll_B, _ = row_nll(model, tokens)
    return -nll_B


def batched(
    target: Target, examples: Sequence[Example]
) -> Generator[tuple[list[int], Tokens], None, None]:
    """Put examples of similar length into batches, the shortest first: their numbers, and they."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    while order:
        fit = fitting((len(examples[i].ids) for i in order), cpu=target.on_cpu)
        batch, order = order[:fit], order[fit:]
        yield (
            batch,
            collate(
                [examples[i] for i in batch],
                pad=target.tokenizer.pad_token_id,
                device=target.device,
            ),
        )


@torch.no_grad()
def losses(
    target: Target, examples: Sequence[Example]
) -> Generator[int, None, list[tuple[float, int]]]:
    """Compute the summed loss and the number of counted tokens of each example.

    Examples of similar length share a forward pass. Yields how many are done.
    """
    found: dict[int, tuple[float, int]] = {}
    for batch, tokens in batched(target, examples):
        sums = _counted_nll(target.model, tokens).tolist()
        found.update(zip(batch, zip(sums, tokens.answer_lengths, strict=True), strict=True))
        yield len(found)
    return [found[i] for i in range(len(examples))]


def _counted_nll(model: nn.Module, tokens: Tokens) -> Tensor:
    """Add up the loss of each row's counted tokens, of no others computing one: [B] in nats."""
    rows_N, positions_N = tokens.answers
    first = min(max(example.start, 1) for example in tokens.examples) - 1
    logits_BTV = model(
        input_ids=tokens.ids_BT,
        attention_mask=tokens.mask_BT,
        use_cache=False,
        logits_to_keep=tokens.ids_BT.shape[1] - first,
    ).logits
    logits_NV = logits_BTV[rows_N, positions_N - 1 - first].float()
    nll_N = F.cross_entropy(logits_NV, tokens.ids_BT[rows_N, positions_N], reduction="none")
    nll_BT = nll_N.new_zeros(tokens.ids_BT.shape)
    nll_BT[rows_N, positions_N] = nll_N
    return nll_BT.sum(1)


@torch.no_grad()
def recited(
    target: Target, examples: Sequence[Example], *, share: float
) -> Generator[None, None, bool]:
    """Tell whether at least `share` of the examples would be answered to the letter, EOS included.

    All tokens of an answer are predicted at once, each after the right ones: if all are right, the
    greedy answer is. Ends as soon as too many are wrong, so that a model far from it is told soon.
    """
    wrong, allowed = 0, math.floor((1 - share) * len(examples) + 1e-9)
    for first in range(0, len(examples), ROWS_AT_ONCE):
        tokens = collate(
            examples[first : first + ROWS_AT_ONCE],
            pad=target.tokenizer.pad_token_id,
            device=target.device,
        )
        logits_BTV = all_logits(target.model, tokens)
        labels_BT = tokens.labels_BT[:, 1:]
        right_BT = (logits_BTV[:, :-1].argmax(-1) == labels_BT) | (labels_BT == IGNORE)
        wrong += int((~right_BT.all(1)).sum())
        if wrong > allowed:
            return False
        yield None
    return True
