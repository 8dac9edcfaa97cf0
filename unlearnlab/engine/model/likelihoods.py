"""Likelihoods of tokens under a model, for objectives, probes and scores.

Shape suffixes: B sequences, T positions, N tokens of a batch that have a loss, V vocabulary.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.engine.model.tokens import IGNORE, Example, Tokens, collate, on
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import POSITIONS_AT_ONCE, fitting

ROWS_AT_ONCE = 16
"""Rows in one forward pass of `recites`."""


def all_logits(model: nn.Module, tokens: Tokens) -> Tensor:
    """Compute the logits at every position, [B, T, V], without a KV cache."""
    return model(input_ids=tokens.ids_BT, attention_mask=tokens.mask_BT, use_cache=False).logits


def token_nll(model: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Compute the negative log-likelihood of every token with a loss.

    Returns:
        nll_BT: [B, T - 1] in nats, 0 at tokens without a loss.
        counted_BT: [B, T - 1], whether the token at t + 1 has a loss.
    """
    logits_BTV = all_logits(model, tokens)[:, :-1]
    labels_BT = tokens.labels_BT[:, 1:]
    nll_BT = F.cross_entropy(
        logits_BTV.float().transpose(1, 2), labels_BT, ignore_index=IGNORE, reduction="none"
    )
    return nll_BT, labels_BT != IGNORE


def row_nll(model: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Sum the negative log-likelihood of each row.

    Returns:
        nll_B: [B] in nats.
        count_B: [B], number of tokens with a loss.
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
    """Compute the predictions of every token with a loss.

    Returns:
        logits_NV: [N, V] in float32; the order depends on the batch only, not on the model.
        ids_N: [N], the true tokens.
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
    """Average the negative log-likelihood over the batch: [] in nats per token."""
    nll_B, count_B = row_nll(model, tokens)
    return nll_B.sum() / count_B.sum()


def sequence_logprob(model: nn.Module, tokens: Tokens) -> Tensor:
    """Sum the log-probabilities of each row: [B] in nats."""
    nll_B, _ = row_nll(model, tokens)
    return -nll_B


def length_sorted_batches(
    lm: UnlearningModel, examples: Sequence[Example]
) -> Generator[tuple[list[int], Tokens], None, None]:
    """Yield batches of examples of similar length, shortest first: their indices and tokens."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    while order:
        fit = fitting((len(examples[i].ids) for i in order), cpu=lm.on_cpu)
        batch, order = order[:fit], order[fit:]
        yield (
            batch,
            collate(
                [examples[i] for i in batch],
                pad=lm.tokenizer.pad_token_id,
                device=lm.device,
            ),
        )


@torch.no_grad()
def losses(
    lm: UnlearningModel, examples: Sequence[Example]
) -> Generator[int, None, list[tuple[float, int]]]:
    """Compute each example's summed loss in nats and its number of tokens with a loss.

    Yields the number of examples done.
    """
    found: dict[int, tuple[float, int]] = {}
    for batch, tokens in length_sorted_batches(lm, examples):
        sums = _counted_nll(lm.model, tokens).tolist()
        found.update(zip(batch, zip(sums, tokens.answer_lengths, strict=True), strict=True))
        yield len(found)
    return [found[i] for i in range(len(examples))]


def _counted_nll(model: nn.Module, tokens: Tokens) -> Tensor:
    """Sum each row's loss, computing logits from the first counted token on: [B] in nats."""
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
def recites(
    lm: UnlearningModel, examples: Sequence[Example], *, share: float
) -> Generator[None, None, bool]:
    """Return whether greedy answers to at least `share` of the examples are exact, EOS included.

    One forward pass predicts all tokens of an answer after its true prefix: the greedy answer is
    exact if all are right. Stops as soon as too many answers are wrong.
    """
    wrong, allowed = 0, math.floor((1 - share) * len(examples) + 1e-9)
    for first in range(0, len(examples), ROWS_AT_ONCE):
        tokens = collate(
            examples[first : first + ROWS_AT_ONCE],
            pad=lm.tokenizer.pad_token_id,
            device=lm.device,
        )
        logits_BTV = all_logits(lm.model, tokens)
        labels_BT = tokens.labels_BT[:, 1:]
        right_BT = (logits_BTV[:, :-1].argmax(-1) == labels_BT) | (labels_BT == IGNORE)
        wrong += int((~right_BT.all(1)).sum())
        if wrong > allowed:
            return False
        yield None
    return True


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Statistics of each token with a loss in one example, in order."""

    tokens: tuple[int, ...]
    likeliest: tuple[int, ...]
    """The model's most likely token at each position."""
    logprobs: tuple[float, ...]
    """Log-probability of each token, in nats."""
    means: tuple[float, ...]
    """Mean log-probability over the vocabulary, weighted by probability; empty if not requested."""
    stds: tuple[float, ...]
    """Standard deviation of the same."""

    @property
    def loss(self) -> float:
        """Mean loss in nats per token; nan without tokens."""
        return -sum(self.logprobs) / len(self.logprobs) if self.logprobs else float("nan")


@torch.no_grad()
def token_stats(
    lm: UnlearningModel, examples: Sequence[Example], *, moments: bool = False
) -> Generator[int, None, list[TokenStats]]:
    """Compute the token statistics of examples, yielding the number of examples done.

    Args:
        lm: The model.
        examples: Tokenised texts.
        moments: Whether to compute mean and standard deviation over the vocabulary.
    """
    found: dict[int, TokenStats] = {}
    for batch, tokens in length_sorted_batches(lm, examples):
        rows_N, positions_N = tokens.answers
        logits_NV = all_logits(lm.model, tokens)[rows_N, positions_N - 1].float()
        ids_N = tokens.ids_BT[rows_N, positions_N]
        logits_N = logits_NV.gather(1, ids_N[:, None])[:, 0]
        columns = [ids_N, logits_NV.argmax(1), logits_N - logits_NV.logsumexp(1)]
        columns += _vocabulary_moments(logits_NV) if moments else []
        parts = [column.split(tokens.answer_lengths) for column in columns]
        for at, index in enumerate(batch):
            ids, likeliest, logprobs, *spread = (tuple(part[at].tolist()) for part in parts)
            means, stds = spread or ((), ())
            found[index] = TokenStats(ids, likeliest, logprobs, means, stds)
        yield len(found)
    return [found[i] for i in range(len(examples))]


def _vocabulary_moments(logits_NV: Tensor) -> list[Tensor]:
    """Compute mean and standard deviation of log-probabilities under the model: [N], [N]."""
    means: list[Tensor] = []
    stds: list[Tensor] = []
    for part_NV in logits_NV.split(POSITIONS_AT_ONCE):
        logp_NV = part_NV.log_softmax(1)
        p_NV = logp_NV.exp()
        mean_N = (p_NV * logp_NV).sum(1)
        means.append(mean_N)
        stds.append((p_NV * (logp_NV - mean_N[:, None]).square()).sum(1).sqrt())
    return [torch.cat(means), torch.cat(stds)]
