"""How far a score could be off: bootstrap intervals over rows, and differences within noise.

An interval speaks of other rows of the same kind, and of this one model. What another seed of the
same run would give is a matter of its own: published runs differ by 0.1 to 0.3 in the MIA score
between seeds, far more than rows explain. Rows of one document are resampled as if independent,
which makes intervals somewhat too narrow.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import NormalDist
from typing import Any

from unlearnlab.metrics.scores import Membership, mia_auc, mia_score, task_aggregate
from unlearnlab.metrics.verdicts import PUSHED_TOO_FAR, STILL_REMEMBERED

LEVEL = 0.95
"""Confidence of every interval."""

RESAMPLES = 2000
"""Bootstrap samples: the ends of an interval then vary by about a twentieth of its width."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and how far it could be off."""

    value: float
    low: float
    high: float

    def __contains__(self, other: float) -> bool:
        """Tell whether a value lies in the interval."""
        return self.low <= other <= self.high


def _numpy() -> Any:
    # A command that resamples nothing should not wait for it.
    return import_module("numpy")


def percentiles(value: float, sample: Any) -> Interval:
    """Take the percentile interval of bootstrap values, which holds the value itself."""
    tail = (1 - LEVEL) / 2
    low, high = _numpy().quantile(sample, (tail, 1 - tail))
    return Interval(value, min(value, float(low)), max(value, float(high)))


def _means(values: Sequence[float], seed: Sequence[int]) -> Any:
    """Draw bootstrap means of some rows: [RESAMPLES]."""
    if not values:
        raise ValueError("a bootstrap needs at least one row")
    np = _numpy()
    count = len(values)
    # Rows of equal score are drawn together: the same distribution, at the cost of its values.
    scores, times = np.unique(np.asarray(values, dtype=float), return_counts=True)
    random = np.random.default_rng(list(seed))
    return random.multinomial(count, times / count, size=RESAMPLES) @ scores / count


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Bootstrap the mean of rows.

    Rows that all score alike give no width: the interval knows only what was seen.

    Args:
        values: One score a row.
        seed: Of the resampling.

    Raises:
        ValueError: There are no rows.
    """
    return percentiles(sum(values) / max(1, len(values)), _means(values, (seed,)))


def share_interval(count: int, of: int) -> Interval:
    """Bound a share, such as an accuracy, by Wilson's interval: it has a width even at 0 and 1.

    Source: Wilson 1927, Journal of the American Statistical Association 22(158).

    Args:
        count: How many were right.
        of: How many were asked.

    Raises:
        ValueError: None were.
    """
    if of < 1:
        raise ValueError("an interval needs at least one question")
    z, share = NormalDist().inv_cdf((1 + LEVEL) / 2), count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def term_intervals(rows: Mapping[str, Sequence[float]], seed: int = 0) -> dict[str, Interval]:
    """Bootstrap every term of the task aggregate over its rows.

    Args:
        rows: Row scores by `split/task/kind`; terms of forget are one minus their mean.
        seed: Of the resampling.
    """
    drawn = _term_draws(rows, seed)
    return {key: percentiles(_term(key, rows[key]), drawn[key]) for key in rows}


def aggregate_interval(rows: Mapping[str, Sequence[float]], seed: int = 0) -> Interval:
    """Bootstrap the task aggregate: every term's rows are resampled, then the harmonic mean taken.

    Args:
        rows: Row scores by `split/task/kind`.
        seed: Of the resampling.

    Raises:
        ValueError: There are no terms.
    """
    value = task_aggregate({key: _term(key, rows[key]) for key in rows})
    return percentiles(
        value, harmonic_means(_numpy().stack(list(_term_draws(rows, seed).values())))
    )


def harmonic_means(terms: Any) -> Any:
    """Take harmonic means down the columns; zero where a term is zero."""
    np = _numpy()
    zero = (terms <= 0).any(axis=0)
    means = len(terms) / (1 / np.where(terms > 0, terms, 1.0)).sum(axis=0)
    return np.where(zero, 0.0, means)


def _term_draws(rows: Mapping[str, Sequence[float]], seed: int) -> dict[str, Any]:
    means = {key: _means(values, (seed, i)) for i, (key, values) in enumerate(rows.items())}
    # Rounding must not turn a term that is zero in every sample into one that nearly is.
    return {
        key: _numpy().round(1 - mean if key.startswith("forget") else mean, 12)
        for key, mean in means.items()
    }


def _term(key: str, values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return 1 - mean if key.startswith("forget") else mean


def auc_interval(membership: Membership, seed: int = 0) -> Interval:
    """Bootstrap the attack's AUC: members and non-members are resampled on their own.

    Args:
        membership: Losses of whole documents.
        seed: Of the resampling.
    """
    np = _numpy()
    value = mia_auc(membership)
    member, other = (np.asarray(side, dtype=float) for side in finite_sides(membership))
    won = (member[:, None] < other[None, :]) + 0.5 * (member[:, None] == other[None, :])
    random = np.random.default_rng(seed)
    sizes = len(member), len(other)
    times = [random.multinomial(n, [1 / n] * n, size=RESAMPLES) for n in sizes]
    drawn = ((times[0] @ won) * times[1]).sum(axis=1) / (sizes[0] * sizes[1])
    return percentiles(value, drawn)


def finite_sides(membership: Membership) -> tuple[list[float], list[float]]:
    """Put a number in place of losses that are none, as the AUC does: they count as highest."""
    sides = (
        [min(x, 1e30) if x == x else 1e30 for x in side]
        for side in (
            membership.member,
            membership.nonmember,
        )
    )
    member, other = sides
    return member, other


def auc_reading(auc: Interval) -> str:
    """Read the attack's AUC in words, in both directions.

    Above one half low loss gives members away: they are still remembered. Below it high loss does:
    the push itself shows. Only one half hides them.
    """
    span = f"AUC {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})"
    folded = f"MIA score {mia_score(auc.value):.2f}"
    right = max(auc.value, 1 - auc.value)
    if 0.5 in auc:
        return (
            f"{span}, {folded}: members and unseen documents cannot be told apart by their loss; "
            "one half lies within noise."
        )
    low = auc.value > 0.5
    clue, side = ("lower", "remembered") if low else ("higher", "pushed too far")
    strong = auc.value > STILL_REMEMBERED or auc.value < PUSHED_TOO_FAR
    much = "still" if strong and low else "clearly" if strong else "slightly"
    return (
        f"{span}, {folded}: of a member and an unseen document, the one of {clue} loss is the "
        f"member in {right:.0%} of pairs. The forget documents are {much} {side}."
    )


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """Bootstrap what changed, `after` minus `before`, over the same rows.

    Raises:
        ValueError: The two do not have one value for each row.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} rows before and {len(after)} after: pair them by row")
    return mean_interval([b - a for a, b in zip(before, after, strict=True)], seed)


def independent_difference(one: Interval, other: Interval) -> Interval:
    """Compare two values whose errors have nothing to do with each other: `other` minus `one`.

    Margins are added as squares. For two models on the same rows this is on the careful side: the
    rows that are hard for one are hard for the other as well.
    """
    value = other.value - one.value
    down = math.hypot(other.value - other.low, one.high - one.value)
    up = math.hypot(other.high - other.value, one.value - one.low)
    return Interval(value, value - down, value + up)


def seed_difference(one: Sequence[float], other: Sequence[float]) -> Interval | None:
    """Compare two settings that were run with several seeds each: `other` minus `one`.

    Welch's t interval, which lets the two spread differently.

    Returns:
        None where fewer than two seeds of either are there: one run shows no spread.
    """
    if len(one) < 2 or len(other) < 2:
        return None
    value = sum(other) / len(other) - sum(one) / len(one)
    if len({*one}) == len({*other}) == 1:
        return Interval(value, value, value)
    test: Callable[..., Any] = import_module("scipy.stats").ttest_ind
    found = test(other, one, equal_var=False).confidence_interval(LEVEL)
    return Interval(value, float(found.low), float(found.high))


def difference_reading(difference: Interval | None) -> str:
    """Say in words whether a difference is more than noise."""
    if difference is None:
        return "One run each: whether they differ cannot be told."
    span = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
    if 0.0 in difference:
        return f"{span}: within noise."
    return f"{span}: more than noise."
