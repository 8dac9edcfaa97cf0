"""Confidence intervals of scores, and differences within noise: one bootstrap for all of them.

Every interval resamples rows, documents or questions of one model `RESAMPLES` times. The draws
depend only on a key, such as a term's, and on the number of rows. So a score has the same interval
wherever it is computed, and two models that answered the same rows are resampled alike: their
difference is judged row by row.

An interval says what other rows of the same kind would give for this one model, not what another
seed of the run would: published runs differ by 0.1 to 0.3 in the MIA score between seeds, far more
than rows explain. Rows of one document are resampled as if independent, which makes intervals
somewhat too narrow.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from unlearnlab.metrics.scores import (
    SCORES,
    Evidence,
    Membership,
    argmax_option,
    attackable,
    finite_sides,
    harmonic_means,
    mia_auc,
    scores,
    task_aggregate,
    term_rows,
    wilson,
)

LEVEL = 0.95
"""Confidence of every interval."""

RESAMPLES = 2000
"""Bootstrap samples: the ends of an interval then vary by about a twentieth of its width."""

BLOCK = 1 << 21
"""Rows drawn at once: bounds the memory of a bootstrap over thousands of questions."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float
    rows: int | None = field(default=None, compare=False)
    """Rows, documents or questions behind it, of the term that has fewest; None if unknown."""

    def __contains__(self, other: float) -> bool:
        """Tell whether a value lies in the interval."""
        return self.low <= other <= self.high


def _numpy() -> Any:
    # Imported late: commands that resample nothing should not wait for it.
    return import_module("numpy")


# ---- resampling --------------------------------------------------------------------------------


def _counts(key: str, rows: int) -> Iterator[Any]:
    """Yield how often each row is drawn, in blocks of shape [some resamples, rows].

    The seed is the key's checksum: draws depend on nothing but the key and the number of rows.
    """
    np = _numpy()
    if not rows:
        raise ValueError("a bootstrap needs at least one row")
    random = np.random.default_rng(zlib.crc32(key.encode()))
    step = max(1, BLOCK // rows)
    for start in range(0, RESAMPLES, step):
        some = min(step, RESAMPLES - start)
        drawn = random.integers(0, rows, size=(some, rows), dtype=np.int32)
        places = drawn + rows * np.arange(some)[:, None]
        yield np.bincount(places.ravel(), minlength=some * rows).reshape(some, rows)


def _means(values: Sequence[float], key: str) -> Any:
    """Draw bootstrap means of some rows: [RESAMPLES]."""
    np = _numpy()
    rows = np.asarray(values, dtype=float)
    means = np.concatenate([of @ rows for of in _counts(key, len(rows))]) / len(rows)
    # Rounding must not turn a term that is zero in every sample into one that nearly is.
    return np.clip(means, rows.min(), rows.max())


def _aucs(membership: Membership) -> Any:
    """Draw bootstrap AUCs of the attack: [RESAMPLES]."""
    np = _numpy()
    member, other = (np.asarray(side, dtype=float) for side in finite_sides(membership))
    won = (member[:, None] < other[None, :]) + 0.5 * (member[:, None] == other[None, :])
    first, second = (
        np.concatenate(list(_counts(key, len(side))))
        for key, side in (("documents/member", member), ("documents/nonmember", other))
    )
    return ((first @ won) * second).sum(axis=1) / won.size


def _term_draws(rows: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    means = {key: _means(values, key) for key, values in rows.items()}
    return {key: 1 - mean if key.startswith("forget") else mean for key, mean in means.items()}


def _percentiles(value: float, sample: Any) -> Interval:
    """Take the percentile interval of bootstrap values, widened to hold the value itself."""
    tail = (1 - LEVEL) / 2
    low, high = _numpy().quantile(sample, (tail, 1 - tail))
    return Interval(value, min(value, float(low)), max(value, float(high)))


# ---- single numbers ----------------------------------------------------------------------------


def mean_interval(values: Sequence[float], key: str = "rows") -> Interval:
    """Bootstrap the mean of rows.

    Rows that all score alike give no width: the interval knows only what was seen.

    Args:
        values: One score per row.
        key: Seed of the resampling; equal keys and numbers of rows give equal draws.

    Raises:
        ValueError: There are no rows.
    """
    value = sum(values) / max(1, len(values))
    return replace(_percentiles(value, _means(values, key)), rows=len(values))


def t_interval(mean: float, sd: float, count: int) -> Interval | None:
    """Bound a mean by Student's interval, from the standard deviation of `count` values.

    Returns:
        None with fewer than two values.
    """
    if count < 2:
        return None
    student: Any = import_module("scipy.stats").t
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * sd / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def share_interval(count: int, of: int) -> Interval:
    """Bound a share, such as an accuracy, by Wilson's interval: it has a width even at 0 and 1.

    Args:
        count: Number of right answers.
        of: Number of questions.

    Raises:
        ValueError: There are no questions.
    """
    if of < 1:
        raise ValueError("an interval needs at least one question")
    return Interval(count / of, *wilson(count / of, of), rows=of)


def term_intervals(rows: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Bootstrap every term of the task aggregate over its rows.

    Args:
        rows: Row scores by `split/task/kind`; terms of forget are one minus their mean.
    """
    drawn = _term_draws(rows)
    return {
        key: replace(_percentiles(_term(key, of), drawn[key]), rows=len(of))
        for key, of in rows.items()
    }


def aggregate_interval(rows: Mapping[str, Sequence[float]]) -> Interval:
    """Bootstrap the task aggregate: every term's rows are resampled, then the harmonic mean taken.

    Args:
        rows: Row scores by `split/task/kind`.

    Raises:
        ValueError: There are no terms.
    """
    value = task_aggregate({key: _term(key, rows[key]) for key in rows})
    found = _percentiles(value, harmonic_means(_numpy().stack(list(_term_draws(rows).values()))))
    return replace(found, rows=min(map(len, rows.values())))


def _term(key: str, values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return 1 - mean if key.startswith("forget") else mean


def auc_interval(membership: Membership) -> Interval:
    """Bootstrap the attack's AUC: members and non-members are resampled separately.

    Raises:
        ValueError: The attack cannot be made, see `attackable`.
    """
    sides = membership.member, membership.nonmember
    return replace(_percentiles(mia_auc(membership), _aucs(membership)), rows=min(map(len, sides)))


# ---- all scores of a run -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScoreIntervals:
    """Intervals by term (`split/task/kind`) and by key of a score."""

    before: Mapping[str, Interval]
    after: Mapping[str, Interval]
    """Empty until the unlearned model is scored."""
    change: Mapping[str, Interval]
    """After minus before; also empty if the two were measured on different rows."""

    @property
    def shown(self) -> Mapping[str, Interval]:
        """Return the intervals of the model whose scores are shown: after, if it was scored."""
        return self.after or self.before

    def within_noise(self, key: str) -> bool:
        """Tell whether a score changed by no more than the sampling of rows explains."""
        return key in self.change and 0.0 in self.change[key]


def score_intervals(before: Evidence, after: Evidence | None = None) -> ScoreIntervals:
    """Bootstrap all scores of one model, or of a run's two models and their change."""
    then = _draws(before)
    first = _intervals(before, then)
    if after is None:
        return ScoreIntervals(first, {}, {})
    now = _draws(after)
    last = _intervals(after, now)
    paired = _asked(before) == _asked(after)
    change = {
        key: _percentiles(last[key].value - first[key].value, now[key] - then[key])
        for key in last
        if paired and key in first
    }
    return ScoreIntervals(first, last, change)


def _asked(of: Evidence) -> Any:
    """Return a model's rows and questions, in order, and its numbers of documents."""
    read = of.membership and (len(of.membership.member), len(of.membership.nonmember))
    rows = [(answer.split, answer.row) for answer in of.answers]
    return rows, [choice.question for choice in of.choices], read


def _intervals(of: Evidence, draws: Mapping[str, Any]) -> dict[str, Interval]:
    found = scores(of)
    known = dict[str, float | None](found.terms)
    known |= {key: score.value(found) for key, score in SCORES.items()}
    fewest = {key: of.rows for key, of in found.behind.items()}
    fewest |= {"task_aggregate": min(fewest.values()), "utility": found.utility_questions}
    if found.mia_documents:
        fewest |= dict.fromkeys(("mia_auc", "mia_score"), min(found.mia_documents))
    return {
        key: replace(_percentiles(value, draws[key]), rows=fewest.get(key))
        for key, value in known.items()
        if value is not None and key in draws
    }


def _draws(of: Evidence) -> dict[str, Any]:
    """Draw bootstrap values of every term and score of one model: [RESAMPLES] by key."""
    found = _term_draws(term_rows(of.answers))
    if of.membership and attackable(of.membership):
        found["mia_auc"] = _aucs(of.membership)
    if of.choices:
        found["utility"] = _means(
            [float(argmax_option(one) == one.right) for one in of.choices], "utility"
        )
    for key, score in SCORES.items():
        if score.drawn is not None and (drawn := score.drawn(found)) is not None:
            found[key] = drawn
    return found


# ---- differences -------------------------------------------------------------------------------


def independent_difference(one: Interval, other: Interval) -> Interval:
    """Compare two values with independent errors: `other` minus `one`.

    Margins are added as squares. For two models on the same rows this is conservative: the rows
    that are hard for one are hard for the other as well.
    """
    value = other.value - one.value
    down = math.hypot(other.value - other.low, one.high - one.value)
    up = math.hypot(other.high - other.value, one.value - one.low)
    return Interval(value, value - down, value + up)


def seed_difference(one: Sequence[float], other: Sequence[float]) -> Interval | None:
    """Compare two settings that ran with several seeds each: `other` minus `one`.

    Welch's t interval, which allows unequal variances; none with fewer than two seeds of either.
    """
    if len(one) < 2 or len(other) < 2:
        return None
    value = sum(other) / len(other) - sum(one) / len(one)
    if len({*one}) == len({*other}) == 1:
        return Interval(value, value, value)
    test: Callable[..., Any] = import_module("scipy.stats").ttest_ind
    found = test(other, one, equal_var=False).confidence_interval(LEVEL)
    return Interval(value, float(found.low), float(found.high))
