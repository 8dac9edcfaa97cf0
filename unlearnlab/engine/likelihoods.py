"""Texts as tokens, and the likelihood of the tokens under a model, for objectives and scores.

The training text of a row is `input + " " + output + EOS` with the loss on output and EOS only;
under a chat template, the two are turns, and the answer ends as the template ends one.
Shape suffixes: B sequences, T positions, N tokens of a batch that have a loss, V vocabulary.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnlab.data.datasets import SPLITS, Row
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import POSITIONS_AT_ONCE, Dataset, buckets, fitting

IGNORE = -100
"""Label of positions that carry no loss."""


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised text with the loss on positions from `start` on."""

    ids: tuple[int, ...]
    start: int
    index: int = 0
    """Index of the row in its set."""
    task: str = ""
    """Subtask of the row."""


def encode(prompts: PromptFormat, row: Row, index: int = 0) -> Example:
    """Tokenise a row as training text, with the loss on the output and the token that ends it."""
    head, text = prompts.prompt(row.input), prompts.answered(row.input, row.output)
    return Example((*text, prompts.end), _shared_prefix(head, text), index, row.task)


def encode_continuation(prompts: PromptFormat, prompt: str, text: str, index: int = 0) -> Example:
    """Tokenise a prompt and an answer without the token that ends it, with the loss on `text`."""
    head, whole = prompts.prompt(prompt), prompts.answered(prompt, text)
    return Example(tuple(whole), _shared_prefix(head, whole), index)


def encode_document(prompts: PromptFormat, text: str, index: int = 0) -> Example:
    """Tokenise a whole text, with the loss on every token but the first.

    It is nobody's turn, so it is plain text under a chat template too.
    """
    return Example(tuple(prompts.plain.prompt(text)), 0, index)


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


def collate(
    examples: Sequence[Example], *, pad: int, device: torch.device, width: int = 0
) -> Tokens:
    """Make one right-padded batch of examples, `width` wide or more, with `pad` as padding."""
    width = max(width, *(len(example.ids) for example in examples))

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


def refuse_too_long(data: Dataset, prompts: PromptFormat, *, context: int, answer: int) -> None:
    """Refuse a dataset with rows that exceed the model's `context` of so many tokens.

    Raises:
        ValueError: Some rows are too long, or leave no room for an `answer` of so many tokens.
    """
    lengths: list[tuple[int, str, int]] = []
    for name in SPLITS:
        for number, row in enumerate(data.rows(name), 1):
            prompt, text = prompts.prompt(row.input), encode(prompts, row).ids
            other = (encode_continuation(prompts, row.input, one) for one in row.alternatives)
            longest = max((len(text), *(len(one.ids) for one in other)))
            lengths.append((max(longest, len(prompt) + answer), name, number))
    long = [one for one in lengths if one[0] > context]
    if long:
        tokens, name, number = max(long)
        raise ValueError(
            f"data.source: rows longer than the model's context of {context} tokens: {len(long)}, "
            f"the longest is row {number} of the {name} set with {tokens}, counting an answer of "
            f"up to {answer}: shorten them, or set evaluation.max_new_tokens lower"
        )


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
        lengths = (len(examples[i].ids) for i in order)
        fit = fitting(lengths, cpu=lm.on_cpu, vocabulary=lm.vocabulary)
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

    With `moments`, mean and standard deviation over the vocabulary as well.
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
