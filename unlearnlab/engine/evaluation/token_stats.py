"""What a model makes of every token of a text: the raw material of memorisation and attacks.

Shape suffixes: N counted tokens of a batch, V vocabulary.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnlab.engine.model.data import Example
from unlearnlab.engine.model.likelihoods import all_logits, batched
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.spec.batches import POSITIONS_AT_ONCE


@dataclass(frozen=True, slots=True)
class Reading:
    """Each counted token of one example, in order."""

    tokens: tuple[int, ...]
    likeliest: tuple[int, ...]
    """The argmax where each stands."""
    logprobs: tuple[float, ...]
    """In nats."""
    means: tuple[float, ...]
    """Expected log-prob over the vocabulary, under the model; none unless asked for."""
    stds: tuple[float, ...]
    """Its standard deviation."""

    @property
    def loss(self) -> float:
        """Return the mean loss in nats per token; nan where no token counts."""
        return -sum(self.logprobs) / len(self.logprobs) if self.logprobs else float("nan")


@torch.no_grad()
def readings(
    target: Target, examples: Sequence[Example], *, moments: bool = False
) -> Generator[int, None, list[Reading]]:
    """Read examples, those of similar length in one forward pass. Yields how many are done.

    Args:
        target: The model.
        examples: To be read.
        moments: Whether mean and standard deviation over the vocabulary are taken too.
    """
    found: dict[int, Reading] = {}
    for batch, tokens in batched(target, examples):
        rows_N, positions_N = tokens.answers
        logits_NV = all_logits(target.model, tokens)[rows_N, positions_N - 1].float()
        ids_N = tokens.ids_BT[rows_N, positions_N]
        logits_N = logits_NV.gather(1, ids_N[:, None])[:, 0]
        columns = [ids_N, logits_NV.argmax(1), logits_N - logits_NV.logsumexp(1)]
        columns += _moments(logits_NV) if moments else []
        parts = [column.split(tokens.answer_lengths) for column in columns]
        for at, index in enumerate(batch):
            ids, likeliest, logprobs, *spread = (tuple(part[at].tolist()) for part in parts)
            means, stds = spread or ((), ())
            found[index] = Reading(ids, likeliest, logprobs, means, stds)
        yield len(found)
    return [found[i] for i in range(len(examples))]


def _moments(logits_NV: Tensor) -> list[Tensor]:
    """Take mean and standard deviation of log-probs under the model itself: [N], [N]."""
    means: list[Tensor] = []
    stds: list[Tensor] = []
    for part_NV in logits_NV.split(POSITIONS_AT_ONCE):
        logp_NV = part_NV.log_softmax(1)
        p_NV = logp_NV.exp()
        mean_N = (p_NV * logp_NV).sum(1)
        means.append(mean_N)
        stds.append((p_NV * (logp_NV - mean_N[:, None]).square()).sum(1).sqrt())
    return [torch.cat(means), torch.cat(stds)]
