"""Measures beside the official scores: memorisation, membership attacks, distance to retraining.

Each is a pure function of plain numbers: log-probabilities of answer tokens in nats, the likeliest
tokens, losses. Definitions are those of OpenUnlearning (arXiv:2506.12618 and its code), of TOFU
(arXiv:2401.06121) and MUSE (arXiv:2407.06460); where we depart, the function says so.
"""

import math
import statistics
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar

Value = TypeVar("Value")

LOWEST = 0.2
"""Share of tokens that Min-K% looks at; MUSE and the configurations for TOFU take 0.4."""

SMALLEST_STD = 1e-3
"""Spread below which Min-K%++ divides by this instead: variances are cut at 1e-6."""


def probability(logprobs: Sequence[float]) -> float:
    """Return the length-normalised probability of an answer, 0 to 1: exp of the mean log-prob.

    Args:
        logprobs: Of its tokens, in nats.
    """
    return math.exp(statistics.fmean(_some(logprobs)))


def exact_memorization(likeliest: Sequence[int], answer: Sequence[int]) -> float:
    """Return the share of answer tokens that are the likeliest where they stand, 0 to 1.

    Args:
        likeliest: The argmax at each position, given prompt and answer so far.
        answer: The answer's tokens.
    """
    hits = [one == other for one, other in zip(likeliest, _some(answer), strict=True)]
    return statistics.fmean(hits)


def extraction_strength(likeliest: Sequence[int], answer: Sequence[int]) -> float:
    """Return how little of an answer brings out the rest: 1 - k / length, 0 to 1.

    k is the length of the shortest prefix after which every remaining token is the likeliest, all
    in one teacher-forced pass. OpenUnlearning's code never returns less than 1 / length; here an
    answer whose last token is wrong has strength 0.

    Args:
        likeliest: The argmax at each position, given prompt and answer so far.
        answer: The answer's tokens.
    """
    length = len(_some(answer))
    kept = 0
    for one, other in zip(reversed(likeliest), reversed(answer), strict=True):
        if one != other:
            break
        kept += 1
    return kept / length


def truth_ratio(right: Sequence[float], wrong: Sequence[Sequence[float]]) -> float:
    """Compare wrong answers with a paraphrase of the right one: p(wrong) / p(right).

    Above 0 without bound; small where the model knows better. Probabilities are length-normalised
    and losses of the wrong answers averaged first, as in OpenUnlearning's code.

    Args:
        right: Log-probabilities of the paraphrase's tokens; the lab gives them without an EOS.
        wrong: The same of each wrong answer.
    """
    losses = [-statistics.fmean(_some(one)) for one in _some(wrong)]
    return math.exp(-statistics.fmean(losses)) / (probability(right) + 1e-10)


def forget_truth_ratio(ratios: Sequence[float]) -> float:
    """Average truth ratios of forget rows, 0 to 1: best where right and wrong are as likely."""
    return statistics.fmean(min(ratio, 1 / (ratio + 1e-10)) for ratio in _some(ratios))


def retain_truth_ratio(ratios: Sequence[float]) -> float:
    """Average truth ratios of retain rows, 0 to 1: best where wrong answers are unlikely."""
    return statistics.fmean(max(0.0, 1 - ratio) for ratio in _some(ratios))


def min_k(logprobs: Sequence[float], k: float = LOWEST) -> float:
    """Attack by the least likely tokens: minus the mean of the lowest share `k` of log-probs.

    Lower means member. Source: Shi et al., arXiv:2310.16789.

    Args:
        logprobs: Of a document's or answer's tokens, in nats.
        k: Share of tokens, 0 to 1; at least one is taken.
    """
    count = max(1, int(len(_some(logprobs)) * k))
    return -statistics.fmean(sorted(logprobs)[:count])


def min_k_plus_plus(
    logprobs: Sequence[float],
    means: Sequence[float],
    stds: Sequence[float],
    k: float = LOWEST,
) -> float:
    """Attack as `min_k` does, on log-probs that are standardised at each position.

    Lower means member. As in OpenUnlearning's code.

    Args:
        logprobs: Of the tokens, in nats.
        means: Expected log-prob over the vocabulary at each position, under the model.
        stds: Its standard deviation there.
        k: Share of tokens, 0 to 1.
    """
    columns = zip(logprobs, means, stds, strict=True)
    return min_k([(logp - mean) / max(std, SMALLEST_STD) for logp, mean, std in columns], k)


def zlib_loss(loss: float, text: str) -> float:
    """Attack by loss against how well the text compresses, in nats per token and byte.

    Lower means member. Source: Carlini et al., USENIX Security 2021.

    Args:
        loss: Mean loss of the text, in nats per token.
        text: The text itself.
    """
    return loss / len(zlib.compress(text.encode("utf-8")))


def reference_loss(loss: float, reference: float) -> float:
    """Attack by loss against that of a model that never saw the text, in nats per token.

    Lower means member.

    Args:
        loss: Of the model that is attacked.
        reference: Of the reference, here the retrained model.
    """
    return loss - reference


def privleak(auc: float, retrained: float = 0.5) -> float:
    """Compare the attack's AUC with that on a retrained model, in percent.

    0 is best; below it members are still remembered, above it they were pushed too far. With
    A = 1 - AUC, MUSE's way of reporting: 100 (A - A_retrained) / A_retrained.

    Args:
        auc: Of the unlearned model, near 1 where members are remembered.
        retrained: Of the retrained model; one half where there is none.

    Raises:
        ValueError: The retrained model tells every member apart: there is no scale.
    """
    if retrained >= 1:
        raise ValueError(f"the retrained model's AUC is {retrained}: PrivLeak divides by 1 - AUC")
    return 100 * ((1 - auc) - (1 - retrained)) / (1 - retrained)


def forget_quality(unlearned: Sequence[float], retrained: Sequence[float]) -> float:
    """Test whether truth ratios look like the retrained model's: a p-value, 0 to 1, up is good.

    Two-sample Kolmogorov-Smirnov test, as in TOFU. With few rows it finds no difference whatever
    the models: a high value is then no proof.

    Args:
        unlearned: Truth ratios of the forget rows.
        retrained: Of the same rows, under the retrained model.
    """
    stats: Any = import_module("scipy.stats")
    return float(stats.ks_2samp(_some(unlearned), _some(retrained)).pvalue)


def _some(values: Sequence[Value]) -> Sequence[Value]:
    """Return values of which there is at least one.

    Raises:
        ValueError: There is none.
    """
    if not values:
        raise ValueError("a measure needs at least one value")
    return values


Needs = Literal["tokens", "documents", "paraphrases", "retain paraphrases", "retrained model"]
"""What a measure cannot be taken without."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a measure is, and when it is there."""

    name: str
    title: str
    ideal: str
    """On forget rows, unless the title says otherwise."""
    needs: tuple[Needs, ...]
    source: str


OPEN_UNLEARNING = "OpenUnlearning, arXiv:2506.12618"

MEASURES = (
    Measure("probability", "Probability", "low", ("tokens",), "TOFU, arXiv:2401.06121"),
    Measure("exact_memorization", "Exact memorization", "low", ("tokens",), OPEN_UNLEARNING),
    Measure("extraction_strength", "Extraction strength", "low", ("tokens",), OPEN_UNLEARNING),
    Measure(
        "forget_truth_ratio", "Truth ratio", "high", ("paraphrases",), "TOFU, arXiv:2401.06121"
    ),
    Measure(
        "retain_truth_ratio",
        "Truth ratio of retain rows",
        "high",
        ("retain paraphrases",),
        "TOFU, arXiv:2401.06121",
    ),
    Measure("min_k", "Min-K% AUC", "0.5", ("tokens", "documents"), "arXiv:2310.16789"),
    Measure("min_k_plus_plus", "Min-K%++ AUC", "0.5", ("tokens", "documents"), OPEN_UNLEARNING),
    Measure("zlib_loss", "Zlib AUC", "0.5", ("documents",), "Carlini et al., USENIX Security 2021"),
    Measure(
        "reference_loss",
        "Reference AUC",
        "0.5",
        ("documents", "retrained model"),
        OPEN_UNLEARNING,
    ),
    Measure(
        "privleak", "PrivLeak", "0", ("documents", "retrained model"), "MUSE, arXiv:2407.06460"
    ),
    Measure(
        "forget_quality",
        "Forget quality",
        "high",
        ("paraphrases", "retrained model"),
        "TOFU, arXiv:2401.06121",
    ),
)
"""All measures, with what keeps one from being taken. Attack scores become an AUC by
`metrics.mia_auc`, whose losses they stand in for: lower means member."""


def reason_missing(measure: Measure, there: frozenset[Needs]) -> str:
    """Say why a measure cannot be taken; empty if it can."""
    lacking: list[Needs] = [need for need in measure.needs if need not in there]
    words = [_WORDS[need] for need in lacking]
    return f"needs {' and '.join(words)}" if words else ""


_WORDS: dict[Needs, str] = {
    "tokens": "log-probabilities of single tokens",
    "documents": "documents of members and non-members",
    "paraphrases": "paraphrased and wrong answers, which the forget rows did not have when scored",
    "retain paraphrases": "paraphrased and wrong answers, which the retain rows did not have when "
    "scored",
    "retrained model": "a model retrained without the forget set",
}
