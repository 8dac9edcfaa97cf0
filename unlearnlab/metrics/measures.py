"""Measures beside the official scores: memorisation, membership attacks, distance to retraining.

First the formulas, pure functions of plain numbers: log-probabilities of answer tokens in nats, the
likeliest tokens, losses. Then the table `MEASURES`, which computes each on the evidence of a model,
or says what is missing. Definitions are those of OpenUnlearning (arXiv:2506.12618 and its code), of
TOFU (arXiv:2401.06121) and MUSE (arXiv:2407.06460); where we depart, the function says so.

To add a measure: write its formula and one entry of `MEASURES`. The run's card, Compare, reports
and the command line read the table. Measures are taken on the forget rows unless the title says
otherwise, and attacks on the documents of the membership attack.
"""

import json
import math
import statistics
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from unlearnlab.data.datasets import Split
from unlearnlab.data.files import EMBEDDED
from unlearnlab.metrics.intervals import Interval, auc_interval, mean_interval
from unlearnlab.metrics.scores import (
    Answer,
    Evidence,
    HeldOutText,
    Membership,
    Record,
    Scores,
    attackable,
    mia_auc,
)

Value = TypeVar("Value")

LOWEST = 0.2
"""Share of tokens in Min-K%; MUSE and the configurations for TOFU use 0.4."""

SMALLEST_STD = 1e-3
"""Smallest standard deviation in Min-K%++: variances are clipped at 1e-6."""


def held_out_perplexity(text: HeldOutText) -> float:
    """Return the perplexity of text that a run does not train on; at least 1, best as before."""
    return text.perplexity


def probability(logprobs: Sequence[float]) -> float:
    """Return the length-normalised probability of an answer, 0 to 1: exp of the mean log-prob."""
    return math.exp(statistics.fmean(_some(logprobs)))


def exact_memorization(likeliest: Sequence[int], answer: Sequence[int]) -> float:
    """Return the share of answer tokens that equal the argmax at their position, 0 to 1.

    Args:
        likeliest: The argmax at each position, given prompt and answer so far.
        answer: The answer's tokens.
    """
    hits = [one == other for one, other in zip(likeliest, _some(answer), strict=True)]
    return statistics.fmean(hits)


def extraction_strength(likeliest: Sequence[int], answer: Sequence[int]) -> float:
    """Return 1 - k / length, 0 to 1, where k tokens of the answer suffice to extract the rest.

    k is the length of the shortest prefix after which every remaining token is the argmax, all in
    one teacher-forced pass. OpenUnlearning's code never returns less than 1 / length; here an
    answer whose last token is wrong has strength 0. Arguments as for `exact_memorization`.
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
        right: Log-probabilities of the paraphrase's tokens, without an EOS.
        wrong: Log-probabilities of each wrong answer's tokens.
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
    """
    return loss / len(zlib.compress(text.encode("utf-8")))


def reference_loss(loss: float, reference: float) -> float:
    """Attack by loss relative to that of the retrained model, in nats per token; lower = member."""
    return loss - reference


def privleak(auc: float, retrained: float = 0.5) -> float:
    """Compare the attack's AUC with that on a retrained model, in percent.

    0 is best; below it members are still remembered, above it they were pushed too far. With
    A = 1 - AUC, MUSE's way of reporting: 100 (A - A_retrained) / A_retrained.

    Args:
        auc: AUC on the unlearned model, near 1 if members are remembered.
        retrained: AUC on the retrained model; one half if there is none.

    Raises:
        ValueError: The attack on the retrained model finds every member: there is no scale.
    """
    if retrained >= 1:
        raise ValueError(f"the retrained model's AUC is {retrained}: PrivLeak divides by 1 - AUC")
    return 100 * ((1 - auc) - (1 - retrained)) / (1 - retrained)


def forget_quality(unlearned: Sequence[float], retrained: Sequence[float]) -> float:
    """Test whether truth ratios look like the retrained model's: a p-value, 0 to 1, up is good.

    Two-sample Kolmogorov-Smirnov test of the truth ratios of the forget rows under both models, as
    in TOFU. With few rows it rarely finds a difference: a high value then proves nothing.
    """
    stats: Any = import_module("scipy.stats")
    return float(stats.ks_2samp(_some(unlearned), _some(retrained)).pvalue)


def _some(values: Sequence[Value]) -> Sequence[Value]:
    """Return the values; a ValueError if there are none."""
    if not values:
        raise ValueError("a measure needs at least one value")
    return values


# ---- the retrained model -----------------------------------------------------------------------

RETRAINED = EMBEDDED / "retrained_measures.json"
RETRAINED_ANSWERS = EMBEDDED / "retrained_answers.json"
RETRAINED_SCORES = EMBEDDED / "retrained_scores.json"


class Retrained(Record):
    """Measures of the model retrained without the forget set, on one fold."""

    membership: Membership
    measures: Mapping[str, float]
    """Measures that need no retrained model, by name."""
    truth_ratios: Mapping[str, float] = {}
    """Truth ratios by forget row, of the rows with alternatives."""


@cache
def retrained_models(path: Path = RETRAINED) -> Mapping[str, Retrained]:
    """Read the measures of the embedded retrained model by fold; empty if the file is missing."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {fold: Retrained.model_validate(one) for fold, one in found.items()}


@cache
def retrained_answers(path: Path = RETRAINED_ANSWERS) -> Mapping[str, Evidence]:
    """Read the answers of the embedded retrained model by fold; empty if the file is missing."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {fold: Evidence.model_validate(one) for fold, one in found.items()}


@cache
def retrained_scores(path: Path = RETRAINED_SCORES) -> Mapping[str, Scores]:
    """Read the scores of the embedded retrained model by fold; empty if the file is missing."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {fold: Scores.model_validate(one) for fold, one in found.items()}


# ---- the table of measures ---------------------------------------------------------------------

Needs = Literal[
    "tokens",
    "documents",
    "paraphrases",
    "retain paraphrases",
    "retrained model",
    "held-out text",
]
"""Requirements of a measure."""

Unit = Literal["share", "percent", "p-value", "perplexity"]

Take = Callable[[Evidence, Retrained | None], Interval | None]
"""Computes a measure on the evidence of one model, with its bootstrap interval over rows or
documents; None if the evidence does not allow it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure: declared here, read by every table, report and command."""

    name: str
    title: str
    ideal: str
    needs: tuple[Needs, ...]
    source: str
    take: Take
    unit: Unit = "share"
    note: Callable[[Evidence], str] = lambda _: ""
    """Says what it was measured on, where data differ in that."""

    def write(self, value: float | None) -> str:
        """Write a value in its unit; a dash where nothing was measured."""
        if value is None:
            return "–"
        if self.unit == "percent":
            return f"{value:+.0f}%".replace("-", "−")
        if self.unit == "perplexity":
            return f"{value:.3g}"
        if self.unit == "p-value" and 0 < value < 0.005:
            return f"{value:.0e}".replace("e-0", "e-")
        return f"{value:.2f}"


def _mean_over(split: Split, value: Callable[[Answer], float | None], key: str) -> Take:
    """Average a value over the rows of a set; rows without a value do not count."""

    def take(evidence: Evidence, _: Retrained | None) -> Interval | None:
        found = [value(row) for row in evidence.answers if row.split == split]
        known = [one for one in found if one is not None]
        return mean_interval(known, key) if known else None

    return take


def _probability(answer: Answer) -> float:
    # With a loss that is not finite, the model gives the answer no chance.
    return probability([-answer.nll]) if math.isfinite(answer.nll) else 0.0


def _averaged(average: Callable[[Sequence[float]], float]) -> Callable[[Answer], float | None]:
    """Return a row's part of an average of truth ratios."""
    return lambda row: None if row.truth_ratio is None else average([row.truth_ratio])


def _perplexity(evidence: Evidence, _: Retrained | None) -> Interval | None:
    """Exponentiate the mean loss over tokens of held-out text, and its interval over documents."""
    if (text := evidence.held_out) is None:
        return None
    if not math.isfinite(value := held_out_perplexity(text)):
        return Interval(math.inf, math.inf, math.inf)
    # Weighted, the mean over documents is the one over tokens.
    mean = sum(text.tokens) / len(text.tokens)
    weighted = [loss * count / mean for loss, count in zip(text.losses, text.tokens, strict=True)]
    of = mean_interval(weighted, "held_out")
    low, high = (math.exp(min(end, 700.0)) for end in (of.low, of.high))
    return Interval(value, low, high, of.rows)


def _attack(name: str) -> Take:
    """Measure the AUC of a further attack on the documents."""

    def take(evidence: Evidence, _: Retrained | None) -> Interval | None:
        found = evidence.attacks.get(name)
        return auc_interval(found) if found and attackable(found) else None

    return take


def _paired(
    evidence: Evidence, retrained: Retrained | None
) -> tuple[Membership, Membership] | None:
    """Return the losses of both models if they are of the same documents."""
    if evidence.membership is None or retrained is None:
        return None
    if not (attackable(evidence.membership) and attackable(retrained.membership)):
        return None
    pair = evidence.membership, retrained.membership
    sizes = {(len(one.member), len(one.nonmember)) for one in pair}
    return pair if len(sizes) == 1 else None


def _reference_auc(evidence: Evidence, retrained: Retrained | None) -> Interval | None:
    if (pair := _paired(evidence, retrained)) is None:
        return None
    mine, other = pair
    return auc_interval(
        Membership(
            member=tuple(map(reference_loss, mine.member, other.member)),
            nonmember=tuple(map(reference_loss, mine.nonmember, other.nonmember)),
        )
    )


def _privleak(evidence: Evidence, retrained: Retrained | None) -> Interval | None:
    if (pair := _paired(evidence, retrained)) is None or (base := mia_auc(pair[1])) >= 1:
        return None
    auc = auc_interval(pair[0])
    # PrivLeak falls as the AUC rises: the ends of the interval change places.
    value, low, high = (privleak(one, base) for one in (auc.value, auc.high, auc.low))
    return Interval(value, low, high, auc.rows)


def _quality(evidence: Evidence, retrained: Retrained | None) -> Interval | None:
    """Compare truth ratios with the retrained model's on the same rows; without an interval."""
    ratios = _truth_ratios(evidence, "forget")
    if retrained is None or not ratios or not ratios.keys() <= retrained.truth_ratios.keys():
        return None
    value = forget_quality(list(ratios.values()), [retrained.truth_ratios[row] for row in ratios])
    return Interval(value, value, value)


def _truth_ratios(evidence: Evidence, split: Split) -> dict[str, float]:
    """Return the truth ratios of the rows of a set that have one."""
    return {
        row.row: row.truth_ratio
        for row in evidence.answers
        if row.split == split and row.truth_ratio is not None
    }


OPEN_UNLEARNING = "OpenUnlearning, arXiv:2506.12618"
TOFU = "TOFU, arXiv:2401.06121"

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "held_out_perplexity",
            "Held-out perplexity",
            "as before",
            ("held-out text",),
            "exp of the mean loss per token",
            _perplexity,
            unit="perplexity",
            note=lambda evidence: evidence.held_out.source if evidence.held_out else "",
        ),
        Measure(
            "probability",
            "Probability",
            "low",
            ("tokens",),
            TOFU,
            _mean_over("forget", _probability, "probability"),
        ),
        Measure(
            "exact_memorization",
            "Exact memorization",
            "low",
            ("tokens",),
            OPEN_UNLEARNING,
            _mean_over("forget", lambda row: row.exact_memorization, "exact_memorization"),
        ),
        Measure(
            "extraction_strength",
            "Extraction strength",
            "low",
            ("tokens",),
            OPEN_UNLEARNING,
            _mean_over("forget", lambda row: row.extraction_strength, "extraction_strength"),
        ),
        Measure(
            "forget_truth_ratio",
            "Truth ratio",
            "high",
            ("paraphrases",),
            TOFU,
            _mean_over("forget", _averaged(forget_truth_ratio), "forget_truth_ratio"),
        ),
        Measure(
            "retain_truth_ratio",
            "Truth ratio of retain rows",
            "high",
            ("retain paraphrases",),
            TOFU,
            _mean_over("retain", _averaged(retain_truth_ratio), "retain_truth_ratio"),
        ),
        Measure(
            "min_k",
            "Min-K% AUC",
            "0.5",
            ("tokens", "documents"),
            "arXiv:2310.16789",
            _attack("min_k"),
        ),
        Measure(
            "min_k_plus_plus",
            "Min-K%++ AUC",
            "0.5",
            ("tokens", "documents"),
            OPEN_UNLEARNING,
            _attack("min_k_plus_plus"),
        ),
        Measure(
            "zlib_loss",
            "Zlib AUC",
            "0.5",
            ("documents",),
            "Carlini et al., USENIX Security 2021",
            _attack("zlib_loss"),
        ),
        Measure(
            "reference_loss",
            "Reference AUC",
            "0.5",
            ("documents", "retrained model"),
            OPEN_UNLEARNING,
            _reference_auc,
        ),
        Measure(
            "privleak",
            "PrivLeak",
            "0",
            ("documents", "retrained model"),
            "MUSE, arXiv:2407.06460",
            _privleak,
            unit="percent",
        ),
        Measure(
            "forget_quality",
            "Forget quality",
            "high",
            ("paraphrases", "retrained model"),
            TOFU,
            _quality,
            unit="p-value",
        ),
    )
}
"""Every measure by name, in the order of rows and columns. Attack scores become an AUC by
`scores.mia_auc`, whose losses they stand in for: lower means member."""


# ---- taking them -------------------------------------------------------------------------------


def measured(evidence: Evidence, retrained: Retrained | None = None) -> dict[str, Interval]:
    """Take every measure that the evidence allows.

    Args:
        evidence: Evidence of one model.
        retrained: The model to compare with, on the same documents.
    """
    found = {name: one.take(evidence, retrained) for name, one in MEASURES.items()}
    return {name: value for name, value in found.items() if value is not None}


def as_retrained(evidence: Evidence) -> Retrained:
    """Compute from a retrained model's evidence what measures compare with.

    Raises:
        ValueError: The attack was not measured.
    """
    if evidence.membership is None:
        raise ValueError("a retrained model is compared by its losses: there are none")
    found = {name: one.value for name, one in measured(evidence).items()}
    return Retrained(
        membership=evidence.membership,
        measures=found,
        truth_ratios=_truth_ratios(evidence, "forget"),
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """One measure of a run."""

    measure: Measure
    before: Interval | None
    after: Interval | None
    retrained: float | None
    missing: str
    """Why it was not taken; empty if it was."""
    note: str = ""
    """What it was measured on, where data differ in that."""


BEFORE_THEM = "the evidence of this run was kept before it was measured: run it again"
"""Reason why a measure is missing although data and model allow it."""


def taken(
    before: Evidence, after: Evidence | None, retrained: Retrained | None
) -> tuple[Taken, ...]:
    """Return all measures of a run; those that could not be taken give the reason."""
    then = measured(before, retrained)
    now = measured(after, retrained) if after else {}
    gold: Mapping[str, float] = retrained.measures if retrained else {}
    there = _there(before, retrained)
    return tuple(
        Taken(
            measure=one,
            before=then.get(name),
            after=now.get(name),
            retrained=gold.get(name),
            missing=""
            if name in then or name in now
            else reason_missing(one, there) or BEFORE_THEM,
            note=one.note(before),
        )
        for name, one in MEASURES.items()
    )


def interval_record(of: Interval | None) -> dict[str, float | None] | None:
    """Return a measured value and its interval as JSON values, which know no infinity."""
    if of is None:
        return None
    return {
        name: end if end is not None and math.isfinite(end) else None
        for name, end in asdict(of).items()
    }


def taken_records(of: Sequence[Taken]) -> dict[str, Any]:
    """Return the measures of a run as JSON values, by name; those that were not taken say why."""
    return {
        one.measure.name: {"missing": one.missing}
        if one.missing
        else {
            "before": interval_record(one.before),
            "after": interval_record(one.after),
            "retrained": one.retrained,
            **({"note": one.note} if one.note else {}),
        }
        for one in of
    }


def _there(evidence: Evidence, retrained: Retrained | None) -> frozenset[Needs]:
    """Return the requirements that are met."""
    found: dict[Needs, object] = {
        "tokens": True,
        "paraphrases": _truth_ratios(evidence, "forget"),
        "retain paraphrases": _truth_ratios(evidence, "retain"),
        "documents": evidence.membership,
        "retrained model": retrained,
        "held-out text": evidence.held_out,
    }
    return frozenset(need for need, met in found.items() if met)


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
    "held-out text": "a second fold or non-members, whose losses were not measured when the run "
    "was scored",
}
